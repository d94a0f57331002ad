"""Decodes payloads into Arrow columns: one cursor per row walks over the values, all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from feast.value_type import ValueType

from feastra_nb.codec.casts import PER_SECOND, SECONDS_MAX
from feastra_nb.codec.value_types import NULL_SECONDS, FeastValue, Kind, kind_of
from feastra_nb.codec.wire_format import (
    Ints,
    MalformedBytes,
    Mask,
    Tape,
    content,
    offsets_of,
    require,
    split_varints,
    varint_at,
)

if TYPE_CHECKING:
    from typing import Any

_ENTRY = 0x0A  # field 1, length-delimited
_CUT_ROWS = 16  # rows up to which Python cuts faster than numpy


def step(tape: Tape, cursor: Ints) -> tuple[Ints, Ints]:
    """Read the entry under each cursor.

    Returns
    -------
    begin, end
        Where its content begins and ends (n each); begin == end for an empty one, and for a row that has no more.

    Raises
    ------
    MalformedBytes
        There is no entry, or it reaches beyond its row.
    """
    there = cursor < tape.end
    require(~there | (tape.data[cursor] == _ENTRY), "not a RepeatedValue")
    lengths, widths = tape.varints(cursor + 1)
    begin = np.where(there, cursor + 1 + widths, cursor)
    # lengths are compared as unsigned: a nonsensical one must not wrap into a valid place
    room = (tape.end - begin).astype(np.int64)
    require(~there | ((room >= 0) & (lengths <= np.maximum(room, 0).astype(np.uint64))), "a value beyond the row's end")
    return begin, np.where(there, begin + lengths.view(np.int64), cursor)


def cells(tape: Tape, number: int) -> tuple[Ints, Ints, bool]:
    """Cut the first entries of each row.

    Returns
    -------
    begin, end
        Shape (number, n): of each entry what `step` returns.
    is_more
        Whether a row has more entries.

    Raises
    ------
    MalformedBytes
        As `step` does.
    """
    begin, end = np.empty((2, number, len(tape.start)), dtype=np.int64)
    if len(tape.start) <= _CUT_ROWS:
        return begin, end, _cut(tape, begin, end)
    cursor = tape.start
    for place in range(number):
        begin[place], cursor = step(tape, cursor)
        end[place] = cursor
    return begin, end, bool((cursor < tape.end).any())


def _cut(tape: Tape, begin: Ints, end: Ints) -> bool:
    """Fill in where the entries of a few rows begin and end, by plain Python; tell whether there are more."""
    data, number, is_more = tape.data.tobytes(), len(begin), False
    for row, (at, stop) in enumerate(zip(tape.start.tolist(), tape.end.tolist(), strict=True)):
        first: list[int] = []
        last: list[int] = []
        while at < stop and len(first) < number:
            if data[at] != _ENTRY:
                raise MalformedBytes(row, "not a RepeatedValue")
            size, at = varint_at(data, at + 1, row)  # noqa: PLW2901 - a cursor
            first.append(at)
            at += size  # noqa: PLW2901
            last.append(at)
        if at > stop:
            raise MalformedBytes(row, "a value beyond the row's end")
        is_more |= at < stop
        missing = [stop] * (number - len(first))
        begin[:, row], end[:, row] = first + missing, last + missing
    return is_more


def column_of(tape: Tape, begin: Ints, end: Ints, value_type: ValueType) -> pa.Array:
    """Decode what lies between ``begin`` and ``end`` of each row as one column of `arrow_type`; nothing is null."""
    present = end > begin
    kind = kind_of(value_type)
    if value_type is ValueType.NULL:
        return pa.nulls(len(begin))
    if kind is None:
        return pa.ExtensionArray.from_storage(FeastValue(value_type), _nulled(tape.slices(begin, end), present))
    expected = np.frombuffer(kind.tag, dtype=np.uint8)
    for index, byte in enumerate(expected):
        require(~present | (tape.data[begin + index] == byte), f"a value of another type than {value_type.name}")
    body = np.where(present, begin + len(kind.tag), end)
    if kind.container or kind.form == "text":
        lengths, widths = tape.varints(body)
        inner = body + widths
        alone = (inner <= end) & (inner + lengths.view(np.int64) == end)
        require(~present | alone, "a value with more than one field")
        inner = np.where(present, inner, end)
        return (
            _collections(tape, inner, end, kind, present) if kind.container else _texts(tape, inner, end, kind, present)
        )
    if kind.form == "fixed":
        dtype = "<f8" if kind.element is ValueType.DOUBLE else "<f4"
        require(~present | (end - body == np.dtype(dtype).itemsize), "a number of another width")
        return pa.array(tape.numbers(body, dtype), mask=~present)
    values, widths = tape.varints(body)
    require(~present | (body + widths == end), "a value with more than one field")
    return _numbers(values.view(np.int64), kind, present)


def _numbers(values: Ints, kind: Kind, present: Mask | None) -> pa.Array:
    """Turn varint values into the Arrow type of the element."""
    mask = None if present is None else ~present
    if kind.element is ValueType.BOOL:
        return pa.array(values != 0, mask=mask)
    if kind.element is ValueType.INT32:
        return pa.array(values.astype(np.int32), mask=mask)
    if kind.element is ValueType.INT64:
        return pa.array(values, mask=mask)
    missing = values == NULL_SECONDS
    missing = missing if mask is None else missing | mask
    require(missing | (np.abs(values) <= SECONDS_MAX), "a timestamp beyond the year 294,247")
    micros = pa.array(np.where(missing, 0, values) * PER_SECOND["us"], mask=missing)
    return micros.cast(pa.timestamp("us", tz="UTC"))


def _texts(tape: Tape, begin: Ints, end: Ints, kind: Kind, present: Mask) -> pa.Array:
    return _nulled(tape.slices(begin, end), present).cast(kind.arrow)


def _nulled(strings: pa.LargeBinaryArray, present: Mask) -> pa.LargeBinaryArray:
    if present.all():
        return strings
    _, offsets, data = strings.buffers()
    validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.LargeBinaryArray.from_buffers(
        strings.type, len(strings), [validity, offsets, data], offset=strings.offset
    )


def _collections(tape: Tape, begin: Ints, end: Ints, kind: Kind, present: Mask) -> pa.Array:
    flat, counts = _text_elements(tape, begin, end, kind) if kind.form == "text" else _packed(tape, begin, end, kind)
    offsets = pa.array(offsets_of(counts)).cast(pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, type=kind.arrow, mask=None if present.all() else pa.array(~present))


def _packed(tape: Tape, begin: Ints, end: Ints, kind: Kind) -> tuple[pa.Array, Ints]:
    row = Tape(tape.data, begin, end)
    inner, stop = step(row, begin)
    require(stop == end, "a list of numbers that is not packed")
    bodies = tape.slices(inner, stop)
    if kind.form == "varint":
        values, counts = split_varints(bodies)
        return _numbers(values.view(np.int64), kind, None), counts
    starts, data = content(bodies)
    dtype: np.dtype[Any] = np.dtype("<f8" if kind.element is ValueType.DOUBLE else "<f4")
    require(np.diff(starts) % dtype.itemsize == 0, "a list ends inside a number")
    return pa.array(data[int(starts[0]) : int(starts[-1])].view(dtype)), np.diff(starts) // dtype.itemsize


def _text_elements(tape: Tape, begin: Ints, end: Ints, kind: Kind) -> tuple[pa.Array, Ints]:
    counts = np.zeros(len(begin), dtype=np.int64)
    rows, cursor = np.flatnonzero(end > begin), begin[end > begin]
    elements: list[tuple[Ints, Ints, Ints]] = []
    while len(rows):
        inner, cursor = step(Tape(tape.data, cursor, end[rows]), cursor)
        elements.append((rows, inner, cursor))
        counts[rows] += 1
        more = cursor < end[rows]
        rows, cursor = rows[more], cursor[more]
    if not elements:
        return pa.array([], kind.arrow.value_type), counts
    owner, first, last = (np.concatenate(parts) for parts in zip(*elements, strict=True))
    order = np.argsort(owner, kind="stable")  # found element by element; wanted row by row
    return tape.slices(first[order], last[order]).cast(kind.arrow.value_type), counts
