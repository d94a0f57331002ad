"""Turns of tests that run at the same time in several processes: most beside others, a few on a machine of their own."""

import fcntl
from contextlib import ExitStack, contextmanager


class Turns:
    """Two locks in a folder that all processes share; it is made where it is not there.

    Whoever waits for the machine holds the gate, so that nobody new begins and its turn comes.
    """

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self._gate = folder / "gate"
        self._machine = folder / "machine"

    @contextmanager
    def beside_others(self):
        """Wait while a test has the machine for itself."""
        with ExitStack() as held:
            with _locked(self._gate, fcntl.LOCK_EX):
                held.enter_context(_locked(self._machine, fcntl.LOCK_SH))
            yield

    @contextmanager
    def alone(self):
        """Wait until no other test runs, and let none begin."""
        with _locked(self._gate, fcntl.LOCK_EX), _locked(self._machine, fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(path, kind):
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield
