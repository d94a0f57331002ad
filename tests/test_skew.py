"""Skew: verdicts and causes of planted faults, now and as of, and nothing found where nothing is wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from offline_changes import append, change_offline
from skew_ways import held_against_each_other

from feastra_nb.errors import ConfigurationError, InvalidFrame, UnknownName


def causes(report, feature="trips"):
    cells = report.frame[report.frame["feature"] == feature]
    return dict(zip(cells["driver"], cells["cause"], strict=True))


@pytest.fixture(autouse=True)
def _both_ways(monkeypatch):
    held_against_each_other(monkeypatch)


@pytest.fixture
def created():
    """A created time of now: after what the tests materialized, before what they compare."""
    return pd.Timestamp.now(tz="UTC").floor("us")


def test_a_clean_store_has_no_skew(filled, events):
    spine = events[["driver", "event_timestamp"]]
    for report in (filled.skew("drivers"), filled.skew("drivers", spine=spine), filled.skew("drivers:trips")):
        assert report.ok
        assert set(report.frame["verdict"]) == {"match"}
        assert set(report.frame["cause"]) == {""}


def test_a_newer_event_that_is_not_online_is_stale(filled, now):
    created = pd.Timestamp.now(tz="UTC")
    append(
        filled,
        "drivers",
        lambda df: df.tail(1).assign(event_timestamp=now - pd.Timedelta("5min"), trips=99, feastra_created=created),
    )
    report = filled.skew("drivers:trips")
    assert causes(report) == {1: "", 2: "", 3: "stale"}
    bad = report.worst(1).iloc[0]
    assert (bad["verdict"], bad["online"], bad["offline"]) == ("mismatch", 8, 99)
    assert bad["note"] == "no run covers the newer event"


def test_a_late_row_inside_a_materialized_interval_says_so(filled, now):
    created = pd.Timestamp.now(tz="UTC")
    append(
        filled,
        "drivers",
        lambda df: df.tail(1).assign(event_timestamp=now - pd.Timedelta("61min"), trips=99, feastra_created=created),
    )
    spine = pd.DataFrame({"driver": [3], "event_timestamp": [now - pd.Timedelta("61min")]})
    report = filled.skew("drivers:trips", spine=spine)
    assert causes(report) == {3: "stale"}
    assert report.frame["note"].tolist() == ["the newer event was created after the run that covers it"]


def test_an_entity_that_never_came_online_is_not_materialized(filled):
    append(filled, "drivers", lambda df: df.tail(1).assign(driver=4))
    report = filled.skew("drivers:trips")
    assert causes(report) == {1: "", 2: "", 3: "", 4: "not_materialized"}
    assert report.worst(1)["verdict"].tolist() == ["missing_online"]


def test_a_row_that_was_corrected_offline_is_corrected(filled, created):
    append(filled, "drivers", lambda df: df.tail(1).assign(trips=99, feastra_created=created))
    report = filled.skew("drivers")
    assert causes(report) == {1: "", 2: "", 3: "corrected"}
    assert causes(report, "city") == {1: "", 2: "", 3: ""}


def test_an_online_event_that_is_absent_offline_is_ahead(filled):
    change_offline(filled, "drivers", lambda df: df.drop(index=df.index[-1]))
    assert causes(filled.skew("drivers:trips")) == {1: "", 2: "", 3: "ahead"}


def test_an_online_event_past_its_ttl_is_expired(ws, events, now):
    ws.materialize(events, "drivers", keys=["driver"], ttl="30min", progress=False)
    created = pd.Timestamp.now(tz="UTC")
    append(
        ws,
        "drivers",
        lambda df: df.tail(1).assign(event_timestamp=now - pd.Timedelta("5min"), trips=99, feastra_created=created),
    )
    report = ws.skew("drivers:trips")
    assert causes(report) == {1: "", 2: "", 3: "expired"}


@pytest.mark.parametrize("past", [False, True])
def test_what_is_served_past_its_ttl_is_missing_offline_and_expired(without_ttl, events, now, past):
    spine = events.tail(3)[["driver"]].assign(event_timestamp=now) if past else None
    report = without_ttl.skew("drivers:trips", spine=spine)
    assert set(report.frame["verdict"]) == {"missing_offline"}
    assert causes(report) == dict.fromkeys([1, 2, 3], "expired")


def test_with_known_at_a_row_that_came_too_late_is_a_late_arrival(filled, events):
    spine = events.tail(3)[["driver", "event_timestamp"]]
    assert filled.skew("drivers:trips", spine=spine).ok
    assert filled.skew("drivers:trips", spine=spine).arrived_later == 3
    report = filled.skew("drivers:trips", spine=spine, known_at="as_of")
    assert causes(report) == dict.fromkeys([1, 2, 3], "late_arrival")


def test_a_feature_added_later_is_recognised_on_older_rows(filled, events):
    filled.materialize(events.tail(3).assign(tips=1.5), "drivers", progress=False)
    change_offline(filled, "drivers", lambda df: df.assign(tips=1.5))
    spine = events.head(3)[["driver", "event_timestamp"]]
    assert causes(filled.skew("drivers", spine=spine), "tips") == dict.fromkeys([1, 2, 3], "feature_added_later")


def test_a_null_on_one_side_and_a_value_without_proof(ws, now):
    made = now - pd.Timedelta("1h")
    frame = pd.DataFrame({"driver": [1, 2, 3], "event_timestamp": made, "made": made, "rating": [0.1, 0.2, 0.3]})
    ws.materialize(frame, "drivers", keys=["driver"], created="made", progress=False)
    change_offline(ws, "drivers", lambda df: df.assign(rating=[np.nan, 0.25, float(np.float32(0.3))]))
    assert causes(ws.skew("drivers"), "rating") == {1: "null", 2: "unexplained", 3: "precision"}


def test_beyond_the_memory_is_unknown_never_missing(open_workspace, events, now):
    ws = open_workspace(retain="90m")
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    spine = pd.DataFrame({"driver": [1, 1], "event_timestamp": [now, now - pd.Timedelta("2h")]})
    report = ws.skew("drivers:trips", spine=spine)
    assert report.frame["verdict"].tolist() == ["match", "unknown"]
    assert report.ok


def test_entities_that_never_existed_match_as_nothing(filled, now):
    spine = pd.DataFrame({"driver": [77], "event_timestamp": [now]})
    assert filled.skew("drivers", spine=spine).ok


def test_repeats_in_the_spine_are_kept_in_order(filled, now):
    spine = pd.DataFrame({"driver": [3, 1, 3], "event_timestamp": [now] * 3})
    assert filled.skew("drivers:trips", spine=spine).frame["driver"].tolist() == [3, 1, 3]


def test_an_empty_spine_gives_an_empty_report(filled, events):
    report = filled.skew("drivers:trips", spine=events.head(0)[["driver", "event_timestamp"]])
    assert report.ok
    assert len(report.frame) == 0
    assert "No value could be compared" in repr(report)


def test_tolerance_and_choice_of_features(filled):
    change_offline(filled, "drivers", lambda df: df.assign(rating=df["rating"] + 0.01))
    assert not filled.skew("drivers").ok
    assert filled.skew("drivers", tolerance=0.1).ok
    assert filled.skew("drivers", tolerance={"rating": 0.1}).ok
    assert filled.skew("drivers", features=["trips", "city"]).ok


def test_a_sample_compares_fewer_entities(filled):
    assert len(filled.skew("drivers:trips", sample=2).frame) == 2


def test_the_report_reads_on_one_screen_and_saves_in_every_form(filled, created, tmp_path):
    append(filled, "drivers", lambda df: df.tail(1).assign(trips=99, city="<b>", feastra_created=created))
    report = filled.skew("drivers")
    assert len(repr(report).splitlines()) < 40
    assert "2 of 12 values compared (now) differ" in repr(report)
    assert report.summary.set_index("feature")["different"].to_dict() == {
        "trips": 1,
        "rating": 0,
        "city": 1,
        "active": 0,
    }
    page = report.save(tmp_path / "skew.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    saved = json.loads(report.save(tmp_path / "skew.json").read_text())
    assert saved["ok"] is False
    assert len(pd.read_parquet(report.save(tmp_path / "skew.parquet"))) == 12
    assert report.save(tmp_path / "skew.png").read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title("left") for axes in report.plot().figure.axes]
    assert titles == ["trips: corrected, 1 of 3", "city: corrected, 1 of 3"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": ["trip"]}, UnknownName, "did you mean trips"),
        ({"known_at": "as_of"}, ConfigurationError, "needs a spine"),
        ({"known_at": "noon"}, ConfigurationError, "known_at='noon'"),
        ({"sample": 0}, ConfigurationError, "at least 1"),
        ({"spine": pd.DataFrame({"driver": [1]})}, InvalidFrame, "no column 'event_timestamp'"),
        ({"spine": pd.DataFrame({"event_timestamp": [pd.Timestamp.now(tz="UTC")]})}, InvalidFrame, "lack the join key"),
    ],
)
def test_bad_arguments_are_clear_errors(filled, arguments, error, message):
    with pytest.raises(error, match=message):
        filled.skew("drivers", **arguments)
