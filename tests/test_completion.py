"""Tab, in the kernel: what can stand where the cursor is, and never an error."""

import time

import pandas as pd
import pytest
from cells import run_cell
from IPython.core.completer import provisionalcompleter
from jupyter_client.manager import start_new_kernel

from feastra_nb.notebook.completion import KINDS, Word
from feastra_nb.notebook.options import cql_parser
from feastra_nb.notebook.subcommands import COMMANDS


def shown(text):
    """Return a description as it stands beside a word: in one line, whatever the front end does at spaces and hyphens."""
    return Word("", "", text).beside


def described(parser):
    """Return what is shown beside each option."""
    about = {name: action.help for name, action in parser.options().items()}
    return {name: shown(text) for name, text in (about | {"--help": "show all options and an example"}).items()}


ABOUT = {
    about for name, command in COMMANDS.items() for about in (shown(command.summary), *described(command.parser(name)).values())
} | set(described(cql_parser()).values())  # fmt: skip


@pytest.fixture
def tab(shell, filled):
    """Press Tab behind a text, in a notebook with a workspace and two frames; return the words, and what they replace."""
    shell.user_ns |= {
        "ws": filled,
        "spine": pd.DataFrame({"driver": [1], "at": [0]}),
        "_hidden": pd.DataFrame(),
        "n": 3,
    }

    def press(text):
        with provisionalcompleter():
            found = list(shell.Completer.completions(text, len(text)))
        (replaced,) = {text[one.start : one.end] for one in found} or {""}
        return [one.text for one in found if one.type in {*KINDS, *ABOUT}], replaced

    return press


def words(tab, text):
    return set(tab(text)[0])


@pytest.mark.parametrize("line", ["%feastra ", "  %feastra ", "x = %feastra ", "%%feastra "])
def test_subcommands_come_first(tab, line):
    assert words(tab, line) == {name for name in COMMANDS if " " not in name} | {"--help"}
    assert tab(f"{line}ske") == (["skew"], "ske")


def test_targets_and_options_of_connect(tab):
    assert {"local", "hosts", "astra", "--workspace"} <= words(tab, "%feastra connect ")
    assert tab("%feastra connect as") == (["astra"], "as")
    assert "--bundle" in words(tab, "%feastra connect astra my-db --")
    assert words(tab, "%feastra connect --workspace ") == {"ws"}
    assert words(tab, "%feastra connect local --retain ") == {"7d", "all", "latest"}


def test_what_is_most_likely_meant_stands_first_and_options_last(tab):
    assert tab("%feastra ")[0] == [*(name for name in COMMANDS if " " not in name), "--help"]
    assert tab("%feastra connect ")[0][:3] == ["local", "hosts", "astra"]
    assert tab("%feastra skew ")[0][0] == "drivers"


def test_a_front_end_is_told_what_each_word_is(shell, tab):
    text = "%feastra online dri"
    with provisionalcompleter():
        kinds = {one.text: one.type for one in shell.Completer.completions(text, len(text))}
    assert kinds["drivers"] == "view"
    assert kinds["drivers:trips"] == "feature"


def beside(shell, text):
    with provisionalcompleter():
        return {one.text: one.type for one in shell.Completer.completions(text, len(text))}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described_beside_it(shell, tab, name):
    options = described(COMMANDS[name].parser(name))
    assert beside(shell, f"%feastra {name} -") == options
    assert all(options.values())


def test_subcommands_and_targets_are_described_beside_them(shell, tab):
    offered = beside(shell, "%feastra ")
    assert {name: offered[name] for name in offered if name != "--help"} == {
        name: shown(command.summary) for name, command in COMMANDS.items() if " " not in name
    }
    assert beside(shell, "%feastra connect as") == {"astra": shown(COMMANDS["connect astra"].summary)}


def test_what_stands_beside_a_word_is_one_short_line():
    assert [about for about in ABOUT if len(about) > 60 or {" ", "-", "\n"} & set(about)] == []


def test_options_that_stand_already_are_not_offered_again(tab):
    assert "--status" in words(tab, "%feastra online drivers --")
    assert "--status" not in words(tab, "%feastra online drivers --status --")


def test_views_and_then_their_features(tab):
    assert "drivers" in words(tab, "%feastra skew ")
    assert "drivers:trips" not in words(tab, "%feastra skew ")
    assert {"drivers", "drivers:trips", "drivers:city"} <= words(tab, "%feastra skew dri")
    assert tab("%feastra online drivers:ra") == (["drivers:rating"], "drivers:ra")
    assert "drivers:city" in words(tab, "%feastra online drivers:rating drivers:")
    assert tab("%feastra explain drivers:ra") == (["drivers:rating"], "drivers:ra")


def test_variables_where_a_frame_is_wanted(tab):
    assert words(tab, "%feastra skew drivers --spine ") == {"spine"}
    assert words(tab, "%feastra online drivers --entities sp") == {"spine"}
    assert {"spine", "drivers"} <= words(tab, "%feastra materialize ")
    assert {"drivers"} <= words(tab, "%feastra materialize spine ")


def test_words_of_a_choice(tab):
    assert words(tab, "%feastra latency drivers --keys ") == {"uniform", "zipf"}
    assert {"feast", "driver", "--rate"} <= words(tab, "%feastra latency drivers --target feast ")


def test_frames_and_columns_in_a_query(tab):
    assert {"spine", "driver", "at"} <= words(tab, "%%feastra historical drivers\nSELECT ")
    assert tab("%%feastra historical drivers\nSELECT spine.a") == (["spine.at"], "spine.a")


def test_options_of_cql(tab):
    assert words(tab, "%%cql --") == {"--limit", "--help"}
    assert words(tab, "%cql --limit a") == {"all"}


@pytest.mark.parametrize(
    "text",
    [
        "%feastra veiws ", "%feastra online 'dri", "%feastra online drivers --entities {'driver': [", "import o", "spine.",
        "%feastra_other ", "print('%feastra ", "%%cql\nSELECT ",
    ],
)  # fmt: skip
def test_elsewhere_python_completes_as_ever(tab, text):
    assert words(tab, text) == set()


def test_without_a_workspace_tab_says_nothing_and_raises_nothing(shell):
    with provisionalcompleter():
        found = list(shell.Completer.completions("%feastra skew dri", 17))
    assert [one.text for one in found if one.type in {*KINDS, *ABOUT}] == []


def test_a_registry_out_of_reach_is_no_error_at_tab(shell, tab, filled, monkeypatch):
    monkeypatch.setattr(filled.feast, "list_all_feature_views", lambda **_: 1 / 0)
    assert words(tab, "%feastra skew dri") == set()
    run_cell(shell, "%feastra --help")


@pytest.mark.slow
def test_a_kernel_completes_over_the_wire(tmp_path):
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        client.execute_interactive("%load_ext feastra_nb", timeout=60)
        text = "report = %feastra late"
        asked = client.complete(text, len(text))
        until = time.monotonic() + 60
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
            assert time.monotonic() < until
        assert reply["content"]["matches"] == ["latency"]
        assert reply["content"]["cursor_start"] == len(text) - len("late")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
