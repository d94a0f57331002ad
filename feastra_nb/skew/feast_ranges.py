"""What Feast's own Cassandra and Scylla tables hold of a range of the ring: one value a feature, and when it was written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb import codec
from feastra_nb.adapter.feast_cells import NO_TTL, FeastCells, FeastEntities, pivot
from feastra_nb.adapter.feast_keys import UNREADABLE, VERSION_2, VERSION_3, from_hex, parse_keys
from feastra_nb.codec.splicing import splice
from feastra_nb.reporting.words import counted
from feastra_nb.skew.events import NO_US, at
from feastra_nb.skew.online_ranges import same_payloads
from feastra_nb.skew.online_side import Answers, column_of_protos

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.storage.scanned_columns import Columns

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

COLUMNS = (
    ("entity_key", "blob"),
    ("feature_name", "blob"),
    ("value", "blob"),
    ("event_ts", "timestamp"),
    ("WRITETIME(value)", "bigint"),
)
MS_US = 1_000  # CQL's timestamps are milliseconds


@dataclass(slots=True, eq=False)
class LeftOut:
    """What a table holds that Feast serves to nobody, counted over all ranges.

    Parameters
    ----------
    old_keys
        Entities under keys of serialization 2.
    unreadable
        Entities under keys that are not of the view.
    features
        By name, the entities that hold a feature which the view has not.
    """

    old_keys: int = 0
    unreadable: int = 0
    features: Counter[str] = field(default_factory=Counter)

    def add(self, version: npt.NDArray[np.int8], entities: FeastEntities) -> None:
        """Count what one range holds."""
        self.old_keys += int((version == VERSION_2).sum())
        self.unreadable += int((version == UNREADABLE).sum())
        self.features.update(entities.unknown)

    def words(self) -> list[str]:
        """Return it in words, a clause each."""
        clauses = []
        if self.old_keys:
            clauses.append(
                f"{counted(self.old_keys, 'entity has a key', 'entities have keys')} of serialization 2, "
                "which Feast has not read since 0.50"
            )
        if self.unreadable:
            clauses.append(
                f"{counted(self.unreadable, 'entity has a key', 'entities have keys')} that the view's join keys do not make"
            )
        if self.features:
            names = ", ".join(f"{name} ({count:,})" for name, count in self.features.most_common(5))
            clauses.append(f"the table holds features that the view has not: {names}")
        return clauses


@dataclass(frozen=True, slots=True, eq=False)
class FeastRange:
    """Entities of a range whose features, as far as they are asked for, all have one event time.

    Parameters
    ----------
    view_request
        The view and the features.
    entities
        Which cell holds each feature.
    keys
        Their keys of serialization 3.
    """

    view_request: Requested
    entities: FeastEntities
    keys: pa.Array
    unit_us: ClassVar[int] = MS_US

    def served_us(self, places: Int64s, _t0_us: int) -> Int64s:
        """Return the event that is served of each entity; `NO_US` for none."""
        return at(self.entities.event_us().max(axis=0, initial=NO_US), places)

    def same_bytes(self, places: Int64s, features: pa.Table) -> Bools | None:
        """Return which of some served entities are stored with just these features."""
        names = list(self.view_request.features)
        held = (self.entities.place[:, places] >= 0).all(axis=0)  # a feature that is not there is no null
        same = same_payloads(self._payloads(places), names, [self.view_request.kinds[name] for name in names], features)
        return None if same is None else same & held

    def answers(self, places: Int64s, _t0_us: int, *, alike: bool) -> Answers:
        """Return what Feast serves of some entities."""
        there = places >= 0
        none = np.full((len(self.entities.features), len(places)), -1)
        place = np.where(there, self.entities.place[:, places], -1) if len(self.keys) else none
        nothing = np.full(len(places), NO_US)
        values = dict(zip(self.view_request.features, self._decoded(place, alike=alike), strict=True))
        return Answers(
            values=values,
            lacks={name: there & (of_feature < 0) for name, of_feature in zip(values, place, strict=True)},
            found=there,
            unknown=np.zeros(len(places), dtype=bool),
            holds_any=there,
            event_us=at(self.entities.event_us().max(axis=0, initial=NO_US), places),
            created_us=nothing,
            arrived_us=at(self.entities.written_us().max(axis=0, initial=NO_US), places),
        )

    def versions(self, _chunk: Chunk, _codes: Int64s) -> None:
        """Return nothing: such a table keeps one value."""
        return

    def _payloads(self, places: Int64s) -> pa.LargeBinaryArray:
        return splice(self.entities.cells.value, self.entities.place[:, places].T)

    def _decoded(self, place: Int64s, *, alike: bool) -> list[pa.Array]:
        """Return the values at some places (features, n): of another type than the view's where one of them is."""
        kinds = [self.view_request.kinds[name] for name in self.view_request.features]
        misfits = {} if alike else self.entities.misfits(self.view_request.kinds)
        payloads = splice(
            self.entities.cells.value, np.where(_fitting(self.entities.features, misfits)[:, None], place, -1).T
        )
        columns = codec.decode_payloads(payloads, list(range(len(kinds))), kinds)
        for number, name in enumerate(self.view_request.features):
            if name in misfits:
                columns[number] = self._loose(place[number], name)
        return columns

    def _loose(self, place: Int64s, name: str) -> pa.Array:
        from feast.protos.feast.types.Value_pb2 import Value

        stored = self.entities.cells.value.take(pa.array(place, mask=place < 0)).to_pylist()
        protos = [None if not value else Value.FromString(value) for value in stored]
        return column_of_protos(protos, self.view_request, name)


def _fitting(features: Sequence[str], misfits: dict[str, Any]) -> Bools:
    return np.array([name not in misfits for name in features], dtype=bool)


def ranges_of(columns: Columns, view_request: Requested, left_out: LeftOut) -> list[FeastRange]:
    """Return what a scan found: the entities whose features have one event time, and for each feature those that differ in it.

    A push of some features leaves an entity with several event times; each feature is then compared at its own.
    """
    key, name, value, event_us, written_us = columns
    none = np.full(len(event_us), NO_TTL)
    cells = FeastCells.of_columns([key, name, value, event_us, written_us, none, none])
    known = [each.name for each in view_request.view.features]
    whole = pivot(cells, known)
    stored, is_hex = from_hex(whole.entity_key)
    parsed = parse_keys(stored, [each for each, *_ in view_request.keys], [kind for *_, kind in view_request.keys])
    version = np.where(is_hex, parsed.version, UNREADABLE)
    left_out.add(version, whole)
    asked = [known.index(each) for each in view_request.features]
    place = whole.place[asked]
    some = np.flatnonzero((version == VERSION_3) & (place >= 0).any(axis=0))
    entities = FeastEntities(cells, whole.entity_key, view_request.features, place, {}).take(some)
    keys = parsed.keys.take(pa.array(some))
    events = entities.event_us()
    mixed = (
        np.where(events == NO_US, events.max(axis=0, initial=NO_US), events) != events.max(axis=0, initial=NO_US)
    ).any(axis=0)
    plain = pa.array(~mixed)
    ranges = [FeastRange(view_request, entities.take(~mixed), keys.filter(plain))]
    if mixed.any():
        ranges += [
            _of_feature(view_request, each, entities.take(mixed), keys.filter(pc.invert(plain)))
            for each in view_request.features
        ]
    return ranges


def _of_feature(view_request: Requested, name: str, entities: FeastEntities, keys: pa.Array) -> FeastRange:
    alone = type(view_request)(view_request.view, (name,))
    place = entities.place[[entities.features.index(name)]]
    return FeastRange(alone, FeastEntities(entities.cells, entities.entity_key, (name,), place, {}), keys)


__all__ = ["COLUMNS", "FeastRange", "LeftOut", "ranges_of"]
