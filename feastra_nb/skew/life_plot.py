"""One value's life drawn: what was served and what the point-in-time join gives, as steps in event time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feastra_nb.reporting.plots import BAD, color, date_axis, drawing, ink
from feastra_nb.reporting.words import number
from feastra_nb.skew.diagnosis import shown
from feastra_nb.skew.life import OFFLINE, ONLINE, RUN, at, is_null, same, steps, versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from feastra_nb.skew.life import Step, Version
    from feastra_nb.skew.timeline import Timeline

BEFORE, AFTER = 10, 3  # events around the instant that are shown
LONGEST_LABEL = 24


def draw_timeline(timeline: Timeline, ax: Axes | None = None) -> Axes:
    """Draw one value's life.

    Returns
    -------
    matplotlib.axes.Axes
        x: event time, UTC; y: the value, of texts and other kinds one line each. The time in which both sides differ is
        shaded, runs are ticks at the end of what they cover, and the instant is a line that says what was served.
    """
    instant = timeline.cell["as_of"]
    sides = {ONLINE: versions_of(timeline.frame, ONLINE), OFFLINE: versions_of(timeline.frame, OFFLINE)}
    low, high = _window([version.event for side in sides.values() for version in side], instant)
    ttl = None if timeline.ttl_s is None else pd.Timedelta(seconds=timeline.ttl_s)
    drawn = {what: _within(steps(side, high, ttl), low) for what, side in sides.items()}
    with drawing(ax, figsize=(7.8, 3.4)) as axes:
        axes.set_title(timeline.title, fontsize=10)
        places = _Places([step.value for of_side in drawn.values() for step in of_side])
        _shade(axes, drawn[ONLINE], drawn[OFFLINE], low, high)
        # The one below is broad, so that both are seen where they agree.
        looks = {
            OFFLINE: {"color": color(0), "label": "offline", "linewidth": 6, "alpha": 0.45},
            ONLINE: {"color": color(1), "label": "online", "linewidth": 1.8},
        }
        for what, look in looks.items():
            _draw_steps(axes, drawn[what], places, **look)
            _draw_events(axes, [each for each in sides[what] if low <= each.event <= high], places, str(look["color"]))
        _draw_runs(axes, timeline.frame[timeline.frame["what"] == RUN], low, high)
        _draw_instant(axes, instant, low, high)
        places.label(axes)
        axes.set_xlim(_day(low), _day(high))
        date_axis(axes)
        axes.set_xlabel("event time (UTC)")
        axes.set_ylabel("" if places.names else timeline.feature.rpartition(":")[2])
        if any(drawn.values()):
            axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=4, fontsize=9)
    return axes


def _day(time: pd.Timestamp) -> float:
    """Return an instant as matplotlib's dates are: days since 1970."""
    return time.timestamp() / 86_400


class _Places:
    """Where values stand on the y axis: numbers by themselves, other values each on a line of its own."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [value for value in values if not is_null(value)]
        is_number = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
        self.names: list[str] = [] if known and is_number else list(dict.fromkeys(shown(value) for value in known))

    def of(self, value: Any) -> float:
        if is_null(value):
            return float("nan")
        return self.names.index(shown(value)) if self.names else float(value)

    def label(self, axes: Axes) -> None:
        if self.names:
            cut = [name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}…" for name in self.names]
            axes.set_yticks(range(len(cut)), cut)
            axes.set_ylim(-0.7, len(cut) - 0.3)
        else:
            from matplotlib.ticker import FuncFormatter

            axes.margins(y=0.18)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: number(value)))


def _window(events: Sequence[pd.Timestamp], instant: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return which time is shown: some events before the instant and after it."""
    distinct = sorted(set(events))
    before = [event for event in distinct if event <= instant][-BEFORE:]
    after = [event for event in distinct if event > instant][:AFTER]
    low, high = min([*before, instant]), max([*after, instant])
    margin = (high - low) * 0.06 or pd.Timedelta("1min")
    return low - margin, high + margin


def _within(of_side: Sequence[Step], low: pd.Timestamp) -> list[Step]:
    return [step for step in of_side if step.until > low]


def _draw_steps(axes: Axes, of_side: Sequence[Step], places: _Places, **look: Any) -> None:
    x: list[float] = []
    y: list[float] = []
    for place, step in enumerate(of_side):
        if place and of_side[place - 1].until < step.start:  # expired in between
            x.append(_day(of_side[place - 1].until))
            y.append(float("nan"))
        x += [_day(step.start), _day(step.until)]
        y += [places.of(step.value)] * 2
    if x:
        axes.plot(x, y, **look)


def _draw_events(axes: Axes, versions: Sequence[Version], places: _Places, tone: str) -> None:
    """Draw a dot where an event begins; that which was picked or served is larger."""
    some = [version for version in versions if places.names == [] or shown(version.value) in places.names]
    sizes = [9 if version.note else 4 for version in some]
    for version, size in zip(some, sizes, strict=True):
        axes.plot([_day(version.event)], [places.of(version.value)], "o", color=tone, markersize=size)


def _shade(axes: Axes, online: Sequence[Step], offline: Sequence[Step], low: pd.Timestamp, high: pd.Timestamp) -> None:
    edges = sorted(
        {low, high, *(edge for side in (online, offline) for step in side for edge in (step.start, step.until))}
    )
    edges = [edge for edge in edges if low <= edge <= high]
    label = "they differ"
    for start, until in itertools.pairwise(edges):
        if not same(at(online, start), at(offline, start)):
            axes.axvspan(_day(start), _day(until), color=BAD, alpha=0.16, linewidth=0, label=label)
            label = ""


def _draw_runs(axes: Axes, runs: pd.DataFrame, low: pd.Timestamp, high: pd.Timestamp) -> None:
    ends = [_day(end) for end in runs["until"] if low <= end <= high]
    if ends:
        axes.plot(
            ends, np.zeros(len(ends)), marker="^", linestyle="", color=color(2), markersize=7, clip_on=False,
            transform=axes.get_xaxis_transform(), label="materialized up to here",
        )  # fmt: skip


def _draw_instant(axes: Axes, instant: pd.Timestamp, low: pd.Timestamp, high: pd.Timestamp) -> None:
    axes.axvline(_day(instant), color=ink(), linewidth=1.2, linestyle=":")
    is_right = instant > low + (high - low) / 2
    axes.annotate(
        f"{instant:%m-%d %H:%M}", (_day(instant), 1.0), xycoords=("data", "axes fraction"), xytext=(-4 if is_right else 4, -2),
        textcoords="offset points", ha="right" if is_right else "left", va="top", fontsize=9, color=ink(),
    )  # fmt: skip
