"""What is asked for: views and features, entities, instants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import ConfigurationError, InvalidFrame, UnknownName, close_names
from feastra_nb.frames import refuse_nulls, storable
from feastra_nb.notices import warn_user
from feastra_nb.storage import codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from feast import FeatureStore, FeatureView

    Int64s = npt.NDArray[np.int64]


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

    @property
    def label(self) -> str:
        """Name of the view as the request calls it."""
        return str(self.view.projection.name_to_use())

    @property
    def keys(self) -> tuple[tuple[str, str, Any], ...]:
        """The view's join keys: stored name, name in the entity frame, value type."""
        renamed = self.view.projection.join_key_map
        return tuple(
            (field.name, renamed.get(field.name, field.name), field.dtype.to_value_type())
            for field in self.view.entity_columns
        )

    def columns(self, *, full_feature_names: bool) -> list[str]:
        """Names of the result's columns, as Feast names them."""
        return [f"{self.label}__{name}" if full_feature_names else name for name in self.features]


class _Views:
    """A registry that remembers the views it built until they are asked for again: to build one takes milliseconds."""

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
    refs = [features] if isinstance(features, str) else list(features)
    if not refs:
        raise ConfigurationError("no features were asked for", hint='"view:feature", or a list of them')
    names = dict.fromkeys(_view_name(ref) for ref in refs)
    known = {name: _features_of(feature_store, views, name) for name in names}
    return [full for ref in refs for full in _expand(ref, known)]


def _view_name(ref: Any) -> str:
    return str(ref).partition(":")[0].split("@")[0]


def _features_of(feature_store: FeatureStore, views: _Views, view: str) -> list[str]:
    from feast.errors import FeatureViewNotFoundException

    try:
        found = views.look_up(view, feature_store.project)
    except FeatureViewNotFoundException:
        known = [one.name for one in feature_store.list_all_feature_views()]
        raise UnknownName(f"there is no feature view {view!r}", hint=close_names(view, known)) from None
    return [field.name for field in found.features]


def _expand(ref: Any, known: Mapping[str, Sequence[str]]) -> list[str]:
    view, _, feature = str(ref).partition(":")
    name = _view_name(ref)
    if not feature:
        return [f"{view}:{one}" for one in known[name]]
    if feature not in known[name]:
        raise UnknownName(f"view {name!r} has no feature {feature!r}", hint=close_names(feature, known[name]))
    return [f"{view}:{feature}"]


def requested(feature_store: FeatureStore, features: Any, *, full_feature_names: bool) -> tuple[list[Requested], bool]:
    """Return the views that a request touches, and whether on-demand transformations are among them.

    Raises
    ------
    UnknownName, ConfigurationError
        A name is unknown, or two views have a feature of one name and ``full_feature_names`` is off.
    """
    from feast import utils

    registry: Any = _Views(feature_store.registry)
    project = feature_store.project
    refs = _references(feature_store, registry, features)
    names = utils._get_features(registry, project, refs)  # noqa: SLF001 - Feast has no public resolver
    views, on_demand = utils._get_feature_views_to_use(registry, project, refs)  # noqa: SLF001
    grouped, on_demand_grouped = utils._group_feature_refs(names, views, on_demand)  # noqa: SLF001
    # Feast groups by sets; the request's own order is what a reader expects.
    order = {name: place for place, name in enumerate(names)}
    wanted = [
        Requested(view, tuple(sorted(some, key=lambda one: order.get(f"{view.projection.name_to_use()}:{one}", 0))))
        for view, some in grouped
    ]
    columns = [name for one in wanted for name in one.columns(full_feature_names=full_feature_names)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"several views have a feature named {', '.join(twice)}", hint="pass full_feature_names=True"
        )
    return wanted, bool(on_demand_grouped)


def entity_table(entities: Any, wanted: Sequence[Requested]) -> pa.Table:
    """Return the join keys of an entity frame, in its order, repeats kept.

    Raises
    ------
    InvalidFrame
        A join key is missing, or its columns differ in length.
    """
    columns = dict(entities) if isinstance(entities, dict) else {name: entities[name] for name in entities.columns}
    names = list(dict.fromkeys(name for one in wanted for _stored, name, _type in one.keys))
    for name in names:
        if name not in columns:
            raise InvalidFrame(f"the entities lack the join key {name!r}", hint=close_names(name, map(str, columns)))
    arrays = {name: storable(_as_array(columns[name], name), name) for name in names}
    for name, array in arrays.items():
        refuse_nulls(array, name, "join key")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise InvalidFrame(f"the entities' columns differ in length: { {n: len(a) for n, a in arrays.items()} }")
    return pa.table(arrays)


def _as_array(values: Any, name: str) -> pa.Array:
    import pandas as pd

    try:
        array = pa.Array.from_pandas(values) if isinstance(values, (pd.Series, pd.Index)) else pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise InvalidFrame(f"join key {name!r} mixes types: {exc}", hint="give the column one type") from exc
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    # An empty list has no type of its own.
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def entity_keys(one: Requested, entities: pa.Table) -> pa.Array:
    """Return the encoded entity key of each row for one view."""
    keys = one.keys
    if not entities.num_rows:
        return pa.array([], pa.binary())
    return codec.encode_entity_keys(
        [stored for stored, _name, _type in keys],
        [kind for _stored, _name, kind in keys],
        [entities.column(name) for _stored, name, _type in keys],
    )


def ttl_us(view: FeatureView) -> int | None:
    """Return a view's ttl in microseconds; None for none."""
    from datetime import timedelta

    return view.ttl // timedelta(microseconds=1) if getattr(view, "ttl", None) else None


def instants(values: Any, rows: int, name: str) -> Int64s:
    """Return an instant, or a column of them, as microseconds since the epoch, shape (rows,); naive ones are UTC.

    Raises
    ------
    InvalidFrame
        It is no instant, null somewhere, or of another length.
    """
    import pandas as pd

    try:
        index = pd.DatetimeIndex(
            pd.to_datetime([values] if np.isscalar(values) or not hasattr(values, "__len__") else values)
        )
    except (ValueError, TypeError) as exc:
        raise InvalidFrame(
            f"{name} is no instant: {exc}", hint='"2024-01-31 14:03", a datetime, or a column of them'
        ) from exc
    if index.hasnans:
        raise InvalidFrame(f"{name} is null in row {int(np.flatnonzero(index.isna())[0])}")
    if index.tz is None:
        warn_user(f"{name} has no time zone and is taken for UTC")
    at_us = index.as_unit("us").asi8
    if len(at_us) not in (1, rows):
        raise InvalidFrame(f"{name} has {len(at_us):,} instants for {rows:,} rows")
    return np.broadcast_to(at_us, rows).copy() if len(at_us) == 1 else at_us
