"""How many batches are in flight: as many as the server can follow. A fake session stands for the driver's."""

import contextlib
import threading
from types import SimpleNamespace

import pytest
from cassandra import OperationTimedOut
from cassandra.protocol import SyntaxException

from feastra_nb.errors import RequestFailed
from feastra_nb.storage import window
from feastra_nb.storage.batches import Batch

WINDOW = 16


class Rows(Batch):
    """Three rows, whose statement is nothing but a number."""

    def __init__(self, number):
        super().__init__(0.0, b"", (0, 0, 0), b"", None)
        self.number = number

    def stamp(self):
        """Have no rows to give an arrival to."""

    def statement(self):
        """Return what the fake session takes."""
        return self.number


class Session:
    """Answers each request when the next one is sent; fails those whose number it was given."""

    def __init__(self, failures=(), error=OperationTimedOut):
        self.open, self.most, self.sent = [], [], 0
        self._failures, self._error = set(failures), error

    def execute_async(self, statement, execution_profile):  # noqa: ARG002 - the driver's signature
        number, self.sent = self.sent, self.sent + 1
        future = SimpleNamespace()

        def add_callbacks(acknowledged, failed, callback_args, errback_args):
            self.open.append(
                (lambda: failed(self._error(), *errback_args))
                if number in self._failures
                else (lambda: acknowledged(None, *callback_args))
            )
            self.most.append(len(self.open))
            if len(self.open) >= self.limit():
                for answer in self.open:
                    answer()
                self.open = []

        future.add_callbacks = add_callbacks
        return future


def database(session):
    """A database whose nodes are all up."""
    return SimpleNamespace(
        session=session,
        write_window=WINDOW,
        exchange=lambda _profile: None,
        send=lambda statement, profile: session.execute_async(statement, execution_profile=profile),
        shortage=lambda _profile: None,
    )


@pytest.fixture
def sending(monkeypatch):
    """Send batches of three rows through a window over a fake session; returns window and session."""
    monkeypatch.setattr(window, "BACKOFF_S", 0.0)

    def send(batches, session):
        under_test = window.WriteWindow(database(session), None)
        session.limit = lambda: under_test._limit
        for number in range(batches):
            under_test.send(Rows(number))
        session.limit = lambda: 1  # answer what is left
        for answer in session.open:
            answer()
        session.open = []
        under_test.finish()
        return under_test

    return send


def test_the_window_stays_full_while_the_server_follows(sending):
    session = Session()
    result = sending(200, session).result
    assert (result.rows, result.retries, max(session.most)) == (600, 0, WINDOW)


def test_a_server_that_cannot_follow_gets_half_as_much_at_a_time_and_every_row(sending):
    session = Session(failures=range(40, 48))
    result = sending(60, session).result
    assert (result.rows, result.retries) == (180, 8)
    assert max(session.most[49:57]) <= WINDOW // 2


def test_the_window_grows_back(sending):
    under_test = sending(2_000, Session(failures=[40]))
    assert (under_test.result.rows, under_test._limit) == (6_000, WINDOW)


def test_one_burst_of_failures_narrows_the_window_once(sending):
    session = Session(failures=range(16))
    assert sending(17, session)._limit >= WINDOW // 2


def test_the_window_never_closes(sending, monkeypatch):
    monkeypatch.setattr(window, "CUT_AGAIN_S", 0.0)
    session = Session(failures=range(30))
    under_test = sending(30, session)
    assert under_test.result.rows == 90
    assert under_test._limit >= window.LEAST_IN_FLIGHT


def test_what_cannot_pass_is_not_sent_again(sending):
    session = Session(failures=[0], error=lambda: SyntaxException(0x2000, "no such thing", None))
    with pytest.raises(RequestFailed, match="no such thing"):
        sending(1, session)
    assert session.sent == 1


class Interrupted:
    """Is sent, and interrupted before anybody can learn of its answer."""

    def add_callbacks(self, *_callbacks, **_arguments):
        raise KeyboardInterrupt


def settled(under_test):
    """Return whether waiting for what is in flight comes to an end."""
    waiting = threading.Thread(target=under_test.settle_all, daemon=True)
    waiting.start()
    waiting.join(10)
    return not waiting.is_alive()


@pytest.fixture
def interrupted():
    """Send batches until Ctrl-C comes, at whatever point; returns the window."""

    def send(session, batches=WINDOW + 1):
        under_test = window.WriteWindow(database(session), None)
        session.limit = lambda: WINDOW
        with contextlib.suppress(KeyboardInterrupt):
            for number in range(batches):
                under_test.send(Rows(number))
            pytest.fail("no interrupt came")
        return under_test

    return send


def test_an_interrupt_behind_a_completion_that_was_taken_leaves_nothing_to_wait_for(interrupted, monkeypatch):
    def lost(_self, _completion):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(window.WriteWindow, "_settle", lost)
    under_test = interrupted(Session())
    assert settled(under_test)
    assert under_test.result.rows == 3 * (WINDOW - 1)  # all but those of the one that was taken


def test_an_interrupt_behind_a_request_leaves_nothing_to_wait_for(interrupted):
    session = Session()
    answered = session.execute_async
    session.execute_async = lambda *sent, **options: (
        Interrupted() if session.sent == WINDOW else answered(*sent, **options)
    )
    under_test = interrupted(session)
    assert settled(under_test)
    assert under_test.result.rows == 3 * WINDOW
