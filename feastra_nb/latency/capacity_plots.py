"""A capacity drawn: the p99 of each rate that was tried, and the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.reporting.plots import BAD, OK, color, drawing, ink, value_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from feastra_nb.latency.capacity import Capacity


def draw(capacity: Capacity, ax: Axes | None = None) -> Axes:
    """Draw the tries of a capacity.

    Parameters
    ----------
    capacity
        What :meth:`feastra_nb.Workspace.capacity` returned.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        x: requests a second; y: p99 of the response time in milliseconds; rates that held the objective are dots, the
        others crosses.
    """
    tried = capacity.frame.dropna(subset="p99_ms")
    with drawing(ax) as axes:
        axes.set_title(capacity.sentence.rstrip("."), fontsize=10)
        axes.set_xlabel("requests a second")
        axes.set_ylabel("p99 of the response time (ms)")
        axes.axhline(
            capacity.p99_ms, color=ink(), linestyle="--", linewidth=1.2, label=f"objective, {capacity.p99_ms:g} ms"
        )
        best = tried.groupby("asked_rate")["p99_ms"].min()
        axes.plot(best.index, best, color=color(0), linewidth=1.2)
        for held, marker, tone in ((True, "o", OK), (False, "x", BAD)):
            some = tried[tried["held"] == held]
            if len(some):
                label = "held" if held else "missed"
                axes.plot(some["asked_rate"], some["p99_ms"], ls="", marker=marker, color=tone, label=label)
        figures = [*tried["p99_ms"], capacity.p99_ms]
        value_axis(axes, low=min(figures), high=max(figures))
        axes.set_xlim(left=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes
