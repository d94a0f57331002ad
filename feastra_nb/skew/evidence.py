"""Gathers what both stores hold about the rows that differ; reads the online history of those rows only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.retrieval.lookup import last_arrived
from feastra_nb.skew.causes import CREATED_AFTER, NOT_COVERED, OUGHT_TO_BE, REPLACED, Evidence
from feastra_nb.skew.events import NO_US, Versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.skew.offline_side import OfflineEvents
    from feastra_nb.skew.online_side import Answers

    Int64s = npt.NDArray[np.int64]
    Int8s = npt.NDArray[np.int8]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cover:
    """An interval of event time that a run materialized, both ends inclusive, in microseconds.

    Parameters
    ----------
    seen_us
        Rows created later it cannot have seen.
    ttl_us
        The ttl that it wrote under; None where that is none or not known.
    began_us, ended_us
        When it ran; None where that is not known.
    """

    start_us: int
    end_us: int
    seen_us: int
    ttl_us: int | None = None
    began_us: int | None = None
    ended_us: int | None = None


@dataclass(frozen=True, eq=False)
class Compared:
    """One chunk's rows with what was found on both sides."""

    chunk: Chunk
    answers: Answers
    offline: OfflineEvents
    star: Int64s
    lost: Bools

    @cached_property
    def online_event_us(self) -> Int64s:
        """The event that was served to each row, as the source has it."""
        return self.offline.versions.snapped(self.chunk.codes, self.answers.event_us)


def gather(
    compared: Compared, rows: Int64s, history: Versions | None, covers: Sequence[Cover], ttl_us: int | None
) -> Evidence:
    """Return the evidence of some rows.

    Parameters
    ----------
    rows
        Places in the chunk.
    history
        All online versions of their entities; None where the store keeps one value.
    """
    chunk, answers, star = compared.chunk, compared.answers, compared.star[rows]
    codes, t_us, until_us = chunk.codes[rows], chunk.questions.t_us[rows], chunk.questions.until_us[rows]
    known_us = None if chunk.questions.known_us is None else chunk.questions.known_us[rows]
    offline = compared.offline.versions
    star_event = np.where(star >= 0, offline.event_us[star] if len(offline) else NO_US, NO_US)
    star_created = compared.offline.created(star)
    online_event = compared.online_event_us[rows]
    is_found = answers.found[rows]
    # Of a store that keeps all versions nothing is replaced.
    written_us = answers.arrived_us[rows] if history is None else np.full(len(rows), NO_US)
    newest = _newest_held(history, codes, until_us, known_us)
    newest_event = online_event if history is None else newest.event_us
    beyond = (
        np.zeros(len(rows), dtype=bool) if ttl_us is None else (newest_event != NO_US) & (newest_event < t_us - ttl_us)
    )
    return Evidence(
        served=is_found,
        joined=star >= 0,
        online_event_us=online_event,
        online_created_us=answers.created_us[rows],
        offline_event_us=star_event,
        offline_created_us=star_created,
        holds_any=answers.holds_any[rows] if history is None else newest.event_us != NO_US,
        beyond_ttl=beyond,
        ttl_changed=_written_under_other_ttl(newest, covers, ttl_us)
        if history is not None
        else np.zeros(len(rows), bool),
        has_history=history is not None,
        star_arrived_us=history.first_arrival(codes, star_event) if history is not None else np.full(len(rows), NO_US),
        known_us=known_us,
        online_event_offline=offline.last_of_event(codes, online_event) >= 0,
        entity_offline=offline.known(len(chunk.entities))[codes],
        online_arrived_us=answers.arrived_us[rows],
        covered=_covered(star_event, star_created, covers, written_us),
        lost=compared.lost[rows],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    event_us: Int64s
    arrived_us: Int64s


def _newest_held(history: Versions | None, codes: Int64s, t_us: Int64s, known_us: Int64s | None) -> _Held:
    """Return the newest online version at or before each instant that had arrived when it had to."""
    if history is None or not len(history):
        nothing = np.full(len(codes), NO_US)
        return _Held(nothing, nothing)
    place = history.last(codes, t_us)
    if known_us is not None:
        place = last_arrived(place, history.codes, history.arrived_us, known_us)
    none = place < 0
    return _Held(np.where(none, NO_US, history.event_us[place]), np.where(none, NO_US, history.arrived_us[place]))


def _written_under_other_ttl(held: _Held, covers: Sequence[Cover], ttl_us: int | None) -> Bools:
    """Return which versions were written by a run that had another ttl."""
    other = np.zeros(len(held.event_us), dtype=bool)
    for cover in covers:
        if cover.ended_us is None or cover.began_us is None or cover.ttl_us == ttl_us:
            continue
        inside = (held.event_us >= cover.start_us) & (held.event_us <= cover.end_us)
        other |= inside & (held.arrived_us >= cover.began_us) & (held.arrived_us <= cover.ended_us)
    return other


def _covered(event_us: Int64s, created_us: Int64s, covers: Sequence[Cover], arrived_us: Int64s) -> Int8s:
    """Return what the runs say of each event.

    None covers it; all that do were before it was created; it ought to be there; or what is served in its place was written
    after such a run: then the run's own write was replaced, since of two writes the later one stays.

    Parameters
    ----------
    arrived_us
        When the value that was served instead was written; NO_US where that is not known.
    """
    words = np.full(len(event_us), NOT_COVERED, dtype=np.int8)
    for cover in covers:
        inside = (event_us >= cover.start_us) & (event_us <= cover.end_us)
        later = (created_us != NO_US) & (created_us > cover.seen_us)
        words[inside & later & (words == NOT_COVERED)] = CREATED_AFTER
        sure = inside & ~later
        words[sure & (words != REPLACED)] = OUGHT_TO_BE
        words[sure & (arrived_us != NO_US) & (arrived_us > cover.seen_us)] = REPLACED
    return words
