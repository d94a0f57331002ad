"""A node of its own that is lost, comes back, or has no room left."""

import os
import re
import shutil
import subprocess
import time
from contextlib import suppress

import pandas as pd
import pytest
from nodes import NODE_SETTINGS

import feastra_nb as fnb
from feastra_nb.connection import local
from feastra_nb.connection.local.files import make_cache
from feastra_nb.errors import ConnectionFailed, FeastraError

NODE = f"tests-lost-{os.getpid()}"
RETURNING_S = 60.0  # until a workspace that was open all the time must have found its node again; it takes two seconds
FAILING_S = 60.0  # within which a node that cannot write any more has shown it


@pytest.fixture(scope="module")
def start():
    """Start the node, or start it again; it keeps its schema, which the other tests' node does not."""
    yield lambda: local.start(name=NODE, settings=NODE_SETTINGS, progress=False)
    local.purge(NODE)


@pytest.fixture
def hosts(start):
    """The running node, as any cluster: by its address, so that nothing starts it."""
    node = start()
    return fnb.Hosts(node.hosts, port=node.port, create_keyspace=True)


@pytest.fixture
def connect(hosts, project, tmp_path):
    options = {"project": project, "keyspace": "lost", "directory": tmp_path / ".feastra", "retain": "all"}
    return lambda: fnb.connect(hosts, **options)


def events(rows=1, value=1):
    return pd.DataFrame({"k": range(rows), "event_timestamp": pd.Timestamp.now("UTC"), "v": value})


def kill():
    node = local.running(NODE)
    node.stop_node(0, timeout_s=0)
    return node


def test_a_node_that_died_is_told_of_and_works_again_in_the_same_process_once_it_is_back(start, connect):
    with connect() as ws:
        ws.materialize(events(), "view", keys=["k"], progress=False)
        node = kill()
        for work in (lambda: ws.online("view", {"k": [0]}), connect):
            with pytest.raises(ConnectionFailed) as caught:
                work()
            assert f"process {node.pids[0]} at 127.0.0.1 has ended" in str(caught.value)
            assert "The end of its log:\n" in str(caught.value)
            assert f'fnb.connect(fnb.Local(name="{NODE}"))' in caught.value.hint
            assert "TLS" not in str(caught.value)
        time.sleep(3.0)  # a few attempts of the driver's in vain
        start()
        up_s = time.monotonic()
        with connect() as again:
            again.materialize(events(value=2), "view", keys=["k"], progress=False)
            assert again.online("view", {"k": [0]})["v"].tolist() == [2]
        while True:
            try:
                assert ws.online("view", {"k": [0]})["v"].tolist() == [2]
                break
            except ConnectionFailed:
                assert time.monotonic() - up_s < RETURNING_S


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 250 MB for the nodes of this test."""
    disk = tmp_path / "cache"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only a privileged user may mount a small disk")
    jars = local.cache_dir() / "jars"
    monkeypatch.setenv("FEASTRA_CACHE", str(disk))
    make_cache()
    (disk / "jars").symlink_to(jars)
    yield disk
    local.purge("full")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # whoever still ends there lets go of it by itself


def fill(disk):
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass


def write_until_it_fails(ws):
    began_s = time.monotonic()
    while time.monotonic() - began_s < FAILING_S:
        ws.materialize(events(20_000, int(time.monotonic())), "view", keys=["k"], progress=False)


def test_a_full_disk_is_told_of(small_disk, project, tmp_path):
    target, folder = fnb.Local(name="full"), tmp_path / ".feastra"
    with fnb.connect(target, project=project, directory=folder, retain="all") as ws:
        ws.materialize(events(), "view", keys=["k"], progress=False)
        pid = local.running("full").pids[0]
        fill(small_disk)
        with pytest.raises(FeastraError) as caught:
            write_until_it_fails(ws)
    assert f"process {pid} at 127.0.0.1" in str(caught.value)
    assert re.search(r"its disk has \d+ MiB left", str(caught.value))
    assert "make room on the disk" in caught.value.hint
    assert "TLS" not in str(caught.value)
