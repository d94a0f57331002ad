"""Sessions shared process-wide by their settings, counted, and closed with the last one that closes.

Spark builds an online store for every Arrow batch, and a notebook opens several workspaces.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from feastra_nb.connection.forks import renew_in_child
from feastra_nb.connection.wire.lines import close_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from cassandra.cluster import Session

    from feastra_nb.connection.targets import ClusterSettings


class SessionPool:
    """Sessions of this process by their settings, each with the number of its users.

    Parameters
    ----------
    open_session
        Connects.
    """

    def __init__(self, open_session: Callable[[ClusterSettings], Session]) -> None:
        self._open_session = open_session
        self.after_fork()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Begin without sessions, as a new pool and a forked child do."""
        self._lock = threading.RLock()
        self._open: dict[ClusterSettings, Session] = {}
        self._users: dict[Session, int] = {}

    def acquire(self, settings: ClusterSettings) -> Session:
        """Return the session of these settings, opening it for the first user; pair with `release`.

        A session that has lost all of its hosts is replaced: it would refuse everything until the driver has tried to
        reconnect. Those who use it already keep it.
        """
        with self._lock:
            session = self._open.get(settings)
            if session is None or not _has_host(session):
                session = self._open[settings] = self._open_session(settings)
            self._users[session] = self._users.get(session, 0) + 1
            return session

    def release(self, session: Session) -> None:
        """Give a session back; the last user's return closes it. One of before a fork is not the child's to close."""
        with self._lock:
            users = self._users.get(session)
            if users is None:
                return
            if users > 1:
                self._users[session] = users - 1
                return
            del self._users[session]
            self._open = {settings: kept for settings, kept in self._open.items() if kept is not session}
        close_lines(session)
        session.cluster.shutdown()

    def close_all(self) -> None:
        """Close every session of this process."""
        with self._lock:
            sessions = list(self._users)
            self._open, self._users = {}, {}
        for session in sessions:
            with contextlib.suppress(Exception):
                close_lines(session)
                session.cluster.shutdown()


def _has_host(session: Session) -> bool:
    return not session.is_shutdown and any(host.is_up for host in session.cluster.metadata.all_hosts())
