"""Compares a whole view as it is now: a scan of the online store by ranges of its ring, merged with the offline rows of each.

All of it counts at one instant, T0: what arrives later is not seen. A range that cannot be read is unknown, never a match.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from feastra_nb import codec
from feastra_nb.errors import FeastraError, RequestFailed
from feastra_nb.skew.cells import CellChunk
from feastra_nb.skew.merge import Rules, compare_range, unread_range
from feastra_nb.skew.offline_ranges import OfflineRanges
from feastra_nb.skew.offline_side import OfflineRows
from feastra_nb.skew.rules import LONGEST_US
from feastra_nb.skew.stopped import KEPT_RANGES, KeptRanges, folder_of
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.scanning import FailedRange, Pace, scanned, token_ranges
from feastra_nb.storage.size import partitions
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.evidence import Cover
    from feastra_nb.skew.merge import Partial
    from feastra_nb.skew.scanned_stores import ScannedStore
    from feastra_nb.skew.verdicts import Tolerance
    from feastra_nb.storage.scanned_columns import Columns
    from feastra_nb.storage.scanning import TokenRange
    from feastra_nb.stores import Stores

RANGE_ROWS = 40_000  # of either side, about: what is in memory at a time
_ROWS_BITS = 32  # rows are numbered by range, and within it


@dataclass(eq=False)
class ScanPairing:
    """One view to compare as a whole.

    Parameters
    ----------
    stores
        Whose offline store is asked.
    online
        The store to scan.
    view_request
        The view and its features.
    covers
        What was materialized.
    tolerance
        Absolute difference of numbers that still counts as equal.
    pace
        How fast the online store may be read.
    keep_bytes
        Of offline rows that stay in memory.
    resume
        Go on with the same comparison that was stopped, at its instant.
    """

    stores: Stores
    online: ScannedStore
    view_request: Requested
    covers: Sequence[Cover]
    tolerance: Tolerance
    pace: Pace
    keep_bytes: int
    resume: bool = False
    failed: list[FailedRange] = field(default_factory=list)

    def __post_init__(self) -> None:
        runs = folder_of(self.stores.project, self.stores.keyspace, self.view_request.view.name, self.label,
                         self.view_request.features, self.tolerance)  # fmt: skip
        self._runs = runs
        self._kept = KeptRanges.stopped(runs) if self.resume else None
        if self.resume and self._kept is None:
            warn_user(f"no comparison of {self.label} was stopped that could go on: it begins anew")
        self.t0_us = time.time_ns() // 1000 if self._kept is None else self._kept.t0_us
        self._offline = OfflineRows(self.stores, self.view_request, self.t0_us + CLOCK_SKEW_US, ahead_us=LONGEST_US)

    @property
    def label(self) -> str:
        """What the report calls the view."""
        return self.view_request.label

    @cached_property
    def _ranges(self) -> Sequence[TokenRange]:
        if self._kept is not None:
            return self._kept.ranges
        entities = max(self._offline.count(), partitions(self.online.db, self.online.table(self.view_request)))
        rows = entities * self.online.rows_of_entity(self.view_request)
        return token_ranges(self.online.db, max(1, -(-rows // RANGE_ROWS)))

    @cached_property
    def _shared_out(self) -> OfflineRanges:
        return OfflineRanges(self._offline, self._ranges, ring_key=self.online.ring_key, keep_bytes=self.keep_bytes)

    def rows(self) -> int:
        """Count the entities that are offline."""
        return self._shared_out.entities

    def entities(self) -> int:
        """Count the entities that are read, as far as it is known."""
        return max(self.rows(), partitions(self.online.db, self.online.table(self.view_request)))

    @property
    def is_unread(self) -> bool:
        """Whether no range could be read."""
        return len(self.failed) == len(self._ranges)

    def compared(self, done: Callable[[int], object]) -> Iterator[CellChunk]:
        """Compare the view range by range."""
        kept = self._kept
        if kept is None and len(self._ranges) >= KEPT_RANGES:
            kept = self._kept = KeptRanges.begin(self._runs, self.t0_us, self._ranges)
        is_empty = True
        try:
            for chunk in self._all_chunks(kept):
                is_empty = False
                yield chunk
                done(chunk.rows.num_rows)
        except BaseException:
            if kept is not None:
                self._say_how_far(kept)
            raise
        if kept is not None:
            kept.forget()
        if is_empty:
            yield self._nothing()

    def _all_chunks(self, kept: KeptRanges | None) -> Iterator[CellChunk]:
        left = list(range(len(self._ranges)))
        if kept is not None:
            yield from kept.chunks()
            left = kept.left()
        offline = self._shared_out
        scan = self.online.scan(self.view_request, self.t0_us)
        rules = Rules(self.view_request, self._offline, self.covers, self.tolerance)
        ranges = [self._ranges[number] for number in left]
        for number, found in zip(left, scanned(scan, ranges, pace=self.pace), strict=True):
            table, first_row = offline.table(number), number << _ROWS_BITS
            if isinstance(found, FailedRange):
                self.failed.append(found)
                yield from unread_range(table, rules, self.t0_us, first_row=first_row)
                continue
            partial = self._merged(table, found.columns, rules, first_row)
            if kept is not None:
                kept.keep(number, partial)
            yield from partial

    def _say_how_far(self, kept: KeptRanges) -> None:
        kept.close()
        if kept.done:
            warn_user(
                f"the comparison of {self.label} was stopped after {len(kept.done):,} of {len(kept.ranges):,} ranges; "
                "ws.skew(…, resume=True) goes on with it, at the instant at which it began"
            )

    def _merged(self, table: pa.Table | None, columns: Columns, rules: Rules, first_row: int) -> Partial:
        try:
            return self._of_parts(table, columns, rules, first_row)
        except codec.UnknownPositions:
            # Written by somebody who knows of newer positions: a feature may have moved to one.
            self.online.reload(self.view_request)
            return self._of_parts(table, columns, rules, first_row)

    def _of_parts(self, table: pa.Table | None, columns: Columns, rules: Rules, first_row: int) -> Partial:
        return [
            chunk
            for offline, online, view_request in self.online.parts(self.view_request, columns, table, self.t0_us)
            for chunk in compare_range(
                offline, online, replace(rules, view_request=view_request), self.t0_us, first_row=first_row
            )
        ]

    def _nothing(self) -> CellChunk:
        import pyarrow as pa

        keys = pa.schema([(shown, codec.arrow_type(kind)) for _name, shown, kind in self.view_request.keys])
        return CellChunk.empty(self.label, keys, self.view_request.features)

    def notes(self) -> list[str]:
        """Return what the online table holds that could not be compared, in words."""
        return self.online.notes(self.view_request)

    def failure(self) -> FeastraError | None:
        """Return what could not be read, after all was compared; None for nothing."""
        if not self.failed:
            return None
        error = self.failed[0].error
        if self.is_unread:
            return error
        return RequestFailed(
            f"{len(self.failed):,} of {len(self._ranges):,} ranges of the ring could not be read, their values are "
            f"unknown: {error.message}",
            hint=error.hint,
        )


__all__ = ["ScanPairing"]
