"""What a latency report must not hide: a server that freezes, and one that dies. On a node of its own."""

import os
import signal
import threading
import time

import pandas as pd
import pytest
from nodes import NODE_SETTINGS, start_node

import feastra_nb as fnb
from feastra_nb.connection import local

NODE = f"tests-latency-{os.getpid()}"
STALL_S = 1.0


@pytest.fixture(scope="module")
def own_node():
    """A Cassandra that may be frozen and killed."""
    started = start_node(NODE, settings=NODE_SETTINGS)
    yield started
    local.purge(NODE)


@pytest.fixture(scope="module")
def on_own_node(own_node, tmp_path_factory):
    """A workspace with a filled view on a node that may be frozen and killed."""
    folder = tmp_path_factory.mktemp("truth") / ".feastra"
    now = pd.Timestamp.now(tz="UTC").floor("us")
    frame = pd.DataFrame({"driver": range(100), "event_timestamp": now - pd.Timedelta("1h"), "trips": range(100)})
    with fnb.connect(fnb.Local(name=NODE), project="truth", keyspace="truth", directory=folder) as ws:
        ws.materialize(frame, "drivers", keys=["driver"], progress=False)
        ws.latency("drivers", seconds=2, batch=1, progress=False)  # code is compiled, connections are open
        yield ws


@pytest.fixture
def freeze(own_node):
    """Stop the server's process after a while, for one second, in a thread of its own."""
    threads = []

    def after(seconds):
        thread = threading.Thread(target=stall, args=(own_node.pids[0], seconds))
        threads.append(thread)
        thread.start()

    yield after
    for thread in threads:
        thread.join()


def stall(pid, after_s):
    time.sleep(after_s)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(STALL_S)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_stall_of_a_second_is_seen_by_every_measure_and_no_request_is_lost(on_own_node, freeze):
    freeze(4)
    report = on_own_node.latency("drivers", rate=200, seconds=10, batch=1, warmup_s=0.5, progress=False)
    response, service = (report.frame[report.frame["kind"] == kind].iloc[0] for kind in ("response", "service"))
    assert response["n"] == service["n"] == 2_000
    assert response["errors"] == 0
    assert response["p99_ms"] >= 500
    assert service["p99_ms"] >= 500
    longest = report.stalls.query("kind == 'response'").nlargest(1, "seconds").iloc[0]
    assert STALL_S - 0.3 < longest["seconds"] < STALL_S + 2
    assert 0 < longest["at_s"] < 4  # when exactly depends on how long it takes to begin
    assert "no answer for " in repr(report)


def test_the_timeline_marks_the_stall(on_own_node, freeze):
    from feastra_nb.reporting import plots

    freeze(1.5)
    report = on_own_node.latency("drivers", rate=100, seconds=4, batch=1, warmup_s=0.5, progress=False)
    ax = report.plot(plots.detached_axes(), kind="timeline")
    assert any(text.get_text().startswith("no answer for ") for text in ax.texts)
    timeline = report.recordings[next(iter(report.recordings))].timeline()
    assert timeline["n"].sum() == 400
    assert timeline["max_ms"].max() >= 500


def test_a_closed_loop_samples_a_stall_only_once(on_own_node, freeze):
    freeze(1.5)
    report = on_own_node.latency("drivers", seconds=4, batch=1, warmup_s=0.5, progress=False)
    recording = next(iter(report.recordings.values()))
    beyond = recording.cells().query("low_ms >= 400")["n"].sum()
    assert 1 <= beyond <= 3  # and what else this machine held up
    assert len(report.stalls) >= 1
    assert "service time only" in report.caveats[0].lower()


# The last one: afterwards the server is dead.
def test_a_server_that_dies_is_counted_by_kind_and_the_report_still_comes(on_own_node, own_node):
    killer = threading.Timer(3, os.kill, (own_node.pids[0], signal.SIGKILL))
    killer.start()
    began = time.monotonic()
    dying = on_own_node.latency("drivers", rate=50, seconds=6, batch=1, warmup_s=0.5, progress=False)
    killer.join()
    answered, failed = dying.frame["n"].iloc[0], dying.errors.query("kind == 'response'")["count"].sum()
    timeouts = next(iter(dying.recordings.values())).timeouts
    assert answered + failed - timeouts == 300
    assert answered > 0
    assert failed > 0

    entities = {"driver": [1, 2, 3]}
    for options in ({"rate": 50}, {}, {"concurrency": 2}, {"target": "driver"}):
        dead = on_own_node.latency("drivers", entities, seconds=0.5, batch=1, warmup_s=0.1, progress=False, **options)
        assert (dead.frame["reached_rate"] == 0).all()
        assert dead.errors["count"].sum() > 0
        assert "errors: " in repr(dead)
        check = dead.check(p99_ms=1_000)
        assert not check
        assert check.exit_code == 1
        assert dead._repr_html_()
    none = on_own_node.capacity("drivers", entities, p99_ms=10, progress=False)
    assert none.rate == 0
    assert none.sentence == "Nothing was answered."
    assert none._repr_html_()
    assert time.monotonic() - began < 120
