"""Finds causes that only a whole column proves: a constant factor, a constant difference, a constant shift in time. No I/O.

A first pass over the chunks proposes candidates, a second counts how many cells each explains; a rule holds where it explains
95 % of what nothing else explains, over at least twenty distinct values or entities.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.skew.cells import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from feastra_nb.skew.cells import CellChunk, Cells

    Floats = npt.NDArray[np.float64]
    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

SHARE = 0.95  # of the cells that nothing else explains
LEAST = 20  # distinct values, or entities
FACTOR_CLOSE = 1e-6  # relative: what is left of a factor in 32-bit floats
# Relative, by whether values have 32 bits: what is left of a difference between numbers that were rounded.
_ROUNDING = {False: 4 * float(np.finfo(np.float64).eps), True: 4 * float(np.finfo(np.float32).eps)}
QUARTER_US = 15 * 60 * 1_000_000  # time zones differ by multiples of it
LONGEST_US = 14 * 3600 * 1_000_000  # and by no more than this
ENTITY = "entity"  # column of `CellChunk.bad`: the place of the row's entity in its chunk


@dataclass(frozen=True, slots=True)
class Rule:
    """What explains a column's differences.

    Parameters
    ----------
    cause
        ``"scale"``, ``"offset"`` or ``"timezone"``.
    factor
        online = factor * offline; NaN for another cause.
    offset
        online = offline + offset; NaN for another cause.
    shift_us
        online = offline + shift, in microseconds, where the feature is a time; 0 where it is not.
    """

    cause: str
    factor: float = float("nan")
    offset: float = float("nan")
    shift_us: int = 0

    def holds(self, online: pa.Array, offline: pa.Array) -> Bools:
        """Return which pairs it explains."""
        served, other = as_numbers(online), as_numbers(offline)
        if served is None or other is None:
            return np.zeros(len(online), dtype=bool)
        if self.shift_us:
            return np.asarray(served - other == self.shift_us)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.cause == "offset":
                rounding = _ROUNDING[online.type.bit_width == 32] * np.maximum(np.abs(served), np.abs(other))  # noqa: PLR2004 - bits
                near = np.minimum(rounding + FACTOR_CLOSE * abs(self.offset), abs(self.offset) / 2)
                return np.asarray(np.abs(served - other - self.offset) <= near)
            return np.asarray((other != 0) & (np.abs(served - self.factor * other) <= FACTOR_CLOSE * np.abs(served)))


def as_numbers(column: pa.Array) -> Floats | None:
    """Return a column of numbers as floats with NaN for null, of timestamps as microseconds; None for any other."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        # Exact in a float up to the year 2255, and by whole seconds, as Feast has them, far beyond.
        column = column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    return np.asarray(column.cast(pa.float64(), safe=False).fill_null(np.nan))


def candidates(online: pa.Array, offline: pa.Array) -> list[Rule]:
    """Return the rules that would explain most of some pairs, were they to explain 95 % of them: those of their medians.

    Examples
    --------
    >>> [rule.factor for rule in candidates(pa.array([60.0, 120.0, 180.0]), pa.array([1.0, 2.0, 3.0]))][0]
    60.0
    >>> [rule.offset for rule in candidates(pa.array([11.0, 12.0, 13.0]), pa.array([1.0, 2.0, 3.0]))][-1]
    10.0
    """
    served, other = as_numbers(online), as_numbers(offline)
    if served is None or other is None:
        return []
    if pa.types.is_timestamp(online.type):
        shift_us = int(_median(served - other))
        return [Rule("timezone" if is_zone(shift_us) else "offset", shift_us=shift_us)] if shift_us else []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios, gaps = served / other, served - other
    # Twelve digits are more than the sides have in common, and read better than a quotient's last ones.
    factor, offset = (float(f"{_median(each):.12g}") for each in (ratios, gaps))
    rules = [Rule("scale", factor=factor)] if factor not in (0, 1) else []
    return [*rules, Rule("offset", offset=offset)] if offset else rules


def _median(values: Floats) -> float:
    """Return the middle one of the finite values that are not 0; 0 where there is none."""
    known = np.sort(values[np.isfinite(values) & (values != 0)])
    return float(known[len(known) // 2]) if len(known) else 0.0


def is_zone(shift_us: int) -> bool:
    """Return whether a shift may be that of a time zone.

    Examples
    --------
    >>> is_zone(5 * 3600 * 10**6), is_zone(-13 * 900 * 10**6), is_zone(0), is_zone(7 * 10**6)
    (True, True, False, False)
    """
    return shift_us != 0 and abs(shift_us) <= LONGEST_US and shift_us % QUARTER_US == 0


def column_rules(cells: Cells) -> Mapping[tuple[str, str], Rule]:
    """Return, by view and feature, the rule that explains what nothing else does."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    proposed: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for chunk in cells:
        for feature in chunk.features:
            places = chunk.unexplained(feature)
            if len(places):
                known = proposed[chunk.view, feature]
                counts[chunk.view, feature] += len(places)
                for rule in candidates(*chunk.pairs(feature, places)):
                    if not any(_alike(rule, other) for other in known):
                        known.append(rule)
    wanted = {name: rules for name, rules in proposed.items() if rules and counts[name] >= LEAST}
    tallies = {name: [_Tally() for _rule in rules] for name, rules in wanted.items()}
    for chunk in cells if wanted else ():
        for feature in chunk.features:
            for rule, tally in zip(
                wanted.get((chunk.view, feature), ()), tallies.get((chunk.view, feature), ()), strict=True
            ):
                tally.add(chunk, feature, rule)
    return {
        name: rule
        for name, rules in wanted.items()
        for rule, tally in zip(rules, tallies[name], strict=True)
        if tally.proves(counts[name], rule)
    }


def _alike(first: Rule, other: Rule) -> bool:
    if first.cause != other.cause or first.shift_us:
        return first == other
    ours, others = (first.factor, other.factor) if first.cause == "scale" else (first.offset, other.offset)
    return abs(ours - others) <= FACTOR_CLOSE * abs(ours)


class _Tally:
    """Counts what a rule explains, chunk by chunk; an entity is in one chunk only."""

    def __init__(self) -> None:
        self._cells = 0
        self._entities = 0
        self._values: set[float] = set()

    def add(self, chunk: CellChunk, feature: str, rule: Rule) -> None:
        places = chunk.unexplained(feature)
        if not len(places):
            return
        online, offline = chunk.pairs(feature, places)
        held = rule.holds(online, offline)
        self._cells += int(held.sum())
        self._entities += len(np.unique(numbers(chunk.bad, ENTITY)[places][held]))
        if len(self._values) < LEAST:
            values = as_numbers(offline)
            self._values |= set() if values is None else set(np.unique(values[held])[:LEAST].tolist())

    def proves(self, cells: int, rule: Rule) -> bool:
        enough = self._entities if rule.shift_us else len(self._values)
        return enough >= LEAST and self._cells >= SHARE * cells


__all__ = ["ENTITY", "Rule", "candidates", "column_rules", "is_zone"]
