"""Cases that read: as Feast serves, as a DataFrame, and in the past."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import measure, peers
from benchmarks.data import KEY, Columns
from benchmarks.ready import BARE
from benchmarks.wire_peer import WIRE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.measure import Figure

COLUMNS = Columns(10)
BLOCK_CALLS = 5  # calls of one peer before it is the next one's turn
WARM_CALLS, WARM_SHARE = 20, 0.25  # calls that nobody times: at most so many, and that share of the timed ones
FIVE = 5
ONLINE_SHARE = 0.5  # of the calls of `read`, for one key
PAST_BATCHES = (1, 100)
PAST_SHARE = 0.2  # of the calls of `read`
PAST_AGE = timedelta(hours=3, minutes=30)  # as of then: three events later than it must be passed over


def read(bench: Bench, *, entities: int) -> list[Figure]:
    """Read all ten features of some entities, chosen at random, many times."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    present = bench.present(peers.EVERYONE)
    calls = {peer.name: peer.reader([bench.filled(peer, "reads", table)], table) for peer in present}
    arguments = random_keys(table.entities, entities, bench.size.calls[entities])
    return latencies(bench, calls, arguments, {"entities": entities, "features": 10})


def five_views(bench: Bench) -> list[Figure]:
    """Read one entity from five views at once, and from one, by turns."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    calls: dict[str, Callable[[Any], object]] = {}
    for peer in bench.present((peers.OURS, WIRE, BARE, peers.REDIS)):
        views = [bench.filled(peer, name, table) for name in ("reads", *(f"reads{n}" for n in range(1, FIVE)))]
        calls[f"{peer.name}, one view"] = peer.reader(views[:1], table)
        calls[f"{peer.name}, five views"] = peer.reader(views, table)
    return latencies(bench, calls, random_keys(table.entities, 1, bench.size.calls[1]), {"entities": 1})


def bare(bench: Bench, *, entities: int) -> list[Figure]:
    """Read rows from bytes to columns, as our store does for Feast; beside it the wire and the driver, which decode nothing."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    ours = bench.ours()
    calls = {ours.name: ours.bare_reader(bench.filled(ours, "reads", table), table)}
    calls |= {
        peer.name: peer.reader([bench.filled(peer, "reads", table)], table) for peer in bench.present((WIRE, BARE))
    }
    arguments = random_keys(table.entities, entities, bench.size.calls[entities])
    return latencies(bench, calls, arguments, {"entities": entities, "features": 10})


def online(bench: Bench) -> list[Figure]:
    """Read thousands of keys, and one, into a DataFrame by `ws.online`; beside it the wire and the driver, bytes only."""
    table = bench.table(COLUMNS, bench.size.online_keys)
    ours = bench.ours()
    view = bench.filled(ours, "many", table)
    features = [f"{view}:{name}" for name in table.columns.names]
    reads: dict[str, Callable[[Any], object]] = {ours.name: lambda keys: ours.ws.online(features, {KEY: keys})}
    reads |= {
        peer.name: peer.reader([bench.filled(peer, "many", table)], table) for peer in bench.present((WIRE, BARE))
    }
    every = np.random.default_rng(5).permutation(table.entities).tolist()
    timed = {}
    for name, work in reads.items():
        work(every)
        timed[name] = lambda _number, work=work: measure.span(lambda: work(every), bench.server)
    work = {"keys": len(every), "features": 10}
    spans = measure.alternate(timed, bench.size.rounds)
    figures = [
        figure for name, taken in spans.items() for figure in measure.throughput(name, taken, len(every), "keys", work)
    ]
    count = max(bench.size.rounds, int(bench.size.calls[1] * ONLINE_SHARE))
    return figures + latencies(bench, reads, random_keys(table.entities, 1, count), {"keys": 1, "features": 10})


def as_of(bench: Bench) -> list[Figure]:
    """Read entities with a history by `ws.online`: now, and as of an instant that several events came after."""
    entities, events = bench.size.history
    table = bench.table(COLUMNS, entities, events)
    ours = bench.ours()
    view = bench.filled(ours, "history", table)
    features = [f"{view}:{name}" for name in table.columns.names]
    then = datetime.now(timezone.utc) - PAST_AGE
    figures: list[Figure] = []
    for batch in PAST_BATCHES:
        calls: dict[str, Callable[[Any], object]] = {
            f"{ours.name}, now": lambda keys: ours.ws.online(features, {KEY: keys}),
            f"{ours.name}, as of": lambda keys: ours.ws.online(features, {KEY: keys}, as_of=then),
        }
        count = max(bench.size.rounds, int(bench.size.calls[batch] * PAST_SHARE))
        arguments = random_keys(table.entities, batch, count)
        figures += latencies(bench, calls, arguments, {"entities": batch, "events": events})
    return figures


def latencies(
    bench: Bench, calls: Mapping[str, Callable[[Any], object]], arguments: Sequence[Any], work: Mapping[str, Any]
) -> list[Figure]:
    """Time calls of several peers by turns, after some that nobody times."""
    for call in calls.values():
        for argument in arguments[: min(WARM_CALLS, int(len(arguments) * WARM_SHARE) + 1)]:
            call(argument)
    taken_ms = measure.alternate_calls(calls, arguments, rounds=bench.size.rounds, block=BLOCK_CALLS)
    return [figure for name, rounds_ms in taken_ms.items() for figure in measure.latency(name, rounds_ms, work)]


def random_keys(entities: int, batch: int, count: int) -> list[list[int]]:
    """Return so many batches of keys, without repeats as long as there are enough entities."""
    rng = np.random.default_rng(11)
    return [rng.choice(entities, batch, replace=batch > entities).tolist() for _ in range(count)]
