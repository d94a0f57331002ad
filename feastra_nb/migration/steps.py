"""Copies and verifies every view of an open migration, and says what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.migration.copying import copy_view, summed
from feastra_nb.migration.differences import frame_of
from feastra_nb.migration.reports import MigrationReport
from feastra_nb.migration.sides import Sides, online_views, without_tables
from feastra_nb.migration.verifying import verify_view
from feastra_nb.reporting.progress import bar
from feastra_nb.reporting.words import counted
from feastra_nb.storage.scanning import Pace
from feastra_nb.times import instant

if TYPE_CHECKING:
    from feastra_nb.migration.sources import Source
    from feastra_nb.times import Instant


def _present(sides: Sides) -> list[tuple[Any, Source]]:
    """Return the views of which Feast's store has entities.

    Raises
    ------
    ConfigurationError
        It has none, or a table of a view's name is not Feast's.
    """
    if sides.tables.unfit:
        view, why = next(iter(sides.tables.unfit.items()))
        keyspace = sides.old.keyspace if sides.old is not None else ""
        raise ConfigurationError(
            f"the table of view {view!r} in keyspace {keyspace!r} is not one of Feast's: {why}",
            hint="name the views that are to be migrated, without this one",
        )
    if not sides.sources:
        raise without_tables(sides)
    return [(view, sides.sources[view.name]) for view in online_views(sides.stores) if view.name in sides.sources]


def missing_notes(sides: Sides) -> tuple[str, ...]:
    """Say which views have no table yet."""
    return tuple(f"{view}: Feast has no table of it; nothing to copy" for view in sides.tables.missing)


def copied(sides: Sides, *, rows_per_s: float | None, full: bool, shown: bool) -> MigrationReport:
    """Copy every view of an open migration."""
    import pandas as pd

    pace, began, done = Pace(rows_per_s), time.monotonic(), []
    found = _present(sides)
    sides.new.catalog.create()
    for view in online_views(sides.stores, list(sides.tables.missing)):
        sides.registered(view)
    for view, source in found:
        with bar(source.estimate() or None, f"copying {view.name}", "entities", shown=shown) as made:
            done.append(copy_view(sides, view, source, pace=pace, full=full, on_entities=made.update))
    rows = [view.row for view in done]
    seconds = time.monotonic() - began
    frame = pd.DataFrame(rows)
    number, written = summed(rows, "entities"), summed(rows, "rows")
    return MigrationReport(
        "copy",
        f"{counted(number, 'entity', 'entities')} of {counted(len(done), 'view')} read and {counted(written, 'row')} written "
        f"in {seconds:.1f} s",
        frame,
        frame,
        problems=tuple(text for view in done for text in view.problems),
        unknown=tuple(text for view in done for text in view.unknown),
        notes=(
            *missing_notes(sides),
            *(f"{view.view}: went on after {view.resumed} ranges" for view in done if view.resumed),
        ),
        at=instant(min(view.at_us for view in done)),
        seconds=seconds,
    )


def verified(
    sides: Sides, *, at: Instant | None, rows_per_s: float | None, shown: bool, notes_it: bool
) -> MigrationReport:
    """Verify every view of an open migration."""
    import pandas as pd

    from feastra_nb.times import instants

    pace, began, done, unknown = Pace(rows_per_s), time.monotonic(), [], []
    for view, source in _present(sides):
        t0_us = int(instants(at, 1, "at")[0]) if at is not None else _verified_at(sides, view)
        if t0_us is None:
            unknown.append(f"{view.name}: no copy of it was ever finished (feastra migrate copy)")
            continue
        with bar(source.estimate() or None, f"verifying {view.name}", "entities", shown=shown) as made:
            done.append(verify_view(sides, view, source, t0_us=t0_us, pace=pace, on_entities=made.update))
        is_equal = not done[-1].failed and not done[-1].counts["differing"]
        if notes_it:
            sides.journal.verified(view.name, t0_us if is_equal else None)
    rows = [view.row for view in done]
    differing = summed(rows, "differing")
    return MigrationReport(
        "verify",
        f"{counted(summed(rows, 'entities'), 'entity', 'entities')} of {counted(len(done), 'view')}: "
        + (f"{differing:,} differ" if differing else "no cell differs"),
        frame_of([difference for view in done for difference in view.differences]),
        pd.DataFrame(rows),
        problems=tuple(
            f"{view.view}: {counted(view.counts['differing'], 'entity differs', 'entities differ')}"
            for view in done
            if view.counts["differing"]
        ),
        unknown=(*unknown, *(text for view in done for text in view.unknown)),
        notes=(*(note for view in done for note in view.notes), *missing_notes(sides)),
        at=instant(min((view.t0_us for view in done), default=0)),
        seconds=time.monotonic() - began,
    )


def _verified_at(sides: Sides, view: Any) -> int | None:
    """Return as of when a view is verified: since the switch both are written at once; before, a copy follows Feast's writes."""
    current = sides.journal.progress(view.name).current
    complete_us = None if current is None else current.complete_us
    if complete_us is None:
        return None
    return time.time_ns() // 1000 if sides.is_switched else complete_us
