"""Repositories of Feast's whose online store is another than ours."""

import pandas as pd
from feasts_own import patiently


def build_repository(folder, planes, online, offline="duckdb", created_timestamp_column="made", until=None):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, Int64

    folder.mkdir()
    planes.to_parquet(folder / "planes.parquet")
    lines = [
        "project: other", "provider: local", "registry: registry.db", "entity_key_serialization_version: 3",
        f"offline_store: {{type: {offline}}}", "online_store:", *(f"  {key}: {value}" for key, value in online.items()),
    ]  # fmt: skip
    (folder / "feature_store.yaml").write_text("\n".join(lines) + "\n")
    plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)
    source = FileSource(
        path=str(folder / "planes.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column=created_timestamp_column or "",
    )
    view = FeatureView(
        name="plane_stats", entities=[plane], source=source, ttl=pd.Timedelta("3650d").to_pytimedelta(),
        schema=[Field(name="mean_delay", dtype=Float64), Field(name="flights", dtype=Int64)],
    )  # fmt: skip
    store = FeatureStore(repo_path=str(folder))
    patiently(lambda: store.apply([plane, view]))
    end = until or planes["event_timestamp"].max() + pd.Timedelta("1s")
    store.materialize(pd.Timestamp("2000-01-01", tz="UTC").to_pydatetime(), end.to_pydatetime())
    cluster = getattr(store._get_provider().online_store, "_cluster", None)  # Feast's Cassandra store never closes it
    if cluster is not None:
        cluster.shutdown()
    return folder


def overwrite(repository, planes, names):
    """Write an older event over the newest one, as a backfill does to a store that keeps the last write."""
    from feast import FeatureStore

    older = planes[planes["tailnum"].isin(names)].groupby("tailnum").head(1)
    FeatureStore(repo_path=str(repository)).write_to_online_store("plane_stats", df=older)
    return names
