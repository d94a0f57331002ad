"""A long comparison that was stopped goes on where it was, at the instant at which it began."""

import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from feastra_nb.connection.files import cache_dir
from feastra_nb.errors import ConfigurationError
from feastra_nb.skew import scan
from feastra_nb.skew.stopped import KeptRanges

ROWS = 2_000
RANGES = 20


@pytest.fixture
def many(ws, now, monkeypatch):
    """A workspace with a view of `ROWS` entities, compared in `RANGES` ranges and one more; a hundred of them differ."""
    monkeypatch.setattr(scan, "RANGE_ROWS", ROWS // RANGES)
    frame = pd.DataFrame(
        {"id": np.arange(ROWS), "event_timestamp": now - pd.Timedelta("1h"), "a": np.arange(ROWS) * 0.5}
    )
    ws.materialize(frame, "v", keys=["id"], progress=False)
    newer = frame.tail(100).assign(event_timestamp=now - pd.Timedelta("30min"), a=-1.0)
    ws.feast.write_to_offline_store("v", newer.assign(feastra_created=now))
    return ws


@pytest.fixture
def scanned_ranges(monkeypatch):
    """The number of ranges of each scan."""
    counts, whole = [], scan.scanned

    def counted(scan_of, ranges, **options):
        counts.append(len(ranges))
        return whole(scan_of, ranges, **options)

    monkeypatch.setattr(scan, "scanned", counted)
    return counts


def stop_after(monkeypatch, ranges):
    """Have Ctrl-C come while a range is read."""
    whole = scan.scanned

    def stopped(*arguments, **options):
        for number, part in enumerate(whole(*arguments, **options)):
            if number == ranges:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(scan, "scanned", stopped)


def kept():
    return [path for path in (cache_dir() / "skew").glob("*/*") if path.is_dir()]


def test_a_stopped_comparison_goes_on_at_its_instant(many, scanned_ranges, now):
    expected = many.skew("v").frame.drop(columns=["as_of", "ttl_bound"])
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 7)
        with (
            pytest.raises(KeyboardInterrupt),
            pytest.warns(UserWarning, match="stopped") as warned,
        ):
            many.skew("v")
    assert "stopped after 7 of 21 ranges; ws.skew(…, resume=True) goes on" in str(warned[0].message)
    later = pd.DataFrame({"id": [3], "event_timestamp": now, "a": [5.0]})
    many.materialize(later, "v", progress=False)  # after the instant: not seen
    scanned_ranges.clear()
    report = many.skew("v", resume=True)
    assert scanned_ranges == [14]
    found = report.frame.drop(columns=["as_of", "ttl_bound"])
    unseen = found["id"] != 3
    pd.testing.assert_frame_equal(found[unseen], expected[expected["id"] != 3])
    assert report.frame["as_of"].nunique() == 1
    assert not kept()


def test_what_is_done_leaves_nothing_behind_and_there_is_nothing_to_go_on_with(many):
    assert many.skew("v").differing == 100
    assert not kept()
    with pytest.warns(UserWarning, match="no comparison of v was stopped"):
        assert many.skew("v", resume=True).differing == 100


def test_a_new_run_forgets_the_one_that_was_stopped(many, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="stopped"):
            many.skew("v")
    assert len(kept()) == 1
    assert many.skew("v").differing == 100
    assert not kept()


def test_another_comparison_is_not_gone_on_with(many):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="stopped"):
            many.skew("v")
    with pytest.warns(UserWarning, match="no comparison of v was stopped"):
        many.skew("v", tolerance=5.0, resume=True)
    many.skew("v")


KILLED = """
import sys
import feastra_nb as fnb
from feastra_nb.skew import scan

scan.RANGE_ROWS = 100
node, project, folder = sys.argv[1:]
with fnb.connect(fnb.Local(name=node), project=project, keyspace="tests", directory=folder, retain="all") as ws:
    print("begins", flush=True)
    ws.skew("v", rows_per_s=500, progress=lambda rows: print(rows, flush=True))
"""


def test_a_run_that_was_killed_goes_on(many, node, project, tmp_path, scanned_ranges):
    command = [sys.executable, "-c", KILLED, node.name, project, str(tmp_path / ".feastra")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as program:
        for _ in range(6):  # it says that it begins, and then each chunk of cells
            program.stdout.readline()
        program.send_signal(signal.SIGKILL)
    report = many.skew("v", resume=True)
    assert 0 < scanned_ranges[-1] < RANGES
    assert report.compared == ROWS
    assert report.differing == 100


def test_a_run_that_goes_on_elsewhere_is_left_alone(tmp_path):
    first = KeptRanges.begin(tmp_path / "runs", 5, [])
    first.keep(0, [])
    assert KeptRanges.stopped(tmp_path / "runs") is None
    first.close()
    again = KeptRanges.stopped(tmp_path / "runs")
    assert (again.t0_us, again.done) == (5, {0: 0})
    again.forget()
    assert KeptRanges.stopped(tmp_path / "runs") is None


def test_a_journal_whose_last_line_was_cut_short_counts_up_to_it(tmp_path):
    first = KeptRanges.begin(tmp_path / "runs", 5, [])
    first.keep(0, [])
    first.close()
    with (first.folder / "journal").open("a") as journal:
        journal.write('{"range": 1, "chu')
    again = KeptRanges.stopped(tmp_path / "runs")
    assert again.done == {0: 0}
    again.close()


def test_resuming_is_for_scans_only(many):
    with pytest.raises(ConfigurationError, match="entity by entity"):
        many.skew("v", sample=10, resume=True)
