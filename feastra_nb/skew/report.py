"""The skew report: which values differ between serving and training, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feastra_nb.reporting.report import Report
from feastra_nb.skew import cells as of_cells
from feastra_nb.skew.causes import ADVICE, CAUSES
from feastra_nb.skew.comparison import MATCH, UNKNOWN
from feastra_nb.skew.distances import Distances, distances, rate_interval
from feastra_nb.skew.distribution import Distribution
from feastra_nb.skew.frame import cause_codes, cells_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.skew.cells import CellChunk, Cells
    from feastra_nb.skew.impact import Impact
    from feastra_nb.skew.rules import Rule

SHOWN_ROWS = 10  # of the worst cells, on one screen


@dataclass(slots=True)
class Count:
    """One feature's cells."""

    compared: int = 0
    unknown: int = 0
    nothing: int = 0  # of the compared ones: null on both sides
    causes: Counter[str] = field(default_factory=Counter)

    @property
    def different(self) -> int:
        """Cells that differ."""
        return self.causes.total()


def _ranked(causes: Counter[str]) -> list[tuple[str, int]]:
    """Return the causes with their counts, the most frequent first; equal ones in the order of events."""
    return sorted(causes.items(), key=lambda item: (-item[1], CAUSES.index(item[0])))


def _null_pairs(chunk: CellChunk, feature: str) -> int:
    online, offline = (chunk.rows.column(side + feature) for side in (of_cells.ONLINE, of_cells.OFFLINE))
    if not (online.null_count and offline.null_count):
        return 0
    both = pc.and_(online.is_null(), offline.is_null())
    matches = pa.array(chunk.verdicts(feature) == MATCH)
    return int(pc.sum(pc.and_(both, pa.chunked_array([matches]))).as_py() or 0)


@dataclass(frozen=True, eq=False, repr=False)
class SkewReport(Report):
    """What a comparison of online and offline found.

    Parameters
    ----------
    cells
        The compared cells, in chunks.
    rules
        By view and feature, the factor or shift between its sides, where one is proved.
    mode
        ``"now"``, ``"as of"`` or ``"served"``.
    store
        The online store's type.
    arrived_later
        Rows whose online value arrived only after the instant it was needed: a back-loaded history replays better than
        production was; ``known_at="as_of"`` counts only what had arrived.
    not_compared
        On-demand features that were asked for, as ``view:feature``: they are computed when they are read, and only their
        inputs are compared.
    failed
        Of several views those that could not be compared, each with the reason.
    """

    cells: Cells
    rules: Mapping[tuple[str, str], Rule]
    mode: str
    store: str = ""
    arrived_later: int = 0
    not_compared: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    # --- cells ---

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cell that was compared.

        The join keys, ``as_of``, ``feature``, ``online``, ``offline``, ``verdict`` (match, mismatch, missing_online,
        missing_offline, unknown), ``cause`` (empty for a match), ``view`` and the evidence: event and created times of both
        sides, when the online row and the offline event arrived online, the ttl's bound, the offline value at the online
        event, the factor or shift of a column, and a note.
        """
        return cells_frame(self.cells, self.rules, differing=False)

    @cached_property
    def different(self) -> pd.DataFrame:
        """The rows of `frame` that neither match nor are unknown."""
        return cells_frame(self.cells, self.rules, differing=True)

    def worst(self, n: int = SHOWN_ROWS) -> pd.DataFrame:
        """Return the first n cells that differ, of every cause in turn."""
        some = cells_frame(self.cells, self.rules, differing=True, each=n)
        turn = some.groupby("cause").cumcount()
        return some.iloc[turn.argsort(kind="stable")].head(n).reset_index(drop=True)

    # --- figures ---

    @cached_property
    def _counts(self) -> dict[tuple[str, str], Count]:
        counts: dict[tuple[str, str], Count] = {}
        for chunk in self.cells:
            for feature in chunk.features:
                count = counts.setdefault((chunk.view, feature), Count())
                unknown = int((chunk.verdicts(feature) == UNKNOWN).sum())
                count.compared += chunk.rows.num_rows - unknown
                count.unknown += unknown
                count.nothing += _null_pairs(chunk, feature)
                codes, cells = np.unique(cause_codes(chunk, feature, self.rules), return_counts=True)
                count.causes.update({CAUSES[code]: int(n) for code, n in zip(codes, cells, strict=True) if code})
        return counts

    @property
    def counts(self) -> Mapping[str, Count]:
        """Each feature's cells, by ``view:feature``."""
        return {f"{view}:{name}": count for (view, name), count in self._counts.items()}

    @property
    def compared(self) -> int:
        """Cells that could be compared."""
        return sum(count.compared for count in self._counts.values())

    @property
    def unknown(self) -> int:
        """Cells before the store's memory, which nobody can compare."""
        return sum(count.unknown for count in self._counts.values())

    @property
    def differing(self) -> int:
        """Cells that differ."""
        return sum(count.different for count in self._counts.values())

    @property
    def nothing(self) -> int:
        """Compared cells that are null on both sides."""
        return sum(count.nothing for count in self._counts.values())

    @property
    def is_told(self) -> bool:
        """Whether anything was really compared: a cell that has a value on one side at least."""
        return self.compared > self.nothing

    @property
    def ok(self) -> bool:
        """Whether no cell that could be compared differs, and no view failed; `is_told` says whether any cell really was."""
        return not self.differing and not self.failed

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each feature.

        Cells ``compared``, ``unknown``, ``different``, their ``rate`` with its 95 % interval (Wilson), the ``causes`` with
        their counts, and two `distances`: 0 where no cell differs.
        """
        import pandas as pd

        rows = []
        for (view, feature), count in self._counts.items():
            low, high = rate_interval(count.different, count.compared) if count.compared else (np.nan, np.nan)
            apart = self._distances(view, feature) if count.different else Distances(psi=0.0, jensen_shannon=0.0)
            rows.append(
                {
                    "view": view,
                    "feature": feature,
                    "compared": count.compared,
                    "unknown": count.unknown,
                    "different": count.different,
                    "rate": count.different / count.compared if count.compared else np.nan,
                    "rate_low": low,
                    "rate_high": high,
                    "causes": ", ".join(f"{cause} {cells:,}" for cause, cells in _ranked(count.causes)),
                    "psi": apart.psi,
                    "jensen_shannon": apart.jensen_shannon,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def causes(self) -> pd.DataFrame:
        """A row for each cause: its cells, the features it touches, and what to do about it."""
        import pandas as pd

        total: Counter[str] = sum((count.causes for count in self._counts.values()), Counter())
        features = {
            cause: ", ".join(name for (_view, name), count in self._counts.items() if count.causes[cause])
            for cause in total
        }
        return pd.DataFrame(
            [(cause, cells, features[cause], ADVICE[cause]) for cause, cells in _ranked(total)],
            columns=["cause", "cells", "features", "advice"],
        )

    @cached_property
    def shares(self) -> pd.DataFrame:
        """The share of each feature's compared cells that differ, by cause; features where none does are left out."""
        import pandas as pd

        several = len({view for view, _feature in self._counts}) > 1
        rows = {
            f"{view}:{name}" if several else name: {cause: n / count.compared for cause, n in count.causes.items()}
            for (view, name), count in self._counts.items()
            if count.different
        }
        return pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """How far each feature's online distribution lies from the offline one; see `feastra_nb.skew.distances`."""
        import pandas as pd

        rows = [{"view": view, "feature": name, **asdict(self._distances(view, name))} for view, name in self._counts]
        return pd.DataFrame(rows)

    def _distances(self, view: str, feature: str) -> Distances:
        online, offline = Distribution(), Distribution()
        for chunk in self.cells.of_view(view):
            known = chunk.verdicts(feature) != UNKNOWN
            rows = chunk.rows if known.all() else chunk.rows.filter(known)
            parts = [Distribution.of(rows.column(side + feature)) for side in (of_cells.ONLINE, of_cells.OFFLINE)]
            if len({part.kind for part in (online, offline, *parts)} - {None}) > 1:
                return Distances()  # numbers on one side, texts on the other: no distance is defined
            online, offline = online + parts[0], offline + parts[1]
        return distances(online, offline)

    # --- what follows ---

    def check(self, budget: Any) -> BudgetCheck:
        """Compare with a budget; see `feastra_nb.skew.budget`.

        Parameters
        ----------
        budget
            The path of a budget file, what it holds, or one rate for all features.

        Raises
        ------
        ConfigurationError
            It is not a budget, or one of another version.
        """
        from feastra_nb.skew.budget import check

        return check(self, budget)

    def impact(self, predict: Callable[[pd.DataFrame], Any], *, moved: float = 0.05) -> Impact:
        """Say what the differences did to a model's predictions.

        Parameters
        ----------
        predict
            Takes a DataFrame of the features, named and ordered as they were asked for, and returns a prediction a row.
        moved
            Relative change of a prediction that counts; other predictions than numbers count when they change at all.
        """
        from feastra_nb.skew.impact import impact

        return impact(self, predict, moved=moved)

    # --- looks ---

    @property
    def sentence(self) -> str:
        """The report in one sentence."""
        compared, bad, unknown = self.compared, self.differing, self.unknown
        tail = f"; {unknown:,} lie before the store's memory" if unknown else ""
        if not compared:
            return f"No value could be compared ({self.mode}){tail}."
        if not self.is_told:
            return (
                f"Nothing was really compared ({self.mode}): all {compared:,} pairs are null on both sides{tail}. "
                "Do the instants lie after the first events, within the ttl, and are the join keys those of the store?"
            )
        if not bad:
            return f"All {compared:,} values compared ({self.mode}) match{tail}."
        return f"{bad:,} of {compared:,} values compared ({self.mode}) differ ({bad / compared:.2%}){tail}."

    @property
    def caveat(self) -> str:
        """What the report does not show by itself; empty for nothing."""
        late = (
            f"{self.arrived_later:,} online rows arrived after the instant they were needed; "
            'known_at="as_of" counts only what had arrived.'
        )
        ill = f"Could not be compared: {'; '.join(f'{view} ({why})' for view, why in self.failed.items())}."
        left_out = f"Not compared, since they are computed on demand: {', '.join(self.not_compared)}."
        caveats = ((ill, self.failed), (late, self.arrived_later), (left_out, self.not_compared))
        return " ".join(text for text, holds in caveats if holds)

    def plot(self, ax: Axes | None = None, *, kind: str = "causes", feature: str | None = None) -> Axes:
        """Draw the report.

        Parameters
        ----------
        ax
            Where to draw; by default a new figure.
        kind
            ``"causes"``: features against causes, the share of cells in each. ``"lag"``: how old the values were on either
            side. ``"scatter"``: online against offline values of one feature.
        feature
            Which one, for a scatter; by default the one that differs most.
        """
        from feastra_nb.skew.plots import draw_skew

        return draw_skew(self, ax, kind=kind, feature=feature)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds: summary, causes and the cells that differ."""
        return {
            "mode": self.mode,
            "store": self.store,
            "ok": self.ok,
            "sentence": self.sentence,
            "arrived_later": self.arrived_later,
            "not_compared": list(self.not_compared),
            "failed": dict(self.failed),
            "summary": self.summary,
            "causes": self.causes,
            "different": self.different,
        }

    def __repr__(self) -> str:
        shown = self.summary.sort_values("different", ascending=False, kind="stable")
        figures = shown.drop(columns=["rate_low", "rate_high", "psi", "jensen_shannon"]).head(SHOWN_ROWS)
        parts = [self.sentence, figures.to_string(index=False, float_format="{:.2%}".format, max_colwidth=60)]
        if len(shown) > SHOWN_ROWS:
            parts.append(f"… and {len(shown) - SHOWN_ROWS:,} more features")
        parts += [f"{row.cause}: {row.advice}" for row in self.causes.itertuples()]
        return "\n".join([*parts, self.caveat]).rstrip()

    def _repr_html_(self) -> str:
        from feastra_nb.skew.page import skew_page

        return skew_page(self)
