"""Looks rows up in the online store: the newest now, or as of each entity's instant, from the history."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb import codec
from feastra_nb.errors import BeyondRetention
from feastra_nb.materialization.frames import TIMESTAMP_US
from feastra_nb.storage import reader
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.storage.rows import Rows

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE, UNKNOWN = "PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "UNKNOWN"
_STATES = np.array([PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE], dtype=object)
_FEW_KEYS = 16  # keys up to which a dict is faster than Arrow's hash table


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One view's rows for n entity rows.

    Parameters
    ----------
    rows
        The rows that were found, m of them.
    index
        Shape (n,): which of them each entity row gets; -1 for none.
    status
        Shape (n,): PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE or UNKNOWN.
    """

    rows: Rows
    index: Int64s
    status: npt.NDArray[np.object_]

    def features(self, opened: OpenStore, view_request: Requested) -> list[pa.Array]:
        """Return the asked features as Arrow columns of n rows, null where nothing was found."""
        entry = opened.entry_with(view_request.view, view_request.features)
        try:
            columns = self._decoded(entry, view_request.features, known=len(entry.slots))
        except codec.UnknownPositions:
            # Written by somebody who knows of newer positions: a feature may have moved to one.
            entry = opened.entry(view_request.view, reload=True)
            columns = self._decoded(entry, view_request.features)
        if np.array_equal(self.index, np.arange(len(self.rows))):
            return columns
        where = pa.array(self.index, mask=self.index < 0)
        return [column.take(where) for column in columns]

    def _decoded(self, entry: ViewEntry, features: Sequence[str], known: int | None = None) -> list[pa.Array]:
        from feast.value_type import ValueType

        types = entry.value_types
        positions = [entry.position(name) for name in features]
        return codec.decode_payloads(
            self.rows.features, positions, [ValueType[types[name]] for name in features], known=known
        )

    def event_times(self) -> pa.Array:
        """Return each row's event time, null where nothing was found."""
        where = pa.array(self.index, mask=self.index < 0)
        return pa.array(self.rows.event_us, pa.timestamp("us")).cast(TIMESTAMP_US).take(where)


def find_now(
    opened: OpenStore, view_request: Requested, keys: pa.Array, *, status: bool, now_us: int | None = None
) -> Found:
    """Return what the store serves now, or as if it were now at a given instant, in microseconds since the epoch."""
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    bounds = reader.serving_bounds(now_us, opened.served_ttl_us(view_request.view))
    return _find(opened, view_request, keys, bounds, status=status)


def find_as_of(
    opened: OpenStore,
    view_request: Requested,
    keys: pa.Array,
    t_us: Int64s,
    *,
    known_us: Int64s | None = None,
    status: bool = False,
) -> Found:
    """Return what the store would have served at an instant of each row, rebuilt from its history.

    Parameters
    ----------
    t_us
        Shape (n,): each row's instant, microseconds since the epoch.
    known_us
        Shape (n,): only rows that had arrived by then count; None for all that arrived since.

    Raises
    ------
    BeyondRetention
        An instant lies before what the store remembers, and no status was asked for.
    """
    entry = opened.entry(view_request.view, reload=True)
    beyond = unknown_instants(opened, entry, t_us)
    if known_us is not None and entry.pruned_to_us is not None:
        # What was known before that may be gone: pruning keeps what the window asks for.
        beyond |= known_us < entry.pruned_to_us
    if beyond.any() and not status:
        raise beyond_retention(entry, t_us[beyond])
    ttl = opened.served_ttl_us(view_request.view)
    if known_us is None and len(t_us) and (t_us == t_us[0]).all():
        events = _find(opened, view_request, keys, reader.as_of_bounds(int(t_us[0]), ttl), status=status)
    else:
        events = _find_in_history(opened, entry, keys, t_us, known_us, ttl)
    return Found(events.rows, np.where(beyond, -1, events.index), np.where(beyond, UNKNOWN, events.status))


def unknown_instants(opened: OpenStore, entry: ViewEntry, t_us: Int64s) -> Bools:
    """Return which instants the store cannot replay: before the horizon, or inside an interval of which only the newest
    event was written.
    """  # noqa: D205 - one sentence
    now_us = time.time_ns() // 1000
    horizon = entry.horizon_us(now_us)
    unknown = np.zeros(len(t_us), dtype=bool) if horizon is None else t_us < horizon
    for run in opened.journal.runs(entry.project, entry.view):
        if run.thinned and run.generation == entry.generation:
            unknown |= (t_us >= run.start_us) & (t_us < run.end_us)
    return unknown


def beyond_retention(entry: ViewEntry, t_us: Int64s) -> BeyondRetention:
    """Return the error for instants that cannot be replayed."""
    horizon = entry.horizon_us(time.time_ns() // 1000)
    since = f"since {instant(horizon):%Y-%m-%d %H:%M:%S} UTC" if horizon is not None else "in part"
    return BeyondRetention(
        f"view {entry.view!r} (retain {entry.retain!r}) remembers its history only {since}; "
        f"{len(t_us):,} instants lie outside, the earliest {instant(int(t_us.min())):%Y-%m-%d %H:%M:%S} UTC",
        hint="status=True returns such rows as UNKNOWN; ws.retain(view, …) keeps more from now on",
    )


def _find(opened: OpenStore, view_request: Requested, keys: pa.Array, bounds: reader.Bounds, *, status: bool) -> Found:
    entry = opened.entry(view_request.view)
    keys = keys.cast(pa.binary())
    distinct = keys.unique()
    newest = reader.read_newest(opened.db, entry, distinct.to_pylist(), bounds)
    index = _places(keys, newest.entity_key)
    states = _STATES[(index < 0).astype(np.int64)]
    if status and (index < 0).any() and bounds.lower_us > reader.BEGINNING_US:
        before = reader.alive(entry, reader.Bounds(reader.BEGINNING_US, bounds.lower_us - 1))
        missing = distinct.filter(pc.invert(pc.is_in(distinct, newest.entity_key)))
        older = reader.read_newest(opened.db, entry, missing.to_pylist(), before).entity_key
        states[(index < 0) & np.asarray(pc.is_in(keys, older))] = OUTSIDE_MAX_AGE
    return Found(newest, index, states)


def _places(keys: pa.Array, known: pa.Array) -> Int64s:
    """Return where each key stands among distinct ones; -1 for nowhere."""
    if len(keys) > _FEW_KEYS:
        return np.asarray(pc.index_in(keys, known).fill_null(-1), dtype=np.int64)
    place = {key: number for number, key in enumerate(known.to_pylist())}
    return np.array([place.get(key, -1) for key in keys.to_pylist()], dtype=np.int64)


def _find_in_history(
    opened: OpenStore,
    entry: ViewEntry,
    keys: pa.Array,
    t_us: Int64s,
    known_us: Int64s | None,
    ttl: int | None,
) -> Found:
    """One slice of history an entity, joined here: the cost grows with entities, not with rows."""
    if not len(t_us):
        return Found(reader.no_rows(), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=object))
    bounds = reader.Bounds(reader.BEGINNING_US, int(t_us.max()))
    history = reader.read_history(opened.db, entry, keys.unique().to_pylist(), bounds)
    index = newest_at(history, keys, t_us, known_us)
    old = (index >= 0) & (history.event_us[index] < t_us - ttl) if ttl else np.zeros(len(t_us), dtype=bool)
    return Found(history, np.where(old, -1, index), _STATES[np.where(index < 0, 1, 2 * old)])


def newest_at(history: Rows, keys: pa.Array, t_us: Int64s, known_us: Int64s | None = None) -> Int64s:
    """Return for each (key, instant) the index of its newest row in a history at or before the instant; -1 for none.

    Newest is the greatest by (event, created, arrived). With ``known_us`` only rows that had arrived by then count.

    Examples
    --------
    >>> from feastra_nb.storage.rows import Rows
    >>> us = np.array([1, 5, 5])
    >>> history = Rows(pa.array([b"k"] * 3), us, np.array([0, 1, 0]), us, pa.array([b""] * 3))
    >>> newest_at(history, pa.array([b"k", b"k", b"x"]), np.array([4, 5, 9]))
    array([ 0,  1, -1])
    """
    both = pa.concat_arrays([history.entity_key.cast(pa.binary()), keys.cast(pa.binary())])
    codes = np.asarray(both.dictionary_encode().indices, dtype=np.int64)
    stored, wanted = codes[: len(history)], codes[len(history) :]
    order = np.lexsort((history.arrived_us, history.created_us, history.event_us, stored))
    place = last_at_or_before(stored[order], history.event_us[order], wanted, t_us)
    if known_us is not None:
        place = last_arrived(place, stored[order], history.arrived_us[order], known_us)
    return np.where(place < 0, -1, order[place]) if len(order) else np.full(len(t_us), -1, dtype=np.int64)


def last_at_or_before(codes: Int64s, event_us: Int64s, wanted: Int64s, t_us: Int64s) -> Int64s:
    """Return for each question the last row (sorted by code, event) of its code with an event at or before its time."""
    n = len(codes)
    # Rows and questions in one sort; a question stands behind the rows of its own instant.
    all_codes, all_us = np.concatenate([codes, wanted]), np.concatenate([event_us, t_us])
    is_question = np.concatenate([np.zeros(n, dtype=np.int8), np.ones(len(wanted), dtype=np.int8)])
    rank = np.concatenate([np.arange(n), np.zeros(len(wanted), dtype=np.int64)])
    order = np.lexsort((rank, is_question, all_us, all_codes))
    rows_before = np.cumsum(order < n) - 1
    place = np.empty(len(wanted), dtype=np.int64)
    questions = order >= n
    place[order[questions] - n] = rows_before[questions]
    valid = place >= 0
    valid[valid] = codes[place[valid]] == wanted[valid]
    return np.where(valid, place, -1)


def last_arrived(place: Int64s, codes: Int64s, arrived_us: Int64s, known_us: Int64s) -> Int64s:
    """Return for each question the last row at or before a place, of the same code, that had arrived by then; -1 for none.

    Steps back by powers of two over rows that all came too late, so that a long history that was loaded at once costs no more
    than its logarithm.

    Parameters
    ----------
    place
        Shape (m,): where each question begins to look; -1 for nowhere.
    codes, arrived_us
        Shape (n,): the rows, sorted by code.
    known_us
        Shape (m,).

    Examples
    --------
    >>> codes, arrived = np.array([0, 0, 0, 1]), np.array([5, 9, 8, 1])
    >>> last_arrived(np.array([2, 2, 3, -1]), codes, arrived, np.array([8, 6, 0, 9]))
    array([ 2,  0, -1, -1])
    """
    late = np.flatnonzero(place >= 0)
    late = late[arrived_us[place[late]] > known_us[late]]
    if not len(late):
        return place
    at, known = place[late], known_us[late]
    # `earliest[k][i]`: of the 2**k rows that end at i.
    earliest, longest = [arrived_us], int(np.unique(codes, return_counts=True)[1].max())
    while 2 ** len(earliest) <= longest:
        last, half = earliest[-1], 2 ** (len(earliest) - 1)
        earliest.append(np.concatenate([last[:half], np.minimum(last[half:], last[:-half])]))
    first = np.searchsorted(codes, codes[at])
    for level in range(len(earliest) - 1, -1, -1):
        fits = at - 2**level + 1 >= first
        fits[fits] = earliest[level][at[fits]] > known[fits]
        at = np.where(fits, at - 2**level, at)
    newest = place.copy()
    newest[late] = np.where(at < first, -1, at)
    return newest
