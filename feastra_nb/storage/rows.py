"""Encoded rows, as the writer sends them and a reader of history receives them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt


CHUNK_ROWS = 2_000  # tuples that wait to become columns: Python objects are large, and Arrow likes company
_COMPACT_KEYS = 1_000_000  # keys whose hashes are kept before they are made distinct


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one view's log, as columns of equal length n.

    Parameters
    ----------
    entity_key
        Shape (n,), binary: Feast's entity keys.
    event_us, created_us, arrived_us
        Shape (n,), microseconds since the epoch, UTC; ``created_us`` is 0 where the source has none, ``arrived_us`` where the
        row was not sent yet.
    features
        Shape (n,), binary: `feast.types.RepeatedValue` bytes.
    """

    entity_key: pa.Array
    event_us: npt.NDArray[np.int64]
    created_us: npt.NDArray[np.int64]
    arrived_us: npt.NDArray[np.int64]
    features: pa.Array

    def __len__(self) -> int:
        return len(self.event_us)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Rows:
        """Return the rows of an index array or a mask, in its order."""
        where = np.flatnonzero(index) if index.dtype == bool else index
        return Rows(
            self.entity_key.take(pa.array(where)),
            self.event_us[where],
            self.created_us[where],
            self.arrived_us[where],
            self.features.take(pa.array(where)),
        )

    def slice(self, start: int, length: int) -> Rows:
        """Return the rows from ``start`` on, at most ``length`` of them, without a copy."""
        part = slice(start, start + length)
        return Rows(
            self.entity_key.slice(start, length),
            self.event_us[part],
            self.created_us[part],
            self.arrived_us[part],
            self.features.slice(start, length),
        )

    def entity_codes(self) -> npt.NDArray[np.int64]:
        """Return for each row the number of its entity, counted in order of appearance."""
        codes = self.entity_key.dictionary_encode().indices
        return np.asarray(codes, dtype=np.int64)


def gathered(answers: Iterable[Sequence[tuple[Any, ...]]]) -> Rows:
    """Return the rows of answers that come one after another, in their order.

    Parameters
    ----------
    answers
        Tuples of the columns of `Rows`. They become columns as they come, so that few tuples exist at a time.

    Examples
    --------
    >>> found = gathered([[(b"a", 5, 0, 6, b"")], [], [(b"b", 7, 0, 8, b"")]])
    >>> found.entity_key.to_pylist(), found.event_us.tolist()
    ([b'a', b'b'], [5, 7])
    """
    parts: list[Rows] = []
    waiting: list[tuple[Any, ...]] = []
    for answer in answers:
        waiting += answer
        if len(waiting) >= CHUNK_ROWS:
            parts.append(_of_tuples(waiting))
            waiting = []
    return _concatenated([*parts, _of_tuples(waiting)])


def _of_tuples(answers: Sequence[tuple[Any, ...]]) -> Rows:
    columns: Sequence[Any] = tuple(zip(*answers, strict=True)) if answers else ((), (), (), (), ())
    key, event, created, arrived, features = columns
    return Rows(
        pa.array(key, pa.binary()),
        np.array(event, dtype=np.int64),
        np.array(created, dtype=np.int64),
        np.array(arrived, dtype=np.int64),
        pa.array(features, pa.large_binary()),
    )


def _concatenated(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(
        pa.concat_arrays([part.entity_key for part in parts]),
        np.concatenate([part.event_us for part in parts]),
        np.concatenate([part.created_us for part in parts]),
        np.concatenate([part.arrived_us for part in parts]),
        pa.concat_arrays([part.features for part in parts]),
    )


class Distinct:
    """Counts distinct keys that come part by part, in eight bytes a key: by hash, so that 2³² of them may count one too few.

    Examples
    --------
    >>> distinct = Distinct()
    >>> distinct.add(pa.array([b"a", b"b"]))
    >>> distinct.add(pa.array([b"b", b"c"]))
    >>> distinct.count()
    3
    """

    def __init__(self) -> None:
        self._known = np.zeros(0, dtype=np.uint64)
        self._new: list[npt.NDArray[np.uint64]] = []

    def add(self, keys: pa.Array) -> None:
        """Count some more keys."""
        import duckdb

        with duckdb.connect() as connection:
            self.add_hashes(key_hashes(keys, connection))

    def add_hashes(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Count some more keys, each by its hash; all by the same one."""
        self._new.append(hashes)
        if sum(map(len, self._new)) > max(len(self._known) // 4, _COMPACT_KEYS):
            self._compact()

    def count(self) -> int:
        """Return how many distinct ones there were."""
        self._compact()
        return len(self._known)

    def _compact(self) -> None:
        """Put the new ones in their places among the known: to sort all anew would need three times the memory."""
        new, self._new = np.sort(np.concatenate([self._known[:0], *self._new])), []
        new = (
            new[np.concatenate([[True], new[1:] != new[:-1]])] if len(new) else new
        )  # np.unique takes ten times as long
        places = np.searchsorted(self._known, new)
        is_known = np.zeros(len(new), dtype=bool)
        inside = places < len(self._known)
        is_known[inside] = self._known[places[inside]] == new[inside]
        self._known = np.insert(self._known, places[~is_known], new[~is_known])


def key_hashes(keys: pa.Array, connection: Any) -> npt.NDArray[np.uint64]:
    """Return the hash of each of n keys (n,), by which 2³² of them may hold two that are alike.

    Parameters
    ----------
    connection
        Of DuckDB, which takes longer to open than to hash.
    """
    hashed = connection.from_arrow(pa.table({"key": keys})).project("hash(key) AS hash")
    return np.asarray(hashed.to_arrow_table()["hash"])


def last_of_repeats(
    codes: npt.NDArray[np.int64], event_us: npt.NDArray[np.int64], created_us: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return a mask that keeps, of rows with the same entity, event and created time, the last.

    Examples
    --------
    >>> one = np.array([0, 0, 1])
    >>> last_of_repeats(one, np.array([5, 5, 5]), np.array([0, 0, 0]))
    array([False,  True,  True])
    """
    order = np.lexsort((np.arange(len(codes)), created_us, event_us, codes))
    same = (
        (codes[order][1:] == codes[order][:-1])
        & (event_us[order][1:] == event_us[order][:-1])
        & (created_us[order][1:] == created_us[order][:-1])
    )
    keep = np.ones(len(codes), dtype=bool)
    keep[order[:-1][same]] = False
    return keep


def newest_before(
    codes: npt.NDArray[np.int64],
    event_us: npt.NDArray[np.int64],
    created_us: npt.NDArray[np.int64],
    cut_us: int,
) -> npt.NDArray[np.bool_]:
    """Return a mask that keeps every event at or after a cut, and of each entity the newest one before it.

    Examples
    --------
    >>> newest_before(np.zeros(3, int), np.array([1, 2, 9]), np.zeros(3, int), cut_us=5)
    array([False,  True,  True])
    """
    keep = event_us >= cut_us
    old = np.flatnonzero(~keep)
    order = old[np.lexsort((created_us[old], event_us[old], codes[old]))]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = codes[order][1:] != codes[order][:-1]
    keep[order[last]] = True
    return keep
