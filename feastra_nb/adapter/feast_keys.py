"""Entity keys as Feast's own Cassandra store has them: hex text, of serialization version 3 or 2. No I/O.

Version 2, of Feast before 0.50, lacks the number of join keys and the length of each name; the values look the same. So a key
becomes one of version 3 by another beginning, and what nobody can parse is neither.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from feast.value_type import ValueType

from feastra_nb.codec.wire_format import Tape, constant, content, from_offsets, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from feastra_nb.codec.wire_format import Bytes, Ints, Mask

UNREADABLE, VERSION_2, VERSION_3 = 0, 2, 3
_WIDTHS = {ValueType.INT32: 4, ValueType.INT64: 8, ValueType.UNIX_TIMESTAMP: 8}  # bytes
_HEADER_BYTES = 8  # a value's type and its length
_NOT_HEX = 255


def _nibbles() -> Bytes:
    table = np.full(256, _NOT_HEX, dtype=np.uint8)
    for digit in b"0123456789abcdefABCDEF":
        table[digit] = int(chr(digit), 16)
    return table


_NIBBLES = _nibbles()


def from_hex(texts: pa.Array) -> tuple[pa.LargeBinaryArray, Mask]:
    r"""Decode n hex texts.

    Returns
    -------
    tuple
        n byte strings, and which of the texts are hex (n,); the others are empty.

    Examples
    --------
    >>> keys, is_hex = from_hex(pa.array(["0aFF", "zz", "abc", ""]))
    >>> keys.to_pylist(), is_hex.tolist()
    ([b'\n\xff', b'', b'', b''], [True, False, False, True])
    """
    strings = texts.cast(pa.large_binary())
    if strings.null_count:
        strings = strings.fill_null(b"-")
    offsets, data = content(strings)
    starts, ends = offsets[:-1], offsets[1:]
    if not len(strings):
        return pa.array([], pa.large_binary()), np.zeros(0, dtype=bool)
    digits = _NIBBLES[data[int(offsets[0]) : int(offsets[-1])]]
    wrong_before = np.concatenate([[0], np.cumsum(digits == _NOT_HEX)])
    first = int(offsets[0])
    is_hex = ((ends - starts) % 2 == 0) & (wrong_before[ends - first] == wrong_before[starts - first])
    if not is_hex.all():
        kept = np.repeat(is_hex, ends - starts)
        digits = digits[kept]
    halves = digits.reshape(-1, 2)
    lengths = np.where(is_hex, (ends - starts) // 2, 0)
    return from_offsets(np.concatenate([[0], np.cumsum(lengths)]), halves[:, 0] << np.uint8(4) | halves[:, 1]), is_hex


_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def to_hex(keys: pa.Array) -> pa.LargeBinaryArray:
    r"""Encode n byte strings as the hex texts that Feast stores.

    Examples
    --------
    >>> to_hex(pa.array([b"\n\xff", b""])).to_pylist()
    [b'0aff', b'']
    """
    offsets, data = content(keys.cast(pa.large_binary()))
    part = data[int(offsets[0]) : int(offsets[-1])]
    digits = np.stack([_DIGITS[part >> np.uint8(4)], _DIGITS[part & np.uint8(15)]], axis=1).ravel()
    return from_offsets(2 * (offsets - offsets[0]), digits)


@dataclass(frozen=True, slots=True, eq=False)
class ParsedKeys:
    """What n stored keys are.

    Parameters
    ----------
    keys
        n keys of version 3, binary; those that cannot be read are empty.
    version
        Shape (n,): `VERSION_3`, `VERSION_2`, or `UNREADABLE`: a key of other names or types, or none at all.
    """

    keys: pa.Array
    version: npt.NDArray[np.int8]


def parse_keys(stored: pa.LargeBinaryArray, names: Sequence[str], types: Sequence[ValueType]) -> ParsedKeys:
    """Tell the version of n keys of a view's join keys, and return them all in version 3.

    Parameters
    ----------
    stored
        n keys, as bytes.
    names, types
        The view's join keys, in any order, and their Feast value types.

    Examples
    --------
    >>> from feastra_nb.codec import encode_entity_keys
    >>> key = encode_entity_keys(["id"], [ValueType.INT64], [pa.array([7])])[0].as_py()
    >>> old = key[4:8] + key[12:]  # without the number of names, and the name's length
    >>> parsed = parse_keys(pa.array([key, old, b"?"], pa.large_binary()), ["id"], [ValueType.INT64])
    >>> parsed.version.tolist(), parsed.keys[0] == parsed.keys[1]
    ([3, 2, 0], True)
    """
    order = sorted(range(len(names)), key=lambda index: names[index])
    sorted_types = [types[index] for index in order]
    new, old = (_beginning([names[index] for index in order], version) for version in (VERSION_3, VERSION_2))
    tape = Tape.of(stored)
    fits_new = _begins_with(tape, new) & _holds_values(tape, len(new), sorted_types)
    fits_old = ~fits_new & _begins_with(tape, old) & _holds_values(tape, len(old), sorted_types)
    version = np.select([fits_new, fits_old], [VERSION_3, VERSION_2], UNREADABLE).astype(np.int8)
    if fits_new.all():
        return ParsedKeys(stored.cast(pa.binary()), version)
    begin = np.where(fits_new, tape.start + len(new), np.where(fits_old, tape.start + len(old), tape.end))
    values = tape.slices(begin, tape.end)
    keys = join([constant(new, len(stored)), values], len(stored)).cast(pa.binary())
    is_read = pa.array(version != UNREADABLE)
    return ParsedKeys(_only(keys, is_read), version)


def _only(keys: pa.Array, where: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(where, keys, pa.scalar(b"", keys.type))


def _beginning(names: Sequence[str], version: int) -> bytes:
    """Return what stands before the values: the names, each of the type STRING."""
    encoded = [name.encode() for name in names]
    string = struct.pack("<I", ValueType.STRING.value)
    if version == VERSION_2:
        return b"".join(string + name for name in encoded)
    return struct.pack("<I", len(encoded)) + b"".join(string + struct.pack("<I", len(name)) + name for name in encoded)


def _begins_with(tape: Tape, beginning: bytes) -> Mask:
    fits = tape.end - tape.start >= len(beginning)
    last = len(tape.data) - 1
    for index, byte in enumerate(beginning):
        fits &= tape.data[np.minimum(tape.start + index, last)] == byte
    return fits


def _holds_values(tape: Tape, skipped: int, types: Sequence[ValueType]) -> Mask:
    """Tell which keys hold, after some bytes, one value of each type and nothing else."""
    cursor = tape.start + skipped
    fits = cursor <= tape.end
    for value_type in types:
        fits, cursor = _after_value(tape, np.where(fits, cursor, 0), value_type, fits)
    return fits & (cursor == tape.end)


def _after_value(tape: Tape, cursor: Ints, value_type: ValueType, fits: Mask) -> tuple[Mask, Ints]:
    fits = fits & (cursor + _HEADER_BYTES <= tape.end)
    at = np.where(fits, cursor, 0)
    length = tape.numbers(at + 4, "<u4").astype(np.int64)
    fits &= tape.numbers(at, "<u4") == value_type.value
    end = at + _HEADER_BYTES + length
    fits &= end <= tape.end
    if value_type in _WIDTHS:
        fits &= length == _WIDTHS[value_type]
    return fits, np.where(fits, end, 0)
