"""`ws.explain`: one value's history in both stores, and what was served at an instant."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import ConfigurationError
from feastra_nb.materialization.frames import TIMESTAMP_US
from feastra_nb.reporting.report import Report
from feastra_nb.reporting.words import span
from feastra_nb.retrieval.entities import entity_table, shown_keys
from feastra_nb.retrieval.lookup import PRESENT, Found
from feastra_nb.retrieval.request import requested, ttl_us
from feastra_nb.skew.causes import ADVICE
from feastra_nb.skew.cells import Cells
from feastra_nb.skew.chunks import Questions, whole_entities
from feastra_nb.skew.diagnosis import shown
from feastra_nb.skew.events import NO_US
from feastra_nb.skew.frame import cells_frame
from feastra_nb.skew.life import OFFLINE, ONLINE, RUN, common_shift, equal_events, happened, versions_of
from feastra_nb.skew.offline_side import OfflineRows
from feastra_nb.skew.online_side import AnyStoreNow, OursAsOf, OursNow
from feastra_nb.skew.pairing import covers_of
from feastra_nb.skew.proofs import Proofs
from feastra_nb.skew.verdicts import compare
from feastra_nb.storage import reader
from feastra_nb.storage.row_selection import CLOCK_SKEW_US
from feastra_nb.times import instants, us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.retrieval.request import Requested
    from feastra_nb.skew.chunks import Chunk
    from feastra_nb.skew.evidence import Cover
    from feastra_nb.skew.offline_side import OfflineEvents
    from feastra_nb.skew.online_side import OnlineSide
    from feastra_nb.stores import Stores

_COLUMNS = ("what", "event", "created", "arrived", "until", "value", "note")


@dataclass(frozen=True, eq=False, repr=False)
class Timeline(Report):
    """One value's life.

    Parameters
    ----------
    frame
        What happened, newest event first: ``what`` (offline event, online row, materialized), ``event`` (of a run: the begin
        of its interval), ``created``, ``arrived`` (of a run: when it ran), ``until`` (of a run: the end of its interval),
        ``value``, ``note``.
    cell
        The compared cell, with its evidence: a row of `SkewReport.frame`.
    feature
        ``view:feature``.
    entity
        The join keys.
    ttl_s
        The view's ttl, in seconds; None for none.
    has_history
        Whether the online store keeps more than one value of an entity.
    """

    frame: pd.DataFrame
    cell: pd.Series[Any]
    feature: str
    entity: Mapping[str, Any]
    ttl_s: float | None
    has_history: bool = True

    @cached_property
    def happened(self) -> pd.DataFrame:
        """The events of which there is something to say, newest first: ``event, offline, online, what happened``."""
        return happened(self)

    @cached_property
    def shift(self) -> pd.Timedelta | None:
        """By how much the online events lie later than the offline ones with the same values; None where they do not."""
        return common_shift(versions_of(self.frame, OFFLINE), versions_of(self.frame, ONLINE))

    @property
    def others(self) -> str:
        """What is left out of `happened`, in words; empty for nothing."""
        count = equal_events(self)
        return f"{count:,} other events are equal on both sides." if count else ""

    @property
    def title(self) -> str:
        """What was served and what it should have been, in a line."""
        cell = self.cell
        whose = _keys(self.entity) or "the view"
        if cell["verdict"] == "unknown":
            return f"{self.feature} of {whose}: before the store's memory"
        if self.ok:
            return f"{self.feature} of {whose}: served {shown(cell['online'])}, as it should be"
        return f"{self.feature} of {whose}: served {shown(cell['online'])}, should be {shown(cell['offline'])}"

    @property
    def ok(self) -> bool:
        """Whether both sides have the same value."""
        return bool(self.cell["verdict"] == "match")

    @property
    def sentence(self) -> str:
        """What became of the value, and why, in a sentence."""
        cell = self.cell
        online = _said("online", cell["online"], cell["online_event"])
        offline = _said("the point-in-time join picks", cell["offline"], cell["offline_event"])
        of = f" of {_keys(self.entity)}" if self.entity else ""
        at = f"{self.feature}{of} at {cell['as_of']:%Y-%m-%d %H:%M:%S} UTC"
        text = f"{at}: {online}, {offline}: {cell['verdict']}"
        if cell["cause"]:
            advice = _ALONE if cell["cause"] == "unexplained" else ADVICE[cell["cause"]]
            text += f", {cell['cause']}: {advice}" if self.shift is None else ""
        if self.shift is not None:
            way = "later" if self.shift > self.shift * 0 else "earlier"
            text += (
                f"; but all its online events are offline {span(abs(self.shift))} apart, with the same values: ws.skew says "
                f"whether the times of the whole view are shifted (online {way}); to materialize would carry that over"
            )
        return f"{text} ({cell['note']})." if cell["note"] else f"{text}."

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the value on both sides in event time, where they differ, the runs, and what was served at the instant."""
        from feastra_nb.skew.life_plot import draw_timeline

        return draw_timeline(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        return {
            "sentence": self.sentence,
            "feature": self.feature,
            "entity": dict(self.entity),
            "cell": self.cell.to_dict(),
            "happened": self.happened,
            "timeline": self.frame,
        }

    def __repr__(self) -> str:
        parts = [textwrap.fill(self.sentence, TEXT_WIDTH)]
        if len(self.happened):
            dated = self.happened.assign(event=self.happened["event"].dt.strftime("%Y-%m-%d %H:%M:%S"))
            parts.append(dated.head(SHOWN_ROWS).to_string(index=False, max_colwidth=60))
        if len(self.happened) > SHOWN_ROWS:
            parts.append(f"… and {len(self.happened) - SHOWN_ROWS:,} more")
        return "\n".join([*parts, *([self.others] if self.others else [])])

    def _page(self) -> str:
        from feastra_nb.skew.page import timeline_page

        return timeline_page(self)


_ALONE = "one value alone proves no cause; ws.skew looks for a factor, a difference or a shift in the whole column"
SHOWN_ROWS = 25  # of a timeline, on one screen
TEXT_WIDTH = 100  # characters of a line


def _said(side: str, value: Any, event: Any) -> str:
    import pandas as pd

    is_null = value is None or (pd.api.types.is_scalar(value) and pd.isna(value))
    shown = "null" if is_null else repr(value)
    cut = shown if len(shown) <= SHOWN_TEXT else f"{shown[:SHOWN_TEXT]}…"
    return f"{side} {cut}" + (f" (event of {event:%Y-%m-%d %H:%M:%S})" if not pd.isna(event) else " (no event)")


SHOWN_TEXT = 60  # characters of a value


def _keys(entity: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in entity.items())


def explain(stores: Stores, feature: str, entity: Any, *, as_of: Any = None) -> Timeline:
    """Return one value's life; see `Workspace.explain`."""
    view_request = _one(stores, feature)
    now_us = time.time_ns() // 1000
    t_us = now_us if as_of is None else int(instants(as_of, 1, "as_of")[0])
    online = _side(stores, now_us, is_now=as_of is None)
    ahead_us = CLOCK_SKEW_US if as_of is None else 0
    shown = entity_table(entity, [view_request])
    if shown.num_rows != 1:
        raise ConfigurationError(f"explain takes one entity, not {shown.num_rows}", hint='{"tailnum": "N14228"}')
    named = {name: shown.column(name)[0].as_py() for name in shown_keys(shown)}
    questions = Questions(
        view_request, shown, np.array([t_us]), None, None, np.zeros(1, dtype=np.int64), ahead_us=ahead_us
    )
    # The whole life, and not only what came before the instant.
    offline = OfflineRows(stores, view_request, max(t_us, now_us) + CLOCK_SKEW_US)
    chunk = next(iter(whole_entities(questions, offline_rows=1)))
    covers = covers_of(stores, view_request)
    cells = Cells()
    cells.add(compare(chunk, online, offline, covers, lost=np.zeros(1, dtype=bool), tolerance=None))
    cell = cells_frame(cells, Proofs(), differing=False).iloc[0]
    events = offline.events(chunk.stored, chunk.entities)
    rows = _offline_rows(view_request, events, cell) + _online_rows(stores, view_request, chunk, cell) + _runs(covers)
    ttl = ttl_us(view_request.view)
    return Timeline(
        _frame(rows),
        cell,
        f"{view_request.label}:{view_request.features[0]}",
        named,
        None if ttl is None else ttl / 1e6,
        stores.has_history,
    )


def _one(stores: Stores, feature: str) -> Requested:
    request = requested(stores.feast, feature, full_feature_names=True)
    if request.on_demand:
        raise ConfigurationError(
            f"{request.on_demand[0]} is computed on demand, so no store holds it", hint="explain one of its inputs"
        )
    wanted = request.views
    names = [f"{view_request.label}:{name}" for view_request in wanted for name in view_request.features]
    if len(names) != 1:
        raise ConfigurationError(f"explain takes one feature, not {len(names)}", hint=f"one of {', '.join(names[:10])}")
    return wanted[0]


def _side(stores: Stores, now_us: int, *, is_now: bool) -> OnlineSide:
    if stores.has_history:
        return OursNow(stores, now_us) if is_now else OursAsOf(stores)
    if is_now:
        return AnyStoreNow(stores)
    raise ConfigurationError(
        f"{stores.type} keeps one value of each entity: it cannot be asked as of the past",
        hint="leave as_of out: the value is explained as it is now",
    )


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    # As objects: an int of a column with nulls stays one.
    frame = pd.DataFrame(list(rows), columns=list(_COLUMNS), dtype=object)
    for name in ("event", "created", "arrived", "until"):
        at_us = np.array([NO_US if at is None else at for at in frame[name]], dtype=np.int64)
        frame[name] = pa.array(at_us, pa.timestamp("us"), mask=at_us == NO_US).cast(TIMESTAMP_US).to_pandas()
    return frame.sort_values(["event", "what"], ascending=[False, True], kind="stable", ignore_index=True)


def _offline_rows(view_request: Requested, events: OfflineEvents, cell: pd.Series[Any]) -> list[tuple[Any, ...]]:
    versions = events.versions
    values = events.values(view_request, view_request.features[0], np.arange(len(versions))).to_pylist()
    created = events.created(np.arange(len(versions)))
    picked = _us(cell["offline_event"])
    last = versions.last(np.zeros(1, dtype=np.int64), np.array([picked]))[0] if picked != NO_US else -1
    return [
        (OFFLINE, event, made, NO_US, NO_US, value, "the point-in-time join picks it" if place == last else "")
        for place, (event, made, value) in enumerate(zip(versions.event_us, created, values, strict=True))
    ]


def _online_rows(stores: Stores, view_request: Requested, chunk: Chunk, cell: pd.Series[Any]) -> list[tuple[Any, ...]]:
    if not stores.has_history:
        answers = AnyStoreNow(stores).answers(chunk)
        (value,) = answers.values[view_request.features[0]].to_pylist()  # noqa: PD011 - a mapping of columns
        return [(ONLINE, answers.event_us[0], NO_US, NO_US, NO_US, value, "served")] if answers.found[0] else []
    entry = stores.online.entry(view_request.view)
    bounds = reader.Bounds(reader.BEGINNING_US, time.time_ns() // 1000 + CLOCK_SKEW_US)
    rows = reader.read_history(stores.online.db, entry, chunk.entities.to_pylist(), bounds)
    events = Found(rows, np.arange(len(rows)), np.full(len(rows), PRESENT, dtype=object))
    values = events.features(stores.online, view_request)[0].to_pylist()
    served = tuple(_us(cell[name]) for name in ("online_event", "online_arrived"))
    return [
        (ONLINE, event, made or NO_US, arrived, NO_US, value, "served" if (event, arrived) == served else "")
        for event, made, arrived, value in zip(rows.event_us, rows.created_us, rows.arrived_us, values, strict=True)
    ]


def _runs(covers: Sequence[Cover]) -> list[tuple[Any, ...]]:
    return [
        (RUN, cover.start_us, NO_US, NO_US if cover.began_us is None else cover.began_us, cover.end_us, None, "")
        for cover in covers
        if cover.start_us <= cover.end_us
    ]


def _us(at: Any) -> int:
    import pandas as pd

    return NO_US if pd.isna(at) else us(at)


__all__ = ["OFFLINE", "ONLINE", "RUN", "Timeline", "explain"]
