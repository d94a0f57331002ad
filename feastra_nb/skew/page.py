"""The skew report, its impact and one value's life as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.reporting import html, plots
from feastra_nb.skew.causes import ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.timeline import Timeline

SHOWN_CELLS = 20  # of the worst, as evidence
SHOWN_FEATURES = 60
SHOWN_MATCHING = 20  # features, those that differ among them: beyond, what matches is left out
SHOWN_EVENTS = 25  # of one value's life, the newest
SHOWN_TEXT = 120  # characters of a value: a page stays small whatever is stored
SHOWN_DIGITS = 10  # of a number: what 32-bit floats lose is seen

_FEATURE_LABELS = {"rate_low": "95 % from", "rate_high": "to", "psi": "PSI", "jensen_shannon": "Jensen-Shannon"}
_FEATURE_FORMATS = {"rate": ".2%", "rate_low": ".2%", "rate_high": ".2%", "psi": ".3f", "jensen_shannon": ".3f"}
# What proves a cause, beside the event times of both sides.
_PROOFS = {
    "late_arrival": ("offline_event_arrived",),
    "overwritten": ("offline_created",),
    "ttl_changed": ("ttl_bound",),
    "expired": ("ttl_bound",),
    "corrected": ("online_created", "offline_created"),
    "timezone": ("shift",),
    "scale": ("factor",),
}


def skew_page(report: SkewReport) -> str:
    """Return the report's HTML: the sentence, features, causes with advice, and the evidence of the worst cells."""
    tone: html.Tone = "ok" if report.ok else "bad"
    parts = [html.lead(html.status("no skew" if report.ok else "skew", tone), " ", report.sentence)]
    if report.caveat:
        parts.append(html.note(report.caveat))
    parts.append(_features(report))
    if not report.ok:
        parts.append(html.section("Causes", html.table(_short(report.causes))))
        parts.append(html.section("Picture", plots.picture(report.plot, alt="share of cells by feature and cause")))
        parts.append(html.section("Evidence", _evidence(report.worst(SHOWN_CELLS)), is_open=False))
    return str(html.page("Training-serving skew", *parts, text=repr(report)))


def _features(report: SkewReport) -> html.Html:
    """Return the features, those that differ first; what all of them have in common is said once."""
    shown = report.summary.sort_values("different", ascending=False, kind="stable")
    views = shown["view"].unique()
    shown = shown.drop(columns=[*(["view"] if len(views) == 1 else []), *([] if report.unknown else ["unknown"])])
    limit = min(max(SHOWN_MATCHING, int((shown["different"] > 0).sum())), SHOWN_FEATURES)
    table = html.table(_short(shown), labels=_FEATURE_LABELS, formats=_FEATURE_FORMATS, limit=limit)
    return html.section(f"Features of {views[0]}" if len(views) == 1 else "Features", table)


def _evidence(worst: pd.DataFrame) -> html.Html:
    """Return cells that differ, with what proves their causes; what all of them have in common is said once."""
    names = list(worst.columns)
    keys = names[: names.index("as_of")]
    same = [name for name in ("as_of", "view") if worst[name].nunique() == 1]
    caption = f"as of {worst['as_of'].iloc[0]:%Y-%m-%d %H:%M:%S} UTC" if "as_of" in same else ""
    shown = worst.assign(proof=[_proof(row) for row in worst.to_dict("records")])
    wanted = ["view", *keys, "as_of", "feature", "online", "offline", "cause", "online_event", "offline_event", "proof"]
    kept = [name for name in dict.fromkeys(wanted) if name not in same]
    labels = {name: name.replace("_", " ") for name in kept if name not in keys}
    return html.table(_short(shown[kept]), labels=labels, caption=caption)


def _proof(cell: Mapping[Any, Any]) -> str:
    """Return in words what proves a cell's cause, beside the event times of both sides."""
    proofs = [(name.replace("_", " "), cell[name]) for name in _PROOFS.get(cell["cause"], ())]
    words = [f"{name} {_told(value)}" for name, value in proofs if not pd.isna(value)]
    return "; ".join([*words, *([cell["note"]] if cell["note"] else [])])


def _told(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(_cut(value.item() if hasattr(value, "item") else value))


def impact_page(impact: Impact) -> str:
    """Return the impact's HTML: the sentence, the picture, and what each repair alone brings."""
    tone: html.Tone = "bad" if impact.moved else "ok"
    parts = [html.lead(html.status("moved" if impact.moved else "unmoved", tone), " ", impact.sentence)]
    if impact.left_out:
        parts.append(html.note(f"{impact.left_out:,} rows could not be scored."))
    if impact.moved:
        parts.append(plots.picture(impact.plot, alt="predictions moved by feature and cause"))
    causes = impact.causes.assign(advice=impact.causes["cause"].map(ADVICE))
    both = impact.frame.drop(columns="advice")
    tables = (("Causes", causes), ("Features", impact.features), ("Features and causes", both))
    parts += [html.section(title, html.table(_short(frame))) for title, frame in tables if len(frame)]
    return str(html.page("What skew did to the predictions", *parts, text=repr(impact)))


def timeline_page(timeline: Timeline) -> str:
    """Return one value's life as HTML: the sentence, the picture and what happened."""
    cell = timeline.cell
    tone: html.Tone = "ok" if timeline.ok else "unknown" if cell["verdict"] == "unknown" else "bad"
    parts = [html.lead(html.status(str(cell["verdict"]), tone), " ", timeline.sentence)]
    parts.append(plots.picture(timeline.plot, alt="events, runs and ttl in time"))
    happened = timeline.frame[["what", "event", "value", "note", "created", "arrived", "until"]]
    parts.append(html.section("What happened", html.table(_short(happened), limit=SHOWN_EVENTS)))
    return str(html.page(f"The life of {timeline.feature}", *parts, text=repr(timeline)))


def budget_page(check: BudgetCheck) -> str:
    """Return a report beside its budget as HTML: the state, and each feature's rate and what is allowed."""
    tones: Mapping[str, html.Tone] = {"within": "ok", "over": "bad"}
    states = [html.status(state, tones.get(state, "unknown")) for state in check.frame["state"]]
    labels = {"max_rate": "allowed", "new_causes": "new causes", "is_new": "new"}
    formats = {"rate": ".2%", "max_rate": ".2%"}
    parts: list[object] = [html.lead(html.status(check.state, tones.get(check.state, "unknown")))]
    parts.append(html.table(check.frame.assign(state=states), labels=labels, formats=formats, limit=SHOWN_FEATURES))
    parts += [html.note(f"in the budget, not in the report: {', '.join(check.gone)}")] if check.gone else []
    return html.page("Skew budget", *parts, text=repr(check))


def _short(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose long values are cut, so that no cell fills the page."""
    texts = [name for name in frame.columns if frame[name].dtype == object or str(frame[name].dtype) == "string"]
    return frame.assign(**{name: frame[name].map(_cut, na_action="ignore") for name in texts})


def _cut(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.{SHOWN_DIGITS}g}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return value if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)"
