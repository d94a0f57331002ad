"""In a real JupyterLab, by a real browser: what a user of the quickstart and of the form sees.

``FEASTRA_PICTURES=docs/images pytest tests/test_jupyterlab.py`` (``make pictures``) makes the documentation's pictures anew;
look at them before they are committed.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN
from lab import (
    KEY,
    cell_with,
    chromium,
    chromium_browser,
    done,
    idle,
    jupyterlab,
    new_cell,
    new_page,
    open_notebook,
    photograph,
    run_all,
    run_cell,
    save,
    set_theme,
)
from lab_looks import bars_seen, contrasts_of_texts, too_wide_tables, watch_bars

playwright = pytest.importorskip("playwright.sync_api")

QUICKSTART = Path(__file__).parent.parent / "notebooks" / "quickstart.ipynb"
CELLS = (
    "import feastra_nb as fnb\nform = fnb.connect_form()\nform",
    "form.workspace.status()",
    'form.workspace.save("repo")',
)
PASSWORD = "a-password-that-nobody-may-see"  # noqa: S105 - of no use to anybody
RED = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
NARROW, WIDE, SHORT, MARGIN = 720, 900, 280, 8  # of pictures, in CSS pixels: beyond there would be nothing new
STOPS = 5
LEAST_CONTRAST = 4.5  # of text, by WCAG's level AA
STATUSES = """
from feastra_nb.notebook import html
html.page("Statuses", *[html.status(tone, tone) for tone in ("ok", "warn", "bad", "info", "unknown")], text="")
"""


@pytest.fixture(scope="module")
def browser():
    with chromium_browser(chromium()) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The folder that screenshots go to."""
    folder = os.environ.get("FEASTRA_PICTURES")
    return Path(folder).absolute() if folder else tmp_path_factory.mktemp("pictures")


# --- the form ----------------------------------------------------------------------------------------------------------


def test_the_form_in_jupyterlab_connects_by_keyboard_and_leaves_no_secret(browser, astra, tmp_path, pictures):
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, work / "form.ipynb")
    settings = {"ASTRA_DEVOPS_URL": astra.url, "FEASTRA_CACHE": str(tmp_path / "cache")}
    with jupyterlab(work, **settings) as url, new_page(browser) as page:
        open_notebook(page, url, "form.ipynb")
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.get_by_label("Where").select_option("Astra DB, by token")
        page.get_by_role("button", name="Connect", exact=True).press("Enter")
        page.get_by_text("4 fields are empty, see above").wait_for()
        assert page.get_by_text("is empty", exact=False).count() == 4
        page.locator(".jp-CodeCell").first.screenshot(path=tmp_path / "empty.png")
        token = page.get_by_label("Token", exact=True)
        token.focus()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Tab")  # the field is left, and the token leaves it
        page.keyboard.press("Tab")  # past the upload
        page.keyboard.press("Enter")
        page.get_by_text("1 databases: features").wait_for()
        assert token.input_value() == ""
        assert page.get_by_label("Database").input_value() == "features"
        page.get_by_label("Keyspace").fill("none")
        page.get_by_label("Project").fill("lab")
        page.get_by_role("button", name="Connect", exact=True).press("Enter")
        page.get_by_text("no keyspace 'none'").wait_for()
        page.locator(".jp-CodeCell").first.screenshot(path=tmp_path / "refused.png")
        token.fill(TOKEN)
        page.get_by_label("Keyspace").fill(KEYSPACE)
        page.get_by_role("button", name="Test", exact=True).press("Enter")
        page.get_by_text("it works: Workspace(").wait_for()
        page.get_by_role("button", name="Connect", exact=True).press("Enter")
        page.get_by_text("connected: Workspace(").wait_for()
        photograph(page, page.locator(".jp-CodeCell").first, pictures / "notebook_form.png")
        for cell in (1, 2):
            page.locator(".jp-CodeCell .cm-content").nth(cell).click()
            page.keyboard.press("Shift+Enter")
        page.locator(".jp-OutputArea-output").get_by_text("PosixPath").wait_for()
        idle(page)
        save(page)
        assert TOKEN not in page.content()
    saved = json.loads((work / "form.ipynb").read_text())
    assert saved["metadata"]["widgets"]
    assert "lab" in json.dumps(saved["metadata"]["widgets"])
    assert (work / "repo" / "feature_store.yaml").exists()
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert any(one.name == "history.sqlite" for one in files)
    assert [one for one in files if TOKEN.encode() in one.read_bytes()] == []


# --- the quickstart ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """The quickstart, open in JupyterLab and run, and then saved."""

    page: Any
    url: str
    folder: Path

    def read(self):
        return nbformat.read(self.folder / QUICKSTART.name, as_version=4)


@pytest.fixture(scope="module")
def ran(node, browser, tmp_path_factory):
    """The quickstart as a user runs it who has never been here; `connect()` finds the Cassandra of the tests."""
    folder = tmp_path_factory.mktemp("home") / "my notebooks"
    folder.mkdir()
    shutil.copy(QUICKSTART, folder)
    profile = folder.parent / "profile.json"
    profile.write_text(json.dumps({"target": "local", "name": node.name}))
    settings = {"FEASTRA_PROFILE": str(profile), "CASSANDRA_PASSWORD": PASSWORD}
    with jupyterlab(folder, **settings) as url, new_page(browser) as page:
        open_notebook(page, url, QUICKSTART.name)
        watch_bars(page)
        run_all(page)
        save(page)
        yield Ran(page, url, folder)


@pytest.fixture
def reconnected(ran):
    """The page, with a workspace in it: the quickstart closes its own."""
    run_cell(ran.page, "ws = fnb.connect()")
    return ran.page


def test_the_quickstart_says_nothing_in_red(ran):
    assert ran.page.locator(RED).all_inner_texts() == []


def test_progress_is_seen_while_rows_are_written_and_leaves_nothing(ran):
    bars = [bar for bar in bars_seen(ran.page) if "of 49,680 rows" in bar]
    assert bars[0] == "plane_stats: 0 of 49,680 rows, 0 rows/s"
    assert any(bar.endswith("s left") for bar in bars[1:]), bars
    assert ran.page.locator("progress").count() == 0
    outputs = ran.page.locator(".jp-OutputArea-child:not(:has(img))").all()
    assert [one.bounding_box()["height"] for one in outputs if not one.inner_text().strip()] == [0, 0]


def test_the_skew_report_names_the_cause_and_fits_the_page(ran, pictures):
    cell = cell_with(ran.page, "report = ws.skew")
    report = cell.locator(".fnb-page")
    assert report.get_by_role("heading").inner_text() == "Training-serving skew"
    assert "80 of 20,262 values compared (now) differ (0.39%)." in report.inner_text()
    card = report.locator(".fnb-card")
    assert (
        card.locator(".fnb-head").inner_text().startswith("✕ stale · flights, mean_delay · 80 of 6,754 values · up to ")
    )
    assert card.locator(".fnb-code").inner_text().startswith('ws.materialize("plane_stats", start="')
    features = report.locator(".fnb-table").first
    assert features.locator("tbody tr").nth(0).inner_text().split() == [
        "flights", "1.18%", "(40)", "3,377", "stale", "40", "the", "same",
    ]  # fmt: skip
    assert "4 features match in all values: share_late, mean_distance" in report.inner_text()
    photograph(ran.page, cell, pictures / "notebook_skew.png")
    evidence = report.locator("details", has_text="Evidence")
    evidence.locator("summary").click()
    assert "no run covers the newer event" in evidence.inner_text()
    photograph(ran.page, evidence, pictures / "notebook_evidence.png", height=SHORT)
    evidence.locator("summary").click()


def test_no_table_is_wider_than_the_page(ran):
    assert ran.page.locator(".fnb-wide").count() > 2
    assert too_wide_tables(ran.page) == []


def test_plots_are_drawn(ran):
    pictures_of = {
        name: cell_with(ran.page, name).locator("img") for name in ("= ws.skew", "= ws.latency", "plt.subplots")
    }
    for name, drawn in pictures_of.items():
        loaded = drawn.evaluate_all("all => all.map(one => one.complete && one.naturalWidth > 300)")
        assert loaded, name
        assert all(loaded), name
    # Each picture is there in two inks, and one of them is seen.
    shown = pictures_of["= ws.latency"].evaluate_all(
        "all => all.filter(one => one.checkVisibility()).map(one => one.className)"
    )
    assert shown == ["fnb-light"]


@pytest.mark.parametrize("theme", ["JupyterLab Dark High Contrast", "JupyterLab Dark", "JupyterLab Light"])
def test_every_word_of_a_report_is_legible(ran, theme, pictures):
    set_theme(ran.page, theme)
    run_cell(ran.page, STATUSES)
    contrasts = contrasts_of_texts(ran.page)
    assert len(contrasts) > 100
    assert [(text, ratio) for text, ratio in contrasts if ratio < LEAST_CONTRAST] == []
    drawn = cell_with(ran.page, "= ws.latency").locator("img")
    seen = drawn.evaluate_all("all => all.filter(one => one.checkVisibility()).map(one => one.className)")
    assert seen == ["fnb-dark" if "Dark" in theme else "fnb-light"]
    if theme == "JupyterLab Dark":
        photograph(ran.page, cell_with(ran.page, "report = ws.skew"), pictures / "notebook_skew_dark.png")


def test_a_saved_notebook_is_exported_to_a_page_that_holds_the_reports_and_no_secret(ran, browser, tmp_path):
    server = ran.url.partition("/lab/")[0]
    export = f"{server}/nbconvert/html/{QUICKSTART.name}?token={KEY}"
    answer = httpx.get(export, trust_env=False, timeout=60, follow_redirects=True)
    answer.raise_for_status()
    exported = tmp_path / "quickstart.html"
    exported.write_text(answer.text, "utf-8")
    assert [word for word in (PASSWORD, KEY, "<progress") if word in answer.text] == []
    with new_page(browser) as page:
        page.goto(exported.as_uri())
        assert page.get_by_role("heading", name="Training-serving skew").is_visible()
        assert page.locator(".fnb-page").get_by_text("materialize the view up to it").is_visible()
        assert not page.locator(".fnb-text").first.is_visible()
        widths = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert len(widths) > 3
        assert all(widths)
        page.screenshot(path=tmp_path / "exported.png", full_page=True)


def test_a_notebook_that_is_not_trusted_shows_each_report_once_as_text(ran, browser):
    foreign = ran.read()
    foreign.cells = [cell for cell in foreign.cells if "report = ws.skew" in cell.source]
    foreign.cells[0].outputs[0].data["text/html"] += "<!-- from elsewhere -->"
    nbformat.write(foreign, ran.folder / "foreign.ipynb")
    with new_page(browser) as page:
        open_notebook(page, ran.url, "foreign.ipynb")
        shown = page.locator(".jp-OutputArea-output").inner_text()
    assert shown.count("80 of 20,262 values compared") == 1
    assert "an older event was served, the newer one is not online" in shown


# --- in a cell of one's own --------------------------------------------------------------------------------------------


def test_tab_completes_subcommands_views_and_features(reconnected, pictures):
    page = reconnected
    cell = new_cell(page, "%feastra ")
    assert tab(page)[:4] == ["connect", "status", "views", "materialize"]
    page.keyboard.press("Escape")
    page.keyboard.type("skew plane_stats --")
    words = tab(page)
    beside = page.locator(".jp-Completer-typeExtended").all_inner_texts()
    assert beside[words.index("--sample")].startswith("compare")
    top, list_of_words = cell.bounding_box(), page.locator(".jp-Completer").bounding_box()
    height = list_of_words["y"] + list_of_words["height"] + MARGIN - top["y"]
    page.screenshot(path=pictures / "notebook_options.png", clip={**top, "width": WIDE, "height": height})
    page.keyboard.press("Escape")
    for _letter in "skew plane_stats --":
        page.keyboard.press("Backspace")
    page.keyboard.type("online pl")
    words = tab(page)
    assert words[0] == "plane_stats"
    assert {"plane_stats:flights", "plane_stats:mean_delay"} <= set(words)
    assert page.locator(".jp-Completer-typeExtended").all_inner_texts()[:2] == ["view", "feature"]
    top, list_of_words = cell.bounding_box(), page.locator(".jp-Completer").bounding_box()
    height = list_of_words["y"] + list_of_words["height"] + MARGIN - top["y"]
    page.screenshot(path=pictures / "notebook_completion.png", clip={**top, "width": NARROW, "height": height})
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert cell.locator(".cm-content").inner_text() == f"%feastra online {words[2]}"


def tab(page):
    """Press Tab, and return the words that it offers."""
    offered = page.locator(".jp-Completer:visible .jp-Completer-item").first
    offered.wait_for(state="hidden")
    page.keyboard.press("Tab")
    offered.wait_for()
    return page.locator(".jp-Completer-match").all_inner_texts()


def test_a_mistake_is_told_in_two_lines(ran):
    cell = run_cell(ran.page, "%feastra veiws")
    told = cell.locator(".jp-OutputArea-output").inner_text()
    assert told.splitlines() == ["ConfigurationError: %feastra has no subcommand 'veiws'", "Hint: did you mean views?"]


def test_what_is_interrupted_says_how_far_it_came(reconnected, pictures):
    page = reconnected
    cell = new_cell(page, 'ws.materialize(stats, "all_year", keys=["tailnum"], retain="all")')
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "() => { const bar = document.querySelector('progress'); return bar && bar.position > 0.2; }"
    )
    photograph(page, cell, pictures / "notebook_progress.png", width=NARROW)
    stop(page, cell.get_by_text("all_year: stopped at "))
    done(cell)
    assert cell.locator("progress").count() == 0


def stop(page, told):
    """Press Stop until the cell tells of it: Python drops an interrupt that comes while it collects garbage."""
    for _time in range(STOPS):
        page.locator("[data-command='notebook:interrupt-kernel']").first.click()
        with suppress(playwright.TimeoutError):
            told.wait_for(timeout=1_500)
            return
    pytest.fail(f"{STOPS} interrupts were not heeded:\n{page.locator('.jp-CodeCell').last.inner_text()}")
