"""What we want to reach, as ratios of medians of one run, and what was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.peers import CASSANDRA, OURS, OURS_BY_DRIVER, REDIS, SQLITE
from benchmarks.ready import BARE
from benchmarks.scanning import ONE_BY_ONE, SCAN
from benchmarks.wire_peer import WIRE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.measure import Figure

RATE, REQUESTS, P50, P99 = "entities_per_s", "requests_per_s", "p50_ms", "p99_ms"
ONE_VIEW, FIVE_VIEWS, REDIS_FIVE_VIEWS = f"{OURS}, one view", f"{OURS}, five views", f"{REDIS}, five views"


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
    only
        Likewise, and no other number is looked at.
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
    only: tuple[str, int] | None = None

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
        if self.only is not None:
            name, number = self.only
            figures = [one for one in figures if one.work.get(name) == number]
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


def _read(
    entities: int, over: str, at_least: float, aim: float, *, metric: str = P50, text: str = "read {}, p50"
) -> Target:
    noun = "1 entity" if entities == 1 else f"{entities:,} entities"
    return Target(f"{text.format(noun)}, over {NAMES[over]}", f"read-{entities}", metric, at_least, aim, over)


def _materialize(features: int | str, over: str, at_least: float, aim: float) -> Target:
    text = f"materialize, {features} features, over {NAMES[over]}"
    return Target(text, f"materialize-{features}", RATE, at_least, aim, over)


NAMES = {
    CASSANDRA: "Feast's Cassandra store", REDIS: "Feast on Redis", SQLITE: "Feast on SQLite", WIRE: "the wire",
    BARE: "the bare driver",
}  # fmt: skip
AT_16_THREADS = ("threads", 16)
TARGETS = (
    _read(1, CASSANDRA, 0.5, 0.4),
    _read(1, REDIS, 1.7, 1.4),
    _read(1, REDIS, 1.2, 0.7, metric=P99, text="read {}, p99"),
    _read(10, REDIS, 1.4, 1.0),
    _read(100, CASSANDRA, 0.1, 0.07),
    _read(100, REDIS, 0.8, 0.5),
    _read(1_000, REDIS, 0.4, 0.25),
    Target("five views, 1 entity, over one view", "five-views", P50, 1.7, 1.3, ONE_VIEW, FIVE_VIEWS),
    Target("five views, 1 entity, over Redis's five", "five-views", P50, 1.1, 0.7, REDIS_FIVE_VIEWS, FIVE_VIEWS),
    Target("bare read of 1 entity, over the wire", "bare-1", P50, 1.35, 1.2, WIRE),
    Target("bare read of 100 entities, over the wire", "bare-100", P50, 1.5, 1.3, WIRE),
    Target("16 threads: bare reads, over the driver's", "threads-bare", REQUESTS, 2.2, 3, BARE, only=AT_16_THREADS),
    Target(
        "16 threads: get_online_features, over direct off", "threads-features", REQUESTS, 1.25, 1.6, OURS_BY_DRIVER,
        only=AT_16_THREADS,
    ),
    _materialize(10, CASSANDRA, 130, 180),
    _materialize(10, REDIS, 4.5, 6),
    _materialize(10, SQLITE, 1.5, 3),
    _materialize(10, WIRE, 0.7, 0.85),
    _materialize(50, WIRE, 0.6, 0.8),
    _materialize(200, WIRE, 0.6, 0.8),
    _materialize(50, CASSANDRA, 80, 150),
    _materialize(200, CASSANDRA, 80, 150),
    _materialize("mixed", BARE, 0.75, 0.9),
    Target(
        "ws.online, 10,000 keys of 10 features", "online", "keys_per_s", 90_000, 150_000, unit="keys/s", of=("keys", 10_000)
    ),
    Target("ws.online, 1 entity, p50", "online", P50, 1.5, 1.0, unit="ms"),
    Target(
        "peak memory, materializing 10,000,000 rows", "peak-memory", "peak_mb", 700, 500, unit="MB", of=("rows", 10**7)
    ),
    Target(
        "skew: cells that are equal, compared in memory", "skew-cells", "cells_per_s", 1_000_000, 10_000_000,
        peer="doubles", unit="cells/s",
    ),
    Target(
        "skew of a whole view, by a scan", "skew-scan", "cells_per_s", 1_000_000, 2_500_000, peer=SCAN, unit="cells/s",
        of=("entities", 50_000),
    ),
    Target(
        "skew of a whole view on Feast's Cassandra store, over entity by entity", "skew-scan-feast", "cells_per_s", 10, 30,
        ONE_BY_ONE, SCAN,
    ),
    *(
        Target(
            f"memory of that scan beyond what was held before, {store}", "skew-memory", "extra_mb", 500, 250, peer=store,
            unit="MB", of=("entities", 50_000),
        )
        for store in (OURS, CASSANDRA)
    ),
    Target("import feastra_nb", "import", "import_s", 0.1, 0.05, unit="s"),
    Target("%load_ext feastra_nb", "import", "load_ext_s", 0.3, 0.15, unit="s"),
)  # fmt: skip


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
