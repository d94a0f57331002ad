"""How late the open loop of `ws.latency` sends its requests: what a rate costs that no store has a part in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.measure import Figure
from feastra_nb.latency.arrivals import schedule
from feastra_nb.latency.open_loop import LATE, open_loop

if TYPE_CHECKING:
    from benchmarks.bench import Bench

RATES = (100, 500)  # requests a second
ANSWER_S = 0.002  # a request that sleeps, as one that waits for a server does
SAMPLES = 1_100  # a round: ten lie beyond the p99
ROUNDS_SHARE = 0.5  # of the rounds of other cases: a round takes as long as it has requests


def lateness(bench: Bench) -> list[Figure]:
    """Send requests that are answered after 2 ms at several rates, and take how late each was sent."""
    rounds = max(1, int(bench.size.rounds * ROUNDS_SHARE))
    return [figure for rate in RATES for figure in _at(rate, rounds)]


def _at(rate: int, rounds: int) -> list[Figure]:
    taken = [_round(rate) for _ in range(rounds)]
    work = {"requests a second": rate}
    return [
        Figure(f"open loop at {rate}/s", metric, tuple(one[place] for one in taken), work)
        for place, metric in enumerate(("late_p50_ms", "late_p99_ms", "late_max_ms"))
    ]


def _round(rate: int) -> tuple[float, float, float]:
    seconds = SAMPLES / rate
    paced = open_loop(lambda _: time.sleep(ANSWER_S), schedule(rate, seconds).tolist(), seconds=seconds)
    late = paced.response.parts[LATE]
    p50_ms, p99_ms = late.percentiles_ms([50, 99])
    return p50_ms, p99_ms, late.max_us / 1_000
