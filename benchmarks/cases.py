"""What is measured, by name. A case is a function of a `Bench` that returns its figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import measure, peers
from benchmarks.data import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench
    from benchmarks.measure import Figure, Span
    from benchmarks.peers import Peer

EVERYONE = (peers.OURS, peers.BARE, peers.REDIS, peers.SQLITE, peers.CASSANDRA)
READ_COLUMNS = Columns(10)
BLOCK_CALLS = 5  # calls of one peer before it is the next one's turn
WARM_CALLS = 20
WARM_SHARE = 0.2  # of a round's entities, written once before the rounds


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    title: str
    run: Callable[[Bench], list[Figure]]


# --- materialize -----------------------------------------------------------------------------------------------------


def materialize(bench: Bench, *, columns: Columns, features: int) -> list[Figure]:
    """Materialize one event an entity from parquet; every round of every peer fills a view of its own."""
    works, work = {}, {}
    for peer in bench.present(EVERYONE):
        entities = bench.share(peer, features)
        works[peer.name] = _filling(bench, peer, columns, entities)
        work[peer.name] = {"entities": entities, "features": len(columns.names)}
    spans = measure.alternate(works, bench.size.rounds)
    return [
        figure
        for name, taken in spans.items()
        for figure in measure.throughput(name, taken, work[name]["entities"], "entities", work[name])
    ]


def _filling(bench: Bench, peer: Peer, columns: Columns, entities: int) -> Callable[[int], Span]:
    """Return what fills the view of a round, after a smaller run that nobody times."""
    warm = bench.new_views(peer, bench.table(columns, int(entities * WARM_SHARE) + 1), 1)[0]
    peer.materialize(warm)
    views = bench.new_views(peer, bench.table(columns, entities), bench.size.rounds)
    server = bench.server if peer.name in peers.ON_CASSANDRA else ()
    return lambda number: measure.span(lambda: peer.materialize(views[number]), server)


# --- read ------------------------------------------------------------------------------------------------------------


def read(bench: Bench, *, entities: int) -> list[Figure]:
    """Read all ten features of some entities, chosen at random, many times."""
    table = bench.table(READ_COLUMNS, bench.size.read_entities)
    calls = {peer.name: peer.reader(bench.filled(peer, "reads", table), table) for peer in bench.present(EVERYONE)}
    arguments = _random_keys(table.entities, entities, bench.size.calls[entities])
    return _latencies(bench, calls, arguments, {"entities": entities, "features": 10})


def _latencies(
    bench: Bench, calls: dict[str, Callable[[Any], object]], arguments: Sequence[Any], work: dict[str, Any]
) -> list[Figure]:
    for call in calls.values():
        for argument in arguments[:WARM_CALLS]:
            call(argument)
    taken_ms = measure.alternate_calls(calls, arguments, rounds=bench.size.rounds, block=BLOCK_CALLS)
    return [figure for name, rounds_ms in taken_ms.items() for figure in measure.latency(name, rounds_ms, work)]


def _random_keys(entities: int, batch: int, count: int) -> list[list[int]]:
    rng = np.random.default_rng(11)
    return [rng.choice(entities, batch, replace=batch > entities).tolist() for _ in range(count)]


CASES: dict[str, Case] = {
    **{
        f"materialize-{features}": Case(
            f"materialize from parquet, {features} double features",
            partial(materialize, columns=Columns(features), features=features),
        )
        for features in (10, 50, 200)
    },
    "materialize-mixed": Case(
        "materialize from parquet, 10 features: doubles, strings, integers, booleans, a tenth null",
        partial(materialize, columns=Columns(4, 2), features=10),
    ),
    **{
        f"read-{entities}": Case(
            f"get_online_features, {entities:,} {'entity' if entities == 1 else 'entities'} x 10 features",
            partial(read, entities=entities),
        )
        for entities in (1, 10, 100, 1_000)
    },
}
