"""What a workspace shows of itself: its views, how they do, and what one would call next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.errors import FeastraError
from feastra_nb.materialization.pulled import OfflineView
from feastra_nb.reporting import html
from feastra_nb.reporting.listing import as_text
from feastra_nb.reporting.words import ago, listed, span
from feastra_nb.status.listings import entries, join_keys, journal, until
from feastra_nb.storage.reader import BEGINNING_US
from feastra_nb.times import instant, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from feastra_nb.reporting.html import Tone
    from feastra_nb.storage.journal import Run
    from feastra_nb.stores import Stores

COUNTED_VIEWS = 20  # whose offline data are looked at: the page is to be there at once
_LATEST_US = 4_000_000_000_000_000  # the year 2096


@dataclass(frozen=True, slots=True)
class LastSkew:
    """What the last comparison of a view in this session found."""

    at: datetime
    compared: int
    differing: int
    ok: bool

    @property
    def words(self) -> str:
        """What it found, and when."""
        what = (
            "no skew"
            if self.ok
            else f"{self.differing:,} of {self.compared:,} differ"
            if self.differing
            else "event times shifted"
        )
        return f"{what}, {ago(utc_now() - self.at)}"


@dataclass(frozen=True, slots=True)
class _State:
    """How a view does: in words, in a tone, and what to call next; empty for nothing."""

    newest: str
    words: str
    tone: Tone
    rows: str
    run: str
    skew: str
    next_call: str


def home(stores: Stores, heading: str, skews: Mapping[str, LastSkew]) -> tuple[str, str]:
    """Return a workspace's own page as text and as HTML.

    Parameters
    ----------
    heading
        Where it is connected, in a line.
    skews
        By view, what was last found.
    """
    views = sorted(stores.feast.list_all_feature_views(), key=lambda view: view.name)
    if not views:
        first = 'ws.materialize(df, "my_view", keys=["customer_id"])'
        words = "There is no feature view yet. A DataFrame with a key, an event time and features makes one:"
        page = html.page(
            "Feature store", html.lead(heading), html.note(words), html.card("Next", code=first, tone="info"), text=""
        )
        return f"{heading}\n{words}\n  {first}", str(page)
    runs = _runs_by_view(stores)
    states = [
        _state(stores, view, runs.get(view.name, []), skews.get(view.name), looks_offline=place < COUNTED_VIEWS)
        for place, view in enumerate(views)
    ]
    table = pd.DataFrame(
        {
            "view": [view.name for view in views],
            "by": [listed(join_keys(view)) or "-" for view in views],
            "rows written": [state.rows for state in states],
            "newest event": [state.newest for state in states],
            "online": [state.words for state in states],
            "last run": [state.run for state in states],
            "last skew": [state.skew for state in states],
        }
    )
    calls = list(dict.fromkeys(state.next_call for state in states if state.next_call))[:3]
    text = "\n".join([heading, as_text(table), "next:", *(f"  {call}" for call in calls)])
    toned = table.assign(online=[html.status(state.words, state.tone) for state in states])
    parts = [html.lead(heading), html.table(toned), html.card("Next", code="\n".join(calls), tone="info")]
    return text, str(html.page("Feature store", *parts, text=text))


def _runs_by_view(stores: Stores) -> Mapping[str, Sequence[Run]]:
    """Return the runs that wrote into the views as they are now, by view, the newest first."""
    generations = {view: entry.generation for view, entry in entries(stores).items()}
    found: dict[str, list[Run]] = {}
    for run in sorted(journal(stores, None), key=lambda run: run.began_us, reverse=True):
        if run.writes and run.generation == generations.get(run.view):
            found.setdefault(run.view, []).append(run)
    return found


def _state(stores: Stores, view: Any, runs: Sequence[Run], skew: LastSkew | None, *, looks_offline: bool) -> _State:
    now, at = utc_now(), until(view)
    offline = _newest_offline(stores, view) if looks_offline else None
    newest = at if offline is None or (at is not None and at < offline) else offline
    last = runs[0] if runs else None
    materialize = f'ws.materialize("{view.name}")'
    words, tone, next_call = _online(at, offline, now)
    if last is not None and last.state in ("failed", "lost", "interrupted"):
        words, tone, next_call = f"last run {last.state}", "bad", f'ws.runs("{view.name}")'
    elif tone != "ok":
        next_call = materialize
    elif skew is None:
        next_call = f'ws.skew("{view.name}")'
    elif skew.differing or not skew.ok:
        next_call = f'ws.skew("{view.name}").diagnoses'
    else:
        next_call = f'ws.latency("{view.name}")'
    rows = sum(run.rows for run in runs)
    return _State(
        newest="-" if newest is None else ago(now - newest),
        words=words,
        tone=tone,
        rows=f"{rows:,}" if runs else "-",
        run="-" if last is None else f"{last.state} {ago(now - instant(last.began_us))}",
        skew="not yet" if skew is None else skew.words,
        next_call=next_call,
    )


def _online(at: datetime | None, offline: datetime | None, now: datetime) -> tuple[str, Tone, str]:
    """Return how the online data of a view stand to the offline ones."""
    if at is None:
        return "never materialized", "bad", ""
    if offline is not None and offline > at and offline <= now:
        return f"{span(offline - at)} behind offline", "warn", ""
    return "up to date" if offline is not None else f"until {ago(now - at)}", "ok", ""


def _newest_offline(stores: Stores, view: Any) -> datetime | None:
    """Return the newest event of a view's offline data, where that can be told without reading them all."""
    from feast import FileSource

    if not isinstance(getattr(view, "batch_source", None), FileSource):
        return None
    try:
        with calling_feast(f"reading view {view.name} offline"):
            extent = OfflineView.of(stores.feast, view).all((BEGINNING_US, _LATEST_US)).extent()
    except FeastraError:
        return None  # it says so itself when it is asked for
    return None if extent is None or not extent.rows else instant(extent.last_us)
