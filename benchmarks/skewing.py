"""Cases that compare: cells that are in memory, and a whole view, online against point-in-time offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import measure
from benchmarks.data import KEY, TIME, Columns
from feastra_nb.skew.comparison import equal_cells, verdict_codes

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.measure import Figure

COLUMNS = Columns(10)
CELLS = 1_000_000
EVENTS = 24  # of each entity
SPINE_ROWS = 10  # for each entity


def equal(bench: Bench) -> list[Figure]:
    """Compare a million cells that are equal, as both stores hand them over."""
    doubles = np.random.default_rng(5).normal(size=CELLS)
    sides = {"doubles": pa.array(doubles), "strings": pa.array([f"N{number}" for number in range(CELLS)])}
    there, nowhere = np.ones(CELLS, dtype=bool), np.zeros(CELLS, dtype=bool)

    def compare(column: pa.Array) -> None:
        again = pa.concat_arrays([column.slice(0, CELLS // 2), column.slice(CELLS // 2)])
        verdict_codes(equal_cells(column, again), served=there, joined=there, unknown=nowhere, lost=nowhere)

    spans = measure.alternate(
        {name: lambda _number, column=column: measure.span(lambda: compare(column)) for name, column in sides.items()},
        bench.size.rounds,
    )
    return [
        figure
        for name, taken in spans.items()
        for figure in measure.throughput(name, taken, CELLS, "cells", {"cells": CELLS})
    ]


def skew(bench: Bench) -> list[Figure]:
    """Compare more and more entities with a history: now, and as of ten instants of each."""
    figures = []
    ours = bench.ours()
    for entities in bench.size.skew:
        table = bench.table(COLUMNS, entities, EVENTS)
        view = bench.filled(ours, f"skew_{entities}", table)
        spine = _spine(entities)
        for name, asked, rows in (("now", None, entities), ("as of", spine, len(spine))):
            spans = [
                measure.span(lambda asked=asked, view=view: ours.ws.skew(view, spine=asked), bench.server)
                for _ in range(bench.size.rounds)
            ]
            cells = rows * len(COLUMNS.names)
            work = {"entities": entities, "events": EVENTS, "rows": rows}
            figures += measure.throughput(f"{ours.name}, {name}", spans, cells, "cells", work)
    return figures


def _spine(entities: int) -> pd.DataFrame:
    """Return ten instants of each entity, an hour and a half apart."""
    instants = pd.Timestamp.now(tz="UTC") - pd.Timedelta("2h") - np.arange(SPINE_ROWS) * pd.Timedelta("90min")
    keys = np.repeat(np.arange(entities), SPINE_ROWS)
    return pd.DataFrame({KEY: keys, TIME: pd.DatetimeIndex(np.tile(instants, entities))})
