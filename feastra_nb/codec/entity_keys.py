"""Entity keys: Feast's serialization, version 3.

The format, from ``feast/infra/key_encoding_utils.py``: the number of join keys; for each, sorted by name, the constant
2 (STRING), the name's length and the name; then, in the same order, for each value its type, its length and its bytes.
Counts, types and lengths are unsigned 32-bit little-endian numbers; an INT32 value has 4 bytes, INT64 and
UNIX_TIMESTAMP (seconds) have 8, little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from feast.value_type import ValueType

from feastra_nb.codec.casts import PER_SECOND, SECONDS_MAX, numbers_of
from feastra_nb.codec.columns import ready
from feastra_nb.codec.value_types import arrow_type
from feastra_nb.codec.wire_format import ByteStrings, MalformedBytes, Tape, constant, content, fixed, join, require
from feastra_nb.errors import CatalogConflict, ConfigurationError, InvalidFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.codec.casts import Column
    from feastra_nb.codec.wire_format import Ints

_WIDTHS = {ValueType.INT32: 4, ValueType.INT64: 8, ValueType.UNIX_TIMESTAMP: 8}  # bytes
_TYPES = (ValueType.STRING, ValueType.BYTES, *_WIDTHS)
_SHOWN_ROWS = 5


def encode_entity_keys(names: Sequence[str], types: Sequence[ValueType], columns: Sequence[Column]) -> pa.BinaryArray:
    """Encode the join keys of n rows.

    Parameters
    ----------
    names, types, columns
        The join keys in any order: their names, Feast value types (STRING, BYTES, INT32, INT64 or UNIX_TIMESTAMP) and
        values (n each).

    Returns
    -------
    pa.BinaryArray
        n keys, the same bytes as Feast's ``serialize_entity_key``.

    Raises
    ------
    InvalidFrame
        A null key, or a value that its type cannot hold.
    ConfigurationError
        A type that Feast cannot serialize as a key.

    Examples
    --------
    >>> encode_entity_keys(["id"], [ValueType.INT32], [pa.array([7])])[0].as_py().hex()
    '0100000002000000020000006964030000000400000007000000'
    """
    rows = len(columns[0]) if len(columns) else 0
    parts: list[ByteStrings | pa.LargeBinaryArray] = [constant(_prefix(names, types), rows)]
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        if len(columns[index]) != rows:
            raise InvalidFrame(f"join key {names[index]!r} has {len(columns[index])} rows, {names[0]!r} has {rows}")
        parts += _value_parts(_without_null(columns[index], types[index], names[index]), types[index])
    return join(parts, rows).cast(pa.binary())


def _prefix(names: Sequence[str], types: Sequence[ValueType]) -> bytes:
    for name, value_type in zip(names, types, strict=True):
        if value_type not in _TYPES:
            known = ", ".join(kind.name for kind in _TYPES)
            raise ConfigurationError(f"join key {name!r} is {value_type.name}; Feast's entity keys are {known}")
    encoded = [name.encode() for name in sorted(names)]
    pieces = [struct.pack("<II", ValueType.STRING.value, len(name)) + name for name in encoded]
    return struct.pack("<I", len(encoded)) + b"".join(pieces)


def _without_null(column: Column, value_type: ValueType, name: str) -> pa.Array:
    keys = ready(column, value_type, name)
    if keys.null_count:
        rows = np.flatnonzero(np.asarray(keys.is_null()))
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS]))
        raise InvalidFrame(
            f"join key {name!r} is null in {len(rows)} of {len(keys)} rows, first {shown}",
            hint="drop these rows: a null key finds no entity",
        )
    return keys


def _value_parts(keys: pa.Array, value_type: ValueType) -> list[ByteStrings | pa.LargeBinaryArray]:
    if value_type in _WIDTHS:
        header = constant(struct.pack("<II", value_type.value, _WIDTHS[value_type]), len(keys))
        return [header, fixed(numbers_of(keys)[0])]
    texts = keys.cast(pa.large_binary())
    lengths = np.diff(content(texts)[0]).astype(np.uint32)
    return [constant(struct.pack("<I", value_type.value), len(keys)), fixed(lengths), texts]


def decode_entity_keys(
    keys: pa.BinaryArray | Sequence[bytes], names: Sequence[str], types: Sequence[ValueType]
) -> list[pa.Array]:
    """Decode n entity keys, the inverse of `encode_entity_keys`.

    Parameters
    ----------
    keys
        n serialized keys.
    names, types
        The join keys, in the order in which their columns are wanted.

    Returns
    -------
    list of pa.Array
        One column of n values a join key, of its `arrow_type`.

    Raises
    ------
    CatalogConflict
        A key of other names or types.

    Examples
    --------
    >>> keys = encode_entity_keys(["b", "a"], [ValueType.INT64, ValueType.STRING], [pa.array([1]), pa.array(["x"])])
    >>> [column.to_pylist() for column in decode_entity_keys(keys, ["b", "a"], [ValueType.INT64, ValueType.STRING])]
    [[1], ['x']]
    """
    strings = keys if isinstance(keys, pa.Array | pa.ChunkedArray) else pa.array(keys, pa.large_binary())
    strings = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    try:
        return _decoded(Tape.of(strings.cast(pa.large_binary())), names, types)
    except (MalformedBytes, pa.ArrowInvalid) as error:
        raise CatalogConflict(
            f"an entity key is not of {dict(zip(names, (kind.name for kind in types), strict=True))}: {error}",
            hint="a join key was renamed or changed its type since the table was written",
        ) from error


def _decoded(tape: Tape, names: Sequence[str], types: Sequence[ValueType]) -> list[pa.Array]:
    prefix = np.frombuffer(_prefix(names, types), dtype=np.uint8)
    require(tape.end - tape.start >= len(prefix), "too short")
    for index, byte in enumerate(prefix):
        require(tape.data[tape.start + index] == byte, "other join keys")
    cursor = tape.start + len(prefix)
    columns: dict[str, pa.Array] = {}
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        columns[names[index]], cursor = _value_at(tape, cursor, types[index])
    require(cursor == tape.end, "bytes after the last value")
    return [columns[name] for name in names]


def _value_at(tape: Tape, cursor: Ints, value_type: ValueType) -> tuple[pa.Array, Ints]:
    begin = cursor + 8
    require(begin <= tape.end, "too short")
    require(tape.numbers(cursor, "<u4") == value_type.value, f"a value of another type than {value_type.name}")
    end = begin + tape.numbers(cursor + 4, "<u4").astype(np.int64)
    require(end <= tape.end, "too short")
    if value_type not in _WIDTHS:
        return tape.slices(begin, end).cast(arrow_type(value_type)), end
    require(end - begin == _WIDTHS[value_type], "a number of another width")
    values = tape.numbers(begin, f"<i{_WIDTHS[value_type]}")
    if value_type is not ValueType.UNIX_TIMESTAMP:
        return pa.array(values), end
    require((values >= -SECONDS_MAX) & (values <= SECONDS_MAX), "a timestamp beyond the year 294,247")
    return pa.array(values * PER_SECOND["us"]).cast(arrow_type(value_type)), end
