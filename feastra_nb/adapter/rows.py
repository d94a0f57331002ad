"""Feast's rows, which are protobufs, into rows of the log, and back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.utils import _get_entity_key_protos, _get_unique_entities, _populate_response_from_feature_data

from feastra_nb.storage.columns import ordered
from feastra_nb.storage.rows import Rows
from feastra_nb.times import instant, us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from feast import FeatureView

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.reader import NewestRead, StoredRow

    FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
    FeastAnswer = tuple[datetime | None, dict[str, Value] | None]


# What Feast writes for a view without entities; it reads it with no join key at all.
_DUMMY_KEY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])


def key_bytes(key: EntityKey) -> bytes:
    """Return an entity key's bytes; the key of a view without entities has one form here, and in Feast two."""
    return serialize_entity_key(key if key.join_keys else _DUMMY_KEY, 3)


def to_rows(
    entry: ViewEntry,
    data: Sequence[FeastRow],
) -> Rows:
    """Return Feast's rows as rows of a view's log; a feature that a row does not name is null."""
    positions = entry.positions
    # Feast repeats the join keys of stream views and on-demand views among the features.
    keys = {name for name, _value_type in entry.join_keys if name not in positions}
    # The same content has to be the same bytes, whatever order a set's elements happen to come in.
    unordered = {
        slot.name for slot in entry.slots if slot.value_type.endswith("_SET") or slot.value_type == "SCALAR_MAP"
    }
    null = Value()
    payloads = []
    for _key, features, _event, _created in data:
        values = [null] * len(entry.slots)
        for name, value in features.items():
            if name not in keys:
                place = positions[name] if name in positions else entry.position(name)
                values[place] = ordered(Value.FromString(value.SerializeToString())) if name in unordered else value
        payloads.append(RepeatedValue(val=values).SerializeToString(deterministic=True))
    return Rows(
        pa.array([key_bytes(key) for key, *_rest in data], pa.binary()),
        np.array([us(event) for _key, _features, event, _created in data], dtype=np.int64),
        np.array([0 if created is None else us(created) for *_rest, created in data], dtype=np.int64),
        np.zeros(len(data), dtype=np.int64),
        pa.array(payloads, pa.large_binary()),
    )


@dataclass(slots=True)
class Read:
    """One view's read under way, in Feast's terms."""

    newest: NewestRead
    blobs: list[bytes]
    names: Sequence[str]
    entry: ViewEntry
    reload: Callable[[], ViewEntry]

    def result(self) -> list[FeastAnswer]:
        """Wait for the answers; a row for each asked key, in order, ``(None, None)`` where there is none."""
        values = self._values(self.newest.result())
        if self._is_outdated(values):
            self.entry = self.reload()
        return self._in_order(values)

    async def result_async(self) -> list[FeastAnswer]:
        """Await the answers; otherwise as `result`."""
        values = self._values(await self.newest.result_async())
        if self._is_outdated(values):
            self.entry = await asyncio.to_thread(self.reload)
        return self._in_order(values)

    @staticmethod
    def _values(rows: Mapping[bytes, StoredRow]) -> dict[bytes, tuple[int, Sequence[Value]]]:
        return {key: (row.event_us, RepeatedValue.FromString(row.features).val) for key, row in rows.items()}

    def _is_outdated(self, values: Mapping[bytes, tuple[int, Sequence[Value]]]) -> bool:
        # Written by somebody who knows of newer positions: a feature may have moved to one.
        return any(len(some) > len(self.entry.slots) for _event_us, some in values.values())

    def _in_order(self, values: Mapping[bytes, tuple[int, Sequence[Value]]]) -> list[FeastAnswer]:
        positions = [(name, self.entry.position(name)) for name in self.names]
        found = {key: (instant(event_us), _features(some, positions)) for key, (event_us, some) in values.items()}
        return [found.get(blob, (None, None)) for blob in self.blobs]


def _features(values: Sequence[Value], positions: Sequence[tuple[str, int]]) -> dict[str, Value]:
    # A row written before a feature was added has no value for it: absent, not null.
    known = len(values)
    return {name: values[place] for name, place in positions if place < known}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one view is asked for within a request for several."""

    table: FeatureView
    features: list[str]
    keys: list[EntityKey]
    indexes: Any
    length: int

    def fill(self, response: Any, rows: list[FeastAnswer], full_names: bool, version_metadata: bool) -> None:  # noqa: FBT001
        """Put the rows of this view's keys into Feast's response."""
        _populate_response_from_feature_data(
            self.features, rows, self.indexes, response, full_names, self.table, self.length, version_metadata
        )


def wanted_of(grouped_refs: Sequence[Any], join_key_values: Any, join_keys: dict[str, str]) -> list[Wanted]:
    """Return what each view is asked for, with each entity once."""
    wanted = []
    for table, features in grouped_refs:
        values, indexes, length = _get_unique_entities(table, join_key_values, join_keys)
        wanted.append(Wanted(table, features, _get_entity_key_protos(values), indexes, length))
    return wanted
