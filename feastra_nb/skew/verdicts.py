"""Compares one chunk of rows: reads both sides, judges each cell, and finds the causes of differences.

The online history and the evidence are read for the rows that differ only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from feastra_nb.retrieval.entities import shown_keys
from feastra_nb.retrieval.request import ttl_us
from feastra_nb.skew import cells
from feastra_nb.skew.causes import cell_bits, first_cause, row_bits
from feastra_nb.skew.comparison import equal_cells, verdict_codes
from feastra_nb.skew.event_shift import Events, count_shift
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.evidence import Compared, gather
from feastra_nb.skew.rules import ENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from feast.value_type import ValueType

    from feastra_nb.skew.causes import Evidence
    from feastra_nb.skew.cells import ShiftCount
    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.skew.events import Versions
    from feastra_nb.skew.evidence import Cover
    from feastra_nb.skew.offline_side import OfflineEvents, OfflineRows
    from feastra_nb.skew.online_side import Answers, OnlineSide

    Bools = npt.NDArray[np.bool_]
    Int64s = npt.NDArray[np.int64]

Tolerance: TypeAlias = "Mapping[str, float] | float | None"


@dataclass(frozen=True, slots=True, eq=False)
class _Feature:
    """One feature of a chunk's n rows.

    Parameters
    ----------
    superseded, tied
        Whether the online value is that of an older version of the offline event; of another one with the same times.
    converted
        Whether the values are equal only after what storing loses.
    """

    name: str
    online: pa.Array
    offline: pa.Array
    verdict: npt.NDArray[np.int8]
    superseded: Bools
    tied: Bools
    converted: Bools


def compare(
    chunk: Chunk,
    online: OnlineSide,
    offline: OfflineRows,
    covers: Sequence[Cover],
    *,
    lost: Bools,
    tolerance: Tolerance,
) -> cells.CellChunk:
    """Return the compared cells of a chunk; parameters as for `judged`."""
    answers = online.answers(chunk)
    events = offline.events(chunk.stored, chunk.entities)
    return judged(chunk, answers, events, online.versions, covers, lost=lost, tolerance=tolerance)


def judged(
    chunk: Chunk,
    answers: Answers,
    events: OfflineEvents,
    versions: Callable[[Chunk, Int64s], Versions | None],
    covers: Sequence[Cover],
    *,
    lost: Bools,
    tolerance: Tolerance,
) -> cells.CellChunk:
    """Return the compared cells of a chunk, of which both sides were read.

    Parameters
    ----------
    answers
        What was served to its rows.
    events
        All offline events of its entities.
    versions
        Returns the online history of some entities; None where the store keeps one value.
    covers
        What was materialized.
    lost
        Shape (n,): which rows the offline store's own join loses.
    tolerance
        Absolute difference of numbers that still counts as equal: one number, or one per feature.
    """
    view_request, questions = chunk.questions.view_request, chunk.questions
    ttl = ttl_us(view_request.view)
    star = events.join(chunk.codes, questions.until_us, None if ttl is None else questions.t_us - ttl)
    compared = Compared(chunk, answers, events, star, lost)
    features = [_compared(compared, name, _tolerated(tolerance, name)) for name in view_request.features]
    differs = np.zeros(len(questions), dtype=bool)
    for feature in features:
        differs |= cells.is_different(feature.verdict)
    bad = np.flatnonzero(differs)
    history = versions(chunk, chunk.codes[bad]) if len(bad) else None
    evidence = gather(compared, bad, history, covers, ttl)
    shift, shifted = count_shift(_events(compared, features, differs, versions))
    return cells.CellChunk(
        view=view_request.label,
        keys=tuple(shown_keys(questions.shown)),
        features=view_request.features,
        rows=_with_shifted(_rows(compared, features), shift, shifted),
        bad=_with_shifted(
            _bad(compared, features, bad, evidence, ttl), shift, _same_unshifted(compared, bad, shift.shift_us, ttl)
        ),
        shift=shift,
    )


def _events(
    compared: Compared,
    features: Sequence[_Feature],
    differs: Bools,
    history: Callable[[Chunk, Int64s], Versions | None],
) -> Events:
    """Return the events of both sides, to look for a shift between them."""
    chunk, versions = compared.chunk, compared.offline.versions

    def same_values(rows: Int64s, place: Int64s) -> Bools:
        """At least half of the features: one of them may have a fault of its own."""
        equal = np.zeros(len(rows), dtype=np.int64)
        for feature in features:
            offline = compared.offline.values(chunk.questions.view_request, feature.name, place)
            equal += equal_cells(feature.online.take(pa.array(rows)), offline, kind=_kind(compared, feature.name))
        return equal * 2 >= len(features)

    place = versions.last_of_event(chunk.codes, compared.online_event_us)
    matched = place >= 0
    doubt = np.flatnonzero(matched & differs)
    matched[doubt] = same_values(doubt, place[doubt])
    return Events(
        chunk.codes,
        np.where(compared.answers.found, compared.online_event_us, NO_US),
        matched,
        versions,
        same_values,
        lambda codes: history(chunk, codes),
    )


def _same_unshifted(compared: Compared, rows: Int64s, shift_us: int, ttl: int | None) -> Bools:
    """Return for which rows both sides would have picked the same event, or none, were it not for a shift."""
    chunk, versions = compared.chunk, compared.offline.versions
    if not shift_us or not len(versions):
        return np.zeros(len(rows), dtype=bool)
    until_us = chunk.questions.until_us[rows] - shift_us
    lower_us = None if ttl is None else chunk.questions.t_us[rows] - shift_us - ttl
    picked = compared.offline.join(chunk.codes[rows], until_us, lower_us)
    served_us = compared.online_event_us[rows] - shift_us
    served_us = versions.snapped(chunk.codes[rows], np.where(compared.answers.found[rows], served_us, NO_US))
    return np.where(picked < 0, ~compared.answers.found[rows], versions.event_us[picked] == served_us)


def _with_shifted(table: pa.Table, shift: ShiftCount, shifted: Bools) -> pa.Table:
    return table.append_column(cells.SHIFTED, pa.array(shifted)) if shift.shift_us else table


def _kind(compared: Compared, name: str) -> ValueType:
    return compared.chunk.questions.view_request.kinds[name]


def _tolerated(tolerance: Tolerance, name: str) -> float | None:
    return tolerance if tolerance is None or isinstance(tolerance, (int, float)) else tolerance.get(name)


def _compared(compared: Compared, name: str, tolerance: float | None) -> _Feature:
    view_request, answers, star = compared.chunk.questions.view_request, compared.answers, compared.star
    kind = _kind(compared, name)
    online, offline = answers.values[name], compared.offline.values(view_request, name, star)
    equal = equal_cells(online, offline, tolerance=tolerance, kind=kind)
    converted = np.zeros(len(equal), dtype=bool)
    raw = compared.offline.unconverted(view_request, name, star)
    if raw is not None:
        offline, changed = raw
        where = pa.array(np.flatnonzero(changed))
        # Compared as values: stored, they would be equal.
        same = np.zeros(len(equal), dtype=bool)
        same[changed] = equal_cells(online.take(where), offline.take(where), tolerance=tolerance)
        converted = equal & changed & ~same
        equal = np.where(changed, same, equal)
    superseded, tied = np.zeros(len(equal), dtype=bool), np.zeros(len(equal), dtype=bool)
    versions = compared.offline.versions
    doubt = np.flatnonzero(~equal & ~converted & (star >= 0))
    place = versions.older(star[doubt])
    # As many rounds as one event has versions.
    while (place >= 0).any():
        doubt, place = doubt[place >= 0], place[place >= 0]
        older = compared.offline.values(view_request, name, place)
        same = equal_cells(online.take(pa.array(doubt)), older, tolerance=tolerance, kind=kind)
        as_old = versions.created_us[place] == versions.created_us[star[doubt]]
        tied[doubt[same & as_old]] = True
        superseded[doubt[same & ~as_old]] = True
        place = versions.older(place)
    verdict = verdict_codes(
        equal | tied, served=answers.found, joined=star >= 0, unknown=answers.unknown, lost=compared.lost
    )
    return _Feature(name, online, offline, verdict, superseded, tied, converted)


def _rows(compared: Compared, features: Sequence[_Feature]) -> pa.Table:
    questions, answers, star = compared.chunk.questions, compared.answers, compared.star
    versions = compared.offline.versions
    event_us = versions.event_us[star] if len(versions) else star
    times = (
        answers.event_us,
        answers.created_us,
        answers.arrived_us,
        np.where(star >= 0, event_us, NO_US),
        compared.offline.created(star),
    )
    columns: dict[str, Any] = {
        **dict(zip(questions.shown.column_names, questions.shown.columns, strict=True)),
        cells.ROW: questions.rows,
        cells.AS_OF: questions.t_us,
        **dict(zip(cells.TIMES, times, strict=True)),
    }
    for feature in features:
        columns[cells.ONLINE + feature.name] = feature.online
        columns[cells.OFFLINE + feature.name] = feature.offline
        columns[cells.VERDICT + feature.name] = feature.verdict
        if feature.tied.any():
            columns[cells.TIED + feature.name] = feature.tied
    return pa.table(columns)


def _bad(
    compared: Compared, features: Sequence[_Feature], bad: Int64s, evidence: Evidence, ttl: int | None
) -> pa.Table:
    chunk, view_request = compared.chunk, compared.chunk.questions.view_request
    columns: dict[str, Any] = {
        cells.AT: bad,
        ENTITY: chunk.codes[bad],
        cells.COVERED: evidence.covered,
        cells.ARRIVED: evidence.star_arrived_us,
        cells.TTL_BOUND: np.full(len(bad), NO_US) if ttl is None else chunk.questions.t_us[bad] - ttl,
    }
    of_rows = row_bits(evidence)
    then = compared.offline.versions.last_of_event(chunk.codes[bad], evidence.online_event_us)
    where = pa.array(bad)
    for feature in features:
        bits = of_rows | cell_bits(
            evidence,
            lacks=compared.answers.lacks[feature.name][bad],
            online=feature.online.take(where),
            offline=feature.offline.take(where),
            superseded=feature.superseded[bad],
            converted=feature.converted[bad],
        )
        differs = cells.is_different(feature.verdict[bad])
        columns[cells.BITS + feature.name] = np.where(differs, bits, 0).astype(np.uint32)
        columns[cells.CAUSE + feature.name] = np.where(differs, first_cause(bits), 0).astype(np.int8)
        columns[cells.THEN + feature.name] = compared.offline.values(view_request, feature.name, then)
    return pa.table(columns)
