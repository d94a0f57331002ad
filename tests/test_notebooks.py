"""Every notebook runs from top to bottom and shows what it is stored with; nbval runs the quickstart once more."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from feastra_nb.connection.local import LocalCassandra

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CELL_TIMEOUT_S = 180
CHECKED = "# NBVAL_CHECK_OUTPUT"
NOTICE = "Astra bills by use"
SECRETS = ("AstraCS:", "password=", "token=")


@pytest.fixture
def folder(node: LocalCassandra, tmp_path, monkeypatch):
    """A folder of a user who has never been here; `connect()` finds the Cassandra of the tests."""
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"target": "local", "name": node.name}))
    monkeypatch.setenv("FEASTRA_PROFILE", str(profile))
    for name in ("CASSANDRA_CONTACT_POINTS", "ASTRA_DB_SECURE_BUNDLE_PATH"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "my notebooks"
    work.mkdir()
    return work


@pytest.fixture
def on_astra(astra, tmp_path, monkeypatch):
    """The environment of a user of Astra, here of the stand-in."""
    for name, value in {"DB_APPLICATION_TOKEN": TOKEN, "DB_ID": "features", "DB_KEYSPACE": KEYSPACE}.items():
        monkeypatch.setenv(f"ASTRA_{name}", value)
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copy_of(folder, request):
    def copy(path: Path) -> Path:
        if path.stem == "astra":
            request.getfixturevalue("on_astra")
        return Path(shutil.copy(path, folder))

    return copy


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook with nbclient, which raises what a cell raises, and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=where).execute()


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def shows_picture(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_there_are_notebooks():
    assert NOTEBOOKS


def checked_outputs(notebook):
    """Return what nbval compares: the text of each cell that is marked for it, in however many pieces it came."""
    cells = [cell for cell in notebook.cells if cell.source.startswith(CHECKED)]
    texts = [[output.get("text") or output["data"]["text/plain"] for output in cell.outputs] for cell in cells]
    return ["".join(pieces) for pieces in texts]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom_and_shows_what_is_stored(path, copy_of):
    copy = copy_of(path)
    ran = run(copy)
    errors = [
        output
        for output in outputs_of(ran)
        if output.output_type == "error" or (output.get("name") == "stderr" and NOTICE not in output.text)
    ]
    assert not errors
    stored = checked_outputs(nbformat.read(path, as_version=4))
    assert stored
    assert checked_outputs(ran) == stored
    if path.stem == "quickstart":  # as it is stored, in the folder that the first run left
        again = nbval(copy)
        assert again.returncode == 0, again.stdout + again.stderr
    left = {entry.name for entry in copy.parent.iterdir()}
    assert left <= {copy.name, ".feastra", ".astra_demo", ".ipynb_checkpoints"}


def test_nbval_does_compare_the_checked_outputs(copy_of):
    copy = copy_of(FOLDER / "quickstart.ipynb")
    notebook = nbformat.read(copy, as_version=4)
    first = next(cell for cell in notebook.cells if cell.source.startswith(CHECKED))
    first.outputs[0].text = "something else\n"
    notebook.cells = notebook.cells[: notebook.cells.index(first) + 1]
    nbformat.write(notebook, copy)
    ran = nbval(copy)
    assert ran.returncode == 1
    assert "something else" in ran.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not any(output.output_type == "error" for output in cell.get("outputs", []))
        # An output that nbval compares is stored; any other is not.
        assert bool(cell.get("outputs")) == cell.source.startswith(CHECKED)
        assert not cell.metadata
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_secret_and_no_place(path):
    text = path.read_text("utf-8")
    assert not [secret for secret in SECRETS if secret in text]
    assert str(Path.home()) not in text
    assert str(FOLDER.parent) not in text


def test_figures_of_the_user_are_shown_after_one_of_ours(folder):
    # A backend that is chosen while our style is on must stay interactive when the style goes.
    cells = ["from feastra_nb.reporting import plots\nplots.figure_axes(None).plot([1, 2]);"]
    cells += ["import matplotlib.pyplot as plt\nplt.plot([1, 2]);"]
    path = folder / "plots.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    assert [shows_picture(cell) for cell in run(path).cells] == [True, True]


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    options = ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT_S}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(path.parent), "-c", "/dev/null", path.name]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
