"""CQL statements shared within `storage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cassandra.query import BoundStatement

from feastra_nb.connection.cluster import Database, quoted

if TYPE_CHECKING:
    from cassandra.query import PreparedStatement

    from feastra_nb.storage.catalog import ViewEntry


def bound(prepared: PreparedStatement, values: list[bytes], routing_key: bytes | None = None) -> BoundStatement:
    """Return a statement with values that have their wire form already; to bind them costs the driver four times as much."""
    statement = BoundStatement(prepared, routing_key=routing_key)
    statement.values = values
    return statement


def insert_cql(db: Database, entry: ViewEntry) -> str:
    """Return how a row is written: its arrival first, whose place is then the same in every row, and its time to live last."""
    return (
        f"INSERT INTO {quoted(db.keyspace)}.{quoted(entry.table)} "
        "(arrived_us, entity_key, event_us, created_us, features) VALUES (?, ?, ?, ?, ?) USING TTL ?"
    )
