"""What GitHub reads: workflows that run what the project promises, and forms that it accepts."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]


def parsed(path):
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def by_stem(path):
    return path.stem


def test_checks_run_on_every_python_that_is_promised():
    matrix = parsed(GITHUB / "workflows" / "checks.yml")["jobs"]["fast"]["strategy"]["matrix"]
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert matrix["python"] == promised


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_stem)
def test_actions_are_pinned_to_a_major_version(path):
    used = [step["uses"] for step in steps(parsed(path)) if "uses" in step]
    assert [action for action in used if not re.search(r"@(v\d+|release/v\d+)$", action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_stem)
def test_workflows_may_only_read_unless_a_job_says_more(path):
    assert parsed(path)["permissions"] == {"contents": "read"}


def test_only_the_job_that_publishes_can_identify_itself_to_pypi():
    jobs = parsed(GITHUB / "workflows" / "release.yml")["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items() if "permissions" in job} == {
        "publish": {"id-token": "write"}
    }


@pytest.mark.parametrize("path", FORMS, ids=by_stem)
def test_every_field_of_a_form_has_an_id_and_a_label(path):
    fields = [field for field in parsed(path)["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
