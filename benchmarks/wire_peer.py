"""The wire: CQL frames over a plain socket, sent and answered by one thread, nothing decoded. It is what the server can do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from benchmarks import cql_frames
from benchmarks.cql_frames import HEADER_BYTES, LONG
from benchmarks.ready import ALWAYS, IN_KEYS, WINDOW, ReadyTables, ready_keys
from feastra_nb.connection.wire.frames import ERROR, HEADER, STREAMS, value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.data import Table

WIRE = "wire"
TIMEOUT_S = 30.0
CHUNK_BYTES = 2**16
READ_WINDOW = 128  # reads in flight
EVER = tuple(value(LONG.pack(bound)) for bound in ALWAYS)


class WireError(Exception):
    """The server answered with an error, or with what does not belong to the request."""


class WireConnection:
    """One connection, logged in; one thread's at a time.

    Parameters
    ----------
    host, port
        A node.
    login
        ``username`` and ``password``; empty where the server asks for none.

    Raises
    ------
    WireError
        The server lets nobody in by this login.
    """

    def __init__(self, host: str, port: int, login: dict[str, str]) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._log_in(login)
        except BaseException:
            self.close()
            raise

    def _log_in(self, login: dict[str, str]) -> None:
        opcode, _body = self._ask(cql_frames.startup())
        if opcode == cql_frames.AUTHENTICATE:
            opcode, _body = self._ask(cql_frames.plain_login(**login))
        if opcode not in (cql_frames.READY, cql_frames.AUTH_SUCCESS):
            raise WireError(f"logging in was answered by opcode {opcode:#04x}")

    def prepare(self, cql: str) -> bytes:
        """Return the id of a statement."""
        _opcode, body = self._ask(cql_frames.prepare(cql))
        return cql_frames.prepared_id(body)

    def exchange(self, frames: Sequence[bytes], window: int) -> list[bytes]:
        """Send requests, so many in flight at most, and return the bytes of their answers as they came.

        Only lengths are read, and whether an answer is an error.

        Raises
        ------
        WireError
            An answer is an error, or the server hung up.
        """
        sent, missing = min(window, len(frames)), len(frames)
        self._socket.sendall(b"".join(frames[:sent]))
        received, rest = [], b""
        while missing:
            chunk = self._socket.recv(CHUNK_BYTES)
            if not chunk:
                raise WireError(f"the server hung up before {missing} answers")
            received.append(chunk)
            answers, rest = _walk(rest + chunk if rest else chunk)
            missing -= answers
            if answers and sent < len(frames):
                self._socket.sendall(b"".join(frames[sent : sent + answers]))
                sent += answers
        if rest or missing < 0:
            raise WireError("the server sent more than was requested")
        return received

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _ask(self, frame: bytes) -> tuple[int, bytes]:
        answer = b"".join(self.exchange([frame], 1))
        return answer[4], answer[HEADER_BYTES:]


def _walk(received: bytes) -> tuple[int, bytes]:
    """Return how many whole answers there are, and the beginning of the next."""
    place, answers, size = 0, 0, len(received)
    while size - place >= HEADER_BYTES:
        _version, _flags, _stream, opcode, length = HEADER.unpack_from(received, place)
        end = place + HEADER_BYTES + length
        if end > size:
            break
        if opcode == ERROR:
            raise WireError(cql_frames.error_text(received[place + HEADER_BYTES : end]))
        place = end
        answers += 1
    return answers, received[place:]


class WirePeer(ReadyTables):
    """The wire as a peer.

    Parameters
    ----------
    session, keyspace
        As of `ReadyTables`.
    connect
        Opens a connection.
    """

    name = WIRE

    def __init__(self, session: Any, keyspace: str, connect: Callable[[], WireConnection]) -> None:
        super().__init__(session, keyspace)
        self._connect = connect
        self._connections: list[WireConnection] = []
        self._frames: dict[str, list[bytes]] = {}
        self._first = self.connection()

    def connection(self) -> WireConnection:
        """Return one more connection, for a thread of its own; it is closed with the peer."""
        self._connections.append(self._connect())
        return self._connections[-1]

    def prepare(self, view: str) -> None:
        """Make the frames of all batches of a view."""
        statement = self._first.prepare(self.insert_cql(view))
        self._frames[view] = [
            cql_frames.batch(
                statement,
                [
                    (value(key), *(value(LONG.pack(number)) for number in numbers), value(payload))
                    for key, *numbers, payload in rows
                ],
                stream=place % STREAMS,
            )
            for place, rows in enumerate(self.batches(view))
        ]

    def materialize(self, view: str) -> None:
        """Send the frames that are ready."""
        self._first.exchange(self._frames.pop(view), WINDOW)

    def reader(
        self, views: Sequence[str], table: Table, connection: WireConnection | None = None
    ) -> Callable[[Sequence[int]], object]:
        """Return a reader of the newest row of each key: one EXECUTE for one, groups of an IN for more, all in one send."""
        wire = connection or self._first
        statements = [tuple(map(wire.prepare, self.select_cql(view))) for view in views]
        ready = [value(key) for key in ready_keys(table)]

        def read(keys: Sequence[int]) -> list[bytes]:
            blobs = [ready[key] for key in dict.fromkeys(keys)]
            if len(blobs) == 1:
                requests = [(of_one, blobs[0]) for of_one, _of_many in statements]
            else:
                groups = [
                    cql_frames.values_list(blobs[start : start + IN_KEYS]) for start in range(0, len(blobs), IN_KEYS)
                ]
                requests = [(of_many, group) for _of_one, of_many in statements for group in groups]
            frames = [
                cql_frames.execute(statement, (some, *EVER), stream)
                for stream, (statement, some) in enumerate(requests)
            ]
            return wire.exchange(frames, READ_WINDOW)

        _check(read, len(views))
        return read

    def close(self) -> None:
        """Hang up."""
        while self._connections:
            self._connections.pop().close()


def _check(read: Callable[[Sequence[int]], list[bytes]], views: int) -> None:
    """Read an entity, outside the clock: answers that nobody decodes could be empty."""
    answers, rows = b"".join(read([0])), 0
    while answers:
        end = HEADER_BYTES + HEADER.unpack_from(answers)[-1]
        rows += cql_frames.row_count(answers[HEADER_BYTES:end])
        answers = answers[end:]
    if rows != views:
        raise WireError(f"{rows} rows of an entity in {views} views: were they filled?")
