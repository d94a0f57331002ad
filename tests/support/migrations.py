"""Feast repositories on Feast's own Cassandra store, to be migrated; fixtures of several test files."""

from datetime import timedelta

import pytest
from feasts_own import FEATURES, block, driver_view, feast_store, serve, utc, write

import feastra_nb as fnb

KEYSPACE = "tests_migration"
T = utc(2026, 1, 1)


def later(**by):
    return T + timedelta(**by)


@pytest.fixture
def session(ws):
    ws.session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        timeout=60,
    )
    return ws.session


@pytest.fixture
def make_repo(node, session, project, tmp_path):
    """Make a Feast repository on Feast's own store, and return its folder."""
    import yaml

    opened = []

    def made(objects=None, *, kind="cassandra", online=None):
        folder = tmp_path / "repo"
        folder.mkdir()
        online = online or block(node, KEYSPACE, kind)
        config = {
            "project": project, "provider": "local", "registry": "registry.db", "offline_store": {"type": "duckdb"},
            "entity_key_serialization_version": 3, "online_store": online,
        }  # fmt: skip
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        opened.append(feast_store(folder, online, project, objects or driver_view(folder)))
        return folder, opened[-1]

    yield made
    for store in opened:
        store._get_provider().online_store._cluster.shutdown()


@pytest.fixture
def repo(make_repo):
    return make_repo()


def migrated(folder, view="drivers", **own):
    """Copy, and return what our store serves, by key: through Feast."""
    with fnb.connect(repo=folder) as ws:
        return ws.migration(**own).copy(progress=False)


@pytest.fixture
def ours(node, project, tmp_path):
    """Return what our store serves on the tables that a migration has made."""
    from feast import FeatureStore, RepoConfig

    opened = []

    def served(keys, view="drivers", features=FEATURES):
        if not opened:
            config = {
                "project": project, "provider": "local", "registry": str(tmp_path / "repo" / "registry.db"),
                "offline_store": {"type": "duckdb"}, "entity_key_serialization_version": 3,
            }  # fmt: skip
            online = {**block(node, KEYSPACE), "type": "feastra_nb.online_store.FeastraOnlineStore"}
            opened.append(FeatureStore(config=RepoConfig(online_store=online, **config)))
        return serve(opened[0], view, keys, features)

    yield served
    for store in opened:
        store._get_provider().online_store.shutdown()


ROWS = {
    1: (T, {"trips": 7, "rating": 4.5, "city": "Köln"}),
    2: (later(hours=1), {"trips": None, "rating": 1.5, "city": "São Paulo ☂"}),
    3: (later(hours=2), {"trips": -1, "rating": None, "city": ""}),
}


@pytest.fixture
def filled_repo(repo):
    folder, store = repo
    write(store, "drivers", ROWS)
    return folder, store


def steps(folder, *verbs, **options):
    """Run steps, each in a process's own workspace as the command does, and return their reports."""
    reports = []
    for verb in verbs:
        with fnb.connect(repo=folder) as ws:
            reports.append(getattr(ws.migration(), verb)(progress=False, **options))
    return reports


def switched_store(folder):
    from feast import FeatureStore

    return FeatureStore(repo_path=str(folder))


def close(store):
    store._get_provider().online_store.shutdown()


def digest(project):
    from feastra_nb.storage.catalog import table_name

    return table_name(project, "drivers", 1)[-15:]
