"""Cases of many threads in one process, each of which reads one entity after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import measure, peers
from benchmarks.reading import COLUMNS, random_keys
from benchmarks.ready import BARE
from benchmarks.wire_peer import WIRE, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.measure import Figure

    Calls = Sequence[Callable[[Any], object]]

DIFFERENT_KEYS = 1_000


def bare(bench: Bench) -> list[Figure]:
    """Read rows from bytes to columns by more and more threads; beside it the wire (a connection a thread) and the driver."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    most = max(bench.size.threads)
    ours = bench.ours()
    calls: dict[str, Calls] = {ours.name: [ours.bare_reader(bench.filled(ours, "reads", table), table)] * most}
    for peer in bench.present((WIRE, BARE)):
        views = [bench.filled(peer, "reads", table)]
        if isinstance(peer, WirePeer):
            calls[peer.name] = [peer.reader(views, table, peer.connection()) for _thread in range(most)]
        else:
            calls[peer.name] = [peer.reader(views, table)] * most
    return by_threads(bench, calls, random_keys(table.entities, 1, DIFFERENT_KEYS), {"entities": 1})


def features(bench: Bench) -> list[Figure]:
    """Read by `get_online_features` in more and more threads."""
    table = bench.table(COLUMNS, bench.size.read_entities)
    present = bench.present((peers.OURS, peers.OURS_BY_DRIVER, peers.REDIS))
    calls = {
        peer.name: [peer.reader([bench.filled(peer, "reads", table)], table)] * max(bench.size.threads)
        for peer in present
    }
    return by_threads(bench, calls, random_keys(table.entities, 1, DIFFERENT_KEYS), {"entities": 1})


def by_threads(
    bench: Bench, calls: Mapping[str, Calls], arguments: Sequence[Any], work: Mapping[str, Any]
) -> list[Figure]:
    """Let peers take turns of some seconds, at each number of threads."""
    figures: list[Figure] = []
    for threads in bench.size.threads:
        taken: dict[str, list[measure.Turn]] = {name: [] for name in calls}
        for _round in range(bench.size.rounds):
            for name, own in calls.items():
                taken[name].append(measure.together(own[:threads], arguments, bench.size.threads_s))
        for name, turns in taken.items():
            figures += measure.turns(name, turns, {"threads": threads, **work})
    return figures
