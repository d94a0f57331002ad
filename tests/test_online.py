"""`ws.online` and `ws.historical`: now, as of, as known at."""

import pandas as pd
import pytest
from feast import FeatureService

from feastra_nb.errors import BeyondRetention, ConfigurationError, InvalidFrame, UnknownName


def test_order_and_repeats_of_the_entities_are_kept(filled):
    read = filled.online("drivers:trips", {"driver": [3, 9, 1, 3]})
    assert read.columns.tolist() == ["driver", "trips"]
    assert read["driver"].tolist() == [3, 9, 1, 3]
    assert read["trips"].tolist() == [8, pd.NA, 6, 8]


def test_types_lose_nothing(filled):
    read = filled.online(["drivers:trips", "drivers:rating", "drivers:city", "drivers:active"], {"driver": [3, 9]})
    assert {name: str(kind) for name, kind in read.dtypes.items()} == {
        "driver": "Int64", "trips": "Int64", "rating": "Float64", "city": "string", "active": "boolean",
    }  # fmt: skip


def test_arrow_types_on_request(filled):
    read = filled.online("drivers:trips", {"driver": [3]}, dtype_backend="pyarrow")
    assert str(read["trips"].dtype) == "int64[pyarrow]"


def test_features_come_in_the_order_asked_for(filled):
    read = filled.online(["drivers:rating", "drivers:trips"], {"driver": [1]}, full_feature_names=True)
    assert read.columns.tolist() == ["driver", "drivers__rating", "drivers__trips"]


def test_a_feature_service_is_read_whole(filled):
    service = FeatureService(name="all_of_it", features=[filled.view("drivers")])
    filled.feast.apply([service])
    read = filled.online(service, {"driver": [1]})
    assert set(read.columns) == {"driver", "trips", "rating", "city", "active"}


def test_event_times_and_statuses_on_request(filled, events):
    read = filled.online("drivers:trips", {"driver": [1, 9]}, timestamps=True, status=True)
    assert str(read["trips__ts"].dtype) == "datetime64[us, UTC]"
    assert read["trips__ts"].iloc[0] == events["event_timestamp"].max()
    assert read["trips__ts"].isna().tolist() == [False, True]
    assert read["trips__status"].tolist() == ["PRESENT", "NOT_FOUND"]


def test_a_value_past_its_ttl_is_outside_max_age(ws, events):
    ws.materialize(events, "drivers", keys=["driver"], ttl="30min", progress=False)
    read = ws.online("drivers:trips", {"driver": [1, 9]}, status=True)
    assert read["trips"].isna().all()
    assert read["trips__status"].tolist() == ["OUTSIDE_MAX_AGE", "NOT_FOUND"]


@pytest.mark.parametrize(
    ("ago", "known", "trips"), [(None, False, 6), ("0s", False, 6), ("90min", False, 3), ("0s", True, 6)]
)
def test_a_store_that_does_not_enforce_ttl_serves_its_past_whatever_its_age(without_ttl, now, ago, known, trips):
    as_of = None if ago is None else now - pd.Timedelta(ago)
    known_at = pd.Timestamp.now(tz="UTC") if known else None
    read = without_ttl.online("drivers:trips", {"driver": [1, 9]}, as_of=as_of, known_at=known_at, status=True)
    assert read["trips"].tolist() == [trips, pd.NA]
    assert read["trips__status"].tolist() == ["PRESENT", "NOT_FOUND"]


@pytest.mark.parametrize(("hours", "trips"), [(0, 6), (1.5, 3), (2, 3), (2.5, 0), (3, 0)])
def test_as_of_an_instant_reads_the_newest_event_at_or_before_it(filled, now, hours, trips):
    read = filled.online("drivers:trips", {"driver": [1]}, as_of=now - pd.Timedelta(hours=hours))
    assert read["trips"].tolist() == [trips]


def test_as_of_is_exact_to_the_microsecond(filled, events):
    at = events["event_timestamp"].max()
    entities = pd.DataFrame({"driver": [1, 1], "t": [at, at - pd.Timedelta("1us")]})
    assert filled.online("drivers:trips", entities, as_of="t")["trips"].tolist() == [6, 3]


def test_as_of_a_column_of_instants_equals_the_point_in_time_join(filled, now):
    spine = pd.DataFrame(
        {
            "driver": [1, 2, 3, 9, 1, 1],
            "event_timestamp": [now - pd.Timedelta(minutes=minutes) for minutes in (0, 70, 125, 0, 200, 70)],
        }
    )
    online = filled.online("drivers", spine, as_of="event_timestamp")
    offline = filled.historical("drivers", spine)
    pd.testing.assert_frame_equal(online[["trips", "city"]], offline[["trips", "city"]], check_dtype=False)


def test_as_of_keeps_the_ttl_bound_inclusive_as_offline_does(ws, events):
    ws.materialize(events, "drivers", keys=["driver"], ttl="30min", progress=False)
    at = events["event_timestamp"].max() + pd.Timedelta("30min")
    spine = pd.DataFrame({"driver": [1, 1], "event_timestamp": [at, at + pd.Timedelta("1us")]})
    assert ws.online("drivers:trips", spine, as_of="event_timestamp")["trips"].tolist() == [6, pd.NA]
    assert ws.historical("drivers:trips", spine)["trips"].tolist() == [6, pd.NA]


def test_known_at_leaves_out_what_arrived_later(filled, events, now):
    before = pd.Timestamp.now(tz="UTC")
    filled.materialize(events.tail(3).assign(trips=[70, 80, 90]), "drivers", progress=False)
    assert filled.online("drivers:trips", {"driver": [1]}, known_at=before)["trips"].tolist() == [6]
    assert filled.online("drivers:trips", {"driver": [1]})["trips"].tolist() == [70]
    assert filled.online("drivers:trips", {"driver": [1]}, known_at=now - pd.Timedelta("1h"))["trips"].tolist() == [
        pd.NA
    ]


def test_before_the_memory_is_an_error_and_never_missing(open_workspace, events, now):
    ws = open_workspace(retain="90m")
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    entities = pd.DataFrame({"driver": [1, 1], "t": [now, now - pd.Timedelta("2h")]})
    with pytest.raises(BeyondRetention, match="remembers its history only since"):
        ws.online("drivers:trips", entities, as_of="t")
    read = ws.online("drivers:trips", entities, as_of="t", status=True)
    assert read["trips__status"].tolist() == ["PRESENT", "UNKNOWN"]
    assert read["trips"].tolist() == [6, pd.NA]


def test_latest_keeps_no_history_at_all(open_workspace, events, now):
    ws = open_workspace(retain="latest")
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    read = ws.online("drivers:trips", {"driver": [1]}, as_of=now - pd.Timedelta("1min"), status=True)
    assert read["trips__status"].tolist() == ["UNKNOWN"]


def test_changing_the_retention_counts_from_then_on(filled):
    filled.retain("drivers", "1h")
    assert filled.views()["retain"].tolist() == ["1h"]
    with pytest.raises(ConfigurationError, match="cannot read the retention"):
        filled.retain("drivers", "an hour")


def test_the_point_in_time_join_returns_every_row_in_order(filled, now):
    spine = pd.DataFrame({"driver": [9, 1, 1, 2], "event_timestamp": [now, now, now, now - pd.Timedelta("1000d")]})
    read = filled.historical(["drivers:trips", "drivers:city"], spine)
    assert read["driver"].tolist() == [9, 1, 1, 2]
    assert read["trips"].tolist() == [pd.NA, 6, 6, pd.NA]


def test_offline_known_at_as_of_leaves_out_rows_created_later(filled, events):
    spine = events.tail(3)[["driver", "event_timestamp"]]
    assert filled.historical("drivers:trips", spine)["trips"].notna().all()
    assert filled.historical("drivers:trips", spine, known_at="as_of")["trips"].isna().all()


def test_no_entities_give_no_rows(filled):
    assert filled.online("drivers:trips", {"driver": []}).empty


@pytest.mark.parametrize(
    ("features", "entities", "options", "error", "message"),
    [
        ("driver:trips", {"driver": [1]}, {}, UnknownName, "did you mean drivers"),
        ("drivers:trip", {"driver": [1]}, {}, UnknownName, "did you mean trips"),
        ([], {"driver": [1]}, {}, ConfigurationError, "no features"),
        ("drivers:trips", {"drivr": [1]}, {}, InvalidFrame, "lack the join key 'driver'"),
        ("drivers:trips", {"driver": [None]}, {}, InvalidFrame, "null"),
        ("drivers:trips", {"driver": [1]}, {"as_of": "noon"}, InvalidFrame, "neither an instant nor a column"),
        ("drivers:trips", {"driver": [1]}, {"dtype_backend": "polars"}, ConfigurationError, "dtype_backend"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(filled, features, entities, options, error, message):
    with pytest.raises(error, match=message):
        filled.online(features, entities, **options)


def test_an_entity_frame_with_a_features_name_in_it_is_refused_by_name(filled, events):
    with pytest.raises(InvalidFrame, match="names of features: trips, rating") as caught:
        filled.historical(["drivers:trips", "drivers:rating"], events)
    assert "full_feature_names=True" in caught.value.hint
    joined = filled.historical("drivers:trips", events, full_feature_names=True)
    assert joined["drivers__trips"].tolist() == events["trips"].tolist()
