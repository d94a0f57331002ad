"""Back to Feast's own Cassandra tables: its own store then serves what ours serves."""

import pandas as pd
import pytest
from nodes import KEYSPACE

import feastra_nb as fnb
from feastra_nb import cli


@pytest.fixture
def feasts_own(filled, node):
    """What Feast's own store serves of the workspace's views."""
    from feast import FeatureStore, RepoConfig

    opened = []

    def served(features, entities):
        if not opened:
            config = filled.feast.config
            online = {
                "type": "cassandra", "hosts": list(node.hosts), "port": node.port, "keyspace": KEYSPACE,
                "username": node.username, "password": node.password.reveal(),
            }  # fmt: skip
            opened.append(
                FeatureStore(
                    config=RepoConfig(
                        project=config.project, provider="local", registry=str(filled.directory / "registry.db"),
                        online_store=online, offline_store={"type": "duckdb"}, entity_key_serialization_version=3,
                    )
                )
            )  # fmt: skip
        return opened[0].get_online_features(features, entities).to_dict()

    yield served
    for store in opened:
        store._get_provider().online_store._cluster.shutdown()


FEATURES = [f"drivers:{name}" for name in ("trips", "rating", "city", "active")]
ENTITIES = [{"driver": number} for number in (1, 2, 3, 9)]


def test_feasts_own_store_serves_the_same_after_an_export(filled, feasts_own, events):
    report = filled.export("feast-cassandra", progress=False)
    assert report.ok
    assert report.frame.to_dict("records") == [{"view": "drivers", "entities": 3, "rows": 3}]
    assert feasts_own(FEATURES, ENTITIES) == filled.feast.get_online_features(FEATURES, ENTITIES).to_dict()
    newer = events.tail(1).assign(event_timestamp=pd.Timestamp.now(tz="UTC"), trips=99)
    filled.materialize(newer, "drivers", keys=["driver"], progress=False)
    filled.export("feast-cassandra", progress=False)
    assert feasts_own(FEATURES, ENTITIES) == filled.feast.get_online_features(FEATURES, ENTITIES).to_dict()


def test_the_command_exports_from_a_repository(saved_repo, feasts_own, filled, capsys):
    assert cli.main(["export", "--layout", "feast-cassandra", "-q"]) == 0
    assert "3 of 3 entities of 1 view are" in capsys.readouterr().out
    assert feasts_own(FEATURES, ENTITIES) == filled.feast.get_online_features(FEATURES, ENTITIES).to_dict()


def test_a_layout_that_cannot_be_written_is_refused(filled):
    with pytest.raises(fnb.errors.ConfigurationError, match="feast-redis"):
        filled.export("feast-redis")
