"""JupyterLab in a real browser, for the tests that see what a user sees."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},  # the widgets' state goes into the notebook
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are in the page, too
    "@jupyterlab/completer-extension/manager": {
        "providerTimeout": 30_000
    },  # a second by default: little on a busy machine
}
READY_S, ENDED_S, WAIT_MS = 60, 180, 60_000  # a busy machine needs its time to end kernels, too
KEY = "key-of-the-lab"  # of a server on loopback that lives for one test
VIEW = {"width": 1280, "height": 1200}
RAN = re.compile(r"^\[\d+\]:$")  # the prompt of a cell that is done


def chromium():
    """Return the path of the browser; skip the test where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the PATH (Debian: chromium)")
    return path


@contextmanager
def jupyterlab(folder: Path, **environment):
    """Serve JupyterLab on a folder, with settings, history and profile of its own; yield its address."""
    home = folder.parent / "lab"
    for name, content in SETTINGS.items():
        path = home / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASTRA_", "CASSANDRA_"))}
    own = {
        "JUPYTERLAB_SETTINGS_DIR": home / "settings", "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_RUNTIME_DIR": home / "runtime", "IPYTHONDIR": home / "ipython",
        "FEASTRA_PROFILE": home / "profile.json", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    environment = {**kept, **{name: str(path) for name, path in own.items()}, **environment}
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", f"--ServerApp.root_dir={folder}"]
    with served(command, home / "server.log", env=environment) as url:
        yield f"{url}/lab/tree/{{}}?token={KEY}&reset"


@contextmanager
def served(command, log: Path, **options):
    """Run a command that becomes a Jupyter server, with options for it and for `Popen`; yield the server's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={KEY}"]
    with log.open("wb") as file:
        server = subprocess.Popen([*command, *own], stdout=file, stderr=file, **options)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}/api/status?token={KEY}", server, log)
        yield url
    finally:
        server.terminate()  # it ends its kernels
        server.wait(ENDED_S)


def _wait(url, server, log):
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(url)


@contextmanager
def chromium_browser(path):
    """Run a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser):
    """Open a page, with as many dots as a dense screen has."""
    page = browser.new_page(viewport=VIEW, device_scale_factor=2)
    page.set_default_timeout(WAIT_MS)
    try:
        yield page
    finally:
        page.close()


def open_notebook(page, url, name):
    """Open a notebook and wait for its kernel."""
    page.goto(url.format(name))
    idle(page)


def idle(page):
    """Wait until the kernel has nothing to do."""
    page.locator("#jp-main-statusbar").get_by_text("Python 3 (ipykernel) | Idle").wait_for()


def save(page):
    """Save the notebook, and wait until it is on the disk."""
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url):
        page.keyboard.press("Control+s")


def choose(page, *labels):
    """Choose from a menu of the menu bar, by the exact label at each step."""
    first, *between, last = labels
    page.locator(".lm-MenuBar-itemLabel").get_by_text(first, exact=True).click()
    for label in between:
        page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text(last, exact=True).click()


def run_all(page):
    """Run all cells, and wait until the last one is done."""
    choose(page, "Run", "Run All Cells")
    done(page.locator(".jp-CodeCell").last)
    idle(page)


def done(cell):
    """Wait until a cell has its number, instead of the star that it has while it runs."""
    cell.locator(".jp-InputPrompt").filter(has_text=RAN).wait_for()


def cell_with(page, code):
    """Return the one cell that holds such code."""
    return page.locator(".jp-CodeCell").filter(has=page.locator(".cm-content", has_text=code))


def new_cell(page, code):
    """Add a cell at the end, with the cursor behind its code, and return it."""
    page.locator(".jp-Cell .jp-InputPrompt").last.click()  # the cell is selected, with no cursor in it
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    cells = page.locator(".jp-CodeCell")
    cell = cells.nth(cells.count() - 1)
    cell.evaluate("cell => cell.scrollIntoView({block: 'center'})")  # with room for the words that complete it
    return cell


def run_cell(page, code):
    """Run code in a cell at the end, wait until it is done, and return the cell."""
    cell = new_cell(page, code)
    page.keyboard.press("Control+Enter")
    done(cell)
    return cell


def photograph(page, part, path, **size):
    """Take a picture of a cell or a part of one, with another cell selected; of its upper left, if a size is given."""
    page.locator(".jp-Cell .jp-InputPrompt").nth(1).click()
    page.mouse.move(0, 0)
    part.scroll_into_view_if_needed()
    page.screenshot(path=path, clip=part.bounding_box() | size)


def set_theme(page, name):
    """Switch JupyterLab to a theme."""
    choose(page, "Settings", "Theme", name)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
