"""Finds the keyspace, or creates it where the caller asked for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.connection.cluster import SCHEMA_TIMEOUT_S, await_agreement, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.errors import KeyspaceNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cassandra.cluster import Session


def ensure_keyspace(
    session: Session, keyspace: str, *, create: bool, replication: int | Mapping[str, int] | None = None
) -> None:
    """Make sure that a keyspace is there.

    Parameters
    ----------
    create
        Whether to make it where it is missing.
    replication
        Replicas: a number for the local data centre, or a number per data centre; None for 3, or as many nodes as there are.

    Raises
    ------
    KeyspaceNotFound
        It is not there and is not to be made.
    """
    with map_driver_errors(f"looking for keyspace {keyspace}"):
        rows = session.execute(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (keyspace,)
        )
        if rows.one() is not None:
            await_agreement(session)  # another process may have made it just now, or a table in it
            return
        if not create:
            names = sorted(row[0] for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces"))
            mine = [name for name in names if not name.startswith("system")]
            raise KeyspaceNotFound(
                f"the cluster has no keyspace {keyspace!r} (it has: {', '.join(mine) or 'none'})",
                hint="make it, or pass create_keyspace=True; on Astra DB keyspaces are made in the portal",
            )
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {quoted(keyspace)} WITH replication = {_replication(session, replication)}",
            timeout=SCHEMA_TIMEOUT_S,
        )


def _replication(session: Session, replication: int | Mapping[str, int] | None) -> dict[str, object]:
    centres: dict[str, int] = {}
    for host in session.cluster.metadata.all_hosts():
        centres[host.datacenter] = centres.get(host.datacenter, 0) + 1
    if replication is None:
        replicas = {name: min(3, nodes) for name, nodes in centres.items()}
    elif isinstance(replication, int):
        replicas = dict.fromkeys(centres, replication)
    else:
        replicas = dict(replication)
    return {"class": "NetworkTopologyStrategy", **replicas}
