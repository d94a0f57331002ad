"""Deletes entities: `ws.forget` from one view, `ws.forget_entity` from every view that has them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.feature_view import DUMMY_ENTITY_ID
from feast.value_type import ValueType

from feastra_nb import codec
from feastra_nb.adapter.objects import key_fields, with_constant_key
from feastra_nb.adapter.precomputed import is_vector_view, service_of
from feastra_nb.connection.astra import billing
from feastra_nb.errors import ConfigurationError, InvalidFrame, RequestFailed, UnknownName, close_names
from feastra_nb.folder_lock import locked
from feastra_nb.forgotten import Forgotten, ForgottenView
from feastra_nb.materialization import offline_file
from feastra_nb.materialization.frames import key_column
from feastra_nb.reporting.progress import acknowledged_rows
from feastra_nb.retrieval.entities import SHAPES, Entities, array_of, entity_keys, entity_table
from feastra_nb.retrieval.request import Requested
from feastra_nb.storage.forgetting import (
    Levels,
    delete_entities,
    delete_rows,
    scanned_keys,
    sure_levels,
    written_rows,
)
from feastra_nb.storage.journal import RUNNING, journalled, upkeep_run
from feastra_nb.storage.scanning import TOKEN_RANGES
from feastra_nb.storage.suppression import MAX_AGE_S, SUPPRESSED_COLUMNS, SUPPRESSED_TABLE, encoded_part, rows_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from feast import FeatureView

    from feastra_nb.reporting.progress import Progress
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore
    from feastra_nb.stores import Stores

ROUNDS = 3  # of looking for rows again, before a view is given up that others keep writing into
WAIT_S = (
    MAX_AGE_S + 0.1
)  # until every batch that was written by the list as it was before is stored, or has taken itself back
ENTITIES_A_RANGE = 50  # at most, of those that are forgotten: their tombstones are met when the range is read again
# What a read of Astra counts, and a row's key with the frame around it.
READ_BYTES, KEY_BYTES = 4_096, 60


# --- one view --------------------------------------------------------------------------------------------------------


def forget(stores: Stores, name: str, entities: Any, *, offline: bool) -> int:
    """Delete every row of the entities, and return how many had any: offline first, so that nothing brings them back."""
    view = stores.view(name)
    path = _own_parquets(stores, [view])[name] if offline else None
    view_request = Requested(view, ())
    keys = entity_keys(view_request, entity_table(entities, [view_request])).unique()
    opened, entry = stores.online, stores.online.entry(view, reload=True)
    run, forgotten = upkeep_run(entry, "forget"), set[bytes]()
    with journalled(opened.journal, lambda: replace(run, rows=len(forgotten))):
        if path is not None:
            forgotten |= _forget_offline(stores, path, view_request, keys)
        forgotten |= delete_entities(opened.db, entry, keys.to_pylist())
        if opened.mirror is not None:
            opened.mirror.forget(view.name, keys.to_pylist())
    return len(forgotten)


def _own_parquets(stores: Stores, views: Sequence[FeatureView]) -> dict[str, Path]:
    """Return the parquet of each view; refuse all where one of them has offline data that are not ours."""
    paths = {view.name: offline_file.path_of(stores.directory, view.name) for view in views}
    for view in views:
        source = getattr(view.batch_source, "path", None)
        if source is None or Path(source) != paths[view.name]:
            raise ConfigurationError(
                f"the offline data of view {view.name!r} are not ours: {type(view.batch_source).__name__} "
                f"{view.batch_source.name!r}",
                hint="delete them there; without offline=True it deletes online",
            )
    return paths


def _forget_offline(stores: Stores, path: Path, view_request: Requested, keys: pa.Array) -> set[bytes]:
    def named(stored: pa.Array) -> npt.NDArray[np.bool_]:
        return np.asarray(pc.is_in(stored, value_set=keys.cast(stored.type)))

    return _offline_rows(stores, path, view_request, named, delete=True)[0]


def _offline_rows(
    stores: Stores,
    path: Path,
    view_request: Requested,
    meant: Callable[[pa.Array], npt.NDArray[np.bool_]],
    *,
    delete: bool,
) -> tuple[set[bytes], int]:
    """Delete the rows of a parquet whose entity keys are meant, or count them; return their entities, and how many rows."""
    if not path.exists():
        return set(), 0
    with locked(stores.directory) if delete else contextlib.nullcontext():
        table = offline_file.read(path)
        stored = entity_keys(view_request, with_constant_key(table, view_request.view))
        mask = meant(stored)
        if delete and mask.any():
            offline_file.replace(path, table.filter(pa.array(~mask)))
        return set(stored.filter(pa.array(mask)).to_pylist()), int(mask.sum())


# --- every view ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Work:
    """What is to be done in one view, and what was.

    Parameters
    ----------
    name
        The view.
    fields
        Its join keys; none for a view of vectors, whose keys say their own.
    names, wanted
        The join keys that were given, and their values as `storage.suppression` encodes them.
    keys
        The entity keys themselves, where the view has no other join keys; None where its table has to be scanned.
    entry
        What the catalog knows of it; None for a view that is not online.
    offline
        The registered view and its parquet, where that is to be cleaned as well.
    """

    name: str
    fields: Sequence[tuple[str, ValueType]]
    names: tuple[str, ...]
    wanted: pa.Array
    keys: Sequence[bytes] | None = None
    entry: ViewEntry | None = None
    offline: tuple[FeatureView, Path] | None = None
    found: set[bytes] = field(default_factory=set)
    rows_online: int = 0
    rows_offline: int | None = None

    def meant(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Tell which of n entity keys of the view are to be forgotten."""
        fields = tuple((name, kind.name) for name, kind in self.fields)
        return rows_with(fields, keys, self.names, self.wanted)

    def offline_rows(self, stores: Stores, *, delete: bool) -> None:
        """Delete the rows of the view's own parquet, or count them."""
        if self.offline is not None:
            view, path = self.offline
            there, self.rows_offline = _offline_rows(stores, path, Requested(view, ()), self.meant, delete=delete)
            self.found |= there

    def count(self, opened: OpenStore, levels: Levels, report: Progress) -> None:
        """Count the rows that are online."""
        if self.entry is not None:
            keys = self._keys(opened, self.entry, levels, report)
            for key, _place, _written_us in written_rows(opened.db, self.entry, keys, levels.read):
                self.found.add(key)
                self.rows_online += 1

    def delete(self, opened: OpenStore, levels: Levels, report: Progress) -> int:
        """Delete the rows that are online now, and return how many there were."""
        if self.entry is None:
            return 0
        before = self.rows_online
        for rows in delete_rows(opened.db, self.entry, self._keys(opened, self.entry, levels, report), levels):
            self.found |= {key for key, _place in rows}
            self.rows_online += len(rows)
        return self.rows_online - before

    def prove(self, opened: OpenStore, levels: Levels, report: Progress) -> None:
        """Look for rows again, and delete what came meanwhile, until there are none.

        Raises
        ------
        RequestFailed
            There are some again and again.
        """
        for _round in range(ROUNDS):
            left = self.delete(opened, levels, report)
            if not left:
                return
        raise RequestFailed(
            f"view {self.name!r} still held {left:,} rows of the entities when they were looked for the {ROUNDS}rd time: "
            "something keeps writing them",
            hint="they are on the suppression list; stop writers of older versions of feastra-nb, and call it again",
        )

    def forget_mirrored(self, opened: OpenStore) -> None:
        """Delete the entities from the table that a migration still writes."""
        if opened.mirror is None or self.entry is None or is_vector_view(self.name):
            return
        opened.mirror.forget(self.name, [*self.found, *(self.keys or ())])
        if self.keys is None:
            opened.mirror.forget_meant(self.name, self.fields, self.meant)

    def result(self, *, dry_run: bool) -> ForgottenView:
        """Return the view's part of the report."""
        return ForgottenView(
            view=self.name,
            kind="vectors" if is_vector_view(self.name) else "view",
            asked=len(self.wanted),
            found=len(self.found),
            rows_online=self.rows_online,
            rows_offline=self.rows_offline,
            rows_left=None if dry_run or self.entry is None else 0,
        )

    def _keys(self, opened: OpenStore, entry: ViewEntry, levels: Levels, report: Progress) -> Iterator[bytes]:
        if self.keys is None:
            parts = max(TOKEN_RANGES, len(self.wanted) // ENTITIES_A_RANGE)
            yield from scanned_keys(opened.db, entry, self.meant, level=levels.read, parts=parts, on_range=report)
            return
        for key in self.keys:
            yield key
            report(1)


def forget_entity(
    stores: Stores, entities: Any, *, dry_run: bool, offline: bool, progress: bool | Callable[[int], object]
) -> Forgotten:
    """Delete entities from every view that has their join keys, and keep every way of writing from bringing them back."""
    began_s = time.monotonic()
    opened = _our_store(stores, "ws.forget_entity")
    works = _works(stores, opened, Entities.of(entities), offline=offline)
    names, wanted = works[0].names, works[0].wanted
    levels = sure_levels(opened.db)
    _show_use(stores, opened, works, deletes=not dry_run)
    under_way: tuple[str, ...] = ()
    with acknowledged_rows(None, f"forgetting {', '.join(names)}", progress) as report:
        if dry_run:
            for work in works:
                work.offline_rows(stores, delete=False)
                work.count(opened, levels, report)
        elif len(wanted):
            opened.catalog.create_table(SUPPRESSED_TABLE, SUPPRESSED_COLUMNS)
            opened.suppression.add(names, wanted, _list_level(levels))
            under_way = _delete(stores, opened, works, levels, report)
    done = tuple(work.result(dry_run=dry_run) for work in works if work.found or not is_vector_view(work.name))
    return Forgotten(
        views=done,
        join_keys=names,
        entities=len(wanted),
        dry_run=dry_run,
        level=levels.write or "",
        proof_level=levels.read or "",
        under_way=under_way,
        seconds=time.monotonic() - began_s,
    )


def _delete(
    stores: Stores, opened: OpenStore, works: Sequence[_Work], levels: Levels, report: Progress
) -> tuple[str, ...]:
    """Delete and prove; return the views into which runs were writing meanwhile."""
    suppressed_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        for work in works:
            if work.entry is not None:
                stack.enter_context(journalled(opened.journal, _present(work, work.entry)))
        for work in works:
            work.offline_rows(stores, delete=True)
            work.delete(opened, levels, report)
        under_way = tuple(work.name for work in works if work.entry and _is_written(opened, work.entry))
        time.sleep(max(suppressed_s + WAIT_S - time.monotonic(), 0.0))
        for work in works:
            work.prove(opened, levels, report)
            work.forget_mirrored(opened)
    return under_way


def _present(work: _Work, entry: ViewEntry) -> Callable[[], Any]:
    run = upkeep_run(entry, "forget")
    return lambda: replace(run, rows=len(work.found))


def _is_written(opened: OpenStore, entry: ViewEntry) -> bool:
    runs = opened.journal.runs(entry.project, entry.view)
    return any(run.state == RUNNING and run.writes and run.generation == entry.generation for run in runs)


def _list_level(levels: Levels) -> str:
    """Return the level of writes of the suppression list, which every read of it has to meet."""
    return levels.write if levels.write == "EACH_QUORUM" else "QUORUM"


def allow_entity(stores: Stores, entities: Any) -> int:
    """Take entities off the suppression list, and return how many were on it."""
    opened = _our_store(stores, "ws.allow_entity")
    given = Entities.of(entities)
    names = tuple(sorted(given.columns))
    listed = {name for of_list in opened.suppression.current().hashes for name in of_list}
    known = _key_types(stores, opened)
    _refuse_unknown(names, known.keys() | listed)
    columns = [key_column(array_of(given.columns[name], name), name, known.get(name)) for name in names]
    fields = [(name, known.get(name) or _type_of(column)) for name, column in zip(names, columns, strict=True)]
    return opened.suppression.lift(names, encoded_part(names, fields, columns), _list_level(sure_levels(opened.db)))


def _type_of(column: pa.Array) -> ValueType:
    """Return the type of a join key that no view has any more."""
    if pa.types.is_integer(column.type):
        return ValueType.INT64
    if pa.types.is_timestamp(column.type):
        return ValueType.UNIX_TIMESTAMP
    return ValueType.BYTES if pa.types.is_binary(column.type) else ValueType.STRING


# --- which views -----------------------------------------------------------------------------------------------------


def _works(stores: Stores, opened: OpenStore, given: Entities, *, offline: bool) -> list[_Work]:
    """Return what is to be done in each view; nothing is done yet.

    Raises
    ------
    UnknownName
        No view has a join key of that name, or none has all of them.
    InvalidFrame
        The values do not fit a view's join keys.
    ConfigurationError
        ``offline`` was asked for, and a view's offline data are not ours.
    """
    names = tuple(sorted(given.columns))
    entries = {entry.view: entry for entry in opened.catalog.views(stores.project)}
    views = {view.name: view for view in stores.feast.list_all_feature_views()}
    known = _fields_of(entries, views)
    _refuse_unknown(names, {name for fields in known.values() for name, _kind in fields})
    covered = {view: fields for view, fields in known.items() if set(names) <= {name for name, _kind in fields}}
    if not covered:
        some = sorted({tuple(name for name, _kind in fields) for fields in known.values()})
        near = " or ".join(", ".join(keys) for keys in some if set(keys) & set(names))
        raise UnknownName(
            f"no feature view has all of the join keys {', '.join(names)}", hint=f"there are views by {near}"
        )
    works = [_work(view, fields, names, given, entries.get(view)) for view, fields in sorted(covered.items())]
    if offline:
        ours = [views[work.name] for work in works if getattr(views.get(work.name), "batch_source", None) is not None]
        paths = _own_parquets(stores, ours)
        for work in works:
            work.offline = (views[work.name], paths[work.name]) if work.name in paths else None
    vectors = [entry for name, entry in sorted(entries.items()) if _may_hold(stores, name, covered)]
    return works + [_Work(entry.view, (), names, works[0].wanted, entry=entry) for entry in vectors]


def _fields_of(entries: Mapping[str, ViewEntry], views: Mapping[str, Any]) -> dict[str, list[tuple[str, ValueType]]]:
    """Return the join keys of every view that the store or the registry knows, but for views without entities."""
    fields = {name: key_fields(view) for name, view in views.items() if hasattr(view, "entity_columns")}
    for name, entry in entries.items():
        fields[name] = [(key, ValueType[kind]) for key, kind in entry.join_keys]
    return {name: some for name, some in fields.items() if some and some[0][0] != DUMMY_ENTITY_ID}


def _key_types(stores: Stores, opened: OpenStore) -> dict[str, ValueType]:
    entries = {entry.view: entry for entry in opened.catalog.views(stores.project)}
    views = {view.name: view for view in stores.feast.list_all_feature_views()}
    return {name: kind for fields in _fields_of(entries, views).values() for name, kind in fields}


def _refuse_unknown(names: Sequence[str], known: set[str]) -> None:
    if not names:
        raise InvalidFrame("the entities have no join key", hint=f"pass {SHAPES}")
    for name in names:
        if name not in known:
            raise UnknownName(f"no feature view has the join key {name!r}", hint=close_names(name, known))


def _work(
    view: str, fields: Sequence[tuple[str, ValueType]], names: tuple[str, ...], given: Entities, entry: ViewEntry | None
) -> _Work:
    types = dict(fields)
    columns = [key_column(array_of(given.columns[name], name), name, types[name]) for name in names]
    some = [(name, types[name]) for name in names]
    wanted = encoded_part(names, some, columns).unique()
    keys = None
    if len(names) == len(fields):
        keys = codec.encode_entity_keys(names, [types[name] for name in names], columns).unique().to_pylist()
    return _Work(view, fields, names, wanted, keys, entry)


def _may_hold(stores: Stores, name: str, covered: Mapping[str, Any]) -> bool:
    """Tell whether a view is one of vectors, which may be of covered views: those of a service that is gone may be."""
    if not is_vector_view(name):
        return False
    services = {service.name: service for service in stores.feast.list_feature_services()}
    service = services.get(service_of(name))
    return service is None or any(projection.name in covered for projection in service.feature_view_projections)


def _our_store(stores: Stores, what: str) -> OpenStore:
    if not stores.has_history:
        raise ConfigurationError(
            f"{what} needs a FeastraOnlineStore; the repository's online store is {type(stores.online_store).__name__}",
            hint="delete the entity with that store's own tools, or move the features to "
            "`online_store: {type: feastra_nb.online_store.FeastraOnlineStore}`",
        )
    return stores.online


def _show_use(stores: Stores, opened: OpenStore, works: Sequence[_Work], *, deletes: bool) -> None:
    """Say what scans cost where reads are billed."""
    block = stores.feast.config.online_store
    scans = [work.entry for work in works if work.keys is None and work.entry is not None]
    if scans and billing.is_billed(block):
        runs = {entry.view: opened.journal.runs(entry.project, entry.view) for entry in scans}
        rows = sum(run.rows for entry in scans for run in runs[entry.view] if run.writes)
        reads = (1 + deletes) * (TOKEN_RANGES * len(scans) - (-rows * KEY_BYTES // READ_BYTES))
        billing.show_use(block, f"a scan of the keys of {len(scans)} views", reads=reads, deletes=deletes)
