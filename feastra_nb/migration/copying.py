"""Copies tables of Feast's into our log, range by range of the ring; stopped anywhere, it goes on from there."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from feastra_nb.migration.translation import Terms, problems_of, translate, unread
from feastra_nb.storage import writer
from feastra_nb.storage.forgetting import sweep
from feastra_nb.storage.journal import journalled, new_run
from feastra_nb.storage.migration_journal import CopyPass
from feastra_nb.storage.pruning import move_horizon
from feastra_nb.storage.reader import BEGINNING_US, END_US
from feastra_nb.storage.scanning import (
    FailedRange,
    Pace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from feastra_nb.adapter.feast_cells import FeastCells
    from feastra_nb.migration.sides import Sides
    from feastra_nb.migration.sources import Source
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.journal import Run
    from feastra_nb.storage.scanning import TokenRange
    from feastra_nb.storage.suppression import Suppressed

# What was written shortly before a pass began is copied again by the next one: the clocks of Feast's writers, whose write times
# these are, may be behind ours.
CLOCK_MARGIN_US = 5 * 60 * 1_000_000
KIND = "copy"


@dataclass(slots=True)
class CopiedView:
    """What became of one view.

    Parameters
    ----------
    view
        The feature view.
    counts
        By name: cells, entities, rows written, and what was left out (`translation.Translated`).
    samples
        Some keys that nobody can read.
    failed
        Ranges that could not be read, and why.
    resumed
        Ranges that an earlier call had copied.
    at_us
        Everything written before is copied, where nothing failed.
    """

    view: str
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    failed: list[FailedRange] = field(default_factory=list)
    resumed: int = 0
    seconds: float = 0.0
    at_us: int = 0

    @property
    def problems(self) -> list[str]:
        """What cannot become rows of the log."""
        return problems_of(self.view, self.counts, self.samples)

    @property
    def unknown(self) -> list[str]:
        """The ranges that could not be read."""
        return unread(self.view, self.failed)

    @property
    def row(self) -> dict[str, Any]:
        """The figures of a report."""
        names = ("entities", "rows", "unchanged", "expired", "future", "unreadable", "suppressed", "version 2", "cells")
        figures = {name.replace(" ", "_"): self.counts[name] for name in names}
        rate = self.counts["entities"] / self.seconds if self.seconds else 0.0
        return {"view": self.view, **figures, "seconds": self.seconds, "entities_per_s": rate}


def copy_view(sides: Sides, view: Any, source: Source, *, pace: Pace, full: bool, on_entities: Any) -> CopiedView:
    """Copy one view's table, or what is new in it since the last time.

    Parameters
    ----------
    full
        Copy all again, whatever an earlier call has copied.
    on_entities
        Called with the number of entities of each range that is copied.

    Raises
    ------
    FeastraError
        The table cannot be read at all, or our store refuses; what was copied is noted.
    """
    began = time.monotonic()
    entry = sides.registered(view)
    sides.journal.create()
    progress = sides.journal.progress(view.name)
    current = _pass_of(sides, source, entry, progress.current, full=full)
    done = progress.ranges if current == progress.current else {}
    # Events that Feast's table has overwritten are nowhere: before this instant nobody knows what was served.
    entry = move_horizon(sides.new.catalog, entry, current.began_us)
    sides.new.keep(entry)
    copied = CopiedView(view.name, resumed=len(done), at_us=current.began_us)
    for counts in done.values():
        copied.counts.update(counts)
    if copied.resumed:
        on_entities(copied.counts["entities"])
    work = _Copy(sides, Terms.of(view, entry), source, current, copied, sides.new.suppression.current())
    with work.journalled():
        work.run([part for part in source.parts(current.parts) if tuple(part) not in done], pace, on_entities)
    if not copied.failed:
        sides.journal.end(view.name, current)
    copied.seconds = time.monotonic() - began
    return copied


def _pass_of(sides: Sides, source: Source, entry: ViewEntry, last: CopyPass | None, *, full: bool) -> CopyPass:
    """Return the pass that was stopped, or begin another."""
    if last is not None and last.generation != entry.generation:
        last = None  # the view was dropped since, and what was copied with it
    if last is not None and not last.is_done and not full:
        return last
    before_us = None if last is None else last.complete_us
    current = CopyPass(
        began_us=time.time_ns() // 1000,
        generation=entry.generation,
        parts=source.part_count(),
        since_us=None if full or before_us is None or not source.has_write_times else before_us - CLOCK_MARGIN_US,
        done_before_us=before_us,
    )
    sides.journal.begin(entry.view, current)
    return current


@dataclass(slots=True)
class _Copy:
    """One pass over one table."""

    sides: Sides
    terms: Terms
    source: Source
    current: CopyPass
    copied: CopiedView
    listed: Suppressed  # entities that were forgotten, which nothing brings back
    events: tuple[int, int] = (END_US, BEGINNING_US)
    written: int = 0
    made: Run | None = None

    @contextmanager
    def journalled(self) -> Iterator[None]:
        """Keep the journal of runs, in which the copy stands as one that wrote the newest events alone."""
        run = new_run(self.terms.entry, KIND, start_us=END_US, end_us=BEGINNING_US, began_us=time.time_ns() // 1000)
        self.sides.new.journal.write(run)

        def present() -> Run:
            start_us, end_us = self.events
            return replace(
                run, start_us=start_us, end_us=end_us, rows=self.written, expired=self.copied.counts["expired"]
            )

        with journalled(self.sides.new.journal, present):
            yield
            sweep(self.sides.new, self.terms.entry, self.listed)

    def run(self, ranges: Sequence[TokenRange], pace: Pace, on_entities: Any) -> None:
        """Copy some ranges."""
        for part in self.source.cells(ranges, pace):
            if isinstance(part, FailedRange):
                self.copied.failed.append(part)
            else:
                on_entities(self._copy(*part))

    def _copy(self, part: TokenRange, cells: FeastCells) -> int:
        translated = translate(cells, self.terms, now_us=time.time_ns() // 1000, since_us=self.current.since_us)
        allowed = ~self.listed.mask_of_keys(self.terms.entry, translated.rows.entity_key)
        translated.counts["suppressed"] = int((~allowed).sum())
        rows, ttl_s = translated.rows.take(allowed), translated.ttl_s[allowed]
        if len(rows):
            writer.write_parts(
                self.sides.new.db, self.terms.entry, [(rows, ttl_s)], total=len(rows), before=self.written,
                keep_arrival=True,
            )  # fmt: skip
            first, last = self.events
            self.events = min(first, int(rows.event_us.min())), max(last, int(rows.event_us.max()))
        self.written += len(rows)
        counts = {name: number for name, number in translated.counts.items() if number}
        self.sides.journal.range_done(self.copied.view, self.current, part, counts)
        self.copied.counts.update(counts)
        self.copied.samples += translated.samples
        return translated.counts["entities"]


def summed(views: Sequence[Mapping[str, Any]], name: str) -> int:
    """Return the sum of one figure of all views."""
    return sum(int(view[name]) for view in views)
