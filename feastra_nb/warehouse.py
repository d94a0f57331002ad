"""Changes a view's offline data behind the online store's back, as a job of a company's warehouse would: to practise on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

CREATED = "feastra_created"


def change(ws: Any, view: str, what: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Replace a view's offline rows; the online store does not learn of it.

    Parameters
    ----------
    ws
        A workspace whose view was made from a DataFrame.
    what
        Takes all offline rows and returns those that are there afterwards, with the same columns.

    Raises
    ------
    ConfigurationError
        The view's offline data are not one parquet file.
    """
    path = _path(ws, view)
    schema = pq.read_schema(path)
    changed = what(pq.read_table(path).to_pandas())
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pandas(changed, schema=schema, preserve_index=False), partial)
    partial.replace(path)


def rows(ws: Any, view: str) -> pd.DataFrame:
    """Return a view's offline rows.

    Raises
    ------
    ConfigurationError
        They are not one parquet file.
    """
    frame: pd.DataFrame = pq.read_table(_path(ws, view)).to_pandas()
    return frame


def _path(ws: Any, view: str) -> Path:
    path = Path(ws.directory) / str(getattr(ws.view(view).batch_source, "path", ""))
    if not path.is_file():
        raise ConfigurationError(
            f"the offline data of view {view!r} are not one parquet file", hint="views made from a DataFrame have one"
        )
    return path


def newest(frame: pd.DataFrame, key: str, event: str = "event_timestamp") -> pd.DataFrame:
    """Return the newest row of each entity, in the order of the keys."""
    return frame.sort_values([key, event], kind="stable").drop_duplicates(key, keep="last")
