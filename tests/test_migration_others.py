"""From other stores of Feast's: the entities of the offline data, read by the store itself."""

from datetime import timedelta

import pandas as pd
import pytest
import yaml
from feasts_own import driver_view, feast_store, serve, write
from migrations import KEYSPACE, ROWS, T, steps, switched_store

import feastra_nb as fnb
from benchmarks.peers import NotHereError, redis_server


@pytest.fixture(params=["sqlite", "redis"])
def online(request, tmp_path):
    """The block of another store."""
    if request.param == "sqlite":
        yield {"type": "sqlite", "path": "online.db"}
        return
    pytest.importorskip("redis", reason="no Python package redis")
    try:
        with redis_server(tmp_path) as port:
            yield {"type": "redis", "connection_string": f"127.0.0.1:{port}"}
    except NotHereError as why:
        pytest.skip(str(why))


@pytest.fixture
def other(session, project, tmp_path, online):
    """A repository on another store, whose offline data have an entity that was never written online."""
    folder = tmp_path / "repo"
    folder.mkdir()
    config = {
        "project": project, "provider": "local", "registry": "registry.db", "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3, "online_store": online,
    }  # fmt: skip
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    store = feast_store(folder, online, project, driver_view(folder))
    numbers = [*ROWS, 4]
    frame = pd.DataFrame(
        {"driver": numbers, "event_timestamp": [T] * 4, "trips": numbers, "rating": 0.5, "city": "offline"}
    )
    frame.to_parquet(folder / "drivers.parquet")
    write(store, "drivers", ROWS)
    return folder, store


@pytest.fixture
def ours_block(node):
    return {"hosts": list(node.hosts), "port": node.port, "keyspace": KEYSPACE, "username": node.username}


def test_another_store_goes_the_same_way(other, ours_block, node, monkeypatch):
    folder, feasts = other
    monkeypatch.setenv("FEASTRA_PASSWORD", node.password.reveal())
    to = {**ours_block, "password": "${FEASTRA_PASSWORD}"}
    with fnb.connect(repo=folder) as ws:
        migration = ws.migration(to=to)
        assert migration.plan(progress=False).frame["entities"].tolist() == [3]
        assert migration.copy(progress=False).ok
        again = migration.copy(progress=False)
        assert again.frame["rows"].tolist() == [3]
        assert migration.verify(progress=False).ok
        assert migration.switch(progress=False).ok
    settings = (folder / "feature_store.yaml").read_text()
    assert node.password.reveal() not in settings
    store = switched_store(folder)
    keys = [*ROWS, 4]
    assert serve(store, "drivers", keys) == serve(feasts, "drivers", keys)
    write(store, "drivers", {4: (T + timedelta(days=1), {"trips": 44}), 1: (T - timedelta(days=1), {"trips": 0})})
    assert serve(store, "drivers", keys) == serve(feasts, "drivers", keys)
    assert serve(store, "drivers", [4, 1]) == {4: (44, None, None), 1: (7, 4.5, "Köln")}
    store._get_provider().online_store.shutdown()
    verify, finish = steps(folder, "verify", "finish")
    assert verify.ok, verify
    assert finish.ok, finish
    assert "mirror" not in (folder / "feature_store.yaml").read_text()


def test_where_our_store_is_has_to_be_said(other):
    folder, _store = other
    with pytest.raises(fnb.errors.ConfigurationError, match="where ours is to be has to be said"):
        steps(folder, "plan")
