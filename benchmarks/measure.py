"""Measuring: peers take turns in one process; a figure keeps all of its samples."""

from __future__ import annotations

import gc
import itertools
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import psutil


@dataclass(frozen=True)
class Figure:
    """One measured quantity of one peer.

    Parameters
    ----------
    metric
        Its name, the unit included: ``entities_per_s``, ``p50_ms``.
    samples
        One a round.
    work
        How much was done in a round: entities, features, calls.
    """

    peer: str
    metric: str
    samples: tuple[float, ...]
    work: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.samples)

    @property
    def low(self) -> float:
        """The smallest of the rounds."""
        return min(self.samples)

    @property
    def high(self) -> float:
        """The largest of the rounds."""
        return max(self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "peer": self.peer, "metric": self.metric, "median": self.median, "low": self.low, "high": self.high,
            "samples": list(self.samples), "work": dict(self.work),
        }  # fmt: skip


@dataclass(frozen=True)
class Span:
    """What one piece of work took: the clock's seconds, and the processor's of this process and of the server."""

    wall_s: float
    client_s: float
    server_s: float


def span(work: Callable[[], object], server: Sequence[psutil.Process] = ()) -> Span:
    """Do a piece of work once and return what it took."""
    gc.collect()
    server_began_s = _cpu_s(server)
    client_began_s = time.process_time()
    began_s = time.perf_counter()
    work()
    wall_s = time.perf_counter() - began_s
    return Span(wall_s, time.process_time() - client_began_s, _cpu_s(server) - server_began_s)


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def alternate(works: Mapping[str, Callable[[int], Span]], rounds: int) -> dict[str, list[Span]]:
    """Let peers take turns, A B A B …; each gets the number of the round."""
    spans: dict[str, list[Span]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            spans[name].append(work(number))
    return spans


def alternate_calls(
    calls: Mapping[str, Callable[[Any], object]], arguments: Sequence[Any], *, rounds: int, block: int
) -> dict[str, list[list[float]]]:
    """Time single calls; within each round the peers take turns by blocks of few calls, all with the same arguments.

    Returns
    -------
    dict
        Each peer's milliseconds: a list a round, of one number a call.
    """
    taken_ms: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in calls}
    share = max(1, len(arguments) // rounds)
    gc.collect()
    for number in range(rounds):
        for start in range(number * share, (number + 1) * share, block):
            some = arguments[start : min(start + block, (number + 1) * share)]
            for name, call in calls.items():
                taken_ms[name][number].extend(_timed_ms(call, one) for one in some)
    return taken_ms


def _timed_ms(call: Callable[[Any], object], argument: Any) -> float:
    began_s = time.perf_counter()
    call(argument)
    return (time.perf_counter() - began_s) * 1e3


@dataclass(frozen=True)
class Turn:
    """What some threads did in a turn: the milliseconds of each of their calls, and the seconds it all took."""

    taken_ms: list[float]
    wall_s: float


def together(calls: Sequence[Callable[[Any], object]], arguments: Sequence[Any], seconds: float) -> Turn:
    """Let threads call for some seconds, each what is its own, one argument after another; a first call is not timed."""
    barrier = threading.Barrier(len(calls))

    def work(place: int) -> tuple[float, float, list[float]]:
        call, own = calls[place], itertools.cycle(arguments[place:] + arguments[:place])
        try:
            call(next(own))
            barrier.wait()
        except BaseException:
            barrier.abort()
            raise
        began_s = now_s = time.perf_counter()
        end_s, taken_ms = began_s + seconds, []
        while now_s < end_s:
            call(next(own))
            before_s, now_s = now_s, time.perf_counter()
            taken_ms.append((now_s - before_s) * 1e3)
        return began_s, now_s, taken_ms

    gc.collect()
    with ThreadPoolExecutor(len(calls)) as pool:
        turns = [future.result() for future in [pool.submit(work, place) for place in range(len(calls))]]
    wall_s = max(ended_s for _began_s, ended_s, _taken in turns) - min(began_s for began_s, _ended, _taken in turns)
    return Turn([ms for _began, _ended, taken_ms in turns for ms in taken_ms], wall_s)


def throughput(peer: str, spans: Sequence[Span], count: int, what: str, work: Mapping[str, Any]) -> list[Figure]:
    """Return what so many entities (or keys) a round come to: their rate, and the processor time of each."""
    per_item_us = 1e6 / count
    figures = [
        Figure(peer, f"{what}_per_s", tuple(count / one.wall_s for one in spans), work),
        Figure(peer, "client_cpu_us", tuple(one.client_s * per_item_us for one in spans), work),
    ]
    if any(one.server_s for one in spans):
        figures.append(Figure(peer, "cassandra_cpu_us", tuple(one.server_s * per_item_us for one in spans), work))
    return figures


def turns(peer: str, taken: Sequence[Turn], work: Mapping[str, Any]) -> list[Figure]:
    """Return what threads came to: calls a second of all of them, and their latency."""
    latencies = latency(peer, [turn.taken_ms for turn in taken], work)
    rates = tuple(len(turn.taken_ms) / turn.wall_s for turn in taken)
    return [Figure(peer, "requests_per_s", rates, latencies[0].work), *latencies]


def latency(peer: str, rounds_ms: Sequence[Sequence[float]], work: Mapping[str, Any]) -> list[Figure]:
    """Return the rounds' medians, and the 99th percentile of all calls."""
    work = {**work, "calls": sum(map(len, rounds_ms))}
    every = sorted(one for taken in rounds_ms for one in taken)
    p99 = every[min(len(every) - 1, int(len(every) * 0.99))]
    return [
        Figure(peer, "p50_ms", tuple(statistics.median(taken) for taken in rounds_ms), work),
        Figure(peer, "p99_ms", (p99,), work),
    ]
