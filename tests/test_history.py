"""History: what as-of and known-at reads answer, what pruning and forgetting leave, what a longer ttl saves."""

import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cassandra.query import SimpleStatement
from nodes import KEYSPACE, NODE

from feastra_nb.errors import BeyondRetention, ConfigurationError, ReadOnly, UnknownName
from feastra_nb.materialization.offline_file import path_of
from feastra_nb.materialization.run import encode, write_table
from feastra_nb.storage.stored_rows import renew

S, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
ENTITIES = 240


@pytest.fixture(autouse=True)
def _no_server_warnings(node):
    """Cassandra's own thresholds are a promise: nothing in this file may make the server warn."""
    before = [path.stat().st_size for path in node.log_paths]
    yield
    for path, size in zip(node.log_paths, before, strict=True):
        with path.open() as log:
            log.seek(size)
            warned = [line for line in log if re.search(r"WARN.*(tombstone|[Bb]atch|partition)", line)]
        assert warned == []


def microseconds(instant):
    return instant.value // 1000


def instants(at_us):
    return pd.to_datetime(np.asarray(at_us, dtype=np.int64), unit="us", utc=True)


def entry_of(ws, view="v"):
    return ws.store.entry(ws.feast.config, ws.view(view), reload=True)


def stored(ws, view="v"):
    """Every row of a view's table: clustering key, content, what is left of its life."""
    table = f'{ws.keyspace}."{entry_of(ws, view).table}"'
    cql = f"SELECT entity_key, event_us, created_us, arrived_us, features, TTL(features) FROM {table}"
    small = SimpleStatement(cql, fetch_size=100)  # a page that meets many tombstones would make the server warn
    return {tuple(row[:5]): row[5] for row in ws.session.execute(small)}


def make_view(ws, **options):
    """Register the view ``v`` with key ``k`` and an integer ``x``, with a created time and no row."""
    empty = pd.DataFrame({"k": pd.array([], "Int64"), "event_timestamp": instants([]), "at": instants([])})
    ws.materialize(empty.assign(x=pd.array([], "Int64")), "v", keys=["k"], created="at", progress=False, **options)


def arrow(rows):
    """Return the table of (k, event_us, created_us, arrived_us, x), as the offline store would give it."""
    k, event, created, _arrived, x = (list(column) for column in zip(*rows, strict=True))
    return pa.table(
        {
            "k": pa.array(k, pa.int64()),
            "x": pa.array(x, pa.int64()),
            "event_timestamp": pa.array(event, pa.timestamp("us", "UTC")),
            "at": pa.array(created, pa.timestamp("us", "UTC")),
        }
    )


def put(ws, rows, ttl_s=0):
    """Put rows into the log as if they had arrived when they say."""
    view = ws.view("v")
    encoded = encode(entry_of(ws), view, arrow(rows))
    arrived = np.array([row[3] for row in rows], dtype=np.int64)
    at_once = type(encoded)(encoded.entity_key, encoded.event_us, encoded.created_us, arrived, encoded.features)
    ttls, written = (np.full(len(rows), value, dtype=np.int64) for value in (ttl_s, time.time_ns() // 1000))
    renew(ws.store.open(ws.feast.config).db, entry_of(ws), at_once, ttls, written)


def random_history(rng, k, now_us):
    """Return one entity's rows over two hours: ties, versions, repeats, late rows, retries; some recent, most not."""
    events = [now_us - rng.randrange(5 * S, 120 * MINUTE) for _ in range(rng.randint(1, 5))]
    rows = []
    for _ in range(rng.randint(1, 10)):
        event = rng.choice(events)
        created = event + rng.choice([0, 0, S, 2 * S])
        arrived = rng.randrange(event, now_us - S)
        rows.append((k, event, created, arrived, rng.randint(0, 2)))
        if rng.random() < 0.4:
            later = rng.randrange(arrived, now_us)
            rows.append((k, event, created, later, rows[-1][4]))
        if rng.random() < 0.2:
            rows.append(rows[-1])
    # Two different contents at one (event, created, arrived) cannot be: they would be one row of the log.
    unique = {row[:4]: row for row in rows}
    return [unique[row[:4]] for row in rows]


def oracle(history, t_us, known_us):
    """Return the value that was current at an instant by what had arrived by another; None for nothing."""
    seen = [row for row in history if row[1] <= t_us and row[3] <= known_us]
    return max(seen, key=lambda row: row[1:4])[4] if seen else None


def questions(rng, histories, oldest_us, now_us):
    """Return (k, t, known) beside, at and just before the instants at which an answer can change."""
    asked = []
    for k, history in histories.items():
        moments = [moment + shift for row in history for moment in (row[1], row[3]) for shift in (-1, 0)]
        moments += [rng.randrange(oldest_us, now_us) for _ in range(4)] + [now_us]
        inside = [moment for moment in moments if oldest_us <= moment <= now_us]
        asked += [(k, rng.choice(inside), rng.choice(inside)) for _ in range(8)]
    return asked


def answers(ws, asked, *, known):
    entities = pd.DataFrame({"k": [k for k, _t, _known in asked], "t": instants([t for _k, t, _known in asked])})
    entities["known"] = instants([known_us for _k, _t, known_us in asked])
    read = ws.online("v:x", entities, as_of="t", known_at="known" if known else None, status=True)
    assert set(read["x__status"]) <= {"PRESENT", "NOT_FOUND"}
    return [None if pd.isna(x) else int(x) for x in read["x"]]


def expected(histories, asked, *, known):
    return [oracle(histories[k], t_us, known_us if known else 2**62) for k, t_us, known_us in asked]


@pytest.fixture
def remembering(open_workspace, now):
    """A workspace that keeps an hour of `ENTITIES` random histories; the rows of each; questions inside that hour."""
    ws = open_workspace(retain="1h")
    make_view(ws)
    rng, now_us = random.Random(20240131), microseconds(now)
    histories = {k: random_history(rng, k, now_us) for k in range(ENTITIES)}
    rows = [row for history in histories.values() for row in history]
    rng.shuffle(rows)
    put(ws, rows)
    # The window moves on while the test runs: its first five minutes are left out.
    return ws, histories, questions(rng, histories, now_us - 55 * MINUTE, now_us)


@pytest.mark.parametrize("known", [False, True])
def test_the_past_equals_a_brute_force_oracle_before_and_after_pruning(remembering, known):
    ws, histories, asked = remembering
    want = expected(histories, asked, known=known)
    assert answers(ws, asked, known=known) == want
    planned = ws.prune("v", dry_run=True)
    done = ws.prune("v")
    assert (done.scanned, done.deleted, done.folded) == (planned.scanned, planned.deleted, planned.folded)
    assert done.deleted > ENTITIES // 2
    assert done.folded > ENTITIES // 2
    assert len(stored(ws)) == done.scanned - done.deleted - done.folded
    assert answers(ws, asked, known=known) == want
    again = ws.prune("v")
    assert (again.deleted, again.folded) == (0, 0)


def test_beyond_the_horizon_the_answer_is_unknown_and_never_missing(remembering, now):
    ws, _histories, _asked = remembering
    old = {"k": list(range(ENTITIES))}
    ws.prune()
    read = ws.online("v:x", old, as_of=now - pd.Timedelta("61min"), status=True)
    assert set(read["x__status"]) == {"UNKNOWN"}
    read = ws.online("v:x", old, known_at=now - pd.Timedelta("61min"), status=True)
    assert set(read["x__status"]) == {"UNKNOWN"}
    with pytest.raises(BeyondRetention):
        ws.online("v:x", old, known_at=now - pd.Timedelta("61min"))


def test_a_dry_run_changes_nothing(remembering):
    ws, _histories, _asked = remembering
    before = stored(ws)
    planned = ws.prune(dry_run=True)
    assert "would delete" in repr(planned)
    assert planned.frame["view"].tolist() == ["v"]
    assert stored(ws) == before
    assert entry_of(ws).pruned_to_us is None


def test_pruning_is_journalled_and_reports_progress(remembering):
    ws, _histories, _asked = remembering
    seen = []
    done = ws.prune("v", progress=seen.append)
    assert sum(seen) == done.scanned
    run = ws.runs("v").iloc[0]
    assert (run["kind"], run["state"], run["rows"]) == ("prune", "done", done.deleted + done.folded)


def test_an_interrupted_pruning_goes_on_with_the_next_call(remembering):
    ws, histories, asked = remembering
    planned = ws.prune("v", dry_run=True)

    def interrupt(scanned):
        seen.append(scanned)
        if sum(seen) > planned.scanned // 2:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        ws.prune("v", progress=interrupt)
    assert ws.runs("v")["state"].iloc[0] == "interrupted"
    assert answers(ws, asked, known=True) == expected(histories, asked, known=True)
    rest = ws.prune("v")
    assert 0 < rest.deleted < planned.deleted
    assert len(stored(ws)) == planned.scanned - planned.deleted - planned.folded


def test_the_horizon_never_moves_back(remembering):
    ws, _histories, _asked = remembering
    ws.prune("v")
    horizon = entry_of(ws).pruned_to_us
    ws.retain("v", "30d")
    ws.prune("v")
    assert entry_of(ws).pruned_to_us == horizon


def test_all_keeps_every_event_and_folds_repeats(ws, now):
    make_view(ws)
    now_us = microseconds(now)
    put(ws, [(1, now_us - n * HOUR, 0, now_us - n * HOUR + again, n) for n in range(1, 6) for again in (0, 1)])
    done = ws.prune("v")
    assert (done.deleted, done.folded) == (0, 5)
    assert sorted(row[1] - row[3] for row in stored(ws)) == [0] * 5
    assert entry_of(ws).pruned_to_us is None


def test_latest_keeps_the_newest_row_only(open_workspace, now):
    ws = open_workspace(retain="latest")
    make_view(ws)
    now_us = microseconds(now)
    put(ws, [(k, now_us - n * HOUR, 0, now_us - n, n) for n in range(1, 6) for k in (1, 2)])
    assert ws.prune("v").deleted == 8
    assert ws.online("v:x", {"k": [1, 2]})["x"].tolist() == [1, 1]


def test_a_content_that_came_back_is_no_repeat(ws, now):
    make_view(ws)
    event = microseconds(now) - HOUR
    put(ws, [(1, event, 0, event + n, x) for n, x in ((1, 7), (2, 8), (3, 7), (4, 7))])
    assert ws.prune("v").folded == 1
    known = [now - pd.Timedelta("1h") + pd.Timedelta(f"{n}us") for n in (1, 2, 3, 4)]
    read = ws.online("v:x", pd.DataFrame({"k": [1] * 4, "known": known}), known_at="known")
    assert read["x"].tolist() == [7, 8, 7, 7]


def test_a_repeat_that_outlives_the_first_is_not_folded(ws, now):
    make_view(ws)
    event = microseconds(now) - HOUR
    put(ws, [(1, event, 0, event + 1, 7)], ttl_s=300)
    put(ws, [(1, event, 0, event + 2, 7)])
    assert ws.prune("v").folded == 0


def test_a_local_node_is_pruned_by_itself_when_it_is_due(open_workspace, now):
    ws = open_workspace(retain="10s")
    make_view(ws)
    now_us = microseconds(now)
    put(ws, [(1, now_us - n * MINUTE, 0, now_us - n * MINUTE, n) for n in range(1, 6)])
    time.sleep(1.1)
    more = pd.DataFrame({"k": [2], "event_timestamp": [now], "at": [now], "x": [1]})
    ws.materialize(more, "v", created="at", progress=False)
    assert "prune" in set(ws.runs("v")["kind"])
    assert len(stored(ws)) == 2
    ws.materialize(more, "v", created="at", progress=False)
    assert ws.runs("v")["kind"].tolist().count("prune") == 1


# --- forgetting --------------------------------------------------------------------------------------------------------


def test_forgotten_entities_are_gone_online(filled):
    assert filled.forget("drivers", {"driver": [1, 3, 1, 99]}) == 2
    assert filled.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [pd.NA, 7, pd.NA]
    assert filled.runs("drivers")["kind"].iloc[0] == "forget"
    assert len(pq.read_table(path_of(filled.directory, "drivers"))) == 9


def test_forgotten_offline_too_nothing_brings_them_back(filled):
    assert filled.forget("drivers", pd.DataFrame({"driver": [1, 3]}), offline=True) == 2
    filled.materialize("drivers", start="2020-01-01T00:00Z", progress=False)
    assert filled.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [pd.NA, 7, pd.NA]


def test_what_cannot_be_pruned_or_forgotten_is_a_clear_error(filled, open_workspace):
    with pytest.raises(UnknownName, match="did you mean drivers"):
        filled.prune("driver")
    with pytest.raises(UnknownName, match="did you mean drivers"):
        filled.forget("driver", {"driver": [1]})
    reading = open_workspace(read_only=True)
    with pytest.raises(ReadOnly):
        reading.forget("drivers", {"driver": [1]})
    with pytest.raises(ReadOnly):
        reading.prune()
    assert reading.prune(dry_run=True).scanned == 9


def test_offline_data_of_others_are_not_touched(filled, tmp_path):
    from feast import FeatureView, FileSource

    path = tmp_path / "theirs.parquet"
    path.write_bytes(path_of(filled.directory, "drivers").read_bytes())
    known = filled.view("drivers")
    source = FileSource(name="theirs", path=str(path), timestamp_field="event_timestamp")
    view = FeatureView(name="theirs", entities=[filled.feast.list_entities()[0]], schema=known.schema, source=source)
    filled.feast.apply([view])
    filled.materialize("theirs", progress=False)
    with pytest.raises(ConfigurationError, match="are not ours"):
        filled.forget("theirs", {"driver": [1]}, offline=True)
    assert filled.online("theirs:trips", {"driver": [1]})["trips"].tolist() == [6]


# --- the same rows again, corrections, a longer ttl ----------------------------------------------------------------------


def test_the_same_rows_again_change_no_known_at_answer(filled, events):
    spine = events.assign(known=events["event_timestamp"])[["driver", "event_timestamp"]]
    spine["known"] = pd.Timestamp.now(tz="UTC")
    before = filled.online("drivers:trips", spine, as_of="event_timestamp", known_at="known")
    filled.materialize(events, "drivers", progress=False)
    filled.materialize("drivers", start="2020-01-01T00:00Z", progress=False)
    pd.testing.assert_frame_equal(
        filled.online("drivers:trips", spine, as_of="event_timestamp", known_at="known"), before
    )
    assert len(stored(filled, "drivers")) == 9


def test_a_correction_leaves_what_was_known_before_it(filled, events, now):
    before = pd.Timestamp.now(tz="UTC")
    filled.materialize(events.assign(trips=events["trips"] + 100), "drivers", progress=False)
    entities = {"driver": [1, 2, 3]}
    assert filled.online("drivers:trips", entities, known_at=before)["trips"].tolist() == [6, 7, 8]
    filled.prune()
    assert filled.online("drivers:trips", entities, known_at=before)["trips"].tolist() == [6, 7, 8]
    assert filled.online("drivers:trips", entities)["trips"].tolist() == [106, 107, 108]


def shorten(ws, view, ttl_s):
    """Make the stored rows expire soon, as rows do that were written under a short ttl."""
    entry = entry_of(ws, view)
    for key, event, created, arrived, features in stored(ws, view):
        ws.session.execute(
            f'INSERT INTO {ws.keyspace}."{entry.table}" (entity_key, event_us, created_us, arrived_us, features) '
            "VALUES (%s, %s, %s, %s, %s) USING TTL %s",
            (key, event, created, arrived, features, ttl_s),
        )


def test_a_ttl_that_grew_loses_nothing_when_the_old_one_runs_out(open_workspace, events):
    ws = open_workspace(retain="5h")
    ws.materialize(events, "drivers", keys=["driver"], ttl="3h", progress=False)
    before = stored(ws, "drivers")
    assert 0 < max(before.values()) <= 7 * 3600 + 61
    done = ws.materialize(events, "drivers", ttl="30d", progress=False)
    assert (done.unchanged, done.renewed) == (9, 9)
    assert "9 of them live longer now" in repr(done)
    after = stored(ws, "drivers")
    assert set(after) == set(before)  # their arrival too
    assert min(after.values()) > 29 * 86_400
    assert ws.materialize(events, "drivers", progress=False).renewed == 0


def test_a_ttl_that_went_loses_nothing_when_the_old_one_runs_out(open_workspace, events):
    ws = open_workspace(retain="5h")
    ws.materialize(events, "drivers", keys=["driver"], ttl="3h", progress=False)
    view = ws.view("drivers")
    view.ttl = pd.Timedelta(0).to_pytimedelta()
    ws.feast.apply([view])
    ws.store.forget_entry(ws.feast.config, "drivers")
    shorten(ws, "drivers", 4)
    done = ws.materialize("drivers", start="2020-01-01T00:00Z", progress=False)
    assert done.renewed == 9
    time.sleep(5)
    assert set(stored(ws, "drivers").values()) == {None}
    assert ws.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [6, 7, 8]


def test_thousands_of_expired_rows_are_never_scanned(open_workspace, now):
    ws = open_workspace(retain="1h")
    make_view(ws, ttl="1h")
    now_us = microseconds(now)
    put(ws, [(1, now_us - 3 * HOUR - n * S, 0, now_us, n) for n in range(3_000)], ttl_s=1)
    put(ws, [(2, now_us - 3 * HOUR - n * S, 0, now_us, n) for n in range(3_000)], ttl_s=1)
    put(ws, [(1, now_us - MINUTE, 0, now_us, 42)])
    time.sleep(2.5)
    entities = pd.DataFrame({"k": [1, 2], "t": [now, now - pd.Timedelta("1min")]})
    for options in ({}, {"as_of": now}, {"as_of": "t"}, {"known_at": now}):
        read = ws.online("v:x", entities, status=True, **options)
        assert read["x"].tolist() == [42, pd.NA]
        assert read["x__status"].tolist() == ["PRESENT", "NOT_FOUND"]
    assert ws.prune().scanned == 1


# --- stopped, and written by several -------------------------------------------------------------------------------------

WRITER = """
    import os, sys, pandas as pd, feastra_nb as fnb
    frame = pd.read_parquet({frame!r})
    def acknowledged(rows):
        os.write(1, b"acknowledged\\n")  # a run from the offline store keeps what is printed to itself
    ws = fnb.connect(fnb.Local(name={node!r}), project={project!r}, keyspace={keyspace!r}, directory={directory!r}, retain="all")
    {call}
"""


def killed(ws, frame_path, call):
    """Run a call in a process of its own, and kill that when the first rows are acknowledged."""
    script = textwrap.dedent(WRITER).format(
        frame=str(frame_path), node=NODE, project=ws.project, keyspace=KEYSPACE, directory=str(ws.directory), call=call
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    time.sleep(0.5)  # what the server had received is written by then


def test_a_killed_call_is_completed_by_the_same_call(ws, now, tmp_path):
    n = 30_000
    frame = pd.DataFrame({"k": np.arange(n) % 500, "event_timestamp": now - pd.to_timedelta(np.arange(n), unit="s")})
    frame = frame.assign(x=np.arange(n))
    frame.to_parquet(tmp_path / "frame.parquet")
    killed(ws, tmp_path / "frame.parquet", 'ws.materialize(frame, "v", keys=["k"], progress=acknowledged)')
    part = len(stored(ws))
    assert 0 < part < n
    assert ws.runs("v")["state"].tolist() == ["lost"]
    done = ws.materialize(frame, "v", keys=["k"], progress=False)
    assert (done.rows, done.unchanged) == (n, part)
    assert len(stored(ws)) == n
    assert ws.online("v:x", {"k": list(range(500))})["x"].tolist() == list(range(500))


def test_a_killed_run_from_the_offline_store_is_completed_by_the_same_call(ws, now, tmp_path):
    n = 30_000
    frame = pd.DataFrame({"k": np.arange(n) % 500, "event_timestamp": now - pd.to_timedelta(np.arange(n), unit="s")})
    ws.materialize(frame.assign(x=np.arange(n)), "v", keys=["k"], progress=False)
    ws.session.execute(f'TRUNCATE {ws.keyspace}."{entry_of(ws).table}"')
    frame.to_parquet(tmp_path / "frame.parquet")
    killed(ws, tmp_path / "frame.parquet", 'ws.materialize("v", start="2020-01-01T00:00Z", progress=acknowledged)')
    part = len(stored(ws))
    assert 0 < part < n
    done = ws.materialize("v", start="2020-01-01T00:00Z", progress=False)
    assert (done.rows, done.unchanged) == (n, part)
    assert f"{part:,} stored already" in repr(done)
    assert len(stored(ws)) == n


def test_concurrent_writers_converge(ws, now):
    make_view(ws)
    rng, now_us = random.Random(7), microseconds(now)
    histories = {k: random_history(rng, k, now_us) for k in range(60)}
    # One content a version, as a source has it: which of two would win would be a matter of arrival.
    rows = list({row[:3]: row for history in histories.values() for row in history}.values())
    interval = now_us - 3 * HOUR, now_us

    def write():
        mine = rng.sample(rows, len(rows))
        for start in range(0, len(mine), 50):
            write_table(ws.stores.online, ws.view("v"), arrow(mine[start : start + 50]), interval)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    by_entity = {k: [(*row[:3], 0, row[4]) for row in rows if row[0] == k] for k in histories}
    asked = questions(rng, by_entity, now_us - 2 * HOUR, now_us)
    assert answers(ws, asked, known=False) == expected(by_entity, asked, known=False)
    assert ws.prune().folded == len(stored(ws)) * 3
    assert answers(ws, asked, known=False) == expected(by_entity, asked, known=False)
