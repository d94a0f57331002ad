"""Measures what skew did to a model: its predictions from served values against those from training values.

The model scores both aligned feature matrices. Each feature and each cause is then repaired alone in the served matrix; the
predictions that come back are its share.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting.report import Report
from feastra_nb.skew import cells
from feastra_nb.skew.causes import ADVICE, CAUSES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import UNKNOWN

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
    parts
        ``part`` and ``predictions``, in parts that add up to all that moved: what one feature's cells of one cause alone set
        right, what any one of several does, what only several together do.
    predictions
        A row for each prediction: ``online``, ``offline``, ``moved``.
    columns
        What the model was given: name and type of each column, in order.
    threshold
        Relative change that counts as moved.
    decision
        Where a prediction becomes a decision; None where it does not.
    left_out
        Rows that could not be scored.
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    causes: pd.DataFrame
    parts: pd.DataFrame
    predictions: pd.DataFrame
    columns: Mapping[str, str]
    threshold: float
    decision: float | None
    left_out: int

    @property
    def moved(self) -> int:
        """How many predictions moved."""
        return int(self.predictions["moved"].sum())

    @property
    def is_numeric(self) -> bool:
        """Whether predictions are numbers, not classes."""
        return all(self.predictions[side].to_numpy().dtype.kind in "fiu" for side in ("online", "offline"))

    @property
    def flipped(self) -> tuple[int, int]:
        """How many decisions became yes and no that should not have; (0, 0) without a `decision`."""
        if self.decision is None:
            return 0, 0
        served, truth = (self.predictions[side] >= self.decision for side in ("online", "offline"))
        return int((served & ~truth).sum()), int((truth & ~served).sum())

    @property
    def directions(self) -> str:
        """How many predictions are too high and too low, and how many decisions flipped; empty for classes."""
        if not self.is_numeric:
            return ""
        moved = self.predictions[self.predictions["moved"]]
        high = int((moved["online"] > moved["offline"]).sum())
        low = int((moved["online"] < moved["offline"]).sum())
        text = f"{high:,} too high, {low:,} too low"
        if self.decision is None:
            return text
        yes, no = self.flipped
        return f"{text}; at {self.decision:g}, {yes + no:,} decisions flipped ({yes:,} up, {no:,} down)"

    @property
    def sentence(self) -> str:
        """The impact in one sentence, with what to do first."""
        total = len(self.predictions)
        if not self.moved:
            return f"None of {total:,} predictions moved by more than {self.threshold:.0%}."
        text = f"{self.moved:,} of {total:,} predictions moved by more than {self.threshold:.0%}"
        text += f" ({self.directions})" if self.directions else ""
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
        """Draw which repairs set how many predictions right, as parts that add up, and predictions of both sides."""
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
            "parts": self.parts,
            "columns": dict(self.columns),
            "decision": self.decision,
        }

    def __repr__(self) -> str:
        shown = self.frame.drop(columns="advice").head(20).to_string(index=False)
        tail = f"\n{self.left_out:,} rows could not be scored." if self.left_out else ""
        given = textwrap.fill(self.given, TEXT_WIDTH, subsequent_indent="  ")
        return f"{textwrap.fill(self.sentence, TEXT_WIDTH)}\n{shown}\n{given}{tail}"

    @property
    def given(self) -> str:
        """What the model was given, in words."""
        return f"The model was given, in this order: {', '.join(f'{name} {dtype}' for name, dtype in self.columns.items())}."

    def _page(self) -> str:
        from feastra_nb.skew.page import impact_page

        return impact_page(self)


TEXT_WIDTH = 100  # characters of a line
USUAL_DECISION = 0.5  # of probabilities


def impact(
    report: SkewReport, predict: Callable[[pd.DataFrame], Any], *, moved: float, decision: float | None = None
) -> Impact:
    """Score both matrices of a report; see `SkewReport.impact`."""
    import pandas as pd

    sides = matrices(report)
    truth = _predicted(predict, sides.offline)
    served = _predicted(predict, sides.online)
    changed = _moved(served, truth, moved)
    repair = _Repair(predict, sides, truth, changed, moved)
    pairs = [(name, code) for name, codes in sides.causes.items() for code in np.unique(codes[codes != 0])]
    alone = {(name, CAUSES[code]): repair({name: sides.causes[name] == code}) for name, code in pairs}
    together = {
        CAUSES[code]: repair({name: codes == code for name, codes in sides.causes.items()})
        for code in sorted({code for _name, code in pairs})
    }
    of_features = {name: repair({name: codes != 0}) for name, codes in sides.causes.items() if codes.any()}
    frame = _ranked([(*name, cells, int(right.sum())) for name, (cells, right) in alone.items()])
    by_feature = [(name, cells, int(right.sum())) for name, (cells, right) in of_features.items()]
    by_cause = [(cause, cells, int(right.sum())) for cause, (cells, right) in together.items()]
    return Impact(
        frame=frame.assign(advice=frame["cause"].map(ADVICE)),
        features=_ranked(by_feature, ["feature"]),
        causes=_ranked(by_cause, ["cause"]),
        parts=_parts(
            changed, {name: right for name, (_, right) in alone.items()}, {c: r for c, (_, r) in together.items()}
        ),
        predictions=pd.DataFrame({"online": served, "offline": truth, "moved": changed}),
        columns={str(name): str(dtype) for name, dtype in sides.online.dtypes.items()},
        threshold=moved,
        decision=_decision(decision, served, truth),
        left_out=sides.left_out,
    )


def _parts(changed: Bools, alone: Mapping[tuple[str, str], Bools], together: Mapping[str, Bools]) -> pd.DataFrame:
    """Return which repair sets how many predictions right, each prediction counted once."""
    import pandas as pd

    count = sum((right.astype(np.int64) for right in alone.values()), np.zeros(len(changed), dtype=np.int64))
    of_one = {
        f"{feature}: {cause.replace('_', ' ')}": int((right & (count == 1)).sum())
        for (feature, cause), right in alone.items()
    }
    parts = sorted(of_one.items(), key=lambda part: -part[1])
    parts.append(("any one of several", int((changed & (count > 1)).sum())))
    rest = changed & (count == 0)
    for cause, right in together.items():
        parts.append((f"{cause.replace('_', ' ')}, features only together", int((rest & right).sum())))
        rest &= ~right
    parts.append(("causes only together", int(rest.sum())))
    return pd.DataFrame([part for part in parts if part[1]], columns=["part", "predictions"])


def _decision(decision: float | None, served: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float | None:
    """Return where a prediction becomes a decision: what was named, or the middle of probabilities."""
    both = (served, truth)
    if any(side.dtype.kind not in "fiu" for side in both):
        if decision is not None:
            raise ConfigurationError(
                f"decision={decision!r} needs numbers, and the model returned classes",
                hint="predict may return probabilities: lambda X: model.predict_proba(X)[:, 1]",
            )
        return None
    if decision is not None:
        return float(decision)
    known = np.concatenate([side.astype(np.float64) for side in both])
    known = known[np.isfinite(known)]
    return USUAL_DECISION if len(known) and known.min() >= 0 and known.max() <= 1 else None


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

    def __call__(self, where: Mapping[str, Bools]) -> tuple[int, Bools]:
        """Return how many cells were repaired, and which predictions are right by that, shape (n,)."""
        rows = np.flatnonzero(np.logical_or.reduce(list(where.values())))
        repaired = self._sides.online.iloc[rows].copy()
        for name, mask in where.items():
            repaired[name] = repaired[name].mask(mask[rows], self._sides.offline[name].iloc[rows])
        count = sum(int(mask.sum()) for mask in where.values())
        right = np.zeros(len(self._changed), dtype=bool)
        if len(rows):
            again = _moved(_predicted(self._predict, repaired), self._truth[rows], self._moved)
            right[rows] = self._changed[rows] & ~again
        return count, right


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

    chunks = list(report.cells.of_view(view, name))
    order = report.cells.order(view, name)
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
        of_rows[numbers(chunk.bad, cells.AT)] = report.proofs.cause_codes(chunk, name)
        codes.append(of_rows)
    unknown = np.concatenate([chunk.verdicts(name) for chunk in chunks]) == UNKNOWN
    return sides[0], sides[1], np.concatenate(codes)[order], unknown[order]


__all__ = ["Impact", "Matrices", "impact", "matrices"]
