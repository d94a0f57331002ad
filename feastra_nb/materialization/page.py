"""A materialization's page and plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.reporting import html
from feastra_nb.reporting.bars import stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from feastra_nb.materialization.run import Materialization


def draw_materialization(done: Materialization, ax: Axes | None = None) -> Axes:
    """Draw what became of the rows: appended, stored already, expired, older than the retention."""
    parts = {
        "appended": done.rows - done.unchanged,
        "stored already": done.unchanged,
        "expired": done.expired,
        "older than the retention": done.superseded,
    }
    title = f"{done.view}: {done.rows:,} rows of {done.entities:,} entities in {done.seconds:.1f} s"
    return stacked(ax, [done.view], {name: [count] for name, count in parts.items() if count}, title)


def materialization_page(done: Materialization) -> str:
    """Return what a materialization did, in one line of figures and one of what was left out, and why."""
    figures = f"{done.rows:,} rows of {done.entities:,} entities in {done.seconds:.1f} s, {done.rows_per_s:,.0f} rows a second"
    parts = [html.lead(html.status("acknowledged", "ok"), " ", figures)]
    if done.notes:
        parts.append(html.note("; ".join(done.notes)))
    return html.page(f"Materialized: {done.view}", *parts, text=repr(done))
