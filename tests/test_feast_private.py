"""The private names of Feast that `adapter.feast_private` uses: what breaks, and for whom, when Feast changes one."""

import ast
import copy
import inspect
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType, utils
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64, String

import feastra_nb
from feastra_nb.adapter import feast_private
from feastra_nb.online_store import FeastraOnlineStore

PACKAGE = Path(feastra_nb.__file__).parent


@pytest.fixture
def store(tmp_path):
    return FeatureStore(
        config=RepoConfig(
            project="p", provider="local", registry=str(tmp_path / "registry.db"), online_store={"type": "sqlite"},
            offline_store={"type": "duckdb"}, entity_key_serialization_version=3, repo_path=tmp_path,
        )
    )  # fmt: skip


@pytest.fixture
def view(tmp_path):
    source = FileSource(path=str(tmp_path / "v.parquet"), timestamp_field="at", field_mapping={"column": "trips"})
    entity = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    schema = [Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64)]
    return FeatureView(name="drivers", entities=[entity], schema=schema, source=source), entity


def test_a_store_hands_out_its_parts_or_no_view_is_read_alone(store):
    assert feast_private.online_store_of(store).__class__.__name__ == "SqliteOnlineStore"
    assert feast_private.offline_store_of(store).__class__.__name__ == "DuckDBOfflineStore"
    assert callable(feast_private.provider_of(store).online_read)


def test_a_registry_has_one_lock_or_a_forked_child_waits_for_ever(store):
    assert store.registry._refresh_lock.acquire(blocking=False)
    feast_private.renew_registry_lock(store)
    assert store.registry._refresh_lock.acquire(blocking=False)


def test_a_registry_says_its_file_or_each_online_read_builds_its_views_anew(store, tmp_path):
    assert feast_private.registry_file(store.registry, (FileRegistryStore,)) == tmp_path / "registry.db"
    assert feast_private.registry_file(store.registry, ()) is None
    assert feast_private.registry_file(store.registry.clone(), (FileRegistryStore,)) is None
    assert feast_private.registry_file(SimpleNamespace(), (FileRegistryStore,)) is None


def test_a_store_makes_its_registry_when_asked_or_threads_undo_each_others_changes(store):
    own = feast_private.with_registry_of_its_own(store)
    assert own.registry is not store.registry
    assert own.config is store.config


def test_a_configuration_makes_its_online_store_anew_or_latency_measures_at_the_old_level(store):
    made = store.config.online_store
    feast_private.forget_made_online_store(store.config)
    assert store.config.online_store is not made


def test_references_are_resolved_by_feast_or_ws_online_and_feast_disagree(store, view):
    drivers, entity = view
    store.registry.apply_entity(entity, "p")
    store.registry.apply_feature_view(drivers, "p")
    names, grouped, on_demand = feast_private.resolved(store.registry, "p", ["drivers:trips"])
    assert (names, [(one.name, list(some)) for one, some in grouped], on_demand) == (
        ["drivers:trips"], [("drivers", ["trips"])], [],
    )  # fmt: skip


def test_a_sources_columns_are_known_or_nothing_is_materialized(view):
    drivers, entity = view
    assert feast_private.column_names(drivers, [entity])[2] == "at"
    assert feast_private.renamed_columns(pa.table({"column": [1]}), {"column": "trips"}).column_names == ["trips"]


def test_a_views_own_join_keys_are_found_or_responses_are_filled_wrongly(view):
    drivers, _entity = view
    given = {"id": [Value(int64_val=1)], "other": [Value(int64_val=2)]}
    assert feast_private.entity_values(drivers, given, {"driver": "id"}) == {"id": [Value(int64_val=1)]}
    with pytest.raises(KeyError, match="Missing join key values"):
        feast_private.entity_values(drivers, {}, {"driver": "id"})


def test_the_hooks_of_an_online_store_are_called_so_or_views_are_read_one_after_another():
    parameters = [
        "self", "config", "grouped_refs", "join_key_values", "entity_name_to_join_key_map", "online_features_response",
        "full_feature_names", "include_feature_view_version_metadata",
    ]  # fmt: skip
    for name in ("_read_features_per_fv", "_read_features_per_fv_async"):
        assert list(inspect.signature(getattr(OnlineStore, name)).parameters) == parameters
    assert list(inspect.signature(OnlineStore._is_versioned_read_supported).parameters) == ["self"]


def test_the_types_of_a_requests_features_are_those_of_feast_whichever_view_has_the_name(view):
    drivers, _entity = view
    other = copy.deepcopy(drivers)
    other.features = [Field(name="trips", dtype=String)]
    for table in (drivers, other, drivers, other):
        grouped = [(table, ["trips"])]
        assert FeastraOnlineStore._build_feature_types(grouped) == OnlineStore._build_feature_types(grouped)


def test_the_hook_of_a_compute_engine_is_called_so_or_materialize_is_slow():
    assert list(inspect.signature(LocalComputeEngine._materialize_one).parameters)[:3] == ["self", "registry", "task"]


def test_feasts_modules_print_by_a_global_name_or_notebooks_fill_with_colours(capsys):
    import feast.feature_store

    said = []
    feast_private.print_by(lambda *values: said.append(values))
    try:
        feast.feature_store.print("hello")
    finally:
        feast_private.print_by(print)
    assert said == [("hello",)]


def test_a_configuration_is_set_attribute_by_attribute_or_secrets_show():
    config = RepoConfig(
        project="p", provider="local", registry="r.db", entity_key_serialization_version=3,
        online_store={"type": "feastra_nb.online_store.FeastraOnlineStore", "hosts": ["127.0.0.1"], "password": "swordfish"},
    )  # fmt: skip
    assert config.online_store.password.reveal() == "swordfish"
    assert "swordfish" not in repr(config)
    assert "swordfish" not in repr(config.online_config)


def test_no_other_file_uses_a_private_name_of_feast():
    of_feast = {name for cls in (FeatureStore, RepoConfig, OnlineStore, LocalComputeEngine) for name in vars(cls)}
    of_feast |= set(vars(utils)) | {"_registry", "_refresh_lock"}
    private = {name for name in of_feast if name.startswith("_") and not name.startswith("__")}
    own = {"_config", "_store"}
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "feast_private.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else None
            base = node.value if isinstance(node, ast.Attribute) else None
            is_self = isinstance(base, ast.Name) and base.id in {"self", "cls"}
            if name in private - own and not is_self:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert found == []
