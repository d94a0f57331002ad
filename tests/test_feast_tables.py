"""The tables of Feast's own Cassandra store: found, read, and turned into entities and rows of the log."""

import numpy as np
import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import reserialize_entity_v2_key_to_v3, serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.value_type import ValueType
from feasts_own import block, driver_view, feast_store, utc, write
from hypothesis import given, settings
from hypothesis import strategies as st

from feastra_nb.adapter import feast_tables
from feastra_nb.adapter.feast_cells import NO_US, FeastCells, log_rows, pivot
from feastra_nb.adapter.feast_keys import UNREADABLE, VERSION_2, VERSION_3, from_hex, parse_keys
from feastra_nb.codec.splicing import is_of_type, splice
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, KeyspaceNotFound

KEYSPACE = "tests_feasts_tables"

# --- keys --------------------------------------------------------------------------------------------------------------


def keys_of(values, version=3):
    key = EntityKey(join_keys=list(values), entity_values=list(values.values()))
    return serialize_entity_key(key, version)


def binary(*parts):
    return pa.array(parts, pa.large_binary())


@given(st.lists(st.binary(max_size=12), max_size=6), st.booleans())
def test_hex_texts_are_decoded_as_python_decodes_them(keys, upper):
    texts = [key.hex().upper() if upper else key.hex() for key in keys]
    decoded, is_hex = from_hex(pa.array(texts, pa.string()).slice(0))
    assert decoded.to_pylist() == keys
    assert is_hex.all()


def test_a_text_that_is_not_hex_leaves_its_neighbours_alone():
    decoded, is_hex = from_hex(pa.array(["00", "xx", None, "abc", "ff10"], pa.string()))
    assert decoded.to_pylist() == [b"\x00", b"", b"", b"", b"\xff\x10"]
    assert is_hex.tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("value", [Value(int64_val=-5), Value(string_val="Köln ☂"), Value(int32_val=7)])
@pytest.mark.filterwarnings("ignore:.*version < 3")
def test_a_key_of_version_2_becomes_one_of_version_3(value):
    kind = {"int64_val": ValueType.INT64, "string_val": ValueType.STRING, "int32_val": ValueType.INT32}
    values = {"driver": value}
    parsed = parse_keys(binary(keys_of(values, 2), keys_of(values, 3)), ["driver"], [kind[value.WhichOneof("val")]])
    assert parsed.version.tolist() == [VERSION_2, VERSION_3]
    assert parsed.keys.to_pylist() == [keys_of(values)] * 2


@pytest.mark.filterwarnings("ignore:.*version < 3")
def test_it_is_the_key_that_feast_makes_of_it():
    old = keys_of({"driver": Value(int64_val=7)}, 2)
    parsed = parse_keys(binary(old), ["driver"], [ValueType.INT64])
    assert parsed.keys[0].as_py() == reserialize_entity_v2_key_to_v3(old)


@pytest.mark.filterwarnings("ignore:.*version < 3")
def test_keys_of_several_join_keys_are_read_in_both_versions():
    values = {"b": Value(string_val="x"), "a": Value(int64_val=1)}
    stored = binary(keys_of(values, 2), keys_of(values, 3))
    parsed = parse_keys(stored, ["b", "a"], [ValueType.STRING, ValueType.INT64])
    assert parsed.version.tolist() == [VERSION_2, VERSION_3]
    assert parsed.keys[0] == parsed.keys[1]


def test_a_key_of_another_name_type_or_length_is_unreadable():
    right = keys_of({"driver": Value(int64_val=7)})
    others = [
        keys_of({"rider": Value(int64_val=7)}), keys_of({"driver": Value(int32_val=7)}), right + b"x", right[:-1], b"", b"?",
    ]  # fmt: skip
    parsed = parse_keys(binary(*others, right), ["driver"], [ValueType.INT64])
    assert parsed.version.tolist() == [UNREADABLE] * len(others) + [VERSION_3]
    assert parsed.keys.to_pylist() == [b""] * len(others) + [right]


# --- cells, entities, rows ---------------------------------------------------------------------------------------------


def cells_of(*rows):
    """Cells of (key, feature, value, event, written[, ttl[, created]])."""
    filled = [(*row, *(0, 0)[len(row) - 5 :]) for row in rows]
    columns = list(zip(*filled, strict=True)) if filled else [()] * 7
    numbers = [np.array(column, dtype=np.int64) for column in columns[3:]]
    texts = [pa.array([text.encode() for text in column], pa.large_binary()) for column in columns[:2]]
    values = pa.array(columns[2], pa.large_binary())
    return FeastCells.of_columns([*texts, values, *numbers])


SEVEN, EIGHT = (Value(int64_val=number).SerializeToString() for number in (7, 8))


def told(cells, features=("x", "y")):
    """The rows of the log as (key, event, arrived, ttl, [values])."""
    entities = pivot(cells, features)
    rows = log_rows(entities)
    payloads = rows.payloads(cells.value, range(len(features)))
    return [
        (
            entities.entity_key[entity].as_py().decode(), event, arrived, ttl,
            [val.int64_val if val.WhichOneof("val") else None for val in RepeatedValue.FromString(payload.as_py()).val],
        )
        for entity, event, arrived, ttl, payload in zip(
            rows.entity.tolist(), rows.event_us.tolist(), rows.arrived_us.tolist(), rows.ttl_s.tolist(), payloads, strict=True
        )
    ]  # fmt: skip


def test_features_of_one_event_are_one_row():
    assert told(cells_of(("0a", "x", SEVEN, 10, 11), ("0a", "y", EIGHT, 10, 12))) == [("0a", 10, 12, 0, [7, 8])]


def test_features_of_different_events_are_a_row_each_filled_forward():
    cells = cells_of(("0a", "x", SEVEN, 10, 11), ("0a", "y", EIGHT, 20, 21))
    assert told(cells) == [("0a", 10, 11, 0, [7, None]), ("0a", 20, 21, 0, [7, 8])]


def test_an_older_event_that_was_written_later_makes_another_row_of_the_newest():
    """Written at 31 it changes what the row of event 20 holds: a row that arrived at 31, and stands before the one of 21."""
    cells = cells_of(("0a", "x", SEVEN, 10, 31), ("0a", "y", EIGHT, 20, 21))
    assert told(cells)[-1] == ("0a", 20, 31, 0, [7, 8])


def test_a_null_and_a_feature_that_is_not_there_are_both_null():
    null = b"\x98\x01\x00"  # null_val, as some writers have it
    cells = cells_of(("0a", "x", b"", 10, 11), ("0b", "x", null, 10, 11))
    assert [values for *_row, values in told(cells)] == [[None, None]] * 2


def test_a_row_lives_as_long_as_the_last_value_of_its_event():
    cells = cells_of(("0a", "x", SEVEN, 10, 11, 50), ("0a", "y", EIGHT, 10, 11, 60), ("0b", "x", SEVEN, 10, 11, 50),
                     ("0b", "y", SEVEN, 10, 11, 0))  # fmt: skip
    assert [ttl for _key, _event, _arrived, ttl, _values in told(cells)] == [60, 0]


def test_features_that_the_view_has_not_are_counted_and_left_out():
    cells = cells_of(("0a", "gone", SEVEN, 10, 11), ("0a", "x", SEVEN, 10, 11), ("0b", "gone", SEVEN, 10, 11))
    entities = pivot(cells, ["x"])
    assert entities.unknown == {"gone": 2}
    assert [key for key, *_row in told(cells, ("x",))] == ["0a"]


def test_values_of_another_type_than_the_views_are_found():
    cells = cells_of(
        ("0a", "x", SEVEN, 1, 1), ("0b", "x", Value(string_val="a").SerializeToString(), 1, 1), ("0c", "x", b"", 1, 1)
    )
    found = pivot(cells, ["x"]).misfits({"x": ValueType.INT64})
    assert {name: places.tolist() for name, places in found.items()} == {"x": [1]}


@pytest.mark.parametrize("kind", ["STRING_LIST", "MAP", "STRUCT", "ZONED_TIMESTAMP", "DECIMAL", "BOOL"])
def test_the_type_of_any_value_is_told_without_reading_it(kind):
    field = f"{kind.lower()}_val"
    message = Value()
    getattr(message, field).SetInParent() if Value.DESCRIPTOR.fields_by_name[field].message_type else setattr(
        message, field, "1" if kind == "DECIMAL" else True
    )
    assert is_of_type(binary(message.SerializeToString()), ValueType[kind]).all()
    assert not is_of_type(binary(message.SerializeToString()), ValueType.INT64).any()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 4), st.data())
def test_spliced_bytes_are_those_of_protobuf(contents, positions, data):
    messages = [Value(bytes_val=content) for content in contents]
    place = np.array([data.draw(st.lists(st.integers(-1, len(messages) - 1), min_size=positions, max_size=positions))])
    expected = RepeatedValue(val=[messages[at] if at >= 0 else Value() for at in place[0]]).SerializeToString()
    assert splice(binary(*(message.SerializeToString() for message in messages)), place).to_pylist() == [expected]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4), st.integers(0, 9)),
        max_size=12, unique_by=lambda row: row[:2],
    )
)  # fmt: skip
def test_the_newest_row_of_an_entity_is_what_feast_serves(rows):
    rows = sorted(rows)
    cells = cells_of(
        *((f"0{key}", f"f{name}", Value(int64_val=place).SerializeToString(), event, written)
          for place, (key, name, event, written) in enumerate(rows))
    )  # fmt: skip
    features = ("f0", "f1", "f2")
    served = {f"0{key}": [None] * 3 for key, *_row in rows}
    for place, (key, name, *_times) in enumerate(rows):
        served[f"0{key}"][name] = place
    newest = {key: values for key, _event, _arrived, _ttl, values in told(cells, features)}
    assert newest == served


def test_an_entity_without_an_event_time_has_no_row():
    assert told(cells_of(("0a", "x", SEVEN, NO_US, 11))) == []


# --- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keyspace(ws):
    ws.session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    return KEYSPACE


@pytest.fixture
def feasts_own(node, keyspace, project, tmp_path):
    """A repository whose online store is Feast's own, with the view ``drivers``."""
    store = feast_store(tmp_path, block(node, keyspace), project, driver_view(tmp_path))
    yield store
    store._get_provider().online_store._cluster.shutdown()


@pytest.fixture
def db(feasts_own):
    opened = feast_tables.open_tables(feasts_own.config)
    yield opened
    feast_tables.close_tables(opened)


def test_the_table_of_a_view_is_found(db, project):
    tables = feast_tables.find_tables(db, project, ["drivers", "riders"])
    assert tables.of_views["drivers"].name == f"{project}_drivers"
    assert tables.missing == ("riders",)
    assert not tables.unfit
    assert not tables.orphans


def test_a_table_of_a_view_that_is_gone_is_an_orphan(db, project):
    assert feast_tables.find_tables(db, project, []).orphans == (f"{project}_drivers",)


def test_a_table_of_the_views_name_that_is_not_feasts_is_told(db, ws, project):
    ws.session.execute(f'CREATE TABLE {KEYSPACE}."{project}_riders" (entity_key text PRIMARY KEY, value blob)')
    ws.session.execute(f'CREATE TABLE {KEYSPACE}."{project}_rides" (entity_key blob, feature_name text, value blob, '
                       "event_ts timestamp, created_ts timestamp, PRIMARY KEY ((entity_key), feature_name))")  # fmt: skip
    unfit = feast_tables.find_tables(db, project, ["riders", "rides"]).unfit
    assert unfit == {
        "riders": "it has no column feature_name, event_ts, created_ts",
        "rides": "its column entity_key is blob, not text",
    }


def test_scyllas_table_with_its_vector_is_found_too(db, ws, project):
    key = "PRIMARY KEY ((entity_key), feature_name)"
    times = "event_ts timestamp, created_ts timestamp"
    columns = f"entity_key text, feature_name text, value blob, vector_value vector<float, 3>, {times}"
    ws.session.execute(f'CREATE TABLE {KEYSPACE}."{project}_docs" ({columns}, {key})')
    table = feast_tables.find_tables(db, project, ["docs"]).of_views["docs"]
    assert table.has_vector


def test_what_a_table_holds_is_read_with_the_time_of_each_write(db, feasts_own, project):
    write(feasts_own, "drivers", {1: (utc(2026, 1, 1), {"trips": 7, "city": "Köln"})})
    table = feast_tables.find_tables(db, project, ["drivers"]).of_views["drivers"]
    selected = ", ".join(cql for cql, _kind in table.cell_columns)
    rows = list(db.execute(f"SELECT {selected} FROM {table.qualified}", profile="read"))
    assert [row[1] for row in rows] == ["city", "trips"]
    assert all(isinstance(row[4], int) for row in rows)


def test_another_store_than_feasts_own_is_refused(ws):
    with pytest.raises(ConfigurationError, match="not Feast's own cassandra or scylladb"):
        feast_tables.open_tables(ws.feast.config)


def test_a_keyspace_that_is_not_there_is_named(feasts_own):
    feasts_own.config.online_store.keyspace = "nowhere"
    with pytest.raises(KeyspaceNotFound, match="nowhere"):
        feast_tables.open_tables(feasts_own.config)


def test_a_wrong_password_is_told(feasts_own):
    feasts_own.config.online_store.password = "wrong"  # noqa: S105
    with pytest.raises(AuthenticationFailed):
        feast_tables.open_tables(feasts_own.config)


def test_every_key_of_a_scylla_block_that_names_the_cluster_counts():
    opened = feast_tables.connection_block(
        {
            "type": "scylladb",
            "hosts": ["10.0.0.1"],
            "keyspace": "k",
            "local_dc": "eu",
            "vector_similarity_function": "COSINE",
        }
    )
    assert opened.hosts == ["10.0.0.1"]
    assert opened.load_balancing.local_dc == "eu"
