"""`ws.historical`: Feast's own point-in-time join, with every row back and in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.errors import ConfigurationError, InvalidFrame, close_names
from feastra_nb.materialization.frames import in_utc, is_naive
from feastra_nb.retrieval.dataframes import check_backend, to_pandas
from feastra_nb.retrieval.entities import Entities, entity_table, shown_keys
from feastra_nb.retrieval.request import references, requested
from feastra_nb.times import instants

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

    from feastra_nb.retrieval.entities import EntityRows
    from feastra_nb.retrieval.request import FeatureRefs, Request
    from feastra_nb.times import Instant

log = logging.getLogger("feastra_nb")

KNOWN_AT_AS_OF = "as_of"  # each row as it was known at its own as-of instant


def historical(
    feature_store: FeatureStore,
    features: FeatureRefs,
    entity_df: EntityRows,
    *,
    known_at: Instant | None = None,
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
    check_backend(dtype_backend)
    refs = references(feature_store, features)
    request = requested(feature_store, features, full_feature_names=full_feature_names)
    spine = check_spine(entity_df, request)
    _refuse_names_of_features(spine, request, full_feature_names=full_feature_names)
    numbered = spine.assign(**{_ROW: np.arange(len(spine))})
    with calling_feast("joining offline"):
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
    result = to_pandas(_in_utc(table, request, full_feature_names=full_feature_names), dtype_backend)
    ordered = [*spine.columns, *(name for name in result.columns if name not in spine.columns)]
    return result[ordered]


def _in_utc(table: pa.Table, request: Request, *, full_feature_names: bool) -> pa.Table:
    """Return a join's result with its times in UTC, as they are served: a file may hold naive ones."""
    for view_request in request.views:
        for name in view_request.columns(full_feature_names=full_feature_names):
            place = table.schema.get_field_index(name)
            kind = table.schema.field(place).type if place >= 0 else pa.null()
            if is_naive(kind):
                table = table.set_column(place, name, pc.cast(table.column(place), in_utc(kind), safe=False))
    return table


_ROW = "feastra_row"  # numbers the entity rows through Feast's join, which orders them as it likes


def _refuse_names_of_features(spine: pd.DataFrame, request: Request, *, full_feature_names: bool) -> None:
    names = [
        name for view_request in request.views for name in view_request.columns(full_feature_names=full_feature_names)
    ]
    twice = [name for name in names if name in spine.columns]
    if twice:
        raise InvalidFrame(
            f"the entity frame has columns with the names of features: {', '.join(twice)}",
            hint="drop or rename them, or pass full_feature_names=True",
        )


def check_spine(entity_df: Any, request: Request) -> pd.DataFrame:
    """Return an entity frame with an aware ``event_timestamp``, and its join keys in the views' types.

    Parameters
    ----------
    entity_df
        Of any shape that `Entities.of` reads.

    Raises
    ------
    InvalidFrame
        A join key, request data or the timestamps are missing or null.
    """
    import pandas as pd

    given = Entities.of(entity_df)
    keys = entity_table(given, request.views)
    frame = given.frame()
    if "event_timestamp" not in frame.columns:
        raise InvalidFrame(
            "the entity frame has no column 'event_timestamp'",
            hint=close_names("event_timestamp", frame.columns) if len(frame.columns) else "the instants to join at",
        )
    missing = [name for name in request.inputs if name not in frame.columns]
    if missing:
        raise InvalidFrame(
            f"the entity frame lacks the request data {', '.join(missing)}, which on-demand features are computed from",
            hint="add a column for each",
        )
    at_us: Any = instants(frame["event_timestamp"], len(frame), "event_timestamp") if len(frame) else []
    frame["event_timestamp"] = pd.to_datetime(np.asarray(at_us, dtype="datetime64[us]"), utc=True)
    for name in shown_keys(keys):
        frame[name] = keys.column(name).to_pandas()
    return frame
