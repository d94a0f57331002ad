"""Durations, instants and counts as people say them: "2 s ago", "5 h 30 min", "50,000"."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_LEAST_S = 1e-6
SHOWN_NAMES = 4  # of a list, before the rest is counted


def span(seconds: float | timedelta) -> str:
    """Return a length of time in its two largest units.

    Examples
    --------
    >>> [span(each) for each in (5.5 * 3600, -7200, 93_784, 59.97, 0.25, 0.00004, 0)]
    ['5 h 30 min', '-2 h', '1 d 2 h', '1 min', '250 ms', '40 µs', '0 s']
    """
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    sign, size = ("-" if seconds < 0 else ""), abs(seconds)
    if size < 1:
        return sign + _small(size)
    if size < 10 and round(size, 1) != round(size):  # noqa: PLR2004 - below ten a tenth is worth a word
        return f"{sign}{size:.1f} s"
    whole = round(size)
    if whole >= 86_400:  # noqa: PLR2004 - of a day on, minutes are of no account
        whole = round(whole / 3600) * 3600
    elif whole >= 3600:  # noqa: PLR2004 - likewise, of an hour on, seconds
        whole = round(whole / 60) * 60
    parts: list[tuple[int, str]] = []
    for unit, length in _UNITS:
        count, whole = divmod(whole, length)
        if count or parts:
            parts.append((count, unit))
    return sign + " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def _small(seconds: float) -> str:
    if seconds < _LEAST_S:
        return "0 s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"  # noqa: PLR2004 - a millisecond


def ago(seconds: float | timedelta) -> str:
    """Return how long ago something was.

    Examples
    --------
    >>> ago(2), ago(0.01), ago(-3600)
    ('2 s ago', 'just now', 'in 1 h')
    """
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if abs(seconds) < 1:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number of things in words.

    Parameters
    ----------
    one, many
        What they are called; by default the plural has an ``s``.

    Examples
    --------
    >>> counted(1, "view"), counted(1_000, "entity", "entities")
    ('1 view', '1,000 entities')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """Return names in a row, the rest counted.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], shown=1)
    ('a, b, c', 'a and 2 more')
    """
    if len(names) <= shown + 1:
        return ", ".join(names)
    return f"{', '.join(names[:shown])} and {len(names) - shown:,} more"


def number(value: float, digits: int = 6) -> str:
    """Return a number with few digits, thousands separated.

    Examples
    --------
    >>> number(18.6), number(1234567.0), number(0.01), number(1e-12), number(23.599999)
    ('18.6', '1,234,567', '0.01', '1e-12', '23.6')
    """
    if float(value).is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - beyond it, digits are made up
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"
