"""Converts Feast's protobuf rows into rows of the log and back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

from feastra_nb.adapter.feast_private import unique_entities
from feastra_nb.adapter.response import split
from feastra_nb.codec.columns import ordered
from feastra_nb.storage.rows import Rows
from feastra_nb.times import instant, us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from feast import FeatureView

    from feastra_nb.adapter.response import Answers
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.reader import NewestRead

    FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
    FeastAnswer = tuple[datetime | None, dict[str, Value] | None]


# What Feast writes for a view without entities; it reads it with no join key at all.
_DUMMY_KEY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
_INT64 = Struct("<q").pack  # as the key has it


def key_bytes(key: EntityKey) -> bytes:
    """Return an entity key's bytes; the key of a view without entities has one form here, and in Feast two."""
    return serialize_entity_key(key if key.join_keys else _DUMMY_KEY, 3)


def keys_of(entities: Sequence[Mapping[str, Value]]) -> list[bytes]:
    """Return the entity keys of values by join key, as `key_bytes` does; all have the same join keys."""
    names = list(entities[0]) if entities else []
    kinds = {entity[name].WhichOneof("val") for entity in entities for name in names}
    if len(names) != 1 or kinds != {"int64_val"}:
        return [key_bytes(EntityKey(join_keys=entity.keys(), entity_values=entity.values())) for entity in entities]
    # By far the most frequent key, without a protobuf for each: all but its last eight bytes is the same in every one.
    (name,) = names
    begin = key_bytes(EntityKey(join_keys=names, entity_values=[Value(int64_val=0)]))[:-8]
    return [begin + _INT64(entity[name].int64_val) for entity in entities]


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
    blobs: Sequence[bytes]
    names: Sequence[str]
    entry: ViewEntry
    reload: Callable[[], ViewEntry]

    def result(self) -> Answers:
        """Wait for the answers."""
        answers = self._answers(self.newest.result())
        if self._is_outdated(answers):
            self.entry = self.reload()
        return answers

    async def result_async(self) -> Answers:
        """Await the answers; otherwise as `result`."""
        answers = self._answers(await self.newest.result_async())
        if self._is_outdated(answers):
            self.entry = await asyncio.to_thread(self.reload)
        return answers

    def positions(self) -> list[int]:
        """Return where the payload has each asked feature."""
        return [self.entry.position(name) for name in self.names]

    def features(self, answers: Answers) -> list[FeastAnswer]:
        """Return a row for each asked key, in order, ``(None, None)`` where there is none."""
        positions = list(zip(self.names, self.positions(), strict=True))
        return [(None, None) if answer is None else _features(answer, positions) for answer in answers]

    def _answers(self, rows: Sequence[tuple[Any, ...]]) -> Answers:
        payloads = {key: (event_us, split(features)) for key, event_us, features in rows}
        return [payloads.get(blob) for blob in self.blobs]

    def _is_outdated(self, answers: Answers) -> bool:
        # Written by somebody who knows of newer positions: a feature may have moved to one.
        known = len(self.entry.slots)
        return any(answer is not None and len(answer[1]) > known for answer in answers)


def _features(answer: tuple[int, list[bytes]], positions: Sequence[tuple[str, int]]) -> FeastAnswer:
    event_us, cells = answer
    values = RepeatedValue.FromString(b"".join(cells)).val
    # A row written before a feature was added has no value for it: absent, not null.
    return instant(event_us), {name: values[place] for name, place in positions if place < len(cells)}


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """One view's part of a request for several views."""

    table: FeatureView
    features: list[str]
    keys: list[bytes]
    indexes: Sequence[Sequence[int]]
    length: int


def wanted_of(grouped_refs: Sequence[Any], join_key_values: Any, join_keys: dict[str, str]) -> list[ViewRequest]:
    """Return what each view is asked for, with each entity once."""
    wanted = []
    for table, features in grouped_refs:
        values, indexes, length = unique_entities(table, join_key_values, join_keys)
        wanted.append(ViewRequest(table, features, keys_of(values), indexes, length))
    return wanted
