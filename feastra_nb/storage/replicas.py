"""Which keys live on the same replicas: they may share a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.connection.cluster import Database


def replica_groups(db: Database, keys: Sequence[bytes]) -> list[list[int]]:
    """Return the indexes of keys by their set of replicas, in order of appearance.

    With a single node, or a replica on every node, that is one group.
    """
    metadata = db.session.cluster.metadata
    if len(metadata.all_hosts()) <= 1:
        return [list(range(len(keys)))]
    groups: dict[frozenset[object], list[int]] = {}
    for index, key in enumerate(keys):
        owners = frozenset(host.host_id for host in metadata.get_replicas(db.keyspace, key))
        groups.setdefault(owners, []).append(index)
    return list(groups.values())
