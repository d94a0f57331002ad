"""Compared cells as a DataFrame: a row for each, with its cause and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from feastra_nb.materialization.frames import TIMESTAMP_US
from feastra_nb.retrieval.dataframes import to_pandas
from feastra_nb.skew import cells
from feastra_nb.skew.causes import CAUSES, CODES, others, why_absent
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import VERDICTS
from feastra_nb.skew.events import NO_US, at

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from feastra_nb.skew.cells import CellChunk, Cells
    from feastra_nb.skew.proofs import Proofs

    Bools = npt.NDArray[np.bool_]
    Int64s = npt.NDArray[np.int64]
    Int8s = npt.NDArray[np.int8]

# Causes that say why an event is not online, by what the journal knows of it.
_ABSENT = tuple(CODES[name] for name in ("stale", "not_materialized", "overwritten"))
TIE = "matches one of several offline rows with the same times"


def cells_frame(compared: Cells, proofs: Proofs, *, differing: bool, each: int | None = None) -> pd.DataFrame:
    """Return the cells, view by view and feature by feature, in the order of what was asked.

    Parameters
    ----------
    differing
        Only those that neither match nor are unknown.
    each
        Of these, no more than so many for each feature and cause: the first that were asked for; None for all.
    """
    parts = [
        part
        for view, features in cells.views_of(compared)
        for feature in features
        if len(
            part := _feature_frame(
                compared.of_view(view, feature), feature, proofs, differing=differing, each=each, by_key=compared.by_key
            )
        )
        or not differing
    ]
    if not parts:
        return _feature_frame(
            [next(iter(compared))], next(iter(compared)).features[0], proofs, differing=True, each=each, by_key=False
        )
    filled = [part for part in parts if len(part)] or parts[:1]
    keys = list(dict.fromkeys(key for chunk in compared for key in chunk.keys))
    frame = pd.concat(filled, ignore_index=True)
    return frame[[*keys, *(name for name in frame.columns if name not in keys)]]


def _feature_frame(
    chunks: Iterable[CellChunk], feature: str, proofs: Proofs, *, differing: bool, each: int | None, by_key: bool
) -> pd.DataFrame:
    chunks = list(chunks)
    parts = [_chunk_frame(chunk, feature, proofs, differing=differing, each=each) for chunk in chunks]
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    order = list(chunks[0].keys) if by_key and chunks[0].keys else [_ROW]
    frame = frame.sort_values(order, kind="stable", ignore_index=True).drop(columns=_ROW)
    return frame if each is None else frame.groupby("cause", sort=False).head(each)


_ROW = "feastra row"


def _first_of_each(chunk: CellChunk, bad: Int64s, codes: Int8s, each: int) -> Int64s:
    """Return the places in ``bad`` that were asked for first, some of each cause."""
    rows = numbers(chunk.rows, cells.ROW)[numbers(chunk.bad, cells.AT)[bad]]
    bad = bad[np.argsort(rows)]
    return np.sort(np.concatenate([bad[codes[bad] == code][:each] for code in np.unique(codes[bad])] or [bad]))


def _chunk_frame(chunk: CellChunk, feature: str, proofs: Proofs, *, differing: bool, each: int | None) -> pd.DataFrame:
    codes = proofs.cause_codes(chunk, feature)
    bad = np.flatnonzero(codes)
    if each is not None:
        bad = _first_of_each(chunk, bad, codes, each)
    index = numbers(chunk.bad, cells.AT)[bad] if differing else np.arange(chunk.rows.num_rows)
    place = np.full(chunk.rows.num_rows, -1, dtype=np.int64)
    place[numbers(chunk.bad, cells.AT)[bad]] = bad
    place = place[index]
    rows = chunk.rows.take(pa.array(index))
    proof = pa.array(place, mask=place < 0)
    cause = at(codes.astype(np.int64), place, none=0).astype(np.int8)
    frame = to_pandas(rows.select(chunk.keys), "numpy_nullable")
    frame["as_of"] = _times(numbers(rows, cells.AS_OF))
    frame["feature"] = pd.Series([feature] * len(frame), dtype=object)
    frame["online"] = _values(rows.column(cells.ONLINE + feature))
    frame["offline"] = _values(rows.column(cells.OFFLINE + feature))
    frame["verdict"] = np.array(VERDICTS, dtype=object)[numbers(rows, cells.VERDICT + feature)]
    frame["cause"] = np.array(CAUSES, dtype=object)[cause]
    frame["view"] = chunk.view
    for name in cells.TIMES:
        frame[name] = _times(numbers(rows, name))
    for name in (cells.ARRIVED, cells.TTL_BOUND):
        frame[name] = _times(at(numbers(chunk.bad, name), place))
    frame["offline_at_online_event"] = _values(chunk.bad.column(cells.THEN + feature).take(proof))
    rule, shift = proofs.rules.get((chunk.view, feature)), proofs.shifts.get(chunk.view)
    held = np.zeros(len(frame), dtype=bool) if rule is None else cause == CODES[rule.cause]
    frame["factor"] = np.where(held, np.nan if rule is None else rule.factor, np.nan)
    frame["offset"] = np.where(held, np.nan if rule is None else rule.offset, np.nan)
    shift_us = np.where(held, 0 if rule is None else rule.shift_us, 0)
    shift_us = np.where(cause == CODES["event_time_shift"], 0 if shift is None else shift.shift_us, shift_us)
    frame["shift"] = pd.to_timedelta(shift_us, unit="us").where(shift_us != 0)
    frame["note"] = _notes(chunk, feature, rows, place, cause)
    frame[_ROW] = numbers(rows, cells.ROW)
    return frame


def _values(column: pa.ChunkedArray) -> Any:
    return to_pandas(pa.table({"v": column}), "numpy_nullable")["v"].astype(object)


def _times(at_us: Int64s) -> Any:
    return pa.array(at_us, pa.timestamp("us"), mask=at_us == NO_US).cast(TIMESTAMP_US).to_pandas()


def _notes(chunk: CellChunk, feature: str, rows: pa.Table, place: Int64s, cause: Int8s) -> npt.NDArray[np.object_]:
    notes = np.full(len(place), "", dtype=object)
    if cells.TIED + feature in rows.column_names:
        notes[np.asarray(rows.column(cells.TIED + feature))] = TIE
    there = np.flatnonzero(place >= 0)
    bits = numbers(chunk.bad, cells.BITS + feature)[place[there]].astype(np.int64)
    covered = numbers(chunk.bad, cells.COVERED)[place[there]].astype(np.int64)
    # What is said of a cell depends on these three, of which there are few different ones.
    kinds, which = np.unique(np.stack([cause[there], covered, bits], axis=1), axis=0, return_inverse=True)
    words = np.array([_note(int(code), int(cover), int(some)) for code, cover, some in kinds], dtype=object)
    if len(there):
        notes[there] = words[which.reshape(-1)]
    return notes


def _note(cause: int, covered: int, bits: int) -> str:
    parts = [why_absent(covered)] if cause in _ABSENT else []
    # What else seems to hold of a row whose event times are shifted follows from the shift.
    also = [] if cause == CODES["event_time_shift"] else others(bits, cause)
    return "; ".join([*parts, f"also {', '.join(also)}"] if also else parts)
