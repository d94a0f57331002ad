"""Checks how many tables a server allows: every feature view takes one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feastra_nb.connection.cluster import READ
from feastra_nb.errors import FeastraError
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from feastra_nb.connection.cluster import Database

# Of an Astra database with vector search, as documented; the others' limit is higher (their guardrail: 100 warn, 200 fail).
ASTRA_TABLES = 50
NEAR = 0.9  # of the limit, where the server has no threshold of its own for warning
_THRESHOLDS = "tables_warn_threshold", "tables_fail_threshold"  # guardrails of Cassandra 4.1 and later; -1 is off
_NOT_COUNTED = "system", "data_endpoint_auth", "datastax_sla"  # what the keyspaces of servers' own begin with


@dataclass(frozen=True, slots=True)
class TableRoom:
    """How many tables there are, in all keyspaces of users.

    Parameters
    ----------
    tables
        Those there are.
    limit
        Those that the server allows.
    near
        From how many on it is to be said.

    Examples
    --------
    >>> TableRoom(44, 50, 45).is_near, TableRoom(45, 50, 45).is_near
    (False, True)
    """

    tables: int
    limit: int
    near: int

    @property
    def is_near(self) -> bool:
        """Whether there is little or no room left."""
        return self.tables >= self.near


def warn_near_limit(db: Database) -> None:
    """Warn where the server will soon take no more tables."""
    room = table_room(db)
    if room is not None and room.is_near:
        warn_user(
            f"{db.settings.label} holds {room.tables} tables and allows {room.limit}; every feature view takes one. Drop views "
            "that nobody reads (ws.drop, or take them out of the repository and `feast apply`), or use another database"
        )


def table_room(db: Database) -> TableRoom | None:
    """Return how many tables there are and may be; None where nothing limits them, or nobody says so."""
    limits = _limits(db)
    return None if limits is None else TableRoom(_count(db), *limits)


def _limits(db: Database) -> tuple[int, int] | None:
    """Return how many tables are allowed, and from how many on to warn: the server's guardrails, else what Astra documents."""
    warn, fail = _guardrails(db)
    if fail > 0:
        return fail, warn if warn > 0 else math.ceil(NEAR * fail)
    if warn > 0:
        return warn, math.ceil(NEAR * warn)
    return (ASTRA_TABLES, math.ceil(NEAR * ASTRA_TABLES)) if db.settings.bundle else None


def _guardrails(db: Database) -> tuple[int, int]:
    try:
        rows = db.execute(
            "SELECT name, value FROM system_views.settings WHERE name IN (?, ?)", _THRESHOLDS, profile=READ
        )
        values = dict(iter(rows))
    except FeastraError:  # an older server has no such view, and not every role may read it
        return -1, -1
    warn, fail = (int(values.get(name) or -1) for name in _THRESHOLDS)
    return warn, fail


def _count(db: Database) -> int:
    rows = db.execute("SELECT keyspace_name FROM system_schema.tables", profile=READ)
    return sum(not keyspace.startswith(_NOT_COUNTED) for (keyspace,) in rows)
