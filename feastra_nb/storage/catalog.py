"""The catalog: what each feature view's table is called, and which feature stands at which position of its payload.

One row a (project, view), changed only by a lightweight transaction on its version, so that two processes that add
features at once cannot give one position to two of them. Positions only grow: a dropped feature leaves a hole, a feature
whose type changed or that returns gets a new position, and rows written before stay readable without rewriting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from feastra_nb.connection.cluster import READ, TRANSACTION, Database, await_agreement, quoted
from feastra_nb.connection.driver_errors import GUARDRAIL
from feastra_nb.errors import CatalogConflict, RequestFailed, RequestTimedOut, close_names
from feastra_nb.storage.retention import Retention, expired_before_us, horizon_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger("feastra_nb.storage")

FORMAT = 1  # of the table and its payload; a newer one than this is refused
CATALOG_TABLE = "feastra_catalog"
RUNS_TABLE = "feastra_runs"
NAME_LIMIT = 48  # characters of a table name that every Cassandra since 3.0 accepts
ATTEMPTS = 12  # of a catalog change that others' changes overtake
# When a node that waits for a replica asks another one. Its default follows the table's own latency, which for a new table is
# taken to be 2.5 s: for as long a read would hang with a replica that hangs.
SPECULATIVE_RETRY = "100ms"
CREATOR_WAIT_S = 15.0  # how long the others wait for the process that won the right to make the table


@dataclass(frozen=True, slots=True)
class Slot:
    """One position of the payload.

    Parameters
    ----------
    name
        The feature.
    value_type
        Name of its `feast.value_type.ValueType`.
    dropped
        The position is a hole: the feature is gone, or has a newer position.
    """

    name: str
    value_type: str
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """What Feast says of a view: the part that the catalog must follow."""

    project: str
    view: str
    features: tuple[tuple[str, str], ...]  # name, value type
    join_keys: tuple[tuple[str, str], ...]  # name, value type
    ttl_us: int | None = None


@dataclass(frozen=True)  # without slots: what follows from the fields is asked at every read, and kept
class ViewEntry:
    """What the catalog knows of a view.

    ``version`` counts changes of the entry, ``generation`` how often the view was created; the table's name carries it.
    """

    project: str
    view: str
    version: int
    generation: int
    slots: tuple[Slot, ...]
    join_keys: tuple[tuple[str, str], ...]
    retain: str
    ttl_us: int | None = None
    pruned_to_us: int | None = None
    dropped: bool = False
    registries: tuple[str, ...] = ()
    format: int = FORMAT

    @cached_property
    def table(self) -> str:
        """Name of the table that holds the rows."""
        return table_name(self.project, self.view, self.generation)

    @cached_property
    def retention(self) -> Retention:
        """How much history is kept."""
        return Retention(self.retain)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Position in the payload of each feature."""
        return {slot.name: place for place, slot in enumerate(self.slots) if not slot.dropped}

    @cached_property
    def value_types(self) -> Mapping[str, str]:
        """Value type of each feature."""
        return {slot.name: slot.value_type for slot in self.slots if not slot.dropped}

    @property
    def terms(self) -> str:
        """What rows are written under; with other terms the same event would be written in another way."""
        return f"ttl {self.ttl_us}, retain {self.retain}, {len(self.slots)} positions"

    def horizon_us(self, now_us: int) -> int | None:
        """Return the instant before which history is incomplete; None where it never is."""
        return horizon_us(now_us=now_us, ttl_us=self.ttl_us, retain=self.retention, pruned_to_us=self.pruned_to_us)

    def expired_before_us(self, now_us: int) -> int | None:
        """Return the event time before which every row has expired; None where rows do not."""
        return expired_before_us(now_us=now_us, ttl_us=self.ttl_us, retain=self.retention)

    def position(self, feature: str) -> int:
        """Return a feature's position.

        Raises
        ------
        CatalogConflict
            The catalog has no such feature: the view was not applied since it was added.
        """
        try:
            return self.positions[feature]
        except KeyError:
            raise CatalogConflict(
                f"feature {feature!r} of view {self.view!r} is not in the online store's catalog "
                f"({close_names(feature, self.positions)})",
                hint="run `feast apply`, or materialize the view again",
            ) from None


def table_name(project: str, view: str, generation: int) -> str:
    """Return the name of a view's table: readable, unique for every (project, view), at most 48 characters.

    Examples
    --------
    >>> table_name("demo", "plane stats", 1)
    'fv_plane_stats_b5b53c92bb0d_g1'
    >>> table_name("a", "b_c", 1) == table_name("a_b", "c", 1)
    False
    """
    digest = hashlib.sha256(json.dumps([project, view]).encode()).hexdigest()[:12]
    tail = f"_{digest}_g{generation}"
    slug = re.sub(r"[^a-z0-9]+", "_", view.lower()).strip("_")[: NAME_LIMIT - 3 - len(tail)]
    return f"fv_{slug}{tail}"


# --- pure changes of an entry ----------------------------------------------------------------------------------------


def follow(entry: ViewEntry, spec: ViewSpec) -> ViewEntry:
    """Return the entry with the view's present features: positions only grow.

    Examples
    --------
    >>> spec = ViewSpec("p", "v", (("a", "INT64"), ("b", "INT64")), ())
    >>> entry = follow(ViewEntry("p", "v", 1, 1, (), (), "7d"), spec)
    >>> entry.positions
    {'a': 0, 'b': 1}
    >>> follow(entry, ViewSpec("p", "v", (("b", "DOUBLE"), ("a", "INT64")), ())).positions
    {'a': 0, 'b': 2}
    """
    wanted = dict(spec.features)
    slots = [
        slot if slot.dropped or wanted.get(slot.name) == slot.value_type else dataclasses.replace(slot, dropped=True)
        for slot in entry.slots
    ]
    present = {slot.name for slot in slots if not slot.dropped}
    slots += [Slot(name, value_type) for name, value_type in spec.features if name not in present]
    return dataclasses.replace(entry, slots=tuple(slots), ttl_us=spec.ttl_us)


def encode_entry(entry: ViewEntry) -> str:
    """Return the entry as the JSON that is stored."""
    return json.dumps(dataclasses.asdict(entry), ensure_ascii=False, separators=(",", ":"))


def decode_entry(text: str) -> ViewEntry:
    """Return the entry of a stored JSON.

    Raises
    ------
    CatalogConflict
        It was written in a newer format than this version of the package knows.
    """
    data = json.loads(text)
    if data["format"] > FORMAT:
        raise CatalogConflict(
            f"view {data['view']!r} is stored in format {data['format']}; this version of feastra-nb reads up to {FORMAT}",
            hint="upgrade feastra-nb",
        )
    data["slots"] = tuple(Slot(**slot) for slot in data["slots"])
    data["join_keys"] = tuple((name, value_type) for name, value_type in data["join_keys"])
    data["registries"] = tuple(data["registries"])
    return ViewEntry(**data)


# --- the catalog in the database -------------------------------------------------------------------------------------


class Catalog:
    """The catalog of one keyspace."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._table = f"{quoted(db.keyspace)}.{CATALOG_TABLE}"

    def create(self) -> None:
        """Make the catalog's own tables where they are missing."""
        for name, columns in _OWN_TABLES.items():
            if not self.db.table_exists(name):
                self.create_table(name, columns)

    def create_table(self, name: str, columns: str) -> None:
        """Make a table of the keyspace where it is missing."""
        cql = f"CREATE TABLE IF NOT EXISTS {quoted(self.db.keyspace)}.{quoted(name)} {columns}"
        for attempt in range(3):
            try:
                self.db.schema(cql)
            except RequestFailed as error:
                # Another process may be making it at this moment, or the schema may be in motion.
                log.info("creating table %s: %s", name, error)
                if attempt == 2 or GUARDRAIL in str(error):  # noqa: PLR2004 - the last attempt
                    raise
                time.sleep(1.0 + attempt)
            else:
                return

    def is_there(self) -> bool:
        """Tell whether anything was ever applied to the keyspace."""
        return self.db.table_exists(CATALOG_TABLE)

    def load(self, project: str, view: str) -> ViewEntry | None:
        """Return a view's entry; None where there is none, or the view was dropped."""
        entry = self._load(project, view)
        return None if entry is None or entry.dropped else entry

    def views(self, project: str) -> list[ViewEntry]:
        """Return the entries of a project's views, by name; none where nothing was ever applied to the keyspace."""
        if not self.is_there():
            return []
        rows = self.db.execute(f"SELECT version, entry FROM {self._table} WHERE project = ?", (project,), profile=READ)
        entries = [decode_entry(text) for _version, text in rows]
        return sorted((entry for entry in entries if not entry.dropped), key=lambda entry: entry.view)

    def ensure(self, spec: ViewSpec, *, retain: str, registry: str | None, adopt: bool = False) -> ViewEntry:
        """Bring the catalog and the table to what Feast says of a view, and return the entry.

        Parameters
        ----------
        retain
            Retention of a view that is new here; a known one keeps its own.
        registry
            Identity of the Feast registry; None leaves it unchecked.
        adopt
            Take the view over from another registry instead of raising.

        Raises
        ------
        CatalogConflict
            Another registry owns the view, its join keys differ, or others kept changing it.
        """
        Retention(retain)  # refuse what cannot be read before anything is made
        before: ViewEntry | None = None

        def update(entry: ViewEntry | None) -> ViewEntry:
            nonlocal before
            before = entry
            if entry is None or entry.dropped:
                generation = 1 if entry is None else entry.generation + 1
                base = ViewEntry(spec.project, spec.view, 0, generation, (), spec.join_keys, retain)
            else:
                base = entry
            _check_keys(base, spec)
            return follow(_with_registry(base, registry, adopt=adopt), spec)

        entry = self.change(spec.project, spec.view, update)
        is_fresh = before is None or before.dropped
        try:
            self._ensure_table(entry, creator=is_fresh)
        except RequestFailed:
            if is_fresh:  # refused by the server: the catalog is to know no view without a table
                self._restore(before, entry)
            raise
        return entry

    def check(self, spec: ViewSpec, *, registry: str | None, adopt: bool = False) -> ViewEntry | None:
        """Raise what `ensure` would raise of a view's keys and registry, change nothing, and return the entry there is."""
        entry = self.load(spec.project, spec.view)
        if entry is not None:
            _check_keys(entry, spec)
            _with_registry(entry, registry, adopt=adopt)
        return entry

    def change(self, project: str, view: str, update: Callable[[ViewEntry | None], ViewEntry]) -> ViewEntry:
        """Apply ``update`` to an entry by compare-and-set, again for as long as others overtake it.

        Raises
        ------
        CatalogConflict
            Twelve attempts were overtaken.
        """
        for attempt in range(ATTEMPTS):
            old = self._load(project, view)
            new = update(old)
            if new == old:
                return new
            new = dataclasses.replace(new, version=1 if old is None else old.version + 1)
            # After a time-out nobody knows whether the change was made: the next round reads what is there.
            with contextlib.suppress(RequestTimedOut):
                if self._swap(old, new):
                    return new
            time.sleep(0.01 * 2 ** min(attempt, 6))
        raise CatalogConflict(
            f"the catalog entry of view {view!r} kept changing while it was to be changed", hint="try again"
        )

    def drop(self, project: str, view: str) -> bool:
        """Drop a view's table; its next incarnation gets another, so that a stale writer of this one fails."""
        entry = self.load(project, view)
        if entry is None:
            return False
        self.change(project, view, lambda old: dataclasses.replace(old or entry, dropped=True))
        self.db.schema(f"DROP TABLE IF EXISTS {quoted(self.db.keyspace)}.{quoted(entry.table)}")
        return True

    def _load(self, project: str, view: str) -> ViewEntry | None:
        rows = self.db.execute(
            f"SELECT entry FROM {self._table} WHERE project = ? AND feature_view = ?", (project, view), profile=READ
        )
        row = rows.one()
        return None if row is None else decode_entry(row[0])

    def _swap(self, old: ViewEntry | None, new: ViewEntry) -> bool:
        if old is None:
            cql = f"INSERT INTO {self._table} (project, feature_view, version, entry) VALUES (?, ?, ?, ?) IF NOT EXISTS"
            values: Sequence[object] = (new.project, new.view, new.version, encode_entry(new))
        else:
            cql = (
                f"UPDATE {self._table} SET version = ?, entry = ? WHERE project = ? AND feature_view = ? IF version = ?"
            )
            values = (new.version, encode_entry(new), new.project, new.view, old.version)
        return bool(self.db.execute(cql, values, profile=TRANSACTION).one()[0])

    def _restore(self, before: ViewEntry | None, entry: ViewEntry) -> None:
        """Take back the change from one entry to another, unless somebody has changed it since."""
        if before is not None:
            self._swap(entry, before)
            return
        cql = f"DELETE FROM {self._table} WHERE project = ? AND feature_view = ? IF version = ?"
        self.db.execute(cql, (entry.project, entry.view, entry.version), profile=TRANSACTION)

    def _ensure_table(self, entry: ViewEntry, *, creator: bool) -> None:
        if self.db.table_exists(entry.table):
            await_agreement(self.db.session)  # another process may have made it just now, and other nodes not know it
            return
        # Two CREATEs of one table at once can leave replicas with different ids of it, so only the process that won
        # the catalog's transaction makes it; should that one have died, the others do after a while.
        deadline = time.monotonic() + (0.0 if creator else CREATOR_WAIT_S)
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if self.db.table_exists(entry.table):
                await_agreement(self.db.session)
                return
        # Astra sets such options by itself, and warns of each that it is given.
        options = "" if self.db.settings.bundle else f" AND speculative_retry = '{SPECULATIVE_RETRY}'"
        self.create_table(entry.table, f"{_LOG_TABLE}{options}")


# Design §3. All three clustering columns descend, so the first row of a slice is the newest in every respect.
_LOG_TABLE = """(
    entity_key blob, event_us bigint, created_us bigint, arrived_us bigint, features blob,
    PRIMARY KEY ((entity_key), event_us, created_us, arrived_us)
) WITH CLUSTERING ORDER BY (event_us DESC, created_us DESC, arrived_us DESC)"""

_OWN_TABLES = {
    CATALOG_TABLE: "(project text, feature_view text, version int, entry text, PRIMARY KEY ((project), feature_view))",
    RUNS_TABLE: "(project text, feature_view text, run_id timeuuid, run text, PRIMARY KEY ((project), feature_view, run_id))"
    " WITH CLUSTERING ORDER BY (feature_view ASC, run_id DESC)",
}


def _check_keys(entry: ViewEntry, spec: ViewSpec) -> None:
    if sorted(entry.join_keys) != sorted(spec.join_keys):
        raise CatalogConflict(
            f"view {spec.view!r} is stored with the join keys {_keys(entry.join_keys)}, not {_keys(spec.join_keys)}",
            hint="drop the view first (ws.drop, or remove it and `feast apply`), or choose another name",
        )


def _keys(join_keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({value_type})" for name, value_type in sorted(join_keys)) or "none"


def _with_registry(entry: ViewEntry, registry: str | None, *, adopt: bool) -> ViewEntry:
    if registry is None or registry in entry.registries:
        return entry
    if entry.registries and not adopt:
        raise CatalogConflict(
            f"view {entry.view!r} of project {entry.project!r} belongs to another Feast registry: "
            f"{', '.join(entry.registries)}; this one is {registry}",
            hint="use that registry, or another project or keyspace; fnb.connect(…, adopt_registry=True), or "
            "adopt_registry: true in the online_store block, takes the view over",
        )
    return dataclasses.replace(entry, registries=(registry,))
