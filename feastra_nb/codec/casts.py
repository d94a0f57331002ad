"""Casts Arrow columns to the stored types by Feast's rules; a lossy cast is an error.

Feast's rules are those of ``feast.type_map.python_values_to_proto_values`` over ``column.to_numpy()``, which is how
Feast 0.67 itself materializes an Arrow column:

- a float NaN alone is null; inside a list or set it stays NaN;
- timestamps are whole seconds, rounded down; inside a list, toward zero (they differ only before 1970);
- FLOAT rounds to float32 (beyond its range: infinite);
- a null inside a list becomes 0, NaN, False, an empty text or, among timestamps, Feast's null (-2**63).

Where Feast raises, or changes the value unseen, the value is converted exactly or the frame is refused. Feast sends
integers beside nulls through float64, stores lists of nanosecond timestamps as if they were seconds, parses a text for
an INT64 feature, writes ``b"a"`` for a STRING feature as the text ``b'a'``, takes 2 for ``True``, makes null of empty
bytes in a batch that holds no others, and of numbers for a UNIX_TIMESTAMP feature beside nulls.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.value_type import ValueType

from feastra_nb.codec.value_types import NULL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from typing import TypeAlias

    from feastra_nb.codec.value_types import Container
    from feastra_nb.codec.wire_format import Mask

    Column: TypeAlias = pa.Array | pa.ChunkedArray

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SECONDS_MAX = (2**63 - 1) // PER_SECOND["us"]  # later instants do not fit Arrow's microseconds (year 294,247)
_UUID = r"^\{?[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}\}?$"
_UUID_BYTES = 16
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?([Ii]nf(inity)?|s?[Nn]a[Nn])$"


class UnsuitableError(ValueError):
    """A column, or a value in it, cannot be stored as asked; it becomes an ``InvalidFrame`` that names the rows."""


def plain(column: Column) -> pa.Array:
    """Return one contiguous array without dictionary, run-end or extension encoding.

    Examples
    --------
    >>> plain(pa.chunked_array([["a", "b"], ["a"]]).dictionary_encode()).to_pylist()
    ['a', 'b', 'a']
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column, pa.ChunkedArray):
        # 32-bit offsets may not hold all chunks together.
        wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(column.type)
        column = (column if wide is None else column.cast(wide)).combine_chunks()
    if pa.types.is_run_end_encoded(column.type):
        return plain(pc.run_end_decode(column))
    if isinstance(column.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.large_string())
    return plain(column.storage) if isinstance(column, pa.ExtensionArray) else column


def integral(column: pa.Array, target: pa.DataType, inside: Container) -> pa.Array:
    """Return integers; floats and decimals must be whole, booleans are 0 and 1."""
    kind = column.type
    if pa.types.is_floating(kind):
        column = _nan_to_null(column, inside)
    elif not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)):
        raise UnsuitableError
    return column.cast(target)


def floating(column: pa.Array, target: pa.DataType, inside: Container) -> pa.Array:
    """Return floats; FLOAT rounds as Feast does, DOUBLE takes only integers that it holds exactly (up to 2**53)."""
    kind = column.type
    if pa.types.is_decimal(kind):
        # Python rounds correctly; Arrow's decimal to float does not always.
        column = pa.array([None if value is None else float(value) for value in column.to_pylist()], pa.float64())
    elif pa.types.is_integer(kind):
        column = column.cast(pa.float64(), safe=target == pa.float64())
    elif not pa.types.is_floating(kind):
        raise UnsuitableError
    return _nan_to_null(column, inside).cast(target, safe=False)


def _nan_to_null(column: pa.Array, inside: Container) -> pa.Array:
    if inside:
        return column
    nan = pc.is_nan(column.cast(pa.float32()) if pa.types.is_float16(column.type) else column)
    return pc.if_else(nan, pa.scalar(None, column.type), column) if pc.any(nan).as_py() else column


def boolean(column: pa.Array, inside: Container) -> pa.Array:
    """Return booleans; numbers must be 0 or 1."""
    if pa.types.is_boolean(column.type):
        return column
    numbers = integral(column, pa.int64(), inside)
    if pc.all(pc.is_in(numbers, pa.array([0, 1, None]))).as_py() is False:
        raise UnsuitableError("neither 0 nor 1")
    return numbers.cast(pa.bool_())


def seconds(column: pa.Array, inside: Container) -> pa.Array:
    """Return whole seconds since the epoch (int64); naive timestamps are UTC, numbers are seconds already."""
    kind = column.type
    if pa.types.is_date32(kind):
        column = column.cast(pa.date64())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        ticks = column.view(pa.int64())
        per_second = PER_SECOND[kind.unit if pa.types.is_timestamp(kind) else "ms"]
        whole = _divided(ticks, per_second, toward_zero=inside == "list")
    else:
        whole = integral(column, pa.int64(), inside)
    if pc.all(pc.less_equal(pc.abs_checked(whole), SECONDS_MAX)).as_py() is False:
        raise UnsuitableError("beyond the year 294,247")
    return whole


def _divided(ticks: pa.Array, divisor: int, *, toward_zero: bool) -> pa.Array:
    values, present = numbers_of(ticks)
    whole = values // divisor
    if toward_zero:
        whole += (values < 0) & (whole * divisor != values)
    return pa.array(whole, mask=None if present is None else ~present)


def numbers_of(column: pa.Array) -> tuple[np.ndarray[Any, Any], Mask | None]:
    """Return a numeric column's values (nulls hold zero) and which are there; ``None``: all."""
    if not column.null_count:
        return column.to_numpy(zero_copy_only=False), None
    return column.fill_null(0).to_numpy(zero_copy_only=False), presence(column)


def presence(column: pa.Array) -> Mask | None:
    """Return which values are there (n,); ``None`` when all are."""
    return np.asarray(column.is_valid()) if column.null_count else None


def text(column: pa.Array) -> pa.Array:
    """Return large_string as ``str(value)`` gives it; binary must be UTF-8; timestamps, which have many texts, not."""
    kind = column.type
    if is_text(kind) or _is_binary(kind) or pa.types.is_integer(kind) or pa.types.is_date32(kind):
        return column.cast(pa.large_string())
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        column = _nan_to_null(column, "") if pa.types.is_floating(kind) else column
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.large_string())
    raise UnsuitableError


def binary(column: pa.Array) -> pa.Array:
    """Return large_binary; a text gives its UTF-8 bytes."""
    if not (is_text(column.type) or _is_binary(column.type)):
        raise UnsuitableError
    return column.cast(pa.large_binary())


def uuid_text(column: pa.Array) -> pa.Array:
    """Return UUIDs as the text given; 16 raw bytes become the usual hexadecimal form."""
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == _UUID_BYTES:
        values = [None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()]
        return pa.array(values, pa.large_string())
    if not is_text(column.type):
        raise UnsuitableError
    return _matching(column.cast(pa.large_string()), _UUID, "not a UUID")


def decimal_text(column: pa.Array) -> pa.Array:
    """Return decimals as the text given, or as Python writes them."""
    kind = column.type
    if pa.types.is_decimal(kind):
        values: list[Decimal | None] = column.to_pylist()
        return pa.array([None if value is None else str(value) for value in values], pa.large_string())
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise UnsuitableError
    return _matching(column.cast(pa.large_string()), _DECIMAL, "not a decimal number")


def json_text(column: pa.Array) -> pa.Array:
    """Return JSON as the text given, checked; anything that is not text is written by ``json.dumps``."""
    if not is_text(column.type):
        values = column.to_pylist(maps_as_pydicts="strict")
        return pa.array([None if value is None else json.dumps(value) for value in values], pa.large_string())
    for value in column.to_pylist():
        if value is not None:
            json.loads(value)
    return column.cast(pa.large_string())


def _matching(texts: pa.Array, pattern: str, complaint: str) -> pa.Array:
    if pc.all(pc.match_substring_regex(texts, pattern)).as_py() is False:
        raise UnsuitableError(complaint)
    return texts


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text of any form."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


CASTS: dict[ValueType, Callable[[pa.Array, Container], pa.Array]] = {
    ValueType.INT32: lambda column, inside: integral(column, pa.int32(), inside),
    ValueType.INT64: lambda column, inside: integral(column, pa.int64(), inside),
    ValueType.FLOAT: lambda column, inside: floating(column, pa.float32(), inside),
    ValueType.DOUBLE: lambda column, inside: floating(column, pa.float64(), inside),
    ValueType.BOOL: boolean,
    ValueType.UNIX_TIMESTAMP: seconds,
    ValueType.STRING: lambda column, _: text(column),
    ValueType.BYTES: lambda column, _: binary(column),
    ValueType.PDF_BYTES: lambda column, _: binary(column),
    ValueType.IMAGE_BYTES: lambda column, _: binary(column),
    ValueType.UUID: lambda column, _: uuid_text(column),
    ValueType.TIME_UUID: lambda column, _: uuid_text(column),
    ValueType.DECIMAL: lambda column, _: decimal_text(column),
    ValueType.JSON: lambda column, _: json_text(column),
}

LIST_NULLS: dict[ValueType, Any] = {  # what Feast stores for a null inside a list (feast.type_map, over to_numpy)
    ValueType.INT32: 0,
    ValueType.INT64: 0,
    ValueType.FLOAT: float("nan"),
    ValueType.DOUBLE: float("nan"),
    ValueType.BOOL: False,
    ValueType.UNIX_TIMESTAMP: NULL_SECONDS,
    ValueType.STRING: "",
    ValueType.BYTES: b"",
    ValueType.JSON: "null",
}
