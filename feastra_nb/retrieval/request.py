"""Resolves a request: views and their features, by reference or as a feature service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.feast_private import resolved
from feastra_nb.adapter.objects import key_fields
from feastra_nb.errors import ConfigurationError, UnknownName, close_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feast import FeatureService, FeatureStore, FeatureView
    from feast.value_type import ValueType

    # Features as callers write them: "view:feature", "view", a list of these, a feature service or its name.
    FeatureRefs = str | Sequence[str] | FeatureService


@dataclass(frozen=True, slots=True)
class Requested:
    """One view's part of a request.

    Parameters
    ----------
    view
        The feature view, with its projection (alias, join key map).
    features
        Feature names without the view.
    """

    view: FeatureView
    features: tuple[str, ...]
    label: str = field(init=False)
    """Name of the view as the request calls it."""
    keys: tuple[tuple[str, str, ValueType], ...] = field(init=False)
    """The view's join keys: stored name, name in the entity frame, value type."""

    def __post_init__(self) -> None:
        projection = self.view.projection
        renamed = projection.join_key_map
        keys = tuple((name, renamed.get(name, name), value_type) for name, value_type in key_fields(self.view))
        object.__setattr__(self, "label", str(projection.name_to_use()))
        object.__setattr__(self, "keys", keys)

    @property
    def kinds(self) -> dict[str, ValueType]:
        """The value type of each feature of the view."""
        return {each.name: each.dtype.to_value_type() for each in self.view.features}

    def columns(self, *, full_feature_names: bool) -> list[str]:
        """Names of the result's columns, as Feast names them."""
        return [f"{self.label}__{name}" if full_feature_names else name for name in self.features]


class _Views:
    """A registry that remembers the views it built until they are asked for again: to build one takes milliseconds."""

    # A view that is being materialized serves what it served before; that Feast stops it is for feature servers to ask for.
    serve_features_while_materializing = True

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._built: dict[tuple[str, str], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def look_up(self, name: str, project: str) -> Any:
        """Return a view, and keep it for Feast."""
        return self._built.setdefault((name, project), self.get_any_feature_view(name, project))

    def get_any_feature_view(self, name: str, project: str, allow_cache: bool = False) -> Any:  # noqa: FBT001, FBT002 - Feast's signature
        """Return a view; each object once, since Feast changes those it gets."""
        view = self._built.pop((name, project), None)
        return self._registry.get_any_feature_view(name, project, allow_cache) if view is None else view


def references(feature_store: FeatureStore, features: Any) -> Any:
    """Return what Feast takes as ``features``: a list of references, or a feature service.

    Parameters
    ----------
    features
        ``"view:feature"``, a view's name for all its features, a list of these, or a `feast.FeatureService`.

    Raises
    ------
    UnknownName
        No such view or feature; names the closest.
    """
    return _references(feature_store, _Views(feature_store.registry), features)


def _references(feature_store: FeatureStore, views: _Views, features: Any) -> Any:
    from feast import FeatureService

    if isinstance(features, FeatureService):
        return features
    refs = listed(features)
    if not refs:
        raise ConfigurationError("no features were asked for", hint='"view:feature", or a list of them')
    if len(refs) == 1 and (service := _service(feature_store, views, refs[0])) is not None:
        return service
    names = dict.fromkeys(_view_name(ref) for ref in refs)
    known = {name: _features_of(feature_store, views, name) for name in names}
    return [full for ref in refs for full in _expand(ref, known)]


def listed(features: Any) -> list[str]:
    """Return references that are not a feature service as a list.

    Raises
    ------
    ConfigurationError
        There is something else among them.
    """
    refs = list(features) if hasattr(features, "__iter__") and not isinstance(features, str) else [features]
    for ref in refs:
        if not isinstance(ref, str):
            raise ConfigurationError(
                f"{ref!r} is not a feature reference",
                hint='"view:feature", "view", a feature service or its name; several of the first two as a list',
            )
    return refs


def _service(feature_store: FeatureStore, views: _Views, name: str) -> Any:
    """Return the feature service of a name; None where a view has the name, or nothing has."""
    from feast.errors import FeatureServiceNotFoundException, FeatureViewNotFoundException

    if ":" in name:
        return None
    try:
        views.look_up(_view_name(name), feature_store.project)
    except FeatureViewNotFoundException:
        try:
            return feature_store.get_feature_service(name)
        except FeatureServiceNotFoundException:
            return None
    return None


def _view_name(ref: str) -> str:
    return ref.partition(":")[0].split("@")[0]


def _features_of(feature_store: FeatureStore, views: _Views, view: str) -> list[str]:
    from feast.errors import FeatureViewNotFoundException

    try:
        known_view = views.look_up(view, feature_store.project)
    except FeatureViewNotFoundException:
        known = [other.name for other in feature_store.list_all_feature_views()]
        services = [service.name for service in feature_store.list_feature_services()]
        if view in services:
            raise ConfigurationError(
                f"{view!r} is a feature service, which stands alone", hint=f'ask for "{view}", without other references'
            ) from None
        raise UnknownName(f"there is no feature view {view!r}", hint=close_names(view, [*known, *services])) from None
    return [field.name for field in known_view.features]


def _expand(ref: str, known: Mapping[str, Sequence[str]]) -> list[str]:
    view, _, feature = ref.partition(":")
    name = _view_name(ref)
    if not feature:
        return [f"{view}:{each}" for each in known[name]]
    if feature not in known[name]:
        raise UnknownName(f"view {name!r} has no feature {feature!r}", hint=close_names(feature, known[name]))
    if ":" in feature:
        raise ConfigurationError(
            f"the name of feature {feature!r} of view {name!r} has a ':', which Feast cannot read",
            hint="rename the feature in the view's definition, and its column in the source",
        )
    return [f"{view}:{feature}"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a request for features touches.

    Parameters
    ----------
    views
        Each feature view's part, in the request's order; the inputs of on-demand views are among them.
    on_demand
        On-demand features, as ``view:feature``.
    inputs
        Request data that they are computed with: columns which come with the entities.
    """

    views: tuple[Requested, ...]
    on_demand: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def requested(feature_store: FeatureStore, features: Any, *, full_feature_names: bool) -> Request:
    """Return what a request touches.

    Raises
    ------
    UnknownName, ConfigurationError
        A name is unknown, or two views have a feature of one name and ``full_feature_names`` is off.
    """
    registry: Any = _Views(feature_store.registry)
    project = feature_store.project
    refs = _references(feature_store, registry, features)
    with calling_feast("looking up features"):
        names, grouped, on_demand_grouped = resolved(registry, project, refs)
    # Feast groups by sets; the request's own order is what a reader expects.
    order = {name: place for place, name in enumerate(names)}
    wanted = tuple(
        Requested(view, tuple(sorted(some, key=lambda each: order.get(f"{view.projection.name_to_use()}:{each}", 0))))
        for view, some in grouped
    )
    columns = [name for view_request in wanted for name in view_request.columns(full_feature_names=full_feature_names)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"several views have a feature named {', '.join(twice)}", hint="pass full_feature_names=True"
        )
    computed = tuple(
        f"{view.projection.name_to_use()}:{name}" for view, some in on_demand_grouped for name in sorted(some)
    )
    inputs = (name for view, _some in on_demand_grouped for name in view.get_request_data_schema())
    return Request(wanted, computed, tuple(dict.fromkeys(inputs)))


def ttl_us(view: FeatureView) -> int | None:
    """Return a view's ttl in microseconds; None for none."""
    from datetime import timedelta

    return view.ttl // timedelta(microseconds=1) if getattr(view, "ttl", None) else None
