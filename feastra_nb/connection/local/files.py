"""Files of the local Cassandra: the cache, locks between processes, sizes.

Standard library and platformdirs only: the watchdog imports this module too.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from feastra_nb.connection import files
from feastra_nb.connection.files import cache_dir, make_private
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_POLL_S = 0.1
_BLOCK_BYTES = 512  # st_blocks counts in these, whatever the file system's own block is


def nodes_dir() -> Path:
    """Return the directory that holds one directory for each local node or cluster."""
    return cache_dir() / "cassandra"


def make_cache() -> Path:
    """Make the cache directory and return it.

    Raises
    ------
    LocalNodeFailed
        It cannot be made or written.
    """
    try:
        return files.make_cache()
    except OSError as error:
        raise LocalNodeFailed(
            f"the cache directory {cache_dir()} cannot be written: {error.strerror}",
            hint="let FEASTRA_CACHE name a directory that can",
        ) from error


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold a lock between processes and threads; the system frees it when its holder ends, however it ends.

    Parameters
    ----------
    path
        The lock file; made if it is not there.
    timeout_s
        How long to wait for another holder, in seconds; 0 tries once.

    Raises
    ------
    LocalNodeFailed
        Another holder kept the lock for the whole time.
    """
    deadline = time.monotonic() + timeout_s
    make_private(path.parent)
    while (handle := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise LocalNodeFailed(
                f"another process has been busy with {path.stem!r} for {timeout_s:.0f} s",
                hint="wait until it is done, or end it",
            )
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        os.close(handle)  # closing frees the lock


def _try_lock(path: Path) -> int | None:
    import fcntl  # not on Windows, where LocalCassandra says so before it comes to this

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A purge may have deleted the file between the open and the lock; a lock on a deleted file guards nothing.
        if path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def size_bytes(path: Path) -> int:
    """Return what a file or a directory occupies on the disk, in bytes; 0 where there is nothing."""
    if not path.is_dir() or path.is_symlink():
        return _occupied_bytes(path)
    return sum(_occupied_bytes(Path(folder) / file) for folder, _, files in os.walk(path) for file in files)


def _occupied_bytes(path: Path) -> int:
    try:
        status = path.lstat()
    except FileNotFoundError:  # a running node comes and goes with its files
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * _BLOCK_BYTES


def remove(path: Path) -> int:
    """Delete a file or a directory with all it holds and return the bytes freed."""
    freed_bytes = size_bytes(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
    return freed_bytes
