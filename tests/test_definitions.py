"""The definitions that `ws.save` writes: `feast apply` finds in them all that is registered, and deletes nothing."""

import runpy
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Int64, Set, String, Struct

import feastra_nb as fnb

ROWS = pd.DataFrame(
    {
        "class": [1, 2],
        "my city": ["Oslo", "Köln"],
        "event_timestamp": pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
        "seen": pd.to_datetime(["2026-01-01", None], utc=True),
        "sizes": [[1.5, 2.5], [3.5]],
        "good": [True, None],
        "raw": [b"\0a", b"b"],
    }
)


def feast(folder, *words):
    command = [str(Path(sys.executable).with_name("feast")), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def written(folder):
    """Return what the definitions of a repository make, by type and name."""
    made = runpy.run_path(str(folder / "feature_definitions.py")).values()
    return {(type(each), each.name): each for each in made if hasattr(each, "to_proto") and hasattr(each, "name")}


def registered(store):
    found = [
        *store.list_entities(),
        *store.list_data_sources(),
        *store.list_feature_views(),
        *store.list_feature_services(),
    ]
    for each in found:
        each.materialization_intervals = []
        if isinstance(each, FeatureView) and not each.entities:
            each.entities = [DUMMY_ENTITY_NAME]  # which Feast hides
    return {(type(each), each.name): each for each in found if each.name != DUMMY_ENTITY_NAME}


def test_feast_apply_in_a_saved_repository_keeps_everything(filled, tmp_path):
    folder = filled.save(tmp_path / "repo")
    intervals = filled.view("drivers").materialization_intervals
    applied = feast(folder, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "Deploying infrastructure for drivers" in applied.stdout
    assert FeatureStore(str(folder)).get_feature_view("drivers").materialization_intervals == intervals
    with fnb.connect(repo=folder) as saved:
        assert saved.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [6, 7, 8]
        assert saved.skew("drivers").ok


def test_definitions_make_what_ws_materialize_registered(ws, events, tmp_path):
    about = {"description": 'says "ä"\n', "tags": {"team": "a, b"}, "owner": "me"}
    ws.materialize(ROWS, "import", keys=["class", "my city"], ttl="36h", progress=False, **about)
    ws.materialize(events, "driver", keys=["driver"], progress=False)
    folder = ws.save(tmp_path / "repo")
    assert written(folder) == registered(ws.feast)
    assert "ttl=timedelta(days=1, seconds=43200)" in (folder / "feature_definitions.py").read_text("utf-8")


def test_definitions_make_what_was_applied_to_feast(filled, tmp_path):
    driver = filled.feast.get_entity("driver")
    drivers = filled.view("drivers")
    batch = FileSource(name="rides", path="rides.parquet", timestamp_field="at", field_mapping={"n": "rides"})
    pushed = PushSource(name="pushed", batch_source=batch, owner="me")
    fields = [
        Field(name="rides", dtype=Int64, description="how many", tags={"a": "b"}),
        Field(name="of", dtype=Struct({"city": String, "to": Array(String)})),
        Field(name="kinds", dtype=Set(Int64)),
        Field(name="vector", dtype=Array(Float32), vector_index=True, vector_length=2, vector_search_metric="COSINE"),
    ]
    rides = FeatureView(name="rides", entities=[driver], schema=fields, source=pushed, ttl=timedelta(1), online=False)
    alone = FeatureView(name="alone", entities=[], schema=[Field(name="a", dtype=Int64)], source=batch)
    client = Entity(name="client", join_keys=["client_id"], value_type=ValueType.STRING, description="who rides")
    chosen = drivers[["rating", "trips"]].with_name("best").with_join_key_map({"driver": "driver_id"})
    model = FeatureService(name="model", features=[chosen, alone], tags={"version": "1"})
    filled.feast.apply([client, batch, pushed, rides, alone, model])
    assert written(filled.save(tmp_path / "repo")) == registered(filled.feast)


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning")
def test_what_cannot_be_written_is_named_and_never_deleted(filled, tmp_path):
    @on_demand_feature_view(sources=[filled.view("drivers")], schema=[Field(name="twice", dtype=Int64)], mode="python")
    def doubled(inputs):
        return {"twice": [2 * trips for trips in inputs["trips"]]}

    filled.feast.apply([doubled, FeatureService(name="model", features=[doubled])])
    left_out = "on-demand feature view 'doubled', feature service 'model'"
    with pytest.warns(UserWarning, match=f"no definition of {left_out}") as warned:
        folder = filled.save(tmp_path / "repo")
    assert [warning.filename for warning in warned] == [__file__]
    applied = feast(folder, "apply")
    assert applied.returncode == 1
    assert f"NotImplementedError: {left_out}: registered, but not written here." in applied.stderr
    assert [view.name for view in FeatureStore(str(folder)).list_on_demand_feature_views()] == ["doubled"]
