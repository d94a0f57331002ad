"""Feast, without its coloured prints."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("feastra_nb")


@contextlib.contextmanager
def quiet_feast() -> Iterator[None]:
    """Send what Feast prints in colour to our logger, and hold back its dependencies' deprecation warnings."""
    import io
    import re
    import warnings

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines():
            if line.strip():
                log.info("feast: %s", line)
