"""JupyterLab in a real browser, for the tests that see what a user sees."""

import json
import os
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
}
READY_S, WAIT_MS = 60, 60_000
KEY = "lab"  # of a server on loopback that lives for one test


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
        server.wait(30)


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
def browser_page(path):
    """Open a page in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        try:
            yield page
        finally:
            browser.close()


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
