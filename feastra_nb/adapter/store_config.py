"""The ``online_store`` block of a ``feature_store.yaml``, and the store that it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from feastra_nb.adapter.config_blocks import (
    AstraConfig,
    ConsistencyConfig,
    DatacenterConfig,
    LoadBalancingConfig,
    RoutingConfig,
)
from feastra_nb.adapter.config_secrets import hidden
from feastra_nb.connection.astra.access import TOKEN_USER, access, fetched_again
from feastra_nb.connection.secrets import secret
from feastra_nb.connection.targets import DEFAULT_PORT, REQUEST_TIMEOUT_S, Astra, ClusterSettings, tls_settings
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, RequestFailed
from feastra_nb.storage.opened import OpenStore
from feastra_nb.storage.retention import Retention

if TYPE_CHECKING:
    from cassandra.cluster import Session

    from feastra_nb.connection.secrets import Secret

STORE_TYPE = "feastra_nb.online_store.FeastraOnlineStore"


class StoreConfig(FeastConfigBaseModel):
    """The ``online_store`` block; `feastra_nb.online_store` has the class that Feast looks for by its name there.

    Exactly one of ``hosts``, ``datacenters``, ``secure_bundle_path``, ``astra`` and ``local`` says where the cluster is.
    """

    type: Literal["feastra_nb.online_store.FeastraOnlineStore"] = "feastra_nb.online_store.FeastraOnlineStore"

    # What Feast's `type: cassandra` takes.
    hosts: list[StrictStr] | None = None
    secure_bundle_path: StrictStr | None = None
    port: StrictInt | None = None
    keyspace: StrictStr = "feast_keyspace"
    username: StrictStr | None = None
    password: Any = None
    protocol_version: StrictInt | None = None
    request_timeout: StrictFloat | StrictInt | None = None
    datacenters: list[DatacenterConfig] | None = None
    routing: RoutingConfig | None = None
    load_balancing: LoadBalancingConfig | None = None
    read_concurrency: StrictInt | None = None
    write_concurrency: StrictInt | None = None

    # What is ours.
    local: StrictBool | StrictStr = False
    """A Cassandra on this machine, started when it is needed; a string names one other than the default."""
    consistency: ConsistencyConfig = ConsistencyConfig()
    retain: StrictStr = "7d"
    """How much history a view keeps that is applied for the first time: ``7d``, ``all``, ``latest``."""
    enforce_ttl: StrictBool = True
    """Whether a value past its view's ttl is missing, as it is offline; False serves it, as Feast's own stores do."""
    ssl: bool | StrictStr | dict[str, Any] | None = None
    create_keyspace: StrictBool = False
    replication: StrictInt | dict[str, int] | None = None
    astra: AstraConfig | None = None
    """A database by name or id, whose bundle is fetched and kept; ``password`` is the token."""
    direct: StrictBool = True
    """Read and write by the short way, past the driver's event loop; False sends everything through the driver."""
    adopt_registry: StrictBool = False
    """Take over views that another Feast registry has applied to the same keyspace and project."""
    mirror: dict[str, Any] | None = None
    """The ``online_store`` block of Feast's own store, which is written as well until a migration is finished; never read."""

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, values: Any) -> Any:
        return hidden(values)

    def settings(self) -> ClusterSettings:
        """Return the cluster settings that this configuration stands for, starting a local node where it asks for one."""
        hosts, port = self._contact_points()
        bundle, username, password = self._bundle()
        if bundle is None and username is None:
            username, password = _local_login(hosts, port)
        local_dc = self.load_balancing.local_dc if self.load_balancing else None
        routing = self.routing or RoutingConfig()
        return ClusterSettings(
            hosts=hosts,
            port=port,
            bundle=bundle,
            username=username,
            password=password,
            tls=tls_settings(self.ssl),
            read_dc=routing.read_dc or local_dc,
            write_dc=routing.write_dc or local_dc,
            read_consistency=self.consistency.read,
            write_consistency=self.consistency.write,
            request_timeout_s=REQUEST_TIMEOUT_S if self.request_timeout is None else float(self.request_timeout),
            protocol_version=self.protocol_version,
            direct=self.direct,
        )

    def astra_target(self) -> Astra | None:
        """Return the Astra database whose bundle is to be fetched; None where it is not that."""
        if self.astra is None:
            return None
        token = self.astra.token or (self.password if self.username in (None, TOKEN_USER) else None)
        return Astra(self.astra.database, token, region=self.astra.region, devops_url=self.astra.devops_url)

    def _bundle(self) -> tuple[str | None, str | None, Secret | None]:
        target = self.astra_target()
        if target is None:
            return self.secure_bundle_path, self.username, secret(self.password)
        opened = access(target)
        return str(opened.bundle), opened.username, opened.password

    def _contact_points(self) -> tuple[tuple[str, ...], int]:
        given = [
            name for name in ("hosts", "datacenters", "secure_bundle_path", "astra", "local") if getattr(self, name)
        ]
        if len(given) != 1:
            raise ConfigurationError(
                f"online_store has {' and '.join(given) or 'no address'}; exactly one of hosts, datacenters, "
                "secure_bundle_path, astra and local is needed",
                hint="hosts: [127.0.0.1], or local: true for a Cassandra on this machine",
            )
        port = self.port or DEFAULT_PORT
        if self.local:
            from feastra_nb.connection.local import start

            node = start() if self.local is True else start(name=str(self.local))
            return node.hosts, node.port
        if self.datacenters:
            return tuple(host for centre in self.datacenters for host in centre.hosts), port
        return tuple(self.hosts or ()), port


def _local_login(hosts: tuple[str, ...], port: int) -> tuple[str | None, Secret | None]:
    """Return the user and password of this user's own local node, where the hosts are that: nobody types them."""
    from feastra_nb.connection.local import login_at

    login = login_at(hosts, port)
    return (login.username, login.password) if login is not None else (None, None)


def open_store(config: StoreConfig, project: str) -> OpenStore:
    """Connect and return the open store of a project.

    Raises
    ------
    ConnectionFailed, ConfigurationError
        The cluster cannot be reached, or the configuration makes no sense.
    """
    from feastra_nb.connection.cluster import Database, pool
    from feastra_nb.connection.keyspaces import ensure_keyspace

    Retention.of(config.retain)  # what cannot be read is refused here, and not at the first write
    settings = config.settings()
    session = _session(config, settings)
    try:
        create = config.create_keyspace or bool(config.local)
        ensure_keyspace(session, config.keyspace, create=create, replication=config.replication)
        db = Database(session, settings, config.keyspace)
        db.read_window = config.read_concurrency or db.read_window
        db.write_window = config.write_concurrency or db.write_window
        return OpenStore(db, project, enforce_ttl=config.enforce_ttl)
    except BaseException:
        pool.release(session)
        raise


def _session(config: StoreConfig, settings: ClusterSettings) -> Session:
    """Return a session; where a bundle of the cache leads nowhere it is fetched once more."""
    from feastra_nb.connection.cluster import pool

    try:
        return pool.acquire(settings)
    except AuthenticationFailed:
        raise
    except (ConnectionFailed, RequestFailed, ConfigurationError):
        target = config.astra_target()
        if target is None:
            raise
        fetched_again(target)
        return pool.acquire(settings)
