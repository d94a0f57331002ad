"""The stored bytes are Feast's own, every value type survives, and what cannot be stored is refused by name."""

import datetime as dt
import json
import math
import pickle
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import given, settings
from hypothesis import strategies as st
from values import COLUMNS, IDS, OBJECTS

from feastra_nb.codec import (
    FeastValue,
    UnknownPositions,
    arrow_type,
    decode_entity_keys,
    decode_payloads,
    encode_entity_keys,
    encode_payloads,
    value_counts,
)
from feastra_nb.codec.columns import epoch_us
from feastra_nb.codec.value_types import kind_of
from feastra_nb.codec.wire_format import varint, varints
from feastra_nb.errors import CatalogConflict, ConfigurationError, InvalidFrame

T = ValueType
INT64_EDGES = [0, 1, -1, 127, 128, 255, 256, 2**31 - 1, -(2**31), 2**53 + 1, 2**56, 2**63 - 1, -(2**63)]
DOUBLE_EDGES = [0.0, -0.0, 1.5, math.inf, -math.inf, 5e-324, -2.2e-308, 1.7976931348623157e308]
TEXT_EDGES = ["", "a", "ü→🦜", "x" * 127, "x" * 128, "y" * 10_000, "nul\0inside"]
INSTANTS = st.integers(-(10**12), 10**12)  # seconds, far beyond Feast's own years 1 to 9999
WIDE = settings(max_examples=60, deadline=None)


def feast_values(column, value_type):
    """Convert as Feast's own materialization does, but for nulls, which are null."""
    # Feast refuses its own arrays as lists of maps
    arrays = column.to_pylist() if value_type is T.MAP_LIST else column.to_numpy(zero_copy_only=False)
    values = python_values_to_proto_values(arrays, value_type)
    return [value if valid else Value() for value, valid in zip(values, column.is_valid().to_pylist(), strict=True)]


def as_payloads(*value_columns):
    rows = zip(*value_columns, strict=True)
    return [RepeatedValue(val=list(row)).SerializeToString(deterministic=True) for row in rows]


def assert_as_feast(column, value_type, values=None):
    values = feast_values(column, value_type) if values is None else values
    assert encode_payloads([column], [value_type], len(column)).to_pylist() == as_payloads(values)


def round_trip(column, value_type):
    [decoded] = decode_payloads(encode_payloads([column], [value_type], len(column)), [0], [value_type])
    assert decoded.type == arrow_type(value_type)
    decoded.validate(full=True)
    return decoded


def nullable(strategy, **options):
    return st.lists(st.none() | strategy, max_size=20, **options)


ELEMENTS = {
    T.INT32: (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    T.INT64: (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.sampled_from(INT64_EDGES)),
    T.DOUBLE: (pa.float64(), st.floats(width=64) | st.sampled_from(DOUBLE_EDGES)),
    T.FLOAT: (pa.float32(), st.floats(width=32)),
    T.BOOL: (pa.bool_(), st.booleans()),
    T.STRING: (pa.string(), st.text() | st.sampled_from(TEXT_EDGES)),
    T.BYTES: (pa.binary(), st.binary() | st.just(b"\xff" * 300)),
    T.UNIX_TIMESTAMP: (pa.timestamp("us", tz="UTC"), INSTANTS.map(lambda seconds: seconds * 1_000_000)),
}


@pytest.mark.parametrize("value_type", list(ELEMENTS), ids=lambda kind: kind.name)
def test_scalar_bytes_are_those_of_feast(value_type):
    arrow, strategy = ELEMENTS[value_type]

    @WIDE
    @given(nullable(strategy))
    def check(values):
        column = pa.array(values, arrow)
        # integers with nulls lose digits in Feast's way over float64, so they are compared as Python values
        exact = python_values_to_proto_values(values, value_type) if pa.types.is_integer(arrow) else None
        if value_type is T.BYTES and not any(values):
            # Feast drops empty bytes to null when a batch holds no others
            exact = [Value() if value is None else Value(bytes_val=value) for value in values]
        assert_as_feast(column, value_type, exact)

    check()


@pytest.mark.parametrize("value_type", list(ELEMENTS), ids=lambda kind: kind.name)
def test_list_bytes_are_those_of_feast(value_type):
    arrow, strategy = ELEMENTS[value_type]
    list_type = T[f"{value_type.name}_LIST"]
    # Feast's own years end at 9999
    within = (
        st.integers(-(2 * 10**9), 2 * 10**9).map(lambda s: s * 1_000_000)
        if value_type is T.UNIX_TIMESTAMP
        else strategy
    )

    @WIDE
    @given(nullable(st.lists(within, max_size=6)))
    def check(values):
        assert_as_feast(pa.array(values, pa.list_(arrow)), list_type)

    check()


@pytest.mark.parametrize("value_type", list(ELEMENTS), ids=lambda kind: kind.name)
def test_scalars_and_lists_round_trip(value_type):
    arrow, strategy = ELEMENTS[value_type]

    def same(left, right):
        return left == right or (isinstance(left, float) and math.isnan(left) and right is None)

    @WIDE
    @given(nullable(strategy), nullable(st.lists(strategy, max_size=6)))
    def check(scalars, lists):
        column = pa.array(scalars, arrow)
        decoded = round_trip(column, value_type)
        pairs = zip(column.to_pylist() if value_type is not T.UNIX_TIMESTAMP else column.cast(pa.int64()).to_pylist(),
                    decoded.to_pylist() if value_type is not T.UNIX_TIMESTAMP else decoded.cast(pa.int64()).to_pylist(),
                    strict=True)  # fmt: skip
        assert all(same(left, right) for left, right in pairs)
        nested = pa.array(lists, pa.list_(arrow))
        assert round_trip(nested, T[f"{value_type.name}_LIST"]).equals(nested) or "nan" in str(lists)

    check()


@pytest.mark.parametrize(
    ("value_type", "column"),
    [
        (T.DOUBLE, pa.array([*DOUBLE_EDGES, math.nan, None])),
        (T.FLOAT, pa.array([1.111, 3.4e38, 1e300, -1e300, 1e-46, math.nan, None, -0.0])),
        (T.FLOAT, pa.array([1, 16_777_217, 2**60])),
        (T.DOUBLE, pa.array([1, None, 3])),
        (T.INT64, pa.array([True, False])),
        (T.BOOL, pa.array([0, 1])),
        (T.STRING, pa.array([1, -2])),
        (T.STRING, pa.array([True, None])),
        (T.STRING, pa.array([0.1, 1e22, 1.0])),
        (T.STRING, pa.array([dt.date(1969, 12, 31)])),
        (T.STRING, pa.array([Decimal("1.50"), None])),
        (T.STRING, pa.array(TEXT_EDGES).dictionary_encode()),
        (T.STRING, pa.array(TEXT_EDGES, pa.large_string())),
        (T.DOUBLE, pa.array([Decimal("0.1"), Decimal("123456789.987654321"), None])),
        (T.DECIMAL, pa.array([Decimal("1.50"), Decimal("0.0000000001"), None])),
        (T.DECIMAL, pa.array(["1.50", "-1E+3", "NaN"])),
        (T.DECIMAL_LIST, pa.array([[Decimal("1.50"), Decimal("0E-8")], [], None])),
        (T.UUID, pa.array(["A190d3fb-b5ee-4798-b871-a044ea830df5", None])),
        (T.TIME_UUID_LIST, pa.array([["a190d3fb-b5ee-4798-b871-a044ea830df5"], None, []])),
        (T.JSON, pa.array(['{"b": 1,  "a": [1.0]}', None, "1"])),
        (T.JSON, pa.array([{"b": 1, "a": "x"}])),
        (T.JSON_LIST, pa.array([["1", "{}", None], [], None])),
        (T.UNIX_TIMESTAMP, pa.array([dt.date(1969, 12, 31), None])),
        (T.INT64_LIST, pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))),
        (T.FLOAT_LIST, pa.array([[1e300, math.nan]])),
        (T.PDF_BYTES, pa.array([b"%PDF", b"", None])),
        (T.IMAGE_BYTES, pa.array([b"\x89PNG"])),
        (T.MAP, pa.array([{"b": 1, "a": None, "c": {"d": [1.5]}}, None])),
        (T.MAP, pa.array(['{"b": 1, "a": "x"}'])),
        (T.MAP_LIST, pa.array([[{"a": 1}, {"a": 2}], None])),
        (T.STRUCT, pa.array([{"z": 1, "a": "x"}, None])),
        (T.STRUCT_LIST, pa.array([[{"z": 1, "a": "x"}], []])),
        (T.VALUE_LIST, pa.array([[[1, 2], [3], []], None])),
    ],
    ids=lambda value: value.name if isinstance(value, ValueType) else str(value.type)[:30],
)
def test_conversion_is_that_of_feast(value_type, column):
    assert_as_feast(column, value_type)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_timestamps_become_whole_seconds_as_feast_materializes_them(unit, zone):
    column = pa.array([-1_500_001, -1, 0, None, 1_999_999, 1_700_000_000], pa.timestamp(unit, tz=zone))
    assert_as_feast(column, T.UNIX_TIMESTAMP)


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_timestamps_inside_lists_are_cut_toward_zero(unit):
    per_second = {"us": 10**6, "ns": 10**9}[unit]
    column = pa.array([[-per_second // 2, -3 * per_second // 2, None], [], None], pa.list_(pa.timestamp(unit)))
    micros = column.cast(pa.list_(pa.timestamp("us")))  # Feast stores nanoseconds inside lists as if they were seconds
    assert_as_feast(column, T.UNIX_TIMESTAMP_LIST, feast_values(micros, T.UNIX_TIMESTAMP_LIST))
    assert round_trip(column, T.UNIX_TIMESTAMP_LIST).cast(pa.list_(pa.int64())).to_pylist() == [
        [0, -1_000_000, None],
        [],
        None,
    ]


def test_the_null_timestamp_of_feast_reads_as_null():
    payload = RepeatedValue(val=[Value(unix_timestamp_val=-(2**63))]).SerializeToString()
    assert decode_payloads([payload], [0], [T.UNIX_TIMESTAMP])[0].to_pylist() == [None]


@pytest.mark.parametrize(
    ("value_type", "column", "stored"),
    [
        (T.INT64_LIST, pa.array([[1, None, 3]]), [1, 0, 3]),
        (T.BOOL_LIST, pa.array([[True, None]]), [True, False]),
        (T.STRING_LIST, pa.array([["a", None]]), ["a", ""]),
        (T.BYTES_LIST, pa.array([[b"a", None]]), [b"a", b""]),
        (T.INT64_LIST, pa.array([[None]]), [0]),
    ],
    ids=lambda value: value.name if isinstance(value, ValueType) else "",
)
def test_null_inside_a_list_becomes_the_default_of_feast(value_type, column, stored):
    assert_as_feast(column, value_type, python_values_to_proto_values(column.to_pylist(), value_type))
    assert round_trip(column, value_type).to_pylist() == [stored]


@pytest.mark.parametrize("value_type", [T.DOUBLE_LIST, T.FLOAT_LIST])
def test_null_inside_a_list_of_floats_becomes_nan(value_type):
    column = pa.array([[1.0, None, math.nan], [None]])
    assert_as_feast(column, value_type)
    assert np.isnan(round_trip(column, value_type).to_pylist()[0][1])


def test_every_value_type_is_covered():
    assert set(COLUMNS) | set(OBJECTS) == set(ValueType)
    by_number = {field.number: field.name for field in Value.DESCRIPTOR.fields}
    for value_type in set(COLUMNS) - {T.NULL}:
        field = (
            by_number[int.from_bytes(kind_of(value_type).tag, "little") >> 3 & 0xF] if value_type.value < 16 else None
        )
        assert field in (None, f"{value_type.name.lower()}_val")


@pytest.mark.parametrize("value_type", list(COLUMNS), ids=lambda kind: kind.name)
def test_plain_type_round_trips_exactly(value_type):
    column = COLUMNS[value_type]
    decoded = round_trip(column, value_type)
    assert decoded.equals(column.cast(decoded.type))


@pytest.mark.parametrize("value_type", list(COLUMNS), ids=lambda kind: kind.name)
def test_feast_reads_what_was_encoded(value_type):
    payloads = encode_payloads([COLUMNS[value_type]], [value_type], 3)
    [first, _, null] = [RepeatedValue.FromString(payload).val[0] for payload in payloads.to_pylist()]
    assert null == Value()
    if value_type is not T.NULL:
        read = feast_value_type_to_python_type(first)
        same = python_values_to_proto_values([read], value_type)[0]
        assert feast_value_type_to_python_type(same) == read


@pytest.mark.parametrize("value_type", list(OBJECTS), ids=lambda kind: kind.name)
def test_object_type_round_trips_as_the_python_objects_of_feast(value_type):
    messages = [
        python_values_to_proto_values([value], value_type)[0] if value is not None else Value()
        for value in OBJECTS[value_type]
    ]
    expected = [feast_value_type_to_python_type(message) for message in messages]
    stored = pa.array([message.SerializeToString() or None for message in messages], pa.large_binary())
    column = pa.ExtensionArray.from_storage(FeastValue(value_type), stored)
    decoded = round_trip(column, value_type)
    assert decoded.to_pylist() == expected
    assert decoded[0].as_py() == expected[0]
    assert round_trip(decoded, value_type).equals(decoded)


def test_maps_come_from_arrow_maps_structs_and_json():
    expected = [{"b": 1, "a": 2}]
    for column in (
        pa.array([[("b", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
        pa.array([{"b": 1, "a": 2}]),
        pa.array(['{"b": 1, "a": 2}']),
    ):
        assert round_trip(column, T.MAP).to_pylist() == expected


def test_scalar_maps_come_from_arrow_maps():
    column = pa.array([[(2, "b"), (1, "a")], None], pa.map_(pa.int64(), pa.string()))
    assert round_trip(column, T.SCALAR_MAP).to_pylist() == [{1: "a", 2: "b"}, None]


def test_zoned_timestamps_keep_their_zone():
    column = pa.array([1_600_000_000_000_000, None], pa.timestamp("us", tz="America/New_York"))
    decoded = round_trip(column, T.ZONED_TIMESTAMP).to_pylist()
    assert decoded[0].tzinfo == ZoneInfo("America/New_York")
    assert decoded[0].timestamp() == 1_600_000_000


@pytest.mark.parametrize(
    ("value_type", "one", "other"),
    [
        (T.INT64_SET, pa.array([[3, 1, 3, 2]]), pa.array([[1, 2, 3]])),
        (T.STRING_SET, pa.array([["b", "a", "b"]]), pa.array([["a", "b"]])),
        (T.DOUBLE_SET, pa.array([[math.nan, -0.0, math.nan]]), pa.array([[0.0, math.nan]])),
        (T.BOOL_SET, pa.array([[True, False, True]]), pa.array([[False, True]])),
        (T.MAP, pa.array(['{"a": {"x": 1, "y": 2}, "b": 1}']), pa.array(['{"b": 1, "a": {"y": 2, "x": 1}}'])),
        (T.SCALAR_MAP,
         pa.array([[(2, 1), (1, 1)]], pa.map_(pa.int64(), pa.int64())),
         pa.array([[(1, 1), (2, 1)]], pa.map_(pa.int64(), pa.int64()))),
        (T.VALUE_SET, pa.array([[[2], [1], [2]]]), pa.array([[[1], [2]]])),
    ],
    ids=lambda value: value.name if isinstance(value, ValueType) else "",
)  # fmt: skip
def test_equal_sets_and_maps_have_equal_bytes(value_type, one, other):
    assert encode_payloads([one], [value_type], 1) == encode_payloads([other], [value_type], 1)


def mixed_columns(rows, seed=0):
    chance = np.random.default_rng(seed)
    nulls = chance.random(rows) < 0.3
    texts = ["t" * int(length) for length in chance.integers(0, 200, rows)]
    lists = [list(range(int(length))) for length in chance.integers(0, 5, rows)]
    columns = [
        pa.array(chance.normal(size=rows)),
        pa.array(chance.integers(-(2**62), 2**62, rows), mask=nulls),
        pa.array(texts, mask=nulls),
        pa.array(chance.integers(0, 2, rows).astype(bool)),
        pa.array(lists, pa.list_(pa.int64())),
        pa.array([[text, ""] for text in texts], mask=nulls),
        pa.array(chance.normal(size=rows).astype(np.float32), mask=nulls),
    ]
    return columns, [T.DOUBLE, T.INT64, T.STRING, T.BOOL, T.INT64_LIST, T.STRING_LIST, T.FLOAT]


def test_many_rows_of_mixed_columns_equal_feast_and_round_trip():
    rows = 20_000  # more than one block
    columns, types = mixed_columns(rows)
    payloads = encode_payloads(columns, types, rows)
    picked = [*range(50), *range(16_350, 16_420), rows - 1]
    values = [
        python_values_to_proto_values(column.take(picked).to_pylist(), value_type)
        for column, value_type in zip(columns, types, strict=True)
    ]
    assert payloads.take(pa.array(picked)).to_pylist() == as_payloads(*values)
    order = [3, 0, 6, 1, 5, 2, 4]
    decoded = decode_payloads(payloads, order, [types[position] for position in order])
    assert all(array.equals(columns[position]) for array, position in zip(decoded, order, strict=True))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_slices_and_chunks_are_as_good_as_whole_arrays(rows):
    columns, types = mixed_columns(30)
    expected = encode_payloads([column.slice(5, rows) for column in columns], types, rows)
    copied = encode_payloads([pa.array(c.to_pylist()[5 : 5 + rows], c.type) for c in columns], types, rows)
    chunked = [pa.chunked_array([c.slice(5, rows // 2), c.slice(5 + rows // 2, rows - rows // 2)]) for c in columns]
    assert expected.to_pylist() == copied.to_pylist() == encode_payloads(chunked, types, rows).to_pylist()
    whole = encode_payloads(columns, types, 30)
    for payloads in (whole.slice(5, rows), pa.chunked_array([whole.slice(5, rows)]), whole.slice(5, rows).to_pylist()):
        decoded = decode_payloads(payloads, range(7), types)
        assert [array.to_pylist() for array in decoded] == [column.slice(5, rows).to_pylist() for column in columns]


def test_null_rows_with_content_underneath_stay_null():
    lists = pa.ListArray.from_arrays([0, 2, 3], pa.array([1, 2, 3]), mask=pa.array([True, False]))
    texts = pa.StringArray.from_buffers(2, *pa.array(["ab", "c"]).buffers()[1:], pa.py_buffer(b"\x02"))
    payloads = encode_payloads([lists, texts], [T.INT64_LIST, T.STRING], 2)
    assert payloads.to_pylist()[0] == b"\n\x00\n\x00"
    assert [a.to_pylist() for a in decode_payloads(payloads, [0, 1], [T.INT64_LIST, T.STRING])] == [
        [None, [3]],
        [None, "c"],
    ]


@pytest.mark.parametrize(
    "encoded",
    [
        pa.array(["b", "a", "b"]).dictionary_encode(),
        pa.chunked_array([pa.array(["b"]).dictionary_encode(), pa.array(["a", "b"]).dictionary_encode()]),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(["b", "a", "b"])),
        pa.array(["b", "a", "b"], pa.string_view()),
        pa.array([b"b", b"a", b"b"], pa.binary(1)),
    ],
    ids=lambda column: str(column.type)[:25],
)
def test_encoded_texts_are_plain_texts(encoded):
    assert round_trip(encoded, T.STRING).to_pylist() == ["b", "a", "b"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2], None, [3]], pa.large_list(pa.int64())),
        pa.array([[1, 2], None, [3]], pa.list_view(pa.int64())),
        pa.array([[1, 2], None, [3]], pa.list_(pa.int8())),
        pa.array([[1.0, 2.0], None, [3.0]]),
        pa.array([[1, 2], None, [3]], pa.list_(pa.decimal128(5, 0))),
    ],
    ids=lambda column: str(column.type),
)
def test_lists_of_any_arrow_kind_are_lists(column):
    assert round_trip(column, T.INT64_LIST).to_pylist() == [[1, 2], None, [3]]


def test_whole_floats_with_nulls_are_integers():
    assert round_trip(pa.array([1.0, None, math.nan, -3.0]), T.INT64).to_pylist() == [1, None, None, -3]


def test_integers_beyond_2_to_53_keep_every_digit_beside_nulls():
    assert round_trip(pa.array([2**53 + 1, None]), T.INT64).to_pylist() == [2**53 + 1, None]


def test_holes_are_empty_values():
    payloads = encode_payloads([None, pa.array([1])], [None, T.INT64], 1)
    assert payloads.to_pylist() == as_payloads([Value()], [Value(int64_val=1)])
    assert encode_payloads([None, None], [T.INT64, None], 2).to_pylist() == [b"\n\x00\n\x00"] * 2


def test_no_columns_and_no_rows_work():
    assert encode_payloads([], [], 2).to_pylist() == [b"", b""]
    assert encode_payloads([], [], 0).to_pylist() == []
    assert encode_payloads([pa.array([], pa.int64()), None], [T.INT64, None], 0).to_pylist() == []
    assert [len(array) for array in decode_payloads([], [0, 1], [T.INT64, T.STRING_LIST])] == [0, 0]
    assert decode_payloads([b"\n\x00"], [], []) == []


def test_missing_payloads_and_short_rows_are_null():
    old = encode_payloads([pa.array([1])], [T.INT64], 1)[0].as_py()
    new = encode_payloads([pa.array([2]), pa.array(["x"])], [T.INT64, T.STRING], 1)[0].as_py()
    first, second, third = decode_payloads([old, None, new, b""], [0, 1, 5], [T.INT64, T.STRING, T.MAP])
    assert first.to_pylist() == [1, None, 2, None]
    assert second.to_pylist() == [None, None, "x", None]
    assert third.to_pylist() == [None] * 4
    assert first.null_count == 2


def test_a_position_can_be_asked_twice():
    payloads = encode_payloads([pa.array([1])], [T.INT64], 1)
    assert [array.to_pylist() for array in decode_payloads(payloads, [0, 0], [T.INT64] * 2)] == [[1], [1]]


@pytest.mark.parametrize("rows", [0, 1, 3, 16, 17, 400])
def test_few_rows_are_decoded_as_many_are(rows, monkeypatch):
    columns, types = mixed_columns(rows)
    columns, types = columns * 2, types * 2
    payloads = encode_payloads(columns, types, rows).to_pylist()
    payloads[1::3] = [None] * len(payloads[1::3])
    payloads[2::5] = [b""] * len(payloads[2::5])
    order = [13, 3, 0, 6, 1, 8, 5, 2, 4, 3, 12]
    wanted = [types[position] for position in order]
    few = decode_payloads(payloads, order, wanted, known=len(types))
    monkeypatch.setattr("feastra_nb.codec.payloads.FEW_ROWS", -1)
    many = decode_payloads(payloads, order, wanted, known=len(types))
    assert all(one.type == other.type and one.equals(other) for one, other in zip(few, many, strict=True))


@pytest.mark.parametrize("rows", [1, 16, 17, 600])
def test_more_values_than_are_known_are_told(rows):
    narrow = encode_payloads([pa.array([1] * rows), None], [T.INT64, None], rows).to_pylist()
    wide = encode_payloads([pa.array([1]), None, pa.array(["x"])], [T.INT64, None, T.STRING], 1).to_pylist()
    assert decode_payloads(narrow, [0], [T.INT64], known=2)[0].to_pylist() == [1] * rows
    for known in (0, 1):
        with pytest.raises(UnknownPositions):
            decode_payloads(narrow, [0][:known], [T.INT64][:known], known=known)
    with pytest.raises(UnknownPositions):
        decode_payloads([*narrow[:-1], *wide], [0], [T.INT64], known=2)
    assert decode_payloads([*narrow[:-1], *wide], [0], [T.INT64])[0].to_pylist() == [1] * rows


@pytest.mark.parametrize("rows", [1, 5, 20])
@pytest.mark.parametrize(
    "damaged",
    [
        b"\n", b"\n\x05", b"\x12\x00", b"\n\x00\x0b", b"\n" + b"\xff" * 11, b"\n\x02\x20\xff", b"\n\x02\x12\x01",
        b"\n\x03\x12\x01\xff",
    ],
)  # fmt: skip
def test_damage_is_told_alike_in_few_rows_and_in_many(rows, damaged, monkeypatch):
    payloads = [*[b"\n\x00\n\x00"] * (rows - 1), damaged]

    def message(value_type):
        try:
            return [column.to_pylist() for column in decode_payloads(payloads, [0, 1], [value_type] * 2, known=2)]
        except CatalogConflict as error:
            return error.message

    types = (T.INT64, T.STRING, T.DOUBLE, T.STRING_LIST)
    few = [message(value_type) for value_type in types]
    monkeypatch.setattr("feastra_nb.codec.payloads.FEW_ROWS", -1)
    assert few == [message(value_type) for value_type in types]
    assert any(isinstance(each, str) for each in few)


def test_a_null_column_is_null_of_every_type():
    for value_type in ValueType:
        assert round_trip(pa.nulls(2), value_type).to_pylist() == [None, None]


def test_values_are_counted():
    payloads = encode_payloads([pa.array(["x" * 200, None]), None], [T.STRING, None], 2).to_pylist()
    assert value_counts([*payloads, None, b"\n\x00", b""]).tolist() == [2, 2, 0, 1, 0]


@pytest.mark.parametrize(
    ("value_type", "column", "complaint"),
    [
        (T.INT32, pa.array([1, 2**31, 5, -(2**40)]), "row 1 holds 2147483648, row 3 holds"),
        (T.INT64, pa.array([2**63], pa.uint64()), "row 0 holds 9223372036854775808"),
        (T.INT64, pa.array([None, 1.5]), "row 1 holds 1.5"),
        (T.INT64, pa.array([2.0**63]), "row 0"),
        (T.INT64, pa.array([None, "7"]), "row 1 holds '7'"),
        (T.INT64, pa.array([0], pa.timestamp("us")), "timestamp"),
        (T.INT64, pa.array([[1]]), "row 0"),
        (T.DOUBLE, pa.array(["1.5"]), "string"),
        (T.DOUBLE, pa.array([2**53 + 1]), "row 0 holds 9007199254740993"),
        (T.DOUBLE, pa.array([True]), "bool"),
        (T.BOOL, pa.array([0, 1, 2]), "row 2 holds 2"),
        (T.BOOL, pa.array(["True"]), "string"),
        (T.STRING, pa.array([b"ok", b"\xff"]), "row 1"),
        (T.STRING, pa.array([0], pa.timestamp("us")), "row 0"),
        (T.BYTES, pa.array([1]), "row 0 holds 1"),
        (T.UNIX_TIMESTAMP, pa.array(["2020-01-01"]), "row 0 holds '2020-01-01'"),
        (T.UNIX_TIMESTAMP, pa.array([0], pa.duration("s")), "row 0"),
        (T.UNIX_TIMESTAMP, pa.array([0, 2**62], pa.int64()), "row 1"),
        (T.INT32_LIST, pa.array([[1], None, [2, 2**40]]), "row 2 holds 1099511627776"),
        (T.INT64_LIST, pa.array([[1.0, math.nan]]), "row 0 holds nan"),
        (T.INT64_LIST, pa.array([None, 1]), "row 1 holds 1"),
        (T.STRING_LIST, pa.array(["abc"]), "row 0 holds 'abc'"),
        (T.STRING_SET, pa.array([["a"], ["a", None]]), "rows [1]"),
        (T.UUID_LIST, pa.array([[None]], pa.list_(pa.string())), "rows [0]"),
        (T.UUID, pa.array([IDS[0], "zz"]), "row 1 holds 'zz'"),
        (T.DECIMAL, pa.array(["1.5", "one"]), "row 1 holds 'one'"),
        (T.DECIMAL, pa.array([1.5]), "double"),
        (T.JSON, pa.array(["1", "{bad"]), "row 1 holds '{bad'"),
        (T.MAP, pa.array(["{}", "[1]"]), "row 1 holds '[1]'"),
        (T.SCALAR_MAP, pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "row 0"),
        (T.ZONED_TIMESTAMP, pa.array([None, 1]), "row 1 holds 1"),
        (T.NULL, pa.array([None, 1]), "row 1 holds 1"),
    ],
    ids=lambda value: value.name if isinstance(value, ValueType) else "",
)
def test_what_cannot_be_stored_is_refused_by_column_and_row(value_type, column, complaint):
    with pytest.raises(InvalidFrame) as caught:
        encode_payloads([None, column], [None, value_type], len(column), names=["other", "delay"])
    assert "'delay'" in caught.value.message
    assert value_type.name in caught.value.message
    assert complaint in caught.value.message


def test_offending_values_are_shown_short():
    with pytest.raises(InvalidFrame) as caught:
        encode_payloads([pa.array(["x" * 1000])], [T.INT64], 1)
    assert len(caught.value.message) < 200


def test_columns_of_another_length_are_refused():
    with pytest.raises(InvalidFrame, match="1 values for 2 rows"):
        encode_payloads([pa.array([1])], [T.INT64], 2)


@pytest.mark.parametrize(
    ("payload", "value_type"),
    [
        (Value(int32_val=1), T.INT64),
        (Value(string_val="x"), T.BYTES),
        (Value(int64_list_val={"val": [1]}), T.INT64),
        (Value(double_val=1), T.FLOAT),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_a_conflict(payload, value_type):
    payloads = [None, RepeatedValue(val=[Value(), payload]).SerializeToString()]
    with pytest.raises(CatalogConflict, match=f"position 1 of row 1: a value of another type than {value_type.name}"):
        decode_payloads(payloads, [1], [value_type])


def test_a_conflict_names_the_row_also_far_down():
    payloads = [*[None] * 20_000, b"\x12\x00"]
    with pytest.raises(CatalogConflict, match="position 0 of row 20000: not a RepeatedValue"):
        decode_payloads(payloads, [0], [T.INT64])


def test_text_that_is_not_utf8_is_a_conflict():
    as_bytes = RepeatedValue(val=[Value(bytes_val=b"\xff")]).SerializeToString()
    with pytest.raises(CatalogConflict, match="position 0"):
        decode_payloads([as_bytes.replace(b"\x03\n", b"\x03\x12")], [0], [T.STRING])


def test_counting_garbage_is_a_conflict():
    with pytest.raises(CatalogConflict, match="position 1 of row 0"):
        value_counts([b"\n\x00\x12"])


def test_object_columns_survive_pickling():
    messages = pa.array([Value(map_val={}).SerializeToString(), None], pa.large_binary())
    column = pa.ExtensionArray.from_storage(FeastValue(T.MAP), messages)
    assert pickle.loads(pickle.dumps(column)).to_pylist() == [{}, None]  # our own bytes


@WIDE
@given(st.binary(max_size=40))
def test_garbage_is_a_conflict_or_what_protobuf_reads(garbage):
    for value_type in (T.INT64, T.STRING, T.DOUBLE, T.INT64_LIST, T.STRING_LIST, T.FLOAT_LIST, T.MAP):
        for blob in (garbage, b"\n" + varint(len(garbage)) + garbage):
            try:
                [column] = decode_payloads([blob], [0], [value_type])
            except CatalogConflict:
                continue
            if value_type is not T.MAP and column[0].is_valid:
                value = RepeatedValue.FromString(blob)
                name = "val" if value_type.name.endswith("LIST") else None
                read = getattr(value.val[0], value.val[0].WhichOneof("val"))
                assert str(list(read.val) if name else read) == str(column[0].as_py())


KEY_COLUMNS = {
    T.STRING: (pa.string(), st.text()),
    T.BYTES: (pa.binary(), st.binary(min_size=1)),  # Feast makes null of b"" in a batch that holds no others
    T.INT32: (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    T.INT64: (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    T.UNIX_TIMESTAMP: (pa.timestamp("s", tz="UTC"), st.integers(-(2 * 10**9), 2 * 10**9)),
}


@WIDE
@given(st.data())
def test_entity_keys_are_those_of_feast_and_round_trip(data):
    names = data.draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
    types = [data.draw(st.sampled_from(list(KEY_COLUMNS))) for _ in names]
    rows = data.draw(st.integers(0, 5))
    columns = [
        pa.array(data.draw(st.lists(KEY_COLUMNS[kind][1], min_size=rows, max_size=rows)), KEY_COLUMNS[kind][0])
        for kind in types
    ]
    keys = encode_entity_keys(names, types, columns)
    assert keys.type == pa.binary()
    values = [
        python_values_to_proto_values(column.to_pylist(), kind) for column, kind in zip(columns, types, strict=True)
    ]
    assert keys.to_pylist() == [
        serialize_entity_key(EntityKey(join_keys=names, entity_values=[v[row] for v in values]), 3)
        for row in range(rows)
    ]
    for given_keys in (keys, keys.to_pylist(), pa.chunked_array([keys])):
        decoded = decode_entity_keys(given_keys, names, types)
        assert all(
            d.type == arrow_type(k) and d.equals(c.cast(d.type))
            for d, c, k in zip(decoded, columns, types, strict=True)
        )


def test_entity_keys_of_slices_chunks_and_dictionaries():
    whole = pa.array(["c", "a", "b", "a"])
    expected = encode_entity_keys(["k"], [T.STRING], [pa.array(["a", "b"])]).to_pylist()
    for column in (whole.slice(1, 2), pa.chunked_array([["a"], ["b"]]), whole.dictionary_encode().slice(1, 2)):
        assert encode_entity_keys(["k"], [T.STRING], [column]).to_pylist() == expected


def test_a_float_column_of_whole_keys_gives_the_keys_of_integers():
    floats = encode_entity_keys(["k"], [T.INT64], [pa.array([1.0, 2.0])])
    assert floats.equals(encode_entity_keys(["k"], [T.INT64], [pa.array([1, 2])]))


@pytest.mark.parametrize("column", [pa.array([1, None, 3, None]), pa.array([1.0, math.nan, 3.0, None])])
def test_null_keys_are_refused_by_row(column):
    with pytest.raises(InvalidFrame, match=r"'id' is null in 2 of 4 rows, first 1, 3"):
        encode_entity_keys(["id", "a"], [T.INT64, T.INT64], [column, pa.array([1, 2, 3, 4])])


def test_key_types_that_feast_cannot_serialize_are_refused():
    with pytest.raises(ConfigurationError, match="'x' is DOUBLE"):
        encode_entity_keys(["x"], [T.DOUBLE], [pa.array([1.0])])


def test_key_columns_of_different_lengths_are_refused():
    with pytest.raises(InvalidFrame, match="'b' has 1 rows, 'a' has 2"):
        encode_entity_keys(["a", "b"], [T.INT64, T.INT64], [pa.array([1, 2]), pa.array([1])])


@pytest.mark.parametrize(
    ("names", "types"),
    [(["id"], [T.INT32]), (["ix"], [T.INT64]), (["id", "b"], [T.INT64, T.INT64]), (["id"], [T.STRING])],
)
def test_keys_of_other_names_or_types_are_a_conflict(names, types):
    keys = encode_entity_keys(["id"], [T.INT64], [pa.array([1])])
    with pytest.raises(CatalogConflict):
        decode_entity_keys(keys, names, types)


@pytest.mark.parametrize("cut", range(27))
def test_truncated_keys_are_a_conflict(cut):
    [key] = encode_entity_keys(["id"], [T.INT64], [pa.array([1])]).to_pylist()
    with pytest.raises(CatalogConflict):
        decode_entity_keys([key[:cut]], ["id"], [T.INT64])


@pytest.mark.parametrize("zone", [None, "Asia/Kolkata"])
@pytest.mark.parametrize(("unit", "factor"), [("s", 10**6), ("ms", 10**3), ("us", 1)])
def test_instants_of_every_unit_are_microseconds(unit, factor, zone):
    values = epoch_us(pa.array([-1, None, 7], pa.timestamp(unit, tz=zone)))
    assert values.tolist() == [-factor, 0, 7 * factor]
    assert values.dtype == np.int64


def test_nanoseconds_are_rounded_down_and_dates_are_midnight():
    assert epoch_us(pa.array([-1, 1_999], pa.timestamp("ns"))).tolist() == [-1, 1]
    days = [dt.date(1969, 12, 31), dt.date(1970, 1, 2)]
    for kind in (pa.date32(), pa.date64()):
        assert epoch_us(pa.array(days, kind)).tolist() == [-86_400_000_000, 86_400_000_000]
    assert epoch_us(pa.chunked_array([pa.array([], pa.timestamp("us"))])).tolist() == []
    assert epoch_us(pa.nulls(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    "column", [pa.array([1]), pa.array(["2020-01-01"]), pa.array([2**62], pa.timestamp("s"))], ids=lambda c: str(c.type)
)
def test_what_is_no_instant_is_refused(column):
    with pytest.raises(InvalidFrame, match=r"'event_timestamp'.* row 0"):
        epoch_us(column, name="event_timestamp")


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_varints_are_those_of_protobuf(values):
    cells = varints(np.array(values, dtype=np.uint64)).strings()
    assert cells.to_pylist() == [varint(value) for value in values]


def test_json_text_is_kept_as_it_is():
    text = json.dumps({"b": 1, "a": [1, 2]}, indent=2)
    assert round_trip(pa.array([text]), T.JSON).to_pylist() == [text]
