"""Values of every type that Feast has."""

import datetime as dt
import math
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
from feast.value_type import ValueType as T

from feastra_nb.codec import arrow_type

IDS = [str(uuid.UUID(int=number)) for number in range(3)]
COLUMNS = {
    T.BYTES: pa.array([b"\x00\xff", b"", None]),
    T.STRING: pa.array(["ü", "", None]),
    T.INT32: pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
    T.INT64: pa.array([-(2**63), 2**63 - 1, None]),
    T.DOUBLE: pa.array([5e-324, -math.inf, None]),
    T.FLOAT: pa.array([1.5, -0.0, None], pa.float32()),
    T.BOOL: pa.array([True, False, None]),
    T.UNIX_TIMESTAMP: pa.array([-(10**12), 10**15, None], pa.timestamp("us", tz="UTC")),
    T.NULL: pa.nulls(3),
    T.PDF_BYTES: pa.array([b"%PDF", b"", None]),
    T.IMAGE_BYTES: pa.array([b"PNG", b"", None]),
    T.JSON: pa.array(['{"a":1}', "[]", None], pa.large_string()),
    T.UUID: pa.array([*IDS[:2], None]),
    T.TIME_UUID: pa.array([*IDS[:2], None]),
    T.DECIMAL: pa.array(["1.50", "-1E+3", None]),
}
SORTED_SETS = {
    T.BYTES_SET: [[b"", b"a"], [], None],
    T.STRING_SET: [["", "a"], [], None],
    T.INT32_SET: [[-1, 0, 2**31 - 1], [], None],
    T.INT64_SET: [[-(2**63), 5], [], None],
    T.DOUBLE_SET: [[-math.inf, 0.5], [], None],
    T.FLOAT_SET: [[-0.5, 1.0], [], None],
    T.BOOL_SET: [[False, True], [], None],
    T.UNIX_TIMESTAMP_SET: [
        [dt.datetime(1960, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)],
        [],
        None,
    ],
    T.UUID_SET: [IDS[:2], [], None],
    T.TIME_UUID_SET: [IDS[:2], [], None],
    T.DECIMAL_SET: [["1.5", "2"], [], None],
}
LISTS = {
    T[f"{kind.name}_LIST"]: pa.array([column.to_pylist()[:2], [], None], pa.list_(column.type))
    for kind, column in COLUMNS.items()
    if f"{kind.name}_LIST" in T.__members__
}
COLUMNS |= {kind: pa.array(values, arrow_type(kind)) for kind, values in SORTED_SETS.items()} | LISTS
ZONED = [
    dt.datetime(2020, 7, 1, 12, tzinfo=ZoneInfo("America/New_York")),
    dt.datetime(1960, 1, 1, tzinfo=dt.timezone.utc),
    None,
]
OBJECTS = {
    T.MAP: [{"a": 1, "b": None, "c": {"d": "x"}, "e": [1.5]}, {}, None],
    T.MAP_LIST: [[{"a": 1}, {"b": "x"}], [], None],
    T.STRUCT: [{"a": 1, "b": "x"}, {}, None],
    T.STRUCT_LIST: [[{"a": 1, "b": True}], [], None],
    T.VALUE_LIST: [[[1, 2], [3]], [["x"]], None],
    T.VALUE_SET: [[[1, 2], [3]], [["x"]], None],
    T.SCALAR_MAP: [{1: "x", -2: None}, {Decimal("1.5"): 2}, None],
    T.ZONED_TIMESTAMP: ZONED,
    T.UNKNOWN: [1, "x", None],
}
