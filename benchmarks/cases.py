"""What is measured, by name. A case is a function of a `Bench` that returns its figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import concurrency, importing, migrating, pacing, reading, scanning, serving, skewing, writing
from benchmarks.data import Columns
from benchmarks.peers import CASSANDRA, OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.measure import Figure


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    title: str
    run: Callable[[Bench], list[Figure]]


def _materialize(features: int) -> Case:
    run = partial(writing.materialize, columns=Columns(features), features=features)
    return Case(f"materialize from parquet, {features} double features", run)


def _read(entities: int) -> Case:
    title = f"get_online_features, {_counted(entities)}, one view of 10 features"
    return Case(title, partial(reading.read, entities=entities))


def _bare(entities: int) -> Case:
    title = f"bare reads of {_counted(entities)}, one view of 10 features: bytes to columns"
    return Case(title, partial(reading.bare, entities=entities))


def _counted(entities: int) -> str:
    return "1 entity" if entities == 1 else f"{entities:,} entities"


CASES: dict[str, Case] = {
    **{f"materialize-{features}": _materialize(features) for features in (10, 50, 200)},
    "materialize-mixed": Case(
        "materialize from parquet, doubles, strings, integers and booleans, a tenth of them null",
        partial(writing.materialize, columns=Columns(4, 2), features=10),
    ),
    **{f"read-{entities}": _read(entities) for entities in (1, 10, 100, 1_000)},
    "five-views": Case("get_online_features, 1 entity: one view, and five views of 10 features", reading.five_views),
    **{f"bare-{entities}": _bare(entities) for entities in (1, 100)},
    "threads-bare": Case("bare reads of 1 entity, bytes to columns, by threads of one process", concurrency.bare),
    "threads-features": Case("get_online_features, 1 entity, by threads of one process", concurrency.features),
    "serve": Case("feast serve over HTTP, one view of 10 features", serving.serve),
    "online": Case("ws.online, many keys and one into a DataFrame", reading.online),
    "as-of": Case("ws.online, now and as of an instant, entities with a history", reading.as_of),
    "skew-cells": Case("comparing cells that are equal, in memory", skewing.equal),
    "skew": Case("ws.skew, end to end: now, and as of ten instants of each entity", skewing.skew),
    "skew-scan": Case(
        "ws.skew of a whole view of 10 features: by a scan, and entity by entity", partial(scanning.scan, store=OURS)
    ),
    "skew-scan-feast": Case(
        "the same of a view on Feast's own Cassandra store", partial(scanning.scan, store=CASSANDRA)
    ),
    "skew-memory": Case("memory of a process that compares a whole view by a scan", scanning.memory),
    "copy": Case("feastra migrate copy and verify, from Feast's own Cassandra table of 10 features", migrating.copy),
    "pacing": Case("how late the open loop of ws.latency sends its requests", pacing.lateness),
    "import": Case("import feastra_nb; %load_ext feastra_nb", importing.importing),
    "peak-memory": Case("memory of a process that materializes a long file", writing.peak_memory),
    "growth": Case("materialize from parquet, more and more entities", writing.growth),
}
