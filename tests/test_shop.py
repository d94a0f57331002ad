"""The shop to practise on, and that each of its faults is found for what it is."""

import pandas as pd
import pytest

from feastra_nb import flights, shop, warehouse
from feastra_nb.errors import ConfigurationError

NOON = pd.Timestamp("2026-03-02 12:00", tz="UTC")


def test_the_shop_has_fifty_thousand_customer_days_up_to_yesterday():
    days = shop.load(NOON).customer_days
    assert days.groupby("customer_id").size().tolist() == [shop.DAYS] * shop.CUSTOMERS
    assert (str(days["day"].min()), str(days["day"].max())) == ("2026-01-11", "2026-03-01")
    assert days.drop(columns="basket_eur").notna().all(axis=None)
    assert (days["basket_eur"].isna() == (days["orders_30d"] == 0)).all()
    assert ((days["days_since_order"].between(0, shop.WINDOW - 1)) == (days["orders_30d"] > 0)).all()


def test_the_shop_is_the_same_for_every_reader():
    first, second = (shop.load(NOON + pd.Timedelta(days=days)).customer_days for days in (0, 9))
    assert first.drop(columns="day").equals(second.drop(columns="day"))


def test_what_is_to_be_predicted_is_what_happened_in_the_week_after():
    made = shop.load(NOON)
    known = made.orders_next_week
    assert len(known) == shop.CUSTOMERS * (shop.DAYS - shop.AHEAD)
    # A customer whose last order is fewer than seven days old seven days later has ordered in between.
    rows = made.customer_days.assign(day=pd.to_datetime(made.customer_days["day"]))
    later = rows.assign(day=rows["day"] - pd.Timedelta(days=shop.AHEAD))[["customer_id", "day", "days_since_order"]]
    both = known.assign(day=pd.to_datetime(known["day"])).merge(later, on=["customer_id", "day"])
    assert len(both) == len(known)
    assert (both["ordered"] == both["days_since_order"].between(0, shop.AHEAD - 1)).all()


@pytest.fixture
def opened(ws):
    """A workspace that holds the last three days of the shop."""
    days = shop.load().customer_days
    days = days[days["day"] >= days["day"].max() - pd.Timedelta(days=2)]
    days = days.assign(event_timestamp=pd.to_datetime(days["day"], utc=True) + pd.Timedelta("1D")).drop(columns="day")
    ws.materialize(days, "customer_daily", keys=["customer_id"], retain="all", progress=False)
    return ws


def causes(ws):
    return {(diagnosis.cause, diagnosis.relation) for diagnosis in ws.skew("customer_daily").diagnoses}


def test_each_fault_of_the_shop_is_found_for_what_it_is_and_can_be_mended(opened):
    kept = shop.rows(opened)
    shop.count_in_cents(opened)
    assert causes(opened) == {("scale", "online = offline × 0.01")}
    shop.mend(opened, kept)
    shop.lose_time_zone(opened)
    assert causes(opened) == {("event_time_shift", "online event times lie 2 h later than offline")}
    shop.mend(opened, kept)
    shop.nightly_job_fails(opened, customers=30)
    assert {cause for cause, _relation in causes(opened)} == {"stale"}
    opened.materialize("customer_daily")
    assert opened.skew("customer_daily").ok


def test_flights_fly_again_and_are_corrected_offline_only(ws):
    stats = flights.load().plane_stats.tail(3_000)
    ws.materialize(stats, "plane_stats", keys=["tailnum"], progress=False)
    flights.fly_again(ws, planes=7)
    flights.correct_delays(ws, planes=["N-NONE"])
    found = ws.skew("plane_stats")
    assert found.causes["cause"].tolist() == ["stale"]
    assert found.counts["plane_stats:flights"].different == 7
    ws.materialize("plane_stats")
    flights.correct_delays(ws, planes=3)
    assert ws.skew("plane_stats").causes["cause"].tolist() == ["corrected"]


def test_only_a_view_made_from_a_frame_can_be_changed_so(ws, events):
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    (ws.directory / "offline" / "drivers.parquet").rename(ws.directory / "offline" / "elsewhere.parquet")
    with pytest.raises(ConfigurationError, match="not one parquet file"):
        warehouse.change(ws, "drivers", lambda rows: rows)
