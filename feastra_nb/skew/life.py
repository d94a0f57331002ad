"""One value's life event by event: both sides beside each other, and as steps in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.reporting.words import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.skew.timeline import Timeline

OFFLINE, ONLINE, RUN = "offline event", "online row", "materialized"


LEAST_EVENTS = 3  # of which a shift is told
LONGEST = pd.Timedelta(hours=14)  # of a shift: time zones differ by no more


@dataclass(frozen=True, slots=True)
class Version:
    """What one side holds of an event.

    Parameters
    ----------
    event, value
        The event and the newest value of it.
    versions
        How often the side holds it: more than once where it was corrected.
    arrived
        When the newest version came; NaT where it is not known.
    note
        Whether the point-in-time join picks it, or it was served.
    """

    event: pd.Timestamp
    value: Any
    versions: int
    arrived: pd.Timestamp
    note: str


def versions_of(frame: pd.DataFrame, what: str) -> list[Version]:
    """Return one side's events of a timeline's frame, the oldest first."""
    rows = frame[frame["what"] == what].sort_values(["event", "created", "arrived"], kind="stable")
    made = []
    for event, of_event in rows.groupby("event", sort=True):
        last = of_event.iloc[-1]
        note = next((str(note) for note in of_event["note"] if note), "")
        made.append(Version(event, last["value"], len(of_event), last["arrived"], note))
    return made


def same(first: Any, second: Any) -> bool:
    """Return whether two values are one; null is like nothing.

    Examples
    --------
    >>> same(1.0, 1), same(None, float("nan")), same(0.1 + 0.2, 0.3), same("a", "A"), same([1], [1])
    (True, True, True, False, True)
    """
    if is_null(first) or is_null(second):
        return is_null(first) and is_null(second)
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return math.isclose(first, second, rel_tol=1e-12)
    return bool(first == second)


def is_null(value: Any) -> bool:
    """Return whether a value is none."""
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def common_shift(offline: Sequence[Version], online: Sequence[Version]) -> pd.Timedelta | None:
    """Return the one shift under which every online event is offline with its value; None where events are equal, or few.

    Examples
    --------
    >>> def life(hours): return [Version(pd.Timestamp(h * 3600, unit="s"), h // 24, 1, pd.NaT, "") for h in hours]
    >>> [common_shift(life((0, 24, 48)), [Version(v.event + pd.Timedelta("2h"), v.value, 1, pd.NaT, "") for v in life(hours)])
    ...     for hours in ((0, 24, 48), (0, 24))]
    [Timedelta('0 days 02:00:00'), None]
    """
    known = {version.event: version.value for version in offline}
    if len(online) < LEAST_EVENTS or any(version.event in known for version in online):
        return None
    gaps = {online[-1].event - event for event in known}
    fitting = [
        gap
        for gap in gaps
        if abs(gap) <= LONGEST
        and all(each.event - gap in known and same(known[each.event - gap], each.value) for each in online)
    ]
    return fitting[0] if len(fitting) == 1 else None


def happened(timeline: Timeline) -> pd.DataFrame:
    """Return the events of which there is something to say, the newest first: both values, and what happened."""
    offline, online = ({each.event: each for each in versions_of(timeline.frame, what)} for what in (OFFLINE, ONLINE))
    rows = []
    for event in sorted({*offline, *online}, reverse=True):
        truth, served = offline.get(event), online.get(event)
        words = _words(truth, served, has_history=timeline.has_history)
        if words:
            rows.append(
                (
                    event,
                    None if truth is None else truth.value,
                    None if served is None else served.value,
                    "; ".join(words),
                )
            )
    # As objects: an int beside nothing stays one.
    frame = pd.DataFrame(rows, columns=["event", "offline", "online", "what happened"], dtype=object)
    return frame.astype({"event": "datetime64[us, UTC]"})


def _words(truth: Version | None, served: Version | None, *, has_history: bool) -> list[str]:
    words = ["the join picks it"] if truth is not None and truth.note else []
    words += ["served"] if served is not None and served.note else []
    if truth is None:
        words.append("not offline")
    elif served is None:
        words += ["not online"] if has_history else []
    elif not same(truth.value, served.value):
        words.append("the values differ")
    if truth is not None and truth.versions > 1:
        words.append(f"corrected {truth.versions - 1:,} times" if truth.versions > 2 else "corrected once")  # noqa: PLR2004
    if words and served is not None and not pd.isna(served.arrived):
        words.append(f"arrived {span(served.arrived - served.event)} after it")
    return words


def equal_events(timeline: Timeline) -> int:
    """Count the events that both sides hold alike, and of which there is nothing to say."""
    shown = set(timeline.happened["event"])
    both = [{each.event for each in versions_of(timeline.frame, what)} for what in (OFFLINE, ONLINE)]
    return len((both[0] & both[1]) - shown)


@dataclass(frozen=True, slots=True)
class Step:
    """A value from an instant on, until the next; ``until`` is where it expires or the next begins."""

    start: pd.Timestamp
    until: pd.Timestamp
    value: Any


def steps(versions: Sequence[Version], end: pd.Timestamp, ttl: pd.Timedelta | None) -> list[Step]:
    """Return what one side would have given at each instant up to an end."""
    made = []
    for place, version in enumerate(versions):
        until = versions[place + 1].event if place + 1 < len(versions) else end
        if ttl is not None:
            until = min(until, version.event + ttl)
        if version.event < until:
            made.append(Step(version.event, until, version.value))
    return made


def at(steps_of: Sequence[Step], instant: pd.Timestamp) -> Any:
    """Return the value at an instant; None for none."""
    return next((step.value for step in reversed(steps_of) if step.start <= instant < step.until), None)
