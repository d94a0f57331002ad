"""Importing is light, and the public names are what they say they are."""

import json
import subprocess
import sys

import pytest

import feastra_nb as fnb

HEAVY = ["feast", "cassandra", "pandas", "pyarrow", "numpy", "IPython", "ipywidgets", "matplotlib", "duckdb"]


def modules_after(code):
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    return json.loads(subprocess.check_output([sys.executable, "-c", script], text=True))


@pytest.mark.parametrize(
    "code",
    [
        "import feastra_nb",
        "import feastra_nb as fnb; fnb.Local(); fnb.Hosts(['10.0.0.1']); fnb.Astra(token='t')",
        "import feastra_nb.errors, feastra_nb.cli, feastra_nb.connection.local",
    ],
)
def test_importing_loads_nothing_heavy(code):
    loaded = modules_after(code)
    assert [name for name in HEAVY if name in loaded] == []


def test_every_public_name_is_there_and_sorted():
    assert list(fnb.__all__) == sorted(fnb.__all__)
    for name in fnb.__all__:
        assert getattr(fnb, name) is not None
    assert set(fnb.__all__) <= set(dir(fnb))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fnb.no_such_name


def test_no_module_shares_its_name_with_an_exported_function():
    for name in fnb.__all__:
        assert f"feastra_nb.{name}" not in modules_after(f"import feastra_nb as fnb; fnb.{name}")


def test_the_package_logs_to_a_silent_logger():
    script = "import feastra_nb, logging; logging.getLogger('feastra_nb').warning('quiet')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
