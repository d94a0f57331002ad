"""Online stores that a comparison can scan: ours, and Feast's own on Cassandra and Scylla."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.adapter.feast_keys import to_hex
from feastra_nb.adapter.feast_tables import close_tables, find_tables, kind_of, open_tables
from feastra_nb.errors import CatalogConflict
from feastra_nb.skew.feast_ranges import COLUMNS, LeftOut, ranges_of
from feastra_nb.skew.offline_ranges import ENTITY_KEY
from feastra_nb.skew.online_ranges import OurView
from feastra_nb.storage import reader
from feastra_nb.storage.scanned_columns import Column
from feastra_nb.storage.scanning import Scan

if TYPE_CHECKING:
    from feastra_nb.adapter.feast_tables import FeastTable
    from feastra_nb.connection.cluster import Database
    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.merge import OnlineRange
    from feastra_nb.storage.scanned_columns import Columns
    from feastra_nb.stores import Stores


class Part(NamedTuple):
    """Some entities of a range, and the features that they are compared by.

    Parameters
    ----------
    offline
        Their offline rows; None where there are none.
    online
        What the store holds of them.
    view_request
        The features.
    """

    offline: pa.Table | None
    online: OnlineRange
    view_request: Requested


class ScannedStore(Protocol):
    """An online store that can be scanned."""

    db: Database

    def table(self, view_request: Requested) -> str:
        """Return the name of the view's table."""

    def rows_of_entity(self, view_request: Requested) -> int:
        """Return how many rows a scan reads of an entity."""

    def ring_key(self, keys: pa.Array) -> pa.Array:
        """Return the bytes by which entity keys have their places on the ring."""

    def scan(self, view_request: Requested, t0_us: int) -> Scan:
        """Return what to read of it."""

    def parts(self, view_request: Requested, columns: Columns, offline: pa.Table | None, t0_us: int) -> list[Part]:
        """Return a range that was scanned, beside its offline rows."""

    def reload(self, view_request: Requested) -> None:
        """Look again at what the view's rows hold: they hold more than was known."""

    def notes(self, view_request: Requested) -> list[str]:
        """Return what the table held that cannot be compared, in words."""

    def close(self) -> None:
        """Give back what the scan alone needed."""


class OurStore:
    """A `FeastraOnlineStore` to scan."""

    def __init__(self, stores: Stores) -> None:
        self._opened = stores.online
        self.db = self._opened.db

    def _view(self, view_request: Requested) -> OurView:
        entry = self._opened.entry_with(view_request.view, view_request.features)
        return OurView(
            view_request, entry, self._opened.served_ttl_us(view_request.view),
            lambda keys, bounds: reader.read_history(self.db, entry, keys, bounds),
        )  # fmt: skip

    def table(self, view_request: Requested) -> str:
        """Return the name of the view's table."""
        return self._opened.entry(view_request.view).table

    def scan(self, view_request: Requested, t0_us: int) -> Scan:
        """Return what to read of it."""
        return self._view(view_request).scan(self.db, t0_us)

    def rows_of_entity(self, view_request: Requested) -> int:  # noqa: ARG002 - of the protocol
        """Return how many rows a scan reads of an entity: the newest."""
        return 1

    def ring_key(self, keys: pa.Array) -> pa.Array:
        """Return the keys, which are stored as they are."""
        return keys

    def parts(self, view_request: Requested, columns: Columns, offline: pa.Table | None, t0_us: int) -> list[Part]:
        """Return a range that was scanned."""
        return [Part(offline, self._view(view_request).range(columns, t0_us), view_request)]

    def notes(self, view_request: Requested) -> list[str]:  # noqa: ARG002 - of the protocol
        """Return nothing: all that the table holds is compared."""
        return []

    def close(self) -> None:
        """Do nothing: the workspace's own session is used."""

    def reload(self, view_request: Requested) -> None:
        """Read the view's entry in the catalog anew."""
        self._opened.entry(view_request.view, reload=True)


class FeastStore:
    """Feast's own ``type: cassandra`` or ``scylladb``, read past Feast: by ranges, and with the time each value was written."""

    def __init__(self, stores: Stores) -> None:
        self._project = stores.project
        self.db = open_tables(stores.feast.config)
        self._tables: dict[str, FeastTable] = {}
        self._left_out: dict[str, LeftOut] = {}

    def _table(self, view_request: Requested) -> FeastTable:
        name = view_request.view.name
        if name not in self._tables:
            found = find_tables(self.db, self._project, [name])
            if name not in found.of_views:
                why = found.unfit.get(name, "it is not there")
                raise CatalogConflict(
                    f"the table of view {name!r} in keyspace {self.db.keyspace!r} is none of Feast's: {why}",
                    hint="run `feast apply`; is the keyspace that of this repository's online store?",
                )
            self._tables[name] = found.of_views[name]
        return self._tables[name]

    def table(self, view_request: Requested) -> str:
        """Return the name of the view's table."""
        return self._table(view_request).name

    def rows_of_entity(self, view_request: Requested) -> int:
        """Return how many rows a scan reads of an entity: one a feature."""
        return max(1, len(view_request.view.features))

    def ring_key(self, keys: pa.Array) -> pa.Array:
        """Return the keys as hex text, as Feast stores them."""
        return to_hex(keys)

    def scan(self, view_request: Requested, t0_us: int) -> Scan:  # noqa: ARG002 - of the protocol
        """Return what to read of it: all that it holds."""
        columns = [Column(*column) for column in COLUMNS]
        what = f"scanning the table of view {view_request.view.name}"
        return Scan(self.db, what, self._table(view_request).qualified, "entity_key", columns)

    def parts(self, view_request: Requested, columns: Columns, offline: pa.Table | None, t0_us: int) -> list[Part]:  # noqa: ARG002
        """Return a range that was scanned: entities whose features have one event time, then those of several, by feature."""
        left_out = self._left_out.setdefault(view_request.view.name, LeftOut())
        plain, *by_feature = ranges_of(columns, view_request, left_out)
        if not by_feature or offline is None:
            return [Part(offline, each, each.view_request) for each in (plain, *by_feature)]
        is_mixed = pc.is_in(offline.column(ENTITY_KEY), by_feature[0].keys.cast(offline.schema.field(ENTITY_KEY).type))
        rest, mixed = offline.filter(pc.invert(is_mixed)).combine_chunks(), offline.filter(is_mixed).combine_chunks()
        return [Part(rest, plain, plain.view_request), *(Part(mixed, each, each.view_request) for each in by_feature)]

    def reload(self, view_request: Requested) -> None:
        """Do nothing: such a table names its features."""

    def notes(self, view_request: Requested) -> list[str]:
        """Return what the table holds that Feast serves to nobody, in words."""
        left_out = self._left_out.get(view_request.view.name)
        return [] if left_out is None else left_out.words()

    def close(self) -> None:
        """Give the connection back."""
        close_tables(self.db)


def comparable_as_a_whole(stores: Stores) -> ScannedStore | None:
    """Return the online store as one that can be scanned; None where it can only be asked entity by entity."""
    if stores.has_history:
        return OurStore(stores)
    return FeastStore(stores) if kind_of(stores.feast.config) else None


__all__ = ["Part", "ScannedStore", "comparable_as_a_whole"]
