"""What one run of requests took: an HdrHistogram, a timeline and the errors."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pandas as pd
from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable

LOWEST_US = 1  # a request cannot be told from nothing below a microsecond
HIGHEST_US = 60_000_000  # one minute: beyond every request timeout; what takes longer counts as this in percentiles
SIGNIFICANT_DIGITS = 3  # a percentile is within 0.1 % of the truth
SLOT_MS = 100  # of the timeline: short enough to see a garbage collection
FEWEST_BEYOND = 10  # samples beyond a percentile: with fewer, single requests decide it


class Recording:
    """The latencies of one run of requests, of one kind (service or response time).

    Percentiles come from an HdrHistogram (1 µs to 60 s, three digits), so that recordings are merged without averaging
    percentiles. A timeout is a sample: a request that was given up had at least that latency. Other errors are counted
    and are no samples, since they say nothing about how long an answer takes.

    Attributes
    ----------
    started
        When the first request was sent; aware, UTC.
    elapsed_s
        From the first request sent to the last one completed, by a monotonic clock, in seconds.
    errors
        Requests that failed, timeouts among them, by the name of the error's class.
    timeouts
        Requests that timed out.
    max_us
        The longest latency, exactly, in microseconds; 0 without a sample.
    interrupted
        Whether the run was ended early by the user.

    Examples
    --------
    >>> recording = Recording()
    >>> for position in range(100):
    ...     recording.add((position + 1) * 1_000_000, at_ns=position * 10_000_000)
    >>> recording.n, recording.percentile_ms(50), recording.percentile_ms(99), recording.max_us
    (100, 50.015, nan, 100000)
    """

    def __init__(self) -> None:
        self.started = datetime.now(timezone.utc)
        self.elapsed_s = 0.0
        self.errors: dict[str, int] = {}
        self.timeouts = 0
        self.max_us = 0
        self.interrupted = False
        self._histogram = HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)
        self._slots: dict[int, tuple[int, int]] = {}  # 100 ms slot → (count, longest in µs)

    @property
    def n(self) -> int:
        """Samples: requests answered or timed out."""
        return int(self._histogram.total_count)

    @property
    def ended(self) -> datetime:
        """When the last request was completed; aware, UTC."""
        return self.started + timedelta(seconds=self.elapsed_s)

    @property
    def answered_per_s(self) -> float:
        """Requests answered (neither failed nor timed out) a second; NaN before the first one completed."""
        return (self.n - self.timeouts) / self.elapsed_s if self.elapsed_s > 0 else math.nan

    def add(self, latency_ns: int, *, at_ns: int) -> None:
        """Add the latency of an answered request.

        Parameters
        ----------
        latency_ns
            How long it took, in nanoseconds.
        at_ns
            When it was sent (or was to be sent), in nanoseconds since the start of the run.
        """
        latency_us = max(round(latency_ns / 1_000), LOWEST_US)
        # A longer value would be refused without an error, and the worst request lost.
        self._histogram.record_value(min(latency_us, HIGHEST_US))
        self.max_us = max(self.max_us, latency_us)
        slot = at_ns // (SLOT_MS * 1_000_000)
        count, longest_us = self._slots.get(slot, (0, 0))
        self._slots[slot] = (count + 1, max(longest_us, latency_us))
        self._complete(at_ns + latency_ns)

    def add_timeout(self, latency_ns: int, *, at_ns: int, name: str) -> None:
        """Add a request that timed out: an error, and a sample.

        Parameters
        ----------
        latency_ns
            The timeout, or what it really took where that is longer, in nanoseconds.
        at_ns
            As for :meth:`add`.
        name
            The name of the error's class.
        """
        self.timeouts += 1
        self.errors[name] = self.errors.get(name, 0) + 1
        self.add(latency_ns, at_ns=at_ns)

    def add_error(self, latency_ns: int, *, at_ns: int, name: str) -> None:
        """Count a request that failed otherwise; its latency only prolongs the run."""
        self.errors[name] = self.errors.get(name, 0) + 1
        self._complete(at_ns + latency_ns)

    def _complete(self, at_ns: int) -> None:
        self.elapsed_s = max(self.elapsed_s, at_ns / 1e9)

    def percentile_ms(self, percentile: float) -> float:
        """Return a percentile of the latency in milliseconds; NaN with fewer than ten samples beyond it.

        Parameters
        ----------
        percentile
            In percent, from 0 to below 100. For the maximum there is ``max_us``.
        """
        return self.percentiles_ms([percentile])[0]

    def percentiles_ms(self, percentiles: Iterable[float]) -> list[float]:
        """Return several percentiles as :meth:`percentile_ms` does, in one pass over the histogram."""
        asked = list(percentiles)
        known = [percentile for percentile in asked if samples_beyond(percentile, self.n) >= FEWEST_BEYOND]
        values_us = self._histogram.get_percentile_to_value_dict(known)
        # A histogram answers with the upper end of a bucket, which can lie above everything that was measured.
        return [min(values_us[p], self.max_us) / 1_000 if p in values_us else math.nan for p in asked]

    def timeline(self) -> pd.DataFrame:
        """Return count and longest latency of each 100 ms of the run.

        Returns
        -------
        pandas.DataFrame
            ``at_s`` (start of the slot, seconds since the start of the run), ``n`` and ``max_ms``; a slot in which no
            request was sent has 0 and NaN, so that a stall is seen.
        """
        slots = range(max(self._slots, default=-1) + 1)
        rows = [self._slots.get(slot, (0, math.nan)) for slot in slots]
        frame: pd.DataFrame = pd.DataFrame(
            {
                "at_s": pd.Series([slot * SLOT_MS / 1_000 for slot in slots], dtype="float64"),
                "n": pd.Series([count for count, _ in rows], dtype="int64"),
                "max_ms": pd.Series([longest_us / 1_000 for _, longest_us in rows], dtype="float64"),
            }
        )
        return frame

    def merge(self, other: Recording) -> Recording:
        """Return a new recording of what both measured; percentiles are those of all samples together.

        The elapsed time is that during which at least one of both ran, so that the rate is right for two runs one after
        another and for two at the same time.
        """
        merged = Recording()
        first, second = sorted((self, other), key=lambda recording: recording.started)
        merged.started = first.started
        span_s = (max(first.ended, second.ended) - first.started).total_seconds()
        merged.elapsed_s = min(first.elapsed_s + second.elapsed_s, span_s)
        shift = round((second.started - first.started) / timedelta(milliseconds=SLOT_MS))
        for recording, by in ((first, 0), (second, shift)):
            merged._take(recording, shift=by)
        return merged

    def _take(self, other: Recording, *, shift: int) -> None:
        """Add another recording's samples, its timeline moved by whole slots."""
        self._histogram.add(other._histogram)
        self.timeouts += other.timeouts
        self.max_us = max(self.max_us, other.max_us)
        self.interrupted = self.interrupted or other.interrupted
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count
        for slot, (count, longest_us) in other._slots.items():
            old_count, old_longest_us = self._slots.get(slot + shift, (0, 0))
            self._slots[slot + shift] = (old_count + count, max(old_longest_us, longest_us))

    def encoded(self) -> str:
        """Return the histogram in HdrHistogram's own exchange format (V2, compressed, base64), values in µs."""
        return str(self._histogram.encode().decode("ascii"))


def samples_beyond(percentile: float, n: int) -> int:
    """Return how many of n samples lie beyond a percentile (by the nearest-rank definition).

    Examples
    --------
    >>> [samples_beyond(*pair) for pair in ((50, 20), (50, 19), (90, 100), (99, 1_000), (99.9, 10_000), (99.9, 9_999))]
    [10, 9, 10, 10, 10, 9]
    """
    # Rounded first: 99.9 % of 10,000 is 9,990.000000000001 in floating point, which is no 9,991st rank.
    return n - math.ceil(round(percentile * n / 100, 6))
