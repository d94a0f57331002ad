"""Finds event times that lie apart by one shift: the same values on both sides, each under another time.

The classic fault of a time zone: one side lost it, every value "matches", and each is served hours too early or too late.
A shift is proposed chunk by chunk, from the rows whose online event the offline store does not have with these values;
`view_shifts` judges the whole view.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.skew.cells import NO_SHIFT, ShiftCount
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.rules import LEAST, LONGEST_US, QUARTER_US, SHARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from feastra_nb.skew.cells import Cells
    from feastra_nb.skew.events import Versions

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

SAMPLE = 500  # rows that shifts are tried on
ENTITIES = 200  # whose online history is looked at, before a shift is believed
_ZONES_US = tuple(
    sign * quarters * QUARTER_US for quarters in range(1, LONGEST_US // QUARTER_US + 1) for sign in (1, -1)
)


@dataclass(frozen=True, slots=True)
class EventShift:
    """One shift between the event times of a view's two sides.

    Parameters
    ----------
    shift_us
        online event = offline event + shift, in microseconds.
    rows
        Rows whose values are offline under the shifted time.
    entities
        How many distinct entities these are of.
    """

    shift_us: int
    rows: int
    entities: int


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """The events of a chunk's n rows on both sides.

    Parameters
    ----------
    codes
        Shape (n,): the entity of each row.
    online_us
        Shape (n,): the event that was served; NO_US where none was.
    matched
        Shape (n,): whether the offline store has this event, with the values that were served.
    offline
        All offline versions of these entities.
    same_values
        Of some rows and as many offline versions: in which pairs the values are equal.
    online_history
        Of some entities; None where the store keeps one value.
    """

    codes: Int64s
    online_us: Int64s
    matched: Bools
    offline: Versions
    same_values: Callable[[Int64s, Int64s], Bools]
    online_history: Callable[[Int64s], Versions | None]

    def under(self, shift_us: int, rows: Int64s) -> Int64s:
        """Return the offline version that each row's event would be without a shift; -1 for none."""
        codes = self.codes[rows]
        return self.offline.last_of_event(codes, self.offline.snapped(codes, self.online_us[rows] - shift_us))


def count_shift(events: Events) -> tuple[ShiftCount, Bools]:
    """Return the shift that a chunk proposes, and which of its rows have their values under it, shape (n,)."""
    shifted = np.zeros(len(events.codes), dtype=bool)
    doubtful = np.flatnonzero((events.online_us != NO_US) & ~events.matched)
    if not len(doubtful) or not len(events.offline):
        return NO_SHIFT, shifted
    shift_us = _proposed(events, doubtful[_evenly(len(doubtful), SAMPLE)])
    if shift_us:
        place = events.under(shift_us, doubtful)
        there = place >= 0
        equal = doubtful[there][events.same_values(doubtful[there], place[there])]
        if not _is_online_too(events, equal, shift_us):
            shifted[equal] = True
    rows = int(shifted.sum())
    entities = len(np.unique(events.codes[shifted]))
    return ShiftCount(shift_us if rows else 0, len(doubtful), rows, entities), shifted


def _proposed(events: Events, rows: Int64s) -> int:
    """Return the one shift under which most of some rows have their values; 0 where none has half, or two may be meant."""
    equal = {}
    for shift_us in dict.fromkeys((*_ZONES_US, *_gaps(events, rows))):
        place = events.under(shift_us, rows)
        there = place >= 0
        if shift_us and there.sum() * 2 >= len(rows):
            equal[shift_us] = int(events.same_values(rows[there], place[there]).sum())
    if not equal:
        return 0
    best = max(equal, key=lambda shift_us: equal[shift_us])
    # Values that stay as they are from event to event fit any shift.
    others = max((count for shift_us, count in equal.items() if shift_us != best), default=0)
    return best if equal[best] * 2 >= len(rows) and others * 2 <= equal[best] else 0


def _gaps(events: Events, rows: Int64s) -> list[int]:
    """Return the median distances to the offline events before and after: shifts that are no time zone's."""
    before = events.offline.last(events.codes[rows], events.online_us[rows])
    gaps = []
    for place in (before, before + 1):
        known = (place >= 0) & (place < len(events.offline))
        known[known] = events.offline.codes[place[known]] == events.codes[rows][known]
        apart = np.sort(events.online_us[rows][known] - events.offline.event_us[place[known]])
        gaps += [int(apart[len(apart) // 2])] if len(apart) else []
    return gaps


def _is_online_too(events: Events, rows: Int64s, shift_us: int) -> bool:
    """Return whether most of the unshifted events are online as well: then the offline store only lags behind."""
    entities = np.unique(events.codes[rows])
    some = entities[_evenly(len(entities), ENTITIES)]
    history = events.online_history(some) if len(some) else None
    if history is None:
        return False
    asked = rows[np.isin(events.codes[rows], some)]
    online = history.last_of_event(events.codes[asked], events.online_us[asked] - shift_us) >= 0
    return bool(online.mean() > 1 - SHARE)


def _evenly(count: int, most: int) -> Int64s:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def view_shifts(cells: Cells) -> Mapping[str, EventShift]:
    """Return, by view, the shift that explains 95 % of the rows whose event is not offline, over twenty entities or more."""
    doubtful: dict[str, int] = defaultdict(int)
    found: dict[str, dict[int, EventShift]] = defaultdict(dict)
    for chunk in cells:
        count = chunk.shift
        doubtful[chunk.view] += count.doubtful
        if count.shift_us:
            so_far = found[chunk.view].get(count.shift_us, EventShift(count.shift_us, 0, 0))
            # An entity is in one chunk only.
            found[chunk.view][count.shift_us] = EventShift(
                count.shift_us, so_far.rows + count.rows, so_far.entities + count.entities
            )
    return {
        view: shift
        for view, shifts in found.items()
        for shift in shifts.values()
        if shift.entities >= LEAST and shift.rows >= SHARE * doubtful[view]
    }
