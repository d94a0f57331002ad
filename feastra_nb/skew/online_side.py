"""The online side of a comparison: what a store answers now, would have answered at an instant, or was logged to answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from feastra_nb import codec
from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.feast_private import provider_of
from feastra_nb.codec.conversion import lost, unconverted
from feastra_nb.codec.wire_format import MalformedBytes
from feastra_nb.errors import CatalogConflict, InvalidFrame
from feastra_nb.retrieval.lookup import OUTSIDE_MAX_AGE, UNKNOWN, find_as_of, find_now
from feastra_nb.skew.events import NO_US, Versions, at
from feastra_nb.skew.offline_side import converted
from feastra_nb.storage import reader
from feastra_nb.times import us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from feastra_nb.retrieval.lookup import Found
    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.stores import Stores

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

READ_KEYS = 500  # entities that another store is asked for at a time


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was served to n rows.

    Parameters
    ----------
    values
        By feature, shape (n,); null where there is none.
    lacks
        By feature, shape (n,): the row that was served holds no such feature, though it holds others.
    found
        Whether a row was served.
    unknown
        Whether the store cannot say what it would have served.
    holds_any
        Whether the store held anything of the entity, expired or not; where it cannot be told (``holds_known``), True.
    event_us, created_us, arrived_us
        Of the row that was served; NO_US where none was, or it is not known.
    """

    values: Mapping[str, pa.Array]
    lacks: Mapping[str, Bools]
    found: Bools
    unknown: Bools
    holds_any: Bools
    event_us: Int64s
    created_us: Int64s
    arrived_us: Int64s


def nothing_known(view_request: Requested, rows: int) -> Answers:
    """Return the answers of a store that could not be asked."""
    nothing, no = np.full(rows, NO_US), np.zeros(rows, dtype=bool)
    kinds = view_request.kinds
    values = {name: pa.nulls(rows, codec.arrow_type(kinds[name])) for name in view_request.features}
    return Answers(values, dict.fromkeys(values, no), no, ~no, ~no, nothing, nothing, nothing)


class OnlineSide(Protocol):
    """A store to compare, and how it is asked."""

    @property
    def has_history(self) -> bool:
        """Whether it can tell which versions it holds, and when they arrived."""

    def answers(self, chunk: Chunk) -> Answers:
        """Return what was served to each row of a chunk."""

    def versions(self, chunk: Chunk, codes: Int64s) -> Versions | None:
        """Return all versions of some entities; None where the store keeps one."""


class OursNow:
    """A `FeastraOnlineStore`, asked now."""

    has_history = True

    def __init__(self, stores: Stores, now_us: int) -> None:
        self._stores = stores
        self._now_us = now_us

    def answers(self, chunk: Chunk) -> Answers:
        """Return what the store serves."""
        events = find_now(
            self._stores.online, chunk.questions.view_request, chunk.keys, status=True, now_us=self._now_us
        )
        return _answers(self._stores, chunk.questions.view_request, events)

    def versions(self, chunk: Chunk, codes: Int64s) -> Versions:
        """Return the history of some entities."""
        return _history(self._stores, chunk, codes)


class OursAsOf:
    """A `FeastraOnlineStore`, rebuilt from its history as of each row's instant."""

    has_history = True

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def answers(self, chunk: Chunk) -> Answers:
        """Return what the store would have served."""
        questions = chunk.questions
        events = find_as_of(
            self._stores.online, questions.view_request, chunk.keys, questions.t_us,
            known_us=questions.known_us, status=True,
        )  # fmt: skip
        return _answers(self._stores, questions.view_request, events)

    def versions(self, chunk: Chunk, codes: Int64s) -> Versions:
        """Return the history of some entities."""
        return _history(self._stores, chunk, codes)


def _answers(stores: Stores, view_request: Requested, events: Found) -> Answers:
    values = dict(zip(view_request.features, events.features(stores.online, view_request), strict=True))
    entry = stores.online.entry(view_request.view)
    counts = codec.value_counts(events.rows.features) if len(events.rows) else np.zeros(0, dtype=np.int64)
    held = at(counts, events.index, none=len(entry.slots))
    return Answers(
        values=values,
        lacks={name: held <= entry.positions[name] for name in view_request.features},
        found=events.index >= 0,
        unknown=np.asarray(events.status == UNKNOWN),
        holds_any=(events.index >= 0) | np.asarray(events.status == OUTSIDE_MAX_AGE),
        event_us=at(events.rows.event_us, events.index),
        created_us=made(at(events.rows.created_us, events.index)),
        arrived_us=at(events.rows.arrived_us, events.index),
    )


def made(created_us: Int64s) -> Int64s:
    """Return created times, NO_US where the source had none."""
    return np.where(created_us == 0, NO_US, created_us)


def _history(stores: Stores, chunk: Chunk, codes: Int64s) -> Versions:
    wanted = np.unique(codes)
    entry = stores.online.entry(chunk.questions.view_request.view)
    until_us = int(chunk.questions.until_us.max()) if len(chunk.questions) else 0
    bounds = reader.Bounds(reader.BEGINNING_US, until_us)
    keys = chunk.entities.take(pa.array(wanted)).to_pylist()
    return Versions.of(reader.read_history(stores.online.db, entry, keys, bounds), chunk.entities)


# --- any other online store --------------------------------------------------------------------------------------------


class AnyStoreNow:
    """An online store of Feast's, which keeps one value of each entity."""

    has_history = False

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def answers(self, chunk: Chunk) -> Answers:
        """Return what the store serves, read through its own `online_read`."""
        view_request = chunk.questions.view_request
        rows = self._rows(view_request, chunk.entities)
        codes = pa.array(chunk.codes)
        held = [features or {} for _event, features in rows]
        values = {
            name: column_of_protos([row.get(name) for row in held], view_request, name).take(codes)
            for name in view_request.features
        }
        is_found = np.array([bool(row) for row in held], dtype=bool)
        lacks = {
            name: is_found & np.array([name not in row for row in held], dtype=bool) for name in view_request.features
        }
        event_us = np.array([us(event) if event else NO_US for event, _features in rows], dtype=np.int64)
        nothing = np.full(len(chunk.codes), NO_US)
        return Answers(
            values=values,
            lacks={name: mask[chunk.codes] for name, mask in lacks.items()},
            found=is_found[chunk.codes],
            unknown=np.zeros(len(chunk.codes), dtype=bool),
            holds_any=is_found[chunk.codes],
            event_us=event_us[chunk.codes],
            created_us=nothing,
            arrived_us=nothing,
        )

    def versions(self, chunk: Chunk, codes: Int64s) -> None:
        """Return nothing: such a store keeps no history."""

    def _rows(self, view_request: Requested, entities: pa.Array) -> list[tuple[Any, Any]]:
        from feast.infra.key_encoding_utils import deserialize_entity_key

        provider = provider_of(self._stores.feast)
        version = self._stores.feast.config.entity_key_serialization_version
        rows: list[tuple[Any, Any]] = []
        for start in range(0, len(entities), READ_KEYS):
            some = entities.slice(start, READ_KEYS).to_pylist()
            keys = [deserialize_entity_key(key, version) for key in some]
            with calling_feast(f"reading view {view_request.view.name} online"):
                rows += provider.online_read(
                    self._stores.feast.config, view_request.view, keys, list(view_request.features)
                )
        return rows


def column_of_protos(protos: Sequence[Any], view_request: Requested, name: str) -> pa.Array:
    """Return Feast's values of one feature as an Arrow column, of their own type where it is not the feature's."""
    from feast.protos.feast.types.Value_pb2 import RepeatedValue
    from feast.type_map import feast_value_type_to_python_type

    kind = view_request.kinds[name]
    payloads = [b"" if proto is None else RepeatedValue(val=[proto]).SerializeToString() for proto in protos]
    try:
        return codec.decode_payloads(payloads, [0], [kind])[0]
    except (CatalogConflict, MalformedBytes):
        return _loose([None if proto is None else feast_value_type_to_python_type(proto) for proto in protos])


def _loose(values: Sequence[Any]) -> pa.Array:
    """Return values of whatever type they have, as text where they have several."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


# --- what was logged ---------------------------------------------------------------------------------------------------


class Logged:
    """Values that were logged when they were served, beside what the store's history says of the same instant.

    Parameters
    ----------
    replay
        The store rebuilt as of each row's instant; None for a store that keeps no history.
    """

    def __init__(self, replay: OursAsOf | None) -> None:
        self._replay = replay
        self.has_history = replay is not None

    def answers(self, chunk: Chunk) -> Answers:
        """Return the logged values, with the event that they came from where it can be told."""
        view_request, logged = chunk.questions.view_request, chunk.questions.logged
        if logged is None:
            raise AssertionError("nothing was logged")
        values = {name: _logged_column(logged.column(name), view_request, name) for name in view_request.features}
        is_logged = _told(logged, values)
        if self._replay is None:
            return is_logged
        replayed = self._replay.answers(chunk)
        # What the store cannot replay it cannot prove; the logged values are compared all the same.
        known = ~replayed.unknown
        return replace(
            is_logged,
            lacks={name: mask & known for name, mask in replayed.lacks.items()},
            holds_any=np.where(known, replayed.holds_any, is_logged.holds_any),
            event_us=np.where(
                known & (is_logged.event_us == NO_US) & is_logged.found, replayed.event_us, is_logged.event_us
            ),
            created_us=np.where(known, replayed.created_us, NO_US),
            arrived_us=np.where(known, replayed.arrived_us, NO_US),
        )

    def versions(self, chunk: Chunk, codes: Int64s) -> Versions | None:
        """Return the history of some entities, where there is one."""
        return None if self._replay is None else self._replay.versions(chunk, codes)


EVENT, STATUS = "event of ", "status of "  # columns beside the features in `Questions.logged`
_NOT_THERE = ("NOT_FOUND", "OUTSIDE_MAX_AGE")


def _told(logged: pa.Table, values: Mapping[str, pa.Array]) -> Answers:
    rows = logged.num_rows
    is_found, event_us = np.zeros(rows, dtype=bool), np.full(rows, NO_US)
    absent, gone = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    for name, column in values.items():
        is_found |= np.asarray(column.is_valid())
        if STATUS + name in logged.column_names:
            status = np.asarray(logged.column(STATUS + name).to_pandas(), dtype=object)
            is_found |= ~np.isin(status, _NOT_THERE)
            absent |= status == "NOT_FOUND"
            gone |= status == "OUTSIDE_MAX_AGE"
        if EVENT + name in logged.column_names:
            at_us = np.asarray(logged.column(EVENT + name).cast(pa.int64()).fill_null(NO_US))
            event_us = np.maximum(event_us, at_us)
    nothing = np.full(rows, NO_US)
    return Answers(
        values=values,
        lacks={name: np.zeros(rows, dtype=bool) for name in values},
        found=is_found,
        unknown=np.zeros(rows, dtype=bool),
        holds_any=is_found | gone | ~absent,
        event_us=np.where(is_found, event_us, NO_US),
        created_us=nothing,
        arrived_us=nothing,
    )


def _logged_column(column: pa.ChunkedArray, view_request: Requested, name: str) -> pa.Array:
    """Return logged values in the feature's type; as they are where they are not of that type."""
    kind = view_request.kinds[name]
    try:
        # What was logged was served: where storing would change it, it did not come from the store.
        return unconverted(column, kind) if lost(column, kind).any() else converted(column, kind, name)
    except (InvalidFrame, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column.combine_chunks()
