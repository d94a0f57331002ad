"""Cases that write: materialization from parquet, how its cost grows, and how much memory it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import measure, peers
from benchmarks.data import Columns, interval
from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.measure import Span
    from benchmarks.peers import Peer

WARM_SHARE = 0.2  # of a round's entities, written once before the rounds
SINGLE_ROUND_ENTITIES = 200_000  # a run of more takes so long that one is enough


def materialize(bench: Bench, *, columns: Columns, features: int) -> list[Figure]:
    """Materialize one event an entity from parquet; every round of every peer fills a view of its own."""
    works, work = {}, {}
    for peer in bench.present(peers.EVERYONE):
        entities = bench.share(peer, features)
        works[peer.name] = _filling(bench, peer, columns, entities)
        work[peer.name] = {"entities": entities, "features": len(columns.names)}
    spans = measure.alternate(works, bench.size.rounds)
    return [
        figure
        for name, taken in spans.items()
        for figure in measure.throughput(name, taken, work[name]["entities"], "entities", work[name])
    ]


def _filling(bench: Bench, peer: Peer, columns: Columns, entities: int) -> Callable[[int], Span]:
    """Return what fills the view of a round, after a smaller run that nobody times."""
    warm = bench.new_views(peer, bench.table(columns, int(entities * WARM_SHARE) + 1), 1)[0]
    peer.prepare(warm)
    peer.materialize(warm)
    views = bench.new_views(peer, bench.table(columns, entities), bench.size.rounds)
    server = bench.server if peer.name in peers.ON_CASSANDRA else ()

    def fill(number: int) -> Span:
        peer.prepare(views[number])
        return measure.span(lambda: peer.materialize(views[number]), server)

    return fill


def growth(bench: Bench) -> list[Figure]:
    """Materialize more and more entities, ours only."""
    figures = []
    ours = bench.ours()
    for entities in bench.size.growth:
        rounds = bench.size.rounds if entities < SINGLE_ROUND_ENTITIES else 1
        views = bench.new_views(ours, bench.table(Columns(10), entities), rounds)
        spans = [measure.span(lambda view=view: ours.materialize(view), bench.server) for view in views]
        work = {"entities": entities, "features": 10}
        figures += measure.throughput(ours.name, spans, entities, "entities", work)
    return figures


def peak_memory(bench: Bench) -> list[Figure]:
    """Materialize a long file in a process of its own, and ask that one for its peak of memory."""
    ours = bench.ours()
    rows = bench.size.peak_rows
    view = bench.new_views(ours, bench.table(Columns(10), rows), 1)[0]
    start, end = (one.isoformat() for one in interval())
    node, folder = bench.node, ours.ws.directory
    asked = [node.hosts[0], str(node.port), ours.keyspace, str(folder), view, start, end]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peak", *asked]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a module of ours
    found = json.loads(answer.stdout.splitlines()[-1])
    work = {"rows": found["rows"], "features": 10}
    return [Figure(ours.name, metric, (found[metric],), work) for metric in ("peak_mb", "before_mb", "rows_per_s")]
