"""Warnings that point at the user's own line, however deep inside the package they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_HERE = str(Path(__file__).parent)


def warn_user(message: str) -> None:
    """Warn with the file and line of the nearest caller outside this package."""
    depth, frame = 1, sys._getframe()  # noqa: SLF001 - `warnings` skips packages by itself only from Python 3.12
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
        depth += 1
    warnings.warn(message, stacklevel=depth)
