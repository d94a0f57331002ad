"""Converts DataFrames into clean Arrow tables for `ws.materialize(df, …)`; a refusal names the rows.

Pure but for a warning about naive timestamps. The offline parquet is `offline_file`'s business.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.codec.columns import epoch_us
from feastra_nb.codec.mixed_types import mixed_types
from feastra_nb.codec.value_types import arrow_type
from feastra_nb.errors import InvalidFrame, close_names
from feastra_nb.materialization.frame_warnings import are_days, named_rows, warn_of_times
from feastra_nb.times import reading_of, refuse_misread, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from feast.value_type import ValueType

CREATED = "feastra_created"  # the column that is added where a frame has no created time of its own
TIMESTAMP_US = pa.timestamp("us", tz="UTC")
US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """The roles of a frame's columns.

    Parameters
    ----------
    keys
        Join keys.
    timestamp
        Event time.
    created
        Created time; None where the frame has none.
    features
        Everything else.
    """

    keys: tuple[str, ...]
    timestamp: str
    created: str | None
    features: tuple[str, ...]


def columns_of(names: Sequence[Any], *, keys: Sequence[str], timestamp: str, created: str | None) -> Columns:
    """Return the roles of a frame's columns.

    Raises
    ------
    InvalidFrame
        A column is missing, named twice, not named by a string, or has two roles.

    Examples
    --------
    >>> columns_of(["k", "t", "a"], keys=["k"], timestamp="t", created=None).features
    ('a',)
    >>> columns_of(["k", "time", "a"], keys=["k"], timestamp="t", created=None)
    Traceback (most recent call last):
    ...
    feastra_nb.errors.InvalidFrame: the frame has no column 't' (timestamp)
    Hint: known names: a, k, time
    """
    _check_names(names)
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    roles = [*((key, "join key") for key in keys), (timestamp, "timestamp")]
    roles += [(created, "created")] if created is not None else []
    for name, role in roles:
        if name not in names:
            raise InvalidFrame(
                f"the frame has no column {name!r} ({role})", hint=close_names(str(name), map(str, names))
            )
    taken = [name for name, _role in roles]
    if len(set(taken)) != len(taken):
        raise InvalidFrame(f"a column has two roles among keys, timestamp and created: {taken}")
    features = tuple(name for name in names if name not in taken)
    if not features:
        raise InvalidFrame("the frame has no feature column beside keys and timestamps")
    return Columns(keys, timestamp, created, features)


def _check_names(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise InvalidFrame(f"column name {name!r} is not a string", hint="df.columns = df.columns.map(str)")
        reason = refused_name(name)
        if reason:
            raise InvalidFrame(
                f"column name {name!r} {reason}", hint=f'df.rename(columns={{{name!r}: "…"}}) gives it another'
            )
    by_lower: dict[str, str] = {}
    for name in names:
        other = by_lower.setdefault(name.lower(), name)
        if other != name:
            raise InvalidFrame(
                f"the columns {other!r} and {name!r} differ only in case, which DuckDB cannot tell apart",
                hint="rename or drop one of them",
            )
    refuse_twice(names)


# Names that the offline join, Feast or this package give to columns of their own.
RESERVED_NAMES = frozenset({"file_row_number", "filename", "feastra_row", "__dummy_id", "__dummy", "entity_row_id"})


def refused_name(name: str) -> str | None:
    """Return why a column or a view cannot have a name; None where it can.

    Examples
    --------
    >>> refused_name("utm:source"), refused_name("dép delay")
    ("has a ':', which separates view and feature in Feast", None)
    """
    if not name.strip():
        return "is empty"
    if ":" in name:
        return "has a ':', which separates view and feature in Feast"
    if name.lower() in RESERVED_NAMES:
        return "is one that reading gives to a column of its own"
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "has a control character"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def with_plain_columns(frame: Any, wanted: Sequence[str]) -> Any:
    """Return a pandas frame whose columns have plain names; anything else as it is.

    Levels of the index that are wanted by name become columns, and the levels of column names are joined: ``("x", "mean")``
    becomes ``x_mean``.

    Parameters
    ----------
    wanted
        Names that are needed as columns.

    Examples
    --------
    >>> import pandas as pd
    >>> means = pd.DataFrame({"k": [1, 1], "x": [1.0, 3.0]}).groupby("k").agg({"x": ["mean", "max"]})
    >>> list(with_plain_columns(means, ["k"]).columns)
    ['k', 'x_mean', 'x_max']
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        return frame
    frame = joined_levels(frame)
    levels = [name for name in frame.index.names if name in wanted and name not in frame.columns]
    return frame.reset_index(level=levels) if levels else frame


def joined_levels(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a pandas frame with one level of column names: ``("x", "mean")`` becomes ``x_mean``."""
    import pandas as pd

    if not isinstance(frame.columns, pd.MultiIndex):
        return frame
    names = ["_".join(str(level) for level in levels if str(level)) for levels in frame.columns]
    return frame.set_axis(names, axis="columns")


def refuse_twice(names: Sequence[Any]) -> None:
    """Refuse column names that occur twice.

    Raises
    ------
    InvalidFrame
        One does.
    """
    twice = sorted({str(name) for name in names if list(names).count(name) > 1})
    if twice:
        raise InvalidFrame(f"column names occur twice: {', '.join(twice)}", hint="rename or drop one of each")


def to_table(
    frame: Any,
    roles: Columns,
    known_types: Mapping[str, pa.DataType] | None = None,
    key_types: Mapping[str, ValueType] | None = None,
) -> tuple[pa.Table, dict[str, pa.DataType]]:
    """Return a frame as an Arrow table of storable columns, and the Arrow types that the columns had before.

    The columns are keys, features, timestamp, created, in this order.

    Times become microseconds in UTC, naive ones being taken for UTC with one warning; int keys become
    int64, so that no later frame's narrower ints miss the stored ones.

    Parameters
    ----------
    frame
        A pandas DataFrame, or anything with ``__arrow_c_stream__`` (polars, Arrow, DuckDB).
    known_types
        Types of columns that are known from before; a column without a type of its own has one of these or none.
    key_types
        Types of join keys that are known from before.

    Raises
    ------
    InvalidFrame
        Null keys or timestamps, mixed types, or a type that no feature can have; says which column and rows.
    """
    known, of_keys = known_types or {}, key_types or {}
    times = (roles.timestamp,) if roles.created is None else (roles.timestamp, roles.created)
    raw = {name: _array(frame, name) for name in (*roles.keys, *roles.features, *times)}
    arrays = {key: key_column(raw[key], key, of_keys.get(key)) for key in roles.keys}
    arrays |= {name: storable(_typed(raw[name], known.get(name)), name) for name in roles.features}
    arrays |= {name: _instants(storable(_typed(raw[name], TIMESTAMP_US), name), name) for name in times}
    naive = [name for name, array in arrays.items() if is_naive(array.type)]
    arrays |= {name: pc.cast(arrays[name], in_utc(arrays[name].type), safe=False) for name in naive}
    without_time = pa.types.is_date(raw[roles.timestamp].type) or roles.timestamp in naive
    warn_of_times(naive, roles.timestamp if without_time and are_days(arrays[roles.timestamp]) else None)
    refuse_nulls(arrays[roles.timestamp], roles.timestamp, "timestamp")
    refuse_misread(epoch_us(arrays[roles.timestamp]), roles.timestamp)
    return pa.table(arrays), {name: column.type for name, column in raw.items()}


def is_naive(kind: pa.DataType) -> bool:
    """Return whether a type holds timestamps without a time zone, alone or in lists."""
    inner = kind.value_type if is_list(kind) else kind
    return bool(pa.types.is_timestamp(inner) and inner.tz is None)


def in_utc(kind: pa.DataType) -> pa.DataType:
    """Return the type of the same timestamps in microseconds, UTC."""
    return pa.list_(TIMESTAMP_US) if is_list(kind) else TIMESTAMP_US


def is_list(kind: pa.DataType) -> bool:
    """Return whether an Arrow type is a list of any form."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _array(frame: Any, name: str) -> pa.Array:
    import pandas as pd

    is_pandas = isinstance(frame, pd.DataFrame)
    try:
        array = pa.Array.from_pandas(_zoned(dense(frame[name]))) if is_pandas else pa.table(frame).column(name)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as exc:
        raise mixed_types(frame[name] if is_pandas else (), name, exc) from exc


def dense(series: Any) -> Any:
    """Return a column of pandas without sparse storage, which Arrow does not read."""
    return series.sparse.to_dense() if str(series.dtype).startswith("Sparse") else series


def _typed(array: pa.Array, known: pa.DataType | None) -> pa.Array:
    """Return a column without a type of its own in the known one; an empty frame's may as well be text.

    Such are columns of nulls only, and of empty lists only.
    """
    if not _is_untyped(array.type) or (known is None and len(array)):
        return array
    try:
        return array.cast(known or pa.string())
    except pa.ArrowNotImplementedError:  # empty lists where a number was
        return array


def _is_untyped(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind) or (is_list(kind) and pa.types.is_null(kind.value_type)))


def _zoned(series: Any) -> Any:
    """Return a column of datetimes of mixed zones in UTC; any other column as it is."""
    import datetime as dt

    import pandas as pd

    if series.dtype != object:
        return series
    first = series.dropna().head(1)
    if not len(first) or not isinstance(first.iloc[0], dt.datetime):
        return series
    # Texts among them are for Arrow to refuse: pandas would choose which part of "03/04/2026" is the day.
    return series if any(isinstance(value, str) for value in series) else pd.to_datetime(series, utc=True)


def storable(array: pa.Array, name: str) -> pa.Array:
    """Return a column in a type that Feast has: dictionaries decoded, narrow ints widened, instants in microseconds UTC.

    Raises
    ------
    InvalidFrame
        No feature can have the column's type.

    Examples
    --------
    >>> storable(pa.array([1, 2], pa.int8()), "a").type
    DataType(int32)
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return storable(array.dictionary_decode(), name)
    if pa.types.is_null(kind):
        raise InvalidFrame(
            f"column {name!r} is all null, so its type is unknown",
            hint=f'df["{name}"] = df["{name}"].astype("float64"), or another type; or leave it out',
        )
    if _is_untyped(kind):
        raise InvalidFrame(
            f"column {name!r} holds only empty lists, so their type is unknown",
            hint="leave it out until one of them holds a value",
        )
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # A naive column stays naive until `to_table` has warned of it.
        zone = "UTC" if pa.types.is_date(kind) or kind.tz is not None else None
        return pc.cast(array, pa.timestamp("us", tz=zone), safe=False)
    target = _WIDER.get(str(kind))
    if target is not None:
        return _cast(array, target, name)
    if feast_type_name(kind) is None:
        raise InvalidFrame(
            f"column {name!r} has the type {kind}, which no feature can have",
            hint="cast it: numbers, strings, bytes, booleans, timestamps and lists of these are features",
        )
    return array


_WIDER = {
    "int8": pa.int32(),
    "int16": pa.int32(),
    "uint8": pa.int32(),
    "uint16": pa.int32(),
    "uint32": pa.int64(),
    "uint64": pa.int64(),
    "halffloat": pa.float32(),
    "large_string": pa.string(),
    "string_view": pa.string(),
    "large_binary": pa.binary(),
    "binary_view": pa.binary(),
}

_FEAST_TYPES = {
    "int32": "Int32",
    "int64": "Int64",
    "float": "Float32",
    "double": "Float64",
    "string": "String",
    "bool": "Bool",
    "binary": "Bytes",
}


def feast_type_name(kind: pa.DataType) -> str | None:
    """Return the name in `feast.types` of the feature type of an Arrow type; ``Array(…)`` for lists, None for no type.

    Examples
    --------
    >>> feast_type_name(pa.list_(pa.float32())), feast_type_name(pa.duration("s"))
    ('Array(Float32)', None)
    """
    if pa.types.is_timestamp(kind):
        return "UnixTimestamp"
    if is_list(kind):
        inner = feast_type_name(kind.value_type)
        return None if inner is None or inner.startswith("Array") else f"Array({inner})"
    return _FEAST_TYPES.get(str(kind))


def _cast(array: pa.Array, target: pa.DataType, name: str) -> pa.Array:
    try:
        return pc.cast(array, target)
    except pa.ArrowInvalid as exc:
        raise InvalidFrame(f"column {name!r} does not fit {target}: {exc}") from exc


_KEY_HINT = "a join key is an int, a string, bytes or a timestamp"


def key_column(raw: pa.Array, name: str, expected: ValueType | None = None) -> pa.Array:
    """Return a join key as it is stored: ints as int64, texts and bytes as they are, timestamps in whole seconds.

    Parameters
    ----------
    raw
        n keys, none null.
    expected
        The Feast value type that the view or the entity has; None where there is none yet.

    Raises
    ------
    InvalidFrame
        The keys are null somewhere, of a type that no key can have, or of another type than expected.
    """
    refuse_nulls(raw, name, "join key")
    array = storable(_typed(raw, None), name)
    if not len(array) and expected is not None:
        return pa.array([], arrow_type(expected))  # no rows, so no type of their own
    kind = array.type
    if pa.types.is_floating(kind) and expected is not None and expected.name in ("INT32", "INT64"):
        array = _whole(array, name)  # ids that pandas made floats of
        kind = array.type
    family = next((family for family, test in _KEY_FAMILIES.items() if test(kind)), None)
    if family is None:
        raise InvalidFrame(f"join key {name!r} is of type {kind}", hint=_KEY_HINT)
    if expected is not None and expected.name not in _KEY_TYPES[family]:
        raise InvalidFrame(
            f"join key {name!r} holds {kind} where its entity is {expected.name}",
            hint=f"give the keys the entity's type; a view whose {name!r} means something else needs a key of another name",
        )
    if family == "int":
        return _cast(array, pa.int64(), name)
    if family == "timestamp":
        return _whole_seconds(pc.cast(array, TIMESTAMP_US, safe=False), name)
    return array


_KEY_FAMILIES = {
    "int": pa.types.is_integer,
    "text": pa.types.is_string,
    "bytes": pa.types.is_binary,
    "timestamp": pa.types.is_timestamp,
}
_KEY_TYPES = {"int": ("INT32", "INT64"), "text": ("STRING",), "bytes": ("BYTES",), "timestamp": ("UNIX_TIMESTAMP",)}


def _whole(array: pa.Array, name: str) -> pa.Array:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid as exc:
        raise InvalidFrame(f"join key {name!r} holds floats that are not whole: {exc}", hint=_KEY_HINT) from exc


def _whole_seconds(array: pa.Array, name: str) -> pa.Array:
    """Refuse keys that differ only in a fraction of a second: Feast stores whole seconds, and two of them would be one entity."""
    parts = np.flatnonzero(np.asarray(array.view(pa.int64())) % US_PER_SECOND)
    if len(parts):
        raise InvalidFrame(
            f"join key {name!r} has a fraction of a second in {len(parts):,} of {len(array):,} rows: {named_rows(parts)}",
            hint=f'Feast keeps whole seconds of a key: df["{name}"] = df["{name}"].dt.floor("s")',
        )
    return array


def _instants(array: pa.Array, name: str) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        return array
    known, column = array.drop_null(), f'df["{name}"]'
    if pa.types.is_string(array.type) and len(known):
        texts = known.to_pylist()
        day = "" if any(":" in text for text in texts) else f"; {_NEXT_DAY}"
        raise InvalidFrame(
            f"timestamp column {name!r} is of type string, row 0 holds {array[0].as_py()!r}",
            hint=f"{column} = {reading_of(texts, column)}{day}",
        )
    number = known[0].as_py() if len(known) else None
    counts = isinstance(number, (int, float)) and not isinstance(number, bool)
    unit = f', unit="{unit_of(number)}"' if counts else ""
    raise InvalidFrame(
        f"timestamp column {name!r} is of type {array.type}",
        hint=f"{column} = pd.to_datetime({column}{unit}, utc=True)",
    )


_NEXT_DAY = "+ pd.Timedelta(days=1) if a row is known only when its day is over"


def refuse_nulls(array: pa.Array, name: str, role: str) -> None:
    """Raise `InvalidFrame` naming the first rows where a column is null."""
    if array.null_count:
        rows = np.flatnonzero(np.asarray(array.is_null()))
        raise InvalidFrame(
            f"{role} {name!r} is null in {len(rows):,} of {len(array):,} rows: {named_rows(rows)}",
            hint=f'df.dropna(subset=["{name}"]) leaves them out',
        )
