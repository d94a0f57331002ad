"""Groups rows into batches: one replica set each, within every server's warning limits, an entity's rows together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import BatchStatement, BatchType

from feastra_nb.connection.cluster import WRITE, Database, consistency_value, quoted
from feastra_nb.storage.replicas import replica_groups
from feastra_nb.storage.statements import bound, insert_cql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

    Int64s = npt.NDArray[np.int64]

# Cassandra warns of an unlogged batch over more than 10 partitions, and of one over 5 KiB; Astra refuses bigger habits.
BATCH_PARTITIONS = 10
BATCH_BYTES = 5 * 1024
ROW_OVERHEAD_BYTES = 64  # clustering columns, timestamps and framing of one row, as the server counts a batch
SLICE_ROWS = 10_000  # rows whose Python objects exist at one time


@dataclass(slots=True, order=True)
class Batch:
    """Rows that travel together, and when they are to be sent (again), on the monotonic clock."""

    due_s: float
    statement: Any = field(compare=False)
    rows: int = field(compare=False)
    attempts: int = field(default=0, compare=False)

    def release(self) -> None:
        """Give up the rows: the driver's timer keeps a request for as long as it might have timed out, acknowledged or not."""
        if isinstance(self.statement, BatchStatement):
            self.statement.clear()
        self.statement = None


class Batches:
    """Makes batches for one view's table.

    Parameters
    ----------
    db
        Where the table is.
    entry
        The view.
    """

    def __init__(self, db: Database, entry: ViewEntry) -> None:
        self._db = db
        self._insert = db.prepare(insert_cql(db, entry), WRITE)
        self._delete = None if entry.retention.keeps_history else db.prepare(_delete_older_cql(db, entry), WRITE)
        self._level = consistency_value(db.settings.write_consistency)

    def of(self, rows: Rows, ttl_s: Int64s) -> Iterator[Batch]:
        """Yield the batches of rows, each stamped with its arrival when it is taken."""
        for start in range(0, len(rows), SLICE_ROWS):
            part = slice(start, start + SLICE_ROWS)
            yield from self._of_slice(rows.slice(start, SLICE_ROWS), ttl_s[part])

    def _of_slice(self, rows: Rows, ttl_s: Int64s) -> Iterator[Batch]:
        rows, ttl_s, codes = _grouped(self._db, rows, ttl_s)
        columns = (
            rows.entity_key.to_pylist(),
            cells(rows.event_us, ">i8"),
            cells(rows.created_us, ">i8"),
            rows.features.to_pylist(),
            cells(ttl_s, ">i4"),
        )
        for start, stop in cuts(codes.partition, codes.replicas, row_bytes(rows)):
            yield Batch(0.0, self._statement([column[start:stop] for column in columns]), stop - start)

    def _statement(self, columns: Sequence[Sequence[bytes]]) -> Any:
        # Stamped when it is first sent, so that `known_at` is true to the batch; a retry sends this statement again.
        arrived = (time.time_ns() // 1000).to_bytes(8, "big")
        inserts = [
            bound(self._insert, [key, event, created, arrived, features, ttl])
            for key, event, created, features, ttl in zip(*columns, strict=True)
        ]
        if len(inserts) == 1 and self._delete is None:
            return inserts[0]
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=self._level)
        batch.is_idempotent = True
        for insert in inserts:
            batch.add(insert)
        if self._delete is not None:
            for key, event in zip(columns[0], columns[1], strict=True):
                batch.add(bound(self._delete, [key, event]))
        return batch


def cells(values: Int64s, form: str) -> list[bytes]:
    r"""Return integers as CQL has them on the wire.

    Examples
    --------
    >>> cells(np.array([1, -1]), ">i4")
    [b'\x00\x00\x00\x01', b'\xff\xff\xff\xff']
    """
    width = np.dtype(form).itemsize
    cast: list[bytes] = values.astype(form).view(f"V{width}").tolist()
    return cast


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
