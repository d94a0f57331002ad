"""The latency report: a table, percentile curves and a page."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.errors import ConfigurationError, close_names
from feastra_nb.latency import comparison, objectives, sentences, tables
from feastra_nb.latency.environment import environment
from feastra_nb.latency.histogram import FEWEST_BEYOND
from feastra_nb.latency.tables import PERCENTILES, Key, Measured
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.latency.recording import Recording

__all__ = ["Key", "LatencyReport", "Measured", "environment", "summarize"]

TEXT_WIDTH = 100  # characters of a line of the text shown
HEADERS: Mapping[str, str] = {
    "asked_rate": "asked",
    "reached_rate": "reached",
    "p50_ms": "p50",
    "p90_ms": "p90",
    "p99_ms": "p99",
    "p999_ms": "p99.9",
    "max_ms": "max",
}
CLOSED_LOOP = "Closed loop, service time only: how fast one call is, not what a fixed rate of requests would see."
OPEN_LOOP = "Open loop: response time counts from when a request was to be sent, service time from when it was."
TOO_FEW = f"A percentile is shown where at least {FEWEST_BEYOND} samples lie beyond it."


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class LatencyReport(Report):
    """What requests took.

    Parameters
    ----------
    frame
        A row per target, batch, consistency level and kind: ``target``, ``batch`` (entities a request),
        ``consistency``, ``kind`` (``"response"`` or ``"service"``), ``n`` (samples: answered or timed out), ``errors``
        (timeouts among them), ``asked_rate`` and ``reached_rate`` (answers a second), ``p50_ms``, ``p90_ms``,
        ``p99_ms``, ``p999_ms`` (NaN with fewer than ten samples beyond), ``max_ms``.
    recordings
        The recording behind each row, by (target, batch, consistency, kind).
    environment
        On what it was measured: machine, versions, store.

    Examples
    --------
    >>> from feastra_nb.latency.recording import Recording
    >>> recording = Recording()
    >>> for position in range(100):
    ...     recording.add(2_000_000, at_ns=position * 2_000_000)
    >>> print(summarize([Measured("feast", 10, "LOCAL_QUORUM", "service", recording)], {"python": "3.11"}))
    Half under 2 ms, 9 of 10 under 2; for a p99 measure 3 s (seconds=3).
    Latency (ms)
    target  batch  consistency    kind   n  errors reached   p50   p90   max
     feast     10 LOCAL_QUORUM service 100       0   500.0 2.000 2.000 2.000
    Closed loop, service time only: how fast one call is, not what a fixed rate of requests would see.
    A percentile is shown where at least 10 samples lie beyond it.
    python: 3.11
    """

    frame: pd.DataFrame
    recordings: Mapping[Key, Recording]
    environment: Mapping[str, str]

    @property
    def percentiles(self) -> pd.DataFrame:
        """The percentile curves: ``target, batch, consistency, kind, percentile`` (%) and ``latency_ms``.

        Each curve ends where fewer than ten samples would lie beyond it; one without a median is left out.
        """
        return tables.curves(self.recordings)

    @property
    def split(self) -> pd.DataFrame:
        """What the time consists of: ``target, batch, consistency, kind, part, n, mean_ms, p50_ms, p99_ms, max_ms``.

        Service time is ``driver`` and ``feast``, or ``endpoint`` and ``decoding``; ``to_df``, making the answer a frame,
        comes on top. ``late`` is the part of the response time from when requests were to be sent until they were.
        """
        return tables.parts(self.recordings)

    @property
    def errors(self) -> pd.DataFrame:
        """The errors by kind: ``target, batch, consistency, kind, error, count``."""
        return tables.errors(self.recordings)

    @property
    def stalls(self) -> pd.DataFrame:
        """Times in which requests waited and none was answered: ``target, batch, consistency, kind, at_s, seconds``."""
        return tables.stalls(self.recordings)

    @property
    def saturated(self) -> bool:
        """Whether a rate that was asked for was missed by more than 5 %."""
        return bool(tables.saturated(self.frame).any())

    def only(self, **where: object) -> LatencyReport:
        """Return the report of some of its rows: ``report.only(batch=10, kind="response")``.

        Raises
        ------
        ConfigurationError
            There is no such column, or no such row.
        """
        for name in where:
            if name not in Key._fields:
                raise ConfigurationError(f"rows have no {name!r}", hint=close_names(name, Key._fields))
        kept = [all(getattr(key, name) == value for name, value in where.items()) for key in self.recordings]
        if not any(kept):
            raise ConfigurationError(f"the report has no row with {where}", hint="its rows are those of report.frame")
        recordings = {
            key: recording for (key, recording), keep in zip(self.recordings.items(), kept, strict=True) if keep
        }
        return LatencyReport(self.frame[kept].reset_index(drop=True), recordings, self.environment)

    def compare(self, other: LatencyReport, *, names: tuple[str, str] | None = None) -> comparison.LatencyComparison:
        """Put another report beside this one, such as that of another store: a table with ratios, and one picture.

        Parameters
        ----------
        other
            The second report; its rows are divided by this one's of the same batch size and kind.
        names
            What the two are called; by default what tells them apart, such as their stores.
        """
        return comparison.compare(self, other, names=names)

    def joined(self, other: LatencyReport, *, names: tuple[str, str]) -> LatencyReport:
        """Return one report of both, the targets called by ``names``, and their own name where there are several."""
        is_several = any(report.frame["target"].nunique() > 1 for report in (self, other))
        runs = [
            Measured(f"{name}: {key.target}" if is_several else name, key.batch, key.consistency, key.kind, one, rate)
            for report, name in ((self, names[0]), (other, names[1]))
            for (key, one), rate in zip(report.recordings.items(), report.frame["asked_rate"], strict=True)
        ]
        both = {**self.environment, **other.environment}
        told = {
            name: " / ".join(dict.fromkeys(one.environment[name] for one in (self, other) if name in one.environment))
            for name in both
        }
        return summarize(runs, told)

    def check(
        self,
        *,
        p50_ms: float | None = None,
        p90_ms: float | None = None,
        p99_ms: float | None = None,
        p999_ms: float | None = None,
        max_ms: float | None = None,
    ) -> objectives.Check:
        """Compare with objectives, in milliseconds: response times in an open loop, service times in a closed one.

        Returns
        -------
        Check
            True in a condition when all objectives are met for certain; ``exit_code`` is 0 (met), 1 (one is missed) or 2
            (cannot be told: too few samples, or the rate was not reached). A failed request is longer than any objective.

        Raises
        ------
        ConfigurationError
            There is no objective, or one that is not a positive number.
        """
        limits = {"p50_ms": p50_ms, "p90_ms": p90_ms, "p99_ms": p99_ms, "p999_ms": p999_ms, "max_ms": max_ms}
        return objectives.check(self.frame, self.recordings, limits)

    def plot(self, ax: Axes | None = None, *, kind: str = "percentiles") -> Axes:
        """Draw the report onto ``ax`` or a new figure; returns the Axes.

        Parameters
        ----------
        ax
            Where to draw.
        kind
            ``"percentiles"``: curves on a nines axis, response beside service time. ``"timeline"``: the longest latency of
            each 100 ms, stalls marked. ``"heatmap"``: how many requests took how long when; of one row, see `only`.

        Raises
        ------
        ConfigurationError
            The kind is unknown, or a heatmap is asked of several rows.
        """
        from feastra_nb.latency import plots as latency_plots

        return latency_plots.draw(self, ax, kind=kind)

    def to_hgrm(self) -> str:
        """Return HdrHistogram's percentile distribution of each row, in milliseconds, with what it is of before it."""
        about = "".join(f"#[{name}: {value}]\n" for name, value in self.environment.items())
        blocks = [
            f"#[{key.target}, batch {key.batch}, {key.consistency}, {key.kind} time in ms]\n{recording.distribution()}"
            for key, recording in self.recordings.items()
        ]
        return about + "\n".join(blocks)

    def to_dict(self) -> dict[str, object]:
        """Return everything measured as plain data: environment, rows, and each row's errors and histogram."""
        recordings = [
            key._asdict()
            | {
                "started": recording.started.isoformat(),
                "elapsed_s": recording.elapsed_s,
                "interrupted": recording.interrupted,
                "errors": dict(recording.errors),
                "timeouts": recording.timeouts,
                "histogram_us": recording.encoded(),
            }
            for key, recording in self.recordings.items()
        ]
        return {
            "environment": dict(self.environment),
            "frame": self.frame,
            "split": self.split,
            "stalls": self.stalls,
            "recordings": recordings,
        }

    def __repr__(self) -> str:
        shown = self.shown.rename(columns=dict(HEADERS))
        rates = dict.fromkeys(("asked", "reached"), "{:,.1f}".format)
        table = shown.to_string(index=False, na_rep="-", float_format="{:,.3f}".format, formatters=rates, max_rows=30)
        incidents = [f"{word}: {text}" for word, text in self.incidents]
        about = ", ".join(f"{name}: {value}" for name, value in self.environment.items())
        said = [*textwrap.wrap(self.sentence, TEXT_WIDTH), "Latency (ms)", table]
        return "\n".join([*said, *incidents, *self.caveats, *textwrap.wrap(about, TEXT_WIDTH)])

    def _page(self) -> str:
        from feastra_nb.latency.page import report_page

        return report_page(self)

    @property
    def sentence(self) -> str:
        """What half, nine of ten and 99 of 100 requests took, and how long to measure for a percentile that is missing."""
        return sentences.sentence(self.frame, self.recordings)

    @property
    def shown(self) -> pd.DataFrame:
        """The columns worth showing: a closed loop asks for no rate, and a short run has no p99.9."""
        empty = [name for name in ("asked_rate", *PERCENTILES) if self.frame[name].isna().all()]
        return self.frame.drop(columns=empty)

    @property
    def caveats(self) -> list[str]:
        """How the numbers are to be read."""
        kinds = set(self.frame["kind"])
        caveats = [CLOSED_LOOP] if kinds == {"service"} else [OPEN_LOOP] if kinds else []
        late = self.split.query("part == 'late'")
        if not late.empty:
            worst = late.loc[late["max_ms"].idxmax()]
            typical = f"median {late['p50_ms'].max():,.2f} ms, " if late["p50_ms"].notna().any() else ""
            caveats.append(
                f"How late they were sent: {typical}longest {worst['max_ms']:,.2f} ms; response time has it in it."
            )
        return caveats + ([TOO_FEW] if self.frame[list(PERCENTILES)].isna().any(axis=None) else [])

    @property
    def incidents(self) -> list[tuple[str, str]]:
        """What went wrong while measuring: a word, and what happened."""
        incidents: list[tuple[str, str]] = []
        is_saturated = tables.saturated(self.frame)
        for (key, recording), missed in zip(self.recordings.items(), is_saturated, strict=True):
            if key.kind == "service" and key._replace(kind="response") in self.recordings:
                continue  # it had the same fate
            about = f"{key.target}, batch {key.batch}"
            incidents += _incidents(recording, about, asked=self._asked(key) if missed else None)
        return incidents

    def _asked(self, key: Key) -> float:
        return float(self.frame["asked_rate"].iloc[list(self.recordings).index(key)])


def _incidents(recording: Recording, about: str, *, asked: float | None) -> list[tuple[str, str]]:
    """Return what went wrong in one run; ``asked`` is the rate that was not reached."""
    incidents = []
    if recording.errors:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(recording.errors.items()))
        timed_out = f"; {recording.timeouts:,} timed out, kept as samples" if recording.timeouts else ""
        incidents.append(("errors", f"{about}: {counts}{timed_out}"))
    if asked is not None:
        incidents.append(
            ("saturated", f"{about}: {recording.answered_per_s:,.1f} of {asked:,.1f} requests a second answered")
        )
    stalls = recording.stalls()
    if not stalls.empty:
        longest = stalls.nlargest(1, "seconds").iloc[0]
        others = f", and {len(stalls) - 1} shorter" if len(stalls) > 1 else ""
        incidents.append(
            ("stall", f"{about}: no answer for {longest['seconds']:.2f} s from {longest['at_s']:.1f} s on{others}")
        )
    if recording.interrupted:
        incidents.append(("interrupted", f"{about} after {recording.elapsed_s:.1f} s"))
    return incidents


def summarize(runs: Sequence[Measured], environment: Mapping[str, str]) -> LatencyReport:
    """Return the report of several runs; runs of the same thing are merged by their histograms.

    Parameters
    ----------
    runs
        In the order of the report's rows.
    environment
        On what it was measured, such as :func:`environment` returns it.
    """
    recordings: dict[Key, Recording] = {}
    asked: dict[Key, float] = {}
    for run in runs:
        known = recordings.get(run.key)
        recordings[run.key] = run.recording if known is None else known.merge(run.recording)
        asked[run.key] = np.nan if run.asked_rate is None else run.asked_rate
    return LatencyReport(tables.summary(recordings, asked), recordings, dict(environment))
