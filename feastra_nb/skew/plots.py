"""Plots of the skew report beside its panels: the age of values, a scatter of one feature, and what skew did to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting import plots
from feastra_nb.reporting.plots import BAD, OK, color, drawing, ink
from feastra_nb.reporting.words import span
from feastra_nb.skew import cells
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.panels import draw_distributions, draw_features, draw_scatter, draw_words, panel_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.report import SkewReport

    Floats = npt.NDArray[np.float64]

SHOWN_BARS = 10  # of an impact
_AGES_S = (1, 10, 60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)


def draw_skew(
    report: SkewReport, ax: Axes | None = None, *, kind: str = "features", feature: str | None = None
) -> Axes:
    """Draw a report; see `SkewReport.plot`.

    Raises
    ------
    ConfigurationError, UnknownName
        There is no such kind or feature, or the feature has no numbers to draw.
    """
    draw = _KINDS.get(kind)
    if draw is None:
        raise ConfigurationError(f"a skew report has no plot {kind!r}", hint=", ".join(_KINDS))
    return draw(report, ax, feature)


def _draw_lag(report: SkewReport, ax: Axes | None, _feature: str | None) -> Axes:
    """x: age of a value when it was needed; y: share of rows that had one no older."""
    with drawing(ax) as axes:
        axes.set_title("How old the values were when they were needed", fontsize=10)
        all_ages = []
        for place, (view, _features) in enumerate(cells.views_of(report.cells)):
            for column, name, line in ((0, report.side, "-"), (3, "offline", "--")):
                ages = np.maximum(np.sort(_ages_s(report, view, cells.TIMES[column])), 0.1)
                if len(ages):
                    share = np.arange(1, len(ages) + 1) / len(ages) * 100
                    label = f"{view}, {name}: half within {span(float(np.median(ages)))}"
                    axes.step(ages, share, line, where="post", color=color(place), label=label)
                    all_ages.append(ages)
        if not all_ages:
            draw_words(axes, "no event times to draw")
            return axes
        low, high = min(ages[0] for ages in all_ages), max(ages[-1] for ages in all_ages)
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
        axes.xaxis.set_major_locator(FixedLocator([age for age in _AGES_S if low / 1.5 <= age <= high * 1.5] or [low]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda age, _place: span(age)))
        axes.set_xlabel("age of the value when it was needed")
        axes.set_ylabel("rows with one no older (%)")
        axes.set_ylim(0, 101)
        axes.legend(loc="upper left")
    return axes


def _ages_s(report: SkewReport, view: str, name: str) -> Floats:
    parts = [np.zeros(0)]
    for chunk in report.cells.of_view(view):
        event, at = numbers(chunk.rows, name), numbers(chunk.rows, cells.AS_OF)
        parts.append((at - event)[event != NO_US].astype(np.float64) / 1e6)
    return np.concatenate(parts)


def _draw_scatter(report: SkewReport, ax: Axes | None, feature: str | None) -> Axes:
    """x: the offline value; y: the served value, on equal axes; what differs in red."""
    with drawing(ax, figsize=(4.8, 4.6)) as axes:
        draw_scatter(report, panel_of(report, *report.known(feature)), axes)
    return axes


# --- what skew did to a model ------------------------------------------------------------------------------------------


def draw_impact(impact: Impact, ax: Axes | None = None) -> Axes:
    """Draw which repair would set how many predictions right, in parts that add up, and the predictions of both sides.

    Returns
    -------
    matplotlib.axes.Axes
        x: predictions; y: what is repaired. A new figure has a second picture: predictions served against those that the
        training values give.
    """
    if ax is not None or not impact.moved:
        with drawing(ax, figsize=(6.4, 2.2)) as axes:
            _draw_waterfall(impact, axes)
        return axes
    bars = min(len(impact.parts), SHOWN_BARS) + 1
    with plots.style():
        left, right = plots.panels(2, columns=2, figsize=(9.2, max(3.6, 1.6 + 0.36 * bars)))
        _draw_waterfall(impact, left)
        _draw_predictions(impact, right)
    return left


def _draw_waterfall(impact: Impact, axes: Axes) -> None:
    total, shown = len(impact.predictions), impact.parts
    axes.set_title(f"{impact.moved:,} of {total:,} predictions moved by more than {impact.threshold:.0%}", fontsize=10)
    if not impact.moved:
        draw_words(axes, "no prediction moved")
        return
    names, counts = list(shown["part"][:SHOWN_BARS]), [int(count) for count in shown["predictions"][:SHOWN_BARS]]
    if len(shown) > SHOWN_BARS:
        names.append(f"{len(shown) - SHOWN_BARS:,} other parts")
        counts.append(impact.moved - sum(counts))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places = np.arange(len(names))
    bars = axes.barh(places, counts, left=starts, color=BAD, alpha=0.75, height=0.6)
    axes.barh([len(names)], [impact.moved], color=ink(), alpha=0.45, height=0.6)
    axes.bar_label(bars, [f" {count:,}" for count in counts], color=ink(), fontsize=9)
    axes.text(impact.moved, len(names), f" {impact.moved:,}", va="center", color=ink(), fontsize=9)
    for place, (start, count) in enumerate(zip(starts, counts, strict=True)):
        axes.plot([start + count] * 2, [place, place + 1], color=ink(), linewidth=0.7, alpha=0.6)
    axes.set_yticks([*places, len(names)], [*names, "all repaired"])
    axes.set_ylim(len(names) + 0.6, -0.6)
    axes.set_xlim(0, impact.moved * 1.14)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("predictions that are right again when it is repaired")


def _draw_predictions(impact: Impact, axes: Axes) -> None:
    """x: the prediction from training values; y: that from served ones."""
    shown = impact.predictions
    if not impact.is_numeric:
        _draw_classes(impact, axes)
        return
    truth, served = (shown[side].to_numpy(dtype=float) for side in ("offline", "online"))
    both = np.isfinite(truth) & np.isfinite(served)
    moved = shown["moved"].to_numpy(dtype=bool)
    for mask, tone, size, label in ((~moved, color(0), 7, "unmoved"), (moved, BAD, 12, "moved")):
        if (mask & both).any():
            axes.scatter(
                truth[mask & both], served[mask & both], s=size, color=tone, alpha=0.5, linewidths=0, label=label
            )
    values = np.concatenate([truth[both], served[both]])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    axes.plot([low, high], [low, high], color=ink(), linewidth=1)
    if impact.decision is not None:
        for line in (axes.axhline, axes.axvline):
            line(impact.decision, color=ink(), linewidth=1, linestyle=":")
    axes.set_title(impact.directions.replace("; ", "\n").replace(" (", "\n("), fontsize=10)
    axes.set_xlabel("prediction from training values")
    axes.set_ylabel("prediction from served values")
    axes.legend(loc="best", fontsize=8.5, markerscale=1.6)


def _draw_classes(impact: Impact, axes: Axes) -> None:
    from collections import Counter

    moved = impact.predictions[impact.predictions["moved"]]
    pairs = Counter(f"{truth} → {served}" for truth, served in zip(moved["offline"], moved["online"], strict=True))
    common = pairs.most_common(SHOWN_BARS)
    axes.barh([pair for pair, _count in common], [count for _pair, count in common], color=OK, height=0.5)
    axes.invert_yaxis()
    axes.set_title("what it should say → what it says", fontsize=10)
    axes.set_xlabel("predictions")
    axes.grid(visible=False, axis="y")


_KINDS: dict[str, Callable[[SkewReport, Any, str | None], Axes]] = {
    "features": draw_features,
    "distributions": draw_distributions,
    "lag": _draw_lag,
    "scatter": _draw_scatter,
}
