"""`ws.materialize(df, …)`: a DataFrame into the offline parquet, the registry and the online store.

Everything is judged before anything is written, so that a call that is refused leaves files, registry and keyspace as they
were.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID

from feastra_nb import codec
from feastra_nb.adapter.objects import key_fields
from feastra_nb.codec.columns import epoch_us
from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.folder_lock import locked
from feastra_nb.materialization import offline_file
from feastra_nb.materialization.frame_warnings import warn_of_losses, warn_of_numbers_as_text
from feastra_nb.materialization.frames import CREATED, Columns, columns_of, to_table, with_plain_columns
from feastra_nb.materialization.profile import note_on, noted
from feastra_nb.materialization.registration import FrameSpec, judge, known_keys, known_view, note_interval, register
from feastra_nb.materialization.run import write_table
from feastra_nb.storage.row_selection import refuse_future, refuse_large
from feastra_nb.storage.rows import Rows, last_of_repeats
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from feast import FeatureView

    from feastra_nb.materialization.registration import Registration
    from feastra_nb.materialization.run import Materialization
    from feastra_nb.stores import Stores


@dataclass(frozen=True, slots=True, eq=False)
class FrameRows:
    """A frame's n rows in storable columns, with what is asked of them again and again.

    Parameters
    ----------
    table
        As `frames.to_table` makes it.
    roles
        The roles of its columns.
    event_us, created_us
        Shape (n,), microseconds since the epoch; ``created_us`` is 0 where the frame has no created column.
    """

    table: pa.Table
    roles: Columns
    event_us: npt.NDArray[np.int64]
    created_us: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, roles: Columns) -> FrameRows:
        """Return a table's rows."""
        none = np.zeros(table.num_rows, dtype=np.int64)
        created_us = epoch_us(table.column(roles.created)) if roles.created else none
        return cls(table, roles, epoch_us(table.column(roles.timestamp)), created_us)

    def __len__(self) -> int:
        return self.table.num_rows

    def without_repeats(self) -> FrameRows:
        """Return the rows that both stores get: of those with the same entity, event and created time the last."""
        if not len(self):
            return self
        keys = [self.table.column(name).combine_chunks() for name in self.roles.keys]
        keep = last_of_repeats(_codes(keys, len(self)), self.event_us, self.created_us)
        return self.chosen(keep)

    def chosen(self, keep: npt.NDArray[np.bool_]) -> FrameRows:
        """Return the rows of a mask."""
        return FrameRows(self.table.filter(pa.array(keep)), self.roles, self.event_us[keep], self.created_us[keep])

    def interval(self, now_us: int) -> tuple[int, int]:
        """Return the interval of event time, both ends inclusive; the present for an empty frame."""
        return (int(self.event_us.min()), int(self.event_us.max())) if len(self) else (now_us, now_us)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A frame that can be stored.

    Parameters
    ----------
    rows
        Its rows without repeats.
    repeats
        How many rows were left out because a later one has the same entity, event and created time.
    suppressed
        How many rows were left out because their entities were forgotten for good.
    path
        The view's parquet.
    registration
        What is to be registered.
    notes
        By feature, what storing makes of a column, such as text of a category.
    """

    rows: FrameRows
    repeats: int
    suppressed: int
    path: Path
    registration: Registration
    notes: Mapping[str, str]

    @property
    def is_automatic(self) -> bool:
        """Whether the view's created times are the calls' own."""
        known = self.registration.known
        return self.rows.roles.created is None and (
            known is None or known.batch_source.created_timestamp_column == CREATED
        )


def materialize_frame(
    stores: Stores,
    frame: Any,
    spec: FrameSpec,
    *,
    allow_future: bool,
    progress: bool | Callable[[int], object],
) -> Materialization:
    """Write a DataFrame: into the registry, into the view's offline parquet, then online.

    The parquet is written beside the old one first, and takes its place once the registry knows the view. A call that was
    stopped anywhere is completed by the same call.
    """
    # What is registered, and the stored rows' created times, are those of the moment when no other process changes them.
    with locked(stores.directory):
        now_us = time.time_ns() // 1000
        judged = _judged(stores, frame, spec, now_us=None if allow_future else now_us)
        rows = judged.rows
        staged = offline_file.stage(judged.path, rows.table, rows.roles, now_us=now_us, automatic=judged.is_automatic)
        try:
            view = register(stores, judged.registration)
            staged.commit()
        except BaseException:
            staged.discard()
            raise
    interval = rows.interval(now_us)
    done = write_table(
        stores.online,
        view,
        staged.table,
        interval,
        check_stored=staged.is_stored if staged.is_stored.any() else None,
        allow_future=allow_future,
        progress=progress,
    )
    if len(rows):
        note_interval(stores, view, (instant(interval[0]), instant(interval[1])))
    suppressed = judged.suppressed + done.suppressed
    return replace(done, repeats=judged.repeats, suppressed=suppressed, features=noted(done.features, judged.notes))


def _judged(stores: Stores, frame: Any, spec: FrameSpec, *, now_us: int | None) -> _Judged:
    """Return a frame that can be stored; nothing is written.

    Parameters
    ----------
    now_us
        Events later than five minutes after it are refused; None to take them.
    """
    known = known_view(stores, spec)
    frame, roles = _roles(frame, spec, known)
    keys = known_keys(stores, roles.keys, known)
    table, types_before = to_table(frame, roles, _known_types(known), keys.types)
    whole = FrameRows.of(table, roles)
    if now_us is not None:
        refuse_future(whole.event_us, now_us=now_us, view=spec.view)
    rows = whole.without_repeats()
    path = _offline_path(stores, spec, known)
    registration = judge(stores, spec, known, keys, rows.table, roles, path)
    value_types = {field.name: field.dtype.to_value_type() for field in registration.view.schema}
    _refuse_values(replace(rows, table=offline_file.fitted(rows.table, path)), {**value_types, **keys.types}, spec.view)
    warn_of_losses(whole.table, {name: value_types[name] for name in roles.features})
    warn_of_numbers_as_text(whole.table, [name for name in roles.features if name not in _known_types(known)])
    notes = {name: note for name in roles.features if (note := note_on(types_before[name]))}
    kept = _not_suppressed(stores, rows, registration)
    return _Judged(kept, len(whole) - len(rows), len(rows) - len(kept), path, registration, notes)


def _not_suppressed(stores: Stores, rows: FrameRows, registration: Registration) -> FrameRows:
    """Return the rows whose entities were not forgotten for good: neither store gets the others."""
    listed = stores.online.suppression.current()
    if not listed or not rows.roles.keys:
        return rows
    keys = key_fields(registration.view)
    keep = ~listed.mask(keys, [rows.table.column(name) for name, _type in keys])
    return rows if keep.all() else rows.chosen(keep)


def _roles(frame: Any, spec: FrameSpec, known: FeatureView | None) -> tuple[Any, Columns]:
    """Return a frame with plain columns, and their roles."""
    if not hasattr(frame, "columns") and not hasattr(frame, "__arrow_c_stream__"):
        raise InvalidFrame(
            f"expected a DataFrame, got a {type(frame).__name__}",
            hint="pandas, Polars, Arrow and DuckDB tables are DataFrames here; pd.DataFrame(…) makes one of a dict or a list",
        )
    keys = spec.keys if spec.keys is not None else [field.name for field in known.entity_columns] if known else []
    source = known.batch_source if known else None
    created = spec.created
    if created is None and source is not None and source.created_timestamp_column not in ("", None, CREATED):
        created = source.created_timestamp_column
    fields = [field.name for field in known.schema if field.name != DUMMY_ENTITY_ID] if known else []
    times = [name for name in (spec.timestamp, source.timestamp_field if source else None, created) if name]
    frame = with_plain_columns(frame, [*keys, *times, *fields])
    names = list(frame.columns) if hasattr(frame, "columns") else pa.table(frame).column_names
    if names and not all(isinstance(name, str) for name in names) and hasattr(frame, "column_names"):
        names = list(frame.column_names)  # an Arrow table's `columns` are arrays
    if CREATED in names and created is None:
        raise InvalidFrame(
            f"the frame has a column {CREATED!r}, which is ours", hint=f"drop it, or pass created={CREATED!r}"
        )
    timestamp = _timestamp(spec, source, names)
    missing = [name for name in fields if name not in names]
    if missing:
        raise InvalidFrame(
            f"the frame lacks the view's column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            hint="add them (nulls are fine), or ws.drop the view to begin anew",
        )
    return frame, columns_of(names, keys=keys, timestamp=timestamp, created=created)


def _timestamp(spec: FrameSpec, source: Any, names: Sequence[Any]) -> str:
    """Return the event time's column: as the caller says, or as the view has it."""
    if source is None or source.timestamp_field == spec.timestamp:
        return spec.timestamp
    stored = str(source.timestamp_field)
    if stored in names and spec.timestamp not in names:
        return stored
    raise ConfigurationError(
        f"view {spec.view!r} has the timestamp column {stored!r}, not {spec.timestamp!r}",
        hint=f"rename the frame's column to {stored!r}, or ws.drop the view to begin anew",
    )


def _offline_path(stores: Stores, spec: FrameSpec, known: FeatureView | None) -> Path:
    """Return the parquet of a view: ours for a new one, the registered source of a known one.

    Raises
    ------
    ConfigurationError
        The view's source is not a parquet file here, so that a frame cannot be added to it.
    """
    from feast import FileSource
    from feast.data_format import ParquetFormat

    if known is None:
        return offline_file.path_of(stores.directory, spec.view)
    source = known.batch_source
    if isinstance(source, FileSource) and isinstance(source.file_format or ParquetFormat(), ParquetFormat):
        path = Path(source.get_uri_for_file_path(stores.feast.config.repo_path, source.path))
        if "://" not in source.path and not path.is_dir():
            return path
    raise ConfigurationError(
        f"view {spec.view!r} is fed from {type(source).__name__} {source.name!r}, which a DataFrame cannot be added to",
        hint=f"ws.materialize({spec.view!r}) reads it from there; ws.feast.push feeds both stores",
    )


def _refuse_values(rows: FrameRows, types: dict[str, Any], view: str) -> None:
    """Refuse values that their features cannot hold: encoding them all costs little."""
    table, roles, none = rows.table, rows.roles, np.zeros(len(rows), dtype=np.int64)
    of_keys, of_features = ([types[name] for name in names] for names in (roles.keys, roles.features))
    keys = pa.array([b""] * len(rows), pa.binary())
    if roles.keys:
        keys = codec.encode_entity_keys(roles.keys, of_keys, [table.column(name) for name in roles.keys])
    columns = [table.column(name) for name in roles.features]
    payloads = codec.encode_payloads(columns, of_features, len(rows), names=roles.features)
    refuse_large(Rows(keys, rows.event_us, none, none, payloads), view=view)


def _known_types(known: FeatureView | None) -> dict[str, pa.DataType]:
    """Return the Arrow types of a registered view's fields, for columns of a frame that have no type of their own."""
    return {field.name: codec.arrow_type(field.dtype.to_value_type()) for field in known.schema} if known else {}


def _codes(keys: Sequence[pa.Array], rows: int) -> npt.NDArray[np.int64]:
    codes = np.zeros(rows, dtype=np.int64)
    for key in keys:
        encoded = key.dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(encoded.indices, dtype=np.int64)
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes
