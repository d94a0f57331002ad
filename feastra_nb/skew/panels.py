"""The skew picture: a small panel for each feature that differs, drawn as suits its cause.

A shift or a lag is drawn in time, a factor as served against offline values with its line, a text as its commonest pairs, what
is null or absent as shares: each panel says by itself what is wrong.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, StrMethodFormatter

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting import plots
from feastra_nb.reporting.plots import BAD, color, drawing, ink
from feastra_nb.reporting.words import listed, number, span
from feastra_nb.skew import cells
from feastra_nb.skew.causes import CODES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import UNKNOWN
from feastra_nb.skew.diagnosis import related, shown
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.rules import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from feastra_nb.skew.counts import Count
    from feastra_nb.skew.report import SkewReport

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]
    Int64s = npt.NDArray[np.int64]

SHOWN_PANELS = 6
SHOWN_POINTS = 4_000  # of a panel: more are a blot
SHOWN_PAIRS = 6  # of texts
PANEL_INCHES = (4.6, 3.3)
COLUMNS = 2
TITLE_LENGTH = 44  # characters of a line: a panel is no wider
BINS = 24
HOUR_US = 3_600_000_000
_UNITS = (("days", 24 * HOUR_US), ("hours", HOUR_US), ("minutes", HOUR_US // 60), ("seconds", HOUR_US // 3600))
_FAR = 8.0  # values that spread further than this factor are drawn on log axes
_IN_TIME = frozenset(("stale", "late_arrival", "overwritten", "expired", "ttl_changed", "ahead"))
_ON_CLOCK = frozenset(("timezone", "event_time_shift"))
_ABSENT = frozenset(("null", "not_materialized", "dropped_offline", "feature_added_later", "orphan"))
MATCHES, SHOWN_LABEL = "match", 28  # characters of a value beside a bar


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One feature that differs, with some of its rows.

    Parameters
    ----------
    cause
        The one that most of its cells differ for.
    online, offline
        Shape (n,): values of both sides; all that differ come before those that match, until there are enough.
    codes
        Shape (n,): the cause of each, 0 for a match.
    online_us, offline_us
        Shape (n,): the events of both sides.
    """

    view: str
    feature: str
    cause: str
    count: Count
    online: pa.Array
    offline: pa.Array
    codes: npt.NDArray[np.int8]
    online_us: Int64s
    offline_us: Int64s

    @property
    def of_cause(self) -> Bools:
        """Which rows differ for the cause."""
        return self.codes == CODES[self.cause]


@dataclass(frozen=True, slots=True)
class Group:
    """Features of a view that differ for one cause, of which one panel is drawn; counts are those of the first."""

    view: str
    features: tuple[str, ...]
    cause: str
    cells: int
    compared: int

    @property
    def title(self) -> str:
        """What the panel shows, in a line."""
        return f"{listed(self.features, 2)}: {self.cause.replace('_', ' ')}, {self.cells:,} of {self.compared:,}"


def draw_features(report: SkewReport, ax: Axes | None, feature: str | None) -> Axes:
    """Draw a panel for each cause of each feature that differs, the most frequent first; onto a given Axes the first one."""
    groups = _groups(report, feature)
    shifts = [
        view for view in report.proofs.shifts if feature is None and not any(group.view == view for group in groups)
    ]
    panels: list[Callable[[Axes], None]] = [partial(_draw_view_shift, report, view) for view in shifts]
    panels += [partial(_draw_group, report, group) for group in groups]
    return _draw_all(report, ax, panels, "nothing differs")


def draw_distributions(report: SkewReport, ax: Axes | None, feature: str | None) -> Axes:
    """Draw the values of both sides over each other, a panel for each feature that differs."""
    names = list(dict.fromkeys((group.view, name) for group in _groups(report, feature) for name in group.features))
    panels: list[Callable[[Axes], None]] = [partial(_draw_values, report, name) for name in names]
    return _draw_all(report, ax, panels, "nothing differs")


def _draw_group(report: SkewReport, group: Group, axes: Axes) -> None:
    _draw_panel(report, panel_of(report, group.view, group.features[0], group.cause), axes)
    _title(axes, group.title)


def _draw_values(report: SkewReport, name: tuple[str, str], axes: Axes) -> None:
    _draw_both(report, panel_of(report, *name), axes)


def _draw_all(report: SkewReport, ax: Axes | None, panels: Sequence[Callable[[Axes], None]], nothing: str) -> Axes:
    if ax is not None or not panels:
        with drawing(ax, figsize=PANEL_INCHES) as axes:
            if panels:
                panels[0](axes)
            else:
                axes.set_title(report.sentence.rstrip("."), fontsize=10)
                draw_words(axes, nothing)
        return axes
    some = panels[:SHOWN_PANELS]
    columns = min(COLUMNS, len(some))
    width, height = PANEL_INCHES
    with plots.style():
        grid = plots.panels(len(some), columns=columns, figsize=(width * columns, height * -(-len(some) // columns)))
        for axes, draw in zip(grid, some, strict=True):
            draw(axes)
        if len(panels) > len(some):
            more = f"… and {len(panels) - len(some):,} more: report.plot(feature=…)"
            grid[0].figure.supxlabel(more, fontsize=9, color=ink())
    return grid[0]


def _title(axes: Axes, text: str) -> None:
    axes.set_title(textwrap.fill(text, TITLE_LENGTH), fontsize=10)


def draw_words(axes: Axes, words: str) -> None:
    """Say something where there is nothing to draw."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=ink())


def _groups(report: SkewReport, feature: str | None) -> list[Group]:
    """Return what differs by cause; features together where one picture says the same of all: whole rows that were not there."""
    counts = report.feature_counts
    names = list(counts) if feature is None else [report.known(feature)]
    found: dict[tuple[str, ...], list[str]] = {}
    for view, name in names:
        for cause, _cells in counts[view, name].ranked:
            is_of_rows = cause in _IN_TIME or cause in ("event_time_shift", "not_materialized", "dropped_offline")
            found.setdefault((view, cause) if is_of_rows else (view, cause, name), []).append(name)
    groups = []
    for (view, cause, *_name), touched in found.items():
        features = sorted(touched, key=lambda name: -counts[view, name].causes[cause].cells)
        first = counts[view, features[0]]
        groups.append(Group(view, tuple(features), cause, first.causes[cause].cells, first.compared))
    return sorted(groups, key=lambda group: -group.cells / group.compared)


def panel_of(report: SkewReport, view: str, feature: str, cause: str | None = None) -> Panel:
    """Return some rows of a feature, of each chunk those that differ first: for one cause, or for any."""
    count = report.feature_counts[view, feature]
    parts: list[tuple[Any, ...]] = []
    chunks = list(report.cells.of_view(view, feature))
    for chunk in chunks:
        codes = np.zeros(chunk.rows.num_rows, dtype=np.int8)
        codes[numbers(chunk.bad, cells.AT)] = report.proofs.cause_codes(chunk, feature)
        of_cause = codes >= 0 if cause is None else (codes == 0) | (codes == CODES[cause])
        known = np.flatnonzero((chunk.verdicts(feature) != UNKNOWN) & of_cause)
        differ, match = known[codes[known] != 0], known[codes[known] == 0]
        each = max(1, SHOWN_POINTS // len(chunks))
        some = np.concatenate([differ[_evenly(len(differ), each)], match[_evenly(len(match), each)]])
        where = pa.array(some)
        values = [
            chunk.rows.column(side + feature).combine_chunks().take(where) for side in (cells.ONLINE, cells.OFFLINE)
        ]
        parts.append((*values, codes[some], *(numbers(chunk.rows, cells.TIMES[place])[some] for place in (0, 3))))
    online, offline = (_joined([part[side] for part in parts]) for side in (0, 1))
    rest = [np.concatenate([part[place] for part in parts]) for place in (2, 3, 4)]
    main = count.ranked[0][0] if count.causes else MATCHES
    return Panel(view, feature, cause or main, count, online, offline, *rest)


def _evenly(count: int, most: int) -> Int64s:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    if len({column.type for column in columns}) > 1:
        columns = [
            pa.array([None if value is None else str(value) for value in column.to_pylist()]) for column in columns
        ]
    return pa.concat_arrays(columns)


def _draw_panel(report: SkewReport, panel: Panel, axes: Axes) -> None:
    for causes, draw in ((_ON_CLOCK, _draw_clock), (_ABSENT, _draw_shares), (_IN_TIME, _draw_lag)):
        if panel.cause in causes:
            draw(report, panel, axes)
            return
    values = as_numbers(panel.online), as_numbers(panel.offline)
    if values[0] is None or values[1] is None or pa.types.is_timestamp(panel.online.type):
        _draw_pairs(report, panel, axes)
    elif panel.cause == "precision":
        _draw_precision(report, axes, values[0], values[1], panel.of_cause)
    else:
        _draw_against(report, panel, axes, values[0], values[1])


def draw_scatter(report: SkewReport, panel: Panel, axes: Axes) -> None:
    """Draw served against offline values, whatever the cause.

    Raises
    ------
    ConfigurationError
        The feature has no numbers to draw.
    """
    served, truth = as_numbers(panel.online), as_numbers(panel.offline)
    if served is None or truth is None:
        raise ConfigurationError(
            f"{panel.feature} holds no numbers", hint='a scatter needs them; plot(kind="features") does not'
        )
    axes.set_title(f"{panel.feature}: {report.side} against offline", fontsize=10)
    _draw_against(report, panel, axes, served, truth)


# --- in time -----------------------------------------------------------------------------------------------------------


def _draw_lag(report: SkewReport, panel: Panel, axes: Axes) -> None:
    """x: how far the served event lies behind the one that the join picks; y: values."""
    both = (panel.online_us != NO_US) & (panel.offline_us != NO_US) & (panel.codes != 0)
    lag_us = (panel.offline_us - panel.online_us)[both]
    if not len(lag_us):
        _draw_shares(report, panel, axes)
        return
    unit, length = _unit(float(np.abs(lag_us).max()))
    lag = lag_us / length
    low, high = min(0.0, float(lag.min())), max(0.0, float(lag.max()))
    axes.hist(lag, bins=np.linspace(low, high, BINS + 1).tolist(), color=BAD, alpha=0.75)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)  # room for the words
    axes.axvline(0, color=ink(), linewidth=1)
    matching = panel.count.compared - panel.count.different
    axes.annotate(
        f"newest event\n({matching:,} match)", (0, 0.97), xycoords=("data", "axes fraction"),
        xytext=(5 if high > 0 else -5, 0), textcoords="offset points", va="top", ha="left" if high > 0 else "right",
        fontsize=9, color=ink(),
    )  # fmt: skip
    way = "behind" if high > -low else "ahead of"
    axes.set_xlabel(f"the served event lies {way} the newest by ({unit})")
    axes.set_ylabel("values that differ")
    _whole(axes)


def _draw_clock(report: SkewReport, panel: Panel, axes: Axes) -> None:
    if panel.cause == "timezone":
        served, truth = as_numbers(panel.online), as_numbers(panel.offline)
        if served is None or truth is None:
            draw_words(axes, "no times to draw")
            return
        gaps = (served - truth)[panel.of_cause & np.isfinite(served - truth)]
        _draw_hours(axes, gaps, f"{report.side} value − offline value (hours)")
        return
    both = (panel.online_us != NO_US) & (panel.offline_us != NO_US)
    _draw_hours(
        axes, (panel.online_us - panel.offline_us)[both], f"{report.side} event − offline event (hours)",
        mark_us=report.proofs.shifts[panel.view].shift_us,
    )  # fmt: skip


def _draw_view_shift(report: SkewReport, view: str, axes: Axes) -> None:
    """Draw how far the events of both sides lie apart, of a view whose values all match."""
    shift = report.proofs.shifts[view]
    gaps = []
    for chunk in report.cells.of_view(view):
        online, offline = (numbers(chunk.rows, cells.TIMES[place]) for place in (0, 3))
        gaps.append((online - offline)[(online != NO_US) & (offline != NO_US)])
    _title(axes, f"{view}: event times, {shift.rows:,} rows of {shift.entities:,} entities")
    label = f"{report.side} event − offline event (hours)"
    _draw_hours(axes, np.concatenate(gaps), label, mark_us=shift.shift_us)


def _draw_hours(axes: Axes, gaps_us: npt.NDArray[Any], label: str, mark_us: float | None = None) -> None:
    """Draw how often the sides lie apart by how many hours, on a dial from -14 to +14."""
    hours = np.clip(gaps_us / HOUR_US, -14.5, 14.5)
    axes.hist(hours, bins=np.arange(-14.625, 14.7, 0.25).tolist(), color=BAD, alpha=0.8)
    axes.axvline(0, color=ink(), linewidth=1)
    if len(gaps_us) or mark_us is not None:
        typical = float(np.median(gaps_us)) if mark_us is None else mark_us
        words = f"{'+' if typical > 0 else '−'}{span(abs(typical) / 1e6)}"
        axes.annotate(
            words, (typical / HOUR_US, 0.97), xycoords=("data", "axes fraction"), xytext=(-6 if typical < 0 else 6, 0),
            textcoords="offset points", ha="right" if typical < 0 else "left", va="top", fontsize=12, fontweight="bold",
            color=ink(),
        )  # fmt: skip
    axes.set_xlim(-14.5, 14.5)
    axes.set_xticks([-12, -6, 0, 6, 12])
    axes.set_xlabel(label)
    axes.set_ylabel("values")
    _whole(axes)


def _unit(size_us: float) -> tuple[str, int]:
    return next(((unit, length) for unit, length in _UNITS if size_us >= 2 * length), _UNITS[-1])


# --- values ------------------------------------------------------------------------------------------------------------


def _draw_against(report: SkewReport, panel: Panel, axes: Axes, served: Floats, truth: Floats) -> None:
    """x: the offline value; y: the served value, on equal axes, with the line of equality and that of a factor."""
    both = np.isfinite(served) & np.isfinite(truth)
    x, y, differ = truth[both], served[both], panel.codes[both] != 0
    if not len(x):
        _draw_shares(report, panel, axes)
        return
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    rule = report.proofs.rules.get((panel.view, panel.feature))
    is_far = rule is not None and rule.cause == "scale" and max(abs(rule.factor), abs(1 / rule.factor)) > _FAR
    is_log = low > 0 and (is_far or high / low > _FAR**3)
    for mask, tone, label, size in ((~differ, color(0), "match", 7), (differ, BAD, "differ", 12)):
        if mask.any():
            axes.scatter(x[mask], y[mask], s=size, color=tone, alpha=0.5, linewidths=0, label=label)
    _equal_axes(axes, low, high, is_log=is_log)
    edges = np.geomspace(low, high, 60) if is_log else np.linspace(low, high, 60)
    axes.plot(edges, edges, color=ink(), linewidth=1, label=f"{report.side} = offline")
    if rule is not None and rule.cause == panel.cause and not rule.shift_us:
        line = edges * rule.factor if rule.cause == "scale" else edges + rule.offset
        inside = (line >= low) & (line <= high)
        label = related(rule, report.side)
        axes.plot(edges[inside], line[inside], color=BAD, linewidth=1.2, linestyle="--", label=label)
    axes.set_xlabel("offline value")
    axes.set_ylabel(f"{report.side} value")
    # On the side of the diagonal where fewer points lie.
    corner = "upper left" if not differ.any() or (y[differ] < x[differ]).mean() > 0.5 else "lower right"  # noqa: PLR2004 - most of them
    axes.legend(loc=corner, fontsize=8.5, markerscale=1.6, handlelength=1.6)


def _equal_axes(axes: Axes, low: float, high: float, *, is_log: bool) -> None:
    if is_log:
        edges = (low / 1.3, high * 1.3)
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log")
            axis.set_major_formatter(FuncFormatter(lambda value, _place: number(value)))
            axis.set_minor_locator(NullLocator())
    else:
        margin = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
        edges = (low - margin, high + margin)
        axes.ticklabel_format(style="sci", scilimits=(-4, 6))
    axes.set_xlim(*edges)
    axes.set_ylim(*edges)
    axes.set_box_aspect(1)


def _draw_precision(report: SkewReport, axes: Axes, served: Floats, truth: Floats, where: Bools) -> None:
    """x: by how much of itself the value changed, as a power of ten; y: values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(served - truth)[where] / np.abs(truth)[where]
    change = change[np.isfinite(change) & (change > 0)]
    if not len(change):
        draw_words(axes, "no number to draw")
        return
    low, high = np.floor(np.log10(change.min())) - 1, np.ceil(np.log10(change.max())) + 1
    axes.hist(change, bins=np.logspace(low, high, BINS).tolist(), color=BAD, alpha=0.75)
    axes.set_xscale("log")
    axes.set_xlabel(f"|{report.side} − offline| of the value itself")
    axes.set_ylabel("values that differ")
    _whole(axes)


def _draw_pairs(report: SkewReport, panel: Panel, axes: Axes) -> None:
    """Draw the commonest pairs of an offline and a served value that differ."""
    from collections import Counter

    where = pa.array(np.flatnonzero(panel.codes != 0))
    pairs = Counter(
        f"{_short(truth)}  →  {_short(served)}"
        for truth, served in zip(
            panel.offline.take(where).to_pylist(), panel.online.take(where).to_pylist(), strict=True
        )
    )
    common = pairs.most_common(SHOWN_PAIRS)
    bars = axes.barh(range(len(common)), [count for _pair, count in common], color=BAD, alpha=0.75, height=0.4)
    _above(axes, [bar.get_y() for bar in bars], [pair for pair, _count in common])
    axes.bar_label(bars, [f" {count:,}" for _pair, count in common], color=ink(), fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(len(common) - 0.5, -0.6)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    rest = len(pairs) - len(common)
    axes.set_xlabel(f"values, offline → {report.side}" + (f"; {rest:,} other pairs" if rest else ""))
    _whole(axes, axis="x")


def _above(axes: Axes, tops: Sequence[float], words: Sequence[str]) -> None:
    """Write words above lying bars: beside them they would take the width of the panel."""
    for top, text in zip(tops, words, strict=True):
        axes.annotate(
            text, (0, top), xycoords=("axes fraction", "data"), xytext=(3, 2), textcoords="offset points", va="bottom",
            fontsize=9, color=ink(),
        )  # fmt: skip


def _short(value: object) -> str:
    text = shown(value)
    return text if len(text) <= SHOWN_LABEL else f"{text[:SHOWN_LABEL]}…"


def _draw_shares(report: SkewReport, panel: Panel, axes: Axes) -> None:
    """Draw on each side the share of values, and of nulls or rows that are not there."""
    count = panel.count
    absent = np.array([count.nulls_online, count.nulls_offline]) / max(count.compared, 1) * 100
    names = [report.side, "offline"]
    axes.barh(names, 100 - absent, color=color(0), height=0.4)
    bars = axes.barh(names, absent, left=100 - absent, color=BAD, height=0.4)
    numbers_of = (count.nulls_online, count.nulls_offline)
    words = [f"{cells_of:,} null or no row ({share:.1f} %)" for cells_of, share in zip(numbers_of, absent, strict=True)]
    _above(axes, [bar.get_y() for bar in bars], words)
    axes.set_xlim(0, 100)
    axes.set_ylim(1.5, -0.6)
    axes.set_xlabel("share of the rows compared (%)")
    axes.grid(visible=False, axis="y")


def _draw_both(report: SkewReport, panel: Panel, axes: Axes) -> None:
    """x: the value; y: rows, both sides over each other."""
    axes.set_title(panel.feature, fontsize=10)
    served, truth = as_numbers(panel.online), as_numbers(panel.offline)
    if served is None or truth is None:
        _draw_categories(report, panel, axes)
        return
    scale = HOUR_US * 24 if pa.types.is_timestamp(panel.online.type) else 1
    sides = [side[np.isfinite(side)] / scale for side in (served, truth)]
    values = np.concatenate(sides)
    if not len(values):
        draw_words(axes, "null on both sides")
        return
    low, high = (float(edge) for edge in np.quantile(values, [0.005, 0.995]))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    bins = np.linspace(low, high, BINS + 1).tolist()
    for side, tone, name, style in zip(sides, (color(1), color(0)), (report.side, "offline"), ("-", "--"), strict=True):
        axes.hist(np.clip(side, low, high), bins=bins, histtype="step", linewidth=1.8, color=tone, label=name, ls=style)
    axes.set_xlabel("value (UTC)" if scale > 1 else "value (the outermost 0.5 % at the edges)")
    if scale > 1:
        plots.date_axis(axes)
    axes.set_ylabel("rows")
    axes.legend(loc="best", fontsize=9)
    _whole(axes)


def _draw_categories(report: SkewReport, panel: Panel, axes: Axes) -> None:
    from collections import Counter

    sides = [Counter(_short(value) for value in side.to_pylist()) for side in (panel.online, panel.offline)]
    names = [name for name, _count in (sides[0] + sides[1]).most_common(SHOWN_PAIRS)]
    places = np.arange(len(names))
    for side, tone, name, at in zip(sides, (color(1), color(0)), (report.side, "offline"), (-0.12, 0.12), strict=True):
        axes.barh(places + at, [side[each] for each in names], height=0.24, color=tone, label=name)
    _above(axes, (places - 0.24).tolist(), names)
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_xlabel("rows")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="best", fontsize=9)
    _whole(axes, axis="x")


def _whole(axes: Axes, axis: str = "y") -> None:
    """Count in whole numbers, thousands separated."""
    part = axes.yaxis if axis == "y" else axes.xaxis
    part.set_major_locator(MaxNLocator(nbins=5, integer=True))
    part.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


__all__ = ["draw_distributions", "draw_features", "draw_scatter", "draw_words", "panel_of"]
