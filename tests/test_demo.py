"""The demo, on fewer flights: what it prints, and that it leaves nothing behind but its pictures."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from feastra_nb import Local, connect, flights
from feastra_nb.cli import main
from feastra_nb.commands import demo
from feastra_nb.connection.choice import local_names


@pytest.fixture
def few_flights(monkeypatch):
    """Four weeks instead of a year, and a short measurement."""
    year = flights.load()
    stats, weather, carriers = (
        frame[frame["event_timestamp"] > frame["event_timestamp"].max() - timedelta(weeks=4)]
        for frame in year.views.values()
    )
    few = replace(year, plane_stats=stats, airport_weather=weather, carrier_departures=carriers)
    monkeypatch.setattr(flights, "load", lambda: few)
    monkeypatch.setattr(demo, "BACK", timedelta(days=20))
    monkeypatch.setattr(demo, "LOAD_S", 0.3)


def arguments(node, folder, *more):
    return ["demo", "--name", node.name, "--directory", str(folder), *more]


def keyspaces(ws):
    return {row[0] for row in ws.session.execute("SELECT keyspace_name FROM system_schema.keyspaces")}


@pytest.mark.usefixtures("few_flights")
def test_demo_finds_the_faults_that_it_plants(node, tmp_path, capsys, ws, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments(node, "demo")) == 0
    out = capsys.readouterr().out
    assert "336,776 flights" in out
    assert "equal in every value" in out
    assert re.search(rf"mean_delay .* stale {demo.STALE}, corrected {demo.CORRECTED}\n", out)
    assert re.search(r"as it is: All [0-9,]+ values compared \(now\) match", out)
    assert re.search(r"and now: All [0-9,]+ values compared \(now\) match", out)
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= demo.WIDTH

    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["latency.png", "skew.png"]
    assert local_names(tmp_path / "demo" / demo.DATA)[1] not in keyspaces(ws)


@pytest.mark.usefixtures("few_flights")
def test_demo_begins_anew_and_keeps_its_data_when_asked(node, tmp_path):
    for _time in range(2):
        assert main(arguments(node, tmp_path, "--keep")) == 0
    with connect(Local(name=node.name), directory=tmp_path / demo.DATA) as kept:
        assert kept.views()["view"].tolist() == sorted(flights.KEYS)
        assert kept.skew("plane_stats").ok


@pytest.mark.usefixtures("few_flights")
def test_demo_clears_up_after_ctrl_c(node, tmp_path, ws, monkeypatch):
    def press_ctrl_c(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_read_online", press_ctrl_c)
    assert main(arguments(node, tmp_path)) == 130
    assert list(tmp_path.glob(".feastra-demo")) == []
    assert local_names(tmp_path / demo.DATA)[1] not in keyspaces(ws)
