"""Prunes a view's table: scans clustering keys for rows that no answer needs, and deletes them in ranges.

A row older than the window may go when a newer one of its entity, which the window's beginning sees, arrived before it (or
before the window). Rows of one event and created time with the same content, one arriving after the other, are folded into
the first. Neither changes an answer inside the window, as of any instant and as known at any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from feastra_nb.connection.cluster import READ, WRITE, Database, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.storage.pages import all_rows
from feastra_nb.storage.reader import BEGINNING_US, END_US
from feastra_nb.storage.requests import run_all
from feastra_nb.storage.retention import TTL_MARGIN_S
from feastra_nb.storage.scanning import token_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from feastra_nb.storage.catalog import Catalog, ViewEntry

# A page that meets more than 1,000 tombstones makes the server warn; each former pruning leaves two an entity.
PAGE_ROWS = 100
CHUNK = 500  # decisions held at a time


class Place(NamedTuple):
    """Where a row stands in its entity's log."""

    event_us: int
    created_us: int
    arrived_us: int


@dataclass(frozen=True, slots=True)
class Answerable:
    """What must stay answerable.

    Parameters
    ----------
    cut_us
        Its beginning: of older events an entity needs only what is current then. Microseconds since the epoch.
    known_from_us
        ``known_at`` before this is not asked of it.
    """

    cut_us: int
    known_from_us: int

    @classmethod
    def of(cls, entry: ViewEntry, now_us: int) -> Answerable:
        """Return the window that a view's retention asks for."""
        retain = entry.retention
        if retain.us is None:
            return cls(BEGINNING_US, BEGINNING_US)
        return cls(now_us - retain.us, now_us - retain.us if retain.keeps_history else END_US)


@dataclass(frozen=True, slots=True)
class RowRange:
    """Neighbouring rows of one entity; both ends belong to it."""

    entity_key: bytes
    newest: Place
    oldest: Place
    rows: int


class DeletableRange(RowRange):
    """Rows that may go."""


class Repeats(RowRange):
    """Rows of one event and created time that stay: repeats, perhaps."""


class Version(NamedTuple):
    """One arrival with its content; ``ttl_s`` is what is left of its life, None for ever."""

    arrived_us: int
    features: bytes
    ttl_s: int | None


@dataclass(slots=True)
class Counts:
    """What a pass came upon: rows scanned, rows that no answer needs, and rows that repeat one."""

    scanned: int = 0
    deleted: int = 0
    folded: int = 0


# --- what may go (pure) ----------------------------------------------------------------------------------------------


def judge(places: Iterable[Place], window: Answerable) -> Iterator[tuple[Place, bool]]:
    """Say of each row of one entity whether it stays.

    Parameters
    ----------
    places
        The entity's rows, newest first.

    Examples
    --------
    >>> places = [Place(9, 0, 9), Place(4, 0, 8), Place(3, 0, 9), Place(2, 0, 2), Place(1, 0, 1)]
    >>> [keep for _place, keep in judge(places, Answerable(cut_us=5, known_from_us=5))]
    [True, True, False, True, False]
    """
    earliest: int | None = None  # arrival of what stays of the events before the window
    for place in places:
        keep = place.event_us >= window.cut_us or earliest is None
        if not keep and earliest is not None:
            keep = earliest > window.known_from_us and place.arrived_us < earliest
        if keep and place.event_us < window.cut_us:
            earliest = place.arrived_us
        yield place, keep


def decisions(rows: Iterable[tuple[bytes, Place]], window: Answerable, counts: Counts) -> Iterator[RowRange]:
    """Say what of a scan may go, and which rows may be repeats.

    Parameters
    ----------
    rows
        Each entity's rows together, newest first.
    """
    for key, of_entity in groupby(rows, key=lambda row: row[0]):
        judged = judge((place for _key, place in of_entity), window)
        for keep, run in groupby(judged, key=lambda judged_place: judged_place[1]):
            places = (place for place, _keep in run)
            if not keep:
                doomed = DeletableRange(key, *_ends(places))
                counts.scanned += doomed.rows
                counts.deleted += doomed.rows
                yield doomed
                continue
            for _version, same in groupby(places, key=lambda place: place[:2]):
                versions = Repeats(key, *_ends(same))
                counts.scanned += versions.rows
                if versions.rows > 1:
                    yield versions


def _ends(places: Iterator[Place]) -> tuple[Place, Place, int]:
    """Return the first, the last and the number of places."""
    first = last = next(places)
    rows = 1
    for place in places:
        last = place
        rows += 1
    return first, last, rows


def folded(versions: Sequence[Version]) -> list[Version]:
    """Return those of one event's arrivals that only repeat the one before, and do not outlive it.

    Examples
    --------
    >>> folded([Version(1, b"a", None), Version(2, b"a", 60), Version(3, b"b", None), Version(4, b"a", None)])
    [Version(arrived_us=2, features=b'a', ttl_s=60)]
    """
    repeats: list[Version] = []
    kept: Version | None = None
    for version in sorted(versions, key=lambda stored: stored.arrived_us):
        if kept is not None and version.features == kept.features and not outlives(version.ttl_s, kept.ttl_s):
            repeats.append(version)
        else:
            kept = version
    return repeats


def outlives(ttl_s: int | None, other_s: int | None) -> bool:
    """Tell whether a life is longer than another by more than the margin that every row has; None is for ever.

    Examples
    --------
    >>> outlives(None, 10), outlives(10, None), outlives(100, 90), outlives(200, 90)
    (True, False, False, True)
    """
    return other_s is not None and (ttl_s is None or ttl_s > other_s + TTL_MARGIN_S)


# --- the pass --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pass:
    """One maintenance pass over a view's table.

    Parameters
    ----------
    now_us
        The present, microseconds since the epoch.
    dry_run
        Count only.
    """

    db: Database
    catalog: Catalog
    entry: ViewEntry
    now_us: int
    dry_run: bool = False
    counts: Counts = field(default_factory=Counts)

    def run(self, on_range: Callable[[int], object]) -> Counts:
        """Scan the table and delete what no answer needs.

        Stopped anywhere, the table is whole and the next pass goes on.

        Parameters
        ----------
        on_range
            Called after each token range with the number of rows scanned in it.
        """
        window = Answerable.of(self.entry, self.now_us)
        for bounds in token_ranges(self.db):
            before = self.counts.scanned
            ranges = decisions(
                scan(self.db, self.entry, bounds, self.entry.expired_before_us(self.now_us)), window, self.counts
            )
            while chunk := list(islice(ranges, CHUNK)):
                self._carry_out(chunk, window)
            on_range(self.counts.scanned - before)
        return self.counts

    def _carry_out(self, chunk: Sequence[RowRange], window: Answerable) -> None:
        superseded = [rows for rows in chunk if isinstance(rows, DeletableRange)]
        repeats = list(self._repeats([rows for rows in chunk if isinstance(rows, Repeats)]))
        self.counts.folded += len(repeats)
        if self.dry_run:
            return
        if superseded:
            # Before the first delete, so that no reader takes what is gone for what never was.
            self.entry = move_horizon(self.catalog, self.entry, window.cut_us)
        delete(self.db, self.entry, [*superseded, *repeats])

    def _repeats(self, candidates: Sequence[Repeats]) -> Iterator[DeletableRange]:
        cql = (
            f"SELECT arrived_us, features, TTL(features) FROM {_name(self.db, self.entry)} "
            "WHERE entity_key = ? AND event_us = ? AND created_us = ? AND arrived_us >= ? AND arrived_us <= ?"
        )
        if not candidates:
            return
        select = self.db.prepare(cql, READ)
        requests = [
            select.bind((repeats.entity_key, *repeats.oldest, repeats.newest.arrived_us)) for repeats in candidates
        ]
        answers = run_all(self.db, requests, f"reading repeats of view {self.entry.view}", profile=READ)
        for repeats, answer in zip(candidates, answers, strict=True):
            for version in folded([Version(*row) for row in answer]):
                place = repeats.oldest._replace(arrived_us=version.arrived_us)
                yield DeletableRange(repeats.entity_key, place, place, 1)


def move_horizon(catalog: Catalog, entry: ViewEntry, to_us: int) -> ViewEntry:
    """Note in the catalog that events before an instant are not all there; a horizon never moves back."""

    def update(old: ViewEntry | None) -> ViewEntry:
        known = old or entry
        return replace(known, pruned_to_us=max(known.pruned_to_us or to_us, to_us))

    if entry.pruned_to_us is not None and entry.pruned_to_us >= to_us:
        return entry
    return catalog.change(entry.project, entry.view, update)


# --- requests --------------------------------------------------------------------------------------------------------


def scan(
    db: Database, entry: ViewEntry, bounds: tuple[int, int], oldest_us: int | None
) -> Iterator[tuple[bytes, Place]]:
    """Yield the clustering keys of a token range, in pages; each entity's rows together, newest first."""
    cql = (
        f"SELECT entity_key, event_us, created_us, arrived_us FROM {_name(db, entry)} "
        "WHERE token(entity_key) > ? AND token(entity_key) <= ?"
    )
    values: tuple[int, ...] = bounds
    if oldest_us is not None:
        # A slice of clustering keys in each partition; the server calls that filtering, though it reads nothing else.
        cql, values = f"{cql} AND event_us >= ? ALLOW FILTERING", (*bounds, oldest_us)
    statement = db.prepare(cql, READ).bind(values)
    statement.fetch_size = PAGE_ROWS
    with map_driver_errors(f"scanning view {entry.view}", db):
        for key, *place in all_rows(db, statement, profile=READ):
            yield key, Place(*place)


def delete(db: Database, entry: ViewEntry, doomed: Sequence[DeletableRange]) -> None:
    """Delete runs of rows, one range tombstone each."""
    if not doomed:
        return
    place = "(event_us, created_us, arrived_us)"
    cql = f"DELETE FROM {_name(db, entry)} WHERE entity_key = ? AND {place} <= (?, ?, ?) AND {place} >= (?, ?, ?)"
    statement = db.prepare(cql, WRITE)
    requests = (statement.bind((run.entity_key, *run.newest, *run.oldest)) for run in doomed)
    for _answer in run_all(db, requests, f"pruning view {entry.view}", profile=WRITE):
        pass


def _name(db: Database, entry: ViewEntry) -> str:
    return f"{quoted(db.keyspace)}.{quoted(entry.table)}"
