"""`ws.forget_entity`: a person is deleted everywhere, and nothing brings them back; the keyspace never holds their key."""

import asyncio
import threading
import time
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureView, Field, FileSource, PushSource
from feast.data_source import PushMode
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64
from other_processes import workspace

import feastra_nb as fnb
from feastra_nb import forgetting
from feastra_nb.errors import ConfigurationError, InvalidFrame, ReadOnly, RequestFailed, UnknownName
from feastra_nb.materialization.offline_file import path_of
from feastra_nb.storage import writer
from feastra_nb.storage.forgetting import data_centres

NOW = pd.Timestamp.now("UTC").floor("s")
QUIET = {"progress": False}


def rows(**columns):
    return pd.DataFrame({"event_timestamp": NOW - pd.Timedelta(hours=1), "x": 1.0, **columns})


@pytest.fixture
def shop(ws):
    """Customers alone, customers with shops, and shops alone."""
    later = rows(customer=[7, 8, 9]).assign(event_timestamp=NOW, x=2.0)
    ws.materialize(pd.concat([rows(customer=[7, 8, 9]), later]), "customers", keys=["customer"], **QUIET)
    ws.materialize(rows(customer=[7, 7, 8], shop=["a", "b", "a"]), "visits", keys=["customer", "shop"], **QUIET)
    ws.materialize(rows(shop=["a", "b"]), "shops", keys=["shop"], **QUIET)
    return ws


def x_of(ws, view, **keys):
    return ws.online(f"{view}:x", keys)["x"].tolist()


def columns_of(report):
    return report.frame.set_index("view").drop(columns="kind").to_dict("index")


# --- what goes, and what stays -----------------------------------------------------------------------------------------


def test_every_view_with_the_key_loses_the_entity_and_others_keep_theirs(shop):
    report = shop.forget_entity({"customer": [7, 5]})
    assert x_of(shop, "customers", customer=[7, 8, 9]) == [pd.NA, 2.0, 2.0]
    assert x_of(shop, "visits", customer=[7, 7, 8], shop=["a", "b", "a"]) == [pd.NA, pd.NA, 1.0]
    assert x_of(shop, "shops", shop=["a", "b"]) == [1.0, 1.0]
    assert columns_of(report) == {
        "customers": {"asked": 2, "found": 1, "rows_online": 2, "rows_offline": None, "rows_left": 0},
        "visits": {"asked": 2, "found": 2, "rows_online": 2, "rows_offline": None, "rows_left": 0},
    }
    assert shop.runs("visits")["kind"].iloc[0] == "forget"


def test_only_one_shop_of_a_customer_goes_where_both_keys_are_given(shop):
    report = shop.forget_entity({"customer": 7, "shop": "a"})
    assert list(report.frame["view"]) == ["visits"]
    assert x_of(shop, "visits", customer=[7, 7, 8], shop=["a", "b", "a"]) == [pd.NA, 1.0, 1.0]
    assert x_of(shop, "customers", customer=[7]) == [2.0]
    shop.materialize(rows(customer=[7, 7], shop=["a", "b"]).assign(x=5.0), "visits", **QUIET)
    assert x_of(shop, "visits", customer=[7, 7], shop=["a", "b"]) == [pd.NA, 5.0]


@pytest.mark.parametrize(
    "entities",
    [
        {"customer": 7},
        pd.DataFrame({"customer": [7]}),
        [{"customer": 7}],
        pd.Series([7], name="customer"),
        pa.table({"customer": pa.array([7], pa.int32())}),
    ],
    ids=lambda entities: type(entities).__name__,
)
def test_entities_come_in_every_shape(shop, entities):
    assert shop.forget_entity(entities, dry_run=True).rows_online == 4


def test_a_dry_run_counts_and_deletes_nothing(shop, open_workspace):
    before = len(shop.runs())
    reading = open_workspace(read_only=True)
    for ws in (shop, reading):
        report = ws.forget_entity({"customer": [7]}, dry_run=True, offline=True)
        assert columns_of(report) == {
            "customers": {"asked": 1, "found": 1, "rows_online": 2, "rows_offline": 2, "rows_left": None},
            "visits": {"asked": 1, "found": 2, "rows_online": 2, "rows_offline": 2, "rows_left": None},
        }
    assert x_of(shop, "customers", customer=[7]) == [2.0]
    assert len(shop.runs()) == before
    assert shop.materialize(rows(customer=[7]).assign(x=9.0), "customers", **QUIET).suppressed == 0


def test_offline_rows_go_where_that_is_asked_for(shop):
    report = shop.forget_entity({"customer": [7]}, offline=True)
    assert report.rows_offline == 4
    assert pq.read_table(path_of(shop.directory, "customers"))["customer"].to_pylist() == [8, 9, 8, 9]
    assert pq.read_table(path_of(shop.directory, "visits"))["customer"].to_pylist() == [8]
    assert shop.allow_entity({"customer": 7}) == 1
    shop.materialize("customers", start="2020-01-01T00:00Z", **QUIET)
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 2.0]


def test_a_row_with_a_write_time_in_the_future_goes(shop):
    table = shop.store.open(shop.feast.config).catalog.load(shop.project, "customers").table
    late = int((time.time() + 600) * 1e6)
    key = EntityKey(join_keys=["customer"], entity_values=[Value(int64_val=7)])
    shop.session.execute(
        f'INSERT INTO "{shop.keyspace}"."{table}" (entity_key, event_us, created_us, arrived_us, features) '
        f"VALUES (%s, 1, 0, 1, %s) USING TIMESTAMP {late}",
        (serialize_entity_key(key, 3), b""),
    )
    assert shop.forget_entity({"customer": [7]}).frame["rows_online"].tolist() == [3, 2]
    count = f'SELECT count(*) FROM "{shop.keyspace}"."{table}"'
    assert shop.session.execute(count).one()[0] == 4


def test_an_int32_key_is_the_same_person_as_an_int64_key(ws, open_repository, tmp_path):
    from feast import Entity, ValueType

    ws.materialize(rows(customer=[7, 8]), "customers", keys=["customer"], **QUIET)
    source = FileSource(name="small", path=str(tmp_path / "small.parquet"), timestamp_field="event_timestamp")
    frame = rows(customer=np.array([7, 8], dtype="int32"), n=[1, 2]).drop(columns="x")
    frame.to_parquet(source.path, coerce_timestamps="us")
    small = Entity(name="small", join_keys=["customer"], value_type=ValueType.INT32)
    ws.feast.apply(
        [
            small,
            source,
            FeatureView(name="small", entities=[small], schema=[Field(name="n", dtype=Int64)], source=source),
        ]
    )
    ws.materialize("small", **QUIET)
    assert ws.forget_entity({"customer": [7]}).frame["rows_online"].tolist() == [1, 1]
    assert ws.materialize("small", start="2020-01-01T00:00Z", **QUIET).suppressed == 1


# --- precomputed vectors -----------------------------------------------------------------------------------------------


def test_vectors_that_were_computed_ahead_go_and_are_not_written_again(shop):
    service = FeatureService(name="model", features=[shop.view("customers")], precompute_online=True)
    shop.feast.apply([service])
    keys = [EntityKey(join_keys=["customer"], entity_values=[Value(int64_val=number)]) for number in (7, 8)]
    for key in keys:
        shop.store.write_precomputed_vector(shop.feast.config, "model", shop.project, key, b"vector")
    report = shop.forget_entity({"customer": [7]})
    kinds = report.frame.set_index("view")["kind"].to_dict()
    assert kinds == {"customers": "view", "visits": "view", "__precomputed__model": "vectors"}

    def read():
        return shop.store.read_precomputed_vectors(shop.feast.config, "model", shop.project, keys)

    assert read() == [None, b"vector"]
    with pytest.warns(UserWarning, match="1 rows of forgotten entities were not written"):
        shop.store.write_precomputed_vector(shop.feast.config, "model", shop.project, keys[0], b"vector")
    assert read() == [None, b"vector"]


# --- nothing brings them back ------------------------------------------------------------------------------------------


def test_a_frame_is_written_without_the_forgotten(shop):
    shop.forget_entity({"customer": [7]}, offline=True)
    done = shop.materialize(rows(customer=[7, 8]).assign(x=5.0, event_timestamp=NOW), "customers", **QUIET)
    assert (done.rows, done.suppressed, done.frame["suppressed"].tolist()) == (1, 1, [1])
    assert "1 of forgotten entities left out" in repr(done)
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 5.0]
    assert 7 not in pq.read_table(path_of(shop.directory, "customers"))["customer"].to_pylist()
    visits = shop.materialize(rows(customer=[7, 9], shop=["c", "c"]), "visits", **QUIET)
    assert (visits.rows, visits.suppressed) == (1, 1)
    assert shop.runs("visits")["suppressed"].iloc[0] == 0  # the frame never got that far
    assert shop.materialize(rows(customer=[7]), "new_view", keys=["customer"], **QUIET).suppressed == 1


def test_a_registered_view_is_written_without_the_forgotten(shop):
    shop.forget_entity({"customer": [7]})
    done = shop.materialize("customers", start="2020-01-01T00:00Z", **QUIET)
    assert (done.suppressed, done.rows) == (2, 4)
    assert shop.runs("customers")["suppressed"].iloc[0] == 2
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 2.0]


def test_what_a_forgotten_entity_had_is_in_no_profile_of_a_run(shop):
    shop.forget_entity({"customer": [7]})
    done = shop.materialize(rows(customer=[7, 8], x=[99.0, 3.0]).assign(event_timestamp=NOW), "customers", **QUIET)
    assert done.profile["high"].tolist() == [3.0]


@pytest.fixture(params=["local", "arrow"])
def repo(request, open_repository, driver, tmp_path):
    """A plain Feast repository with one view that takes pushes, and its engine."""
    engine = "feastra_nb.arrow_engine.ArrowComputeEngine" if request.param == "arrow" else "local"
    store = open_repository(batch_engine={"type": engine})
    path = str(tmp_path / "drivers.parquet")
    frame = pd.DataFrame({"driver": [1, 2], "trips": [1, 2], "event_timestamp": [NOW - pd.Timedelta(hours=1)] * 2})
    frame.to_parquet(path, coerce_timestamps="us")
    source = PushSource(name="pushes", batch_source=FileSource(path=path, timestamp_field="event_timestamp"))
    view = FeatureView(name="drivers", entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=source)
    store.apply([driver, source, view])
    return store


@pytest.fixture
def forgetful(repo):
    """The repository as a workspace, in which driver 1 is forgotten."""
    from feastra_nb.workspace import Workspace

    ws = Workspace(repo, None, repo.repo_path)
    ws.forget_entity({"driver": [1]})
    return repo


def trips(store):
    answer = store.get_online_features(["drivers:trips"], [{"driver": 1}, {"driver": 2}])
    return answer.to_dict()["trips"]


def pushed(number):
    return pd.DataFrame({"driver": [1, 2], "trips": [number, number], "event_timestamp": [NOW, NOW]})


@pytest.mark.filterwarnings("ignore:.*rows of forgotten entities")
def test_feasts_own_ways_leave_the_forgotten_out(forgetful):
    forgetful.materialize(NOW - timedelta(days=1), NOW)
    assert trips(forgetful) == [None, 2]
    forgetful.push("pushes", pushed(3), to=PushMode.ONLINE)
    assert trips(forgetful) == [None, 3]
    forgetful.write_to_online_store("drivers", pushed(4).assign(event_timestamp=NOW + timedelta(seconds=1)))
    assert trips(forgetful) == [None, 4]
    later = pushed(5).assign(event_timestamp=NOW + timedelta(seconds=2))
    asyncio.run(forgetful.write_to_online_store_async("drivers", later))
    assert trips(forgetful) == [None, 5]


def test_a_push_says_that_it_left_rows_out(forgetful):
    with pytest.warns(UserWarning, match="1 rows of forgotten entities were not written into view 'drivers'"):
        forgetful.push("pushes", pushed(3), to=PushMode.ONLINE)


def forget_customer(node, project, folder, number):
    with workspace(node, project, folder) as ws:
        return ws.forget_entity({"customer": [number]}).rows_online


def test_skew_shows_a_forgotten_entity_that_the_warehouse_still_has(shop):
    shop.forget_entity({"customer": [7]})
    cells = shop.skew("customers").frame.query("verdict != 'match'")
    assert cells[["customer", "verdict", "cause"]].to_numpy().tolist() == [[7, "missing_online", "not_materialized"]]


def test_what_another_process_forgets_this_one_does_not_write(shop, processes, project):
    shop.materialize(rows(customer=[8]).assign(x=3.0, event_timestamp=NOW), "customers", **QUIET)  # the list is known
    arguments = (shop.target.name, project, shop.directory, 7)
    assert processes.submit(forget_customer, *arguments).result(60) == 4
    assert shop.materialize(rows(customer=[7]).assign(x=5.0), "customers", **QUIET).suppressed == 1
    assert x_of(shop, "customers", customer=[7]) == [pd.NA]


def test_what_several_processes_forget_at_once_is_all_suppressed(shop, processes, project):
    calls = [
        processes.submit(forget_customer, shop.target.name, project, shop.directory, number) for number in (7, 8, 9)
    ]
    assert [call.result(120) for call in calls] == [4, 3, 2]
    assert shop.materialize("customers", start="2020-01-01T00:00Z", **QUIET).suppressed == 6


def test_an_entity_that_is_allowed_again_is_written(shop):
    shop.forget_entity({"customer": [7, 8]})
    assert shop.allow_entity({"customer": [7, 9]}) == 1
    assert shop.allow_entity({"customer": [7]}) == 0
    done = shop.materialize("customers", start="2020-01-01T00:00Z", **QUIET)
    assert (done.suppressed, x_of(shop, "customers", customer=[7, 8])) == (2, [2.0, pd.NA])
    shop.forget_entity({"customer": [7]})
    assert x_of(shop, "customers", customer=[7]) == [pd.NA]


def test_an_entity_is_allowed_again_after_its_views_are_gone(shop):
    shop.forget_entity({"customer": [7]})
    shop.drop("customers")
    shop.drop("visits")
    assert shop.allow_entity({"customer": [7]}) == 1
    with pytest.raises(UnknownName, match="no feature view has the join key 'customer'"):
        shop.forget_entity({"customer": [7]})


# --- the list ----------------------------------------------------------------------------------------------------------


def test_the_list_holds_no_key(ws):
    name = "Ada Lovelace"
    ws.materialize(rows(person=[name, "Bob"]), "people", keys=["person"], **QUIET)
    ws.forget_entity({"person": name})
    (row,) = ws.cql("SELECT * FROM feastra_suppressed WHERE project = ?", [ws.project]).to_dict("records")
    assert set(row) == {"project", "hash", "format", "salt", "version", "join_keys", "suppressed_us"}
    assert (len(row["hash"]), row["join_keys"]) == (16, "person")
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
    assert not any(part in stored for part in (name.encode(), b"Ada", name.encode().hex().encode()))
    assert name not in repr(ws.runs("people").to_dict())


def test_the_same_key_has_another_hash_in_another_project(ws, open_workspace):
    other = open_workspace(project=f"{ws.project}_other", directory=ws.directory.parent / "other", retain="all")
    for each in (ws, other):
        each.materialize(rows(customer=[7]), "customers", keys=["customer"], **QUIET)
        each.forget_entity({"customer": [7]})
    query = "SELECT hash FROM feastra_suppressed WHERE project = ?"
    assert ws.cql(query, [ws.project])["hash"][0] != other.cql(query, [other.project])["hash"][0]


def test_a_list_of_a_newer_format_is_refused(shop):
    shop.forget_entity({"customer": [7]})
    shop.session.execute(
        f'UPDATE "{shop.keyspace}".feastra_suppressed SET format = 99 WHERE project = %s', (shop.project,)
    )
    with pytest.raises(fnb.errors.CatalogConflict, match="format 99"):
        shop.materialize(rows(customer=[8]), "customers", **QUIET)
    shop.session.execute(
        f'UPDATE "{shop.keyspace}".feastra_suppressed SET format = 1 WHERE project = %s', (shop.project,)
    )


# --- while others write ------------------------------------------------------------------------------------------------


def test_a_run_that_began_before_the_forgetting_takes_back_what_it_wrote(shop, open_workspace, monkeypatch):
    forgetter = open_workspace(retain="all")
    write = writer.write_parts

    def after_the_forgetting(*arguments, **options):
        monkeypatch.setattr(writer, "write_parts", write)
        report = forgetter.forget_entity({"customer": [7]})
        assert report.under_way == ("customers",)
        assert "call it again if one of them is killed" in repr(report)
        return write(*arguments, **options)

    monkeypatch.setattr(writer, "write_parts", after_the_forgetting)
    shop.materialize(rows(customer=[7, 8]).assign(x=5.0, event_timestamp=NOW), "customers", **QUIET)
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 5.0]


@pytest.mark.parametrize("way_out", [KeyboardInterrupt, fnb.errors.RequestFailed("it broke")])
def test_a_run_that_was_stopped_takes_back_what_it_wrote(shop, open_workspace, monkeypatch, way_out):
    forgetter, write = open_workspace(retain="all"), writer.write_parts

    def stopped(*arguments, **options):
        monkeypatch.setattr(writer, "write_parts", write)
        forgetter.forget_entity({"customer": [7]})
        write(*arguments, **options)
        raise way_out

    monkeypatch.setattr(writer, "write_parts", stopped)
    with pytest.raises((KeyboardInterrupt, fnb.errors.RequestFailed)):
        shop.materialize(rows(customer=[7, 8]).assign(x=5.0, event_timestamp=NOW), "customers", **QUIET)
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 5.0]


def test_a_slow_push_that_began_before_the_forgetting_takes_back_what_it_wrote(shop, open_workspace, monkeypatch):
    forgetter, write = open_workspace(retain="all"), writer.write

    def after_the_forgetting(*arguments, **options):
        monkeypatch.setattr(writer, "write", write)
        forgetter.forget_entity({"customer": [7]})
        return write(*arguments, **options)

    monkeypatch.setattr(writer, "write", after_the_forgetting)
    frame = rows(customer=[7, 8]).assign(feastra_created=NOW, event_timestamp=NOW + timedelta(seconds=1), x=5.0)
    shop.feast.write_to_online_store("customers", frame)
    assert x_of(shop, "customers", customer=[7, 8]) == [pd.NA, 5.0]


@pytest.mark.filterwarnings("ignore:.*rows of forgotten entities")
def test_rows_that_are_pushed_during_the_forgetting_are_gone_when_it_is_proved(shop, open_workspace):
    pusher, stop = open_workspace(retain="all"), threading.Event()
    frame = rows(customer=[7]).assign(feastra_created=NOW)

    def push():
        number = 0
        while not stop.is_set():
            number += 1
            at = NOW + timedelta(milliseconds=number)
            pusher.feast.write_to_online_store("customers", frame.assign(event_timestamp=at, x=float(number)))

    thread = threading.Thread(target=push)
    thread.start()
    try:
        report = shop.forget_entity({"customer": [7]})
    finally:
        stop.set()
        thread.join(60)
    assert report.rows_left == 0
    assert shop.forget_entity({"customer": [7]}, dry_run=True).rows_online == 0


def test_a_writer_that_does_not_know_the_list_is_an_error(shop, monkeypatch):
    work = forgetting._Work.delete
    monkeypatch.setattr(forgetting._Work, "delete", lambda *arguments: work(*arguments) or 1)
    with pytest.raises(RequestFailed, match="something keeps writing them") as caught:
        shop.forget_entity({"customer": [7]})
    assert "call it again" in caught.value.hint
    assert shop.runs("customers")["state"].iloc[0] == "failed"


# --- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entities", "error", "message", "hint"),
    [
        ({"custmer": [7]}, UnknownName, "no feature view has the join key 'custmer'", "did you mean customer"),
        ({"customer": ["7"]}, InvalidFrame, "holds string where its entity is INT64", ""),
        ({"customer": [7, None]}, InvalidFrame, "null in 1 of 2 rows", ""),
        ({}, InvalidFrame, "no join key", "customer"),
        ([7], InvalidFrame, "without names", ""),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_deleted(shop, entities, error, message, hint):
    with pytest.raises(error, match=message) as caught:
        shop.forget_entity(entities)
    assert hint in (caught.value.hint or "")
    assert shop.forget_entity({"customer": [7]}, dry_run=True).rows_online == 4


def test_join_keys_that_no_view_has_together_are_refused(shop):
    shop.materialize(rows(city=["x"]), "cities", keys=["city"], **QUIET)
    with pytest.raises(UnknownName, match="no feature view has all of the join keys city, customer") as caught:
        shop.forget_entity({"city": "x", "customer": 7})
    assert caught.value.hint == "there are views by city or customer or customer, shop"


def test_no_entities_are_no_work(shop):
    report = shop.forget_entity({"customer": []})
    assert (report.entities, report.rows_online) == (0, 0)


def test_a_read_only_workspace_refuses(shop, open_workspace):
    reading = open_workspace(read_only=True)
    for call in (reading.forget_entity, reading.allow_entity):
        with pytest.raises(ReadOnly, match="read_only=True"):
            call({"customer": [7]})


def test_another_store_is_refused_by_name(tmp_path):
    from feast import FeatureStore, RepoConfig

    from feastra_nb.workspace import Workspace

    config = RepoConfig(
        project="other", provider="local", registry=str(tmp_path / "r.db"), entity_key_serialization_version=3,
        online_store={"type": "sqlite", "path": str(tmp_path / "o.db")}, offline_store={"type": "duckdb"},
    )  # fmt: skip
    ws = Workspace(FeatureStore(config=config), None, tmp_path)
    for call in (ws.forget_entity, ws.allow_entity):
        with pytest.raises(ConfigurationError, match="SqliteOnlineStore") as caught:
            call({"customer": [7]})
        assert "that store's own tools" in caught.value.hint


def test_offline_data_of_others_are_refused_before_anything_is_deleted(shop, tmp_path):
    path = tmp_path / "theirs.parquet"
    path.write_bytes(path_of(shop.directory, "customers").read_bytes())
    source = FileSource(name="theirs", path=str(path), timestamp_field="event_timestamp")
    known = shop.view("customers")
    entity = next(entity for entity in shop.feast.list_entities() if entity.join_key == "customer")
    shop.feast.apply([FeatureView(name="theirs", entities=[entity], schema=known.schema, source=source)])
    with pytest.raises(ConfigurationError, match="of view 'theirs' are not ours"):
        shop.forget_entity({"customer": [7]}, offline=True)
    assert x_of(shop, "customers", customer=[7]) == [2.0]


# --- the report --------------------------------------------------------------------------------------------------------


def test_the_report_says_level_and_proof_and_can_be_saved(shop, tmp_path):
    report = shop.forget_entity({"customer": [7]}, offline=True)
    assert (report.level, report.proof_level) == ("LOCAL_QUORUM", "QUORUM")
    assert "1 entity by customer: 4 rows deleted online, 4 offline, of 2 views" in repr(report)
    assert "read again at QUORUM: 0 rows left" in report._repr_html_()
    for suffix in ("html", "json", "parquet", "png"):
        assert report.save(tmp_path / f"report.{suffix}").stat().st_size
    assert [bar.get_width() for bar in report.plot().patches] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("replication", "centres"),
    [
        ({"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "eu": "3"}, 1),
        ({"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "eu": "3", "us": "3"}, 2),
        ({"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "2"}, 1),
    ],
)
def test_data_centres_are_counted_by_the_replication(replication, centres):
    assert data_centres(replication) == centres


def test_among_several_data_centres_a_quorum_of_each_deletes(shop, monkeypatch):
    monkeypatch.setattr("feastra_nb.storage.forgetting.data_centres", lambda _replication: 2)
    report = shop.forget_entity({"customer": [7]})
    assert (report.level, report.proof_level, report.rows_left) == ("EACH_QUORUM", "EACH_QUORUM", 0)
    assert shop.allow_entity({"customer": [7]}) == 1
