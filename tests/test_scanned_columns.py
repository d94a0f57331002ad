"""Rows of an answer become columns by their bytes, as the driver would read them."""

import struct
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feastra_nb.connection.wire.frames import Rows, UnusualAnswer
from feastra_nb.storage.scanned_columns import (
    BIGINT,
    BLOB,
    INT,
    NOTHING,
    TIMESTAMP,
    Column,
    columns_of_rows,
    columns_of_tuples,
    joined,
)

COLUMNS = [Column("k", BLOB), Column("n", BIGINT), Column("s", INT), Column("t", TIMESTAMP)]
PACK = {1: ">q", 2: ">i", 3: ">q"}
VALUES = st.tuples(
    st.binary(max_size=9),
    st.none() | st.integers(-(2**62), 2**62),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.integers(-(10**12), 10**12),
)


def on_the_wire(rows, before=b"head"):
    body = before
    for row in rows:
        for place, value in enumerate(row):
            if value is None:
                body += struct.pack(">i", -1)
            else:
                content = value if place == 0 else struct.pack(PACK[place], value)
                body += struct.pack(">i", len(content)) + content
    return Rows(body, len(before), len(rows), None)


def as_lists(columns):
    return [column.to_pylist() if isinstance(column, pa.Array) else column.tolist() for column in columns]


def told(rows):
    """The same rows as the driver gives them: an instant in whole milliseconds as a naive datetime."""
    return [
        (
            key,
            number,
            small,
            None if ms is None else datetime.fromtimestamp(0, timezone.utc).replace(tzinfo=None) + ms * MS,
        )
        for key, number, small, ms in rows
    ]


MS = (datetime(1970, 1, 1, 0, 0, 1) - datetime(1970, 1, 1)) / 1000  # noqa: DTZ001 - a length of time


@given(st.lists(VALUES, max_size=20))
def test_bytes_and_tuples_give_the_same_columns(rows):
    assert as_lists(columns_of_rows(on_the_wire(rows), COLUMNS)) == as_lists(columns_of_tuples(told(rows), COLUMNS))


def test_rows_of_one_width_are_those_of_any_width():
    rows = [(b"abc", number, 7, None) for number in range(50)]
    cut = columns_of_rows(on_the_wire(rows), COLUMNS)
    assert as_lists(cut) == [[b"abc"] * 50, list(range(50)), [7] * 50, [NOTHING] * 50]


def test_rows_that_have_one_length_by_chance_are_not_taken_for_rows_of_one_width():
    rows = [(b"abcd", 1, None, None), (b"", 2, 3, None)]  # 4 + 0 and 0 + 4 bytes
    assert as_lists(columns_of_rows(on_the_wire(rows), COLUMNS)) == [
        [b"abcd", b""],
        [1, 2],
        [NOTHING, 3],
        [NOTHING] * 2,
    ]


@pytest.mark.parametrize("spoil", [lambda body: body[:-1], lambda body: body + b"\0", lambda body: body[:4]])
def test_bytes_that_do_not_fit_are_an_unusual_answer(spoil):
    rows = on_the_wire([(b"a", 1, 2, 3), (b"bc", 1, 2, 3)])
    with pytest.raises(UnusualAnswer):
        columns_of_rows(rows._replace(body=spoil(rows.body)), COLUMNS)


def test_a_number_of_another_width_is_an_unusual_answer():
    with pytest.raises(UnusualAnswer, match="8 bytes"):
        columns_of_rows(Rows(struct.pack(">ii", 4, 1), 0, 1, None), [Column("n", BIGINT)])


def test_pages_are_joined_in_their_order():
    pages = [columns_of_rows(on_the_wire([(key, at, None, None)]), COLUMNS) for at, key in enumerate((b"a", b"b"))]
    assert as_lists(joined(pages, COLUMNS))[:2] == [[b"a", b"b"], [0, 1]]
    assert [len(column) for column in joined([], COLUMNS)] == [0, 0, 0, 0]
    assert isinstance(joined([], COLUMNS)[1], np.ndarray)
