"""Reading features as DataFrames: online now, as of any instant, as known at any instant, and point-in-time offline."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import BeyondRetention, ConfigurationError, InvalidFrame, UnknownName, close_names
from feastra_nb.frames import TIMESTAMP_US, refuse_nulls, storable
from feastra_nb.materialization import instant
from feastra_nb.notices import warn_user
from feastra_nb.storage import codec, reader
from feastra_nb.storage.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd
    from feast import FeatureStore, FeatureView

    from feastra_nb.online_store import FeastraOnlineStore
    from feastra_nb.storage.catalog import ViewEntry

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

log = logging.getLogger("feastra_nb")

PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE, UNKNOWN = "PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "UNKNOWN"
KNOWN_AT_AS_OF = "as_of"  # each row as it was known at its own as-of instant


@dataclass(frozen=True, slots=True)
class Requested:
    """One view's part of a request.

    Parameters
    ----------
    view
        The feature view, with its projection (alias, join key map).
    features
        Feature names without the view.
    """

    view: FeatureView
    features: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of the view as the request calls it."""
        return str(self.view.projection.name_to_use())

    @property
    def keys(self) -> tuple[tuple[str, str, Any], ...]:
        """The view's join keys: stored name, name in the entity frame, value type."""
        renamed = self.view.projection.join_key_map
        return tuple(
            (field.name, renamed.get(field.name, field.name), field.dtype.to_value_type())
            for field in self.view.entity_columns
        )

    def columns(self, *, full_feature_names: bool) -> list[str]:
        """Names of the result's columns, as Feast names them."""
        return [f"{self.label}__{name}" if full_feature_names else name for name in self.features]


# --- what is asked for -----------------------------------------------------------------------------------------------


def references(feature_store: FeatureStore, features: Any) -> Any:
    """Return what Feast takes as ``features``: a list of references, or a feature service.

    Parameters
    ----------
    features
        ``"view:feature"``, a view's name for all its features, a list of these, or a `feast.FeatureService`.

    Raises
    ------
    UnknownName
        No such view or feature; names the closest.
    """
    from feast import FeatureService

    if isinstance(features, FeatureService):
        return features
    refs = [features] if isinstance(features, str) else list(features)
    if not refs:
        raise ConfigurationError("no features were asked for", hint='"view:feature", or a list of them')
    known = {view.name: [field.name for field in view.features] for view in _all_views(feature_store)}
    return [full for ref in refs for full in _expand(ref, known)]


def _all_views(feature_store: FeatureStore) -> list[Any]:
    return [*feature_store.list_all_feature_views(), *feature_store.list_on_demand_feature_views()]


def _expand(ref: Any, known: Mapping[str, Sequence[str]]) -> list[str]:
    view, _, feature = str(ref).partition(":")
    name = view.split("@")[0]
    if name not in known:
        raise UnknownName(f"there is no feature view {name!r}", hint=close_names(name, known))
    if not feature:
        return [f"{view}:{one}" for one in known[name]]
    if feature not in known[name]:
        raise UnknownName(f"view {name!r} has no feature {feature!r}", hint=close_names(feature, known[name]))
    return [f"{view}:{feature}"]


def requested(feature_store: FeatureStore, features: Any, *, full_feature_names: bool) -> tuple[list[Requested], bool]:
    """Return the views that a request touches, and whether on-demand transformations are among them.

    Raises
    ------
    UnknownName, ConfigurationError
        A name is unknown, or two views have a feature of one name and ``full_feature_names`` is off.
    """
    from feast import utils

    refs = references(feature_store, features)
    registry, project = feature_store.registry, feature_store.project
    names = utils._get_features(registry, project, refs)  # noqa: SLF001 - Feast has no public resolver
    views, on_demand = utils._get_feature_views_to_use(registry, project, refs)  # noqa: SLF001
    grouped, on_demand_grouped = utils._group_feature_refs(names, views, on_demand)  # noqa: SLF001
    # Feast groups by sets; the request's own order is what a reader expects.
    order = {name: place for place, name in enumerate(names)}
    wanted = [
        Requested(view, tuple(sorted(some, key=lambda one: order.get(f"{view.projection.name_to_use()}:{one}", 0))))
        for view, some in grouped
    ]
    columns = [name for one in wanted for name in one.columns(full_feature_names=full_feature_names)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"several views have a feature named {', '.join(twice)}", hint="pass full_feature_names=True"
        )
    return wanted, bool(on_demand_grouped)


def entity_table(entities: Any, wanted: Sequence[Requested]) -> pa.Table:
    """Return the join keys of an entity frame, in its order, repeats kept.

    Raises
    ------
    InvalidFrame
        A join key is missing, or its columns differ in length.
    """
    columns = dict(entities) if isinstance(entities, dict) else {name: entities[name] for name in entities.columns}
    names = list(dict.fromkeys(name for one in wanted for _stored, name, _type in one.keys))
    for name in names:
        if name not in columns:
            raise InvalidFrame(f"the entities lack the join key {name!r}", hint=close_names(name, map(str, columns)))
    arrays = {name: storable(_as_array(columns[name], name), name) for name in names}
    for name, array in arrays.items():
        refuse_nulls(array, name, "join key")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise InvalidFrame(f"the entities' columns differ in length: { {n: len(a) for n, a in arrays.items()} }")
    return pa.table(arrays)


def _as_array(values: Any, name: str) -> pa.Array:
    import pandas as pd

    try:
        array = pa.Array.from_pandas(values) if isinstance(values, (pd.Series, pd.Index)) else pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise InvalidFrame(f"join key {name!r} mixes types: {exc}", hint="give the column one type") from exc
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    # An empty list has no type of its own.
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def entity_keys(one: Requested, entities: pa.Table) -> pa.Array:
    """Return the encoded entity key of each row for one view."""
    keys = one.keys
    if not entities.num_rows:
        return pa.array([], pa.binary())
    return codec.encode_entity_keys(
        [stored for stored, _name, _type in keys],
        [kind for _stored, _name, kind in keys],
        [entities.column(name) for _stored, name, _type in keys],
    )


# --- what is found ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One view's rows for n entity rows.

    Parameters
    ----------
    rows
        The rows that were found, m of them.
    index
        Shape (n,): which of them each entity row gets; -1 for none.
    status
        Shape (n,): PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE or UNKNOWN.
    """

    rows: Rows
    index: Int64s
    status: npt.NDArray[np.object_]

    def features(self, store: FeastraOnlineStore, config: Any, one: Requested) -> list[pa.Array]:
        """Return the asked features as Arrow columns of n rows, null where nothing was found."""
        from feast.value_type import ValueType

        entry = store.entry_with(config, one.view, one.features)
        if len(self.rows) and int(codec.value_counts(self.rows.features).max()) > len(entry.slots):
            # Written by somebody who knows of newer positions: a feature may have moved to one.
            entry = store.entry(config, one.view, reload=True)
        types = entry.value_types
        columns = codec.decode_payloads(
            self.rows.features,
            [entry.position(name) for name in one.features],
            [ValueType[types[name]] for name in one.features],
        )
        where = pa.array(self.index, mask=self.index < 0)
        return [column.take(where) for column in columns]

    def event_times(self) -> pa.Array:
        """Return each row's event time, null where nothing was found."""
        where = pa.array(self.index, mask=self.index < 0)
        return pa.array(self.rows.event_us, pa.timestamp("us")).cast(TIMESTAMP_US).take(where)


def find_now(store: FeastraOnlineStore, config: Any, one: Requested, keys: pa.Array, *, status: bool) -> Found:
    """Return what the store serves now."""
    now_us = time.time_ns() // 1000
    return _find(store, config, one, keys, reader.serving_bounds(now_us, ttl_us(one.view)), status=status)


def find_as_of(
    store: FeastraOnlineStore,
    config: Any,
    one: Requested,
    keys: pa.Array,
    t_us: Int64s,
    *,
    known_us: Int64s | None = None,
    status: bool = False,
) -> Found:
    """Return what the store would have served at an instant of each row, rebuilt from its history.

    Parameters
    ----------
    t_us
        Shape (n,): each row's instant, microseconds since the epoch.
    known_us
        Shape (n,): only rows that had arrived by then count; None for all that arrived since.

    Raises
    ------
    BeyondRetention
        An instant lies before what the store remembers, and no status was asked for.
    """
    entry = store.entry(config, one.view, reload=True)
    beyond = unknown_instants(store, config, entry, t_us)
    if beyond.any() and not status:
        raise beyond_retention(entry, t_us[beyond])
    ttl = ttl_us(one.view)
    if known_us is None and len(t_us) and (t_us == t_us[0]).all():
        found = _find(store, config, one, keys, reader.as_of_bounds(int(t_us[0]), ttl), status=status)
    else:
        found = _find_in_history(store, config, entry, keys, t_us, known_us, ttl)
    return Found(found.rows, np.where(beyond, -1, found.index), np.where(beyond, UNKNOWN, found.status))


def unknown_instants(store: FeastraOnlineStore, config: Any, entry: ViewEntry, t_us: Int64s) -> Bools:
    """Return which instants the store cannot replay: before the horizon, or inside an interval of which only the newest
    event was written.
    """  # noqa: D205 - one sentence
    now_us = time.time_ns() // 1000
    horizon = entry.horizon_us(now_us)
    unknown = np.zeros(len(t_us), dtype=bool) if horizon is None else t_us < horizon
    for run in store.open(config).journal.runs(entry.project, entry.view):
        if run.thinned and run.generation == entry.generation:
            unknown |= (t_us >= run.start_us) & (t_us < run.end_us)
    return unknown


def beyond_retention(entry: ViewEntry, t_us: Int64s) -> BeyondRetention:
    """Return the error for instants that cannot be replayed."""
    horizon = entry.horizon_us(time.time_ns() // 1000)
    since = f"since {instant(horizon):%Y-%m-%d %H:%M:%S} UTC" if horizon is not None else "in part"
    return BeyondRetention(
        f"view {entry.view!r} (retain {entry.retain!r}) remembers its history only {since}; "
        f"{len(t_us):,} instants lie outside, the earliest {instant(int(t_us.min())):%Y-%m-%d %H:%M:%S} UTC",
        hint="status=True returns such rows as UNKNOWN; ws.retain(view, …) keeps more from now on",
    )


def _find(
    store: FeastraOnlineStore, config: Any, one: Requested, keys: pa.Array, bounds: reader.Bounds, *, status: bool
) -> Found:
    opened, entry = store.open(config), store.entry(config, one.view)
    distinct = keys.unique().to_pylist()
    newest = reader.read_newest(opened.db, entry, distinct, bounds) if distinct else {}
    missing = [key for key in distinct if key not in newest]
    older: set[bytes] = set()
    if status and missing and bounds.lower_us > reader.BEGINNING_US:
        before = reader.Bounds(reader.BEGINNING_US, bounds.lower_us - 1)
        older = set(reader.read_newest(opened.db, entry, missing, before))
    order = {key: place for place, key in enumerate(newest)}
    values = keys.to_pylist()
    index = np.array([order.get(key, -1) for key in values], dtype=np.int64)
    states = [PRESENT if key in order else OUTSIDE_MAX_AGE if key in older else NOT_FOUND for key in values]
    return Found(_rows_of(newest), index, np.array(states, dtype=object))


def _rows_of(newest: Mapping[bytes, reader.StoredRow]) -> Rows:
    rows = list(newest.values())
    return Rows(
        pa.array(list(newest), pa.binary()),
        np.array([row.event_us for row in rows], dtype=np.int64),
        np.array([row.created_us for row in rows], dtype=np.int64),
        np.array([row.arrived_us for row in rows], dtype=np.int64),
        pa.array([row.features for row in rows], pa.large_binary()),
    )


def _find_in_history(
    store: FeastraOnlineStore,
    config: Any,
    entry: ViewEntry,
    keys: pa.Array,
    t_us: Int64s,
    known_us: Int64s | None,
    ttl: int | None,
) -> Found:
    """One slice of history an entity, joined here: the cost grows with entities, not with rows."""
    if not len(t_us):
        return Found(_rows_of({}), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=object))
    bounds = reader.Bounds(reader.BEGINNING_US, int(t_us.max()))
    history = reader.read_history(store.open(config).db, entry, keys.unique().to_pylist(), bounds)
    index = newest_at(history, keys, t_us, known_us)
    old = (index >= 0) & (history.event_us[index] < t_us - ttl) if ttl else np.zeros(len(t_us), dtype=bool)
    status = np.where(index < 0, NOT_FOUND, np.where(old, OUTSIDE_MAX_AGE, PRESENT)).astype(object)
    return Found(history, np.where(old, -1, index), status)


def newest_at(history: Rows, keys: pa.Array, t_us: Int64s, known_us: Int64s | None = None) -> Int64s:
    """Return for each (key, instant) the index of its newest row in a history at or before the instant; -1 for none.

    Newest is the greatest by (event, created, arrived). With ``known_us`` only rows that had arrived by then count.

    Examples
    --------
    >>> us = np.array([1, 5, 5])
    >>> history = Rows(pa.array([b"k"] * 3), us, np.array([0, 1, 0]), us, pa.array([b""] * 3))
    >>> newest_at(history, pa.array([b"k", b"k", b"x"]), np.array([4, 5, 9]))
    array([ 0,  1, -1])
    """
    both = pa.concat_arrays([history.entity_key.cast(pa.binary()), keys.cast(pa.binary())])
    codes = np.asarray(both.dictionary_encode().indices, dtype=np.int64)
    stored, asked = codes[: len(history)], codes[len(history) :]
    order = np.lexsort((history.arrived_us, history.created_us, history.event_us, stored))
    place = _last_at_or_before(stored[order], history.event_us[order], asked, t_us)
    if known_us is not None:
        arrived, owner = history.arrived_us[order], stored[order]
        late = (place >= 0) & (arrived[place] > known_us)
        while late.any():
            # One step back for those whose row had not arrived yet; as many rounds as the longest such chain.
            place[late] -= 1
            place[late & ((place < 0) | (owner[place] != asked))] = -1
            late = (place >= 0) & (arrived[place] > known_us)
    return np.where(place < 0, -1, order[place]) if len(order) else np.full(len(t_us), -1, dtype=np.int64)


def _last_at_or_before(codes: Int64s, event_us: Int64s, asked: Int64s, t_us: Int64s) -> Int64s:
    """Return for each question the last row (sorted by code, event) of its code with an event at or before its time."""
    n = len(codes)
    # Rows and questions in one sort; a question stands behind the rows of its own instant.
    all_codes, all_us = np.concatenate([codes, asked]), np.concatenate([event_us, t_us])
    is_question = np.concatenate([np.zeros(n, dtype=np.int8), np.ones(len(asked), dtype=np.int8)])
    rank = np.concatenate([np.arange(n), np.zeros(len(asked), dtype=np.int64)])
    order = np.lexsort((rank, is_question, all_us, all_codes))
    rows_before = np.cumsum(order < n) - 1
    place = np.empty(len(asked), dtype=np.int64)
    questions = order >= n
    place[order[questions] - n] = rows_before[questions]
    valid = place >= 0
    valid[valid] = codes[place[valid]] == asked[valid]
    return np.where(valid, place, -1)


def ttl_us(view: FeatureView) -> int | None:
    """Return a view's ttl in microseconds; None for none."""
    from datetime import timedelta

    return view.ttl // timedelta(microseconds=1) if getattr(view, "ttl", None) else None


# --- DataFrames ------------------------------------------------------------------------------------------------------


def instants(values: Any, rows: int, name: str) -> Int64s:
    """Return an instant, or a column of them, as microseconds since the epoch, shape (rows,); naive ones are UTC.

    Raises
    ------
    InvalidFrame
        It is no instant, null somewhere, or of another length.
    """
    import pandas as pd

    try:
        index = pd.DatetimeIndex(
            pd.to_datetime([values] if np.isscalar(values) or not hasattr(values, "__len__") else values)
        )
    except (ValueError, TypeError) as exc:
        raise InvalidFrame(
            f"{name} is no instant: {exc}", hint='"2024-01-31 14:03", a datetime, or a column of them'
        ) from exc
    if index.hasnans:
        raise InvalidFrame(f"{name} is null in row {int(np.flatnonzero(index.isna())[0])}")
    if index.tz is None:
        warn_user(f"{name} has no time zone and is taken for UTC")
    at_us = index.as_unit("us").asi8
    if len(at_us) not in (1, rows):
        raise InvalidFrame(f"{name} has {len(at_us):,} instants for {rows:,} rows")
    return np.broadcast_to(at_us, rows).copy() if len(at_us) == 1 else at_us


def to_pandas(table: pa.Table, dtype_backend: str) -> pd.DataFrame:
    """Return a DataFrame that loses nothing: Int64, boolean, string, microsecond timestamps, NA.

    Parameters
    ----------
    dtype_backend
        ``"numpy_nullable"`` or ``"pyarrow"``, as in pandas.
    """
    import pandas as pd

    if dtype_backend == "pyarrow":
        return table.to_pandas(types_mapper=pd.ArrowDtype)
    if dtype_backend != "numpy_nullable":
        raise ConfigurationError(f"unknown dtype_backend {dtype_backend!r}", hint='"numpy_nullable" or "pyarrow"')
    nullable = {
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.float32(): pd.Float32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
        pa.large_string(): pd.StringDtype(),
    }
    return table.to_pandas(types_mapper=nullable.get)


@contextlib.contextmanager
def quiet_feast() -> Iterator[None]:
    """Send what Feast prints in colour to our logger, and hold back its dependencies' deprecation warnings."""
    import io
    import re
    import warnings

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines():
            if line.strip():
                log.info("feast: %s", line)


def historical(
    feature_store: FeatureStore,
    features: Any,
    entity_df: pd.DataFrame,
    *,
    known_at: Any = None,
    full_feature_names: bool = False,
    dtype_backend: str = "numpy_nullable",
) -> pd.DataFrame:
    """Return Feast's own point-in-time join; every row comes back, in order.

    Parameters
    ----------
    entity_df
        Join keys and an ``event_timestamp`` column.
    known_at
        ``"as_of"``: only rows created at or before each row's own timestamp count. None: all that is known now.

    Raises
    ------
    UnknownName, InvalidFrame, ConfigurationError
        Something asked for does not exist.
    """
    if known_at is not None and known_at != KNOWN_AT_AS_OF:
        raise ConfigurationError(
            f"known_at={known_at!r}: the offline join knows only known_at='as_of'",
            hint="it counts rows whose created time is at or before each row's own timestamp",
        )
    refs = references(feature_store, features)
    spine = check_spine(feature_store, entity_df, features)
    numbered = spine.assign(**{_ROW: np.arange(len(spine))})
    with quiet_feast():
        job = feature_store.get_historical_features(
            entity_df=numbered,
            features=refs,
            full_feature_names=full_feature_names,
            **({"filter_by_created_timestamp": True} if known_at else {}),
        )
        table = job.to_arrow()
    if table.num_rows != len(spine):
        log.warning("the offline join returned %d of %d rows", table.num_rows, len(spine))
    table = table.sort_by(_ROW).drop_columns([_ROW])
    result = to_pandas(table, dtype_backend)
    ordered = [*spine.columns, *(name for name in result.columns if name not in spine.columns)]
    return result[ordered]


_ROW = "feastra_row"  # numbers the entity rows through Feast's join, which orders them as it likes


def check_spine(feature_store: FeatureStore, entity_df: Any, features: Any) -> pd.DataFrame:
    """Return an entity frame with an aware ``event_timestamp``.

    Raises
    ------
    InvalidFrame
        A join key or the timestamps are missing or null.
    """
    import pandas as pd

    frame = pd.DataFrame(entity_df).reset_index(drop=True)
    wanted, _on_demand = requested(feature_store, features, full_feature_names=True)
    entity_table(frame, wanted)
    if "event_timestamp" not in frame.columns:
        raise InvalidFrame(
            "the entity frame has no column 'event_timestamp'",
            hint=close_names("event_timestamp", map(str, frame.columns)),
        )
    at_us: Any = instants(frame["event_timestamp"], len(frame), "event_timestamp") if len(frame) else []
    frame["event_timestamp"] = pd.to_datetime(np.asarray(at_us, dtype="datetime64[us]"), utc=True)
    return frame
