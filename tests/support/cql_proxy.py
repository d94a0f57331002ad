"""Stands between a client and a Cassandra node, on loopback, and spoils single answers: CQL's native protocol, version 4."""

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass

HEADER = struct.Struct(">BBhBi")  # version, flags, stream, opcode, length
ERROR, RESULT, EXECUTE, BATCH = 0x00, 0x08, 0x0A, 0x0D
UNAVAILABLE, OVERLOADED, UNPREPARED, READ_TIMEOUT = 0x1000, 0x1001, 0x2500, 0x1200


@dataclass
class Frame:
    """A frame; ``begin`` is its header."""

    flags: int
    stream: int
    opcode: int
    body: bytes
    asked: bytes = b""  # the body of the request, where this is an answer

    def to_bytes(self, version):
        return HEADER.pack(version, self.flags, self.stream, self.opcode, len(self.body)) + self.body


def error(code, asked, message="made by the proxy"):
    """Return the body of an ERROR; one that a statement is not prepared names that of the request."""
    text = message.encode()
    body = struct.pack(">iH", code, len(text)) + text
    extra = {
        UNAVAILABLE: struct.pack(">Hii", 6, 1, 0),
        READ_TIMEOUT: struct.pack(">HiiB", 6, 0, 1, 0),
        UNPREPARED: struct.pack(">H", 16) + _statement(asked),
    }
    return body + extra.get(code, b"")


def _statement(asked):
    """Return the id of the prepared statement in an EXECUTE, or of the first one in a BATCH, whose own begins behind 4 bytes."""
    at = 0 if asked[:2] == b"\0\x10" else 4
    return asked[at + 2 : at + 18]


# --- faults: what becomes of the answer to a read or a write ------------------------------------------------------------


class Mute(Exception):
    """Lets a connection live, and sends nothing more on it behind these bytes."""

    def __init__(self, last=b""):
        super().__init__()
        self.last = last


class Cut(Exception):
    """Ends a connection behind these bytes."""

    def __init__(self, last=b""):
        super().__init__()
        self.last = last


def cut_in_the_middle(frame, version):
    """Half an answer, then the connection ends."""
    whole = frame.to_bytes(version)
    raise Cut(whole[: len(whole) // 2])


def hang_up(frame, version):
    """The connection ends before the answer."""
    raise Cut


def half_and_silence(frame, version):
    """Half an answer; nothing else ever comes."""
    whole = frame.to_bytes(version)
    raise Mute(whole[: len(whole) // 2])


def silence(frame, version):
    """The answer is lost."""
    return b""


def to_another_stream(frame, version):
    """The answer claims to be that of another request."""
    return Frame(frame.flags, (frame.stream + 1_000) % 2**15, frame.opcode, frame.body).to_bytes(version)


def answering(code):
    """The server answers with an error."""

    def fault(frame, version):
        return Frame(0, frame.stream, ERROR, error(code, frame.asked)).to_bytes(version)

    fault.__name__ = f"error {code:#06x}"
    return fault


def not_rows(frame, version):
    """A result of another kind, with the bytes of rows."""
    return Frame(frame.flags, frame.stream, frame.opcode, struct.pack(">i", 3) + frame.body[4:]).to_bytes(version)


def rows_that_end_early(frame, version):
    """A whole frame whose content is shorter than it says of itself."""
    return Frame(frame.flags, frame.stream, frame.opcode, frame.body[: max(len(frame.body) - 5, 4)]).to_bytes(version)


def garbage(frame, version):
    """Bytes that are not a frame."""
    return b"HTTP/1.1 400 Bad Request\r\n\r\n"


def in_small_pieces(frame, version):
    """The answer, byte by byte: not a fault, but a slow network."""
    return [bytes([byte]) for byte in frame.to_bytes(version)]


class Proxy:
    """Forwards everything, and spoils as many answers to EXECUTE and BATCH as it is told to.

    Parameters
    ----------
    address
        The node's.
    """

    def __init__(self, address):
        self._address = address
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._sockets = set()
        self._lock = threading.Lock()
        self._fault, self._left, self._of = None, 0, ()
        self.spoilt = 0  # answers so far
        self.latency_s = 0.0  # of each answer: a server far away
        self.deaf = False  # forwards nothing: a firewall that has forgotten the connections
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, fault, answers=1, of=(EXECUTE, BATCH)):
        """Spoil the next answers to requests of these kinds."""
        with self._lock:
            self._fault, self._left, self._of, self.spoilt = fault, answers, of, 0

    @property
    def connections(self):
        """Number of connections that are open."""
        return len(self._sockets) // 2

    def hang_up_all(self):
        """End all connections, as a node that restarts does."""
        for one in list(self._sockets):
            self._close(one)

    def close(self):
        self._server.close()
        self.hang_up_all()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                node = socket.create_connection(self._address)
                for one in (client, node):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets |= {client, node}
                streams = {}
                for begin, end, pump in ((client, node, self._ask), (node, client, self._answer)):
                    threading.Thread(target=self._pump, args=(begin, end, pump, streams), daemon=True).start()

    def _pump(self, begin, end, pump, streams):
        try:
            while True:
                head = _exactly(begin, HEADER.size)
                version, flags, stream, opcode, length = HEADER.unpack(head)
                frame = Frame(flags, stream, opcode, _exactly(begin, length))
                if not self.deaf:
                    pump(end, frame, version, streams)
        except Cut as cut:
            with contextlib.suppress(OSError):
                end.sendall(cut.last)
        except Mute as mute:
            with contextlib.suppress(OSError):
                end.sendall(mute.last)
                while begin.recv(65_536):
                    pass
        except OSError:
            pass
        finally:
            self._close(begin)
            self._close(end)

    def _ask(self, end, frame, version, streams):
        streams[frame.stream] = frame
        end.sendall(frame.to_bytes(version))

    def _answer(self, end, frame, version, streams):
        time.sleep(self.latency_s)
        fault = None
        with self._lock:
            request = streams.pop(frame.stream, None)
            if self._left and frame.opcode == RESULT and request is not None and request.opcode in self._of:
                frame.asked = request.body
                fault, self._left, self.spoilt = self._fault, self._left - 1, self.spoilt + 1
        pieces = frame.to_bytes(version) if fault is None else fault(frame, version)
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            end.sendall(piece)

    def _close(self, one):
        self._sockets.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _exactly(begin, length):
    parts = []
    while length:
        part = begin.recv(min(length, 65_536))
        if not part:
            raise ConnectionResetError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
