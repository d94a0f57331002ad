"""A frame's entity and feature view in Feast's registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.frames import CREATED, Columns, feast_type_name
from feastra_nb.intake import offline_file
from feastra_nb.quiet import quiet_feast
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from feast import Entity, FeatureView

    from feastra_nb.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a caller of ``ws.materialize(df, …)`` says of the frame; the names are those of its parameters."""

    view: str | None
    keys: Sequence[str] | None
    timestamp: str
    created: str | None
    ttl: str | timedelta | None
    retain: str | None
    description: str
    tags: Mapping[str, str] | None
    owner: str


def register(
    ws: Workspace, spec: FrameSpec, known: FeatureView | None, roles: Columns, table: pa.Table, path: Path
) -> FeatureView:
    """Apply entity and view to Feast where they are new or changed, and return the view as it is registered."""
    view, entities = _feast_objects(ws, spec, known, roles, table, path)
    if known is None or _changed(known, view) or not _in_catalog(ws, view):
        with quiet_feast():
            ws.feast.apply([*entities, view])
    if spec.retain is not None:
        ws.retain(str(spec.view), spec.retain)
    return ws.view(str(spec.view))


def _feast_objects(
    ws: Workspace, spec: FrameSpec, known: FeatureView | None, roles: Columns, table: pa.Table, path: Path
) -> tuple[FeatureView, list[Entity]]:
    from feast import FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat

    entities = [_entity(ws, key, table.schema.field(key).type) for key in roles.keys]
    fields = [
        Field(name=name, dtype=feast_dtype(table.schema.field(name).type)) for name in (*roles.keys, *roles.features)
    ]
    source = known.batch_source if known is not None else None
    if source is None:
        source = FileSource(
            name=f"{spec.view} parquet",
            path=str(path),
            timestamp_field=roles.timestamp,
            created_timestamp_column=roles.created or CREATED,
            file_format=ParquetFormat(),
        )
    view = FeatureView(
        name=str(spec.view),
        entities=entities,
        schema=_keep_types(fields, known),
        source=source,
        ttl=_ttl(spec, known),
        description=spec.description or (known.description if known else ""),
        tags=dict(spec.tags) if spec.tags is not None else dict(known.tags) if known else {},
        owner=spec.owner or (known.owner if known else ""),
    )
    return view, entities


def _entity(ws: Workspace, key: str, kind: pa.DataType) -> Entity:
    """Return the entity of a join key: the registered one, so that views share it, or a new one."""
    from feast import Entity

    for entity in ws.feast.list_entities():
        if entity.join_key == key:
            return entity
    return Entity(name=key, join_keys=[key], value_type=feast_dtype(kind).to_value_type())


def feast_dtype(kind: pa.DataType) -> Any:
    """Return the type in `feast.types` of a storable Arrow type."""
    import feast.types

    name = feast_type_name(kind) or "String"
    if name.startswith("Array("):
        return feast.types.Array(getattr(feast.types, name[len("Array(") : -1]))
    return getattr(feast.types, name)


def _keep_types(fields: list[Any], known: FeatureView | None) -> list[Any]:
    """Return the fields with the registered type of each known name: the offline file has cast the columns to it."""
    if known is None:
        return fields
    registered = {field.name: field for field in known.schema}
    return [registered.get(field.name, field) for field in fields]


def _ttl(spec: FrameSpec, known: FeatureView | None) -> timedelta:
    if spec.ttl is None:
        return (known.ttl if known is not None else None) or timedelta(0)
    ttl = duration(spec.ttl)
    if ttl <= timedelta(0):
        raise ConfigurationError(f"ttl is {spec.ttl!r}; it must be above zero", hint='"1d", "12h", or None for no ttl')
    return ttl


def duration(value: str | timedelta) -> timedelta:
    """Return a length of time from pandas' notation.

    Examples
    --------
    >>> duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    import pandas as pd

    try:
        return pd.Timedelta(value).to_pytimedelta()
    except ValueError as exc:
        raise ConfigurationError(
            f"cannot read the duration {value!r}", hint='"7d", "12h", "90min", or a timedelta'
        ) from exc


def _changed(known: FeatureView, view: FeatureView) -> bool:
    return (
        {field.name: field.dtype for field in known.schema} != {field.name: field.dtype for field in view.schema}
        or (known.ttl or timedelta(0)) != (view.ttl or timedelta(0))
        or (known.description, known.tags, known.owner) != (view.description, view.tags, view.owner)
    )


def _in_catalog(ws: Workspace, view: FeatureView) -> bool:
    """Tell whether the online store knows the view: a purged node or a fresh keyspace does not."""
    opened = ws.store.open(ws.feast.config)
    entry = opened.catalog.load(ws.project, view.name)
    return entry is not None and opened.db.table_exists(entry.table)


def note_interval(ws: Workspace, view: FeatureView, interval: tuple[int, int]) -> None:
    """Note the materialized interval in Feast's registry, where Feast's own incremental run looks for it."""
    ws.feast.registry.apply_materialization(view, ws.project, instant(interval[0]), instant(interval[1]))


def drop(ws: Workspace, name: str) -> None:
    """Drop a view from the registry and the online store, with the parquet that was made for it here."""
    view = ws.view(name)
    with quiet_feast():
        ws.feast.apply([], objects_to_delete=[view], partial=False)
    offline_file.path_of(ws.directory, name).unlink(missing_ok=True)
