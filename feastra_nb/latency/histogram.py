"""Durations in an HdrHistogram: percentiles that merge, and none that a handful of samples decides."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable

LOWEST_US = 1  # a request cannot be told from nothing below a microsecond
HIGHEST_US = 60_000_000  # one minute: beyond every request timeout; what takes longer counts as this in percentiles
SIGNIFICANT_DIGITS = 3  # a percentile is within 0.1 % of the truth
FEWEST_BEYOND = 10  # samples beyond a percentile: with fewer, single requests decide it
US_PER_MS = 1_000


class Histogram:
    """Durations from 1 µs to 60 s, to three digits (http://hdrhistogram.org).

    Attributes
    ----------
    max_us
        The longest duration, exactly, in microseconds; 0 without one.

    Examples
    --------
    >>> durations = Histogram()
    >>> for ms in range(1, 101):
    ...     _ = durations.add(ms * 1_000_000)
    >>> durations.n, durations.percentiles_ms([50, 99]), durations.max_us, round(durations.mean_ms, 1)
    (100, [50.015, nan], 100000, 50.5)
    """

    def __init__(self) -> None:
        self.max_us = 0
        self._counts = HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)

    def __getstate__(self) -> dict[str, object]:
        # The counts lie in memory of C's, which cannot be pickled; their exchange format can.
        return {"max_us": self.max_us, "encoded": self.encoded()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.max_us = int(str(state["max_us"]))
        self._counts = HdrHistogram.decode(state["encoded"])

    @property
    def n(self) -> int:
        """How many durations."""
        return int(self._counts.total_count)

    @property
    def mean_ms(self) -> float:
        """Their mean, in milliseconds; NaN without one."""
        return float(self._counts.get_mean_value()) / US_PER_MS if self.n else math.nan

    def add(self, duration_ns: int) -> int:
        """Add a duration in nanoseconds, and return it in microseconds, as it counts."""
        duration_us = max(round(duration_ns / 1_000), LOWEST_US)
        # A longer value would be refused without an error, and the worst request lost.
        self._counts.record_value(min(duration_us, HIGHEST_US))
        self.max_us = max(self.max_us, duration_us)
        return duration_us

    def take(self, other: Histogram) -> None:
        """Add another one's durations."""
        self._counts.add(other._counts)
        self.max_us = max(self.max_us, other.max_us)

    def percentiles_ms(self, percentiles: Iterable[float]) -> list[float]:
        """Return percentiles (in percent, from 0 to below 100) in milliseconds; NaN with fewer than ten samples beyond."""
        wanted = list(percentiles)
        known = [percentile for percentile in wanted if samples_beyond(percentile, self.n) >= FEWEST_BEYOND]
        values_us = self._counts.get_percentile_to_value_dict(known)
        # A histogram answers with the upper end of a bucket, which can lie above everything that was measured.
        return [min(values_us[p], self.max_us) / US_PER_MS if p in values_us else math.nan for p in wanted]

    def encoded(self) -> str:
        """Return it in HdrHistogram's own exchange format (V2, compressed, base64), values in µs."""
        return str(self._counts.encode().decode("ascii"))

    def distribution(self) -> str:
        """Return it as HdrHistogram's percentile distribution (``.hgrm``), values in milliseconds.

        The text that https://hdrhistogram.github.io/HdrHistogram/plotFiles.html draws.
        """
        out = io.BytesIO()
        self._counts.output_percentile_distribution(out, US_PER_MS)
        deviation_ms = self._counts.get_stddev() / US_PER_MS if self.n else 0.0
        mean = f"#[Mean    = {self.mean_ms if self.n else 0.0:12.3f}, StdDeviation   = {deviation_ms:12.3f}]"
        # The library leaves the deviation in the histogram's own unit.
        lines = out.getvalue().decode("ascii").splitlines()
        return "\n".join(mean if line.startswith("#[Mean") else line for line in lines) + "\n"


def samples_beyond(percentile: float, n: int) -> int:
    """Return how many of n samples lie beyond a percentile (by the nearest-rank definition).

    Examples
    --------
    >>> [samples_beyond(*pair) for pair in ((50, 20), (50, 19), (90, 100), (99, 1_000), (99.9, 10_000), (99.9, 9_999))]
    [10, 9, 10, 10, 10, 9]
    """
    # Rounded first: 99.9 % of 10,000 is 9,990.000000000001 in floating point, which is not rank 9,991.
    return n - math.ceil(round(percentile * n / 100, 6))
