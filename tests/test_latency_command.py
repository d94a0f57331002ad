"""``feastra latency`` as a CI job runs it: its exit codes and what it prints."""

import pandas as pd
import pytest

import feastra_nb as fnb
from feastra_nb import cli

QUICK = ["--seconds", "0.8", "--warmup-s", "0.1", "-q"]


@pytest.fixture
def repo(filled, tmp_path, monkeypatch):
    """A Feast repository that was saved from a workspace, as the current folder."""
    folder = filled.save(tmp_path / "repo")
    monkeypatch.chdir(folder)
    return folder


def measure(*words):
    return cli.main(["latency", *words, *QUICK])


@pytest.mark.parametrize(
    ("limits", "code", "verdict"),
    [
        (["--p50-ms", "10000"], 0, "ok: p50_ms"),
        (["--p50-ms", "0.0001"], 1, "missed: p50_ms"),
        (["--p999-ms", "10000"], 2, "unknown: p999_ms"),
        (["--p50-ms", "0.0001", "--p999-ms", "10000"], 1, "missed: p50_ms"),
        ([], 0, "Latency (ms)"),
    ],
)
def test_the_exit_code_says_whether_the_objective_is_met(repo, capsys, limits, code, verdict):
    assert measure(*limits) == code
    assert verdict in capsys.readouterr().out


def test_a_repository_elsewhere_is_measured_with_all_options(repo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"driver": [1, 2]}).to_csv("keys.csv", index=False)
    options = [
        "--rate",
        "50",
        "--arrivals",
        "poisson",
        "--batch",
        "1",
        "2",
        "--keys",
        "zipf",
        "--target",
        "feast",
        "driver",
    ]
    options += ["--consistency", "ONE", "--entities", "keys.csv", "--save", "found.hgrm"]
    assert measure("drivers:trips", "drivers:city", "--repo", "repo", *options) == 0
    shown = capsys.readouterr().out
    assert "open loop, 50 requests/s, poisson arrivals" in shown
    assert "2 given, zipf" in shown
    assert (tmp_path / "found.hgrm").read_text().count("#[Mean") == 8


def test_a_workspaces_folder_is_measured_where_there_is_no_repository(filled, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    real = fnb.workspace.connect

    def connect(*, directory):
        return real(filled.target, project=filled.project, keyspace=filled.keyspace, directory=directory)

    monkeypatch.setattr(fnb.workspace, "connect", connect)
    assert measure("--p50-ms", "10000") == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nosuch"], "there is no feature view 'nosuch'"),
        (["--repo", "nowhere"], "nowhere holds no feature_store.yaml"),
        (["--rate", "0"], "rate=0.0 is not a rate"),
        (["--batch", "9"], "a batch of 9 needs as many entities; there are 3"),
        (["--entities", "keys.txt"], "'keys.txt' is not a csv or parquet file"),
        (["--p99-ms", "0"], "p99_ms=0.0 is not an objective"),
        (["--target", "http://127.0.0.1:1"], "nothing answers at http://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_measured_exits_with_2_and_says_why(repo, capsys, words, error):
    assert measure(*words) == 2
    assert error in capsys.readouterr().err


def test_several_views_have_to_be_told_apart(repo, filled, events, capsys):
    filled.materialize(events, "others", keys=["driver"], progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(filled.save(repo.parent / "both"))
        assert measure() == 2
    assert "there are 2 views" in capsys.readouterr().err


def test_wrong_usage_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["latency", "--rate", "fast"])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        cli.main(["latency", "--help"])
    assert stopped.value.code == 0
    assert "--p99-ms" in capsys.readouterr().out
