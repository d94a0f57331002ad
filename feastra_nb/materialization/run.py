"""Writes an Arrow table of a feature view's rows into the online store, with a journal entry and progress.

`ws.materialize(df)` ends in `write_table`; `ws.materialize(view)` and `feast materialize` come through `from_offline`.
Both write by a `Writing`: one journalled run into one view.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from feast.value_type import ValueType

from feastra_nb import codec
from feastra_nb.adapter.objects import key_fields, with_constant_key
from feastra_nb.codec.columns import epoch_us
from feastra_nb.codec.conversion import lost, why_lost
from feastra_nb.errors import FeastraError
from feastra_nb.materialization.event_times import EXPIRED, STORED, SUPERSEDED, WRITTEN, EventCounter, EventTimes
from feastra_nb.materialization.frame_warnings import warn_of_dates
from feastra_nb.materialization.profile import FeatureProfile, Profiler
from feastra_nb.reporting.progress import Progress, acknowledged_rows
from feastra_nb.reporting.report import Report
from feastra_nb.storage import writer
from feastra_nb.storage.forgetting import sweep
from feastra_nb.storage.journal import Run, journalled, new_run
from feastra_nb.storage.pruning import move_horizon
from feastra_nb.storage.row_selection import Admitted, admit, refuse_future
from feastra_nb.storage.rows import Distinct, Rows
from feastra_nb.storage.stored_rows import find_stored, renew
from feastra_nb.times import instant
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    import numpy.typing as npt
    import pandas as pd
    from feast import FeatureView
    from matplotlib.axes import Axes

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.opened import OpenStore


@dataclass(frozen=True, slots=True, eq=False)
class Materialization(Report):
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
        Rows left out because they are older than the retention, and not the newest of their entity before it; rows that the
        offline store itself left out are not counted.
    retries
        Batches that had to be sent more than once.
    seconds
        From the call to the last acknowledgement.
    repeats
        Rows of the frame left out because a later one has the same entity, event and created time.
    suppressed
        Rows left out because their entities were forgotten for good (`ws.forget_entity`).
    skipped
        Intervals of event time, both ends inclusive, that runs which were stopped had written for good.
    features
        What each feature holds in the rows of the run: stored type, nulls, range, distinct texts. See `profile`.
    events
        When the events happened, and what became of them over time; None where there were none.
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
    repeats: int = 0
    suppressed: int = 0
    skipped: tuple[tuple[datetime, datetime], ...] = ()
    features: tuple[FeatureProfile, ...] = ()
    events: EventTimes | None = None

    @property
    def rows_per_s(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def frame(self) -> pd.DataFrame:
        """The counts as a DataFrame of one row."""
        import pandas as pd

        return pd.DataFrame([self._counts()])

    @property
    def profile(self) -> pd.DataFrame:
        """A row a feature: ``stored_as``, ``nulls`` (a share), ``low``, ``high``, ``distinct``, ``holds``, ``note``."""
        import pandas as pd

        names = [field.name for field in fields(FeatureProfile)]
        rows = [[getattr(one, name) for name in names] for one in self.features]
        return pd.DataFrame(rows, columns=names).astype({"distinct": "Int64", "low": object, "high": object})

    @property
    def notes(self) -> list[str]:
        """What is not said by the rows alone: stored already, expired, retried, …; empty for nothing."""
        counts = (
            (self.unchanged, "stored already"),
            (self.renewed, "of them live longer now"),
            (self.expired, "expired"),
            (self.suppressed, "of forgotten entities left out"),
            (self.superseded, "older than the retention"),
            (self.repeats, "repeats left out"),
            (self.retries, "retries"),
        )
        counted = [f"{count:,} {word}" for count, word in counts if count]
        return counted + [
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} written before" for start, end in self.skipped
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what became of the rows."""
        from feastra_nb.materialization.page import draw_materialization

        return draw_materialization(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        events = None if self.events is None else self.events.frame
        return self._counts() | {"profile": self.profile, "events": events}

    def _counts(self) -> dict[str, Any]:
        names = [field.name for field in fields(self) if field.name not in {"features", "events"}]
        return {name: getattr(self, name) for name in names} | {"rows_per_s": self.rows_per_s}

    @property
    def figures(self) -> str:
        """View, rows, entities and time in one line."""
        return (
            f"{self.view}: {self.rows:,} rows of {self.entities:,} entities in {self.seconds:.1f} s "
            f"({self.rows_per_s:,.0f} rows/s)"
        )

    @property
    def sentence(self) -> str:
        """Figures and notes in one line."""
        return f"{self.figures}; {', '.join(self.notes)}" if self.notes else self.figures

    def __repr__(self) -> str:
        from feastra_nb.materialization.page import materialization_text

        return materialization_text(self)

    def _page(self) -> str:
        from feastra_nb.materialization.page import materialization_page

        return materialization_page(self)


def write_table(
    opened: OpenStore,
    view: FeatureView,
    table: pa.Table,
    interval: tuple[int, int],
    *,
    check_stored: npt.NDArray[np.bool_] | None = None,
    allow_future: bool = False,
    progress: bool | Callable[[int], object] = False,
) -> Materialization:
    """Write a DataFrame's rows to the online store.

    Parameters
    ----------
    table
        Columns by the names of the view's join keys, features, timestamp and (if it has one) created field; all there is of
        the entities' past, so that what is older than the retention can be left out.
    interval
        Of event time, which the run covers; microseconds since the epoch, both ends inclusive.
    check_stored
        Shape (n,): rows that may be stored already; those found with the same content are not appended again.

    Raises
    ------
    InvalidFrame
        An event lies in the future, or a value does not fit its feature's type; nothing was written.
    WriteIncomplete
        The write stopped part-way; the journal says so, and the same call completes it.
    """
    writing = Writing(opened, view, allow_future=allow_future)
    allowed = writing.allowed(table)
    if not allowed.all():
        table = table.filter(pa.array(allowed))
        check_stored = None if check_stored is None else check_stored[allowed]
    rows = writing.encoded(table)
    chosen = admit(rows, now_us=writing.now_us, ttl_us=writing.entry.ttl_us, retain=writing.entry.retention, thin=True)
    none = np.zeros(len(rows), dtype=bool)
    with writing.journalled("frame", interval):
        if chosen.superseded:
            writing.forget_before_retention()
        part = Part(rows, chosen, none if check_stored is None else chosen.keep & check_stored)
        with acknowledged_rows(int(chosen.keep.sum()), view.name, progress) as report:
            writing.write([part], report)
    return writing.result()


class Part(NamedTuple):
    """Some rows of a run, which of them to write, and which may be stored already (shape (n,))."""

    rows: Rows
    admitted: Admitted
    check_stored: npt.NDArray[np.bool_]


class Writing:
    """One run into one view: encodes, writes what is new, counts, and keeps the journal.

    Parameters
    ----------
    opened, view
        The open online store and the feature view.
    allow_future
        Take events more than five minutes ahead of this machine's clock.
    """

    def __init__(self, opened: OpenStore, view: FeatureView, *, allow_future: bool = False) -> None:
        self.now_us = time.time_ns() // 1000
        self.entry = opened.entry(view)
        self._began = time.monotonic()
        self._opened, self._view = opened, view
        self._suppressed = opened.suppression.current()
        self._allow_future = allow_future
        self._counts = _Counts()
        self._entities = Distinct()
        self._run: Run | None = None
        self._events = EventCounter()
        stored = self.entry.value_types
        self._profiler = Profiler({field.name: str(field.dtype) for field in view.features if field.name in stored})
        self._lost: Counter[str] = Counter()
        self._has_dates = False

    def allowed(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell of which rows of a table the entities were not forgotten for good, and count the others."""
        if not self._suppressed.concerns(self.entry):
            return np.ones(table.num_rows, dtype=bool)
        keys = key_fields(self._view)
        mask = self._suppressed.mask(keys, [table.column(name) for name, _type in keys])
        self._counts.suppressed += int(mask.sum())
        return ~mask

    def encoded(self, table: pa.Table) -> Rows:
        """Return a table's rows of the log; refuse what cannot be stored."""
        rows = encode(self.entry, self._view, table)
        self._profiler.add(table)
        self._has_dates |= pa.types.is_date(table.schema.field(self._view.batch_source.timestamp_field).type)
        for slot in self.entry.slots:
            if not slot.dropped:
                changed = int(lost(table.column(slot.name), ValueType[slot.value_type]).sum())
                self._lost[slot.name] += changed
        if not self._allow_future:
            refuse_future(rows.event_us, now_us=self.now_us, view=self._view.name)
        return rows

    @contextlib.contextmanager
    def journalled(self, kind: str, interval: tuple[int, int]) -> Iterator[None]:
        """Write into the journal that a run begins, and how it ends, however it does."""
        start_us, end_us = interval
        self._run = new_run(self.entry, kind, start_us=start_us, end_us=end_us, began_us=self.now_us)
        self._opened.journal.write(self._run)
        with journalled(self._opened.journal, self._present):
            try:
                yield
            except BaseException:
                with contextlib.suppress(FeastraError):
                    sweep(self._opened, self.entry, self._suppressed)
                raise
            sweep(self._opened, self.entry, self._suppressed)

    def reached(self, reached_us: int | None, reaching_us: int) -> None:
        """Write into the journal how far the run has come, and what it does next (see `storage.journal.Run`)."""
        self._run = replace(self._present(), reached_us=reached_us, reaching_us=reaching_us)
        self._opened.journal.write(self._run)

    def forget_before_retention(self) -> None:
        """Note in the catalog that of what is older than the retention only the newest events are written."""
        self.entry = move_horizon(self._opened.catalog, self.entry, self.now_us - (self.entry.retention.us or 0))
        self._opened.forget(self.entry.view)

    def write(self, parts: Iterable[Part], report: Progress) -> None:
        """Write parts and return when all of their rows are acknowledged.

        Parameters
        ----------
        report
            Is told of acknowledged rows, and of rows that need not be sent.
        """

        def acknowledged(count: int) -> None:
            self._counts.acknowledged += count
            report(count)

        mirror, keys = self._opened.mirror, list[bytes]()

        def fresh() -> Iterator[tuple[Rows, npt.NDArray[np.int64]]]:
            for part in parts:
                # Of rows that are stored already, too: the run that stored them may have failed before they were mirrored.
                if mirror is not None:
                    keys.extend(part.rows.entity_key.filter(pa.array(part.admitted.keep)).unique().to_pylist())
                yield self._fresh(part, report)

        before = self._counts.acknowledged
        result = writer.write_parts(self._opened.db, self.entry, fresh(), before=before, on_acknowledged=acknowledged)
        self._counts.retries += result.retries
        if mirror is not None:
            mirror.write(self._opened, self._view, keys)

    def warn_of_meaning(self) -> None:
        """Warn of what the offline store's rows mean otherwise than they look: days for instants, values that serving cuts."""
        if self._has_dates:
            warn_of_dates(self._view.name, self._view.batch_source.timestamp_field)
        for name, count in self._lost.items():
            if count:
                why = why_lost(ValueType[self.entry.value_types[name]])
                warn_user(
                    f"view {self._view.name!r}, feature {name!r}: {why}, in {count:,} rows; ws.skew shows them with the "
                    "cause conversion"
                )

    def result(self, skipped: Sequence[tuple[int, int]] = ()) -> Materialization:
        """Return what the run did."""
        counts = self._counts
        return Materialization(
            view=self._view.name,
            entities=self._entities.count(),
            rows=counts.acknowledged + counts.unchanged,
            unchanged=counts.unchanged,
            renewed=counts.renewed,
            expired=counts.expired,
            suppressed=counts.suppressed,
            superseded=counts.superseded,
            retries=counts.retries,
            seconds=time.monotonic() - self._began,
            skipped=tuple((instant(start_us), instant(end_us)) for start_us, end_us in skipped),
            features=self._profiler.profiles(),
            events=self._events.result(),
        )

    def _fresh(self, part: Part, report: Progress) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Return the rows of a part that are not stored yet, with their times to live, and count the others."""
        rows, admitted, check = part
        stored = find_stored(self._opened.db, self.entry, rows, check)
        short = np.flatnonzero(stored.too_short(admitted.ttl_s))
        if len(short):
            again = replace(rows.take(short), arrived_us=stored.arrived_us[short])
            renew(self._opened.db, self.entry, again, admitted.ttl_s[short], stored.written_us[short])
        fresh = admitted.keep & ~stored.found
        self._counts.unchanged += int(stored.found.sum())
        self._counts.renewed += len(short)
        self._counts.expired += admitted.expired
        self._counts.superseded += admitted.superseded
        self._entities.add(rows.entity_key)
        self._events.add(rows.event_us, _outcomes(admitted, stored.found))
        report.fewer(len(rows) - int(fresh.sum()))
        return rows.take(fresh), admitted.ttl_s[fresh]

    def _present(self) -> Run:
        if self._run is None:
            raise RuntimeError("no run has begun")
        counts = self._counts
        return replace(self._run, rows=counts.acknowledged, expired=counts.expired, suppressed=counts.suppressed)


def _outcomes(admitted: Admitted, found: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """Return what becomes of each row; -1 for repeats of others."""
    outcomes = np.full(len(found), -1, dtype=np.int8)
    for outcome, rows in (
        (WRITTEN, admitted.keep),
        (STORED, found),
        (EXPIRED, admitted.is_expired),
        (SUPERSEDED, admitted.is_superseded),
    ):
        outcomes[rows] = outcome
    return outcomes


@dataclass(slots=True)
class _Counts:
    """What `Materialization` says, while it is counted."""

    acknowledged: int = 0
    unchanged: int = 0
    renewed: int = 0
    expired: int = 0
    suppressed: int = 0
    superseded: int = 0
    retries: int = 0


def encode(entry: ViewEntry, view: FeatureView, table: pa.Table) -> Rows:
    """Return a view's table as rows of its log, in the table's order."""
    keys = key_fields(view)
    key_names = [name for name, _type in keys]
    table = with_constant_key(table, view)
    slots = entry.slots
    source = view.batch_source
    created = source.created_timestamp_column
    return Rows(
        codec.encode_entity_keys(key_names, [kind for _name, kind in keys], [table.column(name) for name in key_names]),
        epoch_us(table.column(source.timestamp_field), name=source.timestamp_field),
        epoch_us(table.column(created), name=created) if created else np.zeros(table.num_rows, dtype=np.int64),
        np.zeros(table.num_rows, dtype=np.int64),
        codec.encode_payloads(
            [None if slot.dropped else table.column(slot.name) for slot in slots],
            [None if slot.dropped else ValueType[slot.value_type] for slot in slots],
            table.num_rows,
            names=[slot.name for slot in slots],
        ),
    )
