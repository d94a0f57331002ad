"""Latency in a sentence: what half, nine of ten and 99 of 100 requests took, and how long to measure for more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from feastra_nb.latency.histogram import FEWEST_BEYOND
from feastra_nb.latency.tables import PERCENTILES
from feastra_nb.reporting.words import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from feastra_nb.latency.recording import Recording
    from feastra_nb.latency.tables import Key

_SHARES = {"p50_ms": "half", "p90_ms": "9 of 10", "p99_ms": "99 of 100", "p999_ms": "999 of 1,000"}
SHOWN_SETTINGS = 3
AS_FAST = 0.05  # ratios closer to one than this are no difference
_MARGIN = 1.05  # of a measurement that is to reach a percentile: rates vary


def sentence(frame: pd.DataFrame, recordings: Mapping[Key, Recording]) -> str:
    """Return a report in a sentence: the response time where there is one, of the first few settings."""
    keys = [key for key in recordings if key.kind == "response" or key._replace(kind="response") not in recordings]
    if not any(recordings[key].n for key in keys):
        return "Nothing was answered."
    by_key = dict(zip(recordings, frame.to_dict("records"), strict=True))
    names = [name for name in ("target", "batch", "consistency") if len({getattr(key, name) for key in keys}) > 1]
    told = [_told(_named(key, names), by_key[key]) for key in keys[:SHOWN_SETTINGS]]
    more = f"; and {len(keys) - SHOWN_SETTINGS:,} more settings" if len(keys) > SHOWN_SETTINGS else ""
    text = "; ".join(told) + more
    return f"{text if names else text.capitalize()}{_longer(keys, by_key, recordings)}."


def _named(key: Key, names: Sequence[str]) -> str:
    words = [f"batch {key.batch}" if name == "batch" else str(getattr(key, name)) for name in names]
    return ", ".join(words)


def _told(name: str, row: Mapping[Any, Any]) -> str:
    known = [(words, row[column]) for column, words in _SHARES.items() if not math.isnan(row[column])]
    if not known:
        text = f"too few samples ({row['n']:,}) for a median"
    else:
        first, *others = known
        text = f"{first[0]} under {milliseconds(first[1])} ms"
        text += "".join(f", {words} under {milliseconds(value)}" for words, value in others)
    return f"{name}: {text}" if name else f"{text}"


def milliseconds(value: float) -> str:
    """Return milliseconds in as many digits as they mean.

    Examples
    --------
    >>> milliseconds(0.8734), milliseconds(5.02), milliseconds(123.4)
    ('0.87', '5', '123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"  # noqa: PLR2004 - beyond, a part of one says nothing


def _longer(keys: Sequence[Key], rows: Mapping[Key, Mapping[Any, Any]], recordings: Mapping[Key, Recording]) -> str:
    """Return how long to measure for the first percentile that is missing; nothing where none is up to the p99."""
    for column in ("p50_ms", "p90_ms", "p99_ms"):
        lacking = [key for key in keys if math.isnan(rows[key][column]) and recordings[key].answered_per_s]
        if lacking:
            slowest = min(lacking, key=lambda key: recordings[key].answered_per_s)
            wanted = FEWEST_BEYOND / (1 - PERCENTILES[column] / 100)
            seconds = math.ceil(_MARGIN * wanted / recordings[slowest].answered_per_s)
            what = column.removesuffix("_ms")
            return f"; for a {what} measure {span(seconds)} (seconds={seconds})"
    return ""


def times_faster(ratio: float) -> str:
    """Return what a ratio of two latencies means, the second by the first.

    Examples
    --------
    >>> times_faster(0.385), times_faster(2.0), times_faster(1.01), times_faster(float("nan"))
    ('2.6 × faster', '2.0 × slower', 'as fast', '-')
    """
    if math.isnan(ratio) or ratio <= 0:
        return "-"
    if abs(ratio - 1) < AS_FAST:
        return "as fast"
    return f"{1 / ratio:.1f} × faster" if ratio < 1 else f"{ratio:.1f} × slower"


def comparison(frame: pd.DataFrame, names: tuple[str, str]) -> str:
    """Return a comparison in a sentence: the second beside the first, at the median of each setting."""
    known = frame.dropna(subset="p50_ratio")
    if known.empty:
        return f"{names[0]} and {names[1]} have no setting in common with enough samples."
    several = len(known) > 1
    told = []
    for row in known.head(SHOWN_SETTINGS).to_dict("records"):
        of = f"batch {row['batch']}: " if several else ""
        tail = f", {times_faster(row['p99_ratio'])} at the p99" if not math.isnan(row["p99_ratio"]) else ""
        pair = f"{milliseconds(row['p50_ms_2'])} against {milliseconds(row['p50_ms_1'])} ms"
        told.append(f"{of}{times_faster(row['p50_ratio'])} at the median ({pair}){tail}")
    return f"{names[1]} beside {names[0]}: {'; '.join(told)}."
