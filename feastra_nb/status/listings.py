"""`ws.views`, `ws.freshness` and `ws.runs`: the views, how far behind they are, and the journal of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.adapter.objects import has_entities, key_fields
from feastra_nb.reporting.listing import Listing
from feastra_nb.reporting.words import ago, listed, span
from feastra_nb.retrieval.request import ttl_us
from feastra_nb.times import instant, utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from feastra_nb.reporting.html import Tone
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.journal import Run
    from feastra_nb.stores import Stores

_TONES: dict[str, Tone] = {"done": "ok", "running": "info", "failed": "bad", "lost": "bad", "interrupted": "warn"}
_VIEWS = ["view", "join_keys", "features", "ttl", "retain", "materialized_until", "description"]
_FRESHNESS = ["view", "materialized_until", "behind", "last_run", "state", "rows"]
_RUNS = [
    "view", "began", "seconds", "kind", "state", "rows", "expired", "suppressed", "start", "end", "thinned", "who", "error",
]  # fmt: skip


def tone_of_state(state: str) -> Tone | None:
    """Return the tone of a run's state; None where there was no run."""
    return _TONES.get(state)


def views(stores: Stores, search: str | None) -> Listing:
    """Return a row for each feature view whose name, description, entities or features hold the text."""
    known = entries(stores)
    rows = []
    for view in sorted(stores.feast.list_all_feature_views(), key=lambda known: known.name):
        entry = known.get(view.name)
        ttl = ttl_us(view)
        rows.append(
            {
                "view": view.name,
                "join_keys": ", ".join(join_keys(view)),
                "features": ", ".join(field.name for field in view.features),
                "ttl": pd.NaT if ttl is None else pd.Timedelta(ttl, unit="us"),
                "retain": entry.retain if entry else None,
                "materialized_until": until(view),
                "description": view.description,
            }
        )
    frame = pd.DataFrame(rows, columns=_VIEWS)
    if search is not None:
        text = frame[["view", "join_keys", "features", "description"]].agg(" ".join, axis=1).str.lower()
        frame = frame[text.str.contains(search.lower(), regex=False)].reset_index(drop=True)
    shown = frame.assign(
        features=[listed(names.split(", ")) for names in frame["features"]],
        ttl=["none" if pd.isna(ttl) else span(ttl) for ttl in frame["ttl"]],
        materialized_until=_until_words(frame["materialized_until"]),
    )
    return Listing.of(frame, title="Feature views", shown=_labelled(shown))


def freshness(stores: Stores) -> Listing:
    """Return for each view until when it is materialized, how far that lies behind now, and the last run; errors first."""
    now = utc_now()
    rows = []
    for view in sorted(stores.feast.list_all_feature_views(), key=lambda known: known.name):
        at = until(view)
        last = last_run(stores, view.name)
        rows.append(
            {
                "view": view.name,
                "materialized_until": at,
                "behind": pd.NaT if at is None else pd.Timedelta(now - at),
                "last_run": None if last is None else instant(last.began_us),
                "state": None if last is None else last.state,
                "rows": None if last is None else last.rows,
            }
        )
    frame = pd.DataFrame(rows, columns=_FRESHNESS)
    shown = frame.assign(
        materialized_until=_until_words(frame["materialized_until"]),
        behind=["never materialized" if pd.isna(gap) else span(max(gap, pd.Timedelta(0))) for gap in frame["behind"]],
        last_run=["-" if pd.isna(at) else ago(now - at) for at in frame["last_run"]],
        state=frame["state"].fillna("-"),
        rows=["-" if pd.isna(count) else f"{int(count):,}" for count in frame["rows"]],
    )
    errors = shown["state"].isin(["failed", "lost", "interrupted"])
    shown = shown.iloc[(~errors).argsort(kind="stable")]
    return Listing.of(frame, title="Freshness", shown=_labelled(shown), tones={"state": tone_of_state})


def runs(stores: Stores, view: str | None) -> Listing:
    """Return the journal, newest run first."""
    if view is not None:
        stores.view(view)
    now = utc_now()
    in_order = sorted(journal(stores, view), key=lambda run: run.began_us, reverse=True)
    rows = [
        {
            "view": run.view,
            "began": instant(run.began_us),
            "seconds": None if run.ended_us is None else (run.ended_us - run.began_us) / 1e6,
            "kind": run.kind,
            "state": run.state,
            "rows": run.rows,
            "expired": run.expired,
            "suppressed": run.suppressed,
            "start": _instant_or_none(run.start_us),
            "end": _instant_or_none(run.end_us),
            "thinned": run.thinned,
            "who": run.who,
            "error": run.error,
        }
        for run in in_order
    ]
    frame = pd.DataFrame(rows, columns=_RUNS)
    shown = pd.DataFrame(
        {
            "view": frame["view"],
            "began": [ago(now - at) for at in frame["began"]],
            "took": ["-" if pd.isna(seconds) else span(float(seconds)) for seconds in frame["seconds"]],
            "kind": frame["kind"],
            "state": frame["state"],
            "rows": [f"{count:,}" for count in frame["rows"]],
            "events": [_interval(start, end) for start, end in zip(frame["start"], frame["end"], strict=True)],
            "error": frame["error"].fillna(""),
        }
    )
    shown = shown.drop(columns=[*(["view"] if view else []), *([] if shown["error"].any() else ["error"])])
    return Listing.of(frame, title=f"Runs of {view}" if view else "Runs", shown=shown, tones={"state": tone_of_state})


def _labelled(shown: pd.DataFrame) -> pd.DataFrame:
    """Return a table for people: headers in words, columns that are empty throughout left out."""
    empty = [name for name in shown.columns if len(shown) and shown[name].isin(["", None, "-"]).all()]
    return shown.drop(columns=empty).rename(columns=lambda name: str(name).replace("_", " "))


def _until_words(times: pd.Series[Any]) -> list[str]:
    return ["never" if pd.isna(at) else f"{pd.Timestamp(at):%Y-%m-%d %H:%M}" for at in times]


def _interval(start: Any, end: Any) -> str:
    if pd.isna(end):
        return "all"
    last = f"{end:%Y-%m-%d %H:%M}"
    if pd.isna(start):
        return f"up to {last}"
    first = f"{start:%Y-%m-%d %H:%M}"
    return first if first == last else f"{first} to {end:%H:%M}" if start.date() == end.date() else f"{first} to {last}"


def join_keys(view: Any) -> list[str]:
    """Return the names of a view's join keys; none where it has no entity."""
    return [name for name, _type in key_fields(view)] if hasattr(view, "entity_columns") and has_entities(view) else []


def journal(stores: Stores, view: str | None) -> list[Run]:
    """Return the runs of one view or all; none where the store keeps no journal."""
    if not stores.has_history or not stores.online.catalog.is_there():
        return []
    return stores.online.journal.runs(stores.project, view)


def last_run(stores: Stores, view: str) -> Run | None:
    """Return the newest run that wrote into a view."""
    return next((run for run in journal(stores, view) if run.writes), None)


def entries(stores: Stores) -> dict[str, ViewEntry]:
    """Return the views as the online store knows them; none where it keeps no catalog."""
    if not stores.has_history:
        return {}
    catalog = stores.online.catalog
    return {entry.view: entry for entry in catalog.views(stores.project)}


def until(view: Any) -> datetime | None:
    """Return until when a view is materialized; None for never."""
    return getattr(view, "most_recent_end_time", None)


def _instant_or_none(at_us: int) -> datetime | None:
    """Return the instant; None for a beginning that no datetime can say."""
    return instant(at_us) if abs(at_us) < 2**62 else None
