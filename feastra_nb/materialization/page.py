"""A materialization as text, page and plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.materialization.event_times import OUTCOMES
from feastra_nb.materialization.profile import MIDNIGHT
from feastra_nb.reporting import html
from feastra_nb.reporting.plots import PALETTE, date_axis, drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from feastra_nb.materialization.event_times import EventTimes
    from feastra_nb.materialization.profile import FeatureProfile
    from feastra_nb.materialization.run import Materialization

SHOWN_FEATURES = 30  # of the text: with the lines around them less than a screen
LINE_LENGTH = 100  # characters
_LONGEST_NAME, _LONGEST_TYPE = 28, 16
# What the online store holds is blue and green, what was left out orange and brown.
_COLORS = dict(zip(OUTCOMES, (PALETTE[0], PALETTE[2], PALETTE[1], PALETTE[4]), strict=True))
_ROOM_ABOVE = 1.35  # of the highest bin, for the legend's two lines


def materialization_text(done: Materialization) -> str:
    """Return a materialization as text of at most a hundred columns: the figures, when it was, and a line a feature."""
    lines = [_cut(done.figures, LINE_LENGTH), *_packed(done.notes)]
    if done.events is not None:
        lines.append(f"  events {_span(done.events)}")
    shown = done.features[:SHOWN_FEATURES]
    if shown:
        lines += _feature_lines(shown)
    if len(done.features) > len(shown):
        lines.append(f"  … and {len(done.features) - len(shown):,} more features in .profile")
    return "\n".join(lines)


def _packed(notes: Sequence[str]) -> list[str]:
    """Return notes in lines, none of them broken.

    Examples
    --------
    >>> _packed(["9 stored already", "1 expired"])
    ['  9 stored already, 1 expired']
    """
    lines: list[str] = []
    for note in notes:
        if lines and len(lines[-1]) + len(note) + 2 <= LINE_LENGTH:
            lines[-1] += f", {note}"
        else:
            lines.append(f"  {note}")
    return lines


def _feature_lines(features: tuple[FeatureProfile, ...]) -> list[str]:
    rows = [("feature", "stored as", "nulls", "holds")]
    rows += [
        (
            _cut(one.feature, _LONGEST_NAME),
            _cut(one.stored_as, _LONGEST_TYPE),
            _share(one.nulls),
            _held(one),
        )
        for one in features
    ]
    name, kind, nulls = (max(len(row[column]) for row in rows) for column in range(3))
    lines = (f"  {row[0]:<{name}}  {row[1]:<{kind}}  {row[2]:>{nulls}}  {row[3]}".rstrip() for row in rows)
    return [_cut(line, LINE_LENGTH) for line in lines]


def _held(profile: FeatureProfile) -> str:
    return "; ".join(part for part in (profile.note, profile.holds) if part)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _share(share: float) -> str:
    """Return a share in percent, in which a few of many are not none.

    Examples
    --------
    >>> [_share(share) for share in (0.0, 0.00001, 0.256, 0.99999, 1.0)]
    ['0 %', '<0.1 %', '25.6 %', '>99.9 %', '100 %']
    """
    if share in {0.0, 1.0}:
        return f"{share:.0%}".replace("%", " %")
    percent = 100 * share
    if percent < _LEAST_PERCENT:
        return f"<{_LEAST_PERCENT} %"
    return f">{100 - _LEAST_PERCENT} %" if percent > 100 - _LEAST_PERCENT else f"{percent:.1f} %"


_LEAST_PERCENT = 0.1


def _span(events: EventTimes) -> str:
    """Return from when to when events happened."""
    form = "%Y-%m-%d" if events.are_days else "%Y-%m-%d %H:%M"
    first, last = f"{events.first:{form}}", f"{events.last:{form}}"
    span = first if first == last else f"{first} to {last}"
    return f"{span} ({MIDNIGHT})" if events.are_days else f"{span} UTC"


def materialization_page(done: Materialization) -> str:
    """Return what a materialization did: figures, what was left out and why, and what each feature holds."""
    figures = f"{done.rows:,} rows of {done.entities:,} entities in {done.seconds:.1f} s, {done.rows_per_s:,.0f} rows a second"
    parts = [html.lead(html.status("acknowledged", "ok"), " ", figures)]
    if done.notes:
        parts.append(html.note("; ".join(done.notes)))
    if done.events is not None:
        parts.append(html.note(f"events {_span(done.events)}"))
    if done.features:
        parts.append(_feature_table(done))
    return html.page(f"Materialized: {done.view}", *parts, text=repr(done))


def _feature_table(done: Materialization) -> html.Html:
    import pandas as pd

    columns = {
        "feature": [one.feature for one in done.features],
        "stored_as": [one.stored_as for one in done.features],
        "nulls": [_share(one.nulls) for one in done.features],
        "holds": [_held(one) or None for one in done.features],
    }
    return html.table(pd.DataFrame(columns), labels={"stored_as": "stored as"})


def draw_materialization(done: Materialization, ax: Axes | None = None) -> Axes:
    """Draw when the events happened, and what became of them: written, stored already, expired, older than the retention."""
    with drawing(ax) as axes:
        axes.set_title(_title(done))
        axes.set_ylabel("rows")
        axes.set_xlabel("event time, UTC")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        if done.events is None:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no rows", transform=axes.transAxes, ha="center", va="center")
            return axes
        _draw_counts(axes, done.events)
    return axes


def _title(done: Materialization) -> str:
    if done.events is None:
        return f"{done.view}: no rows"
    counts = {name: int(count.sum()) for name, count in done.events.counts.items() if count.any()}
    if len(counts) == 1:
        return f"{done.view}: " + "".join(f"{count:,} rows {name}" for name, count in counts.items())
    return f"{done.view}: what became of {sum(counts.values()):,} rows"


def _draw_counts(axes: Axes, events: EventTimes) -> None:
    from matplotlib.dates import date2num

    edges = np.asarray(date2num(list(events.edges)))
    below = np.zeros(len(edges) - 1)
    for name, counts in events.counts.items():
        if counts.any():
            axes.stairs(
                below + counts, edges, baseline=below, fill=True, color=_COLORS[name], label=f"{counts.sum():,} {name}"
            )
            below = below + counts
    date_axis(axes)
    axes.set_ylabel(
        f"rows {'an' if events.width == 'hour' else 'a' if events.width[0].isalpha() else 'in'} {events.width}"
    )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, below.max() * _ROOM_ABOVE)
    if sum(counts.any() for counts in events.counts.values()) > 1:
        axes.legend(loc="upper left", ncols=2)
