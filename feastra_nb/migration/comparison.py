"""Compares what a table of Feast's serves with what our log serves, cell by cell, as bytes. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value

from feastra_nb.adapter.feast_cells import NO_US
from feastra_nb.codec.decoding import step
from feastra_nb.codec.wire_format import Tape
from feastra_nb.storage.row_selection import CLOCK_SKEW_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from feastra_nb.migration.translation import Entities, Terms

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

MS_US = 1_000
EXPIRY_MARGIN_US = 60 * 1_000_000  # values that expire within it may be gone on one side already


@dataclass(frozen=True, slots=True, eq=False)
class Ours:
    """What our log serves to m entities.

    Parameters
    ----------
    payload
        Shape (m,), large binary; null where there is no row.
    event_us, arrived_us
        Shape (m,); `NO_US` where there is no row.
    """

    payload: pa.LargeBinaryArray
    event_us: Int64s
    arrived_us: Int64s

    @property
    def is_there(self) -> Bools:
        """Whether there is a row (m,)."""
        return self.event_us != NO_US


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What became of m entities.

    Parameters
    ----------
    differs
        By feature, shape (m,): the values are not the same.
    is_missing
        Shape (m,): our log has no row, though it should.
    is_moved
        Shape (m,): the values are the same, and the event times are not.
    is_younger, is_expired, is_future
        Shape (m,): not compared, since something was written after the instant, since the view's ttl is over (Feast serves it all
        the same), or since its event has not happened yet.
    feast_us
        Shape (m,): the newest event that Feast has.
    """

    differs: Mapping[str, Bools]
    is_missing: Bools
    is_moved: Bools
    is_younger: Bools
    is_expired: Bools
    is_future: Bools
    feast_us: Int64s

    @property
    def is_wrong(self) -> Bools:
        """Whether anything differs (m,)."""
        wrong = self.is_missing | self.is_moved
        for mask in self.differs.values():
            wrong = wrong | mask
        return wrong

    @property
    def is_compared(self) -> Bools:
        """Whether the entity was compared (m,)."""
        return ~(self.is_younger | self.is_expired | self.is_future)


def compare(entities: Entities, ours: Ours, terms: Terms, *, t0_us: int, now_us: int, unit_us: int = MS_US) -> Compared:
    """Compare entities as both sides were at an instant.

    Parameters
    ----------
    entities
        Those of Feast's table.
    ours
        What our log served at ``t0_us``, aligned with them.
    t0_us
        The instant: an entity of which Feast has written anything after it is not compared.
    unit_us
        In which event times are compared, in microseconds: Feast's own Cassandra store keeps milliseconds.
    """
    found = entities.found
    feast_us = found.event_us().max(axis=0, initial=NO_US)
    written_us = found.written_us().max(axis=0, initial=NO_US)
    # A store that does not say when a value was written may not have written it before its event.
    is_younger = np.where(written_us == NO_US, feast_us, written_us) > t0_us
    is_future = feast_us > now_us + CLOCK_SKEW_US
    ttl_us = terms.entry.ttl_us
    is_expired = feast_us < now_us - ttl_us + EXPIRY_MARGIN_US if ttl_us else np.zeros(len(entities), dtype=bool)
    is_expired = is_expired | _ends_soon(entities)
    here = ~(is_younger | is_expired | is_future) & (feast_us != NO_US)
    both = here & ours.is_there
    stored = values_of(ours.payload, len(terms.slots))
    differs = {}
    for index, name in enumerate(found.features):
        unequal = ~_same(found.values(name).fill_null(b""), stored[terms.slots.index(index)])
        differs[name] = both & unequal
    any_differs = np.logical_or.reduce(list(differs.values())) if differs else np.zeros(len(entities), dtype=bool)
    is_moved = both & ~any_differs & (ours.event_us // unit_us != feast_us // unit_us)
    return Compared(differs, here & ~ours.is_there, is_moved, is_younger, is_expired, is_future, feast_us)


def _ends_soon(entities: Entities) -> Bools:
    ttl_s = entities.found.ttl_s()
    return np.asarray(((ttl_s > 0) & (ttl_s * 1_000_000 < EXPIRY_MARGIN_US)).any(axis=0))


def values_of(payloads: pa.LargeBinaryArray, positions: int) -> list[pa.LargeBinaryArray]:
    r"""Return the serialized values of n payloads, a column a position; empty for a null and where there is no payload.

    Examples
    --------
    >>> [column.to_pylist() for column in values_of(pa.array([bytes.fromhex("0a0220070a00"), None], pa.large_binary()), 2)]
    [[b' \x07', b''], [b'', b'']]
    """
    tape = Tape.of(payloads)
    cursor = tape.start
    columns = []
    for _position in range(positions):
        begin, cursor = step(tape, cursor)
        columns.append(tape.slices(begin, cursor))
    return columns


def _same(first: pa.LargeBinaryArray, second: pa.LargeBinaryArray) -> Bools:
    """Tell which serialized values are the same (n,): by their bytes, else by what they say, since maps have no order."""
    same = np.array(pc.equal(first, second), dtype=bool)
    for row in np.flatnonzero(~same):
        same[row] = Value.FromString(first[row].as_py()) == Value.FromString(second[row].as_py())
    return same
