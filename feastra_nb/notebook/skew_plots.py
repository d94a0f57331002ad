"""The skew report drawn: features against causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.notebook.plots import BAD, INK, figure_axes, style
from feastra_nb.skew.comparison import MATCH, UNKNOWN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.report import SkewReport

SHOWN_FEATURES = 30  # rows of the picture; beyond, the worst


def draw_skew(report: SkewReport, ax: Axes | None = None) -> Axes:
    """Draw the share of each feature's cells that differ, by cause.

    Parameters
    ----------
    report
        What `Workspace.skew` returned.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        x: cause; y: feature; each field holds the percentage of the feature's compared cells.
    """
    shares = _shares(report)
    height = 1.6 + 0.32 * max(1, len(shares))
    with style():
        axes = figure_axes(ax, figsize=(max(4.6, 3.2 + 1.25 * shares.shape[1]), height))
        axes.set_title(report.sentence.rstrip("."), fontsize=10)
        if shares.empty:
            _draw_clean(axes)
        else:
            _draw_fields(axes, shares)
    return axes


def _shares(report: SkewReport) -> pd.DataFrame:
    cells = report.frame[report.frame["verdict"] != UNKNOWN]
    several = cells["view"].nunique() > 1
    name = cells["view"] + ":" + cells["feature"] if several else cells["feature"]
    compared = name.value_counts()
    bad = cells["verdict"] != MATCH
    counts = cells[bad].groupby([name[bad], "cause"]).size().unstack(fill_value=0)
    shares = counts.div(compared.reindex(counts.index), axis=0)
    worst_first = shares.sum(axis=1).sort_values(ascending=False).index[:SHOWN_FEATURES]
    return shares.loc[worst_first, shares.sum().sort_values(ascending=False).index]


def _draw_clean(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "nothing differs", transform=axes.transAxes, ha="center", va="center", color=INK)


def _draw_fields(axes: Axes, shares: pd.DataFrame) -> None:
    from matplotlib.patches import Rectangle

    for (row, column), share in np.ndenumerate(shares.to_numpy(dtype=float)):
        if share > 0:
            # By the root, so that a fault of one per cent is seen beside one of all rows.
            strength = 0.2 + 0.7 * float(np.sqrt(share))
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=BAD, alpha=strength, linewidth=0))
            axes.text(column, row, _percent(share), ha="center", va="center", fontsize=9)
    axes.set_xlim(-0.5, shares.shape[1] - 0.5)
    axes.set_ylim(shares.shape[0] - 0.5, -0.5)
    axes.set_xticks(range(shares.shape[1]), [str(name).replace("_", " ") for name in shares.columns])
    axes.set_yticks(range(shares.shape[0]), [str(name) for name in shares.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel("cause")


def _percent(share: float) -> str:
    """Return a share in words that fit a field.

    Examples
    --------
    >>> _percent(0.25), _percent(0.00002)
    ('25 %', '< 0.01 %')
    """
    if share < 0.0001:  # noqa: PLR2004 - the smallest that two decimals show
        return "< 0.01 %"
    return f"{share * 100:.3g} %"
