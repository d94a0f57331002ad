"""Our online store beside Feast's own Cassandra store, on the same node and in the same run.

Work: materialize one event of each of N entities with F double features from parquet, through `FeatureStore.materialize`;
then read 1, 10 and 100 entities by `get_online_features`, the stores taking turns.

    python benchmarks/stores.py [--entities 20000] [--features 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import tempfile
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from feastra_nb.connection import local
from feastra_nb.times import utc_now

KEYSPACE = "bench"
READS = 200  # of each batch size and store
WARM = 2_000  # entities that each store writes twice before anything is measured


def feature_stores(node, folder, features):
    """Return both stores by name, with the same view applied to each."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    address = {"hosts": list(node.hosts), "port": node.port, "keyspace": KEYSPACE}
    ours = {"type": "feastra_nb.online_store.FeastraOnlineStore", **address, "create_keyspace": True}
    kinds = {
        "feastra_nb": {
            "online_store": ours,
            "batch_engine": {"type": "feastra_nb.arrow_engine.ArrowComputeEngine"},
        },
        "feast cassandra": {"online_store": {"type": "cassandra", **address}},
    }
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Float64) for name in features]
    views = [
        FeatureView(
            name=view,
            entities=[key],
            schema=schema,
            source=FileSource(path=str(folder / f"{view}.parquet"), timestamp_field="event_timestamp"),
        )
        for view in ("rows", "warm")
    ]
    stores = {}
    for name, options in kinds.items():
        config = RepoConfig(
            project=f"bench_{name.split()[0]}_{time.time_ns()}",
            provider="local",
            registry=str(folder / f"{name}.db"),
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
            **options,
        )
        stores[name] = FeatureStore(config=config)
        stores[name].apply([key, *views])
    return stores


def write_rows(folder, view, entities, features):
    """Write the parquet of a view that both materialize."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"k": np.arange(entities), **{name: rng.random(entities) for name in features}})
    frame["event_timestamp"] = pd.Timestamp.now(tz="UTC").floor("us") - pd.Timedelta("1h")
    frame.to_parquet(folder / f"{view}.parquet", coerce_timestamps="us", index=False)


def materialize_s(store, view):
    """Return how long `FeatureStore.materialize` takes."""
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        store.materialize(utc_now() - timedelta(hours=2), utc_now(), [view])
    return time.perf_counter() - began


def read_p50_ms(stores, features, entities, batch):
    """Return each store's median latency of one batch size; the stores take turns."""
    rng = np.random.default_rng(11)
    refs = [f"rows:{name}" for name in features]
    taken = {name: [] for name in stores}
    for _ in range(READS):
        rows = [{"k": int(key)} for key in rng.integers(0, entities, batch)]
        for name, store in stores.items():
            began = time.perf_counter()
            store.get_online_features(refs, rows)
            taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(times)) * 1e3 for name, times in taken.items()}


def main():
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    features = [f"f{n}" for n in range(options.features)]
    node = local.start(name="bench")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_rows(folder, "rows", options.entities, features)
        write_rows(folder, "warm", WARM, features)
        stores = feature_stores(node, folder, features)
        for store in [*stores.values()] * 2:
            materialize_s(store, "warm")  # a server that has just started is slow for its first client
        rows = {
            name: {"materialize_rows_per_s": options.entities / materialize_s(one, "rows")}
            for name, one in stores.items()
        }
        for batch in (1, 10, 100):
            for name, p50_ms in read_p50_ms(stores, features, options.entities, batch).items():
                rows[name][f"read_{batch}_p50_ms"] = p50_ms
        for store in stores.values():
            store.teardown()
        stores["feast cassandra"]._get_provider().online_store._cluster.shutdown()  # noqa: SLF001 - it has no close
    table = pd.DataFrame(rows).T
    print(
        f"{options.entities:,} entities x {options.features} features, feast {version('feast')}, {platform.platform()}"
    )
    print(table.round(2).to_string())
    ratio = table.loc["feastra_nb"] / table.loc["feast cassandra"]
    print("\nours over Feast's own:\n" + ratio.round(3).to_string())
    if options.json:
        machine = {"platform": platform.platform(), "python": platform.python_version(), "feast": version("feast")}
        options.json.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1))
    node.stop()


if __name__ == "__main__":
    main()
