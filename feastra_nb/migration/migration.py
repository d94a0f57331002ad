"""`ws.migration()`: the five steps from Feast's own tables to ours, each of which can be run again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ReadOnly
from feastra_nb.migration import planning, switching
from feastra_nb.migration.sides import opened_sides
from feastra_nb.migration.steps import copied, verified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feastra_nb.migration.reports import MigrationReport
    from feastra_nb.stores import Stores
    from feastra_nb.times import Instant


class Migration:
    """The migration of a Feast repository from Feast's own Cassandra or Scylla store to ours.

    Made by `Workspace.migration`. Every step can be stopped and run again; none needs the writers or readers to stop.

    Parameters
    ----------
    stores
        The repository.
    own
        Keys of our ``online_store`` block that differ from what follows from Feast's.
    """

    def __init__(self, stores: Stores, own: Mapping[str, Any]) -> None:
        self._stores = stores
        self._own = dict(own)

    def __repr__(self) -> str:
        return f"Migration of {self._stores.directory}: plan, copy, verify, switch, finish"

    def plan(
        self, views: Sequence[str] | str | None = None, *, sample: float = 1.0, progress: bool = True
    ) -> MigrationReport:
        """Say what is to be copied and what stands in the way; nothing is written.

        Parameters
        ----------
        views
            Names of views; None for all that are kept online.
        sample
            Which share of the ring is read; figures are then estimates.

        Returns
        -------
        MigrationReport
            Entities, cells and bytes by view, the time a copy takes, on Astra the reads and writes, and every problem.
        """
        began = time.monotonic()
        with opened_sides(self._stores, _names(views), self._own) as sides:
            return planning.plan(sides, sample=sample, shown=progress, began_s=began)

    def copy(
        self,
        views: Sequence[str] | str | None = None,
        *,
        rows_per_s: float | None = None,
        full: bool = False,
        progress: bool = True,
    ) -> MigrationReport:
        """Copy Feast's tables, or what has been written to them since the last copy.

        Parameters
        ----------
        views
            Names of views; None for all that are kept online.
        rows_per_s
            Read at most so many rows of Feast's tables a second, a row being one feature of one entity.
        full
            Copy everything again.

        Returns
        -------
        MigrationReport
            A row for each view. A range of the ring that could not be read stands under ``unknown``; the next call reads it.
        """
        self._refuse_read_only()
        with opened_sides(self._stores, _names(views), self._own) as sides:
            return copied(sides, rows_per_s=rows_per_s, full=full, shown=progress)

    def verify(
        self,
        views: Sequence[str] | str | None = None,
        *,
        at: Instant | None = None,
        rows_per_s: float | None = None,
        progress: bool = True,
    ) -> MigrationReport:
        """Compare both sides, cell by cell, as they were at one instant.

        Parameters
        ----------
        views
            Names of views; None for all that are kept online.
        at
            The instant; entities that were written to after it are not compared. None: when the last copy began, and once the
            repository is switched, now.
        rows_per_s
            Read at most so many rows of either side a second.

        Returns
        -------
        MigrationReport
            ``frame`` has a row for each cell that differs.
        """
        with opened_sides(self._stores, _names(views), self._own) as sides:
            return verified(sides, at=at, rows_per_s=rows_per_s, shown=progress, notes_it=not self._stores.read_only)

    def switch(self, *, verify: bool = True, progress: bool = True) -> MigrationReport:
        """Copy what is new, verify, and make the repository use our store, which goes on writing Feast's tables (``mirror:``).

        ``feature_store.yaml`` is edited, with a backup beside it. Processes that run go on as they were until they are started
        again: first those that write, then `copy` once more, then those that read.

        Parameters
        ----------
        verify
            Refuse unless both sides are equal.
        """
        self._refuse_read_only()
        return switching.switch(self._stores, self._own, verify=verify, shown=progress)

    def finish(self, *, drop_old: bool = False, progress: bool = True) -> MigrationReport:
        """Verify once more, copy what is missing if anything is, and stop writing Feast's tables.

        Parameters
        ----------
        drop_old
            Drop Feast's tables of the views, which cannot be taken back.
        """
        self._refuse_read_only()
        return switching.finish(self._stores, drop_old=drop_old, shown=progress)

    def _refuse_read_only(self) -> None:
        if self._stores.read_only:
            raise ReadOnly("this workspace was opened with read_only=True", hint="open it without")


def _names(views: Sequence[str] | str | None) -> list[str] | None:
    return [views] if isinstance(views, str) else None if views is None else list(views)
