"""The skew report: which values differ between serving and training, and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feastra_nb.skew.causes import ADVICE
from feastra_nb.skew.comparison import MATCH, UNKNOWN

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

SHOWN_ROWS = 10  # of the worst cells, on one screen


@dataclass(frozen=True, eq=False, repr=False)
class SkewReport:
    """What a comparison of online and offline found.

    Parameters
    ----------
    frame
        A row for each cell that was compared: the join keys, ``as_of``, ``feature``, ``online``, ``offline``, ``verdict``
        (match, mismatch, missing_online, missing_offline, unknown), ``cause`` (empty for a match), and the evidence: ``view``,
        event, created and arrival times of both sides, ``note``.
    mode
        ``"now"`` or ``"as of"``.
    arrived_later
        Rows whose online value arrived only after the instant it was needed: a back-loaded history replays better than
        production was; ``known_at="as_of"`` counts only what had arrived.
    """

    frame: pd.DataFrame
    mode: str
    arrived_later: int = 0

    @property
    def ok(self) -> bool:
        """Whether every cell that could be compared matches."""
        return bool(self.frame["verdict"].isin([MATCH, UNKNOWN]).all())

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each feature: cells compared, unknown, different, their rate, and the causes with their counts."""
        import pandas as pd

        rows = []
        for (view, feature), cells in self.frame.groupby(["view", "feature"], sort=False):
            compared = int((cells["verdict"] != UNKNOWN).sum())
            bad = cells[~cells["verdict"].isin([MATCH, UNKNOWN])]
            rows.append(
                {
                    "view": view,
                    "feature": feature,
                    "compared": compared,
                    "unknown": len(cells) - compared,
                    "different": len(bad),
                    "rate": len(bad) / compared if compared else float("nan"),
                    "causes": ", ".join(f"{cause} {count:,}" for cause, count in bad["cause"].value_counts().items()),
                }
            )
        names = ["view", "feature", "compared", "unknown", "different", "rate", "causes"]
        return pd.DataFrame(rows, columns=names)

    @cached_property
    def causes(self) -> pd.DataFrame:
        """A row for each cause: cells, rows' features it touches, and what to do about it."""
        import pandas as pd

        bad = self.frame[~self.frame["verdict"].isin([MATCH, UNKNOWN])]
        counts = bad["cause"].value_counts()
        features = bad.groupby("cause")["feature"].agg(lambda names: ", ".join(dict.fromkeys(names)))
        return pd.DataFrame(
            [(cause, count, features[cause], ADVICE[str(cause)]) for cause, count in counts.items()],
            columns=["cause", "cells", "features", "advice"],
        )

    def worst(self, n: int = SHOWN_ROWS) -> pd.DataFrame:
        """Return the first n cells that differ, of every cause in turn."""
        bad = self.frame[~self.frame["verdict"].isin([MATCH, UNKNOWN])]
        turn = bad.groupby("cause").cumcount()
        return bad.iloc[turn.argsort(kind="stable")].head(n).reset_index(drop=True)

    @property
    def sentence(self) -> str:
        """The report in one sentence."""
        compared = int((self.frame["verdict"] != UNKNOWN).sum())
        bad = int((~self.frame["verdict"].isin([MATCH, UNKNOWN])).sum())
        unknown = len(self.frame) - compared
        tail = f"; {unknown:,} lie before the store's memory" if unknown else ""
        if not compared:
            return f"No value could be compared ({self.mode}){tail}."
        if not bad:
            return f"All {compared:,} values compared ({self.mode}) match{tail}."
        return f"{bad:,} of {compared:,} values compared ({self.mode}) differ ({bad / compared:.2%}){tail}."

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw features against causes, the share of cells in each."""
        from feastra_nb.notebook.skew_plots import draw_skew

        return draw_skew(self, ax)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as ``.html``, ``.json``, ``.parquet`` or ``.png``, and return the path."""
        from feastra_nb.notebook.saving import save_report

        return save_report(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds: summary, causes and the cells that differ."""
        bad = self.frame[~self.frame["verdict"].isin([MATCH, UNKNOWN])]
        return {
            "mode": self.mode,
            "ok": self.ok,
            "sentence": self.sentence,
            "arrived_later": self.arrived_later,
            "summary": self.summary,
            "causes": self.causes,
            "different": bad,
        }

    @property
    def _caveat(self) -> str:
        return (
            f"{self.arrived_later:,} online rows arrived after the instant they were needed; "
            'known_at="as_of" counts only what had arrived.'
            if self.arrived_later
            else ""
        )

    def __repr__(self) -> str:
        parts = [self.sentence, self.summary.to_string(index=False, float_format="{:.2%}".format, max_colwidth=60)]
        parts += [f"{row.cause}: {row.advice}" for row in self.causes.itertuples()]
        return "\n".join([*parts, self._caveat]).rstrip()

    def _repr_html_(self) -> str:
        from feastra_nb.notebook.skew_html import skew_page

        return skew_page(self)
