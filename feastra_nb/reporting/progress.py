"""Progress of long work, wherever it is watched: a bar in terminals and notebooks, lines in logs, or a callable of the user's own.

The counting, the rate and the bar in a terminal are tqdm's. Its own bar for notebooks is a widget, which needs ipywidgets
and whose saved notebook shows "model not found"; ours (`notebook.progress_bar`) is HTML.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_S = 0.2  # between two states of a bar
LOG_INTERVAL_S = 10.0  # between two lines of a log
TEXT_ONLY = "{desc}"  # the format of a line without figures


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
    with bar(total, label, "rows") as shown:
        yield _OnBar(shown)


@contextlib.contextmanager
def bar(total: int | None, label: str, unit: str, *, shown: bool = True) -> Iterator[Any]:
    """Yield tqdm's bar for this place, with ``update`` and ``set_description``; it is closed at the end.

    Parameters
    ----------
    total
        How much is to come; None where that is not known.
    unit
        What is counted, in the plural.
    """
    options = {"total": total, "desc": label, "unit": f" {unit}", "unit_scale": True, "mininterval": INTERVAL_S}
    with _closed(_bar_class()(**options, file=sys.stderr, dynamic_ncols=True, disable=not shown)) as made:
        yield made


@contextlib.contextmanager
def line(*, shown: bool = True) -> Iterator[Callable[[str], object]]:
    """Yield a function that shows a text in the place of the one before."""
    made = _bar_class()(bar_format=TEXT_ONLY, file=sys.stderr, dynamic_ncols=True, mininterval=0, disable=not shown)
    with _closed(made) as opened:
        yield opened.set_description_str


@contextlib.contextmanager
def _closed(made: Any) -> Iterator[Any]:
    try:
        yield made
    except BaseException:
        made.stopped = True
        raise
    finally:
        made.close()


def _bar_class() -> type[Any]:
    """Return the bar for a notebook, a terminal, or a log."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        from feastra_nb.reporting.progress_bar import NotebookBar

        return NotebookBar
    return tqdm if getattr(sys.stderr, "isatty", bool)() else LogBar


class TextBar(tqdm):  # type: ignore[type-arg]  # the class is generic for type checkers alone
    """A bar that a subclass shows in its own way: `show` gets nothing, and reads `text`."""

    def __init__(self, **options: Any) -> None:
        self.stopped = False
        self.ended = False
        # What tqdm calls a gui draws itself, and tqdm prints nothing.
        super().__init__(**options, gui=True)

    @property
    def text(self) -> str:
        """The state in words.

        Examples
        --------
        >>> LogBar(total=4, desc="planes", unit=" rows", disable=True).text
        ''
        """
        if self.disable and not self.ended:
            return ""
        if self.bar_format == TEXT_ONLY:
            return str(self.desc).rstrip(": ")
        done = self.format_dict
        unit = str(self.unit).strip()
        rate = done["rate"] or (self.n / done["elapsed"] if done["elapsed"] else 0.0)
        label = f"{str(self.desc).rstrip(': ')}: "
        if self.ended and not self.stopped:
            return f"{label}{self.n:,.0f} {unit} in {done['elapsed']:.1f} s, {self.n / max(done['elapsed'], 1e-9):,.0f} {unit}/s"
        of = f" of {self.total:,.0f}" if self.total else ""
        left = f", {max(self.total - self.n, 0) / rate:,.0f} s left" if self.total and rate and not self.stopped else ""
        return f"{label}{'stopped at ' if self.stopped else ''}{self.n:,.0f}{of} {unit}, {rate:,.0f} {unit}/s{left}"

    def show(self) -> None:
        """Show the state."""

    def display(self, *_args: Any, **_options: Any) -> None:
        """Show the state when tqdm finds it due."""
        self.show()

    def close(self) -> None:
        """Show the last state."""
        if self.disable:
            return
        super().close()
        self.ended = True
        self.show()


class LogBar(TextBar):
    """Progress where nobody watches: a line every ten seconds, and one at the end."""

    def __init__(self, **options: Any) -> None:
        self._next_s = time.monotonic() + LOG_INTERVAL_S
        super().__init__(**options)

    def show(self) -> None:
        """Write a line, if one is due."""
        now_s = time.monotonic()
        if (self.ended or now_s >= self._next_s) and self.text:
            self._next_s = now_s + LOG_INTERVAL_S
            self.fp.write(f"{self.text}\n")
            self.fp.flush()


class _Told:
    """A callable of the user's own."""

    def __init__(self, report: Callable[[int], object]) -> None:
        self._told = report

    def __call__(self, rows: int) -> None:
        self._told(rows)

    def fewer(self, rows: int) -> None:
        """Say nothing: only acknowledged rows are told of."""


class _OnBar:
    """A bar whose end moves nearer where rows need not be sent."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __call__(self, rows: int) -> None:
        self._shown.update(rows)

    def fewer(self, rows: int) -> None:
        """Move the end of the bar."""
        if self._shown.total is not None and rows:
            self._shown.total -= rows
            self._shown.refresh()
