"""Comparing aligned columns, cell by cell. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]

MATCH, MISMATCH = "match", "mismatch"
MISSING_ONLINE, MISSING_OFFLINE, UNKNOWN = "missing_online", "missing_offline", "unknown"
VERDICTS = (MATCH, MISMATCH, MISSING_ONLINE, MISSING_OFFLINE, UNKNOWN)
# Floats that differ by no more than this many units in the last place are one value written by two programs.
ULPS = 4


def equal_cells(online: pa.Array, offline: pa.Array, *, tolerance: float | None = None) -> Bools:
    """Return which cells hold the same value; null equals null only.

    Ints, strings, bools and bytes are compared exactly, floats within 4 units in the last place.

    Parameters
    ----------
    online, offline
        Shape (n,), of one type.
    tolerance
        Absolute difference of numbers that still counts as equal.

    Examples
    --------
    >>> equal_cells(pa.array([1.0, None, None]), pa.array([1.0 + 2e-16, None, 3.0]))
    array([ True,  True, False])
    """
    one_null, other_null = np.asarray(online.is_null()), np.asarray(offline.is_null())
    both = ~one_null & ~other_null
    equal = one_null & other_null
    if both.any():
        equal[both] = _equal_values(online.filter(pa.array(both)), offline.filter(pa.array(both)), tolerance)
    return equal


def _equal_values(online: pa.Array, offline: pa.Array, tolerance: float | None) -> Bools:
    kind = online.type
    if pa.types.is_floating(kind):
        return close_floats(np.asarray(online), np.asarray(offline), tolerance)
    if pa.types.is_nested(kind) or isinstance(online, pa.ExtensionArray):
        pairs = zip(online.to_pylist(), offline.to_pylist(), strict=True)
        return np.array([_equal_nested(one, other, tolerance) for one, other in pairs], dtype=bool)
    equal = np.asarray(pc.equal(online, offline), dtype=bool)
    if tolerance is not None and pa.types.is_integer(kind):
        # Python's ints do not overflow, and a tolerance for ints is rare.
        pairs = zip(online.to_pylist(), offline.to_pylist(), strict=True)
        equal |= np.array([abs(one - other) <= tolerance for one, other in pairs], dtype=bool)
    return equal


def close_floats(
    one: npt.NDArray[np.floating[Any]], other: npt.NDArray[np.floating[Any]], tolerance: float | None = None
) -> Bools:
    """Return which floats are equal up to 4 units in the last place, or up to a tolerance; NaN equals NaN.

    Examples
    --------
    >>> close_floats(np.array([0.1 + 0.2, np.nan, np.inf, 1.0]), np.array([0.3, np.nan, np.inf, 1.1]))
    array([ True,  True,  True, False])
    """
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    finite = np.isfinite(one) & np.isfinite(other)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.abs(one - other)
        near = gap <= ULPS * np.spacing(np.maximum(np.abs(one), np.abs(other)))
        if tolerance is not None:
            near |= gap <= tolerance
    return equal | (finite & near)


def _equal_nested(one: Any, other: Any, tolerance: float | None) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_equal_nested(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return bool(close_floats(np.array([one]), np.array([other]), tolerance)[0])
    return bool(one == other)


def verdicts(
    online: pa.Array, offline: pa.Array, *, served: Bools, joined: Bools, unknown: Bools, tolerance: float | None = None
) -> npt.NDArray[np.object_]:
    """Return the verdict of each cell of one feature.

    A side that is absent and a side that is null read the same to a model, so absence alone is no difference.

    Parameters
    ----------
    served, joined
        Shape (n,): whether the online store served a row, whether the point-in-time join found one.
    unknown
        Shape (n,): whether the online store cannot say what it served.

    Examples
    --------
    >>> one, other = pa.array([1, None, 3]), pa.array([1, 2, None])
    >>> yes = np.array([True, True, True])
    >>> list(verdicts(one, other, served=np.array([True, False, True]), joined=np.array([True, True, False]), unknown=~yes))
    ['match', 'missing_online', 'missing_offline']
    """
    equal = equal_cells(online, offline, tolerance=tolerance)
    return np.select(
        [unknown, equal, ~served, ~joined], [UNKNOWN, MATCH, MISSING_ONLINE, MISSING_OFFLINE], default=MISMATCH
    ).astype(object)
