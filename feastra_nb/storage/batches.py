"""Groups rows into batches: one replica set each, within every server's warning limits, an entity's rows together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import BatchStatement, BatchType

from feastra_nb.codec.wire_format import ByteStrings, constant, content, join
from feastra_nb.connection.cluster import WRITE, Database, consistency_value, quoted
from feastra_nb.connection.wire.exchange import Request
from feastra_nb.connection.wire.frames import BATCH, EXECUTE, batch, single, statement_head, statement_values
from feastra_nb.storage.replicas import replica_groups
from feastra_nb.storage.statements import bound, insert_cql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from cassandra.query import PreparedStatement

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

    Int64s = npt.NDArray[np.int64]

# Cassandra warns of an unlogged batch over more than 10 partitions, and of one over 5 KiB; Astra refuses bigger habits.
BATCH_PARTITIONS = 10
BATCH_BYTES = 5 * 1024
ROW_OVERHEAD_BYTES = 64  # clustering columns, timestamps and framing of one row, as the server counts a batch
SLICE_ROWS = 10_000  # rows that are laid side by side at a time


@dataclass(frozen=True, slots=True)
class Sending:
    """How batches are sent.

    Parameters
    ----------
    insert
        The prepared statement of a row.
    delete
        That of what a row replaces; None where history is kept.
    level
        The consistency level's number.
    stamps
        Whether a row's arrival is the moment when its batch is first sent; otherwise it is the row's own.
    """

    insert: PreparedStatement
    delete: PreparedStatement | None
    level: int
    stamps: bool = True


@dataclass(slots=True, order=True)
class Batch:
    """Rows that travel together.

    Parameters
    ----------
    due_s
        When it is to be sent (again), on the monotonic clock.
    inserts
        The rows, as a BATCH frame holds them, with an empty arrival where `Sending.stamps`.
    arrivals
        Where each row has its arrival.
    deletes
        What they replace, likewise; empty where history is kept.
    """

    due_s: float
    inserts: bytes = field(compare=False)
    arrivals: Sequence[int] = field(compare=False)
    deletes: bytes = field(compare=False)
    sending: Sending = field(compare=False)
    attempts: int = field(default=0, compare=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.arrivals)

    @property
    def routing_key(self) -> bytes:
        """The first row's key, which stands behind its arrival."""
        at = self.arrivals[0] + ARRIVAL_BYTES + LENGTH_BYTES
        return self.inserts[at : at + int.from_bytes(self.inserts[at - LENGTH_BYTES : at], "big")]

    def stamp(self) -> None:
        """Give the rows their arrival: that of the first attempt, so that a retry is the same rows and `known_at` is true."""
        if self.attempts or not self.sending.stamps:
            return
        arrived = (time.time_ns() // 1000).to_bytes(ARRIVAL_BYTES, "big")
        inserts = bytearray(self.inserts)
        for at in self.arrivals:
            inserts[at : at + ARRIVAL_BYTES] = arrived
        self.inserts = bytes(inserts)

    def request(self, timestamp_us: int) -> Request:
        """Return it as the direct way sends it; known by itself."""
        if self.rows == 1 and not self.deletes:  # servers warn of a batch over 5 KiB, and not of a row
            return Request(self.routing_key, EXECUTE, single(self.inserts, self.sending.level, timestamp_us), self)
        count = self.rows * (2 if self.deletes else 1)
        body = batch(self.inserts + self.deletes, count, self.sending.level, timestamp_us)
        return Request(self.routing_key, BATCH, body, self)

    def statement(self) -> Any:
        """Return it as the driver sends it."""
        inserts = [bound(self.sending.insert, values, self.routing_key) for values in statement_values(self.inserts)]
        if len(inserts) == 1 and not self.deletes:
            return inserts[0]
        whole = BatchStatement(BatchType.UNLOGGED, consistency_level=self.sending.level)
        whole.is_idempotent = True
        for insert in inserts:
            whole.add(insert)
        for values in statement_values(self.deletes):
            whole.add(bound(self.sending.delete, values))
        return whole

    def release(self) -> None:
        """Give up the rows: the driver's timer keeps a request for as long as it might have timed out, acknowledged or not."""
        self.inserts = self.deletes = b""


class Batches:
    """Makes batches for one view's table.

    Parameters
    ----------
    db
        Where the table is.
    entry
        The view.
    keep_arrival
        Leave each row its own arrival: of rows that arrived elsewhere.
    """

    def __init__(self, db: Database, entry: ViewEntry, *, keep_arrival: bool = False) -> None:
        self._db = db
        insert = db.prepare(insert_cql(db, entry), WRITE)
        delete = None if entry.retention.keeps_history else db.prepare(_delete_older_cql(db, entry), WRITE)
        self._sending = Sending(insert, delete, consistency_value(db.settings.write_consistency), not keep_arrival)

    def of(self, rows: Rows, ttl_s: Int64s) -> Iterator[Batch]:
        """Yield the batches of rows."""
        for start in range(0, len(rows), SLICE_ROWS):
            part = slice(start, start + SLICE_ROWS)
            yield from self._of_slice(rows.slice(start, SLICE_ROWS), ttl_s[part])

    def _of_slice(self, rows: Rows, ttl_s: Int64s) -> Iterator[Batch]:
        rows, ttl_s, codes = _grouped(self._db, rows, ttl_s)
        arrived_us = np.zeros(len(rows), dtype=np.int64) if self._sending.stamps else rows.arrived_us
        inserts = _Statements(_insert_parts(self._sending.insert.query_id, rows, arrived_us, ttl_s), len(rows))
        delete = self._sending.delete
        deletes = None if delete is None else _Statements(_delete_parts(delete.query_id, rows), len(rows))
        arrival = len(statement_head(self._sending.insert.query_id, INSERT_VALUES)) + LENGTH_BYTES
        for start, stop in cuts(codes.partition, codes.replicas, row_bytes(rows)):
            yield Batch(
                0.0,
                inserts.between(start, stop),
                inserts.places(start, stop, arrival),
                b"" if deletes is None else deletes.between(start, stop),
                self._sending,
            )


# --- rows as statements of a batch, column by column -------------------------------------------------------------------

INSERT_VALUES, DELETE_VALUES = 6, 2
LENGTH_BYTES, ARRIVAL_BYTES = 4, 8


class _Statements:
    """The statements of n rows, one after another."""

    def __init__(self, parts: Sequence[ByteStrings | pa.LargeBinaryArray], rows: int) -> None:
        offsets, self._data = content(join(parts, rows))
        self._starts = offsets.tolist()
        widths = np.diff(offsets)
        self._width = int(widths[0]) if rows and (widths == widths[0]).all() else None

    def between(self, start: int, stop: int) -> bytes:
        """Return those of some rows."""
        return self._data[self._starts[start] : self._starts[stop]].tobytes()

    def places(self, start: int, stop: int, at: int) -> Sequence[int]:
        """Return, in what `between` returns, the place ``at`` of each row."""
        if self._width is not None:
            return range(at, at + (stop - start) * self._width, self._width)
        first = self._starts[start]
        return [place - first + at for place in self._starts[start:stop]]


def _insert_parts(
    query_id: bytes, rows: Rows, arrived_us: Int64s, ttl_s: Int64s
) -> list[ByteStrings | pa.LargeBinaryArray]:
    return [
        constant(statement_head(query_id, INSERT_VALUES), len(rows)),
        _numbers(arrived_us, ">i8"),
        *_values(rows.entity_key),
        _numbers(rows.event_us, ">i8"),
        _numbers(rows.created_us, ">i8"),
        *_values(rows.features),
        _numbers(ttl_s, ">i4"),
    ]


def _delete_parts(query_id: bytes, rows: Rows) -> list[ByteStrings | pa.LargeBinaryArray]:
    head = constant(statement_head(query_id, DELETE_VALUES), len(rows))
    return [head, *_values(rows.entity_key), _numbers(rows.event_us, ">i8")]


def _values(strings: pa.Array) -> list[ByteStrings | pa.LargeBinaryArray]:
    """Return byte strings as CQL has them on the wire: each with its length before it."""
    strings = strings.cast(pa.large_binary())
    offsets, data = content(strings)
    lengths = np.diff(offsets)
    cells = ByteStrings(lengths.astype(">i4").view(np.uint8).reshape(-1, 4))
    if len(lengths) and (lengths == lengths[0]).all():  # of one width, as numbers are: a matrix, and no join
        return [cells, ByteStrings(data[int(offsets[0]) : int(offsets[-1])].reshape(len(lengths), -1))]
    return [cells, strings]


def _numbers(values: Int64s, form: str) -> ByteStrings:
    r"""Return integers as CQL has them on the wire: each with its length before it.

    Examples
    --------
    >>> _numbers(np.array([1, -1]), ">i4").matrix.tobytes()
    b'\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x04\xff\xff\xff\xff'
    """
    dtype = np.dtype([("length", ">i4"), ("value", form)])
    cells = np.empty(len(values), dtype=dtype)
    cells["length"], cells["value"] = np.dtype(form).itemsize, values
    return ByteStrings(cells.view(np.uint8).reshape(len(values), dtype.itemsize))


# --- which rows travel together ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Codes:
    """Shape (n,) each: numbers of the rows' partitions and of their replica sets."""

    partition: Int64s
    replicas: Int64s


def _grouped(db: Database, rows: Rows, ttl_s: Int64s) -> tuple[Rows, Int64s, _Codes]:
    """Return rows by replica set, then by entity, otherwise in their order."""
    encoded = rows.entity_key.dictionary_encode()
    partition = np.asarray(encoded.indices, dtype=np.int64)
    replicas = np.zeros(len(encoded.dictionary), dtype=np.int64)
    for number, group in enumerate(replica_groups(db, encoded.dictionary.to_pylist())):
        replicas[group] = number
    codes = _Codes(partition, replicas[partition])
    order = np.lexsort((partition, codes.replicas))
    if (order[1:] > order[:-1]).all():  # in order already, as rows of distinct entities on one node are
        return rows, ttl_s, codes
    return rows.take(order), ttl_s[order], _Codes(partition[order], codes.replicas[order])


def row_bytes(rows: Rows) -> Int64s:
    """Return the size of each row, as a server counts it for a batch's size; shape (n,)."""
    sizes = pc.add(pc.binary_length(rows.entity_key).cast(pa.int64()), pc.binary_length(rows.features).cast(pa.int64()))
    return np.asarray(sizes) + ROW_OVERHEAD_BYTES


def cuts(partition: Int64s, replicas: Int64s, size_bytes: Int64s) -> Iterator[tuple[int, int]]:
    """Cut rows into ranges that no server warns of: at most ten partitions of one replica set, at most 5 KiB.

    Parameters
    ----------
    partition, replicas
        Shape (n,): numbers of each row's partition and replica set; those of one partition, and of one set, stand together.
    size_bytes
        Shape (n,): each row's size; a row of more than a batch's travels alone.

    Examples
    --------
    >>> one = np.zeros(10, dtype=np.int64)
    >>> list(cuts(one, one, one + 1_000))
    [(0, 5), (5, 10)]
    >>> list(cuts(np.arange(25), np.zeros(25, dtype=np.int64), np.full(25, 100)))
    [(0, 10), (10, 20), (20, 25)]
    """
    rows = len(partition)
    if not rows:
        return
    ends = np.cumsum(size_bytes)
    opened = np.concatenate([[0], np.cumsum(partition[1:] != partition[:-1])])
    set_ends = np.append(np.flatnonzero(replicas[1:] != replicas[:-1]) + 1, rows)
    places = np.arange(rows)
    # For each row where a batch that begins with it has to end; one walk then finds the batches.
    stops = np.minimum.reduce(
        [
            np.searchsorted(ends, ends - size_bytes + BATCH_BYTES, side="right"),
            np.searchsorted(opened, opened + BATCH_PARTITIONS, side="left"),
            set_ends[np.searchsorted(set_ends, places, side="right")],
        ]
    )
    stop_of = np.maximum(stops, places + 1).tolist()
    start = 0
    while start < rows:
        yield start, stop_of[start]
        start = stop_of[start]


def _delete_older_cql(db: Database, entry: ViewEntry) -> str:
    # Strictly older events only: it shares its write time with the insert beside it, and would hide that row's equals.
    return f"DELETE FROM {quoted(db.keyspace)}.{quoted(entry.table)} WHERE entity_key = ? AND event_us < ?"
