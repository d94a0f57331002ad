"""Asks for rows: the direct way, and whatever is unusual there through the driver.

An answer is unusual where it is an error, does not come in time, or is not of the form that was asked for; its request is then
sent once more, through the driver, whose retries, second nodes and errors count.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.awaiting import answer_of
from feastra_nb.connection.cluster import READ, Database
from feastra_nb.connection.wire import frames
from feastra_nb.connection.wire.exchange import Request, ask
from feastra_nb.storage.pages import decoded, pages
from feastra_nb.storage.patience import AGAIN_S
from feastra_nb.storage.statements import bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cassandra.cluster import ResultSet
    from cassandra.query import BoundStatement, PreparedStatement

    from feastra_nb.connection.wire.exchange import Exchange, Received
    from feastra_nb.storage.patience import Patience

    Page = list[tuple[Any, ...]]

PAGE_ROWS = 5_000  # of one answer
LEAST_TIMEOUT_S = 1.0  # that the driver has after the direct way


@dataclass(slots=True, eq=False)
class Query:
    """One request for rows.

    Parameters
    ----------
    prepared
        Its statement.
    wire_values
        The values that it is bound to, in their wire form.
    routing_key
        The key whose replicas are asked.
    columns
        Which the statement selects, as `storage.pages` knows them.
    patience
        Of the read that it belongs to.
    paged
        Whether the answer may be longer than a page. A server reads the keys of an ``IN`` one after another for pages, and
        all at once without.
    """

    prepared: PreparedStatement
    wire_values: list[bytes]
    routing_key: bytes
    columns: str
    patience: Patience
    paged: bool
    paging_state: bytes | None = field(default=None)

    def request(self) -> Request:
        """Return it as the direct way sends it."""
        level = self.prepared.consistency_level
        page_rows = PAGE_ROWS if self.paged else None
        body = frames.execute(self.prepared.query_id, level, self.wire_values, page_rows, self.paging_state)
        return Request(self.routing_key, frames.EXECUTE, body, self)

    def send(self, db: Database, timeout_s: float | None = None) -> Any:
        """Send it through the driver, and return the driver's future."""
        return db.send(self.statement(), READ, self.paging_state, timeout_s)

    def statement(self) -> BoundStatement:
        """Return it as the driver sends it."""
        statement = bound(self.prepared, self.wire_values, self.routing_key)
        statement.fetch_size = PAGE_ROWS if self.paged else None
        return statement


def fetched(db: Database, queries: Sequence[Query]) -> list[tuple[Query, Page]]:
    """Send queries that are not paged, a window of them at once, and return the answers when all are there."""
    began_s: float | None = None
    found: list[tuple[Query, Page]] = []
    left = queries
    if db.goes_directly(READ):
        began_s, left = time.monotonic(), []
        for start in range(0, len(queries), db.read_window):
            some = [query.request() for query in queries[start : start + db.read_window]]
            _sort(ask(db.lines, READ, db.keyspace, some), found, left)
    if left:
        found += [(query, page.copy()) for query, page in _through_driver(db, left, began_s)]
    return found


def _next_requests(db: Database, exchange: Exchange, queries: Iterator[Query]) -> list[Request]:
    """Return the requests for which the window has room."""
    return [query.request() for query in islice(queries, db.read_window - exchange.in_flight)]


def _sort(received: Received, found: list[tuple[Query, Page]], left: list[Query]) -> None:
    """Add the pages that were received, and the queries that the driver has to be asked for."""
    left += received.lost
    for query, answer in received.answers:
        page = _page(answer, query)
        if page is None:
            left.append(query)
        else:
            found.append((query, page))


def answered(db: Database, queries: Iterable[Query]) -> Iterator[tuple[Query, Page]]:
    """Yield the pages of the answers as they come; those of one query together and in their order.

    A page is valid until the next is asked for. At most ``db.read_window`` queries are on their way at a time.
    """
    began_s = time.monotonic()
    left: Iterable[Query] = queries
    exchange = db.exchange(READ)
    if exchange is not None:
        lost: list[Query] = []
        with exchange:
            yield from _Direct(db, exchange, lost).answers(iter(queries))
        if not lost:
            return
        left = lost
    yield from _through_driver(db, left, began_s if exchange is not None else None)


class _Direct:
    """The queries of one call on the direct way."""

    def __init__(self, db: Database, exchange: Exchange, lost: list[Query]) -> None:
        self._db = db
        self._exchange = exchange
        self._lost = lost
        self._ready: deque[tuple[Query, frames.Rows | None]] = deque()

    def answers(self, queries: Iterator[Query]) -> Iterator[tuple[Query, Page]]:
        """Yield the pages of what was answered; what was not is added to ``lost``."""
        while True:
            if some := _next_requests(self._db, self._exchange, queries):
                self._lost += self._exchange.send(some)
            if self._ready:
                yield from self._pages(*self._ready.popleft())
            elif self._exchange.in_flight:
                self._receive()
            elif not some:
                return

    def _pages(self, query: Query, rows: frames.Rows | None) -> Iterator[tuple[Query, Page]]:
        """Yield a query's pages, the further ones as soon as they come."""
        while rows is not None:
            try:
                page = decoded(rows, query.columns)
            except frames.UnusualAnswer:
                break
            yield query, page
            if rows.paging_state is None:
                return
            query.paging_state = rows.paging_state
            rows = self._next(query)
        if query.paging_state is None:
            self._lost.append(query)
        else:  # its pages stay together
            yield from _through_driver(self._db, [query], None)

    def _next(self, query: Query) -> frames.Rows | None:
        self._lost += self._exchange.send([query.request()])
        while True:
            for place, (other, rows) in enumerate(self._ready):
                if other is query:
                    del self._ready[place]
                    return rows
            if query in self._lost:
                self._lost.remove(query)
                return None
            self._receive()

    def _receive(self) -> None:
        received = self._exchange.receive()
        self._lost += received.lost
        for query, answer in received.answers:
            self._ready.append((query, _rows(answer, query)))


def _rows(answer: Any, query: Query) -> frames.Rows | None:
    if answer.opcode != frames.RESULT or answer.flags & (frames.TRACED | frames.PAYLOAD):
        return None
    try:
        return frames.rows(answer.body, query.columns.count(",") + 1)
    except frames.UnusualAnswer:
        return None


def _page(answer: Any, query: Query) -> Page | None:
    """Return the rows of an answer that holds them all; None where it is unusual."""
    rows = _rows(answer, query)
    if rows is None or rows.paging_state is not None:
        return None
    try:
        return decoded(rows, query.columns)
    except frames.UnusualAnswer:
        return None


# --- through the driver ------------------------------------------------------------------------------------------------


def _through_driver(db: Database, queries: Iterable[Query], began_s: float | None) -> Iterator[tuple[Query, Page]]:
    """Yield the pages of answers, a window of queries in flight.

    Parameters
    ----------
    began_s
        When these queries were sent before, for which they have that much less time; None where they were not.
    """
    timeout_s = None if began_s is None else _left_s(db, began_s)
    source = iter(queries)
    flying: deque[_Flight] = deque()
    while _fill(flying, db, source, timeout_s):
        flight = flying.popleft()
        for page in pages(db, flight.query.statement(), flight.answer(db), profile=READ):
            yield flight.query, page


def _fill(flying: deque[_Flight], db: Database, queries: Iterator[Query], timeout_s: float | None) -> deque[_Flight]:
    """Send the queries for which the window has room, and return all that are on their way."""
    flying.extend(_Flight(query, query.send(db, timeout_s)) for query in islice(queries, db.read_window - len(flying)))
    return flying


def _left_s(db: Database, began_s: float) -> float:
    """Return what is left of the request timeout for the driver, after the direct way was tried."""
    return max(db.settings.request_timeout_s - (time.monotonic() - began_s), LEAST_TIMEOUT_S)


@dataclass(slots=True)
class _Flight:
    """A query that was sent through the driver, and the driver's future of its answer."""

    query: Query
    future: Any

    def answer(self, db: Database) -> ResultSet:
        """Wait for the answer; sent again for as long as a node does not know the table."""
        while True:
            try:
                return self.future.result()
            except Exception as error:
                if not self.query.patience.allows(error):
                    raise
            time.sleep(AGAIN_S)
            self.future = self.query.send(db)

    async def answer_async(self, db: Database) -> ResultSet:
        """As `answer`, awaited."""
        while True:
            try:
                return await answer_of(self.future)
            except Exception as error:
                if not await self.query.patience.allows_async(error):
                    raise
            self.future = self.query.send(db)


async def fetched_async(db: Database, queries: Iterable[Query]) -> list[tuple[Query, Page]]:
    """As `fetched`; no thread waits for the answers."""
    found: list[tuple[Query, Page]] = []
    left, timeout_s = queries, None
    exchange = db.exchange(READ)
    if exchange is not None:
        began_s, left, source = time.monotonic(), [], iter(queries)
        with exchange:
            while (some := _next_requests(db, exchange, source)) or exchange.in_flight:
                left += exchange.send_at_once(some)
                _sort(await exchange.receive_async(), found, left)
        timeout_s = _left_s(db, began_s)
    flying: deque[_Flight] = deque()
    rest = iter(left)
    while _fill(flying, db, rest, timeout_s):
        flight = flying.popleft()
        found.append((flight.query, (await flight.answer_async(db)).current_rows))
    return found
