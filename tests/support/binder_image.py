"""An image as Binder builds it, here a folder: a home, which is the checkout too, and an environment.

All its steps are those of an ordinary user, as on Binder: where the tests run as root, of the user ``nobody``.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHON = "3.11"
# Of this process's environment, what a fresh machine has too; pip's own settings say where packages come from.
KEPT = re.compile(r"^(PATH|LANG|LC_.*|TZ|PIP_.*|SSL_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY)$")
# The Jupyter that repo2docker puts into each image, as it is called there and on PyPI.
JUPYTER = {
    "jupyter-offlinenotebook": "jupyter-offlinenotebook", "jupyter-resource-usage": "jupyter-resource-usage",
    "jupyter_server": "jupyter-server", "jupyterhub-base": "jupyterhub", "jupyterlab": "jupyterlab",
    "notebook": "notebook",
}  # fmt: skip
_END_S = 20  # until a process that was asked to end is killed


@dataclass(frozen=True)
class Image:
    """A home, which is also the checkout, an environment, and the user whose both are."""

    home: Path
    python: Path
    env: dict[str, str]
    user: dict[str, object]  # options of `subprocess`
    brought: set[str] = field(default_factory=set)  # the packages that Binder itself brings

    def run(self, *command) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)),
            cwd=self.home,
            env=self.env,
            **self.user,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *command) -> str:
        ran = self.run(*command)
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        return ran.stdout

    def installed(self) -> dict[str, str]:
        """Return the version of each package of the environment."""
        return {
            canonicalize_name(each["name"]): each["version"] for each in json.loads(self.pip("list", "--format=json"))
        }

    def pip(self, command, *options) -> str:
        return self.succeed(self.python, "-m", "pip", command, *options)

    def processes(self) -> list[psutil.Process]:
        """Return all processes that live in this home, detached ones too."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has just ended
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def end_processes(self) -> None:
        alive = self.processes()
        for kill in (psutil.Process.terminate, psutil.Process.kill):
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    kill(process)
            _gone, alive = psutil.wait_procs(alive, timeout=_END_S)


@contextmanager
def bare_image():
    """Yield an image with an empty home and nothing but pip in its environment; at the end all of it is gone."""
    # Not tmp_path: pytest keeps those, where only their owner may look, and this is a gigabyte.
    with tempfile.TemporaryDirectory(prefix="binder-") as name:
        folder = Path(name).resolve()
        home, environment = folder / "home", folder / "env"
        home.mkdir()
        (folder / "tmp").mkdir()
        env = {name: value for name, value in os.environ.items() if KEPT.match(name)}
        env |= {"HOME": str(home), "USER": "jovyan", "TMPDIR": str(folder / "tmp")}
        env["PATH"] = f"{environment / 'bin'}{os.pathsep}{env['PATH']}"
        image = Image(home, environment / "bin" / "python", env, ordinary_user())
        give(folder, image.user)
        image.succeed(python_of(image, folder), "-m", "venv", "--without-pip", environment)
        add_pip(image, environment)
        try:
            yield image
        finally:
            image.end_processes()


def ordinary_user() -> dict[str, object]:
    """Return the options by which `subprocess` runs a program as an ordinary user; none where this one is."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    try:
        subprocess.run(["/bin/sh", "-c", ":"], cwd="/", check=True, **user)
    except OSError as error:
        pytest.skip(f"this root may not become user 'nobody', as whom Binder's steps run here: {error}")
    return user


def give(folder: Path, user) -> None:
    """Make a user the owner of a folder and all that is in it."""
    if user:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user["user"], user["group"], follow_symlinks=False)


def python_of(image: Image, folder: Path) -> Path:
    """Return a Python that the image's user can run: that of the tests, or a copy where only root can."""
    prefix, name = Path(sys.base_prefix), f"python{PYTHON}"
    if can_run(image, prefix / "bin" / name):
        return prefix / "bin" / name
    copy = folder / "python"
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "test")
    shutil.copytree(prefix / "lib" / name, copy / "lib" / name, ignore=ignored, symlinks=True)
    for path in (prefix / "bin" / name, *(prefix / "lib").glob("libpython*")):
        (copy / path.relative_to(prefix)).parent.mkdir(exist_ok=True)
        shutil.copy2(path, copy / path.relative_to(prefix))
    give(copy, image.user)
    image.env["LD_LIBRARY_PATH"] = str(copy / "lib")
    if not can_run(image, copy / "bin" / name):
        pytest.skip(f"user {image.user or os.geteuid()} can run neither the Python in {prefix} nor a copy of it")
    return copy / "bin" / name


def can_run(image: Image, python: Path) -> bool:
    try:
        return image.run(python, "-c", "import ssl, venv").returncode == 0
    except OSError:  # it may not even be seen
        return False


def add_pip(image: Image, environment: Path) -> None:
    """Install pip with the pip of the tests: Debian's Python comes without the one to begin with."""
    command = [sys.executable, "-m", "pip", "--python", image.python, "install", "--quiet", "pip"]
    env = image.env | {name: os.environ[name] for name in ("HOME", "USER") if name in os.environ}
    subprocess.run(command, check=True, env=env)
    give(environment, image.user)


def jupyter_requirements() -> list[str]:
    """Return what repo2docker installs before all else, in the versions to which it is frozen."""
    spec = find_spec("repo2docker")
    if spec is None:
        pytest.skip("repo2docker is not installed")
    lock = Path(spec.origin).parent / "buildpacks" / "conda" / f"environment.py-{PYTHON}-linux-64.lock"
    frozen = re.findall(r"/([^/]+)-([^-/]+)-[^-/]+\.(?:conda|tar\.bz2)", lock.read_text())
    found = {JUPYTER[name]: version for name, version in frozen if name in JUPYTER}
    assert len(found) == len(JUPYTER), found
    return [f"{name}=={version}" for name, version in found.items()]


def copy_checkout(folder: Path) -> None:
    """Copy what git tracks, or would once all is added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
