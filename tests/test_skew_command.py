"""``feastra skew`` as cron runs it: its exit codes and what it prints."""

import json

import pytest
from offline_changes import go_wrong

from feastra_nb import cli


def compare(*words):
    return cli.main(["skew", "-q", *words])


def test_a_clean_store_exits_with_0(saved_repo, capsys):
    assert compare() == 0
    assert "All 12 values compared (now) match." in capsys.readouterr().out


def test_without_a_budget_nothing_may_differ(saved_repo, filled, now, capsys):
    go_wrong(filled, now)
    assert compare("drivers:trips") == 1
    assert "drivers:trips: 33.33% differ, 0.00% allowed" in capsys.readouterr().out


def test_a_budget_is_written_kept_and_broken_by_what_is_new(saved_repo, filled, now, capsys):
    go_wrong(filled, now)
    assert compare("drivers:trips", "--write-budget", "skew.json", "--save", "skew.html", "found.json") == 0
    assert compare("drivers:trips", "--budget", "skew.json") == 0
    budget = json.loads((saved_repo / "skew.json").read_text())
    budget["features"]["drivers:trips"]["causes"] = ["corrected"]
    (saved_repo / "skew.json").write_text(json.dumps(budget))
    assert compare("drivers:trips", "--budget", "skew.json") == 1
    assert "new: stale" in capsys.readouterr().out
    assert (saved_repo / "skew.html").is_file()
    assert json.loads((saved_repo / "found.json").read_text())["ok"] is False


def test_a_spine_and_served_values_are_read_from_files(saved_repo, events, capsys):
    events.to_parquet("served.parquet")
    events[["driver", "event_timestamp"]].to_csv("spine.csv", index=False)
    assert compare("drivers", "--spine", "spine.csv") == 0
    assert "(as of) match" in capsys.readouterr().out
    assert compare("drivers", "--served", "served.parquet") == 0
    assert "(served) match" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nosuch"], "there is no feature view 'nosuch'"),
        (["--repo", "nowhere"], "nowhere holds no feature_store.yaml"),
        (["--budget", "none.json"], "there is no budget file 'none.json'"),
        (["--spine", "keys.txt"], "'keys.txt' is not a csv or parquet file"),
        (["--known-at", "as_of"], "known_at needs a spine"),
    ],
)
def test_what_cannot_be_told_exits_with_2_and_says_why(saved_repo, capsys, words, error):
    assert compare(*words) == 2
    assert error in capsys.readouterr().err


def test_nothing_compared_exits_with_2(saved_repo, events, capsys):
    events.head(0)[["driver", "event_timestamp"]].to_parquet("spine.parquet")
    assert compare("drivers:trips", "--spine", "spine.parquet") == 2
    assert "nothing could be compared" in capsys.readouterr().out
