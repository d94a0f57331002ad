"""The whole way, while Feast goes on writing and the copy is killed: what is served is the same on both sides at every step."""

import contextlib
import os
import random
import signal
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from feasts_own import block, driver_view, feast_store, old_key, serve, value, write
from other_processes import CONTEXT

import feastra_nb as fnb
from feastra_nb.storage.catalog import table_name

KEYSPACE = "tests_migration_truth"
KEYS = [f"Fahrer ☂ {number}" for number in range(300)]
LIVE, LATE, OLD, TEMPORARY = KEYS[:60], KEYS[60:70], KEYS[280:290], KEYS[290:]
START = datetime.now(tz=timezone.utc).replace(microsecond=123000) - timedelta(days=20)
KILLS = 3


def at(hours):
    return START + timedelta(hours=hours)


def features(random_of, *names):
    contents = {
        "trips": random_of.choice([None, random_of.randrange(-(2**60), 2**60)]),
        "rating": random_of.choice([None, random_of.random(), float(random_of.randrange(9))]),
        "city": random_of.choice([None, "", "São Paulo", "東京", "x" * 300]),
    }
    return {name: contents[name] for name in names or contents}


def copy_in_another_process(folder, rows_per_s):
    with fnb.connect(repo=folder) as ws:
        report = ws.migration().copy(rows_per_s=rows_per_s, progress=False)
    os._exit(report.exit_code)


@pytest.fixture
def session(ws):
    ws.session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        timeout=60,
    )
    return ws.session


@pytest.fixture
def feasts(node, session, project, tmp_path):
    """A repository on Feast's own store, and what else may be in its table: keys of version 2, features that are gone, ttls."""
    import yaml
    from feast import ValueType

    online = block(node, KEYSPACE)
    config = {
        "project": project, "provider": "local", "registry": "registry.db", "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3, "online_store": online,
    }  # fmt: skip
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    store = feast_store(tmp_path, online, project, driver_view(tmp_path, kind=ValueType.STRING))
    yield store
    store._get_provider().online_store._cluster.shutdown()


class Writer(threading.Thread):
    """Writes by Feast's own store, in rounds, until it is told to stop: newer events, some of a part of the features."""

    def __init__(self, store):
        super().__init__(daemon=True)
        self.store, self.hours, self.stopped = store, 1000, threading.Event()
        self.random = random.Random(7)

    def run(self):
        while not self.stopped.is_set():
            self.hours += 1
            some = self.random.sample(LIVE, 10)
            names = self.random.choice([(), ("trips",), ("city", "rating")])
            write(self.store, "drivers", [(key, (at(self.hours / 60), features(self.random, *names))) for key in some])
            time.sleep(0.01)

    def stop(self):
        self.stopped.set()
        self.join()


def fill(store, session, table):
    chance = random.Random(3)
    rows = [
        (key, (at(chance.randrange(10)), features(chance))) for key in KEYS if key not in OLD and key not in TEMPORARY
    ]
    rows += [(key, (at(chance.randrange(20)), features(chance, "trips"))) for key in KEYS[100:160]]
    write(store, "drivers", rows)
    insert = f"INSERT INTO {table} (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)"
    for key in OLD:
        session.execute(insert, (old_key(key), "city", value(f"old {key}").SerializeToString(), at(1)))
    for key in TEMPORARY:
        session.execute(f"{insert} USING TTL 86400", (new_key(key), "city", value(key).SerializeToString(), at(1)))
    for key in KEYS[:5]:
        session.execute(insert, (new_key(key), "gone", value(1).SerializeToString(), at(1)))


def new_key(key):
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feasts_own import entity_key

    return serialize_entity_key(entity_key(key), 3).hex()


def wait_for_ranges(session, project, number):
    """Wait until a copy has noted so many ranges as done."""
    cql = f"SELECT part FROM {KEYSPACE}.feastra_migrations WHERE project = %s AND feature_view = 'drivers'"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(Exception):  # the table is not there yet
            if len(list(session.execute(cql, (project,)))) > number:
                return
        time.sleep(0.02)
    raise AssertionError("the copy did not come so far")


def ours(folder):
    from feast import FeatureStore

    return FeatureStore(repo_path=str(folder))


def step(folder, verb, **options):
    with fnb.connect(repo=folder) as ws:
        return getattr(ws.migration(), verb)(progress=False, **options)


@pytest.mark.filterwarnings("ignore:.*version < 3")
def test_nothing_that_is_served_changes_on_the_way(feasts, session, project, tmp_path):
    folder, table = tmp_path, f'{KEYSPACE}."{project}_drivers"'
    fill(feasts, session, table)
    writer = Writer(feasts)
    writer.start()
    chance = random.Random(1)
    for kill in range(KILLS):
        process = CONTEXT.Process(target=copy_in_another_process, args=(folder, 400))
        process.start()
        wait_for_ranges(session, project, chance.randrange(1, 15) + 15 * kill)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    copied = step(folder, "copy")
    assert "went on after" in " ".join(copied.notes)
    assert copied.state == "problems"  # of the features that are gone, and nothing else
    assert [text.split(" of ")[0] for text in copied.problems] == ["drivers: feature 'gone'"]
    assert not copied.unknown
    assert step(folder, "verify").ok
    writer.stop()

    # A late row overwrites a newer event in Feast's table; our log, which has the newer one, keeps it.
    before = serve(feasts, "drivers", LATE)
    write(feasts, "drivers", [(key, (at(-5), features(chance))) for key in LATE])
    switched = step(folder, "switch")
    assert switched.state == "done", switched
    assert f"{len(LATE)} entities were overwritten" in "\n".join(switched.notes)

    store = ours(folder)
    rest = [key for key in KEYS if key not in LATE and key not in OLD]
    assert serve(store, "drivers", rest) == serve(feasts, "drivers", rest)
    assert serve(store, "drivers", LATE) == before
    assert serve(store, "drivers", OLD) == {key: (None, None, f"old {key}") for key in OLD}
    ttl = session.execute(
        f"SELECT TTL(features) FROM {KEYSPACE}.{table_name(project, 'drivers', 1)} WHERE entity_key = %s",
        (bytes.fromhex(new_key(TEMPORARY[0])),),
    ).one()[0]
    assert 0 < ttl <= 86_400

    # Both sides are written by ours: late rows, parts, nulls.
    for hours in (3000, 2000, 3100, 2500):
        names = chance.choice([(), ("trips",)])
        write(
            store, "drivers", [(key, (at(hours / 60), features(chance, *names))) for key in [*LIVE[:20], *LATE, "new"]]
        )
        keys = [*rest, *LATE, "new"]
        assert serve(store, "drivers", keys) == serve(feasts, "drivers", keys)
    store._get_provider().online_store.shutdown()
    assert step(folder, "copy").state == "problems"
    assert step(folder, "verify").ok
    assert step(folder, "finish").state == "done"
    store = ours(folder)
    assert serve(store, "drivers", keys) == serve(feasts, "drivers", keys)
    store._get_provider().online_store.shutdown()
