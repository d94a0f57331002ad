"""The latency report: what was measured, as a table, as curves and as a page."""

from __future__ import annotations

import os
import platform
import textwrap
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
import psutil

from feastra_nb.latency.recording import FEWEST_BEYOND, Recording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

Kind = Literal["response", "service"]

PERCENTILES: Mapping[str, float] = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}
POINTS_A_DECADE = 40  # of a percentile curve: smooth at any width
PACKAGES = ("feast", "cassandra-driver")  # whose versions decide what was measured
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
UNITS: Mapping[str, str] = {name: "ms" if name.endswith("_ms") else "/s" for name in HEADERS}
CLOSED_LOOP = "Closed loop, service time only: how fast one call is, not what a fixed rate of requests would see."
TOO_FEW = f"A percentile is shown where at least {FEWEST_BEYOND} samples lie beyond it."


class Key(NamedTuple):
    """What tells one row of a report from another."""

    target: str
    batch: int
    consistency: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Run:
    """One recording, and what it is a recording of.

    Parameters
    ----------
    target
        What was called, such as ``"feast"``.
    batch
        Entities in one request.
    consistency
        The consistency level of the reads, such as ``"LOCAL_QUORUM"``.
    kind
        ``"service"``: from sending to the answer. ``"response"``: from when it was to be sent.
    recording
        What was measured.
    asked_rate
        Requests a second that were asked for; None for a closed loop, which asks for none.
    """

    target: str
    batch: int
    consistency: str
    kind: Kind
    recording: Recording
    asked_rate: float | None = None

    @property
    def key(self) -> Key:
        """What tells this run's row from others."""
        return Key(self.target, self.batch, self.consistency, self.kind)


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class LatencyReport:
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
    >>> recording = Recording()
    >>> for position in range(100):
    ...     recording.add(2_000_000, at_ns=position * 2_000_000)
    >>> print(summarize([Run("feast", 10, "LOCAL_QUORUM", "service", recording)], {"python": "3.11"}))
    Latency (ms)
    target  batch  consistency    kind   n  errors reached   p50   p90  p99  p99.9   max
     feast     10 LOCAL_QUORUM service 100       0   500.0 2.000 2.000    -      - 2.000
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
        curves = [_curve(key, recording) for key, recording in self.recordings.items()]
        frame: pd.DataFrame = pd.concat(curves, ignore_index=True) if curves else _curve_frame([])
        return frame

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the percentile curves on a nines axis, onto ``ax`` or a new figure; returns the Axes."""
        from feastra_nb.notebook import plots

        return plots.draw_latency(self, ax)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as ``.html``, ``.json``, ``.parquet`` or ``.png``, by the suffix; returns the path.

        The JSON holds the histograms too (HdrHistogram's own format), so that measurements can be merged later.
        """
        from feastra_nb.notebook.saving import save_report

        return save_report(self, path)

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
        return {"environment": dict(self.environment), "frame": self.frame, "recordings": recordings}

    def __repr__(self) -> str:
        shown = _shown(self.frame).rename(columns=dict(HEADERS))
        rates = dict.fromkeys(("asked", "reached"), "{:,.1f}".format)
        rows = shown.to_string(index=False, na_rep="-", float_format="{:,.3f}".format, formatters=rates, max_rows=30)
        incidents = [f"{word}: {text}" for word, text in self._incidents()]
        about = ", ".join(f"{name}: {value}" for name, value in self.environment.items())
        return "\n".join(["Latency (ms)", rows, *incidents, *self._caveats(), *textwrap.wrap(about, TEXT_WIDTH)])

    def _repr_html_(self) -> str:
        from feastra_nb.notebook import html, plots

        parts: list[object] = [html.table(_shown(self.frame), labels=HEADERS, units=UNITS, formats={"batch": "d"})]
        parts += [html.note(html.status(word, "warn"), " ", text) for word, text in self._incidents()]
        parts += [html.note(" ".join(self._caveats()))]
        if not self.percentiles.empty:
            picture = plots.png(self.plot)
            width_px = round(plots.FIGURE_INCHES[0] * 96)
            parts.append(html.section("Percentiles", html.image(picture, alt=_alt(self.frame), width_px=width_px)))
        parts.append(html.section("Measured on", html.facts(self.environment), is_open=False))
        return html.page("Latency", *parts, text=repr(self))

    def _caveats(self) -> list[str]:
        """Return how the numbers are to be read."""
        caveats = [CLOSED_LOOP] if set(self.frame["kind"]) == {"service"} else []
        return caveats + ([TOO_FEW] if self.frame[list(PERCENTILES)].isna().any(axis=None) else [])

    def _incidents(self) -> list[tuple[str, str]]:
        """Return what went wrong while measuring: a word, and what happened."""
        incidents = []
        for key, recording in self.recordings.items():
            about = f"{key.target}, batch {key.batch}"
            if recording.errors:
                counts = ", ".join(f"{count:,} {name}" for name, count in sorted(recording.errors.items()))
                timed_out = f"; {recording.timeouts:,} timed out, kept as samples" if recording.timeouts else ""
                incidents.append(("errors", f"{about}: {counts}{timed_out}"))
            if recording.interrupted:
                incidents.append(("interrupted", f"{about} after {recording.elapsed_s:.1f} s"))
        return incidents


def summarize(runs: Sequence[Run], environment: Mapping[str, str]) -> LatencyReport:
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
    rows = [_row(key, recording, asked_rate=asked[key]) for key, recording in recordings.items()]
    return LatencyReport(_typed(rows), recordings, dict(environment))


def environment(**details: str) -> dict[str, str]:
    """Return on what is being measured: machine, Python, and the versions of Feast and the driver.

    Parameters
    ----------
    details
        More to say, such as ``consistency`` and ``store``.

    Examples
    --------
    >>> list(environment(store="Cassandra 5.0.8, one node"))
    ['machine', 'python', 'feast', 'cassandra-driver', 'store']
    """
    memory_gib = psutil.virtual_memory().total / 2**30
    machine = f"{platform.platform(terse=True)}, {platform.machine()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB"
    versions = {name: _version(name) for name in PACKAGES}
    return {"machine": machine, "python": platform.python_version(), **versions, **details}


def _version(package: str) -> str:
    # From the installed metadata: importing Feast takes seconds.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _row(key: Key, recording: Recording, *, asked_rate: float) -> dict[str, object]:
    measured = dict(zip(PERCENTILES, recording.percentiles_ms(PERCENTILES.values()), strict=True))
    counts = {"n": recording.n, "errors": sum(recording.errors.values())}
    rates = {"asked_rate": asked_rate, "reached_rate": recording.answered_per_s}
    return {
        **key._asdict(),
        **counts,
        **rates,
        **measured,
        "max_ms": recording.max_us / 1_000 if recording.n else np.nan,
    }


def _typed(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return the rows with the same column types whatever was measured, even nothing."""
    columns = [*Key._fields, "n", "errors", "asked_rate", "reached_rate", *PERCENTILES, "max_ms"]
    types = {**dict.fromkeys(columns[6:], "float64"), **dict.fromkeys(("batch", "n", "errors"), "int64")}
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns).astype(types)
    return frame


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns worth showing: a closed loop asks for no rate."""
    return frame.drop(columns="asked_rate") if frame["asked_rate"].isna().all() else frame


def _curve(key: Key, recording: Recording) -> pd.DataFrame:
    """Return one percentile curve, evenly spaced on a nines axis, the percentiles of the table among its points."""
    highest_nines = recording.n / FEWEST_BEYOND
    if highest_nines < 2:  # noqa: PLR2004 - the median
        return _curve_frame([])
    spaced = np.geomspace(1, highest_nines, max(int(POINTS_A_DECADE * np.log10(highest_nines)), 2))
    percentiles = sorted({*(100 - 100 / spaced), *PERCENTILES.values()})
    points = zip(percentiles, recording.percentiles_ms(percentiles), strict=True)
    return _curve_frame([(*key, *point) for point in points if not np.isnan(point[1])])


def _curve_frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    types = {"batch": "int64", "percentile": "float64", "latency_ms": "float64"}
    frame: pd.DataFrame = pd.DataFrame(rows, columns=[*Key._fields, "percentile", "latency_ms"]).astype(types)
    return frame


def _alt(frame: pd.DataFrame) -> str:
    """Say in words what the curves show."""
    lines = [
        f"{row.target} batch {row.batch} median {row.p50_ms:.3g} ms"
        for row in frame.dropna(subset="p50_ms").itertuples()
    ]
    return f"Latency by percentile: {'; '.join(lines)}"
