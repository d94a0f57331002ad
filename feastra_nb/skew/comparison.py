"""Compares aligned columns cell by cell. No I/O."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt
    from feast.value_type import ValueType

    Bools = npt.NDArray[np.bool_]
    Int8s = npt.NDArray[np.int8]

VERDICTS = ("match", "mismatch", "missing_online", "missing_offline", "unknown")
MATCH, MISMATCH, MISSING_ONLINE, MISSING_OFFLINE, UNKNOWN = range(5)
# Floats that differ by no more than this many units in the last place are one value written by two programs.
ULPS = 4
# Texts of these types mean one value in several spellings.
_MEANING: Mapping[str, Callable[[str], Any]] = {"JSON": json.loads, "DECIMAL": Decimal}


def equal_cells(
    online: pa.Array, offline: pa.Array, *, tolerance: float | None = None, kind: ValueType | None = None
) -> Bools:
    """Return which cells hold the same value; null equals null only.

    Ints, strings, bools and bytes are compared exactly, floats within 4 units in the last place, JSON parsed, decimals by
    value, sets and maps whatever their order.

    Parameters
    ----------
    online, offline
        Shape (n,). Numbers of two types are compared as numbers; other values of two types are never equal.
    tolerance
        Absolute difference of numbers that still counts as equal.
    kind
        The feature's type; None for that of the columns.

    Examples
    --------
    >>> equal_cells(pa.array([1.0, None, None]), pa.array([1.0 + 2e-16, None, 3.0]))
    array([ True,  True, False])
    """
    one_null, other_null = np.asarray(online.is_null()), np.asarray(offline.is_null())
    if not (one_null.any() or other_null.any()):
        return _equal_values(online, offline, tolerance, kind)
    both = ~one_null & ~other_null
    equal = one_null & other_null
    if both.any():
        where = pa.array(both)
        equal[both] = _equal_values(online.filter(where), offline.filter(where), tolerance, kind)
    return equal


def _equal_values(online: pa.Array, offline: pa.Array, tolerance: float | None, kind: ValueType | None) -> Bools:
    if online.type != offline.type:
        return _equal_numbers(online, offline, tolerance)
    if pa.types.is_floating(online.type):
        return close_floats(np.asarray(online), np.asarray(offline), tolerance)
    if pa.types.is_nested(online.type) or isinstance(online, pa.ExtensionArray):
        return _refined(
            _same_bytes(online, offline, kind), online, offline, lambda a, b: _equal_nested(a, b, tolerance)
        )
    equal = np.asarray(pc.equal(online, offline), dtype=bool)
    if tolerance is not None and pa.types.is_integer(online.type):
        # Python's ints do not overflow, and a tolerance for ints is rare.
        return _refined(equal, online, offline, lambda served, other: abs(served - other) <= tolerance)
    meaning = None if kind is None else _MEANING.get(kind.name)
    return equal if meaning is None else _refined(equal, online, offline, lambda a, b: _same_meaning(a, b, meaning))


def _refined(equal: Bools, online: pa.Array, offline: pa.Array, same: Callable[[Any, Any], bool]) -> Bools:
    """Return which cells are equal, looking again at those that are not at first sight."""
    doubt = np.flatnonzero(~equal)
    pairs = zip(online.take(pa.array(doubt)).to_pylist(), offline.take(pa.array(doubt)).to_pylist(), strict=True)
    result = equal.copy()
    result[doubt] = [bool(same(served, other)) for served, other in pairs]
    return result


def _same_bytes(online: pa.Array, offline: pa.Array, kind: ValueType | None) -> Bools:
    if kind is None:
        return np.zeros(len(online), dtype=bool)
    served, other = (codec.encode_payloads([column], [kind], len(column)) for column in (online, offline))
    return np.asarray(pc.equal(served, other), dtype=bool)


def _equal_numbers(online: pa.Array, offline: pa.Array, tolerance: float | None) -> Bools:
    numbers = all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in (online.type, offline.type))
    if not numbers:
        return np.zeros(len(online), dtype=bool)
    if pa.types.is_floating(online.type) != pa.types.is_floating(offline.type):
        # An integer beyond 2**53 is not a float: Python compares the two exactly.
        pairs = zip(online.to_pylist(), offline.to_pylist(), strict=True)
        return np.array(
            [served == other or abs(served - other) <= (tolerance or 0) for served, other in pairs], dtype=bool
        )
    served, other = (np.asarray(column.cast(pa.float64(), safe=False)) for column in (online, offline))
    return close_floats(served, other, tolerance)


def close_floats(
    served: npt.NDArray[np.floating[Any]], other: npt.NDArray[np.floating[Any]], tolerance: float | None = None
) -> Bools:
    """Return which floats are equal up to 4 units in the last place, or up to a tolerance; NaN equals NaN.

    Examples
    --------
    >>> close_floats(np.array([0.1 + 0.2, np.nan, np.inf, 1.0]), np.array([0.3, np.nan, np.inf, 1.1]))
    array([ True,  True,  True, False])
    """
    equal = served == other
    doubt = np.flatnonzero(~equal)
    if not len(doubt):
        return np.asarray(equal)
    a, b = served[doubt], other[doubt]
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.abs(a - b)
        near = gap <= ULPS * np.spacing(np.maximum(np.abs(a), np.abs(b)))
        if tolerance is not None:
            near |= gap <= tolerance
    equal[doubt] = (np.isfinite(a) & np.isfinite(b) & near) | (np.isnan(a) & np.isnan(b))
    return np.asarray(equal)


def _equal_nested(served: Any, other: Any, tolerance: float | None) -> bool:
    if isinstance(served, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(served) == len(other) and all(
            _equal_nested(a, b, tolerance) for a, b in zip(served, other, strict=True)
        )
    if isinstance(served, float) and isinstance(other, float):
        return bool(close_floats(np.array([served]), np.array([other]), tolerance)[0])
    return bool(served == other)


def _same_meaning(served: str, other: str, meaning: Callable[[str], Any]) -> bool:
    try:
        return bool(meaning(served) == meaning(other))
    except (ValueError, ArithmeticError):
        return False


def verdict_codes(equal: Bools, *, served: Bools, joined: Bools, unknown: Bools, lost: Bools) -> Int8s:
    """Return the verdict of each cell of one feature, as a place in `VERDICTS`.

    A side that is absent and a side that is null read the same to a model, so absence alone is not a difference.

    Parameters
    ----------
    equal
        Shape (n,), from `equal_cells`.
    served, joined
        Shape (n,): whether the online store served a row, whether the point-in-time join found one.
    unknown
        Shape (n,): whether the online store cannot say what it served.
    lost
        Shape (n,): whether the offline store's own join lost the row.

    Examples
    --------
    >>> yes, no = np.array([True, True, True]), np.array([False, False, False])
    >>> codes = verdict_codes(~yes, served=np.array([True, False, True]), joined=np.array([True, True, False]), unknown=no,
    ...     lost=no)
    >>> [VERDICTS[code] for code in codes]
    ['mismatch', 'missing_online', 'missing_offline']
    """
    code = np.where(equal, MATCH, np.where(served, np.where(joined, MISMATCH, MISSING_OFFLINE), MISSING_ONLINE))
    return np.where(lost, MISSING_OFFLINE, np.where(unknown, UNKNOWN, code)).astype(np.int8)
