"""``%feastra`` in a real IPython: its parser against a stand-in workspace, the whole against a real Cassandra."""

import logging
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from cells import run_cell as run
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import feastra_nb as fnb
from feastra_nb import workspace as workspace_module
from feastra_nb.errors import ConfigurationError, UnknownName
from feastra_nb.notebook.arguments import fill_words, split_words
from feastra_nb.notebook.magics import load_ipython_extension, unload_ipython_extension
from feastra_nb.notebook.subcommands import COMMANDS, find_command
from feastra_nb.workspace import Workspace

LIGHT = """
import socket, sys
from IPython.core.interactiveshell import InteractiveShell
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
shell = InteractiveShell()
shell.extension_manager.load_extension("feastra_nb")
shell.run_line_magic("feastra", "--help")
print("heavy:", sorted({"feast", "cassandra", "pandas", "numpy", "matplotlib", "ipywidgets"} & set(sys.modules)))
"""


class Recorder(Workspace):
    """A workspace that says what it was asked instead of answering."""

    def __init__(self, name="recorder"):
        self.name, self.calls, self.is_closed = name, [], False

    def close(self):
        self.is_closed = True

    def __repr__(self):
        return f"Recorder({self.name})"

    def _record(self, *call):
        self.calls.append(call)
        return call

    def status(self):
        return self._record("status")

    def views(self, search=None):
        return self._record("views", search)

    def materialize(self, data, view=None, **options):
        return self._record("materialize", data, view, options)

    def online(self, features, entities, **options):
        return self._record("online", features, entities, options)

    def historical(self, features, entity_df, **options):
        return self._record("historical", features, entity_df, options)

    def cql(self, statement, parameters=(), *, limit=1_000):
        self.calls.append(("cql", statement, list(parameters), limit))
        frame = pd.DataFrame({"n": range(3)})
        frame.attrs["has_more"] = limit is not None
        return frame

    def skew(self, view_or_features, **options):
        return self._record("skew", view_or_features, options)

    def latency(self, features, entities=None, **options):
        return self._record("latency", features, entities, options)


@pytest.fixture
def ws(shell):
    shell.user_ns["ws"] = recorder = Recorder()
    return recorder


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """What `connect` was called with, and what it returned, without connecting."""
    calls = []

    def connect(target=None, **options):
        calls.append((target, options, Recorder(f"number {len(calls)}")))
        return calls[-1][2]

    monkeypatch.setattr(workspace_module, "connect", connect)
    for name in ("CASSANDRA_USERNAME", "CASSANDRA_PASSWORD", "ASTRA_DB_APPLICATION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CASSANDRA_CONTACT_POINTS", "10.0.0.1")  # something is configured
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "profile.json"))
    return calls


# --- loading ---------------------------------------------------------------------------------------------------------


def test_loading_and_help_touch_no_network_and_import_nothing_heavy():
    command = [sys.executable, "-c", LIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "heavy: []" in done.stdout
    assert "connect astra" in done.stdout


def test_loading_twice_keeps_the_current_workspace(shell, opened):
    run(shell, "%feastra connect -q")
    load_ipython_extension(shell)
    assert run(shell, "%feastra status") == ("status",)
    assert not opened[0][2].is_closed


@pytest.mark.usefixtures("ws")
def test_unloading_takes_the_magics_away_and_loading_brings_them_back(shell):
    def traces():
        found = [find(name) for find in (shell.find_line_magic, shell.find_cell_magic) for name in ("feastra", "cql")]
        own = [one for one in shell.configurables if type(one).__name__ == "FeastraMagics"]
        matchers = [one for one in shell.Completer.custom_matchers if one.matcher_identifier == "feastra"]
        return [*filter(None, found), *own, *matchers]

    assert len(traces()) == 6
    unload_ipython_extension(shell)
    unload_ipython_extension(shell)
    assert traces() == []
    load_ipython_extension(shell)
    assert run(shell, "%feastra status") == ("status",)


def test_unloading_closes_what_it_opened_unless_a_variable_holds_it(shell, opened):
    run(shell, "%feastra connect -q")
    unload_ipython_extension(shell)
    assert opened[0][2].is_closed
    load_ipython_extension(shell)
    run(shell, "%feastra connect -o ws")
    unload_ipython_extension(shell)
    assert not opened[1][2].is_closed


# --- the line --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        (" views  plane ", ["views", "plane"]),
        ("views 'two words'", ["views", "two words"]),
        ("views ''", ["views", ""]),
        (r"connect astra --bundle C:\Users\me\scb.zip", ["connect", "astra", "--bundle", r"C:\Users\me\scb.zip"]),
        ("online a --entities {'k': ['x y', '{']}", ["online", "a", "--entities", "{'k': ['x y', '{']}"]),
    ],
)
def test_words_end_at_spaces_outside_quotes_and_brackets(line, words):
    assert split_words(line) == words


@pytest.mark.parametrize("line", ["views 'plane", "online a --entities {'k': [1]", "views ]"])
def test_an_open_quote_or_bracket_is_an_error(line):
    with pytest.raises(ConfigurationError, match=r"not closed|do not match"):
        split_words(line)


def test_a_variable_in_braces_is_replaced_and_a_value_with_spaces_stays_one_word():
    values = {"view": "plane", "when": pd.Timestamp("2013-11-03 14:03"), "n": 3}
    assert fill_words(["{view}:delay", "{when}", "{n}"], values) == ["plane:delay", "2013-11-03 14:03:00", "3"]


def test_a_mistyped_variable_in_braces_is_an_error_with_the_closest_name(shell, ws):
    shell.user_ns["search_text"] = "plane"
    with pytest.raises(ConfigurationError, match=r"no variable 'search_txt'[^$]*did you mean search_text"):
        run(shell, "%feastra views {search_txt}")
    assert ws.calls == []


@pytest.mark.usefixtures("ws")
def test_a_frame_in_braces_is_an_error_that_says_how(shell):
    shell.user_ns["df"] = pd.DataFrame({"k": [1]})
    with pytest.raises(ConfigurationError, match="without the braces: df"):
        run(shell, "%feastra online a:b --entities {df}")


@pytest.mark.usefixtures("ws")
def test_dollar_signs_are_no_variables(shell):
    assert run(shell, "%feastra views $ws") == ("views", "$ws")


# --- what the subcommands call ---------------------------------------------------------------------------------------


def test_online_passes_the_frame_itself_and_only_the_options_on_the_line(shell, ws):
    shell.user_ns["df"] = df = pd.DataFrame({"k": [1]})
    run(shell, "%feastra online a:b a:c --entities df --as-of '2013-11-03 14:03' --timestamps")
    ((verb, features, entities, options),) = ws.calls
    assert (verb, features, options) == ("online", ["a:b", "a:c"], {"as_of": "2013-11-03 14:03", "timestamps": True})
    assert entities is df


@pytest.mark.usefixtures("ws")
def test_online_takes_a_dict_as_it_stands(shell):
    line = '%feastra online a --entities {"tailnum": ["N14228", "N2 X"]} --status --full-feature-names'
    assert run(shell, line) == (
        "online",
        "a",
        {"tailnum": ["N14228", "N2 X"]},
        {"status": True, "full_feature_names": True},
    )


@pytest.mark.usefixtures("ws")
def test_features_may_stand_before_and_after_options(shell):
    assert run(shell, "%feastra online a:b --entities {'k': [1]} a:c")[1] == ["a:b", "a:c"]


@pytest.mark.usefixtures("ws")
def test_features_may_come_from_a_list(shell):
    shell.user_ns["features"] = ["a:b", "a:c"]
    assert run(shell, "%feastra online {features} --entities {'k': [1]}")[1] == ["a:b", "a:c"]


@pytest.mark.usefixtures("ws")
def test_skew_and_latency_pass_their_options_as_numbers_and_frames(shell):
    shell.user_ns["spine"] = spine = pd.DataFrame({"k": [1]})
    _, view, options = run(shell, "%feastra skew plane --spine spine --known-at as_of --sample 100")
    assert (view, options["known_at"], options["sample"]) == ("plane", "as_of", 100)
    assert options["spine"] is spine
    assert run(shell, "%feastra latency plane --seconds 0.5 --batch 1 10 --concurrency 2") == (
        "latency",
        "plane",
        None,
        {"seconds": 0.5, "batch": [1, 10], "concurrency": 2, "progress": True},
    )


@pytest.mark.usefixtures("ws")
def test_latency_takes_every_option_of_the_function(shell):
    line = "latency a:b --rate 50 --arrivals poisson --warmup 0 --consistency ONE TWO --target feast driver --keys zipf"
    _, features, entities, options = run(shell, f"%feastra {line} --entities {{'k': [1]}}")
    assert (features, entities) == ("a:b", {"k": [1]})
    assert options == {
        "rate": 50.0, "arrivals": "poisson", "warmup_s": 0.0, "consistency": ["ONE", "TWO"],
        "target": ["feast", "driver"], "keys": "zipf", "progress": True,
    }  # fmt: skip


@pytest.mark.usefixtures("ws")
def test_a_variable_of_the_calling_function_is_found(shell):
    run(shell, "def read(frame):\n    return get_ipython().run_line_magic('feastra', 'online a --entities frame')")
    assert run(shell, "read({'k': [1]})")[2] == {"k": [1]}


def test_materialize_takes_a_frame_and_the_view_it_becomes_or_a_registered_view(shell, ws):
    shell.user_ns["df"] = df = pd.DataFrame({"k": [1]})
    line = "%feastra materialize df plane --keys k j --timestamp at --ttl 1d --retain all --allow-future"
    _, data, view, options = run(shell, line)
    assert (data is df, view) == (True, "plane")
    assert options == {
        "keys": ["k", "j"], "timestamp": "at", "ttl": "1d", "retain": "all", "allow_future": True, "progress": True,
    }  # fmt: skip
    run(shell, "%feastra materialize plane --start 2026-01-01 -q")
    assert ws.calls[-1] == ("materialize", "plane", None, {"start": "2026-01-01", "progress": False})
    with pytest.raises(ConfigurationError, match="no variable 'dff'"):
        run(shell, "%feastra materialize dff plane")


@pytest.mark.usefixtures("ws")
def test_historical_takes_a_frame_by_name(shell):
    shell.user_ns["spine"] = spine = pd.DataFrame({"k": [1]})
    _, features, frame, options = run(shell, "%feastra historical a:b a:c --entities spine --known-at as_of")
    assert (features, frame is spine, options) == (["a:b", "a:c"], True, {"known_at": "as_of"})


# --- cells -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ws")
def test_the_query_of_a_cell_makes_the_entity_frame_from_the_notebooks_frames(shell):
    shell.user_ns["df"] = pd.DataFrame({"k": ["a", "b", None], "n": pd.array([2**60, None, 1], dtype="Int64")})
    shell.user_ns["wanted"] = ["a", "b"]
    cell = (
        "%%feastra historical plane --full-feature-names\n# NBVAL_CHECK_OUTPUT\nSELECT k, n FROM df WHERE k IN {wanted}"
    )
    _, features, frame, options = run(shell, cell)
    assert (features, options) == ("plane", {"full_feature_names": True})
    assert frame["k"].tolist() == ["a", "b"]
    assert frame["n"].tolist() == [2**60, pd.NA]


@pytest.mark.usefixtures("ws")
def test_a_query_reads_arrow_tables_and_gives_times_in_utc(shell):
    run(shell, "import pyarrow as pa, pandas as pd\nlog = pa.table({'t': pd.to_datetime(['2026-01-02 03:04Z'])})")
    frame = run(shell, "%%feastra historical plane\nSELECT t + INTERVAL 1 HOUR AS event_timestamp FROM log")[2]
    assert frame["event_timestamp"].tolist() == [pd.Timestamp("2026-01-02 04:04", tz="UTC")]


@pytest.mark.parametrize(
    ("body", "happened", "hint"),
    [
        (" ", "there is no query in the cell", "SELECT"),
        ("SELECT * FROM dff", "there is no DataFrame 'dff' in this notebook", "did you mean df?"),
        ("SELECT kk FROM df", 'Referenced column "kk" not found', 'Candidate bindings: "k"'),
        ("SELEC k", "Parser Error", "LINE 1"),
        ("SELECT k FROM df WHERE k = {kk}", "there is no variable 'kk' in this notebook", ""),
        ("CREATE TABLE t (a INT)", "the cell's query returns no table", "SELECT"),
        ("SELECT * FROM df, DF", "SQL cannot tell df from DF", "another name"),
    ],
)
def test_a_wrong_query_is_one_error_of_ours(shell, ws, body, happened, hint):
    shell.user_ns["df"] = pd.DataFrame({"k": [1]})
    if "DF" in body:
        shell.user_ns["DF"] = pd.DataFrame({"k": [1]})
    with pytest.raises(ConfigurationError) as caught:
        shell.run_cell_magic("feastra", "historical plane", body)
    assert happened in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message
    assert ws.calls == []


def test_historical_wants_one_entity_frame(shell, ws):
    shell.user_ns["df"] = pd.DataFrame({"k": [1]})
    for code in ("%feastra historical plane", "%%feastra historical plane --entities df\nSELECT 1"):
        with pytest.raises(ConfigurationError, match=r"one entity frame|an entity frame"):
            run(shell, code)
    assert ws.calls == []


def test_a_subcommand_without_a_cell_says_so(shell, ws):
    with pytest.raises(ConfigurationError, match="%%feastra views takes no cell") as caught:
        run(shell, "%%feastra views plane\nSELECT 1")
    assert "%feastra views plane" in caught.value.hint
    assert ws.calls == []


@pytest.mark.parametrize("code", ["%feastra views --serch x", "%%feastra historical a --entitis x\nSELECT 1"])
@pytest.mark.usefixtures("ws")
def test_an_unknown_option_is_an_error_in_line_and_cell_form_alike(shell, code):
    with pytest.raises(ConfigurationError, match="has no option '--"):
        run(shell, code)


def test_cql_runs_the_cell_or_the_rest_of_the_line(shell, ws, capsys):
    shell.user_ns["n"] = 3
    cell = run(shell, "%%cql --limit 20\n# NBVAL_IGNORE_OUTPUT\nSELECT *\nFROM plane WHERE k = {n} AND s = '{n}'")
    assert ws.calls == [("cql", "SELECT *\nFROM plane WHERE k = ? AND s = '{n}'", [3], 20)]
    assert len(cell) == 3
    assert "the first 3 rows; --limit 30 or --limit all" in capsys.readouterr().err
    assert run(shell, "%cql -o rows --limit all SELECT * FROM plane -- all of it") is None
    assert ws.calls[-1] == ("cql", "SELECT * FROM plane -- all of it", [], None)
    assert len(shell.user_ns["rows"]) == 3
    assert run(shell, "%cql -q SELECT 1") is None
    assert ws.calls[-1] == ("cql", "SELECT 1", [], 1_000)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", ["%cql --limt 3 SELECT 1", "%%cql --limt 3\nSELECT 1"])
def test_a_wrong_option_of_cql_is_an_error_with_the_close_name(shell, ws, code):
    with pytest.raises(ConfigurationError, match="%%cql has no option '--limt'") as caught:
        run(shell, code)
    assert caught.value.hint == "did you mean --limit?"
    assert ws.calls == []


@pytest.mark.parametrize("limit", ["none", "0", "-1", "1.5"])
def test_a_limit_is_a_number_or_all(shell, ws, limit):
    with pytest.raises(ConfigurationError, match="limit"):
        run(shell, f"%%cql --limit {limit}\nSELECT 1")
    assert ws.calls == []


def test_cql_has_help(shell, capsys):
    run(shell, "%cql --help")
    run(shell, "%%cql -h\n\n")
    shown = capsys.readouterr().out
    assert shown.count("--limit N|all") == 4
    assert shown.endswith("example:\n  %%cql --limit 20\n  SELECT * FROM plane_stats\n")


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(shell, tmp_path, monkeypatch):
    """Write a ``pyproject.toml`` above the folder of the notebook, and load the extension anew."""
    folder = tmp_path / "project" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)

    def load(text, where=folder.parent):
        (where / "pyproject.toml").write_text(text, "utf-8")
        unload_ipython_extension(shell)
        load_ipython_extension(shell)
        return shell.magics_manager.registry["FeastraMagics"]

    return load


def test_settings_come_from_the_nearest_pyproject_that_has_some(settings, opened, shell, tmp_path):
    magics = settings('[tool.feastra]\nverbosity = 0\nlimit = 5\nproject = "air"\ndirectory = "store"\n')
    assert (magics.verbosity, magics.limit) == (0, 5)
    (tmp_path / "project" / "notebooks" / "pyproject.toml").write_text("[tool.ruff]\n")
    run(shell, "%feastra connect local -q")
    run(shell, "%feastra connect local --project sea -q")
    folder = str(tmp_path / "project" / "store")
    assert [options for _, options, _ in opened] == [
        {"project": "air", "directory": folder}, {"project": "sea", "directory": folder},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "happened", "hint"),
    [
        ("[tool.feastra]\nverbsity = 1", "has no setting 'verbsity'", "did you mean verbosity?"),
        ('[tool.feastra]\nverbosity = "1"', "verbosity = '1' in [tool.feastra]", "a number"),
        ("[tool.feastra]\nverbosity = true", "is a bool", "a number"),
        ("[tool.feastra]\nverbosity = 3", "verbosity = 3 makes no sense", "2: the log"),
        ("[tool.feastra]\nproject = 1", "is a int", "a text"),
        ("[tool.feastra", "cannot read", "mend the file"),
    ],
)
def test_a_wrong_setting_fails_the_loading_and_says_what_is_wrong(settings, shell, text, happened, hint):
    with pytest.raises(ConfigurationError) as caught:
        settings(text)
    assert happened in caught.value.message
    assert hint in caught.value.hint
    assert shell.find_line_magic("feastra") is None


def test_verbosity_zero_shows_neither_progress_nor_notes(settings, shell, ws, capsys):
    settings("[tool.feastra]\nverbosity = 0")
    run(shell, "%feastra latency a")
    assert ws.calls[-1][3] == {"progress": False}
    assert len(run(shell, "%cql SELECT 1")) == 3
    assert capsys.readouterr().err == ""


def test_verbosity_two_shows_the_log_and_the_traceback(shell, ws, monkeypatch, capsys):
    def views(search=None):
        logging.getLogger("feastra_nb.connection").info("connected to %s", search)
        raise UnknownName("no such thing")

    monkeypatch.setattr(ws, "views", views)
    run(shell, "%config FeastraMagics.verbosity = 2")
    shell.run_cell("%feastra views plane")
    said = capsys.readouterr()
    assert "feastra_nb.connection: connected to plane" in said.err
    assert "in views" in said.out
    assert said.out.rstrip().endswith("UnknownName: no such thing")
    run(shell, "%config FeastraMagics.verbosity = 1")
    shell.run_cell("%feastra views plane")
    said = capsys.readouterr()
    assert said.out == "UnknownName: no such thing\n"
    assert said.err == ""


# --- what is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ws")
def test_a_result_is_shown_once(shell, capsys):
    run(shell, "%feastra views plane")
    assert capsys.readouterr().out.count("('views', 'plane')") == 1


@pytest.mark.usefixtures("ws")
def test_a_result_can_be_assigned_from_the_line(shell, capsys):
    assert run(shell, "found = %feastra views plane") is None
    assert run(shell, "%feastra status -o where") is None
    assert capsys.readouterr().out == ""
    assert (shell.user_ns["found"], shell.user_ns["where"]) == (("views", "plane"), ("status",))


def test_q_shows_nothing_neither_result_nor_progress(shell, ws, capsys):
    assert run(shell, "%feastra latency a -q") is None
    assert capsys.readouterr().out == ""
    assert ws.calls[0][3] == {"progress": False}


def test_o_wants_a_name(shell, ws):
    with pytest.raises(ConfigurationError, match="'class' is not a name for a variable"):
        run(shell, "%feastra views -o class")
    assert ws.calls == []


@pytest.mark.parametrize("line", ["", "--help", "-h"])
def test_help_lists_every_subcommand(shell, capsys, line):
    run(shell, f"%feastra {line}")
    shown = capsys.readouterr().out
    assert all(word in shown for word in (*COMMANDS, "-o NAME", "%%feastra historical", "%%cql"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_help_even_where_arguments_are_missing(shell, capsys, name):
    assert run(shell, f"%feastra {name} --help") is None
    shown = capsys.readouterr().out
    assert f"usage: %feastra {name} " in shown
    example = COMMANDS[name].example
    assert shown.endswith("example:\n  " + example.replace("\n", "\n  ") + "\n")
    line, _end, cell = example.partition("\n")
    magic, *words = split_words(line)
    assert magic == ("%%feastra" if cell else "%feastra")
    assert find_command(words)[0] == name
    COMMANDS[name].parser(name).parse(find_command(words)[1])
    assert COMMANDS[name].takes_cell or not cell


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "happened", "hint"),
    [
        ("veiws", "%feastra has no subcommand 'veiws'", "did you mean views?"),
        ("views --serch x", "%feastra views has no option '--serch'", "known names: "),
        ("skew a --sampel 3", "%feastra skew has no option '--sampel'", "did you mean --sample"),
        ("connect lokal", "%feastra connect has no target 'lokal'", "did you mean local?"),
        (
            "connect hosts h --usernam me",
            "%feastra connect hosts has no option '--usernam'",
            "did you mean --username?",
        ),
        ("online a:b", "%feastra online: the following arguments are required: --entities", "usage: %feastra online"),
        ("latency a --seconds long", "%feastra latency: argument --seconds: invalid float value: 'long'", "usage: "),
        ("status now", "%feastra status: unrecognized arguments: now", "usage: %feastra status"),
        ("online a --entities wss", "there is no variable 'wss' in this notebook", "did you mean ws?"),
        ("online a --entities {'k': k}", "{'k': k} is neither a dict nor a list", '{"tailnum": ["N14228"]}'),
    ],
)
def test_a_wrong_line_is_one_error_of_ours_with_what_to_do(shell, ws, line, happened, hint):
    with pytest.raises(ConfigurationError) as caught:
        run(shell, f"%feastra {line}")
    assert caught.value.message == happened
    assert hint in caught.value.hint
    assert ws.calls == []


@pytest.mark.usefixtures("ws")
def test_an_error_is_shown_in_two_lines(shell, capsys):
    shell.run_cell("%feastra veiws")
    shown = capsys.readouterr().out.strip().splitlines()
    assert shown == ["ConfigurationError: %feastra has no subcommand 'veiws'", "Hint: did you mean views?"]


@pytest.mark.parametrize("line", ["--password swordfish", "--password=swordfish", "--token swordfish", "-pswordfish"])
def test_a_password_on_the_line_is_refused_and_never_repeated(shell, opened, line):
    with pytest.raises(ConfigurationError) as caught:
        run(shell, f"%feastra connect hosts 10.0.0.1 {line}")
    assert "swordfish" not in str(caught.value)
    assert opened == []


# --- the current workspace -------------------------------------------------------------------------------------------


def test_without_a_workspace_the_error_says_how_to_get_one(shell):
    with pytest.raises(ConfigurationError, match=r"no workspace yet[^$]*%feastra connect"):
        run(shell, "%feastra views")


def test_the_only_workspace_is_used_under_however_many_names(shell, ws):
    shell.user_ns["same"] = ws
    assert run(shell, "%feastra status") == ("status",)


def test_of_several_workspaces_one_has_to_be_chosen(shell, ws):
    shell.user_ns["other"] = other = Recorder("other")
    with pytest.raises(ConfigurationError, match=r"2 workspaces: ws, other"):
        run(shell, "%feastra status")
    assert run(shell, "%feastra connect --workspace other") is other
    run(shell, "%feastra status")
    assert (len(ws.calls), len(other.calls)) == (0, 1)


def test_something_else_than_a_workspace_is_refused(shell):
    shell.user_ns["df"] = pd.DataFrame()
    with pytest.raises(ConfigurationError, match="df is a DataFrame, no workspace"):
        run(shell, "%feastra connect --workspace df")


def test_connecting_makes_the_current_workspace_and_closes_the_one_it_opened_before(shell, opened):
    run(shell, "%feastra connect -q")
    run(shell, "%feastra connect -o kept")
    run(shell, "%feastra connect -q")
    assert [workspace.is_closed for _, _, workspace in opened] == [True, False, False]
    run(shell, "%feastra views -q")
    assert [len(workspace.calls) for _, _, workspace in opened] == [0, 0, 1]


@pytest.mark.usefixtures("opened")
def test_a_failed_connect_leaves_the_current_workspace(shell, monkeypatch):
    run(shell, "%feastra connect -q")

    def refuse(*_args, **_options):
        raise ConfigurationError("no")

    monkeypatch.setattr(workspace_module, "connect", refuse)
    with pytest.raises(ConfigurationError, match="no"):
        run(shell, "%feastra connect")
    assert run(shell, "%feastra status") == ("status",)


# --- connect ---------------------------------------------------------------------------------------------------------


def test_connect_where_nothing_is_configured_shows_the_form_and_takes_its_workspace(shell, opened, monkeypatch):
    monkeypatch.delenv("CASSANDRA_CONTACT_POINTS")
    form = run(shell, "%feastra connect --project p --read-only")
    assert repr(form) == "ConnectForm(target='local', not connected)"
    assert opened == []
    form.button.click()
    assert opened[0][1] == {"project": "p", "directory": ".feastra", "retain": "7d", "read_only": True}
    assert shell.magics_manager.registry["FeastraMagics"].current is opened[0][2]


def test_connect_without_a_target_leaves_the_choice_to_connect(shell, opened):
    assert run(shell, "%feastra connect") is opened[0][2]
    assert opened[0][:2] == (None, {})


def test_connect_local_passes_its_options(shell, opened):
    run(shell, "%feastra connect local --project p --keyspace k --directory d --retain 30d --read-only -q")
    options = {"project": "p", "keyspace": "k", "directory": "d", "retain": "30d", "read_only": True}
    assert opened[0][:2] == (fnb.Local(), options)


def test_connect_hosts_takes_the_password_from_the_environment(shell, opened, monkeypatch):
    monkeypatch.setenv("CASSANDRA_PASSWORD", "swordfish")
    run(shell, "%feastra connect hosts 10.0.0.1 10.0.0.2 --port 9999 --username me --project p -q")
    target, options, _ = opened[0]
    assert target == fnb.Hosts(["10.0.0.1", "10.0.0.2"], port=9999, username="me", password="swordfish")  # noqa: S106
    assert options == {"project": "p"}


def test_connect_hosts_without_its_password_says_where_to_put_it(shell, opened):
    with pytest.raises(ConfigurationError, match=r"no password for the user 'me'[^$]*CASSANDRA_PASSWORD"):
        run(shell, "%feastra connect hosts 10.0.0.1 --username me")
    assert opened == []


def test_connect_astra_takes_the_token_from_the_environment(shell, opened, monkeypatch):
    run(shell, "%feastra connect astra --bundle scb.zip -q")
    run(shell, "%feastra connect astra my-db --region us-east1 --resume --keyspace k --project p -q")
    assert opened[0][0] == fnb.Astra(bundle="scb.zip")
    assert opened[1][:2] == (fnb.Astra("my-db", region="us-east1", resume=True), {"keyspace": "k", "project": "p"})


# --- in a notebook that nobody watches -------------------------------------------------------------------------------


def notebook(path, *cells):
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(content, path)
    return content


@pytest.mark.slow
def test_a_failing_magic_fails_the_notebook(tmp_path):
    content = notebook(tmp_path / "bad.ipynb", "%load_ext feastra_nb", "%feastra veiws")
    with pytest.raises(CellExecutionError, match="ConfigurationError"):
        NotebookClient(content, timeout=60).execute()
    (output,) = content.cells[1].outputs
    assert (output.output_type, output.ename) == ("error", "ConfigurationError")


@pytest.mark.slow
def test_nbval_passes_a_good_notebook_and_fails_a_failing_magic(tmp_path):
    notebook(tmp_path / "good.ipynb", "%load_ext feastra_nb", "%feastra --help", "%feastra online --help")
    notebook(tmp_path / "bad.ipynb", "%load_ext feastra_nb", "%feastra veiws")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "FAILED bad.ipynb::Cell 1" in done.stdout
    assert "1 failed, 4 passed" in done.stdout


# --- against a real Cassandra ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def default_node():
    """The node that ``%feastra connect local`` starts: it outlives the tests, as it does a notebook."""
    return fnb.Local()


@pytest.fixture(scope="module")
def filled(default_node, tmp_path_factory):
    """A folder whose feature store, on a local Cassandra, holds two planes."""
    directory = tmp_path_factory.mktemp("magics") / ".feastra"
    now = pd.Timestamp.now(tz="UTC").floor("s")
    planes = pd.DataFrame(
        {"tailnum": ["N1", "N2"], "mean_delay": [1.5, 2.5], "event_timestamp": [now - pd.Timedelta("1h")] * 2}
    )
    with fnb.connect(default_node, directory=directory) as ws:
        ws.materialize(planes, "planes", keys=["tailnum"], progress=False)
        yield directory
        ws.session.execute(f"DROP KEYSPACE {ws.keyspace}")


def test_every_subcommand_works_on_a_real_store(shell, filled):
    shell.user_ns["directory"] = filled
    run(shell, "%feastra connect local --directory {directory} -q")
    assert list(run(shell, "%feastra views plane")["view"]) == ["planes"]
    assert "127.0.0.1" in repr(run(shell, "%feastra status"))
    shell.user_ns["df"] = pd.DataFrame({"tailnum": ["N2", "N1", "N2"]})
    read = run(shell, "%feastra online planes:mean_delay --entities df")
    assert list(read["mean_delay"]) == [2.5, 1.5, 2.5]
    joined = run(shell, "%%feastra historical planes\nSELECT tailnum, now() AS event_timestamp FROM df")
    assert list(joined["mean_delay"]) == [2.5, 1.5, 2.5]
    assert sorted(run(shell, "%%cql\nSELECT * FROM planes")["mean_delay"]) == [1.5, 2.5]
    report = run(shell, "%feastra skew planes")
    assert set(report.frame["verdict"]) == {"match"}
    measured = run(shell, "%feastra latency planes --seconds 0.3 --batch 1 2")
    assert list(measured.frame["batch"]) == [1, 2]


def test_as_of_before_the_first_event_is_missing_on_a_real_store(shell, filled):
    shell.user_ns["directory"] = filled
    shell.user_ns["before"] = pd.Timestamp.now(tz="UTC") - pd.Timedelta("2h")
    run(shell, "%feastra connect local --directory {directory} -q")
    read = run(shell, "%feastra online planes --entities {'tailnum': ['N1']} --as-of {before}")
    assert read["mean_delay"].isna().all()


def test_an_error_of_the_workspace_comes_through_unchanged(shell, filled):
    shell.user_ns["directory"] = filled
    run(shell, "%feastra connect local --directory {directory} -q")
    with pytest.raises(UnknownName, match="did you mean planes"):
        run(shell, "%feastra online plane:mean_delay --entities {'tailnum': ['N1']}")


@pytest.mark.slow
def test_a_notebook_works_through_the_magic_from_start_to_end(filled, tmp_path):
    content = notebook(
        tmp_path / "good.ipynb",
        "%load_ext feastra_nb",
        f"%feastra connect local --directory {filled}",
        "%feastra online planes:mean_delay --entities {'tailnum': ['N1']}",
        "found = %feastra views\nassert list(found['view']) == ['planes']",
    )
    NotebookClient(content, timeout=120).execute()
    assert [len(cell.outputs) for cell in content.cells] == [0, 1, 1, 0]
    assert "mean_delay" in content.cells[2].outputs[0].data["text/html"]
