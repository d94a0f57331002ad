"""Encodes prepared columns into payloads: one ``feast.types.RepeatedValue`` per row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.codec.casts import numbers_of, presence
from feastra_nb.codec.wire_format import (
    ByteStrings,
    Ints,
    constant,
    content,
    fixed,
    from_offsets,
    join,
    only_where,
    side_by_side,
    varint_lengths,
    varints,
)

if TYPE_CHECKING:
    from typing import TypeAlias

    from feastra_nb.codec.value_types import Kind
    from feastra_nb.codec.wire_format import Mask

    Part: TypeAlias = ByteStrings | pa.LargeBinaryArray

_ENTRY = b"\x0a"  # field 1, length-delimited: RepeatedValue.val, and `val` of every list and set message
HOLE = b"\x0a\x00"  # an empty Value


def value_parts(column: pa.Array, kind: Kind | None) -> list[Part]:
    """Return the bytes that each row adds to its payload, in parts to be joined side by side.

    Parameters
    ----------
    column
        n values as `feastra_nb.codec.columns.ready` gives them.
    kind
        How they look on the wire; ``None``: they are serialized ``Value`` messages.

    Examples
    --------
    >>> from feast.value_type import ValueType
    >>> from feastra_nb.codec.value_types import kind_of
    >>> parts = value_parts(pa.array([True, None]), kind_of(ValueType.BOOL))
    >>> [payload.hex() for payload in join(parts, 2).to_pylist()]
    ['0a023801', '0a00']
    """
    present = presence(column)
    if kind is None:
        messages = _binary(column)
        return [_entry(_lengths(messages), present), messages]
    if kind.container:
        return _collection_parts(column, kind, present)
    if kind.form == "text":
        texts = _binary(column)
        return [_header(_lengths(texts), kind.tag, present), texts]
    return [_short(number_cells(column, kind), kind.tag, present)]


def number_cells(column: pa.Array, kind: Kind) -> ByteStrings:
    """Encode numbers without tag or length; nulls as zero."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values, _ = numbers_of(column)
    return fixed(values) if kind.form == "fixed" else varints(values.astype(np.int64, copy=False))


def _short(body: ByteStrings, tag: bytes, present: Mask | None) -> ByteStrings:
    """Frame values of at most ten bytes: entry tag, one byte of length, field tag, body."""
    rows = len(body.matrix)
    lengths = (body.lengths() + len(tag)).astype(np.uint8)
    if present is not None:
        lengths[~present] = 0
    rest = only_where(side_by_side([constant(tag, rows), body]), present)
    return side_by_side([constant(_ENTRY, rows), ByteStrings(lengths[:, None]), rest])


def _entry(lengths: Ints, present: Mask | None) -> ByteStrings:
    """Frame values of any length: entry tag and length."""
    lengths = lengths if present is None else np.where(present, lengths, 0)
    return side_by_side([constant(_ENTRY, len(lengths)), varints(lengths)])


def _header(lengths: Ints, tag: bytes, present: Mask | None) -> ByteStrings:
    """Frame length-delimited fields: entry tag, length of the value, field tag, length of the field."""
    entry = _entry(len(tag) + varint_lengths(lengths) + lengths, present)
    inner = side_by_side([constant(tag, len(lengths)), varints(lengths)])
    return side_by_side([entry, only_where(inner, present)])


def _collection_parts(column: pa.Array, kind: Kind, present: Mask | None) -> list[Part]:
    offsets = column.offsets.to_numpy()
    first = int(offsets[0])
    flat = column.values.slice(first, int(offsets[-1]) - first)
    packed = kind.form != "text"
    elements = number_cells(flat, kind).strings() if packed else _framed(_binary(flat))
    starts, data = content(elements)
    regrouped = from_offsets(starts[offsets - first], data)
    lengths = _lengths(regrouped)
    if not packed:
        return [_header(lengths, kind.tag, present), regrouped]
    # protobuf packs repeated numbers into one field, and leaves the field out of an empty list
    filled = lengths > 0
    inner = side_by_side([constant(_ENTRY, len(lengths)), varints(lengths)])
    messages = np.where(filled, 1 + varint_lengths(lengths) + lengths, 0)
    return [side_by_side([_header(messages, kind.tag, present), only_where(inner, filled)]), regrouped]


def _framed(texts: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    lengths = _lengths(texts)
    return join([side_by_side([constant(_ENTRY, len(lengths)), varints(lengths)]), texts], len(texts))


def _binary(column: pa.Array) -> pa.LargeBinaryArray:
    return column.cast(pa.large_binary())


def _lengths(strings: pa.LargeBinaryArray) -> Ints:
    starts, _ = content(strings)
    return np.diff(starts)
