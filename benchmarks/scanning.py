"""Cases that compare a view as it is now: by a scan of its table beside entity by entity, on our store and on Feast's own."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import feastra_nb as fnb
from benchmarks import feast_filling, measure, peers
from benchmarks.data import Columns
from benchmarks.measure import Figure
from feastra_nb.adapter.feast_calls import quiet_feast

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.data import Table
    from benchmarks.measure import Span
    from benchmarks.peers import Peer
    from feastra_nb import SkewReport, Workspace

COLUMNS = Columns(10)
SCAN, ONE_BY_ONE = "scan", "entity by entity"
# Of the entities, those that are asked for one by one: rates are compared, and waiting longer would not change them.
SHARES = {peers.OURS: 0.2, peers.CASSANDRA: 0.05}
MOST_ONE_BY_ONE = {peers.OURS: 100_000, peers.CASSANDRA: 20_000}
LEAST_ENTITIES = 5


def scan(bench: Bench, *, store: str) -> list[Figure]:
    """Compare a view by a scan, and a smaller one entity by entity, by turns."""
    peer = bench.peer(store)
    if peer is None:
        return []
    many = bench.table(COLUMNS, bench.size.scan)
    share = int(min(many.entities * SHARES[store], MOST_ONE_BY_ONE[store]))
    few = bench.table(COLUMNS, max(LEAST_ENTITIES, share))
    views = {table: _filled(bench, peer, table) for table in (many, few)}
    folder = bench.folder / f"scan {store}"
    peer.save(folder)
    with quiet_feast(), fnb.connect(repo=folder) as ws:
        for is_scan in (True, False):
            _compared(bench, ws, views[few], few, is_scan=is_scan)  # warms; nobody looks at the clock
        tables = {SCAN: many, ONE_BY_ONE: few}
        works = {
            way: lambda _round, table=table, way=way: _compared(bench, ws, views[table], table, is_scan=way == SCAN)
            for way, table in tables.items()
        }
        spans = measure.alternate(works, bench.size.rounds)
    return [
        figure
        for way, taken in spans.items()
        for figure in measure.throughput(way, taken, _cells(tables[way]), "cells", _work(tables[way]))
    ]


def _compared(bench: Bench, ws: Workspace, view: str, table: Table, *, is_scan: bool) -> Span:
    """Compare all of a view; a sample of all entities is no scan: it asks for each, as every comparison once did."""
    reports: list[SkewReport] = []
    sample = None if is_scan else table.entities
    span = measure.span(lambda: reports.append(ws.skew(view, sample=sample)), bench.server)
    if not reports[0].ok or reports[0].compared != _cells(table):
        raise AssertionError(repr(reports[0]))
    return span


def memory(bench: Bench) -> list[Figure]:
    """Scan in a process of its own, once on each store, and ask it for its peak of memory."""
    table = bench.table(COLUMNS, bench.size.scan)
    return [figure for peer in bench.present((peers.OURS, peers.CASSANDRA)) for figure in _memory(bench, peer, table)]


def _memory(bench: Bench, peer: Peer, table: Table) -> list[Figure]:
    view, folder = _filled(bench, peer, table), bench.folder / f"scan memory {peer.name}"
    peer.save(folder)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peak_scan", str(folder), view]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a module of ours
    found = json.loads(answer.stdout.splitlines()[-1])
    if found["cells"] != _cells(table):
        raise AssertionError(f"{found['cells']:,} of {_cells(table):,} cells were compared")
    metrics = ("extra_mb", "peak_mb", "before_mb", "cells_per_s")
    return [Figure(peer.name, metric, (found[metric],), _work(table)) for metric in metrics]


def _cells(table: Table) -> int:
    return table.entities * len(table.columns.names)


def _work(table: Table) -> dict[str, int]:
    return {"entities": table.entities, "features": len(table.columns.names)}


def _filled(bench: Bench, peer: Peer, table: Table) -> str:
    """Return the view of a table that either store holds; Feast's is filled without Feast."""
    write = partial(feast_filling.fill, bench, table=table) if peer.name == peers.CASSANDRA else None
    return bench.filled(peer, f"now_{table.entities}", table, write=write)
