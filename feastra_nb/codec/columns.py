"""Prepares a frame's columns for the wire; errors name the column and its first offending rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from feastra_nb.codec.casts import CASTS, LIST_NULLS, PER_SECOND, UnsuitableError, is_text, numbers_of, plain
from feastra_nb.codec.mixed_types import NUMBER, to_numeric
from feastra_nb.codec.value_types import FeastValue, kind_of
from feastra_nb.codec.wire_format import offsets_of
from feastra_nb.errors import InvalidFrame
from feastra_nb.times import reading_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from feastra_nb.codec.casts import Column
    from feastra_nb.codec.value_types import Kind
    from feastra_nb.codec.wire_format import Ints

    Cast = Callable[[pa.Array], pa.Array]

SHOWN_ROWS = 3  # offending rows named in an error
_REFUSALS = (
    ValueError,
    pa.ArrowNotImplementedError,
)  # UnsuitableError, ArrowInvalid and JSONDecodeError are ValueErrors


def ready(column: Column, value_type: ValueType, name: str) -> pa.Array:
    """Return a column in the form that is stored.

    Parameters
    ----------
    column
        n values of any Arrow type.
    value_type
        The Feast value type they are to be stored as.
    name
        The column's name, for errors.

    Returns
    -------
    pa.Array
        For a plain scalar type: int32, int64 (timestamps in seconds), float, double, bool, large_string or
        large_binary; for its lists and sets a large_list of those, without nulls inside and with empty slots under
        null rows; otherwise large_binary, each a serialized ``feast.types.Value``.

    Raises
    ------
    InvalidFrame
        Values that the type cannot hold.

    Examples
    --------
    >>> ready(pa.array([1.0, None]), ValueType.INT64, "n").to_pylist()
    [1, None]
    >>> try:
    ...     ready(pa.array([1, 2**40]), ValueType.INT32, "n")
    ... except InvalidFrame as error:
    ...     print(error.message)
    column 'n' (int64) cannot be stored as INT32: row 1 holds 1099511627776
    """
    kind = kind_of(value_type)
    if kind is None:
        return _messages(column, value_type, name)
    column = plain(column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.large_list(pa.null())) if kind.container else column
    if kind.container:
        return _collection(column, kind, value_type, name)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), _stored_type(kind))
    return _fitted(column, lambda part: CASTS[kind.element](part, ""), value_type, name)


def _stored_type(kind: Kind) -> pa.DataType:
    empty = pa.array([], pa.large_string() if kind.form == "text" else pa.int64())
    return CASTS[kind.element](empty, "").type


def _fitted(column: pa.Array, cast: Cast, value_type: ValueType, name: str, owners: Ints | None = None) -> pa.Array:
    """Cast, or say which rows do not fit; ``owners`` maps values inside lists to their rows."""
    try:
        return cast(column)
    except _REFUSALS as error:
        bad = _other_texts(column, value_type) or _offending(column, cast, 0, [])
        rows = bad if owners is None else [int(owners[index]) for index in bad]
        shown = ", ".join(f"row {row} holds {_short(column[index])}" for row, index in zip(rows, bad, strict=True))
        raise InvalidFrame(
            f"column {name!r} ({column.type}) cannot be stored as {value_type.name}: {shown or error}",
            hint=_remedy(column, value_type, name),
        ) from error


_NUMBERS = (ValueType.INT32, ValueType.INT64, ValueType.FLOAT, ValueType.DOUBLE)


def _other_texts(column: pa.Array, value_type: ValueType) -> list[int]:
    """Return the first positions of texts that are not numbers, where numbers are wanted: they say more than the others."""
    if value_type not in _NUMBERS or not is_text(column.type):
        return []
    numbers = pc.match_substring_regex(column, NUMBER).fill_null(True)  # noqa: FBT003
    return np.flatnonzero(~np.asarray(numbers))[:SHOWN_ROWS].tolist()


def _remedy(column: pa.Array, value_type: ValueType, name: str) -> str:
    """Return the hint of what cannot be stored: an expression, where one is known."""
    if is_text(column.type) and value_type in _NUMBERS:
        return to_numeric(name)
    if is_text(column.type) and value_type is ValueType.UNIX_TIMESTAMP:
        values = f'df["{name}"]'
        return f"{values} = {reading_of(column.drop_null().to_pylist(), values)}"
    return "convert the column, or give the feature a type that can hold it"


def _offending(column: pa.Array, cast: Cast, base: int, places: list[int]) -> list[int]:
    """Find the first positions whose values the cast refuses, by halving."""
    if len(places) >= SHOWN_ROWS or not len(column) or column.null_count == len(column):
        return places
    try:
        cast(column)
    except _REFUSALS:
        if len(column) == 1:
            places.append(base)
            return places
        middle = len(column) // 2
        _offending(column.slice(0, middle), cast, base, places)
        _offending(column.slice(middle), cast, base + middle, places)
    return places


def _short(value: pa.Scalar) -> str:
    try:
        shown = repr(value.as_py())
    except (OverflowError, ValueError):  # an instant beyond Python's years
        shown = f"{value.value} ({value.type})"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004


def _collection(column: pa.Array, kind: Kind, value_type: ValueType, name: str) -> pa.Array:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    if not any(test(column.type) for test in (*tests, *views)):
        _fitted(column, _refuse, value_type, name)
    lengths, present = numbers_of(pc.list_value_length(column))
    offsets = offsets_of(lengths.astype(np.int64))
    owners = np.repeat(np.arange(len(column)), lengths)
    flat = plain(pc.list_flatten(column))
    if pa.types.is_null(flat.type):
        flat = pa.nulls(len(flat), _stored_type(kind))
    values = _fitted(flat, lambda part: CASTS[kind.element](part, kind.container), value_type, name, owners)
    if values.null_count:
        values = _without_nulls(values, kind, value_type, name, owners)
    if kind.container == "set":
        offsets, values = _distinct_sorted(values, owners, len(column))
    mask = None if present is None else pa.array(~present)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _refuse(_: pa.Array) -> pa.Array:
    raise UnsuitableError("not a list")


def _without_nulls(values: pa.Array, kind: Kind, value_type: ValueType, name: str, owners: Ints) -> pa.Array:
    if kind.container == "list" and kind.element in LIST_NULLS:
        return values.fill_null(LIST_NULLS[kind.element])
    rows = list(dict.fromkeys(owners[np.asarray(values.is_null())].tolist()))[:SHOWN_ROWS]
    raise InvalidFrame(
        f"column {name!r} holds a null inside a value of type {value_type.name}, in rows {rows}",
        hint="Feast cannot store or read back such a null; drop it from the collection",
    )


def _distinct_sorted(values: pa.Array, owners: Ints, rows: int) -> tuple[Ints, pa.Array]:
    """Sort and deduplicate within each row, so that equal sets give equal bytes; NaN equals NaN, -0.0 equals 0.0."""
    if pa.types.is_floating(values.type):
        values = pa.array(values.to_numpy(zero_copy_only=False) + values.type.to_pandas_dtype()(0))
    keys = values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values
    table = pa.table({"row": pa.array(owners), "value": keys})
    order = pc.sort_indices(table, sort_keys=[("row", "ascending"), ("value", "ascending")])
    sorted_keys, sorted_owners = keys.take(order), owners[order.to_numpy()]
    repeated = pc.equal(sorted_keys[1:], sorted_keys[:-1])
    if pa.types.is_floating(keys.type):
        repeated = pc.or_(repeated, pc.and_(pc.is_nan(sorted_keys[1:]), pc.is_nan(sorted_keys[:-1])))
    fresh = np.ones(len(values), dtype=np.bool_)
    fresh[1:] = ~np.asarray(repeated, dtype=np.bool_) | (sorted_owners[1:] != sorted_owners[:-1])
    counts = np.bincount(sorted_owners[fresh], minlength=rows)
    return offsets_of(counts), values.take(order).filter(pa.array(fresh))


def _messages(column: Column, value_type: ValueType, name: str) -> pa.Array:
    """Convert through Feast, value by value; a `FeastValue` column holds the messages already."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.type == FeastValue(value_type):
        return column.storage
    if value_type is ValueType.NULL and column.null_count == len(column):
        return pa.nulls(len(column), pa.large_binary())
    column = column if isinstance(column.type, FeastValue) else plain(column)
    return _fitted(column, lambda part: _serialized(part, value_type), value_type, name)


def _serialized(column: pa.Array, value_type: ValueType) -> pa.Array:
    from feast.type_map import python_values_to_proto_values

    try:
        values = column.to_pylist(maps_as_pydicts="strict")
    except (KeyError, OverflowError) as error:  # a key twice in one map; an instant beyond Python's years
        raise UnsuitableError(str(error)) from error
    messages = []
    for value in values:
        # A missing value goes past Feast, which knows None but not NaT.
        [message] = [Value()] if value is None else _by_feast(python_values_to_proto_values, value, value_type)
        messages.append(ordered(message).SerializeToString(deterministic=True) or None)
    return pa.array(messages, pa.large_binary())


def _by_feast(convert: Callable[..., list[Value]], value: Any, value_type: ValueType) -> list[Value]:
    try:
        return convert([value], value_type)
    except Exception as error:  # Feast raises bare Exception for a type it cannot carry
        raise UnsuitableError(str(error)) from error


def ordered(message: Value) -> Value:
    """Give an order to what has none: scalar maps by key, sets by content; protobuf sorts string maps itself.

    Changes the message and returns it.
    """
    which = message.WhichOneof("val") or ""
    if which == "scalar_map_val":
        entries = sorted(message.scalar_map_val.val, key=lambda entry: entry.key.SerializeToString(deterministic=True))
        del message.scalar_map_val.val[:]
        message.scalar_map_val.val.extend(entries)
    elif which == "set_val":
        distinct = {inner.SerializeToString(deterministic=True): inner for inner in message.set_val.val}
        del message.set_val.val[:]
        message.set_val.val.extend(distinct[key] for key in sorted(distinct))
    elif which.endswith("_set_val"):
        values = getattr(message, which).val
        values[:] = _distinct(values)
    return message


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Return the values of a set as `_distinct_sorted` does: -0.0 is 0.0, and NaN is once there, at the end."""
    numbers = [value + 0.0 if isinstance(value, float) else value for value in values]
    there = sorted({value for value in numbers if value == value})  # noqa: PLR0124 - NaN is not equal to itself
    return there + [math.nan] * any(value != value for value in numbers)  # noqa: PLR0124


def epoch_us(column: Column, *, name: str = "timestamp") -> Ints:
    """Return instants as microseconds since the epoch, UTC; shape (n,), 0 where one is null.

    Parameters
    ----------
    column
        n timestamps or dates of any unit, with a zone, or naive and then UTC; nanoseconds are rounded down.
    name
        The column's name, for errors.

    Raises
    ------
    InvalidFrame
        The column holds no timestamps, or one beyond the range of 64-bit microseconds.

    Examples
    --------
    >>> epoch_us(pa.array([1_999, -1, None], pa.timestamp("ns"))).tolist()
    [1, -1, 0]
    """
    instants = plain(column)
    if pa.types.is_null(instants.type):
        return np.zeros(len(instants), dtype=np.int64)
    return numbers_of(_fitted(instants, _microseconds, ValueType.UNIX_TIMESTAMP, name))[0]


def _microseconds(column: pa.Array) -> pa.Array:
    if pa.types.is_date32(column.type):
        column = column.cast(pa.date64())
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise UnsuitableError("not a timestamp")
    ticks = column.view(pa.int64())
    per_second = PER_SECOND[column.type.unit if pa.types.is_timestamp(column.type) else "ms"]
    if per_second > PER_SECOND["us"]:
        values, present = numbers_of(ticks)
        return pa.array(values // (per_second // PER_SECOND["us"]), mask=None if present is None else ~present)
    return pc.multiply_checked(ticks, PER_SECOND["us"] // per_second)
