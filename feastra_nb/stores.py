"""What the rooms below the workspace share: Feast, the open online store, and their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError, UnknownName, close_names

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore, FeatureView

    from feastra_nb.connection.targets import Target
    from feastra_nb.online_store import FeastraOnlineStore
    from feastra_nb.storage.opened import OpenStore


@dataclass(frozen=True, slots=True, eq=False)
class Stores:
    """A feature store's two sides.

    Parameters
    ----------
    feast
        The Feast feature store.
    target
        What it is connected to; None for a repository.
    directory
        Folder of the registry and the offline parquet.
    read_only
        Whether everything that writes is refused.
    prune_due_us
        By view, generation and retention: when `pruning` has to look into the journal again.
    requests
        What `retrieval.remembered` keeps: by features, the state of the registry's file and what was asked for by it.
    """

    feast: FeatureStore
    target: Target | None
    directory: Path
    read_only: bool = False
    prune_due_us: dict[tuple[str, int, int], int] = field(default_factory=dict)
    requests: dict[Any, tuple[tuple[int, ...], Any]] = field(default_factory=dict)

    @property
    def project(self) -> str:
        """The Feast project."""
        return str(self.feast.project)

    @property
    def keyspace(self) -> str | None:
        """The keyspace; None for an online store that has none."""
        return getattr(self.feast.config.online_store, "keyspace", None)

    @property
    def type(self) -> str:
        """The online store's type, as ``feature_store.yaml`` has it."""
        return str(self.feast.config.online_store.type)

    @property
    def online_store(self) -> Any:
        """The online store, of whatever type."""
        from feastra_nb.adapter.feast_private import online_store_of

        return online_store_of(self.feast)

    @property
    def has_history(self) -> bool:
        """Whether the online store is a `FeastraOnlineStore`, which remembers; others keep one value of each entity."""
        from feastra_nb.online_store import FeastraOnlineStore

        return isinstance(self.online_store, FeastraOnlineStore)

    @property
    def store(self) -> FeastraOnlineStore:
        """The online store; only a `FeastraOnlineStore` has a history.

        Raises
        ------
        ConfigurationError
            The repository's online store is another.
        """
        from feastra_nb.online_store import FeastraOnlineStore

        store = self.online_store
        if not isinstance(store, FeastraOnlineStore):
            raise ConfigurationError(
                f"this needs a FeastraOnlineStore; the repository's online store is {type(store).__name__}",
                hint="it works on what was materialized with feastra_nb",
            )
        return store

    @property
    def online(self) -> OpenStore:
        """The open online store: its connection, catalog and journal.

        Raises
        ------
        ConfigurationError
            The repository's online store is another than ours.
        """
        return self.store.open(self.feast.config)

    def view(self, name: str) -> FeatureView:
        """Return a registered feature view.

        Raises
        ------
        UnknownName
            There is none of that name; names the closest.
        """
        known = {view.name: view for view in self.feast.list_all_feature_views()}
        if name not in known:
            raise UnknownName(f"there is no feature view {name!r}", hint=close_names(name, known))
        return known[name]
