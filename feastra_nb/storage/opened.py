"""An open online store: its connection, catalog and journal, and what it has learnt of a project's views."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from feastra_nb.errors import CatalogConflict, ConfigurationError
from feastra_nb.storage.catalog import Catalog
from feastra_nb.storage.journal import Journal
from feastra_nb.storage.suppression import SuppressionList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.catalog import ViewEntry


class Mirrored(Protocol):
    """Another store that is written after ours."""

    def write(self, opened: OpenStore, view: Any, keys: Sequence[bytes]) -> int:
        """Write there what our log serves of some entities; return of how many it serves anything."""

    def forget(self, view: str, keys: Sequence[bytes]) -> None:
        """Delete some entities there."""

    def forget_meant(self, view: str, fields: Sequence[tuple[str, Any]], meant: Callable[[Any], Any]) -> None:
        """Delete the entities there whose keys are meant."""

    def make_tables(self, views: Sequence[Any]) -> None:
        """Make tables of views that are new."""

    def close(self) -> None:
        """Disconnect."""


class OpenStore:
    """One project in one keyspace, through one session.

    Parameters
    ----------
    db
        The keyspace.
    project
        The Feast project.
    enforce_ttl
        Whether a value past its view's ttl is missing online.
    """

    def __init__(self, db: Database, project: str, *, enforce_ttl: bool = True) -> None:
        self.db = db
        self.project = project
        self.catalog = Catalog(db)
        self.journal = Journal(db)
        self.suppression = SuppressionList(db, project)
        self.awaitable: set[str] = set()  # views whose reads wait for nothing before they are sent
        self.mirror: Mirrored | None = None
        self._enforce_ttl = enforce_ttl
        self._entries: dict[str, ViewEntry] = {}

    def known(self, view: str, *, reload: bool = False) -> ViewEntry | None:
        """Return what the catalog knows of a view by name; None where it does not know it."""
        entry = None if reload else self._entries.get(view)
        if entry is None:
            entry = self.catalog.load(self.project, view)
            if entry is not None:
                self.keep(entry)
        return entry

    def entry(self, view: Any, *, reload: bool = False) -> ViewEntry:
        """Return what the catalog knows of a feature view.

        Raises
        ------
        CatalogConflict
            The view was never applied to this keyspace, or was dropped.
        ConfigurationError
            The view is not kept online.
        """
        entry = self.known(view.name, reload=reload)
        if entry is None:
            refuse_unserved(view)
            raise CatalogConflict(
                f"view {view.name!r} of project {self.project!r} is not in keyspace {self.db.keyspace!r}",
                hint="run `feast apply`, or ws.materialize a DataFrame into it",
            )
        return entry

    def entry_with(self, view: Any, features: Sequence[str]) -> ViewEntry:
        """Return a view's entry that knows all of these features; another process may just have added one.

        Raises
        ------
        CatalogConflict
            The catalog does not know one of them.
        """
        entry = self.entry(view)
        if not entry.positions.keys() >= set(features):
            entry = self.entry(view, reload=True)
            for name in features:
                entry.position(name)
        return entry

    def keep(self, entry: ViewEntry) -> None:
        """Remember an entry until it is forgotten."""
        self._entries[entry.view] = entry

    def forget(self, view: str) -> None:
        """Make the next use of a view read its catalog entry anew."""
        self._entries.pop(view, None)
        self.awaitable.discard(view)

    def served_ttl_us(self, view: Any) -> int | None:
        """Return the ttl that a view is held to online, in microseconds; None where nothing served is too old."""
        ttl = getattr(view, "ttl", None)
        return ttl // timedelta(microseconds=1) if ttl and self._enforce_ttl else None


def refuse_unserved(view: Any) -> None:
    """Refuse a feature view that no online store keeps: one that is computed on demand, or kept offline only.

    Raises
    ------
    ConfigurationError
        It is one of these.
    """
    if hasattr(view, "write_to_online_store") and not view.write_to_online_store:
        raise ConfigurationError(
            f"view {view.name!r} is computed on demand, so no store holds it",
            hint="ask for the views it is computed from",
        )
    if not getattr(view, "online", True):
        raise ConfigurationError(
            f"view {view.name!r} is not kept online (online=False)",
            hint="ws.historical reads it; set online=True in its definition and apply it to serve it",
        )
