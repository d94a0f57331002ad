"""Sends many idempotent statements, a bounded number in flight, and retries transient failures."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.storage.window import ATTEMPTS, backoff_s, is_transient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from feastra_nb.connection.cluster import Database

log = logging.getLogger("feastra_nb.storage")

WINDOW = 32  # statements in flight: upkeep runs beside the serving path, and leaves room for it


def run_all(db: Database, statements: Iterable[Any], what: str, *, profile: str) -> Iterator[Any]:
    """Run idempotent statements and yield their result sets, in order.

    Parameters
    ----------
    what
        What is being done, for the error's message.
    profile
        ``READ`` or ``WRITE``, as in `connection.cluster`.

    Raises
    ------
    RequestFailed
        A statement failed for good; those before it are done.
    """
    flying: deque[tuple[Any, Any]] = deque()
    with map_driver_errors(what, db):
        for statement in statements:
            if len(flying) >= WINDOW:
                yield _settled(db, *flying.popleft(), profile)
            flying.append((statement, db.send(statement, profile)))
        while flying:
            yield _settled(db, *flying.popleft(), profile)


def _settled(db: Database, statement: Any, future: Any, profile: str) -> Any:
    for attempt in range(1, ATTEMPTS):
        try:
            return future.result()
        except Exception as error:
            if not is_transient(error) or db.shortage(profile) is not None:
                raise
            delay_s = backoff_s(attempt)
            log.info("a statement again in %.2f s after %s", delay_s, type(error).__name__)
            time.sleep(delay_s)
            future = db.send(statement, profile)
    return future.result()
