"""Reads rows back: the newest of each entity (the serving path), or a slice of their history.

Every read is bounded on both sides of event time: expired rows are not scanned, and a row from the future cannot hide the
truth. A failed read raises; it is never a missing row. Answers become columns while later requests are on their way.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache, partial
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from feastra_nb.connection.awaiting import answer_of
from feastra_nb.connection.cluster import READ, Database, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.storage.pages import pages
from feastra_nb.storage.patience import AGAIN_S, Patience
from feastra_nb.storage.replicas import replica_groups
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.rows import gathered
from feastra_nb.storage.statements import bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from cassandra.cluster import ResultSet

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

IN_KEYS = 20  # Astra's limit of partition keys in one IN
BEGINNING_US = -(2**63)
END_US = 2**63 - 1
SERVED = "entity_key, event_us, features"  # the columns that serving needs
WHOLE = "entity_key, event_us, created_us, arrived_us, features"  # those of `Rows`
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
    """A read of the newest row of each key, under way; several views are read in parallel by starting them first.

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
        self._db = db
        self._entry = entry
        self._flying: deque[_Flight] = deque()
        self._patience = Patience(db, entry)
        with self._mapped():
            self._requests = self._patience.until_known(lambda: _newest_requests(db, entry, keys, bounds, columns))
            self._start()

    def result(self) -> list[tuple[Any, ...]]:
        """Wait for the answers: a tuple of the columns for each key that has a row, in no order.

        Raises
        ------
        RequestFailed
            Any part of the read failed.
        """
        rows: list[tuple[Any, ...]] = []
        for page in self.pages():
            rows += page
        return rows

    def pages(self) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the answers as they come, otherwise as `result`; each is valid until the next is asked for."""
        with self._mapped():
            while self._flying:
                flight = self._flying.popleft()
                answer = flight.answer(self._db, self._patience)
                self._start()
                yield from pages(self._db, flight.request, answer, profile=READ)

    async def result_async(self) -> list[tuple[Any, ...]]:
        """Await the answers, without a thread that waits; otherwise as `result`."""
        rows: list[tuple[Any, ...]] = []
        with self._mapped():
            while self._flying:
                flight = self._flying.popleft()
                answer = await flight.answer_async(self._db, self._patience)
                self._start()
                rows += answer.current_rows
                while (state := answer.paging_state) is not None:
                    answer = await answer_of(self._db.send(flight.request, READ, paging_state=state))
                    rows += answer.current_rows
        return rows

    def _mapped(self) -> AbstractContextManager[None]:
        return map_driver_errors(f"reading view {self._entry.view}", self._db)

    def _start(self) -> None:
        while len(self._flying) < self._db.read_window:
            request = next(self._requests, None)
            if request is None:
                return
            self._flying.append(_Flight(request, self._db.send(request, READ)))


@dataclass(slots=True)
class _Flight:
    """A request that was sent, and the driver's future of its answer."""

    request: Any
    future: Any

    def answer(self, db: Database, patience: Patience) -> ResultSet:
        """Wait for the answer; sent again for as long as a node does not know the table."""
        while True:
            try:
                return self.future.result()
            except Exception as error:
                if not patience.allows(error):
                    raise
            time.sleep(AGAIN_S)
            self.future = db.send(self.request, READ)

    async def answer_async(self, db: Database, patience: Patience) -> ResultSet:
        """As `answer`, awaited."""
        while True:
            try:
                return await answer_of(self.future)
            except Exception as error:
                if not await patience.allows_async(error):
                    raise
            self.future = db.send(self.request, READ)


def prepare_newest(db: Database, entry: ViewEntry) -> None:
    """Prepare what serving sends, so that starting a read does not wait for the server."""
    patience = Patience(db, entry)
    for cql in newest_cql(db.keyspace, entry.table, SERVED):
        patience.until_known(partial(db.prepare, cql, READ))


def read_newest(db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds) -> Rows:
    """Return the newest row of each distinct key within the bounds, in no order."""
    return gathered(NewestRead(db, entry, keys, bounds, WHOLE).pages())


def no_rows() -> Rows:
    """Return what a read that found nothing returns."""
    return gathered([])


def read_history(db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds) -> Rows:
    """Return every row of the distinct keys within the bounds; each entity's rows together, newest first."""
    return gathered(_slices(db, entry, _select(db, entry), keys, bounds))


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
        for page in _slices(db, entry, _select(db, entry, ", TTL(features), WRITETIME(features)"), keys, bounds):
            remaining_ttl_s.extend(row[-2] for row in page)
            written_us.extend(row[-1] for row in page)
            yield [row[:-2] for row in page]

    return RowsWithTtl(gathered(without_ttl()), remaining_ttl_s, written_us)


def _slices(
    db: Database, entry: ViewEntry, select: str, keys: Sequence[bytes], bounds: Bounds
) -> Iterator[list[tuple[Any, ...]]]:
    cql = f"{select} WHERE entity_key IN ? AND event_us >= ? AND event_us <= ?"
    bounds = alive(entry, bounds)
    patience = Patience(db, entry)
    flying: deque[_Flight] = deque()

    def landed() -> Iterator[list[tuple[Any, ...]]]:
        flight = flying.popleft()
        yield from pages(db, flight.request, flight.answer(db, patience), profile=READ)

    with map_driver_errors(f"reading the history of view {entry.view}", db):
        patience.until_known(lambda: db.prepare(cql, READ))
        for request in _in_requests(db, cql, keys, bounds):
            if len(flying) >= db.read_window:
                yield from landed()
            flying.append(_Flight(request, db.send(request, READ)))
        while flying:
            yield from landed()


# --- requests --------------------------------------------------------------------------------------------------------


def _select(db: Database, entry: ViewEntry, more: str = "") -> str:
    return f"SELECT {WHOLE}{more} FROM {quoted(db.keyspace)}.{quoted(entry.table)}"


@lru_cache(TEXTS_KEPT)
def newest_cql(keyspace: str, table: str, columns: str) -> tuple[str, str]:
    """Return how the newest row of one key is read, and the newest of many."""
    select = f"SELECT {columns} FROM {quoted(keyspace)}.{quoted(table)}"
    bounds = "AND event_us >= ? AND event_us <= ?"
    return (
        f"{select} WHERE entity_key = ? {bounds} LIMIT 1",
        f"{select} WHERE entity_key IN ? {bounds} PER PARTITION LIMIT 1",
    )


def _newest_requests(
    db: Database, entry: ViewEntry, keys: Sequence[bytes], bounds: Bounds, columns: str
) -> Iterator[Any]:
    of_one, of_many = newest_cql(db.keyspace, entry.table, columns)
    if len(keys) != 1:
        return _in_requests(db, of_many, keys, bounds)
    values = [keys[0], _BIGINT(bounds.lower_us), _BIGINT(bounds.upper_us)]
    return iter([bound(db.prepare(of_one, READ), values, keys[0])])


def _in_requests(db: Database, cql: str, keys: Sequence[bytes], bounds: Bounds) -> Iterator[Any]:
    prepared = db.prepare(cql, READ)
    # The driver knows no routing key for IN and would ask a random node; the group's first key leads to its replicas.
    prepared.routing_key_indexes = [0]
    between = [_BIGINT(bounds.lower_us), _BIGINT(bounds.upper_us)]
    for group in replica_groups(db, keys):
        for start in range(0, len(group), IN_KEYS):
            some = [keys[index] for index in group[start : start + IN_KEYS]]
            yield bound(prepared, [_blobs(some), *between], some[0])


def _blobs(blobs: Sequence[bytes]) -> bytes:
    """Return a list of blobs as CQL has it on the wire."""
    return b"".join([_INT(len(blobs)), *(part for blob in blobs for part in (_INT(len(blob)), blob))])
