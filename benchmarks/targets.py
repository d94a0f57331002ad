"""What we want to reach, as ratios of medians of one run, and what was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.peers import BARE, CASSANDRA, OURS, REDIS, SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.measure import Figure

RATE, P50 = "entities_per_s", "p50_ms"
ONE_VIEW, FIVE_VIEWS = f"{OURS}, one view", f"{OURS}, five views"


@dataclass(frozen=True)
class Target:
    """A bound on our figure, or on its ratio to a peer's.

    Parameters
    ----------
    at_least, aim
        Bounds: a figure that ends in ``_per_s`` is to be at least as great, any other at most.
    over
        Whose figure ours is divided by; None for our figure itself.
    peer
        Whose figure is looked at.
    unit
        What the number is in, where it is no ratio.
    of
        The work that the bounds are meant for, by name and number; less was not measured.
    """

    text: str
    case: str
    metric: str
    at_least: float
    aim: float
    over: str | None = None
    peer: str = OURS
    unit: str = ""
    of: tuple[str, int] | None = None

    @property
    def upwards(self) -> bool:
        """Whether more is better."""
        return self.metric.endswith("_per_s")

    def measured(self, found: Mapping[str, Sequence[Figure]]) -> float | None:
        """Return the number that is compared with the bounds; None where it was not measured."""
        figures = [one for one in found.get(self.case, ()) if one.metric == self.metric]
        if self.of is not None:
            name, least = self.of
            figures = [one for one in figures if one.work.get(name, 0) >= least]
        medians = {one.peer: _typical(one) for one in figures}
        if self.peer not in medians or (self.over is not None and self.over not in medians):
            return None
        return medians[self.peer] / (medians[self.over] if self.over else 1.0)

    def meets(self, value: float, bound: float) -> bool:
        """Tell whether a number is on the right side of a bound."""
        return value >= bound if self.upwards else value <= bound


def _typical(figure: Figure) -> float:
    # An import is as fast as its fastest: everything else that a machine does only adds to it.
    return figure.low if figure.metric.endswith("_s") and not figure.metric.endswith("_per_s") else figure.median


TARGETS = (
    Target("materialize, 10 features, over Feast's Cassandra store", "materialize-10", RATE, 40, 60, CASSANDRA),
    Target("  or: over the bare driver", "materialize-10", RATE, 0.85, 0.85, BARE),
    *(
        Target(f"materialize, {n} features, over Feast's Cassandra store", f"materialize-{n}", RATE, 80, 150, CASSANDRA)
        for n in (50, 200)
    ),
    Target("materialize, 10 features, over Feast into Redis", "materialize-10", RATE, 1.5, 3, REDIS),
    Target("materialize, 10 features, over Feast into SQLite", "materialize-10", RATE, 1.5, 3, SQLITE),
    *(
        Target(f"materialize, {n}, over the bare driver with ready bytes", f"materialize-{n}", RATE, 0.75, 0.9, BARE)
        for n in ("10", "50", "200", "mixed")
    ),
    Target("read 1 entity, against Feast's Cassandra store", "read-1", P50, 0.35, 0.25, CASSANDRA),
    Target("read 100 entities, against Feast's Cassandra store", "read-100", P50, 0.35, 0.2, CASSANDRA),
    Target("read 1 entity, against Feast on Redis", "read-1", P50, 3.5, 2.5, REDIS),
    Target("read 100 entities, against Feast on Redis", "read-100", P50, 2.5, 1.5, REDIS),
    Target("five views, 1 entity, against one view", "five-views", P50, 1.5, 1.2, ONE_VIEW, FIVE_VIEWS),
    Target(
        "ws.online, 10,000 keys of 10 features",
        "online",
        "keys_per_s",
        15_000,
        40_000,
        unit="keys/s",
        of=("keys", 10_000),
    ),
    Target(
        "peak memory, materializing 10,000,000 rows",
        "peak-memory",
        "peak_mb",
        1_200,
        600,
        unit="MB",
        of=("rows", 10**7),
    ),
    Target(
        "skew: cells that are equal, compared in memory",
        "skew-cells",
        "cells_per_s",
        1_000_000,
        10_000_000,
        peer="doubles",
        unit="cells/s",
    ),
    Target("import feastra_nb", "import", "import_s", 0.1, 0.05, unit="s"),
    Target("%load_ext feastra_nb", "import", "load_ext_s", 0.3, 0.15, unit="s"),
)


def reached(found: Mapping[str, Sequence[Figure]]) -> Iterator[dict[str, Any]]:
    """Return, for each target that was measured, the number beside its bounds."""
    for target in TARGETS:
        value = target.measured(found)
        if value is not None:
            yield {
                "target": target.text, "case": target.case, "metric": target.metric, "over": target.over,
                "measured": value, "at_least": target.at_least, "aim": target.aim, "unit": target.unit or "x",
                "more_is_better": target.upwards,
                "verdict": _verdict(target, value),
            }  # fmt: skip


def _verdict(target: Target, value: float) -> str:
    if target.meets(value, target.aim):
        return "aim reached"
    return "met" if target.meets(value, target.at_least) else "missed"
