"""Rows of an answer as columns: cut out of its bytes without an object a value, or gathered from the driver's tuples. No I/O."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feastra_nb.codec.wire_format import Tape
from feastra_nb.connection.wire.frames import UnusualAnswer
from feastra_nb.times import us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.connection.wire import frames

    Ints = npt.NDArray[np.int64]

Columns: TypeAlias = "list[Any]"  # a `pa.LargeBinaryArray` or an array of int64 each

BLOB, BIGINT, INT, TIMESTAMP = "blob", "bigint", "int", "timestamp"  # kinds of columns
NOTHING = -(2**63)  # stands for null among numbers
_WIDTHS = {BIGINT: 8, INT: 4, TIMESTAMP: 8}
_INT = struct.Struct(">i")
_MS_US = 1000


class Column(NamedTuple):
    """A column of a scan.

    Parameters
    ----------
    cql
        What is selected.
    kind
        ``BLOB`` (texts as well, as UTF-8): byte strings. ``BIGINT``, ``INT``: numbers. ``TIMESTAMP``: microseconds. Of numbers
        null is `NOTHING`.
    """

    cql: str
    kind: str


def columns_of_rows(rows: frames.Rows, columns: Sequence[Column]) -> Columns:
    """Cut an answer's rows into columns.

    Raises
    ------
    UnusualAnswer
        The bytes hold something else.
    """
    if not rows.number:
        return columns_of_tuples([], columns)
    data = np.frombuffer(rows.body, dtype=np.uint8)
    begin, lengths = _cells(rows, data, len(columns))
    return [_cut(data, begin[:, place], lengths[:, place], column.kind) for place, column in enumerate(columns)]


def _cells(rows: frames.Rows, data: npt.NDArray[np.uint8], width: int) -> tuple[Ints, Ints]:
    """Return where each value begins and how long it is, both of shape (rows, columns); -1 for null."""
    try:
        first = np.array(_lengths(rows.body, rows.at, width), dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(4 + np.maximum(first, 0))])
        if starts[-1] * rows.number == len(data) - rows.at:
            matrix = data[rows.at :].reshape(rows.number, -1)
            if _all_alike(matrix, starts[:-1]):
                begin = rows.at + 4 + np.arange(rows.number)[:, None] * starts[-1] + starts[None, :-1]
                return begin, np.broadcast_to(first, begin.shape)
        lengths = np.array(_lengths(rows.body, rows.at, width * rows.number), dtype=np.int64)
    except struct.error as error:
        raise UnusualAnswer(f"rows that end too early: {error}") from error
    ends = rows.at + np.cumsum(4 + np.maximum(lengths, 0))
    if (lengths < -1).any() or (len(ends) and ends[-1] != len(rows.body)):
        raise UnusualAnswer("rows that do not end where the answer does")
    begin = ends - np.maximum(lengths, 0)
    return begin.reshape(rows.number, width), lengths.reshape(rows.number, width)


def _lengths(body: bytes, at: int, number: int) -> list[int]:
    """Return the lengths of so many values that follow one another; the one loop in Python, as each tells where the next is."""
    unpack, lengths = _INT.unpack_from, []
    for _ in range(number):
        (length,) = unpack(body, at)
        lengths.append(length)
        at += 4 + length if length > 0 else 4
    return lengths


def _all_alike(matrix: npt.NDArray[np.uint8], starts: Ints) -> bool:
    """Tell whether all rows say the same lengths as the first one, at the same places."""
    return all(bool((matrix[:, start : start + 4] == matrix[0, start : start + 4]).all()) for start in starts)


def _cut(data: npt.NDArray[np.uint8], begin: Ints, lengths: Ints, kind: str) -> Any:
    tape = Tape(data, begin, begin + np.maximum(lengths, 0))
    if kind == BLOB:
        return tape.slices(tape.start, tape.end)
    width = _WIDTHS[kind]
    there = lengths == width
    if not (there | (lengths == -1)).all():
        raise UnusualAnswer(f"a number that has not {width} bytes")
    values = np.full(len(begin), NOTHING)
    values[there] = tape.numbers(begin[there], f">i{width}")
    return np.where(values == NOTHING, NOTHING, values * _MS_US) if kind == TIMESTAMP else values


def columns_of_tuples(rows: Sequence[tuple[Any, ...]], columns: Sequence[Column]) -> Columns:
    """Return the driver's rows as `columns_of_rows` does."""
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return [_gathered(some, column.kind) for some, column in zip(values, columns, strict=True)]


def _gathered(values: Sequence[Any], kind: str) -> Any:
    if kind == BLOB:
        blobs = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        return pa.array(blobs, pa.large_binary())
    return np.array([NOTHING if value is None else _number(value) for value in values], dtype=np.int64)


def _number(value: Any) -> int:
    return us(value.replace(tzinfo=timezone.utc)) if isinstance(value, datetime) else int(value)


def joined(pages: Sequence[Columns], columns: Sequence[Column]) -> Columns:
    """Return the columns of pages one after another."""
    if len(pages) == 1:
        return pages[0]
    if not pages:
        return columns_of_tuples([], columns)
    return [
        pa.concat_arrays(parts) if column.kind == BLOB else np.concatenate(parts)
        for column, parts in zip(columns, zip(*pages, strict=True), strict=True)
    ]
