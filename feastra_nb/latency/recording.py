"""Records one run of requests: an HdrHistogram, a timeline, the phases of each request, and errors."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from feastra_nb.latency.histogram import FEWEST_BEYOND, Histogram, samples_beyond
from feastra_nb.latency.timeline import SLOT_MS, RequestTimeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

__all__ = ["FEWEST_BEYOND", "Recording", "samples_beyond"]


class Recording:
    """The latencies of one run of requests, of one kind (service or response time).

    Percentiles come from an HdrHistogram (1 µs to 60 s, three digits), so that recordings are merged without averaging
    percentiles. A timeout is a sample: a request that was given up had at least that latency. Other errors are counted
    and are not samples, since they say nothing about how long an answer takes.

    Attributes
    ----------
    started
        When the first request was sent; aware, UTC.
    elapsed_s
        From the first request sent to the last one completed, by a monotonic clock, in seconds.
    errors
        Requests that failed, timeouts among them, by the kind of the error.
    timeouts
        Requests that timed out.
    interrupted
        Whether the run was ended early by the user.
    parts
        What the latency consists of, by name: durations of the answered requests.

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
        self.interrupted = False
        self.parts: dict[str, Histogram] = {}
        self._latencies = Histogram()
        self._timeline = RequestTimeline()

    @property
    def n(self) -> int:
        """Samples: requests answered or timed out."""
        return self._latencies.n

    @property
    def failures(self) -> int:
        """Requests that failed, timeouts among them."""
        return sum(self.errors.values())

    @property
    def requests(self) -> int:
        """Requests that were completed in any way: answered, timed out or failed."""
        return self.n + self.failures - self.timeouts

    @property
    def max_us(self) -> int:
        """The longest latency, exactly, in microseconds; 0 without a sample."""
        return self._latencies.max_us

    @property
    def ended(self) -> datetime:
        """When the last request was completed; aware, UTC."""
        return self.started + timedelta(seconds=self.elapsed_s)

    @property
    def answered_per_s(self) -> float:
        """Requests answered (neither failed nor timed out) a second; NaN before the first one completed."""
        return (self.n - self.timeouts) / self.elapsed_s if self.elapsed_s > 0 else math.nan

    def add(self, latency_ns: int, *, at_ns: int, parts: Mapping[str, int] | None = None) -> None:
        """Add the latency of an answered request.

        Parameters
        ----------
        latency_ns
            How long it took, in nanoseconds.
        at_ns
            When it was sent (or was to be sent), in nanoseconds since the start of the run.
        parts
            Durations of what it consists of, by name, in nanoseconds.
        """
        self._latencies.add(latency_ns)
        self._timeline.add(latency_ns, at_ns=at_ns)
        for name, duration_ns in (parts or {}).items():
            self.parts.setdefault(name, Histogram()).add(duration_ns)
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
            The kind of the error.
        """
        self.timeouts += 1
        self.errors[name] = self.errors.get(name, 0) + 1
        self._latencies.add(latency_ns)
        self._timeline.add(latency_ns, at_ns=at_ns, answered=False)
        self._complete(at_ns + latency_ns)

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
        return self._latencies.percentiles_ms(percentiles)

    def timeline(self) -> pd.DataFrame:
        """Return count and longest latency of each 100 ms of the run: ``at_s``, ``n`` and ``max_ms``."""
        return self._timeline.frame()

    def cells(self) -> pd.DataFrame:
        """Return the fields of a heatmap: ``at_s``, ``low_ms``, ``high_ms`` and ``n``."""
        return self._timeline.cells()

    def stalls(self) -> pd.DataFrame:
        """Return when requests waited and none was answered, for 100 ms and ten medians at least: ``at_s``, ``seconds``."""
        return self._timeline.stalls(median_ms=self.percentile_ms(50))

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
        self._latencies.take(other._latencies)
        self._timeline.take(other._timeline, shift=shift)
        self.timeouts += other.timeouts
        self.interrupted = self.interrupted or other.interrupted
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count
        for name, durations in other.parts.items():
            self.parts.setdefault(name, Histogram()).take(durations)

    def encoded(self) -> str:
        """Return the histogram in HdrHistogram's own exchange format (V2, compressed, base64), values in µs."""
        return self._latencies.encoded()

    def distribution(self) -> str:
        """Return the histogram as HdrHistogram's percentile distribution (``.hgrm``), values in milliseconds."""
        return self._latencies.distribution()
