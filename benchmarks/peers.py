"""Who is measured: our store, and Feast's own on Cassandra, SQLite and Redis; `ready` and `wire_peer` have the others."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from benchmarks import data
from benchmarks.ready import BARE, ready_keys
from benchmarks.wire_peer import WIRE
from feastra_nb.adapter.feast_calls import quiet_feast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from feast import FeatureStore

    from benchmarks.data import Table
    from feastra_nb.connection.local import LocalCassandra

OURS, CASSANDRA, SQLITE, REDIS = "feastra_nb", "feast cassandra", "feast sqlite", "feast redis"
OURS_BY_DRIVER = f"{OURS}, direct off"
EVERYONE = (OURS, WIRE, BARE, REDIS, SQLITE, CASSANDRA)
ON_CASSANDRA = (OURS, CASSANDRA, BARE, WIRE)


class NotHereError(Exception):
    """A peer needs something that this machine has not; the comparison goes on without it."""


class Peer(Protocol):
    """What the cases ask of a peer."""

    name: str

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Make tables for views; outside the clock."""

    def prepare(self, view: str) -> None:
        """Make ready what the next `materialize` is given; outside the clock."""

    def materialize(self, view: str) -> None:
        """Write all events of a view's file."""

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:
        """Return a function that reads all features of some entities from some views of one table."""

    def close(self) -> None:
        """Disconnect; keyspaces and files go with the run."""


class FeastPeer:
    """Plain Feast, whatever its online store.

    Parameters
    ----------
    options
        What its ``feature_store.yaml`` says.
    """

    def __init__(self, name: str, store: FeatureStore, options: dict[str, Any]) -> None:
        self.name = name
        self.store = store
        self._options = options

    def add(self, views: Sequence[tuple[str, Table]]) -> None:
        """Apply the views."""
        with quiet_feast():
            self.store.apply([data.entity(), *(data.feature_view(name, table) for name, table in views)])

    def prepare(self, view: str) -> None:
        """Do nothing: Feast reads the file."""

    def materialize(self, view: str) -> None:
        """Run `FeatureStore.materialize`."""
        start, end = data.interval()
        nowhere = io.StringIO()  # for bars and sentences
        with quiet_feast(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            self.store.materialize(start, end, [view])

    def reader(self, views: Sequence[str], table: Table) -> Callable[[Sequence[int]], object]:
        """Return a caller of `get_online_features`."""
        features = [f"{view}:{name}" for view in views for name in table.columns.names]
        several = len(views) > 1
        return lambda keys: self.store.get_online_features(features, {data.KEY: keys}, full_feature_names=several)

    def save(self, folder: Path) -> None:
        """Write a Feast repository that another process can open."""
        folder.mkdir()
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(self._options))

    def close(self) -> None:
        """Disconnect from Cassandra: Feast's store has no close of its own."""
        cluster = getattr(self.store._get_provider().online_store, "_cluster", None)  # noqa: SLF001 - there is no other way
        if cluster is not None:
            cluster.shutdown()


class OurPeer(FeastPeer):
    """A workspace of ours, used through Feast like the others, with `ws.online` and bare reads beside.

    Parameters
    ----------
    project
        Its Feast project, and the name of its folder.
    options
        More of `fnb.Hosts`.
    """

    def __init__(
        self,
        node: LocalCassandra,
        folder: Path,
        keyspace: str,
        *,
        name: str = OURS,
        project: str = "ours",
        **options: Any,
    ) -> None:
        import feastra_nb as fnb

        target = fnb.Hosts(list(node.hosts), port=node.port, **options)
        self.keyspace = keyspace
        self.ws = fnb.connect(target, project=project, keyspace=keyspace, directory=folder / project)
        super().__init__(name, self.ws.feast, {})

    def bare_reader(self, view: str, table: Table) -> Callable[[Sequence[int]], object]:
        """Return a reader of the newest rows into columns, as the store reads them for Feast: its keys are ready bytes."""
        from feastra_nb.storage.reader import read_newest, serving_bounds

        opened = self.ws.stores.online
        entry = opened.entry(self.ws.view(view))
        bounds = serving_bounds(time.time_ns() // 1000, None)
        ready = ready_keys(table)
        return lambda keys: read_newest(opened.db, entry, [ready[key] for key in dict.fromkeys(keys)], bounds)

    def save(self, folder: Path) -> None:
        """Write a Feast repository that another process can open."""
        self.ws.save(folder)

    def close(self) -> None:
        """Disconnect."""
        self.ws.close()


# --- opening ---------------------------------------------------------------------------------------------------------


def our_peer_by_driver(node: LocalCassandra, folder: Path, keyspace: str) -> OurPeer:
    """Return a workspace of ours that reads and writes through the driver alone.

    Raises
    ------
    NotHereError
        This version of the package has no other way.
    """
    import feastra_nb as fnb

    if "direct" not in {parameter.name for parameter in dataclasses.fields(fnb.Hosts)}:
        raise NotHereError("no parameter direct= of fnb.Hosts in this version")
    return OurPeer(node, folder, keyspace, name=OURS_BY_DRIVER, project="ours_by_driver", direct=False)


def feast_peer(name: str, *, folder: Path, online_store: dict[str, Any]) -> FeastPeer:
    """Return a Feast store with an online store of Feast's own and its default engine."""
    from feast import FeatureStore, RepoConfig

    project = name.replace(" ", "_")
    options = {
        "project": project,
        "provider": "local",
        "registry": str(folder / f"{project}.db"),
        "online_store": online_store,
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }
    with quiet_feast():
        return FeastPeer(name, FeatureStore(config=RepoConfig(**options)), options)


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
    port = free_port()
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


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
