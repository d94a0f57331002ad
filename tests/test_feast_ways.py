"""Every way in and out of Feast, on the real Cassandra: pushes, streams, on-demand views, services, labels, async, serve."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dill
import pandas as pd
import pytest
import yaml
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    LabelView,
    PushSource,
    RequestSource,
    StreamFeatureView,
)  # fmt: skip
from feast.data_format import JsonFormat
from feast.data_source import PushMode
from feast.errors import VersionedOnlineReadNotSupported
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.core.PrecomputedFeatureVector_pb2 import PrecomputedFeatureVector
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bytes, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from feastra_nb.errors import FeastraError, InvalidFrame, RequestTimedOut

NOW = datetime.now(tz=timezone.utc).replace(microsecond=0)
EARLIER = NOW - timedelta(hours=1)
PASSWORD = "swordfish-4711"  # noqa: S105
SERVE_WAIT_S = 90


def frame(keys, trips, event=EARLIER):
    stamps = pd.Series([pd.Timestamp(event)] * len(keys)).dt.as_unit("us")
    return pd.DataFrame({"driver": keys, "event_timestamp": stamps, "trips": trips})


def parquet(tmp_path, rows, name):
    path = tmp_path / f"{name}.parquet"
    rows.to_parquet(path)
    return FileSource(name=name, path=str(path), timestamp_field="event_timestamp")


def trips_view(driver, source, name="drivers", **more):
    return FeatureView(name=name, entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=source, **more)


def online(store):
    return store._get_provider().online_store


def key(number):
    return EntityKey(join_keys=["driver"], entity_values=[Value(int64_val=number)])


def served(store, features, keys, **options):
    answer = store.get_online_features(features, [{"driver": number} for number in keys], **options)
    return {name: values for name, values in answer.to_dict().items() if name != "driver"}


@pytest.fixture
def pushed(open_repository, driver, tmp_path):
    """A repository whose view ``drivers`` takes pushes, and holds driver 1 offline."""
    store = open_repository()
    source = PushSource(name="pushes", batch_source=parquet(tmp_path, frame([1], [1]), "drivers"))
    store.apply([driver, source, trips_view(driver, source)])
    return store


# --- in ----------------------------------------------------------------------------------------------------------------


def test_a_push_is_served(pushed):
    pushed.push("pushes", frame([1, 2], [10, 20]), to=PushMode.ONLINE)
    assert served(pushed, ["drivers:trips"], [2, 1, 3]) == {"trips": [20, 10, None]}


def test_a_push_to_both_stores_is_served_and_joined(pushed):
    pushed.push("pushes", frame([7], [70], NOW), to=PushMode.ONLINE_AND_OFFLINE)
    assert served(pushed, ["drivers:trips"], [7]) == {"trips": [70]}
    spine = pd.DataFrame({"driver": [7], "event_timestamp": [pd.Timestamp(NOW)]})
    assert list(pushed.get_historical_features(spine, ["drivers:trips"]).to_df()["trips"]) == [70]


@pytest.mark.parametrize("argument", ["df", "inputs"])
def test_write_to_online_store_takes_a_frame_and_columns(pushed, argument):
    rows = frame([1], [5])
    pushed.write_to_online_store("drivers", **{argument: rows if argument == "df" else rows.to_dict(orient="list")})
    assert served(pushed, ["drivers:trips"], [1]) == {"trips": [5]}


def test_a_stream_view_is_written_and_served(open_repository, driver, tmp_path):
    stream = KafkaSource(
        name="topic", kafka_bootstrap_servers="127.0.0.1:1", topic="trips", timestamp_field="event_timestamp",
        message_format=JsonFormat("driver int, trips int"), batch_source=parquet(tmp_path, frame([1], [1]), "stream"),
    )  # fmt: skip
    view = StreamFeatureView(
        name="streamed", entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=stream,
        timestamp_field="event_timestamp",        mode="python", ttl=timedelta(days=1), aggregations=[],
    )  # fmt: skip
    store = open_repository()
    store.apply([driver, stream, view])
    store.write_to_online_store("streamed", frame([4], [40]))
    assert served(store, ["streamed:trips"], [4]) == {"trips": [40]}
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    assert served(store, ["streamed:trips"], [1, 4]) == {"trips": [1, 40]}


def test_an_on_demand_view_is_computed_as_it_is_read(pushed):
    view = pushed.get_feature_view("drivers")
    request = RequestSource(name="request", schema=[Field(name="more", dtype=Int64)])

    @on_demand_feature_view(sources=[view, request], schema=[Field(name="total", dtype=Int64)], mode="python")
    def totals(inputs):
        return {"total": [a + b for a, b in zip(inputs["trips"], inputs["more"], strict=True)]}

    pushed.apply([totals])
    pushed.push("pushes", frame([1], [10]))
    answer = pushed.get_online_features(["totals:total"], [{"driver": 1, "more": 5}]).to_dict()
    assert answer["total"] == [15]


def test_an_on_demand_view_that_is_written_is_read_from_its_table(pushed, driver):
    view = pushed.get_feature_view("drivers")

    @on_demand_feature_view(
        entities=[driver],
        sources=[view],
        schema=[Field(name="twice", dtype=Int64)],
        mode="python",
        write_to_online_store=True,
    )
    def doubled(inputs):
        return {"twice": [2 * value for value in inputs["trips"]]}

    pushed.apply([driver, view, doubled])
    pushed.write_to_online_store("doubled", frame([1, 2], [10, 20]))
    assert served(pushed, ["doubled:twice"], [2, 1]) == {"twice": [40, 20]}
    entry = online(pushed).open(pushed.config).catalog.load(pushed.project, "doubled")
    db = online(pushed).open(pushed.config).db
    assert db.table_exists(entry.table)
    pushed.teardown()  # Feast does not list it
    assert not db.table_exists(entry.table)


def test_a_label_view_serves_the_newest_label(open_repository, driver, tmp_path):
    labels = frame([1], [0]).assign(good=["no"], labeler=["first"]).drop(columns="trips")
    source = PushSource(name="labels", batch_source=parquet(tmp_path, labels, "labels"))
    view = LabelView(
        name="judged", entities=[driver], source=source,
        schema=[Field(name="driver", dtype=Int64), Field(name="good", dtype=String), Field(name="labeler", dtype=String)],
    )  # fmt: skip
    store = open_repository()
    store.apply([driver, source, view])
    store.push("labels", labels)
    store.push("labels", labels.assign(good="yes", labeler="second", event_timestamp=pd.Timestamp(NOW)))
    store.push("labels", labels)
    assert served(store, ["judged:good", "judged:labeler"], [1]) == {"good": ["yes"], "labeler": ["second"]}


@pytest.mark.parametrize(
    ("offline", "engine"), [("dask", "local"), ("duckdb", "feastra_nb.arrow_engine.ArrowComputeEngine")]
)
def test_a_view_without_entities(open_repository, tmp_path, offline, engine):
    source = parquet(tmp_path, frame([0], [12]).drop(columns="driver"), "whole")
    store = open_repository(offline_store={"type": offline}, batch_engine={"type": engine})
    store.apply([FeatureView(name="whole", entities=[], schema=[Field(name="trips", dtype=Int64)], source=source)])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    assert store.get_online_features(["whole:trips"], [{"any": 1}]).to_dict()["trips"] == [12]
    store.write_to_online_store("whole", frame([0], [13], NOW).drop(columns="driver").assign(__dummy_id=""))
    assert store.get_online_features(["whole:trips"], [{"any": 1}, {"any": 2}]).to_dict()["trips"] == [13, 13]


KEYS = {
    "INT32": (Int32, [1, -2]), "INT64": (Int64, [2**40, -5]), "STRING": (String, ["Köln", ""]), "BYTES": (Bytes, [b"\0a", b"b"]),
    "UNIX_TIMESTAMP": (UnixTimestamp, [EARLIER, NOW]),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["local", "feastra_nb.arrow_engine.ArrowComputeEngine"])
@pytest.mark.parametrize("kind", KEYS)
def test_every_type_of_entity_key(open_repository, tmp_path, kind, engine):
    dtype, values = KEYS[kind]
    entity = Entity(name="thing", join_keys=["thing"], value_type=ValueType[kind])
    rows = frame([0, 1], [10, 20]).drop(columns="driver").assign(thing=values)
    if kind == "INT32":
        rows["thing"] = rows["thing"].astype("int32")
    if kind == "UNIX_TIMESTAMP":
        rows["thing"] = pd.to_datetime(rows["thing"], utc=True).dt.as_unit("us")
    view = FeatureView(
        name="things", entities=[entity], source=parquet(tmp_path, rows, "things"),
        schema=[Field(name="thing", dtype=dtype), Field(name="trips", dtype=Int64)],
    )  # fmt: skip
    store = open_repository(batch_engine={"type": engine})
    store.apply([entity, view])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    answer = store.get_online_features(["things:trips"], [{"thing": value} for value in reversed(values)])
    assert answer.to_dict()["trips"] == [20, 10]


def test_composite_keys_in_any_order(open_repository, driver, tmp_path):
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
    rows = frame([1, 1], [10, 20]).assign(city=["Oslo", "Rom"])
    view = FeatureView(
        name="both",
        entities=[driver, city],
        schema=[Field(name="trips", dtype=Int64)],
        source=parquet(tmp_path, rows, "both"),
    )
    store = open_repository()
    store.apply([driver, city, view])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    answer = store.get_online_features(["both:trips"], [{"city": "Rom", "driver": 1}, {"city": "Oslo", "driver": 1}])
    assert answer.to_dict()["trips"] == [20, 10]


@pytest.mark.parametrize("engine", ["local", "feastra_nb.arrow_engine.ArrowComputeEngine"])
def test_materialize_incremental_goes_on_where_it_ended(open_repository, driver, tmp_path, engine):
    store = open_repository(batch_engine={"type": engine})
    store.apply([driver, trips_view(driver, parquet(tmp_path, frame([1], [1]), "drivers"), ttl=timedelta(days=1))])
    store.materialize_incremental(NOW - timedelta(minutes=30))
    assert served(store, ["drivers:trips"], [1, 2]) == {"trips": [1, None]}
    newer = frame([1, 2], [2, 2], NOW - timedelta(minutes=10))
    parquet(tmp_path, pd.concat([frame([1], [1]), newer]), "drivers")
    store.materialize_incremental(NOW)
    assert served(store, ["drivers:trips"], [1, 2]) == {"trips": [2, 2]}


def test_a_registry_in_sql(open_repository, driver, tmp_path):
    path = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    store = open_repository(registry={"registry_type": "sql", "path": path})
    store.apply([driver, trips_view(driver, parquet(tmp_path, frame([1], [1]), "drivers"))])
    store.materialize(EARLIER - timedelta(hours=1), NOW)
    again = open_repository(registry={"registry_type": "sql", "path": path})
    assert served(again, ["drivers:trips"], [1]) == {"trips": [1]}
    again.teardown()


# --- feature services --------------------------------------------------------------------------------------------------


def vector(value, age=timedelta(0)):
    made = PrecomputedFeatureVector(feature_names=["drivers__trips"], values=[Value(int64_val=value)])
    made.precomputed_at.FromDatetime(NOW - age)
    return made.SerializeToString()


@pytest.fixture
def service(pushed):
    """A service over ``drivers`` whose vectors Feast would compute ahead."""
    made = FeatureService(name="model", features=[pushed.get_feature_view("drivers")], precompute_online=True)
    pushed.apply([made])
    return made


def write_vectors(store, values):
    for number, value in values.items():
        online(store).write_precomputed_vector(store.config, "model", store.project, key(number), vector(value))


def test_a_service_is_served(pushed):
    plain = FeatureService(name="plain", features=[pushed.get_feature_view("drivers")])
    pushed.apply([plain])
    pushed.push("pushes", frame([1], [10]))
    assert served(pushed, plain, [1, 2]) == {"trips": [10, None]}


def test_a_service_whose_vectors_nobody_computed_is_read_from_its_views(pushed, service):
    pushed.push("pushes", frame([1, 2], [10, 20]))
    assert served(pushed, service, [2, 1, 3]) == {"trips": [20, 10, None]}
    write_vectors(pushed, {1: 11})  # not all of them
    assert served(pushed, service, [1, 2], full_feature_names=True) == {"drivers__trips": [10, 20]}


def test_vectors_are_served_and_outlive_the_process_and_apply(pushed, service, open_repository):
    write_vectors(pushed, {1: 11, 2: 21})
    write_vectors(pushed, {1: 12})
    assert served(pushed, service, [2, 1, 2], full_feature_names=True) == {"drivers__trips": [21, 12, 21]}
    pushed.apply([pushed.get_feature_view("drivers"), service], objects_to_delete=[], partial=False)
    restarted = open_repository()
    assert served(restarted, restarted.get_feature_service("model"), [1], full_feature_names=True) == {
        "drivers__trips": [12]
    }
    asked = [key(1), key(9)]
    store = online(restarted)
    found = store.read_precomputed_vectors(restarted.config, "model", restarted.project, asked)
    assert found == [vector(12), None]
    again = asyncio.run(store.read_precomputed_vectors_async(restarted.config, "model", restarted.project, asked))
    assert again == found


def test_teardown_drops_the_vectors_too(pushed, service):
    write_vectors(pushed, {1: 11})
    opened = online(pushed).open(pushed.config)
    table = opened.catalog.load(pushed.project, "__precomputed__model").table
    pushed.teardown()
    assert not opened.db.table_exists(table)
    assert opened.catalog.views(pushed.project) == []


def test_a_version_of_a_view_is_refused_by_name(pushed):
    assert not online(pushed)._is_versioned_read_supported()
    view = pushed.get_feature_view("drivers")
    view.projection.version_tag = 2
    with pytest.raises(VersionedOnlineReadNotSupported, match="FeastraOnlineStore"):
        online(pushed)._check_versioned_read_support([(view, ["trips"])])


# --- asynchronous ------------------------------------------------------------------------------------------------------


def test_reads_and_writes_are_awaited(pushed, service):
    assert online(pushed).async_supported.read
    assert online(pushed).async_supported.write

    async def session():
        await pushed.initialize()
        await pushed.push_async("pushes", frame(range(300), range(300)))
        asked = [{"driver": number} for number in (299, 5, 400)]
        of_views = await pushed.get_online_features_async(["drivers:trips"], asked)
        of_service = await pushed.get_online_features_async(service, asked)
        many = await asyncio.gather(*(
            pushed.get_online_features_async(["drivers:trips"], [{"driver": number}]) for number in range(50)
        ))  # fmt: skip
        return of_views.to_dict()["trips"], of_service.to_dict()["trips"], [one.to_dict()["trips"] for one in many]

    of_views, of_service, many = asyncio.run(session())
    assert of_views == of_service == [299, 5, None]
    assert many == [[number] for number in range(50)]


def test_the_loop_goes_on_while_a_read_is_under_way(pushed, monkeypatch):
    """No thread waits: once a view is known, a read needs no worker at all."""
    pushed.push("pushes", frame([1], [10]))
    view = pushed.get_feature_view("drivers")

    async def no_thread(*_arguments):
        raise AssertionError("a thread was asked for")

    async def session():
        store = online(pushed)
        await store.online_read_async(pushed.config, view, [key(1)], ["trips"])
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "to_thread", no_thread)
            one = store.online_read_async(pushed.config, view, [key(1)], ["trips"])
            many = store.online_read_async(pushed.config, view, [key(number) for number in range(100)], ["trips"])
            return await asyncio.gather(one, many)

    one, many = asyncio.run(session())
    assert one[0][1]["trips"].int64_val == 10
    assert [values is not None for _event, values in many] == [number == 1 for number in range(100)]


def test_an_awaited_read_that_is_given_up_does_no_harm(pushed):
    view = pushed.get_feature_view("drivers")

    async def session():
        read = asyncio.create_task(online(pushed).online_read_async(pushed.config, view, [key(1)], ["trips"]))
        await asyncio.sleep(0.001)
        read.cancel()
        return await online(pushed).online_read_async(pushed.config, view, [key(2)], ["trips"])

    assert asyncio.run(session()) == [(None, None)]


def test_a_failed_read_raises_whichever_way_it_is_asked(pushed):
    pushed.push("pushes", frame([1], [10]))
    assert served(pushed, ["drivers:trips"], [1]) == {"trips": [10]}
    opened = online(pushed).open(pushed.config)
    table = opened.catalog.load(pushed.project, "drivers").table
    opened.db.schema(f'DROP TABLE tests."{table}"')
    with pytest.raises(FeastraError):
        served(pushed, ["drivers:trips"], [1])
    with pytest.raises(FeastraError):
        asyncio.run(pushed.get_online_features_async(["drivers:trips"], [{"driver": 1}]))
    with pytest.raises(FeastraError, match="0 of 1 rows were acknowledged"):
        asyncio.run(pushed.push_async("pushes", frame([1], [10])))


def test_a_read_without_an_answer_in_time_raises(pushed, open_repository):
    pushed.push("pushes", frame([1], [10]))
    hasty = open_repository(online={"request_timeout": 1e-6})
    with pytest.raises(RequestTimedOut):
        served(hasty, ["drivers:trips"], [1])
    with pytest.raises(RequestTimedOut):
        asyncio.run(hasty.get_online_features_async(["drivers:trips"], [{"driver": 1}]))


def test_failed_vectors_raise_too(pushed, service):
    write_vectors(pushed, {1: 11})
    assert served(pushed, service, [1], full_feature_names=True) == {"drivers__trips": [11]}
    opened = online(pushed).open(pushed.config)
    opened.db.schema(f'DROP TABLE tests."{opened.catalog.load(pushed.project, "__precomputed__model").table}"')
    with pytest.raises(FeastraError):
        served(pushed, service, [1])


# --- feast serve -------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def post(port, path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


@pytest.fixture
def server(pushed, tmp_path):
    """A ``feast serve`` of the repository, as its port."""
    write_yaml(tmp_path, pushed.config.online_config, pushed.project)
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("feast")), "-c", str(tmp_path), "serve", "--host", "127.0.0.1", "--port", str(port)
    ]  # fmt: skip
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "FEAST_USAGE": "False"})
    try:
        deadline = time.monotonic() + SERVE_WAIT_S
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def write_yaml(directory, online_store, project):
    config = {
        "project": project, "provider": "local", "registry": str(directory / "registry.db"), "online_store": dict(online_store),
        "offline_store": {"type": "duckdb"}, "entity_key_serialization_version": 3,
    }  # fmt: skip
    (directory / "feature_store.yaml").write_text(yaml.safe_dump(config))


def test_feast_serve_takes_pushes_and_serves_them(server):
    rows = {"driver": [1, 2], "trips": [10, 20], "event_timestamp": [EARLIER.isoformat()] * 2}
    post(server, "/push", {"push_source_name": "pushes", "df": rows, "to": "online"})
    answer = post(server, "/get-online-features", {"features": ["drivers:trips"], "entities": {"driver": [2, 1, 3]}})
    place = answer["metadata"]["feature_names"].index("trips")
    assert answer["results"][place]["values"] == [20, 10, None]


# --- secrets -----------------------------------------------------------------------------------------------------------


def test_feasts_own_objects_show_no_password(node, project, tmp_path):
    block = {
        "type": "feastra_nb.online_store.FeastraOnlineStore", "hosts": list(node.hosts), "port": node.port, "keyspace": "tests",
        "username": "me", "password": PASSWORD,
    }  # fmt: skip
    write_yaml(tmp_path, block, project)
    store = FeatureStore(repo_path=str(tmp_path))
    config = store.config
    copy = dill.loads(dill.dumps(config))
    shown = [repr(store), str(store)]
    for each in (config, config.online_store, config.online_config, copy, config.model_copy(), config.model_dump()):
        shown += [repr(each), str(each)]
    assert not [text for text in shown if PASSWORD in text]
    assert config.online_store.settings().password.reveal() == PASSWORD
    assert copy.online_store.settings().password.reveal() == PASSWORD


def test_errors_and_debug_logs_show_no_password(pushed, open_repository, node, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("cassandra", "feastra_nb"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setattr(logging.getLogger("cassandra"), "propagate", True)
    login = {"username": node.username, "password": node.password.reveal()}
    known = open_repository(online=login)
    known.push("pushes", frame([1], [10]))
    assert served(known, ["drivers:trips"], [1]) == {"trips": [10]}
    hasty = open_repository(online={**login, "request_timeout": 1e-6})
    with pytest.raises(FeastraError) as raised:
        served(hasty, ["drivers:trips"], [1])
    assert caplog.records
    assert login["password"] not in caplog.text + str(raised.value) + repr(raised.value) + repr(known)


# --- what no server would take -----------------------------------------------------------------------------------------


@pytest.fixture
def notes(open_repository, driver, tmp_path):
    """A repository whose view ``notes`` holds a string."""
    store = open_repository()
    rows = frame([1, 2], [0, 0]).drop(columns="trips").assign(text=["x", "y" * 10_000_000])
    view = FeatureView(
        name="notes",
        entities=[driver],
        schema=[Field(name="text", dtype=String)],
        source=parquet(tmp_path, rows, "notes"),
    )
    store.apply([driver, view])
    return store, rows


def test_a_row_beyond_the_servers_limit_is_refused_by_name_before_anything_is_written(notes):
    store, rows = notes
    message = (
        r"1 of 2 rows for view 'notes' have features beyond 5,000,000 bytes; the one of driver=2 at .* has 10,000,0"
    )
    with pytest.raises(InvalidFrame, match=message):
        store.write_to_online_store("notes", rows)
    with pytest.raises(InvalidFrame, match="driver=2"):
        store.materialize(EARLIER - timedelta(hours=1), NOW)
    assert served(store, ["notes:text"], [1, 2]) == {"text": [None, None]}


def test_a_row_just_within_the_limit_is_written_and_read(notes):
    store, rows = notes
    text = "ä" * 2_499_000
    store.write_to_online_store("notes", rows.assign(text=["x", text]))
    assert served(store, ["notes:text"], [2, 1]) == {"text": [text, "x"]}


def test_a_key_beyond_the_servers_limit_is_refused(open_repository, tmp_path):
    entity = Entity(name="name", join_keys=["name"], value_type=ValueType.STRING)
    rows = frame([1], [1]).drop(columns="driver").assign(name="n" * 70_000)
    view = FeatureView(
        name="named",
        entities=[entity],
        schema=[Field(name="trips", dtype=Int64)],
        source=parquet(tmp_path, rows, "named"),
    )
    store = open_repository()
    store.apply([entity, view])
    with pytest.raises(InvalidFrame, match="keys beyond 65,535 bytes; the one of name='nnn"):
        store.write_to_online_store("named", rows)
