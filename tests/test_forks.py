"""A forked child opens its own session; the parent's goes on."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from cassandra.cluster import NoHostAvailable

from feastra_nb.connection import cluster

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
ANSWER_S = 30.0  # far beyond what a child takes, even on a busy machine
VERSION = "SELECT release_version FROM system.local"


def in_child(work):
    """Run work in a forked child and return what it returns, or raise that it did not end."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def run():
        try:
            sending.send(work())
        except BaseException as error:  # noqa: BLE001 - the parent is told of anything
            sending.send(error)

    child = context.Process(target=run)
    child.start()
    try:
        assert receiving.poll(ANSWER_S), "neither an answer nor an error"
        answer = receiving.recv()
        child.join(ANSWER_S)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def trips(ws, driver=1):
    return ws.online("drivers:trips", {"driver": [driver]})["trips"].tolist()


def test_a_forked_child_reads_by_a_session_of_its_own(filled):
    assert trips(filled) == [6]
    session = filled.session
    assert in_child(lambda: (trips(filled), filled.session is session)) == ([6], False)
    assert trips(filled) == [6]
    assert filled.session is session


def test_a_forked_child_writes_and_the_parent_reads_it(filled, events, now):
    later = events.head(1).assign(event_timestamp=now, trips=70)
    assert in_child(lambda: filled.materialize(later, "drivers", keys=["driver"], progress=False).rows) == 1
    assert trips(filled) == [70]


def test_a_forked_child_joins_offline(filled, now):
    entities = pd.DataFrame({"driver": [1, 2], "event_timestamp": [now, now]})

    def join():
        return filled.historical("drivers:trips", entities)["trips"].tolist()

    assert join() == in_child(join) == [6, 7]


@pytest.mark.parametrize("reads_first", [False, True])
def test_a_child_that_closes_closes_nothing_of_its_parents(filled, reads_first):
    def close():
        if reads_first:
            trips(filled)
        filled.close()

    session = filled.session
    in_child(close)
    assert not session.is_shutdown
    assert session.execute(VERSION).one()
    assert trips(filled) == [6]


def test_a_child_of_a_child_reads(filled):
    assert in_child(lambda: (trips(filled), in_child(lambda: trips(filled)))) == ([6], [6])


def test_locks_that_another_thread_holds_do_not_stop_the_child(filled):
    held, done = threading.Event(), threading.Event()

    def hold():
        with cluster.pool._lock, filled.store._lock:
            held.set()
            done.wait(2 * ANSWER_S)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(ANSWER_S)
        assert in_child(lambda: trips(filled)) == [6]
    finally:
        done.set()
        thread.join()


def test_children_forked_under_load_all_read(filled):
    stop = threading.Event()

    def load():
        while not stop.is_set():
            trips(filled)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(lambda: trips(filled, 2)) for _ in range(5)] == [[7]] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_session_that_was_kept_refuses_at_once_in_the_child(filled):
    session = filled.session

    def use():
        began_s = time.monotonic()
        try:
            session.execute(VERSION)
        except NoHostAvailable:
            return time.monotonic() - began_s
        return None

    assert in_child(use) < 5.0


ENDS = """
import atexit, os, sys
import feastra_nb as fnb

port, project, folder, direct = sys.argv[1:]
target = fnb.Hosts(
    ["127.0.0.1"], port=int(port), username="feastra", password=os.environ["FEASTRA_PASSWORD"], direct=direct == "direct"
)
with fnb.connect(target, project=project, keyspace="tests", directory=folder) as ws:
    def trips():
        return ws.online("drivers:trips", {"driver": [1]})["trips"].tolist()

    before, child = trips(), os.fork()
    if child == 0:
        answered = trips() == before
        atexit._run_exitfuncs()
        os._exit(0 if answered else 1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert (ended, trips(), before) == (0, [6], [6]), (ended, before)
"""


def test_a_child_that_ends_as_a_program_does_leaves_the_parents_session_open(filled, node, project, tmp_path, way):
    command = [sys.executable, "-c", ENDS, str(node.port), project, str(tmp_path / ".feastra"), way]
    environment = {**os.environ, "FEASTRA_PASSWORD": node.password.reveal()}
    ended = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.returncode == 0
