"""Fixtures of all tests that need Astra."""

import os

import pytest
from nodes import workspaces

from astra_stand_in.database import KEYSPACE
from astra_stand_in.database import database as running
from astra_stand_in.devops import database, devops
from feastra_nb.connection.astra import bundle


@pytest.fixture(scope="session")
def here(tmp_path_factory):
    """A database of Astra that runs: a real Cassandra behind TLS, with Astra's limits."""
    with running(f"tests-astra-{os.getpid()}", tmp_path_factory.mktemp("astra")) as started:
        yield started


@pytest.fixture
def astra(here, tmp_path, monkeypatch):
    """The DevOps API, with a database of two regions, an empty cache and an environment that says nothing else."""
    for name in list(os.environ):
        if name.startswith(("ASTRA_", "CASSANDRA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "none.json"))
    monkeypatch.setattr(bundle, "cache_dir", lambda: tmp_path / "cache")
    with devops() as api:
        api.add(database(1, "features", regions=("us-east1", "eu-west1"), keyspaces=(KEYSPACE, "models")))
        api.bundles = {"us-east1": here.bundle, "eu-west1": here.foreign}
        monkeypatch.setenv("ASTRA_DEVOPS_URL", api.url)
        yield api


@pytest.fixture
def open_astra(tmp_path, request):
    """Open workspaces on `Astra` targets; all are closed at the test's end."""
    project = request.node.name[:40]
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as open_one:
        yield open_one
