"""Materialization: an Arrow table of a feature view's rows into the online store, journalled, with progress.

`ws.materialize(df)`, `ws.materialize(view)` and `feast materialize` through `arrow_engine` all end in `write_table`.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import FeastraError
from feastra_nb.frames import epoch_us
from feastra_nb.progress import acknowledged_rows
from feastra_nb.storage import codec, reader, writer
from feastra_nb.storage.admission import Admitted, admit, refuse_future, refuse_large
from feastra_nb.storage.journal import DONE, FAILED, INTERRUPTED, Journal, Run, new_run
from feastra_nb.storage.maintenance import move_horizon
from feastra_nb.storage.renewal import Stored, find_stored, renew
from feastra_nb.storage.rows import Rows
from feastra_nb.times import us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import numpy.typing as npt
    import pandas as pd
    from feast import FeatureStore, FeatureView
    from feast.repo_config import RepoConfig

    from feastra_nb.connection.cluster import Database
    from feastra_nb.online_store import FeastraOnlineStore
    from feastra_nb.storage.catalog import ViewEntry

# An incremental run looks this far back before the end of the last one, for rows that arrived late.
LOOKBACK = timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False)
class Materialization:
    """What one materialization did. Rows count as written when the server acknowledged them.

    Parameters
    ----------
    view
        The feature view.
    entities
        Distinct entities among the rows.
    rows
        Rows that the online store now holds: acknowledged in this run, or found stored with the same content.
    unchanged
        Those of them that were stored already, and so were not appended again.
    renewed
        Those of the unchanged that would have expired too early (the view's ttl or retention has grown), and live longer now.
    expired
        Rows left out because ttl and retention are over for them.
    superseded
        Rows left out because they are older than the retention, and not the newest of their entity before it.
    retries
        Batches that had to be sent more than once.
    seconds
        From the call to the last acknowledgement.
    """

    view: str
    entities: int
    rows: int
    unchanged: int
    renewed: int
    expired: int
    superseded: int
    retries: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def frame(self) -> pd.DataFrame:
        """The same as a DataFrame of one row."""
        import pandas as pd

        names = [one.name for one in fields(self)] + ["rows_per_s"]
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

    def __repr__(self) -> str:
        notes = [
            f"{count:,} {word}"
            for count, word in (
                (self.unchanged, "stored already"),
                (self.renewed, "of them live longer now"),
                (self.expired, "expired"),
                (self.superseded, "older than the retention"),
                (self.retries, "retries"),
            )
            if count
        ]
        return (
            f"{self.view}: {self.rows:,} rows of {self.entities:,} entities in {self.seconds:.1f} s "
            f"({self.rows_per_s:,.0f} rows/s)" + (f"; {', '.join(notes)}" if notes else "")
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table of rows comes from, for the journal.

    ``kind`` as in `storage.journal.Run`; the interval is of event time, in microseconds, both ends inclusive.
    """

    kind: str
    start_us: int
    end_us: int


def write_table(
    store: FeastraOnlineStore,
    config: RepoConfig,
    view: FeatureView,
    table: pa.Table,
    source: Source,
    *,
    check_stored: npt.NDArray[np.bool_] | None = None,
    allow_future: bool = False,
    progress: bool | Callable[[int], object] = False,
) -> Materialization:
    """Write a view's rows to the online store.

    Parameters
    ----------
    table
        Columns by the names of the view's join keys, features, timestamp and (if it has one) created field.
    check_stored
        Shape (n,): rows that may be stored already; those found with the same content are not appended again.

    Raises
    ------
    InvalidFrame
        An event lies in the future, or a value does not fit its feature's type; nothing was written.
    WriteIncomplete
        The write stopped part-way; the journal says so, and the same call completes it.
    """
    began = time.monotonic()
    now_us = time.time_ns() // 1000
    opened = store.open(config)
    entry = store.entry(config, view)
    rows, chosen = _encode_and_admit(entry, view, table, now_us=now_us, allow_future=allow_future)
    run = new_run(
        project=entry.project,
        view=entry.view,
        kind=source.kind,
        generation=entry.generation,
        start_us=source.start_us,
        end_us=source.end_us,
        began_us=now_us,
    )
    opened.journal.write(run)
    if chosen.superseded:
        entry = move_horizon(opened.catalog, entry, now_us - (entry.retention.us or 0))
        store.forget_entry(config, entry.view)
    with journalled(opened.journal, replace(run, expired=chosen.expired)) as rows_of_run:
        none = np.zeros(len(rows), dtype=bool)
        stored = find_stored(opened.db, entry, rows, none if check_stored is None else chosen.keep & check_stored)
        renewed = _renew(opened.db, entry, rows, stored, chosen.ttl_s)
        fresh = chosen.keep & ~stored.found
        with acknowledged_rows(int(fresh.sum()), view.name, progress) as report:
            counted = lambda count: report(rows_of_run.add(count))  # noqa: E731 - one expression, used once
            result = writer.write(opened.db, entry, rows.take(fresh), chosen.ttl_s[fresh], on_acknowledged=counted)
    unchanged = int(stored.found.sum())
    return Materialization(
        view=view.name,
        entities=len(np.unique(rows.entity_codes())),
        rows=result.rows + unchanged,
        unchanged=unchanged,
        renewed=renewed,
        expired=chosen.expired,
        superseded=chosen.superseded,
        retries=result.retries,
        seconds=time.monotonic() - began,
    )


def _encode_and_admit(
    entry: ViewEntry, view: FeatureView, table: pa.Table, *, now_us: int, allow_future: bool
) -> tuple[Rows, Admitted]:
    """Return a table's rows and which of them to write; refuse what cannot be stored before anything is."""
    rows = encode(entry, view, table)
    if not allow_future:
        refuse_future(rows.event_us, now_us=now_us, view=view.name)
    refuse_large(rows, view=view.name)
    return rows, admit(rows, now_us=now_us, ttl_us=entry.ttl_us, retain=entry.retention, thin=True)


def _renew(db: Database, entry: ViewEntry, rows: Rows, stored: Stored, ttl_s: npt.NDArray[np.int64]) -> int:
    """Give stored rows that would expire too early the life they would get now; return how many there were."""
    short = np.flatnonzero(stored.too_short(ttl_s))
    if len(short):
        renew(db, entry, replace(rows.take(short), arrived_us=stored.arrived_us[short]), ttl_s[short])
    return len(short)


def encode(entry: ViewEntry, view: FeatureView, table: pa.Table) -> Rows:
    """Return a view's table as rows of its log, in the table's order."""
    from feast.value_type import ValueType

    keys = [(field.name, field.dtype.to_value_type()) for field in view.entity_columns]
    key_names = [name for name, _type in keys]
    slots = entry.slots
    source = view.batch_source
    created = source.created_timestamp_column
    return Rows(
        codec.encode_entity_keys(key_names, [kind for _name, kind in keys], [table.column(name) for name in key_names]),
        epoch_us(table.column(source.timestamp_field)),
        epoch_us(table.column(created)) if created else np.zeros(table.num_rows, dtype=np.int64),
        np.zeros(table.num_rows, dtype=np.int64),
        codec.encode_payloads(
            [None if slot.dropped else table.column(slot.name) for slot in slots],
            [None if slot.dropped else ValueType[slot.value_type] for slot in slots],
            table.num_rows,
            names=[slot.name for slot in slots],
        ),
    )


class _Acknowledged:
    """Counts a run's acknowledged rows, so that even an interrupted run's journal entry says how many there were."""

    def __init__(self) -> None:
        self.rows = 0

    def add(self, count: int) -> int:
        self.rows += count
        return count


@contextlib.contextmanager
def journalled(journal: Journal, run: Run) -> Iterator[_Acknowledged]:
    """Write into the journal how a run ends, however it does."""
    acknowledged = _Acknowledged()

    def ended(state: str, error: str | None = None) -> Run:
        return replace(run, state=state, rows=acknowledged.rows, ended_us=time.time_ns() // 1000, error=error)

    try:
        yield acknowledged
    except BaseException as exc:
        state = FAILED if isinstance(exc, Exception) else INTERRUPTED
        # The journal lives on the same cluster: where that is what failed, the run stays "running" there.
        with contextlib.suppress(FeastraError):
            journal.write(ended(state, str(exc).split("\n")[0]))
        raise
    journal.write(ended(DONE))


# --- from the offline store ------------------------------------------------------------------------------------------


def materialize_view(
    feature_store: FeatureStore,
    store: FeastraOnlineStore,
    view: FeatureView,
    *,
    start: datetime | None,
    end: datetime,
    progress: bool | Callable[[int], object] = False,
) -> Materialization:
    """Read a registered view's rows of an interval from the offline store and write them.

    Parameters
    ----------
    start, end
        Interval of event time, both inclusive; ``start=None`` for everything up to the end.
    """
    offline_store = feature_store._get_provider().offline_store  # noqa: SLF001 - Feast has no public way to it
    table = pull(feature_store.config, offline_store, feature_store.registry, view, start, end)
    source = Source("view", us(start) if start else reader.BEGINNING_US, us(end))
    check = np.full(table.num_rows, written_before(store, feature_store.config, view, source))
    return write_table(store, feature_store.config, view, table, source, check_stored=check, progress=progress)


def written_before(store: FeastraOnlineStore, config: RepoConfig, view: FeatureView, source: Source) -> bool:
    """Tell whether a run, finished or not, has written into the interval: its rows may be stored already."""
    entry = store.entry(config, view)
    return any(
        run.writes
        and run.generation == entry.generation
        and run.start_us <= source.end_us
        and source.start_us <= run.end_us
        for run in store.open(config).journal.runs(entry.project, entry.view)
    )


def pull(
    config: RepoConfig,
    offline_store: Any,
    registry: Any,
    view: FeatureView,
    start: datetime | None,
    end: datetime | None,
) -> pa.Table:
    """Return a view's offline rows of an interval, with the view's own column names and microsecond timestamps."""
    from feast.utils import _get_column_names, _run_pyarrow_field_mapping

    entities = [registry.get_entity(name, config.project) for name in view.entities]
    keys, features, timestamp, created = _get_column_names(view, entities)
    job = offline_store.pull_all_from_table_or_query(
        config=config,
        data_source=view.batch_source,
        join_key_columns=keys,
        feature_name_columns=features,
        timestamp_field=timestamp,
        created_timestamp_column=created or None,
        start_date=start,
        end_date=end,
    )
    table = _run_pyarrow_field_mapping(job.to_arrow(), dict(view.batch_source.field_mapping or {}))
    return _with_dummy_key(table, view)


def _with_dummy_key(table: pa.Table, view: FeatureView) -> pa.Table:
    """Return a view's rows with the key that Feast gives to views without entities; most offline stores leave it out."""
    from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

    keys = [field.name for field in view.entity_columns]
    if keys != [DUMMY_ENTITY_ID] or DUMMY_ENTITY_ID in table.column_names:
        return table
    return table.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string()))
