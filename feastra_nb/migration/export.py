"""Goes back: writes what our log serves into tables of Feast's own store, by that store itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.mirror import Mirror
from feastra_nb.connection.cluster import quoted
from feastra_nb.errors import ConfigurationError
from feastra_nb.migration.reports import MigrationReport
from feastra_nb.migration.sides import expanded, online_views
from feastra_nb.reporting.progress import bar
from feastra_nb.reporting.words import counted
from feastra_nb.storage.scanned_columns import BLOB, Column
from feastra_nb.storage.scanning import FailedRange, Pace, Scan, scanned, token_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.stores import Stores

LAYOUTS = ("feast-cassandra",)


def export(
    stores: Stores,
    layout: str,
    views: Sequence[str] | None,
    *,
    to: Mapping[str, Any] | None,
    rows_per_s: float | None,
    shown: bool,
) -> MigrationReport:
    """Write what our log serves of every entity into Feast's own tables.

    Parameters
    ----------
    layout
        ``"feast-cassandra"``.
    to
        The ``online_store`` block of Feast's store; None for `type: cassandra` in our own keyspace.

    Raises
    ------
    ConfigurationError
        There is no such layout, or the online store is not ours.
    RequestFailed
        Feast's store could not write; the same call goes on where it matters, since it writes the newest values again.
    """
    import pandas as pd

    if layout not in LAYOUTS:
        raise ConfigurationError(
            f"layout={layout!r} is not one that can be written", hint=f"one of {', '.join(LAYOUTS)}"
        )
    began, opened = time.monotonic(), stores.online
    tables = {view.name: view for view in online_views(stores, views)}
    block = feast_block(stores) if to is None else {"type": "cassandra", **expanded(dict(to))}
    mirror, pace = Mirror(stores.feast.config, block), Pace(rows_per_s)
    rows, unknown = [], []
    try:
        mirror.make_tables(list(tables.values()))
        for name, view in tables.items():
            with bar(None, f"exporting {name}", "entities", shown=shown) as made:
                counts = {"view": name, "entities": 0, "rows": 0}
                for part in scanned(_keys(stores, opened.entry(view)), token_ranges(opened.db), pace=pace):
                    if isinstance(part, FailedRange):
                        unknown.append(
                            f"{name}: range {part.range.after} to {part.range.upto} could not be read: {part.error.message}"
                        )
                        continue
                    keys = part.columns[0].to_pylist()
                    counts["entities"] += len(keys)
                    counts["rows"] += mirror.write(opened, view, keys)
                    made.update(len(keys))
            rows.append(counts)
    finally:
        mirror.close()
    frame = pd.DataFrame(rows)
    written, entities = (int(frame[name].sum()) if rows else 0 for name in ("rows", "entities"))
    return MigrationReport(
        "export",
        f"{written:,} of {counted(entities, 'entity', 'entities')} of {counted(len(rows), 'view')} are in Feast's own tables",
        frame,
        frame,
        unknown=tuple(unknown),
        notes=(f"{entities - written:,} entities are past their view's ttl and were not written",)
        if entities > written
        else (),
        seconds=time.monotonic() - began,
    )


def feast_block(stores: Stores) -> dict[str, Any]:
    """Return the block of Feast's ``type: cassandra`` for the keyspace that we use."""
    db = stores.online.db
    settings = db.settings
    if settings.tls is not None:
        raise ConfigurationError(
            "Feast's own Cassandra store cannot connect with TLS, as this cluster asks", hint="to={…} another one"
        )
    where: dict[str, Any] = (
        {"secure_bundle_path": settings.bundle}
        if settings.bundle
        else {"hosts": list(settings.hosts), "port": settings.port}
    )
    login = {} if settings.username is None else {"username": settings.username, "password": settings.password}
    return {"type": "cassandra", **where, "keyspace": db.keyspace, **login}


def _keys(stores: Stores, entry: ViewEntry) -> Scan:
    db = stores.online.db
    table = f"{quoted(db.keyspace)}.{quoted(entry.table)}"
    columns = [Column("entity_key", BLOB)]
    return Scan(db, f"scanning view {entry.view}", table, "entity_key", columns, tail="PER PARTITION LIMIT 1")
