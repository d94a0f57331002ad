"""Verifies a copy: both sides as of one instant, every cell; what differs is read again before it is said."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.adapter.feast_cells import NO_US
from feastra_nb.connection.cluster import Database, quoted
from feastra_nb.migration.comparison import EXPIRY_MARGIN_US, Ours, compare
from feastra_nb.migration.differences import differences_of, missing_in_feast
from feastra_nb.migration.translation import Terms, entities_of, unread
from feastra_nb.retrieval.lookup import newest_at
from feastra_nb.storage import reader
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.rows import key_hashes
from feastra_nb.storage.scanned_columns import BIGINT, BLOB, INT, NOTHING, Column
from feastra_nb.storage.scanning import FailedRange, Pace, Scan, scanned, token_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from feastra_nb.migration.comparison import Compared
    from feastra_nb.migration.differences import Difference
    from feastra_nb.migration.sides import Sides
    from feastra_nb.migration.sources import Source
    from feastra_nb.migration.translation import Entities
    from feastra_nb.storage.rows import Rows

LISTED = 10_000  # cells that are listed; all are counted
AGAIN = 500  # entities that are read again at a time


@dataclass(slots=True)
class VerifiedView:
    """What became of one view.

    Parameters
    ----------
    view
        The feature view.
    t0_us
        The instant, microseconds since the epoch.
    counts
        Entities: compared, differing, and not compared for a reason.
    differences
        Cells that differ, as many as are listed.
    failed
        Ranges that could not be read.
    """

    view: str
    t0_us: int
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    failed: list[FailedRange] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def row(self) -> dict[str, Any]:
        """The figures of a report."""
        names = ("entities", "equal", "differing", "overwritten", "younger", "expired", "future", "unreadable")
        return {"view": self.view, **{name: self.counts[name] for name in names}, "seconds": self.seconds}

    @property
    def unknown(self) -> list[str]:
        """The ranges that could not be read."""
        return unread(self.view, self.failed)

    @property
    def notes(self) -> list[str]:
        """What is worth knowing and not wrong."""
        reasons = {
            "overwritten": "were overwritten in Feast's table by a late row; ours keeps the newer event",
            "younger": "were written after the instant",
            "expired": "are past the view's ttl: Feast serves them all the same, feastra_nb does not",
            "suppressed": "were forgotten here, and are still in Feast's table",
            "future": "have an event in the future, which Feast serves and feastra_nb does not",
            "unreadable": "have a key that is not of the view",
        }
        return [
            f"{self.view}: {self.counts[name]:,} entities {why}" for name, why in reasons.items() if self.counts[name]
        ]


def verify_view(
    sides: Sides, view: Any, source: Source, *, t0_us: int, pace: Pace, on_entities: Callable[[int], object]
) -> VerifiedView:
    """Compare one view's table with our log, as of an instant."""
    began = time.monotonic()
    terms = Terms.of(view, sides.new.entry(view, reload=True))
    with duckdb.connect() as connection:
        work = _Verification(sides, terms, source, VerifiedView(view.name, t0_us), connection)
        work.scan_feasts(pace, on_entities)
        if source.knows_all and not work.done.failed:
            work.scan_ours(pace)
    work.confirm()
    work.done.seconds = time.monotonic() - began
    return work.done


@dataclass(slots=True)
class _Verification:
    """One view's verification, and what it has come upon."""

    sides: Sides
    terms: Terms
    source: Source
    done: VerifiedView
    connection: Any
    seen: list[npt.NDArray[np.uint64]] = field(default_factory=list)  # 8 bytes an entity
    doubtful: list[bytes] = field(default_factory=list)  # stored keys, in hex
    orphans: list[bytes] = field(default_factory=list)  # keys that Feast's table seems to lack

    @property
    def _db(self) -> Database:
        return self.sides.new.db

    def scan_feasts(self, pace: Pace, on_entities: Callable[[int], object]) -> None:
        """Compare every entity of Feast's table."""
        source = self.source
        listed = self.sides.new.suppression.current()
        for part in source.cells(source.parts(source.part_count()), pace):
            if isinstance(part, FailedRange):
                self.done.failed.append(part)
                continue
            entities = entities_of(part[1], self.terms)
            forgotten = listed.mask_of_keys(self.terms.entry, entities.keys)
            self.done.counts["suppressed"] += int(forgotten.sum())
            entities = entities.take(~forgotten)
            self.seen.append(key_hashes(entities.keys.cast(pa.large_binary()), self.connection))
            compared = self._compared(entities, self._newest(entities.keys))
            self._count(entities, compared)
            self.doubtful += entities.found.entity_key.filter(pa.array(compared.is_wrong)).to_pylist()
            on_entities(entities.counts["entities"])

    def scan_ours(self, pace: Pace) -> None:
        """Find the entities of our log that Feast's table does not hold."""
        seen = np.unique(np.concatenate([*self.seen, np.zeros(0, dtype=np.uint64)]))
        entry, now_us = self.terms.entry, time.time_ns() // 1000
        oldest_us = now_us - entry.ttl_us + EXPIRY_MARGIN_US if entry.ttl_us else NO_US
        columns = [
            Column("entity_key", BLOB),
            Column("event_us", BIGINT),
            Column("arrived_us", BIGINT),
            Column("TTL(features)", INT),
        ]
        scan = Scan(
            self._db, f"scanning view {entry.view}", f"{quoted(self._db.keyspace)}.{quoted(entry.table)}", "entity_key", columns,
            tail="PER PARTITION LIMIT 1",
        )  # fmt: skip
        for part in scanned(scan, token_ranges(self._db), pace=pace):
            if isinstance(part, FailedRange):
                self.done.failed.append(part)
                continue
            keys, event_us, arrived_us, ttl_s = part.columns
            lives = (ttl_s == NOTHING) | (ttl_s * 1_000_000 > EXPIRY_MARGIN_US)
            counts = (
                lives & (event_us >= oldest_us) & (event_us <= now_us + CLOCK_SKEW_US) & (arrived_us <= self.done.t0_us)
            )
            new = counts & ~np.isin(key_hashes(keys, self.connection), seen)
            self.orphans += keys.filter(pa.array(new)).to_pylist()

    def confirm(self) -> None:
        """Read what seems to differ once more, from both sides, and note what still does."""
        for start in range(0, len(self.doubtful), AGAIN):
            some = self.doubtful[start : start + AGAIN]
            self._confirm_cells(some)
        for start in range(0, len(self.orphans), AGAIN):
            some = self.orphans[start : start + AGAIN]
            here = {bytes.fromhex(row) for row in self.source.keys_of([key.hex().encode() for key in some])}
            lacking = [key for key in some if key not in here]
            self.done.counts["differing"] += len(lacking)
            self._list(missing_in_feast(self.terms, lacking))
        self.done.counts["equal"] = self.done.counts["compared"] - self.done.counts["differing in feast"]

    def _confirm_cells(self, stored: Sequence[bytes]) -> None:
        entities = entities_of(self.source.cells_of(stored), self.terms)
        bounds = reader.Bounds(reader.BEGINNING_US, time.time_ns() // 1000 + CLOCK_SKEW_US)
        history = reader.read_history(
            self._db, self.terms.entry, list(dict.fromkeys(entities.keys.to_pylist())), bounds
        )
        ours = self._as_of(history, entities.keys)
        compared = self._compared(entities, ours)
        differing, overwritten = differences_of(entities, ours, compared, history, self.terms)
        self.done.counts["overwritten"] += overwritten
        number = len({difference.key for difference in differing})
        self.done.counts["differing"] += number
        # What has changed since the scan is equal, or younger: one way or the other it does not count.
        self.done.counts["differing in feast"] += number
        self._list(differing)

    def _list(self, differences: Sequence[Difference]) -> None:
        self.done.differences += differences[: LISTED - len(self.done.differences)]

    def _compared(self, entities: Entities, ours: Ours) -> Compared:
        return compare(
            entities,
            ours,
            self.terms,
            t0_us=self.done.t0_us,
            now_us=time.time_ns() // 1000,
            unit_us=self.source.unit_us,
        )

    def _count(self, entities: Entities, compared: Compared) -> None:
        counts = self.done.counts
        counts["entities"] += entities.counts["entities"]
        counts["unreadable"] += entities.counts["unreadable"]
        counts["compared"] += int(compared.is_compared.sum())
        counts["younger"] += int(compared.is_younger.sum())
        counts["expired"] += int((compared.is_expired & ~compared.is_younger).sum())
        counts["future"] += int((compared.is_future & ~compared.is_younger).sum())

    def _newest(self, keys: pa.Array) -> Ours:
        """Return what our log served at the instant."""
        bounds = reader.Bounds(reader.BEGINNING_US, time.time_ns() // 1000 + CLOCK_SKEW_US)
        rows = reader.read_newest(self._db, self.terms.entry, keys.unique().to_pylist(), bounds)
        place = np.asarray(pc.index_in(keys, rows.entity_key).fill_null(-1), dtype=np.int64)
        late = rows.arrived_us > self.done.t0_us
        if not late.any():
            return _ours(rows, place)
        some = rows.entity_key.filter(pa.array(late))
        history = reader.read_history(self._db, self.terms.entry, some.to_pylist(), bounds)
        before = self._as_of(history, keys)
        is_late = (place >= 0) & late[np.maximum(place, 0)]
        newest = _ours(rows, place)
        return Ours(
            pc.if_else(pa.array(is_late), before.payload, newest.payload),
            np.where(is_late, before.event_us, newest.event_us),
            np.where(is_late, before.arrived_us, newest.arrived_us),
        )

    def _as_of(self, history: Rows, keys: pa.Array) -> Ours:
        ever = np.full(len(keys), reader.END_US)
        return _ours(history, newest_at(history, keys, ever, np.full(len(keys), self.done.t0_us)))


def _ours(rows: Rows, place: npt.NDArray[np.int64]) -> Ours:
    index = pa.array(place, mask=place < 0)
    return Ours(
        rows.features.cast(pa.large_binary()).take(index),
        np.asarray(pa.array(rows.event_us).take(index).fill_null(NO_US)),
        np.asarray(pa.array(rows.arrived_us).take(index).fill_null(NO_US)),
    )
