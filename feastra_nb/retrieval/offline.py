"""`ws.historical`: Feast's own point-in-time join, with every row back and in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError, InvalidFrame, close_names
from feastra_nb.quiet import quiet_feast
from feastra_nb.retrieval.dataframes import to_pandas
from feastra_nb.retrieval.request import entity_table, instants, references, requested

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

log = logging.getLogger("feastra_nb")

KNOWN_AT_AS_OF = "as_of"  # each row as it was known at its own as-of instant


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
    _refuse_names_of_features(feature_store, spine, features, full_feature_names=full_feature_names)
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


def _refuse_names_of_features(
    feature_store: FeatureStore, spine: pd.DataFrame, features: Any, *, full_feature_names: bool
) -> None:
    wanted, _on_demand = requested(feature_store, features, full_feature_names=full_feature_names)
    names = [name for one in wanted for name in one.columns(full_feature_names=full_feature_names)]
    twice = [name for name in names if name in spine.columns]
    if twice:
        raise InvalidFrame(
            f"the entity frame has columns with the names of features: {', '.join(twice)}",
            hint="drop or rename them, or pass full_feature_names=True",
        )


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
