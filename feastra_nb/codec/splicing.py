"""Puts serialized ``feast.types.Value`` messages together to payloads, without decoding them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.codec.value_types import kind_of
from feastra_nb.codec.wire_format import (
    SEVEN_BITS,
    ByteStrings,
    constant,
    content,
    from_offsets,
    join,
    side_by_side,
    varint,
    varints,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from feast.value_type import ValueType

    from feastra_nb.codec.wire_format import Ints, Mask

_ENTRY = b"\x0a"  # field 1, length-delimited: RepeatedValue.val
_MESSAGE = 2  # the wire type of maps, structs and nested collections
_NULL_TAG = varint(19 << 3)  # Value.null_val: a null that somebody wrote as such


def splice(values: pa.LargeBinaryArray, place: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
    """Return payloads whose values are messages that are already serialized.

    Parameters
    ----------
    values
        Serialized ``feast.types.Value`` messages; an empty one is a null.
    place
        Shape (n, positions): which of ``values`` stands at each position of each payload; -1 for a hole or a null.

    Returns
    -------
    pa.LargeBinaryArray
        n payloads: serialized ``feast.types.RepeatedValue``.

    Examples
    --------
    >>> seven = pa.array([bytes.fromhex("2007"), b""], pa.large_binary())
    >>> [payload.hex() for payload in splice(seven, np.array([[0, -1], [1, 0]])).to_pylist()]
    ['0a0220070a00', '0a000a022007']
    """
    rows, positions = place.shape
    cells = rows * positions
    if not cells:
        return constant(b"", rows).strings()
    flat = place.ravel()
    taken = values.take(pa.array(flat, mask=flat < 0) if (flat < 0).any() else pa.array(flat))
    lengths = np.diff(content(taken)[0])
    short = int(lengths.max(initial=0)) <= SEVEN_BITS
    length = ByteStrings(lengths.astype(np.uint8)[:, None]) if short else varints(lengths)
    parts = join([side_by_side([constant(_ENTRY, cells), length]), taken], cells)
    offsets, data = content(parts)
    return from_offsets(offsets[::positions], data)


def first_field(values: pa.LargeBinaryArray) -> Ints:
    """Return the first two bytes of each message as a number (n,), little-endian; -1 for an empty one.

    Examples
    --------
    >>> first_field(pa.array([bytes.fromhex("2007"), b""], pa.large_binary())).tolist()
    [1824, -1]
    """
    offsets, data = content(values)
    starts, lengths = offsets[:-1], np.diff(offsets)
    padded = np.concatenate([data, np.zeros(2, dtype=np.uint8)])
    words = padded[starts].astype(np.int64) | padded[starts + 1].astype(np.int64) << 8
    return np.where(lengths == 0, -1, words)


def is_null(values: pa.LargeBinaryArray) -> Mask:
    """Tell which messages are nulls (n,): empty, or ``null_val``."""
    words = first_field(values)
    return (words < 0) | (words == int.from_bytes(_NULL_TAG, "little"))


def is_of_type(values: pa.LargeBinaryArray, value_type: ValueType) -> Mask:
    """Tell which messages are of a value type, or null (n,).

    Examples
    --------
    >>> from feast.value_type import ValueType
    >>> is_of_type(pa.array([bytes.fromhex("2007"), b""], pa.large_binary()), ValueType.INT32).tolist()
    [False, True]
    """
    kind = kind_of(value_type)
    tag = varint(value_type.value << 3 | _MESSAGE) if kind is None else kind.tag
    words = first_field(values)
    mask = 0xFF if len(tag) == 1 else 0xFFFF
    return is_null(values) | ((words >= 0) & (words & mask == int.from_bytes(tag, "little")))
