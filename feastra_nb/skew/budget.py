"""Skew budgets: how much skew is accepted, in a JSON file to commit, and what has appeared since.

.. code-block:: json

    {"format": 1, "features": {"plane_stats:mean_delay": {"max_rate": 0.01, "causes": ["stale"]}}, "default": 0.0}

A feature is over budget when its rate of different cells is above its ``max_rate``; a cause that is not among ``causes`` is
new, whatever its rate. A feature that the budget does not know has the ``default`` rate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.counts import Count
    from feastra_nb.skew.report import SkewReport

FORMAT = 1
WITHIN, OVER, UNTOLD = "within", "over", "could not tell"


@dataclass(frozen=True, eq=False, repr=False)
class BudgetCheck(Report):
    """A report beside its budget.

    Parameters
    ----------
    frame
        A row for each feature: ``feature`` (``view:feature``), ``rate``, ``max_rate``, ``new_causes``, ``is_new`` (the budget
        does not know it), ``state`` (within, over, could not tell).
    gone
        Features that the budget names and the report lacks.
    failed
        Views that could not be compared.
    """

    frame: pd.DataFrame
    gone: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every feature is within its budget, and every one of the budget's was compared."""
        return self.state == WITHIN

    @property
    def state(self) -> str:
        """``"over"`` if any feature is, else ``"could not tell"`` if any could not be compared, else ``"within"``."""
        states = set(self.frame["state"])
        if OVER in states:
            return OVER
        return UNTOLD if self.gone or self.failed or UNTOLD in states or not len(self.frame) else WITHIN

    @property
    def new(self) -> pd.DataFrame:
        """Features with a cause, or a rate, that the budget does not allow."""
        return self.frame[self.frame["state"] == OVER].reset_index(drop=True)

    def __repr__(self) -> str:
        lines = [f"skew budget: {self.state}"]
        for row in self.frame.to_dict("records"):
            if row["state"] == OVER:
                causes = f"; new: {row['new_causes']}" if row["new_causes"] else ""
                lines.append(f"  {row['feature']}: {row['rate']:.2%} differ, {row['max_rate']:.2%} allowed{causes}")
            elif row["state"] == UNTOLD:
                lines.append(f"  {row['feature']}: nothing could be compared")
        lines += [f"  {name}: could not be compared" for name in self.failed]
        lines += [f"  {name}: in the budget, not in the report" for name in self.gone]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each feature's rate against what is allowed."""
        return _draw(self, ax)

    def _page(self) -> str:
        from feastra_nb.skew.page import budget_page

        return budget_page(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what a JSON holds of it."""
        return {
            "state": self.state,
            "features": self.frame,
            "gone": list(self.gone),
            "failed": list(self.failed),
        }


def check(report: SkewReport, budget: Any) -> BudgetCheck:
    """Return a report beside a budget: a path, what it holds, or one rate for all features.

    Raises
    ------
    ConfigurationError
        It is not a budget, or one of another version.
    """
    import pandas as pd

    allowed = _read(budget)
    known: Mapping[str, Any] = allowed["features"]
    default = {"max_rate": allowed.get("default", 0.0), "causes": None}
    is_told = report.is_told
    shifted = {name for name in report.counts if name.rpartition(":")[0] in report.proofs.shifts}
    rows = [
        _row(name, count, known.get(name), default, is_told=is_told, is_shifted=name in shifted)
        for name, count in report.counts.items()
    ]
    names = ["feature", "rate", "max_rate", "new_causes", "is_new", "state"]
    gone = tuple(name for name in known if name not in report.counts and name.partition(":")[0] not in report.failed)
    return BudgetCheck(pd.DataFrame(rows, columns=names), gone, tuple(report.failed))


def _row(
    name: str,
    count: Count,
    entry: Mapping[str, Any] | None,
    default: Mapping[str, Any],
    *,
    is_told: bool,
    is_shifted: bool,
) -> dict[str, Any]:
    allowed = default if entry is None else entry
    rate = count.different / count.compared if count.compared else float("nan")
    accepted = allowed.get("causes")
    # A shift of event times is a cause of its own, even where all values are equal.
    causes = list(dict.fromkeys([*count.causes, *(["event_time_shift"] if is_shifted else [])]))
    if accepted is None:
        accepted = causes if not is_shifted or allowed["max_rate"] >= 1 else count.causes
    fresh = [cause for cause in causes if cause not in accepted]
    over = bool(fresh) or rate > allowed["max_rate"]
    return {
        "feature": name,
        "rate": rate,
        "max_rate": allowed["max_rate"],
        "new_causes": ", ".join(fresh),
        "is_new": entry is None,
        "state": OVER if over else WITHIN if count.compared and is_told else UNTOLD,
    }


def write(report: SkewReport, path: str | os.PathLike[str]) -> Path:
    """Write a budget that a report just meets, and return its path.

    The upper end of each rate's interval is what is allowed, so that the next sample of the same truth passes.
    """
    rates = report.summary.set_index(report.summary["view"] + ":" + report.summary["feature"])
    features = {
        name: {
            "max_rate": float(f"{rates.loc[name, 'rate_high']:.6f}") if count.different else 0.0,
            "causes": sorted(
                {*count.causes, *(["event_time_shift"] if name.rpartition(":")[0] in report.proofs.shifts else [])}
            ),
        }
        for name, count in report.counts.items()
        if count.compared
    }
    target = Path(path)
    target.write_text(json.dumps({"format": FORMAT, "default": 0.0, "features": features}, indent=1) + "\n", "utf-8")
    return target


def _read(budget: Any) -> Mapping[str, Any]:
    if isinstance(budget, (int, float)) and not isinstance(budget, bool):
        budget = {"format": FORMAT, "features": {}, "default": budget}
    elif not isinstance(budget, dict):
        budget = _parsed(Path(budget))
    if not isinstance(budget, dict) or budget.get("format") != FORMAT:
        written = budget.get("format") if isinstance(budget, dict) else type(budget).__name__
        raise ConfigurationError(
            f"a skew budget of format {FORMAT} was expected, not {written!r}",
            hint="feastra skew … --write-budget PATH writes it anew",
        )
    _check_rates(budget)
    return budget


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.expanduser().read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no budget file {str(path)!r}", hint="feastra skew … --write-budget PATH writes one"
        ) from None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the budget file {str(path)!r} cannot be read: {exc}") from exc


def _check_rates(budget: Mapping[str, Any]) -> None:
    features = budget.get("features")
    if not isinstance(features, dict):
        raise ConfigurationError("a skew budget needs features", hint='{"format": 1, "features": {"view:feature": …}}')
    rates = {name: entry.get("max_rate") if isinstance(entry, dict) else None for name, entry in features.items()}
    for name, rate in {**rates, "default": budget.get("default", 0.0)}.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ConfigurationError(f"the budget of {name!s} is {rate!r}", hint="a max_rate lies between 0 and 1")


def _draw(check: BudgetCheck, ax: Axes | None = None) -> Axes:
    """Draw each feature's rate of different cells against what its budget allows."""
    from feastra_nb.reporting.bars import Bars, against_limits
    from feastra_nb.reporting.plots import BAD, OK, UNKNOWN

    tones = {"within": OK, "over": BAD}
    shown = check.frame
    bars = Bars(
        list(shown["feature"]), shown["rate"] * 100, shown["max_rate"] * 100,
        [tones.get(state, UNKNOWN) for state in shown["state"]],
    )  # fmt: skip
    return against_limits(ax, bars, f"Skew budget: {check.state}", "cells that differ (%); the mark is what is allowed")
