"""The parquet that holds a view's offline history: one file a view, replaced as a whole so that it is never half-written."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.frames import CREATED, TIMESTAMP_US, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


def path_of(directory: Path, view: str) -> Path:
    """Return the path of a view's parquet; any character that a view's name may have is safe in it."""
    return directory / "offline" / f"{quote(view, safe=' ')}.parquet"


def merge(
    path: Path, table: pa.Table, roles: Columns, *, now_us: int, automatic: bool
) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Add a frame's rows to a view's parquet, but for those it already holds with the same content.

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

    Returns
    -------
    pa.Table
        The n rows, each with its created time if the view has one.
    ndarray
        Shape (n,): which rows were already there.

    Raises
    ------
    InvalidFrame
        A column's type does not fit the stored one.
    """
    if automatic:
        roles = Columns(roles.keys, roles.timestamp, CREATED, roles.features)
        table = table.append_column(CREATED, _instants(np.full(table.num_rows, now_us)))
    if not path.exists():
        replace(path, table)
        return table, np.zeros(table.num_rows, dtype=bool)
    table = _fit(table, pq.read_schema(path))
    stored_us, known = _stored(path, table, roles, automatic=automatic)
    if automatic:
        place = table.schema.get_field_index(CREATED)
        table = table.set_column(place, CREATED, _instants(np.where(known, stored_us, now_us)))
    if not known.all():
        fresh = table.filter(pa.array(~known))
        replace(path, pa.concat_tables([pq.read_table(path), fresh], promote_options="default"))
    return table, known


def _instants(at_us: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(at_us, pa.timestamp("us")).cast(TIMESTAMP_US)


def _fit(table: pa.Table, stored: pa.Schema) -> pa.Table:
    for name in stored.names:
        index = table.schema.get_field_index(name)
        if index < 0 or table.schema.field(index).type == stored.field(name).type:
            continue  # a column that is the file's alone is null in the new rows
        try:
            table = table.set_column(index, name, table.column(index).cast(stored.field(name).type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise InvalidFrame(
                f"column {name!r} is {table.schema.field(index).type} and was {stored.field(name).type} before: {exc}",
                hint="cast it, or materialize under another view name",
            ) from exc
    return table


def _stored(
    path: Path, table: pa.Table, roles: Columns, *, automatic: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return for each row the created time of its like in the file, and whether it has one there.

    With a created column of our making the like is the newest version of the same event; with the user's own it is the
    row of the same event and created time.
    """
    import duckdb

    stored_names = set(pq.read_schema(path).names)
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
    with duckdb.connect() as connection:
        connection.register("frame", table.append_column("feastra row", pa.array(np.arange(table.num_rows))))
        found = connection.execute(
            f"""
            WITH stored AS (
                SELECT * FROM read_parquet(?, file_row_number = true)
                QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {created} DESC, file_row_number DESC) = 1
            )
            SELECT f."feastra row" AS row, coalesce(epoch_us({"s." * (roles.created is not None)}{created}), 0) AS created_us
            FROM frame f JOIN stored s ON {matches}
            """,
            [str(path)],
        ).fetchnumpy()
    stored_us = np.zeros(table.num_rows, dtype=np.int64)
    known = np.zeros(table.num_rows, dtype=bool)
    rows = np.asarray(found["row"], dtype=np.int64)
    stored_us[rows] = np.asarray(found["created_us"], dtype=np.int64)
    known[rows] = True
    return stored_us, known


def sql_name(name: str) -> str:
    """Return a column's name as DuckDB's SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def replace(path: Path, table: pa.Table) -> None:
    """Write a parquet beside the old one and put it in its place, so that a reader sees either.

    Raises
    ------
    ConfigurationError
        The folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".parquet")
        try:
            with os.fdopen(handle, "wb") as file:
                pq.write_table(table, file, coerce_timestamps="us")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write {path}: {exc}", hint="is the disk full, or the folder read-only? Nothing was changed."
        ) from exc


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the workspace folder's lock, so that two kernels do not merge into one file at the same time."""
    import fcntl

    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
