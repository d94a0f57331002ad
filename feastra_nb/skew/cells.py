"""Collects compared cells in Arrow, chunk by chunk; a large result spills to a temporary file."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.skew.causes import CODES
from feastra_nb.skew.comparison import MATCH, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Int8s = npt.NDArray[np.int8]
    Int64s = npt.NDArray[np.int64]

KEPT_BYTES = 64 * 2**20  # of cells that stay in memory; what comes after them goes to the disk

ROW, AS_OF, AT = "row", "as of", "at"
# Before a feature's name: columns of `CellChunk.rows`; the last only where a value matches one of several rows of the same times.
ONLINE, OFFLINE, VERDICT, TIED = "online ", "offline ", "verdict ", "tied "
CAUSE, BITS, THEN = "cause ", "bits ", "then "  # likewise, of `CellChunk.bad`
TIMES = ("online_event", "online_created", "online_arrived", "offline_event", "offline_created")
COVERED, ARRIVED, TTL_BOUND = "covered", "offline_event_arrived", "ttl_bound"
SHIFTED = "shifted"  # of both tables: explained by the shift that the chunk proposes


@dataclass(frozen=True, slots=True)
class ShiftCount:
    """What a chunk says of a shift between the event times of both sides (see `feastra_nb.skew.event_shift`).

    Parameters
    ----------
    shift_us
        The shift it proposes, microseconds; 0 for none.
    doubtful
        Rows whose online event is not offline with the values that were served.
    rows, entities
        Of these, rows that are offline under the shifted time, and their distinct entities.
    """

    shift_us: int
    doubtful: int
    rows: int
    entities: int


NO_SHIFT = ShiftCount(0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class CellChunk:
    """Compared cells of one view: n rows, of which m have a cell that differs.

    Parameters
    ----------
    view
        What the report calls the view.
    keys
        Names of the join keys in ``rows``, which come first.
    features
        The features that were compared.
    rows
        n rows: the keys, ``row`` (place in what was asked), ``as of``, `TIMES`, and for each feature ``online …``,
        ``offline …``, ``verdict …``.
    bad
        m rows: ``at`` (place in ``rows``), ``entity``, ``covered`` (by a run), when the offline event arrived online, the ttl's
        bound, and for each feature ``cause …`` (0 where it matches), ``bits …`` (every cause that holds), ``then …`` (the
        offline value at the online event).
    shift
        Of event times; where it is not 0, both tables have a column ``shifted``: in ``rows``, whose values are offline under
        the shifted time; in ``bad``, where both sides would have picked the same event without the shift.
    """

    view: str
    keys: tuple[str, ...]
    features: tuple[str, ...]
    rows: pa.Table
    bad: pa.Table
    shift: ShiftCount = NO_SHIFT

    @classmethod
    def empty(cls, view: str, keys: pa.Schema, features: tuple[str, ...]) -> CellChunk:
        """Return a chunk of no rows."""
        from feast.feature_view import DUMMY_ENTITY_ID

        times = {name: pa.array([], pa.int64()) for name in (ROW, AS_OF, *TIMES)}
        sides = {side + name: pa.nulls(0) for name in features for side in (ONLINE, OFFLINE)}
        verdicts = {VERDICT + name: pa.array([], pa.int8()) for name in features}
        rows = {**{name: pa.array([], keys.field(name).type) for name in keys.names}, **times, **sides, **verdicts}
        bad = {name: pa.array([], pa.int64()) for name in (AT, "entity", COVERED, ARRIVED, TTL_BOUND)}
        numbered = {kind + name: pa.array([], pa.int64()) for name in features for kind in (CAUSE, BITS)}
        then = {THEN + name: pa.nulls(0) for name in features}
        return cls(
            view,
            tuple(name for name in keys.names if name != DUMMY_ENTITY_ID),
            features,
            pa.table(rows),
            pa.table({**bad, **numbered, **then}),
        )

    def verdicts(self, feature: str) -> Int8s:
        """Return the verdict codes of a feature, shape (n,)."""
        return numbers(self.rows, VERDICT + feature)

    def differing(self, feature: str) -> Int64s:
        """Return the places in ``bad`` whose cell of a feature differs."""
        return np.flatnonzero(numbers(self.bad, CAUSE + feature) != 0)

    def unexplained(self, feature: str) -> Int64s:
        """Return the places in ``bad`` whose cell of a feature differs for no cause proved so far."""
        return np.flatnonzero(numbers(self.bad, CAUSE + feature) == CODES["unexplained"])

    def pairs(self, feature: str, places: Int64s) -> tuple[pa.Array, pa.Array]:
        """Return the online and offline values of some places in ``bad``."""
        where = pa.array(numbers(self.bad, AT)[places])
        return tuple(self.rows.column(side + feature).combine_chunks().take(where) for side in (ONLINE, OFFLINE))


def numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column without nulls as a NumPy array."""
    return table.column(name).to_numpy()


def is_different(verdicts: Int8s) -> npt.NDArray[np.bool_]:
    """Return which verdicts are neither a match nor unknown."""
    return (verdicts != MATCH) & (verdicts != UNKNOWN)


class Cells:
    """Chunks of compared cells, in memory or on the disk; the files go when nobody needs them any more.

    Parameters
    ----------
    by_key
        Whether they are shown in the order of their keys: their rows are numbered in the order of a scan, which means nothing.
    """

    def __init__(self, *, by_key: bool = False) -> None:
        self.by_key = by_key
        self._kept: list[CellChunk | str] = []
        self._bytes = 0
        self._folder: Any = None

    def add(self, chunk: CellChunk) -> None:
        """Keep one more chunk.

        Raises
        ------
        OSError
            The disk is full.
        """
        size = chunk.rows.nbytes + chunk.bad.nbytes
        if self._bytes + size <= KEPT_BYTES:
            self._bytes += size
            self._kept.append(chunk)
        else:
            self._kept.append(self._written(chunk))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added yet."""
        return not self._kept

    def __iter__(self) -> Iterator[CellChunk]:
        for chunk in self._kept:
            yield read_chunk(chunk) if isinstance(chunk, str) else chunk

    def of_view(self, view: str, feature: str | None = None) -> Iterator[CellChunk]:
        """Yield the chunks of one view; with a feature only those that have cells of it."""
        return (chunk for chunk in self if chunk.view == view and (feature is None or feature in chunk.features))

    def order(self, view: str, feature: str) -> Int64s:
        """Return the order in which the rows of a feature are shown."""
        chunks = list(self.of_view(view, feature))
        if self.by_key and chunks[0].keys:
            keys = pa.concat_tables([chunk.rows.select(chunk.keys) for chunk in chunks], promote_options="permissive")
            return np.asarray(pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]))
        return np.argsort(np.concatenate([numbers(chunk.rows, ROW) for chunk in chunks]))

    def _written(self, chunk: CellChunk) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="feastra-skew-")
            weakref.finalize(self, _remove, self._folder)
        path = f"{self._folder}/{len(self._kept)}"
        write_chunk(path, chunk)
        return path


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def write_chunk(path: str, chunk: CellChunk) -> None:
    """Write a chunk into two files, whose names begin with a path."""
    names = {"view": chunk.view, "keys": chunk.keys, "features": chunk.features, "shift": astuple(chunk.shift)}
    _write(f"{path}.rows", chunk.rows, names)
    _write(f"{path}.bad", chunk.bad, names)


def _write(path: str, table: pa.Table, names: dict[str, Any]) -> None:
    import json

    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), b"feastra": json.dumps(names).encode()})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, marked.schema) as writer:
        writer.write_table(marked)


def read_chunk(path: str) -> CellChunk:
    """Return a chunk that was written; what it holds stays on the disk until it is looked at."""
    import json

    rows, bad = (_table(f"{path}.{part}") for part in ("rows", "bad"))
    names = json.loads(rows.schema.metadata[b"feastra"])
    return CellChunk(
        names["view"], tuple(names["keys"]), tuple(names["features"]), rows, bad, ShiftCount(*names["shift"])
    )


def _table(path: str) -> pa.Table:
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()


def views_of(chunks: Cells) -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return the views of some cells and their features, in order."""
    views: dict[str, dict[str, None]] = {}
    for chunk in chunks:
        views.setdefault(chunk.view, {}).update(dict.fromkeys(chunk.features))
    return [(view, tuple(features)) for view, features in views.items()]
