"""Answers a request for several views, or for a feature service, in one round trip."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_rows import Read, stored_values, wanted_of
from feastra_nb.adapter.objects import feature_names
from feastra_nb.adapter.response import answered, fill
from feastra_nb.storage import reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feast import FeatureView

    from feastra_nb.adapter.feast_rows import FeastAnswer, StoredValues
    from feastra_nb.storage.opened import OpenStore


def prepared_read(opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None) -> Read:
    """Return the read of one view, ready to be sent; all features where none are named."""
    names = feature_names(table) if features is None else list(features)
    entry = opened.entry_with(table, names)
    # The view's own ttl, not the catalog's: a ttl that was changed and applied elsewhere counts at once.
    bounds = reader.serving_bounds(time.time_ns() // 1000, opened.served_ttl_us(table))
    newest = reader.NewestRead(opened.db, entry, list(dict.fromkeys(keys)), bounds)
    return Read(newest, keys, names, entry, lambda: opened.entry(table, reload=True))


async def _prepared_read_async(
    opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None
) -> Read:
    """As `prepared_read`, without standing still for what must be known first."""
    if table.name not in opened.awaitable:
        # The catalog and preparing wait for the server: once a view, and not on the loop.
        await asyncio.to_thread(_warm, opened, table)
    return prepared_read(opened, table, keys, features)


def _warm(opened: OpenStore, table: FeatureView) -> None:
    reader.prepare_newest(opened.db, opened.entry(table))
    opened.awaitable.add(table.name)


def read_view(
    opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None
) -> list[FeastAnswer]:
    """Return a row for each key of one view, in order."""
    read = prepared_read(opened, table, keys, features)
    [rows] = reader.newest_rows(opened.db, [read.newest])
    values = stored_values(rows)
    if read.is_outdated(_widest(values)):
        read.renew()
    return read.features(values)


async def read_view_async(
    opened: OpenStore, table: FeatureView, keys: Sequence[bytes], features: Sequence[str] | None
) -> list[FeastAnswer]:
    """As `read_view`, awaited."""
    read = await _prepared_read_async(opened, table, keys, features)
    [rows] = await reader.newest_rows_async(opened.db, [read.newest])
    values = stored_values(rows)
    if read.is_outdated(_widest(values)):
        await asyncio.to_thread(read.renew)
    return read.features(values)


def _widest(values: Mapping[bytes, StoredValues]) -> int:
    return max((len(each) for _event_us, each in values.values()), default=0)


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
    reads = [prepared_read(opened, each.table, each.keys, each.features) for each in wanted]
    found = reader.newest_rows(opened.db, [read.newest for read in reads])
    for each, read, rows in zip(wanted, reads, found, strict=True):
        answers = answered(rows, each.keys)
        if read.is_outdated(answers.widest):
            read.renew()
        fill(response, each, answers, read.positions(), **how)


async def read_views_async(
    opened: OpenStore, grouped_refs: Sequence[Any], entities: Any, response: Any, **how: bool
) -> None:
    """As `read_views`, awaited."""
    wanted = wanted_of(grouped_refs, *entities)
    reads = [await _prepared_read_async(opened, each.table, each.keys, each.features) for each in wanted]
    found = await reader.newest_rows_async(opened.db, [read.newest for read in reads])
    for each, read, rows in zip(wanted, reads, found, strict=True):
        answers = answered(rows, each.keys)
        if read.is_outdated(answers.widest):
            await asyncio.to_thread(read.renew)
        fill(response, each, answers, read.positions(), **how)
