"""`ws.cql`: rows as a DataFrame, our own tables decoded, pages, limits, and no secret in an error."""

import datetime as dt
import decimal
import uuid

import pandas as pd
import pytest
from nodes import KEYSPACE

from feastra_nb.errors import ConfigurationError, ReadOnly, RequestFailed, UnknownName
from feastra_nb.retrieval.cql import PAGE_ROWS, qualified

SECRET = "swordfish"  # noqa: S105 - looked for, and never found
TYPES = """
CREATE TABLE {table} (
  k int PRIMARY KEY, big bigint, small smallint, d double, f float, b boolean, t text, at timestamp, day date, hour time,
  dec decimal, huge varint, id uuid, bytes blob, tags set<text>, scores map<text, int>, list list<int>,
  pair frozen<tuple<int, text>>
)"""


@pytest.fixture
def table(ws, project):
    """A table of many types: one full row, one of nulls."""
    name = f"{KEYSPACE}.types_{project}"
    ws.cql(TYPES.format(table=name))
    ws.cql(
        f"INSERT INTO {name} (k, big, small, d, f, b, t, at, day, hour, dec, huge, id, bytes, tags, scores, list, pair) VALUES "
        "(1, 9007199254740993, 7, 0.1, 0.5, true, 'São', '2026-01-02 03:04:05.678Z', '2026-01-02', '03:04:05', 1.50, "
        "123456789012345678901234567890, 00000000-0000-4000-8000-000000000001, 0xcafe, {'b', 'a'}, {'x': 1}, [3, 1], (1, 'one'))"
    )
    ws.cql(f"INSERT INTO {name} (k) VALUES (2)")
    yield name
    ws.cql(f"DROP TABLE {name}")


def test_a_views_name_stands_for_its_table_and_its_rows_come_decoded(filled, events):
    rows = filled.cql("SELECT * FROM drivers")
    assert list(rows.columns) == [
        "driver", "event_us", "created_us", "arrived_us", "trips", "rating", "city", "active",
    ]  # fmt: skip
    got = rows.sort_values(["event_us", "driver"])
    wanted = events.sort_values(["event_timestamp", "driver"])
    for name in ("driver", "trips", "rating", "city"):
        assert got[name].tolist() == wanted[name].tolist()
    assert got["active"].dtype == "boolean"
    assert pd.to_datetime(got["event_us"], unit="us", utc=True).tolist() == wanted["event_timestamp"].tolist()


def test_keys_alone_and_payloads_alone_are_decoded(filled):
    assert sorted(filled.cql("SELECT DISTINCT entity_key FROM drivers")["driver"]) == [1, 2, 3]
    features = filled.cql('SELECT features FROM "drivers" PER PARTITION LIMIT 1')
    assert sorted(features["trips"]) == [6, 7, 8]


def test_what_is_no_plain_column_of_ours_is_left_as_it_is(filled):
    assert filled.cql("SELECT count(*) FROM drivers").iloc[0, 0] == 9
    assert filled.cql("SELECT event_us, features AS f FROM drivers LIMIT 1")["f"].map(type).tolist() == [bytes]


def test_values_lose_nothing(ws, table):
    rows = ws.cql(f"SELECT * FROM {table}").set_index("k")
    assert rows.loc[1].drop("at").to_dict() == {
        "big": 9007199254740993, "small": 7, "d": 0.1, "f": 0.5, "b": True, "t": "São", "day": dt.date(2026, 1, 2),
        "hour": dt.time(3, 4, 5), "dec": decimal.Decimal("1.50"), "huge": 123456789012345678901234567890,
        "id": uuid.UUID("00000000-0000-4000-8000-000000000001"), "bytes": b"\xca\xfe", "tags": ["a", "b"],
        "scores": {"x": 1}, "list": [3, 1], "pair": (1, "one"),
    }  # fmt: skip
    assert rows.loc[1, "at"] == pd.Timestamp("2026-01-02 03:04:05.678", tz="UTC")
    assert rows.loc[2].isna().all()
    dtypes = rows.dtypes.astype(str).to_dict()
    assert {name: dtypes[name] for name in ("big", "d", "b", "t", "at")} == {
        "big": "Int64", "d": "Float64", "b": "boolean", "t": "string", "at": "datetime64[us, UTC]",
    }  # fmt: skip


def test_rows_come_page_by_page_up_to_the_limit(ws, now):
    many = pd.DataFrame({"k": range(PAGE_ROWS + 5), "v": 1.0, "event_timestamp": now})
    ws.materialize(many, "many", keys=["k"], progress=False)
    some = ws.cql("SELECT * FROM many")
    assert (len(some), some.attrs["has_more"]) == (1_000, True)
    every = ws.cql("SELECT * FROM many", limit=None)
    assert (len(every), every.attrs["has_more"]) == (PAGE_ROWS + 5, False)
    assert sorted(every["k"]) == list(range(PAGE_ROWS + 5))
    exactly = ws.cql("SELECT * FROM many", limit=PAGE_ROWS + 5)
    assert (len(exactly), exactly.attrs["has_more"]) == (PAGE_ROWS + 5, False)
    with pytest.raises(ConfigurationError, match="limit=0"):
        ws.cql("SELECT * FROM many", limit=0)


def test_parameters_are_bound_and_never_pasted(filled, ws, table):
    hostile = "'; DROP TABLE drivers; --"
    ws.cql(f"INSERT INTO {table} (k, t) VALUES (?, ?)", [3, hostile])
    assert ws.cql(f"SELECT t FROM {table} WHERE k = ?", [3])["t"].tolist() == [hostile]
    limits = pd.Series([2])
    assert len(filled.cql("SELECT * FROM drivers LIMIT ?", [limits.iloc[0]])) == 2
    with pytest.raises(ConfigurationError, match="1 placeholders, and 2 values"):
        ws.cql(f"SELECT t FROM {table} WHERE k = ?", [3, 4])


def test_a_statement_that_answers_nothing_gives_no_columns(ws, table):
    assert ws.cql(f"UPDATE {table} SET t = 'x' WHERE k = 1").columns.tolist() == []
    applied = ws.cql(f"UPDATE {table} SET t = 'y' WHERE k = 1 IF t = 'z'")
    assert applied.iloc[0].tolist() == [False, "x"]


def test_a_comment_a_string_and_a_semicolon_are_no_obstacle(ws, table):
    assert ws.cql(f"-- SELECT 1 FROM nowhere\n SELECT t FROM {table} /* FROM x */ WHERE k = 2;\n").shape == (1, 1)


@pytest.mark.parametrize(
    ("statement", "whole"),
    [
        ("SELECT * FROM t", 'SELECT * FROM "ks".t'),
        ('select * from "My T" limit 1', 'select * FROM "ks"."My T" limit 1'),
        ("SELECT * FROM system.local", "SELECT * FROM system.local"),
        ('SELECT * FROM "system" . "local"', 'SELECT * FROM "system" . "local"'),
        ("SELECT 'FROM t' FROM t -- FROM t", "SELECT 'FROM t' FROM \"ks\".t -- FROM t"),
        ('SELECT $$FROM t$$, "FROM t" FROM t', 'SELECT $$FROM t$$, "FROM t" FROM "ks".t'),
    ],
)
def test_only_the_table_of_a_select_gets_the_keyspace(statement, whole):
    assert qualified(statement, "ks", {}) == whole


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_table_names_the_close_views(filled):
    with pytest.raises(UnknownName, match="no view or table 'driver'") as caught:
        filled.cql("SELECT * FROM driver")
    assert caught.value.hint == "did you mean drivers?"


def test_a_feature_as_a_column_says_where_features_lie(filled):
    with pytest.raises(UnknownName, match="'rating' is not a column") as caught:
        filled.cql("SELECT rating FROM drivers")
    assert "entity_key, features" in caught.value.hint


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELEC 1", "line 1:0 no viable alternative at input 'SELEC'"),
        ("SELECT nope FROM drivers", "Undefined column name nope"),
        ("SELECT * FROM drivers WHERE event_us = 1", "ALLOW FILTERING"),
    ],
)
def test_what_the_server_refuses_is_one_line_in_its_words(filled, statement, said):
    with pytest.raises(RequestFailed, match="the server refused the statement: ") as caught:
        filled.cql(statement)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "Error from server" not in caught.value.message


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE ROLE bob WITH PASSWORD = '{SECRET}' AND LOGN = true",
        f"CREATE ROLE bob WITH PASSWORD = $${SECRET}$$ AND LOGN = true",
        f"/*{SECRET}*/ CREATE ROLE bob WITH PASSWORD = '{SECRET}' AND LOGN = true",
        f"ALTER ROLE nobody WITH PASSWORD = '{SECRET}'",
        f"SELECT * FROM drivers WHERE entity_key = '{SECRET}'",
        f"SELECT * FROM drivers WHERE entity_key = 'x' AND '{SECRET}'",
        f"SELECT * FROM drivers WHERE token = '{SECRET}'",
        f"INSERT INTO nowhere.at_all (api_key) VALUES ('{SECRET}')",
        f"SELEC '{SECRET}'",
        f"USE '{SECRET}'",
    ],
)
def test_no_string_of_a_statement_is_in_its_error(filled, statement):
    with pytest.raises((RequestFailed, ConfigurationError, UnknownName)) as caught:
        filled.cql(statement)
    assert SECRET[:6] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_use_is_refused_and_nothing_is_no_statement(ws):
    with pytest.raises(ConfigurationError, match="USE would change"):
        ws.cql("use system")
    for nothing in ("", " ; ", "-- a comment"):
        with pytest.raises(ConfigurationError, match="no statement"):
            ws.cql(nothing)


def test_a_read_only_workspace_reads_and_refuses_to_write(filled, open_workspace):
    reader = open_workspace(read_only=True)
    assert len(reader.cql("SELECT * FROM drivers")) == 9
    assert "keyspace_name" in reader.cql("DESCRIBE KEYSPACES")
    for statement in ("TRUNCATE drivers", "/* SELECT */ DROP TABLE drivers", "BEGIN BATCH APPLY BATCH"):
        with pytest.raises(ReadOnly, match="read_only=True"):
            reader.cql(statement)
    assert len(filled.cql("SELECT * FROM drivers")) == 9
