"""Frames of CQL's native protocol, version 4: those that a client needs to log in, prepare, read and write."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from feastra_nb.connection.wire.frames import BATCH, EXECUTE, HEADER, header, value

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_BYTES = HEADER.size
STARTUP, READY, AUTHENTICATE, PREPARE, AUTH_RESPONSE, AUTH_SUCCESS = 0x01, 0x02, 0x03, 0x09, 0x0F, 0x10
LOCAL_QUORUM = 6
WITH_VALUES, SKIP_METADATA = 0x01, 0x02  # flags of a query
UNLOGGED, PREPARED_KIND = 1, 1  # of a batch, and of each of its statements
ROWS_KIND, ONE_TABLE, NO_METADATA = 2, 0x01, 0x04  # of a result
SHORT, INT, LONG = Struct(">H"), Struct(">i"), Struct(">q")


def frame(opcode: int, body: bytes, stream: int = 0) -> bytes:
    """Return a request."""
    return header(opcode, stream, len(body)) + body


def startup() -> bytes:
    """Return the first request of a connection."""
    return frame(STARTUP, SHORT.pack(1) + _string("CQL_VERSION") + _string("3.0.0"))


def plain_login(username: str, password: str) -> bytes:
    """Return the answer to a server that asks who is there (SASL PLAIN)."""
    return frame(AUTH_RESPONSE, value(f"\0{username}\0{password}".encode()))


def prepare(cql: str) -> bytes:
    """Return the request to prepare a statement."""
    return frame(PREPARE, value(cql.encode()))


def prepared_id(result: bytes) -> bytes:
    """Return the id from the body of the answer to `prepare`."""
    return _short_bytes_at(result, INT.size)


def execute(statement: bytes, values: Sequence[bytes], stream: int) -> bytes:
    """Return the request to execute a prepared statement; each of its values is as `value` returns it.

    It asks for no pages: of an IN in pages Cassandra reads one key after another, otherwise all at once.
    """
    flags = bytes([WITH_VALUES | SKIP_METADATA])
    head = SHORT.pack(len(statement)) + statement + SHORT.pack(LOCAL_QUORUM) + flags + SHORT.pack(len(values))
    return frame(EXECUTE, b"".join([head, *values]), stream)


def batch(statement: bytes, rows: Sequence[Sequence[bytes]], stream: int) -> bytes:
    """Return an unlogged batch of one prepared statement, a row of values each time."""
    parts = [bytes([UNLOGGED]), SHORT.pack(len(rows))]
    head = bytes([PREPARED_KIND]) + SHORT.pack(len(statement)) + statement
    for values in rows:
        parts += [head, SHORT.pack(len(values)), *values]
    return frame(BATCH, b"".join([*parts, SHORT.pack(LOCAL_QUORUM), b"\0"]), stream)


def values_list(contents: Sequence[bytes]) -> bytes:
    """Return a value that is a list; its members are as `value` returns them."""
    return value(INT.pack(len(contents)) + b"".join(contents))


def row_count(result: bytes) -> int:
    """Return how many rows the body of an answer to `execute` holds.

    Raises
    ------
    ValueError
        It is not the rows of one page, without metadata.
    """
    kind, flags, _columns, rows = (INT.unpack_from(result, place * INT.size)[0] for place in range(4))
    if kind != ROWS_KIND or flags & ~ONE_TABLE != NO_METADATA:
        raise ValueError(f"the answer is of kind {kind} with flags {flags:#x}, not the rows of one page")
    return int(rows)


def error_text(error: bytes) -> str:
    """Return the code and message from the body of an error."""
    return f"error {INT.unpack_from(error)[0]:#06x}: {_short_bytes_at(error, INT.size).decode()}"


def _string(text: str) -> bytes:
    return SHORT.pack(len(text)) + text.encode()


def _short_bytes_at(body: bytes, place: int) -> bytes:
    start = place + SHORT.size
    return body[start : start + SHORT.unpack_from(body, place)[0]]
