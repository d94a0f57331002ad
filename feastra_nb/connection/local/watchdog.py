"""Stop a local Cassandra that has had no client for a while: ``python -m feastra_nb.connection.local.watchdog DIRECTORY``.

It runs detached beside the node, so it imports only the standard library and psutil, and it ends with the node.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil

from feastra_nb.connection.local.files import locked
from feastra_nb.connection.local.process import tcp_sockets, terminate
from feastra_nb.connection.local.state import State, forget_state, lock_path, read_state, state_path
from feastra_nb.errors import LocalNodeFailed

_POLL_S = 20.0
_POLLS_IN_IDLE = 4  # looks often enough for a short idle time, as tests have it
_STOP_TIMEOUT_S = 60.0


def main() -> None:
    """Watch the node in the directory that is the first argument, until it is gone."""
    watch(Path(sys.argv[1]))


def watch(directory: Path) -> None:
    """Look at the clients of a node again and again; return when the node has ended or was stopped from here."""
    last_used_s = time.time()
    while (state := read_state(directory)) is not None:
        if state.ready and not state.is_running():
            return
        last_used_s = max(last_used_s, _asked_for_s(directory))
        if clients(state):
            last_used_s = time.time()
        idle = time.time() - last_used_s > state.idle_s
        if (idle or not state.ready) and _stop_if_still_unused(directory, last_used_s):
            return
        time.sleep(min(_POLL_S, state.idle_s / _POLLS_IN_IDLE))


def clients(state: State) -> int:
    """Return how many connections clients have to the nodes."""
    return sum(_connections(node.pid, state.port) for node in state.nodes)


def _connections(pid: int, port: int) -> int:
    try:
        return sum(_is_established(each, port) for each in tcp_sockets(pid))
    except psutil.Error:  # it is ending
        return 0


def _is_established(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port)


def _asked_for_s(directory: Path) -> float:
    """Return when somebody last asked for the node, in seconds since the epoch: `start` touches the state file."""
    try:
        return state_path(directory).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _stop_if_still_unused(directory: Path, last_used_s: float) -> bool:
    """Stop the node under its lock, so that nobody is handed a node that is about to end; return whether it was."""
    try:
        with locked(lock_path(directory), timeout_s=0):
            state = read_state(directory)
            if state is None or (state.ready and (_asked_for_s(directory) > last_used_s or clients(state))):
                return False
            # Not ready and yet nobody holds the lock: whoever was starting it was killed.
            terminate(state.nodes, timeout_s=_STOP_TIMEOUT_S)
            forget_state(directory)
            return True
    except LocalNodeFailed:  # busy: it is being started or stopped
        return False


if __name__ == "__main__":
    main()
