"""Makes and takes apart the frames of CQL's native protocol, version 4. No I/O.

The format: https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERSION = 4
REQUEST, RESPONSE = VERSION, VERSION | 0x80  # a frame's first byte
ERROR, OPTIONS, SUPPORTED, RESULT, EXECUTE, BATCH = 0x00, 0x05, 0x06, 0x08, 0x0A, 0x0D
COMPRESSED, TRACED, PAYLOAD, WARNED = 0x01, 0x02, 0x04, 0x08  # flags of a frame
HEADER = Struct(">BBhBi")  # version, flags, stream, opcode, length of the body
LARGEST_BODY = 256 * 2**20  # bytes; the protocol's own bound
STREAMS = 2**15

_VALUES, _NO_METADATA, _PAGE_SIZE, _PAGING_STATE, _TIMESTAMP = 0x01, 0x02, 0x04, 0x08, 0x20  # flags of a query
_KIND_VOID, _KIND_ROWS = 0x0001, 0x0002
_ONE_TABLE, _MORE_PAGES, _WITHOUT_METADATA = 0x0001, 0x0002, 0x0004  # flags of rows
_PREPARED, _UNLOGGED = b"\x01", b"\x01"
_SHORT, _INT, _BIGINT = Struct(">H"), Struct(">i"), Struct(">q")
_PARAMETERS = Struct(">HBH")  # consistency level, flags, number of values
_ROWS_HEAD = Struct(">iii")  # kind, flags, number of columns
_BATCH_TAIL = Struct(">HBq")  # consistency level, flags, timestamp


class UnusualAnswer(Exception):
    """An answer is not what the direct way expects; the request goes through the driver."""


def header(opcode: int, stream: int, body_bytes: int) -> bytes:
    """Return how the frame of a request begins; its body follows.

    Examples
    --------
    >>> header(OPTIONS, 1, 0).hex()
    '040000010500000000'
    """
    return HEADER.pack(REQUEST, 0, stream, opcode, body_bytes)


def value(content: bytes) -> bytes:
    """Return a value with its length before it."""
    return _INT.pack(len(content)) + content


def bigint(number: int) -> bytes:
    """Return a number of 64 bits as a value, without its length.

    Examples
    --------
    >>> bigint(-2).hex()
    'fffffffffffffffe'
    """
    return _BIGINT.pack(number)


def execute(
    query_id: bytes,
    level: int,
    values: Sequence[bytes],
    page_size: int | None = None,
    paging_state: bytes | None = None,
) -> bytes:
    """Return the body of an EXECUTE that reads.

    Parameters
    ----------
    query_id
        Of the prepared statement.
    level
        The consistency level's number.
    values
        In their wire form, without lengths.
    page_size
        Rows of an answer at most; None for all that there are.
    paging_state
        Of the page before; None for the first.
    """
    flags = _VALUES | _NO_METADATA
    flags |= (_PAGE_SIZE if page_size is not None else 0) | (_PAGING_STATE if paging_state is not None else 0)
    parts = [_SHORT.pack(len(query_id)), query_id, _PARAMETERS.pack(level, flags, len(values))]
    parts.extend(map(value, values))
    if page_size is not None:
        parts.append(_INT.pack(page_size))
    if paging_state is not None:
        parts.append(value(paging_state))
    return b"".join(parts)


# --- statements of a batch -------------------------------------------------------------------------------------------


def statement_head(query_id: bytes, values: int) -> bytes:
    """Return how a prepared statement of so many values begins inside a batch; its values follow."""
    return _PREPARED + _SHORT.pack(len(query_id)) + query_id + _SHORT.pack(values)


def batch(statements: bytes, count: int, level: int, timestamp_us: int) -> bytes:
    """Return the body of an unlogged BATCH.

    Parameters
    ----------
    statements
        One after another: `statement_head` and the values of each.
    timestamp_us
        The write time of all of them.
    """
    tail = _BATCH_TAIL.pack(level, _TIMESTAMP, timestamp_us)
    return b"".join([_UNLOGGED, _SHORT.pack(count), statements, tail])


def single(statement: bytes, level: int, timestamp_us: int) -> bytes:
    """Return the body of an EXECUTE that writes the one statement, which looks as inside a batch."""
    values_at = 1 + 2 + _SHORT.unpack_from(statement, 1)[0]
    parameters = _SHORT.pack(level) + bytes([_VALUES | _TIMESTAMP])
    return b"".join([statement[1:values_at], parameters, statement[values_at:], _BIGINT.pack(timestamp_us)])


def statement_values(statements: bytes) -> Iterator[list[bytes]]:
    r"""Yield the values of each statement of a batch.

    Examples
    --------
    >>> list(statement_values(statement_head(b"id", 2) + value(b"a") + value(b"")))
    [[b'a', b'']]
    """
    at = 0
    while at < len(statements):
        at += 3 + _SHORT.unpack_from(statements, at + 1)[0]
        (count,) = _SHORT.unpack_from(statements, at)
        at += 2
        values = []
        for _ in range(count):
            begin = at + 4
            at = begin + _INT.unpack_from(statements, at)[0]
            values.append(statements[begin:at])
        yield values


# --- answers -----------------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """The rows of an answer, in their wire form.

    Parameters
    ----------
    body
        The answer's bytes.
    at
        Where the first row begins.
    number
        How many rows there are.
    paging_state
        Where the next page begins; None for the last page.
    """

    body: bytes
    at: int
    number: int
    paging_state: bytes | None


def rows(body: bytes, columns: int) -> Rows:
    """Return the rows of a RESULT's body.

    Raises
    ------
    UnusualAnswer
        It is another result, or has other columns.
    """
    try:
        kind, flags, width = _ROWS_HEAD.unpack_from(body)
        at, state = _ROWS_HEAD.size, None
        if kind != _KIND_ROWS or width != columns or flags & ~(_MORE_PAGES | _ONE_TABLE) != _WITHOUT_METADATA:
            raise UnusualAnswer(f"result of kind {kind} with flags {flags:#x} and {width} columns")
        if flags & _MORE_PAGES:
            (length,) = _INT.unpack_from(body, at)
            state = body[at + 4 : at + 4 + length]
            at += 4 + length
        (count,) = _INT.unpack_from(body, at)
    except struct.error as error:
        raise UnusualAnswer(str(error)) from error
    return Rows(body, at + 4, count, state)


def string_list(body: bytes) -> tuple[list[str], int]:
    """Return the texts at the beginning of a body, and where they end."""
    (count,) = _SHORT.unpack_from(body)
    at, texts = 2, []
    for _ in range(count):
        begin = at + 2
        at = begin + _SHORT.unpack_from(body, at)[0]
        texts.append(body[begin:at].decode())
    return texts, at


def is_void(body: bytes) -> bool:
    """Tell whether a RESULT's body says that a write is done, and nothing more."""
    return body == _VOID


def error_code(body: bytes) -> int:
    """Return the code at the beginning of an ERROR's body."""
    return int(_INT.unpack_from(body)[0])


# Unavailable, overloaded, bootstrapping, write timeout, write failure: the same write may succeed a little later.
TRANSIENT = (0x1000, 0x1001, 0x1002, 0x1100, 0x1500)
_VOID = _INT.pack(_KIND_VOID)
