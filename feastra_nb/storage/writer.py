"""Sends encoded rows to Cassandra: batches within the server's warning limits, a bounded window in flight, bounded retries.

A row counts as written when the server acknowledged it. Everything sent is idempotent (a retry carries the same primary
key), so a write that stopped anywhere can be repeated.
"""

from __future__ import annotations

import heapq
import logging
import queue
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.cluster import WRITE, Database, consistency_value, map_driver_errors, quoted, translate
from feastra_nb.errors import FeastraError, WriteIncomplete
from feastra_nb.storage.admission import refuse_large
from feastra_nb.storage.replicas import replica_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    from cassandra.query import PreparedStatement

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

log = logging.getLogger("feastra_nb.storage")

# Cassandra warns of an unlogged batch over more than 10 partitions, and of one over 5 KiB; Astra refuses bigger habits.
BATCH_PARTITIONS = 10
BATCH_BYTES = 5 * 1024
ROW_OVERHEAD_BYTES = 64  # clustering columns, timestamps and framing of one row, as the server counts a batch
ATTEMPTS = 6  # sends of one batch before it is given up
BACKOFF_S, BACKOFF_LIMIT_S = 0.05, 2.0
SLICE_ROWS = 5_000  # rows whose Python objects exist at one time


@dataclass(slots=True)
class WriteResult:
    """What came of a write: rows acknowledged, and batches that had to be sent again."""

    rows: int = 0
    retries: int = 0


@dataclass(slots=True, order=True)
class _Batch:
    due_s: float
    statement: Any = field(compare=False)
    rows: int = field(compare=False)
    attempts: int = field(default=0, compare=False)


def write(
    db: Database,
    entry: ViewEntry,
    rows: Rows,
    ttl_s: npt.NDArray[np.int64],
    *,
    on_acknowledged: Callable[[int], object] | None = None,
) -> WriteResult:
    """Write rows into a view's table and return when all are acknowledged.

    Parameters
    ----------
    rows
        Their arrival is the moment when the batch that carries them is first sent, whatever ``arrived_us`` says.
    ttl_s
        Shape (n,), each row's time to live in seconds; 0 for none.
    on_acknowledged
        Called with the number of rows of each acknowledged batch, in this thread.

    Raises
    ------
    InvalidFrame
        A row is larger than servers take; nothing was written.
    WriteIncomplete
        Some rows could not be written; says how many were acknowledged.
    """
    refuse_large(rows, view=entry.view)
    window = _Window(db, on_acknowledged)
    try:
        for batch in _batches(db, entry, rows, ttl_s):
            window.send(batch)
        window.finish()
    except FeastraError as error:
        window.settle_all()
        raise WriteIncomplete(
            f"writing view {entry.view!r} stopped after {window.result.rows:,} of {len(rows):,} rows were acknowledged: "
            f"{error.message}",
            hint=f"{error.hint or 'see the cause'}; writing the same rows again is safe",
            acknowledged=window.result.rows,
            rows=len(rows),
        ) from error
    except BaseException:
        # Ctrl-C: what is in flight is waited for, so that the journal can say what was acknowledged.
        window.settle_all()
        raise
    return window.result


class _Window:
    """Batches in flight. Completions come back to the sending thread through a queue, so no state is shared."""

    def __init__(self, db: Database, on_acknowledged: Callable[[int], object] | None) -> None:
        self.result = WriteResult()
        self._db = db
        self._on_acknowledged = on_acknowledged
        self._completed: queue.SimpleQueue[tuple[_Batch, BaseException | None]] = queue.SimpleQueue()
        self._waiting: list[_Batch] = []
        self._in_flight = 0

    def send(self, batch: _Batch) -> None:
        """Send a batch as soon as the window has room."""
        while self._in_flight >= self._db.write_window:
            self._settle(self._completed.get())
        while not self._completed.empty():
            self._settle(self._completed.get())
        self._send_due(time.monotonic())
        self._start(batch)

    def finish(self) -> None:
        """Return when everything is acknowledged, retries included."""
        while self._in_flight or self._waiting:
            now = time.monotonic()
            self._send_due(now)
            timeout_s = None if self._in_flight and not self._waiting else max(0.0, self._waiting[0].due_s - now)
            try:
                self._settle(self._completed.get(timeout=timeout_s))
            except queue.Empty:
                continue

    def settle_all(self) -> None:
        """Wait for what is in flight, without sending anything more and without raising."""
        self._waiting.clear()
        while self._in_flight:
            batch, error = self._completed.get()
            self._in_flight -= 1
            if error is None:
                self._acknowledge(batch)

    def _start(self, batch: _Batch) -> None:
        batch.attempts += 1
        self._in_flight += 1
        try:
            with map_driver_errors("writing"):
                future = self._db.session.execute_async(batch.statement, execution_profile=WRITE)
        except BaseException:
            self._in_flight -= 1
            raise
        completed = self._completed
        future.add_callbacks(lambda _rows: completed.put((batch, None)), lambda error: completed.put((batch, error)))

    def _send_due(self, now_s: float) -> None:
        while self._waiting and self._waiting[0].due_s <= now_s and self._in_flight < self._db.write_window:
            self._start(heapq.heappop(self._waiting))

    def _settle(self, completion: tuple[_Batch, BaseException | None]) -> None:
        batch, error = completion
        self._in_flight -= 1
        if error is None:
            self._acknowledge(batch)
        elif batch.attempts < ATTEMPTS and is_transient(error):
            self._retry_later(batch, error)
        else:
            raise translate(error, "writing") from error

    def _acknowledge(self, batch: _Batch) -> None:
        self.result.rows += batch.rows
        if self._on_acknowledged is not None:
            self._on_acknowledged(batch.rows)

    def _retry_later(self, batch: _Batch, error: BaseException) -> None:
        self.result.retries += 1
        # Jitter, so that many writers do not come back at one moment.
        delay_s = min(BACKOFF_S * 2**batch.attempts, BACKOFF_LIMIT_S) * random.uniform(0.5, 1.5)  # noqa: S311
        log.info("batch of %d rows again in %.2f s after %s", batch.rows, delay_s, type(error).__name__)
        batch.due_s = time.monotonic() + delay_s
        heapq.heappush(self._waiting, batch)


def is_transient(error: BaseException) -> bool:
    """Tell whether sending the same idempotent statement again may work."""
    from cassandra import OperationTimedOut, Unavailable, WriteFailure, WriteTimeout
    from cassandra.cluster import NoHostAvailable
    from cassandra.connection import ConnectionException
    from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage

    return isinstance(
        error,
        (
            OperationTimedOut,
            Unavailable,
            WriteTimeout,
            WriteFailure,
            NoHostAvailable,
            ConnectionException,
            OverloadedErrorMessage,
            IsBootstrappingErrorMessage,
        ),
    )


# --- batches ---------------------------------------------------------------------------------------------------------


def _batches(db: Database, entry: ViewEntry, rows: Rows, ttl_s: npt.NDArray[np.int64]) -> Iterator[_Batch]:
    insert = db.prepare(_insert_cql(db, entry), WRITE)
    delete = None if entry.retention.keeps_history else db.prepare(_delete_older_cql(db, entry), WRITE)
    level = consistency_value(db.settings.write_consistency)
    for start in range(0, len(rows), SLICE_ROWS):
        part = slice(start, start + SLICE_ROWS)
        keys = rows.entity_key[part].to_pylist()
        values = list(
            zip(
                keys,
                rows.event_us[part].tolist(),
                rows.created_us[part].tolist(),
                rows.features[part].to_pylist(),
                ttl_s[part].tolist(),
                strict=True,
            )
        )
        for group in replica_groups(db, keys):
            for chunk in chunks([values[index] for index in group]):
                yield _Batch(0.0, _statement(insert, delete, chunk, level), len(chunk))


def chunks(values: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows of one replica set into batches that no server warns of.

    Examples
    --------
    >>> [len(chunk) for chunk in chunks([(b"key", 0, 0, b"x" * 1_000, 0)] * 10)]
    [4, 4, 2]
    """
    chunk: list[tuple[Any, ...]] = []
    size_bytes = 0
    for row in values:
        row_bytes = len(row[0]) + len(row[3]) + ROW_OVERHEAD_BYTES
        if chunk and (len(chunk) == BATCH_PARTITIONS or size_bytes + row_bytes > BATCH_BYTES):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(row)
        size_bytes += row_bytes
    if chunk:
        yield chunk


def _statement(
    insert: PreparedStatement, delete: PreparedStatement | None, chunk: Sequence[tuple[Any, ...]], level: int
) -> Any:
    from cassandra.query import BatchStatement, BatchType

    # Stamped when it is first sent, so that `known_at` is true to the batch; a retry sends this statement again.
    arrived_us = time.time_ns() // 1000
    if len(chunk) == 1 and delete is None:
        key, event_us, created_us, features, ttl_s = chunk[0]
        return insert.bind((key, event_us, created_us, arrived_us, features, ttl_s))
    batch = BatchStatement(BatchType.UNLOGGED, consistency_level=level)
    batch.is_idempotent = True
    for key, event_us, created_us, features, ttl_s in chunk:
        batch.add(insert, (key, event_us, created_us, arrived_us, features, ttl_s))
        if delete is not None:
            batch.add(delete, (key, event_us))
    return batch


def _insert_cql(db: Database, entry: ViewEntry) -> str:
    return (
        f"INSERT INTO {quoted(db.keyspace)}.{quoted(entry.table)} "
        "(entity_key, event_us, created_us, arrived_us, features) VALUES (?, ?, ?, ?, ?) USING TTL ?"
    )


def _delete_older_cql(db: Database, entry: ViewEntry) -> str:
    # Strictly older events only: it shares its write time with the insert beside it, and would hide that row's equals.
    return f"DELETE FROM {quoted(db.keyspace)}.{quoted(entry.table)} WHERE entity_key = ? AND event_us < ?"
