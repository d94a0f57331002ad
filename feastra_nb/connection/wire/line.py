"""A connection that one thread at a time uses: it sends, and reads the answers, without an event loop."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cassandra.connection import Connection, ConnectionShutdown

from feastra_nb.connection.wire.frames import (
    COMPRESSED,
    HEADER,
    LARGEST_BODY,
    OPTIONS,
    PAYLOAD,
    RESPONSE,
    STREAMS,
    SUPPORTED,
    TRACED,
    WARNED,
    header,
    string_list,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

driver_log = logging.getLogger("cassandra.protocol")  # where the driver says what a server warns of

LOOKED_AT_S = 0.5  # one that was idle for longer is looked at before it is used
WAYS = 4  # to the server and back, that an answer may take in any case
_HAS_TIMEVAL = sys.platform in ("linux", "darwin")  # as SO_RCVTIMEO takes it
# Asked of the socket at first, and for the rest of what is known to come: a large buffer costs more than most answers.
READ_BYTES, READ_MORE_BYTES = 16 * 1024, 256 * 1024


class Answer(NamedTuple):
    """An answer's frame: flags, opcode and body."""

    flags: int
    opcode: int
    body: bytes


class BrokenLine(Exception):
    """A line can no longer be used: closed, silent for too long, or what came is not an answer to what was sent."""


class Line(Connection):
    """One connection of the driver's, whose handshake, TLS and login are the driver's own, in the calling thread.

    Answers belong to what was sent by their stream's number. A line that was left with answers under way, or half a frame, is
    closed: the next caller would take them for its own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.used_s = time.monotonic()
        self.waiting: dict[int, Any] = {}  # what was sent and has no answer yet, by stream, oldest first
        self._rest = b""
        self._silence_s = 0.0
        self._is_torn = False  # inside a send or a receive, or left there: bytes may be missing
        self._stream = 0
        self._connect_socket()
        if self._socket.family != socket.AF_UNIX:
            # A window of small requests would otherwise wait for the other side's delayed acknowledgement.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(self.connect_timeout)
        self._way_s: float | None = None  # to the server and back
        self._send_options_message()
        self._shake_hands()

    @classmethod
    def create_timer(cls, timeout: float, callback: Any) -> Any:
        """Have no timers: whoever waits for an answer does so for a limited time."""
        raise NotImplementedError

    def push(self, data: bytes) -> None:
        """Send the driver's messages of the handshake."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the socket; what has no answer yet gets none."""
        self.is_closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()

    def give_up(self) -> list[Any]:
        """Close the line and return what will have no answer."""
        lost = list(self.waiting.values())
        self.waiting.clear()
        self.close()
        return lost

    def _shake_hands(self) -> None:
        began_s = time.monotonic()
        while not self.connected_event.is_set():
            try:
                received = self._socket.recv(self.in_buffer_size)
            except OSError as error:
                self.defunct(error)
                return
            if self._way_s is None:
                self._way_s = time.monotonic() - began_s
            if not received:
                self.defunct(ConnectionShutdown(f"{self.endpoint} closed the connection while it was opened"))
                return
            self._iobuf.write(received)
            self.process_io_buffer()
        # What it hands to watchers of its own it would hold for ever; answers are read here from now on.
        self._requests.clear()

    # --- requests and answers ---

    def begin(self, silence_s: float) -> bool:
        """Begin to use the line for a call, which gives it up after a silence; False where it is dead.

        Over a long way no silence is shorter than a few ways there and back.
        One that was used just now is not looked at: should it be dead, that shows at the first answer.
        """
        if self.is_closed or (time.monotonic() - self.used_s > LOOKED_AT_S and self._is_readable()):
            return False
        silence_s = max(silence_s, WAYS * (self._way_s or 0.0))
        if silence_s != self._silence_s:
            self._silence_s = silence_s
            self._bear_silence()
        return True

    def _bear_silence(self) -> None:
        """Limit how long a call of the socket may take.

        Where the system does that by itself it spares Python a wait before each call, and other threads' turn in between.
        """
        if isinstance(self._socket, ssl.SSLSocket) or not _HAS_TIMEVAL:
            self._socket.settimeout(self._silence_s)
            return
        self._socket.settimeout(None)
        seconds, rest = divmod(self._silence_s, 1.0)
        limit = struct.pack("ll", int(seconds), max(int(rest * 1e6), 1))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _is_readable(self) -> bool:
        # Nothing was asked: the other side has hung up, or is not sound.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, requests: Iterable[tuple[int, bytes, Any]]) -> None:
        """Send requests at once: the opcode and body of each, and what its answer is to be known by.

        Raises
        ------
        BrokenLine
            They could not be sent; some may have been.
        """
        frames: list[bytes] = []
        if not self.waiting:
            self.used_s = time.monotonic()
        for opcode, body, token in requests:
            stream = self._stream = (self._stream + 1) % STREAMS
            frames += (header(opcode, stream, len(body)), body)
            self.waiting[stream] = token
        self._require_whole()
        self._is_torn = True
        try:
            self._socket.sendall(b"".join(frames))
        except OSError as error:
            raise BrokenLine(str(error) or type(error).__name__) from error
        self._is_torn = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return int(self._socket.fileno())

    def is_silent(self) -> bool:
        """Tell whether an answer is overdue."""
        return time.monotonic() - self.used_s > self._silence_s

    def has_bytes(self) -> bool:
        """Tell whether TLS has deciphered bytes that were not read: waiting for the socket would overlook them."""
        pending = getattr(self._socket, "pending", None)
        return pending is not None and pending() > 0

    def receive(self, *, wait: bool = True) -> list[tuple[Any, Answer]]:
        """Wait for answers and return those that came, each with what it is known by; without waiting perhaps none.

        Raises
        ------
        BrokenLine
            The line was closed or silent, or what came is not an answer to what was sent.
        """
        answers: list[tuple[Any, Answer]] = []
        self._require_whole()
        self._is_torn = True
        if not wait:
            self._socket.settimeout(0.0)
        data = self._rest
        while True:
            data = data[self._take(data, answers) :]
            if answers:
                break
            more = self._more(data, wait=wait)
            if more is data:
                break
            data = more
        if not wait:
            self._bear_silence()
        self._rest = data
        self._is_torn = False
        self.used_s = time.monotonic()
        return answers

    def _require_whole(self) -> None:
        if self.is_closed or self._is_torn:
            raise BrokenLine("left in the middle of a frame")

    def _more(self, data: bytes, *, wait: bool) -> bytes:
        """Return the bytes with more behind them, a whole frame if that comes; without waiting perhaps nothing more."""
        wanted = HEADER.size
        if len(data) >= wanted:
            wanted += max(HEADER.unpack_from(data)[-1], 0)
        parts: list[bytes] = []
        size = len(data)
        while size < wanted or not parts:
            try:
                part = self._socket.recv(min(max(wanted - size, READ_BYTES), READ_MORE_BYTES))
            except (BlockingIOError, ssl.SSLWantReadError):
                if wait:
                    raise BrokenLine("no answer in time") from None
                break
            except OSError as error:
                raise BrokenLine(str(error) or type(error).__name__) from error
            if not part:
                raise BrokenLine("closed by the other side")
            parts.append(part)
            size += len(part)
        if not parts:
            return data
        return parts[0] if len(parts) == 1 and not data else b"".join([data, *parts])

    def _take(self, data: bytes, answers: list[tuple[Any, Answer]]) -> int:
        """Take the whole frames off the beginning, and return where the rest begins."""
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            version, flags, stream, opcode, length = HEADER.unpack_from(data, at)
            if version != RESPONSE or not 0 <= length <= LARGEST_BODY or stream not in self.waiting:
                if answers:  # these are sound; what follows them is for the next call to meet
                    break
                raise BrokenLine(f"bytes that are not an answer to what was asked (stream {stream}, {length} bytes)")
            begin = at + HEADER.size
            if begin + length > end:
                break
            at = begin + length
            answers.append((self.waiting.pop(stream), self._answer(flags, opcode, data[begin:at])))
        return at

    def _answer(self, flags: int, opcode: int, body: bytes) -> Answer:
        if flags & COMPRESSED:
            if self.decompressor is None:
                raise BrokenLine("a compressed answer, which was not agreed upon")
            body = self.decompressor(body)
        if flags & WARNED and not flags & (TRACED | PAYLOAD):
            warnings, at = string_list(body)
            for warning in warnings:
                driver_log.warning("Server warning: %s", warning)
            body = body[at:]
        return Answer(flags, opcode, body)

    def is_alive(self, silence_s: float) -> bool:
        """Ask for a sign of life: a firewall may have forgotten a connection that was idle, and told nobody."""
        self.begin(silence_s)
        try:
            self.send([(OPTIONS, b"", None)])
            [(_token, answer)] = self.receive()
        except (BrokenLine, ValueError):
            return False
        return answer.opcode == SUPPORTED

    @property
    def is_sound(self) -> bool:
        """Whether the next caller can use it: every answer was read to its end."""
        return not (self.is_closed or self._is_torn or self.waiting or self._rest)
