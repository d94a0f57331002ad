"""Splits a run's event time into spans, newest first, and skips those that an earlier run has written. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from feastra_nb.storage.journal import DONE
from feastra_nb.times import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from feastra_nb.storage.journal import Run

Interval: TypeAlias = tuple[int, int]  # of event time, microseconds since the epoch, both ends inclusive

SPAN_ROWS = 1_000_000  # what a run that is stopped loses at most
GROWTH = 8  # a span is at most this much longer or shorter than the one before
OLDEST_US = (
    -8_520_336_000_000_000
)  # 1700-01-01: what lies before is one span; databases' own calendars begin about here


class Spans:
    """Cuts an interval into spans, newest first, that grow or shrink towards a number of rows.

    Parameters
    ----------
    interval
        What is to be cut.
    first_us
        Length of the first span in microseconds.

    Examples
    --------
    >>> spans = Spans((0, 99), first_us=10)
    >>> for span in spans:
    ...     print(span)
    ...     spans.took(0)
    (90, 99)
    (10, 89)
    (0, 9)
    """

    def __init__(self, interval: Interval, *, first_us: int = DAY_US) -> None:
        self._interval = interval
        self._length_us = max(first_us, 1)

    def __iter__(self) -> Iterator[Interval]:
        start_us, upper_us = self._interval
        while upper_us >= start_us:
            lower_us = upper_us - self._length_us + 1
            lower_us = start_us if lower_us < OLDEST_US else max(start_us, lower_us)
            yield lower_us, upper_us
            upper_us = lower_us - 1

    def took(self, rows: int) -> None:
        """Fit the length of the next span to what the last one held."""
        factor = SPAN_ROWS / rows if rows else GROWTH
        self._length_us = max(1, int(self._length_us * min(max(factor, 1 / GROWTH), GROWTH)))


def gaps(interval: Interval, covered: Sequence[Interval]) -> list[Interval]:
    """Return what is left of an interval without those that are covered, newest first.

    Examples
    --------
    >>> gaps((0, 99), [(50, 70), (60, 200), (-5, 3)])
    [(4, 49)]
    >>> gaps((0, 9), [])
    [(0, 9)]
    """
    left = []
    start_us, upper_us = interval
    for lower_us, covered_to_us in sorted(covered, key=lambda span: span[1], reverse=True):
        if covered_to_us < upper_us:
            left.append((max(start_us, covered_to_us + 1), upper_us))
        upper_us = min(upper_us, lower_us - 1)
        if upper_us < start_us:
            break
    if upper_us >= start_us:
        left.append((start_us, upper_us))
    return [(lower, upper) for lower, upper in left if lower <= upper]


def resumable(runs: Sequence[Run], *, generation: int, terms: str, lookback_us: int) -> list[Interval]:
    """Return what the runs since the last finished one have written for good before they were stopped.

    Parameters
    ----------
    runs
        A view's journal, newest first.
    terms
        Only runs that wrote under these terms count: with another ttl, retention or feature, rows would look different.
    lookback_us
        What was as new as this when a run began is not trusted: rows may have arrived late since.
    """
    stopped = []
    for run in runs:
        if run.kind != "view" or run.generation != generation:
            continue
        if run.state == DONE:
            break
        if run.reached_us is not None and run.terms == terms:
            stopped.append((run.reached_us, min(run.end_us, run.began_us - lookback_us)))
    return [(lower, upper) for lower, upper in stopped if lower <= upper]
