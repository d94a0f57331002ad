"""Clients whose clocks are ten minutes off, in both directions: nothing forgotten is served, nothing written is missed."""

import warnings

import pandas as pd
import pytest
from other_processes import clock_moved, workspace

from feastra_nb import cli

TEN_MINUTES_S = 600
FRAME = pd.DataFrame({"driver": [1, 2], "event_timestamp": [pd.Timestamp("2026-01-01", tz="UTC")] * 2, "x": [1.0, 2.0]})


def with_moved_clock(seconds, call, node, project, folder):
    """Open a workspace under a moved clock and call something; return its answer and what was warned of."""
    with clock_moved(seconds), warnings.catch_warnings(record=True) as warned, workspace(node, project, folder) as ws:
        warnings.simplefilter("always")
        with workspace(node, project, folder):  # on the same session
            answer = call(ws)
    return answer, [str(each.message) for each in warned if "clock" in str(each.message)]


def write(ws):
    ws.materialize(FRAME, "drivers", keys=["driver"], progress=False)


def forget(ws):
    return ws.forget("drivers", {"driver": [1, 2]})


def do_nothing(ws):
    ws.views()


@pytest.fixture
def elsewhere(ws, project, processes):
    """Call something in another process whose clock is moved by some seconds."""

    def call(seconds, function):
        arguments = (seconds, function, ws.target.name, project, ws.directory)
        return processes.submit(with_moved_clock, *arguments).result(60)

    return call


def served(ws):
    return ws.online("drivers:x", {"driver": [1, 2]})["x"].tolist()


@pytest.mark.parametrize("seconds", [TEN_MINUTES_S, -TEN_MINUTES_S])
def test_what_a_client_with_another_clock_wrote_is_forgotten(ws, elsewhere, seconds):
    elsewhere(seconds, write)
    assert served(ws) == [1.0, 2.0]
    assert forget(ws) == 2
    assert served(ws) == [pd.NA, pd.NA]
    elsewhere(seconds, write)
    assert served(ws) == [1.0, 2.0]


@pytest.mark.parametrize("seconds", [TEN_MINUTES_S, -TEN_MINUTES_S])
def test_what_is_written_after_another_clocks_forgetting_is_served(ws, elsewhere, seconds):
    write(ws)
    assert elsewhere(seconds, forget)[0] == 2
    assert served(ws) == [pd.NA, pd.NA]
    write(ws)
    assert served(ws) == [1.0, 2.0]


@pytest.mark.parametrize(("seconds", "said"), [(TEN_MINUTES_S, "600.0 s ahead of"), (-TEN_MINUTES_S, "600.0 s behind")])
def test_a_clock_that_is_off_is_warned_of_once_a_session(elsewhere, seconds, said):
    _answer, (warned,) = elsewhere(seconds, do_nothing)
    assert f"this machine's clock is {said} the server's" in warned


def test_a_clock_that_is_right_is_not_warned_of(elsewhere):
    assert elsewhere(0, do_nothing)[1] == []


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (TEN_MINUTES_S, "note")])
@pytest.mark.filterwarnings("ignore:this machine's clock")
def test_the_doctor_shows_the_clocks(node, monkeypatch, capsys, seconds, verdict):
    login = {"CASSANDRA_USERNAME": node.username, "CASSANDRA_PASSWORD": node.password.reveal()}
    where = {"CASSANDRA_CONTACT_POINTS": node.hosts[0], "CASSANDRA_PORT": str(node.port)}
    for name, value in {**where, **login}.items():
        monkeypatch.setenv(name, value)
    with clock_moved(seconds):
        cli.main(["doctor"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[1:2] == ["clock"])
    assert line.split()[0] == verdict
    assert ("600.0 s ahead of" in line) == bool(seconds)
