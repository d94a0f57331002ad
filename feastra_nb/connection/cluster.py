"""Driver sessions: the one module that builds clusters; everything else asks it for a `Database`."""

from __future__ import annotations

import atexit
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.clock import warn_if_it_differs
from feastra_nb.connection.driver_errors import map_driver_errors, quiet_driver_log
from feastra_nb.connection.liveness import Shortage, shortage
from feastra_nb.connection.pool import SessionPool
from feastra_nb.connection.profiles import (
    LOOPBACK,
    READ,
    TRANSACTION,
    WRITE,
    consistency_value,
    has_several_nodes,
    profiles,
)
from feastra_nb.connection.wire.exchange import Exchange
from feastra_nb.connection.wire.lines import lines_of
from feastra_nb.errors import ConfigurationError
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping, Sequence

    from cassandra.cluster import Cluster, Session
    from cassandra.query import PreparedStatement

    from feastra_nb.connection.targets import ClusterSettings, TlsSettings

__all__ = [
    "READ",
    "TRANSACTION",
    "WRITE",
    "Database",
    "await_agreement",
    "build_cluster",
    "consistency_value",
    "open_session",
    "pool",
    "quoted",
]

log = logging.getLogger("feastra_nb.connection")

# v5 adds a checksummed frame that costs client CPU; nothing here needs it. Saying a version spares two refused handshakes.
PROTOCOL_VERSION = 4
CONNECT_TIMEOUT_S = 10.0
RECONNECT_S = 1.0  # between two attempts to reach a node that is down, for as long as it is
# Among several nodes: a connection that has been silent for the first is asked for a sign of life, and given up after the second.
HEARTBEAT_S, HEARTBEAT_TIMEOUT_S = 5.0, 5.0
# The driver's own threads. One that reconnects to a node that hangs is busy for CONNECT_TIMEOUT_S; retries need others.
EXECUTOR_THREADS = 8
SCHEMA_TIMEOUT_S = 60.0  # a change of the schema on a busy node
AGREEMENT_S = 20.0  # how long all nodes may take to learn of it; they go on by themselves after that
# How long a request is waited for while more nodes are down than its consistency level can do without: the servers notice a
# node's death only after ten seconds, and let requests time out until then.
SHORT_OF_REPLICAS_TIMEOUT_S = 2.0
# Requests in flight. For writes 64 beat 512 in measurements: more only make the client's threads fight for the interpreter.
READ_WINDOW, WRITE_WINDOW = 128, 64


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
        self.lines = lines_of(session, settings)
        self._prepared: dict[tuple[str, str], PreparedStatement] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Database({self.settings.label}, keyspace={self.keyspace!r})"

    def prepare(self, cql: str, profile: str) -> PreparedStatement:
        """Return the prepared statement of a CQL text, with the consistency level of ``READ`` or ``WRITE``.

        It is idempotent, and may be sent to two nodes at once, but for a ``TRANSACTION``, which answers by what it met.
        """
        key = (cql, profile)
        statement = self._prepared.get(key)
        if statement is None:
            with self._lock, map_driver_errors(cql, self):
                statement = self.session.prepare(cql)
                statement.is_idempotent = profile != TRANSACTION
                statement.consistency_level = consistency_value(
                    self.settings.read_consistency if profile == READ else self.settings.write_consistency
                )
                self._prepared[key] = statement
        return statement

    def execute(self, cql: str, values: Sequence[object] = (), *, profile: str = WRITE) -> Any:
        """Run one statement and return the driver's result set, with driver errors mapped."""
        statement = self.prepare(cql, profile) if values else self._simple(cql, profile)
        with map_driver_errors(cql, self):
            return self.send(statement.bind(values) if values else statement, profile).result()

    def schema(self, cql: str) -> None:
        """Run a schema statement, and return when all nodes have it; a time-out is the caller's to judge.

        What the server warns of is passed on: of a guardrail that the change has come near to.
        """
        with map_driver_errors(cql, self):
            done = self.session.execute(cql, timeout=SCHEMA_TIMEOUT_S)
            if not done.response_future.is_schema_agreed:
                await_agreement(self.session)
        for warning in done.response_future.warnings or ():
            warn_user(f"the server warns: {warning}")

    def goes_directly(self, profile: str) -> bool:
        """Tell whether requests may take the direct way; otherwise everything has to go through the driver."""
        return self.settings.direct and self.lines.is_usable() and self.shortage(profile) is None

    def exchange(self, profile: str) -> Exchange | None:
        """Return the direct way for a call's requests; None where everything has to go through the driver."""
        return Exchange(self.lines, profile, self.keyspace) if self.goes_directly(profile) else None

    def send(
        self, statement: Any, profile: str, paging_state: bytes | None = None, timeout_s: float | None = None
    ) -> Any:
        """Send a statement and return the driver's future; where too few nodes are up it waits for a short while only."""
        options: dict[str, Any] = {} if paging_state is None else {"paging_state": paging_state}
        if self.shortage(profile) is not None:
            timeout_s = min(SHORT_OF_REPLICAS_TIMEOUT_S, timeout_s or self.settings.request_timeout_s)
        if timeout_s is not None:
            options["timeout"] = timeout_s
        return self.session.execute_async(statement, execution_profile=profile, **options)

    def shortage(self, profile: str = WRITE, gone: Collection[str] = ()) -> Shortage | None:
        """Return what the consistency level of ``READ`` or ``WRITE`` may lack, with these nodes gone beside those that are down."""
        reads = profile == READ
        level = self.settings.read_consistency if reads else self.settings.write_consistency
        local_dc = self.settings.read_dc if reads else self.settings.write_dc
        return shortage(self.session.cluster.metadata, self.keyspace, level, local_dc, gone)

    def down(self) -> tuple[str, ...]:
        """Return the addresses of the nodes that the driver holds for down."""
        return tuple(host.address for host in self.session.cluster.metadata.all_hosts() if host.is_up is False)

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
        return SimpleStatement(cql, is_idempotent=profile != TRANSACTION, consistency_level=consistency_value(level))


def quoted(name: str) -> str:
    """Return a CQL identifier that keeps every character of a name.

    Examples
    --------
    >>> print(quoted('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def await_agreement(session: Session) -> None:
    """Wait until all nodes that are up have the same schema; goes on after a while, since those that have it can be used."""
    try:
        agreed = session.cluster.control_connection.wait_for_schema_agreement(wait_time=AGREEMENT_S)
    except Exception as error:  # noqa: BLE001 - the driver raises anything here while it reconnects
        log.info("cannot ask for the nodes' schema: %s", error)
        return
    if not agreed:
        log.warning("the nodes do not agree on the schema after %.0f s", AGREEMENT_S)


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
        session = _connect(cluster, settings)
    except BaseException:
        cluster.shutdown()
        raise
    session.default_fetch_size = 5000
    warn_if_it_differs(session)
    log.info("connected to %s", settings.label)
    return session


def _connect(cluster: Cluster, settings: ClusterSettings) -> Session:
    from cassandra.cluster import NoHostAvailable

    with map_driver_errors(f"connecting to {settings.label}"):
        try:
            session = cluster.connect()
        except NoHostAvailable:
            _refuse_unknown_dc(cluster, settings)
            raise
        _refuse_unknown_dc(cluster, settings)
        return session


def _refuse_unknown_dc(cluster: Cluster, settings: ClusterSettings) -> None:
    there = sorted({host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter})
    for name in (settings.read_dc, settings.write_dc):
        if name and there and name not in there:
            raise ConfigurationError(
                f"{settings.label} has no data centre {name!r}; it has {', '.join(map(repr, there))}",
                hint=f"fnb.Hosts(…, local_dc={there[0]!r}); without local_dc that of the first contact point is taken",
            )


def build_cluster(settings: ClusterSettings) -> Cluster:
    """Return an unconnected driver cluster for the settings."""
    from cassandra.cluster import Cluster
    from cassandra.policies import ConstantReconnectionPolicy

    from feastra_nb.connection.retries import ReadAgain

    again = ReadAgain()
    options: dict[str, Any] = {
        "auth_provider": _auth_provider(settings),
        "execution_profiles": profiles(settings, again),
        "protocol_version": settings.protocol_version or PROTOCOL_VERSION,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "control_connection_timeout": CONNECT_TIMEOUT_S,
        "application_name": "feastra_nb",
        "reconnection_policy": ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
        "executor_threads": EXECUTOR_THREADS,
        # One that hangs would keep all waiting; a node that does not know a statement is told when it is asked.
        "prepare_on_all_hosts": False,
    }
    if has_several_nodes(settings):
        options |= {"idle_heartbeat_interval": HEARTBEAT_S, "idle_heartbeat_timeout": HEARTBEAT_TIMEOUT_S}
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
        cluster = _cluster(Cluster, options)
    again.metadata = cluster.metadata
    return cluster


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
