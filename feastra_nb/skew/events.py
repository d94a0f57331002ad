"""Event versions, sorted so that all (entity, instant) lookups are answered at once. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.retrieval.lookup import last_at_or_before

if TYPE_CHECKING:
    import numpy.typing as npt

    from feastra_nb.storage.rows import Rows

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

NO_US = np.iinfo(np.int64).min  # no such instant, or not known
# Clocks that a store may keep event times by: Redis whole seconds, Cassandra milliseconds.
_COARSE_US = (1_000_000, 1_000)


def codes_of(keys: pa.Array, entities: pa.Array) -> Int64s:
    """Return the place of each key among some distinct entities; -1 where it is none of them."""
    places = pc.index_in(keys.cast(pa.large_binary()), entities.cast(pa.large_binary()))
    return np.asarray(places.fill_null(-1), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """Rows of one store for some entities, sorted by entity, event, created and arrived; n of them.

    Parameters
    ----------
    codes
        Shape (n,): the entity of each row, by its place among the entities.
    event_us, created_us, arrived_us
        Shape (n,), microseconds since the epoch.
    source
        Shape (n,): where each row was before it was sorted.

    Examples
    --------
    >>> from feastra_nb.storage.rows import Rows
    >>> us = np.array([5, 1, 5])
    >>> rows = Rows(pa.array([b"a", b"a", b"a"]), us, np.array([1, 0, 0]), us, pa.array([b""] * 3))
    >>> versions = Versions.of(rows, pa.array([b"a", b"b"]))
    >>> versions.last(np.array([0, 0, 1]), np.array([4, 9, 9]))
    array([ 0,  2, -1])
    >>> versions.source.tolist()
    [1, 2, 0]
    """

    codes: Int64s
    event_us: Int64s
    created_us: Int64s
    arrived_us: Int64s
    source: Int64s

    @classmethod
    def of(cls, rows: Rows, entities: pa.Array) -> Versions:
        """Sort rows; those of other entities are left out."""
        return cls.of_codes(codes_of(rows.entity_key, entities), rows)

    @classmethod
    def of_codes(cls, codes: Int64s, rows: Rows) -> Versions:
        """Sort rows of which the entities are known: by their numbers, -1 for others."""
        order = np.lexsort((rows.arrived_us, rows.created_us, rows.event_us, codes))
        order = order[np.searchsorted(codes[order], 0) :]
        return cls(codes[order], rows.event_us[order], rows.created_us[order], rows.arrived_us[order], order)

    def __len__(self) -> int:
        return len(self.codes)

    def known(self, entities: int) -> Bools:
        """Return which of so many entities have a version."""
        is_known = np.zeros(entities, dtype=bool)
        is_known[self.codes] = True
        return is_known

    def last(self, codes: Int64s, at_us: Int64s) -> Int64s:
        """Return for each (entity, instant) the newest version at or before the instant; -1 for none."""
        return last_at_or_before(self.codes, self.event_us, codes, at_us)

    def last_of_event(self, codes: Int64s, event_us: Int64s) -> Int64s:
        """Return for each (entity, event) the newest version of just this event; -1 for none."""
        place = self.last(codes, event_us)
        there = place >= 0
        there[there] = self.event_us[place[there]] == event_us[there]
        return np.where(there, place, -1)

    def snapped(self, codes: Int64s, event_us: Int64s) -> Int64s:
        """Return events of a store that keeps times more coarsely as they are here, where they are."""
        known = event_us[event_us != NO_US]
        unit = next((coarse for coarse in _COARSE_US if len(known) and not (known % coarse).any()), 1)
        if unit == 1 or not len(self):
            return event_us
        place = self.last(codes, np.where(event_us == NO_US, NO_US, event_us + unit - 1))
        source = self.event_us[place]
        inside = (place >= 0) & (source // unit * unit == event_us)
        # An event of just this instant is the one meant, whatever else happened in the same unit.
        return np.where(inside & (self.last_of_event(codes, event_us) < 0), source, event_us)

    def older(self, place: Int64s) -> Int64s:
        """Return for each version the next older one of the same event; -1 for none."""
        before = place - 1
        same = before >= 0
        some, former = place[same], before[same]
        same[same] = (self.codes[former] == self.codes[some]) & (self.event_us[former] == self.event_us[some])
        return np.where(same, before, -1)

    def first_arrival(self, codes: Int64s, event_us: Int64s) -> Int64s:
        """Return when the first version of each (entity, event) arrived; NO_US for none."""
        place = self.last_of_event(codes, event_us)
        if not len(self):
            return np.full(len(codes), NO_US)
        begins = np.ones(len(self), dtype=bool)
        begins[1:] = (self.codes[1:] != self.codes[:-1]) | (self.event_us[1:] != self.event_us[:-1])
        event = np.cumsum(begins) - 1
        earliest = np.minimum.reduceat(self.arrived_us, np.flatnonzero(begins))
        return np.where(place < 0, NO_US, earliest[event[place]])


def at(values: Int64s, index: Int64s, *, none: int = NO_US) -> Int64s:
    """Return the values at an index, and ``none`` where it is -1.

    Examples
    --------
    >>> at(np.array([7, 8]), np.array([1, -1]), none=0)
    array([8, 0])
    """
    return np.where(index >= 0, values[index], none) if len(values) else np.full(len(index), none, dtype=np.int64)
