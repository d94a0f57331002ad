"""Made-up features in parquet: as wide, as long and as deep in history as a case asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureView

KEY, TIME = "k", "event_timestamp"
CHUNK_ROWS = 100_000  # of one row group: all that the generator holds at a time
NEWEST_AGE = timedelta(hours=1)  # of each entity's newest event; the earlier ones lie an hour apart
WIDEST_HISTORY = timedelta(days=3)
NULL_SHARE = 0.1


@dataclass(frozen=True)
class Columns:
    """The features of a table.

    Parameters
    ----------
    floats
        Double features.
    mixed
        Beside them as many string, integer and boolean features as this; a tenth of every column is null.
    """

    floats: int
    mixed: int = 0

    @property
    def names(self) -> list[str]:
        """Every feature's name."""
        kinds = {"f": self.floats, "s": self.mixed, "i": self.mixed, "b": self.mixed}
        return [f"{kind}{number}" for kind, count in kinds.items() for number in range(count)]


@dataclass(frozen=True)
class Table:
    """One parquet file: entities 0 … n-1, each with the same number of events."""

    path: Path
    columns: Columns
    entities: int
    events: int = 1

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return self.entities * self.events


def interval() -> tuple[datetime, datetime]:
    """Return an interval that holds every event of every table."""
    now = datetime.now(timezone.utc)
    return now - WIDEST_HISTORY, now


def write(path: Path, columns: Columns, entities: int, events: int = 1) -> Table:
    """Write a table's parquet in row groups, so that millions of rows need little memory."""
    table = Table(path, columns, entities, events)
    rng = np.random.default_rng(7)
    newest_us = int((datetime.now(timezone.utc) - NEWEST_AGE).timestamp() * 1e6)
    writer = None
    for start in range(0, table.rows, CHUNK_ROWS):
        row = np.arange(start, min(start + CHUNK_ROWS, table.rows))
        event_us = newest_us - (row // entities) * 3_600_000_000
        keys = {KEY: pa.array(row % entities), TIME: pa.array(event_us, pa.timestamp("us", tz="UTC"))}
        chunk = pa.table({**keys, **{name: _values(name, columns, len(row), rng) for name in columns.names}})
        writer = writer or pq.ParquetWriter(path, chunk.schema)
        writer.write_table(chunk)
    if writer is not None:
        writer.close()
    return table


def _values(name: str, columns: Columns, rows: int, rng: np.random.Generator) -> pa.Array:
    null = rng.random(rows) < NULL_SHARE if columns.mixed else None
    if name[0] == "f":
        return pa.array(rng.normal(size=rows), mask=null)
    if name[0] == "i":
        return pa.array(rng.integers(-1000, 10**9, rows), mask=null)
    if name[0] == "b":
        return pa.array(rng.random(rows) < 0.5, mask=null)
    words = pa.array([f"N{number:05d} Łódź" for number in range(1000)])
    return words.take(pa.array(rng.integers(0, 1000, rows), mask=null))


def entity() -> Any:
    """Return the Feast entity of every view."""
    from feast import Entity, ValueType

    return Entity(name=KEY, join_keys=[KEY], value_type=ValueType.INT64)


def feature_view(name: str, table: Table) -> FeatureView:
    """Return a feature view of a table; several views may share one file."""
    from feast import FeatureView, Field, FileSource
    from feast.types import Bool, Float64, Int64, String

    kinds = {"f": Float64, "s": String, "i": Int64, "b": Bool}
    return FeatureView(
        name=name,
        entities=[entity()],
        schema=[Field(name=KEY, dtype=Int64), *(Field(name=one, dtype=kinds[one[0]]) for one in table.columns.names)],
        source=FileSource(name=f"source_{name}", path=str(table.path), timestamp_field=TIME),
        ttl=None,
    )
