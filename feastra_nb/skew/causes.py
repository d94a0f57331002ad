"""Decides why a cell differs: by proof from both stores' rows, in a fixed order. No I/O.

The order follows the chain of events from the source to the model, so where two causes hold the earlier one is named and the
others are kept beside it: a row that never came cannot also be stale. `unexplained` means that none is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.skew.comparison import close_floats
from feastra_nb.skew.events import NO_US

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Int8s = npt.NDArray[np.int8]
    Bits = npt.NDArray[np.uint32]
    Bools = npt.NDArray[np.bool_]

# In the order in which they are looked for; a cause's place is its code, and 0 is none.
CAUSES = (
    "", "dropped_offline", "event_time_shift", "timezone", "late_arrival", "overwritten", "ttl_changed", "expired",
    "not_materialized", "stale", "orphan", "ahead", "feature_added_later", "corrected", "conversion", "null", "type", "text_form",
    "precision", "scale", "offset", "unexplained",
)  # fmt: skip
CODES = {name: code for code, name in enumerate(CAUSES)}

ADVICE = {
    "dropped_offline": "the offline store's join lost the row, so no model was trained on it: use the duckdb offline store",
    "event_time_shift": "the same values under other event times: one side lost a time zone; mend the times there, then write "
    "that side anew",
    "timezone": "one side is shifted by a time zone: make the times aware before they are written",
    "late_arrival": "the event came only after it was needed: materialize more often, with a lookback, or push",
    "overwritten": "an older event replaced the newer one: use a store that keeps the newest whatever the order of writes",
    "ttl_changed": "the view's ttl was changed after the value was written: materialize its interval again",
    "expired": "the online event is past the ttl: materialize more often, or lengthen the ttl",
    "not_materialized": "nothing of the entity is online by then: materialize the view",
    "stale": "an older event was served, the newer one is not online: materialize the view up to it",
    "orphan": "the entity is online and not offline: deleted in the warehouse, a test row, or of another source: delete it online, "
    "too, or bring it back offline",
    "ahead": "the online event is absent offline: it was pushed online only, or lost offline",
    "feature_added_later": "the online row is older than the feature: materialize its interval again",
    "corrected": "the offline row was corrected afterwards: materialize its interval again",
    "conversion": "storing changes the value: keep nulls out of lists and whole seconds in times, or train on what is served",
    "null": "one side is null: look at how the feature is computed on either side",
    "type": "equal once both have one type: one side stores the feature in another",
    "text_form": "texts equal but for case and surrounding space: clean them in one place that both sides use",
    "precision": "equal as 32-bit floats: one side stores the feature narrower",
    "scale": "one factor lies between the sides: a unit was converted on one of them only",
    "offset": "one constant lies between the sides: something is added on one of them only",
    "unexplained": "no cause is proved: ws.explain shows the value's life on both sides",
}

# What the journal says of e*, the event that the point-in-time join picks.
NOT_COVERED, CREATED_AFTER, OUGHT_TO_BE, REPLACED = 0, 1, 2, 3
_WHY_ABSENT = (
    "no run covers the newer event",
    "the newer event was created after the run that covers it",
    "a run covers the newer event, it ought to be there",
    "what is served was written after the run that covers the newer event",
)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What both stores know of n rows that differ; every array has shape (n,), instants are microseconds, NO_US is none.

    Parameters
    ----------
    served, joined
        Whether a row was served online, and found by the point-in-time join.
    online_event_us, online_created_us, online_arrived_us
        Of the row that was served.
    offline_event_us, offline_created_us
        Of the row that the join picked (e*).
    holds_any
        Whether the online store held anything of the entity at or before the instant, expired or not.
    beyond_ttl
        Whether its newest online event at or before the instant lies beyond the ttl.
    ttl_changed
        Whether that event was written under another ttl.
    has_history
        Whether the online store knows all its versions; then
    star_arrived_us
        When e* first arrived online.
    known_us
        By when a row must have arrived to count; None where all rows do.
    online_event_offline
        Whether the event that was served is found offline.
    entity_offline
        Whether anything of the entity is found offline.
    covered
        What the journal says of e*: NOT_COVERED, CREATED_AFTER (the runs that cover it), OUGHT_TO_BE, REPLACED (it ought to be
        there, and what is served instead was written after the run).
    lost
        Whether the offline store's own join lost the row.
    """

    served: Bools
    joined: Bools
    online_event_us: Int64s
    online_created_us: Int64s
    online_arrived_us: Int64s
    offline_event_us: Int64s
    offline_created_us: Int64s
    holds_any: Bools
    beyond_ttl: Bools
    ttl_changed: Bools
    has_history: bool
    star_arrived_us: Int64s
    known_us: Int64s | None
    online_event_offline: Bools
    entity_offline: Bools
    covered: Int8s
    lost: Bools

    @property
    def dated(self) -> Bools:
        """Whether the event that was served is known."""
        return self.served & (self.online_event_us != NO_US)

    @property
    def older(self) -> Bools:
        """Whether an older event than e* was served."""
        return self.dated & self.joined & (self.online_event_us < self.offline_event_us)

    @property
    def newer(self) -> Bools:
        """Whether a newer event than e* was served, or one where there is no e*."""
        return self.dated & (~self.joined | (self.online_event_us > self.offline_event_us))

    @property
    def same_event(self) -> Bools:
        """Whether e* was served."""
        return self.dated & self.joined & (self.online_event_us == self.offline_event_us)


def row_bits(evidence: Evidence) -> Bits:
    """Return the causes that hold for each row because of its events: bit `CODES[cause]` of each that is proved.

    Examples
    --------
    >>> yes, no, none = np.array([True]), np.array([False]), np.array([NO_US])
    >>> times = dict.fromkeys(["online_event_us", "online_created_us", "offline_event_us", "offline_created_us",
    ...     "star_arrived_us", "online_arrived_us"], none)
    >>> flags = dict.fromkeys(["served", "holds_any", "beyond_ttl", "ttl_changed", "online_event_offline", "lost"], no)
    >>> flags |= {"joined": yes, "entity_offline": yes, "covered": np.zeros(1, np.int8)}
    >>> bare = Evidence(**times, **flags, has_history=True, known_us=None)
    >>> first_cause(row_bits(bare)).tolist() == [CODES["not_materialized"]]
    True
    """
    e = evidence
    missed = e.joined & (~e.served | e.older)
    # With a history the proof is the arrival; a store that keeps one value has only the source's created time.
    if e.has_history:
        late = np.zeros(len(missed), bool) if e.known_us is None else e.star_arrived_us > e.known_us
        absent, overwritten = e.star_arrived_us == NO_US, np.zeros(len(missed), bool)
    else:
        late = e.covered == CREATED_AFTER
        absent = np.ones(len(missed), bool)
        # Where it is known when a value was written, only one from after the run can have replaced what the run wrote.
        replaced = np.where(e.online_arrived_us == NO_US, e.covered == OUGHT_TO_BE, e.covered == REPLACED)
        overwritten = e.older & replaced & (e.offline_created_us != NO_US)
    past_ttl = e.beyond_ttl & ~(e.served & e.joined)
    return _bits(
        dropped_offline=e.lost,
        late_arrival=missed & late,
        overwritten=overwritten,
        ttl_changed=past_ttl & e.ttl_changed,
        expired=past_ttl & ~e.ttl_changed,
        not_materialized=e.joined & ~e.served & ~e.holds_any,
        stale=e.older & absent,
        orphan=e.served & ~e.entity_offline,
        ahead=e.newer & ~e.online_event_offline & e.entity_offline,
    )


def cell_bits(
    evidence: Evidence, *, lacks: Bools, online: pa.Array, offline: pa.Array, superseded: Bools, converted: Bools
) -> Bits:
    """Return the causes that the values of one feature prove, for each row.

    Parameters
    ----------
    lacks
        Shape (n,): the row that was served does not hold the feature.
    online, offline
        Shape (n,), the two values.
    superseded
        Shape (n,): whether the online value is that of an older version of the same offline event.
    converted
        Shape (n,): whether the values are equal only after what storing loses.
    """
    e = evidence
    both_known = (e.offline_created_us != NO_US) & (e.online_created_us != NO_US)
    later = both_known & (e.offline_created_us > e.online_created_us)
    # A store that keeps no created time, but the time of writing: what was made after that is a correction.
    later |= (
        (e.offline_created_us != NO_US)
        & ~both_known
        & (e.online_arrived_us != NO_US)
        & (e.offline_created_us > e.online_arrived_us)
    )
    corrected = e.same_event & (superseded | later)
    # Where the events are known to differ, the values may differ for that reason alone.
    comparable = ~e.older & ~e.newer & e.joined & (e.served | e.holds_any)
    one_null = np.asarray(online.is_null()) != np.asarray(offline.is_null())
    return _bits(
        feature_added_later=lacks & e.served,
        corrected=corrected,
        conversion=converted,
        null=one_null & comparable & ~(e.beyond_ttl & ~e.served),
        type=comparable & equal_as_other_type(online, offline),
        text_form=comparable & equal_but_for_form(online, offline),
        precision=comparable & narrowed(online, offline),
    )


def _bits(**proved: Bools) -> Bits:
    bits = np.zeros(len(next(iter(proved.values()))), dtype=np.uint32)
    for name, where in proved.items():
        bits |= np.where(where, np.uint32(1 << CODES[name]), np.uint32(0))
    return bits


def first_cause(bits: Bits) -> Int8s:
    """Return the code of the earliest cause that holds; that of ``unexplained`` where none does.

    Examples
    --------
    >>> both = np.uint32(1 << CODES["stale"] | 1 << CODES["null"])
    >>> [CAUSES[code] for code in first_cause(np.array([both, 0], dtype=np.uint32))]
    ['stale', 'unexplained']
    """
    lowest = bits & (~bits + np.uint32(1))
    with np.errstate(divide="ignore"):
        code = np.log2(lowest.astype(np.float64))
    return np.where(bits == 0, CODES["unexplained"], np.where(bits == 0, 0, code)).astype(np.int8)


def others(bits: int, cause: int) -> list[str]:
    """Return the names of the causes that hold besides the one that is named.

    Examples
    --------
    >>> others(1 << CODES["stale"] | 1 << CODES["null"], CODES["stale"])
    ['null']
    """
    return [name for code, name in enumerate(CAUSES) if code and code != cause and bits >> code & 1]


def why_absent(covered: int) -> str:
    """Return why the newer event is not online, by what the journal says of it."""
    return _WHY_ABSENT[covered]


def narrowed(online: pa.Array, offline: pa.Array) -> Any:
    """Return which pairs of doubles are equal once both are 32 bits wide."""
    if not (pa.types.is_floating(online.type) and pa.types.is_floating(offline.type)):
        return np.zeros(len(online), dtype=bool)
    with np.errstate(over="ignore"):
        served = np.asarray(online.fill_null(np.nan)).astype(np.float32)
        other = np.asarray(offline.fill_null(np.nan)).astype(np.float32)
    return close_floats(served, other) & ~np.isnan(served)


def equal_as_other_type(online: pa.Array, offline: pa.Array) -> Any:
    """Return which pairs of values of two types are equal as numbers or as text.

    Examples
    --------
    >>> equal_as_other_type(pa.array(["3", "x", None]), pa.array([3, 4, 5]))
    array([ True, False, False])
    """
    if online.type == offline.type:
        return np.zeros(len(online), dtype=bool)
    pairs = zip(online.to_pylist(), offline.to_pylist(), strict=True)
    return np.array([_alike(served, other) for served, other in pairs], dtype=bool)


def equal_but_for_form(online: pa.Array, offline: pa.Array) -> Any:
    """Return which pairs of texts are equal but for case and surrounding space.

    Examples
    --------
    >>> equal_but_for_form(pa.array([" Köln", "KÖLN ", "Bonn", None]), pa.array(["köln", "Köln", "Köln", "a"]))
    array([ True,  True, False, False])
    """
    if not all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in (online.type, offline.type)):
        return np.zeros(len(online), dtype=bool)
    served, other = (pc.utf8_lower(pc.utf8_trim_whitespace(side.cast(pa.large_string()))) for side in (online, offline))
    return np.asarray(pc.equal(served, other).fill_null(False), dtype=bool)  # noqa: FBT003 - Arrow takes it by place


def _alike(served: Any, other: Any) -> bool:
    if served is None or other is None:
        return False
    if str(served) == str(other):
        return True
    try:
        return float(served) == float(other)
    except (TypeError, ValueError, OverflowError):
        return False
