"""Writes Feast's own tables beside our log, by Feast's own store, until a migration is finished. Reads never touch it.

What is mirrored is what our log serves after a write, not what was written: a late row that our log keeps behind a newer one would
otherwise overwrite that in Feast's table, and both sides would differ.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.infra.online_stores.helpers import get_online_store_from_config
from feast.protos.feast.types.Value_pb2 import Value

from feastra_nb.adapter import feast_tables, many_views
from feastra_nb.adapter.feast_keys import from_hex, parse_keys
from feastra_nb.adapter.objects import feature_names
from feastra_nb.connection.cluster import WRITE
from feastra_nb.connection.secrets import Secret
from feastra_nb.errors import FeastraError, RequestFailed
from feastra_nb.storage.requests import run_all
from feastra_nb.storage.scanned_columns import BLOB, Column
from feastra_nb.storage.scanning import FailedRange, Scan, scanned, token_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from feast import FeatureView
    from feast.repo_config import RepoConfig
    from feast.value_type import ValueType

    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.opened import OpenStore

KEYS_AT_ONCE = 2_000  # entities that are read and written at a time


class Mirror:
    """Feast's own store, which is written whenever ours is.

    Parameters
    ----------
    config
        Of the repository.
    block
        The ``online_store`` block of Feast's own store; secrets may be wrapped.
    """

    def __init__(self, config: RepoConfig, block: Mapping[str, Any]) -> None:
        self._config = config_of(config, revealed(block))
        self._store = get_online_store_from_config(self._config.online_store)
        self._lock = (
            threading.Lock()
        )  # Feast's store opens its session at the first use, once for each thread that is first

    def write(self, opened: OpenStore, view: FeatureView, keys: Sequence[bytes]) -> int:
        """Write to Feast's table what our log serves of some entities now, and return of how many it serves anything.

        Raises
        ------
        RequestFailed
            Feast's store could not write; our log has the rows.
        """
        distinct, written = list(dict.fromkeys(keys)), 0
        for start in range(0, len(distinct), KEYS_AT_ONCE):
            some = distinct[start : start + KEYS_AT_ONCE]
            served = many_views.read_view(opened, view, some, None)
            rows = [
                (deserialize_entity_key(key, 3), values, event, None)
                for key, (event, values) in zip(some, _whole(view, served), strict=True)
                if event is not None and values is not None
            ]
            self._call(f"writing view {view.name!r}", "online_write_batch", view, rows, None)
            written += len(rows)
        return written

    def make_tables(self, views: Sequence[FeatureView]) -> None:
        """Make Feast's tables of views that are new."""
        self._call("making tables", "update", [], list(views), [], [], True)  # noqa: FBT003 - Feast's signature

    def forget(self, view: str, keys: Sequence[bytes]) -> None:
        """Delete every row of some entities from Feast's table."""
        version = self._config.entity_key_serialization_version
        with self._table(view) as (db, table):
            _delete(db, table, [_in_version(key, version).hex() for key in keys])

    def forget_meant(
        self, view: str, fields: Sequence[tuple[str, ValueType]], meant: Callable[[pa.Array], Any]
    ) -> None:
        """Delete the entities of Feast's table whose keys are meant, which are looked for in all of it.

        Parameters
        ----------
        fields
            The view's join keys and their types.
        meant
            Tells of n entity keys which are meant (n,).
        """
        names, types = [name for name, _type in fields], [kind for _name, kind in fields]
        with self._table(view) as (db, table):
            scan = Scan(db, f"scanning {table.qualified}", table.qualified, "entity_key", [Column("entity_key", BLOB)],
                        tail="PER PARTITION LIMIT 1")  # fmt: skip
            for part in scanned(scan, token_ranges(db)):
                if isinstance(part, FailedRange):
                    raise part.error
                stored, _is_hex = from_hex(part.columns[0])
                doomed = part.columns[0].filter(pa.array(meant(parse_keys(stored, names, types).keys)))
                _delete(db, table, [text.decode() for text in doomed.to_pylist()])

    @contextlib.contextmanager
    def _table(self, view: str) -> Iterator[tuple[Database, feast_tables.FeastTable]]:
        """Open the keyspace of Feast's table, which Feast's own store has no way to delete entities from."""
        what = f"forgetting entities of view {view!r}"
        if feast_tables.kind_of(self._config) is None:
            raise RequestFailed(
                f"{what}: Feast's own {self._config.online_store.type!r} store cannot delete entities; the mirror still has them",
                hint="delete them there, or end the mirror: feastra migrate finish",
            )
        try:
            db = feast_tables.open_tables(self._config)
            try:
                yield db, feast_tables.FeastTable(db.keyspace, feast_tables.table_of(self._config.project, view))
            finally:
                feast_tables.close_tables(db)
        except FeastraError as error:
            raise _failed(what, error) from error

    def close(self) -> None:
        """Close Feast's session, which nothing else does."""
        cluster = getattr(self._store, "_cluster", None)
        if cluster is not None:
            cluster.shutdown()

    def _call(self, what: str, method: str, *arguments: Any) -> None:
        try:
            with self._lock:
                getattr(self._store, method)(self._config, *arguments)
        except Exception as error:
            raise _failed(what, error) from error


def _delete(db: Database, table: feast_tables.FeastTable, texts: Sequence[str]) -> None:
    statement = db.prepare(f"DELETE FROM {table.qualified} WHERE entity_key = ?", WRITE)
    requests = (statement.bind((text,)) for text in dict.fromkeys(texts))
    for _answer in run_all(db, requests, f"forgetting entities in {table.qualified}", profile=WRITE):
        pass


def _failed(what: str, error: Exception) -> RequestFailed:
    why = error.message if isinstance(error, FeastraError) else str(error).split("\n")[0]
    return RequestFailed(
        f"the online store is written, and its mirror is not: {what} in Feast's own store failed: {why}",
        hint="write the same again, which is safe; `feastra migrate finish` ends the mirror",
    )


def _whole(view: FeatureView, served: Sequence[tuple[Any, Any]]) -> list[tuple[Any, dict[str, Value] | None]]:
    """Return answers with all features of the view: Feast keeps the former value of a feature that a row does not name."""
    names = feature_names(view)
    return [
        (event, None if values is None else {name: values.get(name, Value()) for name in names})
        for event, values in served
    ]


def _in_version(key: bytes, version: int) -> bytes:
    from feast.infra.key_encoding_utils import serialize_entity_key

    return key if version >= 3 else serialize_entity_key(deserialize_entity_key(key, 3), version)  # noqa: PLR2004


def config_of(config: RepoConfig, block: Mapping[str, Any]) -> RepoConfig:
    """Return a repository's configuration with another online store: as much of it as an online store reads."""
    from feast.repo_config import RepoConfig

    return RepoConfig(
        project=config.project,
        provider="local",
        registry="unused",
        online_store=dict(block),
        entity_key_serialization_version=config.entity_key_serialization_version,
        repo_path=config.repo_path,
    )


def revealed(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block with its secrets as Feast's own store takes them."""
    return {
        name: value.reveal() if isinstance(value, Secret) else revealed(value) if isinstance(value, dict) else value
        for name, value in block.items()
    }
