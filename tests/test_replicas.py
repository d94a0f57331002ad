"""Keys by their replicas, as the driver's own metadata has them."""

from types import SimpleNamespace

import pytest
from cassandra.metadata import KeyspaceMetadata, Metadata, Murmur3Token
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host

from feastra_nb.storage.replicas import replica_groups

NODES, TOKENS = 5, 16


def database(replicas):
    """A database whose driver knows five nodes and a keyspace with so many replicas."""
    metadata = Metadata()
    ring = {}
    for node in range(NODES):
        host = Host(f"127.0.0.{node + 1}", SimpleConvictionPolicy, host_id=node)
        host.set_location_info("dc", "rack")
        metadata.add_or_return_host(host)
        ring[host] = [str((node + NODES * step) * 2**57 - 2**63 + node) for step in range(TOKENS)]
    metadata.rebuild_token_map("org.apache.cassandra.dht.Murmur3Partitioner", ring)
    strategy = {"replication_factor": str(replicas)}
    metadata.keyspaces["ks"] = KeyspaceMetadata(
        "ks", durable_writes=True, strategy_class="SimpleStrategy", strategy_options=strategy
    )
    metadata.token_map.rebuild_keyspace("ks", build_if_absent=True)
    session = SimpleNamespace(cluster=SimpleNamespace(metadata=metadata))
    return SimpleNamespace(session=session, keyspace="ks"), metadata


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_keys_of_one_group_have_the_same_replicas(replicas):
    db, metadata = database(replicas)
    keys = [f"key {number}".encode() for number in range(2_000)]
    groups = replica_groups(db, keys)
    assert sorted(index for group in groups for index in group) == list(range(len(keys)))
    owners = [{frozenset(metadata.get_replicas("ks", keys[index])) for index in group} for group in groups]
    assert all(len(each) == 1 and len(next(iter(each))) == replicas for each in owners)
    assert len(set().union(*owners)) == len(groups) > 1
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)


def test_with_a_replica_on_every_node_all_keys_are_one_group():
    db, _metadata = database(NODES)
    assert replica_groups(db, [b"a", b"b", b"c"]) == [[0, 1, 2]]


def test_a_key_beyond_the_last_token_belongs_to_the_first():
    db, metadata = database(1)
    last = metadata.token_map.ring[-1].value
    keys = [key for key in (f"{n}".encode() for n in range(20_000)) if Murmur3Token.hash_fn(key) > last]
    assert keys
    (group,) = replica_groups(db, keys)
    assert len(group) == len(keys)
