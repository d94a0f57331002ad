"""Starts the local Cassandra's processes detached, waits until they answer, and ends them.

Standard library and psutil at the top: the watchdog imports this module too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from feastra_nb.connection.local.state import ProcessId, identify
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_POLL_S = 0.1
_KILL_WAIT_S = 10.0
_TAIL_LINES = 15
_TAIL_BYTES = 64_000
# A process that outlives us by half an hour is given nothing it does not need: the environment may hold secrets.
_ENVIRONMENT = (
    "HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "TZ", "USER",
)  # fmt: skip
# The shell ends at once and leaves the process to the system, which reaps it: no zombie in the notebook's kernel.
_DETACH = 'umask 077; log=$1; shift; "$@" </dev/null >"$log" 2>&1 & echo $!'


def free_port(hosts: Sequence[str], *, wanted: int | None = None, taken: Iterable[int] = ()) -> int:
    """Return a TCP port that is free on all the hosts: the wanted one if it is, else any.

    Raises
    ------
    LocalNodeFailed
        None was found.
    """
    for candidate in [wanted or 0] + [0] * 50:
        port = _bindable(hosts[0], candidate)
        if port and port not in taken and all(_bindable(host, port) for host in hosts[1:]):
            return port
    raise LocalNodeFailed(f"no port is free on {', '.join(hosts)}")


def _bindable(host: str, port: int) -> int | None:
    with socket.socket() as candidate:
        # Connections of a node that was just stopped linger; they do not keep a new one from listening.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return None
        return int(candidate.getsockname()[1])


def is_listening(host: str, port: int) -> bool:
    """Return whether something accepts connections at a local address."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def owns_port(process: ProcessId, host: str, port: int) -> bool:
    """Return whether a process lives and listens at an address, rather than something that took its place."""
    if not process.is_alive():
        return False
    with suppress(psutil.Error):
        return any(
            each.status == psutil.CONN_LISTEN and tuple(each.laddr) == (host, port) for each in tcp_sockets(process.pid)
        )
    return False


def tcp_sockets(pid: int) -> list[Any]:
    """Return the TCP sockets of a process.

    Raises
    ------
    psutil.Error
        It has ended.
    """
    process = psutil.Process(pid)
    # psutil before 6 calls it `connections`
    sockets = getattr(process, "net_connections", None) or process.connections
    return list(sockets(kind="tcp"))


def launch(command: Sequence[str], *, mark: str, directory: Path, log: Path) -> ProcessId:
    """Start a process that outlives this one, is not hit by Ctrl-C here, and writes to a log file."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["MALLOC_ARENA_MAX"] = "2"  # glibc's many arenas cost a JVM some 100 MB
    if sys.platform.startswith("linux"):
        environment["LC_ALL"] = "C.UTF-8"  # in the C locale Java finds no file whose path is not ASCII
    log.touch(mode=0o600)
    answer = subprocess.run(  # noqa: S603  our own command line, no shell expansion in it
        ["/bin/sh", "-c", _DETACH, "sh", str(log), *command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
        text=True,
    )
    return identify(int(answer.stdout), mark)


def terminate(processes: Iterable[ProcessId], *, timeout_s: float) -> None:
    """End processes: ask all, wait for them to end, then kill those that have not.

    A node goes on writing for a moment after it was asked, so its files are not touched before this returns.
    """
    alive = _signal([each for each in processes if each.is_alive()], signal.SIGTERM)
    alive = _wait_for_end(alive, timeout_s)
    left = _wait_for_end(_signal(alive, signal.SIGKILL), _KILL_WAIT_S)
    if left:
        raise LocalNodeFailed(f"process {left[0].pid} does not end", hint="look at it with `ps`; the disk may hang")


def _signal(processes: list[ProcessId], number: signal.Signals) -> list[ProcessId]:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(each.pid).send_signal(number)
    return processes


def _wait_for_end(processes: list[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Return those that still live after the time; less when all have ended earlier."""
    deadline = time.monotonic() + timeout_s
    while (alive := [each for each in processes if each.is_alive()]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return alive


def log_size(log: Path) -> int:
    """Return the size of a log in bytes; 0 where there is none yet."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def log_tail(log: Path, *, since: int = 0, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log without the frames of stack traces, which push out what went wrong.

    Parameters
    ----------
    log
        The file; it need not exist.
    since
        Its size in bytes when this start began; what is before belongs to earlier ones.
    lines
        How many lines at most.
    """
    size = log_size(log)
    begin = since if since <= size else 0  # it was rolled over meanwhile
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(begin, size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
        kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))]
        return "\n".join(kept[-lines:])
    return ""
