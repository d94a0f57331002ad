"""The benchmarks run from end to end, at a size that measures nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = {
    "materialize-10", "materialize-50", "materialize-200", "materialize-mixed", "read-1", "read-10", "read-100", "read-1000",
    "five-views", "online", "as-of", "skew-cells", "skew", "pacing", "import", "peak-memory", "growth",
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
    for name in ("materialize-10", "read-100"):
        there = {figure["peer"] for figure in result["cases"][name]["figures"]}
        everyone = {"feastra_nb", "bare driver", "feast sqlite", "feast cassandra", "feast redis"}
        assert there == everyone - set(result["left_out"])
        assert set(result["left_out"]) <= {"feast redis"}


def test_machine_and_versions_are_named(result):
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["cpu"]
    assert result["versions"]["feast"]
    assert result["versions"]["cassandra"].startswith("5.")


def test_targets_stand_beside_what_was_measured(out, result):
    assert {row["verdict"] for row in result["targets"]} <= {"missed", "met", "aim reached"}
    assert len(result["targets"]) >= 15  # all but those that need Redis or millions of rows
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
