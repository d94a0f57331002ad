"""Reports that are bars: what a materialization or a pruning did to the rows, nodes by state, figures against their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from matplotlib.ticker import MaxNLocator

from feastra_nb.latency.objectives import MISSED
from feastra_nb.reporting.plots import BAD, FIGURE_INCHES, INK, LINE, OK, UNKNOWN, color, figure_axes, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.latency.objectives import Check
    from feastra_nb.materialization.run import Materialization
    from feastra_nb.pruning import Pruned
    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.status import Status

LONGEST_LABEL = 40  # characters of a feature's name beside its bar


def draw_materialization(done: Materialization, ax: Axes | None = None) -> Axes:
    """Draw what became of the rows: appended, stored already, expired, older than the retention."""
    parts = {
        "appended": done.rows - done.unchanged,
        "stored already": done.unchanged,
        "expired": done.expired,
        "older than the retention": done.superseded,
    }
    title = f"{done.view}: {done.rows:,} rows of {done.entities:,} entities in {done.seconds:.1f} s"
    return _stacked(ax, [done.view], {name: [count] for name, count in parts.items() if count}, title)


def draw_pruned(pruned: Pruned, ax: Axes | None = None) -> Axes:
    """Draw for each view the rows that stay, those that go, and the repeats that are folded."""
    views = pruned.views
    parts = {
        "kept": [one.scanned - one.deleted - one.folded for one in views],
        "older than the retention": [one.deleted for one in views],
        "repeats": [one.folded for one in views],
    }
    title = "What pruning would delete" if pruned.dry_run else "What pruning deleted"
    return _stacked(ax, [one.view for one in views], {name: some for name, some in parts.items() if any(some)}, title)


def draw_status(status: Status, ax: Axes | None = None) -> Axes:
    """Draw the nodes by state."""
    counts = status.frame["state"].value_counts()
    axes = figure_axes(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.5 * len(counts)))
    with style():
        tones = [OK if state == "up" else BAD for state in counts.index]
        axes.barh(list(counts.index), list(counts.to_numpy()), color=tones, height=0.5)
        axes.set_xlabel("nodes")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(status.facts.get("target", "cluster"))
    return axes


def draw_budget(check: BudgetCheck, ax: Axes | None = None) -> Axes:
    """Draw each feature's rate of different cells against what its budget allows."""
    tones = {"within": OK, "over": BAD}
    shown = check.frame
    bars = _Bars(
        list(shown["feature"]), shown["rate"] * 100, shown["max_rate"] * 100,
        [tones.get(state, UNKNOWN) for state in shown["state"]],
    )  # fmt: skip
    return _against_limits(
        ax, bars, f"Skew budget: {check.state}", "cells that differ (%); the mark is what is allowed"
    )


def draw_objectives(check: Check, ax: Axes | None = None) -> Axes:
    """Draw what was measured against its objective."""
    tones = {"ok": OK, "missed": BAD}
    shown = check.frame
    names = [f"{str(row.objective)[:-3]} {row.target} batch {row.batch}" for row in shown.itertuples()]
    bars = _Bars(names, shown["measured_ms"], shown["limit_ms"], [tones.get(one, UNKNOWN) for one in shown["verdict"]])
    title = "Latency objectives: " + (
        "met" if check.ok else "missed" if check.exit_code == MISSED else "cannot be told"
    )
    return _against_limits(ax, bars, title, "ms; the mark is the objective")


def _stacked(ax: Axes | None, names: Sequence[str], parts: Mapping[str, Sequence[int]], title: str) -> Axes:
    axes = figure_axes(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.5 * len(names)))
    left = [0] * len(names)
    with style():
        for place, (part, counts) in enumerate(parts.items()):
            axes.barh(list(names), list(counts), left=left, color=color(place), height=0.5, label=part)
            left = [before + count for before, count in zip(left, counts, strict=True)]
        axes.set_title(title)
        axes.set_xlabel("rows")
        axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="y")
        if parts:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


class _Bars(NamedTuple):
    """Names, measured values and limits of as many bars, and their colours."""

    names: Sequence[str]
    measured: pd.Series
    limits: pd.Series
    tones: Sequence[str]


def _against_limits(ax: Axes | None, bars: _Bars, title: str, xlabel: str) -> Axes:
    axes = figure_axes(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.35 * len(bars.names)))
    places = list(range(len(bars.names)))
    names = [name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}…" for name in bars.names]
    with style():
        axes.hlines(places, 0, bars.measured.fillna(0), color=LINE, linewidth=1.5)
        axes.scatter(bars.measured, places, c=list(bars.tones), s=60, zorder=3)
        axes.scatter(bars.limits, places, marker="|", s=260, linewidths=2, color=INK, zorder=2)
        axes.set_yticks(places, names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(visible=False, axis="y")
    return axes
