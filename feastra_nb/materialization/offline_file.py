"""The parquet that holds a view's offline history: one file a view, replaced as a whole so that it is never half-written.

New rows are added to a copy of the file's bytes as row groups of their own: nothing that it holds is decoded, or encoded again.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feastra_nb.errors import ConfigurationError, FeastFailed, InvalidFrame
from feastra_nb.materialization.frames import CREATED, TIMESTAMP_US, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


def path_of(directory: Path, view: str) -> Path:
    """Return the path of a view's parquet; any character that a view's name may have is safe in it."""
    return directory / "offline" / f"{quote(view, safe=' ')}.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A view's parquet with a frame's rows in it, written beside the one that is read until `commit`.

    Parameters
    ----------
    table
        The frame's n rows, each with its created time if the view has one.
    is_stored
        Shape (n,): which of them the file held already, with the same content.
    path
        The view's parquet.
    written
        The new file; None where it would hold nothing new.
    """

    table: pa.Table
    is_stored: npt.NDArray[np.bool_]
    path: Path
    written: Path | None

    def commit(self) -> None:
        """Put the new file in the place of the old one, so that a reader sees either."""
        if self.written is not None:
            self.written.replace(self.path)

    def discard(self) -> None:
        """Leave the old file as it is."""
        if self.written is not None:
            self.written.unlink(missing_ok=True)


def stage(path: Path, table: pa.Table, roles: Columns, *, now_us: int, automatic: bool) -> Staged:
    """Write a frame's rows beside a view's parquet, but for those it already holds with the same content.

    Parameters
    ----------
    table
        n rows without repeats, as `frames.to_table` makes them.
    roles
        The roles of its columns.
    now_us
        The call's time, microseconds since the epoch.
    automatic
        Add a created time: the stored row's own where there is one of the same content, ``now_us`` elsewhere.

    Raises
    ------
    InvalidFrame
        A column's type does not fit the stored one.
    ConfigurationError
        The folder cannot be written to, or the disk is full; the old file is as it was.
    """
    if automatic:
        roles = Columns(roles.keys, roles.timestamp, CREATED, roles.features)
        table = table.append_column(CREATED, _instants(np.full(table.num_rows, now_us)))
    if not path.exists():
        return Staged(table, np.zeros(table.num_rows, dtype=bool), path, _written_beside(path, table))
    table = fitted(table, path)
    stored_us, known = _stored(path, table, roles, automatic=automatic)
    if automatic:
        place = table.schema.get_field_index(CREATED)
        table = table.set_column(place, CREATED, _instants(np.where(known, stored_us, now_us)))
    if known.all():
        return Staged(table, known, path, None)
    return Staged(table, known, path, _with_rows(path, table.filter(pa.array(~known))))


def _with_rows(path: Path, fresh: pa.Table) -> Path:
    """Write a view's parquet with new rows at its end beside it, and return the new file."""
    with suppress(_CannotAppend):
        return _appended_beside(path, fresh)
    stored = _retyped(read(path), fresh.schema)
    return _written_beside(path, pa.concat_tables([stored, fresh], promote_options="default"))


def _retyped(stored: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a file's rows with the new type of each column that has one: such a column holds nulls only (see `fitted`)."""
    for name in stored.column_names:
        index = schema.get_field_index(name)
        if index >= 0 and schema.field(index).type != stored.schema.field(name).type:
            place = stored.schema.get_field_index(name)
            stored = stored.set_column(place, name, pa.nulls(stored.num_rows, schema.field(index).type))
    return stored


def only_nulls(path: Path, name: str) -> bool:
    """Tell whether a column of a view's parquet has held nothing but nulls until now."""
    if not path.exists() or name not in _schema(path).names:
        return False
    column = read(path, [name]).column(0)
    return bool(column.null_count == len(column))


def _instants(at_us: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(at_us, pa.timestamp("us")).cast(TIMESTAMP_US)


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a view's parquet.

    Raises
    ------
    FeastFailed
        It cannot be read.
    """
    with _reading(path):
        return pq.read_table(path, columns=columns)


def _schema(path: Path) -> pa.Schema:
    with _reading(path):
        return pq.read_schema(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        raise FeastFailed(
            f"the view's offline data {path} cannot be read: {exc}",
            hint="the file is damaged or not ours to read: write it again from where the data came from",
        ) from exc


def fitted(table: pa.Table, path: Path) -> pa.Table:
    """Return a frame's rows in the types of a view's parquet; where that has held nulls only, the frame's type counts.

    Raises
    ------
    InvalidFrame
        A column does not fit.
    """
    if not path.exists():
        return table
    stored = _schema(path)
    for name in stored.names:
        index = table.schema.get_field_index(name)
        if index < 0 or table.schema.field(index).type == stored.field(name).type:
            continue  # a column that is the file's alone is null in the new rows
        try:
            table = table.set_column(index, name, table.column(index).cast(stored.field(name).type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            if only_nulls(path, name):
                continue
            raise InvalidFrame(
                f"column {name!r} is {table.schema.field(index).type} and was {stored.field(name).type} before: {exc}",
                hint="cast it, or materialize under another view name",
            ) from exc
    return table


_ROW = "feastra_row"  # numbers the frame's rows; no column of a user's has this name


def _stored(
    path: Path, table: pa.Table, roles: Columns, *, automatic: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """For each row: the created time of the file's row with the same content, and whether there is one.

    With a created column of our making the like is the newest version of the same event; with the user's own it is the
    row of the same event and created time.
    """
    import duckdb

    stored_names = set(_schema(path).names)
    same = [*roles.keys, roles.timestamp] + ([] if automatic or roles.created is None else [roles.created])
    content = [name for name in roles.features if name in stored_names]
    fresh_features = [name for name in roles.features if name not in stored_names]
    if fresh_features:
        # A feature that the file has not yet: no stored row has the same content.
        return np.zeros(table.num_rows, dtype=np.int64), np.zeros(table.num_rows, dtype=bool)
    created = "NULL::timestamptz" if roles.created is None else sql_name(roles.created)
    partition = ", ".join(map(sql_name, same))
    matches = " AND ".join(
        [*(f"f.{sql_name(name)} = s.{sql_name(name)}" for name in same)]
        + [f"f.{sql_name(name)} IS NOT DISTINCT FROM s.{sql_name(name)}" for name in content]
    )
    instant = sql_name(
        roles.timestamp
    )  # of the file's rows only those of the frame's instants are compared, or even read
    with duckdb.connect() as connection:
        connection.register("frame", table.append_column(_ROW, pa.array(np.arange(table.num_rows))))
        matched = connection.execute(
            f"""
            WITH stored AS (
                SELECT * FROM read_parquet(?, file_row_number = true)
                WHERE {instant} IN (SELECT {instant} FROM frame)
                QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {created} DESC, file_row_number DESC) = 1
            )
            SELECT f.{_ROW} AS row, coalesce(epoch_us({"s." * (roles.created is not None)}{created}), 0) AS created_us
            FROM frame f JOIN stored s ON {matches}
            """,
            [str(path)],
        ).fetchnumpy()
    stored_us = np.zeros(table.num_rows, dtype=np.int64)
    known = np.zeros(table.num_rows, dtype=bool)
    rows = np.asarray(matched["row"], dtype=np.int64)
    stored_us[rows] = np.asarray(matched["created_us"], dtype=np.int64)
    known[rows] = True
    return stored_us, known


def sql_name(name: str) -> str:
    """Return a column's name as DuckDB's SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def replace(path: Path, table: pa.Table) -> None:
    """Put a table in the place of a view's parquet, so that a reader sees either.

    Raises
    ------
    ConfigurationError
        The folder cannot be written to, or the disk is full; the old file is as it was.
    """
    _written_beside(path, table).replace(path)


def _written_beside(path: Path, table: pa.Table) -> Path:
    with _beside(path) as written:
        pq.write_table(table, written, **_WRITING)
    return written


_WRITING: dict[str, Any] = {"coerce_timestamps": "us"}


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield the path of a new file in a parquet's folder: it is on the disk afterwards, or gone.

    Raises
    ------
    ConfigurationError
        The folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".parquet")
        try:
            yield Path(temporary)
            os.fsync(handle)
        except BaseException:
            Path(temporary).unlink()
            raise
        finally:
            os.close(handle)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write {path}: {exc}", hint="is the disk full, or the folder read-only? Nothing was changed."
        ) from exc


# --- appending -------------------------------------------------------------------------------------------------------

# A file with that many row groups of so few rows is written anew, since reading it gets slow: one call in a hundred.
SMALL_GROUPS, SMALL_ROWS = 100, 10_000
_MAGIC = b"PAR1"  # begins a parquet, and ends it
_CHUNK = 16 << 20  # bytes that are copied at a time


class _CannotAppend(Exception):
    """Rows do not fit behind those of a file as they are: it has to be written anew."""


def _appended_beside(path: Path, fresh: pa.Table) -> Path:
    """Copy a view's parquet with new rows as row groups behind its own.

    A parquet's footer stands at its end and names the place of every row group. So the copy goes on behind the old footer with
    the new row groups and a footer that names old and new; the old footer's few bytes stay between them, read by nobody.
    """
    with _reading(path):
        footer, schema = pq.read_metadata(path), pq.read_schema(path)
    groups = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    if sum(rows < SMALL_ROWS for rows in groups) >= SMALL_GROUPS:
        raise _CannotAppend
    rows = _aligned(fresh, schema)
    with _beside(path) as written:
        with pa.OSFile(str(written), "wb") as sink:
            writer = pq.ParquetWriter(sink, schema, **_WRITING)  # begins with the magic bytes, as the old file does
            with pa.OSFile(str(path)) as stored:
                stored.seek(len(_MAGIC))
                while len(chunk := stored.read_buffer(_CHUNK)):
                    sink.write(chunk)
            writer.write_table(rows)
            end = sink.tell()
            writer.close()  # with a footer of the new row groups alone, which the whole one replaces
        try:
            footer.append_row_groups(writer.writer.metadata)
        except RuntimeError as exc:  # another writer laid out the same columns in another way
            raise _CannotAppend from exc
        whole = pa.BufferOutputStream()
        footer.write_metadata_file(whole)
        with written.open("r+b") as file:
            file.seek(end)
            file.write(whole.getvalue()[len(_MAGIC) :])
            file.truncate()
    return written


def _aligned(fresh: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a file, in its order; those that they lack are null."""
    if not set(fresh.column_names) <= set(schema.names):
        raise _CannotAppend
    columns = []
    for field in schema:
        index = fresh.schema.get_field_index(field.name)
        column = fresh.column(index) if index >= 0 else pa.nulls(fresh.num_rows, field.type)
        if column.type != field.type or (column.null_count and not field.nullable):
            raise _CannotAppend
        columns.append(column)
    return pa.table(columns, schema=schema)
