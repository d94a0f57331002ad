"""Answers become columns while later requests are on their way: many chunks, few tuples at a time, errors midway."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cassandra.protocol import SyntaxException
from hypothesis import given, settings
from hypothesis import strategies as st

from feastra_nb.errors import RequestFailed
from feastra_nb.storage import asking, reader, rows
from feastra_nb.storage.catalog import ViewEntry

WINDOW, CHUNK = 4, 64  # requests in flight, rows
KEYS = [f"key {number}".encode() for number in range(1_000)]
ENTRY = ViewEntry("p", "v", 1, 1, (), (), retain="all")

numbers = st.integers(-(2**63), 2**63 - 1)
stored = st.tuples(st.binary(max_size=9), numbers, numbers, numbers, st.none() | st.binary(max_size=40))


class Row(tuple):  # noqa: SLOT001 - nothing else is kept
    """A tuple that is counted while it lives."""

    alive = most = 0

    def __new__(cls, values):
        Row.alive += 1
        Row.most = max(Row.most, Row.alive)
        return super().__new__(cls, values)

    def __del__(self):
        Row.alive -= 1


class Answer:
    """Stands for the driver's future and for its result: two pages of rows, of three events a key."""

    def __init__(self, keys, error):
        pages = [[(key, us, 0, 9, b"payload of " + key) for key in keys for us in events] for events in ((7, 5), (3,))]
        self.current_rows, self._next = ([Row(row) for row in page] for page in pages)
        self._error = error

    def result(self):
        if self._error:
            raise self._error
        return self

    @property
    def paging_state(self):
        return self._next or None


class Session:
    """Answers every request, except for that of a number; keeps the answers, as the driver's timer does."""

    def __init__(self, fails=None):
        self.kept, self._fails = [], fails
        self.cluster = SimpleNamespace(metadata=SimpleNamespace(token_map=None, all_hosts=list))

    def send(self, keys, profile, paging_state=None, timeout_s=None):  # noqa: ARG002 - the database's signature
        if paging_state is not None:
            rest = SimpleNamespace(current_rows=paging_state, paging_state=None)
            return SimpleNamespace(result=lambda: rest)
        self.kept.append(Answer(keys, SyntaxException(0, "no", None) if len(self.kept) == self._fails else None))
        return self.kept[-1]


@pytest.fixture
def database(monkeypatch):
    """Return a database over a fake session, whose requests are the lists of their keys."""
    monkeypatch.setattr(asking.Query, "statement", lambda query: query.wire_values[0])
    monkeypatch.setattr(reader, "_blobs", list)
    monkeypatch.setattr(rows, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(Row, "most", 0)
    prepared = SimpleNamespace()
    return lambda session: SimpleNamespace(
        session=session,
        send=session.send,
        exchange=lambda _profile: None,
        read_window=WINDOW,
        keyspace="ks",
        prepare=lambda _cql, _profile: prepared,
    )


READS = [reader.read_newest, reader.read_history]


@given(st.lists(st.lists(stored, max_size=5), max_size=8), st.integers(1, 7))
def test_rows_are_the_same_however_they_come_and_are_cut(answers, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK_ROWS", chunk)
        found = rows.gathered(answers)
    columns = found.entity_key, found.event_us, found.created_us, found.arrived_us, found.features
    expected = [row for answer in answers for row in answer]
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert [str(column.type) for column in (found.entity_key, found.features)] == ["binary", "large_binary"]
    assert {found.event_us.dtype, found.created_us.dtype, found.arrived_us.dtype} == {np.dtype(np.int64)}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 60).map(lambda number: b"%d" % number), max_size=30), max_size=12))
def test_distinct_keys_are_counted_whatever_comes_together(parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_COMPACT_KEYS", 10)
        distinct = rows.Distinct()
        for part in parts:
            distinct.add(pa.array(part, pa.binary()))
        assert distinct.count() == len({key for part in parts for key in part})


@pytest.mark.parametrize("read", READS)
def test_every_answer_is_in_the_result_and_few_tuples_exist_at_a_time(database, read):
    session = Session()
    found = read(database(session), ENTRY, KEYS, reader.Bounds(0, 100))
    assert len(session.kept) == len(KEYS) // reader.IN_KEYS
    assert sorted(zip(found.entity_key.to_pylist(), found.event_us.tolist(), strict=True)) == sorted(
        (key, us) for key in KEYS for us in (3, 5, 7)
    )
    # What is in flight, what waits to become columns, and the page at hand; of 3,000 rows.
    assert Row.most <= (WINDOW + 2) * reader.IN_KEYS * 3 + CHUNK
    assert Row.alive == 0


@pytest.mark.parametrize("read", READS)
def test_after_an_error_midway_no_request_is_sent(database, read):
    session = Session(fails=10)
    with pytest.raises(RequestFailed, match="view v"):
        read(database(session), ENTRY, KEYS, reader.Bounds(0, 100))
    assert len(session.kept) <= 10 + WINDOW + 1


@pytest.mark.parametrize("read", READS)
def test_ctrl_c_midway_ends_a_read(database, read, monkeypatch):
    session = Session()
    taken = []

    def interrupted(_db, _request, answer, *, profile):
        taken.append(answer)
        if len(taken) == 5:
            raise KeyboardInterrupt
        return iter([])

    monkeypatch.setattr(asking, "pages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(database(session), ENTRY, KEYS, reader.Bounds(0, 100))
    assert len(session.kept) <= 5 + WINDOW


def test_many_keys_come_in_the_order_asked_for(ws, now, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK_ROWS", 97)
    frame = pd.DataFrame({"id": range(1_500), "event_timestamp": now, "a": [str(n) for n in range(1_500)]})
    ws.materialize(frame, "many", keys=["id"], progress=False)
    asked = np.random.default_rng(3).integers(0, 1_600, 4_000)
    expected = [str(number) if number < 1_500 else pd.NA for number in asked]
    for options in ({}, {"as_of": now}, {"as_of": now, "known_at": pd.Timestamp.now(tz="UTC")}):
        read = ws.online("many:a", {"id": asked}, **options)
        assert read["id"].tolist() == asked.tolist()
        assert read["a"].tolist() == expected


def test_a_history_longer_than_a_page_is_read_whole(ws, now, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK_ROWS", 10)
    times = [now - pd.Timedelta(seconds=second) for second in range(100)]
    ws.materialize(
        pd.DataFrame({"id": [1, 2] * 50, "event_timestamp": times, "a": range(100)}),
        "long",
        keys=["id"],
        progress=False,
    )
    opened, entry = ws.store.open(ws.feast.config), ws.store.entry(ws.feast.config, ws.view("long"))
    keys = [key for (key,) in opened.db.session.execute(f'SELECT DISTINCT entity_key FROM tests."{entry.table}"')]
    monkeypatch.setattr(opened.db.session, "default_fetch_size", 7)
    found = reader.read_history(opened.db, entry, keys, reader.Bounds(reader.BEGINNING_US, reader.END_US))
    assert len(found) == len(set(found.event_us.tolist())) == 100
    for key in keys:
        mine = found.event_us[np.array(found.entity_key.to_pylist()) == key].tolist()
        assert mine == sorted(mine, reverse=True)
