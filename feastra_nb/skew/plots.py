"""Plots of the skew report: features against causes, age of values, online against offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError, UnknownName, close_names
from feastra_nb.reporting.plots import BAD, INK, color, figure_axes, shade, style
from feastra_nb.skew import cells
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import MATCH, UNKNOWN
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.rules import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.timeline import Timeline

    Floats = npt.NDArray[np.float64]

SHOWN_FEATURES = 30  # rows of the picture; beyond, the worst
SHOWN_BARS = 15  # of an impact
SHOWN_POINTS = 5_000  # of a scatter: more are a blot
_HOUR_US = 3_600_000_000


def draw_skew(report: SkewReport, ax: Axes | None = None, *, kind: str = "causes", feature: str | None = None) -> Axes:
    """Draw a report; see `SkewReport.plot`.

    Raises
    ------
    ConfigurationError, UnknownName
        There is no such kind or feature, or the feature has no numbers to draw.
    """
    draw = _KINDS.get(kind)
    if draw is None:
        raise ConfigurationError(f"a skew report has no plot {kind!r}", hint=", ".join(_KINDS))
    with style():
        return draw(report, ax, feature)


# --- features against causes -------------------------------------------------------------------------------------------


def _draw_causes(report: SkewReport, ax: Axes | None, _feature: str | None) -> Axes:
    """x: cause; y: feature; each field holds the percentage of the feature's compared cells."""
    shares = _shares(report)
    height = 1.3 + 0.32 * max(1, len(shares))
    axes = figure_axes(ax, figsize=(max(6.4, 3.2 + 1.25 * shares.shape[1]), height))
    axes.set_title(report.sentence.rstrip("."), fontsize=10)
    if shares.empty:
        _draw_words(axes, "nothing differs")
    else:
        _draw_fields(axes, shares)
    return axes


def _shares(report: SkewReport) -> pd.DataFrame:
    shares = report.shares
    if shares.empty:
        return shares
    worst_first = shares.sum(axis=1).sort_values(ascending=False).index[:SHOWN_FEATURES]
    return shares.loc[worst_first, shares.sum().sort_values(ascending=False).index]


def _draw_words(axes: Axes, words: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=INK)


def _draw_fields(axes: Axes, shares: pd.DataFrame) -> None:
    from matplotlib.patches import Rectangle

    for (row, column), share in np.ndenumerate(shares.to_numpy(dtype=float)):
        if share > 0:
            # By the root, so that a fault of one per cent is seen beside one of all rows.
            fill, ink = shade(float(np.sqrt(share)))
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=fill, linewidth=0))
            axes.text(column, row, _percent(share), ha="center", va="center", fontsize=9, color=ink)
    axes.set_xlim(-0.5, shares.shape[1] - 0.5)
    axes.set_ylim(shares.shape[0] - 0.5, -0.5)
    axes.set_xticks(range(shares.shape[1]), [str(name).replace("_", " ") for name in shares.columns])
    axes.set_yticks(range(shares.shape[0]), [str(name) for name in shares.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel("cause")


def _percent(share: float) -> str:
    """Return a share in words that fit a field.

    Examples
    --------
    >>> _percent(0.25), _percent(0.00002)
    ('25.00%', '< 0.01%')
    """
    if share < 0.0001:  # noqa: PLR2004 - the smallest that two decimals show
        return "< 0.01%"
    return f"{share:.2%}"


# --- the age of values -------------------------------------------------------------------------------------------------


def _draw_lag(report: SkewReport, ax: Axes | None, _feature: str | None) -> Axes:
    """x: age of a value when it was needed, in hours; y: share of rows that had one no older."""
    axes = figure_axes(ax)
    axes.set_title("How old the values were when they were needed", fontsize=10)
    drawn, longest = 0, 0.0
    for view, _features in cells.views_of(report.cells):
        for side, name, line in ((0, "online", "-"), (3, "point-in-time", "--")):
            ages = np.sort(_ages(report, view, cells.TIMES[side])) / _HOUR_US
            if len(ages):
                share = np.arange(len(ages) + 1) / len(ages) * 100
                steps = np.concatenate([ages[:1], ages])
                axes.step(steps, share, line, where="post", color=color(drawn // 2), label=f"{view}, {name}")
                longest = max(longest, float(np.quantile(ages, 0.99)))
            drawn += 1
    if not axes.lines:
        _draw_words(axes, "no event times to draw")
        return axes
    axes.set_xlabel("age of the value (hours)")
    axes.set_ylabel("rows with one no older (%)")
    axes.set_xlim(0, 1.08 * longest or 1)
    axes.set_ylim(0, 101)
    axes.legend(loc="best")
    return axes


def _ages(report: SkewReport, view: str, name: str) -> Floats:
    parts = [np.zeros(0)]
    for chunk in report.cells.of_view(view):
        event, at = numbers(chunk.rows, name), numbers(chunk.rows, cells.AS_OF)
        parts.append((at - event)[event != NO_US].astype(np.float64))
    return np.concatenate(parts)


# --- one feature's values ----------------------------------------------------------------------------------------------


def _draw_scatter(report: SkewReport, ax: Axes | None, feature: str | None) -> Axes:
    """x: the offline value; y: the online value; what differs in red."""
    view, name = _chosen(report, feature)
    online, offline, differs = _values(report, view, name)
    axes = figure_axes(ax, figsize=(4.6, 4.6))
    axes.set_title(f"{name}: online against offline", fontsize=10)
    if not len(online):
        _draw_words(axes, "no row has a value on both sides")
        return axes
    low, high = min(online.min(), offline.min()), max(online.max(), offline.max())
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, alpha=0.5)
    for mask, tone, label in ((~differs, color(0), "match"), (differs, BAD, "differ")):
        if mask.any():
            axes.scatter(offline[mask], online[mask], s=9, color=tone, alpha=0.6, linewidths=0, label=label)
    axes.set_xlabel("offline, point-in-time")
    axes.set_ylabel("online")
    axes.legend(loc="upper left")
    return axes


def _chosen(report: SkewReport, feature: str | None) -> tuple[str, str]:
    shown = report.summary.sort_values("different", ascending=False, kind="stable")
    known = list(zip(shown["view"], shown["feature"], strict=True))
    if feature is None:
        return known[0]
    for view, name in known:
        if feature in (name, f"{view}:{name}"):
            return view, name
    raise UnknownName(
        f"the report has no feature {feature!r}", hint=close_names(feature, [name for _view, name in known])
    )


def _values(report: SkewReport, view: str, name: str) -> tuple[Any, Any, Any]:
    sides: list[tuple[Floats, Floats, Any]] = []
    for chunk in report.cells.of_view(view):
        pair = [as_numbers(chunk.rows.column(side + name).combine_chunks()) for side in (cells.ONLINE, cells.OFFLINE)]
        if pair[0] is None or pair[1] is None:
            raise ConfigurationError(
                f"{name} holds no numbers", hint='a scatter needs them; plot(kind="causes") does not'
            )
        verdicts = chunk.verdicts(name)
        both = np.isfinite(pair[0]) & np.isfinite(pair[1]) & (verdicts != UNKNOWN)
        sides.append((pair[0][both], pair[1][both], verdicts[both] != MATCH))
    online, offline, differs = (np.concatenate(part) for part in zip(*sides, strict=True))
    # Every row that differs is worth more than one that matches.
    order = np.argsort(~differs, kind="stable")
    some = order[np.linspace(0, len(order) - 1, min(len(order), SHOWN_POINTS)).astype(np.int64)]
    return online[some], offline[some], differs[some]


def draw_impact(impact: Impact, ax: Axes | None = None) -> Axes:
    """Draw how many predictions are right again when one feature's cells of one cause are.

    Returns
    -------
    matplotlib.axes.Axes
        x: predictions; y: feature and cause, the worst on top.
    """
    shown = impact.frame[impact.frame["repaired"] > 0].head(SHOWN_BARS)
    with style():
        axes = figure_axes(ax, figsize=(6.4, 1.4 + 0.34 * max(1, len(shown))))
        total = len(impact.predictions)
        axes.set_title(
            f"{impact.moved:,} of {total:,} predictions moved by more than {impact.threshold:.0%}", fontsize=10
        )
        if not len(shown):
            _draw_words(axes, "no prediction comes back by one repair alone")
            return axes
        words = [f"{row.feature}: {str(row.cause).replace('_', ' ')}" for row in shown.itertuples()]
        bars = axes.barh(range(len(shown)), shown["repaired"], color=BAD, alpha=0.7)
        axes.bar_label(bars, [f" {count:,}" for count in shown["repaired"]], color=INK, fontsize=9)
        axes.set_yticks(range(len(shown)), words)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("predictions that are right again when it is repaired")
    return axes


_LANES = {"online row": 2, "materialized": 1, "offline event": 0}


def draw_timeline(timeline: Timeline, ax: Axes | None = None) -> Axes:
    """Draw one value's life.

    Returns
    -------
    matplotlib.axes.Axes
        x: event time, UTC; lanes: offline events, materialized intervals, online rows. What was picked and what was served are
        filled; the ttl's window is shaded, a line stands at the instant.
    """
    import pandas as pd

    frame, at = timeline.frame, timeline.cell["as_of"]
    with style():
        axes = figure_axes(ax, figsize=(7.2, 2.9))
        axes.set_title(f"{timeline.feature} of {', '.join(map(str, timeline.entity.values()))}", fontsize=10)
        if timeline.ttl_s is not None:
            axes.axvspan(at - pd.Timedelta(seconds=timeline.ttl_s), at, color=color(0), alpha=0.08, linewidth=0)
        for what, lane in _LANES.items():
            some = frame[frame["what"] == what]
            if what == "materialized":
                axes.hlines([lane] * len(some), some["event"], some["until"], color=color(2), linewidth=5, alpha=0.4)
                continue
            chosen = (some["note"] != "").to_numpy()
            tone = color(1 if lane else 0)
            axes.plot(some["event"], [lane] * len(some), "o", markerfacecolor="none", color=tone, markersize=7)
            axes.plot(some["event"][chosen], [lane] * int(chosen.sum()), "o", color=tone, markersize=7)
        axes.axvline(at, color=BAD, linewidth=1)
        axes.set_yticks(list(_LANES.values()), list(_LANES))
        axes.set_ylim(-0.6, 2.6)
        axes.grid(visible=False, axis="y")
        _around_events(axes, frame.loc[frame["what"] != "materialized", "event"], at)
        _date_axis(axes)
    return axes


def _around_events(axes: Axes, events: pd.Series, at: pd.Timestamp) -> None:
    """Show the events and the instant: a run's interval may reach back for years."""
    if len(events):
        low, high = min(events.min(), at), max(events.max(), at)
        margin = (high - low) * 0.05
        axes.set_xlim(low - margin, high + margin)


def _date_axis(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("event time (UTC); the red line is the instant asked for")


_KINDS: dict[str, Callable[[SkewReport, Any, str | None], Axes]] = {
    "causes": _draw_causes,
    "lag": _draw_lag,
    "scatter": _draw_scatter,
}
