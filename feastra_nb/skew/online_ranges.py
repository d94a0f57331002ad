"""What our store holds of a range of the ring: the newest row of each entity, found by a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.value_type import ValueType

from feastra_nb import codec
from feastra_nb.connection.cluster import quoted
from feastra_nb.connection.wire.frames import bigint
from feastra_nb.skew.events import NO_US, Versions, at
from feastra_nb.skew.online_side import Answers, made
from feastra_nb.storage import reader
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.rows import Rows
from feastra_nb.storage.scanned_columns import BIGINT, BLOB, Column
from feastra_nb.storage.scanning import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from feastra_nb.connection.cluster import Database
    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.scanned_columns import Columns

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class OurView:
    """A view in our store.

    Parameters
    ----------
    view_request
        The view and its features.
    entry
        What the catalog knows of it.
    ttl_us
        The ttl that it is held to online; None for none.
    history
        Reads all rows of some entities within bounds of event time.
    """

    view_request: Requested
    entry: ViewEntry
    ttl_us: int | None
    history: Callable[[list[bytes], reader.Bounds], Rows]

    def scan(self, db: Database, t0_us: int) -> Scan:
        """Return the scan for the newest row of each entity: those of the future, and those that have expired, left aside."""
        bounds = reader.alive(self.entry, reader.Bounds(reader.BEGINNING_US, t0_us + CLOCK_SKEW_US))
        return Scan(
            db, f"scanning view {self.entry.view}", f"{quoted(db.keyspace)}.{quoted(self.entry.table)}", "entity_key",
            [Column("entity_key", BLOB), *(Column(name, BIGINT) for name in ("event_us", "created_us", "arrived_us")),
             Column("features", BLOB)],
            # A slice of each partition; the server calls that filtering, though it reads nothing else.
            "AND event_us >= ? AND event_us <= ?", [bigint(bounds.lower_us), bigint(bounds.upper_us)],
            "PER PARTITION LIMIT 1 ALLOW FILTERING",
        )  # fmt: skip

    def range(self, columns: Columns, t0_us: int) -> OurRange:
        """Return a range that was scanned; of entities whose newest row arrived after t0 the newest before it is read."""
        newest = Rows(*columns)
        late = newest.arrived_us > t0_us
        if late.any():
            newest = _together(newest.take(~late), self._as_of(newest.entity_key.filter(pa.array(late)), t0_us))
        return OurRange(self, newest)

    def _as_of(self, keys: pa.Array, t0_us: int) -> Rows:
        rows = self.history(keys.to_pylist(), reader.Bounds(reader.BEGINNING_US, t0_us + CLOCK_SKEW_US))
        rows = rows.take(rows.arrived_us <= t0_us)
        versions = Versions.of(rows, keys)
        last = np.ones(len(versions), dtype=bool)
        last[:-1] = versions.codes[1:] != versions.codes[:-1]
        return rows.take(versions.source[last])


@dataclass(frozen=True, slots=True, eq=False)
class OurRange:
    """One range of a view: the newest row of each of its entities."""

    view: OurView
    rows: Rows
    unit_us: ClassVar[int] = 1

    @property
    def keys(self) -> pa.Array:
        """The entity keys, each once."""
        return self.rows.entity_key

    def served_us(self, places: Int64s, t0_us: int) -> Int64s:
        """Return the event that is served of each entity; `NO_US` for none."""
        event_us = at(self.rows.event_us, places)
        return event_us if self.view.ttl_us is None else np.where(event_us < t0_us - self.view.ttl_us, NO_US, event_us)

    def same_bytes(self, places: Int64s, features: pa.Table) -> Bools | None:
        """Return which entities are stored with just these features; None where a position is not among them."""
        slots = self.view.entry.slots
        names = [None if slot.dropped else slot.name for slot in slots]
        kinds = [None if slot.dropped else ValueType[slot.value_type] for slot in slots]
        return same_payloads(self.rows.features.take(pa.array(places)), names, kinds, features)

    def answers(self, places: Int64s, t0_us: int, *, alike: bool) -> Answers:
        """Return what the store serves of some entities.

        Raises
        ------
        UnknownPositions
            The catalog has changed since the entry was read.
        """
        entry, view_request = self.view.entry, self.view.view_request
        served = self.served_us(places, t0_us) != NO_US
        index = np.where(served, places, -1)
        payloads = self.rows.features.take(pa.array(index, mask=index < 0))
        columns = codec.decode_payloads(
            payloads,
            [entry.position(name) for name in view_request.features],
            [ValueType[entry.value_types[name]] for name in view_request.features],
            known=len(entry.slots),
        )
        held = (
            np.full(len(index), len(entry.slots))
            if alike
            else np.where(served, codec.value_counts(payloads), len(entry.slots))
        )
        return Answers(
            values=dict(zip(view_request.features, columns, strict=True)),
            lacks={name: held <= entry.positions[name] for name in view_request.features},
            found=served,
            unknown=np.zeros(len(index), dtype=bool),
            holds_any=places >= 0,
            event_us=at(self.rows.event_us, index),
            created_us=made(at(self.rows.created_us, index)),
            arrived_us=at(self.rows.arrived_us, index),
        )

    def versions(self, chunk: Chunk, codes: Int64s) -> Versions:
        """Return the history of some entities."""
        keys = chunk.entities.take(pa.array(np.unique(codes))).to_pylist()
        until_us = int(chunk.questions.until_us.max())
        return Versions.of(self.view.history(keys, reader.Bounds(reader.BEGINNING_US, until_us)), chunk.entities)


def same_payloads(
    stored: pa.Array, names: Sequence[str | None], kinds: Sequence[ValueType | None], features: pa.Table
) -> Bools | None:
    """Return which stored payloads are the bytes that features would be stored as; None where a position is none of them.

    Parameters
    ----------
    names, kinds
        The feature at each position, and its type; None for a hole.
    features
        A row a payload.
    """
    if not {name for name in names if name} <= set(features.column_names):
        return None
    columns = [None if name is None else features.column(name) for name in names]
    payloads = codec.encode_payloads(columns, kinds, features.num_rows, names=[name or "" for name in names])
    return np.asarray(pc.equal(payloads, stored.cast(payloads.type)), dtype=bool)


def _together(first: Rows, second: Rows) -> Rows:
    blobs = [
        pa.concat_arrays([getattr(rows, name).cast(pa.large_binary()) for rows in (first, second)])
        for name in ("entity_key", "features")
    ]
    event_us, created_us, arrived_us = (
        np.concatenate([getattr(rows, name) for rows in (first, second)])
        for name in ("event_us", "created_us", "arrived_us")
    )
    return Rows(blobs[0], event_us, created_us, arrived_us, blobs[1])
