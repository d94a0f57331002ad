"""Driver sessions: the one module that builds clusters; everything else asks it for a `Database`."""

from __future__ import annotations

import atexit
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.driver import map_driver_errors, quiet_driver_log
from feastra_nb.connection.pool import SessionPool
from feastra_nb.errors import ConfigurationError
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


pool = SessionPool(open_session)
atexit.register(pool.close_all)
