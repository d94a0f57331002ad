"""`ws.prune`: deletes history that no answer needs from the online store."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.astra import billing
from feastra_nb.connection.targets import Local
from feastra_nb.errors import FeastraError
from feastra_nb.reporting import html
from feastra_nb.reporting.progress import acknowledged_rows
from feastra_nb.reporting.report import Report
from feastra_nb.storage.journal import DONE, Run, journalled, upkeep_run
from feastra_nb.storage.pruning import Pass
from feastra_nb.storage.scanning import TOKEN_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.stores import Stores

log = logging.getLogger("feastra_nb")

# On a local node a view is pruned when it last was this part of its retention ago: it then holds at most a tenth too much.
PRUNE_AFTER = 10
# What a read of Astra counts; a row's key, three instants and the frame around them; a feature of most types with tag and length.
READ_BYTES, ROW_BYTES, FEATURE_BYTES = 4_096, 80, 12


@dataclass(frozen=True, slots=True)
class PrunedView:
    """What pruning did to one view.

    Parameters
    ----------
    view
        The feature view.
    scanned
        Rows that its table held.
    deleted
        Rows older than the retention that no answer needs.
    folded
        Rows that repeated event, created time and content of one that arrived before them.
    seconds
        How long it took.
    """

    view: str
    scanned: int
    deleted: int
    folded: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Pruned(Report):
    """What `ws.prune` did, or with ``dry_run`` would do.

    Parameters
    ----------
    views
        Each view's part.
    dry_run
        Nothing was deleted.
    """

    views: tuple[PrunedView, ...]
    dry_run: bool

    @property
    def scanned(self) -> int:
        """Rows that the tables held."""
        return sum(view.scanned for view in self.views)

    @property
    def deleted(self) -> int:
        """Rows older than the retention that no answer needs."""
        return sum(view.deleted for view in self.views)

    @property
    def folded(self) -> int:
        """Rows that repeated one that arrived before them."""
        return sum(view.folded for view in self.views)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(view.seconds for view in self.views)

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each view: view, scanned, deleted, folded, seconds."""
        import pandas as pd

        names = ("view", "scanned", "deleted", "folded", "seconds")
        return pd.DataFrame([{name: getattr(view, name) for name in names} for view in self.views], columns=list(names))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw for each view what stays and what goes."""
        return _draw(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        return {"dry_run": self.dry_run, "views": self.frame}

    def _page(self) -> str:
        return _page(self)

    def __repr__(self) -> str:
        verb = "would delete" if self.dry_run else "deleted"
        lines = [
            f"{view.view}: {verb} {view.deleted:,} rows older than the retention and {view.folded:,} repeats "
            f"of {view.scanned:,} in {view.seconds:.1f} s"
            for view in self.views
        ]
        return "\n".join(lines) or "no view to prune"


def _page(pruned: Pruned) -> str:
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


def _draw(pruned: Pruned, ax: Axes | None = None) -> Axes:
    """Draw for each view the rows that stay, those that go, and the repeats that are folded."""
    from feastra_nb.reporting.bars import stacked

    views = pruned.views
    parts = {
        "kept": [view.scanned - view.deleted - view.folded for view in views],
        "older than the retention": [view.deleted for view in views],
        "repeats": [view.folded for view in views],
    }
    title = "What pruning would delete" if pruned.dry_run else "What pruning deleted"
    return stacked(ax, [view.view for view in views], {name: some for name, some in parts.items() if any(some)}, title)


def prune(stores: Stores, view: str | None, *, dry_run: bool, progress: bool | Callable[[int], object]) -> Pruned:
    """Prune one view, or all that the online store holds."""
    opened = stores.online
    known = opened.catalog.views(stores.project)
    entries = known if view is None else [opened.entry(stores.view(view), reload=True)]
    done = tuple(_prune_view(stores, entry, dry_run=dry_run, progress=progress) for entry in entries)
    return Pruned(done, dry_run)


def _prune_view(
    stores: Stores, entry: ViewEntry, *, dry_run: bool, progress: bool | Callable[[int], object]
) -> PrunedView:
    began = time.monotonic()
    opened = stores.online
    block = stores.feast.config.online_store
    if billing.is_billed(block):
        reads = _scan_reads(entry, opened.journal.runs(entry.project, entry.view))
        billing.show_use(block, f"a scan of view {entry.view}", reads=reads, deletes=not dry_run)
    work = Pass(opened.db, opened.catalog, entry, time.time_ns() // 1000, dry_run)
    with acknowledged_rows(None, f"pruning {entry.view}", progress) as report:
        if dry_run:
            work.run(report)
        else:
            run = upkeep_run(entry, "prune")
            with journalled(opened.journal, lambda: replace(run, rows=work.counts.deleted + work.counts.folded)):
                work.run(report)
    stores.online.forget(entry.view)
    counts = work.counts
    return PrunedView(entry.view, counts.scanned, counts.deleted, counts.folded, time.monotonic() - began)


def _scan_reads(entry: ViewEntry, runs: Sequence[Run]) -> int:
    """Return the reads of a scan of a view's whole table, from what the journal says was written into it."""
    rows = sum(run.rows for run in runs if run.writes and run.generation == entry.generation)
    return TOKEN_RANGES - (-rows * (ROW_BYTES + FEATURE_BYTES * len(entry.slots)) // READ_BYTES)


def prune_if_due(stores: Stores, view: str) -> None:
    """Prune a view of a local node when it last was a tenth of its retention ago; a failure is logged, no more.

    Elsewhere, and with ``retain="all"`` or ``"latest"`` (which deletes as it writes), nothing is done.
    """
    if not isinstance(stores.target, Local):
        return
    try:
        entry = stores.online.entry(stores.view(view))
        if _is_due(stores, entry):
            log.info("%r", _prune_view(stores, entry, dry_run=False, progress=False))
    except FeastraError:
        log.warning("view %s could not be pruned; ws.prune does it when asked", view, exc_info=True)


def _is_due(stores: Stores, entry: ViewEntry) -> bool:
    if not entry.retention.us:
        return False
    now_us, key = time.time_ns() // 1000, (entry.view, entry.generation, entry.retention.us)
    due_us = stores.prune_due_us
    # The journal of a view with thousands of small writes is long: it is read again only when what it said is over.
    if now_us > due_us.get(key, 0):
        runs = stores.online.journal.runs(entry.project, entry.view)
        mine = [run for run in runs if run.generation == entry.generation]
        pruned = [run.began_us for run in mine if run.kind == "prune" and run.state == DONE]
        since_us = max(pruned, default=min((run.began_us for run in mine), default=now_us))
        due_us[key] = since_us + entry.retention.us // PRUNE_AFTER
    return now_us > due_us[key]
