"""Turns rows of a table of Feast's into rows of a view's log, and counts what cannot be. No I/O.

Event times. Feast's tables keep milliseconds, our log microseconds. An event that is copied, and later materialized with its
microseconds, is two rows of the log less than a millisecond apart, with the same values: the full one is newer, is served, and
changes nothing of what is served. Before the migration's instant the log is not asked as of an instant, so that nobody sees the
pair as two events there; `verify` compares event times in whole milliseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from feast.value_type import ValueType

from feastra_nb.adapter.feast_cells import NO_US, FeastEntities, log_rows, pivot
from feastra_nb.adapter.feast_keys import UNREADABLE, VERSION_2, from_hex, parse_keys
from feastra_nb.adapter.objects import key_fields
from feastra_nb.storage.retention import row_ttls
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from feastra_nb.adapter.feast_cells import FeastCells, LogRows
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.scanning import FailedRange

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

SAMPLES = 3  # unreadable keys that are shown


@dataclass(frozen=True, slots=True)
class Terms:
    """What a view's rows are translated by.

    Parameters
    ----------
    features
        The view's features, in order, with their value types.
    keys
        Its join keys, with their value types.
    slots
        For each position of the payload the feature's place in ``features``; None for a hole.
    entry
        What the catalog knows of the view.
    """

    features: Mapping[str, ValueType]
    keys: Mapping[str, ValueType]
    slots: tuple[int | None, ...]
    entry: ViewEntry

    @classmethod
    def of(cls, view: Any, entry: ViewEntry) -> Terms:
        """Return the terms of a view."""
        features = {name: ValueType[kind] for name, kind in entry.value_types.items()}
        order = list(features)
        slots = tuple(None if slot.dropped else order.index(slot.name) for slot in entry.slots)
        return cls(features, dict(key_fields(view)), slots, entry)


@dataclass(frozen=True, slots=True, eq=False)
class Entities:
    """m entities whose keys can be read, with their keys in version 3.

    Parameters
    ----------
    found
        Their features; values of another type than the view's count as absent.
    keys
        Shape (m,), binary.
    is_old
        Shape (m,): whether the stored key is of version 2.
    counts
        What was left out, and why.
    samples
        Some of the keys that nobody can read.
    """

    found: FeastEntities
    keys: pa.Array
    is_old: Bools
    counts: Counter[str]
    samples: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, index: Int64s | Bools) -> Entities:
        """Return some of them."""
        where = np.flatnonzero(index) if index.dtype == bool else index
        return replace(
            self, found=self.found.take(where), keys=self.keys.take(pa.array(where)), is_old=self.is_old[where]
        )


def entities_of(cells: FeastCells, terms: Terms) -> Entities:
    """Return the entities of a table's rows whose keys can be read."""
    found = pivot(cells, list(terms.features))
    counts = Counter(cells=len(cells), entities=len(found))
    counts.update({f"unknown {name}": number for name, number in found.unknown.items()})
    found = _without_misfits(found, terms.features, counts)
    stored, is_hex = from_hex(found.entity_key)
    parsed = parse_keys(stored, list(terms.keys), list(terms.keys.values()))
    is_read = is_hex & (parsed.version != UNREADABLE)
    counts["unreadable"] = int((~is_read).sum())
    counts["version 2"] = int((parsed.version == VERSION_2).sum())
    unread = found.entity_key.filter(pa.array(~is_read)).slice(0, SAMPLES).to_pylist()
    entities = Entities(
        found, parsed.keys, parsed.version == VERSION_2, counts, tuple(text.decode(errors="replace") for text in unread)
    )
    return entities if is_read.all() else entities.take(is_read)


def _without_misfits(found: FeastEntities, types: Mapping[str, ValueType], counts: Counter[str]) -> FeastEntities:
    misfits = found.misfits(types)
    if not misfits:
        return found
    place = found.place.copy()
    for name, entities in misfits.items():
        place[found.features.index(name), entities] = -1
        counts[f"misfit {name}"] = len(entities)
    return replace(found, place=place)


@dataclass(frozen=True, slots=True, eq=False)
class Translated:
    """Rows of the log, each one's time to live in seconds (0 for ever), and what was counted on the way.

    Parameters
    ----------
    size_bytes
        Of the rows' keys and payloads.
    """

    rows: Rows
    ttl_s: Int64s
    counts: Counter[str]
    samples: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Of keys and payloads."""
        return int(self.rows.entity_key.nbytes + self.rows.features.nbytes)


def translate(cells: FeastCells, terms: Terms, *, now_us: int, since_us: int | None = None) -> Translated:
    """Return a table's rows as rows of the log.

    Parameters
    ----------
    now_us
        The present: rows beyond the view's ttl are left out, and rows of the future.
    since_us
        Leave out entities of which nothing was written since; None for all.
    """
    entities = entities_of(cells, terms)
    if since_us is not None:
        is_new = entities.found.written_us().max(axis=0, initial=NO_US) >= since_us
        entities.counts["unchanged"] = int((~is_new).sum())
        entities = entities.take(is_new)
    made = log_rows(entities.found)
    entry = terms.entry
    keep = _served(made, entities, now_us=now_us, ttl_us=entry.ttl_us)
    lives_s, is_over = row_ttls(made.event_us, now_us=now_us, ttl_us=entry.ttl_us, retain=entry.retention)
    keep &= ~is_over
    rows = Rows(
        entities.keys.take(pa.array(made.entity)),
        made.event_us,
        made.created_us,
        # A row without any write time, whose values are all null by expiry, is as old as its event.
        np.where(made.arrived_us == NO_US, made.event_us, made.arrived_us),
        made.payloads(cells.value, terms.slots),
    ).take(keep)
    entities.counts["rows"] = len(rows)
    return Translated(rows, _shorter(lives_s, made.ttl_s)[keep], entities.counts, entities.samples)


def _served(made: LogRows, entities: Entities, *, now_us: int, ttl_us: int | None) -> Bools:
    """Tell which rows our store may serve, and count the entities of which Feast serves one that it will not."""
    is_future = made.event_us > now_us + CLOCK_SKEW_US
    is_old = made.event_us < now_us - ttl_us if ttl_us else np.zeros(len(made), dtype=bool)
    newest = made.is_newest()
    entities.counts["future"] = int((newest & is_future).sum())
    entities.counts["expired"] = int((newest & is_old).sum())
    return ~is_future & ~is_old


def _shorter(first_s: Int64s, second_s: Int64s) -> Int64s:
    """Return the shorter of two times to live; 0 is for ever.

    Examples
    --------
    >>> _shorter(np.array([0, 5, 0, 9]), np.array([7, 0, 0, 3])).tolist()
    [7, 5, 0, 3]
    """
    ever = np.iinfo(np.int64).max
    least = np.minimum(np.where(first_s == 0, ever, first_s), np.where(second_s == 0, ever, second_s))
    return np.where(least == ever, 0, least)


def unread(view: str, failed: Sequence[FailedRange]) -> list[str]:
    """Return in sentences which ranges of a view's table could not be read, and why."""
    return [f"{view}: range {part.after} to {part.upto} could not be read: {error.message}" for part, error in failed]


def problems_of(view: str, counts: Mapping[str, int], samples: Sequence[str]) -> list[str]:
    """Say what of a table cannot become rows of the log, in sentences.

    Examples
    --------
    >>> problems_of("v", {"unreadable": 2, "unknown gone": 5}, ["zz"])
    ['v: 2 keys are not of this view (such as zz)', "v: feature 'gone' of 5 entities is not in the view"]
    """
    found = []
    if counts.get("unreadable"):
        shown = f" (such as {', '.join(samples[:SAMPLES])})" if samples else ""
        found.append(f"{view}: {counts['unreadable']:,} keys are not of this view{shown}")
    for name, number in sorted(counts.items()):
        kind, _, feature = name.partition(" ")
        if kind == "unknown":
            found.append(f"{view}: feature {feature!r} of {number:,} entities is not in the view")
        elif kind == "misfit":
            found.append(
                f"{view}: feature {feature!r} of {number:,} entities is stored with another type than the view says"
            )
    if counts.get("future"):
        found.append(f"{view}: {counts['future']:,} entities have an event in the future, which is not copied")
    return found
