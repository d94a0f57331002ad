"""Sets up a local node's roles: makes our superuser and closes Cassandra's well-known default login."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.local.login import mark_closed
from feastra_nb.connection.local.probe import DEFAULT_LOGIN, ask, connected
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from feastra_nb.connection.local.login import Login
    from feastra_nb.connection.local.probe import NodeAnswer

_DEFAULT_ROLE = DEFAULT_LOGIN[0]
_LINGER_S = 5.0  # a connection that was closed here is listed there a moment longer
_POLL_S = 0.05


def enter(
    directory: Path, host: str, port: int, settings: Mapping[str, Any], login: Login, *, nodes: int
) -> NodeAnswer | None:
    """Return the answer of the first node of a cluster to our login, after making its role where it is not there.

    Parameters
    ----------
    directory
        Of the cluster; it is noted there that the default login is closed.
    host, port, settings
        As for `probe.ask`.
    login
        Ours.
    nodes
        How many the cluster will have: each of them is to know the roles, so that any of them lets clients in alone.

    Returns
    -------
    NodeAnswer or None
        None as long as the node does not answer; without a version where it takes neither our login nor the default.
    """
    from cassandra import DriverException
    from cassandra.cluster import NoHostAvailable
    from cassandra.protocol import ErrorMessage

    ours = (login.username, login.password.reveal())
    answer = ask(host, port, settings, ours)
    if answer is None or (login.closed and answer.version is not None):
        return answer
    if answer.version is None and ask(host, port, settings, DEFAULT_LOGIN) in (None, answer):
        return answer
    try:
        if answer.version is None:
            with connected(host, port, settings, DEFAULT_LOGIN) as session:
                _make_ours(session, *ours)
        with connected(host, port, settings, ours) as session:
            close_default(session, nodes=nodes)
            refuse_strangers(session, login, name=directory.name)
    except (DriverException, ErrorMessage, NoHostAvailable):  # it is still starting: asked again until the time is over
        return None
    mark_closed(directory, login)
    return ask(host, port, settings, ours)


def _make_ours(session: Any, name: str, password: str) -> None:
    session.execute(
        f"CREATE ROLE IF NOT EXISTS {name} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{password}'"
    )


def close_default(session: Any, *, nodes: int) -> None:
    """Take login, rights and known password from Cassandra's default role, and let every node have the roles."""
    # Not dropped: a node that finds no role of that name makes it anew when others cannot be asked.
    row = session.execute(f"SELECT can_login FROM system_auth.roles WHERE role = '{_DEFAULT_ROLE}'").one()
    if row is not None and row.can_login:  # asked first: Cassandra changes a password every five seconds at most
        word = secrets.token_urlsafe()
        session.execute(f"ALTER ROLE {_DEFAULT_ROLE} WITH SUPERUSER = false AND LOGIN = false AND PASSWORD = '{word}'")
    if nodes > 1:
        session.execute(
            "ALTER KEYSPACE system_auth WITH replication = "
            f"{{'class': 'SimpleStrategy', 'replication_factor': {nodes}}}"
        )


def share_roles(host: str, port: int, settings: Mapping[str, Any], login: Login) -> bool:
    """Give every node of a cluster the roles, and return whether all of them answered.

    A node that joins before it has heard of the roles' replication is not sent them. What a read of all nodes finds missing on
    one of them, Cassandra writes there before it answers.
    """
    from cassandra import ConsistencyLevel, DriverException
    from cassandra.cluster import NoHostAvailable
    from cassandra.protocol import ErrorMessage
    from cassandra.query import SimpleStatement

    everything = SimpleStatement("SELECT * FROM system_auth.roles", consistency_level=ConsistencyLevel.ALL)
    try:
        with connected(host, port, settings, (login.username, login.password.reveal())) as session:
            session.execute(everything)
    except (DriverException, ErrorMessage, NoHostAvailable):
        return False
    return True


def refuse_strangers(session: Any, login: Login, *, name: str) -> None:
    """Make sure that nobody else used the default login in the moment before it was closed.

    Raises
    ------
    LocalNodeFailed
        There are other roles that may log in, or other clients.
    """
    roles = {row.role for row in session.execute("SELECT role, can_login FROM system_auth.roles") if row.can_login}
    deadline = time.monotonic() + _LINGER_S
    while (clients := _clients(session)) != {login.username} and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    strangers = sorted((roles | clients) - {login.username})
    if strangers:
        raise LocalNodeFailed(
            f"somebody else has logged in to the new local node, as {', '.join(map(repr, strangers))}",
            hint=f"another user of this machine may have; delete its data, `feastra purge --name {name}`, and start again",
        )


def _clients(session: Any) -> set[str]:
    rows = session.execute("SELECT username, connection_stage FROM system_views.clients")
    return {row.username for row in rows if row.connection_stage == "ready"}
