"""`frame_of` makes the same DataFrames as pyarrow, column by column."""

import datetime as dt
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from feastra_nb.codec import FeastValue
from feastra_nb.retrieval.dataframes import BACKENDS, frame_of, to_pandas

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone.utc)
VALUES = {
    pa.int32(): [1, -(2**31)],
    pa.int64(): [2**63 - 1, 0],
    pa.float32(): [0.5, float("nan")],
    pa.float64(): [1e300, float("nan")],
    pa.bool_(): [True, False],
    pa.string(): ["Köln", ""],
    pa.large_string(): ["{}", "x" * 300],
    pa.binary(): [b"\x00", b""],
    pa.timestamp("us", "UTC"): [AT, AT],
    pa.timestamp("us"): [AT.replace(tzinfo=None)] * 2,
    pa.list_(pa.int64()): [[1, 2], []],
    pa.list_(pa.string()): [["a"], []],
    pa.decimal128(5, 2): [Decimal("1.25"), Decimal("0.00")],
    pa.null(): [None, None],
}


def column_of(kind, rows, *, nulls):
    values = [VALUES[kind][number % 2] for number in range(rows)]
    return pa.array([None if nulls and number % 3 == 1 else value for number, value in enumerate(values)], kind)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("nulls", [False, True])
def test_every_type_alone_and_beside_all_others_is_as_pyarrow_has_it(backend, rows, nulls):
    columns = {str(kind): column_of(kind, rows, nulls=nulls) for kind in VALUES}
    for some in ({name: column} for name, column in columns.items()):
        pd.testing.assert_frame_equal(frame_of(some, backend), to_pandas(pa.table(some), backend))
    pd.testing.assert_frame_equal(frame_of(columns, backend), to_pandas(pa.table(columns), backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_are_dicts(backend):
    values = [Value(map_val={"val": {"a": Value(int64_val=1)}}).SerializeToString(), None]
    column = pa.ExtensionArray.from_storage(FeastValue(ValueType.MAP), pa.array(values, pa.large_binary()))
    columns = {"n": pa.array([1, None]), "map": column}
    frame = frame_of(columns, backend)
    assert frame["map"].iloc[0] == {"a": 1}
    assert frame["map"].isna().tolist() == [False, True]
    pd.testing.assert_frame_equal(frame, to_pandas(pa.table(columns), backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_columns_are_as_pyarrow_has_them(backend):
    pd.testing.assert_frame_equal(frame_of({}, backend), to_pandas(pa.table({}), backend))


@pytest.mark.parametrize("backend", ["numpy_nullable", "numpy"])
def test_a_frame_can_be_written_to(backend):
    column = pa.array([1.0, 2.0])
    frame = frame_of({"a": column, "b": column, "t": pa.array([AT, AT])}, backend)
    frame.loc[0, "a"] = 9.0
    assert frame["b"].tolist() == [1.0, 2.0]
    assert column.to_pylist() == [1.0, 2.0]
