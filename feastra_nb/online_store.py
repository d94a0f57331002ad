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
import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods

from feastra_nb.adapter import many_views, precomputed
from feastra_nb.adapter.config_secrets import hide_in_repo_config
from feastra_nb.adapter.feast_calls import hush_advice
from feastra_nb.adapter.feast_private import reads_views_together
from feastra_nb.adapter.feast_rows import key_bytes, to_rows
from feastra_nb.adapter.mirror import Mirror
from feastra_nb.adapter.objects import FeastraTable, registry_identity, spec_of
from feastra_nb.adapter.store_config import STORE_TYPE, StoreConfig, open_store
from feastra_nb.connection import cluster
from feastra_nb.connection.forks import renew_in_child
from feastra_nb.errors import FeastraError
from feastra_nb.storage import writer
from feastra_nb.storage.forgetting import take_back
from feastra_nb.storage.journal import DONE, new_run
from feastra_nb.storage.retention import Retention
from feastra_nb.storage.row_selection import admit, refuse_future
from feastra_nb.storage.suppression import MAX_AGE_S
from feastra_nb.storage.table_limit import warn_near_limit
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from feast import Entity, FeatureService, FeatureView
    from feast.online_response import OnlineResponse
    from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.storage.rows import Rows

__all__ = ["STORE_TYPE", "FeastraOnlineStore", "FeastraOnlineStoreConfig"]

hide_in_repo_config(STORE_TYPE)
hush_advice()


class FeastraOnlineStoreConfig(StoreConfig):
    """Configuration of `FeastraOnlineStore`: every key of Feast's ``type: cassandra``, and those of `StoreConfig`."""


@reads_views_together
class FeastraOnlineStore(OnlineStore):
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
        self._opened: OpenStore | None = None
        self._lock = threading.RLock()

    def open(self, config: RepoConfig) -> OpenStore:
        """Connect on first use and return the connection; ``config`` counts until `shutdown`."""
        with self._lock:
            if self._opened is None:
                self._opened = open_store(config.online_store, config.project)
                self._opened.mirror = Mirror(config, config.online_store.mirror) if config.online_store.mirror else None
            return self._opened

    def shutdown(self) -> None:
        """Give the session back; the process's last user of it closes it."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            if opened.mirror is not None:
                opened.mirror.close()
            cluster.pool.release(opened.db.session)

    async def initialize(self, config: RepoConfig) -> None:
        """Connect, as `feast serve` asks at its start."""
        await asyncio.to_thread(self.open, config)

    async def close(self) -> None:
        """Disconnect, as `feast serve` asks at its end."""
        await asyncio.to_thread(self.shutdown)

    def entry(self, config: RepoConfig, table: FeatureView, *, reload: bool = False) -> ViewEntry:
        """Return what the catalog knows of a view; see `OpenStore.entry`."""
        return self.open(config).entry(table, reload=reload)

    def forget_entry(self, config: RepoConfig, view: str) -> None:
        """Make the next use of a view read its catalog entry anew."""
        self.open(config).forget(view)

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
        if (
            opened.mirror is not None
        ):  # a view that is dropped keeps its table there: what is old is deleted on request only
            opened.mirror.make_tables([table for table in tables_to_keep if getattr(table, "online", True)])
        for table in tables_to_delete:
            opened.catalog.drop(config.project, table.name)
            opened.forget(table.name)
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
            opened.forget(view)

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
        """Append rows to a view's log; ``progress`` gets the number of rows acknowledged since it was last called.

        Raises
        ------
        InvalidFrame
            An event lies more than five minutes in the future, or a row is larger than servers take; nothing was written.
        WriteIncomplete
            Some rows could not be written; writing all again is safe.
        RequestFailed
            The rows are written, and the ``mirror`` is not.
        """
        if not data:
            return
        # Feast never applies the views it makes up: the first vector makes the table.
        entry = self._ensure(config, table) if precomputed.is_vector_view(table.name) else self.entry(config, table)
        began_us = time.time_ns() // 1000
        opened = self.open(config)
        rows = to_rows(entry, data)
        refuse_future(rows.event_us, now_us=began_us, view=table.name)
        listed = opened.suppression.current(max_age_s=MAX_AGE_S)
        rows, suppressed = listed.without(entry, rows)
        if suppressed:
            warn_user(
                f"{suppressed:,} rows of forgotten entities were not written into view {table.name!r}; ws.allow_entity lets "
                "entities in again"
            )
        # Not thinned: a batch of somebody else's is not all there is of an entity's past.
        admitted = admit(rows, now_us=began_us, ttl_us=entry.ttl_us, retain=entry.retention, thin=False)
        keep = admitted.keep
        try:
            result = writer.write(opened.db, entry, rows.take(keep), admitted.ttl_s[keep], on_acknowledged=progress)
        except BaseException:
            with contextlib.suppress(FeastraError):
                take_back(opened, entry, rows, listed)
            raise
        take_back(opened, entry, rows, listed)
        # Feast's engines pass a progress function and write only the newest event of their interval; pushes pass none.
        if progress is not None and len(rows):
            self._record_thinned(config, entry, rows, (result.rows, admitted.expired, suppressed), began_us)
        if opened.mirror is not None and not precomputed.is_vector_view(table.name):
            opened.mirror.write(opened, table, rows.entity_key.to_pylist())

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return the newest row of each entity that the view's ttl still allows, or ``(None, None)``."""
        keys = [key_bytes(key) for key in entity_keys]
        return many_views.read_view(self.open(config), table, keys, requested_features)

    def read_views(self, config: RepoConfig, grouped_refs: Any, entities: Any, response: Any, **how: bool) -> None:
        """Fill a response with all views of a request; see `adapter.many_views`."""
        many_views.read_views(self.open(config), grouped_refs, entities, response, **how)

    def get_online_features(  # noqa: D102 - inherited
        self, config: RepoConfig, features: list[str] | FeatureService, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        try:
            return super().get_online_features(config, features, *args, **kwargs)
        except RuntimeError as error:
            if not precomputed.lacks_vectors(error):
                raise
        return super().get_online_features(config, precomputed.without_vectors(features), *args, **kwargs)

    def read_precomputed_vectors(
        self,
        config: RepoConfig,
        feature_service_name: str,
        project: str,  # noqa: ARG002 - Feast's signature
        entity_keys: list[EntityKeyProto],
    ) -> list[bytes | None]:
        """Return each entity's vector, None where there is none; a failed read raises, which in Feast's own it does not."""
        table = precomputed.vector_view(feature_service_name)
        if self.open(config).known(table.name) is None:
            return [None] * len(entity_keys)
        return precomputed.vectors(self.online_read(config, table, entity_keys, [precomputed.FEATURE]))

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
        keys = [key_bytes(key) for key in entity_keys]
        return await many_views.read_view_async(await self._awaited(config), table, keys, requested_features)

    async def read_views_async(
        self, config: RepoConfig, grouped_refs: Any, entities: Any, response: Any, **how: bool
    ) -> None:
        """As `read_views`."""
        await many_views.read_views_async(await self._awaited(config), grouped_refs, entities, response, **how)

    async def get_online_features_async(  # noqa: D102 - inherited
        self, config: RepoConfig, features: list[str] | FeatureService, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        try:
            return await super().get_online_features_async(config, features, *args, **kwargs)
        except RuntimeError as error:
            if not precomputed.lacks_vectors(error):
                raise
        return await super().get_online_features_async(config, precomputed.without_vectors(features), *args, **kwargs)

    async def read_precomputed_vectors_async(
        self, config: RepoConfig, feature_service_name: str, project: str, entity_keys: list[EntityKeyProto]
    ) -> list[bytes | None]:
        """As `read_precomputed_vectors`, in a thread."""
        return await asyncio.to_thread(
            self.read_precomputed_vectors, config, feature_service_name, project, entity_keys
        )

    async def _awaited(self, config: RepoConfig) -> OpenStore:
        """Return the open store; connecting waits for the server, and not on the loop."""
        opened = self._opened
        return opened if opened is not None else await asyncio.to_thread(self.open, config)

    # --- what several of them need ---

    def _ensure(self, config: RepoConfig, table: FeatureView) -> ViewEntry:
        opened = self.open(config)
        store = config.online_store
        entry = opened.catalog.ensure(
            spec_of(config.project, table, ttl_us=opened.served_ttl_us(table)),
            # Vectors are computed again from the views, so that their history is worth nothing.
            retain="latest" if precomputed.is_vector_view(table.name) else Retention.of(store.retain).text,
            registry=registry_identity(config),
            adopt=store.adopt_registry,
        )
        opened.keep(entry)
        return entry

    def _record_thinned(
        self, config: RepoConfig, entry: ViewEntry, rows: Rows, counts: tuple[int, int, int], began_us: int
    ) -> None:
        start_us, end_us = int(rows.event_us.min()), int(rows.event_us.max())
        run = new_run(entry, "feast", start_us=start_us, end_us=end_us, began_us=began_us)
        written, expired, suppressed = counts
        ended = replace(run, state=DONE, thinned=True, ended_us=time.time_ns() // 1000)
        self.open(config).journal.write(replace(ended, rows=written, expired=expired, suppressed=suppressed))
