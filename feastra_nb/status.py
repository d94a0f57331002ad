"""`ws.status` and `ws.runs`: views, their freshness, the journal of runs, and the cluster's health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.objects import has_entities, key_fields
from feastra_nb.connection.targets import short
from feastra_nb.reporting import html
from feastra_nb.reporting.report import Report
from feastra_nb.retrieval.request import ttl_us
from feastra_nb.times import instant, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.journal import Run
    from feastra_nb.stores import Stores


@dataclass(frozen=True, slots=True, eq=False)
class Status(Report):
    """Where a workspace is connected, and how its cluster does.

    Parameters
    ----------
    facts
        What one line each says: target, project, keyspace, consistency, …
    frame
        A row for each node: address, state, data centre, rack, Cassandra's version.
    """

    facts: Mapping[str, str]
    frame: pd.DataFrame

    def __repr__(self) -> str:
        width = max(map(len, self.facts), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        return "\n".join([*lines, "", self.frame.to_string(index=False)])

    def _page(self) -> str:
        return _status_page(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the nodes by state."""
        return _draw(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        return {"facts": dict(self.facts), "nodes": self.frame}


def _status_page(status: Status) -> str:
    """Return where a workspace is connected, and its nodes."""
    states = [html.status(state, "ok" if state == "up" else "bad") for state in status.frame["state"]]
    labels = {"data_centre": "data centre"}
    nodes = html.section("Nodes", html.table(status.frame.assign(state=states), labels=labels))
    return html.page("Feature store", html.facts(status.facts), nodes, text=repr(status))


def _draw(status: Status, ax: Axes | None = None) -> Axes:
    """Draw the nodes by state."""
    from matplotlib.ticker import MaxNLocator

    from feastra_nb.reporting.plots import BAD, FIGURE_INCHES, OK, drawing

    counts = status.frame["state"].value_counts()
    with drawing(ax, figsize=(FIGURE_INCHES[0], 1.6 + 0.5 * len(counts))) as axes:
        tones = [OK if state == "up" else BAD for state in counts.index]
        axes.barh(list(counts.index), list(counts.to_numpy()), color=tones, height=0.5)
        axes.set_xlabel("nodes")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(status.facts.get("target", "cluster"))
    return axes


def status(stores: Stores) -> Status:
    """Return the status of a workspace."""
    import pandas as pd

    config = stores.feast.config
    facts = {
        "target": short(stores.target) if stores.target is not None else f"repository {stores.directory}",
        "project": stores.project,
        "folder": str(stores.directory),
        "offline store": str(config.offline_store.type),
        "views": str(len(stores.feast.list_all_feature_views())),
    }
    columns = ["address", "state", "data_centre", "rack", "version"]
    if not stores.has_history:
        facts["online store"] = str(config.online_store.type)
        return Status(facts, pd.DataFrame(columns=columns))
    db = stores.online.db
    facts |= {
        "cluster": f"{db.session.cluster.metadata.cluster_name} ({db.settings.label})",
        "keyspace": db.keyspace,
        "consistency": f"read {db.settings.read_consistency}, write {db.settings.write_consistency}",
    }
    nodes = [
        (host.address, "up" if host.is_up else "down", host.datacenter, host.rack, str(host.release_version))
        for host in db.session.cluster.metadata.all_hosts()
    ]
    return Status(facts, pd.DataFrame(sorted(nodes), columns=columns))


def views(stores: Stores, search: str | None) -> pd.DataFrame:
    """Return a row for each feature view whose name, description, entities or features hold the text."""
    import pandas as pd

    entries = _entries(stores)
    rows = []
    for view in sorted(stores.feast.list_all_feature_views(), key=lambda known: known.name):
        entry = entries.get(view.name)
        ttl = ttl_us(view)
        rows.append(
            {
                "view": view.name,
                "join_keys": ", ".join(_join_keys(view)),
                "features": ", ".join(field.name for field in view.features),
                "ttl": pd.NaT if ttl is None else pd.Timedelta(ttl, unit="us"),
                "retain": entry.retain if entry else None,
                "materialized_until": _until(view),
                "description": view.description,
            }
        )
    frame = pd.DataFrame(
        rows, columns=["view", "join_keys", "features", "ttl", "retain", "materialized_until", "description"]
    )
    if search is None:
        return frame
    text = frame[["view", "join_keys", "features", "description"]].agg(" ".join, axis=1).str.lower()
    return frame[text.str.contains(search.lower(), regex=False)].reset_index(drop=True)


def freshness(stores: Stores) -> pd.DataFrame:
    """Return for each view the newest materialized event, how far it lies behind now, and the last run."""
    import pandas as pd

    now = utc_now()
    rows = []
    for view in sorted(stores.feast.list_all_feature_views(), key=lambda known: known.name):
        until = _until(view)
        last = next((run for run in _runs(stores, view.name) if run.writes), None)
        rows.append(
            {
                "view": view.name,
                "materialized_until": until,
                "behind": pd.NaT if until is None else pd.Timedelta(now - until),
                "last_run": None if last is None else instant(last.began_us),
                "state": None if last is None else last.state,
                "rows": None if last is None else last.rows,
            }
        )
    return pd.DataFrame(rows, columns=["view", "materialized_until", "behind", "last_run", "state", "rows"])


def runs(stores: Stores, view: str | None) -> pd.DataFrame:
    """Return the journal, newest run first."""
    import pandas as pd

    if view is not None:
        stores.view(view)
    shown = sorted(_runs(stores, view), key=lambda run: run.began_us, reverse=True)
    rows = [
        {
            "view": run.view,
            "began": instant(run.began_us),
            "seconds": None if run.ended_us is None else (run.ended_us - run.began_us) / 1e6,
            "kind": run.kind,
            "state": run.state,
            "rows": run.rows,
            "expired": run.expired,
            "start": _instant_or_none(run.start_us),
            "end": _instant_or_none(run.end_us),
            "thinned": run.thinned,
            "who": run.who,
            "error": run.error,
        }
        for run in shown
    ]
    columns = [
        "view",
        "began",
        "seconds",
        "kind",
        "state",
        "rows",
        "expired",
        "start",
        "end",
        "thinned",
        "who",
        "error",
    ]
    return pd.DataFrame(rows, columns=columns)


def _join_keys(view: Any) -> list[str]:
    return [name for name, _type in key_fields(view)] if hasattr(view, "entity_columns") and has_entities(view) else []


def _runs(stores: Stores, view: str | None) -> list[Run]:
    if not stores.has_history or not stores.online.catalog.is_there():
        return []
    return stores.online.journal.runs(stores.project, view)


def _entries(stores: Stores) -> dict[str, ViewEntry]:
    if not stores.has_history:
        return {}
    catalog = stores.online.catalog
    return {entry.view: entry for entry in catalog.views(stores.project)}


def _until(view: Any) -> datetime | None:
    return getattr(view, "most_recent_end_time", None)


def _instant_or_none(at_us: int) -> datetime | None:
    """Return the instant; None for a beginning that no datetime can say."""
    return instant(at_us) if abs(at_us) < 2**62 else None
