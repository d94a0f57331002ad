"""Compares this machine's clock with the server's: arrival times, TTLs and the test for future events use the writer's clock."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timezone
from typing import TYPE_CHECKING

from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from cassandra.cluster import Session

log = logging.getLogger("feastra_nb")

# Machines that keep time by NTP are some milliseconds apart; from here on another's rows can look as if of the future.
TOLERATED_S = 2.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How far this machine's clock is ahead of the server's.

    Parameters
    ----------
    ahead_s
        Seconds; negative where it is behind.
    within_s
        The answer's travel makes it uncertain by as much.
    """

    ahead_s: float
    within_s: float

    @property
    def matters(self) -> bool:
        """Whether the clocks are surely further apart than is tolerated."""
        return abs(self.ahead_s) - self.within_s > TOLERATED_S

    def __str__(self) -> str:
        return f"{abs(self.ahead_s):,.1f} s {'ahead of' if self.ahead_s >= 0 else 'behind'} the server's"


def difference(session: Session) -> Difference:
    """Ask the server what time it is."""
    began, began_s = time.perf_counter(), time.time()
    (server,) = session.execute("SELECT toTimestamp(now()) FROM system.local").one()
    travel_s = time.perf_counter() - began
    server_s = server.replace(tzinfo=timezone.utc).timestamp()
    return Difference(began_s + travel_s / 2 - server_s, travel_s / 2)


def warn_if_it_differs(session: Session) -> None:
    """Warn of a clock that is more than two seconds off; a server that does not answer this can still be worked with."""
    from cassandra import DriverException, RequestExecutionException
    from cassandra.cluster import NoHostAvailable

    try:
        seconds = difference(session)
    except (DriverException, RequestExecutionException, NoHostAvailable):
        log.debug("the server did not tell its time", exc_info=True)
        return
    if seconds.matters:
        warn_user(
            f"this machine's clock is {seconds}: rows written from here carry its time as their arrival, and ttl, retention and "
            "known_at go by it. Set the clock (NTP), or the server's"
        )
