"""Holds both ways of comparing a view as it is now against each other: a scan, and entity by entity."""

import pandas as pd

from feastra_nb.skew import pairing

WHEN = ["as_of", "ttl_bound"]  # of two comparisons, one a moment after the other


def held_against_each_other(monkeypatch):
    """Let every comparison by a scan be made entity by entity, too, and find the same; return what compares once."""
    compare = pairing.skew

    def both(stores, features, **options):
        report = compare(stores, features, **options)
        if report.mode == pairing.NOW and options.get("sample") is None and report.cells.by_key:
            with monkeypatch.context() as patch:
                patch.setattr(pairing, "comparable_as_a_whole", lambda _stores: None)
                asked = compare(stores, features, **{**options, "progress": False, "rows_per_s": None})
            assert_same(report, asked)
        return report

    monkeypatch.setattr(pairing, "skew", both)
    return compare


def assert_same(scanned, asked):
    """Find the same in two reports, but for what only a scan finds: what is online only."""
    known = scanned.frame[scanned.frame["cause"] != "orphan"]
    # Of a store that keeps one value only a scan tells when it was written, and what that proves.
    aside = WHEN if scanned.has_history else [*WHEN, "online_arrived", "note"]
    pd.testing.assert_frame_equal(_comparable(known, aside), _comparable(asked.frame, aside), check_dtype=False)
    if len(known) == len(scanned.frame):
        pd.testing.assert_frame_equal(scanned.summary, asked.summary, check_dtype=False)
        pd.testing.assert_frame_equal(scanned.causes, asked.causes, check_dtype=False)
        assert [str(each).split("·")[0] for each in scanned.diagnoses] == [
            str(each).split("·")[0] for each in asked.diagnoses
        ]
        assert scanned.proofs == asked.proofs
    assert (scanned.failed, scanned.ok) == (asked.failed, asked.ok) or len(known) < len(scanned.frame)


def _comparable(frame, aside):
    frame = frame.drop(columns=aside).reset_index(drop=True).astype(object)
    return frame.where(frame.notna(), None)
