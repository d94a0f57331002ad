"""What a run's features hold: stored type, nulls, range or distinct texts; gathered table by table, by Arrow alone. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.codec.casts import is_text, plain
from feastra_nb.codec.columns import epoch_us
from feastra_nb.materialization.event_times import nearest_instant
from feastra_nb.materialization.frame_warnings import are_days

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_DISTINCT = 1_000  # texts that are counted; beyond it is only known that there are more
_SLICE_ROWS = 65_536  # of a column of texts: one with many distinct ones is given up after the first
_EXAMPLES, _EXAMPLE_LENGTH = 3, 16
_WHOLE_FROM = 1_000  # numbers from here on are shown without a fraction
_EXACT_BELOW = 1e15  # where floats still hold every whole number
_DIGITS = 4  # significant ones of smaller numbers
MIDNIGHT = "days, each its midnight UTC"


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """What one feature holds in the rows of a run.

    Parameters
    ----------
    feature
        Its name.
    stored_as
        Its Feast type, such as ``Int64``.
    nulls
        Share of rows without a value, 0 to 1; NaN counts as none.
    low, high
        Smallest and largest number or instant; of lists the shortest and the longest; None where values have no order.
    distinct
        How many distinct texts there are; None for other types, and beyond `MOST_DISTINCT`.
    holds
        The range, or some examples, in words.
    note
        What storing made of the values, such as a category that became text; empty for nothing.
    """

    feature: str
    stored_as: str
    nulls: float
    low: Any = None
    high: Any = None
    distinct: int | None = None
    holds: str = ""
    note: str = ""


class Profiler:
    """Gathers profiles from tables that hold a run's rows part by part.

    Parameters
    ----------
    types
        Feast type by feature, in order.

    Examples
    --------
    >>> profiler = Profiler({"trips": "Int64", "city": "String"})
    >>> profiler.add(pa.table({"trips": [3, None], "city": ["Oslo", "Köln"]}))
    >>> profiler.add(pa.table({"trips": [1_700, 5], "city": ["Oslo", None]}))
    >>> for one in profiler.profiles():
    ...     print(one.feature, one.nulls, one.holds)
    trips 0.25 3 to 1,700
    city 0.25 2 distinct: Oslo, Köln
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types
        self._rows = 0
        self._columns = {name: _Gathered() for name in types}

    def add(self, table: pa.Table) -> None:
        """Take the rows of a table into account."""
        self._rows += table.num_rows
        for name, gathered in self._columns.items():
            gathered.add(table.column(name))

    def profiles(self) -> tuple[FeatureProfile, ...]:
        """Return the profile of each feature."""
        return tuple(self._columns[name].profile(name, kind, self._rows) for name, kind in self._types.items())


def noted(profiles: Sequence[FeatureProfile], notes: Mapping[str, str]) -> tuple[FeatureProfile, ...]:
    """Return profiles with notes, by feature, on what a frame's columns were."""
    return tuple(replace(one, note=notes.get(one.feature, one.note)) for one in profiles)


def note_on(kind: pa.DataType) -> str:
    """Return what storing makes of a column of an Arrow type; empty where it stays what it is.

    Examples
    --------
    >>> note_on(pa.dictionary(pa.int8(), pa.string())), note_on(pa.date32()), note_on(pa.string())
    ('a category, now text', 'days, each its midnight UTC', '')
    """
    if pa.types.is_dictionary(kind):
        return f"a category, now {'text' if is_text(kind.value_type) else kind.value_type}"
    return MIDNIGHT if pa.types.is_date(kind) else ""


@dataclass(slots=True)
class _Gathered:
    """What is known of a column so far.

    Parameters
    ----------
    kind
        ``number``, ``instant``, ``list`` (whose lengths are the numbers), ``boolean``, ``text``; empty for what has no order.
    texts
        The distinct ones, in the order in which they came; None where there are too many.
    examples
        Some of these.
    """

    kind: str = ""
    nulls: int = 0
    low: Any = None
    high: Any = None
    trues: int = 0
    texts: dict[str, None] | None = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    has_times: bool = False
    note: str = ""

    def add(self, column: pa.ChunkedArray) -> None:
        """Take a part of the column into account."""
        self.note = note_on(column.type) or self.note
        values = plain(column)
        self.nulls += values.null_count
        if len(values) == values.null_count:
            return
        kind = values.type
        if is_text(kind):
            self._add_texts(values)
        elif pa.types.is_boolean(kind):
            self.kind = "boolean"
            self.trues += pc.sum(values).as_py()
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            self._add_instants(values)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            self._widen("list", pc.list_value_length(values))
        elif pa.types.is_float32(kind) or pa.types.is_float64(kind):
            self.nulls += pc.sum(pc.is_nan(values)).as_py()
            self._widen("number", values)
        elif pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            self._widen("number", values)

    def _widen(self, kind: str, values: pa.Array) -> None:
        self.kind = kind
        ends = pc.min_max(values).as_py()
        low, high = ends["min"], ends["max"]
        if low is None or low != low:  # noqa: PLR0124 - NaN alone has no range
            return
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    def _add_instants(self, values: pa.Array) -> None:
        at_us = pa.array(epoch_us(values.drop_null()))
        self._widen("instant", at_us)
        self.has_times = self.has_times or not are_days(at_us)

    def _add_texts(self, values: pa.Array) -> None:
        self.kind = "text"
        for start in range(0, len(values), _SLICE_ROWS):
            if self.texts is None:
                return
            part = pc.unique(values.slice(start, _SLICE_ROWS)).drop_null()
            # Those beyond the first that are too many are not looked at: they would be Python objects.
            self.texts.update(dict.fromkeys(part.slice(0, MOST_DISTINCT + 1).to_pylist()))
            self.examples = tuple(islice(self.texts, _EXAMPLES))
            if len(self.texts) > MOST_DISTINCT:
                self.texts = None

    def profile(self, name: str, stored_as: str, rows: int) -> FeatureProfile:
        """Return what is known."""
        low, high, days = self.low, self.high, ""
        if self.kind == "instant":
            low, high, days = nearest_instant(low), nearest_instant(high), "" if self.has_times else MIDNIGHT
        distinct = len(self.texts) if self.kind == "text" and self.texts is not None else None
        share = self.nulls / rows if rows else 0.0
        return FeatureProfile(name, stored_as, share, low, high, distinct, self._words(rows), self.note or days)

    def _words(self, rows: int) -> str:
        """Return range or examples in words."""
        if self.kind == "text":
            count = f"over {MOST_DISTINCT:,}" if self.texts is None else f"{len(self.texts):,}"
            more = ", …" if self.texts is None or len(self.texts) > len(self.examples) else ""
            return f"{count} distinct: {', '.join(map(_shortened, self.examples))}{more}"
        if self.kind == "boolean":
            return f"{100 * self.trues / max(rows - self.nulls, 1):.0f} % true"
        if self.low is None:
            return ""
        if self.kind == "instant":
            return _range(*(_instant_text(at_us, "s" if self.has_times else "D") for at_us in (self.low, self.high)))
        return _range(_number(self.low), _number(self.high)) + " values" * (self.kind == "list")


def _instant_text(at_us: int, unit: Literal["s", "D"]) -> str:
    """Return an instant as text, also one beyond Python's years."""
    return str(np.datetime_as_string(np.datetime64(at_us, "us"), unit=unit)).replace("T", " ")


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _shortened(text: str) -> str:
    shown = text.replace("\n", " ")
    return shown if len(shown) <= _EXAMPLE_LENGTH else f"{shown[: _EXAMPLE_LENGTH - 1]}…"


def _number(value: Any) -> str:
    """Return a number with four significant digits, and all of those before its point.

    Examples
    --------
    >>> [_number(value) for value in (1_234_567, 1_234.56, 0.123456, 3.0, 1e300)]
    ['1,234,567', '1,235', '0.1235', '3', '1e+300']
    """
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if _WHOLE_FROM <= abs(value) < _EXACT_BELOW else f"{value:.{_DIGITS}g}"
