"""An online shop to practise on: 1,000 customers on 50 days, and three faults that happen to every company.

The orders are drawn from a fixed seed, so every reader sees the same; the days are moved so that the last one was yesterday.
The faults change the offline data only, as a job of the warehouse would, and raise no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feastra_nb import warehouse

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

CUSTOMERS, DAYS = 1_000, 50
WINDOW = 30  # days that a feature looks back
AHEAD = 7  # days in which a customer orders again, or does not
TOWNS = ("Aachen", "Berlin", "Bremen", "Köln", "Leipzig")
_SEED = 2026


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """A frame such as a company has it.

    Parameters
    ----------
    customer_days
        50,000 rows, a customer on a day: ``customer_id``, ``day``, ``orders_30d``, ``basket_eur`` (mean of 30 days),
        ``days_since_order``, ``town``, ``newsletter``. A row counts the whole day, so it is known when the day is over.
    orders_next_week
        What a model is to predict: ``customer_id``, ``day``, ``ordered``; the last seven days have none yet.
    """

    customer_days: pd.DataFrame
    orders_next_week: pd.DataFrame


def load(now: datetime | None = None) -> Shop:
    """Return the shop's data up to yesterday.

    Parameters
    ----------
    now
        The instant that "yesterday" is told by; the present by default.

    Examples
    --------
    >>> shop = load()
    >>> len(shop.customer_days), shop.customer_days["customer_id"].nunique()
    (50000, 1000)
    """
    rng = np.random.default_rng(_SEED)
    span = WINDOW + DAYS
    habit = rng.gamma(1.2, 0.09, CUSTOMERS)
    orders = rng.poisson(habit[:, None], (CUSTOMERS, span))
    taste = rng.lognormal(3.6, 0.4, CUSTOMERS)
    spent = orders * np.round(taste[:, None] * rng.lognormal(0, 0.25, (CUSTOMERS, span)), 2)
    counts, sums = _windows(orders), _windows(spent)
    with np.errstate(invalid="ignore"):
        baskets = np.round(sums / counts, 2)
    last = (
        (pd.Timestamp.now("UTC") if now is None else pd.Timestamp(now)).tz_convert("UTC").normalize().tz_localize(None)
    )
    days = last - pd.to_timedelta(np.arange(DAYS, 0, -1), unit="D")
    town, newsletter = rng.choice(TOWNS, CUSTOMERS), rng.random(CUSTOMERS) < 0.4  # noqa: PLR2004 - the share who read it
    frame = pd.DataFrame(
        {
            "customer_id": np.repeat(np.arange(1, CUSTOMERS + 1), DAYS),
            "day": np.tile(days.date, CUSTOMERS),
            "orders_30d": counts.ravel(),
            "basket_eur": baskets.ravel(),
            "days_since_order": _since(orders).ravel(),
            "town": np.repeat(town, DAYS),
            "newsletter": np.repeat(newsletter, DAYS),
        }
    )
    following = np.stack(
        [orders[:, WINDOW + day + 1 : WINDOW + day + 1 + AHEAD].sum(axis=1) for day in range(DAYS)], axis=1
    )
    labels = frame[["customer_id", "day"]].assign(ordered=following.ravel() > 0)
    is_over = np.tile(np.arange(DAYS) < DAYS - AHEAD, CUSTOMERS)
    return Shop(frame, labels[is_over].reset_index(drop=True))


def _windows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return, for each day after the first 30, the sum of the 30 days that end with it."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    return (sums[:, WINDOW + 1 :] - sums[:, 1:-WINDOW])[:, :DAYS]


def _since(orders: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return, for each day after the first 30, how many days ago the last order was; -1 for none so far."""
    day = np.arange(orders.shape[1])
    latest = np.maximum.accumulate(np.where(orders > 0, day, -1), axis=1)
    return np.where(latest < 0, -1, day - latest)[:, WINDOW : WINDOW + DAYS]


# --- faults ------------------------------------------------------------------------------------------------------------


def nightly_job_fails(ws: Any, view: str = "customer_daily", customers: int = 200) -> None:
    """Let a night pass in which some customers order, and the job that feeds the online store fails."""

    def order(stored: pd.DataFrame) -> pd.DataFrame:
        now = pd.Timestamp.now("UTC").floor("us")
        some = warehouse.newest(stored, "customer_id", _event(ws, view)).head(customers)
        ordered = some.assign(
            orders_30d=some["orders_30d"] + 1, days_since_order=0, **{_event(ws, view): now, warehouse.CREATED: now}
        )
        return pd.concat([stored, ordered])

    warehouse.change(ws, view, order)


def count_in_cents(ws: Any, view: str = "customer_daily") -> None:
    """Let the warehouse write the baskets of each customer's newest day in cents, under the name that says euros."""

    def multiply(stored: pd.DataFrame) -> pd.DataFrame:
        changed = stored.reset_index(drop=True)
        last = warehouse.newest(changed, "customer_id", _event(ws, view)).index
        changed.loc[last, "basket_eur"] *= 100
        return changed

    warehouse.change(ws, view, multiply)


def lose_time_zone(ws: Any, view: str = "customer_daily", hours: float = 2) -> None:
    """Let the warehouse write wall-clock time as if it were UTC: every value as it was, each some hours earlier."""
    event = _event(ws, view)
    warehouse.change(ws, view, lambda stored: stored.assign(**{event: stored[event] - pd.Timedelta(hours=hours)}))


def rows(ws: Any, view: str = "customer_daily") -> pd.DataFrame:
    """Return the warehouse's rows as they are, for `mend`."""
    return warehouse.rows(ws, view)


def mend(ws: Any, kept: pd.DataFrame, view: str = "customer_daily") -> None:
    """Put the warehouse's rows back as they were."""
    warehouse.change(ws, view, lambda _rows: kept)


def _event(ws: Any, view: str) -> str:
    return str(ws.view(view).batch_source.timestamp_field)
