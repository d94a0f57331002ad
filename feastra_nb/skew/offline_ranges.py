"""A view's offline rows, shared out over ranges of the ring: beyond some megabytes on the disk, so that one range is in memory."""

from __future__ import annotations

import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import ConfigurationError
from feastra_nb.skew.offline_side import encoded_keys, without_nulls
from feastra_nb.storage.rows import Distinct
from feastra_nb.storage.tokens import tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from feastra_nb.skew.offline_side import OfflineRows
    from feastra_nb.storage.scanning import TokenRange

KEPT_BYTES = 48 * 2**20  # of rows that stay in memory
ENTITY_KEY = "feastra entity key"  # column of a range's table, beside those of the view


class OfflineRanges:
    """A view's offline rows by range of the ring.

    Parameters
    ----------
    offline
        Where they are read from, once, batch by batch.
    ranges
        In the ring's order.
    ring_key
        Returns the bytes by which entity keys have their places on the ring.
    keep_bytes
        What may stay in memory.

    Raises
    ------
    ConfigurationError
        There is no room on the disk for what memory does not hold.
    """

    def __init__(
        self,
        offline: OfflineRows,
        ranges: Sequence[TokenRange],
        *,
        ring_key: Callable[[pa.Array], pa.Array],
        keep_bytes: int = KEPT_BYTES,
    ) -> None:
        self.offline = offline
        self.rows = 0
        self._kept: list[list[pa.Table]] = [[] for _ in ranges]
        self._ring_key = ring_key
        self._bytes, self._keep_bytes = 0, keep_bytes
        self._folder = _Folder()
        self._ends = np.array([each.upto for each in ranges[:-1]], dtype=np.int64)
        entities = Distinct()
        for table in offline.tables():
            if table.num_rows:
                entities.add_hashes(self._share_out(_keyed(offline, table)).view(np.uint64))
        self.entities = entities.count() if self.rows else 0

    def _share_out(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Add rows to the ranges that they belong to, and return their tokens."""
        tokens = tokens_of(self._ring_key(table.column(ENTITY_KEY).combine_chunks()))
        places = np.searchsorted(self._ends, tokens, side="left")
        order = np.argsort(places, kind="stable")
        ordered = table.take(pa.array(order))
        cuts = np.searchsorted(places[order], np.arange(len(self._kept) + 1))
        for number in np.flatnonzero(np.diff(cuts)):
            part = ordered.slice(cuts[number], cuts[number + 1] - cuts[number])
            self._kept[number].append(part)
        self.rows += table.num_rows
        self._bytes += ordered.nbytes
        if self._bytes > self._keep_bytes:
            self._spill()
        return tokens

    def _spill(self) -> None:
        try:
            for number, parts in enumerate(self._kept):
                if parts:
                    self._folder.add(number, pa.concat_tables(parts))
                    parts.clear()
        except OSError as error:
            raise ConfigurationError(
                f"no room for the offline rows to compare: {error}",
                hint="TMPDIR=<a folder with room> before Python starts, or compare some: ws.skew(…, sample=10_000)",
            ) from error
        self._bytes = 0

    def table(self, number: int) -> pa.Table | None:
        """Return the rows of a range, in no order; None where there are none. They are given once."""
        parts, self._kept[number] = [*self._folder.tables(number), *self._kept[number]], []
        return pa.concat_tables(parts).combine_chunks() if parts else None


def _keyed(offline: OfflineRows, table: pa.Table) -> pa.Table:
    """Return a table with the encoded keys beside it, without rows that no entity can ask for."""
    names = [stored for stored, _shown, _kind in offline.view_request.keys]
    table = without_nulls(table, names)
    return table.append_column(ENTITY_KEY, encoded_keys(offline.view_request, table.select(names)))


class _Folder:
    """Tables by number, in a temporary folder that is made when it is first needed and goes with this object."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._writers: dict[int, Any] = {}

    def add(self, number: int, table: pa.Table) -> None:
        if self._path is None:
            self._path = tempfile.mkdtemp(prefix="feastra-skew-")
            weakref.finalize(self, _remove, self._path)
        if number not in self._writers:
            file = pa.OSFile(f"{self._path}/{number}", "wb")
            self._writers[number] = (file, pa.ipc.new_stream(file, table.schema))
        self._writers[number][1].write_table(table)

    def tables(self, number: int) -> Iterator[pa.Table]:
        opened = self._writers.pop(number, None)
        if opened is not None:
            for each in reversed(opened):
                each.close()
            with pa.OSFile(f"{self._path}/{number}", "rb") as file, pa.ipc.open_stream(file) as reader:
                yield reader.read_all()


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
