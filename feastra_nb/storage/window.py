"""Batches in flight: a bounded number at a time, each sent again after a failure that may pass."""

from __future__ import annotations

import heapq
import logging
import queue
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from feastra_nb.connection.cluster import WRITE, Database
from feastra_nb.connection.driver import map_driver_errors, translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from feastra_nb.storage.batches import Batch

    _Completed: TypeAlias = queue.SimpleQueue[tuple[Batch, BaseException | None]]

log = logging.getLogger("feastra_nb.storage")

ATTEMPTS = 6  # sends of one batch before it is given up
BACKOFF_S, BACKOFF_LIMIT_S = 0.05, 2.0
LEAST_IN_FLIGHT = 4
CUT_AGAIN_S = 0.5  # failures within this time of one another have one cause, and narrow the window once


@dataclass(slots=True)
class WriteResult:
    """What came of a write: rows acknowledged, and batches that had to be sent again."""

    rows: int = 0
    retries: int = 0


def _acknowledged(_rows: object, completed: _Completed, batch: Batch) -> None:
    completed.put((batch, None))


def _failed(error: BaseException, completed: _Completed, batch: Batch) -> None:
    completed.put((batch, error))


class Window:
    """Batches in flight. Completions come back to the sending thread through a queue, so no state is shared.

    How many may be in flight is halved when the server cannot follow (overloaded, timed out), and grows back by one for each
    window of acknowledged batches, up to ``db.write_window``.
    """

    def __init__(self, db: Database, on_acknowledged: Callable[[int], object] | None) -> None:
        self.result = WriteResult()
        self._db = db
        self._on_acknowledged = on_acknowledged
        self._completed: _Completed = queue.SimpleQueue()
        self._waiting: list[Batch] = []
        self._in_flight = 0
        self._limit = db.write_window
        self._acknowledged_since = 0
        self._cut_again_s = 0.0

    def send(self, batch: Batch) -> None:
        """Send a batch as soon as the window has room."""
        while self._in_flight >= self._limit:
            self._settle(self._completed.get())
        while not self._completed.empty():
            self._settle(self._completed.get())
        self._send_due(time.monotonic())
        self._start(batch)

    def finish(self) -> None:
        """Return when everything is acknowledged, retries included."""
        while self._in_flight or self._waiting:
            now = time.monotonic()
            self._send_due(now)
            timeout_s = None if self._in_flight and not self._waiting else max(0.0, self._waiting[0].due_s - now)
            try:
                self._settle(self._completed.get(timeout=timeout_s))
            except queue.Empty:
                continue

    def settle_all(self) -> None:
        """Wait for what is in flight, without sending anything more and without raising."""
        self._waiting.clear()
        while self._in_flight:
            batch, error = self._completed.get()
            self._in_flight -= 1
            if error is None:
                self._acknowledge(batch)

    def _start(self, batch: Batch) -> None:
        batch.attempts += 1
        self._in_flight += 1
        try:
            future = self._db.session.execute_async(batch.statement, execution_profile=WRITE)
        except BaseException:
            self._in_flight -= 1
            with map_driver_errors("writing"):
                raise
        known = (self._completed, batch)
        future.add_callbacks(_acknowledged, _failed, callback_args=known, errback_args=known)

    def _send_due(self, now_s: float) -> None:
        while self._waiting and self._waiting[0].due_s <= now_s and self._in_flight < self._limit:
            self._start(heapq.heappop(self._waiting))

    def _settle(self, completion: tuple[Batch, BaseException | None]) -> None:
        batch, error = completion
        self._in_flight -= 1
        if error is None:
            self._acknowledge(batch)
        elif batch.attempts < ATTEMPTS and is_transient(error):
            self._retry_later(batch, error)
        else:
            raise translate(error, "writing") from error

    def _acknowledge(self, batch: Batch) -> None:
        batch.release()
        self.result.rows += batch.rows
        self._acknowledged_since += 1
        if self._acknowledged_since >= self._limit < self._db.write_window:
            self._limit, self._acknowledged_since = self._limit + 1, 0
        if self._on_acknowledged is not None:
            self._on_acknowledged(batch.rows)

    def _narrow(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._cut_again_s:
            self._limit, self._acknowledged_since = max(LEAST_IN_FLIGHT, self._limit // 2), 0
            self._cut_again_s = now_s + CUT_AGAIN_S

    def _retry_later(self, batch: Batch, error: BaseException) -> None:
        self.result.retries += 1
        self._narrow()
        delay_s = backoff_s(batch.attempts)
        log.info("batch of %d rows again in %.2f s after %s", batch.rows, delay_s, type(error).__name__)
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
