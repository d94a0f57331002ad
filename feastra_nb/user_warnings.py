"""Issues warnings that point at the user's own line, however deep inside the package or Feast they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_HERE = str(Path(__file__).parent)


def warn_user(message: str) -> None:
    """Warn with the file and line of the nearest caller outside this package and Feast, which calls our online store."""
    feast = sys.modules.get("feast")
    inside = (_HERE, str(Path(feast.__file__).parent)) if feast is not None and feast.__file__ else (_HERE,)
    depth, frame = 1, sys._getframe()  # noqa: SLF001 - `warnings` skips packages by itself only from Python 3.12
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame = frame.f_back
        depth += 1
    warnings.warn(message, stacklevel=depth)
