"""Counts of compared cells, by view, feature and cause: one pass over the chunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.skew import cells as of_cells
from feastra_nb.skew.causes import CAUSES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import MATCH, UNKNOWN
from feastra_nb.skew.events import NO_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from feastra_nb.skew.cells import CellChunk, Cells
    from feastra_nb.skew.proofs import Proofs


@dataclass(slots=True)
class CauseCount:
    """One feature's cells that differ for one cause.

    Parameters
    ----------
    cells
        How many.
    earliest_us
        The first offline event among them; None where none is known.
    lag_us
        How far the served event lies behind the offline one, at most; 0 where it never does.
    """

    cells: int = 0
    earliest_us: int | None = None
    lag_us: int = 0


@dataclass(slots=True)
class Count:
    """One feature's cells.

    Parameters
    ----------
    compared, unknown
        Cells that could be compared, and those before the store's memory.
    nothing
        Of the compared ones: null on both sides.
    nulls_online, nulls_offline
        Of the compared ones: null, or no row at all, on either side.
    causes
        By cause, the cells that differ.
    """

    compared: int = 0
    unknown: int = 0
    nothing: int = 0
    nulls_online: int = 0
    nulls_offline: int = 0
    causes: dict[str, CauseCount] = field(default_factory=dict)

    @property
    def different(self) -> int:
        """Cells that differ."""
        return sum(count.cells for count in self.causes.values())

    @property
    def ranked(self) -> list[tuple[str, int]]:
        """The causes with their counts, the most frequent first; equal ones in the order of events."""
        return ranked(Counter({cause: count.cells for cause, count in self.causes.items()}))


def ranked(causes: Counter[str]) -> list[tuple[str, int]]:
    """Return causes with their counts, the most frequent first; equal ones in the order of events."""
    return sorted(causes.items(), key=lambda item: (-item[1], CAUSES.index(item[0])))


def feature_counts(cells: Cells, proofs: Proofs) -> Mapping[tuple[str, str], Count]:
    """Return the counts of each view and feature."""
    counts: dict[tuple[str, str], Count] = {}
    for chunk in cells:
        for feature in chunk.features:
            count = counts.setdefault((chunk.view, feature), Count())
            _add_nulls(count, chunk, feature)
            codes = proofs.cause_codes(chunk, feature)
            for code in np.unique(codes[codes != 0]):
                _add_cause(count.causes.setdefault(CAUSES[code], CauseCount()), chunk, codes == code)
    return counts


def _add_nulls(count: Count, chunk: CellChunk, feature: str) -> None:
    known = chunk.verdicts(feature) != UNKNOWN
    count.compared += int(known.sum())
    count.unknown += int((~known).sum())
    online, offline = (chunk.rows.column(side + feature) for side in (of_cells.ONLINE, of_cells.OFFLINE))
    nulls = [np.asarray(side.is_null()) & known if side.null_count else None for side in (online, offline)]
    count.nulls_online += 0 if nulls[0] is None else int(nulls[0].sum())
    count.nulls_offline += 0 if nulls[1] is None else int(nulls[1].sum())
    if nulls[0] is not None and nulls[1] is not None:
        matches = chunk.verdicts(feature) == MATCH
        count.nothing += int(pc.sum(pa.array(nulls[0] & nulls[1] & matches)).as_py() or 0)


def _add_cause(count: CauseCount, chunk: CellChunk, where: npt.NDArray[np.bool_]) -> None:
    rows = numbers(chunk.bad, of_cells.AT)[where]
    served, truth = (numbers(chunk.rows, of_cells.TIMES[place])[rows] for place in (0, 3))
    count.cells += len(rows)
    known = truth[truth != NO_US]
    if len(known):
        earliest = int(known.min())
        count.earliest_us = earliest if count.earliest_us is None else min(count.earliest_us, earliest)
    both = (truth != NO_US) & (served != NO_US)
    if both.any():
        count.lag_us = max(count.lag_us, int((truth - served)[both].max()))


__all__ = ["CauseCount", "Count", "feature_counts", "ranked"]
