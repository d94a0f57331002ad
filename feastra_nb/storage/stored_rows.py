"""Finds rows that are already stored, and extends their time to live where a view's ttl has grown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.connection.cluster import WRITE, Database
from feastra_nb.storage import reader
from feastra_nb.storage.requests import run_all
from feastra_nb.storage.retention import TTL_MARGIN_S
from feastra_nb.storage.statements import insert_cql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

FOREVER_S = 2**62
KEYS_AT_ONCE = 2_000  # entities whose stored rows are held at a time


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What a table holds of n rows.

    Parameters
    ----------
    arrived_us
        Shape (n,): when the row's first like (same entity, event, created time and content) arrived; 0 where there is none.
    life_s
        Shape (n,): what is left of that one's life, in seconds.
    written_us
        Shape (n,): its write time, by the clock of the client that wrote it.
    """

    arrived_us: Int64s
    life_s: Int64s
    written_us: Int64s

    @property
    def found(self) -> Bools:
        """Which rows are stored."""
        return self.arrived_us > 0

    def too_short(self, ttl_s: Int64s) -> Bools:
        """Return which stored rows will expire before they have to.

        Parameters
        ----------
        ttl_s
            Shape (n,): each row's time to live were it written now, in seconds; 0 for ever.
        """
        needed_s = np.where(ttl_s == 0, FOREVER_S, ttl_s)
        return self.found & (self.life_s + TTL_MARGIN_S < needed_s)


def find_stored(db: Database, entry: ViewEntry, rows: Rows, candidates: Bools) -> Stored:
    """Look the candidates up in a view's table; rows without repeats."""
    stored = Stored(*(np.zeros(len(rows), dtype=np.int64) for _field in range(3)))
    where = np.flatnonzero(candidates)
    if not len(where):
        return stored
    some = rows.take(where)
    wanted = dict(zip(_contents(some), where.tolist(), strict=True))
    bounds = reader.Bounds(int(some.event_us.min()), int(some.event_us.max()))
    keys = some.entity_key.unique().to_pylist()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        history, remaining_ttl_s, written_us = reader.read_history_with_ttl(
            db, entry, keys[start : start + KEYS_AT_ONCE], bounds
        )
        of_rows = zip(_contents(history), history.arrived_us.tolist(), remaining_ttl_s, written_us, strict=True)
        for content, arrived_us, life_s, at_us in of_rows:
            index = wanted.get(content)
            if index is not None and (not stored.arrived_us[index] or arrived_us < stored.arrived_us[index]):
                stored.arrived_us[index] = arrived_us
                stored.life_s[index] = FOREVER_S if life_s is None else life_s
                stored.written_us[index] = at_us
    return stored


def _contents(rows: Rows) -> Iterator[tuple[Any, ...]]:
    return zip(
        rows.entity_key.to_pylist(),
        rows.event_us.tolist(),
        rows.created_us.tolist(),
        rows.features.to_pylist(),
        strict=True,
    )


def renew(db: Database, entry: ViewEntry, rows: Rows, ttl_s: Int64s, written_us: Int64s) -> None:
    """Write stored rows again under their own key, arrival included, with a new time to live in seconds.

    Parameters
    ----------
    written_us
        Shape (n,): the rows' write times. The new ones follow them, so that a client whose clock is slow renews as well.
    """
    insert = db.prepare(f"{insert_cql(db, entry)} AND TIMESTAMP ?", WRITE)
    values = zip(
        rows.arrived_us.tolist(),
        rows.entity_key.to_pylist(),
        rows.event_us.tolist(),
        rows.created_us.tolist(),
        rows.features.to_pylist(),
        ttl_s.tolist(),
        (written_us + 1).tolist(),
        strict=True,
    )
    for _answer in run_all(db, (insert.bind(row) for row in values), f"renewing {entry.view}", profile=WRITE):
        pass
