"""A registered view's rows from the offline store into the online store, span by span, newest first."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import InvalidFrame
from feastra_nb.materialization.run import Part, Writing
from feastra_nb.materialization.spans import SPAN_ROWS, Spans, gaps, resumable
from feastra_nb.reporting.progress import acknowledged_rows
from feastra_nb.storage.row_selection import CLOCK_SKEW_US, admit
from feastra_nb.times import DAY_US, instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from feastra_nb.materialization.pulled import Extent, OfflineView, Pulled
    from feastra_nb.materialization.run import Materialization
    from feastra_nb.materialization.spans import Interval
    from feastra_nb.reporting.progress import Progress
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.storage.retention import Retention

# An incremental run looks this far back before the end of the last one, for rows that arrived late.
LOOKBACK = timedelta(days=1)


def materialize_view(
    offline: OfflineView,
    opened: OpenStore,
    interval: Interval,
    *,
    lookback: timedelta = LOOKBACK,
    resume: bool = True,
    progress: bool | Callable[[int], object] = False,
) -> Materialization:
    """Read a view's rows of an interval from the offline store and write them: every event inside retention, and of each
    entity the newest before it.

    Memory is bounded where the offline store can stream, as DuckDB can. The run goes backwards in spans of about a million
    rows and notes each in the journal, so that after it was stopped the same call goes on from there.

    Parameters
    ----------
    interval
        Of event time, in microseconds since the epoch, both ends inclusive.
    lookback
        What was as new as this when a stopped run began is read again, for rows that arrived late.
    resume
        Leave out what stopped runs have written for good; otherwise everything is read, and what is not stored is written.

    Raises
    ------
    InvalidFrame
        An event lies in the future; nothing was written. Or a value does not fit its feature's type.
    WriteIncomplete
        The write stopped part-way; the journal says so, and the same call completes it.
    """  # noqa: D205 - one sentence
    _refuse_future_events(offline, interval)
    opened.entry(offline.view, reload=True)  # another process may have changed it since
    writing = Writing(opened, offline.view)
    entry = writing.entry
    runs = opened.journal.runs(entry.project, entry.view)
    window, before = _divided(interval, entry.retention, writing.now_us)
    lookback_us = lookback // timedelta(microseconds=1)
    covered = resumable(runs, generation=entry.generation, terms=entry.terms, lookback_us=lookback_us) if resume else []
    plan = _Plan(offline, writing, [run.touched for run in runs if run.writes and run.generation == entry.generation])
    with writing.journalled("view", interval):
        whole = offline.all(window) if window else None
        extent = whole.extent() if whole else None
        total = extent.rows if extent and not before and not covered else None
        with acknowledged_rows(total, offline.view.name, progress) as report:
            if whole and extent and extent.rows <= SPAN_ROWS and not covered:
                plan.write_span(whole, report)
            elif window:
                for gap in gaps(window, covered):
                    plan.write_spans(gap, extent, report)
            if before:
                plan.write_latest(before, report)
    writing.warn_of_meaning()
    skipped = [span for span in covered if window and span[1] >= window[0] and span[0] <= window[1]]
    return writing.result(skipped)


def is_plain(view: Any) -> bool:
    """Tell whether materializing a view is plain reading and writing; transformations and aggregations are Feast's."""
    return (
        not getattr(view, "feature_transformation", None)
        and not getattr(view, "aggregations", None)
        and getattr(view, "batch_source", None) is not None
        and bool(view.online)
        and not view.offline
        and not getattr(view, "enable_validation", False)
    )


def _divided(interval: Interval, retention: Retention, now_us: int) -> tuple[Interval | None, Interval | None]:
    """Return the parts of an interval inside the retention and before it; None for an empty one.

    Examples
    --------
    >>> from feastra_nb.storage.retention import Retention
    >>> _divided((0, 10), Retention("all"), 20)
    ((0, 10), None)
    >>> _divided((0, 10_000_000), Retention("5s"), 10_000_000)
    ((5000000, 10000000), (0, 4999999))
    >>> _divided((0, 10), Retention("latest"), 20)
    (None, (0, 10))
    """
    start_us, end_us = interval
    if retention.us is None:
        return interval, None
    cut_us = now_us - retention.us if retention.us else end_us + 1
    window = (max(start_us, cut_us), end_us)
    before = (start_us, min(end_us, cut_us - 1))
    return (window if window[0] <= window[1] else None), (before if before[0] <= before[1] else None)


def _refuse_future_events(offline: OfflineView, interval: Interval) -> None:
    """Refuse events more than five minutes ahead of this machine's clock, before anything is written."""
    from_us = time.time_ns() // 1000 + CLOCK_SKEW_US + 1
    if interval[1] < from_us:
        return
    ahead = sum(table.num_rows for table in offline.all((max(from_us, interval[0]), interval[1])).tables())
    if ahead:
        raise InvalidFrame(
            f"{ahead:,} rows of view {offline.view.name!r} up to {instant(interval[1]):%Y-%m-%d %H:%M:%S} UTC lie in the future",
            hint="check the timestamp column's unit and time zone, or end the interval at the present",
        )


class _Plan:
    """Writes the parts of one run.

    Parameters
    ----------
    touched
        Intervals in which earlier runs may have written: what lies there may be stored already.
    """

    def __init__(self, offline: OfflineView, writing: Writing, touched: Sequence[Interval]) -> None:
        self._offline = offline
        self._writing = writing
        self._touched = touched
        self._reached_us: int | None = None

    def write_spans(self, interval: Interval, extent: Extent | None, report: Progress) -> None:
        """Write every event of an interval inside the retention."""
        spans = Spans(interval, first_us=DAY_US)
        if extent is not None:
            if not extent.rows:
                return
            # What lies beyond the first and the last event needs no query.
            interval = max(interval[0], extent.first_us), interval[1]
            length_us = max(extent.last_us - extent.first_us + 1, 1)
            first_us = interval[1] - extent.last_us + length_us * SPAN_ROWS // extent.rows
            spans = Spans(interval, first_us=max(first_us, 1))
        for span in spans:
            spans.took(self.write_span(self._offline.all(span), report))

    def write_span(self, pulled: Pulled, report: Progress) -> int:
        """Write every event that was pulled, and return how many there were."""
        self._writing.reached(self._reached_us, pulled.interval[0])
        counted = _Counted(pulled)
        self._writing.write(self._parts(counted.tables(), report), report)
        self._reached_us = pulled.interval[0]
        return counted.rows

    def write_latest(self, interval: Interval, report: Progress) -> None:
        """Write of each entity the newest event of an interval before the retention's window."""
        self._writing.reached(self._reached_us, interval[0])
        self._writing.write(self._parts(self._latest(interval), report), report)

    def _latest(self, interval: Interval) -> Iterator[pa.Table]:
        moved = False
        for table in self._offline.latest(interval).tables():
            if table.num_rows and not moved and self._writing.entry.retention.keeps_history:
                self._writing.forget_before_retention()
                moved = True
            yield table

    def _parts(self, tables: Iterable[pa.Table], report: Progress) -> Iterator[Part]:
        writing = self._writing
        entry = writing.entry
        for table in tables:
            allowed = writing.allowed(table)
            if not allowed.all():
                report.fewer(int((~allowed).sum()))
                table = table.filter(pa.array(allowed))  # noqa: PLW2901 - the others are not to be met again
            rows = writing.encoded(table)
            # Not thinned: rows come in pieces, and of those before the window the offline store gave the newest only.
            admitted = admit(rows, now_us=writing.now_us, ttl_us=entry.ttl_us, retain=entry.retention, thin=False)
            yield Part(rows, admitted, admitted.keep & _inside(rows.event_us, self._touched))


class _Counted:
    """Counts the rows of a stream as they go by."""

    def __init__(self, pulled: Pulled) -> None:
        self.rows = 0
        self._pulled = pulled

    def tables(self) -> Iterator[pa.Table]:
        for table in self._pulled.tables():
            self.rows += table.num_rows
            yield table


def _inside(event_us: npt.NDArray[np.int64], intervals: Sequence[Interval]) -> npt.NDArray[np.bool_]:
    """Return which events lie in any of the intervals; shape (n,)."""
    inside = np.zeros(len(event_us), dtype=bool)
    for start_us, end_us in intervals:
        inside |= (event_us >= start_us) & (event_us <= end_us)
    return inside
