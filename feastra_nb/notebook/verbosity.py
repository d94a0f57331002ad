"""How much a magic says beside its result."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from feastra_nb.errors import FeastraError

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET, USUAL, TALKATIVE = 0, 1, 2


@contextlib.contextmanager
def spoken(verbosity: int) -> Iterator[bool]:
    """Yield whether progress and notes are shown; at `TALKATIVE` the package's log is too, and errors keep their traceback.

    Examples
    --------
    >>> with spoken(QUIET) as shows_progress:
    ...     shows_progress
    False
    """
    if verbosity < TALKATIVE:
        yield verbosity >= USUAL
        return
    log, handler = logging.getLogger("feastra_nb"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield True
    except FeastraError as error:
        error.shows_traceback = True
        raise
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
