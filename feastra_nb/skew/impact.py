"""Measures what skew did to a model: its predictions from served values against those from training values.

The model scores both aligned feature matrices. Each feature and each cause is then repaired alone in the served matrix; the
predictions that come back are its share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting.report import Report
from feastra_nb.skew import cells
from feastra_nb.skew.causes import ADVICE, CAUSES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import UNKNOWN
from feastra_nb.skew.frame import cause_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.report import SkewReport

    Bools = npt.NDArray[np.bool_]
    Int8s = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """Aligned feature matrices of n rows.

    Parameters
    ----------
    online, offline
        Shape (n, features).
    causes
        By feature, shape (n,): the cause's code where a value differs, else 0.
    left_out
        Rows that the online store could not replay, or that not every view has.
    """

    online: pd.DataFrame
    offline: pd.DataFrame
    causes: Mapping[str, Int8s]
    left_out: int


@dataclass(frozen=True, eq=False, repr=False)
class Impact(Report):
    """What the differences did to a model's predictions.

    Parameters
    ----------
    frame
        A row for each feature and cause, most moved first: ``feature``, ``cause``, ``cells``, ``repaired`` (predictions that
        are right again when these cells alone are), ``advice``.
    features, causes
        The same, by feature and by cause.
    predictions
        A row for each prediction: ``online``, ``offline``, ``moved``.
    threshold
        Relative change that counts as moved.
    left_out
        Rows that could not be scored.
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    causes: pd.DataFrame
    predictions: pd.DataFrame
    threshold: float
    left_out: int

    @property
    def moved(self) -> int:
        """How many predictions moved."""
        return int(self.predictions["moved"].sum())

    @property
    def sentence(self) -> str:
        """The impact in one sentence, with what to do first."""
        total = len(self.predictions)
        if not self.moved:
            return f"None of {total:,} predictions moved by more than {self.threshold:.0%}."
        text = f"{self.moved:,} of {total:,} predictions moved by more than {self.threshold:.0%}"
        first, cause = self.frame.iloc[0], self.causes.iloc[0]
        if not cause["repaired"]:
            return f"{text}, none of them because of one cause alone."
        if cause["repaired"] > first["repaired"]:
            features = ", ".join(self.frame.loc[self.frame["cause"] == cause["cause"], "feature"].head(3))
            because = f"{features} together ({cause['cause']})"
        else:
            because = f"{first['feature']} ({first['cause']})"
        return f"{text}, {cause['repaired']:,} of them because of {because}: {ADVICE[cause['cause']]}."

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many predictions each feature and cause moved."""
        from feastra_nb.skew.plots import draw_impact

        return draw_impact(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        return {
            "sentence": self.sentence,
            "threshold": self.threshold,
            "left_out": self.left_out,
            "by_feature_and_cause": self.frame,
            "by_feature": self.features,
            "by_cause": self.causes,
        }

    def __repr__(self) -> str:
        shown = self.frame.drop(columns="advice").head(20).to_string(index=False)
        tail = f"\n{self.left_out:,} rows could not be scored." if self.left_out else ""
        return f"{self.sentence}\n{shown}{tail}"

    def _repr_html_(self) -> str:
        from feastra_nb.skew.page import impact_page

        return impact_page(self)


def impact(report: SkewReport, predict: Callable[[pd.DataFrame], Any], *, moved: float) -> Impact:
    """Score both matrices of a report; see `SkewReport.impact`."""
    import pandas as pd

    sides = matrices(report)
    truth = _predicted(predict, sides.offline)
    served = _predicted(predict, sides.online)
    changed = _moved(served, truth, moved)
    repair = _Repair(predict, sides, truth, changed, moved)
    pairs = [(name, code) for name, codes in sides.causes.items() for code in np.unique(codes[codes != 0])]
    frame = _ranked([(name, CAUSES[code], *repair({name: sides.causes[name] == code})) for name, code in pairs])
    by_feature = [(name, *repair({name: codes != 0})) for name, codes in sides.causes.items() if codes.any()]
    by_cause = [
        (CAUSES[code], *repair({name: codes == code for name, codes in sides.causes.items()}))
        for code in sorted({code for _name, code in pairs})
    ]
    return Impact(
        frame=frame.assign(advice=frame["cause"].map(ADVICE)),
        features=_ranked(by_feature, ["feature"]),
        causes=_ranked(by_cause, ["cause"]),
        predictions=pd.DataFrame({"online": served, "offline": truth, "moved": changed}),
        threshold=moved,
        left_out=sides.left_out,
    )


def _ranked(rows: list[tuple[Any, ...]], names: list[str] | None = None) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=[*(names or ["feature", "cause"]), "cells", "repaired"])
    return frame.sort_values(["repaired", "cells"], ascending=False, kind="stable", ignore_index=True)


class _Repair:
    """Puts the offline values into some cells of the served matrix, and counts the predictions that are right again."""

    def __init__(self, predict: Any, sides: Matrices, truth: Any, changed: Bools, moved: float) -> None:
        self._predict = predict
        self._sides = sides
        self._truth = truth
        self._changed = changed
        self._moved = moved

    def __call__(self, where: Mapping[str, Bools]) -> tuple[int, int]:
        """Return how many cells were repaired, and how many predictions by that."""
        rows = np.flatnonzero(np.logical_or.reduce(list(where.values())))
        repaired = self._sides.online.iloc[rows].copy()
        for name, mask in where.items():
            repaired[name] = repaired[name].mask(mask[rows], self._sides.offline[name].iloc[rows])
        count = sum(int(mask.sum()) for mask in where.values())
        if not len(rows):
            return count, 0
        again = _moved(_predicted(self._predict, repaired), self._truth[rows], self._moved)
        return count, int((self._changed[rows] & ~again).sum())


def _predicted(predict: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> npt.NDArray[Any]:
    if not len(frame):
        return np.zeros(0)
    predictions = np.asarray(predict(frame))
    if predictions.ndim == 2 and predictions.shape[1] == 1:  # noqa: PLR2004 - a column of predictions is a row of them
        predictions = predictions[:, 0]
    if predictions.shape != (len(frame),):
        raise ConfigurationError(
            f"the model returned predictions of shape {predictions.shape} for {len(frame):,} rows",
            hint="predict takes a DataFrame and returns one prediction a row: lambda X: model.predict_proba(X)[:, 1]",
        )
    return predictions


def _moved(served: npt.NDArray[Any], truth: npt.NDArray[Any], threshold: float) -> Bools:
    """Return which predictions moved by more than a share of their offline value; of other kinds, which changed at all.

    Examples
    --------
    >>> _moved(np.array([1.0, 1.1, 0.0]), np.array([1.0, 1.0, 0.0]), 0.05)
    array([False,  True, False])
    """
    if truth.dtype.kind not in "fiu":
        return np.asarray(served != truth, dtype=bool)
    before, other = served.astype(np.float64), truth.astype(np.float64)
    missing = np.isnan(before) | np.isnan(other)
    far = np.abs(before - other) > threshold * np.abs(other)
    return np.where(missing, np.isnan(before) != np.isnan(other), far)


def matrices(report: SkewReport) -> Matrices:
    """Return both sides of a report, a row for each row of what was asked.

    Raises
    ------
    ConfigurationError
        Views were compared now: their rows have nothing in common. Or two of them have a feature of one name.
    """
    import pandas as pd

    views = cells.views_of(report.cells)
    if report.mode == "now" and len(views) > 1:
        raise ConfigurationError(
            "compared now, each view has rows of its own, and a model needs one matrix",
            hint="pass spine= or served= to ws.skew: its rows join the views",
        )
    names = [name for _view, features in views for name in features]
    titles = {
        (view, name): f"{view}__{name}" if names.count(name) > 1 else name
        for view, features in views
        for name in features
    }
    online, offline, causes, unknown = {}, {}, {}, np.zeros(0, dtype=bool)
    for (view, name), title in titles.items():
        online[title], offline[title], causes[title], gone = _columns(report, view, name)
        unknown = gone if not len(unknown) else unknown | gone
    keep = ~unknown
    return Matrices(
        online=pd.DataFrame(online)[keep].reset_index(drop=True),
        offline=pd.DataFrame(offline)[keep].reset_index(drop=True),
        causes={title: codes[keep] for title, codes in causes.items()},
        left_out=int(unknown.sum()),
    )


def _columns(report: SkewReport, view: str, name: str) -> tuple[Any, Any, Int8s, Bools]:
    """Return a feature's online and offline values, causes, and which rows are unknown, in the order of what was asked."""
    import pyarrow as pa

    chunks = list(report.cells.of_view(view))
    order = np.argsort(np.concatenate([numbers(chunk.rows, cells.ROW) for chunk in chunks]))
    sides = [
        pa.concat_tables(
            [pa.table({"v": chunk.rows.column(side + name)}) for chunk in chunks], promote_options="permissive"
        )
        .column("v")
        .take(pa.array(order))
        .to_pandas()
        for side in (cells.ONLINE, cells.OFFLINE)
    ]
    codes = []
    for chunk in chunks:
        of_rows = np.zeros(chunk.rows.num_rows, dtype=np.int8)
        of_rows[numbers(chunk.bad, cells.AT)] = cause_codes(chunk, name, report.rules)
        codes.append(of_rows)
    unknown = np.concatenate([chunk.verdicts(name) for chunk in chunks]) == UNKNOWN
    return sides[0], sides[1], np.concatenate(codes)[order], unknown[order]


__all__ = ["Impact", "Matrices", "impact", "matrices"]
