"""The skew report, its impact and one value's life as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.reporting import html, plots
from feastra_nb.reporting.words import span
from feastra_nb.skew.causes import ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.skew.diagnosis import Diagnosis
    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.timeline import Timeline

SHOWN_CELLS = 20  # of the worst, as evidence
SHOWN_FEATURES = 60
SHOWN_DIAGNOSES = 12
SHOWN_EVENTS = 25  # of one value's life, the newest
SHOWN_TEXT = 120  # characters of a value: a page stays small whatever is stored
SHOWN_DIGITS = 10  # of a number: what 32-bit floats lose is seen
# Population stability index: up to which a distribution is said to have changed how much (the usual rule of thumb).
_PSI_WORDS = ((0.0, "the same"), (0.1, "hardly moved"), (0.25, "moved"), (float("inf"), "another one"))


def skew_page(report: SkewReport) -> str:
    """Return the report's HTML: the sentence, a card for each cause, the picture, the features, and evidence."""
    tone: html.Tone = "ok" if report.ok else "bad"
    parts = [html.lead(html.status("no skew" if report.ok else "skew", tone), " ", report.sentence)]
    parts.append(html.note(report.about))
    if report.caveat:
        parts.append(html.note(report.caveat))
    parts += [_card(diagnosis) for diagnosis in report.diagnoses[:SHOWN_DIAGNOSES]]
    if len(report.diagnoses) > SHOWN_DIAGNOSES:
        parts.append(html.note(f"… and {len(report.diagnoses) - SHOWN_DIAGNOSES:,} more: report.diagnoses"))
    if not report.ok and report.compared:
        parts.append(html.section("Picture", plots.picture(report.plot, alt=_alt(report))))
    if report.differing:
        parts.append(html.section("Features that differ", _features(report)))
    if report.matching:
        parts.append(html.note(html.status("match", "ok"), " ", report.matching))
    if report.differing:
        both = plots.picture(lambda ax: report.plot(ax, kind="distributions"), alt="values of both sides, by feature")
        parts.append(html.section("Distributions of both sides", both, _distances(report), is_open=False))
        parts.append(html.section("Evidence", _evidence(report), is_open=False))
    return str(html.page("Training-serving skew", *parts, text=repr(report)))


def _card(diagnosis: Diagnosis) -> html.Html:
    head = html.joined(html.status(diagnosis.cause.replace("_", " "), "bad"), " · ", diagnosis.heading)
    return html.card(head, diagnosis.example, diagnosis.advice, code=diagnosis.remedy)


def _alt(report: SkewReport) -> str:
    return "; ".join(f"{diagnosis.cause} {diagnosis.heading}" for diagnosis in report.diagnoses) or report.sentence


def _differing(report: SkewReport) -> pd.DataFrame:
    summary = report.summary
    shown = summary[summary["different"] > 0].sort_values("rate", ascending=False, kind="stable")
    return shown.drop(columns="view") if shown["view"].nunique() == 1 else shown


def _features(report: SkewReport) -> html.Html:
    """Return the features that differ: how many of their values, as a bar with its interval, why, and how far."""
    shown = _differing(report)
    bars = [
        html.bar(rate, low=low, high=high, words=f"{rate:.2%} ({cells:,})")
        for rate, low, high, cells in zip(
            shown["rate"], shown["rate_low"], shown["rate_high"], shown["different"], strict=True
        )
    ]
    table = shown.assign(differ=bars, distribution=[_moved(psi) for psi in shown["psi"]])
    names = [*(["view"] if "view" in table else []), "feature", "differ", "compared"]
    names += [*(["unknown"] if report.unknown else []), "causes", "distribution"]
    return html.table(_short(table[names]), limit=SHOWN_FEATURES)


def _moved(psi: float) -> str:
    """Say how far a distribution has moved, by its population stability index.

    Examples
    --------
    >>> [_moved(psi) for psi in (0.0, 0.05, 0.2, 3.0, float("nan"))]
    ['the same', 'hardly moved', 'moved', 'another one', 'not comparable']
    """
    return next((word for most, word in _PSI_WORDS if psi <= most), "not comparable")


def _distances(report: SkewReport) -> html.Html:
    names = ["view", "feature"]
    wanted = report.distances.merge(_differing(report).assign(view=report.summary["view"])[names], on=names)
    wanted = wanted.drop(columns="view") if wanted["view"].nunique() == 1 else wanted
    shown = wanted.dropna(axis="columns", how="all")
    labels = {name: name.replace("_", " ").replace("psi", "PSI") for name in shown.columns}
    return html.table(shown, labels=labels, formats=dict.fromkeys(shown.select_dtypes("number").columns, ".3f"))


def _evidence(report: SkewReport) -> html.Html:
    """Return cells that differ, entity by entity, what proves their cause first; what all have in common is said once."""
    # Of each cause some entities with all of their features, rather than one feature of many entities.
    some = report.worst(SHOWN_CELLS * len(_differing(report)))
    names = list(some.columns)
    keys = names[: names.index("as_of")]
    in_order = some.sort_values([*keys, "as_of"], kind="stable")
    worst = in_order[in_order.groupby("cause").cumcount() < -(-SHOWN_CELLS // some["cause"].nunique())]
    same = [name for name in ("as_of", "view") if worst[name].nunique() == 1]
    caption = f"as of {worst['as_of'].iloc[0]:%Y-%m-%d %H:%M:%S} UTC" if "as_of" in same else ""
    table = worst.assign(proof=[_proof(row, report.side) for row in worst.to_dict("records")])
    wanted = [*keys, "as_of", "view", "cause", "proof", "feature", "online", "offline"]
    kept = [name for name in dict.fromkeys(wanted) if name not in same]
    labels = {name: name.replace("_", " ") for name in kept if name not in keys} | {"online": report.side}
    shown = _short(table[kept])
    repeated = shown[keys].eq(shown[keys].shift()).all(axis=1) if keys else pd.Series(data=False, index=shown.index)
    shown = shown.astype(dict.fromkeys(keys, object))
    shown.loc[repeated, keys] = ""  # an entity is named once
    return html.table(shown, labels=labels, caption=caption)


def _proof(cell: Mapping[Any, Any], side: str) -> str:
    """Return in words what proves a cell's cause."""
    cause, words = cell["cause"], []
    if not pd.isna(cell["online_event"]) and not pd.isna(cell["offline_event"]):
        lag = cell["offline_event"] - cell["online_event"]
        if lag:
            words.append(f"{side} event {_at(cell['online_event'])}, offline {_at(cell['offline_event'])}")
            words.append(f"{span(abs(lag))} {'behind' if lag > pd.Timedelta(0) else 'ahead'}")
        elif cause != "corrected":
            words.append(f"both of the event of {_at(cell['online_event'])}")
    elif not pd.isna(cell["offline_event"]):
        words.append(f"nothing served, offline event {_at(cell['offline_event'])}")
    elif not pd.isna(cell["online_event"]):
        words.append(f"{side} event {_at(cell['online_event'])}, none offline")
    words += [f"{label} {_told(cell[name])}" for name, label in _PROOFS.get(cause, ()) if not pd.isna(cell[name])]
    return "; ".join([*words, *([cell["note"]] if cell["note"] else [])])


# What proves a cause, beside the event times of both sides.
_PROOFS = {
    "late_arrival": (("offline_event_arrived", "it arrived"),),
    "overwritten": (("offline_created", "created"),),
    "ttl_changed": (("ttl_bound", "the ttl reaches back to"),),
    "expired": (("ttl_bound", "the ttl reaches back to"),),
    "corrected": (("online_created", "created online"), ("offline_created", "corrected offline")),
    "timezone": (("shift", "apart by"),),
    "event_time_shift": (("shift", "apart by"),),
    "scale": (("factor", "factor"),),
    "offset": (("offset", "difference"),),
}


def _at(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _told(value: Any) -> str:
    if isinstance(value, pd.Timedelta):
        return span(value)
    if isinstance(value, pd.Timestamp):
        return _at(value)
    return str(_cut(value.item() if hasattr(value, "item") else value))


def impact_page(impact: Impact) -> str:
    """Return the impact's HTML: the sentence, the picture, and what each repair alone brings."""
    tone: html.Tone = "bad" if impact.moved else "ok"
    parts = [html.lead(html.status("moved" if impact.moved else "unmoved", tone), " ", impact.sentence)]
    parts.append(html.note(impact.given))
    if impact.left_out:
        parts.append(html.note(f"{impact.left_out:,} rows could not be scored."))
    if impact.moved:
        parts.append(plots.picture(impact.plot, alt="predictions moved by feature and cause"))
    causes = impact.causes.assign(advice=impact.causes["cause"].map(ADVICE))
    both = impact.frame.drop(columns="advice")
    labels = {"repaired": "right again when repaired"}
    tables = (("Causes", causes), ("Features", impact.features), ("Features and causes", both))
    for place, (title, frame) in enumerate(tables):
        if len(frame):
            parts.append(html.section(title, html.table(_short(frame), labels=labels), is_open=not place))
    return str(html.page("What skew did to the predictions", *parts, text=repr(impact)))


def timeline_page(timeline: Timeline) -> str:
    """Return one value's life as HTML: the sentence, the picture and what happened."""
    cell = timeline.cell
    tone: html.Tone = "ok" if timeline.ok else "unknown" if cell["verdict"] == "unknown" else "bad"
    parts = [html.lead(html.status(str(cell["verdict"]), tone), " ", timeline.sentence)]
    parts.append(plots.picture(timeline.plot, alt=timeline.title))
    if len(timeline.happened):
        happened = html.table(_short(timeline.happened), limit=SHOWN_EVENTS)
        parts.append(
            html.section("What happened", happened, *([html.note(timeline.others)] if timeline.others else []))
        )
    whole = timeline.frame[["what", "event", "value", "note", "created", "arrived", "until"]].dropna(axis=1, how="all")
    parts.append(html.section("All events and runs", html.table(_short(whole), limit=SHOWN_EVENTS), is_open=False))
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
    if isinstance(value, html.Html):
        return value
    if isinstance(value, float):
        return f"{value:.{SHOWN_DIGITS}g}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return value if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)"
