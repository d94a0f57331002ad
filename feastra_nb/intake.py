"""What a workspace writes: DataFrames and registered views into the stores, views dropped, repositories saved."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feastra_nb import offline_file
from feastra_nb.errors import CatalogConflict, ConfigurationError, InvalidFrame
from feastra_nb.frames import CREATED, Columns, columns_of, epoch_us, feast_type_name, to_table
from feastra_nb.materialization import LOOKBACK, Source, instant, materialize_view, utc_now, write_table
from feastra_nb.online_store import refuse_future
from feastra_nb.retrieval import quiet_feast
from feastra_nb.storage.rows import last_of_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from feast import Entity, FeatureView

    from feastra_nb.materialization import Materialization
    from feastra_nb.storage.catalog import ViewEntry
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


# --- a frame ---------------------------------------------------------------------------------------------------------


def materialize_frame(
    ws: Workspace,
    frame: Any,
    spec: FrameSpec,
    *,
    allow_future: bool,
    progress: bool | Callable[[int], object],
) -> Materialization:
    """Write a DataFrame: first into the view's offline parquet, then into the registry, then online.

    In this order a call that was stopped anywhere is completed by the same call.
    """
    now_us = time.time_ns() // 1000
    known = _known_view(ws, spec)
    roles = _roles(frame, spec, known)
    table = _without_repeats(to_table(frame, roles, _known_types(known)), roles)
    if not allow_future:
        refuse_future(epoch_us(table.column(roles.timestamp)), now_us=now_us, view=str(spec.view))
    _refuse_values(table, roles, known)
    path = _offline_path(ws, spec, known)
    automatic = roles.created is None and (known is None or known.batch_source.created_timestamp_column == CREATED)
    with offline_file.locked(ws.directory):
        table, stored = offline_file.merge(path, table, roles, now_us=now_us, automatic=automatic)
    view = _register(ws, spec, known, roles, table, path)
    source = Source("frame", *_interval(table, roles, now_us))
    done = write_table(
        ws.store,
        ws.feast.config,
        view,
        table,
        source,
        check_stored=stored if stored.any() else None,
        allow_future=allow_future,
        progress=progress,
    )
    if table.num_rows:
        _note_interval(ws, view, source)
    return done


def _known_view(ws: Workspace, spec: FrameSpec) -> FeatureView | None:
    if not spec.view or not isinstance(spec.view, str):
        raise ConfigurationError(
            "the feature view has no name", hint='ws.materialize(df, "plane_stats", keys=["tailnum"])'
        )
    known = {view.name: view for view in ws.feast.list_feature_views()}.get(spec.view)
    if known is not None and spec.keys is not None:
        keys = [spec.keys] if isinstance(spec.keys, str) else list(spec.keys)
        stored = [field.name for field in known.entity_columns]
        if sorted(keys) != sorted(stored):
            raise ConfigurationError(
                f"view {spec.view!r} has the join keys {', '.join(stored)}, not {', '.join(keys)}",
                hint="ws.drop the view first, or choose another name",
            )
    if known is None and not spec.keys:
        raise ConfigurationError(
            f"view {spec.view!r} is new, so its join keys are needed",
            hint='keys=["tailnum"]: the columns that name an entity',
        )
    return known


def _roles(frame: Any, spec: FrameSpec, known: FeatureView | None) -> Columns:
    if not hasattr(frame, "columns") and not hasattr(frame, "__arrow_c_stream__"):
        raise InvalidFrame(
            f"{type(frame).__name__} is no DataFrame", hint="pandas, polars, Arrow and DuckDB tables are"
        )
    names = list(frame.columns) if hasattr(frame, "columns") else pa.table(frame).column_names
    if names and not all(isinstance(name, str) for name in names) and hasattr(frame, "column_names"):
        names = list(frame.column_names)  # an Arrow table's `columns` are arrays
    keys = spec.keys if spec.keys is not None else [field.name for field in known.entity_columns] if known else []
    created = spec.created
    if created is None and known is not None:
        stored = known.batch_source.created_timestamp_column
        created = stored if stored and stored != CREATED else None
    if CREATED in names and created is None:
        raise InvalidFrame(
            f"the frame has a column {CREATED!r}, which is ours", hint=f"drop it, or pass created={CREATED!r}"
        )
    missing = [field.name for field in known.schema if field.name not in names] if known else []
    if missing:
        raise InvalidFrame(
            f"the view has the column{'s' * (len(missing) > 1)} {', '.join(missing)}, the frame has not",
            hint="add them (nulls are fine), or ws.drop the view to begin anew",
        )
    return columns_of(names, keys=keys, timestamp=spec.timestamp, created=created)


def _offline_path(ws: Workspace, spec: FrameSpec, known: FeatureView | None) -> Path:
    """Return the parquet of a view: ours for a new one, the registered source of a known one.

    Raises
    ------
    ConfigurationError
        The view's source is no parquet file here, so that a frame cannot be added to it.
    """
    from feast import FileSource
    from feast.data_format import ParquetFormat

    if known is None:
        return offline_file.path_of(ws.directory, str(spec.view))
    source = known.batch_source
    if isinstance(source, FileSource) and isinstance(source.file_format or ParquetFormat(), ParquetFormat):
        path = Path(source.get_uri_for_file_path(ws.feast.config.repo_path, source.path))
        if "://" not in source.path and not path.is_dir():
            return path
    raise ConfigurationError(
        f"view {spec.view!r} is fed from {type(source).__name__} {source.name!r}, which a DataFrame cannot be added to",
        hint=f"ws.materialize({spec.view!r}) reads it from there; ws.feast.push feeds both stores",
    )


def _refuse_values(table: pa.Table, roles: Columns, known: FeatureView | None) -> None:
    """Refuse values that their features cannot hold before anything is written: encoding them all costs little."""
    from feastra_nb.storage.codec import encode_payloads

    types = {field.name: field.dtype.to_value_type() for field in known.schema} if known else {}
    kinds = [types.get(name) or _dtype(table.schema.field(name).type).to_value_type() for name in roles.features]
    encode_payloads([table.column(name) for name in roles.features], kinds, table.num_rows, names=roles.features)


def _known_types(known: FeatureView | None) -> dict[str, pa.DataType]:
    """Return the Arrow types of a registered view's fields, for columns of a frame that are all null."""
    from feastra_nb.storage.codec import arrow_type

    return {field.name: arrow_type(field.dtype.to_value_type()) for field in known.schema} if known else {}


def _without_repeats(table: pa.Table, roles: Columns) -> pa.Table:
    """Keep, of rows with the same entity, event and created time, the last: the one that both stores get."""
    if not table.num_rows:
        return table
    key = pa.StructArray.from_arrays(
        [table.column(name).combine_chunks() for name in roles.keys], names=list(roles.keys)
    )
    codes = _codes(key)
    created = epoch_us(table.column(roles.created)) if roles.created else codes * 0
    keep = last_of_repeats(codes, epoch_us(table.column(roles.timestamp)), created)
    return table if keep.all() else table.filter(pa.array(keep))


def _codes(key: pa.StructArray) -> Any:
    import numpy as np

    codes = np.zeros(len(key), dtype=np.int64)
    for field in key.flatten():
        encoded = field.dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(encoded.indices, dtype=np.int64)
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


def _interval(table: pa.Table, roles: Columns, now_us: int) -> tuple[int, int]:
    events = epoch_us(table.column(roles.timestamp))
    return (int(events.min()), int(events.max())) if len(events) else (now_us, now_us)


# --- registration ----------------------------------------------------------------------------------------------------


def _register(
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
    fields = [Field(name=name, dtype=_dtype(table.schema.field(name).type)) for name in (*roles.keys, *roles.features)]
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
    return Entity(name=key, join_keys=[key], value_type=_dtype(kind).to_value_type())


def _dtype(kind: pa.DataType) -> Any:
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


def _note_interval(ws: Workspace, view: FeatureView, source: Source) -> None:
    """Note the materialized interval in Feast's registry, where Feast's own incremental run looks for it."""
    ws.feast.registry.apply_materialization(view, ws.project, instant(source.start_us), instant(source.end_us))


# --- a registered view -----------------------------------------------------------------------------------------------


def materialize_registered(
    ws: Workspace,
    name: str,
    *,
    start: datetime | str | None,
    end: datetime | str | None,
    progress: bool | Callable[[int], object],
) -> Materialization:
    """Read a registered view's rows from the offline store and write them online.

    Without ``start`` the run goes on from the end of the last one, less a day of lookback for rows that arrived late.
    """
    from feastra_nb.arrow_engine import serves

    view = ws.view(name)
    if not serves(view, ws.store):
        raise ConfigurationError(
            f"view {name!r} is transformed, aggregated or not online, so Feast must materialize it",
            hint=f"ws.feast.materialize(start, end, [{name!r}])",
        )
    until = _moment(end, "end") or utc_now()
    since, check_until = _since(view, _moment(start, "start"))
    if since is not None and since > until:
        raise ConfigurationError(f"start {since} lies after end {until}")
    with quiet_feast():
        done = materialize_view(
            ws.feast, ws.store, view, start=since, end=until, check_until=check_until, progress=progress
        )
    begin = since or datetime(1970, 1, 1, tzinfo=timezone.utc)
    ws.feast.registry.apply_materialization(view, ws.project, begin, until)
    return done


def _since(view: FeatureView, start: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return where the run begins, and until when its rows may be stored already."""
    if start is not None:
        return start, None
    last = view.most_recent_end_time
    return (None, None) if last is None else (last - LOOKBACK, last)


def _moment(value: datetime | str | None, name: str) -> datetime | None:
    if value is None:
        return None
    from feastra_nb.retrieval import instants

    return instant(int(instants(value, 1, name)[0]))


# --- drop and save ---------------------------------------------------------------------------------------------------


def drop(ws: Workspace, name: str) -> None:
    """Drop a view from the registry and the online store, with the parquet that was made for it here."""
    view = ws.view(name)
    with quiet_feast():
        ws.feast.apply([], objects_to_delete=[view], partial=False)
    offline_file.path_of(ws.directory, name).unlink(missing_ok=True)


def save(ws: Workspace, path: Path) -> Path:
    """Write a Feast repository of the workspace, and let its registry share the tables."""
    from feastra_nb import repository

    if ws.target is None:
        raise ConfigurationError(f"this workspace is a Feast repository already: {ws.directory}")
    folder = repository.save(ws.feast, ws.target, path)
    identity = str(folder / "data" / "registry.db")
    opened = ws.store.open(ws.feast.config)
    for entry in opened.catalog.views(ws.project):
        opened.catalog.change(ws.project, entry.view, partial(_shared_with, identity))
    return folder


def _shared_with(registry: str, entry: ViewEntry | None) -> ViewEntry:
    if entry is None:
        raise CatalogConflict("the view was dropped while it was saved", hint="save again")
    return replace(entry, registries=tuple(dict.fromkeys((*entry.registries, registry))))
