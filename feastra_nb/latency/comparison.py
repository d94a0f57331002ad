"""Two latency reports side by side."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.latency import sentences
from feastra_nb.latency.tables import PERCENTILES
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.latency.report import LatencyReport

TEXT_WIDTH = 100  # characters of a line
COMPARED = (*PERCENTILES, "max_ms")
ALIGNED = ["batch", "kind"]  # what has to be the same for two rows to be compared
DESCRIBED = ["target", "consistency"]  # likewise, where both reports have the same several of them


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class LatencyComparison(Report):
    """Two latency reports, row by row.

    Parameters
    ----------
    frame
        A row per pair of rows of the same batch size and kind: ``batch``, ``kind``, target and consistency of both
        (``target_1``, ``target_2``, …), each percentile of both (``p99_ms_1``, ``p99_ms_2``) and the second by the first
        (``p99_ratio``: 2 is twice as long).
    both
        The rows of both, as one report.
    names
        What the two are called.
    """

    frame: pd.DataFrame
    both: LatencyReport
    names: tuple[str, str]

    def plot(self, ax: Axes | None = None, *, kind: str = "percentiles") -> Axes:
        """Draw the curves of both onto one Axes, as `LatencyReport.plot` does."""
        return self.both.plot(ax, kind=kind)

    def to_dict(self) -> dict[str, object]:
        """Return the comparison and both reports as plain data."""
        return {"names": list(self.names), "frame": self.frame, "both": self.both.to_dict()}

    @property
    def shown(self) -> pd.DataFrame:
        """The columns that fit a screen: median and p99 of both, and their ratio."""
        first, second = self.names
        labels = {
            "p50_ms_1": f"p50 {first}", "p50_ms_2": f"p50 {second}", "p50_ratio": "median",
            "p99_ms_1": f"p99 {first}", "p99_ms_2": f"p99 {second}", "p99_ratio": "p99",
        }  # fmt: skip
        several = [name for name in DESCRIBED if _differ(self.frame, name)]
        told = [f"{name}_{place}" for name in several for place in (1, 2)]
        words = {name: self.frame[name].map(sentences.times_faster) for name in ("p50_ratio", "p99_ratio")}
        shown = self.frame.assign(**words)[[*ALIGNED, *told, *labels]]
        if self.frame["p99_ratio"].isna().all():
            shown = shown.drop(columns=["p99_ms_1", "p99_ms_2", "p99_ratio"])
        return shown.rename(columns=labels)

    @property
    def sentence(self) -> str:
        """How many times faster or slower the second is."""
        return sentences.comparison(self.frame, self.names)

    def __repr__(self) -> str:
        rows = self.shown.to_string(index=False, na_rep="-", float_format="{:,.3f}".format, max_rows=30)
        return f"{textwrap.fill(self.sentence, TEXT_WIDTH)}\nLatency (ms): {self.names[0]} and {self.names[1]}\n{rows}"

    def _page(self) -> str:
        from feastra_nb.latency.page import comparison_page

        return comparison_page(self)


def compare(first: LatencyReport, second: LatencyReport, *, names: tuple[str, str] | None) -> LatencyComparison:
    """Return the rows of both that measure the same, side by side."""
    names = names or _names(first, second)
    shared = [name for name in DESCRIBED if _varies_alike(first.frame[name], second.frame[name])]
    pairs = first.frame.merge(second.frame, on=[*ALIGNED, *shared], suffixes=("_1", "_2"))
    for name in shared:
        pairs[f"{name}_1"] = pairs[f"{name}_2"] = pairs[name]
    for column in COMPARED:
        pairs[column.replace("_ms", "_ratio")] = pairs[f"{column}_2"] / pairs[f"{column}_1"]
    described = [f"{name}_{place}" for name in DESCRIBED for place in (1, 2)]
    figures = [name for column in COMPARED for name in (f"{column}_1", f"{column}_2", column.replace("_ms", "_ratio"))]
    return LatencyComparison(pairs[[*ALIGNED, *described, *figures]], first.joined(second, names=names), names)


def _names(first: LatencyReport, second: LatencyReport) -> tuple[str, str]:
    """Name two reports by the first thing that tells them apart."""
    for name in ("store", "consistency", "load"):
        pair: Any = (first.environment.get(name), second.environment.get(name))
        if None not in pair and pair[0] != pair[1]:
            return pair
    return "first", "second"


def _varies_alike(first: pd.Series[str], second: pd.Series[str]) -> bool:
    return first.nunique() > 1 and set(first) == set(second)


def _differ(frame: pd.DataFrame, name: str) -> bool:
    return bool((frame[f"{name}_1"] != frame[f"{name}_2"]).any() or frame[f"{name}_1"].nunique() > 1)
