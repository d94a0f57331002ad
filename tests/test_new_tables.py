"""A table that the catalog has and a node has not: made by another process a moment ago, or dropped for good."""

import asyncio
import threading
import time

import pytest
from cassandra import ReadFailure, WriteFailure
from nodes import KEYSPACE

from feastra_nb.connection.cluster import quoted
from feastra_nb.connection.driver_errors import is_unknown_table
from feastra_nb.errors import CatalogConflict, FeastraError
from feastra_nb.storage.catalog import _LOG_TABLE

LATE_S = 1.0  # after which the table is there; well within what is waited for


@pytest.fixture
def table(filled):
    """The name of the view's table, in CQL."""
    entry = filled.store.entry(filled.feast.config, filled.view("drivers"))
    return f"{quoted(KEYSPACE)}.{quoted(entry.table)}"


@pytest.fixture(params=["statements prepared", "a new process"])
def opened(request, filled, open_workspace):
    """A workspace that has read the view, and one that has not."""
    filled.online("drivers:trips", {"driver": [1]})
    if request.param == "a new process":
        filled.store.shutdown()
        return open_workspace(retain="all")
    return filled


@pytest.fixture
def late(opened, table):
    """Take the table away, and make it a moment later."""
    opened.session.execute(f"DROP TABLE {table}")
    timer = threading.Timer(LATE_S, opened.session.execute, [f"CREATE TABLE {table} {_LOG_TABLE}"])
    timer.start()
    yield
    timer.join()


def nothing(frame):
    return frame["trips"].isna().all()


@pytest.mark.usefixtures("late")
def test_a_read_waits_for_a_table_that_is_being_made(opened):
    assert nothing(opened.online("drivers:trips", {"driver": [1]}))


@pytest.mark.usefixtures("late")
def test_an_asynchronous_read_waits_for_it(opened):
    answer = asyncio.run(opened.feast.get_online_features_async(["drivers:trips"], [{"driver": 1}]))
    assert nothing(answer.to_df())


@pytest.mark.usefixtures("late")
def test_a_read_of_the_history_waits_for_it(opened, now):
    assert nothing(opened.online("drivers:trips", {"driver": [1]}, as_of=now))


@pytest.mark.usefixtures("late")
def test_a_write_waits_for_it(opened, driver, now):
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    key = EntityKey(join_keys=["driver"], entity_values=[Value(int64_val=1)])
    row = (key, {"trips": Value(int64_val=70)}, now.to_pydatetime(), None)
    view, config = opened.view("drivers"), opened.feast.config
    opened.store.online_write_batch(config, view, [row], None)
    assert opened.online("drivers:trips", {"driver": [1]})["trips"].tolist() == [70]


def test_a_table_that_stays_away_is_told_of_in_the_end(filled, table):
    filled.session.execute(f"DROP TABLE {table}")
    with pytest.raises(CatalogConflict, match=r"does not exist|unconfigured table"):
        filled.online("drivers:trips", {"driver": [1]})


def test_a_view_that_another_process_dropped_is_told_of_at_once(filled, open_workspace):
    filled.online("drivers:trips", {"driver": [1]})
    other = open_workspace()
    other.store.open(other.feast.config).catalog.drop(other.project, "drivers")
    began_s = time.monotonic()
    with pytest.raises(FeastraError):
        filled.online("drivers:trips", {"driver": [1]})
    assert time.monotonic() - began_s < LATE_S


@pytest.mark.parametrize(
    ("message", "waits"),
    [
        ("Operation failed - received 1 responses and 1 failures: INCOMPATIBLE_SCHEMA from /127.0.0.1:9042", True),
        ("Operation failed - received 1 responses and 1 failures: UNKNOWN from /127.0.0.1:9042", True),
        (
            "Operation failed - received 1 responses and 1 failures: READ_TOO_MANY_TOMBSTONES from /127.0.0.1:9042",
            False,
        ),
    ],
)
@pytest.mark.parametrize("kind", [ReadFailure, WriteFailure])
def test_a_replica_with_an_earlier_schema_is_waited_for(kind, message, waits):
    failure = kind(message, consistency=6, required_responses=2, received_responses=1, failures=1)
    assert is_unknown_table(failure) is waits
    ours = FeastraError("reading view v")
    ours.__cause__ = failure
    assert is_unknown_table(ours) is waits
