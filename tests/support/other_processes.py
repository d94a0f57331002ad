"""Other processes of the tests' machine, with Feast loaded once, so that each begins in no time."""

import multiprocessing
import time
from contextlib import contextmanager

import pytest

import feastra_nb as fnb

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["feast", "feastra_nb.workspace", "feastra_nb.online_store", "feastra_nb.materialization.frame"]
)


@contextmanager
def workspace(node, project, folder):
    """Open the workspace of a test in another process, on the same node."""
    from nodes import KEYSPACE

    target = fnb.Local(name=node)
    with fnb.connect(target, project=project, keyspace=KEYSPACE, directory=folder, retain="all") as ws:
        yield ws


def wait_for(*paths):
    until = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < until, "the other processes did not begin"
        time.sleep(0.01)


@contextmanager
def clock_moved(seconds):
    """Let this process believe that it is later; the driver stamps what it writes by the same clock."""
    true, true_ns = time.time, time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: true() + seconds)
        patch.setattr(time, "time_ns", lambda: true_ns() + int(seconds * 1e9))
        yield
