"""`ws.status`: where a workspace is connected, and how its cluster does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.targets import short
from feastra_nb.reporting import html
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

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
