"""Every private name of Feast that this package uses, each with the reason why no public one serves.

`tests/test_feast_private.py` has a test for each, which says what breaks when Feast changes it.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

Cls = TypeVar("Cls", bound=type)

REQUESTS_KEPT = 256  # whose features' types are remembered

# The modules of Feast that print in colour while a notebook calls them.
PRINTING = ("feast.feature_store", "feast.infra.offline_stores.offline_utils", "feast.infra.offline_stores.dask")


# --- a feature store's parts -----------------------------------------------------------------------------------------


def online_store_of(store: FeatureStore) -> Any:
    """Return the online store; Feast hands it out to nobody."""
    return provider_of(store).online_store


def offline_store_of(store: FeatureStore) -> Any:
    """Return the offline store; likewise."""
    return provider_of(store).offline_store


def provider_of(store: FeatureStore) -> Any:
    """Return the provider, through which one view can be read; `get_online_features` reads whole requests only."""
    return store._get_provider()  # noqa: SLF001


def registry_file(registry: Any, stores: Sequence[type]) -> Path | None:
    """Return the file that a registry is read from; None where it is not a file, or not read by one of these stores' classes."""
    from feast.infra.registry.registry import Registry

    store: Any = registry._registry_store if type(registry) is Registry else None  # noqa: SLF001
    return Path(str(store._filepath)) if type(store) in stores else None  # noqa: SLF001


def renew_registry_lock(store: FeatureStore) -> None:
    """Give a registry that is loaded a lock that nobody holds: in a forked child no thread is there to free the old one."""
    registry = store._registry  # noqa: SLF001 - the property would load it
    if hasattr(registry, "_refresh_lock"):
        registry._refresh_lock = threading.Lock()  # noqa: SLF001


def with_registry_of_its_own(store: FeatureStore) -> FeatureStore:
    """Return a feature store whose copy of a registry file nobody else changes: Feast makes another when it is asked for."""
    own = copy.copy(store)
    own._registry = None  # noqa: SLF001
    return own


def forget_made_online_store(config: RepoConfig) -> None:
    """Make a configuration read its ``online_store`` block again: Feast keeps what it made of it."""
    config._online_store = None  # noqa: SLF001


# --- requests --------------------------------------------------------------------------------------------------------


def resolved(registry: Any, project: str, refs: Any) -> tuple[list[str], list[Any], list[Any]]:
    """Return what references mean: their full names, feature views and on-demand views, each view with its features."""
    from feast import utils

    names = utils._get_features(registry, project, refs)  # noqa: SLF001
    views, on_demand = utils._get_feature_views_to_use(registry, project, refs)  # noqa: SLF001
    grouped, on_demand_grouped = utils._group_feature_refs(names, views, on_demand)  # noqa: SLF001
    return names, grouped, on_demand_grouped


def entity_values(table: Any, join_key_values: Any, join_keys: dict[str, str]) -> dict[str, list[Any]]:
    """Return a request's values of a view's own join keys, as Feast's `_get_unique_entities` begins with.

    Raises
    ------
    KeyError
        None is given; Feast's own error.
    """
    from feast import utils

    values: dict[str, list[Any]] = utils._get_table_entity_values(table, join_keys, join_key_values)  # noqa: SLF001
    if not any(values.values()):
        utils._get_unique_entities(table, join_key_values, join_keys)  # noqa: SLF001 - it raises
    return values


def column_names(view: Any, entities: Sequence[Any]) -> tuple[list[str], list[str], str, str | None]:
    """Return what a view's source calls join keys, features, timestamp and created time."""
    from feast.utils import _get_column_names

    return _get_column_names(view, list(entities))


def renamed_columns(table: pa.Table, mapping: Mapping[str, str]) -> pa.Table:
    """Return a source's rows under the names that the view has for its columns."""
    from feast.utils import _run_pyarrow_field_mapping

    return _run_pyarrow_field_mapping(table, dict(mapping))


# --- hooks -----------------------------------------------------------------------------------------------------------


def reads_views_together(cls: Cls) -> Cls:
    """Make an online store answer the views of a request by its ``read_views`` and ``read_views_async``, all at once.

    Feast's public methods read one view after another. A view has one log here, whatever version of its definition wrote to it,
    so Feast refuses ``view@v2`` by name.
    """

    def together(
        self: Any, config: Any, grouped_refs: Any, join_key_values: Any, join_keys: Any, response: Any,
        full_feature_names: bool, version_metadata: bool,  # noqa: FBT001
    ) -> None:  # fmt: skip
        self.read_views(
            config, grouped_refs, (join_key_values, join_keys), response,
            full_feature_names=full_feature_names, version_metadata=version_metadata,
        )  # fmt: skip

    async def together_async(
        self: Any, config: Any, grouped_refs: Any, join_key_values: Any, join_keys: Any, response: Any,
        full_feature_names: bool, version_metadata: bool,  # noqa: FBT001
    ) -> None:  # fmt: skip
        await self.read_views_async(
            config, grouped_refs, (join_key_values, join_keys), response,
            full_feature_names=full_feature_names, version_metadata=version_metadata,
        )  # fmt: skip

    cls._read_features_per_fv = together  # type: ignore[attr-defined]
    cls._read_features_per_fv_async = together_async  # type: ignore[attr-defined]
    cls._is_versioned_read_supported = lambda _self: False  # type: ignore[attr-defined]
    cls._build_feature_types = staticmethod(_types_once(cls._build_feature_types))  # type: ignore[attr-defined]
    return cls


def _types_once(build: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Return what answers for the types of a request's features as Feast does, which takes them from the schema at each call.

    Feast keeps the views of a request until its registry changes, so that their identity tells requests apart.
    """
    known: OrderedDict[tuple[Any, ...], tuple[list[Any], dict[str, Any]]] = OrderedDict()

    def types(grouped_refs: Any) -> dict[str, Any]:
        key = tuple((id(view), *features) for view, features in grouped_refs)
        found = known.get(key)
        if found is None:
            # The views are kept beside the types: while they are, no other has their identity.
            found = known[key] = ([view for view, _features in grouped_refs], build(grouped_refs))
            while len(known) > REQUESTS_KEPT:
                known.popitem(last=False)
        return dict(found[1])

    return types


def materializes_by(method: str) -> Callable[[Cls], Cls]:
    """Make a compute engine materialize one view by a method of its own, which gets what Feast would do instead."""

    def decorated(cls: Cls) -> Cls:
        plain = cls._materialize_one  # type: ignore[attr-defined]

        def one(self: Any, registry: Any, task: Any, **options: Any) -> Any:
            return getattr(self, method)(registry, task, lambda: plain(self, registry, task, **options))

        cls._materialize_one = one  # type: ignore[attr-defined]
        return cls

    return decorated


def print_by(function: Callable[..., None]) -> None:
    """Make Feast's modules print by a function: their ``print`` is a global name, and has no switch."""
    for name in PRINTING:
        with contextlib.suppress(ImportError):
            vars(importlib.import_module(name))["print"] = function


def hide_in_configuration(
    is_ours: Callable[[Any], bool], hidden: Callable[[Any], Any], registry: Callable[[Any], Any]
) -> None:
    """Make every `RepoConfig` of an online store hold the mapping that it was made from with wrapped secrets.

    Feast has no hook between reading the yaml and keeping the mapping, hence the wrapped ``__setattr__``. Feast imports the
    store's module while it validates, before it sets the attribute, so that even the first configuration is caught.

    Parameters
    ----------
    is_ours
        Whether an ``online_store`` block is one of ours.
    hidden, registry
        Return an ``online_store`` block, and a registry's configuration, with wrapped secrets.
    """
    from feast.repo_config import RepoConfig

    plain = RepoConfig.__setattr__

    def guarded(self: RepoConfig, name: str, value: Any) -> None:
        if name == "online_config" and is_ours(value):
            value = hidden(value)
            plain(self, "registry_config", registry(self.registry_config))
        elif name == "_registry" and is_ours(getattr(self, "online_config", None)):
            value = registry(value)
        plain(self, name, value)

    RepoConfig.__setattr__ = guarded
