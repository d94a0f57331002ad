"""Checks that a local node answers a CQL query: the only proof that it is up."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.local.login import wants_certificate
from feastra_nb.connection.local.process import is_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROTOCOL_VERSION = 5  # explicit: the driver's own negotiation logs a warning for every version it tries
_TIMEOUT_S = 5.0
DEFAULT_LOGIN = ("cassandra", "cassandra")  # Cassandra's own, which it makes a moment after its port opens


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What a node said of itself: its release, and how many other nodes it knows.

    Both are None where it answered, but wants a login or a client certificate that only the user has.
    """

    version: str | None
    peers: int | None


def ask(host: str, port: int, settings: Mapping[str, Any], login: tuple[str, str] | None = None) -> NodeAnswer | None:
    """Return a node's answer to a query; None as long as there is none.

    Parameters
    ----------
    host, port
        Where it listens for CQL.
    settings
        The additions to its cassandra.yaml, which say whether it wants TLS or a login.
    login
        User and password. Default: Cassandra's own, where the settings ask for a login.
    """
    if not is_listening(host, port):
        return None
    if wants_certificate(settings):
        return NodeAnswer(None, None)
    from cassandra import AuthenticationFailed, DriverException, OperationTimedOut
    from cassandra.cluster import NoHostAvailable

    try:
        with connected(host, port, settings, login or _default_login(settings)) as session:
            version = session.execute("SELECT release_version FROM system.local").one().release_version
            peers = session.execute("SELECT peer FROM system.peers_v2").all()
            return NodeAnswer(str(version), len(peers))
    except NoHostAvailable as error:
        # Where a session fails only after the handshake, the driver gives a list of hosts without their errors.
        causes = error.errors.values() if isinstance(error.errors, dict) else ()
        refused = any(isinstance(each, AuthenticationFailed) for each in causes)
        return NodeAnswer(None, None) if refused else None
    except (OperationTimedOut, DriverException, OSError):
        return None


@contextmanager
def connected(host: str, port: int, settings: Mapping[str, Any], login: tuple[str, str] | None) -> Iterator[Any]:
    """Connect to one node, as `ask` does, and yield the driver's session."""
    from cassandra import ConsistencyLevel
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import WhiteListRoundRobinPolicy

    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([host]),
        consistency_level=ConsistencyLevel.LOCAL_ONE,
        request_timeout=_TIMEOUT_S,
    )
    with (
        _quiet_driver(),
        Cluster(
            [host],
            port=port,
            protocol_version=_PROTOCOL_VERSION,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            auth_provider=PlainTextAuthProvider(*login) if login else None,
            ssl_context=_trusting_context() if _wants_tls(settings) else None,
            connect_timeout=_TIMEOUT_S,
            control_connection_timeout=_TIMEOUT_S,
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            monitor_reporting_enabled=False,
            executor_threads=1,
        ) as cluster,
    ):
        yield cluster.connect()


def _default_login(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    authenticator = settings.get("authenticator", "AllowAllAuthenticator")
    name = authenticator.get("class_name", "") if isinstance(authenticator, dict) else str(authenticator)
    return None if name.endswith("AllowAllAuthenticator") else DEFAULT_LOGIN


def _wants_tls(settings: Mapping[str, Any]) -> bool:
    options = settings.get("client_encryption_options") or {}
    return bool(options.get("enabled")) and not options.get("optional")


def _trusting_context() -> ssl.SSLContext:
    """Return a context that takes any certificate: it only asks our own process, on the loopback, if it is up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _quiet_driver() -> Iterator[None]:
    """Keep the driver from logging what is expected while a node starts: that it cannot be reached yet."""
    logger = logging.getLogger("cassandra")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
