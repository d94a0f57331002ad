"""`ws.materialize(df, …)`: a DataFrame into the offline parquet, the registry and the online store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.frames import CREATED, Columns, columns_of, to_table
from feastra_nb.intake import offline_file
from feastra_nb.intake.registration import FrameSpec, feast_dtype, note_interval, register
from feastra_nb.materialization import write_table
from feastra_nb.storage.admission import refuse_future, refuse_large
from feastra_nb.storage.columns import epoch_us
from feastra_nb.storage.rows import Rows, last_of_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feast import FeatureView

    from feastra_nb.materialization import Materialization
    from feastra_nb.workspace import Workspace


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
    _refuse_values(table, roles, known, str(spec.view))
    path = _offline_path(ws, spec, known)
    automatic = roles.created is None and (known is None or known.batch_source.created_timestamp_column == CREATED)
    with offline_file.locked(ws.directory):
        table, stored = offline_file.merge(path, table, roles, now_us=now_us, automatic=automatic)
    view = register(ws, spec, known, roles, table, path)
    interval = _interval(table, roles, now_us)
    done = write_table(
        ws.store,
        ws.feast.config,
        view,
        table,
        interval,
        check_stored=stored if stored.any() else None,
        allow_future=allow_future,
        progress=progress,
    )
    if table.num_rows:
        note_interval(ws, view, interval)
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


def _refuse_values(table: pa.Table, roles: Columns, known: FeatureView | None, view: str) -> None:
    """Refuse values that their features cannot hold before anything is written: encoding them all costs little."""
    from feastra_nb.storage import codec

    types = {field.name: field.dtype.to_value_type() for field in known.schema} if known else {}

    def kinds(names: Sequence[str]) -> list[Any]:
        return [types.get(name) or feast_dtype(table.schema.field(name).type).to_value_type() for name in names]

    zeros = np.zeros(table.num_rows, dtype=np.int64)
    keys = codec.encode_entity_keys(roles.keys, kinds(roles.keys), [table.column(name) for name in roles.keys])
    columns = [table.column(name) for name in roles.features]
    payloads = codec.encode_payloads(columns, kinds(roles.features), table.num_rows, names=roles.features)
    refuse_large(Rows(keys, epoch_us(table.column(roles.timestamp)), zeros, zeros, payloads), view=view)


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
    codes = np.zeros(len(key), dtype=np.int64)
    for field in key.flatten():
        encoded = field.dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(encoded.indices, dtype=np.int64)
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


def _interval(table: pa.Table, roles: Columns, now_us: int) -> tuple[int, int]:
    events = epoch_us(table.column(roles.timestamp))
    return (int(events.min()), int(events.max())) if len(events) else (now_us, now_us)
