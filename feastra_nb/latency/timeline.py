"""A run in steps of 100 ms: requests sent, their latency, and stalls without any answer."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import pandas as pd

SLOT_MS = 100  # short enough to see a garbage collection
CELLS_A_DECADE = 10  # of a latency heatmap: steps of 26 %
SHORTEST_STALL_MS = 100.0  # what is shorter is jitter
STALL_MEDIANS = 10.0  # and a stall is this many times the median: a store that always takes 200 ms does not stall
NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000


@dataclass(slots=True)
class _Gap:
    """A time without answers, in nanoseconds since the start of the run."""

    before_ns: int  # the answer before it
    answered_ns: int  # the answer that ended it
    sent_ns: int  # the earliest of the requests that were answered afterwards

    @property
    def began_ns(self) -> int:
        """Since when a request waited."""
        return max(self.before_ns, self.sent_ns)

    def moved(self, by_ns: int) -> _Gap:
        """Return it at another time."""
        return _Gap(self.before_ns + by_ns, self.answered_ns + by_ns, self.sent_ns + by_ns)


class RequestTimeline:
    """When requests were sent (or were to be sent) and how long they took.

    Examples
    --------
    >>> timeline = RequestTimeline()
    >>> for at_ms, latency_ms in ((0, 2), (50, 2), (100, 500), (110, 490)):
    ...     timeline.add(latency_ms * NS_PER_MS, at_ns=at_ms * NS_PER_MS)
    >>> print(timeline.frame())
       at_s  n  max_ms
    0   0.0  2     2.0
    1   0.1  2   500.0
    >>> print(timeline.stalls(median_ms=2))
       at_s  seconds
    0   0.1      0.5
    """

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, int]] = {}  # 100 ms slot → (count, longest in ns)
        self._cells: Counter[tuple[int, int]] = Counter()  # (slot, step of latency) → count
        self._gaps: list[_Gap] = []
        self._answered_ns = self._unanswered_ns = (
            0  # when the last request was answered, and when the last one was given up
        )

    def add(self, latency_ns: int, *, at_ns: int, answered: bool = True) -> None:
        """Add a request, in the order in which they complete.

        Parameters
        ----------
        latency_ns
            How long it took, in nanoseconds.
        at_ns
            When it was sent (or was to be sent), in nanoseconds since the start of the run.
        answered
            Whether it was answered: what timed out ends no stall.
        """
        slot = at_ns // (SLOT_MS * NS_PER_MS)
        count, longest_ns = self._slots.get(slot, (0, 0))
        self._slots[slot] = (count + 1, max(longest_ns, latency_ns))
        self._cells[slot, _step(latency_ns)] += 1
        if answered:
            self._answer(at_ns, at_ns + latency_ns)
        else:
            self._unanswered_ns = max(self._unanswered_ns, at_ns + latency_ns)

    def _answer(self, at_ns: int, done_ns: int) -> None:
        if done_ns - self._answered_ns >= SHORTEST_STALL_MS * NS_PER_MS:
            self._gaps.append(_Gap(self._answered_ns, done_ns, at_ns))
        elif self._gaps:
            # Which of the requests that waited is answered first is chance.
            self._gaps[-1].sent_ns = min(self._gaps[-1].sent_ns, at_ns)
        self._answered_ns = max(self._answered_ns, done_ns)

    def take(self, other: RequestTimeline, *, shift: int) -> None:
        """Add another one, moved by whole slots."""
        for slot, (count, longest_ns) in other._slots.items():
            old_count, old_longest_ns = self._slots.get(slot + shift, (0, 0))
            self._slots[slot + shift] = (old_count + count, max(old_longest_ns, longest_ns))
        for (slot, step), count in other._cells.items():
            self._cells[slot + shift, step] += count
        moved_ns = shift * SLOT_MS * NS_PER_MS
        self._gaps += [gap.moved(moved_ns) for gap in other._gaps]
        self._answered_ns = max(self._answered_ns, other._answered_ns + moved_ns)
        self._unanswered_ns = max(self._unanswered_ns, other._unanswered_ns + moved_ns)

    def frame(self) -> pd.DataFrame:
        """Return count and longest latency of each 100 ms.

        Returns
        -------
        pandas.DataFrame
            ``at_s`` (start of the slot, seconds since the start of the run), ``n`` and ``max_ms``; a slot in which no
            request was sent has 0 and NaN.
        """
        slots = range(max(self._slots, default=-1) + 1)
        rows = [self._slots.get(slot, (0, math.nan)) for slot in slots]
        frame: pd.DataFrame = pd.DataFrame(
            {
                "at_s": pd.Series([slot * SLOT_MS / 1_000 for slot in slots], dtype="float64"),
                "n": pd.Series([count for count, _ in rows], dtype="int64"),
                "max_ms": pd.Series([longest_ns / NS_PER_MS for _, longest_ns in rows], dtype="float64"),
            }
        )
        return frame

    def cells(self) -> pd.DataFrame:
        """Return the fields of a heatmap: ``at_s`` (start of the slot), ``low_ms``, ``high_ms`` and ``n``."""
        rows = [(slot * SLOT_MS / 1_000, *_bounds_ms(step), n) for (slot, step), n in sorted(self._cells.items())]
        types = {"at_s": "float64", "low_ms": "float64", "high_ms": "float64", "n": "int64"}
        frame: pd.DataFrame = pd.DataFrame(rows, columns=list(types)).astype(types)
        return frame

    def stalls(self, *, median_ms: float) -> pd.DataFrame:
        """Return the stalls: times in which requests waited and none was answered.

        Parameters
        ----------
        median_ms
            The run's median latency: a stall is at least ten of them, and at least 100 ms.

        Returns
        -------
        pandas.DataFrame
            ``at_s`` (since the start of the run) and ``seconds``.
        """
        # Without a median (NaN) nothing tells a stall from a slow store: no gap is longer than infinity.
        shortest_ms = math.inf if math.isnan(median_ms) else max(SHORTEST_STALL_MS, STALL_MEDIANS * median_ms)
        gaps = sorted((gap.began_ns, gap.answered_ns) for gap in self._gaps)
        gaps.append((self._answered_ns, self._unanswered_ns))
        rows = [
            (begin / NS_PER_S, (end - begin) / NS_PER_S)
            for begin, end in gaps
            if end - begin >= shortest_ms * NS_PER_MS
        ]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=["at_s", "seconds"]).astype("float64")
        return frame


def _step(latency_ns: int) -> int:
    return math.floor(math.log10(max(latency_ns, 1) / NS_PER_MS) * CELLS_A_DECADE)


def _bounds_ms(step: int) -> tuple[float, float]:
    return 10.0 ** (step / CELLS_A_DECADE), 10.0 ** ((step + 1) / CELLS_A_DECADE)
