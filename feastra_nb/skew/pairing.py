"""Pairing each online value with its offline truth, now or as of a spine's instants, and proving why they differ."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from feastra_nb.errors import ConfigurationError, UnknownName, close_names
from feastra_nb.frames import TIMESTAMP_US
from feastra_nb.retrieval.dataframes import to_pandas
from feastra_nb.retrieval.offline import KNOWN_AT_AS_OF, check_spine
from feastra_nb.retrieval.past import UNKNOWN, Found, find_as_of, find_now, newest_at
from feastra_nb.retrieval.request import Requested, entity_keys, entity_table, requested, ttl_us
from feastra_nb.skew import causes, comparison
from feastra_nb.skew.causes import Evidence
from feastra_nb.skew.offline import OfflineEvents, offline_events
from feastra_nb.skew.report import SkewReport
from feastra_nb.storage import codec, reader
from feastra_nb.storage.admission import CLOCK_SKEW_US
from feastra_nb.storage.journal import DONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from feastra_nb.storage.rows import Rows
    from feastra_nb.workspace import Workspace

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """One view's rows, paired: what was served and what the join picks, for n rows.

    Parameters
    ----------
    shown
        Join keys as the report shows them.
    keys
        The same, encoded.
    t_us
        Each row's instant.
    known_us
        By when an online row must have arrived; None where all count.
    """

    one: Requested
    shown: pa.Table
    keys: pa.Array
    t_us: Int64s
    known_us: Int64s | None
    found: Found
    offline: OfflineEvents
    star: Int64s

    @property
    def unknown(self) -> Bools:
        """Which rows the online store cannot replay."""
        return np.asarray(self.found.status == UNKNOWN)

    @property
    def served(self) -> Bools:
        """Which rows the online store answered."""
        return np.asarray(self.found.index >= 0)


def skew(
    ws: Workspace,
    view_or_features: Any,
    *,
    spine: Any,
    known_at: Any,
    only: Any,
    tolerance: Mapping[str, float] | float | None,
    sample: int | None,
) -> SkewReport:
    """Compare a workspace's online and offline stores; see `Workspace.skew`."""
    if known_at not in (None, KNOWN_AT_AS_OF):
        raise ConfigurationError(f"known_at={known_at!r}", hint="known_at='as_of' counts only what had arrived by then")
    if known_at and spine is None:
        raise ConfigurationError("known_at needs a spine: now, everything that arrived counts")
    if sample is not None and sample < 1:
        raise ConfigurationError(f"sample is {sample}; it must be at least 1")
    wanted, _on_demand = requested(ws.feast, view_or_features, full_feature_names=True)
    wanted = _only(wanted, only)
    pairs = [_pair(ws, one, spine, view_or_features, known_at, sample) for one in wanted]
    frames = [_compare(ws, pair, tolerance) for pair in pairs]
    return SkewReport(
        frame=pd.concat([frame for some in frames for frame in some], ignore_index=True),
        mode="now" if spine is None else "as of",
        arrived_later=0 if spine is None else sum(_arrived_later(pair) for pair in pairs),
    )


def _only(wanted: Sequence[Requested], only: Any) -> list[Requested]:
    if only is None:
        return list(wanted)
    names = [only] if isinstance(only, str) else list(only)
    known = [name for one in wanted for name in one.features]
    for name in names:
        if name not in known:
            raise UnknownName(f"there is no feature {name!r} among those to compare", hint=close_names(name, known))
    some = [Requested(one.view, tuple(name for name in one.features if name in names)) for one in wanted]
    return [one for one in some if one.features]


# --- pairing ---------------------------------------------------------------------------------------------------------


def _pair(ws: Workspace, one: Requested, spine: Any, features: Any, known_at: Any, sample: int | None) -> Pairs:
    return _pair_now(ws, one, sample) if spine is None else _pair_as_of(ws, one, spine, features, known_at, sample)


def _pair_now(ws: Workspace, one: Requested, sample: int | None) -> Pairs:
    now_us = time.time_ns() // 1000
    offline = offline_events(ws, one, now_us)
    keys = _sampled(offline.rows.entity_key.unique(), sample)
    t_us = np.full(len(keys), now_us)
    found = find_now(ws.store, ws.feast.config, one, keys, status=True)
    return Pairs(one, _decoded(one, keys), keys, t_us, None, found, offline, offline.join(keys, t_us, ttl_us(one.view)))


def _pair_as_of(ws: Workspace, one: Requested, spine: Any, features: Any, known_at: Any, sample: int | None) -> Pairs:
    frame = _sampled_frame(check_spine(ws.feast, spine, features), sample)
    shown = entity_table(frame, [one])
    keys = entity_keys(one, shown)
    t_us = frame["event_timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    known_us = t_us if known_at else None
    found = find_as_of(ws.store, ws.feast.config, one, keys, t_us, known_us=known_us, status=True)
    offline = offline_events(ws, one, int(t_us.max()) if len(t_us) else 0)
    return Pairs(one, shown, keys, t_us, known_us, found, offline, offline.join(keys, t_us, ttl_us(one.view)))


def _sampled(keys: pa.Array, sample: int | None) -> pa.Array:
    if sample is None or sample >= len(keys):
        return keys
    return keys.take(pa.array(np.linspace(0, len(keys) - 1, sample).astype(np.int64)))


def _sampled_frame(frame: pd.DataFrame, sample: int | None) -> pd.DataFrame:
    if sample is None or sample >= len(frame):
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, sample).astype(np.int64)].reset_index(drop=True)


def _decoded(one: Requested, keys: pa.Array) -> pa.Table:
    stored = [name for name, _shown, _type in one.keys]
    columns = codec.decode_entity_keys(keys, stored, [kind for _name, _shown, kind in one.keys])
    return pa.table(dict(zip([shown for _name, shown, _type in one.keys], columns, strict=True)))


def _arrived_later(pair: Pairs) -> int:
    """Count the rows whose online value arrived only after the instant it was needed."""
    arrived = pair.found.rows.arrived_us
    return int((arrived[pair.found.index[pair.served]] > pair.t_us[pair.served]).sum())


# --- comparison ------------------------------------------------------------------------------------------------------


def _compare(ws: Workspace, pair: Pairs, tolerance: Mapping[str, float] | float | None) -> list[pd.DataFrame]:
    found = pair.found.features(ws.store, ws.feast.config, pair.one)
    online = dict(zip(pair.one.features, found, strict=True))
    offline = {name: pair.offline.values(pair.one, name, pair.star) for name in pair.one.features}
    verdict = {
        name: comparison.verdicts(
            online[name],
            offline[name],
            served=pair.served,
            joined=pair.star >= 0,
            unknown=pair.unknown,
            tolerance=tolerance.get(name) if hasattr(tolerance, "get") else tolerance,  # type: ignore[union-attr]
        )
        for name in pair.one.features
    }
    differ = np.zeros(len(pair.t_us), dtype=bool)
    for words in verdict.values():
        differ |= ~np.isin(words, [comparison.MATCH, comparison.UNKNOWN])
    proof = _Proof(ws, pair, np.flatnonzero(differ))
    base = _base_frame(pair, proof)
    return [_feature_frame(base, pair, proof, name, online[name], offline[name], verdict[name]) for name in verdict]


class _Proof:
    """The evidence of the rows that differ, read from both stores only for them."""

    def __init__(self, ws: Workspace, pair: Pairs, rows: Int64s) -> None:
        self.rows = rows
        self.pair = pair
        entry = ws.store.entry(ws.feast.config, pair.one.view)
        self.positions = entry.positions
        keys = pair.keys.take(pa.array(rows))
        until = reader.Bounds(reader.BEGINNING_US, int(pair.t_us[rows].max()) + CLOCK_SKEW_US if len(rows) else 0)
        distinct = keys.unique().to_pylist()
        history = reader.read_history(ws.store.open(ws.feast.config).db, entry, distinct, until)
        self.evidence = _evidence(pair, rows, keys, history)
        self.causes = causes.row_causes(self.evidence)
        runs = ws.store.open(ws.feast.config).journal.runs(entry.project, entry.view)
        runs = [run for run in runs if run.generation == entry.generation and run.state == DONE]
        self.notes = causes.notes(self.evidence, self.causes, _covered(self.evidence, runs))


def _evidence(pair: Pairs, rows: Int64s, keys: pa.Array, history: Rows) -> Evidence:
    served, star = pair.found.index[rows], pair.star[rows]
    t_us = pair.t_us[rows]
    stored, offline = pair.found.rows, pair.offline.rows
    known_us = None if pair.known_us is None else pair.known_us[rows]
    newest = newest_at(history, keys, t_us, known_us)
    ttl = ttl_us(pair.one.view)
    star_event = _at(offline.event_us, star)
    online_event = _at(stored.event_us, served)
    arrived = _first_arrival(history, keys, star_event, star >= 0)
    counts = codec.value_counts(stored.features) if len(stored) else np.zeros(0, dtype=np.int64)
    return Evidence(
        served=served >= 0,
        joined=star >= 0,
        online_event_us=online_event,
        online_created_us=_at(stored.created_us, served),
        online_arrived_us=_at(stored.arrived_us, served),
        offline_event_us=star_event,
        offline_created_us=_at(offline.created_us, star),
        any_online=newest >= 0,
        beyond_ttl=(newest >= 0) & (_at(history.event_us, newest) < t_us - ttl) if ttl else np.zeros(len(rows), bool),
        star_online=arrived >= 0,
        star_arrived_us=np.maximum(arrived, 0),
        online_event_offline=_first_arrival(offline, keys, online_event, served >= 0) >= 0,
        values_stored=_at(counts, served),
        known_us=known_us,
    )


def _at(values: Int64s, index: Int64s) -> Int64s:
    """Return the values at an index, 0 where it is -1."""
    return np.where(index >= 0, values[index], 0) if len(values) else np.zeros(len(index), dtype=np.int64)


def _first_arrival(rows: Rows, keys: pa.Array, event_us: Int64s, asked: Bools) -> Int64s:
    """Return when a (key, event) first arrived among rows; -1 where it did not, or was not asked for."""
    arrivals = pd.DataFrame({"key": rows.entity_key.to_pylist(), "event": rows.event_us, "arrived": rows.arrived_us})
    first = arrivals.groupby(["key", "event"], sort=False)["arrived"].min()
    wanted = pd.MultiIndex.from_arrays([pd.Index(keys.to_pylist(), dtype=object), event_us])
    found = first.reindex(wanted).fillna(-1).to_numpy(dtype=np.int64) if len(wanted) else np.zeros(0, dtype=np.int64)
    return np.where(asked, found, -1)


def _covered(evidence: Evidence, runs: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return what the journal says of each e*: no run covers it, it was created after the run that does, or it is missing."""
    words = np.full(len(evidence.served), "none", dtype=object)
    for run in runs:
        inside = (evidence.offline_event_us >= run.start_us) & (evidence.offline_event_us <= run.end_us)
        later = (evidence.offline_created_us > run.began_us) & (evidence.offline_created_us > 0)
        words[inside & later & (words == "none")] = "before"
        words[inside & ~later] = "missing"
    return words


# --- the report's rows -------------------------------------------------------------------------------------------------


def _base_frame(pair: Pairs, proof: _Proof) -> pd.DataFrame:
    """Return what all features of a row share: keys, instant, evidence."""
    frame = to_pandas(pair.shown, "numpy_nullable")
    frame.insert(0, "view", pair.one.label)
    frame["as_of"] = _times(pair.t_us, np.ones(len(pair.t_us), dtype=bool))
    stored, offline = pair.found.rows, pair.offline.rows
    for name, values, index in (
        ("online_event", stored.event_us, pair.found.index),
        ("online_created", stored.created_us, pair.found.index),
        ("online_arrived", stored.arrived_us, pair.found.index),
        ("offline_event", offline.event_us, pair.star),
        ("offline_created", offline.created_us, pair.star),
    ):
        at_us = _at(values, index)
        frame[name] = _times(at_us, (index >= 0) & (at_us != 0))
    frame["note"] = ""
    frame.loc[proof.rows, "note"] = proof.notes
    return frame


def _feature_frame(
    base: pd.DataFrame, pair: Pairs, proof: _Proof, name: str, online: pa.Array, offline: pa.Array, verdict: Any
) -> pd.DataFrame:
    rows = proof.rows
    some_online, some_offline = online.take(pa.array(rows)), offline.take(pa.array(rows))
    superseded = np.zeros(len(rows), dtype=bool)
    for index in pair.offline.older_versions(pair.star[rows]):
        older = pair.offline.values(pair.one, name, index)
        superseded |= (index >= 0) & comparison.equal_cells(some_online, older)
    cause = np.full(len(verdict), "", dtype=object)
    cause[rows] = causes.cell_causes(
        proof.causes,
        proof.evidence,
        position=proof.positions[name],
        online=some_online,
        offline=some_offline,
        superseded=superseded,
    )
    cause[np.isin(verdict, [comparison.MATCH, comparison.UNKNOWN])] = ""
    values = {
        "feature": name,
        "online": to_pandas(pa.table({"v": online}), "numpy_nullable")["v"].astype(object),
        "offline": to_pandas(pa.table({"v": offline}), "numpy_nullable")["v"].astype(object),
        "verdict": verdict,
        "cause": cause,
    }
    frame = base.assign(**values)
    keys = [shown for _name, shown, _type in pair.one.keys]
    evidence = [column for column in base.columns if column not in (*keys, "view", "as_of")]
    return frame[[*keys, "as_of", "feature", "online", "offline", "verdict", "cause", "view", *evidence]]


def _times(at_us: Int64s, there: Bools) -> pd.Series[Any]:
    column = pa.array(at_us, pa.timestamp("us"), mask=~there).cast(TIMESTAMP_US)
    return column.to_pandas()


__all__ = ["Pairs", "skew"]
