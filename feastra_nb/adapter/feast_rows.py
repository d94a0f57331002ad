"""Converts Feast's protobuf rows into rows of the log and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from google.protobuf.message import DecodeError

from feastra_nb.adapter.feast_private import entity_values
from feastra_nb.adapter.response import not_a_payload
from feastra_nb.codec.columns import ordered
from feastra_nb.storage.rows import Rows
from feastra_nb.times import instant, us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from feast import FeatureView

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.reader import NewestRead

    FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
    StoredValues = tuple[int, Sequence[Value]]  # event time in microseconds, values by position
    FeastAnswer = tuple[datetime | None, dict[str, Value] | None]


# What Feast writes for a view without entities; it reads it with no join key at all.
_DUMMY_KEY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
_INT64 = Struct("<q").pack  # as the key has it


def key_bytes(key: EntityKey) -> bytes:
    """Return an entity key's bytes; the key of a view without entities has one form here, and in Feast two."""
    return serialize_entity_key(key if key.join_keys else _DUMMY_KEY, 3)


def keys_of(columns: Mapping[str, Sequence[Value]]) -> list[bytes]:
    """Return the entity keys of columns by join key, as `key_bytes` does."""
    names = list(columns)
    if len(names) != 1 or {value.WhichOneof("val") for value in columns[names[0]]} != {"int64_val"}:
        rows = zip(*columns.values(), strict=False)
        return [key_bytes(EntityKey(join_keys=names, entity_values=values)) for values in rows]
    # By far the most frequent key, without a protobuf for each: all but its last eight bytes is the same in every one.
    begin = _begin_of_integer_key(names[0])
    return [begin + _INT64(value.int64_val) for value in columns[names[0]]]


@lru_cache(1024)
def _begin_of_integer_key(name: str) -> bytes:
    return key_bytes(EntityKey(join_keys=[name], entity_values=[Value(int64_val=0)]))[:-8]


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
    """One view's read, in Feast's terms."""

    newest: NewestRead
    blobs: Sequence[bytes]
    names: Sequence[str]
    entry: ViewEntry
    reload: Callable[[], ViewEntry]

    def is_outdated(self, widest: int) -> bool:
        """Tell whether the widest row was written by somebody who knows of newer positions: a feature may have moved to one."""
        return widest > len(self.entry.slots)

    def renew(self) -> None:
        """Read what the catalog knows anew."""
        self.entry = self.reload()

    def positions(self) -> list[int]:
        """Return where the payload has each asked feature."""
        return [self.entry.position(name) for name in self.names]

    def features(self, rows: Mapping[bytes, StoredValues]) -> list[FeastAnswer]:
        """Return a row for each asked key, in order, ``(None, None)`` where there is none."""
        positions = list(zip(self.names, self.positions(), strict=True))
        answers = [rows.get(blob) for blob in self.blobs]
        return [(None, None) if answer is None else _features(*answer, positions) for answer in answers]


def stored_values(rows: Sequence[tuple[Any, ...]]) -> dict[bytes, StoredValues]:
    """Return event time and values of rows, by key.

    Raises
    ------
    CatalogConflict
        A payload is not a ``RepeatedValue``.
    """
    try:
        return {key: (event_us, RepeatedValue.FromString(payload).val) for key, event_us, payload in rows}
    except DecodeError as error:
        raise not_a_payload(str(error)) from error


def _features(event_us: int, values: Sequence[Value], positions: Sequence[tuple[str, int]]) -> FeastAnswer:
    # A row written before a feature was added has no value for it: absent, not null.
    return instant(event_us), {name: values[place] for name, place in positions if place < len(values)}


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """One view's part of a request for several views."""

    table: FeatureView
    features: list[str]
    keys: list[bytes]


def wanted_of(grouped_refs: Sequence[Any], join_key_values: Any, join_keys: dict[str, str]) -> list[ViewRequest]:
    """Return what each view is asked for; keys may repeat, and views of the same entities share theirs."""
    made: dict[tuple[tuple[str, int], ...], list[bytes]] = {}
    wanted = []
    for table, features in grouped_refs:
        values = entity_values(table, join_key_values, join_keys)
        same = tuple((name, id(column)) for name, column in values.items())
        keys = made.get(same)
        if keys is None:
            keys = made[same] = keys_of(values)
        wanted.append(ViewRequest(table, features, keys))
    return wanted
