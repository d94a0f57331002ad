"""Converts Arrow tables to DataFrames without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd


BACKENDS = ("numpy_nullable", "pyarrow", "numpy")


def check_backend(dtype_backend: str) -> None:
    """Refuse a backend that there is not, before anything is read."""
    if dtype_backend not in BACKENDS:
        raise ConfigurationError(
            f"dtype_backend={dtype_backend!r} is not known", hint=", ".join(f'"{name}"' for name in BACKENDS)
        )


def to_pandas(table: pa.Table, dtype_backend: str) -> pd.DataFrame:
    """Return a DataFrame of a table.

    Parameters
    ----------
    dtype_backend
        ``"numpy_nullable"`` and ``"pyarrow"``, as in pandas, lose nothing: Int64, boolean, string, timestamps in microseconds,
        NA. ``"numpy"`` is for models, as Feast's own ``to_df``: float64 with NaN where ints or floats are null, object for
        text, lists and booleans with nulls.

    Examples
    --------
    >>> table = pa.table({"n": pa.array([1, None]), "city": ["Oslo", None]})
    >>> [str(dtype) for dtype in to_pandas(table, "numpy").dtypes]
    ['float64', 'object']
    """
    import pandas as pd

    check_backend(dtype_backend)
    if dtype_backend == "numpy":
        return table.to_pandas()
    if dtype_backend == "pyarrow":
        return table.to_pandas(types_mapper=pd.ArrowDtype)
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
