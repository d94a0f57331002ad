"""Fills a table of Feast's own Cassandra store in its own layout, without Feast, which writes some 500 entities a second."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from benchmarks import cql_frames, data, peers
from benchmarks.cql_frames import LONG
from benchmarks.ready import WINDOW
from feastra_nb.adapter.feast_keys import to_hex
from feastra_nb.adapter.feast_tables import table_of
from feastra_nb.connection.wire.frames import STREAMS, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from benchmarks.bench import Bench
    from benchmarks.data import Table

ENTITIES_AT_ONCE = 10_000  # whose frames are in memory


def fill(bench: Bench, view: str, table: Table) -> None:
    """Write every row of a table of doubles for a view that the peer knows: a batch an entity, a row a feature."""
    project = peers.CASSANDRA.replace(" ", "_")
    into = f'{bench.keyspace}_feast."{table_of(project, view)}"'
    with contextlib.closing(bench.wire()) as wire, pq.ParquetFile(table.path) as file:
        insert = wire.prepare(f"INSERT INTO {into} (entity_key, feature_name, value, event_ts) VALUES (?, ?, ?, ?)")
        for rows in file.iter_batches(ENTITIES_AT_ONCE):
            wire.exchange(list(_frames(insert, rows, table.columns.names)), WINDOW)


def _frames(insert: bytes, rows: pa.RecordBatch, names: list[str]) -> Iterator[bytes]:
    from feast import ValueType
    from feast.protos.feast.types.Value_pb2 import Value

    from feastra_nb.codec import encode_entity_keys

    keys = to_hex(encode_entity_keys([data.KEY], [ValueType.INT64], [rows.column(data.KEY)])).to_pylist()
    events_ms = rows.column(data.TIME).cast("int64").to_numpy() // 1000  # of CQL's timestamps
    features = [value(name.encode()) for name in names]
    doubles = np.stack([rows.column(name).to_numpy() for name in names], axis=1).tolist()
    for place, (key, event_ms, numbers) in enumerate(zip(map(value, keys), events_ms.tolist(), doubles, strict=True)):
        event = value(LONG.pack(event_ms))
        yield cql_frames.batch(
            insert,
            [
                (key, feature, value(Value(double_val=number).SerializeToString()), event)
                for feature, number in zip(features, numbers, strict=True)
            ],
            stream=place % STREAMS,
        )
