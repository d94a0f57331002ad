"""The offline side of a comparison: a view's events, some entities at a time, and which of them the point-in-time join picks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb import codec
from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.codec.columns import epoch_us
from feastra_nb.codec.conversion import lost, unconverted
from feastra_nb.materialization.frames import TIMESTAMP_US
from feastra_nb.materialization.pulled import OfflineView, Pulled
from feastra_nb.skew.events import NO_US, Versions, codes_of
from feastra_nb.storage.reader import BEGINNING_US
from feastra_nb.storage.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.stores import Stores

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


class OfflineRows:
    """A view's rows in the offline store up to an instant, read for some entities at a time.

    Parameters
    ----------
    until_us
        The last event time that counts, microseconds since the epoch.
    ahead_us
        How far beyond it events are read all the same: a shift between the event times of both sides may have moved them.
    """

    def __init__(self, stores: Stores, view_request: Requested, until_us: int, *, ahead_us: int = 0) -> None:
        self.view_request = view_request
        self._stores = stores
        self._until_us = until_us
        self._ahead_us = ahead_us

    @cached_property
    def _pulled(self) -> Pulled:
        with calling_feast(f"reading view {self.view_request.view.name} offline"):
            return OfflineView.of(self._stores.feast, self.view_request.view).all(
                (BEGINNING_US, self._until_us + self._ahead_us)
            )

    def count(self) -> int:
        """Return how many rows there are; 0 where the offline store could only tell by giving them all."""
        with calling_feast(f"reading view {self.view_request.view.name} offline"):
            extent = self._pulled.extent()
        return 0 if extent is None else extent.rows

    def entities(self) -> pa.Table:
        """Return the join keys of every entity, under the view's names, sorted."""
        with calling_feast(f"reading view {self.view_request.view.name} offline"):
            keys = self._pulled.keys(self._until_us)
        return without_nulls(keys)

    def events(self, keys: pa.Table, entities: pa.Array) -> OfflineEvents:
        """Return all versions of all events of some entities.

        Parameters
        ----------
        keys
            Join keys of the entities, under the view's names, each once.
        entities
            The same, encoded.
        """
        with calling_feast(f"reading view {self.view_request.view.name} offline"):
            table = self._pulled.of_keys(keys)
        table = without_nulls(table, keys.column_names)
        encoded = encoded_keys(self.view_request, table.select(keys.column_names))
        return self.events_of(table, codes_of(encoded, entities))

    def tables(self) -> Iterator[pa.Table]:
        """Yield all rows, batch by batch, under the view's column names."""
        with calling_feast(f"reading view {self.view_request.view.name} offline"):
            yield from self._pulled.tables()

    def no_rows(self) -> pa.Table:
        """Return a table of no rows with the columns that `events_of` and `OfflineEvents` look at."""
        source = self.view_request.view.batch_source
        times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
        kinds = {field.name: codec.arrow_type(field.dtype.to_value_type()) for field in self.view_request.view.features}
        return pa.table(
            {**dict.fromkeys(times, pa.array([], TIMESTAMP_US)), **{n: pa.array([], k) for n, k in kinds.items()}}
        )

    def events_of(self, table: pa.Table, codes: Int64s) -> OfflineEvents:
        """Return the rows of a table as events.

        Parameters
        ----------
        codes
            Shape (n,): the number of each row's entity.
        """
        source = self.view_request.view.batch_source
        created = source.created_timestamp_column
        nothing = pa.nulls(table.num_rows, pa.large_binary())
        rows = Rows(
            nothing,
            epoch_us(table.column(source.timestamp_field)),
            epoch_us(table.column(created)) if created else np.zeros(table.num_rows, dtype=np.int64),
            np.arange(table.num_rows, dtype=np.int64),
            nothing,
        )
        return OfflineEvents(Versions.of_codes(codes, rows), table, has_created=bool(created))


@dataclass(frozen=True, slots=True, eq=False)
class OfflineEvents:
    """Offline rows of some entities.

    Parameters
    ----------
    versions
        Their keys and times, sorted; ``arrived_us`` is the place in the source.
    table
        Their features; ``versions.source`` leads into it.
    has_created
        Whether the source says when a row was created.
    """

    versions: Versions
    table: pa.Table
    has_created: bool

    def of_entities(self, some: Int64s, entities: int) -> OfflineEvents:
        """Return those of some entities, which are numbered anew.

        Parameters
        ----------
        some
            Their numbers, ascending.
        entities
            How many there are in all.
        """
        number = np.full(entities, -1)
        number[some] = np.arange(len(some))
        v = self.versions
        codes = number[v.codes]
        keep = codes >= 0
        times = (v.event_us[keep], v.created_us[keep], v.arrived_us[keep])
        return OfflineEvents(Versions(codes[keep], *times, v.source[keep]), self.table, self.has_created)

    def join(self, codes: Int64s, upper_us: Int64s, lower_us: Int64s | None) -> Int64s:
        """Return for each (entity, instant) the version that the point-in-time join picks; -1 for none.

        The newest event between the bounds, both inclusive; of several versions of one event the one created last.
        """
        picked = self.versions.last(codes, upper_us)
        if lower_us is None or not len(self.versions):
            return picked
        return np.where((picked >= 0) & (self.versions.event_us[picked] < lower_us), -1, picked)

    def values(self, view_request: Requested, feature: str, index: Int64s) -> pa.Array:
        """Return a feature of some versions, null where the index is -1, as Feast converts it on its way online."""
        kind = view_request.kinds[feature]
        distinct, places = _distinct(index, len(self.versions))
        source = self.versions.source[distinct] if len(self.versions) else distinct
        some = self.table.column(feature).take(pa.array(source, mask=distinct < 0))
        return converted(some, kind, feature).take(pa.array(places))

    def unconverted(self, view_request: Requested, feature: str, index: Int64s) -> tuple[pa.Array, Bools] | None:
        """Return a feature of some versions before its conversion, and which of them that changes; None where it changes none."""
        kind = view_request.kinds[feature]
        distinct, places = _distinct(index, len(self.versions))
        source = self.versions.source[distinct] if len(self.versions) else distinct
        some = self.table.column(feature).take(pa.array(source, mask=distinct < 0))
        changed = lost(some, kind)
        if not changed.any():
            return None
        return unconverted(some, kind).take(pa.array(places)), changed[places]

    def created(self, index: Int64s) -> Int64s:
        """Return when some versions were created; NO_US where the source does not say."""
        if not self.has_created or not len(self.versions):
            return np.full(len(index), NO_US)
        made = self.versions.created_us[index]
        return np.where((index < 0) | (made == 0), NO_US, made)


def converted(column: pa.Array | pa.ChunkedArray, kind: object, name: str) -> pa.Array:
    """Return a column as Feast converts it on its way online.

    Raises
    ------
    InvalidFrame
        A value is none of the feature's type.
    """
    stored = codec.encode_payloads([column], [kind], len(column), names=[name])
    return codec.decode_payloads(stored, [0], [kind])[0]


def _distinct(index: Int64s, versions: int) -> tuple[Int64s, Int64s]:
    """Return the distinct places of an index (first -1), and where each of its rows finds its own among them."""
    used = np.zeros(versions + 1, dtype=bool)
    used[index + 1] = True
    distinct = np.flatnonzero(used) - 1
    place = np.cumsum(used) - 1
    return distinct, place[index + 1]


def encoded_keys(view_request: Requested, keys: pa.Table) -> pa.Array:
    """Return the entity keys of a table whose columns are a view's join keys under its own names."""
    if not keys.num_rows:
        return pa.array([], pa.binary())
    names = [stored for stored, _shown, _kind in view_request.keys]
    return codec.encode_entity_keys(
        names, [kind for *_names, kind in view_request.keys], [keys.column(name) for name in names]
    )


def without_nulls(table: pa.Table, names: list[str] | None = None) -> pa.Table:
    """Drop rows that no entity can ask for: those with a null among the columns named, or among all."""
    for name in names if names is not None else table.column_names:
        if table.column(name).null_count:
            table = table.filter(pc.is_valid(table.column(name)))
    return table
