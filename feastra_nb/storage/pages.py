"""The pages of answers: fetched by the driver, each with its own request, or taken from the bytes of the direct way.

The driver fetches a page with the future of the page before. Sent to two nodes, that one may be answered a second time,
late, and its rows would be taken for those of the next page.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.wire.frames import UnusualAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from feastra_nb.connection.cluster import Database
    from feastra_nb.connection.wire import frames

_INT = Struct(">i")
_EVENT = Struct(">iqi")  # an event time with its length, and the length of what comes next
_TIMES = Struct(">iqiqiqi")  # event, created and arrived likewise
_WRITTEN = Struct(">iq")
_BIGINT_BYTES = 8


def pages(db: Database, request: Any, answer: Any, *, profile: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the pages of the driver's answer to a request, each valid until the next is asked for."""
    while True:
        page, state = answer.current_rows, answer.paging_state
        yield page
        # The driver's timer keeps a request, and with it the rows, for as long as it might have timed out.
        page.clear()
        if state is None:
            return
        answer = db.send(request, profile, paging_state=state).result()


def all_rows(db: Database, request: Any, *, profile: str) -> Iterator[tuple[Any, ...]]:
    """Send a request through the driver and yield its rows, a page in memory at a time."""
    for page in pages(db, request, db.send(request, profile).result(), profile=profile):
        yield from page


# --- rows in their wire form: each value with its length before it -----------------------------------------------------


def decoded(rows: frames.Rows, columns: str) -> list[tuple[Any, ...]]:
    """Return rows as the driver does.

    Parameters
    ----------
    columns
        Which: `SERVED`, `WHOLE` or `WITH_TTL`.

    Raises
    ------
    UnusualAnswer
        The bytes hold something else.
    """
    try:
        return _DECODERS[columns](rows)
    except struct.error as error:
        raise UnusualAnswer(f"rows that end too early: {error}") from error


def _served(rows: frames.Rows) -> list[tuple[Any, ...]]:
    body, at = rows.body, rows.at
    int_at, event_at = _INT.unpack_from, _EVENT.unpack_from
    decoded_rows = []
    for _ in range(rows.number):
        (length,) = int_at(body, at)
        begin = at + 4
        at = begin + length
        width, event_us, size = event_at(body, at)
        payload = at + _EVENT.size
        at = payload + size
        if length < 0 or width != _BIGINT_BYTES or size < 0:
            raise UnusualAnswer("a null where none is stored")
        decoded_rows.append((body[begin : begin + length], event_us, body[payload:at]))
    _require_end(body, at)
    return decoded_rows


def _whole(rows: frames.Rows) -> list[tuple[Any, ...]]:
    decoded_rows: list[tuple[Any, ...]] = []
    at = rows.at
    for _ in range(rows.number):
        row, at = _whole_row(rows.body, at)
        decoded_rows.append(row)
    _require_end(rows.body, at)
    return decoded_rows


def _whole_with_ttl(rows: frames.Rows) -> list[tuple[Any, ...]]:
    body, at = rows.body, rows.at
    decoded_rows: list[tuple[Any, ...]] = []
    for _ in range(rows.number):
        row, at = _whole_row(body, at)
        (width,) = _INT.unpack_from(body, at)
        ttl_s = None if width < 0 else _INT.unpack_from(body, at + 4)[0]
        at += 4 + max(width, 0)
        width, written_us = _WRITTEN.unpack_from(body, at)
        if width != _BIGINT_BYTES:
            raise UnusualAnswer("a row without a write time")
        at += _WRITTEN.size
        decoded_rows.append((*row, ttl_s, written_us))
    _require_end(body, at)
    return decoded_rows


def _whole_row(body: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    (length,) = _INT.unpack_from(body, at)
    begin = at + 4
    at = begin + length
    event_width, event_us, created_width, created_us, arrived_width, arrived_us, size = _TIMES.unpack_from(body, at)
    payload = at + _TIMES.size
    if length < 0 or size < 0 or not event_width == created_width == arrived_width == _BIGINT_BYTES:
        raise UnusualAnswer("a null where none is stored")
    at = payload + size
    return (body[begin : begin + length], event_us, created_us, arrived_us, body[payload:at]), at


def _require_end(body: bytes, at: int) -> None:
    if at != len(body):
        raise UnusualAnswer(f"rows that end at byte {at} of {len(body)}")


SERVED = "entity_key, event_us, features"  # the columns that serving needs
WHOLE = "entity_key, event_us, created_us, arrived_us, features"  # those of `Rows`
WITH_TTL = f"{WHOLE}, TTL(features), WRITETIME(features)"
_DECODERS: dict[str, Callable[[frames.Rows], list[tuple[Any, ...]]]] = {
    SERVED: _served,
    WHOLE: _whole,
    WITH_TTL: _whole_with_ttl,
}
