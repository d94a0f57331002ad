"""Scans by ranges of the ring: each row once, by both ways; what a node cannot answer at once, and what it never will."""

import tempfile
import threading
import time

import pandas as pd
import pyarrow as pa
import pytest
from cassandra.concurrent import execute_concurrent_with_args
from cql_proxy import OVERLOADED, READ_TIMEOUT, Proxy, answering, cut_in_the_middle, garbage, not_rows, silence
from nodes import KEYSPACE, NODE, workspaces

import feastra_nb as fnb
from feastra_nb.connection.cluster import WRITE, quoted
from feastra_nb.errors import CatalogConflict, ConfigurationError, RequestTimedOut
from feastra_nb.storage import scanning
from feastra_nb.storage.scanned_columns import BIGINT, BLOB, INT, NOTHING, TIMESTAMP, Column
from feastra_nb.storage.scanning import FailedRange, Pace, Scan, ScannedRange, scanned, token_ranges

ROWS = 3_000
COLUMNS = [Column("key", BLOB), Column("number", BIGINT), Column("WRITETIME(number)", BIGINT), Column("TTL(number)", INT),
           Column("at", TIMESTAMP), Column("token(key)", BIGINT)]  # fmt: skip


@pytest.fixture(params=[True, False], ids=["direct", "driver"])
def db(request, node, project, tmp_path):
    """The tests' keyspace behind a proxy, by both ways to the server."""
    proxy = Proxy((node.hosts[0], node.port))
    target = fnb.Hosts(
        ["127.0.0.1"], port=proxy.port, username=node.username, password=node.password.reveal(), direct=request.param,
        request_timeout_s=4, create_keyspace=True,
    )  # fmt: skip
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as connect:
        opened = connect(target).stores.online.db
        opened.proxy = proxy
        yield opened
    proxy.close()


@pytest.fixture(scope="module")
def table(node):
    """A table of `ROWS` partitions with a row each; every third number is null."""
    name = f"{quoted(KEYSPACE)}.scanned"
    at = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()
    with workspaces(project="scanned", keyspace=KEYSPACE) as connect, tempfile.TemporaryDirectory() as folder:
        db = connect(fnb.Local(name=NODE), directory=f"{folder}/.feastra").stores.online.db
        db.schema(f"CREATE TABLE {name} (key text PRIMARY KEY, number bigint, at timestamp)")
        rows = [(f"key {number}", None if number % 3 == 0 else number, at) for number in range(ROWS)]
        write(db, f"INSERT INTO {name} (key, number, at) VALUES (?, ?, ?) USING TTL 50000", rows)
    return name


def write(db, cql, rows):
    execute_concurrent_with_args(db.session, db.prepare(cql, WRITE), rows, concurrency=16)


def read(db, table, parts=8, **options):
    scan = Scan(db, "scanning a table", table, "key", COLUMNS)
    return list(scanned(scan, token_ranges(db, parts), **options))


def keys(parts):
    return [key.decode() for part in parts for key in part.columns[0].to_pylist()]


def test_each_row_is_read_once_and_in_the_order_of_the_ring(db, table):
    parts = read(db, table)
    assert sorted(keys(parts)) == sorted(f"key {number}" for number in range(ROWS))
    tokens = [token for part in parts for token in part.columns[5].tolist()]
    assert tokens == sorted(tokens)
    assert all(part.range.after < token <= part.range.upto for part in parts for token in part.columns[5].tolist())


def test_columns_hold_what_the_table_holds(db, table):
    for part in read(db, table):
        for key, number, written, ttl, at in zip(keys([part]), *part.columns[1:5], strict=True):
            expected = int(key.split()[1])
            assert number == (NOTHING if expected % 3 == 0 else expected)
            assert (written == NOTHING) == (ttl == NOTHING) == (expected % 3 == 0)
            assert ttl == NOTHING or 40_000 < ttl <= 50_000
            assert pd.Timestamp(at, unit="us") == pd.Timestamp("2026-01-01")


FAULTS = [cut_in_the_middle, silence, answering(OVERLOADED), answering(READ_TIMEOUT)]
BEYOND_THE_DRIVER = [garbage, not_rows]  # it takes them for an end


@pytest.mark.parametrize(
    ("db", "fault"),
    [(True, fault) for fault in [*FAULTS, *BEYOND_THE_DRIVER]] + [(False, fault) for fault in FAULTS],
    ids=lambda each: getattr(each, "__name__", "direct" if each is True else "driver"),
    indirect=["db"],
)
def test_what_fails_once_is_asked_for_again(db, table, fault):
    read(db, table)
    db.proxy.spoil(fault)
    assert sorted(keys(read(db, table))) == sorted(f"key {number}" for number in range(ROWS))
    assert db.proxy.spoilt == 1


def test_a_range_that_fails_for_good_is_reported_beside_the_others(db, table, monkeypatch):
    monkeypatch.setattr(scanning, "AGAIN_S", 0.01)
    ranges, whole = token_ranges(db, 8), scanning._Reader._read_page

    def lame(reader, part, *rest):
        if part == ranges[2]:
            raise RequestTimedOut("no answer in time")
        return whole(reader, part, *rest)

    monkeypatch.setattr(scanning._Reader, "_read_page", lame)
    parts = read(db, table)
    assert [part.range for part in parts if isinstance(part, FailedRange)] == [ranges[2]]
    assert [part.range for part in parts if isinstance(part, ScannedRange)] == [*ranges[:2], *ranges[3:]]


def test_a_node_that_answers_nothing_fails_every_range(db, table, monkeypatch):
    monkeypatch.setattr(scanning, "AGAIN_S", 0.01)
    read(db, table)
    db.proxy.spoil(answering(OVERLOADED), answers=10_000)
    assert {type(part) for part in read(db, table, parts=2)} == {FailedRange}
    db.proxy.spoil(answering(OVERLOADED), answers=0)


def test_a_table_that_is_not_there_is_an_error_at_once(db):
    with pytest.raises(CatalogConflict, match="nowhere"):
        read(db, f"{quoted(KEYSPACE)}.nowhere")


def test_more_tombstones_than_a_server_bears_in_a_page_are_read_in_smaller_ones(db, project):
    name = f"{quoted(KEYSPACE)}.{quoted(project)}"
    columns = [f"c{place}" for place in range(600)]
    db.schema(f"CREATE TABLE {name} (key text PRIMARY KEY, {', '.join(f'{column} int' for column in columns)})")
    # 180,000 tombstones; a server fails a page that meets more than 100,000.
    marks = ", ".join("?" * 601)
    rows = [(str(number), 1, *[None] * 599) for number in range(300)]
    write(db, f"INSERT INTO {name} (key, {', '.join(columns)}) VALUES ({marks})", rows)
    scan = Scan(db, "scanning", name, "key", [Column("key", BLOB), *(Column(column, INT) for column in columns)])
    parts = list(scanned(scan, token_ranges(db, 1), parallel=1))
    assert sorted(keys(parts)) == sorted(map(str, range(300)))
    assert pa.array(parts[0].columns[1]).unique().to_pylist() == [1]


def test_whoever_stops_in_the_middle_leaves_nothing_running(db, table):
    for part in scanned(Scan(db, "scanning", table, "key", COLUMNS), token_ranges(db, 8)):
        assert isinstance(part, ScannedRange)
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feastra-scan")]


def test_a_pace_is_kept_over_all_ranges(db, table):
    began_s = time.monotonic()
    parts = read(db, table, pace=Pace(ROWS * 2))
    assert len(keys(parts)) == ROWS
    assert time.monotonic() - began_s >= 0.4  # a lower bound: a busy machine only makes it longer


@pytest.mark.parametrize("pace", [0, -1, True, float("nan")])
def test_a_pace_that_is_none_is_refused(pace):
    with pytest.raises(ConfigurationError, match="rows_per_s"):
        Pace(pace)
