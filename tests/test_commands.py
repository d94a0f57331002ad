"""``feastra materialize`` and ``feastra doctor``, and the options of all commands."""

import argparse
import re
import subprocess
import sys
from importlib import metadata

import pandas as pd
import pytest
from cells import run_cell
from offline_changes import go_wrong

from feastra_nb import cli
from feastra_nb.cli import COMMANDS, _parser, main
from feastra_nb.commands import doctor
from feastra_nb.notebook.subcommands import COMMANDS as MAGICS
from feastra_nb.shared_options import SHARED

SECRET = "swordfish"  # noqa: S105 - looked for, and never found


# --- materialize -----------------------------------------------------------------------------------------------------


def test_the_views_of_a_repository_are_materialized_from_where_they_were(saved_repo, filled, now, capsys):
    go_wrong(filled, now)
    assert cli.main(["materialize", "-q"]) == 0
    assert capsys.readouterr().out.startswith("drivers: ")
    assert filled.online("drivers:trips", {"driver": [3]})["trips"].tolist() == [99]


def test_one_view_and_an_interval_can_be_named(saved_repo, filled, now, capsys):
    go_wrong(filled, now)
    before = (now - pd.Timedelta("30min")).isoformat()
    assert cli.main(["materialize", "drivers", "--end", before, "-q"]) == 0
    assert filled.online("drivers:trips", {"driver": [3]})["trips"].tolist() == [8]
    assert cli.main(["materialize", "drivers", "--start", before, "--anew", "-q"]) == 0
    assert filled.online("drivers:trips", {"driver": [3]})["trips"].tolist() == [99]


def test_a_view_that_is_not_there_is_an_error_with_the_close_ones(saved_repo, capsys):
    assert cli.main(["materialize", "driver", "-q"]) == 2
    assert "did you mean drivers?" in capsys.readouterr().err


# --- doctor ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def examine(monkeypatch, tmp_path, capsys):
    """Run the doctor on a clean environment, changed by the test; return the exit code and what it said."""
    for name in ("CASSANDRA_CONTACT_POINTS", "CASSANDRA_PORT", "ASTRA_DB_ID", "ASTRA_DB_APPLICATION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "profile.json"))

    def run(*words, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = cli.main(["doctor", *words])
        return code, capsys.readouterr().out

    return run


def test_where_all_is_well_the_doctor_says_so(examine):
    code, said = examine()
    assert code == 0
    assert said.endswith("nothing is wrong\n")
    for subject in ("python", "feast ", "cassandra-driver", "java", "cache", "local nodes", "connect()"):
        assert re.search(rf"^ok +{re.escape(subject)}", said, re.MULTILINE), subject


def test_a_target_that_is_configured_is_tried(examine, node):
    code, said = examine(CASSANDRA_CONTACT_POINTS=node.hosts[0], CASSANDRA_PORT=str(node.port))
    assert code == 0
    assert "1 of 1 nodes are up" in said


def test_a_target_that_does_not_answer_is_wrong_and_not_asked_offline(examine):
    code, said = examine(CASSANDRA_CONTACT_POINTS="127.0.0.1", CASSANDRA_PORT="9")
    assert code == 1
    assert "no host could be reached" in said
    assert "1 of " in said.splitlines()[-1]
    assert examine("--offline")[0] == 0


def test_a_setting_that_makes_no_sense_is_wrong_in_words(examine):
    code, said = examine(CASSANDRA_CONTACT_POINTS="127.0.0.1", CASSANDRA_PORT="x")
    assert code == 1
    assert "CASSANDRA_PORT is 'x', no port" in said


def test_of_a_secret_only_the_name_is_said(examine):
    said = examine("--offline", ASTRA_DB_APPLICATION_TOKEN=SECRET, CASSANDRA_PASSWORD=SECRET, FEASTRA_HEAP_MB="512")[1]
    assert SECRET not in said
    assert "ASTRA_DB_APPLICATION_TOKEN" in said
    assert "FEASTRA_HEAP_MB=512" in said


def test_a_package_that_is_missing_or_too_old_is_named_with_what_to_do(examine, monkeypatch):
    real = metadata.version

    def version(name):
        if name == "duckdb":
            raise metadata.PackageNotFoundError(name)
        return "0.60.0" if name == "feast" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    code, said = examine()
    assert code == 1
    assert "pip install 'duckdb" in said
    assert re.search(r"^wrong +feast +0\.60\.0 is not ", said, re.MULTILINE)


def test_little_room_is_a_note_and_a_cache_that_cannot_be_made_is_wrong(examine, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "LEAST_DISK_MB", 10**9)
    monkeypatch.setattr(doctor, "LEAST_MEMORY_MB", 10**9)
    code, said = examine(FEASTRA_CACHE=str(tmp_path / "fresh"))
    assert code == 0
    assert re.search(r"^note +cache", said, re.MULTILINE)
    assert re.search(r"^note +memory", said, re.MULTILINE)
    assert re.search(r"^note +cassandra +not downloaded yet", said, re.MULTILINE)
    assert not (tmp_path / "fresh").exists()


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(examine, monkeypatch):
    monkeypatch.setattr("feastra_nb.connection.local.java.find_java", lambda: 1 / 0)
    code, said = examine()
    assert code == 1
    assert "ZeroDivisionError" in said
    assert "connect()" in said


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    # `head` ends before the doctor writes; bash says with which code each of the two ended.
    command = f"{sys.executable} -m feastra_nb.cli doctor --offline | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "1"}


# --- options that magics share ---------------------------------------------------------------------------------------

SHARING = ("materialize", "skew", "latency")


def options_of_command(name):
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_options(parser)
    return parser._option_string_actions


@pytest.mark.parametrize("name", SHARING)
def test_what_magic_and_command_share_is_declared_once(name):
    of_magic, of_command = MAGICS[name].parser(name).options(), options_of_command(name)
    both = (of_magic.keys() & of_command.keys()) - {"-q"}
    assert {names.lstrip("-") for names in both} - {"warmup-s"} <= SHARED.keys()
    for option in both:
        magic, command = of_magic[option], of_command[option]
        assert (magic.dest, magic.type, magic.nargs) == (command.dest, command.type, command.nargs)
        if magic.metavar == command.metavar and option != "--batch":  # no frame, and no other default
            assert magic.help == command.help


@pytest.mark.parametrize("name", SHARING)
def test_every_option_of_a_command_that_sets_an_argument_is_one_of_the_magic(name):
    own = {"--repo", "--directory", "--save", "--quiet", "--budget", "--write-budget", "--anew", "-h", "--help"}
    objectives = {option for option in options_of_command(name) if option.endswith("-ms")}
    assert options_of_command(name).keys() - own - objectives <= MAGICS[name].parser(name).options().keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_is_taken(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert " ".join(capsys.readouterr().out.split()).endswith(f"example: {COMMANDS[name].example}")
    program, *words = COMMANDS[name].example.split()
    assert program == "feastra"
    assert _parser(COMMANDS).parse_args(words).command == name


@pytest.mark.parametrize("name", ["views", "materialize", "online", "historical", "skew", "explain", "latency"])
def test_the_example_of_a_magics_help_runs(shell, filled, now, name):
    own = pd.DataFrame(
        {"tailnum": ["N14228"] * 2, "event_timestamp": [now - pd.Timedelta("1h"), now], "mean_delay": [1.0, 2.0]}
    )
    shell.push(
        {"fs": filled, "df": own, "spine": own[["tailnum", "event_timestamp"]], "flights": own.assign(time_hour=now)}
    )
    filled.materialize(own, "plane_stats", keys=["tailnum"], progress=False)
    example = MAGICS[name].example.replace("--seconds 30", "--seconds 0.2 --batch 1")
    run_cell(shell, example)
