"""DataFrames into clean Arrow tables: what `ws.materialize(df, …)` accepts, and what it refuses with which rows.

Pure but for a warning about naive timestamps. The offline parquet is `offline_file`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.errors import InvalidFrame, close_names
from feastra_nb.notices import warn_user
from feastra_nb.storage.columns import epoch_us as epoch_us  # noqa: PLC0414 - skew takes it from here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CREATED = "feastra_created"  # the column that is added where a frame has no created time of its own
TIMESTAMP_US = pa.timestamp("us", tz="UTC")
_SHOWN_ROWS = 5  # offending rows named in an error


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
    if not keys:
        raise InvalidFrame("no join keys were given", hint='name at least one column: keys=["customer_id"]')
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
            raise InvalidFrame(f"column name {name!r} is no string", hint="df.columns = df.columns.map(str)")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InvalidFrame(f"column names occur twice: {', '.join(twice)}", hint="rename or drop one of each")


def to_table(frame: Any, roles: Columns, known_types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """Return a frame as an Arrow table of storable columns: keys, features, timestamp, created, in this order.

    Event and created time become microseconds in UTC, naive ones being taken for UTC with one warning; int keys become
    int64, so that no later frame's narrower ints miss the stored ones.

    Parameters
    ----------
    frame
        A pandas DataFrame, or anything with ``__arrow_c_stream__`` (polars, Arrow, DuckDB).
    known_types
        Types of columns that are known from before; a column that is all null has one of these or none.

    Raises
    ------
    InvalidFrame
        Null keys or timestamps, mixed types, or a type that no feature can have; says which column and rows.
    """
    known = known_types or {}
    arrays = {key: _key(_array(frame, key), key) for key in roles.keys}
    arrays |= {name: storable(_typed(_array(frame, name), known.get(name)), name) for name in roles.features}
    times = (roles.timestamp,) if roles.created is None else (roles.timestamp, roles.created)
    naive = []
    for name in times:
        raw = storable(_typed(_array(frame, name), TIMESTAMP_US), name)
        arrays[name] = _instants(raw, name)
        if pa.types.is_timestamp(raw.type) and raw.type.tz is None:
            naive.append(name)
    if naive:
        warn_user(f"{', '.join(naive)}: timestamps without a time zone are taken for UTC")
    refuse_nulls(arrays[roles.timestamp], roles.timestamp, "timestamp")
    return pa.table(arrays)


def _array(frame: Any, name: str) -> pa.Array:
    import pandas as pd

    try:
        is_pandas = isinstance(frame, pd.DataFrame)
        array = pa.Array.from_pandas(_zoned(frame[name])) if is_pandas else pa.table(frame).column(name)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as exc:
        raise InvalidFrame(
            f"column {name!r} mixes types or holds what Arrow cannot: {exc}",
            hint=f'give it one type, for example df["{name}"] = df["{name}"].astype("string")',
        ) from exc


def _typed(array: pa.Array, known: pa.DataType | None) -> pa.Array:
    """Return a column without a type of its own in the known one; an empty frame's may as well be text."""
    if not pa.types.is_null(array.type) or (known is None and len(array)):
        return array
    return array.cast(known or pa.string())


def _zoned(series: Any) -> Any:
    """Return a column of datetimes of mixed zones in UTC; any other column as it is."""
    import datetime as dt

    import pandas as pd

    if series.dtype != object:
        return series
    first = series.dropna().head(1)
    if len(first) and isinstance(first.iloc[0], dt.datetime):
        return pd.to_datetime(series, utc=True)
    return series


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
        raise InvalidFrame(f"column {name!r} is all null, so its type is unknown", hint="cast it, or leave it out")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # A naive column keeps its lack of a zone until `to_table` has warned of it.
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
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = feast_type_name(kind.value_type)
        return None if inner is None or inner.startswith("Array") else f"Array({inner})"
    return _FEAST_TYPES.get(str(kind))


def _cast(array: pa.Array, target: pa.DataType, name: str) -> pa.Array:
    try:
        return pc.cast(array, target)
    except pa.ArrowInvalid as exc:
        raise InvalidFrame(f"column {name!r} does not fit {target}: {exc}") from exc


def _key(raw: pa.Array, name: str) -> pa.Array:
    refuse_nulls(raw, name, "join key")
    array = storable(_typed(raw, None), name)
    if pa.types.is_integer(array.type):
        return _cast(array, pa.int64(), name)
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        return array
    if pa.types.is_timestamp(array.type):
        return pc.cast(array, TIMESTAMP_US, safe=False)
    raise InvalidFrame(
        f"join key {name!r} is of type {array.type}", hint="a join key is an int, a string, bytes or a timestamp"
    )


def _instants(array: pa.Array, name: str) -> pa.Array:
    if not pa.types.is_timestamp(array.type):
        raise InvalidFrame(
            f"timestamp column {name!r} is of type {array.type}",
            hint=f'df["{name}"] = pd.to_datetime(df["{name}"], utc=True)',
        )
    return pc.cast(array, TIMESTAMP_US, safe=False)


def refuse_nulls(array: pa.Array, name: str, role: str) -> None:
    """Raise `InvalidFrame` naming the first rows where a column is null."""
    if array.null_count:
        rows = np.flatnonzero(np.asarray(array.is_null()))
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS])) + (", …" if len(rows) > _SHOWN_ROWS else "")
        raise InvalidFrame(
            f"{role} {name!r} is null in {len(rows):,} of {len(array):,} rows: row {shown}",
            hint=f'df.dropna(subset=["{name}"]) leaves them out',
        )
