"""Opens what `ws.latency` measures: the workspace's store, the same store at another consistency level, an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.feast_private import forget_made_online_store, online_store_of
from feastra_nb.errors import ConfigurationError, close_names
from feastra_nb.latency.endpoint import EndpointTarget, is_url
from feastra_nb.latency.targets import DRIVER, FEAST, DriverTarget, FeastTarget, ServedView, refuse_unknown
from feastra_nb.retrieval.request import references, requested

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feast import FeatureStore

    from feastra_nb.latency.targets import Target
    from feastra_nb.stores import Stores

OTHER_TIMEOUT_S = 10.0  # assumed of stores that are not ours, and of endpoints
OWN_CONSISTENCY = "the store's own"


def open_target(stores: Stores, target: str, features: Any, consistency: str | None) -> Target:
    """Return what is to be measured; close it afterwards.

    Parameters
    ----------
    target
        ``"feast"``, ``"driver"`` or the URL of a ``feast serve``.
    features
        What is read: a view, references, or a feature service.
    consistency
        The level to read at; None for the workspace's.

    Raises
    ------
    ConfigurationError
        The target is unknown, or the workspace's store cannot be read so.
    """
    if is_url(target):
        if consistency is not None:
            raise ConfigurationError(f"consistency={consistency!r}: an endpoint reads as it was configured to")
        return EndpointTarget(target, references(stores.feast, features), timeout_s=_timeout_s(stores))
    if target not in (FEAST, DRIVER):
        raise refuse_unknown(target)
    if not stores.has_history:
        return _foreign(stores, target, features, consistency)
    store, close = _at_consistency(stores, consistency)
    try:
        return _ours(stores, store, target, features, close)
    except BaseException:
        close()
        raise


def _foreign(stores: Stores, target: str, features: Any, consistency: str | None) -> Target:
    if target == DRIVER or consistency is not None:
        what = f"target={target!r}" if target == DRIVER else f"consistency={consistency!r}"
        raise ConfigurationError(
            f"{what} needs a FeastraOnlineStore; the online store is {stores.type}",
            hint=f'target="{FEAST}" measures any online store as it is configured',
        )
    return FeastTarget(
        stores.feast,
        references(stores.feast, features),
        db=None,
        consistency=OWN_CONSISTENCY,
        timeout_s=OTHER_TIMEOUT_S,
    )


def _ours(stores: Stores, store: FeatureStore, target: str, features: Any, close: Callable[[], object]) -> Target:
    db = _online(store).open(store.config).db
    if target == DRIVER:
        return DriverTarget(db, _views(stores, features), on_close=close)
    return FeastTarget(
        store,
        references(store, features),
        db=db,
        consistency=db.settings.read_consistency,
        timeout_s=db.settings.request_timeout_s,
        on_close=close,
    )


def _views(stores: Stores, features: Any) -> Sequence[ServedView]:
    request = requested(stores.feast, features, full_feature_names=True)
    if request.on_demand:
        raise ConfigurationError(
            f'target="{DRIVER}" computes no on-demand features', hint=f'ask for their inputs, or take target="{FEAST}"'
        )
    opened = stores.online
    # Catalog entries come from the workspace's store: only the measured reads need the other consistency level.
    return [
        ServedView(view_request, opened.entry(view_request.view), opened.served_ttl_us(view_request.view))
        for view_request in request.views
    ]


def _at_consistency(stores: Stores, level: str | None) -> tuple[FeatureStore, Callable[[], object]]:
    """Return the workspace's store as it is, or another one that reads at a level, and what closes it."""
    from cassandra import ConsistencyLevel
    from feast import FeatureStore

    block = stores.feast.config.online_store
    if level is None or level == block.consistency.read:
        return stores.feast, lambda: None
    if level not in ConsistencyLevel.name_to_value:
        known = list(ConsistencyLevel.name_to_value)
        raise ConfigurationError(f"there is no consistency level {level!r}", hint=close_names(str(level), known))
    # A store of its own, with a session of its own: nobody else's reads change their level meanwhile.
    config = stores.feast.config.model_copy()
    config.online_config = {
        **_mapping(config.online_config),
        "consistency": {**block.consistency.model_dump(), "read": level},
    }
    forget_made_online_store(config)
    with calling_feast("opening the feature store"):
        store = FeatureStore(repo_path=str(stores.feast.repo_path), config=config)
    return store, _online(store).shutdown


def _mapping(block: Any) -> dict[str, Any]:
    return dict(block) if isinstance(block, dict) else {"type": str(block)}


def _online(store: FeatureStore) -> Any:
    return online_store_of(store)


def _timeout_s(stores: Stores) -> float:
    if not stores.has_history:
        return OTHER_TIMEOUT_S
    return float(stores.online.db.settings.request_timeout_s)
