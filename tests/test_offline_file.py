"""A view's parquet: rows are added behind those that it holds, whoever wrote it."""

import resource

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feastra_nb.errors import ConfigurationError
from feastra_nb.materialization import offline_file
from feastra_nb.materialization.frames import Columns

ROLES = Columns(("driver",), "event_timestamp", None, ("rating", "cities"))
NOW_US = 1_700_000_000_000_000


def rows(first, count):
    """Return rows of drivers ``first`` to ``first + count - 1``, each with an event of its own."""
    ids = np.arange(first, first + count)
    cities = [None if n % 3 == 0 else ["Köln"] * (n % 3) for n in ids]
    return pa.table(
        {
            "driver": ids,
            "event_timestamp": pa.array(NOW_US + ids, pa.timestamp("us", "UTC")),
            "rating": ids / 4,
            "cities": pa.array(cities, pa.list_(pa.string())),
        }
    )


def add(path, table, *, automatic=True):
    staged = offline_file.stage(path, table, ROLES, now_us=NOW_US, automatic=automatic)
    staged.commit()
    return staged


def read(path):
    """Return a file's rows without their created times; Arrow, pandas and DuckDB agree on them."""
    import duckdb

    table = pq.read_table(path)
    assert len(pd.read_parquet(path)) == table.num_rows
    assert duckdb.sql(f"SELECT count(*), sum(driver) FROM '{path}'").fetchone() == (
        table.num_rows,
        pc.sum(table["driver"]).as_py(),
    )
    return table.drop_columns([name for name in table.column_names if name == "feastra_created"])


def test_added_rows_leave_the_bytes_of_the_others_where_they_are(tmp_path):
    path = tmp_path / "drivers.parquet"
    add(path, rows(0, 20_000))
    before = path.read_bytes()
    add(path, rows(20_000, 1))
    assert path.read_bytes()[: len(before)] == before
    assert read(path).equals(rows(0, 20_001))
    assert pq.read_metadata(path).num_row_groups == 2


def test_a_file_of_many_small_row_groups_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(offline_file, "SMALL_GROUPS", 10)
    path = tmp_path / "drivers.parquet"
    for number in range(15):
        add(path, rows(number, 1))
    assert pq.read_metadata(path).num_row_groups == 5
    assert read(path).equals(rows(0, 15))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_calls_of_any_size_make_the_file_of_one_call(tmp_path_factory, counts):
    path = tmp_path_factory.mktemp("offline") / "drivers.parquet"
    first = 0
    for count in counts:
        add(path, rows(first, count))
        first += count
    assert read(path).equals(rows(0, first))


@pytest.mark.parametrize(
    "write",
    [
        lambda table, path: table.to_pandas().to_parquet(path),
        lambda table, path: table.to_pandas().set_index("driver", drop=False).to_parquet(path, compression="zstd"),
        lambda table, path: pq.write_table(table, path, use_dictionary=False, version="1.0", row_group_size=3),
        lambda table, path: pq.write_table(table, path, use_deprecated_int96_timestamps=True),
        lambda table, path: pq.write_table(table, path, write_page_index=True, data_page_version="2.0"),
        lambda table, path: pq.write_table(table.select([3, 2, 1, 0]), path),
        lambda table, path: pq.write_table(
            table.cast(pa.schema([table.schema.field(0).with_nullable(nullable=False), *list(table.schema)[1:]])), path
        ),
    ],
    ids=["pandas", "pandas-index", "version-1", "int96", "page-index", "other-order", "required"],
)
def test_files_that_others_wrote_take_rows_too(tmp_path, write):
    path = tmp_path / "drivers.parquet"
    write(rows(0, 10), path)
    add(path, rows(10, 1), automatic=False)
    add(path, rows(11, 1), automatic=False)
    stored = read(path)
    assert stored.select(rows(0, 0).column_names).cast(rows(0, 0).schema).equals(rows(0, 12))


def test_a_new_column_is_null_in_the_rows_before(tmp_path):
    path = tmp_path / "drivers.parquet"
    add(path, rows(0, 3).drop_columns(["cities"]))
    add(path, rows(3, 2))
    assert read(path)["cities"].to_pylist() == [None, None, None, None, ["Köln"]]


def test_a_file_that_ends_too_early_is_named_and_left(tmp_path):
    path = tmp_path / "drivers.parquet"
    add(path, rows(0, 5))
    path.write_bytes(path.read_bytes()[:-9])
    damaged = path.read_bytes()
    with pytest.raises(Exception, match=r"drivers\.parquet cannot be read"):
        add(path, rows(5, 1))
    assert path.read_bytes() == damaged
    assert [file.name for file in tmp_path.iterdir()] == ["drivers.parquet"]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "drivers.parquet"
    add(path, rows(0, 5_000))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match="is the disk full"):
            add(path, rows(5_000, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["drivers.parquet"]
