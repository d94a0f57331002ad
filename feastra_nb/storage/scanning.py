"""Scans a table by ranges of its ring: some ranges at a time, in pages of a bounded size, as columns.

A range is the unit of failure: what a node cannot answer is asked for again in smaller pages, and a range that fails for good
is reported beside those that did not. Pages take the direct way; what is unusual there is asked for through the driver.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from feastra_nb.connection.cluster import READ, Database, consistency_value
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.connection.wire import frames
from feastra_nb.connection.wire.line import BrokenLine
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, FeastraError, RequestFailed
from feastra_nb.storage.scanned_columns import columns_of_rows, columns_of_tuples, joined
from feastra_nb.storage.statements import bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cassandra.query import PreparedStatement

    from feastra_nb.storage.scanned_columns import Column, Columns

MIN_TOKEN, MAX_TOKEN = -(2**63), 2**63 - 1  # Murmur3Partitioner's ring
TOKEN_RANGES = 64  # at least, where nobody says otherwise: so that progress shows and no range takes long
PARALLEL = 3  # ranges that are read at the same time
PAGE_BYTES = 512 * 1024  # of an answer, about; its rows are counted after the first page
FIRST_PAGE_ROWS, LEAST_PAGE_ROWS, MOST_PAGE_ROWS = 500, 20, 10_000
ATTEMPTS = 5  # at one page, each with a quarter of the rows
AGAIN_S = 0.5  # before the second attempt, and twice as long before each further one
MORE_TIMEOUT = 3.0  # a page may take so many times as long as a read of one entity


class TokenRange(NamedTuple):
    """A part of the ring: open below, closed above."""

    after: int
    upto: int


class FailedRange(NamedTuple):
    """A range that could not be read, and why."""

    range: TokenRange
    error: FeastraError


class ScannedRange(NamedTuple):
    """The rows of a range, in the ring's order and each partition's together."""

    range: TokenRange
    columns: Columns


Scanned: TypeAlias = "ScannedRange | FailedRange"


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What to read of a table.

    Parameters
    ----------
    db
        The keyspace, as it is read.
    what
        What is being done, for errors: ``"scanning view v"``.
    table
        The table's name with its keyspace, quoted.
    key
        The partition key's column.
    columns
        What is selected.
    where
        Further conditions, each with ``AND`` before it and ``?`` for values.
    values
        Of these, in their wire form.
    tail
        What stands behind the conditions, such as ``PER PARTITION LIMIT 1``.
    level
        Consistency level; None for the store's own.
    """

    db: Database
    what: str
    table: str
    key: str
    columns: Sequence[Column]
    where: str = ""
    values: Sequence[bytes] = ()
    tail: str = ""
    level: str | None = None

    @property
    def cql(self) -> str:
        """The statement."""
        selected = ", ".join(column.cql for column in self.columns)
        ring = f"token({self.key}) > ? AND token({self.key}) <= ?"
        return " ".join(f"SELECT {selected} FROM {self.table} WHERE {ring} {self.where} {self.tail}".split())


class Pace:
    """Holds a scan to so many rows a second, over all its ranges; None for no limit.

    Raises
    ------
    ConfigurationError
        It is not a number above 0.
    """

    def __init__(self, rows_per_s: float | None) -> None:
        if rows_per_s is not None and (isinstance(rows_per_s, bool) or not rows_per_s > 0):
            raise ConfigurationError(f"rows_per_s={rows_per_s!r} is not a number above 0", hint="rows_per_s=10_000")
        self._rows_per_s = rows_per_s
        self._free_s = 0.0  # when the next page may be asked for
        self._lock = threading.Lock()

    def spend(self, rows: int, stop: threading.Event) -> None:
        """Wait until some rows are paid for."""
        if self._rows_per_s is None:
            return
        with self._lock:
            now_s = time.monotonic()
            self._free_s = max(self._free_s, now_s) + rows / self._rows_per_s
            wait_s = self._free_s - now_s
        stop.wait(wait_s)


def token_ranges(db: Database, parts: int = TOKEN_RANGES) -> list[TokenRange]:
    """Return the ring cut into about so many ranges, in order; no range has two owners."""
    cuts = {MIN_TOKEN + (2**64 // parts) * part for part in range(parts)}
    metadata = db.session.cluster.metadata
    if len(metadata.all_hosts()) > 1:
        cuts |= {int(token.value) for token in getattr(metadata.token_map, "ring", None) or ()}
    return [TokenRange(*ends) for ends in pairwise(sorted(cuts | {MAX_TOKEN}))]


def scanned(
    scan: Scan, ranges: Sequence[TokenRange], *, parallel: int = PARALLEL, pace: Pace | None = None
) -> Iterator[Scanned]:
    """Yield what ranges hold, in their order; some of them are read ahead.

    A range whose nodes cannot answer is yielded as a `FailedRange`.

    Raises
    ------
    FeastraError
        What no other attempt would mend: a table that is not there, a role that may not read it.
    """
    stop = threading.Event()
    reader = _Reader(scan, pace or Pace(None), stop)
    source = iter(ranges)
    ahead: deque[Any] = deque()
    with ThreadPoolExecutor(parallel, thread_name_prefix="feastra-scan") as pool:
        try:
            while True:
                for each in source:
                    ahead.append(pool.submit(reader.read, each))
                    if len(ahead) > parallel:
                        break
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            stop.set()
            for future in ahead:
                future.cancel()


class _Stopped(Exception):
    """Nobody wants the rows any more."""


@dataclass(slots=True, eq=False)
class _Reader:
    """Reads ranges, each in a thread of its own."""

    scan: Scan
    pace: Pace
    stop: threading.Event
    page_rows: int = field(default=FIRST_PAGE_ROWS)  # of all ranges: they hold alike rows

    def read(self, part: TokenRange) -> Scanned:
        """Read all pages of a range."""
        pages: list[Columns] = []
        state: bytes | None = None
        try:
            while True:
                columns, state = self._page(part, state)
                pages.append(columns)
                self.pace.spend(_rows(columns), self.stop)
                if state is None:
                    return ScannedRange(part, joined(pages, self.scan.columns))
        except FeastraError as error:
            if _is_transient(error):
                return FailedRange(part, error)
            raise

    def _page(self, part: TokenRange, state: bytes | None) -> tuple[Columns, bytes | None]:
        """Return a page and where the next one begins, None after the last; asked for again while nodes fail."""
        for attempt in range(ATTEMPTS):
            if self.stop.is_set():
                raise _Stopped
            page_rows = max(self.page_rows >> 2 * attempt, LEAST_PAGE_ROWS)
            try:
                return self._read_page(part, state, page_rows)
            except FeastraError as error:
                if attempt == ATTEMPTS - 1 or not _is_transient(error):
                    raise
            self.stop.wait(AGAIN_S * 2**attempt)
        raise AssertionError

    def _read_page(self, part: TokenRange, state: bytes | None, page_rows: int) -> tuple[Columns, bytes | None]:
        db, scan = self.scan.db, self.scan
        with map_driver_errors(scan.what, db):
            prepared = db.prepare(scan.cql, READ)
            values = [*map(frames.bigint, part), *scan.values]
            rows = self._directly(prepared, values, part, state, page_rows)
            if rows is not None:
                try:
                    columns = columns_of_rows(rows, scan.columns)
                except frames.UnusualAnswer:
                    pass
                else:
                    self._adapt(len(rows.body), rows.number)
                    return columns, rows.paging_state
            statement = bound(prepared, values)
            statement.consistency_level = self._level(prepared)
            statement.fetch_size = page_rows
            answer = db.send(statement, READ, state, db.settings.request_timeout_s * MORE_TIMEOUT).result()
            return columns_of_tuples(answer.current_rows, scan.columns), answer.paging_state

    def _directly(
        self, prepared: PreparedStatement, values: list[bytes], part: TokenRange, state: bytes | None, page_rows: int
    ) -> frames.Rows | None:
        """Return a page by the direct way; None where the driver has to be asked."""
        db = self.scan.db
        host = _owner(db, part) if db.goes_directly(READ) else None
        line = db.lines.borrow(host, db.settings.request_timeout_s) if host is not None else None
        if line is None:
            return None
        try:
            body = frames.execute(prepared.query_id, self._level(prepared), values, page_rows, state)
            line.send([(frames.EXECUTE, body, None)])
            [(_token, answer)] = line.receive()
            if answer.flags & frames.WARNED:  # of tombstones, most likely: smaller pages meet fewer
                self.page_rows = max(self.page_rows // 4, LEAST_PAGE_ROWS)
            is_usual = answer.opcode == frames.RESULT and not answer.flags & (frames.TRACED | frames.PAYLOAD)
            return frames.rows(answer.body, len(self.scan.columns)) if is_usual else None
        except BrokenLine:
            line.give_up()
            return None
        except frames.UnusualAnswer:
            return None
        finally:
            db.lines.give_back(line)

    def _level(self, prepared: PreparedStatement) -> int:
        level = self.scan.level
        return int(prepared.consistency_level) if level is None else consistency_value(level)

    def _adapt(self, size: int, number: int) -> None:
        if number:
            wanted = min(PAGE_BYTES * number // size, 2 * self.page_rows, MOST_PAGE_ROWS)
            self.page_rows = max(wanted, LEAST_PAGE_ROWS)


def _is_transient(error: FeastraError) -> bool:
    """Tell whether another attempt may succeed, or another range: not where the server refused what was asked."""
    from cassandra import InvalidRequest

    is_failure = isinstance(error, (RequestFailed, ConnectionFailed)) and not isinstance(error, AuthenticationFailed)
    return is_failure and not isinstance(error.__cause__, InvalidRequest)


def _rows(columns: Columns) -> int:
    return len(columns[0]) if columns else 0


def _owner(db: Database, part: TokenRange) -> Any:
    """Return a node that has a range, nearest first as the driver's policy has it; None where the driver is to choose."""
    metadata = db.session.cluster.metadata
    hosts = metadata.all_hosts()
    if len(hosts) == 1:
        return hosts[0] if hosts[0].is_up is not False else None
    token_map = metadata.token_map
    if token_map is None:
        return None
    policy = db.session.get_execution_profile(READ).load_balancing_policy
    owners = token_map.get_replicas(db.keyspace, token_map.token_class(part.upto))
    up = [host for host in owners if host.is_up is not False]
    return min(up, key=policy.distance, default=None)
