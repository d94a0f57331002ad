"""Remembers what requests mean for as long as the registry's file is the same: to build a view takes Feast a millisecond.

A registry that is not a file is asked each time.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from feast import FeatureService
from feast.infra.registry.file import FileRegistryStore

from feastra_nb.adapter.feast_private import registry_file
from feastra_nb.registry_store import FeastraRegistryStore
from feastra_nb.retrieval.request import listed, requested

if TYPE_CHECKING:
    from feastra_nb.retrieval.request import Request
    from feastra_nb.stores import Stores

# A file that was changed less than this ago may change again without another time: file systems count in steps of up to 2 s.
SETTLED_NS = 2_000_000_000
MOST_REQUESTS = 256  # after which all are forgotten


def remembered(stores: Stores, features: Any, *, full_feature_names: bool) -> Request:
    """Return what a request touches, as `requested` does; its views are for reading what they say, never for Feast.

    Raises
    ------
    UnknownName, ConfigurationError
        As `requested` does.
    """
    asked = features if isinstance(features, FeatureService) else listed(features)
    state, meaning = _file_state(stores), _meaning(asked)
    if state is None or not meaning:
        return requested(stores.feast, asked, full_feature_names=full_feature_names)
    key = (stores.project, meaning, full_feature_names)
    known_state, known = stores.requests.get(key, ((), None))
    if known_state == state:
        return known
    request = requested(stores.feast, asked, full_feature_names=full_feature_names)
    views = tuple(dataclasses.replace(each, view=_copy_of(each.view)) for each in request.views)
    request = dataclasses.replace(request, views=views)
    if len(stores.requests) >= MOST_REQUESTS:
        stores.requests.clear()
    stores.requests[key] = state, request
    return request


def _file_state(stores: Stores) -> tuple[int, ...] | None:
    """Return what changes whenever the registry's file does; None where nothing is certain to."""
    path = registry_file(stores.feast.registry, (FileRegistryStore, FeastraRegistryStore))
    try:
        stat = None if path is None else path.stat()
    except OSError:
        return None  # Feast says what is wrong with it
    if stat is None or time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED_NS:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _meaning(features: Any) -> Any:
    """Return what tells requests apart; of a feature service its content, which may be changed in place, or None."""
    if not isinstance(features, FeatureService):
        return tuple(features)
    # One that was made of names says nothing before it is applied.
    known = bool(features.feature_view_projections)
    return features.to_proto().SerializeToString(deterministic=True) if known else None


def _copy_of(view: Any) -> Any:
    """Return a view that stays as it is: Feast keeps those that it built, changes some and hands them out."""
    same = object.__new__(type(view))
    vars(same).update(vars(view))
    same.projection = copy.copy(view.projection)
    return same
