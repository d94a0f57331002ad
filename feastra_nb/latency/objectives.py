"""Objectives: whether a measured latency is short enough, too long, or cannot be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from feastra_nb.errors import ConfigurationError
from feastra_nb.latency.tables import PERCENTILES, Key, saturated
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from feastra_nb.latency.recording import Recording

Verdict = Literal["ok", "missed", "unknown"]

OK, MISSED, UNKNOWN = 0, 1, 2  # exit codes of the command


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Check(Report):
    """What came of a latency report's objectives.

    Parameters
    ----------
    frame
        A row per objective and setting: ``target``, ``batch``, ``consistency``, ``kind``, ``objective`` (such as
        ``"p99_ms"``), ``limit_ms``, ``measured_ms``, ``verdict`` (``"ok"``, ``"missed"``, ``"unknown"``) and ``why``.

    Examples
    --------
    >>> frame = pd.DataFrame({"objective": ["p99_ms"], "verdict": ["ok"]})
    >>> Check(frame).ok, Check(frame).exit_code
    (True, 0)
    """

    frame: pd.DataFrame

    @property
    def exit_code(self) -> int:
        """0: all objectives are met; 1: one is missed; 2: none is missed, but one cannot be told."""
        verdicts = set(self.frame["verdict"])
        if "missed" in verdicts:
            return MISSED
        return OK if verdicts == {"ok"} else UNKNOWN

    @property
    def ok(self) -> bool:
        """Whether all objectives are met, for certain."""
        return self.exit_code == OK

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what was measured against its objective."""
        return _draw(self, ax)

    def to_dict(self) -> dict[str, object]:
        """Return what the JSON holds."""
        return {"ok": self.ok, "exit_code": self.exit_code, "objectives": self.frame}

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return "\n".join(_line(row) for row in self.frame.to_dict("records")) or "nothing was measured"

    def _page(self) -> str:
        from feastra_nb.latency.page import check_page

        return check_page(self)


def _line(row: Mapping[Any, Any]) -> str:
    setting = ", ".join(str(row[name]) for name in ("target", "consistency", "kind"))
    why = f": {row['why']}" if row["why"] else ""
    measured = "-" if pd.isna(row["measured_ms"]) else f"{row['measured_ms']:,.3f}"
    return (
        f"{row['verdict']}: {row['objective']} {measured} against {row['limit_ms']:g}, "
        f"batch {row['batch']}, {setting}{why}"
    )


def check(frame: pd.DataFrame, recordings: Mapping[Key, Recording], limits: Mapping[str, float | None]) -> Check:
    """Compare every setting with the objectives; an open loop by its response times, which is what a caller waits.

    Parameters
    ----------
    frame
        The report's frame.
    recordings
        The recordings behind its rows.
    limits
        Milliseconds by name of the percentile's column, or ``"max_ms"``; None for no objective.

    Raises
    ------
    ConfigurationError
        There is no objective, or one that is not a positive number.
    """
    objectives = {name: limit for name, limit in limits.items() if limit is not None}
    if not objectives:
        raise ConfigurationError("there is no objective to check", hint="report.check(p99_ms=20)")
    for name, limit in objectives.items():
        if not limit > 0:
            raise ConfigurationError(f"{name}={limit!r} is not an objective", hint="give milliseconds, above 0")
    is_saturated = dict(zip(recordings, saturated(frame), strict=True))
    rows = [
        (*key, name, limit, *_judge(recordings[key], name, limit, is_saturated=bool(is_saturated[key])))
        for key in recordings
        if key.kind == "response" or key._replace(kind="response") not in recordings
        for name, limit in objectives.items()
    ]
    columns = [*Key._fields, "objective", "limit_ms", "measured_ms", "verdict", "why"]
    return Check(pd.DataFrame(rows, columns=columns))


def _judge(recording: Recording, name: str, limit_ms: float, *, is_saturated: bool) -> tuple[float, Verdict, str]:
    """Return what was measured, whether it is short enough, and why that cannot be told."""
    percentile = PERCENTILES.get(name, 100.0)
    is_known = recording.n > 0
    measured_ms = recording.max_us / 1_000 if is_known else float("nan")
    if name in PERCENTILES:
        measured_ms = recording.percentile_ms(percentile)
        is_known = measured_ms == measured_ms  # noqa: PLR0124 - not NaN
    failed = (recording.failures - recording.timeouts) / max(recording.requests, 1)
    # A request without an answer is longer than any objective.
    if failed > 1 - percentile / 100:
        return measured_ms, "missed", f"{failed:.1%} of the requests failed"
    if is_known and measured_ms > limit_ms:
        return measured_ms, "missed", ""
    if not is_known:
        lower = [known for known in PERCENTILES.values() if known < percentile]
        if any(known_ms > limit_ms for known_ms in recording.percentiles_ms(lower)):
            return measured_ms, "missed", "a lower percentile is longer already"
        return measured_ms, "unknown", f"too few samples: {recording.n:,}"
    if is_saturated:
        return measured_ms, "unknown", "the rate asked for was not reached"
    return measured_ms, "ok", ""


def _draw(check: Check, ax: Axes | None = None) -> Axes:
    """Draw what was measured against its objective."""
    from feastra_nb.reporting.bars import Bars, against_limits
    from feastra_nb.reporting.plots import BAD, OK, UNKNOWN

    tones = {"ok": OK, "missed": BAD}
    shown = check.frame
    names = [f"{str(row.objective)[:-3]} {row.target} batch {row.batch}" for row in shown.itertuples()]
    bars = Bars(
        names, shown["measured_ms"], shown["limit_ms"], [tones.get(verdict, UNKNOWN) for verdict in shown["verdict"]]
    )
    title = "Latency objectives: " + (
        "met" if check.ok else "missed" if check.exit_code == MISSED else "cannot be told"
    )
    return against_limits(ax, bars, title, "ms; the mark is the objective")
