"""The skew report: which values differ between serving and training, and why."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb.errors import UnknownName, close_names
from feastra_nb.reporting.report import Report
from feastra_nb.reporting.words import listed
from feastra_nb.skew import cells as of_cells
from feastra_nb.skew.causes import ADVICE, CODES
from feastra_nb.skew.cells import numbers
from feastra_nb.skew.comparison import UNKNOWN
from feastra_nb.skew.counts import Count, feature_counts, ranked
from feastra_nb.skew.diagnosis import Diagnosis, apart, diagnoses
from feastra_nb.skew.distances import Distances, distances, rate_interval
from feastra_nb.skew.distribution import Distribution
from feastra_nb.skew.frame import cells_frame
from feastra_nb.skew.proofs import Proofs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from feastra_nb.skew.budget import BudgetCheck
    from feastra_nb.skew.cells import Cells
    from feastra_nb.skew.impact import Impact

SHOWN_ROWS = 10  # of the worst cells, on one screen
SHOWN_DIAGNOSES = 8  # likewise
SHOWN_PAIRS = 10_000  # of values, from which a relation between corrected values is read
TEXT_WIDTH = 100  # characters of a line
SERVED = "served"


@dataclass(frozen=True, eq=False, repr=False)
class SkewReport(Report):
    """What a comparison of online and offline found.

    Parameters
    ----------
    cells
        The compared cells, in chunks.
    proofs
        What whole columns and views prove: a factor, a difference or a shift between the sides.
    mode
        ``"now"``, ``"as of"`` or ``"served"``.
    store
        The online store's type.
    project
        The Feast project.
    has_history
        Whether the online store can be asked as of the past.
    arrived_later
        Rows whose online value arrived only after the instant it was needed: a back-loaded history replays better than
        production was; ``known_at="as_of"`` counts only what had arrived.
    not_compared
        On-demand features that were asked for, as ``view:feature``: they are computed when they are read, and only their
        inputs are compared.
    failed
        Of several views those that could not be compared, or only in part, each with the reason.
    notes
        By view, what its online table holds that nobody is served: keys of an old form, features that the view has not.
    """

    cells: Cells
    proofs: Proofs
    mode: str
    store: str = ""
    project: str = ""
    has_history: bool = True
    arrived_later: int = 0
    not_compared: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    # --- cells ---

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cell that was compared.

        The join keys, ``as_of``, ``feature``, ``online``, ``offline``, ``verdict`` (match, mismatch, missing_online,
        missing_offline, unknown), ``cause`` (empty for a match), ``view`` and the evidence: event and created times of both
        sides, when the online row and the offline event arrived online, the ttl's bound, the offline value at the online
        event, the factor or shift of a column, and a note.
        """
        return cells_frame(self.cells, self.proofs, differing=False)

    @cached_property
    def different(self) -> pd.DataFrame:
        """The rows of `frame` that neither match nor are unknown."""
        return cells_frame(self.cells, self.proofs, differing=True)

    def worst(self, n: int = SHOWN_ROWS) -> pd.DataFrame:
        """Return the first n cells that differ, of every cause in turn."""
        some = cells_frame(self.cells, self.proofs, differing=True, each=n)
        turn = some.groupby("cause").cumcount()
        return some.iloc[turn.argsort(kind="stable")].head(n).reset_index(drop=True)

    # --- figures ---

    @cached_property
    def feature_counts(self) -> Mapping[tuple[str, str], Count]:
        """Each feature's cells, by view and feature."""
        return feature_counts(self.cells, self.proofs)

    @property
    def counts(self) -> Mapping[str, Count]:
        """Each feature's cells, by ``view:feature``."""
        return {f"{view}:{name}": count for (view, name), count in self.feature_counts.items()}

    @property
    def by_view(self) -> Mapping[str, tuple[int, int]]:
        """By view, how many cells were compared and how many of them differ."""
        views: dict[str, tuple[int, int]] = {}
        for (view, _feature), count in self.feature_counts.items():
            compared, differing = views.get(view, (0, 0))
            views[view] = (compared + count.compared, differing + count.different)
        return views

    @property
    def compared(self) -> int:
        """Cells that could be compared."""
        return sum(count.compared for count in self.feature_counts.values())

    @property
    def unknown(self) -> int:
        """Cells before the store's memory, which nobody can compare."""
        return sum(count.unknown for count in self.feature_counts.values())

    @property
    def differing(self) -> int:
        """Cells that differ."""
        return sum(count.different for count in self.feature_counts.values())

    @property
    def nothing(self) -> int:
        """Compared cells that are null on both sides."""
        return sum(count.nothing for count in self.feature_counts.values())

    @property
    def is_told(self) -> bool:
        """Whether anything was really compared: a cell that has a value on one side at least."""
        return self.compared > self.nothing

    @property
    def ok(self) -> bool:
        """Whether no cell that could be compared differs, no event times are shifted, and no view failed.

        `is_told` says whether any cell really was compared.
        """
        return not self.differing and not self.failed and not self.proofs.shifts

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each feature.

        Cells ``compared``, ``unknown``, ``different``, their ``rate`` with its 95 % interval (Wilson), the ``causes`` with
        their counts, and two `distances`: 0 where no cell differs.
        """
        import pandas as pd

        rows = []
        for (view, feature), count in self.feature_counts.items():
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
                    "causes": ", ".join(f"{cause} {cells:,}" for cause, cells in count.ranked),
                    "psi": apart.psi,
                    "jensen_shannon": apart.jensen_shannon,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def causes(self) -> pd.DataFrame:
        """A row for each cause: its cells, the features it touches, and what to do about it."""
        import pandas as pd

        total: Counter[str] = sum((Counter(dict(count.ranked)) for count in self.feature_counts.values()), Counter())
        features = {
            cause: ", ".join(name for (_view, name), count in self.feature_counts.items() if cause in count.causes)
            for cause in total
        }
        return pd.DataFrame(
            [(cause, cells, features[cause], ADVICE[cause]) for cause, cells in ranked(total)],
            columns=["cause", "cells", "features", "advice"],
        )

    @cached_property
    def shares(self) -> pd.DataFrame:
        """The share of each feature's compared cells that differ, by cause; features where none does are left out."""
        import pandas as pd

        several = len({view for view, _feature in self.feature_counts}) > 1
        rows = {
            f"{view}:{name}" if several else name: {cause: n / count.compared for cause, n in count.ranked}
            for (view, name), count in self.feature_counts.items()
            if count.different
        }
        return pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """How far each feature's online distribution lies from the offline one; see `feastra_nb.skew.distances`."""
        import pandas as pd

        rows = [
            {"view": view, "feature": name, **asdict(self._distances(view, name))} for view, name in self.feature_counts
        ]
        return pd.DataFrame(rows)

    def _distances(self, view: str, feature: str) -> Distances:
        online, offline = Distribution(), Distribution()
        for chunk in self.cells.of_view(view, feature):
            known = chunk.verdicts(feature) != UNKNOWN
            rows = chunk.rows if known.all() else chunk.rows.filter(known)
            parts = [Distribution.of(rows.column(side + feature)) for side in (of_cells.ONLINE, of_cells.OFFLINE)]
            if len({part.kind for part in (online, offline, *parts)} - {None}) > 1:
                return Distances()  # numbers on one side, texts on the other: no distance is defined
            online, offline = online + parts[0], offline + parts[1]
        return distances(online, offline)

    # --- what is wrong ---

    @cached_property
    def diagnoses(self) -> list[Diagnosis]:
        """What is wrong, cause by cause: an example with both values, and what to do as a line to copy."""
        return diagnoses(self)

    @cached_property
    def examples(self) -> pd.DataFrame:
        """The first cell of each feature and cause that was asked for; ``key`` and ``entity`` say whose it is."""
        return self._named(cells_frame(self.cells, self.proofs, differing=True, each=1))

    def shifted_example(self, view: str) -> Mapping[str, Any] | None:
        """Return the first cell of a view whose event time is shifted; None where none is in memory."""
        for chunk in self.cells.of_view(view):
            if chunk.shift.shift_us and chunk.shift.shift_us == self.proofs.shifts[view].shift_us:
                first = chunk.rows.filter(chunk.rows.column(of_cells.SHIFTED)).slice(0, 1)
                alone = of_cells.Cells()
                alone.add(of_cells.CellChunk(view, chunk.keys, chunk.features[:1], first, chunk.bad.slice(0, 0)))
                cell: dict[Any, Any] = self._named(cells_frame(alone, Proofs(), differing=False)).to_dict("records")[0]
                return {**cell, "feature": "", "cause": "event_time_shift"}
        return None

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame of cells with the entity of each as a dict and in words."""
        import pandas as pd

        names = list(frame.columns[: frame.columns.get_loc("as_of")])
        # A view without an entity has no keys, and pandas then no records.
        rows: list[dict[Any, Any]] = frame[names].to_dict("records") if names else [{}] * len(frame)
        # The key of another view has no value here.
        keys: Any = [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]
        words = [", ".join(f"{name} {value}" for name, value in key.items()) or "the view" for key in keys]
        return frame.assign(key=keys, entity=words, is_now=self.mode == "now")

    def pairs(self, view: str, feature: str, cause: str) -> tuple[pa.Array, pa.Array] | None:
        """Return online and offline values of some cells that differ for a cause; None where there are none."""
        found: list[tuple[pa.Array, pa.Array]] = []
        left = SHOWN_PAIRS
        for chunk in self.cells.of_view(view, feature):
            places = np.flatnonzero(self.proofs.cause_codes(chunk, feature) == CODES[cause])[:left]
            left -= len(places)
            pair = chunk.pairs(feature, places)
            # Values of another type, as a store may hold some, have no relation to the first ones.
            if len(places) and (not found or [side.type for side in pair] == [side.type for side in found[0]]):
                found.append(pair)
        if not found:
            return None
        online, offline = (pa.concat_arrays(side) for side in zip(*found, strict=True))
        return online, offline

    def known(self, feature: str | None) -> tuple[str, str]:
        """Return the view and name of a feature, given by name or as ``view:feature``; of None the one that differs most.

        Raises
        ------
        UnknownName
            The report has no such feature.
        """
        counts = self.feature_counts
        if feature is None:
            return max(counts, key=lambda name: counts[name].different)
        for view, name in counts:
            if feature in (name, f"{view}:{name}"):
                return view, name
        raise UnknownName(
            f"the report has no feature {feature!r}", hint=close_names(feature, [name for _view, name in counts])
        )

    def rows_of(self, view: str) -> int:
        """Return how many rows of a view were compared."""
        return max(count.compared for (name, _feature), count in self.feature_counts.items() if name == view)

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

    def impact(
        self, predict: Callable[[pd.DataFrame], Any], *, moved: float = 0.05, decision: float | None = None
    ) -> Impact:
        """Say what the differences did to a model's predictions.

        Parameters
        ----------
        predict
            Takes a DataFrame of the features, named and ordered as they were asked for, and returns a prediction a row.
        moved
            Relative change of a prediction that counts; other predictions than numbers count when they change at all.
        decision
            The prediction from which on the answer is yes: decisions that flipped are counted. None takes 0.5 for
            probabilities, and nothing for other numbers.
        """
        from feastra_nb.skew.impact import impact

        return impact(self, predict, moved=moved, decision=decision)

    # --- looks ---

    @property
    def side(self) -> str:
        """What the served values are called: ``"online"``, or ``"logged"`` where a log of them was handed in."""
        return "logged" if self.mode == SERVED else "online"

    @property
    def about(self) -> str:
        """What was compared with what, when, and of which project."""
        views = listed([view for view, _features in of_cells.views_of(self.cells)])
        low, high = self._instants
        if low is None:
            return f"{views} of {self.project}"
        when = f"{low:%Y-%m-%d %H:%M} UTC" if low == high else f"{low:%Y-%m-%d %H:%M} to {high:%Y-%m-%d %H:%M} UTC"
        what = {
            "now": f"what is served online now, {when}",
            "as of": f"what was online as of each row's instant, {when}",
            SERVED: f"what was logged as served, {when}",
        }[self.mode]
        return f"{views} of {self.project}: {what}, against the point-in-time join of the offline store."

    @cached_property
    def _instants(self) -> tuple[Any, Any]:
        from feastra_nb.times import instant

        at = [numbers(chunk.rows, of_cells.AS_OF) for chunk in self.cells if chunk.rows.num_rows]
        if not at:
            return None, None
        return instant(min(int(each.min()) for each in at)), instant(max(int(each.max()) for each in at))

    @property
    def sentence(self) -> str:
        """The report in one sentence."""
        compared, bad, unknown = self.compared, self.differing, self.unknown
        why = "could not be read" if self.failed else "lie before the store's memory"
        tail = f"; {unknown:,} {why}" if unknown else ""
        if not compared:
            return f"No value could be compared ({self.mode}){tail}."
        if not self.is_told:
            return (
                f"Nothing was really compared ({self.mode}): all {compared:,} pairs are null on both sides{tail}. "
                "Do the instants lie after the first events, within the ttl, and are the join keys those of the store?"
            )
        shifts = "".join(f"; {apart(shift, self.side)} in {view}" for view, shift in self.proofs.shifts.items())
        if not bad:
            return f"All {compared:,} values compared ({self.mode}) match{shifts.replace(';', ', but', 1)}{tail}."
        return f"{bad:,} of {compared:,} values compared ({self.mode}) differ ({bad / compared:.2%}){shifts}{tail}."

    @property
    def matching(self) -> str:
        """The features that match in all values, in a line; empty for none."""
        several = len({view for view, _feature in self.feature_counts}) > 1
        names = [
            f"{view}:{name}" if several else name
            for (view, name), count in self.feature_counts.items()
            if count.compared and not count.different
        ]
        if not names:
            return ""
        word = "feature matches" if len(names) == 1 else "features match"
        return f"{len(names):,} {word} in all values: {listed(names, SHOWN_ROWS)}."

    @property
    def caveat(self) -> str:
        """What the report does not show by itself; empty for nothing."""
        late = (
            f"{self.arrived_later:,} online rows arrived after the instant they were needed; "
            'known_at="as_of" counts only what had arrived.'
        )
        ill = f"Could not be compared: {'; '.join(f'{view} ({why})' for view, why in self.failed.items())}."
        left_out = f"Not compared, since they are computed on demand: {', '.join(self.not_compared)}."
        aside = "".join(f" In the table of {view}: {'; '.join(notes)}." for view, notes in self.notes.items()).strip()
        caveats = ((ill, self.failed), (late, self.arrived_later), (left_out, self.not_compared), (aside, self.notes))
        return " ".join(text for text, holds in caveats if holds)

    def plot(self, ax: Axes | None = None, *, kind: str = "features", feature: str | None = None) -> Axes:
        """Draw the report.

        Parameters
        ----------
        ax
            Where to draw; by default a new figure.
        kind
            ``"features"``: for each feature that differs a picture that suits its cause, such as served against offline
            values with the line of a factor, or how far the served events lie behind. ``"distributions"``: the values of
            both sides. ``"lag"``: how old the values were on either side. ``"scatter"``: served against offline values.
        feature
            Only this one; by default those that differ most, and for a scatter the one that does.
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
            "notes": {view: list(notes) for view, notes in self.notes.items()},
            "about": self.about,
            "diagnoses": [asdict(diagnosis) for diagnosis in self.diagnoses],
            "summary": self.summary,
            "causes": self.causes,
            "different": self.different,
        }

    def __repr__(self) -> str:
        parts = [self.sentence, _wrapped(self.about)]
        parts += [_wrapped(str(diagnosis)) for diagnosis in self.diagnoses[:SHOWN_DIAGNOSES]]
        if len(self.diagnoses) > SHOWN_DIAGNOSES:
            parts.append(f"… and {len(self.diagnoses) - SHOWN_DIAGNOSES:,} more: report.diagnoses")
        shown = self.summary[self.summary["different"] > 0].sort_values("different", ascending=False, kind="stable")
        if len(shown):
            hidden = ["rate_low", "rate_high", "psi", "jensen_shannon", *([] if self.unknown else ["unknown"])]
            hidden += ["view"] if shown["view"].nunique() == 1 else []
            figures = shown.drop(columns=hidden).head(SHOWN_ROWS)
            parts.append(figures.to_string(index=False, float_format="{:.2%}".format, max_colwidth=40))
        if len(shown) > SHOWN_ROWS:
            parts.append(f"… and {len(shown) - SHOWN_ROWS:,} more features")
        return "\n".join(part for part in [*parts, self.matching, self.caveat] if part)

    def _page(self) -> str:
        from feastra_nb.skew.page import skew_page

        return skew_page(self)


def _wrapped(text: str) -> str:
    """Return lines that fit a screen; code is not broken."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        is_code = line.lstrip().startswith(("ws.", "df[", "fnb."))
        lines += [line] if is_code else textwrap.wrap(line, TEXT_WIDTH, subsequent_indent=indent + "  ")
    return "\n".join(lines)
