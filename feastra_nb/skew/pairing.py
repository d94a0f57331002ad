"""Pairs online answers with offline rows for `Workspace.skew`: now, as of a spine, or as served."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.connection.astra import billing
from feastra_nb.errors import ConfigurationError, FeastraError, InvalidFrame, UnknownName, close_names
from feastra_nb.reporting.progress import acknowledged_rows
from feastra_nb.retrieval.entities import Entities, entity_table
from feastra_nb.retrieval.offline import KNOWN_AT_AS_OF, check_spine
from feastra_nb.retrieval.request import Request, Requested, requested
from feastra_nb.skew.cells import AS_OF, TIMES, CellChunk, Cells, numbers
from feastra_nb.skew.chunks import Questions, whole_entities
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.evidence import Cover
from feastra_nb.skew.offline_ranges import KEPT_BYTES
from feastra_nb.skew.offline_side import OfflineRows
from feastra_nb.skew.online_side import EVENT, STATUS, AnyStoreNow, Logged, OnlineSide, OursAsOf, OursNow
from feastra_nb.skew.proofs import Proofs
from feastra_nb.skew.report import SkewReport
from feastra_nb.skew.rules import LONGEST_US
from feastra_nb.skew.scan import ScanPairing
from feastra_nb.skew.scanned_stores import comparable_as_a_whole
from feastra_nb.skew.verdicts import Tolerance, compare
from feastra_nb.storage.journal import DONE
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.storage.scanning import Pace
from feastra_nb.times import instants, us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from feastra_nb.stores import Stores

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

NOW, PAST, SERVED = "now", "as of", "served"


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """One view to compare: what is asked, of which online store, beside which offline rows.

    Parameters
    ----------
    covers
        What was materialized, as far as the store or Feast's registry tells.
    """

    stores: Stores
    questions: Questions
    online: OnlineSide
    offline: OfflineRows
    covers: Sequence[Cover]
    tolerance: Tolerance
    is_unread = False

    def notes(self) -> list[str]:
        """Return what could not be compared beside the rows: nothing."""
        return []

    @property
    def label(self) -> str:
        """What the report calls the view."""
        return self.questions.view_request.label

    def rows(self) -> int:
        """Count the rows that are compared."""
        return len(self.questions)

    def entities(self) -> int:
        """Count the entities that are read."""
        return self.questions.entities()

    def compared(self, done: Callable[[int], object]) -> Iterator[CellChunk]:
        """Compare the view chunk by chunk; an empty chunk keeps its columns in the report."""
        questions = self.questions
        lost = _lost(self.stores, questions)
        chunks = whole_entities(questions, offline_rows=self.offline.count()) if len(questions) else iter(())
        for chunk in chunks:
            yield compare(
                chunk, self.online, self.offline, self.covers, lost=lost[chunk.questions.rows], tolerance=self.tolerance
            )
            done(len(chunk.questions))
        if not len(questions):
            yield CellChunk.empty(self.label, questions.shown.schema, questions.view_request.features)

    def failure(self) -> FeastraError | None:
        """Return what could not be read: nothing, since a read that fails ends the comparison."""


def skew(
    stores: Stores,
    view_or_features: Any,
    *,
    spine: Any = None,
    served: Any = None,
    known_at: Any = None,
    only: Any = None,
    tolerance: Tolerance = None,
    sample: int | None = None,
    rows_per_s: float | None = None,
    resume: bool = False,
    progress: bool | Callable[[int], object] = False,
) -> SkewReport:
    """Compare a workspace's online and offline stores; see `Workspace.skew`."""
    mode = _mode(spine, served, known_at, sample)
    request, failed = _requested(stores, view_or_features)
    if not request.views:
        raise ConfigurationError(
            f"only on-demand features were asked for ({', '.join(request.on_demand)}), which no store holds",
            hint="compare the feature views that they are computed from",
        )
    wanted = _only(request, only)
    _check_tolerance(tolerance, wanted)
    compared = Request(tuple(wanted))  # request data is not compared, so a frame need not have it
    frame = None if mode == NOW else _sampled(_frame(compared, spine if mode == PAST else served), sample)
    alone = len(wanted) + len(failed) == 1
    with contextlib.ExitStack() as opened:
        whole = comparable_as_a_whole(stores) if mode == NOW and sample is None else None
        if whole is not None:
            opened.callback(whole.close)
        elif rows_per_s is not None or resume:
            raise ConfigurationError(
                "rows_per_s= and resume= are for a scan of the online table, and this comparison asks entity by entity",
                hint="leave it out, or compare the whole view as it is now: no spine, no served frame, no sample",
            )
        pace = Pace(rows_per_s)
        pairings: list[Pairing | ScanPairing] = []
        for one in wanted:
            with _failing(one.label, failed, alone=alone):
                if whole is None:
                    pairings.append(_pairing(stores, one, mode, frame, known_at, sample, tolerance))
                else:
                    keep_bytes, covers = KEPT_BYTES // len(wanted), covers_of(stores, one)
                    pairings.append(ScanPairing(stores, whole, one, covers, tolerance, pace, keep_bytes, resume))
        cells = _all_cells(stores, pairings, failed, alone=alone, progress=progress, by_key=whole is not None)
        notes = {pairing.label: noted for pairing in pairings if (noted := pairing.notes())}
    return SkewReport(
        cells=cells,
        proofs=Proofs.of(cells),
        mode=mode,
        store=stores.type,
        project=stores.project,
        has_history=stores.has_history,
        not_compared=request.on_demand,
        failed={view: error.message for view, error in failed.items()},
        notes=notes,
        arrived_later=_arrived_later(cells) if mode == PAST and not known_at else 0,
    )


def _all_cells(
    stores: Stores,
    pairings: Sequence[Pairing | ScanPairing],
    failed: dict[str, FeastraError],
    *,
    alone: bool,
    progress: bool | Callable[[int], object],
    by_key: bool,
) -> Cells:
    """Compare all views; an error of one of several is added to ``failed``, so that the others are compared all the same."""
    ready: list[Pairing | ScanPairing] = []
    for pairing in pairings:
        with _failing(pairing.label, failed, alone=alone):
            pairing.rows()  # the offline side is read
            ready.append(pairing)
    block = stores.feast.config.online_store
    if billing.is_billed(block):
        billing.show_use(block, "this comparison", reads=sum(pairing.entities() for pairing in ready))
    cells = Cells(by_key=by_key)
    with acknowledged_rows(sum(pairing.rows() for pairing in ready), "skew", progress) as done:
        for pairing in ready:
            with _failing(pairing.label, failed, alone=alone):
                for chunk in pairing.compared(done):
                    cells.add(chunk)
            unread = pairing.failure()
            if unread is not None:
                failed[pairing.label] = unread
                if alone and pairing.is_unread:
                    raise unread
    if len(failed) and cells.is_empty:
        raise next(iter(failed.values()))
    return cells


def _requested(stores: Stores, features: Any) -> tuple[Request, dict[str, FeastraError]]:
    """Return what is to be compared, and of several views those that cannot be asked for, with the reason."""
    try:
        return requested(stores.feast, features, full_feature_names=True), {}
    except FeastraError:
        refs = list(features) if isinstance(features, (list, tuple)) else []
        views = {str(ref).partition(":")[0] for ref in refs}
        if len(views) < 2:  # noqa: PLR2004 - one view alone
            raise
    failed: dict[str, FeastraError] = {}
    well: list[Any] = []
    for ref in refs:
        try:
            requested(stores.feast, ref, full_feature_names=True)
            well.append(ref)
        except UnknownName:
            raise  # a slip of the pen, not an ill view
        except FeastraError as error:
            failed[str(ref).partition(":")[0]] = error
    if not well:
        raise next(iter(failed.values()))
    return requested(stores.feast, well, full_feature_names=True), failed


@contextlib.contextmanager
def _failing(view: str, failed: dict[str, FeastraError], *, alone: bool) -> Iterator[None]:
    """Keep the error of one view among several, so that the others are compared all the same."""
    try:
        yield
    except InvalidFrame:
        raise  # what was handed in lacks something, whichever view comes first
    except FeastraError as error:
        if alone:
            raise
        failed[view] = error


def _mode(spine: Any, served: Any, known_at: Any, sample: Any) -> str:
    if spine is not None and served is not None:
        raise ConfigurationError(
            "spine= and served= exclude each other", hint="a served frame brings its own instants: event_timestamp"
        )
    if known_at not in (None, KNOWN_AT_AS_OF):
        raise ConfigurationError(f"known_at={known_at!r}", hint="known_at='as_of' counts only what had arrived by then")
    if known_at and spine is None:
        raise ConfigurationError("known_at needs a spine: now, everything that arrived counts")
    if sample is not None and (isinstance(sample, bool) or not isinstance(sample, Integral) or sample < 1):
        raise ConfigurationError(f"sample is {sample!r}; it must be a whole number, at least 1", hint="sample=1_000")
    if spine is not None:
        return PAST
    return NOW if served is None else SERVED


def _only(request: Request, only: Any) -> list[Requested]:
    wanted = request.views
    if only is None:
        return list(wanted)
    names = [only] if isinstance(only, str) else list(only)
    known = [name for view_request in wanted for name in view_request.features]
    if not names:
        raise ConfigurationError("features=[] leaves nothing to compare", hint=close_names("", known))
    for name in names:
        if name not in known:
            raise UnknownName(
                f"there is no feature {name!r} among those to compare", hint=close_names(str(name), known)
            )
    some = [
        Requested(view_request.view, tuple(name for name in view_request.features if name in names))
        for view_request in wanted
    ]
    return [view_request for view_request in some if view_request.features]


def _check_tolerance(tolerance: Tolerance, wanted: Sequence[Requested]) -> None:
    """Refuse a tolerance that is not a number from 0 on, or of a feature that is not compared."""
    known = [name for view_request in wanted for name in view_request.features]
    given: Mapping[Any, Any] = (
        tolerance if isinstance(tolerance, Mapping) else {} if tolerance is None else {None: tolerance}
    )
    for name, value in given.items():
        if name is not None and name not in known:
            raise UnknownName(
                f"tolerance names {name!r}, which is not among the features to compare",
                hint=close_names(str(name), known),
            )
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            of = "" if name is None else f"[{name!r}]"
            raise ConfigurationError(
                f"tolerance{of}={value!r} is not a number from 0 on",
                hint="the absolute difference that counts as equal",
            )


def _frame(request: Request, frame: Any) -> pd.DataFrame:
    """Return a spine, or a frame of logged values, with an aware ``event_timestamp``."""
    frame = Entities.of(frame).frame()
    if "event_timestamp" not in frame.columns and _LOG_TIMESTAMP in frame.columns:
        frame = frame.rename(columns={_LOG_TIMESTAMP: "event_timestamp"})
    return check_spine(frame, request)


_LOG_TIMESTAMP = "__log_timestamp"  # of Feast's feature logging


def _sampled(frame: pd.DataFrame, sample: int | None) -> pd.DataFrame:
    if sample is None or sample >= len(frame):
        return frame
    return frame.iloc[_evenly(len(frame), sample)].reset_index(drop=True)


def _evenly(rows: int, sample: int) -> Int64s:
    return np.linspace(0, rows - 1, sample).astype(np.int64)


# --- a view ------------------------------------------------------------------------------------------------------------


def _pairing(
    stores: Stores,
    view_request: Requested,
    mode: str,
    frame: pd.DataFrame | None,
    known_at: Any,
    sample: int | None,
    tolerance: Tolerance,
) -> Pairing:
    covers = covers_of(stores, view_request)

    def paired(questions: Questions, online: OnlineSide, offline: OfflineRows) -> Pairing:
        return Pairing(stores, questions, online, offline, covers, tolerance)

    if frame is None:
        now_us = time.time_ns() // 1000
        offline = OfflineRows(stores, view_request, now_us + CLOCK_SKEW_US, ahead_us=LONGEST_US)
        online: OnlineSide = OursNow(stores, now_us) if stores.has_history else AnyStoreNow(stores)
        return paired(_asked_now(view_request, offline, now_us, sample), online, offline)
    questions = _asked_then(view_request, frame, arrived=bool(known_at))
    until_us = int(questions.t_us.max()) if len(questions) else 0
    offline = OfflineRows(stores, view_request, until_us, ahead_us=LONGEST_US)
    if mode == SERVED:
        logged = _logged(view_request, frame)
        questions = replace(questions, logged=logged, known_us=questions.t_us if stores.has_history else None)
        return paired(questions, Logged(OursAsOf(stores) if stores.has_history else None), offline)
    if not stores.has_history:
        raise ConfigurationError(
            f"{stores.type} keeps one value of each entity: it cannot be compared as of the past",
            hint="without spine= it is compared as it is now; served= compares values that were logged",
        )
    return paired(questions, OursAsOf(stores), offline)


def _asked_now(view_request: Requested, offline: OfflineRows, now_us: int, sample: int | None) -> Questions:
    stored = offline.entities()
    if sample is not None and sample < stored.num_rows:
        stored = stored.take(pa.array(_evenly(stored.num_rows, sample)))
    shown = stored.select([name for name, _shown, _kind in view_request.keys]).rename_columns(
        [shown for _name, shown, _kind in view_request.keys]
    )
    rows = stored.num_rows
    return Questions(view_request, shown, np.full(rows, now_us), None, None, np.arange(rows), ahead_us=CLOCK_SKEW_US)


def _asked_then(view_request: Requested, frame: pd.DataFrame, *, arrived: bool) -> Questions:
    t_us = frame["event_timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    return Questions(
        view_request, entity_table(frame, [view_request]), t_us, t_us if arrived else None, None, np.arange(len(frame))
    )


def _logged(view_request: Requested, frame: pd.DataFrame) -> pa.Table:
    """Return what a frame logs of a view's features: values, and with them event times and statuses if they are there."""
    columns: dict[str, pa.Array] = {}
    for name in view_request.features:
        titles = [title for title in _titles(view_request, name) if title in frame.columns]
        if not titles:
            raise InvalidFrame(
                f"the served frame has no column for the feature {view_request.label}:{name}",
                hint=f"{close_names(name, map(str, frame.columns))}; features=[…] compares only some",
            )
        columns[name] = _column(frame[titles[0]], titles[0])
        for suffix in ("__ts", "__timestamp"):
            if titles[0] + suffix in frame.columns:
                columns[EVENT + name] = _instants(frame[titles[0] + suffix])
        if titles[0] + "__status" in frame.columns:
            columns[STATUS + name] = _column(frame[titles[0] + "__status"].astype(str), "status")
    return pa.table(columns)


def _titles(view_request: Requested, name: str) -> tuple[str, ...]:
    """Return the names by which a feature may be logged: Feast's short and full ones, and a reference."""
    return f"{view_request.label}__{name}", f"{view_request.label}:{name}", name


def _column(values: pd.Series[Any], name: str) -> pa.Array:
    try:
        column = pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise InvalidFrame(f"the served column {name!r} mixes types: {exc}", hint="give the column one type") from exc
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _instants(values: pd.Series[Any]) -> pa.Array:
    """Return logged event times in microseconds; refuses numbers and texts that cannot be read."""
    is_null = values.isna().to_numpy()
    at_us = np.zeros(len(values), dtype=np.int64)
    at_us[~is_null] = instants(values[~is_null], int((~is_null).sum()), str(values.name))
    return pa.array(at_us, mask=is_null)


def covers_of(stores: Stores, view_request: Requested) -> list[Cover]:
    """Return which intervals were materialized: by our journal, or by Feast's registry."""
    if not stores.has_history:
        intervals = getattr(view_request.view, "materialization_intervals", None) or []
        return [Cover(us(start), us(end), seen_us=us(end)) for start, end in intervals]
    entry = stores.online.entry(view_request.view)
    runs = stores.online.journal.runs(entry.project, entry.view)
    return [
        Cover(run.start_us, run.end_us, run.began_us, _ttl_us(run.terms), run.began_us, run.ended_us)
        for run in runs
        if run.generation == entry.generation and run.state == DONE and run.writes
    ]


def _ttl_us(terms: str) -> int | None:
    """Return the ttl that a run wrote under.

    Examples
    --------
    >>> _ttl_us("ttl 1800000000, retain all, 3 positions"), _ttl_us("ttl None, retain all, 3 positions")
    (1800000000, None)
    """
    match = re.match(r"ttl (\d+),", terms)
    return int(match[1]) if match else None


# --- comparing ---------------------------------------------------------------------------------------------------------


def _lost(stores: Stores, questions: Questions) -> Bools:
    """Return which rows Feast's own point-in-time join loses.

    DuckDB's gives every row back; other stores drop repeats, or rows without a match, so they are asked.
    """
    lost = np.zeros(len(questions), dtype=bool)
    if questions.ahead_us or not len(questions) or stores.feast.config.offline_store.type == "duckdb":
        return lost
    stored = {shown: name for name, shown, _kind in questions.view_request.keys}
    spine = questions.shown.to_pandas().rename(columns=stored)
    spine["event_timestamp"] = pd.to_datetime(questions.t_us, unit="us", utc=True)
    spine[_ROW] = np.arange(len(spine))
    reference = f"{questions.view_request.view.name}:{questions.view_request.features[0]}"
    with calling_feast(f"joining view {questions.view_request.view.name} offline"):
        job = stores.feast.get_historical_features(entity_df=spine, features=[reference], full_feature_names=True)
        kept = np.asarray(job.to_arrow().column(_ROW))
    lost[:] = True
    lost[kept] = False
    return lost


_ROW = "feastra_row"


def _arrived_later(cells: Cells) -> int:
    """Count the rows whose online value arrived only after the instant it was needed."""
    count = 0
    for chunk in cells:
        arrived, event = (numbers(chunk.rows, name) for name in (TIMES[2], TIMES[0]))
        count += int(((event != NO_US) & (arrived > numbers(chunk.rows, AS_OF))).sum())
    return count


__all__ = ["NOW", "PAST", "SERVED", "Pairing", "skew"]
