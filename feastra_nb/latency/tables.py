"""The tables of a latency report: pure functions from recordings to DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from feastra_nb.latency.histogram import FEWEST_BEYOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.latency.recording import Recording

Kind = Literal["response", "service"]

PERCENTILES: Mapping[str, float] = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}
POINTS_A_DECADE = 40  # of a percentile curve: smooth at any width
SATURATED_BELOW = 0.95  # of the rate asked for


class Key(NamedTuple):
    """What tells one row of a report from another."""

    target: str
    batch: int
    consistency: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Measured:
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
        """What tells this run from others."""
        return Key(self.target, self.batch, self.consistency, self.kind)


def summary(recordings: Mapping[Key, Recording], asked_rates: Mapping[Key, float]) -> pd.DataFrame:
    """Return a row per recording, with the same column types whatever was measured, even nothing."""
    rows = [_row(key, recording, asked_rate=asked_rates[key]) for key, recording in recordings.items()]
    columns = [*Key._fields, "n", "errors", "asked_rate", "reached_rate", *PERCENTILES, "max_ms"]
    types = {**dict.fromkeys(columns[6:], "float64"), **dict.fromkeys(("batch", "n", "errors"), "int64")}
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns).astype(types)
    return frame


def _row(key: Key, recording: Recording, *, asked_rate: float) -> dict[str, object]:
    measured = dict(zip(PERCENTILES, recording.percentiles_ms(PERCENTILES.values()), strict=True))
    return {
        **key._asdict(),
        "n": recording.n,
        "errors": recording.failures,
        "asked_rate": asked_rate,
        "reached_rate": recording.answered_per_s,
        **measured,
        "max_ms": recording.max_us / 1_000 if recording.n else np.nan,
    }


def curves(recordings: Mapping[Key, Recording]) -> pd.DataFrame:
    """Return the percentile curves: the key's columns, ``percentile`` (%) and ``latency_ms``."""
    rows = [(*key, *point) for key, recording in recordings.items() for point in _curve(recording)]
    types = {"batch": "int64", "percentile": "float64", "latency_ms": "float64"}
    frame: pd.DataFrame = pd.DataFrame(rows, columns=[*Key._fields, "percentile", "latency_ms"]).astype(types)
    return frame


def _curve(recording: Recording) -> list[tuple[float, float]]:
    """Return one percentile curve, evenly spaced on a nines axis, the percentiles of the table among its points."""
    highest_nines = recording.n / FEWEST_BEYOND
    if highest_nines < 2:  # noqa: PLR2004 - the median
        return []
    spaced = np.geomspace(1, highest_nines, max(int(POINTS_A_DECADE * np.log10(highest_nines)), 2))
    percentiles = sorted({*(100 - 100 / spaced), *PERCENTILES.values()})
    points = zip(percentiles, recording.percentiles_ms(percentiles), strict=True)
    return [point for point in points if not np.isnan(point[1])]


def parts(recordings: Mapping[Key, Recording]) -> pd.DataFrame:
    """Return what the latencies consist of: the key's columns, ``part``, ``n``, ``mean_ms``, ``p50_ms``, ``p99_ms``, ``max_ms``."""
    rows = [
        (*key, name, durations.n, durations.mean_ms, *durations.percentiles_ms([50, 99]), durations.max_us / 1_000)
        for key, recording in recordings.items()
        for name, durations in recording.parts.items()
    ]
    columns = [*Key._fields, "part", "n", "mean_ms", "p50_ms", "p99_ms", "max_ms"]
    types = {**dict.fromkeys(columns[6:], "float64"), "batch": "int64", "n": "int64"}
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns).astype(types)
    return frame


def errors(recordings: Mapping[Key, Recording]) -> pd.DataFrame:
    """Return the errors: the key's columns, ``error`` (its kind) and ``count``."""
    rows = [
        (*key, name, count) for key, recording in recordings.items() for name, count in sorted(recording.errors.items())
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=[*Key._fields, "error", "count"])
    return frame.astype({"batch": "int64", "count": "int64"})


def stalls(recordings: Mapping[Key, Recording]) -> pd.DataFrame:
    """Return the stalls: the key's columns, ``at_s`` (since the run's start) and ``seconds``."""
    columns = [*Key._fields, "at_s", "seconds"]
    rows = [
        (*key, *stall)
        for key, recording in recordings.items()
        for stall in recording.stalls().itertuples(index=False, name=None)
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"batch": "int64", "at_s": "float64", "seconds": "float64"})


def saturated(frame: pd.DataFrame) -> pd.Series[bool]:
    """Tell of each row of a summary whether the rate asked for was missed by more than 5 %."""
    return frame["reached_rate"] < SATURATED_BELOW * frame["asked_rate"]
