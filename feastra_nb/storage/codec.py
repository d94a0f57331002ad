"""Arrow columns to the bytes stored in Cassandra, and back: pure, and the one place that knows the stored format.

- ``entity_key`` is Feast's entity key, serialization version 3: `encode_entity_keys`, `decode_entity_keys`.
- ``features`` is a payload: a serialized ``feast.types.RepeatedValue``, one ``Value`` a feature by position. A null is an
  empty ``Value`` (``0a 00``), and so is a hole, the position of a dropped feature: `encode_payloads`, `decode_payloads`.

Both are byte for byte what Feast and protobuf would have written, without a Python object per value; what Feast's conversion does to
values is in `feastra_nb.storage.casts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.errors import CatalogConflict, InvalidFrame
from feastra_nb.storage.columns import ready, to_epoch_us
from feastra_nb.storage.decoding import column_of, step, walk
from feastra_nb.storage.encoding import HOLE, value_parts
from feastra_nb.storage.entity_keys import decode_entity_keys, encode_entity_keys
from feastra_nb.storage.kinds import FeastValue, arrow_type, kind_of
from feastra_nb.storage.wire import MalformedBytes, Tape, constant, content, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast.value_type import ValueType

    from feastra_nb.storage.casts import Column
    from feastra_nb.storage.wire import Ints

    Payloads = pa.BinaryArray | pa.LargeBinaryArray | pa.ChunkedArray | Sequence[bytes | None]

__all__ = [
    "FeastValue",
    "arrow_type",
    "count_values",
    "decode_entity_keys",
    "decode_payloads",
    "encode_entity_keys",
    "encode_payloads",
    "payload_lengths",
    "to_epoch_us",
    "value_counts",
]

BLOCK_ROWS = 16_384  # rows encoded at a time: their byte matrices stay in the processor's cache


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
    prepared = []
    for name, column, value_type in zip(names, columns, types, strict=True):
        if column is not None and len(column) != rows:
            raise InvalidFrame(f"column {name!r} has {len(column)} values for {rows} rows")
        hole = column is None or value_type is None
        prepared.append(None if hole else (ready(column, value_type, name), kind_of(value_type)))
    blocks = []
    for start in range(0, max(rows, 1), BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - start)
        parts = []
        for entry in prepared:
            parts += [constant(HOLE, count)] if entry is None else value_parts(entry[0].slice(start, count), entry[1])
        blocks.append(join(parts, count))
    return pa.concat_arrays(blocks)


def decode_payloads(payloads: Payloads, positions: Sequence[int], types: Sequence[ValueType]) -> list[pa.Array]:
    """Decode some positions of n payloads.

    Parameters
    ----------
    payloads
        n payloads; ``None`` or null where there is no row.
    positions
        The positions wanted, in any order.
    types
        The Feast value type of each of them.

    Returns
    -------
    list of pa.Array
        One column of n values a position, of its `arrow_type`; null where there is no payload, the value is empty, or
        the row was written before the position existed.

    Raises
    ------
    CatalogConflict
        A payload that is no ``RepeatedValue``, or holds a value of another type.

    Examples
    --------
    >>> from feast.value_type import ValueType
    >>> payloads = encode_payloads([pa.array([7, 8]), pa.array(["x", None])], [ValueType.INT64, ValueType.STRING], 2)
    >>> [column.to_pylist() for column in decode_payloads(payloads, [1, 0], [ValueType.STRING, ValueType.INT64])]
    [['x', None], [7, 8]]
    """
    tape = Tape.of(_strings(payloads))
    found: dict[int, pa.Array] = {}
    wanted = set(positions)
    position = -1
    try:
        for position, (begin, end) in enumerate(walk(tape, max(wanted, default=-1) + 1)):
            for index in np.flatnonzero(np.asarray(positions) == position):
                found[int(index)] = column_of(tape, begin, end, types[int(index)])
    except (MalformedBytes, pa.ArrowInvalid) as error:
        raise CatalogConflict(
            f"a stored payload does not hold what the catalog says, at position {position}: {error}",
            hint="another program, or another catalog, wrote into this table",
        ) from error
    return [found[index] for index in range(len(positions))]


def count_values(payload: bytes) -> int:
    """Return how many values one payload holds.

    Examples
    --------
    >>> count_values(bytes.fromhex("0a0220070a00"))
    2
    """
    return int(value_counts([payload])[0])


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
    while bool((there := cursor < tape.end).any()):
        counts += there
        _, cursor = step(tape, cursor)
    return counts


def payload_lengths(payloads: Payloads) -> Ints:
    """Return the size in bytes of each of n payloads (n,); 0 for a null one.

    Examples
    --------
    >>> payload_lengths([b"abc", None]).tolist()
    [3, 0]
    """
    strings = _strings(payloads)
    lengths: Ints = np.diff(content(strings)[0])
    return np.where(np.asarray(strings.is_null()), 0, lengths)


def _strings(payloads: Payloads) -> pa.LargeBinaryArray:
    if isinstance(payloads, pa.ChunkedArray):
        return payloads.cast(pa.large_binary()).combine_chunks()
    if isinstance(payloads, pa.Array):
        return payloads.cast(pa.large_binary())
    return pa.array(payloads, pa.large_binary())
