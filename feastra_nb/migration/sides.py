"""Both sides of a migration: the tables that Feast's own store keeps, and our store beside or instead of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter import feast_tables
from feastra_nb.adapter.objects import registry_identity, spec_of
from feastra_nb.adapter.store_config import StoreConfig, open_store
from feastra_nb.connection.cluster import pool
from feastra_nb.errors import ConfigurationError, UnknownName, close_names
from feastra_nb.storage.migration_journal import MigrationJournal
from feastra_nb.storage.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from feastra_nb.adapter.feast_tables import FeastTables
    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.stores import Stores


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Both sides, open.

    Parameters
    ----------
    stores
        The repository.
    block
        Our ``online_store`` block: the one that `switch` writes, or has written.
    old
        The keyspace of Feast's tables.
    tables
        Those of the views that are migrated.
    new
        Our store.
    is_switched
        Whether the repository uses our store already.
    """

    stores: Stores
    block: StoreConfig
    old: Database
    tables: FeastTables
    new: OpenStore
    is_switched: bool

    @property
    def journal(self) -> MigrationJournal:
        """How far the migration has come."""
        return MigrationJournal(self.new.db, self.stores.project)

    def registered(self, view: Any) -> ViewEntry:
        """Make the catalog and the table follow a view, as ``feast apply`` does, and return the entry."""
        entry = self.new.catalog.ensure(
            spec_of(self.stores.project, view, ttl_us=self.new.served_ttl_us(view)),
            retain=Retention.of(self.block.retain).text,
            registry=registry_identity(self.stores.feast.config),
            adopt=self.block.adopt_registry,
        )
        self.new.keep(entry)
        return entry


@contextlib.contextmanager
def opened_sides(stores: Stores, wanted: Sequence[str] | None, own: Mapping[str, Any]) -> Iterator[Sides]:
    """Open both sides of a repository's migration.

    Parameters
    ----------
    wanted
        Views; None for all that are kept online.
    own
        Keys of our block that differ from what follows from Feast's: ``retain``, or another cluster.

    Raises
    ------
    ConfigurationError
        The repository's online store is not Feast's own Cassandra or Scylla, and is not ours with a ``mirror``.
    """
    views = online_views(stores, wanted)
    config = stores.feast.config
    is_switched = stores.has_history
    if is_switched:
        old_block = mirrored_block(config.online_store)
    elif feast_tables.kind_of(config) is not None:
        old_block = feast_tables.connection_block(config.online_store)
    else:
        raise ConfigurationError(
            f"the online store of this repository is {stores.type!r}; tables are copied from cassandra and scylladb",
            hint='ws.migration(to={"hosts": […], …}) takes the entities from the offline data, and reads them through Feast',
        )
    own = {name: value for name, value in own.items() if name != "type"}
    block = config.online_store if is_switched else own_block(old_block, own)
    with contextlib.ExitStack() as opened:
        old = feast_tables.open_block(old_block)
        opened.callback(feast_tables.close_tables, old)
        if is_switched:
            new = stores.online
        else:
            new = open_store(block, stores.project)
            opened.callback(pool.release, new.db.session)
        tables = feast_tables.find_tables(old, stores.project, [view.name for view in views])
        yield Sides(stores, block, old, tables, new, is_switched)


def own_block(old: StoreConfig, own: Mapping[str, Any]) -> StoreConfig:
    """Return our block: another cluster where one is named, otherwise that of Feast's tables."""
    if any(name in own for name in ("hosts", "datacenters", "secure_bundle_path", "astra", "local")):
        return StoreConfig(**expanded(own))
    own = expanded(own)
    checked = StoreConfig(**{"hosts": ["-"], **own})
    return old.model_copy(update={name: getattr(checked, name) for name in own})


def expanded(value: Any) -> Any:
    """Return a block with ``${VAR}`` replaced as Feast does when it reads the file."""
    if isinstance(value, dict):
        return {name: expanded(each) for name, each in value.items()}
    return os.path.expandvars(value) if isinstance(value, str) else value


def mirrored_block(block: Any) -> StoreConfig:
    """Return where the tables are that our store mirrors into."""
    mirror = getattr(block, "mirror", None)
    if mirror is None:
        raise ConfigurationError(
            "this repository's online store is feastra_nb's already, and mirrors nothing: there is nothing to migrate",
            hint="`feastra export --layout feast-cassandra` goes back",
        )
    return feast_tables.connection_block(mirror)


def online_views(stores: Stores, wanted: Sequence[str] | None = None) -> list[Any]:
    """Return the views that are kept online, or those of them that are named."""
    views = {view.name: view for view in stores.feast.list_all_feature_views() if _is_online(view)}
    for name in wanted or ():
        if name not in views:
            raise UnknownName(f"there is no view {name!r} that is kept online", hint=close_names(name, views))
    return [view for name, view in sorted(views.items()) if wanted is None or name in wanted]


def _is_online(view: Any) -> bool:
    if hasattr(view, "write_to_online_store"):
        return bool(view.write_to_online_store)
    return bool(getattr(view, "online", True))
