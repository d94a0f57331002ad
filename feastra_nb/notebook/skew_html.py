"""The skew report as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.notebook import html, plots

if TYPE_CHECKING:
    from feastra_nb.skew.report import SkewReport

SHOWN_CELLS = 20  # of the worst, as evidence


def skew_page(report: SkewReport) -> str:
    """Return the report's HTML: the sentence, features, causes with advice, and the evidence of the worst cells."""
    tone: html.Tone = "ok" if report.ok else "bad"
    parts = [html.note(html.status("no skew" if report.ok else "skew", tone), " ", report.sentence)]
    if report.caveat:
        parts.append(html.note(report.caveat))
    parts.append(html.section("Features", html.table(report.summary, formats={"rate": ".2%"})))
    if not report.ok:
        parts.append(html.section("Causes", html.table(report.causes)))
        picture = html.image(plots.png(report.plot), alt="share of cells by feature and cause", width_px=640)
        parts.append(html.section("Picture", picture))
        parts.append(html.section("Evidence", html.table(report.worst(SHOWN_CELLS)), is_open=False))
    return str(html.page("Training-serving skew", *parts, text=repr(report)))
