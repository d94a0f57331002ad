"""The lines of a session: a few a node, each used by one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from feastra_nb.connection.forks import renew_in_child
from feastra_nb.connection.profiles import READ, READ_AGAIN_S, WRITE_AGAIN_S, has_several_nodes
from feastra_nb.connection.wire.frames import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from cassandra.cluster import Session

    from feastra_nb.connection.targets import ClusterSettings
    from feastra_nb.connection.wire.line import Line

log = logging.getLogger("feastra_nb.connection")

LINES_PER_NODE = 32  # as many threads read at once; what comes beside them goes through the driver
OPEN_S = 2.0  # to open one; a node that needs longer is left to the driver for a while
SHUN_S = 5.0
IDLE_S, PROBE_S = 10.0, 0.25  # one that was idle for longer is asked for a sign of life, for so long
SPARE_S = 120.0  # one that nobody needed for so long is closed


class Lines:
    """Lines to the nodes of one session, opened when they are first needed.

    Parameters
    ----------
    session
        The driver's, whose cluster knows the nodes, their addresses, TLS and login.
    settings
        What it was built from.
    """

    def __init__(self, session: Session, settings: ClusterSettings) -> None:
        self._session = session
        self._settings = settings
        self._pid = os.getpid()
        self._several = has_several_nodes(settings)
        self._nodes: dict[Any, _Node] = {}
        self._lock = threading.Lock()
        self.is_closed = False
        # Called with the begin and the end of each exchange, in nanoseconds of the performance counter, by its own thread.
        self.listeners: list[Callable[[int, int], object]] = []

    def tell(self, began_ns: int) -> None:
        """Tell those that listen that an exchange has ended; 0 where nobody listened when it began."""
        if began_ns:
            for listener in list(self.listeners):
                listener(began_ns, time.perf_counter_ns())

    def silence_s(self, profile: str) -> float:
        """Return how long a line may be silent before the driver is asked: it turns to another node, where there is one."""
        timeout_s = self._settings.request_timeout_s
        if not self._several:
            return timeout_s / 2
        return min(READ_AGAIN_S if profile == READ else WRITE_AGAIN_S, timeout_s / 2)

    def nodes(self, profile: str, keyspace: str) -> Callable[[bytes], Any]:
        """Return what finds the node to ask for a routing key: None where none is up."""
        hosts = self._session.cluster.metadata.all_hosts()
        if len(hosts) == 1:
            host = hosts[0] if hosts[0].is_up is not False else None
            return lambda _routing_key: host
        policy = self._session.get_execution_profile(profile).load_balancing_policy
        return lambda routing_key: next(policy.make_query_plan(keyspace, _Routed(routing_key)), None)

    def is_usable(self) -> bool:
        """Tell whether the direct way may be taken at all: in this process, and on the protocol that it speaks."""
        return not (
            self.is_closed
            or self._pid != os.getpid()  # a forked child: the lines are its parent's
            or self._session.is_shutdown
            or self._session.cluster.protocol_version != VERSION
        )

    def borrow(self, host: Any, silence_s: float) -> Line | None:
        """Return a line to a node for one call, None where there is none to be had at once; pair with `give_back`."""
        line = self.borrow_fresh(host, silence_s)
        if line is not None:
            return line
        node = self._node(host)
        while (line := node.take_idle()) is not None:
            if line.is_alive(PROBE_S) and line.begin(silence_s):
                return line
            node.drop(line)
            node.drop_idle()  # the others were idle for longer
        node.open(self._session.cluster, host, wait_s=silence_s)
        return self.borrow_fresh(host, silence_s)

    def borrow_fresh(self, host: Any, silence_s: float) -> Line | None:
        """Return a line that was used just now, None where there is none: without waiting for anything."""
        node = self._node(host)
        while (line := node.take_idle()) is not None:
            if time.monotonic() - line.used_s > IDLE_S:
                node.idle.append(line)
                return None
            if line.begin(silence_s):
                return line
            node.drop(line)
        return None

    def open_soon(self, host: Any) -> None:
        """Have a line opened, without waiting for it; those that were idle for long go, since to look at them would take time."""
        node = self._node(host)
        node.drop_idle()
        node.open(self._session.cluster, host, wait_s=0.0)

    def _node(self, host: Any) -> _Node:
        node = self._nodes.get(host.endpoint)
        if node is None:
            with self._lock:
                node = self._nodes.setdefault(host.endpoint, _Node())
        return node

    def give_back(self, line: Line) -> None:
        """Take a line back after a call; one that is not sound is closed."""
        node = self._nodes[line.endpoint]
        if self.is_closed or not line.is_sound:
            node.drop(line)
            return
        node.idle.append(line)
        node.drop_spare()

    def close(self) -> None:
        """Close all lines that nobody uses; those in use are closed when they come back."""
        self.is_closed = True
        if self._pid != os.getpid():
            return
        for node in list(self._nodes.values()):
            node.is_closed = True
            node.drop_idle()


class _Routed(NamedTuple):
    """As much of a statement as the driver's policies look at."""

    routing_key: bytes
    keyspace: str | None = None


class _Node:
    """The lines to one node."""

    def __init__(self) -> None:
        self.idle: deque[Line] = deque()  # the last used at its right end; its methods need no lock
        self._lines: set[Line] = set()
        self._lock = threading.Lock()
        self._is_opening = False
        self._shunned_until_s = 0.0
        self.is_closed = False

    def open(self, cluster: Any, host: Any, wait_s: float) -> None:
        """Open one more line in a thread of its own, and wait a little for it: a node that hangs must keep nobody waiting.

        Nothing is opened where there are enough, one is being opened, or the node refused one just now.
        """
        with self._lock:
            is_enough = len(self._lines) >= LINES_PER_NODE or time.monotonic() < self._shunned_until_s
            if is_enough or self._is_opening or self.is_closed:
                return
            self._is_opening = True
        opened = threading.Event()
        threading.Thread(target=self._open, args=(cluster, host, opened), daemon=True).start()
        opened.wait(wait_s)

    def _open(self, cluster: Any, host: Any, opened: threading.Event) -> None:
        from feastra_nb.connection.wire.line import Line

        try:
            # No public way leads to how the cluster connects: TLS, login, compression, the bundle's server name.
            options = cluster._make_connection_kwargs(host.endpoint, {})  # noqa: SLF001
            line: Line = Line.factory(host.endpoint, OPEN_S, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver meets it too and says it
            log.info("no line to %s: %s", host.endpoint, error)
            self._shunned_until_s = time.monotonic() + SHUN_S
        else:
            self._lines.add(line)
            self.idle.append(line)
            if self.is_closed:
                self.drop_idle()
        finally:
            self._is_opening = False
            opened.set()

    def take_idle(self) -> Line | None:
        """Return the line that was used last, None where all are in use."""
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def drop(self, line: Line) -> None:
        """Close a line."""
        line.close()
        self._lines.discard(line)

    def drop_idle(self) -> None:
        """Close all lines that nobody uses."""
        with contextlib.suppress(IndexError):
            while True:
                self.drop(self.idle.popleft())

    def drop_spare(self) -> None:
        """Close the line that was idle for the longest, if nobody needed it for long."""
        with contextlib.suppress(IndexError):
            if time.monotonic() - self.idle[0].used_s > SPARE_S:
                self.drop(self.idle.popleft())


class _Registry:
    """The lines of each session of this process."""

    def __init__(self) -> None:
        self.after_fork()
        renew_in_child(self)

    def after_fork(self) -> None:
        self._of: WeakKeyDictionary[Any, Lines] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, session: Session, settings: ClusterSettings) -> Lines:
        with self._lock:
            lines = self._of.get(session)
            if lines is None:
                lines = self._of[session] = Lines(session, settings)
            return lines

    def close(self, session: Session) -> None:
        with self._lock:
            lines = self._of.pop(session, None)
        if lines is not None:
            lines.close()


_registry = _Registry()
lines_of = _registry.of
close_lines = _registry.close
