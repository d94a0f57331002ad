"""Peers with ready bytes: rows that are encoded before the clock starts, in a table like ours, and answers not decoded."""

from __future__ import annotations

import itertools
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmarks import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.data import Table

    Row = tuple[bytes, int, int, int, bytes]

BARE = "bare driver"
COLUMNS = "entity_key, event_us, created_us, arrived_us, features"
BATCH_ROWS, BATCH_BYTES = 10, 5 * 1024  # at most, of one unlogged batch: more, and Cassandra warns
ROW_OVERHEAD_BYTES = 64
WINDOW = 64  # batches in flight
IN_KEYS = 20  # keys of one IN, which is Astra's limit
ALWAYS = (-(2**63), 2**63 - 1)  # every event time
TABLES_KEPT = 4  # whose rows stay encoded: the peers of one case share them


class ReadyTables:
    """Tables like ours, and the bytes of their rows.

    Parameters
    ----------
    session
        The driver's; it makes the tables.
    keyspace
        Where they lie.
    """

    def __init__(self, session: Any, keyspace: str) -> None:
        self.session = session
        self.keyspace = keyspace
        self.rows: dict[str, list[Row]] = {}

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Create the tables and encode their rows."""
        from feastra_nb.storage.catalog import _LOG_TABLE  # the same table is the point

        for view, table in views:
            self.session.execute(f"CREATE TABLE {self.keyspace}.{view} {_LOG_TABLE}", timeout=60)
            self.rows[view] = encoded(table)

    def insert_cql(self, view: str) -> str:
        """Return how a row is written."""
        return f"INSERT INTO {self.keyspace}.{view} ({COLUMNS}) VALUES (?, ?, ?, ?, ?)"

    def select_cql(self, view: str) -> tuple[str, str]:
        """Return how the newest row of one key is read, and the newest of many."""
        select = f"SELECT {COLUMNS} FROM {self.keyspace}.{view} WHERE"
        bounds = "event_us >= ? AND event_us <= ?"
        return (
            f"{select} entity_key = ? AND {bounds} LIMIT 1",
            f"{select} entity_key IN ? AND {bounds} PER PARTITION LIMIT 1",
        )

    def batches(self, view: str) -> Iterator[list[Row]]:
        """Yield a view's rows as they go into batches."""
        rows = self.rows[view]
        size = max(1, min(BATCH_ROWS, BATCH_BYTES // (len(rows[0][0]) + len(rows[0][4]) + ROW_OVERHEAD_BYTES)))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


class BarePeer(ReadyTables):
    """The driver alone."""

    name = BARE

    def prepare(self, view: str) -> None:
        """Do nothing: the driver's requests are its own work."""

    def materialize(self, view: str) -> None:
        """Send batches, so many in flight at most, and wait for all of them."""
        from cassandra.query import BatchStatement, BatchType

        insert = self.session.prepare(self.insert_cql(view))
        room = threading.Semaphore(WINDOW)
        errors: list[Exception] = []

        def failed(error: Exception) -> None:
            errors.append(error)
            room.release()

        for rows in self.batches(view):
            batch = BatchStatement(BatchType.UNLOGGED)
            for row in rows:
                batch.add(insert, row)
            room.acquire()
            self.session.execute_async(batch).add_callbacks(lambda _rows: room.release(), failed)
        for _ in range(WINDOW):
            room.acquire()
        if errors:
            raise errors[0]

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:
        """Return a reader of the newest row of each key: one statement for one, groups of an IN for more."""
        statements = [tuple(map(self.session.prepare, self.select_cql(view))) for view in views]
        for statement in itertools.chain(*statements):
            statement.fetch_size = None  # an IN in pages is slower: see `cql_frames.execute`
        ready = ready_keys(table)
        session = self.session

        def read(keys: Sequence[int]) -> object:
            blobs = [ready[key] for key in dict.fromkeys(keys)]
            if len(blobs) == 1:
                asked = [(of_one, blobs[0]) for of_one, _of_many in statements]
            else:
                groups = [blobs[start : start + IN_KEYS] for start in range(0, len(blobs), IN_KEYS)]
                asked = [(of_many, group) for _of_one, of_many in statements for group in groups]
            futures = [session.execute_async(statement, (some, *ALWAYS)) for statement, some in asked]
            return [list(future.result()) for future in futures]

        return read

    def close(self) -> None:
        """Leave the session to the run, which has it from the start."""


@lru_cache(TABLES_KEPT)
def encoded(table: Table) -> list[Row]:
    """Return a table's rows as they are stored, in the order of the file."""
    import pyarrow.parquet as pq
    from feast import ValueType

    from feastra_nb.codec import encode_entity_keys, encode_payloads

    kinds = {"f": ValueType.DOUBLE, "s": ValueType.STRING, "i": ValueType.INT64, "b": ValueType.BOOL}
    names = table.columns.names
    arrow = pq.read_table(table.path)
    payloads = encode_payloads([arrow.column(name) for name in names], [kinds[name[0]] for name in names], table.rows)
    keys = encode_entity_keys([data.KEY], [ValueType.INT64], [arrow.column(data.KEY)])
    event_us = arrow.column(data.TIME).cast("int64").to_pylist()
    arrived_us = time.time_ns() // 1000
    return [
        (key, event, 0, arrived_us, payload)
        for key, event, payload in zip(keys.to_pylist(), event_us, payloads.to_pylist(), strict=True)
    ]


def ready_keys(table: Table) -> list[bytes]:
    """Return each entity's key as it is stored; entities are numbered as in the file."""
    return [key for key, *_row in encoded(table)[: table.entities]]
