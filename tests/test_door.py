"""What people hand in is taken as they mean it, or refused; and a call that is refused leaves nothing behind."""

import datetime as dt
import inspect
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from traces import traces

import feastra_nb as fnb
from feastra_nb.errors import ConfigurationError, FeastraError, InvalidFrame, UnknownName

NOW = pd.Timestamp.now(tz="UTC").floor("s")
LATER = NOW + pd.Timedelta("1min")


def frame(**columns):
    return pd.DataFrame({"k": [1, 2], "event_timestamp": [NOW, NOW], "x": [1.0, 2.0], **columns})


NEW_VIEW = {
    "a ttl that cannot be read": {"ttl": "1M"},
    "a ttl without a unit": {"ttl": 3600},
    "a ttl of text without a unit": {"ttl": "3600"},
    "a negative ttl": {"ttl": "-1d"},
    "a retention that cannot be read": {"retain": "a week"},
    "a retention without a unit": {"retain": 30},
    "a view's name with a colon": {"view": "sales:eu"},
    "a view's name with an at": {"view": "sales@v2"},
    "a view's name that is empty": {"view": " "},
    "a view's name that is a number": {"view": 7},
    "a view's name in other case": {"view": "DRIVERS"},
    "a key that is not there": {"keys": ["id"]},
    "a key named twice": {"keys": ["k", "k"]},
    "keys that are numbers": {"keys": [7]},
    "no keys": {"keys": None},
    "a created column that is not there": {"created": "made"},
    "a timestamp that is not there": {"timestamp": "at"},
    "a description that is a number": {"description": 5},
    "an owner that is not Unicode": {"owner": "\ud800"},
    "tags of numbers": {"tags": {"team": 1}},
    "tags that are a list": {"tags": ["team"]},
    "an interval": {"start": NOW},
    "keys of another type than the entity's": {"df": frame(driver=["a", "b"]), "keys": ["driver"]},
    "null keys": {"df": frame(k=[1, None])},
    "keys of floats": {"df": frame(k=[1.5, 2.5])},
    "keys with parts of a second": {"df": frame(k=[NOW, NOW + pd.Timedelta("0.8s")])},
    "ints beyond 64 bits": {"df": frame(x=[2**70, 1])},
    "a text that is not Unicode": {"df": frame(x=["\ud800", "b"])},
    "values of two types": {"df": frame(x=[1, "b"])},
    "durations": {"df": frame(x=pd.to_timedelta([1, 2], unit="s"))},
    "complex numbers": {"df": frame(x=[1j, 2j])},
    "a column of nulls": {"df": frame(x=[None, None])},
    "empty lists of no type": {"df": frame(x=[[], []])},
    "events in the future": {"df": frame(event_timestamp=[NOW + pd.Timedelta("1h")] * 2)},
    "events as numbers": {"df": frame(event_timestamp=[1_795_653_000] * 2)},
    "events that were numbers": {"df": frame(event_timestamp=pd.to_datetime([1_795_653_000] * 2, utc=True))},
    "a feature's name with a colon": {"df": frame(**{"utm:source": [1, 2]})},
    "a feature's name that is empty": {"df": frame(**{"": [1, 2]})},
    "a feature's name that reading uses": {"df": frame(file_row_number=[1, 2])},
    "a feature's name with NUL": {"df": frame(**{"a\0b": [1, 2]})},
    "a feature's name that is not Unicode": {"df": frame(**{"\ud800": [1, 2]})},
    "features that differ in case": {"df": frame(X=[1, 2])},
    "a feature that is huge": {"df": frame(x=["a" * 20_000_000, "b"])},
    "a list": {"df": [1, 2]},
}
KNOWN_VIEW = {
    "other keys": {"keys": ["trips"]},
    "another created column": {"created": "made"},
    "a text for a number": {"df": lambda events: events.assign(trips="many")},
    "a feature missing": {"df": lambda events: events.drop(columns="trips")},
    "another timestamp": {"df": lambda events: events.assign(at=events["event_timestamp"]), "timestamp": "at"},
    "keys of another type": {"df": lambda events: events.assign(driver=events["driver"].map(str))},
    "a ttl that cannot be read": {"ttl": "soon"},
    "a retention that cannot be read": {"retain": "soon"},
    "an argument of registered views": {"resume": False},
}
OTHER_CALLS = {
    "a view that is not there": lambda ws: ws.materialize("driver", progress=False),
    "a ttl for a registered view": lambda ws: ws.materialize("drivers", ttl="1d"),
    "an end that is a number": lambda ws: ws.materialize("drivers", end=1_795_653_000),
    "a start after the end": lambda ws: ws.materialize("drivers", start="2024-02-01T00:00Z", end="2024-01-01T00:00Z"),
    "retain of a number": lambda ws: ws.retain("drivers", 7),
    "retain of a view that is not there": lambda ws: ws.retain("driver", "7d"),
    "forget without names": lambda ws: ws.forget("drivers", [1, 2]),
    "forget of other keys": lambda ws: ws.forget("drivers", {"driver": "one"}),
    "drop of a view that is not there": lambda ws: ws.drop("driver"),
    "drop by CQL": lambda ws: ws.cql("DROP TABLE drivers"),
}


@pytest.mark.parametrize("what", NEW_VIEW)
def test_a_refused_frame_of_a_new_view_leaves_nothing(filled, what):
    given = {"df": frame(), "view": "view", "keys": ["k"], "progress": False, **NEW_VIEW[what]}
    before = traces(filled)
    with pytest.raises(FeastraError) as refused:
        filled.materialize(given.pop("df"), given.pop("view"), **given)
    assert refused.value.hint
    assert traces(filled) == before


@pytest.mark.parametrize("what", KNOWN_VIEW)
def test_a_refused_frame_of_a_known_view_leaves_nothing(filled, events, what):
    given = {"df": lambda same: same, "progress": False, **KNOWN_VIEW[what]}
    before = traces(filled)
    with pytest.raises(FeastraError) as refused:
        filled.materialize(given.pop("df")(events.assign(trips=events["trips"] + 1)), "drivers", **given)
    assert refused.value.hint
    assert traces(filled) == before


@pytest.mark.parametrize("what", OTHER_CALLS)
def test_any_other_refused_call_leaves_nothing(filled, what):
    before = traces(filled)
    with pytest.raises(FeastraError) as refused:
        OTHER_CALLS[what](filled)
    assert refused.value.hint
    assert traces(filled) == before


@pytest.mark.parametrize(
    "options",
    [
        {"retain": "soon"}, {"retain": 30}, {"project": "my-project"}, {"project": "_p"}, {"keyspace": "a b"}, {"keyspace": ""},
        {"consistency": "LOUD"}, {"offline": "nope"}, {"registry": 5}, {"registry": {"registry_type": "nope"}},
        {"registry": "s3x://bucket"},
    ],
)  # fmt: skip
def test_a_refused_connect_leaves_no_folder(open_workspace, tmp_path, options):
    with pytest.raises(FeastraError) as refused:
        open_workspace(**options)
    assert refused.value.hint
    assert not (tmp_path / ".feastra").exists()


def test_a_project_says_which_characters_go(open_workspace):
    with pytest.raises(ConfigurationError, match='project="my_project"'):
        open_workspace(project="my-project")


def test_a_table_that_the_server_refuses_leaves_nothing(filled, monkeypatch):
    """The server's own refusal, for which its schema statement is made a wrong one."""
    from feastra_nb.storage import catalog

    before = traces(filled)
    monkeypatch.setattr(catalog, "_LOG_TABLE", "(entity_key nonsense, PRIMARY KEY (entity_key))")
    monkeypatch.setattr(catalog.time, "sleep", lambda _s: None)
    with pytest.raises(FeastraError):
        filled.materialize(frame(), "view", keys=["k"], progress=False)
    monkeypatch.undo()
    assert traces(filled) == before
    assert filled.views()["view"].tolist() == ["drivers"]
    assert filled.materialize(frame(), "view", keys=["k"], progress=False).rows == 2


def test_the_corrected_call_trains_on_what_it_serves(ws):
    with pytest.raises(ConfigurationError):
        ws.materialize(frame(x=[100.0, 200.0]), "view", keys=["k"], ttl="1M", progress=False)
    ws.materialize(frame(event_timestamp=[NOW - pd.Timedelta("1h")] * 2), "view", keys=["k"], ttl="30d", progress=False)
    spine = pd.DataFrame({"k": [1, 2], "event_timestamp": [LATER] * 2})
    assert ws.historical("view", spine)["x"].tolist() == ws.online("view", {"k": [1, 2]})["x"].tolist() == [1.0, 2.0]


# --- dropping and beginning anew -------------------------------------------------------------------------------------


def test_a_dropped_view_frees_the_type_of_its_key(ws):
    ws.materialize(frame(), "view", keys=["k"], progress=False)
    ws.drop("view")
    ws.materialize(frame(k=["a", "b"]), "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": "b"})["x"].tolist() == [2.0]


def test_an_entity_that_another_view_needs_stays(filled, events):
    filled.materialize(events[["driver", "event_timestamp", "rating"]], "ratings", keys=["driver"], progress=False)
    filled.drop("ratings")
    assert [entity.name for entity in filled.feast.list_entities()] == ["driver"]


def test_what_only_the_keyspace_or_only_the_file_knows_can_be_dropped(filled, open_workspace, events):
    filled.close()
    (filled.directory / "registry.db").unlink()
    again = open_workspace()
    again.drop("drivers")
    assert not list((again.directory / "offline").glob("*.parquet"))
    events.to_parquet(again.directory / "offline" / "orphan.parquet")
    again.drop("orphan")
    with pytest.raises(UnknownName):
        again.drop("orphan")


def test_a_view_of_another_registry_is_not_dropped_from_here(filled, open_workspace, tmp_path):
    other = open_workspace(directory=tmp_path / "other")
    with pytest.raises(FeastraError, match="another Feast registry"):
        other.drop("drivers")
    assert filled.online("drivers:trips", {"driver": 1})["trips"].tolist() == [6]


def test_another_folder_takes_views_over_when_it_says_so(filled, open_workspace, events, tmp_path):
    newer = events.assign(trips=events["trips"] + 100)
    with pytest.raises(FeastraError, match="adopt_registry=True"):
        open_workspace(directory=tmp_path / "other").materialize(newer, "drivers", keys=["driver"], progress=False)
    adopting = open_workspace(directory=tmp_path / "adopting", adopt_registry=True)
    with pytest.warns(UserWarning, match=r"ws\.drop\('drivers'\)"):
        adopting.materialize(newer, "drivers", keys=["driver"], progress=False)
    assert adopting.online("drivers:trips", {"driver": 1})["trips"].tolist() == [106]


def test_a_folder_that_begins_anew_over_old_rows_says_so(filled, open_workspace, events):
    filled.close()
    (filled.directory / "registry.db").unlink()
    again = open_workspace()
    with pytest.warns(UserWarning, match="rows of it from before"):
        again.materialize(events.head(3), "drivers", keys=["driver"], progress=False)
    again.drop("drivers")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.materialize(events.head(3), "drivers", keys=["driver"], progress=False)
    assert again.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [0, 1, 2]


# --- entities in any shape -------------------------------------------------------------------------------------------

SHAPES = {
    "a dict of lists": {"driver": [3, 1]},
    "a dict with a scalar beside a list": {"driver": [3, 1], "city": "Oslo"},
    "a dict of arrays": {"driver": np.array([3, 1])},
    "a dict of Series": {"driver": pd.Series([3, 1], index=[7, 9])},
    "a list of dicts": [{"driver": 3}, {"driver": 1}],
    "a frame": pd.DataFrame({"driver": [3, 1]}),
    "a frame with the key in the index": pd.DataFrame({"z": [0, 0]}, index=pd.Index([3, 1], name="driver")),
    "a frame with categories": pd.DataFrame({"driver": pd.Categorical([3, 1])}),
    "a frame with floats that are whole": pd.DataFrame({"driver": [3.0, 1.0]}),
    "a frame with sparse keys": pd.DataFrame({"driver": pd.arrays.SparseArray([3, 1])}),
    "a frame with levels of columns": pd.DataFrame([[3], [1]], columns=pd.MultiIndex.from_tuples([("driver", "")])),
    "a named Series": pd.Series([3, 1], name="driver"),
    "a named Index": pd.Index([3, 1], name="driver"),
    "a MultiIndex": pd.MultiIndex.from_tuples([(3, "a"), (1, "b")], names=["driver", "z"]),
    "a record array": np.array([(3,), (1,)], dtype=[("driver", "i8")]),
    "an Arrow table": pa.table({"driver": [3, 1]}),
    "an Arrow batch": pa.record_batch({"driver": [3, 1]}),
    "a Polars frame": pl.DataFrame({"driver": [3, 1]}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_entities_of_any_shape_are_read(filled, shape):
    assert filled.online("drivers:trips", SHAPES[shape]).to_dict("list") == {"driver": [3, 1], "trips": [8, 6]}


@pytest.mark.parametrize("shape", SHAPES)
def test_entities_of_any_shape_are_joined_offline(filled, shape):
    from feastra_nb.retrieval.entities import Entities

    spine = {**Entities.of(SHAPES[shape]).columns, "event_timestamp": [LATER] * 2}
    assert filled.historical("drivers:trips", spine)["trips"].tolist() == [8, 6]


ONE = {
    "a dict of scalars": {"driver": 3},
    "a row of a frame": pd.DataFrame({"driver": [3], "city": ["x"]}, dtype=object).iloc[0],
}


@pytest.mark.parametrize("shape", ONE)
def test_one_entity_is_one_wherever_it_is_given(filled, shape):
    one = ONE[shape]
    assert filled.online("drivers:trips", one)["trips"].tolist() == [8]
    assert filled.explain("drivers:trips", one).ok
    assert (
        filled.latency("drivers", one, seconds=0.05, warmup_s=0.0, batch=1, progress=False).frame["errors"].sum() == 0
    )
    assert filled.forget("drivers", one, offline=True) == 1
    assert filled.online("drivers:trips", one)["trips"].tolist() == [pd.NA]
    assert filled.forget("drivers", one, offline=True) == 0


def test_text_is_never_a_list_of_letters(ws):
    ws.materialize(frame(k=["N1", "N2"]), "planes", keys=["k"], progress=False)
    assert ws.online("planes", {"k": "N1"}).to_dict("list") == {"k": ["N1"], "x": [1.0]}
    assert ws.forget("planes", {"k": "N1"}, offline=True) == 1
    assert ws.online("planes", {"k": ["N1", "N2"]})["x"].tolist() == [pd.NA, 2.0]


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([3, 1], "without names"),
        (3, "without names"),
        ("driver", "without names"),
        (pd.Series([3, 1]), "without a name"),
        (np.array([3, 1]), "without names"),
        ([{"driver": 3}, {"id": 1}], "row 0 of the entities lacks id"),
        ({"driver": [3, 1], "z": [1]}, "differ in length"),
        ({"driver": [2**70]}, "mixes types or holds"),
        ({"driver": [3, "n/a"]}, "row 1 holds the text 'n/a' among numbers"),
        ({"driver": ["3"]}, "holds string where its entity is INT64"),
        ({"driver": [b"3"]}, "holds binary where its entity is INT64"),
        ({"driver": [3.5]}, "not whole"),
        ({"driver": [True]}, "is of type bool"),
        ({"driver": [pd.NaT]}, "null in 1 of 1 rows"),
        ({"driver": {3, 1}}, "is of type list"),
        ({}, "lack the join key 'driver'"),
    ],
)
def test_entities_that_cannot_be_read_are_refused_on_both_sides(filled, entities, message):
    with pytest.raises(InvalidFrame, match=message):
        filled.online("drivers:trips", entities)
    with_times = {**entities, "event_timestamp": LATER} if isinstance(entities, dict) else entities
    with pytest.raises(InvalidFrame, match=message):
        filled.historical("drivers:trips", with_times)
    with pytest.raises(InvalidFrame, match=message):
        filled.forget("drivers", entities)


@pytest.mark.parametrize("at", ["03/04/2024", ["03/04/2024"], [NOW, "03/04/2024"], [NOW.to_pydatetime(), "03/04/2024"]])
def test_a_date_that_two_countries_read_differently_is_refused_with_both_formats(filled, at):
    entities = {"driver": [1] * (1 if isinstance(at, str) else len(at))}
    for call in (
        lambda: filled.online("drivers:trips", entities, as_of=at),
        lambda: filled.historical("drivers:trips", {**entities, "event_timestamp": at}),
        lambda: filled.skew("drivers:trips", spine=pd.DataFrame({**entities, "event_timestamp": at})),
    ):
        with pytest.raises(InvalidFrame, match="03/04/2024") as refused:
            call()
        assert 'pd.to_datetime(…, format="%d/%m/%Y", utc=True)' in refused.value.hint
        assert '"%m/%d/%Y" with the month' in refused.value.hint


# --- frames as people have them --------------------------------------------------------------------------------------


def test_keys_in_the_index_and_levels_of_columns_are_taken(ws):
    rows = pd.DataFrame({"k": [1, 1, 2], "event_timestamp": [NOW] * 3, "x": [1.0, 3.0, 5.0]})
    ws.materialize(rows.groupby(["k", "event_timestamp"]).agg(m=("x", "mean")), "a", keys=["k"], progress=False)
    assert ws.online("a", {"k": [1, 2]})["m"].tolist() == [2.0, 5.0]
    ws.materialize(rows.groupby(["k", "event_timestamp"]).agg({"x": ["mean", "max"]}), "b", keys=["k"], progress=False)
    assert ws.online("b", {"k": 1}).to_dict("list") == {"k": [1], "x_mean": [2.0], "x_max": [3.0]}


def test_sparse_columns_are_taken(ws):
    dummies = pd.get_dummies(pd.DataFrame({"c": ["a", "b"]}), sparse=True)
    ws.materialize(frame(**dummies), "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": [1, 2]})["c_a"].tolist() == [True, False]


def test_a_day_of_empty_lists_is_stored_as_such(ws):
    ws.materialize(frame(x=[["a"], ["b"]]), "view", keys=["k"], progress=False)
    for lists in ([[], []], [[], None], [np.array([], dtype=object)] * 2):
        ws.materialize(frame(x=lists, event_timestamp=[NOW, NOW]), "view", progress=False)
    assert [list(value) for value in ws.online("view", {"k": [1, 2]})["x"]] == [[], []]


def test_a_feature_of_nulls_gets_its_type_with_its_first_value(ws):
    ws.materialize(frame(x=[np.nan, np.nan]), "view", keys=["k"], progress=False)
    ws.materialize(frame(x=["a", "b"], event_timestamp=[LATER] * 2), "view", progress=False)
    spine = pd.DataFrame({"k": [1, 2, 1], "event_timestamp": [LATER, LATER, NOW]})
    assert ws.historical("view", spine)["x"].tolist() == ["a", "b", pd.NA]
    assert ws.online("view", {"k": [1, 2]})["x"].tolist() == ["a", "b"]
    assert ws.online("view", {"k": 1}, as_of=NOW)["x"].tolist() == [pd.NA]


def test_rows_left_out_as_repeats_are_counted(ws):
    done = ws.materialize(frame(k=[1, 1]), "view", keys=["k"], progress=False)
    assert (done.rows, done.repeats) == (1, 1)
    assert "1 repeats" in repr(done)


def test_a_known_view_keeps_its_timestamp_column(ws):
    renamed = frame().rename(columns={"event_timestamp": "at"})
    ws.materialize(renamed, "view", keys=["k"], timestamp="at", progress=False)
    ws.materialize(renamed.assign(x=[5.0, 6.0]), "view", progress=False)
    assert ws.online("view", {"k": [1, 2]})["x"].tolist() == [5.0, 6.0]


def test_for_a_model_frames_are_those_of_numpy(filled):
    entities = {"driver": [1, 9], "event_timestamp": [LATER] * 2}
    for read in (filled.online, filled.historical):
        got = read("drivers", entities, dtype_backend="numpy")
        assert {name: str(got[name].dtype) for name in ("trips", "rating", "city", "active")} == {
            "trips": "float64", "rating": "float64", "city": "object", "active": "object",
        }  # fmt: skip
        assert np.isnan(got["trips"].to_numpy()[1])


# --- instants --------------------------------------------------------------------------------------------------------

SECONDS = 1_795_653_000


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_number_is_not_an_instant_and_the_hint_says_its_unit(filled, unit):
    number = SECONDS * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    spine = pd.DataFrame({"driver": [1], "event_timestamp": [number]})
    for call in (
        lambda: filled.historical("drivers", spine),
        lambda: filled.skew("drivers", spine=spine),
        lambda: filled.online("drivers", {"driver": 1}, as_of=number),
        lambda: filled.online("drivers", spine, as_of="event_timestamp"),
        lambda: filled.online("drivers", {"driver": 1}, as_of=str(number)),
        lambda: filled.explain("drivers:trips", {"driver": 1}, as_of=number),
        lambda: filled.materialize("drivers", start=number),
    ):
        with pytest.raises(InvalidFrame, match=f'unit="{unit}"'):
            call()


def test_numbers_that_were_read_in_the_wrong_unit_are_refused(filled):
    misread = pd.to_datetime([SECONDS], utc=True)
    with pytest.raises(InvalidFrame, match='unit="s"'):
        filled.historical("drivers", {"driver": [1], "event_timestamp": misread})


@pytest.mark.parametrize(
    "instant",
    [
        "2024-01-31 14:03", "2024-01-31T14:03:00Z", dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, tzinfo=dt.timezone.utc),
        np.datetime64("2024-01-31"), pd.Timestamp("2024-01-31", tz="Europe/Oslo"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:as_of has no time zone")
def test_instants_of_any_kind_are_read(filled, instant):
    assert filled.online("drivers:trips", {"driver": 1}, as_of=instant)["trips"].tolist() == [pd.NA]


# --- no argument is dropped ------------------------------------------------------------------------------------------


def test_every_argument_of_connect_but_read_only_is_refused_beside_a_repository(saved_repo, tmp_path):
    given = {
        "project": "p", "keyspace": "k", "directory": tmp_path, "registry": "r.db", "consistency": "ONE", "offline": "dask",
        "retain": "1d", "adopt_registry": True, "target": fnb.Local(),
    }  # fmt: skip
    known = set(inspect.signature(fnb.connect).parameters) - {"repo", "read_only"}
    assert set(given) == known
    for name, value in given.items():
        with pytest.raises(ConfigurationError, match="target or repo" if name == "target" else f"{name}= cannot go"):
            fnb.connect(repo=saved_repo, **{name: value})


def test_every_argument_of_materialize_belongs_to_one_of_its_two_calls(filled, events):
    of_frame = {
        "view": "v", "keys": ["k"], "timestamp": "t", "created": "c", "ttl": "1d", "retain": "1d", "description": "d",
        "tags": {"a": "b"}, "owner": "o", "allow_future": True,
    }  # fmt: skip
    of_view = {"start": NOW, "end": NOW, "resume": False}
    known = set(inspect.signature(fnb.Workspace.materialize).parameters) - {"self", "data", "progress"}
    assert {*of_frame, *of_view} == known
    for name, value in of_frame.items():
        with pytest.raises(ConfigurationError, match=f"{name}= cannot go"):
            filled.materialize("drivers", **{name: value})
    for name, value in of_view.items():
        with pytest.raises(ConfigurationError, match=f"{name}= cannot go"):
            filled.materialize(events, "drivers", **{name: value})


def test_a_retention_is_a_duration_like_any_other(open_workspace):
    assert open_workspace(retain="30 days").feast.config.online_store.retain == "30d"
    assert open_workspace(retain=dt.timedelta(hours=36)).feast.config.online_store.retain == "36h"


def test_a_feature_service_is_asked_for_by_its_name(filled):
    from feast import FeatureService

    filled.feast.apply([FeatureService(name="model", features=[filled.view("drivers")[["trips"]]])])
    assert list(filled.online("model", {"driver": 1}).columns) == ["driver", "trips"]
    assert filled.skew("model").ok
    with pytest.raises(ConfigurationError, match="stands alone"):
        filled.online(["model", "drivers"], {"driver": 1})
    with pytest.raises(UnknownName, match="model"):
        filled.online("modell", {"driver": 1})


def test_offline_files_are_read_from_the_folder_alone(filled):
    assert Path(filled.view("drivers").batch_source.path).parent == filled.directory / "offline"
