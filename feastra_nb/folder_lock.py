"""The lock of a folder: one process and thread at a time changes what lies in it."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(slots=True)
class _Lock:
    """One folder's lock in this process: the file is locked while any level of the owning thread holds it."""

    of_threads: threading.RLock = field(default_factory=threading.RLock)
    depth: int = 0
    file: IO[str] | None = None


# By real path: a lock of the file system belongs to an open file, so that a second one in this process would wait for the
# first for ever. A fork has none of its parent's locks.
_locks: dict[str, _Lock] = {}
os.register_at_fork(after_in_child=_locks.clear)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a folder's lock against other processes and threads; a thread that holds it may take it again.

    Raises
    ------
    ConfigurationError
        The folder cannot be made or written to.
    """
    lock = _locks.setdefault(os.path.realpath(directory), _Lock())
    with lock.of_threads:
        if not lock.depth:
            lock.file = _locked_file(directory)
        lock.depth += 1
        try:
            yield
        finally:
            lock.depth -= 1
            if not lock.depth and lock.file is not None:
                lock.file.close()
                lock.file = None


def _locked_file(directory: Path) -> IO[str]:
    import fcntl

    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except BaseException:
            file.close()
            raise
    except OSError as exc:
        raise ConfigurationError(
            f"cannot lock {directory}: {exc}", hint="is the folder writable, and its file system one that can lock?"
        ) from exc
    return file
