"""`ws.capacity`: the highest rate of requests at which an objective still holds, found by trying."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.connection.astra import billing
from feastra_nb.errors import ConfigurationError
from feastra_nb.latency.environment import environment, server
from feastra_nb.latency.opened_targets import open_target
from feastra_nb.latency.request_keys import UNIFORM, batches
from feastra_nb.latency.runner import Load, asked_entities, check_enough, check_sizes
from feastra_nb.latency.tables import SATURATED_BELOW
from feastra_nb.reporting.progress import line
from feastra_nb.reporting.report import Report
from feastra_nb.retrieval.request import requested

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes

    from feastra_nb.latency.recording import Recording
    from feastra_nb.latency.targets import Target
    from feastra_nb.stores import Stores

SAMPLES = 1_050  # of one try: ten lie beyond the p99, with a margin
LONGEST_TRY_S = 60.0
LOWEST_RATE = SAMPLES / LONGEST_TRY_S  # requests a second: below, no p99 is known in time
PRECISION = 1.15  # the search ends when the lowest rate that failed is at most so many times the highest that held
MOST_RATES = 16
TRIES = 2  # a rate is too high when it failed twice: once may be a neighbour's fault
FAILURES_ALLOWED = 0.01  # a failed request is longer than any objective, and one in a hundred may be longer
OBJECTIVES_WAITED = (
    10.0  # a request that waits so many objectives is given up: it does not matter any more how late it is
)


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Capacity(Report):
    """The highest rate that holds an objective, and all that were tried.

    Parameters
    ----------
    rate
        Requests a second; 0 where none of those tried held the objective.
    p99_ms
        The objective: the response time of 99 % of the requests, in milliseconds.
    frame
        A row per try: ``asked_rate``, ``reached_rate``, ``n``, ``errors``, ``p50_ms``, ``p99_ms``, ``max_ms``, ``held``.
    environment
        On what it was measured: machine, versions, store.
    """

    rate: float
    p99_ms: float
    frame: pd.DataFrame
    environment: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.frame.empty:
            return "Nothing was answered."
        if not self.rate:
            return f"No rate that was tried keeps the p99 within {self.p99_ms:g} ms."
        higher = self.frame.loc[self.frame["asked_rate"] > self.rate, "asked_rate"]
        beyond = f"; {higher.min():,.0f} do not" if len(higher) else "; higher rates were not tried"
        return f"{self.rate:,.0f} requests a second keep the p99 within {self.p99_ms:g} ms{beyond}."

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the p99 of each rate, and the objective; returns the Axes."""
        from feastra_nb.latency import capacity_plots

        return capacity_plots.draw(self, ax)

    def to_dict(self) -> dict[str, object]:
        """Return everything measured as plain data."""
        return {
            "rate": self.rate,
            "p99_ms": self.p99_ms,
            "environment": dict(self.environment),
            "frame": self.frame,
        }

    def __repr__(self) -> str:
        rows = self.frame.to_string(index=False, na_rep="-", float_format="{:,.2f}".format, max_rows=40)
        return f"{self.sentence}\n{rows}"

    def _page(self) -> str:
        from feastra_nb.latency.page import capacity_page

        return capacity_page(self)


def capacity(
    stores: Stores,
    features: Any,
    entities: Any,
    *,
    p99_ms: float,
    batch: int,
    seconds: float,
    consistency: str | None,
    target: str,
    keys: str | None,
    progress: bool,
    yes: bool,
) -> Capacity:
    """Try rates until the highest that holds the objective is known to 15 %; Ctrl-C returns what is known until then.

    Raises
    ------
    ConfigurationError
        A number makes no sense, or there are no entities.
    """
    if not p99_ms > 0:
        raise ConfigurationError(f"p99_ms={p99_ms!r} is not an objective", hint="give milliseconds, above 0")
    load = Load(seconds=seconds, warmup_s=0.5)
    load.check()
    check_sizes([batch])
    request = requested(stores.feast, features, full_feature_names=True)
    billing.agree(stores.feast.config.online_store, "finding the capacity", reads=None, yes=yes)
    table = asked_entities(stores, entities, request)
    check_enough([batch], table.num_rows)
    picked = batches(table.num_rows, batch, pick=keys or UNIFORM)
    with closing(open_target(stores, target, features, consistency)) as opened, line(shown=progress) as say:
        trial = _Trial(opened, opened.reader(table, picked), load, p99_ms, say)
        first = trial.first_rate()
        rate = highest_rate(trial.holds, first) if first else 0.0
        about = {"target": opened.name, "consistency": opened.consistency, "batch": str(batch)}
    return Capacity(rate, p99_ms, trial.frame(), environment(**server(stores), **about))


def highest_rate(holds: Callable[[float], bool | None], first: float) -> float:
    """Return the highest rate that holds, to 15 %: doubled or halved until one held and one did not, then bisected.

    Parameters
    ----------
    holds
        Whether a rate holds; None ends the search.
    first
        The rate to begin with, in requests a second.

    Examples
    --------
    >>> 870 < highest_rate(lambda rate: rate <= 1_000, 100) <= 1_000
    True
    >>> highest_rate(lambda rate: False, 100)
    0.0
    """
    low, high, rate = 0.0, math.inf, max(first, LOWEST_RATE)
    for _ in range(MOST_RATES):
        held = holds(rate)
        if held is None:
            break
        low, high = (rate, high) if held else (low, rate)
        if high <= max(low * PRECISION, LOWEST_RATE):
            break
        rate = low * 2 if math.isinf(high) else max(high / 2, LOWEST_RATE) if not low else math.sqrt(low * high)
    return low


class _Trial:
    """Tries rates on one target, and keeps what came of it."""

    def __init__(
        self, target: Target, call: Callable[[int], object], load: Load, p99_ms: float, say: Callable[[str], object]
    ) -> None:
        self._call = call
        self._load = load
        self._p99_ms = p99_ms
        self._timeout_s = min(target.timeout_s, max(1.0, OBJECTIVES_WAITED * p99_ms / 1_000))
        self._say = say
        self._rows: list[tuple[object, ...]] = []

    def first_rate(self) -> float:
        """Return half the rate of a single caller; 0 where it is not answered, or after Ctrl-C."""
        alone = replace(self._load, seconds=1.0).run(self._call, timeout_s=self._timeout_s)["service"]
        return alone.answered_per_s / 2 if alone.answered_per_s > 0 and not alone.interrupted else 0.0

    def holds(self, rate: float) -> bool | None:
        """Send requests at a rate; tell whether the objective holds, None after Ctrl-C."""
        for _ in range(TRIES):
            seconds = min(max(self._load.seconds, SAMPLES / rate), LONGEST_TRY_S)
            response = replace(self._load, rate=rate, seconds=seconds).run(self._call, timeout_s=self._timeout_s)[
                "response"
            ]
            if response.interrupted:
                return None
            held = self._judge(response, rate)
            self._keep(response, rate, held=held)
            if held:
                return True
        return False

    def _judge(self, response: Recording, rate: float) -> bool:
        return (
            response.percentile_ms(99) <= self._p99_ms
            and response.failures <= FAILURES_ALLOWED * response.requests
            and response.answered_per_s >= SATURATED_BELOW * rate
        )

    def _keep(self, response: Recording, rate: float, *, held: bool) -> None:
        p50_ms, p99_ms = response.percentiles_ms([50, 99])
        reached = response.answered_per_s
        self._rows.append((rate, reached, response.n, response.failures, p50_ms, p99_ms, response.max_us / 1_000, held))
        self._say(f"{rate:,.0f} requests/s: p99 {p99_ms:.2f} ms, {'held' if held else 'missed'}")

    def frame(self) -> pd.DataFrame:
        """Return what was tried, by rate."""
        columns = ["asked_rate", "reached_rate", "n", "errors", "p50_ms", "p99_ms", "max_ms", "held"]
        types = {**dict.fromkeys(columns, "float64"), "n": "int64", "errors": "int64", "held": "bool"}
        frame: pd.DataFrame = pd.DataFrame(self._rows, columns=columns).astype(types)
        return frame.sort_values("asked_rate", ignore_index=True)
