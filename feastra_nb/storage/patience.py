"""Waits for a table that a node does not know yet, as long as the catalog lists it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from feastra_nb.connection.driver_errors import is_unknown_table
from feastra_nb.storage.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.catalog import ViewEntry

    Result = TypeVar("Result")

SCHEMA_WAIT_S = 5.0  # a new table is known everywhere within a second, or two after a node's restart
AGAIN_S = 0.1


class Patience:
    """Says of one read or write whether a failure is worth another attempt, for a few seconds from the first one on.

    Parameters
    ----------
    entry
        The view. Where it was dropped or made anew meanwhile, its table does not come back.
    """

    def __init__(self, db: Database, entry: ViewEntry) -> None:
        self._db = db
        self._entry = entry
        self._until_s: float | None = None

    def allows(self, error: BaseException) -> bool:
        """Tell whether the same request may work soon: a node lacks a table that the catalog has."""
        if not is_unknown_table(error):
            return False
        if self._until_s is None:
            self._until_s = time.monotonic() + SCHEMA_WAIT_S
        return time.monotonic() < self._until_s and self._is_there()

    def until_known(self, work: Callable[[], Result]) -> Result:
        """Do something as often as is allowed, and return what it returns."""
        while True:
            try:
                return work()
            except Exception as error:
                if not self.allows(error):
                    raise
            time.sleep(AGAIN_S)

    async def allows_async(self, error: BaseException) -> bool:
        """As `allows`, and wait before the next attempt; the catalog is read in a thread."""
        if not is_unknown_table(error) or not await asyncio.to_thread(self.allows, error):
            return False
        await asyncio.sleep(AGAIN_S)
        return True

    def _is_there(self) -> bool:
        entry = Catalog(self._db).load(self._entry.project, self._entry.view)
        return entry is not None and entry.table == self._entry.table
