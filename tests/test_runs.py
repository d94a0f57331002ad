"""What the journal shows of runs whose process was killed."""

import os
import signal
import time
from dataclasses import replace

import pandas as pd
import pytest
from other_processes import CONTEXT, workspace

from feastra_nb.storage.journal import RUNNING, new_run

FRAME = pd.DataFrame({"driver": [1, 2], "event_timestamp": [pd.Timestamp("2026-01-01", tz="UTC")] * 2, "x": [1.0, 2.0]})


def materialize_and_stand_still(node, project, folder):
    with workspace(node, project, folder) as ws:
        ws.materialize(FRAME, "drivers", keys=["driver"], progress=lambda _rows: time.sleep(600))


@pytest.fixture
def at_work(ws, project):
    """A process that has written rows and not ended its run."""
    process = CONTEXT.Process(target=materialize_and_stand_still, args=(ws.target.name, project, ws.directory))
    process.start()
    until = time.monotonic() + 60
    while "drivers" not in set(ws.views()["view"]) or ws.runs().empty:
        assert process.is_alive(), "the process has ended"
        assert time.monotonic() < until, "the process did not begin"
        time.sleep(0.05)
    yield process
    process.kill()
    process.join()


def test_a_killed_run_is_lost_and_a_standing_one_is_running(ws, at_work):
    os.kill(at_work.pid, signal.SIGSTOP)
    time.sleep(0.2)
    assert ws.runs()["state"].tolist() == ["running"]
    at_work.kill()
    at_work.join()
    assert ws.runs()["state"].tolist() == ["lost"]
    assert ws.freshness()["state"].tolist() == ["lost"]
    ws.materialize(FRAME, "drivers", progress=False)
    assert ws.runs()["state"].tolist() == ["done", "lost"]


def test_what_this_machine_cannot_tell_counts_as_running(ws):
    ws.materialize(FRAME, "drivers", keys=["driver"], progress=False)
    opened, entry = ws.store.open(ws.feast.config), ws.store.entry(ws.feast.config, ws.view("drivers"))
    old = new_run(entry, "frame", start_us=0, end_us=1, began_us=1)
    opened.journal.write(old)
    opened.journal.write(replace(new_run(entry, "frame", start_us=0, end_us=1, began_us=0), who="me@elsewhere"))
    assert [run.state for run in opened.journal.runs(ws.project, "drivers") if run.began_us < 2] == [RUNNING] * 2
