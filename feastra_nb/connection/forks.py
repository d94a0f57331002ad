"""Drops in a forked child what it cannot inherit: the driver's sessions, and locks that another thread held.

A child (of multiprocessing, joblib, a DataLoader) has none of its parent's threads. A session of the parent would wait
in it for ever, for answers that only the parent's event loop reads. So the child begins without sessions, opens its own at
the first use, and closes nothing that is the parent's.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What holds sessions or locks, and can begin anew in a child."""

    def after_fork(self) -> None:
        """Forget the parent's sessions and locks; called in the child before anything else runs there."""


_owners: WeakSet[Forked] = WeakSet()
# Kept for the child's life: deleted, the parent's loop and sockets would be taken apart by a process that did not make them.
_abandoned: list[Any] = []


def renew_in_child(owner: Forked) -> None:
    """Have an object begin anew in every child that is forked from now on."""
    _owners.add(owner)


def _renew() -> None:
    _abandon_driver()
    for owner in list(_owners):
        owner.after_fork()


def _abandon_driver() -> None:
    """Make the driver begin anew; by itself it would close the parent's connections, under locks that nobody may free."""
    reactor: Any = sys.modules.get("cassandra.io.libevreactor")
    if reactor is not None and reactor._global_loop is not None:  # noqa: SLF001 - the driver has no public way
        _abandoned.append(reactor._global_loop)  # noqa: SLF001
        reactor._global_loop = reactor.LibevLoop()  # noqa: SLF001
    driver: Any = sys.modules.get("cassandra.cluster")
    if driver is None:
        return
    clusters = list(driver._clusters_for_shutdown)  # noqa: SLF001
    driver._clusters_for_shutdown.clear()  # noqa: SLF001 - at the child's exit the driver would close them
    _abandoned.extend(clusters)
    for cluster in clusters:
        for session in cluster.sessions:
            # Somebody may have kept a session: a request on it fails at once instead of waiting for ever.
            session._pools = {}  # noqa: SLF001


if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(after_in_child=_renew)
