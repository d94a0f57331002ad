"""The tables of Feast's own Cassandra and Scylla stores: which ones there are, and a connection that reads them.

Feast keeps one table a feature view, ``"{project}_{view}"``, with a row for each feature of an entity. ``WRITETIME(value)`` says
when a value arrived, which Feast itself never stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.store_config import StoreConfig
from feastra_nb.connection.cluster import READ, Database, pool, quoted
from feastra_nb.connection.keyspaces import ensure_keyspace
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from feast.repo_config import RepoConfig

CASSANDRA, SCYLLA = "cassandra", "scylladb"
_CONFIG_CLASSES = {"CassandraOnlineStoreConfig": CASSANDRA, "ScyllaDBOnlineStoreConfig": SCYLLA}
_COLUMNS = {
    "entity_key": "text",
    "feature_name": "text",
    "value": "blob",
    "event_ts": "timestamp",
    "created_ts": "timestamp",
}
_VECTOR = "vector_value"
_KEY_PARTS = {"entity_key": "partition_key", "feature_name": "clustering"}


@dataclass(frozen=True, slots=True)
class FeastTable:
    """One table of Feast's.

    Parameters
    ----------
    keyspace, name
        Where it is.
    has_vector
        Whether it has Scylla's ``vector_value``.

    Examples
    --------
    >>> print(FeastTable("features", "demo_plane_stats").qualified)
    "features"."demo_plane_stats"
    """

    keyspace: str
    name: str
    has_vector: bool = False

    @property
    def qualified(self) -> str:
        """Its name with the keyspace, quoted."""
        return f"{quoted(self.keyspace)}.{quoted(self.name)}"

    @property
    def cell_columns(self) -> tuple[tuple[str, str], ...]:
        """What a scan selects, and the kind of each column: what `feast_cells.FeastCells.of_columns` takes."""
        return (
            ("entity_key", "blob"),
            ("feature_name", "blob"),
            ("value", "blob"),
            ("event_ts", "timestamp"),
            ("WRITETIME(value)", "bigint"),
            ("TTL(value)", "int"),
            ("created_ts", "timestamp"),
        )


@dataclass(frozen=True, slots=True)
class FeastTables:
    """The tables of a keyspace, as one project sees them.

    Parameters
    ----------
    of_views
        By view: its table.
    missing
        Views without a table.
    unfit
        By view: why the table of its name is not Feast's.
    orphans
        Tables of Feast's that begin with the project's name and belong to no view of it: of a view that is gone, or of another
        project.
    """

    of_views: Mapping[str, FeastTable]
    missing: tuple[str, ...]
    unfit: Mapping[str, str]
    orphans: tuple[str, ...]


def kind_of(config: RepoConfig) -> str | None:
    """Return which of Feast's own stores a repository has: ``"cassandra"``, ``"scylladb"``, or None for any other.

    A store of somebody's own that is derived from one of them counts as that.
    """
    classes = (cls.__name__ for cls in type(config.online_store).__mro__ if cls.__module__.startswith("feast."))
    return next((_CONFIG_CLASSES[name] for name in classes if name in _CONFIG_CLASSES), None)


def connection_block(block: Any) -> StoreConfig:
    """Return our own configuration of the cluster that a block of Feast's ``type: cassandra`` or ``scylladb`` names.

    Parameters
    ----------
    block
        Feast's configuration object, or a mapping as the yaml has it.
    """
    given = dict(block) if isinstance(block, dict) else block.model_dump(exclude_none=True)
    if given.get("local_dc"):  # Scylla's form of it
        given.setdefault("load_balancing", {"local_dc": given["local_dc"]})
    ours = {name: value for name, value in given.items() if name in StoreConfig.model_fields and name != "type"}
    return StoreConfig(**ours)


def open_tables(config: RepoConfig) -> Database:
    """Connect to the keyspace of a repository's own store of Feast's, to read it; `close_tables` gives the session back.

    Raises
    ------
    ConfigurationError
        The repository's online store is another, or the keyspace is not there.
    ConnectionFailed, AuthenticationFailed
        The cluster cannot be reached, or refuses the credentials.
    """
    if kind_of(config) is None:
        raise ConfigurationError(
            f"the online store of this repository is {config.online_store.type!r}, not Feast's own cassandra or scylladb"
        )
    return open_block(connection_block(config.online_store))


def open_block(block: StoreConfig) -> Database:
    """Connect to the keyspace of a block, making nothing."""
    settings = block.settings()
    session = pool.acquire(settings)
    try:
        ensure_keyspace(session, block.keyspace, create=False, replication=None)
        return Database(session, settings, block.keyspace)
    except BaseException:
        pool.release(session)
        raise


def close_tables(db: Database) -> None:
    """Give the session of `open_tables` back."""
    pool.release(db.session)


def table_of(project: str, view: str) -> str:
    """Return the name that Feast gives a view's table.

    Examples
    --------
    >>> table_of("demo", "plane_stats")
    'demo_plane_stats'
    """
    return f"{project}_{view}"


def find_tables(db: Database, project: str, views: Iterable[str]) -> FeastTables:
    """Find the tables of a project's views in a keyspace.

    Two views of two projects may have one table: ``a_b`` of ``x`` and ``b`` of ``x_a``. Feast does not tell them apart, nor can
    this; keys that fit no view are counted when the table is read.
    """
    columns = _columns_of(db)
    names = {view: table_of(project, view) for view in views}
    found, unfit, missing = {}, {}, []
    for view, name in names.items():
        if name not in columns:
            missing.append(view)
        elif why := _why_unfit(columns[name]):
            unfit[view] = why
        else:
            found[view] = _table(db.keyspace, name, columns[name])
    taken = set(names.values())
    orphans = [
        name
        for name, its_columns in columns.items()
        if name.startswith(f"{project}_") and name not in taken and not _why_unfit(its_columns)
    ]
    return FeastTables(found, tuple(missing), unfit, tuple(sorted(orphans)))


_Columns = dict[str, tuple[str, str]]  # by column: its type and what it is in the key


def _table(keyspace: str, name: str, columns: _Columns) -> FeastTable:
    return FeastTable(keyspace, name, _VECTOR in columns)


def _columns_of(db: Database) -> dict[str, _Columns]:
    rows = db.execute(
        "SELECT table_name, column_name, type, kind FROM system_schema.columns WHERE keyspace_name = ?",
        (db.keyspace,),
        profile=READ,
    )
    tables: dict[str, _Columns] = {}
    for table, column, kind, part in rows:
        tables.setdefault(table, {})[column] = kind, part
    return dict(sorted(tables.items()))


def _why_unfit(columns: _Columns) -> str | None:
    """Say why a table is not Feast's; None where it is."""
    lacking = [name for name in _COLUMNS if name not in columns]
    if lacking:
        return f"it has no column {', '.join(lacking)}"
    for name, kind in _COLUMNS.items():
        if columns[name][0] != kind:
            return f"its column {name} is {columns[name][0]}, not {kind}"
    parts = {name: part for name, (_kind, part) in columns.items() if part in ("partition_key", "clustering")}
    if parts != _KEY_PARTS:
        return f"its key is {_shown(parts)}, not {_shown(_KEY_PARTS)}"
    others: Sequence[str] = [name for name in columns if name not in _COLUMNS and name != _VECTOR]
    return f"it has a column {others[0]}" if others else None


def _shown(parts: Mapping[str, str]) -> str:
    partition = [name for name, part in parts.items() if part == "partition_key"]
    clustering = [name for name, part in parts.items() if part != "partition_key"]
    return f"(({', '.join(partition)}){''.join(f', {name}' for name in clustering)})"
