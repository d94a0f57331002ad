"""Compares one range of the ring: all offline rows of it with what a scan found online. No I/O of its own.

Where the bytes that an offline row would be stored as are those that are stored, all its values are equal, and nothing is
decoded twice; only the others are judged cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from feastra_nb import codec
from feastra_nb.codec.conversion import lost
from feastra_nb.retrieval.entities import shown_keys
from feastra_nb.retrieval.request import ttl_us
from feastra_nb.skew import cells
from feastra_nb.skew.cells import CellChunk
from feastra_nb.skew.chunks import Chunk, Questions, first_rows
from feastra_nb.skew.comparison import MATCH
from feastra_nb.skew.events import NO_US, at, codes_of
from feastra_nb.skew.offline_ranges import ENTITY_KEY
from feastra_nb.skew.online_side import nothing_known
from feastra_nb.skew.verdicts import judged
from feastra_nb.storage.row_selection import CLOCK_SKEW_US

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.events import Versions
    from feastra_nb.skew.evidence import Cover
    from feastra_nb.skew.offline_side import OfflineEvents, OfflineRows
    from feastra_nb.skew.online_side import Answers
    from feastra_nb.skew.verdicts import Tolerance

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

    class OnlineRange(Protocol):
        """What a store holds of one range of the ring."""

        @property
        def keys(self) -> pa.Array:
            """The entity keys, each once."""

        @property
        def unit_us(self) -> int:
            """How finely event times are kept, in microseconds."""

        def served_us(self, places: Int64s, t0_us: int) -> Int64s:
            """Return the event that is served of some entities, by their places among the keys, -1 for none; `NO_US` for none."""

        def same_bytes(self, places: Int64s, features: pa.Table) -> Bools | None:
            """Return which of some served entities are stored with just these features; None where bytes tell nothing.

            Parameters
            ----------
            features
                A row an entity: the view's features as the offline store has them.
            """

        def answers(self, places: Int64s, t0_us: int, *, alike: bool) -> Answers:
            """Return what the store serves of some entities.

            Parameters
            ----------
            alike
                Whether all that they are stored with is known to be what is offline: then nothing is lacking.
            """

        def versions(self, chunk: Chunk, codes: Int64s) -> Versions | None:
            """Return all versions of some entities; None where the store keeps one."""


Partial: TypeAlias = "list[CellChunk]"  # of one range; those of several are put one after another


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What is compared, and how.

    Parameters
    ----------
    view_request
        The view and its features.
    offline
        What knows the view's offline columns.
    covers
        What was materialized.
    tolerance
        Absolute difference of numbers that still counts as equal.
    """

    view_request: Requested
    offline: OfflineRows
    covers: Sequence[Cover] = ()
    tolerance: Tolerance = None


def compare_range(
    offline: pa.Table | None, online: OnlineRange, rules: Rules, t0_us: int, *, first_row: int
) -> Partial:
    """Compare the entities of a range: those of either side, each once.

    Parameters
    ----------
    offline
        All offline rows of the range's entities, with `ENTITY_KEY`; None where there are none.
    online
        What the store holds of the range.
    t0_us
        The instant that both sides are compared at, in microseconds: what arrived later does not count.
    first_row
        The number of the first entity.
    """
    found = _Range.of(offline, online, rules, t0_us)
    equal = found.equal()
    parts = [found.matching(np.flatnonzero(equal), first_row)] if equal.any() else []
    rest = np.flatnonzero(~equal & found.is_asked)
    if len(rest):
        parts.append(found.judged(rest, first_row))
    return parts


def unread_range(offline: pa.Table | None, rules: Rules, t0_us: int, *, first_row: int) -> Partial:
    """Return the entities of a range that could not be read online, all of them `unknown`."""
    return (
        compare_range(offline, _Unread(rules.view_request), rules, t0_us, first_row=first_row)
        if offline is not None
        else []
    )


@dataclass(slots=True, eq=False)
class _Range:
    """Both sides of a range: n entities, first those that are offline."""

    rules: Rules
    t0_us: int
    entities: pa.Array
    shown: pa.Table
    events: OfflineEvents
    online: OnlineRange
    places: Int64s
    star: Int64s
    served_us: Int64s

    @classmethod
    def of(cls, offline: pa.Table | None, online: OnlineRange, rules: Rules, t0_us: int) -> _Range:
        keyed = pa.array([], pa.binary()) if offline is None else offline.column(ENTITY_KEY).combine_chunks()
        numbered = keyed.cast(pa.large_binary()).dictionary_encode()
        known, codes = numbered.dictionary, np.asarray(numbered.indices, dtype=np.int64)
        keys = online.keys.cast(pa.large_binary())
        places = codes_of(known, keys)
        is_orphan = np.ones(len(keys), dtype=bool)
        is_orphan[places[places >= 0]] = False
        orphans = np.flatnonzero(is_orphan)
        entities = pa.concat_arrays([known, keys.take(pa.array(orphans))])
        events = rules.offline.events_of(rules.offline.no_rows() if offline is None else offline, codes)
        places = np.concatenate([places, orphans])
        ttl = ttl_us(rules.view_request.view)
        n = len(entities)
        star = events.join(
            np.arange(n), np.full(n, t0_us + CLOCK_SKEW_US), None if ttl is None else np.full(n, t0_us - ttl)
        )
        return cls(
            rules, t0_us, entities, _shown(offline, codes, entities.slice(len(known)), rules), events, online, places, star,
            online.served_us(places, t0_us),
        )  # fmt: skip

    @property
    def is_asked(self) -> Bools:
        """Which entities are compared: all that are offline, and of the others those that are served."""
        return self.events.versions.known(len(self.entities)) | (self.served_us != NO_US)

    def equal(self) -> Bools:
        """Return which entities are stored just as they are offline, and lose nothing by it."""
        equal = np.zeros(len(self.entities), dtype=bool)
        both = np.flatnonzero((self.star >= 0) & (self.served_us != NO_US))
        if not len(both):
            return equal
        versions, unit_us = self.events.versions, self.online.unit_us
        both = both[versions.event_us[self.star[both]] // unit_us == self.served_us[both] // unit_us]
        table = self.events.table.take(pa.array(versions.source[self.star[both]]))
        same = self.online.same_bytes(self.places[both], table)
        if same is None:
            return equal
        for name, kind in self.rules.view_request.kinds.items():
            same &= ~lost(table.column(name), kind)
        equal[both] = same
        return equal

    def matching(self, some: Int64s, first_row: int) -> CellChunk:
        """Return the compared cells of entities that match."""
        where, view_request = pa.array(some), self.rules.view_request
        a = self.online.answers(self.places[some], self.t0_us, alike=True)
        versions, star = self.events.versions, self.star[some]
        times = (a.event_us, a.created_us, a.arrived_us)
        columns: dict[str, Any] = {name: self.shown.column(name).take(where) for name in self.shown.column_names}
        columns |= {cells.ROW: first_row + some, cells.AS_OF: np.full(len(some), self.t0_us)}
        columns |= dict(zip(cells.TIMES, times, strict=False))
        columns |= {cells.TIMES[3]: at(versions.event_us, star), cells.TIMES[4]: self.events.created(star)}
        matches = np.full(len(some), MATCH, dtype=np.int8)
        for name in view_request.features:
            both = a.values[name]
            columns |= {cells.ONLINE + name: both, cells.OFFLINE + name: both, cells.VERDICT + name: matches}
        none = CellChunk.empty(view_request.label, self.shown.schema, view_request.features)
        keys = tuple(shown_keys(self.shown))
        return CellChunk(view_request.label, keys, view_request.features, pa.table(columns), none.bad)

    def judged(self, some: Int64s, first_row: int) -> CellChunk:
        """Return the compared cells of entities that may differ, each with its cause."""
        where = pa.array(some)
        t0_us = np.full(len(some), self.t0_us)
        questions = Questions(
            self.rules.view_request,
            self.shown.take(where),
            t0_us,
            t0_us,
            None,
            first_row + some,
            ahead_us=CLOCK_SKEW_US,
        )
        chunk = Chunk(questions, self.entities.take(where), questions.shown, np.arange(len(some)))
        answers = self.online.answers(self.places[some], self.t0_us, alike=False)
        return judged(
            chunk, answers, self.events.of_entities(some, len(self.entities)), self.online.versions,
            self.rules.covers, lost=np.zeros(len(some), dtype=bool), tolerance=self.rules.tolerance,
        )  # fmt: skip


def _shown(offline: pa.Table | None, codes: Int64s, orphans: pa.Array, rules: Rules) -> pa.Table:
    """Return the join keys of all entities, as the report shows them: of those that are offline, then of the others."""
    keys = rules.view_request.keys
    decoded = codec.decode_entity_keys(orphans, [name for name, *_ in keys], [kind for *_, kind in keys])
    if offline is None:
        return pa.table({shown: column for (_, shown, _), column in zip(keys, decoded, strict=True)})
    first = pa.array(first_rows(codes, int(codes.max(initial=-1)) + 1))
    columns = {}
    for (name, shown, _kind), column in zip(keys, decoded, strict=True):
        known = offline.column(name).take(first)
        columns[shown] = pa.chunked_array([*known.chunks, column.cast(known.type)]).combine_chunks()
    return pa.table(columns)


class _Unread:
    """A range that no node could tell of."""

    keys = pa.array([], pa.large_binary())
    unit_us = 1

    def __init__(self, view_request: Requested) -> None:
        self._view_request = view_request

    def served_us(self, places: Int64s, _t0_us: int) -> Int64s:
        return np.full(len(places), NO_US)

    def same_bytes(self, _places: Int64s, _features: pa.Table) -> None:
        return None

    def answers(self, places: Int64s, _t0_us: int, *, alike: bool) -> Answers:  # noqa: ARG002 - of the protocol
        return nothing_known(self._view_request, len(places))

    def versions(self, _chunk: Chunk, _codes: Int64s) -> None:
        return None
