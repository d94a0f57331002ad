"""Arrow tables as DataFrames that lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd


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
