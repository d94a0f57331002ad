"""Three real nodes with every row on each of them, of which some hang, die or come back."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

import feastra_nb as fnb
from conftest import KEYSPACE, workspaces
from feastra_nb.connection import local
from feastra_nb.errors import FeastraError, Unavailable, WriteIncomplete

pytestmark = pytest.mark.several_nodes
STALL_S = 2.0  # what is promised of writes while one of three nodes hangs
READ_S = 0.8  # and of reads
ROWS = 40_000


@pytest.fixture
def cluster(three_nodes):
    """The three nodes, all running again at the end."""
    yield three_nodes
    state = local.running(three_nodes.name)
    for pid in state.pids:
        with np.errstate(), _gone():
            os.kill(pid, signal.SIGCONT)
    for index, pid in enumerate(state.pids):
        if not _lives(pid):
            state.start_node(index, progress=False)


@contextmanager
def _gone():
    try:
        yield
    except ProcessLookupError:
        pass


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def connect(cluster, project, tmp_path):
    """Open workspaces on the three nodes."""
    target = fnb.Hosts(cluster.hosts, port=cluster.port, create_keyspace=True)
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra", retain="all") as opened:
        yield lambda **options: opened(options.pop("target", target), **options)


@pytest.fixture
def ws(connect, now):
    """A workspace on the three nodes, whose view ``sensors`` has ten entities."""
    opened = connect()
    opened.materialize(readings(now, 10), "sensors", keys=["sensor"], progress=False)
    return opened


def readings(now, rows, value=1.0):
    return pd.DataFrame({"sensor": np.arange(rows), "event_timestamp": now, "value": value})


@contextmanager
def frozen(cluster, index):
    pid = local.running(cluster.name).pids[index]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def read(ws, sensor=1):
    return ws.online("sensors:value", {"sensor": [sensor]})["value"].tolist()


@pytest.mark.parametrize("index", [0, 1])
def test_reads_go_on_while_a_node_hangs(ws, cluster, index):
    read(ws)
    took_s = []
    with frozen(cluster, index):
        began_s = time.monotonic()
        while time.monotonic() - began_s < 6.0:
            before_s = time.monotonic()
            assert read(ws, len(took_s) % 10) == [1.0]
            took_s.append(time.monotonic() - before_s)
    print("READ", index, max(took_s), len(took_s), np.percentile(took_s, [50, 90, 99]))
    assert max(took_s) <= READ_S


def test_writes_go_on_while_a_node_hangs_and_each_row_counts_once(ws, cluster, now):
    acknowledged = [(time.monotonic(), 0)]
    later = readings(now + pd.Timedelta("1s"), ROWS, 2.0)
    started, ended = threading.Event(), threading.Event()

    def freeze():
        started.wait(60)
        with frozen(cluster, 1):
            ended.wait(6.0)

    def progress(rows):
        acknowledged.append((time.monotonic(), rows))
        if len(acknowledged) > 100:
            started.set()

    thread = threading.Thread(target=freeze)
    thread.start()
    done = ws.materialize(later, "sensors", keys=["sensor"], progress=progress)
    ended.set()
    thread.join()
    stalls_s = np.diff([at for at, _rows in acknowledged][1:])
    print("WRITE", max(stalls_s), acknowledged[-1][0] - acknowledged[0][0], done)
    assert done.rows == sum(rows for _at, rows in acknowledged) == ROWS
    assert max(stalls_s) < STALL_S
    found = ws.online("sensors:value", {"sensor": list(range(ROWS))})["value"]
    assert (found == 2.0).all()
