"""Plans a migration: reads Feast's tables as a copy would, writes nothing, and says how much there is and what is in the way."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.objects import registry_identity, spec_of
from feastra_nb.connection.astra.billing import is_billed
from feastra_nb.errors import CatalogConflict, ConfigurationError
from feastra_nb.migration.reports import MigrationReport
from feastra_nb.migration.sides import online_views, without_tables
from feastra_nb.migration.translation import Terms, problems_of, translate
from feastra_nb.reporting.progress import bar
from feastra_nb.reporting.words import counted
from feastra_nb.storage.catalog import ViewEntry, follow
from feastra_nb.storage.migration_journal import TABLE
from feastra_nb.storage.retention import Retention
from feastra_nb.storage.scanning import FailedRange, Pace
from feastra_nb.storage.table_limit import table_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from feastra_nb.migration.sides import Sides
    from feastra_nb.migration.sources import Source

ENTITIES_PER_S = 5_000  # of ten features, that a copy takes at least from one machine; benchmarks say more
READ_BYTES, WRITE_BYTES = 4_096, 1_024  # what Astra counts as one read and one write


@dataclass(slots=True)
class PlannedView:
    """What one view's table holds.

    Parameters
    ----------
    view
        The feature view.
    share
        Which share of the ring was read; counts are of that.
    counts, size_bytes, samples
        What was read (`translation.Translated`).
    failed
        Ranges that could not be read.
    """

    view: str
    share: float
    counts: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0
    samples: list[str] = field(default_factory=list)
    failed: list[FailedRange] = field(default_factory=list)

    @property
    def row(self) -> dict[str, Any]:
        """The figures of a report, of the whole table."""
        names = ("entities", "rows", "cells", "expired", "future", "unreadable", "version 2")
        figures = {name.replace(" ", "_"): round(self.counts[name] / self.share) for name in names}
        size_bytes = round(self.size_bytes / self.share)
        return {"view": self.view, **figures, "size_bytes": size_bytes, "copy_s": figures["entities"] / ENTITIES_PER_S}

    @property
    def use(self) -> tuple[int, int]:
        """Reads and writes as Astra counts them: a copy, and both sides of a verification."""
        row = self.row
        entities, rows = max(row["entities"], 1), max(row["rows"], 1)
        reads = entities * (2 * math.ceil(row["size_bytes"] / entities / READ_BYTES) + 1)
        return reads, rows * math.ceil(row["size_bytes"] / rows / WRITE_BYTES)


def plan(sides: Sides, *, sample: float, shown: bool, began_s: float) -> MigrationReport:
    """Say what is to be copied, what it takes, and what stands in the way.

    Raises
    ------
    ConfigurationError
        The sample is not a share, or the keyspace holds no table of Feast's.
    """
    import pandas as pd

    if not 0 < sample <= 1:
        raise ConfigurationError(f"sample={sample!r} is not a share of the ring", hint="a number above 0, at most 1")
    tables = sides.tables
    if not sides.sources and not tables.unfit:
        raise without_tables(sides)
    done, conflicts = [], []
    for view in online_views(sides.stores):
        if view.name in sides.sources:
            try:
                terms = Terms.of(view, planned_entry(sides, view))
            except CatalogConflict as error:
                conflicts.append(f"{view.name}: {error.message}")
                continue
            source = sides.sources[view.name]
            with bar(source.estimate() or None, f"reading {view.name}", "entities", shown=shown) as made:
                done.append(_planned(view.name, source, terms, sample, made.update))
    frame = pd.DataFrame([view.row for view in done])
    return MigrationReport(
        "plan",
        _sentence(done),
        frame,
        frame,
        problems=(
            *_obstacles(sides),
            *conflicts,
            *(text for view in done for text in problems_of(view.view, view.counts, view.samples)),
        ),
        unknown=tuple(
            f"{view.view}: {len(view.failed)} ranges could not be read: {view.failed[0].error.message}"
            for view in done
            if view.failed
        ),
        notes=tuple(_notes(sides, done)),
        seconds=time.monotonic() - began_s,
    )


def planned_entry(sides: Sides, view: Any) -> ViewEntry:
    """Return what the catalog will know of a view, changing nothing.

    Raises
    ------
    CatalogConflict
        Another registry owns the view in our catalog, or it is stored with other join keys.
    """
    spec = spec_of(sides.stores.project, view, ttl_us=sides.new.served_ttl_us(view))
    known = None
    if sides.new.catalog.is_there():
        identity = registry_identity(sides.stores.feast.config)
        known = sides.new.catalog.check(spec, registry=identity, adopt=sides.block.adopt_registry)
    fresh = ViewEntry(spec.project, spec.view, 0, 1, (), spec.join_keys, Retention.of(sides.block.retain).text)
    return follow(known or fresh, spec)


def _planned(
    view: str, source: Source, terms: Terms, sample: float, on_entities: Callable[[int], object]
) -> PlannedView:
    parts = source.parts(source.part_count())
    some = parts[:: max(round(1 / sample), 1)]
    planned = PlannedView(view, len(some) / max(len(parts), 1) or 1.0)
    for part in source.cells(some, Pace(None)):
        if isinstance(part, FailedRange):
            planned.failed.append(part)
            continue
        translated = translate(part[1], terms, now_us=time.time_ns() // 1000)
        planned.counts.update(translated.counts)
        planned.size_bytes += translated.size_bytes
        planned.samples += translated.samples
        on_entities(translated.counts["entities"])
    return planned


def _sentence(done: list[PlannedView]) -> str:
    rows = [view.row for view in done]
    entities, seconds = sum(row["entities"] for row in rows), sum(row["copy_s"] for row in rows)
    about = "about " if any(view.share < 1 for view in done) else ""
    what = f"{about}{counted(entities, 'entity', 'entities')} in {counted(len(done), 'view')}"
    return f"{what}; to copy all takes up to {seconds:,.0f} s from one machine"


def _obstacles(sides: Sides) -> list[str]:
    """Say what is in the way before anything is read."""
    tables = sides.tables
    found = [f"{view}: the table of its name is not one of Feast's: {why}" for view, why in tables.unfit.items()]
    room = table_room(sides.new.db)
    new = len([view for view in sides.sources if not sides.new.catalog.is_there() or sides.new.known(view) is None])
    new += 0 if sides.new.db.table_exists(TABLE) else 1
    new += 0 if sides.new.catalog.is_there() else 2
    if room is not None and room.tables + new > room.limit:
        found.append(
            f"the server allows {room.limit} tables and holds {room.tables}; while both sides are there, {new} more are needed"
        )
    return found


def _notes(sides: Sides, done: list[PlannedView]) -> list[str]:
    notes = [f"{view}: Feast has no table of it; nothing to copy" for view in sides.tables.missing]
    notes += [f"table {name} is of no view of this project: it is left alone" for name in sides.tables.orphans]
    for view in done:
        if view.counts["version 2"]:
            number = round(view.counts["version 2"] / view.share)
            notes.append(
                f"{view.view}: {number:,} keys are of version 2, which Feast no longer finds; they become version 3"
            )
        if view.counts["expired"]:
            number = round(view.counts["expired"] / view.share)
            notes.append(
                f"{view.view}: {counted(number, 'entity', 'entities')} past the view's ttl: "
                "Feast serves such all the same, they are not copied"
            )
    if is_billed(sides.block):
        reads, writes = (sum(use) for use in zip(*(view.use for view in done), strict=True)) if done else (0, 0)
        notes.append(f"Astra bills by use: copying and verifying takes about {reads:,} reads and {writes:,} writes")
    return notes
