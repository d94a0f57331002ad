"""Binder: the same steps as its image builder takes, in a clean environment, ending with the quickstart.

Measured on two cores: packages one minute, build ten seconds, notebook one minute.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
BINDER = ROOT / "binder"
SCRIPTS = [BINDER / "postBuild", BINDER / "start"]
PYTHON = "3.11"
MEMORY_MB = 2048  # what Binder gives to everything together
JUPYTER_MB = 400  # of which a JupyterLab server may take this much
# Of this process's environment, what a fresh machine has too; pip's own settings say where packages come from.
KEPT = re.compile(r"^(PATH|LANG|LC_.*|TZ|TMPDIR|PIP_.*|SSL_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY)$")


def requirements(lines):
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def run(command, *, env=None, cwd=None):
    return subprocess.run(list(map(str, command)), env=env, cwd=cwd, capture_output=True, text=True, check=False)


def succeed(command, **options):
    ran = run(command, **options)
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_valid_and_executable(script):
    assert script.stat().st_mode & stat.S_IXUSR
    succeed(["bash", "-n", script])


def test_build_stops_at_the_first_failure():
    assert "set -e" in (BINDER / "postBuild").read_text().splitlines()


def test_start_ends_by_becoming_jupyter():
    assert (BINDER / "start").read_text().splitlines()[-1] == 'exec "$@"'


def test_there_is_no_environment_yml():
    # It would silently take the place of requirements.txt and runtime.txt.
    assert not list(BINDER.glob("environment.y*ml"))
    assert (BINDER / "runtime.txt").read_text().strip() == f"python-{PYTHON}"


def test_requirements_are_those_of_the_package_and_pinned():
    needed = {
        canonicalize_name(one.name): one
        for one in requirements(metadata.requires("feastra-nb"))
        if not one.marker or one.marker.evaluate({"extra": "notebooks"})
    }
    pinned = {
        canonicalize_name(one.name): one for one in requirements((BINDER / "requirements.txt").read_text().splitlines())
    }
    assert set(pinned) == set(needed)
    for name, one in pinned.items():
        (pin,) = one.specifier
        assert pin.operator == "=="
        assert needed[name].specifier.contains(pin.version)
        assert one.extras == needed[name].extras


def test_repo2docker_takes_the_files_as_meant(tmp_path):
    command = Path(sys.executable).with_name("jupyter-repo2docker")
    if not command.exists():
        pytest.skip("jupyter-repo2docker is not installed")
    copy_checkout(tmp_path)
    ran = run([command, "--no-build", "--debug", tmp_path])
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    for step in (f"python={PYTHON}", '-r "binder/requirements.txt"', "RUN ./binder/postBuild", "binder/start"):
        assert step in said


# --- the steps -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """What Binder would have built: a home with the checkout in it, and an environment."""

    home: Path
    checkout: Path
    python: Path
    env: dict[str, str]


def copy_checkout(folder: Path) -> None:
    """Copy what git tracks, or would once all is added."""
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@pytest.fixture(scope="module")
def image():
    """Build as Binder does: requirements, then the checkout, then postBuild."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        pytest.skip(f"Binder runs Python {PYTHON}")
    # Not tmp_path: pytest keeps those, and this is a gigabyte.
    with tempfile.TemporaryDirectory(prefix="binder-") as folder:
        home = Path(folder).resolve() / "home"
        home.mkdir()
        env = {name: value for name, value in os.environ.items() if KEPT.match(name)}
        env |= {"HOME": str(home), "PATH": f"{home.parent / 'env' / 'bin'}{os.pathsep}{env['PATH']}"}
        built = Image(home, home / "checkout", home.parent / "env" / "bin" / "python", env)
        succeed([sys.executable, "-m", "venv", built.python.parent.parent])
        succeed([built.python, "-m", "pip", "install", "--quiet", "-r", BINDER / "requirements.txt"], env=env)
        built.checkout.mkdir()
        copy_checkout(built.checkout)
        succeed(["binder/postBuild"], env=env, cwd=built.checkout)
        yield built
        succeed(["feastra", "down", "--all"], env=env)


@pytest.mark.timeout(1200)
def test_build_installs_the_package_and_all_downloads(image):
    succeed([image.python, "-m", "pip", "check"], env=image.env)
    where = succeed(
        [image.python, "-c", "import feastra_nb; print(feastra_nb.__file__)"], env=image.env, cwd=image.home
    )
    assert Path(where.strip()).is_relative_to(image.python.parent.parent)
    assert list((image.home / ".cache" / "feastra_nb").rglob("cassandra-all-*.jar"))


@pytest.mark.timeout(1200)
def test_start_runs_what_it_is_given(image):
    code = "import os, sys; print(os.environ['FEASTRA_HEAP_MB'], sys.argv[1])"
    said = succeed(["binder/start", "python", "-c", code, "two words"], env=image.env, cwd=image.checkout)
    heap_mb, argument = said.split(" ", 1)
    assert 0 < int(heap_mb) < MEMORY_MB / 2
    assert argument == "two words\n"


@pytest.mark.timeout(1200)
def test_quickstart_runs_within_the_memory_of_binder(image, monkeypatch):
    use_kernel_of(image, monkeypatch)
    path = image.checkout / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(path, as_version=4)
    closing = next(cell for cell in notebook.cells if cell.source == "ws.close()")
    closing.source = MEMORY_CODE
    NotebookClient(
        notebook, timeout=180, kernel_name="binder", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    said = json.loads(closing.outputs[0].text)
    assert said["python"].startswith(str(image.python.parent.parent))
    assert said["kernel_mb"] + said["cassandra_mb"] + JUPYTER_MB < MEMORY_MB, said


MEMORY_CODE = """
import json, resource, sys, psutil
from feastra_nb.connection import local
cassandra = sum(psutil.Process(pid).memory_info().rss for pid in local.running().pids)
kernel = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
ws.close()
print(json.dumps({"python": sys.executable, "kernel_mb": kernel >> 20, "cassandra_mb": cassandra >> 20}))
"""


def use_kernel_of(image, monkeypatch):
    """Make known a kernel that is started as Binder starts one: in the image's environment, through binder/start."""
    spec = image.home.parent / "share" / "kernels" / "binder"
    spec.mkdir(parents=True)
    argv = ["binder/start", "python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv[0] = str(image.checkout / argv[0])
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Binder", "language": "python"}))
    for name in os.environ:
        if not KEPT.match(name) and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    for name, value in image.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JUPYTER_PATH", str(spec.parent.parent))
