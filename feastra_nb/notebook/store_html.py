"""The pages of what happens to the store itself: its status, a materialization, a pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.reporting import html

if TYPE_CHECKING:
    from feastra_nb.materialization.run import Materialization
    from feastra_nb.pruning import Pruned
    from feastra_nb.status import Status


def status_page(status: Status) -> str:
    """Return where a workspace is connected, and its nodes."""
    states = [html.status(state, "ok" if state == "up" else "bad") for state in status.frame["state"]]
    labels = {"data_centre": "data centre"}
    nodes = html.section("Nodes", html.table(status.frame.assign(state=states), labels=labels))
    return html.page("Feature store", html.facts(status.facts), nodes, text=repr(status))


def materialization_page(done: Materialization) -> str:
    """Return what a materialization did, in one line of figures and one of what was left out, and why."""
    figures = f"{done.rows:,} rows of {done.entities:,} entities in {done.seconds:.1f} s, {done.rows_per_s:,.0f} rows a second"
    parts = [html.lead(html.status("acknowledged", "ok"), " ", figures)]
    if done.notes:
        parts.append(html.note("; ".join(done.notes)))
    return html.page(f"Materialized: {done.view}", *parts, text=repr(done))


def pruned_page(pruned: Pruned) -> str:
    """Return what a pruning deleted, or would."""
    verb = "would be deleted" if pruned.dry_run else "deleted"
    tone: html.Tone = "info" if pruned.dry_run else "ok"
    sentence = (
        f"{pruned.deleted:,} rows older than the retention and {pruned.folded:,} repeats of {pruned.scanned:,} rows"
    )
    parts: list[object] = [html.lead(html.status(verb, tone), " ", sentence)]
    if pruned.views:
        parts.append(html.table(pruned.frame, labels={"seconds": "took"}, units={"seconds": "s"}))
    return html.page("Pruned", *parts, text=repr(pruned))
