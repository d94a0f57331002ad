"""What is published is whole: the wheel holds the package and nothing else, and works without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import feastra_nb

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "feastra_nb").rglob("*.py")}
    held = {name for name in names if name.endswith(".py")}
    assert held == here
    assert {"feastra_nb/py.typed", "feastra_nb/connection/local/jars.lock"} <= names
    assert {name.split("/")[0] for name in names} == {"feastra_nb", f"feastra_nb-{feastra_nb.__version__}.dist-info"}


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", wheel]
    subprocess.run(install, check=True)
    script = "import feastra_nb as fnb, feastra_nb.cli as c; print(fnb.__file__, fnb.Local()); raise SystemExit(c.main(['status']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))
