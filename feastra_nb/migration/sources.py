"""Where entities are copied from: a table of Feast's Cassandra or Scylla store, or any other store of Feast's, by its own reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from feast.infra.key_encoding_utils import deserialize_entity_key

from feastra_nb import codec
from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.feast_cells import NO_US, FeastCells
from feastra_nb.adapter.objects import key_fields
from feastra_nb.connection.cluster import READ
from feastra_nb.errors import RequestFailed
from feastra_nb.materialization.pulled import OfflineView
from feastra_nb.storage.reader import BEGINNING_US
from feastra_nb.storage.requests import run_all
from feastra_nb.storage.scanned_columns import Column, columns_of_tuples
from feastra_nb.storage.scanning import (
    MAX_TOKEN,
    MIN_TOKEN,
    TOKEN_RANGES,
    FailedRange,
    Scan,
    TokenRange,
    scanned,
    token_ranges,
)
from feastra_nb.times import us, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from feastra_nb.adapter.feast_tables import FeastTable
    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.scanning import Pace
    from feastra_nb.stores import Stores

RANGE_ROWS = 30_000  # of Feast's tables, about: some ranges are in memory at a time
MOST_RANGES = 16_384
CHUNK = 1_000  # entities that another store is asked for at a time

Part = tuple[TokenRange, FeastCells]


class Source(Protocol):
    """One view's entities in Feast's own store."""

    @property
    def knows_all(self) -> bool:
        """Whether it lists every entity that the store holds."""

    @property
    def has_write_times(self) -> bool:
        """Whether it says when each value was written."""

    @property
    def unit_us(self) -> int:
        """The unit of its event times, in microseconds."""

    def estimate(self) -> int:
        """Return about how many entities there are; 0 where that is not known."""

    def part_count(self) -> int:
        """Return into how many parts to cut it now."""

    def parts(self, number: int) -> list[TokenRange]:
        """Return its parts."""

    def cells(self, parts: Sequence[TokenRange], pace: Pace) -> Iterator[Part | FailedRange]:
        """Yield what parts hold, in their order."""

    def cells_of(self, stored: Sequence[bytes]) -> FeastCells:
        """Return what it holds of some entities, by their keys in hex."""

    def keys_of(self, stored: Sequence[bytes]) -> set[str]:
        """Return which of some keys in hex it holds."""


@dataclass(frozen=True)
class TableSource:
    """A table of Feast's Cassandra or Scylla store, read by ranges of the ring.

    Parameters
    ----------
    db
        The keyspace.
    table
        The table.
    view
        The view, for errors.
    """

    db: Database
    table: FeastTable
    view: str
    knows_all: bool = True
    has_write_times: bool = True
    unit_us: int = 1_000

    def estimate(self) -> int:
        """Return how many partitions the server believes it to have: of the ranges that the asked node owns, times the nodes.

        The server counts every five minutes; of a new table it says 0.
        """
        columns = "range_start, range_end, partitions_count"
        cql = f"SELECT {columns} FROM system.size_estimates WHERE keyspace_name = ? AND table_name = ?"
        try:
            rows = self.db.execute(cql, (self.table.keyspace, self.table.name), profile=READ)
            counted = [(int(start), int(end), int(count)) for start, end, count in rows]
        except RequestFailed:  # not every server has it, and not every role may read it
            return 0
        ring = MAX_TOKEN - MIN_TOKEN
        share = sum((end - start) % (1 << 64) or 1 << 64 for start, end, _count in counted) / ring
        return int(sum(count for _start, _end, count in counted) / share) if share else 0

    def part_count(self) -> int:
        """Return into how many ranges to cut the ring, so that each is about `RANGE_ROWS` rows."""
        return min(max(self.estimate() * 10 // RANGE_ROWS, TOKEN_RANGES), MOST_RANGES)

    def parts(self, number: int) -> list[TokenRange]:
        """Return the ring in ranges."""
        return token_ranges(self.db, number)

    def cells(self, parts: Sequence[TokenRange], pace: Pace) -> Iterator[Part | FailedRange]:
        """Yield the rows of ranges."""
        what = f"scanning Feast's table of view {self.view}"
        for part in scanned(Scan(self.db, what, self.table.qualified, "entity_key", self._columns), parts, pace=pace):
            yield part if isinstance(part, FailedRange) else (part.range, FeastCells.of_columns(part.columns))

    def cells_of(self, stored: Sequence[bytes]) -> FeastCells:
        """Read some entities."""
        selected = ", ".join(column.cql for column in self._columns)
        answers = self._answers(f"SELECT {selected} FROM {self.table.qualified} WHERE entity_key = ?", stored)
        return FeastCells.of_columns(columns_of_tuples(answers, self._columns))

    def keys_of(self, stored: Sequence[bytes]) -> set[str]:
        """Return which of some keys it holds."""
        answers = self._answers(f"SELECT entity_key FROM {self.table.qualified} WHERE entity_key = ? LIMIT 1", stored)
        return {row[0] for row in answers}

    @property
    def _columns(self) -> list[Column]:
        return [Column(cql, kind) for cql, kind in self.table.cell_columns]

    def _answers(self, cql: str, stored: Sequence[bytes]) -> list[tuple[Any, ...]]:
        statement = self.db.prepare(cql, READ)
        requests = [statement.bind((text.decode(),)) for text in stored]
        answers = run_all(self.db, requests, f"reading {self.table.qualified}", profile=READ)
        return [tuple(row) for answer in answers for row in answer]


@dataclass(frozen=True, eq=False)
class OfflineSource:
    """Any store of Feast's, which lists no entities: those of the offline data, read by the store's own `online_read`.

    Parameters
    ----------
    stores
        The repository, for its offline data.
    config, online_store
        Of Feast's store.
    view
        The feature view.
    """

    stores: Stores
    config: Any
    online_store: Any
    view: Any
    knows_all: bool = False
    has_write_times: bool = False
    unit_us: int = 1_000_000  # Redis keeps whole seconds

    def estimate(self) -> int:
        """Return how many entities the offline data have."""
        return len(self._keys)

    def part_count(self) -> int:
        """Return how many chunks of entities there are."""
        return max(-(-len(self._keys) // CHUNK), 1)

    def parts(self, number: int) -> list[TokenRange]:  # noqa: ARG002 - the offline data may have grown since
        """Return the chunks: from which entity to which."""
        keys = len(self._keys)
        return [TokenRange(start, min(start + CHUNK, keys)) for start in range(0, keys, CHUNK)]

    def cells(self, parts: Iterable[TokenRange], pace: Pace) -> Iterator[Part | FailedRange]:
        """Yield what the store answers for chunks of entities."""
        import threading

        for part in parts:
            keys = self._keys[part.after : part.upto]
            yield part, self._read(keys)
            pace.spend(len(keys), threading.Event())

    def cells_of(self, stored: Sequence[bytes]) -> FeastCells:
        """Read some entities."""
        return self._read([bytes.fromhex(text.decode()) for text in stored])

    def keys_of(self, stored: Sequence[bytes]) -> set[str]:
        """Return which of some keys it holds."""
        cells = self.cells_of(stored)
        return {text.decode() for text in cells.entity_key.unique().to_pylist()}

    @cached_property
    def _keys(self) -> list[bytes]:
        with calling_feast(f"reading the entities of view {self.view.name} offline"):
            table = OfflineView.of(self.stores.feast, self.view).all((BEGINNING_US, us(utc_now()))).keys(us(utc_now()))
        fields = key_fields(self.view)
        columns = [table.column(name) for name, _kind in fields]
        keys = codec.encode_entity_keys([name for name, _kind in fields], [kind for _name, kind in fields], columns)
        return list(keys.unique().to_pylist())

    def _read(self, keys: Sequence[bytes]) -> FeastCells:
        with calling_feast(f"reading view {self.view.name} from Feast's {self.config.online_store.type!r} store"):
            answers = self.online_store.online_read(
                self.config, self.view, [deserialize_entity_key(key, 3) for key in keys], None
            )
        rows = [
            (key.hex().encode(), name.encode(), message.SerializeToString(), us(event))
            for key, (event, values) in zip(keys, answers, strict=True)
            for name, message in (values if _is_held(event, values) else {}).items()
        ]
        columns: Sequence[Any] = list(zip(*rows, strict=True)) if rows else [()] * 4
        nothing, none = np.full(len(rows), NO_US), np.zeros(len(rows), dtype=np.int64)
        texts = [pa.array(column, pa.large_binary()) for column in columns[:3]]
        return FeastCells.of_columns([*texts, np.array(columns[3], dtype=np.int64), nothing, none, nothing])


def _is_held(event: Any, values: Any) -> bool:
    """Tell whether a store holds an entity; Redis answers nulls, at the beginning of the epoch, for one that it does not."""
    if event is None or not values:
        return False
    return us(event) != 0 or any(message.WhichOneof("val") for message in values.values())
