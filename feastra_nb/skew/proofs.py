"""What only whole columns and whole views prove, and the causes of cells with that applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.skew import cells
from feastra_nb.skew.causes import CODES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.event_shift import view_shifts
from feastra_nb.skew.rules import column_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from feastra_nb.skew.cells import CellChunk, Cells
    from feastra_nb.skew.event_shift import EventShift
    from feastra_nb.skew.rules import Rule

    Bools = npt.NDArray[np.bool_]
    Int8s = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Proofs:
    """What was proved of whole columns and views.

    Parameters
    ----------
    rules
        By view and feature, the factor, difference or shift between its sides.
    shifts
        By view, the shift between the event times of its sides.
    """

    rules: Mapping[tuple[str, str], Rule] = field(default_factory=dict)
    shifts: Mapping[str, EventShift] = field(default_factory=dict)

    @classmethod
    def of(cls, compared: Cells) -> Proofs:
        """Judge the columns and views of some cells."""
        return cls(column_rules(compared), view_shifts(compared))

    def cause_codes(self, chunk: CellChunk, feature: str) -> Int8s:
        """Return the causes of a feature's cells in ``chunk.bad``, 0 for a match."""
        codes = numbers(chunk.bad, cells.CAUSE + feature).astype(np.int8)
        rule = self.rules.get((chunk.view, feature))
        if rule is not None:
            places = chunk.unexplained(feature)
            codes[places[rule.holds(*chunk.pairs(feature, places))]] = CODES[rule.cause]
        shift = self.shifts.get(chunk.view)
        if shift is not None and shift.shift_us == chunk.shift.shift_us:
            # Whatever else such a cell seems to be follows from it; what the offline join lost does not.
            explained = numbers(chunk.bad, cells.SHIFTED).astype(bool) & (codes != CODES["dropped_offline"])
            codes[explained & (codes != 0)] = CODES["event_time_shift"]
        return codes
