"""The closed loop: each caller sends its next request when the last one is answered.

It answers "how fast is one call". It must not be read as the latency under a given rate: while the store stalls, a closed
loop sends nothing and so measures nothing (coordinated omission, https://github.com/giltene/wrk2). For that there is
`feastra_nb.latency.open_loop`.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from feastra_nb.errors import ConfigurationError
from feastra_nb.latency.outcomes import NS_PER_S, UNANSWERED, Mistakes, attempt, record
from feastra_nb.latency.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_S = 0.1  # between two reports of progress: as often as an eye follows
MOST_REQUESTS = 1_000_000  # of one run: at the rates of Python an hour's worth
PATIENCE_S = 1.0  # after Ctrl-C: longer nobody wants to wait for calls under way


def closed_loop(
    call: Callable[[int], object],
    *,
    seconds: float,
    warmup_s: float = 1.0,
    concurrency: int = 1,
    timeout_s: float = 10.0,
    clock: Callable[[], int] = time.perf_counter_ns,
    on_progress: Callable[[Recording], None] | None = None,
) -> Recording:
    """Call again and again, and record how long each call takes (its service time).

    Parameters
    ----------
    call
        Performs the i-th request; i counts from 0 through warm-up and measurement. It may return a dict of what its time
        consisted of, in nanoseconds by name; any other result is dropped.
    seconds
        How long to measure, after the warm-up. Calls under way at the end are waited for and count.
    warmup_s
        How long to call before that, without recording.
    concurrency
        Callers at the same time. One calls in this thread, several in threads of their own.
    timeout_s
        The timeout that ``call`` keeps to, in seconds: a call that raises ``TimeoutError`` (``RequestTimedOut`` is one)
        is recorded with this latency at least.
    clock
        A monotonic clock in nanoseconds.
    on_progress
        Called in this thread, about ten times a second and at the end, with the recording so far, to be read only.

    Returns
    -------
    Recording
        Of the service time. Errors are counted in it and do not end the run. Ctrl-C ends it: what was measured until
        then is returned, with ``interrupted`` set.

    Raises
    ------
    ConfigurationError
        If an option makes no sense.
    Exception
        The first error, if the first 20 calls (counted from the warm-up on) all fail for a mistake: ``ValueError``,
        ``LookupError`` and the like. An outage is not a mistake, it is counted.

    Examples
    --------
    >>> recording = closed_loop(lambda i: sum(range(1_000)), seconds=0.05, warmup_s=0)
    >>> recording.n > 20 and recording.percentile_ms(50) > 0
    True
    """
    check_durations(seconds=seconds, warmup_s=warmup_s, timeout_s=timeout_s)
    if not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"concurrency={concurrency!r} is not a number of callers", hint="give 1 or more")
    loop = _Loop(call, seconds=seconds, warmup_s=warmup_s, timeout_s=timeout_s, clock=clock, on_progress=on_progress)
    try:
        if concurrency == 1:
            loop.run()
        else:
            loop.run_threads(concurrency)
    except KeyboardInterrupt:
        loop.recording.interrupted = True
    if loop.mistakes.first is not None:
        raise loop.mistakes.first
    if on_progress is not None:
        on_progress(loop.recording)
    return loop.recording


def check_durations(*, seconds: float, warmup_s: float, timeout_s: float) -> None:
    """Refuse durations without sense."""
    # Written so that NaN fails too.
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"seconds={seconds!r} leaves no time to measure", hint="give a number above 0")
    if not 0 <= warmup_s < float("inf"):
        raise ConfigurationError(f"warmup_s={warmup_s!r} is not a duration", hint="give 0 or more seconds")
    if not timeout_s > 0:
        raise ConfigurationError(f"timeout_s={timeout_s!r} leaves no time to answer", hint="give a number above 0")


class _Loop:
    """One closed-loop run: its callers share a recording, under one lock that no call holds."""

    def __init__(
        self,
        call: Callable[[int], object],
        *,
        seconds: float,
        warmup_s: float,
        timeout_s: float,
        clock: Callable[[], int],
        on_progress: Callable[[Recording], None] | None,
    ) -> None:
        self.recording = Recording()
        self.mistakes = Mistakes()
        self._call = call
        self._clock = clock
        self._on_progress = on_progress
        self._duration_ns = seconds * NS_PER_S
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._warm_ns = clock() + warmup_s * NS_PER_S
        self._started_ns: int | None = None  # of the measurement
        self._progress_ns = 0.0
        self._sent = 0
        self._under_way: dict[int, int] = {}  # when each request was sent that is neither answered nor failed
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Call in this thread until the end."""
        while self._step():
            if self._clock() >= self._progress_ns:
                self._show_progress()
                self._progress_ns = self._clock() + PROGRESS_S * NS_PER_S

    def run_threads(self, concurrency: int) -> None:
        """Call in several threads until the end; this one shows the progress and takes Ctrl-C."""
        # Daemons: a call that never comes back must not keep the interpreter from leaving.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive() and not self._stop.is_set() and not self._is_overdue():
                    thread.join(PROGRESS_S)
                    self._show_progress()
        except KeyboardInterrupt:
            self.recording.interrupted = True
        finally:
            self._close(threads)

    def _work(self) -> None:
        try:
            while self._step():
                pass
        except KeyboardInterrupt:
            self.recording.interrupted = True
            self._stop.set()

    def _is_overdue(self) -> bool:
        """Tell whether even a call that was sent last ought to be back."""
        since_ns = self._started_ns
        return since_ns is not None and self._clock() - since_ns > self._duration_ns + self._timeout_ns

    def _close(self, threads: list[threading.Thread]) -> None:
        """Let the calls under way end; count those that do not, and let no straggler change what is returned."""
        self._stop.set()
        timeout_s = self._timeout_ns / NS_PER_S
        last = time.monotonic() + (min(timeout_s, PATIENCE_S) if self.recording.interrupted else timeout_s)
        for thread in threads:
            thread.join(max(last - time.monotonic(), 0))
        with self._lock:
            left, self._under_way = self._under_way, {}
            if self._started_ns is None or self.recording.interrupted:
                return
            for sent_ns in left.values():
                waited_ns = max(self._clock() - sent_ns, self._timeout_ns)
                self.recording.add_timeout(waited_ns, at_ns=max(sent_ns - self._started_ns, 0), name=UNANSWERED)

    def _show_progress(self) -> None:
        if self._on_progress is not None:
            with self._lock:
                self._on_progress(self.recording)

    def _step(self) -> bool:
        """Perform one call and record it; False when the run is over."""
        claimed = self._claim()
        if claimed is None:
            return False
        index, since_ns = claimed
        begin_ns = self._under_way[index] = self._clock()
        error, parts = attempt(self._call, index)
        latency_ns = self._clock() - begin_ns
        with self._lock:
            if self._under_way.pop(index, None) is None:
                return False
            if self.mistakes.see(error):
                self._stop.set()
            if since_ns is not None:
                at_ns = begin_ns - since_ns
                record(
                    self.recording, latency_ns, at_ns=at_ns, timeout_ns=self._timeout_ns, error=error, parts=parts
                )  # fmt: skip
        return True

    def _claim(self) -> tuple[int, int | None] | None:
        """Return the next call's number and the measurement's start (None: still warming up); None when it is over."""
        with self._lock:
            now_ns = self._clock()
            if self._started_ns is None and now_ns >= self._warm_ns:
                # Counted from here and not from the planned instant: one slow first call would eat the measurement.
                self._started_ns = now_ns
                self.recording.started = datetime.now(timezone.utc)
            over = self._started_ns is not None and now_ns - self._started_ns >= self._duration_ns
            if over or self._stop.is_set() or self._sent >= MOST_REQUESTS:
                return None
            self._sent += 1
            return self._sent - 1, self._started_ns
