"""Answers a request for several views, or for a feature service, in one round trip."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_rows import Read, wanted_of
from feastra_nb.adapter.objects import feature_names
from feastra_nb.adapter.response import fill
from feastra_nb.storage import reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast import FeatureView

    from feastra_nb.storage.opened import OpenStore


def begin_read(opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None) -> Read:
    """Send the read of one view and return it; all features where none are named."""
    names = feature_names(table) if features is None else list(features)
    entry = opened.entry_with(table, names)
    # The view's own ttl, not the catalog's: a ttl that was changed and applied elsewhere counts at once.
    bounds = reader.serving_bounds(time.time_ns() // 1000, opened.served_ttl_us(table))
    newest = reader.NewestRead(opened.db, entry, list(dict.fromkeys(keys)), bounds)
    return Read(newest, keys, names, entry, lambda: opened.entry(table, reload=True))


async def begin_read_async(
    opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None
) -> Read:
    """As `begin_read`, without standing still for what must be known first."""
    if table.name not in opened.awaitable:
        # The catalog and preparing wait for the server: once a view, and not on the loop.
        await asyncio.to_thread(_warm, opened, table)
    return begin_read(opened, table, keys, features)


def _warm(opened: OpenStore, table: FeatureView) -> None:
    reader.prepare_newest(opened.db, opened.entry(table))
    opened.awaitable.add(table.name)


def read_views(opened: OpenStore, grouped_refs: Sequence[Any], entities: Any, response: Any, **how: bool) -> None:
    """Fill a response with all views of a request: every request is sent before the first answer is awaited.

    Parameters
    ----------
    grouped_refs
        Views, each with its features.
    entities
        Values by join key, and join keys by entity name.
    how
        ``full_feature_names`` and ``version_metadata``, as Feast asks for them.
    """
    wanted = wanted_of(grouped_refs, *entities)
    reads = [begin_read(opened, each.table, each.keys, each.features) for each in wanted]
    for each, read in zip(wanted, reads, strict=True):
        fill(response, each, read.result(), read.positions(), **how)


async def read_views_async(
    opened: OpenStore, grouped_refs: Sequence[Any], entities: Any, response: Any, **how: bool
) -> None:
    """As `read_views`, awaited."""
    wanted = wanted_of(grouped_refs, *entities)
    reads = [await begin_read_async(opened, each.table, each.keys, each.features) for each in wanted]
    for each, read in zip(wanted, reads, strict=True):
        fill(response, each, await read.result_async(), read.positions(), **how)
