"""Errors for columns whose values have no type in common, or not the one they need: they name a row, its value, and what to do."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import InvalidFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_NUMBER = re.compile(NUMBER)
# What people and programs write where a number is missing, and pandas.read_csv leaves as it is with keep_default_na=False, or
# never knew.
MISSING_WORDS = frozenset(
    {"", "-", "--", ".", "?", "#n/a", "n/a", "n.a.", "na", "nan", "nil", "none", "null", "missing", "unknown"}
)
_LONGEST_SHOWN = 60  # characters of a value in a message
_FAMILIES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a boolean", (bool, np.bool_)),
    ("a text", (str,)),
    ("bytes", (bytes, bytearray)),
    ("an instant", (dt.datetime, np.datetime64)),
    ("a date", (dt.date,)),
    ("a number", (Number,)),
    ("a dict", (Mapping,)),
    ("a list", (Sequence, np.ndarray, set, frozenset)),
)


def mixed_types(values: Iterable[Any], name: str, reason: object) -> InvalidFrame:
    """Return the error for a column that Arrow cannot give one type.

    Parameters
    ----------
    values
        What the column holds.
    name
        The column's name.
    reason
        What Arrow says, for columns whose values are of one kind all the same.

    Examples
    --------
    >>> print(mixed_types([1, None, "n/a", 2.5], "delay", ""))
    column 'delay' mixes types: row 2 holds the text 'n/a' among numbers (1 of 4 rows holds text)
    Hint: df["delay"] = pd.to_numeric(df["delay"], errors="coerce") makes nulls of such texts; .astype("string") text of all
    >>> print(mixed_types([1, [2]], "delay", "").message)
    column 'delay' mixes types: row 0 holds 1 (a number), row 1 holds [2] (a list)
    """
    rows: dict[str, list[int]] = {}
    known = list(values)
    for row, value in enumerate(known):
        family = family_of(value)
        if family is not None:
            rows.setdefault(family, []).append(row)
    if set(rows) == {"a number", "a text"}:
        return _texts_among_numbers(known, rows["a text"], name)
    text_hint = f'give it one type, for example df["{name}"] = df["{name}"].astype("string")'
    if len(rows) < 2:  # noqa: PLR2004 - of one kind, so Arrow knows better
        return InvalidFrame(f"column {name!r} mixes types or holds what Arrow cannot: {reason}", hint=text_hint)
    shown = ", ".join(f"row {at[0]} holds {_short(known[at[0]])} ({family})" for family, at in rows.items())
    return InvalidFrame(f"column {name!r} mixes types: {shown}", hint=text_hint)


def _texts_among_numbers(values: Sequence[Any], rows: Sequence[int], name: str) -> InvalidFrame:
    row = next((row for row in rows if not _NUMBER.match(values[row])), rows[0])
    some = f"{len(rows):,} of {len(values):,} rows hold{'s' * (len(rows) == 1)} text"
    return InvalidFrame(
        f"column {name!r} mixes types: row {row} holds the text {_short(values[row])} among numbers ({some})",
        hint=f'{to_numeric(name)}; .astype("string") text of all',
    )


def to_numeric(name: str) -> str:
    """Return the expression that makes numbers of a column's texts."""
    return f'df["{name}"] = pd.to_numeric(df["{name}"], errors="coerce") makes nulls of such texts'


def family_of(value: Any) -> str | None:
    """Return what kind of value it is; None for a missing one.

    Examples
    --------
    >>> [family_of(value) for value in (1, 2.5, True, "a", None, float("nan"))]
    ['a number', 'a number', 'a boolean', 'a text', None, None]
    """
    if value is None or (isinstance(value, Number) and value != value):  # noqa: PLR0124 - NaN is a missing number
        return None
    family = next((family for family, types in _FAMILIES if isinstance(value, types)), None)
    if family is not None:
        return family
    # pandas' NA has no type of its own that is public, and NaT is a datetime above.
    return None if type(value).__name__ == "NAType" else f"a {type(value).__name__}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 3]}..."
