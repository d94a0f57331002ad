"""One run: the node, the peers that are there, the files, the views that are filled already."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import data, peers
from benchmarks.data import Columns, Table
from benchmarks.ready import BARE, BarePeer
from benchmarks.wire_peer import WIRE, WireConnection, WirePeer
from feastra_nb.connection import local
from feastra_nb.connection.driver_errors import quiet_driver_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers import Peer


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Parameters
    ----------
    rounds
        Turns of each peer.
    server_warm_entities
        Written by the bare driver before anything is measured: a server that has just started is slow.
    entities
        By number of features: the most a peer materializes in a round. Slow peers get their share of it.
    read_entities
        Stored before reads are measured.
    calls
        By entities a call: calls of each peer, over all rounds.
    online_keys
        Keys of one big `ws.online`.
    history
        Entities and events of each, for reads in the past.
    skew
        Numbers of entities that are compared one after another, each with a history.
    scan
        Entities of a view that is compared as a whole.
    growth
        Numbers of entities that are materialized one after another.
    peak_rows
        Rows materialized by the process whose memory is looked at.
    imports
        Processes started to see how long an import takes.
    threads
        Numbers of threads that read at once.
    threads_s
        Seconds of each turn of theirs.
    """

    rounds: int
    server_warm_entities: int
    entities: Mapping[int, int]
    read_entities: int
    calls: Mapping[int, int]
    online_keys: int
    history: tuple[int, int]
    skew: tuple[int, ...]
    scan: int
    growth: tuple[int, ...]
    peak_rows: int
    imports: int
    threads: tuple[int, ...]
    threads_s: float


SIZES = {
    "full": Size(
        5, 100_000, {10: 200_000, 50: 80_000, 200: 30_000}, 10_000, {1: 2_000, 10: 1_000, 100: 250, 1_000: 50},
        10_000, (1_000, 24), (1_000, 3_000, 10_000, 30_000), 1_000_000, (10_000, 30_000, 100_000, 300_000, 1_000_000),
        10_000_000, 10, (1, 8, 16, 32), 2.0,
    ),
    "quick": Size(
        3, 20_000, {10: 30_000, 50: 10_000, 200: 4_500}, 1_500, {1: 600, 10: 120, 100: 30, 1_000: 15},
        10_000, (100, 24), (1_000,), 50_000, (), 50_000, 3, (1, 8, 16, 32), 0.25,
    ),
    "tiny": Size(
        1, 0, {10: 50, 50: 20, 200: 10}, 20, {1: 2, 10: 2, 100: 2, 1_000: 2}, 100, (3, 4), (20,), 30, (50,), 100, 1, (1, 16), 0.02,
    ),
}  # fmt: skip
# A slow peer's share of the entities: throughput is compared, and waiting ten times as long would not change it.
SHARES = {peers.OURS: 1.0, BARE: 1.0, WIRE: 1.0, peers.REDIS: 0.1, peers.SQLITE: 0.04, peers.CASSANDRA: 0.008}
LEAST_ENTITIES = 5
# As servers are set by default; a local node of ours confirms a write only when it is on the disk.
SERVER_SETTINGS = {"commitlog_sync": "periodic", "commitlog_sync_period": "10s"}
KEYSPACES = ("ours", "feast", "bare", "wire")


class Bench(contextlib.ExitStack):
    """What the cases share; closing it ends what it started.

    Parameters
    ----------
    size
        How much to measure.
    node
        Name of a local Cassandra; None for one of this run alone, deleted at its end.
    """

    def __init__(self, size: Size, node: str | None = None) -> None:
        super().__init__()
        self.size = size
        self.left_out: dict[str, str] = {}
        self.keyspace = f"bench_{os.getpid()}"
        self._node_name = node
        self._peers: dict[str, Peer] = {}
        self._tables: dict[tuple[Columns, int, int], Table] = {}
        self._filled: set[tuple[str, str]] = set()
        self._views = 0

    def __enter__(self) -> Bench:
        """Start the node and warm it."""
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        name = self._node_name or f"benchmarks-{os.getpid()}"
        if self._node_name is None:
            self.callback(local.purge, name)
        settings = SERVER_SETTINGS if self._node_name is None else None
        self.node = local.start(name=name, progress=False, settings=settings)
        self.server = [psutil.Process(pid) for pid in self.node.pids]
        self.session = self._connect()
        self.cassandra_version = self.session.execute("SELECT release_version FROM system.local").one().release_version
        self.callback(self._drop_keyspaces)
        self._warm_server()
        return self

    def peer(self, name: str) -> Peer | None:
        """Return a peer, opened when it is first asked for; None if this machine lacks what it needs."""
        if name not in self._peers and name not in self.left_out:
            try:
                self._peers[name] = self._open(name)
            except peers.NotHereError as missing:
                self.left_out[name] = str(missing)
        return self._peers.get(name)

    def ours(self) -> peers.OurPeer:
        """Return the peer that is never left out."""
        peer = self.peer(peers.OURS)
        if not isinstance(peer, peers.OurPeer):
            raise TypeError(f"{peer!r} is not ours")
        return peer

    def present(self, names: Sequence[str]) -> list[Peer]:
        """Return those of some peers that are here."""
        return [peer for peer in map(self.peer, names) if peer is not None]

    def table(self, columns: Columns, entities: int, events: int = 1) -> Table:
        """Return a file of that content, written when it is first asked for."""
        key = (columns, entities, events)
        if key not in self._tables:
            path = self.folder / f"{columns.floats}_{columns.mixed}_{entities}_{events}.parquet"
            self._tables[key] = data.write(path, columns, entities, events)
        return self._tables[key]

    def share(self, peer: Peer, features: int) -> int:
        """Return how many entities a peer materializes in a round."""
        return max(LEAST_ENTITIES, int(self.size.entities[features] * SHARES[peer.name]))

    def new_views(self, peer: Peer, table: Table, count: int) -> list[str]:
        """Give a peer empty views of a table: each round writes into its own."""
        self._views += count
        views = [f"v{number}" for number in range(self._views - count, self._views)]
        peer.add([(view, table) for view in views])
        return views

    def filled(self, peer: Peer, view: str, table: Table, *, write: Callable[[str], None] | None = None) -> str:
        """Return a view that holds all rows of a table, written when it is first asked for; `write` stands in for the peer."""
        if (peer.name, view) not in self._filled:
            peer.add([(view, table)])
            if write is None:
                peer.prepare(view)
                peer.materialize(view)
            else:
                write(view)
            self._filled.add((peer.name, view))
        return view

    def wire(self) -> WireConnection:
        """Return a connection of the wire to the node; whoever asks closes it."""
        return WireConnection(self.node.hosts[0], self.node.port, self._login())

    # --- opening and closing ---

    def _connect(self) -> Any:
        from cassandra import ConsistencyLevel
        from cassandra.auth import PlainTextAuthProvider
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

        quiet_driver_log()
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        )
        login = PlainTextAuthProvider(**self._login()) if self.node.password is not None else None
        cluster = Cluster(
            list(self.node.hosts), port=self.node.port, execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=4, compression=False, auth_provider=login,
        )  # fmt: skip
        self.callback(cluster.shutdown)
        session = cluster.connect()
        for kind in KEYSPACES:
            replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
            session.execute(f"CREATE KEYSPACE {self.keyspace}_{kind} WITH replication = {replication}", timeout=60)
        return session

    def _login(self) -> dict[str, str]:
        """Return what Feast's own store, the bare driver and the wire log in with; nothing where the node is of former times."""
        if self.node.username is None or self.node.password is None:
            return {}
        return {"username": self.node.username, "password": self.node.password.reveal()}

    def _drop_keyspaces(self) -> None:
        if self._node_name is not None:
            for kind in KEYSPACES:
                self.session.execute(f"DROP KEYSPACE {self.keyspace}_{kind}", timeout=60)

    def _open(self, name: str) -> Peer:
        peer = self._openers()[name]()
        self.callback(peer.close)
        return peer

    def _openers(self) -> dict[str, Callable[[], Peer]]:
        address = {"hosts": list(self.node.hosts), "port": self.node.port, "keyspace": f"{self.keyspace}_feast"}
        address |= self._login()
        of_feast = partial(peers.feast_peer, folder=self.folder)
        return {
            peers.OURS: lambda: peers.OurPeer(self.node, self.folder, f"{self.keyspace}_ours"),
            peers.OURS_BY_DRIVER: lambda: peers.our_peer_by_driver(self.node, self.folder, f"{self.keyspace}_ours"),
            BARE: lambda: BarePeer(self.session, f"{self.keyspace}_bare"),
            WIRE: lambda: WirePeer(self.session, f"{self.keyspace}_wire", self.wire),
            peers.CASSANDRA: lambda: of_feast(peers.CASSANDRA, online_store={"type": "cassandra", **address}),
            peers.SQLITE: lambda: of_feast(
                peers.SQLITE, online_store={"type": "sqlite", "path": str(self.folder / "online.db")}
            ),
            peers.REDIS: lambda: of_feast(
                peers.REDIS, online_store={"type": "redis", "connection_string": self._redis()}
            ),
        }

    def _redis(self) -> str:
        return f"127.0.0.1:{self.enter_context(peers.redis_server(self.folder))}"

    def _warm_server(self) -> None:
        entities = self.size.server_warm_entities
        bare = self.peer(BARE)
        if not entities or bare is None:
            return
        table = self.table(Columns(10), entities)
        view = self.filled(bare, "warm", table)
        read = bare.reader([view], table)
        for start in range(entities // 10):
            read([start])
