"""The report of `ws.forget_entity`: what was deleted where, at which consistency level, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.reporting import html
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLUMNS = ("view", "kind", "asked", "found", "rows_online", "rows_offline", "rows_left")
_COUNTS = _COLUMNS[2:]
SHOWN_VIEWS = 40  # of the text: with the lines around them less than a screen


@dataclass(frozen=True, slots=True)
class ForgottenView:
    """What was deleted from one view.

    Parameters
    ----------
    view
        The feature view, or the view that Feast makes up for the precomputed vectors of a feature service.
    kind
        ``"view"``, or ``"vectors"``.
    asked
        Distinct entities that were asked for.
    found
        Entities of the view that had rows: of a view with more join keys than were given, there may be more than were asked for.
    rows_online, rows_offline
        Rows deleted; ``rows_offline`` is None where the offline data were not asked for, or the view has none.
    rows_left
        Rows that were still there when they were looked for again: 0, or an error was raised; None where nothing was deleted.
    """

    view: str
    kind: str
    asked: int
    found: int
    rows_online: int
    rows_offline: int | None
    rows_left: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Forgotten(Report):
    """What `ws.forget_entity` deleted, or with ``dry_run`` would delete. It names no entity.

    Parameters
    ----------
    views
        Each view's part.
    join_keys
        The join keys by which the entities were given.
    entities
        How many were given.
    dry_run
        Nothing was deleted, and nothing suppressed.
    level
        Consistency level of the deletes.
    proof_level
        Consistency level at which rows were looked for, before and after.
    under_way
        Views that runs were writing into meanwhile. A run deletes at its end what was forgotten while it wrote; after one that
        was killed, call `ws.forget_entity` again.
    seconds
        How long it took.
    """

    views: tuple[ForgottenView, ...]
    join_keys: tuple[str, ...]
    entities: int
    dry_run: bool
    level: str
    proof_level: str
    under_way: tuple[str, ...]
    seconds: float

    @property
    def rows_online(self) -> int:
        """Rows deleted online."""
        return sum(view.rows_online for view in self.views)

    @property
    def rows_offline(self) -> int:
        """Rows deleted from offline parquet files."""
        return sum(view.rows_offline or 0 for view in self.views)

    @property
    def rows_left(self) -> int:
        """Rows that were still there when they were looked for again."""
        return sum(view.rows_left or 0 for view in self.views)

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each view: view, kind, asked, found, rows_online, rows_offline, rows_left."""
        import pandas as pd

        rows = [[getattr(view, name) for name in _COLUMNS] for view in self.views]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw for each view the rows that go, online and offline."""
        from feastra_nb.reporting.bars import stacked

        title = "Rows that would be deleted" if self.dry_run else "Rows that were deleted"
        parts = {
            "online": [view.rows_online for view in self.views],
            "offline": [view.rows_offline or 0 for view in self.views],
        }
        shown = {name: rows for name, rows in parts.items() if any(rows)}
        return stacked(ax, [view.view for view in self.views], shown, title)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        names = ("join_keys", "entities", "dry_run", "level", "proof_level", "under_way", "seconds")
        return {name: getattr(self, name) for name in names} | {"views": self.frame}

    @property
    def notes(self) -> list[str]:
        """What is to be known beside the counts: levels, proof, runs under way."""
        if self.dry_run:
            return [f"counted at {self.proof_level}; nothing was deleted"]
        notes = [f"deleted at {self.level}", f"read again at {self.proof_level}: {self.rows_left} rows left"]
        notes.append("suppressed: nothing writes them again until ws.allow_entity")
        if self.under_way:
            views = ", ".join(self.under_way)
            notes.append(f"runs were writing into {views}; call it again if one of them is killed")
        return notes

    @property
    def _sentence(self) -> str:
        verb = "would be deleted" if self.dry_run else "deleted"
        offline = (
            f", {self.rows_offline:,} offline" if any(view.rows_offline is not None for view in self.views) else ""
        )
        entities = f"{self.entities:,} entit{'y' if self.entities == 1 else 'ies'} by {', '.join(self.join_keys)}"
        return f"{entities}: {self.rows_online:,} rows {verb} online{offline}, of {len(self.views):,} views"

    def __repr__(self) -> str:
        lines = [f"{self._sentence} in {self.seconds:.1f} s", *(f"  {note}" for note in self.notes)]
        for view in self.views[:SHOWN_VIEWS]:
            offline = "" if view.rows_offline is None else f", {view.rows_offline:,} offline"
            lines.append(f"  {view.view}: {view.found:,} entities, {view.rows_online:,} rows online{offline}")
        if len(self.views) > SHOWN_VIEWS:
            lines.append(f"  … and {len(self.views) - SHOWN_VIEWS:,} more views in .frame")
        return "\n".join(lines)

    def _page(self) -> str:
        verb, tone = ("would be deleted", "info") if self.dry_run else ("deleted", "ok")
        parts: list[object] = [
            html.lead(html.status(verb, tone), " ", self._sentence),  # type: ignore[arg-type]
            html.note("; ".join(self.notes)),
        ]
        labels = {"asked": "entities asked", "found": "found", "rows_online": "rows online"}
        labels |= {"rows_offline": "rows offline", "rows_left": "rows left"}
        parts.append(html.table(self.frame, labels=labels))
        return html.page("Forgotten", *parts, text=repr(self))
