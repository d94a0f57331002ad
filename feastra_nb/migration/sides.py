"""Both sides of a migration: the tables that Feast's own store keeps, and our store beside or instead of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feast.infra.online_stores.helpers import get_online_store_from_config

from feastra_nb.adapter import feast_tables
from feastra_nb.adapter.feast_tables import FeastTables
from feastra_nb.adapter.mirror import config_of, revealed
from feastra_nb.adapter.objects import registry_identity, spec_of
from feastra_nb.adapter.store_config import StoreConfig, open_store
from feastra_nb.connection.cluster import pool
from feastra_nb.errors import ConfigurationError, UnknownName, close_names
from feastra_nb.migration.sources import OfflineSource, TableSource
from feastra_nb.storage.migration_journal import MigrationJournal
from feastra_nb.storage.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from feast.repo_config import RepoConfig

    from feastra_nb.connection.cluster import Database
    from feastra_nb.migration.sources import Source
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
        The keyspace of Feast's tables; None for another store than Cassandra and Scylla.
    tables
        Those of the views that are migrated.
    sources
        By view: where its entities come from.
    new
        Our store.
    is_switched
        Whether the repository uses our store already.
    """

    stores: Stores
    block: StoreConfig
    old: Database | None
    tables: FeastTables
    sources: Mapping[str, Source]
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
        The repository's online store is ours and has no ``mirror``, or it is another than Cassandra and Scylla and ``own`` does not
        say where ours is.
    """
    views, is_switched = online_views(stores, wanted), stores.has_history
    own = {name: value for name, value in own.items() if name != "type"}
    old_config = _mirrored(stores.feast.config) if is_switched else stores.feast.config
    is_table = feast_tables.kind_of(old_config) is not None
    if not is_table and not is_switched and not _names_cluster(own):
        raise ConfigurationError(
            f"the online store of this repository is {stores.type!r}, so where ours is to be has to be said",
            hint='ws.migration(to={"hosts": ["10.0.0.1"], "keyspace": "features", …}), or --to FILE with these keys',
        )
    with contextlib.ExitStack() as opened:
        old = feast_tables.open_tables(old_config) if is_table else None
        if old is not None:
            opened.callback(feast_tables.close_tables, old)
        block = stores.feast.config.online_store if is_switched else own_block(old_config.online_store, own)
        new = stores.online if is_switched else open_store(block, stores.project)
        if not is_switched:
            opened.callback(pool.release, new.db.session)
        yield _sides(stores, block, old_config, old, new, views, is_switched=is_switched)


def _sides(
    stores: Stores, block: StoreConfig, old_config: RepoConfig, old: Database | None, new: OpenStore, views: Sequence[Any],
    *, is_switched: bool,
) -> Sides:  # fmt: skip
    sources: dict[str, Source]
    if old is None:
        online_store = get_online_store_from_config(old_config.online_store)
        sources = {view.name: OfflineSource(stores, old_config, online_store, view) for view in views}
        return Sides(stores, block, None, FeastTables({}, (), {}, ()), sources, new, is_switched)
    tables = feast_tables.find_tables(old, stores.project, [view.name for view in views])
    sources = {name: TableSource(old, table, name) for name, table in tables.of_views.items()}
    return Sides(stores, block, old, tables, sources, new, is_switched)


_CLUSTER = ("hosts", "datacenters", "secure_bundle_path", "astra", "local")


def _names_cluster(own: Mapping[str, Any]) -> bool:
    return any(name in own for name in _CLUSTER)


def own_block(feasts: Any, own: Mapping[str, Any]) -> StoreConfig:
    """Return our block: another cluster where one is named, otherwise that of Feast's tables."""
    own = expanded(dict(own))
    if _names_cluster(own):
        return StoreConfig(**own)
    old = feast_tables.connection_block(feasts)
    checked = StoreConfig(**{"hosts": ["-"], **own})
    return old.model_copy(update={name: getattr(checked, name) for name in own})


def expanded(value: Any) -> Any:
    """Return a block with ``${VAR}`` replaced as Feast does when it reads the file."""
    if isinstance(value, dict):
        return {name: expanded(each) for name, each in value.items()}
    return os.path.expandvars(value) if isinstance(value, str) else value


def refuse_unmirrored(block: Any) -> None:
    """Refuse a store of ours that mirrors nothing.

    Raises
    ------
    ConfigurationError
        It does not.
    """
    if getattr(block, "mirror", None) is None:
        raise ConfigurationError(
            "this repository's online store is feastra_nb's already, and mirrors nothing: there is nothing to migrate",
            hint="`feastra export --layout feast-cassandra` goes back",
        )


def _mirrored(config: RepoConfig) -> RepoConfig:
    """Return the configuration of the store that ours mirrors into."""
    refuse_unmirrored(config.online_store)
    return config_of(config, revealed(config.online_store.mirror))


def without_tables(sides: Sides) -> ConfigurationError:
    """Return the error for a keyspace that holds no table of Feast's."""
    keyspace = sides.old.keyspace if sides.old is not None else ""
    return ConfigurationError(
        f"keyspace {keyspace!r} holds no table of Feast's for project {sides.stores.project!r}",
        hint=f"expected such as {sides.stores.project}_{next(iter(sides.tables.missing), 'view')}; is it the right keyspace?",
    )


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
