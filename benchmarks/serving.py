"""A case over HTTP: Feast's own feature server, a process of its own, on our store and on Redis."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measure, peers
from benchmarks.data import KEY
from benchmarks.reading import COLUMNS, latencies, random_keys

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.measure import Figure
    from benchmarks.peers import FeastPeer

VIEW = "reads"
BATCHES = (1, 100)
SHARE = 0.3  # of the calls of `read`
THREADS = 8
THREADS_S = 4.0  # times those of the other cases of threads: an answer takes longer
START_S, TIMEOUT_S, POLL_S = 90.0, 30.0, 0.1
HEADERS = {"Content-Type": "application/json"}


def serve(bench: Bench) -> list[Figure]:
    """Post requests over connections that stay open: one at a time, then by eight threads."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        servers = {}
        for peer in bench.present((peers.OURS, peers.REDIS)):
            bench.filled(peer, VIEW, table)
            servers[peer.name] = stack.enter_context(FeatureServer(peer, bench.folder / f"serve {peer.name}"))
        ports = {name: server.wait() for name, server in servers.items()}  # they start side by side
        clients = {
            name: [stack.enter_context(contextlib.closing(Client(port))) for _thread in range(THREADS)]
            for name, port in ports.items()
        }
        for batch in BATCHES:
            count = max(bench.size.rounds, int(bench.size.calls[batch] * SHARE))
            bodies = [request_body(keys) for keys in random_keys(table.entities, batch, count)]
            calls = {name: of_peer[0].post for name, of_peer in clients.items()}
            for call in calls.values():
                check(call(bodies[0]), batch)
            figures += latencies(bench, calls, bodies, {"entities": batch, "threads": 1})
        bodies = [request_body(keys) for keys in random_keys(table.entities, 1, bench.size.calls[1])]
        taken: dict[str, list[measure.Turn]] = {name: [] for name in clients}
        for _round in range(bench.size.rounds):
            for name, of_peer in clients.items():
                posts = [client.post for client in of_peer]
                taken[name].append(measure.together(posts, bodies, bench.size.threads_s * THREADS_S))
        for name, turns in taken.items():
            figures += measure.turns(name, turns, {"entities": 1, "threads": THREADS})
    return figures


class Client:
    """One connection to a feature server, kept open; one thread's at a time."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def post(self, body: bytes) -> bytes:
        """Return the bytes of an answer; they are not decoded."""
        self._connection.request("POST", "/get-online-features", body, HEADERS)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the feature server answers HTTP {answer.status}: {content[:200]!r}")
        return content

    def is_healthy(self) -> bool:
        """Tell whether the server answers."""
        try:
            self._connection.request("GET", "/health")
            return self._connection.getresponse().read() is not None
        except (OSError, HTTPException):
            self.close()
            return False

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def request_body(keys: list[int]) -> bytes:
    """Return a request of all features of some entities."""
    references = [f"{VIEW}:{name}" for name in COLUMNS.names]
    return json.dumps({"features": references, "entities": {KEY: keys}}).encode()


def check(answer: bytes, entities: int) -> None:
    """Refuse an answer without values: answers that nobody decodes could be empty."""
    columns = [column["values"] for column in json.loads(answer)["results"]]
    if any(len(values) != entities or None in values for values in columns):
        raise RuntimeError(f"the feature server answers without values: {answer[:200]!r}")


class FeatureServer(contextlib.ExitStack):
    """A ``feast serve`` on a peer's store; closing it ends it.

    Parameters
    ----------
    folder
        Of a repository that is made for it.
    """

    def __init__(self, peer: FeastPeer, folder: Path) -> None:
        super().__init__()
        peer.save(folder)
        self._port = peers.free_port()
        self._log_path = folder / "serve.log"
        program = Path(sys.executable).with_name("feast")
        # A worker that begins anew after a thousand requests, as Feast has it by default, hangs up on its callers.
        options = ["--no-access-log", "--max-requests", "0"]
        command = [program, "-c", folder, "serve", "-h", "127.0.0.1", "-p", str(self._port), *options]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - Feast's own
        self.callback(self._process.wait)
        self.callback(self._process.terminate)

    def wait(self) -> int:
        """Wait until it answers, and return its port."""
        end_s = time.monotonic() + START_S
        with contextlib.closing(Client(self._port)) as client:
            while not client.is_healthy():
                if self._process.poll() is not None or time.monotonic() > end_s:
                    raise RuntimeError(
                        f"feast serve did not start: {self._log_path.read_text(errors='replace')[-2000:]}"
                    )
                time.sleep(POLL_S)
        return self._port
