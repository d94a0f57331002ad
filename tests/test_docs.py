"""The pages of README and docs/: every public name is in them, every example runs, every link leads somewhere."""

import dataclasses
import functools
import inspect
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import feastra_nb as fnb
from feastra_nb import cli, errors, flights
from feastra_nb.connection.astra import access
from feastra_nb.latency import capacity
from feastra_nb.materialization.run import Materialization
from feastra_nb.notebook.magics import FeastraMagics
from feastra_nb.notebook.subcommands import COMMANDS
from feastra_nb.online_store import FeastraOnlineStoreConfig
from feastra_nb.reporting.report import Report
from feastra_nb.skew.causes import ADVICE
from feastra_nb.workspace import Workspace

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
ROOMS = ("connection", "storage", "materialization", "retrieval", "skew", "latency", "notebook")
ALIKE = {"to_dict", "save", "plot", "frame"}  # of every report: said once


def blocks(page, language):
    """Return the blocks of a language that are run."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [body for unrun, kind, body in found if kind == language and not unrun]


def pages_with(language):
    return [pytest.param(page, id=page.stem) for page in PAGES if blocks(page, language)]


def is_documented(name):
    return re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", TEXT) is not None


# --- names -----------------------------------------------------------------------------------------------------------


def public_members(cls):
    own = {name for base in cls.__mro__ if base.__module__.startswith("feastra_nb") for name in vars(base)}
    fields = {one.name for one in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    return sorted(name for name in own | fields if not name.startswith("_"))


def test_every_public_name_is_in_a_page():
    names = [name for name in fnb.__all__ if not name.endswith("_ipython_extension")]
    names += [f"ws.{name}" for name in public_members(Workspace) if callable(getattr(Workspace, name))]
    names += [f"%feastra {name.split()[0]}" for name in COMMANDS]
    names += [f"feastra {name}" for name in cli.COMMANDS]
    names += list(FeastraMagics.kinds_of_settings())
    names += [value for name, value in vars(access).items() if name.endswith("_VARIABLE")]
    names += list(ADVICE)
    assert [name for name in names if not is_documented(name)] == []


def test_every_argument_of_the_front_door_is_in_a_page():
    methods = [getattr(Workspace, name) for name in public_members(Workspace)]
    functions = [fnb.connect, fnb.Local, fnb.Hosts, fnb.Astra, *filter(inspect.isfunction, methods)]
    unsaid = [
        f"{function.__qualname__}({name})"
        for function in functions
        for name in inspect.signature(function).parameters
        if name not in {"self", "kind", "error", "trace"} and not is_documented(name)
    ]
    assert unsaid == []


def test_every_report_is_described_by_its_own_docstring():
    for cls in (Materialization, *Report.__subclasses__()):
        described = inspect.getdoc(cls) or ""
        fields = [one.name for one in dataclasses.fields(cls) if not one.name.startswith("_")]
        assert [name for name in fields if name not in described] == [], cls
        for name in public_members(cls):
            member = inspect.getattr_static(cls, name, None)
            if isinstance(member, property) or inspect.isfunction(member):
                assert inspect.getdoc(member), (cls, name)


def test_every_error_that_a_user_can_catch_says_what_it_is():
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and issubclass(cls, errors.FeastraError):
            assert inspect.getdoc(cls), name


def test_rooms_and_pages_have_the_same_names():
    readme = PAGES[0].read_text("utf-8")
    package = ROOT / "feastra_nb"
    rooms = [folder.name for folder in package.iterdir() if (folder / "__init__.py").exists()]
    assert [room for room in rooms if f"feastra_nb/{room}/" not in readme and f"`{room}/`" not in readme] == []
    for room in ROOMS:
        assert (ROOT / "feastra_nb" / room).is_dir()
        assert (ROOT / "docs" / f"{room}.md").is_file()
        assert f"(docs/{room}.md)" in PAGES[0].read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_and_pictures_lead_somewhere(page):
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [one for one in targets if "://" not in one and not (page.parent / one).exists()]
    named = re.findall(r"`((?:notebooks|docs|benchmarks|tests|binder)/[\w./-]+)`", text)
    assert [*missing, *(one for one in named if not (ROOT / one).exists())] == []


# --- examples --------------------------------------------------------------------------------------------------------


class MeanDelay:
    """What examples call the model."""

    @staticmethod
    def predict(features):
        return features["mean_delay"].fillna(0).to_numpy(float)


@pytest.fixture
def reader(node, tmp_path, monkeypatch):
    """What is there when a reader comes to an example: a folder of their own, a view, and frames by the names that pages use."""
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"target": "local", "name": node.name}))
    monkeypatch.setenv("FEASTRA_PROFILE", str(profile))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capacity, "MOST_RATES", 1)
    for name in ("latency", "capacity"):
        monkeypatch.setattr(Workspace, name, hurried(getattr(Workspace, name)))
    stats = flights.load().plane_stats.tail(2_000)
    now = pd.Timestamp.now("UTC")
    df = stats.assign(event_timestamp=now - pd.to_timedelta(np.arange(len(stats), 0, -1), unit="min"))
    df.loc[df.index[-1], "tailnum"] = "N14228"
    keys = df[["tailnum"]].drop_duplicates().head(50)
    with fnb.connect(directory="examples") as ws:
        ws.materialize(df, "plane_stats", keys=["tailnum"], retain="all", progress=False)
        spine = keys.assign(event_timestamp=pd.Timestamp.now("UTC"))
        logged = ws.online("plane_stats", keys).assign(event_timestamp=pd.Timestamp.now("UTC"))
        yield {"fnb": fnb, "pd": pd, "ws": ws, "df": df, "spine": spine, "logged": logged, "model": MeanDelay}


def hurried(method):
    """Return a measuring method that takes a fraction of a second."""

    @functools.wraps(method)
    def quick(self, *args, **options):
        return method(self, *args, **(options | {"seconds": 0.2, "progress": False}))

    return quick


@pytest.mark.parametrize("page", pages_with("python"))
def test_every_python_example_runs(page, reader):
    opened = reader["ws"]
    for number, body in enumerate(blocks(page, "python"), 1):
        exec(compile(body, f"{page.name}, example {number}", "exec"), reader)  # noqa: S102 - our own pages
    if reader["ws"] is not opened:
        reader["ws"].close()


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_every_yaml_example_is_understood(page):
    for body in blocks(page, "yaml"):
        found = yaml.safe_load(body)
        assert set(found) <= {"project", "registry", "provider", "offline_store", "online_store", "batch_engine"}
        if "online_store" in found:
            FeastraOnlineStoreConfig(**found["online_store"])


@pytest.mark.parametrize("page", pages_with("toml"))
def test_every_setting_example_is_a_setting(page, tmp_path, monkeypatch):
    from feastra_nb.notebook.settings import read_settings

    for body in blocks(page, "toml"):
        (tmp_path / "pyproject.toml").write_text(body, "utf-8")
        assert read_settings(tmp_path, FeastraMagics.kinds_of_settings())


def lines_of(pages, word):
    """Return the commands in code blocks that begin with a word, also those behind a ``&&``."""
    text = "\n".join(body for page in pages for body in blocks(page, ""))
    return [found.strip() for found in re.findall(rf"(?:^|&& )({word} [\w-][^&|#\n]*)", text, re.MULTILINE)]


def test_every_command_of_an_example_is_one(capsys):
    lines = lines_of(PAGES, "feastra")
    assert len(lines) > 2
    for line in lines:
        try:
            cli._parser(cli.COMMANDS).parse_args(shlex.split(line)[1:])
        except SystemExit:
            pytest.fail(f"{line}: {capsys.readouterr().err}")


def test_every_magic_of_an_example_is_one():
    from feastra_nb.notebook.arguments import split_words
    from feastra_nb.notebook.subcommands import find_command

    lines = lines_of(PAGES, "%?%feastra")
    assert len(lines) > 3
    for line in lines:
        name, rest = find_command(split_words(line)[1:])
        COMMANDS[name].parser(name).parse(rest)


def test_every_make_target_of_an_example_is_one():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.split()[1] for line in lines_of(PAGES, "make")} <= set(targets)
    assert set(re.findall(r"`make ([a-z-]+)`", TEXT)) <= set(targets)
