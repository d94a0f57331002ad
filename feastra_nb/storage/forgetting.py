"""Deletes every row of some entities from a view's table: by their keys, or by some of their join keys."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa

from feastra_nb.connection.cluster import READ, WRITE, Database, quoted
from feastra_nb.errors import RequestFailed
from feastra_nb.storage.pruning import Place
from feastra_nb.storage.requests import run_all
from feastra_nb.storage.scanned_columns import BLOB, Column
from feastra_nb.storage.scanning import TOKEN_RANGES, FailedRange, Scan, scanned, token_ranges
from feastra_nb.storage.suppression import MAX_AGE_S, Suppressed, at_level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.storage.rows import Rows

KEYS_AT_ONCE = 1_000  # entities whose rows are held while they are deleted


@dataclass(frozen=True, slots=True)
class Levels:
    """Consistency levels of a deletion; None is the store's own.

    Parameters
    ----------
    read
        Of what looks for rows, and of what proves that there are none.
    write
        Of the deletes.
    """

    read: str | None = None
    write: str | None = None


OWN_LEVELS = Levels()


def sure_levels(db: Database) -> Levels:
    """Return the levels of a deletion that is to reach every data centre of the keyspace, and is to be proved."""
    rows = db.execute(
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", (db.keyspace,), profile=READ
    )
    row = rows.one()
    if row is not None and data_centres(row[0]) > 1:
        # Of reads too: a row that was acknowledged at LOCAL_QUORUM in any data centre is met, and it is more than QUORUM.
        return Levels("EACH_QUORUM", "EACH_QUORUM")
    return Levels("QUORUM", db.settings.write_consistency)


def data_centres(replication: Mapping[str, str]) -> int:
    """Return how many data centres hold a keyspace.

    Examples
    --------
    >>> data_centres({"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "eu": "3", "us": "2", "old": "0"})
    2
    >>> data_centres({"class": "SimpleStrategy", "replication_factor": "3"})
    1
    """
    return sum(name != "class" and replicas not in {"0", "0/0"} for name, replicas in dict(replication).items())


def written_rows(
    db: Database, entry: ViewEntry, keys: Iterable[bytes], level: str | None = None
) -> Iterator[tuple[bytes, Place, int]]:
    """Yield key, place and write time of all rows of some entities."""
    select = f"SELECT entity_key, event_us, created_us, arrived_us, WRITETIME(features) FROM {_name(db, entry)}"
    statement = db.prepare(f"{select} WHERE entity_key = ?", READ)
    requests = (at_level(statement.bind((key,)), level) for key in dict.fromkeys(keys))
    for answer in run_all(db, requests, f"reading entities of view {entry.view}", profile=READ):
        for key, event_us, created_us, arrived_us, written_us in answer:
            yield key, Place(event_us, created_us, arrived_us), written_us


def delete_rows(
    db: Database, entry: ViewEntry, keys: Iterable[bytes], levels: Levels = OWN_LEVELS
) -> Iterator[dict[tuple[bytes, Place], int]]:
    """Delete every row that entities have now; yield those of some entities at a time, with their write times.

    Row by row, each stamped just after itself: so it goes whatever the clocks of those who wrote and of us say, and what is
    written later has another arrival, is another row, and stays.
    """
    place = "event_us = ? AND created_us = ? AND arrived_us = ?"
    cql = f"DELETE FROM {_name(db, entry)} USING TIMESTAMP ? WHERE entity_key = ? AND {place}"
    statement, some = db.prepare(cql, WRITE), iter(keys)
    while chunk := list(islice(some, KEYS_AT_ONCE)):
        rows = {(key, at): written_us for key, at, written_us in written_rows(db, entry, chunk, levels.read)}
        requests = (
            at_level(statement.bind((written_us + 1, key, *at)), levels.write) for (key, at), written_us in rows.items()
        )
        for _answer in run_all(db, requests, f"forgetting entities of view {entry.view}", profile=WRITE):
            pass
        yield rows


def delete_entities(db: Database, entry: ViewEntry, keys: Iterable[bytes]) -> set[bytes]:
    """Delete every row that the entities have now, and return the entities that had any.

    Raises
    ------
    RequestFailed
        A row is still there afterwards.
    """
    deleted: set[bytes] = set()
    for rows in delete_rows(db, entry, keys):
        there = {key for key, _place in rows}
        left = rows.keys() & {(key, place) for key, place, _written_us in written_rows(db, entry, there)}
        if left:
            raise RequestFailed(
                f"forgetting entities of view {entry.view}: {len(left):,} of {len(rows):,} rows are still there",
                hint="call it again",
            )
        deleted |= there
    return deleted


def scanned_keys(
    db: Database,
    entry: ViewEntry,
    meant: Callable[[pa.Array], npt.NDArray[np.bool_]],
    *,
    level: str | None = None,
    parts: int = TOKEN_RANGES,
    on_range: Callable[[int], object] = lambda _keys: None,
) -> Iterator[bytes]:
    """Yield the entity keys of a view's table that are meant, by token ranges.

    Parameters
    ----------
    meant
        Tells which of n entity keys are.
    parts
        Token ranges, at least: of many entities whose rows were just deleted a range holds as many tombstones.
    on_range
        Called after each token range with the number of keys scanned in it.
    """
    table = _name(db, entry)
    what = f"scanning the keys of view {entry.view}"
    scan = Scan(db, what, table, "entity_key", (Column("DISTINCT entity_key", BLOB),), level=level)
    for part in scanned(scan, token_ranges(db, parts)):
        if isinstance(part, FailedRange):
            raise part.error
        keys = part.columns[0]
        yield from keys.filter(pa.array(meant(keys), pa.bool_())).to_pylist()
        on_range(len(keys))


# --- what was forgotten while it was written -------------------------------------------------------------------------


def take_back(opened: OpenStore, entry: ViewEntry, rows: Rows, listed: Suppressed) -> int:
    """Delete rows of a batch that took so long that its entities may have been forgotten meanwhile; return how many entities.

    Parameters
    ----------
    listed
        The list by which the batch was written.
    """
    if not listed.is_old:
        return 0
    present = opened.suppression.current(max_age_s=MAX_AGE_S)
    if present.version == listed.version:
        return 0
    doomed = rows.entity_key.filter(pa.array(present.mask_of_keys(entry, rows.entity_key)))
    return len(delete_entities(opened.db, entry, doomed.unique().to_pylist()))


def sweep(opened: OpenStore, entry: ViewEntry, listed: Suppressed) -> int:
    """Delete a view's rows of entities that were forgotten while a run wrote into it; return how many entities had any.

    A run keeps no keys of what it has written, so the view's keys are scanned: but only where the list has changed.
    """
    present = opened.suppression.current()
    if present.version == listed.version or not present.concerns(entry):
        return 0

    def is_suppressed(keys: pa.Array) -> npt.NDArray[np.bool_]:
        return present.mask_of_keys(entry, keys)

    return len(delete_entities(opened.db, entry, scanned_keys(opened.db, entry, is_suppressed)))


def _name(db: Database, entry: ViewEntry) -> str:
    return f"{quoted(db.keyspace)}.{quoted(entry.table)}"
