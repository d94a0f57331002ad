"""`ws.materialize`: DataFrames and registered views into both stores."""

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feastra_nb.errors import ConfigurationError, InvalidFrame, ReadOnly, UnknownName, WorkspaceClosed
from feastra_nb.materialization.event_times import EventCounter
from feastra_nb.materialization.offline_file import path_of


def count_rows(ws, view):
    entry = ws.store.entry(ws.feast.config, ws.view(view))
    return ws.session.execute(f'SELECT count(*) FROM {ws.keyspace}."{entry.table}"').one()[0]


def offline(ws, view):
    return pq.read_table(path_of(ws.directory, view)).to_pandas()


def test_a_frame_becomes_a_view_that_reads_back(ws, events):
    done = ws.materialize(events, "drivers", keys=["driver"], ttl="2d", description="per driver", progress=False)
    assert (done.rows, done.entities, done.unchanged, done.expired) == (9, 3, 0, 0)
    view = ws.feast.get_feature_view("drivers")
    assert [field.name for field in view.features] == ["trips", "rating", "city", "active"]
    assert view.ttl == pd.Timedelta("2d")
    assert view.description == "per driver"
    read = ws.online("drivers", {"driver": [3, 1]})
    assert read["trips"].tolist() == [8, 6]
    assert read["city"].tolist() == ["São Paulo", "Oslo"]


def test_the_result_says_rows_and_rate(filled, events):
    done = filled.materialize(events.assign(trips=100), "drivers", progress=False)
    assert done.seconds > 0
    assert done.rows_per_s == pytest.approx(done.rows / done.seconds)
    assert done.frame["rows"].tolist() == [9]
    assert "drivers: 9 rows of 3 entities" in repr(done)


def test_progress_counts_acknowledged_rows_exactly(ws, events):
    seen = []
    ws.materialize(events, "drivers", keys=["driver"], progress=seen.append)
    assert sum(seen) == 9


def test_the_same_frame_again_is_stored_once(filled, events):
    again = filled.materialize(events, "drivers", progress=False)
    assert (again.rows, again.unchanged) == (9, 9)
    assert count_rows(filled, "drivers") == 9
    assert len(offline(filled, "drivers")) == 9


def test_a_frame_that_was_written_offline_only_is_completed(filled, events):
    entry = filled.store.entry(filled.feast.config, filled.view("drivers"))
    filled.session.execute(f'TRUNCATE {filled.keyspace}."{entry.table}"')
    again = filled.materialize(events, "drivers", progress=False)
    assert (again.rows, again.unchanged) == (9, 0)
    assert count_rows(filled, "drivers") == 9


def test_a_correction_wins_on_both_sides(filled, events):
    newest = events.tail(3).assign(trips=[70, 80, 90])
    filled.materialize(newest, "drivers", progress=False)
    spine = newest[["driver", "event_timestamp"]]
    assert filled.online("drivers:trips", spine)["trips"].tolist() == [70, 80, 90]
    assert filled.historical("drivers:trips", spine)["trips"].tolist() == [70, 80, 90]


def test_returning_to_the_first_value_is_a_correction_too(filled, events):
    filled.materialize(events.assign(trips=1), "drivers", progress=False)
    filled.materialize(events, "drivers", progress=False)
    spine = events.tail(3)[["driver", "event_timestamp"]]
    assert filled.online("drivers:trips", spine)["trips"].tolist() == [6, 7, 8]
    assert filled.historical("drivers:trips", spine)["trips"].tolist() == [6, 7, 8]


def test_of_repeats_inside_a_frame_the_last_counts_on_both_sides(ws, now):
    frame = pd.DataFrame({"k": [1, 1], "event_timestamp": [now, now], "v": [1, 2]})
    assert ws.materialize(frame, "view", keys=["k"], progress=False).rows == 1
    assert ws.online("view:v", {"k": [1]})["v"].tolist() == [2]
    assert ws.historical("view:v", frame[["k", "event_timestamp"]].head(1))["v"].tolist() == [2]


def test_a_late_event_stays_behind_the_newer_one(filled, events, now):
    late = events.head(3).assign(event_timestamp=now - pd.Timedelta("150min"), trips=-1)
    filled.materialize(late, "drivers", progress=False)
    assert filled.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [6, 7, 8]


def test_created_time_of_the_users_own_breaks_ties(ws, now):
    def frame(value, minutes):
        return pd.DataFrame(
            {"k": [1], "event_timestamp": [now], "made": [now - pd.Timedelta(minutes=minutes)], "v": [value]}
        )

    ws.materialize(frame("new", 1), "view", keys=["k"], created="made", progress=False)
    ws.materialize(frame("old", 9), "view", keys=["k"], created="made", progress=False)
    assert ws.online("view:v", {"k": [1]})["v"].tolist() == ["new"]
    assert ws.historical("view:v", pd.DataFrame({"k": [1], "event_timestamp": [now]}))["v"].tolist() == ["new"]


def test_views_of_one_key_share_the_entity(filled, events):
    filled.materialize(events[["driver", "event_timestamp", "rating"]], "ratings", keys=["driver"], progress=False)
    assert [entity.name for entity in filled.feast.list_entities()] == ["driver"]


def test_a_column_added_later_is_a_new_feature(filled, events):
    filled.materialize(events.assign(tips=1.5), "drivers", progress=False)
    assert filled.online("drivers:tips", {"driver": [1]})["tips"].tolist() == [1.5]
    assert filled.historical("drivers:tips", events.tail(1)[["driver", "event_timestamp"]])["tips"].tolist() == [1.5]


def test_expired_rows_are_counted_and_left_out(open_workspace, events):
    ws = open_workspace(retain="1h")
    done = ws.materialize(events, "drivers", keys=["driver"], ttl="30min", progress=False)
    assert (done.rows, done.expired) == (3, 6)
    assert count_rows(ws, "drivers") == 3


def test_older_than_the_retention_only_the_newest_is_kept(open_workspace, events):
    ws = open_workspace(retain="30m")
    done = ws.materialize(events, "drivers", keys=["driver"], progress=False)
    assert (done.rows, done.superseded) == (3, 6)
    assert ws.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [6, 7, 8]


def test_without_history_older_events_are_deleted(open_workspace, events):
    ws = open_workspace(retain="latest")
    for _hour, part in events.groupby("event_timestamp"):
        ws.materialize(part, "drivers", keys=["driver"], progress=False)
    assert count_rows(ws, "drivers") == 3
    assert ws.online("drivers:trips", {"driver": [1, 2, 3]})["trips"].tolist() == [6, 7, 8]


def test_an_empty_frame_writes_nothing(filled, events):
    done = filled.materialize(events.head(0), "drivers", progress=False)
    assert (done.rows, done.entities) == (0, 0)
    assert count_rows(filled, "drivers") == 9


def test_a_registered_view_is_materialized_from_the_offline_store(filled):
    entry = filled.store.entry(filled.feast.config, filled.view("drivers"))
    filled.session.execute(f'TRUNCATE {filled.keyspace}."{entry.table}"')
    done = filled.materialize("drivers", start="2020-01-01T00:00Z", progress=False)
    assert (done.rows, done.unchanged) == (9, 0)
    assert count_rows(filled, "drivers") == 9


def test_an_incremental_run_picks_up_late_rows_and_repeats_nothing(filled, events, now):
    path = path_of(filled.directory, "drivers")
    late = offline(filled, "drivers").head(1).assign(event_timestamp=now - pd.Timedelta("90min"), trips=55)
    both = pd.concat([offline(filled, "drivers"), late])
    pq.write_table(pa.Table.from_pandas(both, schema=pq.read_schema(path), preserve_index=False), path)
    done = filled.materialize("drivers", progress=False)
    assert (done.rows, done.unchanged) == (10, 9)
    assert filled.online("drivers:trips", {"driver": [1]}, as_of=now - pd.Timedelta("80min"))["trips"].tolist() == [55]


def test_polars_like_frames_are_taken_too(ws, events):
    done = ws.materialize(
        pa.Table.from_pandas(events, preserve_index=False), "drivers", keys=["driver"], progress=False
    )
    assert done.rows == 9


def test_naive_times_are_utc_with_one_warning_at_the_callers_line(ws, events):
    naive = events.assign(event_timestamp=events["event_timestamp"].dt.tz_localize(None))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ws.materialize(naive, "drivers", keys=["driver"], progress=False)
    ours = [warning for warning in caught if "taken for UTC" in str(warning.message)]
    assert [warning.filename for warning in ours] == [__file__]
    assert (
        ws.online("drivers:trips", {"driver": [1]}, timestamps=True)["trips__ts"].iloc[0]
        == events["event_timestamp"].max()
    )


def warned(call):
    """Return the messages of the warnings that a call gives at the caller's line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught if warning.filename == __file__]


DAYS = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"])
REMEDY = 'df["day"] = pd.to_datetime(df["day"], utc=True) + pd.Timedelta(days=1)'


@pytest.mark.parametrize(
    "days",
    [
        pytest.param(DAYS.date, id="dates"),
        pytest.param(pd.array(DAYS.date, dtype=pd.ArrowDtype(pa.date32())), id="Arrow dates"),
        pytest.param(DAYS, id="midnights without a zone"),
    ],
)
def test_days_as_event_times_are_warned_of_once_with_a_remedy_that_works(ws, days):
    df = pd.DataFrame({"k": [1, 1, 1], "day": days, "v": [1, 2, 3]})
    said = warned(lambda: ws.materialize(df, "daily", keys=["k"], timestamp="day", progress=False))
    assert len(said) == 1
    assert "a day counts from its midnight UTC, so a day's row leaks into labels of that day" in said[0]
    assert said[0].endswith(REMEDY)
    label = pd.DataFrame({"k": [1], "event_timestamp": [pd.Timestamp("2026-01-02 10:00Z")]})
    assert ws.historical("daily:v", label)["v"].tolist() == [2]  # known at the end of the day only
    variables = {"df": df, "pd": pd}
    exec(REMEDY, variables)  # noqa: S102 - as it is said
    ws.drop("daily")
    said = warned(lambda: ws.materialize(variables["df"], "daily", keys=["k"], timestamp="day", progress=False))
    assert said == []
    assert ws.historical("daily:v", label)["v"].tolist() == [1]


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(DAYS.tz_localize("UTC"), id="midnights that a person put in UTC"),
        pytest.param(DAYS + pd.to_timedelta([0, 0, 1], unit="s"), id="one of them is not midnight"),
        pytest.param(DAYS.tz_localize("Europe/Berlin"), id="midnights elsewhere"),
    ],
)
def test_instants_are_not_taken_for_days(ws, times):
    df = pd.DataFrame({"k": [1, 1, 1], "event_timestamp": times, "v": [1, 2, 3]})
    assert "midnight" not in "".join(warned(lambda: ws.materialize(df, "v", keys=["k"], progress=False)))


def test_dates_of_a_feature_or_a_created_time_are_no_event_times(ws, now):
    df = pd.DataFrame({"k": [1], "event_timestamp": [now], "made": DAYS.date[:1], "birthday": DAYS.date[:1]})
    assert warned(lambda: ws.materialize(df, "v", keys=["k"], created="made", progress=False)) == []


@pytest.mark.parametrize(
    ("texts", "expression"),
    [
        (["03/04/2026", "05/06/2026"], 'format="%d/%m/%Y", utc=True) where "03/04/2026" begins with the day, "%m/%d/%Y" with'),
        (["03.04.2026 14:03"], 'format="%d.%m.%Y %H:%M", utc=True) where'),
        (["03/04/2026", "25/12/2026"], 'pd.to_datetime(df["event_timestamp"], format="%d/%m/%Y", utc=True)'),
        (["03/04/2026", "12/25/2026"], 'format="%m/%d/%Y", utc=True)'),
        (["2026/04/03"], 'format="%Y/%m/%d", utc=True)'),
        (["2026-04-03 10:00"], 'pd.to_datetime(df["event_timestamp"], utc=True)'),
        (["2026-04-03"], "+ pd.Timedelta(days=1) if a row is known only when its day is over"),
        (["1775203380"], 'pd.to_datetime(pd.to_numeric(df["event_timestamp"]), unit="s", utc=True)'),
    ],
)  # fmt: skip
def test_a_hint_never_turns_day_and_month_around(ws, texts, expression):
    df = pd.DataFrame({"k": range(len(texts)), "event_timestamp": texts, "v": 1})
    with pytest.raises(InvalidFrame, match=f"row 0 holds {texts[0]!r}") as refused:
        ws.materialize(df, "view", keys=["k"], progress=False)
    assert expression in refused.value.hint


def test_texts_among_datetimes_are_refused_not_read(ws, now):
    times = pd.Series([now.to_pydatetime(), "03/04/2026"], dtype=object)
    with pytest.raises(InvalidFrame, match="row 1 holds '03/04/2026' \\(a text\\)"):
        ws.materialize(pd.DataFrame({"k": [1, 2], "event_timestamp": times, "v": 1}), "v", keys=["k"], progress=False)


def test_a_text_date_for_a_known_time_is_refused_with_both_formats(ws, now):
    df = pd.DataFrame({"k": [1], "event_timestamp": [now], "seen": [now.floor("s")]})
    ws.materialize(df, "view", keys=["k"], progress=False)
    with pytest.raises(InvalidFrame, match="row 0 holds '03/04/2026'") as refused:
        ws.materialize(df.assign(seen="03/04/2026"), "view", progress=False)
    assert refused.value.hint.startswith('df["seen"] = pd.to_datetime(df["seen"], format="%d/%m/%Y", utc=True) where')


@pytest.mark.parametrize("known", [True, False])
def test_a_text_among_numbers_is_named_by_row_and_value(ws, events, known):
    if known:
        ws.materialize(events, "drivers", keys=["driver"], progress=False)
    among_numbers, among_texts = [0.5, 1.5, "n/a", *[2.5] * 6], ["0.5", "1.5", "n/a", *["2.5"] * 6]
    for rating in [among_numbers, among_texts] if known else [among_numbers]:
        with pytest.raises(InvalidFrame, match=r"row 2 holds .*'n/a'") as refused:
            ws.materialize(events.assign(rating=rating), "drivers", keys=["driver"], progress=False)
        assert 'pd.to_numeric(df["rating"], errors="coerce")' in refused.value.hint


def test_a_column_of_numbers_that_is_stored_as_text_is_warned_of(ws, events):
    numbers = ["1", "2.5", "n/a", None, *"56789"]
    [said] = warned(lambda: ws.materialize(events.assign(rating=numbers), "a", keys=["driver"], progress=False))
    assert "column 'rating' is stored as text: row 2 holds 'n/a', while 7 of 9 rows are numbers" in said
    assert 'pd.to_numeric(df["rating"], errors="coerce")' in said
    for texts in (["01", "02", *"3456789"], ["A1", "2", *"3456789"], ["n/a"] * 9):
        assert (
            warned(lambda texts=texts: ws.materialize(events.assign(city=texts), "b", keys=["driver"], progress=False))
            == []
        )


def test_times_of_mixed_zones_are_converted(ws, now):
    zones = [now.tz_convert("Asia/Tokyo").to_pydatetime(), now.tz_convert("America/New_York").to_pydatetime()]
    frame = pd.DataFrame({"k": [1, 2], "event_timestamp": pd.Series(zones, dtype=object), "v": [1, 2]})
    ws.materialize(frame, "view", keys=["k"], progress=False)
    assert ws.online("view:v", {"k": [1, 2]}, timestamps=True)["v__ts"].tolist() == [now, now]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda df: df.drop(columns="driver"), "no column 'driver'"),
        (lambda df: df.drop(columns="event_timestamp"), "no column 'event_timestamp'"),
        (lambda df: df.assign(driver=[1, None] + [3] * 7), "null in 1 of 9 rows: row 1"),
        (lambda df: df.assign(event_timestamp=[pd.NaT, *df["event_timestamp"][1:]]), "null in 1 of 9 rows: row 0"),
        (lambda df: df.assign(event_timestamp="yesterday"), "of type string"),
        (lambda df: df.assign(city=[1, "two"] + [None] * 7), "mixes types"),
        (lambda df: df.assign(city=pd.Timedelta("1h")), "no feature can have"),
        (lambda df: df.assign(city=None), "all null"),
        (lambda df: df.assign(driver=0.5), "join key 'driver' is of type double"),
        (lambda df: pd.concat([df, df[["city"]]], axis=1), "occur twice: city"),
        (lambda df: df.rename(columns={"city": 7}), "column name 7 is not a string"),
        (lambda df: df.assign(event_timestamp=df["event_timestamp"] + pd.Timedelta("2h")), "lie in the future"),
        (lambda df: df[["driver", "event_timestamp"]], "no feature column"),
        (lambda df: df.assign(trips=np.uint64(2**63)), "does not fit int64"),
    ],
)
def test_a_frame_that_cannot_be_stored_is_refused_and_nothing_is_written(ws, events, change, message):
    with pytest.raises(InvalidFrame, match=message):
        ws.materialize(change(events), "drivers", keys=["driver"], progress=False)
    assert not path_of(ws.directory, "drivers").exists()
    assert ws.views().empty


def test_a_row_that_no_server_takes_is_refused_before_anything_is_written(ws, events):
    with pytest.raises(InvalidFrame, match="1 of 9 rows for view 'drivers' have features beyond 5,000,000 bytes"):
        ws.materialize(events.assign(city=["x" * 10_000_000, *"abcdefgh"]), "drivers", keys=["driver"], progress=False)
    assert not path_of(ws.directory, "drivers").exists()


def test_a_future_event_is_taken_on_request(ws, events):
    ahead = events.assign(event_timestamp=events["event_timestamp"] + pd.Timedelta("2h"))
    done = ws.materialize(ahead, "drivers", keys=["driver"], allow_future=True, progress=False)
    assert done.rows == 9
    assert ws.online("drivers:trips", {"driver": [1]})["trips"].tolist() == [3]  # the present event, not the coming one


def test_a_view_that_lacks_a_known_column_is_refused(filled, events):
    with pytest.raises(InvalidFrame, match="the frame lacks the view's column city"):
        filled.materialize(events.drop(columns="city"), "drivers", progress=False)


def test_other_keys_for_a_known_view_are_refused(filled, events):
    with pytest.raises(ConfigurationError, match="has the join keys driver, not city"):
        filled.materialize(events, "drivers", keys=["city"], progress=False)


def test_a_new_view_needs_keys(ws, events):
    with pytest.raises(ConfigurationError, match="join keys are needed"):
        ws.materialize(events, "drivers")


def test_an_unknown_view_names_the_closest(filled):
    with pytest.raises(UnknownName, match="did you mean drivers"):
        filled.materialize("driver")


def test_read_only_and_closed_workspaces_refuse(open_workspace, events):
    reader = open_workspace(read_only=True)
    with pytest.raises(ReadOnly):
        reader.materialize(events, "drivers", keys=["driver"])
    reader.close()
    with pytest.raises(WorkspaceClosed):
        reader.views()


def test_names_that_cql_does_not_allow_are_fine(ws, now):
    name = 'Straße "1"/ü' + "x" * 100
    frame = pd.DataFrame({'ключ "k"': ["a'b"], "event_timestamp": [now], "my feature; --": ["x" * 10_000]})
    ws.materialize(frame, name, keys=['ключ "k"'], progress=False)
    assert ws.online([f"{name}:my feature; --"], {'ключ "k"': ["a'b"]})["my feature; --"].tolist() == ["x" * 10_000]


def test_dropping_a_view_drops_table_parquet_and_registration(filled):
    entry = filled.store.entry(filled.feast.config, filled.view("drivers"))
    filled.drop("drivers")
    assert filled.views().empty
    assert not path_of(filled.directory, "drivers").exists()
    assert not filled.store.open(filled.feast.config).db.table_exists(entry.table)


def test_a_dropped_view_can_be_made_anew(filled, events):
    filled.drop("drivers")
    filled.materialize(events.tail(3).drop(columns="city"), "drivers", keys=["driver"], progress=False)
    assert count_rows(filled, "drivers") == 3


# --- what a run says of itself ---------------------------------------------------------------------------------------


@pytest.fixture
def shop(now):
    """Rows of many types, two days apart, with nulls, and with repeats at the end."""
    df = pd.DataFrame(
        {
            "customer": range(8),
            "event_timestamp": [now - pd.Timedelta(days=days) for days in (0, 0, 0, 0, 2, 4, 6, 8)],
            "basket_eur": [0.5, None, float("nan"), 1_234.5, -2.0, 3.0, 4.0, 5.0],
            "orders": [1, 2, 3, 4, 5, 6, 7, 1_000_000],
            "segment": pd.Categorical(["new", "loyal"] * 4),
            "birthday": pd.to_datetime(["1980-01-01", "1999-12-31"] * 4).date,
            "seen": [now.floor("s")] * 8,
            "vip": [True, False, None, None, True, True, None, None],
            "items": [[1, 2], [], None, [3], [4], [5], [6], [7]],
            "note": ["a" * 50, *"bcdefgh"],
        }
    )
    return pd.concat([df, df.tail(2)])


BIRTHDAYS = [pd.Timestamp(day, tz="UTC") for day in ("1980-01-01", "1999-12-31")]
HOLDS = {
    "basket_eur": ("Float64", 0.25, -2.0, 1_234.5, "-2 to 1,234"),
    "orders": ("Int64", 0.0, 1, 1_000_000, "1 to 1,000,000"),
    "segment": ("String", 0.0, None, None, "2 distinct: new, loyal"),
    "birthday": ("UnixTimestamp", 0.0, *BIRTHDAYS, "1980-01-01 to 1999-12-31"),
    "vip": ("Bool", 0.5, None, None, "75 % true"),
    "items": ("Array(Int64)", 0.125, 0, 2, "0 to 2 values"),
    "note": ("String", 0.0, None, None, "8 distinct: aaaaaaaaaaaaaaa…, b, c, …"),
}  # fmt: skip


def test_a_run_profiles_its_features(ws, shop, now):
    done = ws.materialize(shop, "shop", keys=["customer"], progress=False)
    profile = done.profile.set_index("feature")
    for name, expected in HOLDS.items():
        assert tuple(profile.loc[name, ["stored_as", "nulls", "low", "high", "holds"]]) == expected, name
    assert profile["distinct"].dropna().to_dict() == {"segment": 2, "note": 8}
    assert profile.loc["seen", "low"] == now.floor("s")
    assert profile["note"].to_dict() == {
        **dict.fromkeys(profile.index, ""),
        "segment": "a category, now text",
        "birthday": "days, each its midnight UTC",
    }


def test_a_run_from_the_offline_store_has_the_same_profile(ws, shop):
    done = ws.materialize(shop, "shop", keys=["customer"], progress=False)
    again = ws.materialize("shop", start="2020-01-01T00:00Z", progress=False)
    assert again.unchanged == 8
    shown = ["feature", "stored_as", "nulls", "low", "high", "distinct"]
    pd.testing.assert_frame_equal(again.profile[shown], done.profile[shown])


@pytest.mark.parametrize("offline", [False, True])
def test_events_are_counted_over_time_by_what_became_of_them(open_workspace, shop, now, offline):
    ws = open_workspace(retain="1d")
    done = ws.materialize(shop, "shop", keys=["customer"], ttl="3d", progress=False)
    if offline:
        done = ws.materialize("shop", start="2020-01-01T00:00Z", progress=False)
    events = done.events
    assert (events.first, events.last) == (now - pd.Timedelta(days=8), now)
    assert not events.are_days
    totals = events.frame.drop(columns="start").sum()
    assert totals.to_dict() == {
        "written": 0 if offline else 5, "stored already": 5 * offline, "expired": 3, "older than the retention": 0
    }  # fmt: skip
    frame = events.frame
    assert frame["start"].iloc[0] <= events.first
    assert (now - frame.loc[frame["expired"] > 0, "start"]).min() > pd.Timedelta(days=3)
    ax = done.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "5 stored already" if offline else "5 written", "3 expired"
    ]  # fmt: skip
    assert "event time, UTC" in ax.get_xlabel()
    assert ax.get_ylabel().startswith("rows ")
    plt.close(ax.figure)


def test_the_plot_of_a_run_shows_where_its_rows_went(open_workspace, now):
    """With ``FEASTRA_PICTURES`` it makes the documentation's picture."""
    rng = np.random.default_rng(1)
    ages_s = rng.exponential(8 * 86_400, 5_000).round()
    df = pd.DataFrame(
        {"customer": rng.integers(0, 300, 5_000), "event_timestamp": now - pd.to_timedelta(ages_s, unit="s"), "basket_eur": 1.5}
    )  # fmt: skip
    done = open_workspace(retain="5d").materialize(df, "customer_daily", keys=["customer"], ttl="20d", progress=False)
    ax = done.plot()
    assert ax.get_title(loc="left") == "customer_daily: what became of 5,000 rows"
    heights = {
        patch.get_label().split(" ", 1)[1]: np.sum(patch.get_data()[0] - patch.get_data()[2]) for patch in ax.patches
    }
    assert heights == {"written": done.rows, "expired": done.expired, "older than the retention": done.superseded}
    plt.close(ax.figure)
    if folder := os.environ.get("FEASTRA_PICTURES"):
        done.save(Path(folder) / "materialize.png")


def test_a_run_in_text_fits_a_hundred_columns_and_a_screen(ws, shop, now):
    wide = shop.assign(**{f"a_long_name_of_a_feature_{n}": ["text " * 50] * len(shop) for n in range(40)})
    said = repr(ws.materialize(wide, "shop", keys=["customer"], progress=False))
    assert max(map(len, said.splitlines())) <= 100
    assert len(said.splitlines()) < 40
    assert "8 rows of 8 entities" in said
    assert "2 repeats left out" in said
    assert "… and 18 more features" in said
    for words in ("segment", "a category, now text; 2 distinct: new, loyal", "25.0 %", f"{now:%Y-%m-%d %H:%M} UTC"):
        assert words in said


def test_a_page_of_a_run_has_figures_and_a_row_a_feature(ws, shop):
    page = ws.materialize(shop, "shop", keys=["customer"], progress=False)._repr_html_()
    for words in (
        "8 rows of 8 entities",
        "2 repeats left out",
        "<td>basket_eur</td>",
        "-2 to 1,234",
        "a category, now text",
    ):
        assert words in page


def test_days_as_event_times_are_named_in_the_report_too(ws):
    df = pd.DataFrame({"k": [1, 1, 1], "event_timestamp": DAYS.tz_localize("UTC"), "v": [1, 2, 3]})
    done = ws.materialize(df, "v", keys=["k"], progress=False)
    assert done.events.are_days
    assert "events 2026-01-01 to 2026-01-03 (days, each its midnight UTC)" in repr(done)


def test_a_run_without_rows_has_a_report_all_the_same(filled, events):
    done = filled.materialize(events.head(0), "drivers", progress=False)
    assert done.events is None
    assert done.profile["nulls"].tolist() == [0.0] * 4
    assert "Materialized: drivers" in done._repr_html_()
    ax = done.plot()
    assert ax.get_title(loc="left") == "drivers: no rows"
    plt.close(ax.figure)


def test_events_of_all_times_fit_the_counts(now):
    counter = EventCounter()
    rng = np.random.default_rng(7)
    spread_us = rng.integers(0, 10 ** rng.integers(1, 18, 200), 200) - 10**16
    for event_us in np.array_split(spread_us, 9):  # narrow bins become wide ones, whatever comes first
        counter.add(event_us, np.zeros(len(event_us), dtype=np.int8))
    times = counter.result()
    starts = times.frame["start"].astype("int64")
    expected = np.histogram(spread_us, bins=[*starts, 2**62])[0]
    assert times.counts["written"].tolist() == expected.tolist()
    assert times.counts["written"].sum() == 200
