"""When a run's events happened, and what became of them: counts over time in bins that widen as the time spanned grows. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.times import DAY_US, instant, us

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pandas as pd

# What becomes of an event, by its code.
OUTCOMES = ("written", "stored already", "expired", "older than the retention")
WRITTEN, STORED, EXPIRED, SUPERSEDED = range(len(OUTCOMES))
MOST_BINS = 120  # what a plot of seven inches shows well
_FIRST_US, _LAST_US = us(datetime.min.replace(tzinfo=timezone.utc)), us(datetime.max.replace(tzinfo=timezone.utc))
# Each divides the next, so that narrow bins join into wide ones.
_WIDTHS_US = tuple(
    width_s * 1_000_000
    for width_s in (1, 10, 60, 600, 3_600, 21_600, 86_400, 7 * 86_400, 28 * 86_400, 364 * 86_400, 3_640 * 86_400)
)
_WIDTH_NAMES = (
    "second",
    "10 s",
    "minute",
    "10 min",
    "hour",
    "6 hours",
    "day",
    "week",
    "4 weeks",
    "52 weeks",
    "520 weeks",
)


@dataclass(frozen=True, slots=True, eq=False)
class EventTimes:
    """When the events of a run happened.

    Parameters
    ----------
    first, last
        The oldest and the newest event.
    are_days
        Whether all events lie at midnights UTC, so that each row counts from the beginning of its day.
    edges
        Where the bins begin, and the last one ends.
    width
        The length of a bin in words, such as ``hour``.
    counts
        Rows in each bin, by what became of them: written, stored already, expired, older than the retention.
    """

    first: datetime
    last: datetime
    are_days: bool
    edges: tuple[datetime, ...]
    width: str
    counts: Mapping[str, npt.NDArray[np.int64]]

    @property
    def frame(self) -> pd.DataFrame:
        """A row a bin: where it begins, and how many rows of each outcome it holds."""
        import pandas as pd

        # Microseconds, since nanoseconds reach from 1677 to 2262 only.
        starts = pd.DatetimeIndex(np.array([us(edge) for edge in self.edges[:-1]], dtype="datetime64[us]"), tz="UTC")
        return pd.DataFrame({"start": starts, **self.counts})


def nearest_instant(at_us: int) -> datetime:
    """Return the aware instant of microseconds since the epoch; beyond Python's years the first or the last of them."""
    return instant(min(max(at_us, _FIRST_US), _LAST_US))


class EventCounter:
    """Counts events over time, part by part.

    Examples
    --------
    >>> counter = EventCounter()
    >>> counter.add(np.array([0, 5 * DAY_US]), np.array([EXPIRED, WRITTEN]))
    >>> times = counter.result()
    >>> times.width, len(times.edges), times.counts["expired"].tolist()[:2], times.are_days
    ('6 hours', 22, [1, 0], True)
    """

    def __init__(self) -> None:
        self._rung = 0
        self._low_us: int | None = None
        self._high_us = 0
        self._are_days = True
        self._counts: Counter[tuple[int, int]] = Counter()  # by bin and outcome

    def add(self, event_us: npt.NDArray[np.int64], outcomes: npt.NDArray[np.int8]) -> None:
        """Count the events of a part; an outcome below zero is not counted."""
        counted = outcomes >= 0
        if not counted.all():
            event_us, outcomes = event_us[counted], outcomes[counted]
        if not len(event_us):
            return
        low_us, high_us = int(event_us.min()), int(event_us.max())
        self._low_us = low_us if self._low_us is None else min(self._low_us, low_us)
        self._high_us = max(self._high_us, high_us) if self._counts else high_us
        self._are_days = self._are_days and not low_us % DAY_US and not (event_us % DAY_US).any()
        self._widen()
        bins = event_us // _WIDTHS_US[self._rung]
        base = int(bins.min())
        codes = (bins - base) * len(OUTCOMES) + outcomes
        counts = np.bincount(codes)
        for code in np.flatnonzero(counts):
            place, outcome = divmod(int(code), len(OUTCOMES))
            self._counts[base + place, outcome] += int(counts[code])

    def _widen(self) -> None:
        low_us, rung = self._low_us or 0, self._rung
        while rung < len(_WIDTHS_US) - 1 and (self._high_us - low_us) // _WIDTHS_US[rung] >= MOST_BINS:
            rung += 1
        if rung == self._rung:
            return
        factor = _WIDTHS_US[rung] // _WIDTHS_US[self._rung]
        wide: Counter[tuple[int, int]] = Counter()
        for (place, outcome), count in self._counts.items():
            wide[place // factor, outcome] += count
        self._counts, self._rung = wide, rung

    def result(self) -> EventTimes | None:
        """Return the counts; None where there was no event."""
        if self._low_us is None:
            return None
        width_us = _WIDTHS_US[self._rung]
        base, last = self._low_us // width_us, self._high_us // width_us
        counts = {name: np.zeros(last - base + 1, dtype=np.int64) for name in OUTCOMES}
        for (place, outcome), count in self._counts.items():
            counts[OUTCOMES[outcome]][place - base] = count
        edges = tuple(nearest_instant(place * width_us) for place in range(base, last + 2))
        return EventTimes(
            nearest_instant(self._low_us),
            nearest_instant(self._high_us),
            self._are_days,
            edges,
            _WIDTH_NAMES[self._rung],
            counts,
        )
