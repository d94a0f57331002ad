"""Keeps a bounded number of batches in flight, and retries transient failures."""

from __future__ import annotations

import contextlib
import heapq
import logging
import queue
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from feastra_nb.connection.cluster import WRITE, Database
from feastra_nb.connection.driver_errors import map_driver_errors, translate
from feastra_nb.connection.wire import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feastra_nb.connection.wire.exchange import Request
    from feastra_nb.connection.wire.line import Answer
    from feastra_nb.storage.batches import Batch
    from feastra_nb.storage.patience import Patience

    _Completed: TypeAlias = queue.SimpleQueue[tuple[Batch, BaseException | None]]

log = logging.getLogger("feastra_nb.storage")

ATTEMPTS = 6  # sends of one batch before it is given up
BACKOFF_S, BACKOFF_LIMIT_S = 0.05, 2.0
LEAST_IN_FLIGHT = 4
ROOM_SHARE = 8  # of the window, which is free before more is sent
BOTH_WAYS_S = 0.005  # between two looks at the driver's completions, while answers are waited for on the direct way
POLL_S = 0.05  # between two looks at what is in flight, where nothing is completed meanwhile
SHORT_OF_REPLICAS_S = 2.0  # a node that restarts is away for longer, one whose connection broke for less
CUT_AGAIN_S = 0.5  # failures within this time of one another have one cause, and narrow the window once


@dataclass(slots=True)
class WriteResult:
    """What came of a write: rows acknowledged, and batches that had to be sent again."""

    rows: int = 0
    retries: int = 0


class _Flight:
    """One sending of a batch. Sent to two nodes, it is answered twice, and the driver calls back for both: one counts."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open = [True]

    def lands(self) -> bool:
        """Tell whether this is the first answer; the driver may ask in two threads at once."""
        try:
            return self._open.pop()  # no lock: to pop is one step for the interpreter
        except IndexError:
            return False


def _acknowledged(_rows: object, completed: _Completed, batch: Batch, flying: set[_Flight], flight: _Flight) -> None:
    if flight.lands():
        completed.put((batch, None))
        flying.discard(flight)


def _failed(error: BaseException, completed: _Completed, batch: Batch, flying: set[_Flight], flight: _Flight) -> None:
    if flight.lands():
        completed.put((batch, error))
        flying.discard(flight)


class WriteWindow:
    """Batches in flight: each takes the direct way first, and goes through the driver where that does not lead to its end.

    The driver's completions come back to the sending thread through a queue. What is in flight there is taken off by the
    driver's thread, which Ctrl-C does not interrupt: were it counted by the sending one, Ctrl-C between taking a completion and
    counting it would leave one more for ever, and `settle_all` would never return.

    How many may be in flight is halved when the server cannot follow (overloaded, timed out), and grows back by one for each
    window of acknowledged batches, up to ``db.write_window``.
    """

    def __init__(
        self, db: Database, on_acknowledged: Callable[[int], object] | None, patience: Patience | None = None
    ) -> None:
        self.result = WriteResult()
        self._db = db
        self._on_acknowledged = on_acknowledged
        self._patience = patience
        self._short_since_s: float | None = None
        self._completed: _Completed = queue.SimpleQueue()
        self._waiting: list[Batch] = []
        self._exchange = db.exchange(WRITE)
        self._answered: deque[tuple[Batch, Answer]] = deque()  # by the direct way, and not looked at yet
        self._unsent: list[Batch] = []  # for the direct way, which takes several at a time
        self._flying: set[_Flight] = set()  # through the driver
        self._limit = db.write_window
        self._acknowledged_since = 0
        self._untold_rows = 0
        self._cut_again_s = 0.0

    def __enter__(self) -> WriteWindow:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._exchange is not None:
            self._exchange.close()

    def send(self, batch: Batch) -> None:
        """Send a batch as soon as the window has room."""
        if self._in_flight() >= self._limit:
            # Some room at once: to wake for each answer alone would cost more than the answer.
            room = max(self._limit // ROOM_SHARE, 1)
            while self._in_flight() > self._limit - room:
                self._settle_next(POLL_S)
        while not self._completed.empty():
            self._settle(self._completed.get())
        self._send_due(time.monotonic())
        self._start(batch)

    def finish(self) -> None:
        """Return when everything is acknowledged, retries included."""
        while self._is_open():
            now_s = time.monotonic()
            self._send_due(now_s)
            due_in_s = self._waiting[0].due_s - now_s if self._waiting else POLL_S
            # What is due and still waits has no room: it has to wait for a completion.
            self._settle_next(min(due_in_s, POLL_S) if due_in_s > 0 else POLL_S)

    def settle_all(self) -> None:
        """Wait for what is in flight, without sending anything more and without raising."""
        self._waiting.clear()
        self._unsent.clear()
        self._acknowledge_answered()
        self._tell()
        while self._is_open():
            if self._exchange is not None:
                self._answered.extend(self._exchange.receive(BOTH_WAYS_S if self._flying else POLL_S).answers)
                self._acknowledge_answered()
            with contextlib.suppress(queue.Empty):
                while True:
                    batch, error = self._completed.get(timeout=0 if self._on_the_wire() else POLL_S)
                    if error is None:
                        self._acknowledge(batch)
            self._tell()

    def _acknowledge_answered(self) -> list[tuple[Batch, Answer]]:
        """Acknowledge what the direct way has written, and return the answers that say something else."""
        others = []
        # One by one off the queue: what is left behind an interrupt is taken by `settle_all`.
        while self._answered:
            batch, answer = self._answered.popleft()
            if answer.opcode == frames.RESULT and frames.is_void(answer.body):
                self._acknowledge(batch)
            else:
                others.append((batch, answer))
        return others

    def _is_open(self) -> bool:
        return bool(self._in_flight() or self._waiting or not self._completed.empty())

    def _in_flight(self) -> int:
        return len(self._flying) + len(self._unsent) + self._on_the_wire()

    def _on_the_wire(self) -> int:
        return self._exchange.in_flight if self._exchange is not None else 0

    def _start(self, batch: Batch) -> None:
        batch.stamp()
        batch.attempts += 1
        if self._exchange is not None and batch.attempts == 1:
            self._unsent.append(batch)
        else:
            self._start_through_driver(batch)

    def _start_through_driver(self, batch: Batch) -> None:
        flight = _Flight()  # of this attempt: the next one may begin before the driver's thread has taken this one off
        known = (self._completed, batch, self._flying, flight)
        try:
            self._flying.add(flight)
            future = self._db.send(batch.statement(), WRITE)
            future.add_callbacks(_acknowledged, _failed, callback_args=known, errback_args=known)
        except BaseException:
            self._flying.discard(flight)
            with map_driver_errors("writing", self._db):
                raise

    def _send_due(self, now_s: float) -> None:
        while self._waiting and self._waiting[0].due_s <= now_s and self._in_flight() < self._limit:
            self._start(heapq.heappop(self._waiting))

    def _settle_next(self, timeout_s: float) -> None:
        """Wait for a completion, of whichever way, and take what has come."""
        if self._unsent or self._on_the_wire():
            # Beside batches that travel through the driver none waits long for the other way.
            self._receive(min(timeout_s, BOTH_WAYS_S) if self._flying else timeout_s)
            timeout_s = 0.0
        with contextlib.suppress(queue.Empty):
            self._settle(self._completed.get(timeout=timeout_s) if timeout_s else self._completed.get_nowait())

    def _receive(self, timeout_s: float) -> None:
        """Send what waits for the direct way, and take the answers that came there."""
        if self._exchange is None:
            return
        unsent, self._unsent = self._unsent, []
        lost = self._exchange.send(self._requests(unsent)) if unsent else []
        received = self._exchange.receive(timeout_s)
        self._answered.extend(received.answers)
        if received.lost:
            self._narrow()
        for batch in (*lost, *received.lost):
            self._start_through_driver(batch)
        self._take_answers()

    def _requests(self, batches: Sequence[Batch]) -> list[Request]:
        timestamp_us = self._db.session.cluster.timestamp_generator()  # the driver's, of all that is sent at once
        return [batch.request(timestamp_us) for batch in batches]

    def _take_answers(self) -> None:
        for batch, answer in self._acknowledge_answered():
            if answer.opcode == frames.ERROR and frames.error_code(answer.body) in frames.TRANSIENT:
                self._retry_later(batch, f"error {frames.error_code(answer.body):#06x}")
            else:
                self._start_through_driver(batch)
        self._tell()

    def _settle(self, completion: tuple[Batch, BaseException | None]) -> None:
        batch, error = completion
        if error is None:
            self._acknowledge(batch)
            self._tell()
        elif batch.attempts < ATTEMPTS and self._may_pass(error):
            self._retry_later(batch, type(error).__name__)
        else:
            raise translate(error, "writing", self._db) from error

    def _may_pass(self, error: BaseException) -> bool:
        if self._patience is not None and self._patience.allows(error):
            return True
        return is_transient(error) and not self._is_short_of_replicas()

    def _is_short_of_replicas(self) -> bool:
        """Tell whether too few replicas have been up for longer than a moment: then waiting is the user's to decide."""
        now_s = time.monotonic()
        if self._db.shortage(WRITE) is None:
            self._short_since_s = None
        elif self._short_since_s is None:
            self._short_since_s = now_s
        return self._short_since_s is not None and now_s - self._short_since_s > SHORT_OF_REPLICAS_S

    def _acknowledge(self, batch: Batch) -> None:
        batch.release()
        self.result.rows += batch.rows
        self._acknowledged_since += 1
        if self._acknowledged_since >= self._limit < self._db.write_window:
            self._limit, self._acknowledged_since = self._limit + 1, 0
        self._untold_rows += batch.rows

    def _tell(self) -> None:
        """Tell of the rows that were acknowledged since the last time: at once of what came together."""
        rows, self._untold_rows = self._untold_rows, 0
        if rows and self._on_acknowledged is not None:
            self._on_acknowledged(rows)

    def _narrow(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._cut_again_s:
            self._limit, self._acknowledged_since = max(LEAST_IN_FLIGHT, self._limit // 2), 0
            self._cut_again_s = now_s + CUT_AGAIN_S

    def _retry_later(self, batch: Batch, why: str) -> None:
        self.result.retries += 1
        self._narrow()
        delay_s = backoff_s(batch.attempts)
        log.info("batch of %d rows again in %.2f s after %s", batch.rows, delay_s, why)
        batch.due_s = time.monotonic() + delay_s
        heapq.heappush(self._waiting, batch)


def backoff_s(attempts: int) -> float:
    """Return how long to wait, in seconds, before what was sent so many times is sent again."""
    # Jitter, so that many writers do not come back at one moment.
    return min(BACKOFF_S * 2**attempts, BACKOFF_LIMIT_S) * random.uniform(0.5, 1.5)  # noqa: S311


def is_transient(error: BaseException) -> bool:
    """Tell whether sending the same idempotent statement again may work."""
    from cassandra import OperationTimedOut, Unavailable, WriteFailure, WriteTimeout
    from cassandra.cluster import NoHostAvailable
    from cassandra.connection import ConnectionException
    from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage

    return isinstance(
        error,
        (
            OperationTimedOut,
            Unavailable,
            WriteTimeout,
            WriteFailure,
            NoHostAvailable,
            ConnectionException,
            OverloadedErrorMessage,
            IsBootstrappingErrorMessage,
        ),
    )
