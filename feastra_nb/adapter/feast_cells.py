"""Turns the rows of Feast's own Cassandra table, one a feature, into entities and into rows of the log. No I/O.

Everything here works on whole columns: a value stays the bytes that Feast stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.codec.splicing import is_null, is_of_type, splice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from feast.value_type import ValueType

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

NO_US = np.iinfo(np.int64).min  # no event time, no write time
NO_TTL = 0  # a cell that never expires, as the server takes it
ABSENT = -1


@dataclass(frozen=True, slots=True, eq=False)
class FeastCells:
    """n rows of a table of Feast's, each one feature of one entity; an entity's rows stand together.

    Parameters
    ----------
    entity_key
        Shape (n,), large binary: the key's hex text, as stored.
    feature_name
        Shape (n,), large binary, UTF-8.
    value
        Shape (n,), large binary: serialized ``feast.types.Value``; empty is a null.
    event_us, written_us
        Shape (n,): ``event_ts`` (whole milliseconds) and ``WRITETIME(value)``, in microseconds since the epoch; `NO_US` where the
        row has none.
    ttl_s
        Shape (n,): seconds that are left of the value's life; 0 for ever.
    created_us
        Shape (n,): Scylla's ``created_ts``, in microseconds; 0 where there is none.
    """

    entity_key: pa.Array
    feature_name: pa.Array
    value: pa.LargeBinaryArray
    event_us: Int64s
    written_us: Int64s
    ttl_s: Int64s
    created_us: Int64s

    def __len__(self) -> int:
        return len(self.event_us)

    @classmethod
    def of_columns(cls, columns: Sequence[Any]) -> FeastCells:
        """Return the cells of a scan.

        Parameters
        ----------
        columns
            Those of `FeastTable.cell_columns`: byte strings as Arrow arrays, numbers in numpy, with the least number for null.
        """
        key, name, value, event_us, written_us, ttl_s, created_us = columns
        return cls(
            key.cast(pa.large_binary()),
            name.cast(pa.large_binary()),
            _values(value),
            event_us,
            written_us,
            np.maximum(ttl_s, NO_TTL),
            np.where(created_us == NO_US, 0, created_us),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FeastEntities:
    """m entities of a table of Feast's: which cell holds each of their features.

    Parameters
    ----------
    entity_key
        Shape (m,), large binary: the key's hex text, as stored.
    features
        The view's features, in the order of `place`.
    place
        Shape (features, m): the feature's row among ``cells``; -1 where the entity has no such feature.
    unknown
        By name: how many entities hold a feature that the view has not.
    """

    cells: FeastCells
    entity_key: pa.Array
    features: tuple[str, ...]
    place: Int64s
    unknown: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.entity_key)

    def values(self, feature: str) -> pa.LargeBinaryArray:
        """Return a feature's serialized values (m,); null where the entity has none, empty where it is a null."""
        place = self.place[self.features.index(feature)]
        return self.cells.value.take(pa.array(place, mask=place < 0))

    def event_us(self) -> Int64s:
        """Return the event times (features, m); `NO_US` where there is no such feature."""
        return at_place(self.cells.event_us, self.place, NO_US)

    def written_us(self) -> Int64s:
        """Return when the values were written (features, m); `NO_US` where there is no such feature."""
        return at_place(self.cells.written_us, self.place, NO_US)

    def ttl_s(self) -> Int64s:
        """Return what is left of the values' lives (features, m), in seconds; 0 for ever, or where there is no such feature."""
        return at_place(self.cells.ttl_s, self.place, NO_TTL)

    def created_us(self) -> Int64s:
        """Return the created times (features, m); 0 where there is none."""
        return at_place(self.cells.created_us, self.place, 0)

    def misfits(self, types: Mapping[str, ValueType]) -> dict[str, Int64s]:
        """Return by feature the entities whose stored value is of another type than the view says.

        Parameters
        ----------
        types
            By feature, its Feast value type.
        """
        found = {}
        for name, place in zip(self.features, self.place, strict=True):
            fits = is_of_type(self.values(name).fill_null(b""), types[name])
            if not fits.all():
                found[name] = np.flatnonzero(~fits & (place >= 0))
        return found

    def take(self, index: Int64s | Bools) -> FeastEntities:
        """Return some of the entities, of the same cells."""
        where = np.flatnonzero(index) if index.dtype == bool else index
        return FeastEntities(
            self.cells, self.entity_key.take(pa.array(where)), self.features, self.place[:, where], self.unknown
        )


def at_place(values: Int64s, place: Int64s, none: int) -> Int64s:
    """Return the values at some places, and ``none`` at -1."""
    if not len(values):
        return np.full(place.shape, none, dtype=np.int64)
    return np.where(place >= 0, values[place], none)


def pivot(cells: FeastCells, features: Sequence[str]) -> FeastEntities:
    """Return the entities of a table's rows.

    Parameters
    ----------
    cells
        Rows, each entity's together.
    features
        The view's features; others are counted, and left out.

    Examples
    --------
    >>> two = np.array([5, 6])
    >>> cells = FeastCells(pa.array([b"0a", b"0a"]), pa.array([b"x", b"gone"]), pa.array([b"1", b"2"]),
    ...                    two, two, two * 0, two * 0)
    >>> entities = pivot(cells, ["x", "y"])
    >>> entities.entity_key.to_pylist(), entities.place.tolist(), entities.unknown
    ([b'0a'], [[0], [-1]], {'gone': 1})
    """
    rows = len(cells)
    is_first = np.ones(rows, dtype=bool)
    if rows:
        is_first[1:] = np.asarray(pc.not_equal(cells.entity_key.slice(1), cells.entity_key.slice(0, rows - 1)))
    entity = np.cumsum(is_first) - 1
    known = pc.index_in(
        cells.feature_name, value_set=pa.array([name.encode() for name in features], cells.feature_name.type)
    )
    feature = np.asarray(known.fill_null(ABSENT), dtype=np.int64)
    place = np.full((len(features), int(is_first.sum())), ABSENT, dtype=np.int64)
    here = np.flatnonzero(feature >= 0)
    place[feature[here], entity[here]] = here
    keys = cells.entity_key.take(pa.array(np.flatnonzero(is_first)))
    return FeastEntities(cells, keys, tuple(features), place, _counts(cells.feature_name, feature < 0))


def _counts(names: pa.Array, where: Bools) -> dict[str, int]:
    if not where.any():
        return {}
    counted = pc.value_counts(names.filter(pa.array(where)))
    return {row["values"].decode(errors="replace"): row["counts"] for row in counted.to_pylist()}


# --- as rows of the log ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LogRows:
    """n rows of the log that say what a table of Feast's serves: one for each distinct event of an entity.

    Parameters
    ----------
    entity
        Shape (n,): which of the entities each row is of; an entity's rows stand together, oldest first.
    event_us, created_us, arrived_us
        Shape (n,). A row arrived when the last of the values that it holds was written.
    ttl_s
        Shape (n,): what is left of the row's life, as long as any value of its event lives; 0 for ever.
    place
        Shape (features, n): which cell holds each feature; -1 for none.
    """

    entity: Int64s
    event_us: Int64s
    created_us: Int64s
    arrived_us: Int64s
    ttl_s: Int64s
    place: Int64s

    def __len__(self) -> int:
        return len(self.entity)

    def is_newest(self) -> Bools:
        """Tell which rows are their entity's newest (n,): these are what Feast serves."""
        last = np.ones(len(self), dtype=bool)
        last[:-1] = self.entity[1:] != self.entity[:-1]
        return last

    def payloads(self, values: pa.LargeBinaryArray, positions: Sequence[int | None]) -> pa.LargeBinaryArray:
        """Return the rows' payloads.

        Parameters
        ----------
        values
            The cells' values.
        positions
            For each position of the payload the feature's index in ``place``; None for a hole.
        """
        hole = np.full(len(self), ABSENT, dtype=np.int64)
        columns = [hole if index is None else self.place[index] for index in positions]
        return splice(values, np.stack(columns, axis=1) if columns else np.zeros((len(self), 0), dtype=np.int64))


def log_rows(entities: FeastEntities) -> LogRows:
    """Return one row for each distinct event time of an entity, each filled forward with what was there before it.

    Features of one entity may differ in event time, after a partial push. Filled forward, the newest row holds for each feature
    what Feast serves. An entity without any event time has no row.

    Examples
    --------
    >>> events = np.array([10, 20, 10])
    >>> cells = FeastCells(pa.array([b"0a", b"0a", b"0b"]), pa.array([b"x", b"y", b"x"]), pa.array([b"1", b"2", b"3"]),
    ...                    events, events + 1, events * 0, events * 0)
    >>> rows = log_rows(pivot(cells, ["x", "y"]))
    >>> rows.entity.tolist(), rows.event_us.tolist(), rows.place.T.tolist()
    ([0, 0, 1], [10, 20, 10], [[0, -1], [0, 1], [2, -1]])
    """
    events = entities.event_us()
    newest = events.max(axis=0, initial=NO_US)
    oldest = np.where(events == NO_US, np.iinfo(np.int64).max, events).min(axis=0, initial=np.iinfo(np.int64).max)
    entity, event_us = _distinct(events, np.flatnonzero(oldest < newest), np.flatnonzero(oldest == newest))
    place, of_row = entities.place[:, entity], events[:, entity]
    is_held = (of_row <= event_us) & (of_row != NO_US)
    place = np.where(is_held, place, ABSENT)
    is_own = of_row == event_us
    return LogRows(
        entity,
        event_us,
        np.where(is_own, entities.created_us()[:, entity], 0).max(axis=0, initial=0),
        # Of all that the row holds, not only of its own event: an older event that came later changes what this row says, and
        # it then is another row, which stands before the former one.
        np.where(is_held, entities.written_us()[:, entity], NO_US).max(axis=0, initial=NO_US),
        _longest(entities.ttl_s()[:, entity], is_own),
        place,
    )


def _distinct(events: Int64s, mixed: Int64s, plain: Int64s) -> tuple[Int64s, Int64s]:
    """Return the entity and the event of each row: of plain entities one, of mixed ones one a distinct event time."""
    ordered = np.sort(events[:, mixed], axis=0)
    is_new = ordered != NO_US
    is_new[1:] &= ordered[1:] != ordered[:-1]
    which, column = np.nonzero(is_new)
    entity = np.concatenate([plain, mixed[column]])
    event_us = np.concatenate([events[:, plain].max(axis=0, initial=NO_US), ordered[which, column]])
    if not len(mixed):
        return entity, event_us
    order = np.lexsort((event_us, entity))
    return entity[order], event_us[order]


def _longest(ttl_s: Int64s, is_own: Bools) -> Int64s:
    """Return the longest life among the values of each row's own event; for ever where one of them lives for ever."""
    longest = np.where(is_own, ttl_s, NO_TTL).max(axis=0, initial=NO_TTL)
    return np.where((is_own & (ttl_s == NO_TTL)).any(axis=0), NO_TTL, longest)


def _values(column: pa.Array) -> pa.LargeBinaryArray:
    """Return values with every null in one form: no bytes at all."""
    values = column.cast(pa.large_binary())
    values = values.fill_null(b"") if values.null_count else values
    nulls = is_null(values) & (np.asarray(pc.binary_length(values)) > 0)
    return pc.if_else(pa.array(nulls), pa.scalar(b"", values.type), values) if nulls.any() else values
