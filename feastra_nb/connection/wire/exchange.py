"""The requests of one call on their way, over lines that nobody else uses meanwhile."""

from __future__ import annotations

import asyncio
import select
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from feastra_nb.connection.wire.line import BrokenLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from feastra_nb.connection.wire.line import Answer, Line
    from feastra_nb.connection.wire.lines import Lines


AGAIN_S = 0.5  # from the loss of a line to the next attempt to have one


class Request(NamedTuple):
    """What is sent.

    Parameters
    ----------
    routing_key
        Leads to the nodes that have the rows.
    opcode, body
        Of its frame.
    token
        What its answer is known by.
    """

    routing_key: bytes
    opcode: int
    body: bytes
    token: Any


class Received(NamedTuple):
    """What came of waiting: answers, each with its token, and the tokens of what will have none."""

    answers: list[tuple[Any, Answer]]
    lost: list[Any]


def ask(lines: Lines, profile: str, keyspace: str, requests: Iterable[Request]) -> Received:
    """Send a few requests, all of a node's at once, and wait for all of their answers.

    It is what an `Exchange` does, for requests that are all there from the start and want no window: online serving, where a
    tenth of the time is what an exchange keeps account of.

    Parameters
    ----------
    lines, profile, keyspace
        As for `Exchange`.
    requests
        No more than may be in flight.
    """
    silence_s = lines.silence_s(profile)
    received = Received([], [])
    busy: list[Line] = []
    began_ns = time.perf_counter_ns() if lines.listeners else 0
    try:
        for host, of_host in _by_host(requests, lines.nodes(profile, keyspace)).items():
            line = lines.borrow(host, silence_s) if host is not None else None
            if line is None:
                received.lost.extend(token for _opcode, _body, token in of_host)
                continue
            busy.append(line)
            try:
                line.send(of_host)
            except BrokenLine:
                received.lost.extend(line.give_up())
        for line in busy:
            try:
                while line.waiting:
                    received.answers.extend(line.receive())
            except BrokenLine:
                received.lost.extend(line.give_up())
    finally:
        for line in busy:
            lines.give_back(line)
        lines.tell(began_ns)
    return received


class Exchange:
    """A context in which requests are sent and answers received, all by one thread.

    Parameters
    ----------
    lines
        The session's.
    profile
        ``READ`` or ``WRITE``: whose nodes are asked, and how long silence is borne.
    keyspace
        Which the routing keys are of.
    """

    def __init__(self, lines: Lines, profile: str, keyspace: str) -> None:
        self._lines = lines
        self._nodes = lines.nodes(profile, keyspace)
        self._silence_s = lines.silence_s(profile)
        self._busy: dict[Any, Line | None] = {}  # by host; None where no line was to be had
        self.in_flight = 0  # requests that wait for their answers
        self._again_s: dict[Any, float] = {}  # when to look for one again
        self._began_ns = time.perf_counter_ns() if lines.listeners else 0

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the lines back; one that has answers under way is closed."""
        for line in list(self._busy.values()):
            if line is not None:
                self._lines.give_back(line)
        self._busy.clear()
        self._lines.tell(self._began_ns)

    def send(self, requests: Iterable[Request]) -> list[Any]:
        """Send requests, all of a node's at once, and return the tokens of those that could not be sent."""
        lost: list[Any] = []
        for host, of_host in _by_host(requests, self._nodes).items():
            line = self._line(host)
            if line is None:
                lost += [token for _opcode, _body, token in of_host]
                continue
            self.in_flight += len(of_host)
            try:
                line.send(of_host)
            except BrokenLine:
                lost += self._given_up(host, line)
        return lost

    def receive(self, wait_s: float | None = None) -> Received:
        """Wait for answers, for so many seconds or until the first node was silent for too long."""
        received = Received([], [])
        busy = [(host, line) for host, line in self._busy.items() if line is not None and line.waiting]
        quiet: _Busy = []
        if wait_s is None:
            # Whoever waits for all may as well wait for one node after another; the others' answers wait meanwhile.
            ready = busy[:1]
        else:
            ready, quiet = _readable(busy, wait_s)
        for host, line in ready:
            try:
                received.answers.extend(line.receive())
            except BrokenLine:
                received.lost.extend(self._given_up(host, line))
        self.in_flight -= len(received.answers)
        for host, line in quiet:
            if line.is_silent():
                received.lost.extend(self._given_up(host, line))
        return received

    def send_at_once(self, requests: Sequence[Request]) -> list[Any]:
        """As `send`, without waiting for a line that has to be opened first: the next call finds it."""
        for routing_key, *_rest in requests:
            host = self._nodes(routing_key)
            if self._wants_line(host):
                self._busy[host] = self._lines.borrow_fresh(host, self._silence_s)
                if self._busy[host] is None:
                    self._lines.open_soon(host)
                    self._again_s[host] = time.monotonic() + AGAIN_S
        return self.send(requests)

    async def receive_async(self) -> Received:
        """As `receive` from the first node that has something to answer; the loop goes on meanwhile."""
        busy = ((host, line) for host, line in self._busy.items() if line is not None and line.waiting)
        host, line = next(busy, (None, None))
        if line is None:
            return Received([], [])
        try:
            if not line.has_bytes():
                await _readable_async(line.fileno(), self._silence_s)
            answers = line.receive(wait=False)
        except (BrokenLine, TimeoutError, asyncio.TimeoutError, NotImplementedError):
            return Received([], self._given_up(host, line))
        self.in_flight -= len(answers)
        return Received(answers, [])

    def _wants_line(self, host: Any) -> bool:
        return host is not None and self._busy.get(host) is None and time.monotonic() >= self._again_s.get(host, 0.0)

    def _line(self, host: Any) -> Line | None:
        if self._wants_line(host):
            self._busy[host] = self._lines.borrow(host, self._silence_s)
            if self._busy[host] is None:
                self._again_s[host] = time.monotonic() + AGAIN_S
        return self._busy.get(host)

    def _given_up(self, host: Any, line: Line) -> list[Any]:
        self._busy[host] = None
        self._again_s[host] = time.monotonic() + AGAIN_S
        lost = line.give_up()
        self.in_flight -= len(lost)
        self._lines.give_back(line)
        return lost


_Busy: TypeAlias = "list[tuple[Any, Line]]"


def _by_host(requests: Iterable[Request], node_of: Callable[[bytes], Any]) -> dict[Any, list[tuple[int, bytes, Any]]]:
    """Return opcode, body and token of requests by the node that is asked; None where none is up."""
    by_host: dict[Any, list[tuple[int, bytes, Any]]] = {}
    for routing_key, opcode, body, token in requests:
        by_host.setdefault(node_of(routing_key), []).append((opcode, body, token))
    return by_host


def _readable(busy: _Busy, wait_s: float) -> tuple[_Busy, _Busy]:
    """Return the lines that have something to receive, as soon as one has, and those that have not."""
    poll = select.poll()
    for _host, line in busy:
        poll.register(line.fileno(), select.POLLIN)
    if any(line.has_bytes() for _host, line in busy) or not busy:
        wait_s = 0.0
    numbers = {number for number, _event in poll.poll(wait_s * 1000)}
    ready: _Busy = []
    quiet: _Busy = []
    for host, line in busy:
        (ready if line.fileno() in numbers or line.has_bytes() else quiet).append((host, line))
    return ready, quiet


async def _readable_async(number: int, timeout_s: float) -> None:
    """Return when a descriptor has something to read; raises where that does not come in time, or the loop cannot tell."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def came() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(number, came)
    try:
        await asyncio.wait_for(readable, timeout_s)
    finally:
        loop.remove_reader(number)
