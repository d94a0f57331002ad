"""The suppression list: which entities were forgotten for good, so that no way of writing brings them back.

The keyspace keeps salted hashes, never a key. An entity is suppressed by the join keys that it was forgotten by: a view with
more join keys honours it as well. A writer asks for the list once a run, and where it is empty that is all.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.value_type import ValueType

from feastra_nb import codec
from feastra_nb.connection.cluster import READ, TRANSACTION, WRITE, Database, consistency_value, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.errors import CatalogConflict, RequestFailed
from feastra_nb.storage.pages import all_rows
from feastra_nb.storage.requests import run_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from feastra_nb.codec.casts import Column
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows

    JoinKeys = Sequence[tuple[str, ValueType]]

SUPPRESSED_TABLE = "feastra_suppressed"
FORMAT = 1  # of the table and of what is hashed; a newer one than this is refused
# How old a list may be that a single batch is written by. Whoever adds to it waits for as long before the deletion is proved.
MAX_AGE_S = 1.0
LIST_LEVEL = "LOCAL_QUORUM"  # of reads of the list, whatever the store's own level is: it meets every write of the list
SALT_BYTES, HASH_BYTES = 32, 16
ATTEMPTS = 12  # of a change that others' changes overtake

SUPPRESSED_COLUMNS = (
    "(project text, hash blob, join_keys text, suppressed_us bigint, salt blob static, version int static, format int static, "
    "PRIMARY KEY ((project), hash))"
)
_SEPARATOR = "\x1f"  # between the names of join keys; no name has a control character


# --- which rows are meant (pure) -------------------------------------------------------------------------------------


def encoded_part(names: Sequence[str], keys: JoinKeys, columns: Sequence[Column]) -> pa.Array:
    """Encode some of the join keys of n rows: as an entity key of these alone, in which an INT32 is an INT64.

    So the same entity has the same bytes in every view, whatever other join keys the view has.

    Examples
    --------
    >>> by_32 = encoded_part(["k"], [("k", ValueType.INT32), ("z", ValueType.STRING)], [pa.array([7]), pa.array(["x"])])
    >>> by_32 == encoded_part(["k"], [("k", ValueType.INT64)], [pa.array([7])])
    True
    """
    types, by_name = dict(keys), dict(zip((name for name, _type in keys), columns, strict=True))
    wide = [ValueType.INT64 if types[name] is ValueType.INT32 else types[name] for name in names]
    return codec.encode_entity_keys(names, wide, [by_name[name] for name in names])


def decoded_keys(
    join_keys: Sequence[tuple[str, str]], keys: pa.Array
) -> Iterator[tuple[npt.NDArray[np.int64], JoinKeys, Sequence[pa.Array]]]:
    """Yield the rows, join keys and columns of n entity keys.

    Parameters
    ----------
    join_keys
        The view's, as the catalog has them. Of a view of vectors it has none: each of their keys says its own.
    """
    if join_keys:
        fields = [(name, ValueType[kind]) for name, kind in join_keys]
        columns = codec.decode_entity_keys(keys, [name for name, _type in fields], [kind for _name, kind in fields])
        yield np.arange(len(keys)), fields, columns
        return
    groups: dict[tuple[tuple[str, ValueType], ...], list[int]] = {}
    for place, key in enumerate(keys.to_pylist()):
        groups.setdefault(_fields(key), []).append(place)
    for own, places in groups.items():
        where = np.array(places, dtype=np.int64)
        some = keys.take(pa.array(where))
        names, types = [name for name, _type in own], [kind for _name, kind in own]
        yield where, own, codec.decode_entity_keys(some, names, types)


_KINDS = {
    "int32_val": ValueType.INT32,
    "int64_val": ValueType.INT64,
    "string_val": ValueType.STRING,
    "bytes_val": ValueType.BYTES,
    "unix_timestamp_val": ValueType.UNIX_TIMESTAMP,
}


def _fields(key: bytes) -> tuple[tuple[str, ValueType], ...]:
    read = deserialize_entity_key(key, 3)
    kinds = (_KINDS[value.WhichOneof("val")] for value in read.entity_values)
    return tuple(zip(read.join_keys, kinds, strict=True))


def rows_with(
    join_keys: Sequence[tuple[str, str]], keys: pa.Array, names: Sequence[str], wanted: pa.Array
) -> npt.NDArray[np.bool_]:
    """Tell which of n entity keys have one of some values in some of their join keys.

    Parameters
    ----------
    join_keys
        As for `decoded_keys`.
    names, wanted
        Those join keys, and the values as `encoded_part` encodes them.
    """
    mask = np.zeros(len(keys), dtype=bool)
    for where, fields, columns in decoded_keys(join_keys, keys):
        if set(names) <= {name for name, _type in fields}:
            part = encoded_part(names, fields, columns)
            mask[where] = np.asarray(pc.is_in(part, value_set=wanted))
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class Suppressed:
    """The list as it was read.

    Parameters
    ----------
    salt
        The key of the hashes.
    hashes
        By the join keys that entities were forgotten by, sorted.
    version
        Counts its changes.
    read_at_s
        When it was known to be the present one, by the monotonic clock.
    """

    salt: bytes = b""
    hashes: Mapping[tuple[str, ...], frozenset[bytes]] = field(default_factory=dict)
    version: int = 0
    read_at_s: float = 0.0

    def __len__(self) -> int:
        return sum(map(len, self.hashes.values()))

    @property
    def is_old(self) -> bool:
        """Whether it may have changed since longer ago than a batch may be written by it."""
        return time.monotonic() - self.read_at_s > MAX_AGE_S

    def mask(self, keys: JoinKeys, columns: Sequence[Column]) -> npt.NDArray[np.bool_]:
        """Tell which of n rows are of suppressed entities, by their join keys' names, types and columns."""
        known = {name for name, _type in keys}
        mask = np.zeros(len(columns[0]) if columns else 0, dtype=bool)
        for names, hashes in self.hashes.items():
            if set(names) <= known:
                mask |= _is_listed(names, keys, columns, self.salt, hashes)
        return mask

    def mask_of_keys(self, entry: ViewEntry, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Tell which of n entity keys of a view are suppressed."""
        mask = np.zeros(len(keys), dtype=bool)
        if not self or not self.concerns(entry):
            return mask
        for where, fields, columns in decoded_keys(entry.join_keys, keys):
            mask[where] = self.mask(fields, columns)
        return mask

    def concerns(self, entry: ViewEntry) -> bool:
        """Tell whether rows of a view may be suppressed."""
        known = {name for name, _type in entry.join_keys}
        return bool(self) and (not known or any(set(names) <= known for names in self.hashes))

    def without(self, entry: ViewEntry, rows: Rows) -> tuple[Rows, int]:
        """Return rows but for those of suppressed entities, and how many these were."""
        mask = self.mask_of_keys(entry, rows.entity_key)
        left_out = int(mask.sum())
        return (rows.take(~mask), left_out) if left_out else (rows, 0)


def _is_listed(
    names: Sequence[str], keys: JoinKeys, columns: Sequence[Column], salt: bytes, listed: frozenset[bytes]
) -> npt.NDArray[np.bool_]:
    """Tell of n rows whether the hashes of some of their join keys are listed; an entity has many rows, and is hashed once."""
    column = columns[[name for name, _type in keys].index(names[0])]
    if len(names) == 1 and not column.null_count:
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = column.dictionary_encode()  # cheaper than of the encoded bytes
        parts = encoded_part(names, [(names[0], dict(keys)[names[0]])], [encoded.dictionary])
    else:
        encoded = encoded_part(names, keys, columns).dictionary_encode()
        parts = encoded.dictionary
    flags = np.array([digest in listed for digest in hashed(parts, salt)], dtype=bool)
    return flags[np.asarray(encoded.indices)] if len(flags) else np.zeros(len(column), dtype=bool)


def hashed(parts: pa.Array, salt: bytes) -> list[bytes]:
    """Return the salted hashes of encoded join keys.

    Examples
    --------
    >>> hashed(pa.array([b"key"]), b"salt")[0].hex()
    '14ed563f19a25d60949cb26bb7dddf71'
    """
    return [hashlib.blake2b(part, digest_size=HASH_BYTES, key=salt).digest() for part in parts.to_pylist()]


# --- the list in the database ----------------------------------------------------------------------------------------


class SuppressionList:
    """The suppression list of one project in one keyspace; its table is made when the first entity is forgotten."""

    def __init__(self, db: Database, project: str) -> None:
        self.db = db
        self.project = project
        self._table = f"{quoted(db.keyspace)}.{SUPPRESSED_TABLE}"
        self._is_there = False
        self._known: Suppressed | None = None

    def current(self, *, max_age_s: float = 0.0) -> Suppressed:
        """Return the list, read anew if what is known of it is older; only a list that has changed is read as a whole."""
        began_s, known = time.monotonic(), self._known
        if known is not None and began_s - known.read_at_s <= max_age_s:
            return known
        self._known = known = self._read(began_s, known or Suppressed())
        return known

    def add(self, names: Sequence[str], parts: pa.Array, level: str) -> None:
        """Suppress entities.

        Parameters
        ----------
        names, parts
            Their join keys, and the values as `encoded_part` encodes them.
        level
            Consistency level of the writes.

        Raises
        ------
        RequestFailed
            The list does not have them afterwards: another client's clock is ahead.
        """
        salt = self._salt(level)
        hashes = set(hashed(parts, salt))
        cql = f"INSERT INTO {self._table} (project, hash, join_keys, suppressed_us) VALUES (?, ?, ?, ?)"
        now_us, joined = time.time_ns() // 1000, _SEPARATOR.join(sorted(names))
        self._run(cql, ((self.project, digest, joined, now_us) for digest in hashes), level)
        self._count_change(level)
        missing = len(hashes - self.current().hashes.get(tuple(sorted(names)), frozenset()))
        if missing:
            raise RequestFailed(
                f"{missing:,} of {len(hashes):,} entities are not in the suppression list after they were added",
                hint="compare the machines' clocks (`feastra doctor`), and call it again",
            )

    def lift(self, names: Sequence[str], parts: pa.Array, level: str) -> int:
        """Take entities off the list, and return how many were on it; otherwise as `add`."""
        known = self.current()
        hashes = known.hashes.get(tuple(sorted(names)), frozenset()).intersection(hashed(parts, known.salt))
        if not hashes:
            return 0
        where = "WHERE project = ? AND hash = ?"
        read = self.db.prepare(f"SELECT hash, WRITETIME(suppressed_us) FROM {self._table} {where}", READ)
        asked = (self._at(read, (self.project, digest), LIST_LEVEL) for digest in hashes)
        answers = run_all(self.db, asked, "reading the suppression list", profile=READ)
        written = [(digest, written_us) for answer in answers for digest, written_us in answer]
        # Each stamped just after itself, so that it goes whatever the clock of the machine that added it says.
        rows = ((written_us + 1, self.project, digest) for digest, written_us in written)
        self._run(f"DELETE FROM {self._table} USING TIMESTAMP ? {where}", rows, level)
        self._count_change(level)
        return len(written)

    # --- requests ---

    def _read(self, began_s: float, known: Suppressed) -> Suppressed:
        self._is_there = self._is_there or self.db.table_exists(SUPPRESSED_TABLE)
        if not self._is_there:
            return Suppressed(read_at_s=began_s)
        head = f"SELECT salt, version, format FROM {self._table} WHERE project = ? LIMIT 1"
        row = self._one(head, (self.project,), READ, LIST_LEVEL)
        if row is None or row[0] is None:
            return Suppressed(read_at_s=began_s)
        salt, version, written_in = row
        if written_in > FORMAT:
            raise CatalogConflict(
                f"the suppression list of project {self.project!r} is stored in format {written_in}; this version of "
                f"feastra-nb reads up to {FORMAT}",
                hint="upgrade feastra-nb",
            )
        same = known.salt == salt and known.version == version
        return Suppressed(salt, known.hashes if same else self._hashes(), version, began_s)

    def _hashes(self) -> dict[tuple[str, ...], frozenset[bytes]]:
        statement = self.db.prepare(f"SELECT hash, join_keys FROM {self._table} WHERE project = ?", READ)
        by_names: dict[str, list[bytes]] = {}
        with map_driver_errors("reading the suppression list", self.db):
            for digest, names in all_rows(self.db, self._at(statement, (self.project,), LIST_LEVEL), profile=READ):
                if digest is not None:
                    by_names.setdefault(names, []).append(digest)
        return {tuple(names.split(_SEPARATOR)): frozenset(digests) for names, digests in by_names.items()}

    def _salt(self, level: str) -> bytes:
        """Return the project's salt; of several processes that make the first one, one wins."""
        cql = f"UPDATE {self._table} SET salt = ?, version = ?, format = ? WHERE project = ? IF salt = NULL"
        salt = secrets.token_bytes(SALT_BYTES)
        applied, *others = self._one(cql, (salt, 0, FORMAT, self.project), TRANSACTION, level)
        return salt if applied else bytes(others[0])

    def _count_change(self, level: str) -> None:
        """Say that the list has changed: by a transaction, which no client's clock can hide."""
        cql = f"UPDATE {self._table} SET version = ? WHERE project = ? IF version = ?"
        version = self.current().version
        for _attempt in range(ATTEMPTS):
            applied, *others = self._one(cql, (version + 1, self.project, version), TRANSACTION, level)
            if applied:
                return
            version = others[0]
        raise CatalogConflict("the suppression list kept changing while it was to be changed", hint="call it again")

    def _run(self, cql: str, rows: Iterable[tuple[object, ...]], level: str) -> None:
        statement = self.db.prepare(cql, WRITE)
        requests = (self._at(statement, row, level) for row in rows)
        for _answer in run_all(self.db, requests, "writing the suppression list", profile=WRITE):
            pass

    def _one(self, cql: str, values: tuple[object, ...], profile: str, level: str) -> Any:
        statement = self._at(self.db.prepare(cql, profile), values, level)
        with map_driver_errors("the suppression list", self.db):
            return self.db.send(statement, profile).result().one()

    @staticmethod
    def _at(statement: Any, values: tuple[object, ...], level: str) -> Any:
        return at_level(statement.bind(values), level)


def at_level(bound: Any, level: str | None) -> Any:
    """Give a bound statement a consistency level of its own; None leaves it the store's."""
    if level is not None:
        bound.consistency_level = consistency_value(level)
    return bound
