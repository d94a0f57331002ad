"""The latency report drawn: percentile curves, a timeline with its stalls, a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb

from feastra_nb.errors import ConfigurationError, close_names
from feastra_nb.latency.timeline import CELLS_A_DECADE, SLOT_MS
from feastra_nb.reporting.plots import (
    BAD,
    PALETTE,
    TICKS,
    color,
    drawing,
    ink,
    label_ends,
    nines,
    percentile_axis,
    value_axis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from feastra_nb.latency.report import LatencyReport
    from feastra_nb.latency.tables import Key

SETTING = ("target", "batch", "consistency")  # what tells the colours apart
LINE_STYLES = ("-", (0, (6, 2)), ":")  # for more settings than colours
SERVICE_STYLE = (0, (3, 1.5))  # of a service time beside its response time
SLOT_S = SLOT_MS / 1_000
LABELLED_STALLS = 3  # the longest; with more the words would lie upon each other
LABELLED_LINES, SHORT_LABEL = 6, 28  # lines, and characters of a name, that are named at their ends
LONG_LABEL = 36  # characters: beside the axes it would take more than half of the width
FAINTEST = 0.25  # opacity of a heatmap's field of one request: to be seen on white and on black


def draw(report: LatencyReport, ax: Axes | None = None, *, kind: str = "percentiles") -> Axes:
    """Draw a latency report.

    Parameters
    ----------
    report
        What :meth:`feastra_nb.Workspace.latency` returned.
    ax
        Where to draw; by default a new figure.
    kind
        ``"percentiles"``, ``"timeline"`` or ``"heatmap"``.

    Returns
    -------
    matplotlib.axes.Axes
        y: latency in milliseconds; x: percentile of requests on a nines axis, or seconds since the start.

    Raises
    ------
    ConfigurationError
        The kind is unknown, or a heatmap is asked of several rows.
    """
    if kind not in _KINDS:
        raise ConfigurationError(f"there is no plot of kind {kind!r}", hint=close_names(kind, _KINDS))
    if kind == "heatmap" and len(_leading(report)) > 1:
        raise ConfigurationError(
            f"a heatmap shows one row; the report has {len(_leading(report))}",
            hint='report.only(batch=10).plot(kind="heatmap")',
        )
    with drawing(ax) as axes:
        axes.set_ylabel("latency (ms)")
        _KINDS[kind](report, axes)
    return axes


def _percentiles(report: LatencyReport, ax: Axes) -> None:
    ax.set_title(f"Latency by percentile{_closed(report)}")
    curves = report.percentiles
    if curves.empty:
        percentile_axis(ax, highest=50)
        _say(ax, "fewer than 20 samples: nothing to draw")
        return
    names = _telling(curves)
    ends: list[tuple[float, Line2D]] = []
    for place, key, of_kind in _lines(curves):
        look = _look(place, key, is_beside="kind" in names)
        ends.append((of_kind["latency_ms"].iloc[-1], _draw_curve(ax, of_kind, label=_label(names, key), look=look)))
    percentile_axis(ax, highest=float(curves["percentile"].max()))
    value_axis(ax, low=float(curves["latency_ms"].min()), high=float(curves["latency_ms"].max()))
    # In the order in which the curves end.
    _legend(ax, names, [line for _, line in sorted(ends, key=lambda end: -end[0])])


def _lines(curves: pd.DataFrame) -> Iterable[tuple[int, Mapping[str, Any], pd.DataFrame]]:
    """Yield the number of the setting, the key and the points of each line."""
    for place, (setting, of_setting) in enumerate(curves.groupby(list(SETTING), sort=False)):
        for kind, of_kind in of_setting.groupby("kind", sort=False):
            yield place, {**dict(zip(SETTING, setting, strict=True)), "kind": kind}, of_kind


def _look(place: int, key: Mapping[str, Any], *, is_beside: bool) -> dict[str, Any]:
    """Return colour and style of a line: a setting has a colour, a service time beside its response time is dashed."""
    beside = is_beside and key["kind"] == "service"
    line_style = SERVICE_STYLE if beside else LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)]
    return {"color": color(place), "linestyle": line_style}


def _draw_curve(ax: Axes, curve: pd.DataFrame, *, label: str, look: Mapping[str, Any]) -> Line2D:
    """Draw one line, with a dot at each percentile that the table shows too."""
    x = [nines(percentile) for percentile in curve["percentile"]]
    line: Line2D = ax.plot(x, curve["latency_ms"], label=label, **look)[0]
    marked = curve[curve["percentile"].isin(TICKS[1:])]  # not the minimum
    ax.plot([nines(p) for p in marked["percentile"]], marked["latency_ms"], "o", color=look["color"], markersize=4)
    return line


def _timeline(report: LatencyReport, ax: Axes) -> None:
    ax.set_title(f"Longest latency of each {SLOT_MS} ms{_closed(report)}")
    ax.set_xlabel("time since the start (s)")
    keys = _leading(report)
    frames = {key: report.recordings[key].timeline() for key in keys}
    drawn = {key: frame for key, frame in frames.items() if not frame.empty}
    if not drawn:
        _say(ax, "nothing was answered")
        return
    names = _differing(keys)
    for place, (key, frame) in enumerate(drawn.items()):
        look = _look(place, key._asdict(), is_beside=False)
        # In the middle of its slot; where nothing was sent the line breaks, and a dot alone is seen too.
        ax.plot(
            frame["at_s"] + SLOT_S / 2,
            frame["max_ms"],
            marker=".",
            label=_label(names, key._asdict()),
            ms=4,
            lw=1,
            **look,
        )
    longest = [frame["max_ms"] for frame in drawn.values()]
    ax.set_xlim(0.0, max(report.recordings[key].elapsed_s for key in drawn))
    value_axis(ax, low=float(min(each.min() for each in longest)), high=float(max(each.max() for each in longest)))
    _mark_stalls(ax, report, keys)
    _legend(ax, names, ax.get_lines())


def _mark_stalls(ax: Axes, report: LatencyReport, keys: Sequence[Key]) -> None:
    """Shade the times in which nothing was answered, and say how long the longest were."""
    stalls = [stall for key in keys for stall in report.recordings[key].stalls().itertuples(index=False, name=None)]
    for at_s, seconds in stalls:
        ax.axvspan(at_s, at_s + seconds, color=BAD, alpha=0.18, lw=0)
    for at_s, seconds in sorted(stalls, key=lambda stall: -stall[1])[:LABELLED_STALLS]:
        is_right = at_s > ax.get_xlim()[1] / 2
        ax.annotate(
            f"no answer for {seconds:.2g} s",
            (at_s if is_right else at_s + seconds, 0.97), xycoords=("data", "axes fraction"),
            xytext=(-4 if is_right else 4, 0), textcoords="offset points",
            ha="right" if is_right else "left", va="top", color=ink(),
        )  # fmt: skip


def _heatmap(report: LatencyReport, ax: Axes) -> None:
    ax.set_title(f"Requests by latency{_closed(report)}")
    ax.set_xlabel("time since the start (s)")
    keys = _leading(report)
    cells = report.recordings[keys[0]].cells() if keys else None
    if cells is None or cells.empty:
        _say(ax, "nothing was answered")
        return
    steps = np.round(np.log10(cells["low_ms"]) * CELLS_A_DECADE).astype(int)
    slots = np.round(cells["at_s"] / SLOT_S).astype(int)
    counts = np.full((steps.max() - steps.min() + 1, slots.max() + 1), np.nan)
    counts[steps - steps.min(), slots] = cells["n"]
    at_s = np.arange(counts.shape[1] + 1) * SLOT_S
    edges_ms = 10.0 ** (np.arange(steps.min(), steps.max() + 2) / CELLS_A_DECADE)
    shades = LinearSegmentedColormap.from_list("counts", [(*to_rgb(PALETTE[0]), FAINTEST), (*to_rgb(PALETTE[0]), 1.0)])
    most = max(float(cells["n"].max()), 2.0)
    mesh = ax.pcolormesh(at_s, edges_ms, counts, cmap=shades, norm=LogNorm(1, most), rasterized=True)
    value_axis(ax, low=float(edges_ms[0]), high=float(edges_ms[-1]))
    bar = ax.figure.colorbar(mesh, ax=ax, label=f"requests in {SLOT_MS} ms", format="%d")
    bar.outline.set_visible(False)
    bar.minorticks_off()
    bar.set_ticks(_whole_ticks(most))


def _whole_ticks(most: float) -> list[int]:
    """Return few whole numbers from one to the most, evenly spaced on a log scale.

    Examples
    --------
    >>> _whole_ticks(30), _whole_ticks(2)
    ([1, 3, 10, 30], [1, 2])
    """
    return sorted({max(1, round(value)) for value in np.geomspace(1, most, 4)})


def _leading(report: LatencyReport) -> list[Key]:
    """Return a row for each setting: the response time where there is one."""
    known = report.recordings
    return [key for key in known if key.kind == "response" or key._replace(kind="response") not in known]


def _telling(curves: pd.DataFrame) -> list[str]:
    """Return the columns in which lines differ."""
    return [name for name in (*SETTING, "kind") if curves[name].nunique() > 1]


def _differing(keys: Sequence[Key]) -> list[str]:
    return [name for name in SETTING if len({getattr(key, name) for key in keys}) > 1]


def _label(names: Sequence[str], key: Mapping[str, object]) -> str:
    """Name a line by what differs between the lines."""
    return ", ".join(f"batch {key[name]}" if name == "batch" else str(key[name]) for name in names)


def _legend(ax: Axes, names: Sequence[str], lines: Sequence[Line2D]) -> None:
    """Name each line at its end; many of them, or long names, in a legend."""
    labels = [str(line.get_label()) for line in lines]
    if names and len(lines) <= LABELLED_LINES and max(map(len, labels)) <= SHORT_LABEL:
        label_ends(ax, lines)
    elif names:
        # Beside the axes, or below them, where it hides no curve.
        is_long = any(len(str(line.get_label())) > LONG_LABEL for line in lines)
        ax.legend(handles=lines, loc="upper left", bbox_to_anchor=(0.0, -0.2) if is_long else (1.0, 1.0))


def _closed(report: LatencyReport) -> str:
    return ": service time only (closed loop)" if set(report.frame["kind"]) == {"service"} else ""


def _say(ax: Axes, text: str) -> None:
    ax.set_yticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=ink())


_KINDS: Mapping[str, Callable[[LatencyReport, Axes], None]] = {
    "percentiles": _percentiles,
    "timeline": _timeline,
    "heatmap": _heatmap,
}
