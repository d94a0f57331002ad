"""One feature's distribution: exact counts in bounded memory. No I/O.

The state of a :class:`Distribution` depends on the multiset of values alone. However a column is cut into chunks, and in
whatever order these are merged, the state is the one of the whole column, so a long comparison streams.

Few distinct values are counted one by one. Beyond `EXACT_VALUES`

- numbers share buckets. A bucket is a run of float64 whose highest bits agree; of two neighbouring grids the coarser one
  joins whole buckets of the finer, so counts move to it exactly. (Uniform collapse, as in Epicoco et al., "UDDSketch",
  IEEE Access 8, 2020; there the grid is logarithmic.) The finest grid on which at most `EXACT_VALUES` buckets are filled is
  taken, but none coarser than 7 bits of mantissa, so a bucket is never wider than 2^-7 of the values it holds;
- categories share hash buckets, and can no longer be named.
"""

from __future__ import annotations

import bisect
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Keys = npt.NDArray[Any]  # int64, or str as objects
    Kind = Literal["number", "category"]

# Distinct values: 64 KB a side for numbers, and enough to name every category that a person would look at.
EXACT_VALUES = 4096
# Low bits of a float64 that the coarsest grid drops: 7 of 52 bits of mantissa stay, so at most 2^19 buckets exist at all.
COARSEST_BITS = 45
# Bits of the hash of a category.
HASH_BITS = 16
# Characters: a longer text is cut and told apart by a digest, so that 4096 documents do not sit in memory.
LONGEST_TEXT = 256
# Of each of Arrow's units of time; nanoseconds are cut to whole microseconds.
MICROSECONDS = {"day": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}


def _no_keys() -> Keys:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Distribution:
    """The distribution of one side of one feature; ``a + b`` is the distribution of both columns together.

    ``Distribution()`` is neutral: it merges with either kind, and ``sum(parts, Distribution())`` merges any number.
    -0.0 counts as 0.0. Integers and decimals count as the nearest float64, so those beyond 2^53 may share a value.
    Dates, times and durations count in microseconds. Bools, texts, bytes and nested values are categories.

    Parameters
    ----------
    kind
        "number" or "category"; None while nothing but columns of Arrow's null type were seen.
    level
        How coarse the keys are: 0 is exact; else the dropped low bits (numbers), or 1 for hashes (categories).
    keys, counts
        Shape (m,): ascending, and how many cells have each. Null, NaN and infinity are counted apart.

    Examples
    --------
    >>> half, rest = pa.array([1.5, 2.0, None]), pa.array([2.0, float("nan")])
    >>> Distribution.of(half) + Distribution.of(rest)
    Distribution(number, 5 cells, 2 distinct values, 1 null, 1 NaN)
    >>> Distribution.of(half) + Distribution.of(rest) == Distribution.of(pa.chunked_array([rest, half]))
    True
    """

    kind: Kind | None = None
    level: int = 0
    keys: Keys = field(default_factory=_no_keys)
    counts: Ints = field(default_factory=_no_keys)
    nulls: int = 0
    nans: int = 0
    minus_infs: int = 0
    plus_infs: int = 0

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray) -> Distribution:
        """Return the distribution of a column.

        Numbers take about 0.1 s a million, distinct texts 2 s; nested values become Python objects and take about 8 s a million.

        Examples
        --------
        >>> Distribution.of(pa.array(["a", "b", "a"]))
        Distribution(category, 3 cells, 2 distinct values)
        """
        if isinstance(column, pa.ChunkedArray):
            chunks = column.chunks or [pa.array([], column.type)]
            return sum((cls.of(chunk) for chunk in chunks), cls())
        column = _plain(column)
        if pa.types.is_null(column.type):
            return cls(nulls=len(column))
        present = column.drop_null()
        nulls = len(column) - len(present)
        if _is_number(column.type):
            return _of_numbers(_floats(present), nulls)
        return _settled(cls("category", 0, *_texts(present), nulls=nulls))

    def __add__(self, other: Distribution) -> Distribution:
        kind = common_kind(self, other)
        level = max(self.level, other.level)
        mine, theirs = self.at(level), other.at(level)
        keys, counts = np.concatenate([mine.keys, theirs.keys]), np.concatenate([mine.counts, theirs.counts])
        order = np.argsort(keys, kind="stable")
        merged = Distribution(
            kind,
            level,
            *_grouped(keys[order], counts[order]),
            nulls=self.nulls + other.nulls,
            nans=self.nans + other.nans,
            minus_infs=self.minus_infs + other.minus_infs,
            plus_infs=self.plus_infs + other.plus_infs,
        )
        return _settled(merged)

    @property
    def cells(self) -> int:
        """How many cells were counted, nulls among them."""
        return int(self.counts.sum()) + self.nulls + self.nans + self.minus_infs + self.plus_infs

    def at(self, level: int) -> Distribution:
        """Return the same distribution with keys of a coarser level."""
        if level == self.level:
            return self
        if self.kind == "number":
            keys, counts = self.keys >> (level - self.level), self.counts
        else:
            hashes = np.array([_hash(text) for text in self.keys], dtype=np.int64)
            order = np.argsort(hashes, kind="stable")
            keys, counts = hashes[order], self.counts[order]
        keys, counts = _grouped(keys, counts)
        return replace(self, level=level, keys=keys, counts=counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Distribution):
            return NotImplemented
        plain = ("kind", "level", "nulls", "nans", "minus_infs", "plus_infs")
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        held = "buckets" if self.level else "distinct values"
        special = {"null": self.nulls, "NaN": self.nans, "-inf": self.minus_infs, "+inf": self.plus_infs}
        parts = [self.kind or "all null", f"{self.cells:,} cells", f"{len(self.keys):,} {held}"]
        parts += [f"{count:,} {name}" for name, count in special.items() if count]
        return f"Distribution({', '.join(parts)})"


def common_kind(one: Distribution, other: Distribution) -> Kind | None:
    """Return the kind of two distributions of one feature; raise ConfigurationError where they differ.

    Examples
    --------
    >>> common_kind(Distribution.of(pa.array([1])), Distribution.of(pa.nulls(1)))
    'number'
    """
    if one.kind and other.kind and one.kind != other.kind:
        raise ConfigurationError(
            f"a distribution of kind {one.kind!r} cannot be put together with one of kind {other.kind!r}",
            hint="cast both columns of the feature to one Arrow type",
        )
    return one.kind or other.kind


def representatives(keys: Ints, level: int) -> Floats:
    """Return the number that stands for each key: itself at level 0, else the middle of its bucket.

    It is no further than 2^-8 of a value's own size from any (normal) value in the bucket.

    Examples
    --------
    >>> exact = Distribution.of(pa.array([-1.0, 3.0, 3.001]))
    >>> representatives(exact.keys, 0)
    array([-1.   ,  3.   ,  3.001])
    >>> coarse = exact.at(COARSEST_BITS)
    >>> representatives(coarse.keys, COARSEST_BITS).round(3), coarse.counts
    (array([-0.998,  3.008]), array([1, 2]))
    """
    largest = int(_keys(np.array([np.finfo(np.float64).max]))[0])  # the outermost buckets would reach into infinity
    lowest = keys << level
    low, high = (_numbers(np.clip(end, -largest, largest)) for end in (lowest, lowest + ((1 << level) - 1)))
    return low + (high - low) / 2


def _of_numbers(values: Floats, nulls: int) -> Distribution:
    finite = values[np.isfinite(values)]
    keys = np.sort(_keys(finite))
    counted = Distribution(
        "number",
        0,
        *_grouped(keys, np.ones(len(keys), dtype=np.int64)),
        nulls=nulls,
        nans=int(np.isnan(values).sum()),
        minus_infs=int((values == -np.inf).sum()),
        plus_infs=int((values == np.inf).sum()),
    )
    return _settled(counted)


def _keys(values: Floats) -> Ints:
    """Return int64 in the order of the numbers: the sign applied to the other 63 bits, so both zeros are 0."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _numbers(keys: Ints) -> Floats:
    """Return the numbers of keys: `_keys` undone (it is its own inverse, but for -0.0)."""
    bits: Ints = np.where(keys < 0, np.iinfo(np.int64).min - keys, keys)
    return bits.view(np.float64)


def _grouped(keys: Keys, counts: Ints) -> tuple[Keys, Ints]:
    """Return each of ascending keys once, with its counts summed."""
    if not len(keys):
        return keys, counts
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts, starts)


def _settled(counted: Distribution) -> Distribution:
    """Return the distribution at the finest level that keeps to `EXACT_VALUES` keys, or at the coarsest there is.

    More values never ask for a finer level, so it makes no difference whether parts or the whole are settled first.
    """
    if len(counted.keys) <= EXACT_VALUES:
        return counted
    if counted.kind == "category":
        return counted.at(1)

    def fits(level: int) -> bool:
        keys = counted.keys >> (level - counted.level)
        return 1 + np.count_nonzero(keys[1:] != keys[:-1]) <= EXACT_VALUES

    levels = range(counted.level, COARSEST_BITS)
    return counted.at(counted.level + bisect.bisect_left(levels, x=True, key=fits))


def _plain(column: pa.Array) -> pa.Array:
    """Return the column without extension type, dictionary, run ends or views."""
    if isinstance(column, pa.ExtensionArray):
        return _plain(column.storage)
    if pa.types.is_dictionary(column.type):
        return _plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(column.type):
        return _plain(pc.run_end_decode(column))
    if pa.types.is_string_view(column.type):  # Arrow cannot filter views
        return column.cast(pa.large_string())
    if pa.types.is_binary_view(column.type):
        return column.cast(pa.large_binary())
    return column


def _is_interval(kind: pa.DataType) -> bool:
    return bool(kind == pa.month_day_nano_interval())  # months have no length: a category


def _is_number(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or (pa.types.is_temporal(kind) and not _is_interval(kind)))


def _floats(column: pa.Array) -> Floats:
    """Return numbers without nulls as float64."""
    kind = column.type
    if pa.types.is_temporal(kind):
        return _microseconds(column)
    if pa.types.is_decimal(kind):
        # By way of text, which is rounded once: Arrow makes 0.30000000000000004 of decimal(5, 1) 0.3, but 0.3 of (5, 2).
        column = column.cast(pa.string())
    return np.asarray(column.cast(pa.float64(), safe=False))


def _microseconds(column: pa.Array) -> Floats:
    kind = column.type
    integers = np.asarray(column.view(f"int{kind.bit_width}")).astype(np.int64)
    unit = "day" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    if unit == "ns":
        return (integers // 1_000).astype(np.float64)
    return integers.astype(np.float64) * MICROSECONDS[unit]


def _texts(column: pa.Array) -> tuple[Keys, Ints]:
    """Return the canonical texts of categories without nulls, ascending, and how many cells have each."""
    kind = column.type
    counted: Counter[str] = Counter()
    if pa.types.is_nested(kind) or _is_interval(kind):
        for value in column.to_pylist():
            counted[_short(_canonical(value))] += 1
    else:
        is_text = pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        distinct = column.cast(pa.large_string() if is_text else pa.large_binary()).value_counts()
        values, counts = distinct.field("values").to_pylist(), distinct.field("counts").to_pylist()
        for value, count in zip(values, counts, strict=True):
            counted[_short(value if is_text else f"0x{value.hex()}")] += count
    keys = np.array(sorted(counted), dtype=object)
    return keys, np.array([counted[key] for key in keys], dtype=np.int64)


def _canonical(value: Any) -> str:
    return json.dumps(_sortable(value), sort_keys=True, ensure_ascii=False, default=str)


def _sortable(value: Any) -> Any:
    """Return a nested value such that equal values have equal JSON: maps by key, both zeros alike, decimals by value."""
    if isinstance(value, dict):
        return {name: _sortable(item) for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):  # an Arrow map
        return {_canonical(key): _sortable(item) for key, item in value}
    if isinstance(value, list):
        return [_sortable(item) for item in value]
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, Decimal):
        return str(value.normalize())
    return value + 0.0 if isinstance(value, float) else value


def _short(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT - 40]}… ({blake2b(text.encode(), digest_size=16).hexdigest()})"


def _hash(text: str) -> int:
    return zlib.crc32(text.encode()) >> (32 - HASH_BITS)
