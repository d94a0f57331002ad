"""Estimates how much a table holds, from what the server counts by itself every five minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.connection.cluster import READ
from feastra_nb.errors import FeastraError

if TYPE_CHECKING:
    from feastra_nb.connection.cluster import Database


def partitions(db: Database, table: str) -> int:
    """Return about how many partitions a table of the keyspace has; 0 where that is not known: young tables, foreign roles."""
    cql = "SELECT partitions_count FROM system.size_estimates WHERE keyspace_name = ? AND table_name = ?"
    try:
        counts = [row[0] for row in db.execute(cql, (db.keyspace, table), profile=READ)]
    except FeastraError:
        return 0
    return sum(counts) * len(db.session.cluster.metadata.all_hosts())  # each node counts its own ranges
