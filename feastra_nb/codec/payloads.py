"""Encodes feature columns into payloads and decodes them again. No I/O.

A payload is a serialized ``feast.types.RepeatedValue``, one ``Value`` a feature by position. A null is an empty ``Value``
(``0a 00``), and so is a hole, the position of a dropped feature.

A payload is byte for byte what Feast and protobuf would have written, without a Python object per value. What Feast's
conversion does to values, and where it is not followed, stands in `feastra_nb.codec.casts`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.codec.columns import ready
from feastra_nb.codec.decoding import cells, column_of, step
from feastra_nb.codec.encoding import HOLE, value_parts
from feastra_nb.codec.value_types import is_number, kind_of
from feastra_nb.codec.wire_format import MalformedBytes, Tape, constant, join
from feastra_nb.errors import CatalogConflict, InvalidFrame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from feast.value_type import ValueType

    from feastra_nb.codec.casts import Column
    from feastra_nb.codec.encoding import Part
    from feastra_nb.codec.value_types import Kind
    from feastra_nb.codec.wire_format import Ints

    Payloads: TypeAlias = pa.BinaryArray | pa.LargeBinaryArray | pa.ChunkedArray | Sequence[bytes | None]

FEW_ROWS = 512  # rows up to which columns of one type are decoded together
BLOCK_ROWS = 16_384  # rows at a time, so that what is made of them stays in the processor's cache


def encode_payloads(
    columns: Sequence[Column | None],
    types: Sequence[ValueType | None],
    rows: int,
    *,
    names: Sequence[str] | None = None,
) -> pa.LargeBinaryArray:
    """Encode the features of n rows.

    Parameters
    ----------
    columns
        One column of n values a position; ``None`` is a hole.
    types
        The Feast value type of each position; ``None`` at a hole.
    rows
        n, which no column tells when all are holes.
    names
        The columns' names, for errors.

    Returns
    -------
    pa.LargeBinaryArray
        n payloads, none null: the same bytes as
        ``RepeatedValue(val=[...]).SerializeToString(deterministic=True)`` of Feast's values.

    Raises
    ------
    InvalidFrame
        A value that its type cannot hold, named with its column and row; or a column that has not n values.

    Examples
    --------
    >>> from feast.value_type import ValueType
    >>> payloads = encode_payloads([pa.array([7, None]), None], [ValueType.INT64, None], 2)
    >>> [payload.hex() for payload in payloads.to_pylist()]
    ['0a0220070a00', '0a000a00']
    """
    names = [f"#{position}" for position in range(len(columns))] if names is None else names
    prepared: list[tuple[pa.Array, Kind | None] | None] = []
    for name, column, value_type in zip(names, columns, types, strict=True):
        if column is None or value_type is None:
            prepared.append(None)
            continue
        if len(column) != rows:
            raise InvalidFrame(f"column {name!r} has {len(column)} values for {rows} rows")
        prepared.append((ready(column, value_type, name), kind_of(value_type)))
    starts = range(0, max(rows, 1), BLOCK_ROWS)
    return pa.concat_arrays([_encoded_block(prepared, start, min(BLOCK_ROWS, rows - start)) for start in starts])


def _encoded_block(
    prepared: Sequence[tuple[pa.Array, Kind | None] | None], start: int, rows: int
) -> pa.LargeBinaryArray:
    parts: list[Part] = []
    for entry in prepared:
        if entry is None:
            parts.append(constant(HOLE, rows))
        else:
            column, kind = entry
            parts += value_parts(column.slice(start, rows), kind)
    return join(parts, rows)


class UnknownPositions(Exception):  # a fact about data, as `MalformedBytes`; it never leaves the package
    """A payload holds more values than are known: written by somebody who knows a newer catalog."""


def decode_payloads(
    payloads: Payloads, positions: Sequence[int], types: Sequence[ValueType], *, known: int | None = None
) -> list[pa.Array]:
    """Decode some positions of n payloads.

    Parameters
    ----------
    payloads
        n payloads; ``None`` or null where there is no row.
    positions
        The positions wanted, in any order.
    types
        The Feast value type of each of them.
    known
        How many positions the catalog knows; None leaves it unchecked.

    Returns
    -------
    list of pa.Array
        One column of n values a position, of its `arrow_type`; null where there is no payload, the value is empty, or
        the row was written before the position existed.

    Raises
    ------
    CatalogConflict
        A payload that is not a ``RepeatedValue``, or holds a value of another type.
    UnknownPositions
        A payload holds more values than are known.

    Examples
    --------
    >>> from feast.value_type import ValueType
    >>> payloads = encode_payloads([pa.array([7, 8]), pa.array(["x", None])], [ValueType.INT64, ValueType.STRING], 2)
    >>> [column.to_pylist() for column in decode_payloads(payloads, [1, 0], [ValueType.STRING, ValueType.INT64])]
    [['x', None], [7, 8]]
    """
    strings = _strings(payloads)
    wanted = list(zip(positions, types, strict=True))
    blocks = [
        _decoded_block(strings.slice(start, BLOCK_ROWS), start, wanted, known)
        for start in range(0, max(len(strings), 1), BLOCK_ROWS)
    ]
    return blocks[0] if len(blocks) == 1 else [pa.concat_arrays(parts) for parts in zip(*blocks, strict=True)]


def _decoded_block(
    strings: pa.LargeBinaryArray, first_row: int, wanted: Sequence[tuple[int, ValueType]], known: int | None
) -> list[pa.Array]:
    tape = Tape.of(strings)
    number = max([known or 0, *(position + 1 for position, _type in wanted)])
    if len(strings) <= FEW_ROWS and (few := _decoded_few(tape, number, wanted, known)) is not None:
        return few
    cursor = tape.start
    columns: dict[int, pa.Array] = {}
    for position in range(number):
        with _conflict_at(position, first_row):
            begin, cursor = step(tape, cursor)
            for index, (place, value_type) in enumerate(wanted):
                if place == position:
                    columns[index] = column_of(tape, begin, cursor, value_type)
    if known is not None and bool((cursor < tape.end).any()):
        raise UnknownPositions
    return [columns[index] for index in range(len(wanted))]


def _decoded_few(
    tape: Tape, number: int, wanted: Sequence[tuple[int, ValueType]], known: int | None
) -> list[pa.Array] | None:
    """Decode few rows, of which numpy's constant part is most: columns of one type at once, where they can be.

    Returns
    -------
    list of pa.Array
        The columns; None where bytes do not fit, of which the other way says more.
    """
    rows, columns = len(tape.start), {}
    try:
        begin, end, is_more = cells(tape, number)
        if known is not None and is_more:
            raise UnknownPositions
        for value_type in dict.fromkeys(value_type for _position, value_type in wanted):
            places = sorted({position for position, its_type in wanted if its_type is value_type})
            # Texts are copied out in their order, which is that of the positions within one row only.
            at_once = [places] if rows == 1 or is_number(value_type) else [[place] for place in places]
            for some in at_once:
                column = column_of(tape, begin[some].ravel(), end[some].ravel(), value_type)
                for index, position in enumerate(some):
                    columns[position, value_type] = column.slice(index * rows, rows)
    except (MalformedBytes, pa.ArrowInvalid):
        return None
    return [columns[each] for each in wanted]


@contextmanager
def _conflict_at(position: int, first_row: int) -> Iterator[None]:
    """Turn bytes that do not fit into a conflict that names the position and the row."""
    try:
        yield
    except (MalformedBytes, pa.ArrowInvalid) as error:
        row = f" of row {first_row + error.row}" if isinstance(error, MalformedBytes) else ""
        reason = error.reason if isinstance(error, MalformedBytes) else str(error)
        raise CatalogConflict(
            f"a stored payload does not hold what the catalog says, at position {position}{row}: {reason}",
            hint="another program, or another catalog, wrote into this table",
        ) from error


def value_counts(payloads: Payloads) -> Ints:
    """Return how many values each of n payloads holds (n,); 0 for a null one.

    A reader that meets more than it knows positions reloads the catalog.

    Examples
    --------
    >>> value_counts([bytes.fromhex("0a0220070a00"), None]).tolist()
    [2, 0]
    """
    tape = Tape.of(_strings(payloads))
    counts, cursor = np.zeros(len(tape.start), dtype=np.int64), tape.start
    position = 0
    while bool((there := cursor < tape.end).any()):
        with _conflict_at(position, 0):
            _, cursor = step(tape, cursor)
        counts += there
        position += 1
    return counts


def _strings(payloads: Payloads) -> pa.LargeBinaryArray:
    if isinstance(payloads, pa.ChunkedArray):
        return payloads.cast(pa.large_binary()).combine_chunks()
    if isinstance(payloads, pa.Array):
        return payloads.cast(pa.large_binary())
    return pa.array(payloads, pa.large_binary())
