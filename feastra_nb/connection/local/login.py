"""The password of a local node: made at its first start, kept in its folder, found again by where the node listens."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.files import make_private, write_private
from feastra_nb.connection.local.process import owns_port
from feastra_nb.connection.local.state import node_directory, node_names, read_state
from feastra_nb.connection.secrets import Secret
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from feastra_nb.connection.local.state import State

ROLE = "feastra"
_PASSWORD_BYTES = 32  # 256 bits, as 43 characters: bcrypt reads no more than 72
_LOOPBACK_NAMES = {"localhost": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Login:
    """What opens a local node.

    Attributes
    ----------
    username, password
        Cassandra's role, a superuser.
    keystore_password
        Of the key that the nodes of a cluster show each other.
    closed
        Whether Cassandra's own default login was seen to be closed.
    """

    username: str
    password: Secret
    keystore_password: Secret
    closed: bool = False


def login_path(directory: Path) -> Path:
    """Return the file that holds the login of the node in a directory."""
    return directory / "login.json"


def make_login(directory: Path) -> Login:
    """Make a login with random passwords and keep it in the directory."""
    login = Login(ROLE, _random(), _random())
    keep_login(make_private(directory), login)
    return login


def keep_login(directory: Path, login: Login) -> None:
    """Write the file of a login, for its owner only."""
    plain = {"password": login.password.reveal(), "keystore_password": login.keystore_password.reveal()}
    content = {"username": login.username, **plain, "closed": login.closed}
    write_private(login_path(directory), json.dumps(content))


def mark_closed(directory: Path, login: Login) -> None:
    """Note that Cassandra's default login is closed."""
    keep_login(directory, replace(login, closed=True))


def read_login(directory: Path) -> Login | None:
    """Return the login of the node in a directory; None where it was made without one.

    Raises
    ------
    LocalNodeFailed
        The file is there, but cannot be read: without it nobody gets at the data.
    """
    path = login_path(directory)
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        passwords = Secret(content["password"]), Secret(content["keystore_password"])
        return Login(content["username"], *passwords, closed=bool(content["closed"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LocalNodeFailed(
            f"the login of the local node cannot be read from {path} ({type(error).__name__})",
            hint=f"restore that file, or delete the node's data: `feastra purge --name {directory.name}`",
        ) from None


def login_of(directory: Path, state: State) -> Login | None:
    """Return the login that a node asks for; None where it has none, or the user's own settings decide who may enter."""
    return None if decides_itself(json.loads(state.settings)) else read_login(directory)


def decides_itself(settings: Mapping[str, Any]) -> bool:
    """Return whether additions to cassandra.yaml say themselves who may enter: by passwords or client certificates."""
    return "authenticator" in settings or wants_certificate(settings)


def wants_certificate(settings: Mapping[str, Any]) -> bool:
    """Return whether a node with these settings asks clients for a certificate."""
    options = settings.get("client_encryption_options") or {}
    return bool(options.get("enabled")) and str(options.get("require_client_auth", False)).lower() != "false"


def login_at(hosts: Sequence[str], port: int) -> Login | None:
    """Return the login of this user's local node at an address; None where there is none, or it needs none.

    Only of a node whose own process listens there: a port that was freed may be another user's by now, who would be told
    the password.
    """
    named = {_LOOPBACK_NAMES.get(host, host) for host in hosts}
    if not named or not all(host.startswith("127.") for host in named):
        return None
    for directory in map(node_directory, node_names()):
        state = read_state(directory)
        if state is None or state.port != port or not named <= set(state.hosts):
            continue
        if any(owns_port(node, host, port) for host, node in zip(state.hosts, state.nodes, strict=False)):
            return login_of(directory, state)
    return None


def _random() -> Secret:
    return Secret(secrets.token_urlsafe(_PASSWORD_BYTES))
