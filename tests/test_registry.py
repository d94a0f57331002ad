"""Feast's registry file among processes and threads, and on a full disk."""

import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.registry.registry import Registry as FeastRegistry
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig
from feast.types import Float64, Int64
from other_processes import wait_for, workspace

from feastra_nb.adapter.registry_merge import merged
from feastra_nb.errors import CatalogConflict, ConfigurationError, FeastraError

NOW = pd.Timestamp("2026-01-01", tz="UTC")
FRAME = pd.DataFrame({"driver": [1, 2], "event_timestamp": [NOW, NOW], "x": [1.0, 2.0]})
VIEWS_OF_EACH = 3


# --- processes -------------------------------------------------------------------------------------------------------


def make_views(node, project, folder, number):
    names = [f"view_{number}_{each}" for each in range(VIEWS_OF_EACH)]
    with workspace(node, project, folder) as ws:
        (folder / f"ready{number}").touch()
        wait_for(folder / "go")
        for name in names:
            ws.materialize(FRAME, name, keys=["driver"], progress=False)
    return names


def read_views(node, project, folder):
    seen: set[str] = set()
    with workspace(node, project, folder) as ws:
        (folder / "ready").touch()
        while not (folder / "stop").exists():
            now = set(ws.views()["view"])
            assert seen <= now, f"{seen - now} went"
            seen = now
    return seen


def test_what_four_processes_register_at_once_is_all_there(open_workspace, project, processes):
    ws = open_workspace(retain="all")
    folder, node = ws.directory, ws.target.name
    reader = processes.submit(read_views, node, project, folder)
    writers = [processes.submit(make_views, node, project, folder, number) for number in range(4)]
    wait_for(folder / "ready", *(folder / f"ready{number}" for number in range(4)))
    (folder / "go").touch()
    try:
        said = [name for writer in writers for name in writer.result(60)]
    finally:
        (folder / "stop").touch()
    assert reader.result(60) <= set(said)
    assert len(said) == 4 * VIEWS_OF_EACH
    assert set(ws.views()["view"]) == set(said)
    for name in said:
        assert ws.online(f"{name}:x", {"driver": [1, 2]})["x"].tolist() == [1.0, 2.0]
        assert ws.view(name).materialization_intervals == [(NOW, NOW)]


def fill_the_disk(node, project, folder):
    """Let no file grow beyond the registry's present size, which is what a full disk does to it."""
    with workspace(node, project, folder) as ws:
        registry = folder / "registry.db"
        before, limits = registry.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
        try:
            ws.materialize(FRAME, "one_too_many", keys=["driver"], progress=False)
        except FeastraError as exc:
            error = exc
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert registry.read_bytes() == before
        assert set(ws.views()["view"]) == {"a", "b", "c", "d"}
        ws.materialize(FRAME, "e", keys=["driver"], progress=False)
        return error, [path.name for path in folder.iterdir()]


def test_a_full_disk_loses_nothing_and_is_told(ws, project, processes):
    for name in "abcd":
        ws.materialize(FRAME, name, keys=["driver"], progress=False)
    error, left = processes.submit(fill_the_disk, ws.target.name, project, ws.directory).result(60)
    assert isinstance(error, ConfigurationError)
    assert "cannot write the registry" in str(error)
    assert sorted(left) == [".gitignore", ".lock", "offline", "registry.db"]
    assert set(ws.views()["view"]) == {"a", "b", "c", "d", "e"}


# --- threads ---------------------------------------------------------------------------------------------------------


def test_threads_that_read_a_workspace_do_not_undo_what_others_register(ws):
    ws.materialize(FRAME, "first", keys=["driver"], progress=False)
    done = threading.Event()

    def read():
        while not done.is_set():
            assert "first" in set(ws.views()["view"])
            ws.online("first:x", {"driver": 1})

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        made = [pool.submit(ws.materialize, FRAME, f"v{n}", keys=["driver"], progress=False) for n in range(4)]
        try:
            for each in made:
                each.result(60)
        finally:
            done.set()
        for reader in readers:
            reader.result(60)
    assert set(ws.views()["view"]) == {"first", "v0", "v1", "v2", "v3"}


# --- Feast by itself, in a repository that was saved -----------------------------------------------------------------


def view_of(folder, name, **options):
    source = FileSource(name=f"{name} source", path=str(folder / "x.parquet"), timestamp_field="event_timestamp")
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    schema = [Field(name="driver", dtype=Int64), Field(name="x", dtype=options.pop("dtype", Float64))]
    return [driver, FeatureView(name=name, entities=[driver], schema=schema, source=source, **options)]


@pytest.fixture
def stores(saved_repo):
    """Two feature stores of one saved repository; each has read the registry already."""
    FRAME.to_parquet(saved_repo / "x.parquet")
    opened = [FeatureStore(repo_path=str(saved_repo)) for _ in range(2)]
    for store in opened:
        assert [view.name for view in store.list_feature_views()] == ["drivers"]
    yield opened
    for store in opened:
        store._get_provider().online_store.shutdown()


def test_feast_alone_undoes_nothing_that_another_process_applied(stores, saved_repo):
    for store, name in zip(stores, ("one", "two"), strict=True):
        store.apply(view_of(saved_repo, name))
    for store, day in zip(stores, (1, 2), strict=True):
        store.registry.apply_materialization(
            store.get_feature_view("drivers"), store.project, NOW, NOW.replace(day=day)
        )
    for store in stores:
        assert {view.name for view in store.list_feature_views()} == {"drivers", "one", "two"}
        assert {source.name for source in store.list_data_sources()} > {"one source", "two source"}
        ends = [end.day for start, end in store.get_feature_view("drivers").materialization_intervals if start == NOW]
        assert ends == [1, 2]


def test_the_second_of_two_definitions_is_refused_and_may_be_repeated(stores, saved_repo):
    first, second = stores
    second.registry.apply_feature_view(view_of(saved_repo, "one", description="mine")[1], second.project, commit=False)
    first.apply(view_of(saved_repo, "one"))
    with pytest.raises(CatalogConflict, match="feature view 'one' was changed by another process"):
        second.registry.commit()
    assert second.get_feature_view("one").description == ""
    second.apply(view_of(saved_repo, "one", description="mine"))
    assert first.get_feature_view("one").description == "mine"


def test_a_copy_that_is_being_changed_is_not_read_again_halfway(stores, saved_repo):
    first, second = stores
    driver, view = view_of(saved_repo, "one")
    first.registry.apply_entity(driver, first.project, commit=False)
    second.apply(view_of(saved_repo, "two"))
    first.registry.apply_feature_view(view, first.project, commit=False)
    first.registry.apply_data_source(view.batch_source, first.project, commit=False)
    first.registry.commit()
    assert {view.name for view in second.list_feature_views()} == {"drivers", "one", "two"}
    assert {view.name for view in first.list_feature_views(allow_cache=True)} == {"drivers", "one", "two"}


# --- the merge -------------------------------------------------------------------------------------------------------


def registry(**views):
    made = Registry()
    for name, settings in views.items():
        view = made.feature_views.add()
        view.spec.project, view.spec.name = "p", name
        view.spec.description = settings.get("description", "")
        view.spec.tags.update(settings.get("tags", {}))
        for seconds in settings.get("ends", ()):
            view.meta.materialization_intervals.add().end_time.seconds = seconds
        view.meta.last_updated_timestamp.seconds = settings.get("at", 0)
    return made


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "both"),
    [
        ({}, {"a": {}}, {"b": {}}, {"b": {}, "a": {}}),
        ({"a": {}, "b": {}}, {"a": {}}, {"b": {}}, {}),
        ({"a": {"at": 1}}, {"a": {"at": 3}}, {"a": {"at": 2}}, {"a": {"at": 3}}),
        ({"a": {}}, {"a": {"description": "d"}}, {"a": {"tags": {"k": "v"}}}, {"a": {"description": "d", "tags": {"k": "v"}}}),
        ({"a": {"tags": {"k": "v"}}}, {"a": {}}, {"a": {"tags": {"k": "v"}, "at": 2}}, {"a": {"at": 2}}),
        ({"a": {"ends": [1, 2]}}, {"a": {"ends": [2, 3]}}, {"a": {"ends": [1, 2, 4]}}, {"a": {"ends": [2, 4, 3]}}),
        ({"a": {}}, {}, {"a": {"ends": [1]}}, {}),
    ],
    ids=["both add", "both drop", "times", "other fields", "taken away", "intervals", "dropped here"],
)  # fmt: skip
def test_each_side_keeps_what_it_changed(base, mine, theirs, both):
    assert merged(registry(**base), registry(**mine), registry(**theirs)) == registry(**both)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "message"),
    [
        ({"a": {}}, {"a": {"description": "d"}}, {"a": {"description": "e"}}, "changed"),
        ({}, {"a": {"description": "d"}}, {"a": {}}, "changed"),
        ({"a": {}}, {"a": {"ends": [1]}}, {}, "dropped"),
    ],
)
def test_what_both_sides_changed_in_different_ways_is_refused(base, mine, theirs, message):
    with pytest.raises(CatalogConflict, match=f"feature view 'a' was {message}"):
        merged(registry(**base), registry(**mine), registry(**theirs))


def test_an_entity_that_others_use_by_now_stays():
    base, mine, theirs = Registry(), Registry(), Registry()
    for side in (base, theirs):
        side.entities.add().spec.name = "driver"
    theirs.entities[0].meta.last_updated_timestamp.seconds = 1
    assert merged(base, mine, theirs) == theirs
    assert merged(base, theirs, mine) == theirs


def test_two_that_first_use_a_project_do_not_meet(tmp_path):
    settings = RegistryConfig(
        path="registry.db", registry_store_type="feastra_nb.registry_store.FeastraRegistryStore", cache_ttl_seconds=0
    )
    first, second = (FeastRegistry("p", settings, tmp_path) for _ in range(2))
    driver, view = view_of(tmp_path, "one")
    second.cached_registry_proto.projects.add().spec.name = "p"  # as Feast does in its first change
    second.cached_registry_proto.project_metadata.add(project="p", project_uuid="b")
    first.apply_entity(driver, "p")
    second.apply_feature_view(view, "p")
    for registry_of in (first, second):
        assert [each.name for each in registry_of.list_entities("p")] == ["driver"]
        assert [each.name for each in registry_of.list_feature_views("p")] == ["one"]
        assert [each.name for each in registry_of.list_projects()] == ["p"]


def test_the_registry_keeps_the_newest_intervals_of_many_small_writes(ws, now, monkeypatch):
    from feastra_nb import registry_store

    monkeypatch.setattr(registry_store, "MOST_INTERVALS", 5)
    monkeypatch.setattr(registry_store, "KEPT_INTERVALS", 3)
    for minute in range(12):
        row = pd.DataFrame({"k": [1], "event_timestamp": [now - pd.Timedelta(minutes=60 - minute)], "x": [minute]})
        ws.materialize(row, "view", keys=["k"], progress=False)
    view = ws.view("view")
    assert 3 <= len(view.materialization_intervals) <= 6
    assert view.most_recent_end_time == now - pd.Timedelta(minutes=49)
    assert len(ws.runs("view")) == 12
    assert ws.online("view", {"k": 1})["x"].tolist() == [11]
