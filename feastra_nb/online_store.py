"""The online store that Feast loads: a thin adapter between Feast's interface and `feastra_nb.storage`.

In a ``feature_store.yaml``::

    online_store:
      type: feastra_nb.online_store.FeastraOnlineStore
      hosts: [10.0.0.1]
      keyspace: features
      username: reader
      password: ${CASSANDRA_PASSWORD}

Every key of Feast's own ``type: cassandra`` is accepted; the others are documented at `FeastraOnlineStoreConfig`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from feastra_nb.adapter import precomputed
from feastra_nb.adapter.config_blocks import (
    AstraConfig,
    ConsistencyConfig,
    DatacenterConfig,
    LoadBalancingConfig,
    RoutingConfig,
)
from feastra_nb.adapter.config_secrets import hidden, hide_in_repo_config
from feastra_nb.adapter.feast_rows import Read, key_bytes, to_rows
from feastra_nb.adapter.many_views import ManyViewStore
from feastra_nb.adapter.objects import FeastraTable, feature_names, refuse_unserved, registry_identity, spec_of
from feastra_nb.connection import cluster
from feastra_nb.connection.astra.access import TOKEN_USER, access, fetched_again
from feastra_nb.connection.forks import renew_in_child
from feastra_nb.connection.secrets import secret
from feastra_nb.connection.targets import DEFAULT_PORT, REQUEST_TIMEOUT_S, Astra, ClusterSettings, tls_settings
from feastra_nb.errors import AuthenticationFailed, CatalogConflict, ConfigurationError, ConnectionFailed, RequestFailed
from feastra_nb.storage import reader, writer
from feastra_nb.storage.catalog import Catalog, ViewEntry
from feastra_nb.storage.journal import DONE, Journal, new_run
from feastra_nb.storage.retention import Retention
from feastra_nb.storage.row_selection import admit, refuse_future
from feastra_nb.storage.table_limit import warn_near_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cassandra.cluster import Session
    from feast import Entity, FeatureView
    from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

    from feastra_nb.connection.cluster import Database
    from feastra_nb.connection.secrets import Secret
    from feastra_nb.storage.rows import Rows

STORE_TYPE = "feastra_nb.online_store.FeastraOnlineStore"
hide_in_repo_config(STORE_TYPE)


class FeastraOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration of `FeastraOnlineStore`.

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
    adopt_registry: StrictBool = False
    """Take over views that another Feast registry has applied to the same keyspace and project."""

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
        found = access(target)
        return str(found.bundle), found.username, found.password

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


@dataclass(slots=True)
class _Opened:
    """A store's connection and what it has learnt through it."""

    settings: ClusterSettings
    db: Database
    catalog: Catalog
    journal: Journal
    entries: dict[tuple[str, str], ViewEntry] = field(default_factory=dict)
    awaitable: set[tuple[str, str]] = field(
        default_factory=set
    )  # views whose reads wait for nothing before they are sent


class FeastraOnlineStore(ManyViewStore):
    """Feast's online store on Cassandra: a log of events that no order of writing can corrupt (see ``docs/storage.md``)."""

    def __init__(self) -> None:
        self.after_fork()
        renew_in_child(self)

    def __repr__(self) -> str:
        return f"FeastraOnlineStore({self._opened.db if self._opened else 'not connected'})"

    def __getstate__(self) -> dict[str, object]:
        # A session cannot be pickled and need not be: the copy opens its own when it is first used.
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        FeastraOnlineStore.__init__(self)

    # --- connection ---

    def after_fork(self) -> None:
        """Begin without a connection, as a new store and a forked child do: the first use opens one."""
        self._opened: _Opened | None = None
        self._lock = threading.RLock()

    def open(self, config: RepoConfig) -> _Opened:
        """Connect on first use and return the connection; ``config`` counts until `shutdown`."""
        with self._lock:
            if self._opened is None:
                self._opened = _open(config.online_store)
            return self._opened

    def shutdown(self) -> None:
        """Give the session back; the process's last user of it closes it."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            cluster.pool.release(opened.db.session)

    async def initialize(self, config: RepoConfig) -> None:
        """Connect, as `feast serve` asks at its start."""
        await asyncio.to_thread(self.open, config)

    async def close(self) -> None:
        """Disconnect, as `feast serve` asks at its end."""
        await asyncio.to_thread(self.shutdown)

    def entry(self, config: RepoConfig, table: FeatureView, *, reload: bool = False) -> ViewEntry:
        """Return what the catalog knows of a view.

        Raises
        ------
        CatalogConflict
            The view was never applied to this keyspace, or was dropped.
        ConfigurationError
            The view is not kept online.
        """
        entry = self._known(config, table, reload=reload)
        if entry is None:
            refuse_unserved(table)
            raise CatalogConflict(
                f"view {table.name!r} of project {config.project!r} is not in keyspace {self.open(config).db.keyspace!r}",
                hint="run `feast apply`, or ws.materialize a DataFrame into it",
            )
        return entry

    def _known(self, config: RepoConfig, table: FeatureView, *, reload: bool = False) -> ViewEntry | None:
        opened = self.open(config)
        key = (config.project, table.name)
        entry = None if reload else opened.entries.get(key)
        if entry is None:
            entry = opened.catalog.load(*key)
            if entry is not None:
                opened.entries[key] = entry
        return entry

    def entry_with(self, config: RepoConfig, table: FeatureView, features: Sequence[str]) -> ViewEntry:
        """Return a view's entry that knows all of these features; another process may just have added one.

        Raises
        ------
        CatalogConflict
            The catalog does not know one of them.
        """
        entry = self.entry(config, table)
        if any(name not in entry.positions for name in features):
            entry = self.entry(config, table, reload=True)
        for name in features:
            entry.position(name)
        return entry

    def forget_entry(self, config: RepoConfig, view: str) -> None:
        """Make the next use of a view read its catalog entry anew."""
        opened = self.open(config)
        opened.entries.pop((config.project, view), None)
        opened.awaitable.discard((config.project, view))

    def served_ttl_us(self, config: RepoConfig, table: FeatureView) -> int | None:
        """Return the ttl that a view is held to online, in microseconds; None where nothing served is too old."""
        ttl = getattr(table, "ttl", None)
        return ttl // timedelta(microseconds=1) if ttl and config.online_store.enforce_ttl else None

    # --- Feast's four methods, and plan ---

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],  # noqa: ARG002 - Feast's signature
        entities_to_keep: Sequence[Entity],  # noqa: ARG002
        partial: bool,  # noqa: ARG002, FBT001
    ) -> None:
        """Create, evolve and drop tables, as ``feast apply`` asks."""
        opened = self.open(config)
        opened.catalog.create()
        for table in tables_to_keep:
            if getattr(table, "online", True):
                self._ensure(config, table)
        for table in tables_to_delete:
            opened.catalog.drop(config.project, table.name)
            self.forget_entry(config, table.name)
        warn_near_limit(opened.db)

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],  # noqa: ARG002
    ) -> None:
        """Drop the tables, as ``feast teardown`` asks."""
        opened = self.open(config)
        opened.catalog.create()
        # Feast does not list the views that only this store knows: vectors, and on-demand views that are written.
        mine = (registry_identity(config),)
        unlisted = [entry.view for entry in opened.catalog.views(config.project) if entry.registries == mine]
        for view in dict.fromkeys([*(table.name for table in tables), *unlisted]):
            opened.catalog.drop(config.project, view)
            self.forget_entry(config, view)

    def plan(self, config: RepoConfig, desired_registry_proto: RegistryProto) -> list[FeastraTable]:
        """Return the tables that the desired registry needs."""
        registry = desired_registry_proto
        views = [*registry.feature_views, *registry.stream_feature_views, *registry.label_views]
        names = [view.spec.name for view in views if view.spec.online]
        names += [view.spec.name for view in registry.on_demand_feature_views if view.spec.write_to_online_store]
        return [FeastraTable(config.project, name) for name in names]

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKeyProto, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to a view's log; ``progress`` gets the number of rows of each acknowledged batch.

        Raises
        ------
        InvalidFrame
            An event lies more than five minutes in the future, or a row is larger than servers take; nothing was written.
        WriteIncomplete
            Some rows could not be written; writing all again is safe.
        """
        if not data:
            return
        # Feast never applies the views it makes up: the first vector makes the table.
        entry = self._ensure(config, table) if precomputed.is_vector_view(table.name) else self.entry(config, table)
        began_us = time.time_ns() // 1000
        rows = to_rows(entry, data)
        refuse_future(rows.event_us, now_us=began_us, view=table.name)
        # Not thinned: a batch of somebody else's is not all there is of an entity's past.
        admitted = admit(rows, now_us=began_us, ttl_us=entry.ttl_us, retain=entry.retention, thin=False)
        keep = admitted.keep
        opened = self.open(config)
        result = writer.write(opened.db, entry, rows.take(keep), admitted.ttl_s[keep], on_acknowledged=progress)
        # Feast's engines pass a progress function and write only the newest event of their interval; pushes pass none.
        if progress is not None and len(rows):
            self._record_thinned(config, entry, rows, result.rows, admitted.expired, began_us)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return the newest row of each entity that the view's ttl still allows, or ``(None, None)``."""
        read = self._begin_read(config, table, [key_bytes(key) for key in entity_keys], requested_features)
        return read.features(read.result())

    # --- asynchronous ---

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads and writes: what `feast serve` asks before it awaits them."""
        return SupportedAsyncMethods(read=True, write=True)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKeyProto, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """As `online_write_batch`, in a thread: encoding a batch takes the processor longer than the loop may stand still."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """As `online_read`; no thread waits for the answer."""
        blobs = [key_bytes(key) for key in entity_keys]
        read = await self._begin_read_async(config, table, blobs, requested_features)
        return read.features(await read.result_async())

    def _is_versioned_read_supported(self) -> bool:
        # A view has one log here, whatever version of its definition wrote to it: Feast refuses `view@v2` by name.
        return False

    async def _begin_read_async(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], features: list[str] | None
    ) -> Read:
        key = (config.project, table.name)
        if self._opened is None or key not in self._opened.awaitable:
            # Connecting, the catalog and preparing wait for the server: once a view, and not on the loop.
            await asyncio.to_thread(self._warm, config, table)
        return self._begin_read(config, table, keys, features)

    def _warm(self, config: RepoConfig, table: FeatureView) -> None:
        opened = self.open(config)
        reader.prepare_newest(opened.db, self.entry(config, table))
        opened.awaitable.add((config.project, table.name))

    def _begin_read(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], features: list[str] | None
    ) -> Read:
        names = feature_names(table) if features is None else features
        entry = self.entry_with(config, table, names)
        # The view's own ttl, not the catalog's: a ttl that was changed and applied elsewhere counts at once.
        bounds = reader.serving_bounds(time.time_ns() // 1000, self.served_ttl_us(config, table))
        opened = self.open(config)
        newest = reader.NewestRead(opened.db, entry, list(dict.fromkeys(keys)), bounds)
        return Read(newest, keys, names, entry, lambda: self.entry(config, table, reload=True))

    def _ensure(self, config: RepoConfig, table: FeatureView) -> ViewEntry:
        opened = self.open(config)
        store = config.online_store
        entry = opened.catalog.ensure(
            spec_of(config.project, table, ttl_us=self.served_ttl_us(config, table)),
            # Vectors are computed again from the views, so that their history is worth nothing.
            retain="latest" if precomputed.is_vector_view(table.name) else Retention.of(store.retain).text,
            registry=registry_identity(config),
            adopt=store.adopt_registry,
        )
        opened.entries[(config.project, table.name)] = entry
        return entry

    def _record_thinned(
        self, config: RepoConfig, entry: ViewEntry, rows: Rows, written: int, expired: int, began_us: int
    ) -> None:
        from dataclasses import replace

        start_us, end_us = int(rows.event_us.min()), int(rows.event_us.max())
        run = new_run(entry, "feast", start_us=start_us, end_us=end_us, began_us=began_us)
        ended_us = time.time_ns() // 1000
        self.open(config).journal.write(
            replace(run, state=DONE, rows=written, expired=expired, thinned=True, ended_us=ended_us)
        )


def _open(config: FeastraOnlineStoreConfig) -> _Opened:
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
        return _Opened(settings, db, Catalog(db), Journal(db))
    except BaseException:
        pool.release(session)
        raise


def _session(config: FeastraOnlineStoreConfig, settings: ClusterSettings) -> Session:
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
