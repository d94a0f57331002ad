"""A whole view compared by a scan: what is online only, one instant for all, ranges that fail, memory, and pace."""

import pickle
import time

import numpy as np
import pandas as pd
import pytest
from skew_faults import rewrite
from skew_ways import held_against_each_other

from feastra_nb.errors import ConfigurationError, RequestFailed, RequestTimedOut
from feastra_nb.materialization.offline_file import path_of
from feastra_nb.skew import cells, offline_ranges, pairing, scan
from feastra_nb.skew.frame import cells_frame
from feastra_nb.storage import scanning
from feastra_nb.storage.scanning import FailedRange

ROWS = 2_000


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """What compares once; everything else does so by both ways."""
    return held_against_each_other(monkeypatch)


@pytest.fixture
def many(ws, now):
    """A workspace with a view of `ROWS` entities, compared in many ranges."""
    frame = pd.DataFrame(
        {"id": np.arange(ROWS), "event_timestamp": now - pd.Timedelta("1h"), "a": np.arange(ROWS) * 0.5, "b": "text"}
    )
    ws.materialize(frame, "v", keys=["id"], progress=False)
    return ws


@pytest.fixture
def in_ranges(monkeypatch):
    """Ranges of some hundred rows."""
    monkeypatch.setattr(scan, "RANGE_ROWS", 100)


def without(ws, wanted):
    """Take entities out of the offline file."""
    rewrite(path_of(ws.directory, "v"), lambda frame: frame[~frame["id"].isin(wanted)])


@pytest.mark.usefixtures("in_ranges")
def test_many_ranges_find_each_entity_once_and_show_them_by_key(many):
    report = many.skew("v")
    assert report.ok
    assert report.frame["id"].tolist() == [*range(ROWS), *range(ROWS)]
    assert len(list(report.cells)) >= 20


@pytest.mark.usefixtures("in_ranges")
def test_what_is_online_only_is_an_orphan_with_what_to_do(many):
    without(many, [3, 700])
    report = many.skew("v")
    cells = report.different
    assert cells[["id", "feature", "verdict", "cause"]].to_dict("records") == [
        {"id": key, "feature": feature, "verdict": "missing_offline", "cause": "orphan"}
        for feature in ("a", "b")
        for key in (3, 700)
    ]
    assert cells["online"].tolist() == [1.5, 350.0, "text", "text"]
    assert cells["online_event"].notna().all()
    (diagnosis,) = report.diagnoses
    exec(diagnosis.remedy, {"ws": many})  # noqa: S102 - the line that users copy
    assert many.skew("v").differing == 2


def test_an_orphan_that_has_expired_is_served_to_nobody_and_not_reported(ws, now):
    frame = pd.DataFrame({"id": [1, 2], "event_timestamp": now - pd.Timedelta("1min"), "a": [1.0, 2.0]})
    ws.materialize(frame, "v", keys=["id"], ttl="1h", progress=False)
    old = frame.assign(id=[3, 4], event_timestamp=now - pd.Timedelta("59min59s"))
    ws.materialize(old, "v", progress=False)
    without(ws, [2, 3, 4])
    assert set(ws.skew("v").different["id"]) >= {2}
    time.sleep(1.5)
    assert ws.skew("v").different["id"].tolist() == [2]


def test_a_view_that_is_offline_empty_has_orphans_only(many):
    without(many, range(ROWS))
    report = many.skew("v:a")
    assert report.compared == report.differing == ROWS
    assert report.causes["cause"].tolist() == ["orphan"]


def test_what_arrived_after_the_instant_does_not_count(many, now, monkeypatch, once):
    at_us = pairing.time.time_ns() // 1000
    later = pd.DataFrame({"id": [5], "event_timestamp": now - pd.Timedelta("1min"), "a": 99.0, "b": "new"})
    many.materialize(later, "v", progress=False)
    monkeypatch.setattr(scan.ScanPairing, "__post_init__", fixed(scan.ScanPairing.__post_init__, at_us))
    cells = once(many.stores, "v").different
    assert cells[["id", "feature", "online", "offline", "cause"]].to_numpy().tolist() == [
        [5, "a", 2.5, 99.0, "late_arrival"],
        [5, "b", "text", "new", "late_arrival"],
    ]


def fixed(prepare, at_us):
    def prepared(self):
        prepare(self)
        self.t0_us = at_us

    return prepared


@pytest.mark.usefixtures("in_ranges")
def test_a_range_that_cannot_be_read_is_unknown_and_the_report_says_so(many, monkeypatch, once):
    whole = scan.scanned

    def lame(*arguments, **options):
        for number, part in enumerate(whole(*arguments, **options)):
            yield FailedRange(part.range, RequestTimedOut("no answer in time")) if number == 1 else part

    monkeypatch.setattr(scan, "scanned", lame)
    report = once(many.stores, "v")
    assert 0 < report.unknown < 2 * ROWS / 5
    assert report.unknown + report.compared == 2 * ROWS
    assert not report.differing
    assert not report.ok
    assert "1 of" in report.failed["v"]
    assert "ranges of the ring could not be read" in report.failed["v"]
    assert report.check(0.0).state == "could not tell"


def test_a_view_of_which_no_range_can_be_read_is_an_error(many, monkeypatch):
    monkeypatch.setattr(scanning, "AGAIN_S", 0.0)

    def lame(_reader, part, *_rest):
        raise RequestTimedOut(f"no answer in time at {part}")

    monkeypatch.setattr(scanning._Reader, "_read_page", lame)
    with pytest.raises(RequestFailed, match="no answer"):
        many.skew("v")


@pytest.mark.usefixtures("in_ranges")
def test_offline_rows_beyond_memory_lie_on_the_disk_and_go_with_it(many, monkeypatch, tmp_path):
    monkeypatch.setattr(offline_ranges.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(pairing, "KEPT_BYTES", 0)
    folder = []
    whole = offline_ranges.OfflineRanges.table

    def table(self, number):
        folder.append(list(tmp_path.glob("feastra-skew-*/*")))
        return whole(self, number)

    monkeypatch.setattr(offline_ranges.OfflineRanges, "table", table)
    assert many.skew("v").ok
    assert len(folder[0]) >= 20
    assert not list(tmp_path.glob("feastra-skew-*/*"))


def test_a_full_disk_is_told_of(many, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pairing, "KEPT_BYTES", 0)
    monkeypatch.setattr(offline_ranges.pa, "OSFile", full)
    with pytest.raises(ConfigurationError, match="no room for the offline rows") as caught:
        many.skew("v")
    assert "TMPDIR" in caught.value.hint


def test_a_pace_is_for_scans_only_and_never_dropped_in_silence(many):
    assert many.skew("v", rows_per_s=1e6).ok
    with pytest.raises(ConfigurationError, match="entity by entity"):
        many.skew("v", sample=10, rows_per_s=100)
    with pytest.raises(ConfigurationError, match="rows_per_s"):
        many.skew("v", rows_per_s=0)


def test_progress_counts_each_entity_once(many):
    told = []
    many.skew("v", progress=told.append)
    assert sum(told) == ROWS


@pytest.mark.usefixtures("in_ranges")
def test_what_comes_of_a_range_can_be_sent_to_another_process_and_put_together_there(many, once):
    rewrite(path_of(many.directory, "v"), lambda frame: frame.assign(a=frame["a"].where(frame["id"] % 7 > 0, -1.0)))
    report = once(many.stores, "v")
    sent = cells.Cells(by_key=True)
    for chunk in report.cells:
        sent.add(pickle.loads(pickle.dumps(chunk)))
    pd.testing.assert_frame_equal(cells_frame(sent, report.proofs, differing=True), report.different)
    assert len(report.different) == len(range(0, ROWS, 7))
