"""Where no widgets, no styles and no notebook are: reports and the form are static HTML, or text."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

from feastra_nb.reporting.stylesheet import STYLE

CELLS = (
    "import feastra_nb as fnb\nws = fnb.connect(repo='repo')\nreport = ws.skew('drivers')\nreport",
    "report.plot();",
    "ws.materialize('drivers')",
    "fnb.connect_form()",
)
SCRIPT = """
import feastra_nb as fnb
with fnb.connect(repo="repo") as ws:
    print(ws.skew("drivers"))
    print(ws.materialize("drivers"))
    print(fnb.connect_form())
    ws.online("nope", {"driver": [1]})
"""


@pytest.fixture
def folder(filled, tmp_path):
    """A folder with a saved repository in it."""
    filled.save(tmp_path / "repo")
    return tmp_path


@pytest.fixture
def executed(folder):
    """A notebook that ran where nobody watched."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=120, store_widget_state=False).execute(cwd=str(folder))
    return notebook


def test_a_notebook_as_html_holds_reports_whole_and_static(executed):
    page, _ = HTMLExporter().from_notebook_node(executed)
    assert STYLE in page
    assert "All 12 values compared (now) match." in page
    assert "Materialized: drivers" in page
    assert 'src="data:image/png;base64,' in page
    assert "a form, for a notebook that shows widgets; else fnb.connect(…)" in page
    assert "<progress" not in page  # the work is done


def test_a_notebook_as_text_holds_what_the_reports_say(executed):
    texts = [output["data"]["text/plain"] for cell in executed.cells for output in cell.outputs if "data" in output]
    said = "\n".join(texts)
    for words in ("All 12 values compared (now) match.", "drivers: 9 rows of 3 entities", "a form, for a notebook"):
        assert words in said
    assert "<div" not in said


def test_where_styles_are_stripped_the_text_stands_in_the_place_of_the_page(executed):
    text, _ = MarkdownExporter().from_notebook_node(executed)
    stripped = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert '<pre class="fnb-text">All 12 values compared (now) match.' in stripped
    assert '<div class="fnb-page" style="display:none" hidden>' in stripped  # which a browser does not show


@pytest.mark.parametrize(
    "program", [["-c", SCRIPT], ["-m", "IPython", "--no-banner", "-c", SCRIPT]], ids=["python", "ipython"]
)
def test_a_script_prints_text_and_raises_with_a_hint(folder, program):
    clean = {**os.environ, "IPYTHONDIR": str(folder / "ipython"), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *program], cwd=folder, capture_output=True, text=True, check=False, env=clean
    )
    assert "All 12 values compared (now) match." in done.stdout
    assert "drivers: 9 rows of 3 entities" in done.stdout
    assert "ConnectForm(target='local', not connected)" in done.stdout
    assert "there is no feature view 'nope'" in done.stdout + done.stderr
    assert "Hint: known names: drivers" in done.stdout + done.stderr
    assert "<div" not in done.stdout
