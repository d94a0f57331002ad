"""Warns of what a frame means otherwise than it looks: days for instants, numbers as text, values that serving cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.codec.conversion import lost, why_lost
from feastra_nb.codec.mixed_types import MISSING_WORDS, NUMBER, to_numeric
from feastra_nb.times import DAY_US
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from feast.value_type import ValueType

_SHOWN_ROWS = 5  # offending rows that are named
_LEAK = "a day counts from its midnight UTC, so a day's row leaks into labels of that day; if it is known only when the day is over"


def warn_of_dates(view: str, name: str) -> None:
    """Warn of dates as event times in the source of a registered view."""
    warn_user(f"view {view!r}, {name}: {_LEAK}, let the source hold the day after, as a timestamp")


def warn_of_times(naive: Sequence[str], days: str | None) -> None:
    """Warn once of times without a zone, and of event times that are days.

    Parameters
    ----------
    naive
        Columns of times without a zone.
    days
        The event time's column, where all its values are days; None where they are not.
    """
    said = [f"{', '.join(naive)}: timestamps without a time zone are taken for UTC"] if naive else []
    if days is not None:
        column = f'df["{days}"]'
        said.append(f"{days}: {_LEAK}: {column} = pd.to_datetime({column}, utc=True) + pd.Timedelta(days=1)")
    if said:
        warn_user("; ".join(said))


def are_days(instants: pa.Array) -> bool:
    """Return whether instants in microseconds all are midnights UTC, as dates are that became timestamps; False for none.

    Examples
    --------
    >>> [are_days(pa.array(at_us, pa.timestamp("us", "UTC"))) for at_us in ([0, DAY_US], [0, 1])]
    [True, False]
    """
    at_us = np.asarray(instants.drop_null().view(pa.int64()))
    return bool(len(at_us)) and not (at_us[:1] % DAY_US).any() and not (at_us % DAY_US).any()


def warn_of_numbers_as_text(table: pa.Table, names: Sequence[str]) -> None:
    """Warn of texts that all are numbers, or words for a missing one: the column would become a feature of texts.

    Parameters
    ----------
    names
        Columns whose type nobody has chosen yet.
    """
    for name in names:
        column = table.column(name)
        if not pa.types.is_string(column.type) or not _begins_with_numbers(column):
            continue
        column = column.combine_chunks()
        numbers = pc.match_substring_regex(column, NUMBER)
        others = column.filter(pc.invert(numbers))
        if len(others) and pc.all(pc.is_in(_folded(others), pa.array(sorted(MISSING_WORDS)))).as_py():
            row = pc.index(numbers, value=False).as_py()
            count = pc.sum(numbers).as_py()
            warn_user(
                f"column {name!r} is stored as text: row {row} holds {column[row].as_py()!r}, while {count:,} of "
                f"{len(column):,} rows are numbers; {to_numeric(name)}"
            )


_FIRST_VALUES = 20  # of a column of texts tell whether it may be one of numbers


def _begins_with_numbers(column: pa.ChunkedArray) -> bool:
    first = column.slice(0, _FIRST_VALUES).combine_chunks().drop_null()
    others = first.filter(pc.invert(pc.match_substring_regex(first, NUMBER)))
    return len(first) > len(others) and bool(pc.all(pc.is_in(_folded(others), pa.array(sorted(MISSING_WORDS)))).as_py())


def _folded(texts: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_trim_whitespace(texts))


def warn_of_losses(table: pa.Table, types: Mapping[str, ValueType]) -> None:
    """Warn of values that serving will give back as others, by column and row; training has them as they are.

    Parameters
    ----------
    table
        The rows, as the frame has them.
    types
        The Feast value type of each feature.
    """
    for name, value_type in types.items():
        rows = np.flatnonzero(lost(table.column(name), value_type))
        if len(rows):
            warn_user(
                f"column {name!r}: {why_lost(value_type)}, in {len(rows):,} of {table.num_rows:,} rows ({named_rows(rows)}); "
                "ws.skew shows them with the cause conversion"
            )


def named_rows(rows: npt.NDArray[np.int64]) -> str:
    """Name the first of some rows.

    Examples
    --------
    >>> named_rows(np.arange(9))
    'row 0, 1, 2, 3, 4, …'
    """
    return f"row {', '.join(map(str, rows[:_SHOWN_ROWS]))}" + (", …" if len(rows) > _SHOWN_ROWS else "")
