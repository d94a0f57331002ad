"""Groups keys that live on the same replicas, so that they may share a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.connection.cluster import Database


def replica_groups(db: Database, keys: Sequence[bytes]) -> list[list[int]]:
    """Return the indexes of keys by their set of replicas, in order of appearance.

    With a single node, with a replica on every node, or where the driver knows of no tokens, that is one group.
    """
    metadata = db.session.cluster.metadata
    ring = metadata.token_map.ring if metadata.token_map else []
    if len(metadata.all_hosts()) <= 1 or not ring:
        return [list(range(len(keys)))]
    # Each key's place on the ring; who owns a place is asked once for each.
    hash_key = metadata.token_map.token_class.hash_fn
    tokens = np.array([hash_key(key) for key in keys])
    places = np.searchsorted([token.value for token in ring], tokens) % len(ring)
    distinct, which = np.unique(places, return_inverse=True)
    groups: dict[frozenset[object], list[int]] = {}
    for number, place in enumerate(distinct):
        owners = metadata.token_map.get_replicas(db.keyspace, ring[place])
        group = groups.setdefault(frozenset(host.host_id for host in owners), [])
        group.extend(np.flatnonzero(which == number).tolist())
    return sorted((sorted(group) for group in groups.values()), key=lambda group: group[0])
