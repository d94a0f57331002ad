"""The part of an online store that answers a request for several views, or for a feature service, in one round trip."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from feast.infra.online_stores.online_store import OnlineStore

from feastra_nb.adapter import precomputed
from feastra_nb.adapter.feast_rows import wanted_of
from feastra_nb.adapter.response import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast import FeatureService, FeatureView
    from feast.online_response import OnlineResponse
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
    from feast.repo_config import RepoConfig

    from feastra_nb.adapter.feast_rows import Read
    from feastra_nb.storage.catalog import ViewEntry


class ManyViewStore(OnlineStore):
    """An online store that can begin a read before it waits for the one before."""

    @abstractmethod
    def _known(self, config: RepoConfig, table: FeatureView, *, reload: bool = False) -> ViewEntry | None:
        """Return what the catalog knows of a view, None where it does not know it."""

    @abstractmethod
    def _begin_read(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], features: list[str] | None
    ) -> Read:
        """Send a read and return it."""

    @abstractmethod
    async def _begin_read_async(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], features: list[str] | None
    ) -> Read:
        """As `_begin_read`, without standing still for what must be known first."""

    def get_online_features(  # noqa: D102 - inherited
        self, config: RepoConfig, features: list[str] | FeatureService, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        try:
            return super().get_online_features(config, features, *args, **kwargs)
        except RuntimeError as error:
            if not precomputed.lacks_vectors(error):
                raise
        return super().get_online_features(config, precomputed.without_vectors(features), *args, **kwargs)

    async def get_online_features_async(  # noqa: D102 - inherited
        self, config: RepoConfig, features: list[str] | FeatureService, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        try:
            return await super().get_online_features_async(config, features, *args, **kwargs)
        except RuntimeError as error:
            if not precomputed.lacks_vectors(error):
                raise
        return await super().get_online_features_async(config, precomputed.without_vectors(features), *args, **kwargs)

    def read_precomputed_vectors(
        self,
        config: RepoConfig,
        feature_service_name: str,
        project: str,  # noqa: ARG002 - Feast's signature
        entity_keys: list[EntityKeyProto],
    ) -> list[bytes | None]:
        """Return each entity's vector, None where there is none; a failed read raises, which in Feast's own it does not."""
        table = precomputed.vector_view(feature_service_name)
        if self._known(config, table) is None:
            return [None] * len(entity_keys)
        return precomputed.vectors(self.online_read(config, table, entity_keys, [precomputed.FEATURE]))

    async def read_precomputed_vectors_async(
        self,
        config: RepoConfig,
        feature_service_name: str,
        project: str,  # noqa: ARG002 - Feast's signature
        entity_keys: list[EntityKeyProto],
    ) -> list[bytes | None]:
        """As `read_precomputed_vectors`."""
        table = precomputed.vector_view(feature_service_name)
        if await asyncio.to_thread(self._known, config, table) is None:
            return [None] * len(entity_keys)
        return precomputed.vectors(await self.online_read_async(config, table, entity_keys, [precomputed.FEATURE]))

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[Any],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,  # noqa: FBT001 - Feast's signature
        include_feature_view_version_metadata: bool,  # noqa: FBT001
    ) -> None:
        """Read all views at once: every request is sent before the first answer is awaited."""
        wanted = wanted_of(grouped_refs, join_key_values, entity_name_to_join_key_map)
        reads = [self._begin_read(config, each.table, each.keys, each.features) for each in wanted]
        for each, read in zip(wanted, reads, strict=True):
            fill(
                online_features_response,
                each,
                read.result(),
                read.positions(),
                full_feature_names=full_feature_names,
                version_metadata=include_feature_view_version_metadata,
            )

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: list[Any],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,  # noqa: FBT001 - Feast's signature
        include_feature_view_version_metadata: bool,  # noqa: FBT001
    ) -> None:
        """As `_read_features_per_fv`, awaited."""
        wanted = wanted_of(grouped_refs, join_key_values, entity_name_to_join_key_map)
        reads = [await self._begin_read_async(config, each.table, each.keys, each.features) for each in wanted]
        for each, read in zip(wanted, reads, strict=True):
            fill(
                online_features_response,
                each,
                await read.result_async(),
                read.positions(),
                full_feature_names=full_feature_names,
                version_metadata=include_feature_view_version_metadata,
            )
