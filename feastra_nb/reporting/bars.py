"""Bars of any report: parts of a whole, and figures against their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from feastra_nb.reporting.plots import FIGURE_INCHES, LINE, color, drawing, ink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

LONGEST_LABEL = 40  # characters of a feature's name beside its bar


def stacked(ax: Axes | None, names: Sequence[str], parts: Mapping[str, Sequence[int]], title: str) -> Axes:
    """Draw a bar a name, made of parts that are counts of rows."""
    from matplotlib.ticker import MaxNLocator

    left = [0] * len(names)
    with drawing(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.5 * len(names))) as axes:
        for place, (part, counts) in enumerate(parts.items()):
            axes.barh(list(names), list(counts), left=left, color=color(place), height=0.5, label=part)
            left = [before + count for before, count in zip(left, counts, strict=True)]
        axes.set_title(title)
        axes.set_xlabel("rows")
        axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="y")
        if parts:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


class Bars(NamedTuple):
    """Names, measured values and limits of as many bars, and their colours."""

    names: Sequence[str]
    measured: pd.Series
    limits: pd.Series
    tones: Sequence[str]


def against_limits(ax: Axes | None, bars: Bars, title: str, xlabel: str) -> Axes:
    """Draw what was measured as points on lines, and its limits as marks."""
    places = list(range(len(bars.names)))
    names = [name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}…" for name in bars.names]
    with drawing(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.35 * len(bars.names))) as axes:
        axes.hlines(places, 0, bars.measured.fillna(0), color=LINE, linewidth=1.5)
        axes.scatter(bars.measured, places, c=list(bars.tones), s=60, zorder=3)
        axes.scatter(bars.limits, places, marker="|", s=260, linewidths=2, color=ink(), zorder=2)
        axes.set_yticks(places, names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(visible=False, axis="y")
    return axes
