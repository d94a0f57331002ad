"""Feast's rows, which are protobufs, into rows of the log, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

from feastra_nb.storage.rows import Rows
from feastra_nb.times import instant, us

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.reader import NewestRead

    FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


def to_rows(
    entry: ViewEntry,
    data: Sequence[FeastRow],
) -> Rows:
    """Return Feast's rows as rows of a view's log; a feature that a row does not name is null."""
    positions = entry.positions
    null = Value()
    payloads = []
    for _key, features, _event, _created in data:
        values = [null] * len(entry.slots)
        for name, value in features.items():
            values[positions[name] if name in positions else entry.position(name)] = value
        payloads.append(RepeatedValue(val=values).SerializeToString(deterministic=True))
    return Rows(
        pa.array([serialize_entity_key(key, 3) for key, *_rest in data], pa.binary()),
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

    def result(self) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Wait for the answers; a row for each asked key, in order, ``(None, None)`` where there is none."""
        rows = self.newest.result()
        values = {key: RepeatedValue.FromString(row.features).val for key, row in rows.items()}
        if any(len(some) > len(self.entry.slots) for some in values.values()):
            # Written by somebody who knows of newer positions: a feature may have moved to one.
            self.entry = self.reload()
        positions = [(name, self.entry.position(name)) for name in self.names]
        found = {key: (instant(row.event_us), _features(values[key], positions)) for key, row in rows.items()}
        return [found.get(blob, (None, None)) for blob in self.blobs]


def _features(values: Sequence[Value], positions: Sequence[tuple[str, int]]) -> dict[str, Value]:
    # A row written before a feature was added has no value for it: absent, not null.
    known = len(values)
    return {name: values[place] for name, place in positions if place < known}
