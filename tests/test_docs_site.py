"""The documentation site: it builds without a warning, documents every public name, and loads nothing from elsewhere."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import feastra_nb as fnb
from feastra_nb import errors
from feastra_nb.reporting.report import Report

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ANCHOR = re.compile(r'<h\d id="(feastra_nb[\w.]*)"')
LOADED = re.compile(r"""<(?:script\b|link rel=.?stylesheet\b)[^>]*\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def documented(site):
    """The last parts of the names that the reference has a heading for."""
    pages = (site / "docs" / "reference").rglob("*.html")
    return {name.rsplit(".", 1)[-1] for page in pages for name in ANCHOR.findall(page.read_text("utf-8"))}


def is_public_error(cls):
    return inspect.isclass(cls) and issubclass(cls, errors.FeastraError)


def test_every_page_and_notebook_is_in_the_site(site):
    pages = [f"docs/{page.stem}" for page in (ROOT / "docs").glob("*.md")]
    pages += [f"notebooks/{notebook.stem}" for notebook in NOTEBOOKS]
    assert [page for page in [".", *pages] if not (site / page / "index.html").is_file()] == []


def test_every_public_name_is_in_the_reference(documented):
    public = {name for name in fnb.__all__ if not name.endswith("_ipython_extension")}
    assert public - documented == set()


def test_every_method_of_a_workspace_is_in_the_reference(documented):
    methods = {name for name, _ in inspect.getmembers(fnb.Workspace, inspect.isfunction) if not name.startswith("_")}
    assert methods - documented == set()


def test_every_error_is_in_the_reference(documented):
    assert {cls.__name__ for cls in vars(errors).values() if is_public_error(cls)} - documented == set()


def test_every_report_is_in_the_reference(documented):
    for module in pkgutil.walk_packages(fnb.__path__, "feastra_nb."):
        importlib.import_module(module.name)
    assert {cls.__name__ for cls in Report.__subclasses__()} - documented == set()


def test_notebooks_are_shown_with_the_outputs_that_they_hold(site):
    text = (site / "notebooks" / "quickstart" / "index.html").read_text("utf-8")
    assert "49,680 events of 3,377 aircraft" in text


def test_the_folded_output_of_the_front_page_is_a_code_block(site):
    text = (site / "index.html").read_text("utf-8")
    folded = text.partition("<details")[2].partition("</details>")[0]
    assert "<code>" in folded
    assert "```" not in folded


def test_pages_load_no_script_and_no_stylesheet_from_elsewhere(site):
    loaded = {url for page in site.rglob("*.html") for url in LOADED.findall(page.read_text("utf-8"))}
    assert loaded == set()


def test_the_site_is_not_committed():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert f"{config.get('site_dir', 'site')}/" in (ROOT / ".gitignore").read_text("utf-8").split()
