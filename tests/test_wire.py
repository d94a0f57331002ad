"""The direct way to the server: whatever happens to it, no wrong row, no lost row, no long wait, nothing left open."""

import asyncio
import contextlib
import gc
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from cassandra.cluster import NoHostAvailable
from cql_proxy import (
    BATCH,
    OVERLOADED,
    READ_TIMEOUT,
    UNAVAILABLE,
    UNPREPARED,
    Proxy,
    answering,
    cut_in_the_middle,
    garbage,
    half_and_silence,
    hang_up,
    in_small_pieces,
    not_rows,
    rows_that_end_early,
    silence,
    to_another_stream,
)
from nodes import KEYSPACE, workspaces
from ways import driver_requests

import feastra_nb as fnb
from feastra_nb.connection.profiles import READ
from feastra_nb.connection.wire import exchange, lines
from feastra_nb.errors import FeastraError
from feastra_nb.retrieval.entities import entity_keys
from feastra_nb.retrieval.request import requested
from feastra_nb.storage import asking, reader

TIMEOUT_S = 1.5
KEYS = 60

FAULTS = [
    cut_in_the_middle, hang_up, half_and_silence, silence, to_another_stream, not_rows, rows_that_end_early, garbage,
    *(answering(code) for code in (OVERLOADED, UNAVAILABLE, READ_TIMEOUT, UNPREPARED)),
]  # fmt: skip
# The driver does not use such a connection again, or takes such an answer for an end.
BEYOND_THE_DRIVER = (half_and_silence, not_rows, rows_that_end_early, garbage)
WAYS_AND_FAULTS = [
    pytest.param(way, fault, id=f"{way}-{fault.__name__}")
    for way in ("direct", "driver")
    for fault in FAULTS
    if way == "direct" or fault not in BEYOND_THE_DRIVER
]
names = [fault.__name__ for fault in FAULTS]


@pytest.fixture
def proxy(node):
    """A proxy in front of the node."""
    started = Proxy((node.hosts[0], node.port))
    yield started
    started.close()


@pytest.fixture
def connect_through(node, proxy, project, tmp_path):
    """Open a workspace whose store is reached through the proxy, with a view of `KEYS` entities, by either way."""
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as connect:

        def opened(*, direct, timeout_s=TIMEOUT_S):
            target = fnb.Hosts(
                ["127.0.0.1"], port=proxy.port, username=node.username, password=node.password.reveal(),
                request_timeout_s=timeout_s, direct=direct, create_keyspace=True,
            )  # fmt: skip
            ws = connect(target, retain="all")
            ws.materialize(_frame(1.0), "v", keys=["id"], progress=False)
            values(ws)  # all is prepared, and a line is open
            return ws

        yield opened


@pytest.fixture(params=[True, False], ids=["direct", "driver"])
def through(request, connect_through):
    """A workspace behind the proxy, by both ways."""
    return connect_through(direct=request.param)


@pytest.fixture(params=[True, False], ids=["direct", "driver"])
def patient(request, connect_through):
    """As `through`, with all the time that a busy machine may need."""
    return connect_through(direct=request.param, timeout_s=30)


@pytest.fixture
def direct(connect_through):
    """A workspace behind the proxy, by the direct way."""
    return connect_through(direct=True)


def _frame(value, keys=range(KEYS), age="1h"):
    at = pd.Timestamp.now(tz="UTC") - pd.Timedelta(age)
    return pd.DataFrame({"id": list(keys), "event_timestamp": at, "a": [value + key for key in keys], "b": "text"})


def values(ws, keys=range(KEYS)):
    """Read feature ``a`` through Feast, as a list."""
    return ws.feast.get_online_features(["v:a"], {"id": list(keys)}).to_dict()["a"]


def eventually(work):
    """Do something until it succeeds: after a cut the driver, left alone, needs a second to connect again."""
    until = time.monotonic() + 10
    while True:
        try:
            return in_time(work)
        except (FeastraError, NoHostAvailable):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def is_direct(ws):
    """Tell which way this workspace's reads and writes take."""
    return ws.stores.online.db.settings.direct


def expected(value=1.0, keys=range(KEYS)):
    """What `values` ought to return."""
    return [value + key for key in keys]


def in_time(work):
    """Do something, and return what it took: never much longer than the request's time-out, however it ends."""
    began_s = time.monotonic()
    try:
        return work()
    finally:
        assert time.monotonic() - began_s < 2 * TIMEOUT_S + 3


# --- reads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "fault"), WAYS_AND_FAULTS)
@pytest.mark.parametrize("keys", [range(1), range(KEYS)], ids=["one", "many"])
def test_a_read_whose_answer_is_spoilt_returns_the_right_rows_or_says_so(connect_through, proxy, way, fault, keys):
    through = connect_through(direct=way == "direct")
    proxy.spoil(fault)
    # The driver alone gives up on an answer that it cannot use; the direct way has the driver behind it.
    with contextlib.nullcontext() if is_direct(through) else contextlib.suppress(FeastraError):
        assert in_time(lambda: values(through, keys)) == expected(keys=keys)
    assert proxy.spoilt == 1
    assert eventually(lambda: values(through, keys)) == expected(keys=keys)


@pytest.mark.parametrize("fault", FAULTS, ids=names)
def test_an_awaited_read_whose_answer_is_spoilt_returns_the_right_rows_and_the_loop_goes_on(direct, proxy, fault):
    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def read():
        await values_async(direct)
        ticking = asyncio.create_task(tick())
        proxy.spoil(fault)
        answer = await values_async(direct)
        await asyncio.sleep(0.05)
        ticking.cancel()
        return answer

    assert in_time(lambda: asyncio.run(read())) == expected()
    assert proxy.spoilt == 1
    assert np.diff(ticks).max() < TIMEOUT_S / 4  # the direct way gives up on a silent server after half of the time-out


async def values_async(ws, keys=range(KEYS)):
    """As `values`, awaited."""
    return (await ws.feast.get_online_features_async(["v:a"], {"id": list(keys)})).to_dict()["a"]


def test_many_awaited_reads_at_once_have_their_own_rows(through):
    async def read():
        groups = [[number % KEYS, (number * 7) % KEYS] for number in range(200)]
        return groups, await asyncio.gather(*(values_async(through, keys) for keys in groups))

    groups, answers = asyncio.run(read())
    assert answers == [expected(keys=keys) for keys in groups]


def test_an_awaited_read_that_is_cancelled_leaves_the_next_one_sound(through, proxy):
    async def read():
        await values_async(through)
        proxy.spoil(silence)
        reading = asyncio.create_task(values_async(through))
        await asyncio.sleep(0.2)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        return await values_async(through)

    assert in_time(lambda: asyncio.run(read())) == expected()


@pytest.mark.parametrize("fault", [silence, hang_up, answering(OVERLOADED)], ids=lambda fault: fault.__name__)
def test_a_server_that_stays_so_gets_an_error_in_time(through, proxy, fault):
    proxy.spoil(fault, answers=10**6)
    with pytest.raises(FeastraError, match="reading view v"):
        in_time(lambda: through.online("v", {"id": [1]}))
    proxy.spoil(None, answers=0)
    assert eventually(lambda: values(through, [1])) == [2.0]


def test_an_answer_may_come_byte_by_byte(through, proxy):
    proxy.spoil(in_small_pieces, answers=3)
    assert values(through) == expected()


@pytest.mark.parametrize("fault", [hang_up, cut_in_the_middle, not_rows, silence], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("page", range(4))
def test_a_history_of_many_pages_is_whole_though_one_of_them_is_spoilt(direct, proxy, monkeypatch, fault, page):
    monkeypatch.setattr(asking, "PAGE_ROWS", 7)
    db = direct.stores.online.db
    times = [pd.Timestamp.now(tz="UTC") - pd.Timedelta(seconds=second) for second in range(60)]
    frame = pd.DataFrame({"id": [1, 2, 3] * 20, "event_timestamp": times, "a": np.arange(60.0), "b": "text"})
    direct.materialize(frame, "long", keys=["id"], progress=False)
    entry = direct.stores.online.known("long")
    keys = reader.read_newest(db, entry, _keys(direct, frame), reader.Bounds(0, 2**62)).entity_key.to_pylist()
    proxy.spoil(lambda frame, version, left=[page]: _later(frame, version, left, fault), answers=page + 1)
    rows = in_time(lambda: reader.read_history(db, entry, keys, reader.Bounds(0, 2**62)))
    codes = rows.entity_codes()
    assert len(rows) == 60
    assert (np.diff(codes) >= 0).all()  # each entity's rows together
    assert all((np.diff(rows.event_us[codes == code]) < 0).all() for code in range(3))  # newest first


def _keys(ws, frame):
    [view] = requested(ws.feast, "long", full_feature_names=False).views
    return entity_keys(view, pa.table({"id": pa.array(sorted(set(frame["id"])))})).to_pylist()


def _later(frame, version, skipped, fault):
    skipped[0] -= 1
    return fault(frame, version) if skipped[0] == -1 else frame.to_bytes(version)


class AnsweredLine:
    """Stands for a line whose answer came long ago, and waits to be read."""

    def __init__(self):
        self.waiting = {}

    def send(self, requests):
        self.waiting = {number: token for number, (_opcode, _body, token) in enumerate(requests)}

    def receive(self):
        return [(self.waiting.pop(number), None) for number in list(self.waiting)]

    def is_silent(self):
        return True  # nothing was read from it for long


def test_a_node_whose_answer_waits_while_another_ones_is_read_is_not_given_up():
    answered = {host: AnsweredLine() for host in "ab"}
    nodes = SimpleNamespace(
        nodes=lambda _profile, _keyspace: bytes.decode,
        silence_s=lambda _profile: 0.1,
        borrow=lambda host, _silence_s: answered[host],
        give_back=lambda _line: None,
        tell=lambda _began_ns: None,
        listeners=[],
    )
    with exchange.Exchange(nodes, READ, KEYSPACE) as both:
        assert both.send([exchange.Request(host.encode(), 0, b"", host) for host in "ab"]) == []
        first, second = both.receive(), both.receive()
    assert [first.answers, second.answers] == [[("a", None)], [("b", None)]]
    assert first.lost == second.lost == []


# --- writes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "fault"), WAYS_AND_FAULTS)
def test_every_row_that_is_acknowledged_is_there(connect_through, proxy, way, fault):
    through = connect_through(direct=way == "direct")
    # The first one of the direct way; where the driver can go on behind it, that of its first one too.
    answers = 2 if is_direct(through) and fault not in BEYOND_THE_DRIVER else 1
    proxy.spoil(fault, answers, of=[BATCH])
    run = through.materialize(_frame(5.0, age="30min"), "v", progress=False)
    assert (run.rows, proxy.spoilt) == (KEYS, answers)
    assert eventually(lambda: values(through)) == expected(5.0)


def test_a_write_of_long_goes_on_the_direct_way_after_the_connection_was_cut(direct, proxy):
    store = direct.stores.online.db.lines
    proxy.spoil(cut_in_the_middle, of=[BATCH])
    keys = range(20_000)
    assert direct.materialize(_frame(2.0, keys), "w", keys=["id"], progress=False).rows == len(keys)
    assert direct.online("w:a", {"id": list(keys)})["a"].tolist() == expected(2.0, keys)
    assert sum(len(each.idle) for each in store._nodes.values()) >= 1


# --- connections ------------------------------------------------------------------------------------------------------------


def test_a_node_that_restarted_is_read_at_once(through, proxy):
    proxy.hang_up_all()
    assert eventually(lambda: values(through)) == expected()


def test_connections_that_a_firewall_forgot_are_found_out(direct, proxy, monkeypatch):
    monkeypatch.setattr(lines, "IDLE_S", 0.0)
    before = direct.stores.online.db.lines
    proxy.deaf = True
    threading.Timer(1.0, lambda: setattr(proxy, "deaf", False)).start()
    with contextlib.suppress(Exception):
        in_time(lambda: values(direct))
    assert in_time(lambda: values(direct)) == expected()
    assert all(not line.is_closed for each in before._nodes.values() for line in each.idle)


def test_a_server_far_away_is_not_taken_for_silent(connect_through, proxy, monkeypatch):
    monkeypatch.setattr(
        lines, "has_several_nodes", lambda _settings: True
    )  # then the driver is asked after a tenth of a second
    proxy.latency_s = 0.15
    ws = connect_through(direct=True)
    values(ws)
    with driver_requests(ws) as sent:
        for _ in range(3):
            assert values(ws) == expected()
    assert sent == []


def test_threads_read_their_own_rows(through):
    wrong, done = [], []

    def read(number):
        rng = np.random.default_rng(number)
        for _ in range(20):
            keys = rng.choice(KEYS, 7, replace=False).tolist()
            answer = values(through, keys)
            if answer != expected(keys=keys):
                wrong.append((keys, answer))
        done.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 32
    assert wrong == []


def test_threads_read_while_answers_are_spoilt(direct, proxy):
    proxy.spoil(lambda frame, version, n=[0]: _every_fifth(frame, version, n), answers=10**6)
    wrong = []

    def read(number):
        for turn in range(20):
            keys = [(number * 7 + turn) % KEYS]
            try:
                answer = values(direct, keys)
            except FeastraError:
                continue
            if answer != expected(keys=keys):
                wrong.append((keys, answer))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def _every_fifth(frame, version, number):
    number[0] += 1
    return frame.to_bytes(version) if number[0] % 5 else to_another_stream(frame, version)


def test_nothing_is_left_open(through, proxy):
    process = psutil.Process()
    values(through)
    gc.collect()
    before = process.num_fds()
    for fault in (cut_in_the_middle, half_and_silence, to_another_stream, hang_up) if is_direct(through) else ():
        proxy.spoil(fault)
        values(through)
    values(through)
    gc.collect()
    # Lines that were given up are closed, and one was opened instead; the proxy's own end counts in this process, too.
    assert process.num_fds() <= before + 6
    through.close()
    until = time.monotonic() + 5
    while proxy.connections and time.monotonic() < until:
        time.sleep(0.05)
    assert proxy.connections == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads_by_connections_of_its_own(through):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, b"right" if values(through) == expected() else b"wrong")
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert values(through) == expected()
    assert os.read(reading, 1_000) == b"right"
    os.close(reading)
    os.waitpid(child, 0)


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where the tests were started in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_the_middle_of_a_read_leaves_the_next_one_sound(through, proxy):
    proxy.spoil(silence)
    alarm = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        values(through)
    assert values(through) == expected()


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_the_middle_of_a_write_counts_what_was_acknowledged(patient):
    keys = range(30_000)
    alarm = threading.Timer(0.8, lambda: os.kill(os.getpid(), signal.SIGINT))
    alarm.start()
    try:
        patient.materialize(_frame(3.0, keys), "w", keys=["id"], progress=False)
    except KeyboardInterrupt:
        stored = patient.online("w:a", {"id": list(keys)})["a"]
        assert stored.notna().sum() >= patient.runs("w")["rows"].iloc[0]
    alarm.cancel()
    patient.materialize(_frame(4.0, keys, age="1min"), "w", progress=False)
    assert patient.online("w:a", {"id": list(keys)})["a"].tolist() == expected(4.0, keys)


def test_a_table_that_is_made_anew_while_it_is_read_is_never_read_wrong(through):
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            with contextlib.suppress(FeastraError):
                answer = values(through, [1])
                if answer not in ([2.0], [None], [7.0]):
                    wrong.append(answer)

    reader = threading.Thread(target=read)
    reader.start()
    frame = _frame(6.0, [1], age="1min")
    through.materialize(frame.assign(c=1), "v", progress=False)
    stop.set()
    reader.join(30)
    assert wrong == []
    assert values(through, [1]) == [7.0]


# --- which way -----------------------------------------------------------------------------------------------------------------


def test_reads_and_writes_of_views_take_the_way_that_was_asked_for(through):
    frame = _frame(2.0, range(300), age="10min")
    five = [f"{view}:a" for view in ("v", "w")]
    with driver_requests(through) as sent:
        through.materialize(frame, "v", progress=False)
        through.materialize(frame, "w", keys=["id"], retain="latest", progress=False)
        values(through, [1])
        values(through)
        through.feast.get_online_features(five, {"id": [1, 2]}, full_feature_names=True)
        through.online("v", {"id": list(range(300))})
        through.online("v", {"id": [1]}, as_of=pd.Timestamp.now(tz="UTC") - pd.Timedelta("20min"))
        through.online("v", {"id": [1]}, known_at=pd.Timestamp.now(tz="UTC"))
        assert through.skew("v").ok
    assert bool(sent) is not is_direct(through)
    assert through.online("w:a", {"id": [7]})["a"].tolist() == [9.0]


def test_direct_false_is_kept_in_a_saved_repository(node, project, tmp_path):
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as connect:
        target = fnb.Hosts(
            list(node.hosts), port=node.port, username=node.username, password=node.password.reveal(), direct=False
        )
        assert "direct: false" in (connect(target).save(tmp_path / "repo") / "feature_store.yaml").read_text()
