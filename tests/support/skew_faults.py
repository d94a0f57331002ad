"""Faults to plant in a feature store: each changes what is offline or online for some aircraft, and proves one cause."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feastra_nb import flights

MINUTE = pd.Timedelta("1min")


def last_events(planes, each=4):
    """Some aircraft's last events: real means of delays, narrowed as a model's might be, and distinct."""
    stats = flights.load().plane_stats[["tailnum", "event_timestamp", "mean_delay", "flights"]]
    last = stats.groupby("tailnum").tail(each)
    names = last["tailnum"].value_counts()
    names = sorted(names[names == each].index)[:planes]
    frame = last[last["tailnum"].isin(names)].reset_index(drop=True)
    noise = np.random.default_rng(0).uniform(1, 2, len(frame))
    values = (frame["mean_delay"].fillna(0) + noise).astype(np.float32).astype(np.float64)
    return frame.assign(mean_delay=values, made=frame["event_timestamp"] + MINUTE)


def rewrite(path, change):
    """Change an offline file, keeping its schema."""
    schema = pq.read_schema(path)
    frame = change(pq.read_table(path).to_pandas())
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def last_of(frame, planes):
    """Return the newest row of each of some aircraft."""
    some = frame[frame["tailnum"].isin(planes)]
    return some.sort_values("event_timestamp").groupby("tailnum").tail(1)


def stale(frame, planes):
    """A newer event, created now, that was not materialized."""
    now = pd.Timestamp.now(tz="UTC").floor("us")
    newer = last_of(frame, planes).assign(event_timestamp=now - MINUTE, made=now)
    return pd.concat([frame, newer.assign(mean_delay=newer["mean_delay"] + 7)])


def not_materialized(frame, planes):
    """Aircraft that nobody materialized."""
    rows = last_of(frame, planes)
    return pd.concat([frame, rows.assign(tailnum="new " + rows["tailnum"])])


def corrected(frame, planes):
    """The newest event once more, created later, with another value."""
    rows = last_of(frame, planes)
    made = pd.Timestamp.now(tz="UTC").floor("us")
    return pd.concat([frame, rows.assign(mean_delay=rows["mean_delay"] + 3, made=made)])


def ahead(frame, planes):
    """The newest event is lost offline."""
    return frame.drop(index=last_of(frame, planes).index)


def _changed(frame, planes, change):
    rows = last_of(frame, planes).index
    changed = frame.copy()
    changed.loc[rows, "mean_delay"] = change(changed.loc[rows, "mean_delay"])
    return changed


def null(frame, planes):
    """A value became null without a trace."""
    return _changed(frame, planes, lambda _values: np.nan)


def precision(frame, planes):
    """Offline has 64 bits where online has 32."""
    return _changed(frame, planes, lambda values: values.astype(np.float32).astype(np.float64) * (1 + 3e-9))


def scale(frame, planes):
    """Minutes became seconds."""
    return _changed(frame, planes, lambda values: values * 60)


def offset(frame, planes):
    """A constant was added."""
    return _changed(frame, planes, lambda values: values + 12.5)


def unexplained(frame, planes):
    """A value became another without a trace."""
    return _changed(frame, planes, lambda values: values + np.arange(1, len(values) + 1) ** 2)


FAULTS = {
    fault.__name__: fault
    for fault in (stale, not_materialized, corrected, ahead, null, precision, scale, offset, unexplained)
}


def planted(report, feature="mean_delay"):
    """Return the cause of each aircraft's cell that differs."""
    cells = report.different[report.different["feature"] == feature]
    return dict(zip(cells["tailnum"], cells["cause"], strict=True))
