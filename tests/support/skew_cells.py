"""Skew reports made of cells by hand, one feature a cause: the same pictures in every run, without a store."""

import numpy as np
import pandas as pd
import pyarrow as pa

from feastra_nb.skew import cells
from feastra_nb.skew.causes import CODES
from feastra_nb.skew.comparison import MATCH, MISMATCH
from feastra_nb.skew.impact import impact
from feastra_nb.skew.proofs import Proofs
from feastra_nb.skew.report import SkewReport
from feastra_nb.skew.timeline import Timeline

ROWS = 400
NOW = pd.Timestamp("2026-03-02 12:00", tz="UTC")
NOW_US = NOW.value // 1000
HOUR_US = 3_600_000_000


def pairs():
    """Return, by feature, the cause, and the online and offline values of each row."""
    rng = np.random.default_rng(7)
    baskets = np.round(rng.lognormal(3.5, 0.5, ROWS), 2)
    orders = rng.poisson(6, ROWS)
    towns = np.array(["Köln", "Bonn", "Aachen"])[rng.integers(0, 3, ROWS)]
    seen = NOW_US - rng.integers(1, 400, ROWS) * HOUR_US
    some = np.arange(ROWS) % 4 == 0
    rating = rng.uniform(1, 5, ROWS)
    return {
        "basket": ("scale", baskets, baskets * 100),
        "points": ("offset", baskets + 50, baskets),
        "orders": ("stale", orders, orders + some),
        "visits": ("corrected", orders * 3.0, np.where(some, orders * 3.0 + rng.normal(8, 2, ROWS), orders * 3.0)),
        "town": ("text_form", towns, np.where(some, np.char.upper(towns), towns)),
        "rating": ("null", rating, np.where(some, np.nan, rating)),
        "score": ("precision", rating.astype(np.float32).astype(float), rating),
        "seen": ("timezone", seen, seen + 2 * HOUR_US),
        "clicks": ("type", np.char.mod("%d", orders), orders),
    }


def column(values, name):
    if name == "seen":
        return pa.array(values, pa.timestamp("us", "UTC"))
    return pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else None)


def report(*names, mode="now"):
    """Return the report of some of the features; of all by default."""
    made = {name: pair for name, pair in pairs().items() if name in (names or pairs())}
    online_us = np.full(ROWS, NOW_US - 30 * HOUR_US)
    lag_us = np.where(np.arange(ROWS) % 4 == 0, (np.arange(ROWS) % 11 + 1) * 2 * HOUR_US, 0)
    offline_us = online_us + (lag_us if set(made) == {"orders"} else 0)
    rows = {"customer": np.arange(ROWS), cells.ROW: np.arange(ROWS), cells.AS_OF: np.full(ROWS, NOW_US)}
    times = (online_us, online_us, online_us, offline_us, offline_us)
    rows |= dict(zip(cells.TIMES, times, strict=True))
    nothing = np.full(ROWS, np.iinfo(np.int64).min)
    bad = {cells.AT: np.arange(ROWS), "entity": np.arange(ROWS), cells.COVERED: np.zeros(ROWS, np.int8)}
    bad |= {cells.ARRIVED: nothing, cells.TTL_BOUND: nothing}
    for name, (cause, *sides) in made.items():
        online, offline = (column(np.asarray(side), name) for side in sides)
        differs = np.array([a != b for a, b in zip(online.to_pylist(), offline.to_pylist(), strict=True)])
        of_column = cause in ("scale", "offset", "timezone")
        code = CODES["unexplained" if of_column else cause]
        rows |= {cells.ONLINE + name: online, cells.OFFLINE + name: offline}
        rows[cells.VERDICT + name] = np.where(differs, MISMATCH, MATCH).astype(np.int8)
        bad[cells.CAUSE + name] = np.where(differs, code, 0).astype(np.int8)
        bad[cells.BITS + name] = np.where(differs, 0 if of_column else 1 << code, 0).astype(np.uint32)
        bad[cells.THEN + name] = offline
    compared = cells.Cells()
    compared.add(cells.CellChunk("shop", ("customer",), tuple(made), pa.table(rows), pa.table(bad)))
    return SkewReport(cells=compared, proofs=Proofs.of(compared), mode=mode, store="feastra", project="demo")


def shifted():
    """Return a report whose values all match, under event times that are two hours apart."""
    made = report("rating")
    (chunk,) = made.cells
    match = np.zeros(ROWS, np.int8)
    rows = chunk.rows
    for name, values in (
        (cells.VERDICT + "rating", match),
        (cells.OFFLINE + "rating", rows.column(cells.ONLINE + "rating")),
        ("offline_event", rows.column("online_event").to_numpy() - 2 * HOUR_US),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, [values])
    rows = rows.append_column(cells.SHIFTED, pa.array(np.ones(ROWS, bool)))
    bad = chunk.bad.slice(0, 0).append_column(cells.SHIFTED, pa.array([], pa.bool_()))
    compared = cells.Cells()
    count = cells.ShiftCount(2 * HOUR_US, ROWS, ROWS, ROWS)
    compared.add(cells.CellChunk("shop", ("customer",), ("rating",), rows, bad, count))
    return SkewReport(cells=compared, proofs=Proofs.of(compared), mode="now", store="feastra", project="demo")


def an_impact():
    """Return what the faults did to a model of three features."""
    return report("basket", "rating", "visits").impact(
        lambda frame: (
            1 / (1 + np.exp(-(frame["basket"] / 900 + frame["visits"] / 12 + frame["rating"].fillna(0) / 4 - 3.5)))
        )
    )


NOTES = {("offline event", 10): "the point-in-time join picks it", ("online row", 22): "served"}


def a_timeline():
    """Return the life of a value that was corrected, with one event that never came online."""
    hours = [70, 58, 46, 34, 22, 10]
    offline = [18.6, 22.0, 21.5, 24.0, 26.0, 31.0]
    online = {70: 18.6, 58: 22.0, 46: 23.6, 34: 24.0, 22: 26.0}
    rows = [("offline event", hour, value, 1) for hour, value in zip(hours, offline, strict=True)]
    rows += [("online row", hour, value, 2) for hour, value in online.items()]
    frame = pd.DataFrame(
        {
            "what": [row[0] for row in rows] + ["materialized"],
            "event": [NOW - pd.Timedelta(hours=row[1]) for row in rows] + [NOW - pd.Timedelta("90h")],
            "created": [NOW - pd.Timedelta(hours=row[1]) for row in rows] + [pd.NaT],
            "arrived": [NOW - pd.Timedelta(hours=row[1] - 1) if row[0] == "online row" else pd.NaT for row in rows]
            + [NOW - pd.Timedelta("20h")],
            "until": [pd.NaT] * len(rows) + [NOW - pd.Timedelta("20h")],
            "value": pd.Series([row[2] for row in rows] + [None], dtype=object),
            "note": [NOTES.get(row[:2], "") for row in rows] + [""],
        }
    )  # fmt: skip
    cell = pd.Series(
        {
            "as_of": NOW, "feature": "basket", "online": 26.0, "offline": 31.0, "verdict": "mismatch", "cause": "stale",
            "online_event": NOW - pd.Timedelta("22h"), "offline_event": NOW - pd.Timedelta("10h"), "note": "",
        }
    )  # fmt: skip
    return Timeline(frame, cell, "shop:basket", {"customer": 17}, None)


__all__ = ["a_timeline", "an_impact", "impact", "report", "shifted"]
