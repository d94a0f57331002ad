"""The open loop: requests arrive on a schedule, whatever becomes of those before.

The method of wrk2 (https://github.com/giltene/wrk2): the schedule is fixed in advance, and the response time of a request
counts from when it was to be sent. A store that stalls therefore delays no measurement, and cannot hide the stall.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from feastra_nb.latency.closed_loop import PATIENCE_S, PROGRESS_S, check_durations
from feastra_nb.latency.outcomes import NS_PER_S, UNANSWERED, Mistakes, attempt, record
from feastra_nb.latency.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_IN_FLIGHT = 512  # threads that wait for an answer at a time; a request beyond them waits for one of these
LATE = "late"  # part of the response time: from when a request was to be sent until it was
UNSENT = "Unsent"  # kind of error of a request that could not be sent before its time was up


@dataclass(frozen=True, slots=True)
class Paced:
    """What an open loop measured.

    Parameters
    ----------
    response
        From when a request was to be sent to its answer. Its part ``"late"`` is how late the requests were sent.
    service
        From when it was sent.
    """

    response: Recording
    service: Recording


def open_loop(
    call: Callable[[int], object],
    arrivals_ns: Sequence[int],
    *,
    seconds: float,
    warmup_s: float = 0.0,
    timeout_s: float = 10.0,
    in_flight: int = MOST_IN_FLIGHT,
    clock: Callable[[], int] = time.perf_counter_ns,
    pause: Callable[[float], object] | None = None,
    on_progress: Callable[[Recording], None] | None = None,
) -> Paced:
    """Call at the scheduled times, and record response and service times.

    Parameters
    ----------
    call
        Performs the i-th request, in a thread of its own as long as there are any; otherwise as for `closed_loop`.
    arrivals_ns
        When to send each request, in nanoseconds since the start, ascending; those of the warm-up come first.
    seconds
        How long the schedule is after the warm-up.
    warmup_s
        Requests that are to be sent earlier than this are not recorded.
    timeout_s
        The timeout that ``call`` keeps to. A request that could not be sent for so long is counted as a timeout, ``Unsent``.
    in_flight
        The most requests at a time.
    clock
        A monotonic clock in nanoseconds.
    pause
        Waits for a number of seconds; by default until then or the end of the run.
    on_progress
        Called in this thread, about ten times a second and at the end, with the response times so far, to be read only.

    Returns
    -------
    Paced
        Every request that was to be sent is in it: answered, timed out, or an error. Ctrl-C ends the run early.

    Raises
    ------
    ConfigurationError
        If an option makes no sense.
    Exception
        The first error, if the first 20 calls all fail for a mistake, as for `closed_loop`.

    Examples
    --------
    >>> paced = open_loop(lambda i: None, [0, 10_000_000, 20_000_000], seconds=0.03)
    >>> paced.response.n, paced.service.n
    (3, 3)
    """
    check_durations(seconds=seconds, warmup_s=warmup_s, timeout_s=timeout_s)
    pacer = _Pacer(
        call, arrivals_ns, warmup_s=warmup_s, timeout_s=timeout_s, in_flight=in_flight, clock=clock, pause=pause
    )
    try:
        pacer.run(on_progress or (lambda _recording: None))
    except KeyboardInterrupt:
        pacer.interrupt()
    pacer.close(seconds)
    if pacer.mistakes.first is not None:
        raise pacer.mistakes.first
    if on_progress is not None:
        on_progress(pacer.response)
    return Paced(pacer.response, pacer.service)


class _Pacer:
    """One open-loop run. Of its threads one waits for the next arrival; when it goes to work, another takes its place."""

    def __init__(
        self,
        call: Callable[[int], object],
        arrivals_ns: Sequence[int],
        *,
        warmup_s: float,
        timeout_s: float,
        in_flight: int,
        clock: Callable[[], int],
        pause: Callable[[float], object] | None,
    ) -> None:
        self.response, self.service = Recording(), Recording()
        self.mistakes = Mistakes()
        self._call = call
        self._clock = clock
        self._stop = threading.Event()
        self._pause = self._stop.wait if pause is None else pause
        self._warm_ns = round(warmup_s * NS_PER_S)
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._due_ns = [int(arrival_ns) for arrival_ns in arrivals_ns]  # since the start
        self._start_ns = clock()
        self._next = 0
        self._in_flight = in_flight
        self._workers = self._idle = 0
        self._under_way: dict[int, int] = {}  # when each request was sent that is neither answered nor failed
        self._turn = threading.Lock()  # held by the one that waits for the next arrival
        self._lock = threading.Lock()  # of all of the above; held by no call
        self._done = threading.Event()

    def run(self, on_progress: Callable[[Recording], None]) -> None:
        """Send all requests and wait until they are back, or ought to be."""
        now = datetime.now(timezone.utc)
        self.response.started = self.service.started = now
        self._start_ns = self._clock()
        with self._lock:
            self._hire()
        # Sent at the latest one timeout after it was due, and back after another.
        last_ns = self._due_ns[-1] + 2 * self._timeout_ns
        while not self._done.wait(PROGRESS_S) and self._now_ns() < last_ns:
            with self._lock:
                on_progress(self.response)

    def interrupt(self) -> None:
        """End the run early: send no more, and wait a little for what is under way."""
        self.response.interrupted = self.service.interrupted = True
        self._stop.set()
        self._done.wait(min(self._timeout_ns / NS_PER_S, PATIENCE_S))

    def close(self, seconds: float) -> None:
        """Count what never came back, and let no straggler change what is returned."""
        self._stop.set()
        with self._lock:
            if self.mistakes.first is not None:
                return
            left, self._under_way = self._under_way, {}
            if self.response.interrupted:
                return
            for index, sent_ns in left.items():
                self._record_timeout(index, sent_ns, UNANSWERED)
            for index in range(self._next, len(self._due_ns)):
                self._record_timeout(index, None, UNSENT)
            for recording in (self.response, self.service):
                recording.elapsed_s = max(recording.elapsed_s, seconds)

    def _now_ns(self) -> int:
        return self._clock() - self._start_ns

    def _hire(self) -> None:
        """Start a thread that takes the next turn; under the lock."""
        self._workers += 1
        self._idle += 1
        # A daemon: a call that never comes back must not keep the interpreter from leaving.
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (index := self._take_turn()) is not None:
            self._perform(index)
        with self._lock:
            self._workers -= 1
            if not self._workers:
                self._done.set()

    def _take_turn(self) -> int | None:
        """Wait for the turn, and then for the next arrival; return its number, None when there is none."""
        with self._turn:
            with self._lock:
                self._idle -= 1
                index, self._next = self._next, self._next + 1
                if index >= len(self._due_ns) or self._stop.is_set():
                    return None
                if not self._idle and self._workers < self._in_flight:
                    self._hire()
            wait_ns = self._due_ns[index] - self._now_ns()
            if wait_ns > 0:
                self._pause(wait_ns / NS_PER_S)
            return None if self._stop.is_set() else index

    def _perform(self, index: int) -> None:
        sent_ns = self._now_ns()
        if sent_ns - self._due_ns[index] >= self._timeout_ns:
            with self._lock:
                self._record_timeout(index, None, UNSENT)
                self._idle += 1
            return
        with self._lock:
            self._under_way[index] = sent_ns
        error, parts = attempt(self._call, index)
        done_ns = self._now_ns()
        with self._lock:
            self._idle += 1
            if self._under_way.pop(index, None) is None:
                return
            if self.mistakes.see(error):
                self._stop.set()
            self._record(index, sent_ns, done_ns, error=error, parts=parts)

    def _record(
        self, index: int, sent_ns: int, done_ns: int, *, error: Exception | None, parts: Mapping[str, int] | None
    ) -> None:
        due_ns = self._due_ns[index]
        if due_ns < self._warm_ns:
            return
        late = {LATE: sent_ns - due_ns}
        for recording, from_ns, its_parts in ((self.response, due_ns, late), (self.service, sent_ns, parts)):
            record(
                recording, done_ns - from_ns, at_ns=from_ns - self._warm_ns, timeout_ns=self._timeout_ns,
                error=error, parts=its_parts,
            )  # fmt: skip

    def _record_timeout(self, index: int, sent_ns: int | None, name: str) -> None:
        """Count a request that was not answered, or not even sent; under the lock."""
        due_ns, now_ns = self._due_ns[index], self._now_ns()
        if due_ns < self._warm_ns:
            return
        for recording, from_ns in ((self.response, due_ns), (self.service, sent_ns)):
            if from_ns is not None:
                waited_ns = max(now_ns - from_ns, self._timeout_ns)
                recording.add_timeout(waited_ns, at_ns=from_ns - self._warm_ns, name=name)
