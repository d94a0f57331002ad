"""The pages of latency reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.latency import plots as latency_plots
from feastra_nb.latency.report import HEADERS
from feastra_nb.reporting import html, plots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.latency.capacity import Capacity
    from feastra_nb.latency.comparison import LatencyComparison
    from feastra_nb.latency.objectives import Check
    from feastra_nb.latency.report import LatencyReport
    from feastra_nb.reporting.html import Tone

UNITS: Mapping[str, str] = {name: "ms" if name.endswith("_ms") else "/s" for name in HEADERS}
TONES: Mapping[str, Tone] = {"ok": "ok", "missed": "bad", "unknown": "unknown"}
WHOLE = {"batch": "d"}
DESCRIBED = ("target", "consistency")  # columns, of a comparison two of each


def report_page(report: LatencyReport) -> str:
    """Return a latency report as a page: table, incidents, curves, timeline, what the time consists of."""
    shown, caption = _told_once(report.shown)
    parts: list[object] = [html.lead(report.sentence)]
    parts.append(html.table(shown, labels=HEADERS, units=UNITS, formats=WHOLE, caption=caption))
    parts += [html.note(html.status(word, "warn"), " ", text) for word, text in report.incidents]
    parts += [html.note(" ".join(report.caveats))]
    if not report.percentiles.empty:
        parts.append(html.section("Percentiles", plots.picture(report.plot, alt=_alt(report.frame))))
    if "response" in set(report.frame["kind"]) and report.frame["n"].any():
        parts.append(
            html.section("Timeline", plots.picture(_timeline(report), alt="The longest latency of each 100 ms"))
        )
    if not report.split.empty:
        labels = {**HEADERS, "mean_ms": "mean"}
        units = {**UNITS, "mean_ms": "ms"}
        table = html.table(_told_once(report.split)[0], labels=labels, units=units, formats=WHOLE)
        parts.append(html.section("What the time consists of", table, is_open=False))
    parts.append(html.section("Measured on", html.facts(report.environment), is_open=False))
    return html.page("Latency", *parts, text=repr(report))


def comparison_page(comparison: LatencyComparison) -> str:
    """Return a comparison as a page: table with ratios, and the curves of both."""
    shown, caption = _told_once(comparison.shown)
    units = {str(name): "ms" for name in shown.columns if str(name).startswith(("p50 ", "p99 "))}
    parts: list[object] = [html.lead(comparison.sentence)]
    parts.append(html.table(shown, units=units, formats=WHOLE, caption=caption))
    if not comparison.both.percentiles.empty:
        parts.append(plots.picture(comparison.plot, alt=_alt(comparison.both.frame)))
    parts.append(html.section("Measured on", html.facts(comparison.both.environment), is_open=False))
    title = f"Latency: {comparison.names[0]} and {comparison.names[1]}"
    return html.page(title, *parts, text=repr(comparison))


def capacity_page(capacity: Capacity) -> str:
    """Return a capacity as a page: the result, the rates that were tried, the picture."""
    words = ["held" if held else "missed" for held in capacity.frame["held"]]
    verdicts = [html.status(word, "ok" if word == "held" else "bad") for word in words]
    parts: list[object] = [html.lead(capacity.sentence)]
    if capacity.frame["p99_ms"].notna().any():
        parts.append(plots.picture(capacity.plot, alt=capacity.sentence))
    parts.append(html.table(capacity.frame.assign(held=verdicts), labels={**HEADERS, "held": "verdict"}, units=UNITS))
    parts.append(html.section("Measured on", html.facts(capacity.environment), is_open=False))
    return html.page("Capacity", *parts, text=repr(capacity))


def check_page(check: Check) -> str:
    """Return what came of objectives as a page."""
    verdicts = [html.status(verdict, TONES[verdict]) for verdict in check.frame["verdict"]]
    labels = {"limit_ms": "limit", "measured_ms": "measured"}
    units = dict.fromkeys(labels, "ms")
    shown = check.frame if check.frame["why"].any() else check.frame.drop(columns="why")
    table = html.table(shown.assign(verdict=verdicts), labels=labels, units=units, formats=WHOLE)
    return html.page("Latency objectives", table, text=repr(check))


def _told_once(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a table without what is the same in all its rows, and that in words."""
    same = [name for name in frame.columns if str(name).startswith(DESCRIBED) and frame[name].nunique() == 1]
    return frame.drop(columns=same), ", ".join(str(frame[name].iloc[0]) for name in same)


def _timeline(report: LatencyReport) -> Callable[[None], Axes]:
    return lambda ax: latency_plots.draw(report, ax, kind="timeline")


def _alt(frame: pd.DataFrame) -> str:
    """Say in words what the curves show."""
    lines = [
        f"{row.target} batch {row.batch} {row.kind} time median {row.p50_ms:.3g} ms"
        for row in frame.dropna(subset="p50_ms").itertuples()
    ]
    return f"Latency by percentile: {'; '.join(lines)}"
