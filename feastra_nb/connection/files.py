"""The user's private files: the cache directory, and atomic writes that nobody else can read.

Standard library and platformdirs only: the watchdog of a local node imports this module too.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_TAG = "CACHEDIR.TAG"
# The signature of the Cache Directory Tagging Standard: backup tools leave such a directory out.
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by feastra_nb; `feastra purge` deletes it.\n"


def cache_dir() -> Path:
    """Return the directory of all downloads and local data: ``FEASTRA_CACHE``, else the user's cache directory.

    It need not exist yet.

    Examples
    --------
    >>> cache_dir().is_absolute()
    True
    """
    chosen = os.environ.get("FEASTRA_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_cache_dir("feastra_nb")).resolve()


def make_cache() -> Path:
    """Make the cache directory, tagged as one where it is new, and return it.

    Raises
    ------
    OSError
        It cannot be made or written.
    """
    root = cache_dir()
    fresh = not root.exists() or not any(root.iterdir())
    make_private(root)
    if fresh:
        write_private(root / _TAG, _TAG_TEXT)
    return root


def owns_cache() -> bool:
    """Return whether the cache directory holds nothing but ours, so that it may be deleted whole."""
    return (cache_dir() / _TAG).is_file()


def make_private(path: Path) -> Path:
    """Make a directory that only its owner may enter, with its parents, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, whole or not at all, on the disk when this returns."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops may leave an empty file in the place of the old one
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
