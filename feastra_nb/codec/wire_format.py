"""Reads and writes protobuf wire bytes with numpy: many byte strings at once, never a Python object per value.

Two shapes carry them:

- `ByteStrings`: n short byte strings as a (n, w) matrix plus a mask of the bytes that are there. Several side by side are glued
  by widening the matrix, so a row of fixed-width columns is one matrix and one copy.
- ``pa.LargeBinaryArray``: n byte strings of any length. Arrow joins and gathers them in C++.

The wire format (varints, tags, length-delimited fields) is https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

VARINT_MAX_BYTES = 10  # 64 bits, seven a byte
SEVEN_BITS = 0x7F  # a varint's byte above this has another one behind it
_PADDING = np.zeros(16, dtype=np.uint8)  # a read of eight bytes at the very end stays inside the buffer
_NOTHING = pa.scalar(b"", pa.large_binary())


@dataclass(frozen=True, slots=True, eq=False)
class ByteStrings:
    """n byte strings: the bytes of ``matrix`` (n, w) where ``kept`` (n, w) is true; ``None`` keeps all."""

    matrix: Bytes
    kept: Mask | None = None

    def lengths(self) -> Ints:
        """Return the n lengths in bytes."""
        rows, width = self.matrix.shape
        return np.full(rows, width, dtype=np.int64) if self.kept is None else self.kept.sum(axis=1, dtype=np.int64)

    def strings(self) -> pa.LargeBinaryArray:
        """Return the cells as an Arrow array.

        Examples
        --------
        >>> [one.hex() for one in varints(np.array([1, 300])).strings().to_pylist()]
        ['01', 'ac02']
        """
        data = np.ascontiguousarray(self.matrix) if self.kept is None else self.matrix[self.kept]
        return from_offsets(offsets_of(self.lengths()), data)


def side_by_side(cells: Sequence[ByteStrings]) -> ByteStrings:
    """Glue cells of the same rows, left to right."""
    if len(cells) == 1:
        return cells[0]
    matrix = np.concatenate([cell.matrix for cell in cells], axis=1)
    if all(cell.kept is None for cell in cells):
        return ByteStrings(matrix)
    kept = [np.ones(cell.matrix.shape, dtype=np.bool_) if cell.kept is None else cell.kept for cell in cells]
    return ByteStrings(matrix, np.concatenate(kept, axis=1))


def constant(content: bytes, rows: int) -> ByteStrings:
    """Return the same bytes in every row."""
    shape = rows, len(content)
    # What np.broadcast_to makes, in a tenth of its time.
    return ByteStrings(np.ndarray(shape, np.uint8, content, strides=(0, 1)) if content else np.empty(shape, np.uint8))


def only_where(cells: ByteStrings, present: Mask | None) -> ByteStrings:
    """Empty the cells of the rows that are not ``present``; ``None`` means all are."""
    if present is None:
        return cells
    kept = np.broadcast_to(present[:, None], cells.matrix.shape)
    return ByteStrings(cells.matrix, kept if cells.kept is None else cells.kept & kept)


def varint(value: int) -> bytes:
    """Encode one non-negative integer.

    Examples
    --------
    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value > SEVEN_BITS:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def varint_at(data: bytes, at: int, row: int = 0) -> tuple[int, int]:
    """Read one varint by plain Python; returns it, and where what follows it begins.

    Raises
    ------
    MalformedBytes
        It is cut off, or has more than ten bytes; names the row that it is of.

    Examples
    --------
    >>> varint_at(bytes.fromhex("ac0201"), 0)
    (300, 2)
    """
    value = 0
    for shift, byte in enumerate(data[at : at + VARINT_MAX_BYTES]):
        value |= (byte & SEVEN_BITS) << 7 * shift
        if byte <= SEVEN_BITS:
            return value, at + shift + 1
    raise MalformedBytes(row, "a varint of more than ten bytes, or cut off")


def varint_lengths(values: Words | Ints) -> Ints:
    """Return how many bytes each value takes as a varint (negative integers: ten).

    Examples
    --------
    >>> varint_lengths(np.array([0, 127, 128, -1])).tolist()
    [1, 1, 2, 10]
    """
    words = values.view(np.uint64)
    lengths = np.ones(len(words), dtype=np.int64)
    top = int(words.max(initial=0))
    for bits in range(7, 64, 7):
        if top >> bits == 0:
            break
        lengths += words >= np.uint64(1 << bits)
    return lengths


def varints(values: Words | Ints) -> ByteStrings:
    """Encode n integers, negative ones as their 64-bit two's complement as protobuf does."""
    words = values.view(np.uint64)
    lengths = varint_lengths(words)
    width = int(lengths.max(initial=1))
    matrix = np.empty((len(words), width), dtype=np.uint8)
    for byte in range(width):
        more = (lengths > byte + 1).astype(np.uint8) << np.uint8(7)
        matrix[:, byte] = (words >> np.uint64(7 * byte)).astype(np.uint8) & np.uint8(0x7F) | more
    return ByteStrings(matrix, None if bool((lengths == width).all()) else np.arange(width) < lengths[:, None])


def fixed(values: npt.NDArray[Any]) -> ByteStrings:
    """Encode n numbers as their own little-endian bytes."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return ByteStrings(little.view(np.uint8).reshape(len(values), values.dtype.itemsize))


def join(parts: Sequence[ByteStrings | pa.LargeBinaryArray], rows: int) -> pa.LargeBinaryArray:
    """Concatenate the parts of each row; a null part adds nothing.

    Neighbouring `ByteStrings` are glued first, so Arrow joins only at columns of free length.
    """
    arrays: list[pa.LargeBinaryArray] = []
    run: list[ByteStrings] = []
    for part in [*parts, None]:
        if isinstance(part, ByteStrings):
            run.append(part)
            continue
        if run:
            arrays.append(side_by_side(run).strings())
            run = []
        if part is not None:
            arrays.append(part)
    if not arrays:
        return constant(b"", rows).strings()
    if len(arrays) == 1 and not arrays[0].null_count:
        return arrays[0]
    return pc.binary_join_element_wise(*arrays, _NOTHING, null_handling="replace", null_replacement="")


def offsets_of(lengths: Ints) -> Ints:
    """Return the n+1 offsets of n lengths."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def from_offsets(offsets: Ints, data: Bytes) -> pa.LargeBinaryArray:
    """Wrap n+1 offsets into ``data`` as n byte strings, without a copy."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def content(strings: pa.LargeBinaryArray) -> tuple[Ints, Bytes]:
    """Return the n+1 offsets and the data buffer of byte strings, without a copy; offsets need not start at zero."""
    rows = len(strings)
    _, offsets, data = strings.buffers()
    if offsets is None or rows == 0:
        return np.zeros(rows + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    starts = np.frombuffer(offsets, dtype=np.int64)[strings.offset : strings.offset + rows + 1]
    return starts, np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)


class MalformedBytes(ValueError):  # a fact about data, as the leaves of errors.py; it never leaves storage
    """Bytes do not follow the wire format; ``row`` and ``reason`` say where and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


def require(sound: Mask, reason: str) -> None:
    """Raise `MalformedBytes` at the first row that is not ``sound``."""
    if not sound.all():
        raise MalformedBytes(int(np.argmin(sound)), reason)


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Bytes of many rows laid end to end, read at many places at once.

    ``start`` and ``end`` (n) bound each row in ``data``; rows follow one another, a null row is empty.
    """

    data: Bytes
    start: Ints
    end: Ints

    @classmethod
    def of(cls, strings: pa.LargeBinaryArray) -> Tape:
        """Lay out an Arrow array; nulls become empty rows."""
        offsets, data = content(strings)
        first = int(offsets[0])
        start, end = offsets[:-1] - first, offsets[1:] - first
        if strings.null_count:
            end = np.where(np.asarray(strings.is_null()), start, end)
        return cls(np.concatenate([data[first : int(offsets[-1])], _PADDING]), start, end)

    def numbers(self, at: Ints, dtype: str) -> npt.NDArray[Any]:
        """Read one little-endian number at each place; places past the end read padding."""
        kind = np.dtype(dtype)
        # Overlapping, unaligned view: one fancy index reads all bytes of a number (four times faster than bytewise).
        view: npt.NDArray[Any] = np.ndarray(
            (len(self.data) - kind.itemsize + 1,), dtype=kind, buffer=self.data, strides=(1,)
        )
        return view[at]

    def varints(self, at: Ints) -> tuple[Words, Ints]:
        """Read one varint at each place: the values and how many bytes they take."""
        first = self.data[at]
        values = (first & np.uint8(0x7F)).astype(np.uint64)
        widths = np.ones(len(at), dtype=np.int64)
        active = np.flatnonzero(first > SEVEN_BITS)
        for byte in range(1, VARINT_MAX_BYTES):
            if not len(active):
                return values, widths
            piece = self.data[np.minimum(at[active] + byte, len(self.data) - 1)]
            values[active] |= (piece & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * byte)
            widths[active] += 1
            active = active[piece > SEVEN_BITS]
        if len(active):
            raise MalformedBytes(int(active[0]), "a varint of more than ten bytes")
        return values, widths

    def slices(self, start: Ints, end: Ints) -> pa.LargeBinaryArray:
        """Copy out one slice a place; slices must follow one another (start <= end <= next start)."""
        if not len(start):
            return pa.array([], pa.large_binary())
        bounds = np.stack([start, end], axis=1).ravel()
        # Slices and the gaps between them alternate; Arrow takes every other one, at the speed of memcpy.
        return from_offsets(bounds, self.data).take(pa.array(np.arange(0, len(bounds) - 1, 2)))


def split_varints(packed: pa.LargeBinaryArray) -> tuple[Words, Ints]:
    """Read the packed varints of each row: all values in row order, and how many each row has.

    Examples
    --------
    >>> values, counts = split_varints(pa.array([bytes([1, 0xAC, 2]), b""], pa.large_binary()))
    >>> values.tolist(), counts.tolist()
    ([1, 300], [2, 0])
    """
    tape = Tape.of(packed)
    last = tape.data[: len(tape.data) - len(_PADDING)] <= SEVEN_BITS
    before = offsets_of(last.astype(np.int64))
    counts = before[tape.end] - before[tape.start]
    filled = tape.end > tape.start
    require(~filled | last[np.maximum(tape.end - 1, 0)] if len(last) else ~filled, "a list ends inside a varint")
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]])) if len(last) else np.zeros(0, dtype=np.int64)
    values, _ = tape.varints(starts.astype(np.int64))
    return values, counts
