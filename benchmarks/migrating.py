"""Cases that migrate: a table of Feast's own Cassandra store into ours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import feastra_nb as fnb
from benchmarks import feast_filling, measure, peers
from benchmarks.data import Columns
from feastra_nb.adapter.feast_calls import quiet_feast

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.measure import Figure

COLUMNS = Columns(10)


def copy(bench: Bench) -> list[Figure]:
    """Copy a table of Feast's, and verify the copy cell by cell."""
    peer = bench.peer(peers.CASSANDRA)
    if peer is None:
        return []
    table = bench.table(COLUMNS, max(bench.size.entities[10] // 4, 20))
    bench.filled(peer, "copied", table, write=partial(feast_filling.fill, bench, table=table))
    folder = bench.folder / "migrated"
    peer.save(folder)
    with quiet_feast(), fnb.connect(repo=folder) as ws:
        migration = ws.migration(retain="all")
        copies = [
            measure.span(lambda: _done(migration.copy(["copied"], full=True, progress=False)), bench.server)
            for _ in range(bench.size.rounds)
        ]
        checks = [
            measure.span(lambda: _done(migration.verify(["copied"], progress=False)), bench.server)
            for _ in range(bench.size.rounds)
        ]
    work = {"entities": table.entities, "features": len(COLUMNS.names)}
    return [
        figure
        for name, spans in (("copy", copies), ("verify", checks))
        for figure in measure.throughput(f"{peers.OURS}, {name}", spans, table.entities, "entities", work)
    ]


def _done(report: Any) -> None:
    if not report.ok:
        raise AssertionError(repr(report))
