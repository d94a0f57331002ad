"""Progress of long work: a bar in notebooks and terminals, a callable of the user's own, or nothing."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Progress(Protocol):
    """Is told of rows: those acknowledged, by a call, and those that need not be sent after all."""

    def __call__(self, rows: int) -> object:
        """Count acknowledged rows."""

    def fewer(self, rows: int) -> None:
        """Take rows off the total."""


@contextlib.contextmanager
def acknowledged_rows(
    total: int | None,
    label: str,
    progress: bool | Callable[[int], object],  # noqa: FBT001 - pooch's contract
) -> Iterator[Progress]:
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
        yield _Told(progress)
        return
    if not progress or total == 0:
        yield _Told(lambda _rows: None)
        return
    bar = _bar()(total=total, desc=label, unit=" rows", unit_scale=True, file=sys.stderr, mininterval=0.2)
    try:
        yield _OnBar(bar)
    finally:
        bar.close()


class _Told:
    """A callable of the user's own."""

    def __init__(self, told: Callable[[int], object]) -> None:
        self._told = told

    def __call__(self, rows: int) -> None:
        self._told(rows)

    def fewer(self, rows: int) -> None:
        """Say nothing: only acknowledged rows are told of."""


class _OnBar:
    """A bar whose end moves nearer where rows need not be sent."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __call__(self, rows: int) -> None:
        self._bar.update(rows)

    def fewer(self, rows: int) -> None:
        """Move the end of the bar."""
        if self._bar.total is not None and rows:
            self._bar.total -= rows
            self._bar.refresh()


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
