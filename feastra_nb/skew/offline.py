"""The offline side of a comparison: a view's events, and which of them the point-in-time join picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.frames import epoch_us
from feastra_nb.intake.pulled import OfflineView
from feastra_nb.quiet import quiet_feast
from feastra_nb.retrieval.past import newest_at
from feastra_nb.storage import codec
from feastra_nb.storage.reader import BEGINNING_US
from feastra_nb.storage.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.workspace import Workspace

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class OfflineEvents:
    """A view's offline rows, sorted by entity, event, created time and place in the source.

    Parameters
    ----------
    rows
        Keys and times; the payload is empty, values stay in ``table``.
    table
        The same rows with their features.
    """

    rows: Rows
    table: pa.Table

    def join(self, keys: pa.Array, t_us: Int64s, ttl: int | None) -> Int64s:
        """Return for each (key, instant) the row that the point-in-time join picks; -1 for none.

        The newest event at or before the instant that the ttl still allows, both bounds inclusive; of several versions of
        one event the one created last.
        """
        picked = newest_at(self.rows, keys, t_us)
        if ttl and len(self.rows):
            picked = np.where((picked >= 0) & (self.rows.event_us[picked] < t_us - ttl), -1, picked)
        return picked

    def values(self, one: Requested, feature: str, index: Int64s) -> pa.Array:
        """Return a feature of the rows of an index, null where it is -1, as Feast converts it on its way online."""
        kind = {field.name: field.dtype.to_value_type() for field in one.view.features}[feature]
        column = self.table.column(feature).combine_chunks()
        distinct, places = np.unique(index, return_inverse=True)
        some = column.take(pa.array(distinct, mask=distinct < 0))
        stored = codec.encode_payloads([some], [kind], len(some), names=[feature])
        return codec.decode_payloads(stored, [0], [kind])[0].take(pa.array(places.reshape(-1)))

    def older_versions(self, index: Int64s) -> Iterator[Int64s]:
        """Yield for each row the next older version of the same event (-1 for none), as long as any row has one."""
        codes = self.rows.entity_codes()
        current = index.copy()
        while True:
            before = np.where(current > 0, current - 1, -1)
            same = (
                (before >= 0)
                & (codes[before] == codes[current])
                & (self.rows.event_us[before] == self.rows.event_us[current])
            )
            current = np.where(same, before, -1)
            if not (current >= 0).any():
                return
            yield current


def offline_events(ws: Workspace, one: Requested, until_us: int) -> OfflineEvents:
    """Read a view's rows up to an instant from the offline store."""
    with quiet_feast():
        table = OfflineView.of(ws.feast, one.view).all((BEGINNING_US, until_us)).whole()
    stored = [name for name, _shown, _type in one.keys]
    source = one.view.batch_source
    created = source.created_timestamp_column
    table = _without_null_keys(table, stored)
    keys = codec.encode_entity_keys(
        stored, [kind for _name, _shown, kind in one.keys], [table.column(name) for name in stored]
    ) if table.num_rows else pa.array([], pa.binary())  # fmt: skip
    rows = Rows(
        keys,
        epoch_us(table.column(source.timestamp_field)),
        epoch_us(table.column(created)) if created else np.zeros(table.num_rows, dtype=np.int64),
        np.arange(table.num_rows, dtype=np.int64),
        pa.nulls(table.num_rows, pa.large_binary()),
    )
    order = np.lexsort((rows.arrived_us, rows.created_us, rows.event_us, rows.entity_codes()))
    return OfflineEvents(rows.take(order), table.take(pa.array(order)))


def _without_null_keys(table: pa.Table, keys: list[str]) -> pa.Table:
    """Drop rows that no entity can ask for."""
    for key in keys:
        if table.column(key).null_count:
            table = table.filter(pc.is_valid(table.column(key)))
    return table
