"""Why a cell differs: decided by proof from both stores' rows, in a fixed order. Pure.

The order follows the chain of events, so where two causes hold the earlier one is named: a row that never came cannot also
be stale. `unexplained` means that none is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.skew.comparison import close_floats

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    Words = npt.NDArray[np.object_]

NOT_MATERIALIZED, LATE_ARRIVAL, STALE = "not_materialized", "late_arrival", "stale"
EXPIRED, CORRECTED, AHEAD = "expired", "corrected", "ahead"
FEATURE_ADDED_LATER, NULL, PRECISION, UNEXPLAINED = "feature_added_later", "null", "precision", "unexplained"

ADVICE = {
    NOT_MATERIALIZED: "nothing of the entity is online by then: materialize the view",
    LATE_ARRIVAL: "the event came online only after it was needed: materialize more often, or push",
    STALE: "an older event was served, the newer one is not online: materialize the view up to it",
    EXPIRED: "the online event is past the ttl: materialize more often, or lengthen the ttl",
    CORRECTED: "the offline row was corrected afterwards: materialize its interval again",
    AHEAD: "the online event is absent offline: it was pushed online only, or lost offline",
    FEATURE_ADDED_LATER: "the online row is older than the feature: materialize its interval again",
    NULL: "one side is null: look at how the feature is computed on either side",
    PRECISION: "equal as 32-bit floats: one side stores the feature narrower",
    UNEXPLAINED: "no cause is proved: ws.online(as_of=…) and the offline rows of the entity show both sides",
}


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What both stores know of n rows that differ; every array has shape (n,), instants are microseconds.

    Parameters
    ----------
    served, joined
        Whether a row was served online, and found by the point-in-time join.
    online_event_us, online_created_us, online_arrived_us
        Of the row that was served; 0 where none was.
    offline_event_us, offline_created_us
        Of the row that the join picked (e*); 0 where it picked none.
    any_online
        Whether the online store holds anything of the entity at or before the instant (and had it by ``known_us``), expired
        or not.
    beyond_ttl
        Whether its newest online event at or before the instant lies beyond the ttl.
    star_online
        Whether e* is in the online history, whenever it arrived.
    star_arrived_us
        When e* first arrived online; 0 where it did not.
    online_event_offline
        Whether the event that was served is found offline.
    values_stored
        How many feature values the served row holds.
    known_us
        By when a row must have arrived to count; None where all rows do.
    """

    served: Bools
    joined: Bools
    online_event_us: Int64s
    online_created_us: Int64s
    online_arrived_us: Int64s
    offline_event_us: Int64s
    offline_created_us: Int64s
    any_online: Bools
    beyond_ttl: Bools
    star_online: Bools
    star_arrived_us: Int64s
    online_event_offline: Bools
    values_stored: Int64s
    known_us: Int64s | None = None


def row_causes(evidence: Evidence) -> Words:
    """Return the cause of each row that lies in its events; empty where the events agree and the values must tell.

    Examples
    --------
    >>> yes, no, zero = np.array([True]), np.array([False]), np.array([0])
    >>> some = dict.fromkeys(["online_event_us", "online_created_us", "online_arrived_us", "offline_event_us",
    ...     "offline_created_us", "star_arrived_us", "values_stored"], zero)
    >>> bare = Evidence(served=no, joined=yes, any_online=no, beyond_ttl=no, star_online=no, online_event_offline=no, **some)
    >>> row_causes(bare)
    array(['not_materialized'], dtype=object)
    """
    e = evidence
    late = np.zeros(len(e.served), dtype=bool)
    if e.known_us is not None:
        late = e.star_online & (e.star_arrived_us > e.known_us)
    older = e.served & e.joined & (e.online_event_us < e.offline_event_us)
    newer = e.served & (~e.joined | (e.online_event_us > e.offline_event_us))
    return np.select(
        [
            e.joined & late & (~e.served | older),
            ~e.served & ~e.any_online,
            e.beyond_ttl & ~(e.served & e.joined),
            older & ~e.star_online,
            newer & ~e.online_event_offline,
        ],
        [LATE_ARRIVAL, NOT_MATERIALIZED, EXPIRED, STALE, AHEAD],
        default="",
    ).astype(object)


def cell_causes(
    rows: Words,
    evidence: Evidence,
    *,
    position: int,
    online: pa.Array,
    offline: pa.Array,
    superseded: Bools,
) -> Words:
    """Return the cause of each cell of one feature: its row's, or what the values prove.

    Parameters
    ----------
    rows
        Shape (n,), from `row_causes`.
    position
        The feature's place in the payload.
    online, offline
        Shape (n,), the two values.
    superseded
        Shape (n,): whether the online value is that of an older version of the same offline event.
    """
    e = evidence
    same_event = e.served & e.joined & (e.online_event_us == e.offline_event_us)
    corrected = same_event & (superseded | (e.offline_created_us > e.online_created_us) & (e.online_created_us > 0))
    added_later = e.served & (e.values_stored <= position)
    one_null = np.asarray(online.is_null()) != np.asarray(offline.is_null())
    return np.select(
        [rows != "", added_later, corrected, one_null & e.served & e.joined, _narrowed(online, offline)],
        [rows, FEATURE_ADDED_LATER, CORRECTED, NULL, PRECISION],
        default=UNEXPLAINED,
    ).astype(object)


def _narrowed(online: pa.Array, offline: pa.Array) -> Any:
    """Return which pairs of doubles are equal once both are 32 bits wide."""
    if not pa.types.is_float64(online.type):
        return np.zeros(len(online), dtype=bool)
    with np.errstate(over="ignore"):
        one = np.asarray(online.fill_null(np.nan)).astype(np.float32)
        other = np.asarray(offline.fill_null(np.nan)).astype(np.float32)
    return close_floats(one, other) & ~np.isnan(one)


def notes(evidence: Evidence, rows: Words, covered: Words) -> Words:
    """Return a sentence for rows whose cause needs one: of a stale row, why its newer event is not online.

    Parameters
    ----------
    covered
        Shape (n,): what the journal says of e*: ``"none"`` (no run covers it), ``"before"`` (created after the run that does),
        ``"missing"`` (it ought to be there).
    """
    said = {
        "none": "no run covers the newer event",
        "before": "the newer event was created after the run that covers it",
        "missing": "a run covers the newer event, it ought to be there",
    }
    stale = np.isin(rows, [STALE, NOT_MATERIALIZED])
    words = np.array([said.get(str(word), "") for word in covered], dtype=object)
    return np.where(stale & evidence.joined, words, "")
