"""Who is measured: our store, Feast's own on Cassandra, SQLite and Redis, and the bare driver with ready bytes."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks import data
from feastra_nb.adapter.feast_calls import quiet_feast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from feast import FeatureStore

    from benchmarks.data import Table
    from feastra_nb.connection.local import LocalCassandra

OURS, CASSANDRA, SQLITE, REDIS, BARE = "feastra_nb", "feast cassandra", "feast sqlite", "feast redis", "bare driver"
EVERYONE = (OURS, BARE, REDIS, SQLITE, CASSANDRA)
ON_CASSANDRA = (OURS, CASSANDRA, BARE)
BATCH_ROWS, BATCH_BYTES = 10, 5 * 1024  # at most, of one unlogged batch: more, and Cassandra warns
ROW_OVERHEAD_BYTES = 64
WINDOW = 64  # batches in flight
IN_KEYS = 20  # keys of one IN, which is Astra's limit


class NotHereError(Exception):
    """A peer needs something that this machine has not; the comparison goes on without it."""


class Peer(Protocol):
    """What the cases ask of a peer."""

    name: str

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Make tables for views; outside the clock."""

    def materialize(self, view: str) -> None:
        """Write all events of a view's file."""

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:
        """Return a function that reads all features of some entities from some views of one table."""

    def close(self) -> None:
        """Disconnect; keyspaces and files go with the run."""


class FeastPeer:
    """Plain Feast, whatever its online store."""

    def __init__(self, name: str, store: FeatureStore) -> None:
        self.name = name
        self.store = store

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Apply the views."""
        with quiet_feast():
            self.store.apply([data.entity(), *(data.feature_view(name, table) for name, table in views)])

    def materialize(self, view: str) -> None:
        """Run `FeatureStore.materialize`."""
        start, end = data.interval()
        with quiet_feast(), contextlib.redirect_stderr(io.StringIO()):  # no bars
            self.store.materialize(start, end, [view])

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:
        """Return a caller of `get_online_features`."""
        features = [f"{view}:{name}" for view in views for name in table.columns.names]
        several = len(views) > 1
        return lambda keys: self.store.get_online_features(features, {data.KEY: keys}, full_feature_names=several)

    def close(self) -> None:
        """Disconnect from Cassandra: Feast's store has no close of its own."""
        cluster = getattr(self.store._get_provider().online_store, "_cluster", None)  # noqa: SLF001 - there is no other way
        if cluster is not None:
            cluster.shutdown()


class OurPeer(FeastPeer):
    """A workspace of ours, used through Feast like the others, and with `ws.online` beside."""

    def __init__(self, node: LocalCassandra, folder: Path, keyspace: str) -> None:
        import feastra_nb as fnb

        target = fnb.Hosts(list(node.hosts), port=node.port)
        self.keyspace = keyspace
        self.ws = fnb.connect(target, project="ours", keyspace=keyspace, directory=folder / "ours")
        super().__init__(OURS, self.ws.feast)

    def close(self) -> None:
        """Disconnect."""
        self.ws.close()


class BarePeer:
    """The driver alone: bytes that are ready before the clock starts, in a table like ours, and nothing decoded."""

    name = BARE

    def __init__(self, session: Any, keyspace: str) -> None:
        self.session = session
        self.keyspace = keyspace
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Create the tables and encode their rows."""
        from feastra_nb.storage.catalog import _LOG_TABLE  # the same table is the point

        for view, table in views:
            self.session.execute(f"CREATE TABLE {self.keyspace}.{view} {_LOG_TABLE}", timeout=60)
            self._rows[view] = encoded(table)

    def materialize(self, view: str) -> None:
        """Send batches, so many in flight at most, and wait for all of them."""
        columns = "(entity_key, event_us, created_us, arrived_us, features)"
        insert = self.session.prepare(f"INSERT INTO {self.keyspace}.{view} {columns} VALUES (?, ?, ?, ?, ?)")
        room = threading.Semaphore(WINDOW)
        errors: list[Exception] = []

        def failed(error: Exception) -> None:
            errors.append(error)
            room.release()

        for batch in _batches(insert, self._rows[view]):
            room.acquire()
            self.session.execute_async(batch).add_callbacks(lambda _rows: room.release(), failed)
        for _ in range(WINDOW):
            room.acquire()
        if errors:
            raise errors[0]

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:  # noqa: ARG002 - it reads all
        """Return a reader of the newest row of each key: one statement for one, groups of an IN for more."""
        statements = [self._selects(view) for view in views]
        ready = {number: row[0] for number, row in enumerate(self._rows[views[0]])}
        session, always = self.session, (-(2**63), 2**63 - 1)

        def read(keys: Sequence[int]) -> object:
            blobs = [ready[key] for key in dict.fromkeys(keys)]
            if len(blobs) == 1:
                asked = [(of_one, blobs[0]) for of_one, _of_many in statements]
            else:
                groups = [blobs[start : start + IN_KEYS] for start in range(0, len(blobs), IN_KEYS)]
                asked = [(of_many, group) for _of_one, of_many in statements for group in groups]
            futures = [session.execute_async(statement, (some, *always)) for statement, some in asked]
            return [list(future.result()) for future in futures]

        return read

    def _selects(self, view: str) -> tuple[Any, Any]:
        bounds = "event_us >= ? AND event_us <= ?"
        select = f"SELECT entity_key, event_us, created_us, arrived_us, features FROM {self.keyspace}.{view} WHERE"
        of_one = self.session.prepare(f"{select} entity_key = ? AND {bounds} LIMIT 1")
        return of_one, self.session.prepare(f"{select} entity_key IN ? AND {bounds} PER PARTITION LIMIT 1")

    def close(self) -> None:
        """Leave the session to the run, which has it from the start."""


def encoded(table: Table) -> list[tuple[Any, ...]]:
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


def _batches(insert: Any, rows: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    from cassandra.query import BatchStatement, BatchType

    size = max(1, min(BATCH_ROWS, BATCH_BYTES // (len(rows[0][0]) + len(rows[0][4]) + ROW_OVERHEAD_BYTES)))
    for start in range(0, len(rows), size):
        batch = BatchStatement(BatchType.UNLOGGED)
        for row in rows[start : start + size]:
            batch.add(insert, row)
        yield batch


# --- opening ---------------------------------------------------------------------------------------------------------


def feast_peer(name: str, *, folder: Path, online_store: dict[str, Any]) -> FeastPeer:
    """Return a Feast store with an online store of Feast's own and its default engine."""
    from feast import FeatureStore, RepoConfig

    config = RepoConfig(
        project=name.replace(" ", "_"),
        provider="local",
        registry=str(folder / f"{name.replace(' ', '_')}.db"),
        online_store=online_store,
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
    with quiet_feast():
        return FeastPeer(name, FeatureStore(config=config))


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """Run a Redis of our own on loopback, in memory only, and return its port.

    Raises
    ------
    NotHereError
        There is no redis-server on the PATH, or no client for it in this environment.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise NotHereError("no redis-server on the PATH (Debian: redis-server)")
    try:
        import redis
    except ImportError:
        raise NotHereError("no Python package redis (feast[redis])") from None
    port = _free_port()
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
    command = [program, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - found above
    try:
        with redis.Redis(port=port) as client:
            _wait_for(client.ping, redis.ConnectionError)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(answer: Callable[[], object], refused: type[Exception]) -> None:
    for attempt in range(100):
        try:
            answer()
        except refused:
            if attempt == 99:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
