"""Promises of the online store that belong to no other room: every type through Feast, writers at once, the room for tables."""

import dataclasses
import itertools
import threading
import warnings
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field, FileSource, LabelView, PushSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Bool, Float64, Int64, Map, Set, String, from_value_type
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import COLUMNS, OBJECTS

from feastra_nb.connection.cluster import Database
from feastra_nb.online_store import FeastraOnlineStore
from feastra_nb.storage import table_limit

NOW = datetime.now(tz=timezone.utc).replace(microsecond=0)
EARLIER = NOW - timedelta(hours=1)


def key(number):
    return EntityKey(join_keys=["driver"], entity_values=[Value(int64_val=number)])


def parquet(tmp_path, columns, name):
    path = tmp_path / f"{name}.parquet"
    stamps = pa.array([EARLIER], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"driver": pa.array([1]), "event_timestamp": stamps, **columns}), path)
    return FileSource(name=name, path=str(path), timestamp_field="event_timestamp")


def view_of(driver, tmp_path, fields, name="drivers"):
    source = parquet(tmp_path, {"trips": pa.array([1])}, name)
    schema = [Field(name=field, dtype=dtype) for field, dtype in {"driver": Int64, **fields}.items()]
    return FeatureView(name=name, entities=[driver], schema=schema, source=source)


def online(store):
    return store._get_provider().online_store


def write(store, view, rows):
    online(store).online_write_batch(config=store.config, table=view, data=rows, progress=None)


def payloads(store, view):
    entry = online(store).entry(store.config, store.get_feature_view(view))
    return [
        row[0] for row in online(store).open(store.config).db.execute(f'SELECT features FROM tests."{entry.table}"')
    ]


# --- every type --------------------------------------------------------------------------------------------------------

KINDS = [kind for kind in ValueType if kind not in (ValueType.UNKNOWN, ValueType.NULL)]
PLACES = 3  # values of each: two, and a null


def proto(kind, place):
    value = OBJECTS[kind][place] if kind in OBJECTS else COLUMNS[kind][place].as_py()
    return Value() if value is None else python_values_to_proto_values([value], kind)[0]


def without_order(value):
    """Return a value so that it equals another; a set has no order, and Feast gives it any."""
    which = value.WhichOneof("val") or ""
    return (which, sorted(map(repr, getattr(value, which).val))) if which.endswith("set_val") else value


def test_every_value_type_that_feast_carries_is_served_as_it_was_written(open_repository, driver, tmp_path):
    assert len(KINDS) == 45
    store = open_repository()
    view = view_of(driver, tmp_path, {kind.name.lower(): from_value_type(kind) for kind in KINDS})
    store.apply([driver, view])
    written = [{kind.name.lower(): proto(kind, place) for kind in KINDS} for place in range(PLACES)]
    write(store, view, [(key(place), values, EARLIER, None) for place, values in enumerate(written)])
    asked = [{"driver": place} for place in range(PLACES)]
    answer = store.get_online_features([f"drivers:{name}" for name in written[0]], asked).proto
    vectors = zip(answer.metadata.feature_names.val, answer.results, strict=True)
    served = {name: list(vector.values) for name, vector in vectors}
    wrong = [
        (name, place)
        for place, values in enumerate(written)
        for name, value in values.items()
        if without_order(served[name][place]) != without_order(value)
    ]
    assert wrong == []


SET_FIELDS = {"numbers": Set(Int64), "words": Set(String), "ratios": Set(Float64), "flags": Set(Bool), "map": Map}


def set_columns(backwards):
    turn = (lambda values: values[::-1]) if backwards else (lambda values: values)
    entries = [("a", "1"), ("b", "2")]
    return {
        "numbers": pa.array([turn([-1, 2, 300])]), "words": pa.array([turn(["", "a", "ü"])]),
        "ratios": pa.array([turn([-0.5, 0.0, 1e300])]), "flags": pa.array([turn([False, True])]),
        "map": pa.array([turn(entries)], pa.map_(pa.string(), pa.string())),
    }  # fmt: skip


def set_values(backwards):
    columns = set_columns(backwards)
    values = {name: Value() for name in columns}
    for name, which in (("numbers", "int64"), ("words", "string"), ("ratios", "double"), ("flags", "bool")):
        getattr(values[name], f"{which}_set_val").val.extend(columns[name][0].as_py() * 2)  # repeats, too
    for name, value in columns["map"][0].as_py():
        values["map"].map_val.val[name].string_val = value
    return values


def test_equal_sets_and_maps_are_the_same_bytes_on_every_way_in(ws, tmp_path):
    from feast import Entity

    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = parquet(tmp_path, set_columns(backwards=False), "sets")
    schema = [Field(name=name, dtype=dtype) for name, dtype in SET_FIELDS.items()]
    view = FeatureView(name="sets", entities=[driver], schema=schema, source=source)
    ws.feast.apply([driver, view])
    ws.materialize("sets", start="2020-01-01T00:00Z", progress=False)
    parquet(tmp_path, set_columns(backwards=True), "sets")
    again = ws.materialize("sets", start="2020-01-01T00:00Z", progress=False)
    assert (again.rows, again.unchanged) == (1, 1)
    for backwards in (False, True):
        write(ws.feast, view, [(key(1), set_values(backwards), EARLIER, None)])
    stored = payloads(ws.feast, "sets")
    assert (len(stored), len(set(stored))) == (3, 1)


# --- several at once ---------------------------------------------------------------------------------------------------


@pytest.fixture
def writers(open_repository):
    """Three repositories on one registry, each with a session of its own."""
    return [open_repository(online={"request_timeout": 10.0 + number}) for number in range(3)]


def at_once(work, stores):
    """Run ``work(number, store)`` for each of the stores in a thread of its own, begun together; raise what one raised."""
    barrier, raised = threading.Barrier(len(stores)), []

    def run(number, store):
        try:
            barrier.wait(timeout=30)
            work(number, store)
        except Exception as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_features_added_at_once_get_positions_of_their_own(writers, driver, tmp_path):
    fields = {"trips": Int64, **{f"added{number}": Int64 for number in range(len(writers))}}
    first = writers[0]
    first.apply([driver, view_of(driver, tmp_path, {"trips": Int64})])
    assert len({id(online(store).open(store.config).db.session) for store in writers}) == len(writers)

    def add(number, store):
        mine = {name: dtype for name, dtype in fields.items() if name in ("trips", f"added{number}")}
        view = view_of(driver, tmp_path / str(number), mine)
        online(store).update(store.config, [], [view], [], [], partial=True)
        values = {"trips": Value(int64_val=number), f"added{number}": Value(int64_val=10 + number)}
        write(store, view, [(key(number), values, EARLIER, None)])

    for number in range(len(writers)):
        (tmp_path / str(number)).mkdir()
    at_once(add, writers)
    catalog = online(first).open(first.config).catalog
    slots = [slot.name for slot in catalog.load(first.project, "drivers").slots]
    assert sorted(slots) == sorted(fields)  # each has one place, though the last to come left the others' empty
    first.apply([driver, view_of(driver, tmp_path, fields)])
    names = list(fields)
    values = {name: Value(int64_val=100 + place) for place, name in enumerate(names)}
    write(first, first.get_feature_view("drivers"), [(key(9), values, EARLIER, None)])
    asked = [{"driver": number} for number in (0, 1, 2, 9)]
    for store in writers:
        store.refresh_registry()
        online(store).forget_entry(store.config, "drivers")
        answer = store.get_online_features([f"drivers:{name}" for name in names], asked).to_dict()
        assert answer["trips"] == [0, 1, 2, 100]
        assert [answer[name][-1] for name in names] == [100, 101, 102, 103]


versions = st.tuples(st.integers(0, 1), st.integers(0, 2), st.none() | st.integers(0, 1))  # driver, event, created
shares = st.dictionaries(
    versions, st.tuples(st.integers(0, 9), st.sets(st.integers(0, 2), min_size=1)), min_size=1, max_size=9
)
_drivers = itertools.count(step=2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares, st.randoms(use_true_random=False))
def test_rows_shared_out_over_writers_at_once_read_the_same(shared_out, history, order):
    """Each version of an event goes to one writer or to several, in any order; of equal events the later created is read."""
    stores, view = shared_out
    base = next(_drivers)
    parts = [
        [version for version, (_value, mine) in history.items() if number in mine] for number in range(len(stores))
    ]
    for part in parts:
        part.extend(part[::2])  # some come twice
        order.shuffle(part)

    def send(number, store):
        for some in (parts[number][::2], parts[number][1::2]):
            write(store, view, [row_of(base, version, history[version][0]) for version in some])

    at_once(send, stores)
    newest = {}
    for (driver, event, created), (value, _mine) in history.items():
        rank = (event, -1 if created is None else created)
        newest[driver] = max(newest.get(driver, (rank, value)), (rank, value))
    asked = [{"driver": base + driver} for driver in sorted(newest)]
    for store in stores:
        answer = store.get_online_features(["drivers:trips"], asked).to_dict()
        assert answer["trips"] == [newest[driver][1] for driver in sorted(newest)]


def row_of(base, version, value):
    driver, event, created = version
    created = None if created is None else NOW + timedelta(seconds=created)
    return key(base + driver), {"trips": Value(int64_val=value)}, EARLIER + timedelta(seconds=event), created


@pytest.fixture
def shared_out(writers, driver, tmp_path):
    """Three repositories with sessions of their own, and a view that all of them write."""
    writers[0].apply([driver, view_of(driver, tmp_path, {"trips": Int64})])
    for store in writers:
        store.refresh_registry()
    return writers, writers[0].get_feature_view("drivers")


# --- tables ------------------------------------------------------------------------------------------------------------


def test_views_of_one_entity_come_and_go_without_each_other(open_repository, driver, tmp_path):
    store = open_repository()
    views = [view_of(driver, tmp_path, {"trips": Int64}, name=name) for name in ("stays", "goes")]
    store.apply([driver, *views])
    for view in views:
        write(store, view, [(key(1), {"trips": Value(int64_val=7)}, EARLIER, None)])
    store.apply([views[0]], objects_to_delete=[views[1]], partial=False)
    assert store.get_online_features(["stays:trips"], [{"driver": 1}]).to_dict()["trips"] == [7]
    store.apply([view_of(driver, tmp_path, {"trips": Int64}, name="goes")])
    answer = store.get_online_features(
        ["stays:trips", "goes:trips"], [{"driver": 1}], full_feature_names=True
    ).to_dict()
    assert (answer["stays__trips"], answer["goes__trips"]) == ([7], [None])


def test_plan_lists_label_views_and_the_on_demand_views_that_are_written(open_repository, driver, tmp_path):
    store = open_repository()
    view = view_of(driver, tmp_path, {"trips": Int64})
    labels = PushSource(name="labels", batch_source=parquet(tmp_path, {"good": ["no"], "labeler": ["me"]}, "judged"))
    fields = {"driver": Int64, "good": String, "labeler": String}
    schema = [Field(name=name, dtype=dtype) for name, dtype in fields.items()]
    judged = LabelView(name="judged", entities=[driver], source=labels, schema=schema)

    def on_demand(name, *, written):
        def twice(inputs):
            return {name: [2 * value for value in inputs["trips"]]}

        twice.__name__ = name
        wrap = on_demand_feature_view(
            entities=[driver], sources=[view], schema=[Field(name=name, dtype=Int64)], mode="python",
            write_to_online_store=written,
        )  # fmt: skip
        return wrap(twice)

    store.apply([driver, view, labels, judged, on_demand("kept", written=True), on_demand("computed", written=False)])
    planned = [table.view for table in online(store).plan(store.config, store.registry.proto())]
    assert sorted(planned) == ["drivers", "judged", "kept"]
    catalog = online(store).open(store.config).catalog
    assert [entry.view for entry in catalog.views(store.project)] == sorted(planned)


def test_astras_documented_limit_of_tables_is_warned_of_when_it_is_near(ws, monkeypatch):
    db = ws.store.open(ws.feast.config).db
    assert table_limit.table_room(db) is None  # here nothing limits them
    astra = Database(db.session, dataclasses.replace(db.settings, hosts=(), bundle="secure-connect.zip"), db.keyspace)
    room = table_limit.table_room(astra)
    assert (room.limit, room.near) == (50, 45)
    assert room.tables > 0
    monkeypatch.setattr(table_limit, "ASTRA_TABLES", 2 * room.tables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table_limit.warn_near_limit(astra)
    monkeypatch.setattr(table_limit, "ASTRA_TABLES", room.tables)
    with pytest.warns(UserWarning, match=f"secure-connect.zip holds {room.tables} tables and allows {room.tables};"):
        table_limit.warn_near_limit(astra)
    assert isinstance(ws.store, FeastraOnlineStore)
