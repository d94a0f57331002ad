"""Driver sessions: the one module that builds clusters; everything else asks it for a `Database`.

Sessions are shared process-wide by their settings (Spark builds an online store for every Arrow batch, a notebook opens
several workspaces), counted, and closed with the last one that closes.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.clock import warn_if_it_differs
from feastra_nb.connection.driver import map_driver_errors, quiet_driver_log
from feastra_nb.errors import (
    ConfigurationError,
    KeyspaceNotFound,
)
from feastra_nb.notices import warn_user

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from cassandra.cluster import Cluster, ExecutionProfile, Session
    from cassandra.query import PreparedStatement

    from feastra_nb.connection.targets import ClusterSettings, TlsSettings

log = logging.getLogger("feastra_nb.connection")

# v5 adds a checksummed frame that costs client CPU; nothing here needs it. Saying a version spares two refused handshakes.
PROTOCOL_VERSION = 4
CONNECT_TIMEOUT_S = 10.0
# A read that has no answer by then is sent to a second replica too; well above a healthy p99, well below a stall.
SPECULATIVE_DELAY_S = 0.1
READ, WRITE = "read", "write"
# Requests in flight. For writes 64 beat 512 in measurements: more only make the client's threads fight for the interpreter.
READ_WINDOW, WRITE_WINDOW = 128, 64
LOOPBACK = ("127.", "localhost", "::1")


class Database:
    """One keyspace seen through one shared driver session.

    Parameters
    ----------
    session
        The driver's session.
    settings
        What the session was built from.
    keyspace
        The keyspace that statements name.
    """

    def __init__(self, session: Session, settings: ClusterSettings, keyspace: str) -> None:
        self.session = session
        self.settings = settings
        self.keyspace = keyspace
        self.read_window = READ_WINDOW
        self.write_window = WRITE_WINDOW
        self._prepared: dict[tuple[str, str], PreparedStatement] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Database({self.settings.label}, keyspace={self.keyspace!r})"

    def prepare(self, cql: str, profile: str) -> PreparedStatement:
        """Return the prepared statement of a CQL text, with the consistency level of ``READ`` or ``WRITE``; idempotent."""
        key = (cql, profile)
        statement = self._prepared.get(key)
        if statement is None:
            with self._lock, map_driver_errors(cql):
                statement = self.session.prepare(cql)
                statement.is_idempotent = True
                statement.consistency_level = consistency_value(
                    self.settings.read_consistency if profile == READ else self.settings.write_consistency
                )
                self._prepared[key] = statement
        return statement

    def execute(self, cql: str, values: Sequence[object] = (), *, profile: str = WRITE) -> Any:
        """Run one statement and return the driver's result set, with driver errors mapped."""
        statement = self.prepare(cql, profile) if values else self._simple(cql, profile)
        with map_driver_errors(cql):
            return self.session.execute(statement, values or None, execution_profile=profile)

    def schema(self, cql: str) -> None:
        """Run a schema statement; such statements are not retried, so a time-out is the caller's to judge.

        What the server warns of is passed on: of a guardrail that the change has come near to.
        """
        with map_driver_errors(cql):
            done = self.session.execute(cql, timeout=60.0)
        for warning in done.response_future.warnings or ():
            warn_user(f"the server warns: {warning}")

    def table_exists(self, table: str) -> bool:
        """Tell whether the keyspace has a table, as the server sees it now."""
        rows = self.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
            (self.keyspace, table),
            profile=READ,
        )
        return rows.one() is not None

    def _simple(self, cql: str, profile: str) -> Any:
        from cassandra.query import SimpleStatement

        level = self.settings.read_consistency if profile == READ else self.settings.write_consistency
        return SimpleStatement(cql, is_idempotent=True, consistency_level=consistency_value(level))


def quoted(name: str) -> str:
    """Return a CQL identifier that keeps every character of a name.

    Examples
    --------
    >>> print(quoted('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def consistency_value(name: str) -> int:
    """Return the driver's number of a consistency level."""
    from cassandra import ConsistencyLevel

    return int(ConsistencyLevel.name_to_value[name])


# --- sessions -------------------------------------------------------------------------------------------------------


class SessionPool:
    """Sessions of this process by their settings, each with the number of its users."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[tuple[int, ClusterSettings], tuple[Session, int]] = {}

    def acquire(self, settings: ClusterSettings) -> Session:
        """Return the session of these settings, opening it for the first user; pair with `release`."""
        # A session must not cross a fork, hence the process id.
        key = (os.getpid(), settings)
        with self._lock:
            session, users = self._open.get(key, (None, 0))
            if session is None or session.is_shutdown:
                session, users = open_session(settings), 0
            self._open[key] = (session, users + 1)
            return session

    def release(self, settings: ClusterSettings) -> None:
        """Give a session back; the last user's return closes it."""
        key = (os.getpid(), settings)
        with self._lock:
            session, users = self._open.get(key, (None, 0))
            if session is None:
                return
            if users > 1:
                self._open[key] = (session, users - 1)
                return
            del self._open[key]
        session.cluster.shutdown()

    def close_all(self) -> None:
        """Close every session of this process."""
        with self._lock:
            mine = [key for key in self._open if key[0] == os.getpid()]
            sessions = [self._open.pop(key)[0] for key in mine]
        for session in sessions:
            with contextlib.suppress(Exception):
                session.cluster.shutdown()


pool = SessionPool()
atexit.register(pool.close_all)


def open_session(settings: ClusterSettings) -> Session:
    """Connect and return a new session.

    Raises
    ------
    ConnectionFailed, AuthenticationFailed
        The server cannot be reached, or refuses the credentials.
    """
    quiet_driver_log()
    cluster = build_cluster(settings)
    try:
        with map_driver_errors(f"connecting to {settings.label}"):
            session = cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise
    session.default_fetch_size = 5000
    warn_if_it_differs(session)
    log.info("connected to %s", settings.label)
    return session


def build_cluster(settings: ClusterSettings) -> Cluster:
    """Return an unconnected driver cluster for the settings."""
    from cassandra.cluster import Cluster

    options: dict[str, Any] = {
        "auth_provider": _auth_provider(settings),
        "execution_profiles": _profiles(settings),
        "protocol_version": settings.protocol_version or PROTOCOL_VERSION,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "control_connection_timeout": CONNECT_TIMEOUT_S,
        "application_name": "feastra_nb",
    }
    if settings.bundle:
        # The driver unpacks the bundle; in a private temporary folder, since the bundle's own may be read-only.
        options["cloud"] = {"secure_connect_bundle": settings.bundle, "use_default_tempdir": True}
    else:
        options |= {
            "contact_points": list(settings.hosts),
            "port": settings.port,
            "ssl_context": _ssl_context(settings.tls),
            # Compression costs CPU and saves bytes: worth it over a network only.
            "compression": not all(host.startswith(LOOPBACK) for host in settings.hosts),
        }
    with map_driver_errors(f"connecting to {settings.label}"):
        return _cluster(Cluster, options)


def _cluster(cls: type[Cluster], options: Mapping[str, Any]) -> Cluster:
    try:
        with warnings.catch_warnings():
            # The driver opens a bundle with a constant that Python deprecates; a notebook would show that in red.
            warnings.filterwarnings("ignore", message="ssl.PROTOCOL_TLS", category=DeprecationWarning)
            return cls(**options)
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"the secure connect bundle lacks a file, or is not there: {exc.filename or exc}",
            hint="download the bundle again from the Astra portal",
        ) from exc


def _profiles(settings: ClusterSettings) -> dict[Any, ExecutionProfile]:
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
    from cassandra.policies import ConstantSpeculativeExecutionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    def profile(level: str, local_dc: str | None, **more: Any) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc or "")),
            consistency_level=consistency_value(level),
            request_timeout=settings.request_timeout_s,
            row_factory=tuple_factory,
            **more,
        )

    # With one contact point on loopback there is no second replica to ask, and every speculation costs a timer.
    several = len(settings.hosts) != 1 or not settings.hosts[0].startswith(LOOPBACK)
    again = {"speculative_execution_policy": ConstantSpeculativeExecutionPolicy(SPECULATIVE_DELAY_S, 1)}
    return {
        EXEC_PROFILE_DEFAULT: profile(settings.write_consistency, settings.write_dc),
        WRITE: profile(settings.write_consistency, settings.write_dc),
        READ: profile(settings.read_consistency, settings.read_dc, **(again if several else {})),
    }


def _auth_provider(settings: ClusterSettings) -> Any:
    from cassandra.auth import PlainTextAuthProvider

    if settings.username is None or settings.password is None:
        return None
    return PlainTextAuthProvider(settings.username, settings.password.reveal())


def _ssl_context(tls: TlsSettings | ssl.SSLContext | None) -> ssl.SSLContext | None:
    import ssl

    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"cannot load the TLS files ca={tls.ca!r} cert={tls.cert!r} key={tls.key!r}: {exc}",
            hint="each must be the path of a readable PEM file; the key belongs to the certificate",
        ) from exc
    context.check_hostname = tls.check_hostname
    return context


# --- keyspaces -------------------------------------------------------------------------------------------------------


def ensure_keyspace(
    session: Session, keyspace: str, *, create: bool, replication: int | Mapping[str, int] | None = None
) -> None:
    """Make sure that a keyspace is there.

    Parameters
    ----------
    create
        Whether to make it where it is missing.
    replication
        Replicas: a number for the local data centre, or a number per data centre; None for 3, or as many nodes as there are.

    Raises
    ------
    KeyspaceNotFound
        It is not there and is not to be made.
    """
    with map_driver_errors(f"looking for keyspace {keyspace}"):
        found = session.execute(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (keyspace,)
        )
        if found.one() is not None:
            return
        if not create:
            names = sorted(row[0] for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces"))
            mine = [name for name in names if not name.startswith("system")]
            raise KeyspaceNotFound(
                f"the cluster has no keyspace {keyspace!r} (it has: {', '.join(mine) or 'none'})",
                hint="make it, or pass create_keyspace=True; on Astra DB keyspaces are made in the portal",
            )
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {quoted(keyspace)} WITH replication = {_replication(session, replication)}",
            timeout=60.0,
        )


def _replication(session: Session, replication: int | Mapping[str, int] | None) -> dict[str, object]:
    centres: dict[str, int] = {}
    for host in session.cluster.metadata.all_hosts():
        centres[host.datacenter] = centres.get(host.datacenter, 0) + 1
    if replication is None:
        replicas = {name: min(3, nodes) for name, nodes in centres.items()}
    elif isinstance(replication, int):
        replicas = dict.fromkeys(centres, replication)
    else:
        replicas = dict(replication)
    return {"class": "NetworkTopologyStrategy", **replicas}
