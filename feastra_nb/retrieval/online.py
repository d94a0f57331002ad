"""`ws.online`: returns the online store's answers as a DataFrame without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.errors import ConfigurationError, InvalidFrame, close_names
from feastra_nb.materialization.frames import TIMESTAMP_US
from feastra_nb.retrieval.dataframes import check_backend, frame_of
from feastra_nb.retrieval.entities import Entities, array_of, entity_keys, entity_table, shown_keys
from feastra_nb.retrieval.lookup import Found, find_as_of, find_now
from feastra_nb.retrieval.offline import KNOWN_AT_AS_OF
from feastra_nb.retrieval.remembered import remembered
from feastra_nb.retrieval.request import Request, Requested, references
from feastra_nb.times import instants

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from feastra_nb.stores import Stores

    Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Options:
    """How the DataFrame is to look; the names are those of `ws.online`."""

    full_feature_names: bool = False
    timestamps: bool = False
    status: bool = False
    dtype_backend: str = "numpy_nullable"


def online(
    stores: Stores, features: Any, entities: Any, *, as_of: Any, known_at: Any, options: Options
) -> pd.DataFrame:
    """Return the features of each entity row, now or as of an instant."""
    check_backend(options.dtype_backend)
    request = remembered(stores, features, full_feature_names=options.full_feature_names)
    given = Entities.of(entities)
    past = as_of is not None or known_at is not None
    if request.on_demand or not stores.has_history:
        if past:
            raise ConfigurationError(
                "as_of and known_at need the history of a FeastraOnlineStore, and no on-demand features",
                hint="ask for the on-demand view's inputs, or read without as_of",
            )
        return _through_feast(stores, features, given, request, options)
    keys = entity_table(given, request.views)
    t_us, known_us = _when(given, as_of, known_at) if past else (None, None)
    columns = {name: keys.column(name).combine_chunks() for name in shown_keys(keys)}
    for view_request in request.views:
        events = _found(stores, view_request, entity_keys(view_request, keys), t_us, known_us, status=options.status)
        columns |= _columns(stores, view_request, events, options)
    return frame_of(columns, options.dtype_backend)


def _found(
    stores: Stores,
    view_request: Requested,
    keys: pa.Array,
    t_us: Int64s | None,
    known_us: Int64s | None,
    *,
    status: bool,
) -> Found:
    if t_us is None:
        return find_now(stores.online, view_request, keys, status=status)
    return find_as_of(stores.online, view_request, keys, t_us, known_us=known_us, status=status)


def _columns(stores: Stores, view_request: Requested, events: Found, options: Options) -> dict[str, pa.Array]:
    names = view_request.columns(full_feature_names=options.full_feature_names)
    columns = dict(zip(names, events.features(stores.online, view_request), strict=True))
    if options.timestamps:
        columns |= dict.fromkeys((f"{name}__ts" for name in names), events.event_times())
    if options.status:
        columns |= dict.fromkeys((f"{name}__status" for name in names), pa.array(events.status, pa.string()))
    return columns


def _when(given: Entities, as_of: Any, known_at: Any) -> tuple[Int64s, Int64s | None]:
    """Return each row's instant, and the instant by which its rows must have arrived."""
    import time

    t_us = np.full(given.rows, time.time_ns() // 1000)
    if as_of is not None:
        t_us = instants(_column(given, as_of, "as_of"), given.rows, "as_of")
    if known_at is None:
        return t_us, None
    if isinstance(known_at, str) and known_at == KNOWN_AT_AS_OF:
        return t_us, t_us
    return t_us, instants(_column(given, known_at, "known_at"), given.rows, "known_at")


def _column(given: Entities, value: Any, name: str) -> Any:
    """Return a column of the entities where a string names one, else the value itself."""
    if not isinstance(value, str):
        return value
    if value in given.columns:
        return given.columns[value]
    try:
        instants(value, 1, name)
    except InvalidFrame as exc:
        if "pd.to_datetime" in str(exc.hint):
            raise  # a number or a date, whose hint says how to read it
        raise InvalidFrame(
            f"{name}={value!r} is neither an instant nor a column of the entities",
            hint=close_names(value, given.columns) if given.columns else exc.hint,
        ) from None
    return value


# --- through Feast: other online stores, on-demand features ------------------------------------------------------------


def _through_feast(stores: Stores, features: Any, given: Entities, request: Request, options: Options) -> pd.DataFrame:
    """Read through `get_online_features`: for on-demand features, and for stores that are not ours."""
    rows = feast_rows(given, request)
    with calling_feast("reading online"):
        response = stores.feast.get_online_features(
            features=references(stores.feast, features), entity_rows=rows, full_feature_names=options.full_feature_names
        )
        values = response.to_dict()
    proto = response.proto
    names = list(proto.metadata.feature_names.val)
    columns = {name: array_of(values[name], name) for name in names}
    for name, vector in zip(names, proto.results, strict=True):
        if name in rows:
            continue
        if options.timestamps:
            at_us = [stamp.ToMicroseconds() or None for stamp in vector.event_timestamps]
            columns[f"{name}__ts"] = pa.array(at_us, pa.timestamp("us")).cast(TIMESTAMP_US)
        if options.status:
            columns[f"{name}__status"] = pa.array([_STATUS.get(code, "NOT_FOUND") for code in vector.statuses])
    ordered = [name for name in rows if name in columns] + [name for name in columns if name not in rows]
    return frame_of({name: columns[name] for name in ordered}, options.dtype_backend)


def feast_rows(given: Entities, request: Request) -> dict[str, list[Any]]:
    """Return what `get_online_features` takes as entities: the join keys in the views' types, and the request data.

    Raises
    ------
    InvalidFrame
        A join key or a column of request data is missing.
    """
    missing = [name for name in request.inputs if name not in given.columns]
    if missing:
        raise InvalidFrame(
            f"the entities lack the request data {', '.join(missing)}, which {', '.join(request.on_demand)} is computed from",
            hint="add a column for each, one value a row",
        )
    keys = entity_table(given, request.views)
    data = {name: array_of(given.columns[name], name).to_pylist() for name in request.inputs}
    return {**{name: keys.column(name).to_pylist() for name in keys.column_names}, **data}


_STATUS = {1: "PRESENT", 2: "NULL_VALUE", 3: "NOT_FOUND", 4: "OUTSIDE_MAX_AGE"}  # FieldStatus of Feast's protobuf
