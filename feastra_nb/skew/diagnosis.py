"""A skew report as diagnoses: for each cause what is wrong, one example, and what to do, as a line to copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.reporting.words import listed, number, span
from feastra_nb.skew.causes import ADVICE, CAUSES
from feastra_nb.skew.rules import LEAST, SHARE, candidates
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feastra_nb.skew.counts import CauseCount
    from feastra_nb.skew.event_shift import EventShift
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.rules import Rule

SHOWN_VALUE = 60  # characters of a value
SHOWN_DIGITS = 10  # of a number: what 32-bit floats lose is seen
# Causes that writing the interval again mends; the others say where to look.
_WRITE_AGAIN = frozenset(
    ("stale", "not_materialized", "expired", "ttl_changed", "overwritten", "feature_added_later", "corrected")
)
_BEHIND = frozenset(("stale", "late_arrival", "overwritten", "expired", "ttl_changed"))  # an older event was served
_SPREADS = "; its corrections have one relation to what is served, as a unit's: be sure that offline is right before you write it"
_CLOCK = '.dt.tz_localize("Europe/Berlin")  # the zone of the clock that made them, in the job that lost it'
_FIXES = {
    "precision": 'df["{feature}"] = df["{feature}"].astype("float32")  # on both sides',
    "text_form": 'df["{feature}"] = df["{feature}"].str.strip().str.lower()  # on both sides',
    "timezone": f'df["{{feature}}"] = df["{{feature}}"]{_CLOCK}',
    "dropped_offline": 'fnb.connect(…, offline="duckdb")',
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause in one view, with what a person needs to act.

    Parameters
    ----------
    cause
        Such as ``"stale"``; `feastra_nb.skew.causes.ADVICE` has them all.
    view, features
        What it touches.
    cells, compared
        Values that differ for this cause, of all that were compared of these features; of an `event_time_shift` that leaves
        every value equal, rows.
    relation
        How the two sides are related, such as ``"online = offline × 0.01"``; empty where nothing simple holds.
    example
        One entity with both values, in words.
    advice
        What to do, in words.
    remedy
        The same as a line of code to copy; for some causes it shows where to look.
    """

    cause: str
    view: str
    features: tuple[str, ...]
    cells: int
    compared: int
    relation: str
    example: str
    advice: str
    remedy: str

    @property
    def heading(self) -> str:
        """What is wrong, in a line: the features, how many values, and how the sides are related."""
        what = "values" if self.features else "rows with their values under another event time"
        count = f"{self.cells:,} of {self.compared:,} {what}"
        return " · ".join(part for part in (listed(self.features) or self.view, count, self.relation) if part)

    def __str__(self) -> str:
        lines = (self.example, self.advice, self.remedy)
        return "\n".join([f"{self.cause} · {self.heading}", *(f"    {line}" for line in lines if line)])


def diagnoses(report: SkewReport) -> list[Diagnosis]:
    """Return a report's diagnoses, those that explain most values first; a shift of event times before all others."""
    cells: list[dict[Any, Any]] = report.examples.to_dict("records")
    examples = {(cell["view"], cell["feature"], cell["cause"]): cell for cell in cells}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for (view, feature), count in report.feature_counts.items():
        for cause in count.causes:
            relation = _relation(report, view, feature, cause)
            groups.setdefault((view, cause, relation), []).append(feature)
    found = []
    for (view, cause, relation), features in groups.items():
        counts = [report.feature_counts[view, feature] for feature in features]
        cell = examples[view, features[0], cause]
        spreads = _one_relation(report, view, features[0]) if cause == "corrected" else ""
        of_cause = [count.causes[cause] for count in counts]
        found.append(
            Diagnosis(
                cause=cause,
                view=view,
                features=tuple(features),
                cells=sum(each.cells for each in of_cause),
                compared=sum(count.compared for count in counts),
                relation=relation or _behind(cause, of_cause) or spreads,
                example=_example(cell, report.side),
                advice=ADVICE[cause] + (_SPREADS if spreads else ""),
                remedy=_look(report, cell) if spreads else _remedy(report, cell, of_cause),
            )
        )
    shown_shifts = {diagnosis.view for diagnosis in found if diagnosis.cause == "event_time_shift"}
    found += [_shifted(report, view, shift) for view, shift in report.proofs.shifts.items() if view not in shown_shifts]
    return sorted(
        found, key=lambda each: (each.cause != "event_time_shift", -each.cells, CAUSES.index(each.cause), each.features)
    )


def _relation(report: SkewReport, view: str, feature: str, cause: str) -> str:
    if cause == "event_time_shift":
        return apart(report.proofs.shifts[view], report.side)
    rule = report.proofs.rules.get((view, feature))
    return related(rule, report.side) if rule is not None and rule.cause == cause else ""


def related(rule: Rule, side: str) -> str:
    """Return a rule as an equation.

    Examples
    --------
    >>> from feastra_nb.skew.rules import Rule
    >>> related(Rule("scale", factor=0.01), "online"), related(Rule("timezone", shift_us=-7_200_000_000), "logged")
    ('online = offline × 0.01', 'logged = offline − 2 h')
    """
    if rule.cause == "scale":
        # A factor of many digits reads better as what it divides by, where that is a whole number.
        inverse = 1 / rule.factor
        is_divisor = abs(rule.factor) < 1 and abs(inverse - round(inverse)) < 1e-6 and len(number(rule.factor)) > 6  # noqa: PLR2004
        return f"{side} = offline {f'÷ {round(inverse):,}' if is_divisor else f'× {number(rule.factor)}'}"
    size = span(abs(rule.shift_us) / 1e6) if rule.shift_us else number(abs(rule.offset))
    return f"{side} = offline {'−' if (rule.shift_us or rule.offset) < 0 else '+'} {size}"


def apart(shift: EventShift, side: str) -> str:
    """Return a shift of event times in words."""
    return f"{side} event times lie {span(abs(shift.shift_us) / 1e6)} {'later' if shift.shift_us > 0 else 'earlier'} than offline"


def _behind(cause: str, counts: Sequence[CauseCount]) -> str:
    longest = max(count.lag_us for count in counts)
    return f"up to {span(longest / 1e6)} behind the newest event" if cause in _BEHIND and longest > 0 else ""


def _one_relation(report: SkewReport, view: str, feature: str) -> str:
    """Return the one relation that corrected values have to those served; empty for none."""
    pairs = report.pairs(view, feature, "corrected")
    if pairs is None or len(pairs[0]) < LEAST:
        return ""
    holding = [rule for rule in candidates(*pairs) if rule.holds(*pairs).mean() >= SHARE]
    return related(holding[0], report.side) if holding else ""


def _example(cell: Mapping[str, Any], side: str) -> str:
    values = f"{side} {shown(cell['online'])}, offline {shown(cell['offline'])}"
    events = ""
    if cell["cause"] in _BEHIND | {"event_time_shift", "ahead", "orphan"}:
        times = [(side, cell["online_event"]), ("offline", cell["offline_event"])]
        told = [f"{whose} {at:%Y-%m-%d %H:%M}" for whose, at in times if not pd.isna(at)]
        events = f"; event {', '.join(told)}" if told else ""
    at = "" if cell["is_now"] else f" at {cell['as_of']:%Y-%m-%d %H:%M}"
    feature = f"{cell['feature']} of " if cell["feature"] else ""
    return f"{feature}{cell['entity']}{at}: {values}{events}"


def shown(value: Any) -> str:
    """Return a value, cut to what a line has room for; nothing as ``null``.

    Examples
    --------
    >>> shown(18.600000000000001), shown(None), shown("Köln "), shown(True)
    ('18.6', 'null', "'Köln '", 'True')
    """
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "null"
    if isinstance(value, float):
        return f"{value:.{SHOWN_DIGITS}g}"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}… ({len(text):,} characters)"


def _remedy(report: SkewReport, cell: Mapping[str, Any], counts: Sequence[CauseCount]) -> str:
    cause, view = cell["cause"], cell["view"]
    if cause in _WRITE_AGAIN:
        known = [count.earliest_us for count in counts if count.earliest_us is not None]
        start = f', start="{instant(min(known)):%Y-%m-%d} 00:00Z"' if known else ""
        return f'ws.materialize("{view}"{start})'
    if cause == "late_arrival":
        return f'ws.materialize("{view}")  # more often than it is asked for'
    if cause == "event_time_shift":
        return f'df["event_timestamp"] = df["event_timestamp"]{_CLOCK}'
    if cause == "orphan":
        return f'ws.forget("{view}", {cell["key"]!r})  # and the others: report.different'
    if cause == "type" and not pd.isna(cell["offline"]):
        kind = type(cell["offline"]).__name__
        dtype = {"int": "int64", "float": "float64"}.get(kind, kind)
        return f'df["{cell["feature"]}"] = df["{cell["feature"]}"].astype("{dtype}")  # as it is offline'
    fix = _FIXES.get(cause)
    return _look(report, cell) if fix is None else fix.format(feature=cell["feature"])


def _look(report: SkewReport, cell: Mapping[str, Any]) -> str:
    """Return the call that shows the example's life."""
    as_of = "" if cell["is_now"] or not report.has_history else f', as_of="{cell["as_of"]:%Y-%m-%d %H:%M:%S}"'
    return f'ws.explain("{cell["view"]}:{cell["feature"]}", {cell["key"]!r}{as_of})'


def _shifted(report: SkewReport, view: str, shift: EventShift) -> Diagnosis:
    """Return the diagnosis of a shift that leaves every value equal."""
    cell = report.shifted_example(view)
    return Diagnosis(
        cause="event_time_shift",
        view=view,
        features=(),
        cells=shift.rows,
        compared=report.rows_of(view),
        relation=apart(shift, report.side),
        example="" if cell is None else _example(cell, report.side),
        advice=ADVICE["event_time_shift"],
        remedy=f'df["event_timestamp"] = df["event_timestamp"]{_CLOCK}',
    )
