"""Cases that migrate: a table of Feast's own Cassandra store into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

import feastra_nb as fnb
from benchmarks import data, measure, peers
from benchmarks.data import Columns
from feastra_nb.adapter.feast_calls import quiet_feast

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.data import Table
    from benchmarks.measure import Figure

COLUMNS = Columns(10)
IN_FLIGHT = 16


def copy(bench: Bench) -> list[Figure]:
    """Copy a table of Feast's, and verify the copy cell by cell."""
    peer = bench.peer(peers.CASSANDRA)
    if peer is None:
        return []
    table = bench.table(COLUMNS, max(bench.size.entities[10] // 4, 20))
    peer.add([("copied", table)])
    _fill(bench, table)
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


def _fill(bench: Bench, table: Table) -> None:
    """Write what Feast's own store would write, in a batch an entity: by itself it takes a request a value."""
    from cassandra.concurrent import execute_concurrent
    from cassandra.query import BatchStatement, BatchType
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    project = peers.CASSANDRA.replace(" ", "_")
    insert = bench.session.prepare(
        f'INSERT INTO {bench.keyspace}_feast."{project}_copied" (entity_key, feature_name, value, event_ts) VALUES (?, ?, ?, ?)'
    )

    def batches() -> Any:
        for row in pq.read_table(table.path).to_pylist():
            key = serialize_entity_key(
                EntityKey(join_keys=[data.KEY], entity_values=[Value(int64_val=row[data.KEY])]), 3
            ).hex()
            batch = BatchStatement(BatchType.UNLOGGED)
            for name in table.columns.names:
                batch.add(insert, (key, name, Value(double_val=row[name]).SerializeToString(), row[data.TIME]))
            yield batch, ()

    execute_concurrent(bench.session, batches(), concurrency=IN_FLIGHT)
