"""The skew report, its impact and one value's life as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feastra_nb.notebook import html, plots

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.timeline import Timeline

SHOWN_CELLS = 20  # of the worst, as evidence
SHOWN_FEATURES = 60
SHOWN_TEXT = 120  # characters of a value: a page stays small whatever is stored


def skew_page(report: SkewReport) -> str:
    """Return the report's HTML: the sentence, features, causes with advice, and the evidence of the worst cells."""
    tone: html.Tone = "ok" if report.ok else "bad"
    parts = [html.note(html.status("no skew" if report.ok else "skew", tone), " ", report.sentence)]
    if report.caveat:
        parts.append(html.note(report.caveat))
    shown = report.summary.sort_values("different", ascending=False, kind="stable")
    rates = {"rate": ".2%", "rate_low": ".2%", "rate_high": ".2%", "psi": ".3f", "jensen_shannon": ".3f"}
    parts.append(html.section("Features", html.table(_short(shown), formats=rates, limit=SHOWN_FEATURES)))
    if not report.ok:
        parts.append(html.section("Causes", html.table(_short(report.causes))))
        picture = html.image(plots.png(report.plot), alt="share of cells by feature and cause", width_px=640)
        parts.append(html.section("Picture", picture))
        parts.append(html.section("Evidence", html.table(_short(report.worst(SHOWN_CELLS))), is_open=False))
    return str(html.page("Training-serving skew", *parts, text=repr(report)))


def impact_page(impact: Impact) -> str:
    """Return the impact's HTML: the sentence, the picture, and what each repair alone brings."""
    tone: html.Tone = "bad" if impact.moved else "ok"
    parts = [html.note(html.status("moved" if impact.moved else "unmoved", tone), " ", impact.sentence)]
    if impact.left_out:
        parts.append(html.note(f"{impact.left_out:,} rows could not be scored."))
    if impact.moved:
        parts.append(html.image(plots.png(impact.plot), alt="predictions moved by feature and cause", width_px=640))
    tables = (("Features and causes", impact.frame), ("Features", impact.features), ("Causes", impact.causes))
    parts += [html.section(title, html.table(_short(frame))) for title, frame in tables if len(frame)]
    return str(html.page("What skew did to the predictions", *parts, text=repr(impact)))


def timeline_page(timeline: Timeline) -> str:
    """Return one value's life as HTML: the sentence, the picture and what happened."""
    cell = timeline.cell
    tone: html.Tone = "ok" if timeline.ok else "unknown" if cell["verdict"] == "unknown" else "bad"
    parts = [html.note(html.status(str(cell["verdict"]), tone), " ", timeline.sentence)]
    parts.append(
        html.image(plots.png(timeline.plot, figsize=(7.2, 2.9)), alt="events, runs and ttl in time", width_px=640)
    )
    parts.append(html.section("What happened", html.table(_short(timeline.frame), limit=SHOWN_FEATURES)))
    return str(html.page(f"The life of {timeline.feature}", *parts, text=repr(timeline)))


def budget_page(check: BudgetCheck) -> str:
    """Return a report beside its budget as HTML: the state, and each feature's rate and what is allowed."""
    tones: Mapping[str, html.Tone] = {"within": "ok", "over": "bad"}
    states = [html.status(state, tones.get(state, "unknown")) for state in check.frame["state"]]
    labels = {"max_rate": "allowed", "new_causes": "new causes", "is_new": "new"}
    formats = {"rate": ".2%", "max_rate": ".2%"}
    parts: list[object] = [html.note(html.status(check.state, tones.get(check.state, "unknown")))]
    parts.append(html.table(check.frame.assign(state=states), labels=labels, formats=formats, limit=SHOWN_FEATURES))
    parts += [html.note(f"in the budget, not in the report: {', '.join(check.gone)}")] if check.gone else []
    return html.page("Skew budget", *parts, text=repr(check))


def _short(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose long values are cut, so that no cell fills the page."""
    texts = [name for name in frame.columns if frame[name].dtype == object or str(frame[name].dtype) == "string"]
    return frame.assign(**{name: frame[name].map(_cut, na_action="ignore") for name in texts})


def _cut(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return value if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)"
