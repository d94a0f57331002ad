"""A test that needs the machine for itself gets it, also while others come and go."""

import threading

from turns import Turns


def test_whoever_is_alone_waits_for_those_who_run_and_nobody_begins_before_it(tmp_path):
    turns, order = Turns(tmp_path / "turns"), []
    running, done = threading.Event(), threading.Event()

    def first():
        with turns.beside_others():
            running.set()
            done.wait(30)
            order.append("first")

    def alone():
        with turns.alone():
            order.append("alone")

    def last():
        with turns.beside_others():
            order.append("last")

    threads = [threading.Thread(target=work) for work in (first, alone, last)]
    threads[0].start()
    running.wait(30)
    threads[1].start()
    while not _is_locked(tmp_path / "turns" / "gate"):
        pass
    threads[2].start()
    done.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "alone", "last"]


def test_those_who_are_not_alone_run_at_the_same_time(tmp_path):
    turns = Turns(tmp_path / "turns")
    with turns.beside_others(), turns.beside_others():
        pass


def _is_locked(path):
    import fcntl

    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
