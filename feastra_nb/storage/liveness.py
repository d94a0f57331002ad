"""Tells whether a run's process is alive: it holds a file lock, which the system frees however the process ends.

No heartbeat: a process that was frozen or is on a laptop asleep lives, and a cluster that is down records no beat. What this
machine and user cannot tell (a run of another host, user or container, or from before these files) counts as living.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
from typing import IO, TYPE_CHECKING

from feastra_nb.connection.files import cache_dir, make_cache, make_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from feastra_nb.storage.journal import Run


@contextlib.contextmanager
def living(run_id: str) -> Iterator[None]:
    """Show a run as living while it is at work; where no file can be locked it is always taken for living."""
    file = _lock(run_id)
    try:
        yield
    finally:
        if file is not None:
            file.close()


def forget(run_id: str) -> None:
    """Delete the file of a run whose end the journal tells."""
    with contextlib.suppress(OSError):
        _path(run_id).unlink(missing_ok=True)


def is_lost(run: Run) -> bool:
    """Tell whether a run that has not ended was at work in a process of this machine that has gone."""
    import fcntl

    if run.who.rpartition("@")[2] != socket.gethostname():
        return False  # a shared home folder need not share locks
    try:
        with _path(run.run_id).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or not there
        return False
    return True


def _lock(run_id: str) -> IO[str] | None:
    """Return a run's file, locked before it has the name by which `is_lost` finds it."""
    import fcntl

    file = None
    try:
        make_cache()
        path = _path(run_id)
        beside = make_private(path.parent) / f".{uuid.uuid4().hex}"
        file = beside.open("x")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        beside.replace(path)
    except OSError:
        if file is not None:
            file.close()
            with contextlib.suppress(OSError):
                beside.unlink()
        return None
    return file


def _path(run_id: str) -> Path:
    return cache_dir() / "runs" / run_id
