"""Reads rows back: the newest of each entity (the serving path), or a slice of their history.

Every read is bounded on both sides of event time: expired rows are not scanned, and a row from the future cannot hide the
truth. A failed read raises; it is never a missing row. Answers become columns while later requests are on their way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from feastra_nb.connection.cluster import READ, Database, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.connection.wire.frames import value
from feastra_nb.storage.asking import Query, answered, fetched, fetched_async
from feastra_nb.storage.pages import SERVED, WHOLE, WITH_TTL
from feastra_nb.storage.patience import Patience
from feastra_nb.storage.replicas import replica_groups
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.rows import gathered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

IN_KEYS = 20  # Astra's limit of partition keys in one IN
FEW_KEYS = 200  # up to which all answers are there before the first becomes columns
BEGINNING_US = -(2**63)
END_US = 2**63 - 1
TEXTS_KEPT = 4096  # CQL texts: two a view and choice of columns
_INT, _BIGINT = Struct(">i").pack, Struct(">q").pack  # as CQL has them on the wire


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed interval of event time, in microseconds since the epoch."""

    lower_us: int
    upper_us: int


def serving_bounds(now_us: int, ttl_us: int | None) -> Bounds:
    """Return the interval in which the serving path looks for the newest event.

    Examples
    --------
    >>> serving_bounds(10**15, 10**6)
    Bounds(lower_us=999999999000000, upper_us=1000000300000000)
    """
    return Bounds(now_us - ttl_us if ttl_us else BEGINNING_US, now_us + CLOCK_SKEW_US)


def as_of_bounds(t_us: int, ttl_us: int | None) -> Bounds:
    """Return the interval of the point-in-time join at an instant; both ends belong to it, as they do offline.

    Examples
    --------
    >>> as_of_bounds(100, 30)
    Bounds(lower_us=70, upper_us=100)
    """
    return Bounds(t_us - ttl_us if ttl_us else BEGINNING_US, t_us)


def alive(entry: ViewEntry, bounds: Bounds) -> Bounds:
    """Return the bounds without the part in which every row has expired: a read there would only meet tombstones."""
    oldest_us = entry.expired_before_us(time.time_ns() // 1000)
    return bounds if oldest_us is None else Bounds(max(bounds.lower_us, oldest_us), bounds.upper_us)


class NewestRead:
    """A read of the newest row of each key, ready to be sent; several are answered together by `newest_rows`.

    Parameters
    ----------
    keys
        Distinct entity keys.
    columns
        `SERVED` or `WHOLE`.
    """

    def __init__(
        self, db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds, columns: str = SERVED
    ) -> None:
        self.view = entry.view
        patience = Patience(db, entry)
        with map_driver_errors(f"reading view {self.view}", db):
            self.queries = patience.until_known(lambda: _newest_queries(db, entry, keys, bounds, columns, patience))


def newest_rows(db: Database, reads: Sequence[NewestRead]) -> list[list[tuple[Any, ...]]]:
    """Send several reads at once and wait for the answers.

    Returns
    -------
    list
        For each read a tuple of its columns for each key that has a row, in no order.

    Raises
    ------
    RequestFailed
        Any part of any read failed.
    """
    queries = _owned(reads)
    with _reading(db, reads):
        return _by_read(reads, queries, fetched(db, list(queries)))


async def newest_rows_async(db: Database, reads: Sequence[NewestRead]) -> list[list[tuple[Any, ...]]]:
    """As `newest_rows`, without a thread that waits."""
    queries = _owned(reads)
    with _reading(db, reads):
        return _by_read(reads, queries, await fetched_async(db, queries))


def _owned(reads: Sequence[NewestRead]) -> dict[Query, int]:
    """Return the queries of all reads, and the number of the read that each is of."""
    return {query: number for number, read in enumerate(reads) for query in read.queries}


def _by_read(
    reads: Sequence[NewestRead], queries: Mapping[Query, int], pages: Sequence[tuple[Query, list[tuple[Any, ...]]]]
) -> list[list[tuple[Any, ...]]]:
    rows: list[list[tuple[Any, ...]]] = [[] for _ in reads]
    for query, page in pages:
        rows[queries[query]] += page
    return rows


def _reading(db: Database, reads: Sequence[NewestRead]) -> AbstractContextManager[None]:
    several = "s" if len(reads) > 1 else ""
    return map_driver_errors(f"reading view{several} {', '.join(read.view for read in reads)}", db)


def prepare_newest(db: Database, entry: ViewEntry) -> None:
    """Prepare what serving sends, so that starting a read does not wait for the server."""
    patience = Patience(db, entry)
    for cql in newest_cql(db.keyspace, entry.table, SERVED):
        patience.until_known(partial(db.prepare, cql, READ))


def read_newest(db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds) -> Rows:
    """Return the newest row of each distinct key within the bounds, in no order."""
    read = NewestRead(db, entry, keys, bounds, WHOLE)
    with _reading(db, [read]):
        if len(keys) <= FEW_KEYS:
            return gathered(page for _query, page in fetched(db, list(read.queries)))
        return gathered(page for _query, page in answered(db, read.queries))


def no_rows() -> Rows:
    """Return what a read that found nothing returns."""
    return gathered([])


def read_history(db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds) -> Rows:
    """Return every row of the distinct keys within the bounds; each entity's rows together, newest first."""
    return gathered(_slices(db, entry, WHOLE, keys, bounds))


class RowsWithTtl(NamedTuple):
    """Rows with their remaining TTL and write times.

    Parameters
    ----------
    rows
        n rows; each entity's together, newest first.
    remaining_ttl_s
        Each row's remaining TTL in seconds; None if it never expires.
    written_us
        The write time of each, in microseconds since the epoch, by the clock of the client that wrote it.
    """

    rows: Rows
    remaining_ttl_s: list[int | None]
    written_us: list[int]


def read_history_with_ttl(db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds) -> RowsWithTtl:
    """Return every row as `read_history` does, with its remaining TTL and write time."""
    remaining_ttl_s: list[int | None] = []
    written_us: list[int] = []

    def without_ttl() -> Iterator[list[tuple[Any, ...]]]:
        for page in _slices(db, entry, WITH_TTL, keys, bounds):
            remaining_ttl_s.extend(row[-2] for row in page)
            written_us.extend(row[-1] for row in page)
            yield [row[:-2] for row in page]

    return RowsWithTtl(gathered(without_ttl()), remaining_ttl_s, written_us)


def _slices(
    db: Database, entry: ViewEntry, columns: str, keys: Sequence[bytes], bounds: Bounds
) -> Iterator[list[tuple[Any, ...]]]:
    cql = (
        f"SELECT {columns} FROM {quoted(db.keyspace)}.{quoted(entry.table)} "
        "WHERE entity_key IN ? AND event_us >= ? AND event_us <= ?"
    )
    patience = Patience(db, entry)
    with map_driver_errors(f"reading the history of view {entry.view}", db):
        patience.until_known(lambda: db.prepare(cql, READ))
        queries = _in_queries(db, cql, keys, alive(entry, bounds), columns, patience, paged=True)
        for _query, page in answered(db, queries):
            yield page


# --- queries ---------------------------------------------------------------------------------------------------------


@lru_cache(TEXTS_KEPT)
def newest_cql(keyspace: str, table: str, columns: str) -> tuple[str, str]:
    """Return how the newest row of one key is read, and the newest of many."""
    select = f"SELECT {columns} FROM {quoted(keyspace)}.{quoted(table)}"
    bounds = "AND event_us >= ? AND event_us <= ?"
    return (
        f"{select} WHERE entity_key = ? {bounds} LIMIT 1",
        f"{select} WHERE entity_key IN ? {bounds} PER PARTITION LIMIT 1",
    )


def _newest_queries(
    db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds, columns: str, patience: Patience
) -> Iterable[Query]:
    of_one, of_many = newest_cql(db.keyspace, entry.table, columns)
    if len(keys) != 1:
        return _in_queries(db, of_many, keys, bounds, columns, patience, paged=False)
    values = [keys[0], _BIGINT(bounds.lower_us), _BIGINT(bounds.upper_us)]
    return [Query(db.prepare(of_one, READ), values, keys[0], columns, patience, paged=False)]


def _in_queries(
    db: Database, cql: str, keys: Sequence[bytes], bounds: Bounds, columns: str, patience: Patience, *, paged: bool
) -> Iterator[Query]:
    prepared = db.prepare(cql, READ)
    # The driver knows no routing key for IN and would ask a random node; the group's first key leads to its replicas.
    prepared.routing_key_indexes = [0]
    between = [_BIGINT(bounds.lower_us), _BIGINT(bounds.upper_us)]
    for group in replica_groups(db, keys):
        for start in range(0, len(group), IN_KEYS):
            some = [keys[index] for index in group[start : start + IN_KEYS]]
            yield Query(prepared, [_blobs(some), *between], some[0], columns, patience, paged=paged)


def _blobs(blobs: Sequence[bytes]) -> bytes:
    """Return a list of blobs as CQL has it on the wire."""
    return b"".join([_INT(len(blobs)), *map(value, blobs)])
