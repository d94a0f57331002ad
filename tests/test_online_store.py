"""`FeastraOnlineStore` as Feast uses it: apply, write, read, teardown, and what must not go wrong."""

import pickle
import random
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feastra_nb.errors import CatalogConflict, ConfigurationError, InvalidFrame, WriteIncomplete
from feastra_nb.online_store import FeastraOnlineStore, FeastraOnlineStoreConfig

NOW = datetime.now(tz=timezone.utc).replace(microsecond=0)
EARLIER = NOW - timedelta(hours=1)


def key(number):
    return EntityKey(join_keys=["driver"], entity_values=[Value(int64_val=number)])


def row(number, trips, event=EARLIER, created=None, **more):
    return key(number), {"trips": Value(int64_val=trips), **more}, event, created


def drivers_view(driver, tmp_path, *, fields=(("trips", Int64),), ttl=None, name="drivers"):
    path = tmp_path / f"{name}.parquet"
    if not path.exists():
        frame = pd.DataFrame({"driver": [1], "event_timestamp": [pd.Timestamp(EARLIER)], "trips": [1]})
        frame["event_timestamp"] = frame["event_timestamp"].dt.as_unit("us")
        frame.to_parquet(path)
    return FeatureView(
        name=name, entities=[driver], ttl=ttl, schema=[Field(name=field, dtype=kind) for field, kind in fields],
        source=FileSource(path=str(path), timestamp_field="event_timestamp"),
    )  # fmt: skip


@pytest.fixture
def repository(open_repository, driver, tmp_path):
    """A repository whose view ``drivers`` is applied."""
    store = open_repository()
    store.apply([driver, drivers_view(driver, tmp_path)])
    return store


def online(store):
    return store._get_provider().online_store


def write(store, rows, *, view="drivers", progress=None):
    online(store).online_write_batch(
        config=store.config, table=store.get_feature_view(view), data=rows, progress=progress
    )


def read(store, numbers, *, view="drivers", features=None):
    return online(store).online_read(
        config=store.config, table=store.get_feature_view(view), entity_keys=[key(n) for n in numbers],
        requested_features=features,
    )  # fmt: skip


def trips(store, numbers):
    return [None if values is None else values["trips"].int64_val for _event, values in read(store, numbers)]


def test_what_is_written_is_read_in_order_with_its_event_time(repository):
    write(repository, [row(1, 10), row(2, 20)])
    assert trips(repository, [2, 7, 1]) == [20, None, 10]
    assert read(repository, [1])[0][0] == EARLIER
    assert read(repository, [7]) == [(None, None)]


def test_hundreds_of_keys_are_read_at_once(repository):
    write(repository, [row(n, n) for n in range(300)])
    numbers = random.sample(range(400), 400)
    assert trips(repository, numbers) == [n if n < 300 else None for n in numbers]


def test_progress_counts_rows_as_they_are_acknowledged(repository):
    seen = []
    write(repository, [row(n, n) for n in range(123)], progress=seen.append)
    assert sum(seen) == 123
    write(repository, [], progress=seen.append)
    assert sum(seen) == 123


def test_a_late_event_stays_behind_the_newer_one(repository):
    write(repository, [row(1, 2, NOW)])
    write(repository, [row(1, 1, EARLIER)])
    assert trips(repository, [1]) == [2]


def test_a_naive_event_time_is_utc(repository):
    write(repository, [row(1, 1, EARLIER.replace(tzinfo=None))])
    assert read(repository, [1])[0][0] == EARLIER


def test_the_future_is_refused_and_nothing_is_written(repository):
    with pytest.raises(InvalidFrame, match="1 of 2 rows for view 'drivers' lie in the future; row 1"):
        write(repository, [row(1, 1), row(2, 2, NOW + timedelta(hours=1))])
    assert trips(repository, [1, 2]) == [None, None]


def test_ttl_holds_online_as_it_does_offline(repository, driver, tmp_path):
    repository.apply([driver, drivers_view(driver, tmp_path, ttl=timedelta(minutes=30))])
    now = datetime.now(tz=timezone.utc)
    write(repository, [row(1, 1, now - timedelta(minutes=29)), row(2, 2, now - timedelta(minutes=31))])
    assert trips(repository, [1, 2]) == [1, None]


def test_a_store_that_does_not_enforce_ttl_serves_and_keeps_values_of_any_age(open_repository, driver, tmp_path):
    store = open_repository(online={"enforce_ttl": False, "retain": "1h"})
    store.apply([driver, drivers_view(driver, tmp_path, ttl=timedelta(minutes=30))])
    write(store, [row(1, 1, NOW - timedelta(days=1_000))])
    assert trips(store, [1]) == [1]
    entry = online(store).entry(store.config, store.get_feature_view("drivers"))
    life = online(store).open(store.config).db.execute(f'SELECT TTL(features) FROM tests."{entry.table}"').one()
    assert (entry.ttl_us, life) == (None, (None,))
    enforcing = open_repository(online={"retain": "1h"})
    assert trips(enforcing, [1]) == [None]


histories = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories, st.randoms())
def test_any_order_and_repetition_of_rows_reads_the_same(repository, driver, tmp_path, history, order):
    """Rows that differ in event or created time: the newest wins, whatever the order they come in."""
    rows = {(n, event, created): value for n, event, created, value in history}
    newest = {n: max(k for k in rows if k[0] == n) for n, _event, _created in rows}
    shuffled = [*rows.items(), *rows.items()]
    order.shuffle(shuffled)
    write(repository, [row(99, 0)])  # the table is there
    entry = online(repository).entry(repository.config, repository.get_feature_view("drivers"))
    session = online(repository).open(repository.config).db.session
    session.execute(f'TRUNCATE tests."{entry.table}"')
    while shuffled:
        size = order.randint(1, 5)
        part, shuffled = shuffled[:size], shuffled[size:]
        write(
            repository,
            [row(n, value, EARLIER + timedelta(seconds=event), EARLIER + timedelta(seconds=created))
             for (n, event, created), value in part],
        )  # fmt: skip
    numbers = sorted(newest)
    assert trips(repository, numbers) == [rows[newest[n]] for n in numbers]


def test_a_feature_that_is_added_removed_and_retyped_needs_no_rewrite(repository, driver, tmp_path):
    write(repository, [row(1, 10)])
    repository.apply([driver, drivers_view(driver, tmp_path, fields=(("trips", Int64), ("city", String)))])
    assert set(read(repository, [1])[0][1]) == {"trips"}  # the old row has no value for it, which is not null
    write(repository, [row(2, 20, city=Value(string_val="Oslo"))])
    assert read(repository, [2], features=["city"])[0][1]["city"].string_val == "Oslo"
    repository.apply([driver, drivers_view(driver, tmp_path, fields=(("city", String), ("trips", Float64)))])
    assert "trips" not in read(repository, [2])[0][1]  # written as another type
    write(repository, [(key(3), {"trips": Value(double_val=0.5), "city": Value(string_val="Rom")}, EARLIER, None)])
    assert read(repository, [3])[0][1]["trips"].double_val == 0.5
    assert read(repository, [2])[0][1]["city"].string_val == "Oslo"


def test_a_view_that_is_removed_loses_its_table_and_a_stale_writer_fails(repository, open_repository, driver, tmp_path):
    stale = open_repository()
    write(stale, [row(1, 1)])
    repository.apply([], objects_to_delete=[repository.get_feature_view("drivers")], partial=False)
    repository.apply([driver, drivers_view(driver, tmp_path)])
    with pytest.raises(WriteIncomplete, match="0 of 1 rows were acknowledged"):
        online(stale).online_write_batch(
            config=stale.config, table=repository.get_feature_view("drivers"), data=[row(1, 2)], progress=None
        )
    assert trips(repository, [1]) == [None]


def test_projects_and_views_whose_names_run_together_do_not_meet(open_repository, driver, tmp_path, project):
    first = open_repository(project=f"{project}_a", registry=str(tmp_path / "one.db"))
    second = open_repository(project=f"{project}", registry=str(tmp_path / "two.db"))
    first.apply([driver, drivers_view(driver, tmp_path, name="b_c")])
    second.apply([driver, drivers_view(driver, tmp_path, name="a_b_c")])
    write(first, [row(1, 1)], view="b_c")
    assert read(second, [1], view="a_b_c") == [(None, None)]


def test_another_registry_for_the_same_views_is_an_error_until_it_takes_them_over(
    repository, open_repository, driver, tmp_path
):
    other = open_repository(registry=str(tmp_path / "other.db"))
    with pytest.raises(CatalogConflict, match="belongs to another Feast registry"):
        other.apply([driver, drivers_view(driver, tmp_path)])
    taker = open_repository(registry=str(tmp_path / "other.db"), online={"adopt_registry": True})
    taker.apply([driver, drivers_view(driver, tmp_path)])
    assert trips(taker, [1]) == [None]


def test_changed_join_keys_are_refused(repository, tmp_path):
    other = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
    with pytest.raises(CatalogConflict, match="stored with the join keys driver"):
        repository.apply([other, drivers_view(other, tmp_path)])


def test_a_view_that_was_never_applied_is_an_error_not_a_missing_value(repository, driver, tmp_path):
    with pytest.raises(CatalogConflict, match="is not in keyspace"):
        online(repository).online_read(
            config=repository.config, table=drivers_view(driver, tmp_path, name="other"), entity_keys=[key(1)]
        )


def test_teardown_drops_every_table(repository):
    entry = online(repository).entry(repository.config, repository.get_feature_view("drivers"))
    db = online(repository).open(repository.config).db
    assert db.table_exists(entry.table)
    repository.teardown()
    assert not db.table_exists(entry.table)


def test_plan_lists_the_tables_and_survives_the_registry(repository):
    from feastra_nb.adapter.objects import FeastraTable

    (table,) = online(repository).plan(repository.config, repository.registry.proto())
    assert table.name == f"{repository.project}/drivers"
    assert FeastraTable.from_infra_object_proto(table.to_infra_object_proto()).name == table.name


def test_the_store_pickles_connected_or_not(repository):
    write(repository, [row(1, 1)])
    copy = pickle.loads(pickle.dumps(online(repository)))
    try:
        found = copy.online_read(
            config=repository.config, table=repository.get_feature_view("drivers"), entity_keys=[key(1)]
        )
        assert found[0][1]["trips"].int64_val == 1
    finally:
        copy.shutdown()


def test_initialize_and_close_are_what_feast_serve_calls(repository):
    import asyncio

    store = FeastraOnlineStore()
    asyncio.run(store.initialize(repository.config))
    assert "tests" in repr(store)
    asyncio.run(store.close())
    assert "not connected" in repr(store)


def test_several_views_are_read_in_one_go(repository, driver, tmp_path):
    names = [f"view{n}" for n in range(5)]
    repository.apply([driver, *(drivers_view(driver, tmp_path, name=name) for name in names)])
    for number, name in enumerate(names):
        write(repository, [row(1, number)], view=name)
    response = repository.get_online_features(
        [f"{name}:trips" for name in names], [{"driver": 1}], full_feature_names=True
    ).to_dict()
    assert [response[f"{name}__trips"] for name in names] == [[0], [1], [2], [3], [4]]


def test_feasts_own_engine_marks_its_interval_as_thinned(repository):
    repository.materialize(EARLIER - timedelta(hours=1), NOW)
    runs = online(repository).open(repository.config).journal.runs(repository.project, "drivers")
    assert [(run.kind, run.thinned, run.rows) for run in runs] == [("feast", True, 1)]


def test_the_arrow_engine_serves_feast_materialize(open_repository, driver, tmp_path):
    store = open_repository(batch_engine={"type": "feastra_nb.arrow_engine.ArrowComputeEngine"})
    store.apply([driver, drivers_view(driver, tmp_path)])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    runs = online(store).open(store.config).journal.runs(store.project, "drivers")
    assert [(run.kind, run.thinned, run.rows) for run in runs] == [("view", False, 1)]
    assert store.get_online_features(["drivers:trips"], [{"driver": 1}]).to_dict()["trips"] == [1]


def test_feast_materialize_shows_what_the_arrow_engine_wrote(open_repository, driver, tmp_path, capsys):
    store = open_repository(batch_engine={"type": "feastra_nb.arrow_engine.ArrowComputeEngine"})
    store.apply([driver, drivers_view(driver, tmp_path)])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    shown = capsys.readouterr()
    assert "drivers: 1 rows of 1 entities" in shown.out
    assert "drivers: 1 rows in " in shown.err


def test_the_arrow_engine_hands_an_error_to_feast(open_repository, driver, tmp_path):
    store = open_repository(batch_engine={"type": "feastra_nb.arrow_engine.ArrowComputeEngine"})
    store.apply([driver, drivers_view(driver, tmp_path)])
    (tmp_path / "drivers.parquet").unlink()
    with pytest.raises(Exception, match=r"drivers\.parquet"):
        store.materialize(EARLIER - timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no address"),
        ({"hosts": ["a"], "secure_bundle_path": "b.zip"}, "hosts and secure_bundle_path"),
        ({"hosts": ["a"], "username": "me"}, "belong together"),
        ({"hosts": ["a"], "consistency": {"read": "MOST"}}, "unknown consistency level 'MOST'"),
        ({"hosts": ["a"], "request_timeout": 0}, "must be above zero"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        FeastraOnlineStoreConfig(**options).settings()


def test_every_key_of_feasts_own_cassandra_store_is_accepted():
    from feast.infra.online_stores.cassandra_online_store.cassandra_online_store import CassandraOnlineStoreConfig

    assert set(CassandraOnlineStoreConfig.model_fields) <= set(FeastraOnlineStoreConfig.model_fields)
    config = FeastraOnlineStoreConfig(
        datacenters=[{"name": "dc1", "hosts": ["10.0.0.1"]}, {"name": "dc2", "hosts": ["10.0.1.1"]}],
        routing={"read_dc": "dc2", "write_dc": "dc1"},
        load_balancing={"local_dc": "dc1", "load_balancing_policy": "DCAwareRoundRobinPolicy"},
    )
    assert config.settings().hosts == ("10.0.0.1", "10.0.1.1")
    assert (config.settings().read_dc, config.settings().write_dc) == ("dc2", "dc1")
