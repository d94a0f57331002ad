"""Instants and durations: microseconds inside, aware UTC datetimes outside; all user input of time is parsed here."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from numbers import Number
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    # An instant as callers write it: ISO 8601 text or a datetime (pandas.Timestamp is one); naive is UTC.
    Instant = str | datetime | np.datetime64

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY_US = 86_400_000_000
# Numbers since 1970 that were read in a finer unit than theirs all lie in the first three weeks of 1970.
MISREAD_BEFORE_US = 21 * DAY_US
_MISREAD_UNITS = (
    (60_000_000, "s"),
    (3_600_000_000, "ms"),
)  # of our time in nanoseconds, less than so many microseconds
_UNITS = ((10**17, "ns"), (10**14, "us"), (10**11, "ms"))  # from which magnitude on a present instant has which unit
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
INSTANT_HINT = '"2024-01-31 14:03", a datetime, or a column of them'
_ISO = re.compile(r"\s*\d{4}(-\d{2}(-\d{2}.*)?|\d{4}.*)?\s*")
_DAY = re.compile(
    r"\s*(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:[ T]+(\d{1,2}:\d{2})(:\d{2})?( ?[ap]m)?)?\s*", re.IGNORECASE
)
_MONTHS, _YEAR_DIGITS = 12, 4
DURATION_HINT = '"7d", "12h", "90min", or a timedelta'


def us(instant: datetime) -> int:
    """Return microseconds since the epoch; a naive instant is UTC, as everywhere in Feast.

    Examples
    --------
    >>> us(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    aware = instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)
    return (aware - EPOCH) // timedelta(microseconds=1)


def instant(at_us: int) -> datetime:
    """Return the aware instant of microseconds since the epoch.

    Examples
    --------
    >>> instant(1_500_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return EPOCH + timedelta(microseconds=at_us)


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(tz=timezone.utc)


# --- what people hand in ---------------------------------------------------------------------------------------------


def duration(value: Any, name: str) -> timedelta:
    """Return a length of time in pandas' notation; a number has no unit and is refused.

    Parameters
    ----------
    value
        ``"7d"``, ``"12h"``, ``"90min"``, a timedelta of Python, NumPy or pandas.
    name
        The argument's name, for errors.

    Raises
    ------
    ConfigurationError
        It is not a duration, has no unit, or is not above zero.

    Examples
    --------
    >>> duration("36h", "ttl")
    datetime.timedelta(days=1, seconds=43200)
    >>> duration(3600, "ttl")
    Traceback (most recent call last):
    ...
    feastra_nb.errors.ConfigurationError: ttl=3600 has no unit
    Hint: ttl="3600s" means seconds; "7d", "12h", "90min", or a timedelta
    """
    import numpy as np
    import pandas as pd

    is_number = isinstance(value, Number) and not isinstance(value, (bool, np.timedelta64))
    if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        number = str(value).strip()
        raise ConfigurationError(
            f"{name}={value!r} has no unit", hint=f'{name}="{number}s" means seconds; {DURATION_HINT}'
        )
    try:
        length = pd.NaT if isinstance(value, bool) else pd.Timedelta(value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise ConfigurationError(f"{name}={value!r} is not a duration", hint=DURATION_HINT) from exc
    if pd.isna(length):
        raise ConfigurationError(f"{name}={value!r} is not a duration", hint=DURATION_HINT)
    if length <= pd.Timedelta(0):
        raise ConfigurationError(f"{name}={value!r} must be above zero", hint=DURATION_HINT)
    whole: timedelta = length.to_pytimedelta()
    if not whole:
        raise ConfigurationError(f"{name}={value!r} is shorter than a microsecond", hint=DURATION_HINT)
    return whole


def instants(values: Any, rows: int, name: str) -> Int64s:
    """Return an instant, or a column of them, as microseconds since the epoch, shape (rows,); naive ones are UTC.

    Parameters
    ----------
    values
        A text, a datetime or date of Python, NumPy, pandas or Arrow, or a column of these. Numbers have no unit and are
        refused.
    rows
        How many are needed; one instant serves all.
    name
        The argument's name, for errors.

    Raises
    ------
    InvalidFrame
        It is not an instant, null somewhere, of another length, or a number that was read in the wrong unit.

    Examples
    --------
    >>> instants("1970-02-01T00:00Z", 2, "as_of").tolist()
    [2678400000000, 2678400000000]
    """
    import numpy as np

    index, is_naive = _datetimes(values, name)
    if index.hasnans:
        raise InvalidFrame(
            f"{name} is null in row {int(np.flatnonzero(index.isna())[0])}", hint="drop the rows without an instant"
        )
    if is_naive:
        warn_user(f"{name} has no time zone and is taken for UTC")
    at_us: Int64s = index.as_unit("us").asi8
    if len(at_us) not in (1, rows):
        raise InvalidFrame(
            f"{name} has {len(at_us):,} instants for {rows:,} rows", hint="one instant for all rows, or one for each"
        )
    refuse_misread(at_us, name)
    return np.broadcast_to(at_us, rows).copy() if len(at_us) == 1 else at_us


def _datetimes(values: Any, name: str) -> tuple[Any, bool]:
    """Return instants as a `pandas.DatetimeIndex` in UTC, and whether they came without a time zone."""
    import pandas as pd

    if hasattr(values, "to_pandas"):  # of Arrow, of Polars
        values = values.to_pandas()
    several = hasattr(values, "__len__") and not isinstance(values, (str, bytes)) and getattr(values, "ndim", 1) > 0
    column = pd.Series(values) if several else pd.Series([values])
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    number = _first_number(column)
    if number is not None:
        raise InvalidFrame(
            f"{name} holds the number {number}, which is not an instant",
            hint=f'pd.to_datetime(…, unit="{unit_of(number)}", utc=True), if it counts from 1970 in that unit',
        )
    known = column.dropna()
    # Of texts only ISO's forms are read, also of those among datetimes: "01/02/2024" is a day in January here and in
    # February there.
    form = "ISO8601" if column.dtype == object or pd.api.types.is_string_dtype(column.dtype) else None
    try:
        index = pd.DatetimeIndex(pd.to_datetime(column, utc=True, format=form))
        first = pd.to_datetime(known.iloc[0], format=form) if len(known) else None
    except (ValueError, TypeError, OverflowError) as exc:
        reason = str(exc).partition(". You might")[0]
        texts = [value for value in known if isinstance(value, str)]
        hint = f"{INSTANT_HINT}; {reading_of(texts, '…')}" if any(map(_DAY.fullmatch, texts)) else INSTANT_HINT
        raise InvalidFrame(f"{name} is not an instant: {reason}", hint=hint) from exc
    return index, first is not None and first.tzinfo is None


def _first_number(column: Any) -> Any:
    """Return the first number in a column of instants; None where there is none."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        known = column.dropna()
        return known.iloc[0] if len(known) else None
    if column.dtype != object and not pd.api.types.is_string_dtype(column.dtype):
        return None
    return next((value for value in column if _is_number(value)), None)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        # Eight digits or fewer may be a date: "20240131".
        return _NUMBER.fullmatch(value) is not None and len(value.strip()) > len("20240131")
    return isinstance(value, Number) and value == value  # noqa: PLR0124 - NaN is a missing instant


def reading_of(texts: Sequence[str], values: str) -> str:
    """Return an expression that makes instants of texts. It never guesses which part is the day and which the month.

    Parameters
    ----------
    texts
        What the column holds.
    values
        The expression for the column, such as ``df["day"]``.

    Examples
    --------
    >>> reading_of(["2026-04-03 14:03"], 'df["day"]')
    'pd.to_datetime(df["day"], utc=True)'
    >>> reading_of(["03/04/2026", "13/04/2026"], 'df["day"]')
    'pd.to_datetime(df["day"], format="%d/%m/%Y", utc=True)'
    >>> reading_of(["03/04/2026"], 'df["day"]')
    'pd.to_datetime(df["day"], format="%d/%m/%Y", utc=True) where "03/04/2026" begins with the day, "%m/%d/%Y" with the month'
    >>> reading_of(["yesterday"], 'df["day"]')
    'pd.to_datetime(df["day"], format="%Y-%m-%d %H:%M", utc=True), where format= says what stands where in the text'
    """
    if texts and all(map(_is_number, texts)):
        return f'pd.to_datetime(pd.to_numeric({values}), unit="{unit_of(texts[0])}", utc=True)'
    if texts and all(map(_ISO.fullmatch, texts)):
        return f"pd.to_datetime({values}, utc=True)"
    matches = [match for match in map(_DAY.fullmatch, texts) if match]
    if not matches:
        general = f'pd.to_datetime({values}, format="%Y-%m-%d %H:%M", utc=True)'
        return f"{general}, where format= says what stands where in the text"
    day_first, month_first = (_date_format(matches[0], order) for order in ("dm", "md"))
    if day_first == month_first or any(int(match[1]) > _MONTHS for match in matches):
        return f'pd.to_datetime({values}, format="{day_first}", utc=True)'
    if any(int(match[3]) > _MONTHS for match in matches):
        return f'pd.to_datetime({values}, format="{month_first}", utc=True)'
    shown = matches[0][0].strip()
    return (
        f'pd.to_datetime({values}, format="{day_first}", utc=True) where "{shown}" begins with the day, '
        f'"{month_first}" with the month'
    )


def _date_format(match: re.Match[str], order: str) -> str:
    """Return the format of a text whose day and month stand in an order, ``dm`` or ``md``; with the year first it has one."""
    separator, minutes, seconds, half = match[2], match[5], match[6], match[7]
    if len(match[1]) == _YEAR_DIGITS:
        parts = ["%Y", "%m", "%d"]
    else:
        parts = [f"%{letter}" for letter in order] + ["%Y" if len(match[4]) == _YEAR_DIGITS else "%y"]
    clock = ""
    if minutes:
        between = "T" if "T" in match[0] else " "
        clock = between + ("%I:%M" if half else "%H:%M") + (":%S" if seconds else "")
        clock += f"{' ' * half.startswith(' ')}%p" if half else ""
    return separator.join(parts) + clock


def unit_of(number: Any) -> str:
    """Return the unit in which a number since 1970 is an instant of our time.

    Examples
    --------
    >>> [unit_of(n) for n in (1_795_653_000, 1_795_653_000_123, 1_795_653_000_123_456, 1_795_653_000_123_456_789)]
    ['s', 'ms', 'us', 'ns']
    """
    size = abs(float(number))
    return next((unit for least, unit in _UNITS if size >= least), "s")


def refuse_misread(at_us: Int64s, name: str) -> None:
    """Refuse instants that all lie in the first three weeks of 1970: numbers since 1970, read in a finer unit than theirs.

    Midnights are taken as they are: a person wrote them.

    Raises
    ------
    InvalidFrame
        All of them do.
    """
    if not len(at_us) or at_us.min() < 0 or at_us.max() >= MISREAD_BEFORE_US or not (at_us % DAY_US).any():
        return
    last = int(at_us.max())
    unit = next((unit for below, unit in _MISREAD_UNITS if last < below), "us")
    raise InvalidFrame(
        f"{name}: all {len(at_us):,} instants lie in January 1970 (the first: {instant(int(at_us[0]))}), as numbers do "
        "that are read in the wrong unit",
        hint=f'pd.to_datetime(…, unit="{unit}", utc=True) of the numbers',
    )
