"""Progress of long work: a bar in notebooks and terminals, a callable of the user's own, or nothing."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def acknowledged_rows(
    total: int | None,
    label: str,
    progress: bool | Callable[[int], object],  # noqa: FBT001 - pooch's contract
) -> Iterator[Callable[[int], object]]:
    """Yield a function that is told of rows as the server acknowledges them.

    Parameters
    ----------
    total
        Rows that are to come; None where that is not known.
    progress
        ``True`` for a bar, ``False`` for none, or a callable that gets each number of rows: N rows are N, none are none.

    Examples
    --------
    >>> seen = []
    >>> with acknowledged_rows(3, "demo", seen.append) as done:
    ...     done(2)
    ...     done(1)
    >>> seen
    [2, 1]
    """
    if callable(progress):
        yield progress
        return
    if not progress or total == 0:
        yield lambda _rows: None
        return
    bar = _bar()(total=total, desc=label, unit=" rows", unit_scale=True, file=sys.stderr, mininterval=0.2)
    try:
        yield bar.update
    finally:
        bar.close()


def _bar() -> Any:
    """Return tqdm's bar for this place; the plain one where a notebook lacks ipywidgets."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from tqdm import auto
        except ImportError:
            import tqdm as auto  # type: ignore[no-redef]
    return auto.tqdm
