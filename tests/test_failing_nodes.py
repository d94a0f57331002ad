"""Three real nodes with every row on each of them, of which some hang, die or come back."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from nodes import KEYSPACE

import feastra_nb as fnb
from feastra_nb.connection import local
from feastra_nb.errors import FeastraError, Unavailable, WriteIncomplete
from feastra_nb.skew import scan
from feastra_nb.storage import reader, scanning, writer
from feastra_nb.storage.catalog import ViewSpec
from feastra_nb.storage.rows import Rows

pytestmark = pytest.mark.several_nodes
STALL_S = 2.0  # what is promised of writes while one of three nodes hangs
READ_S = 0.8  # and of reads
TOLD_S = 6.0  # too few nodes; well below the time-out of a request
ROWS = 20_000
NEW_TABLE_S = 5.5  # nodes take a table's `speculative_retry` to heart every five seconds


@pytest.fixture
def cluster(three_nodes):
    """The three nodes, all of them running."""
    state = local.running(three_nodes.name)
    for index, pid in enumerate(state.pids):
        if not psutil.pid_exists(pid):
            state.start_node(index, progress=False)
    return three_nodes


@pytest.fixture(scope="module")
def ws(three_nodes, tmp_path_factory):
    """A workspace on the three nodes, whose view ``sensors`` has ten entities, and is not new to the nodes any more."""
    target = fnb.Hosts(three_nodes.hosts, port=three_nodes.port, create_keyspace=True)
    folder = tmp_path_factory.mktemp("ws") / ".feastra"
    with fnb.connect(target, project="failing", keyspace=KEYSPACE, directory=folder, retain="all") as opened:
        opened.materialize(readings(10), "sensors", keys=["sensor"], progress=False)
        time.sleep(NEW_TABLE_S)
        yield opened


def readings(rows, value=1.0):
    now = pd.Timestamp.now("UTC").floor("us")
    return pd.DataFrame({"sensor": np.arange(rows), "event_timestamp": now, "value": value})


@contextmanager
def frozen(cluster, index):
    pid = local.running(cluster.name).pids[index]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def read(ws, sensor=1):
    return ws.online("sensors:value", {"sensor": [sensor]})["value"].tolist()


@pytest.mark.parametrize("index", [0, 1])
def test_reads_go_on_while_a_node_hangs(ws, cluster, index):
    read(ws)
    took_s = []
    with frozen(cluster, index):
        began_s = time.monotonic()
        while time.monotonic() - began_s < 6.0:
            before_s = time.monotonic()
            assert not pd.isna(read(ws, len(took_s) % 10)[0])
            took_s.append(time.monotonic() - before_s)
    assert max(took_s) <= READ_S


def test_writes_go_on_while_a_node_hangs_and_each_row_counts_once(ws, cluster):
    acknowledged = [(time.monotonic(), 0)]
    later = readings(ROWS, 2.0)
    started, ended = threading.Event(), threading.Event()

    def freeze():
        started.wait(60)
        with frozen(cluster, 1):
            ended.wait(6.0)

    def progress(rows):
        acknowledged.append((time.monotonic(), rows))
        if len(acknowledged) > 100:
            started.set()

    thread = threading.Thread(target=freeze)
    thread.start()
    done = ws.materialize(later, "sensors", keys=["sensor"], progress=progress)
    ended.set()
    thread.join()
    stalls_s = np.diff([at for at, _rows in acknowledged][1:])
    assert done.rows == sum(rows for _at, rows in acknowledged) == ROWS
    assert max(stalls_s) < STALL_S
    found = ws.online("sensors:value", {"sensor": list(range(0, ROWS, 20))})["value"]
    assert (found == 2.0).all()


def test_asynchronous_reads_go_on_while_a_node_hangs(ws, cluster):
    keys = [{"sensor": sensor} for sensor in range(10)]

    async def times():
        took_s = []
        for _ in range(10):
            before_s = time.monotonic()
            answer = await ws.feast.get_online_features_async(["sensors:value"], keys)
            took_s.append(time.monotonic() - before_s)
            assert answer.to_df()["sensor"].tolist() == list(range(10))
            assert not answer.to_df()["value"].isna().any()
        return took_s

    asyncio.run(times())
    with frozen(cluster, 2):
        took_s = asyncio.run(times())
    assert max(took_s) <= READ_S


def test_a_read_that_timed_out_on_the_server_is_tried_once_more(ws, cluster):
    target = fnb.Hosts(cluster.hosts, port=cluster.port)
    options = {"project": "failing", "keyspace": KEYSPACE, "directory": ws.directory, "consistency": "ALL"}
    with fnb.connect(target, **options, read_only=True) as needs_all:
        assert read(needs_all)
        pid = local.running(cluster.name).pids[1]
        os.kill(pid, signal.SIGSTOP)
        # Beyond the five seconds after which a coordinator gives up on it, within the ten that the request has.
        waking = threading.Timer(7.0, os.kill, (pid, signal.SIGCONT))
        waking.start()
        began_s = time.monotonic()
        assert not pd.isna(read(needs_all)[0])
        assert time.monotonic() - began_s > 5.0
        waking.join()


def make_and_fill(target, tmp_path, turn, number):
    """Make a view that others make at this moment, by a session of one's own, write a row and read it."""
    folder = tmp_path / f"{turn}-{number}"
    with fnb.connect(target, project="racing", keyspace=KEYSPACE, directory=folder) as mine:
        opened = mine.store.open(mine.feast.config)
        spec = ViewSpec("racing", f"view_{turn}", (("value", "INT64"),), (("sensor", "INT64"),))
        entry = opened.catalog.ensure(spec, retain="all", registry=None)
        now_us = time.time_ns() // 1000
        key, zero = pa.array([b"key %d" % number]), np.zeros(1, dtype=np.int64)
        row = Rows(key, zero + now_us, zero, zero, pa.array([b""]))
        writer.write(opened.db, entry, row, zero)
        return len(reader.read_newest(opened.db, entry, key.to_pylist(), reader.Bounds(0, now_us)))


def test_a_table_that_several_processes_make_at_once_is_there_for_all(cluster, ws, tmp_path):
    target = fnb.Hosts(cluster.hosts, port=cluster.port)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as processes:
        for turn in range(4):
            calls = [(target, tmp_path, turn, number) for number in range(3)]
            assert processes.starmap_async(make_and_fill, calls).get(60) == [1, 1, 1]


def test_a_whole_view_is_compared_while_a_node_hangs_or_is_gone(ws, cluster, monkeypatch):
    monkeypatch.setattr(scan, "RANGE_ROWS", 500)
    frame = readings(ROWS // 4)
    ws.materialize(frame, "wide", keys=["sensor"], progress=False)
    time.sleep(NEW_TABLE_S)
    with frozen(cluster, 1):
        assert ws.skew("wide").ok
    cluster.stop_node(2)
    report = ws.skew("wide")
    assert (report.ok, report.compared) == (True, len(frame))
    local.running(cluster.name).start_node(2, progress=False)


def test_ranges_that_too_few_nodes_can_tell_of_are_unknown(ws, cluster, monkeypatch):
    monkeypatch.setattr(scan, "RANGE_ROWS", 500)
    monkeypatch.setattr(scanning, "AGAIN_S", 0.05)
    frame = readings(ROWS // 4)
    ws.materialize(frame, "wide", keys=["sensor"], progress=False)
    told = []

    def two_nodes_die(rows):
        told.append(rows)
        if len(told) == 3:
            for index in (1, 2):
                cluster.stop_node(index)

    report = ws.skew("wide", progress=two_nodes_die)
    assert 0 < report.unknown < len(frame)
    assert report.unknown + report.compared == len(frame)
    assert report.differing == 0
    assert report.check(0.0).state == "could not tell"
    assert "ranges of the ring could not be read" in report.failed["wide"]
    for index in (1, 2):
        local.running(cluster.name).start_node(index, progress=False)


def test_two_of_three_nodes_down_is_told_soon_and_with_its_cause(ws, cluster):
    read(ws)
    for index in (1, 2):
        cluster.stop_node(index, timeout_s=0)
    told = []
    for work in (lambda: read(ws), lambda: ws.materialize(readings(2_000), "sensors", keys=["sensor"], progress=False)):
        began_s = time.monotonic()
        with pytest.raises(FeastraError) as caught:
            work()
        told.append(time.monotonic() - began_s)
        said = str(caught.value)
        assert "LOCAL_QUORUM needs 2 replicas, 1 is alive" in said
        assert "127.0.0.2, 127.0.0.3" in said
        assert "at 127.0.0.3 has ended" in said
        assert "The end of its log:" in said
        assert "TLS" not in said
    assert isinstance(caught.value, Unavailable | WriteIncomplete)
    assert max(told) < TOLD_S
