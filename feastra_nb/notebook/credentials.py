"""Builds a cluster's target for the magic and the form; a missing secret is taken from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.connection.targets import DEFAULT_PORT, Hosts
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def hosts_target(
    hosts: Sequence[str],
    *,
    port: int = DEFAULT_PORT,
    username: str | None = None,
    password: str | None = None,
    environment: Mapping[str, str],
) -> Hosts:
    """Return a cluster as a target.

    Parameters
    ----------
    hosts
        Contact points.
    username, password
        Credentials; those not given are read from ``CASSANDRA_USERNAME`` and ``CASSANDRA_PASSWORD``.
    environment
        Environment variables.

    Raises
    ------
    ConfigurationError
        There are no hosts, or a user name without a password.

    Examples
    --------
    >>> hosts_target(["10.0.0.1"], username="reader", environment={"CASSANDRA_PASSWORD": "swordfish"}).password
    '***'
    """
    if not hosts:
        raise ConfigurationError(
            "no host was given", hint="at least one contact point of the cluster, such as 10.0.0.1"
        )
    username = username or environment.get("CASSANDRA_USERNAME")
    if username is None:
        return Hosts(hosts, port=port, password=password)
    password = password or environment.get("CASSANDRA_PASSWORD")
    if not password:
        raise ConfigurationError(
            f"there is no password for the user {username!r}",
            hint="set CASSANDRA_PASSWORD, or type it into fnb.connect_form()",
        )
    return Hosts(hosts, port=port, username=username, password=password)
