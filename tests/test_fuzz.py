"""Frames, entities and instants of every kind: stored and read back exactly on both sides, or refused with nothing changed.

``make fuzz`` tries two thousand frames; each run of the tests tries a hundred through the store, and two thousand
entities, instants and durations before it.
"""

import datetime as dt
import itertools
import math
import os
import string
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import traces

from feastra_nb.errors import ConfigurationError, FeastraError, InvalidFrame
from feastra_nb.retrieval.entities import Entities
from feastra_nb.times import duration, instants

FRAMES = int(os.environ.get("FEASTRA_FUZZ", "100"))  # through the store
PURE = 4 * FRAMES  # of each kind that needs no store
NOW = pd.Timestamp.now(tz="UTC").floor("us")
SLOW = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]
_numbers = itertools.count()


def fuzz(examples):
    return settings(max_examples=examples, deadline=None, suppress_health_check=SLOW, database=None, print_blob=True)


# --- frames ----------------------------------------------------------------------------------------------------------

texts = st.text(max_size=5)
odd_texts = st.text(st.characters(), max_size=5)  # with surrogates
names = st.one_of(
    st.text(string.ascii_letters + "_ :@.'\"\\\0é漢{}%$;", min_size=0, max_size=6),
    st.sampled_from(
        [
            "event_timestamp",
            "feastra_created",
            "entity_row_id",
            "select",
            "K",
            "a__b",
            "ts",
            "feature",
            "row",
            "x" * 300,
        ]
    ),
)
whole = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - naive, as people have them


def column(draw, rows):
    """Return a column of some dtype, with nulls or without."""

    def several(of, *, nulls=True):
        return draw(st.lists(st.none() | of if nulls and draw(st.booleans()) else of, min_size=rows, max_size=rows))

    def exact(dtype):
        info = np.iinfo(dtype)
        return pd.Series(several(st.integers(int(info.min), int(info.max)), nulls=False), dtype=dtype)

    listed = [whole, texts, st.booleans(), st.floats(width=32)]
    kinds = {
        "ints": lambda: exact(draw(st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]))),
        "floats": lambda: pd.Series(several(st.floats(width=32)), dtype=draw(st.sampled_from(["float32", "float64"]))),
        "nullable": lambda: pd.Series(several(whole), dtype="Int64"),
        "bools": lambda: pd.Series(several(st.booleans(), nulls=False), dtype="bool"),
        "boolean": lambda: pd.Series(several(st.booleans()), dtype="boolean"),
        "texts": lambda: pd.Series(several(texts), dtype=draw(st.sampled_from(["object", "string"]))),
        "odd texts": lambda: pd.Series(several(odd_texts), dtype="object"),
        "categories": lambda: pd.Series(several(texts), dtype="object").astype("category"),
        "bytes": lambda: pd.Series(several(st.binary(max_size=5)), dtype="object"),
        "times": lambda: pd.Series(pd.to_datetime(several(moments), utc=True)).dt.as_unit("us"),
        "naive times": lambda: pd.Series(pd.to_datetime(several(moments))).dt.as_unit("us"),
        "dates": lambda: pd.Series(several(st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1))), dtype="object"),
        "lists": lambda: pd.Series(several(st.lists(draw(st.sampled_from(listed)), max_size=3)), dtype="object"),
        "lists with nulls": lambda: pd.Series(several(st.lists(st.none() | whole, max_size=3)), dtype="object"),
        "sparse": lambda: pd.Series(pd.arrays.SparseArray(several(st.integers(0, 3), nulls=False))),
        "decimals": lambda: pd.Series(several(st.decimals(-100, 100, places=2)), dtype="object"),
        "mixtures": lambda: pd.Series(several(st.one_of(texts, whole, st.booleans(), moments)), dtype="object"),
        "dicts": lambda: pd.Series([{"a": 1}] * rows, dtype="object"),
        "durations": lambda: pd.Series(pd.to_timedelta(several(st.integers(0, 10**9)), unit="us")),
        "nulls": lambda: pd.Series([None] * rows, dtype="object"),
    }  # fmt: skip
    return kinds[draw(st.sampled_from(list(kinds)))]()


def keys(draw, rows):
    kinds = {
        "ints": lambda: pd.Series(draw(st.lists(st.integers(-3, 3), min_size=rows, max_size=rows)), dtype="int64"),
        "texts": lambda: pd.Series(draw(st.lists(texts, min_size=rows, max_size=rows)), dtype="object"),
        "bytes": lambda: pd.Series(draw(st.lists(st.binary(max_size=3), min_size=rows, max_size=rows)), dtype="object"),
        "times": lambda: pd.Series(pd.to_datetime(draw(st.lists(moments, min_size=rows, max_size=rows)), utc=True)),
        "anything": lambda: column(draw, rows),
    }
    return kinds[draw(st.sampled_from(list(kinds)))]()


@st.composite
def frames(draw):
    """A frame with one or two keys, an event time and up to four features, and the names of the keys."""
    rows = draw(st.integers(0, 5))
    named = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    key_names = ["k", "j"][: draw(st.integers(1, 2))]
    ages = draw(st.lists(st.integers(0, 3 * 86_400 * 10**6), min_size=rows, max_size=rows))
    events = pd.Series([NOW - pd.Timedelta(age, unit="us") for age in ages], dtype="datetime64[us, UTC]")
    if draw(st.booleans()):
        events = events.dt.tz_localize(None)
    columns = {name: keys(draw, rows) for name in key_names} | {"event_timestamp": events}
    columns |= {name: column(draw, rows) for name in named if name not in columns}
    return pd.DataFrame(columns, index=pd.RangeIndex(rows)), key_names


def plain(value):  # noqa: PLR0911 - a case a line
    """Return a value in the one form in which both sides are compared; None for all that is null."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (dt.datetime, pd.Timestamp)):
        at = pd.Timestamp(value)
        return (at.tz_localize("UTC") if at.tz is None else at.tz_convert("UTC")).to_pydatetime()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.timezone.utc)
    return value


def newest(frame, key_names):
    """Return each entity's newest row, the last of equals: {key: {feature: value}}."""
    found = {}
    order = np.argsort(pd.to_datetime(frame["event_timestamp"], utc=True).to_numpy(), kind="stable")
    for place in order:
        row = frame.iloc[place]
        found[tuple(repr(plain(row[name])) for name in key_names)] = row
    return found


@fuzz(FRAMES)
@given(made=frames())
def test_a_frame_is_stored_exactly_on_both_sides_or_refused(ws, made):
    frame, key_names = made
    view = f"view {next(_numbers)}"
    before = traces(ws)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            ws.materialize(frame, view, keys=key_names, progress=False)
        except FeastraError:
            assert traces(ws) == before
            return
    changed = [str(warning.message) for warning in said if "cause conversion" in str(warning.message)]
    features = [name for name in frame.columns if name not in (*key_names, "event_timestamp")]
    wanted = list(newest(frame, key_names).values())
    entities = {name: [row[name] for row in wanted] for name in key_names}
    if wanted:
        served = ws.online(view, entities)
        trained = ws.historical(view, {**entities, "event_timestamp": [NOW] * len(wanted)})
        for name in features:
            expected = [plain(row[name]) for row in wanted]
            assert [plain(value) for value in trained[name]] == expected, (name, "offline")
            if not any(repr(name) in text for text in changed):
                assert [plain(value) for value in served[name]] == expected, (name, "online")
        report = ws.skew(view)
        assert report.ok or changed, report
    ws.drop(view)


# --- entities, instants, durations: without a store ------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | whole | st.floats() | texts | st.binary(max_size=3) | moments,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@fuzz(PURE)
@given(
    given_entities=anything | st.dictionaries(st.sampled_from("ab"), st.lists(whole, max_size=3) | whole, max_size=2)
)
def test_entities_of_any_shape_have_rows_or_are_refused(given_entities):
    try:
        entities = Entities.of(given_entities)
    except InvalidFrame as error:
        assert error.hint  # noqa: PT017 - most inputs are well
        return
    assert all(len(values) == entities.rows for values in entities.columns.values())
    assert len(entities.frame()) == entities.rows


@fuzz(PURE)
@given(
    rows=st.lists(whole, min_size=1, max_size=4),
    shape=st.sampled_from(["lists", "dicts", "frame", "index", "arrow", "series"]),
)
def test_every_shape_of_the_same_entities_reads_the_same(rows, shape):
    frame = pd.DataFrame({"k": rows})
    shapes = {
        "lists": {"k": rows}, "dicts": [{"k": row} for row in rows], "frame": frame, "index": frame.set_index("k"),
        "arrow": pa.table({"k": rows}), "series": frame["k"],
    }  # fmt: skip
    assert [plain(value) for value in Entities.of(shapes[shape]).frame()["k"]] == rows


@fuzz(PURE)
@given(
    moment=moments, form=st.sampled_from(["text", "datetime", "aware", "Timestamp", "numpy", "Series", "list", "Arrow"])
)
@pytest.mark.filterwarnings("ignore:t has no time zone")
def test_an_instant_reads_the_same_in_every_form(moment, form):
    aware = moment.replace(tzinfo=dt.timezone.utc)
    forms = {
        "text": moment.isoformat(), "datetime": moment, "aware": aware, "Timestamp": pd.Timestamp(aware),
        "numpy": np.datetime64(moment, "us"), "Series": pd.Series([aware]), "list": [moment], "Arrow": pa.array([moment]),
    }  # fmt: skip
    expected = (aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(microseconds=1)
    try:
        assert instants(forms[form], 1, "t").tolist() == [expected]
    except InvalidFrame as error:
        assert "January 1970" in error.message  # noqa: PT017 - the one refusal there is


@fuzz(PURE)
@given(value=anything)
@pytest.mark.filterwarnings("ignore:t has no time zone", "ignore:Parsing dates")
def test_what_is_not_an_instant_or_a_duration_is_refused_with_a_hint(value):
    for read in (lambda: instants(value, 1, "t"), lambda: duration(value, "ttl")):
        try:
            read()
        except (ConfigurationError, InvalidFrame) as error:
            assert error.hint  # noqa: PT017


@fuzz(PURE)
@given(count=st.integers(1, 10**5), unit=st.sampled_from(["s", "min", "h", "d", " days", "ms", "us"]))
def test_a_duration_with_a_unit_is_that_long(count, unit):
    assert duration(f"{count}{unit}", "ttl") == pd.Timedelta(f"{count}{unit}").to_pytimedelta()


@fuzz(PURE)
@given(number=st.integers(-(10**20), 10**20) | st.floats(), as_text=st.booleans())
def test_a_number_is_never_a_duration(number, as_text):
    with pytest.raises(ConfigurationError):
        duration(str(number) if as_text else number, "ttl")
