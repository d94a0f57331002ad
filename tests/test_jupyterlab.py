"""In a real JupyterLab, by a real browser: the form is filled, connects, and leaves no secret anywhere."""

import json

import nbformat
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN
from lab import browser_page, chromium, idle, jupyterlab, open_notebook, save

pytest.importorskip("playwright")

CELLS = (
    "import feastra_nb as fnb\nform = fnb.connect_form()\nform",
    "form.workspace.status()",
    'form.workspace.save("repo")',
)


def test_the_form_in_jupyterlab_connects_by_keyboard_and_leaves_no_secret(astra, tmp_path, monkeypatch):
    path = chromium()
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, work / "form.ipynb")
    settings = {"ASTRA_DEVOPS_URL": astra.url, "FEASTRA_CACHE": str(tmp_path / "cache")}
    with jupyterlab(work, **settings) as url, browser_page(path) as page:
        open_notebook(page, url, "form.ipynb")
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.get_by_label("Where").select_option("Astra DB, by token")
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
        page.screenshot(path=tmp_path / "refused.png")
        token.fill(TOKEN)
        page.get_by_label("Keyspace").fill(KEYSPACE)
        page.get_by_role("button", name="Test", exact=True).press("Enter")
        page.get_by_text("it works: Workspace(").wait_for()
        page.get_by_role("button", name="Connect", exact=True).press("Enter")
        page.get_by_text("connected: Workspace(").wait_for()
        page.screenshot(path=tmp_path / "connected.png")
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
