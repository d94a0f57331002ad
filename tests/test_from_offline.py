"""A registered view from the offline store: spans, retention, streams, and what a stopped run leaves to the next."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Int64, String
from feast.value_type import ValueType

from feastra_nb.errors import BeyondRetention, InvalidFrame, WriteIncomplete
from feastra_nb.materialization import from_offline, pulled, spans
from feastra_nb.materialization.pulled import OfflineView
from feastra_nb.storage.journal import DONE, INTERRUPTED, RUNNING, Run
from feastra_nb.times import DAY_US

N, ENTITIES = 1_200, 60
LAST_MONTH = 30


@pytest.fixture
def month(now):
    """1,200 events of 60 entities, evenly over the thirty days up to an hour ago."""
    at = (
        now
        - pd.Timedelta(hours=1)
        - pd.to_timedelta(np.linspace(0, LAST_MONTH * 86_400, N)[::-1].astype(int), unit="s")
    )
    return pd.DataFrame({"k": np.arange(N) % ENTITIES, "event_timestamp": at, "x": np.arange(N)})


@pytest.fixture
def small_spans(monkeypatch):
    """Spans of about 150 rows, in tables of 50."""
    monkeypatch.setattr(from_offline, "SPAN_ROWS", 150)
    monkeypatch.setattr(spans, "SPAN_ROWS", 150)
    monkeypatch.setattr(pulled, "STREAM_ROWS", 50)


@pytest.fixture
def registered(open_workspace, month, tmp_path, small_spans):
    """Open a workspace with a view ``v`` on a parquet of `month`, of which nothing is online yet."""

    def register(frame=month, fields=(("x", Int64),), mapping=None, **options):
        ws = open_workspace(**{"retain": "all", **options})
        path = tmp_path / "month.parquet"
        frame.to_parquet(path)
        source = FileSource(
            name="month", path=str(path), timestamp_field="event_timestamp", field_mapping=mapping or {}
        )
        entity = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
        schema = [Field(name="k", dtype=Int64), *(Field(name=name, dtype=dtype) for name, dtype in fields)]
        view = FeatureView(name="v", entities=[entity], schema=schema, source=source, online=True)
        ws.feast.apply([entity, view])
        return ws

    return register


def stored_rows(ws):
    table = ws.store.entry(ws.feast.config, ws.view("v"), reload=True).table
    return ws.session.execute(f'SELECT count(*) FROM {ws.keyspace}."{table}"').one()[0]


def stop_after(rows):
    """A progress that behaves as a user who presses Ctrl-C after some rows."""
    seen = []

    def told(count):
        seen.append(count)
        if sum(seen) >= rows:
            raise KeyboardInterrupt

    return told


def run_at(state, *, began_us=0, end_us=100, reached_us=50, terms="t", generation=1):
    return Run(
        "p", "v", "id", "view", "me", generation, 0, end_us, began_us, state=state, terms=terms, reached_us=reached_us
    )


def test_every_event_is_written_once_however_many_spans_it_takes(registered, month):
    ws = registered()
    seen = []
    done = ws.materialize("v", progress=seen.append)
    assert (done.rows, done.entities, sum(seen), stored_rows(ws)) == (N, ENTITIES, N, N)
    assert (done.unchanged, done.expired, done.superseded, done.skipped) == (0, 0, 0, ())
    newest = ws.online("v", {"k": list(range(ENTITIES))})["x"].tolist()
    assert newest == month.groupby("k")["x"].max().tolist()


def test_a_stopped_run_goes_on_where_it_was_and_says_what_it_skipped(registered):
    ws = registered()
    with pytest.raises(KeyboardInterrupt):
        ws.materialize("v", progress=stop_after(N // 2))
    assert ws.runs("v")["state"].tolist() == [INTERRUPTED]
    part = stored_rows(ws)
    assert N // 2 <= part < N
    done = ws.materialize("v", progress=False)
    assert stored_rows(ws) == N
    (skipped,) = done.skipped
    assert skipped[1] - skipped[0] > pd.Timedelta(days=5)
    assert f"{skipped[0]:%Y-%m-%d %H:%M} to {skipped[1]:%Y-%m-%d %H:%M} written before" in repr(done)
    # The last day is read again for late rows, and the span that was under way too: neither is appended again.
    assert 0 < done.unchanged < part
    assert done.rows < N


def test_a_run_stopped_twice_is_finished_by_the_third(registered):
    ws = registered()
    for rows in (N // 3, N // 3):
        with pytest.raises(KeyboardInterrupt):
            ws.materialize("v", progress=stop_after(rows))
    assert len(ws.materialize("v", progress=False).skipped) == 2
    assert stored_rows(ws) == N


def test_resuming_can_be_refused(registered):
    ws = registered()
    with pytest.raises(KeyboardInterrupt):
        ws.materialize("v", progress=stop_after(N // 2))
    part = stored_rows(ws)
    done = ws.materialize("v", resume=False, progress=False)
    assert (done.rows, done.unchanged, done.skipped) == (N, part, ())


def test_a_run_under_other_terms_is_not_trusted(registered):
    ws = registered(retain="60d")
    with pytest.raises(KeyboardInterrupt):
        ws.materialize("v", progress=stop_after(N // 2))
    ws.retain("v", "90d")
    assert ws.materialize("v", progress=False).skipped == ()


def test_a_finished_run_is_read_again_when_it_is_asked_for(registered, month):
    ws = registered()
    ws.materialize("v", progress=False)
    start = month["event_timestamp"].min().isoformat()
    again = ws.materialize("v", start=start, progress=False)
    assert (again.rows, again.unchanged, again.skipped) == (N, N, ())


def test_late_rows_inside_the_lookback_are_picked_up_by_the_next_run(registered, month, tmp_path):
    ws = registered()
    ws.materialize("v", progress=False)
    late = pd.DataFrame(
        {"k": [1], "event_timestamp": [month["event_timestamp"].max() - pd.Timedelta(hours=3)], "x": [-1]}
    )
    pd.concat([month, late]).to_parquet(tmp_path / "month.parquet")
    done = ws.materialize("v", progress=False)
    assert done.rows - done.unchanged == 1
    assert stored_rows(ws) == N + 1


def test_of_what_is_older_than_the_retention_the_newest_is_written(registered, month, now):
    ws = registered(retain="7d")
    done = ws.materialize("v", progress=False)
    cut = now - pd.Timedelta(days=7)
    inside = month[month["event_timestamp"] >= cut]
    assert done.rows == stored_rows(ws)
    assert abs(done.rows - len(inside) - ENTITIES) <= 1  # the window moves on while the test runs
    entities = {"k": list(range(ENTITIES))}
    at = cut + pd.Timedelta(minutes=5)
    current = month[month["event_timestamp"] <= at].groupby("k")["x"].max().tolist()
    assert ws.online("v", entities, as_of=at)["x"].tolist() == current
    with pytest.raises(BeyondRetention):
        ws.online("v", entities, as_of=cut - pd.Timedelta(days=1))


def test_latest_takes_the_newest_row_of_each_entity_only(registered, month):
    ws = registered(retain="latest")
    assert ws.materialize("v", progress=False).rows == ENTITIES
    assert ws.online("v", {"k": [3]})["x"].tolist() == [month[month["k"] == 3]["x"].max()]


def test_an_offline_store_that_cannot_stream_ends_in_the_same_state(registered, month):
    ws = registered(offline="dask")
    assert OfflineView.of(ws.feast, ws.view("v")).all((0, 2**53)).extent() is None
    done = ws.materialize("v", progress=False)
    assert (done.rows, stored_rows(ws)) == (N, N)
    assert ws.online("v", {"k": [3]})["x"].tolist() == [month[month["k"] == 3]["x"].max()]


def test_mapped_columns_are_streamed_under_the_views_names(registered, month):
    theirs = month.rename(columns={"x": "their_x", "event_timestamp": "their_time"})
    ws = registered(theirs, mapping={"their_x": "x", "their_time": "event_timestamp"})
    assert ws.materialize("v", progress=False).rows == N


def test_nanoseconds_of_an_event_lose_no_row_between_two_spans(registered, now):
    at = pd.Series(now.as_unit("ns") - pd.Timedelta(days=2) + pd.to_timedelta(np.arange(N) * 500, unit="ns"))
    frame = pd.DataFrame({"k": np.arange(N), "event_timestamp": at, "x": np.arange(N)})
    ws = registered(frame)
    assert ws.materialize("v", progress=False).rows == N


def test_rows_of_one_instant_are_one_span(registered, now):
    frame = pd.DataFrame({"k": np.arange(N), "event_timestamp": now - pd.Timedelta(days=3), "x": np.arange(N)})
    ws = registered(frame)
    done = ws.materialize("v", progress=False)
    assert (done.rows, done.entities) == (N, N)


def test_events_from_the_future_are_refused_before_anything_is_written(registered, month, now):
    frame = pd.concat([month, month.tail(1).assign(event_timestamp=now + pd.Timedelta(days=2))])
    ws = registered(frame)
    with pytest.raises(InvalidFrame, match=r"1 rows of view 'v' up to .* lie in the future"):
        ws.materialize("v", end=now + pd.Timedelta(days=3), progress=False)
    assert stored_rows(ws) == 0
    assert ws.materialize("v", progress=False).rows == N


def test_a_value_that_does_not_fit_says_what_was_written_before_it(registered, month):
    words = [str(number) for number in month["x"]]
    words[0] = "x" * 6_000_000  # the oldest event, so the last to be read
    ws = registered(month.assign(x=words), fields=(("x", String),))
    with pytest.raises(WriteIncomplete, match=r"stopped after 1,\d+ rows.* beyond 5,000,000 bytes") as failed:
        ws.materialize("v", progress=False)
    assert failed.value.acknowledged == ws.runs("v")["rows"].iloc[0]
    assert ws.runs("v")["state"].tolist() == ["failed"]


def test_an_empty_source_writes_nothing_and_is_no_error(registered, month):
    ws = registered(month.head(0))
    done = ws.materialize("v", progress=False)
    assert (done.rows, done.entities, done.skipped) == (0, 0, ())


# --- which spans (pure) ----------------------------------------------------------------------------------------------


def test_spans_meet_without_gap_or_overlap():
    found = []
    cut = spans.Spans((-(2**63), 1_790_000_000_000_000))
    for lower, upper in cut:
        found.append((lower, upper))
        cut.took(0)
    assert found[0][1] == 1_790_000_000_000_000
    assert found[-1][0] == -(2**63)
    assert all(newer[0] == older[1] + 1 for newer, older in pairwise(found))
    assert len(found) < 10


def test_spans_shrink_where_events_are_dense():
    cut = spans.Spans((0, 100 * DAY_US))
    walk = iter(cut)
    first = next(walk)
    cut.took(spans.SPAN_ROWS * 4)
    second = next(walk)
    assert (second[1] - second[0] + 1) * 4 == first[1] - first[0] + 1


@pytest.mark.parametrize(
    ("runs", "covered"),
    [
        ([run_at(INTERRUPTED, began_us=95)], [(50, 85)]),
        ([run_at(RUNNING, began_us=1_000)], [(50, 100)]),
        ([run_at(INTERRUPTED, reached_us=None)], []),
        ([run_at(INTERRUPTED, began_us=55)], []),
        ([run_at(INTERRUPTED, began_us=95, terms="other")], []),
        ([run_at(INTERRUPTED, began_us=95, generation=2)], []),
        ([run_at(DONE), run_at(INTERRUPTED, began_us=95)], []),
        ([run_at(INTERRUPTED, began_us=95), run_at(DONE)], [(50, 85)]),
    ],
)
def test_only_what_a_stopped_run_wrote_for_good_is_left_out(runs, covered):
    assert spans.resumable(runs, generation=1, terms="t", lookback_us=10) == covered


def test_dates_as_event_times_are_warned_of_once_a_run(registered, month):
    days = month.assign(event_timestamp=month["event_timestamp"].dt.date)
    ws = registered(days)
    with pytest.warns(UserWarning, match="view 'v', event_timestamp: a day counts from its midnight UTC") as caught:
        done = ws.materialize("v", start="2020-01-01T00:00Z", progress=False)
    assert len([warning for warning in caught if "midnight" in str(warning.message)]) == 1
    assert done.events.are_days
    assert done.rows == stored_rows(ws)
