"""The benchmarks run from end to end, at a size that measures nothing."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import KEYSPACE

from benchmarks import cql_frames, run
from benchmarks.cases import Case
from benchmarks.measure import Figure
from benchmarks.wire_peer import WireConnection, WireError

ROOT = Path(__file__).parents[1]
CASES = {
    "materialize-10", "materialize-50", "materialize-200", "materialize-mixed", "read-1", "read-10", "read-100", "read-1000",
    "five-views", "bare-1", "bare-100", "threads-bare", "threads-features", "serve",
    "online", "as-of", "skew-cells", "skew", "skew-scan", "skew-scan-feast", "skew-memory", "copy",
    "pacing", "import", "peak-memory", "growth",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(node, tmp_path_factory):
    """The folder that a run has written into."""
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks.run", "--size", "tiny", "--node", node.name, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def result(out):
    """What that run has written."""
    return json.loads((out / "tiny.json").read_text())


def test_a_run_measures_every_case(result):
    assert set(result["cases"]) == CASES


def test_a_figure_says_who_what_and_how_much(result):
    for case in result["cases"].values():
        assert case["figures"]
        for figure in case["figures"]:
            assert figure["low"] <= figure["median"] <= figure["high"]
            assert figure["samples"]
            assert figure["metric"].rsplit("_", 1)[1] in {"s", "ms", "us", "mb"}


def test_peers_stand_beside_ours_unless_the_machine_lacks_them(result):
    everyone = {"feastra_nb", "wire", "bare driver", "feast sqlite", "feast cassandra", "feast redis"}
    without_feast = {"feastra_nb", "wire", "bare driver"}
    beside = {
        "materialize-10": everyone, "read-100": everyone, "bare-100": without_feast, "threads-bare": without_feast,
        "online": without_feast, "skew-memory": {"feastra_nb", "feast cassandra"}, "serve": {"feastra_nb", "feast redis"},
        "threads-features": {"feastra_nb", "feastra_nb, direct off", "feast redis"},
    }  # fmt: skip
    for name, peers in beside.items():
        there = {figure["peer"] for figure in result["cases"][name]["figures"]}
        assert there == peers - set(result["left_out"])
    assert set(result["left_out"]) <= {"feast redis", "feastra_nb, direct off"}


def test_threads_are_measured_by_their_number(result):
    figures = result["cases"]["threads-bare"]["figures"]
    assert {figure["work"]["threads"] for figure in figures} == {1, 16}
    assert {figure["metric"] for figure in figures} == {"requests_per_s", "p50_ms", "p99_ms"}


def test_machine_and_versions_are_named(result):
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["cpu"]
    assert result["versions"]["feast"]
    assert result["versions"]["cassandra"].startswith("5.")


def test_targets_stand_beside_what_was_measured(out, result):
    assert {row["verdict"] for row in result["targets"]} <= {"missed", "met", "aim reached"}
    texts = {row["target"] for row in result["targets"]}
    assert {"bare read of 1 entity, over the wire", "16 threads: bare reads, over the driver's"} <= texts
    assert len(texts) >= 17  # all but those that need Redis, direct off or millions of rows
    assert "materialize, 10 features, over Feast's Cassandra store" in (out / "printed.txt").read_text()


def test_a_chart_is_drawn(out):
    assert (out / "tiny.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_case_is_refused_by_name():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "read-2"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "read-2" in done.stderr
    assert "read-1" in done.stderr


def test_a_case_that_fails_takes_no_other_figures_with_it(monkeypatch, capsys):
    def fails(_bench):
        raise RuntimeError("no such luck")

    figures = [Figure("ours", "rate_per_s", (1.0,))]
    cases = {"bad": Case("fails", fails), "good": Case("works", lambda _bench: figures)}
    monkeypatch.setattr(run, "CASES", cases)
    assert run.measure_cases(None, ["bad", "good"]) == ({"good": figures}, ["bad"])
    assert "no such luck" in capsys.readouterr().err


# --- the wire -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def wire(node):
    """A connection of the wire to the node."""
    with contextlib.closing(connected(node)) as connection:
        yield connection


def connected(node, **login):
    login = {"username": node.username, "password": node.password.reveal()} | login
    return WireConnection(node.hosts[0], node.port, login)


def test_the_wire_writes_and_reads_what_the_driver_sees(ws, wire):
    table = f"{KEYSPACE}.wire_{os.getpid()}"
    ws.session.execute(f"CREATE TABLE {table} (k blob PRIMARY KEY, v blob)")
    rows = {f"key {n}".encode(): bytes(10 * n) for n in range(300)}
    values = [(cql_frames.value(key), cql_frames.value(content)) for key, content in rows.items()]
    insert = wire.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    wire.exchange([cql_frames.batch(insert, [row], stream) for stream, row in enumerate(values)], 64)
    assert dict(ws.session.execute(f"SELECT k, v FROM {table}")) == rows

    select = wire.prepare(f"SELECT k, v FROM {table} WHERE k = ?")
    received = b"".join(
        wire.exchange([cql_frames.execute(select, [key], stream) for stream, (key, _content) in enumerate(values)], 16)
    )
    assert all(received.count(key + content) == 1 for key, content in values)


def test_an_error_on_the_wire_is_raised(wire):
    with pytest.raises(WireError, match=r"error 0x2200: .*nowhere"):
        wire.prepare("SELECT k FROM nowhere.nothing")


def test_the_wire_needs_the_login(node):
    with pytest.raises(WireError, match="error 0x0100"):
        connected(node, password="another")  # noqa: S106 - a wrong one
