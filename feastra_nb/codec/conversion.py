"""Finds the values that storing changes: nulls inside lists, fractions of a second, floats too large for 32 bits. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.value_type import ValueType

from feastra_nb.codec.casts import LIST_NULLS, PER_SECOND, plain
from feastra_nb.codec.value_types import kind_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from feastra_nb.codec.casts import Column

    Bools = npt.NDArray[np.bool_]

# Nulls that a reader takes for values; those of floats, JSON and timestamps come back as what they were.
_NULLS_CHANGED = (ValueType.INT32, ValueType.INT64, ValueType.BOOL, ValueType.STRING, ValueType.BYTES)


def lost(column: Column, value_type: ValueType) -> Bools:
    """Return which values are others once they are stored as a Feast type; shape (n,).

    Parameters
    ----------
    column
        n values that the type can hold, of any Arrow type.
    value_type
        The Feast value type they are stored as.

    Examples
    --------
    >>> lost(pa.array([[5, None], [5], None]), ValueType.INT64_LIST).tolist()
    [True, False, False]
    >>> lost(pa.array([1_500, 2_000, None], pa.timestamp("ms", "UTC")), ValueType.UNIX_TIMESTAMP).tolist()
    [True, False, False]
    >>> lost(pa.array([1e300, 0.1]), ValueType.FLOAT).tolist()
    [True, False]
    """
    kind = kind_of(value_type)
    none = np.zeros(len(column), dtype=bool)
    if kind is None or kind.element not in (ValueType.UNIX_TIMESTAMP, ValueType.FLOAT, *_NULLS_CHANGED):
        return none
    values = plain(column)
    if pa.types.is_null(values.type):
        return none
    if not kind.container:
        return _lost_alone(values, kind.element)
    inside = plain(pc.list_flatten(values))
    bad = _lost_alone(inside, kind.element)
    if kind.container == "list" and kind.element in _NULLS_CHANGED and not pa.types.is_floating(inside.type):
        bad |= np.asarray(inside.is_null())
    none[np.asarray(pc.list_parent_indices(values))[bad]] = True
    return none


def unconverted(column: Column, value_type: ValueType) -> pa.Array:
    """Return values as they are, in the Arrow type that their stored form has, as far as that holds them.

    Examples
    --------
    >>> unconverted(pa.array([1_500], pa.timestamp("ms")), ValueType.UNIX_TIMESTAMP).type
    TimestampType(timestamp[us, tz=UTC])
    """
    kind = kind_of(value_type)
    values = plain(column)
    if kind is None or kind.element is ValueType.FLOAT:
        return values
    return values.cast(kind.arrow, safe=False)


def why_lost(value_type: ValueType) -> str:
    """Return what a type cannot hold, for a message about values that are `lost`.

    Examples
    --------
    >>> why_lost(ValueType.STRING_LIST)
    "a null inside a list is served as ''"
    """
    kind = kind_of(value_type)
    if kind is None or kind.element is ValueType.UNIX_TIMESTAMP:
        return "a fraction of a second is cut off"
    if kind.element is ValueType.FLOAT:
        return "a number beyond 32-bit floats is served as infinite or zero"
    return f"a null inside a list is served as {LIST_NULLS.get(kind.element)!r}"


def _lost_alone(values: pa.Array, element: ValueType) -> Bools:
    if element is ValueType.UNIX_TIMESTAMP and pa.types.is_timestamp(values.type):
        per_second = PER_SECOND[values.type.unit]
        return np.asarray(values.view(pa.int64()).fill_null(0)) % per_second != 0
    if element is ValueType.FLOAT and (pa.types.is_float64(values.type) or pa.types.is_integer(values.type)):
        wide: npt.NDArray[Any] = np.asarray(values.cast(pa.float64(), safe=False).fill_null(0.0))
        with np.errstate(over="ignore", under="ignore"):
            narrow = wide.astype(np.float32)
        return (np.isfinite(wide) & ~np.isfinite(narrow)) | ((wide != 0) & (narrow == 0))
    return np.zeros(len(values), dtype=bool)
