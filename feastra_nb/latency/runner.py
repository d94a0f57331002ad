"""`ws.latency`: a load on every combination of target, consistency level and batch size, one after another."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import partial
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID

from feastra_nb.connection.astra import billing
from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.latency.arrivals import CONSTANT, NS_PER_S, schedule
from feastra_nb.latency.closed_loop import check_durations, closed_loop
from feastra_nb.latency.cost import latency_reads, with_default_rate
from feastra_nb.latency.environment import environment, server
from feastra_nb.latency.open_loop import open_loop
from feastra_nb.latency.opened_targets import open_target
from feastra_nb.latency.report import summarize
from feastra_nb.latency.request_keys import SAMPLED_KEYS, UNIFORM, batches, sampled
from feastra_nb.latency.tables import Measured
from feastra_nb.reporting.progress import line
from feastra_nb.retrieval.entities import Entities, array_of, entity_table
from feastra_nb.retrieval.request import requested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from feastra_nb.latency.recording import Recording
    from feastra_nb.latency.report import LatencyReport
    from feastra_nb.latency.tables import Kind
    from feastra_nb.latency.targets import Target
    from feastra_nb.retrieval.request import Request, Requested
    from feastra_nb.stores import Stores

FRAME_PART = "to_df"  # part that comes on top of the service time: an answer made a DataFrame


@dataclass(frozen=True, slots=True)
class Load:
    """How requests are sent.

    Parameters
    ----------
    rate
        Requests a second of an open loop; None for a closed one.
    arrivals
        ``"constant"`` or ``"poisson"``.
    concurrency
        Callers of a closed loop.
    seconds, warmup_s
        How long each setting is measured, and how long it is called before.
    """

    rate: float | None = None
    arrivals: str = CONSTANT
    concurrency: int = 1
    seconds: float = 10.0
    warmup_s: float = 1.0

    def check(self) -> None:
        """Refuse what makes no sense, before anything is opened."""
        check_durations(seconds=self.seconds, warmup_s=self.warmup_s, timeout_s=1.0)
        if self.rate is None:
            return
        schedule(self.rate, self.seconds, process=self.arrivals)
        if self.concurrency != 1:
            raise ConfigurationError(
                f"rate={self.rate:g} with concurrency={self.concurrency}: at a rate there are as many callers as it takes",
                hint="pass one of the two",
            )

    def run(
        self, call: Callable[[int], object], *, timeout_s: float, on_progress: Callable[[Recording], None] | None = None
    ) -> dict[Kind, Recording]:
        """Send the requests; return the recordings by kind."""
        if self.rate is None:
            recording = closed_loop(
                call, seconds=self.seconds, warmup_s=self.warmup_s, concurrency=self.concurrency, timeout_s=timeout_s,
                on_progress=on_progress,
            )  # fmt: skip
            return {"service": recording}
        paced = open_loop(
            call, self._arrivals_ns(self.rate), seconds=self.seconds, warmup_s=self.warmup_s, timeout_s=timeout_s,
            on_progress=on_progress,
        )  # fmt: skip
        return {"response": paced.response, "service": paced.service}

    def _arrivals_ns(self, rate: float) -> list[int]:
        # Two schedules, so that as many requests are measured as were asked for, whenever random ones come.
        measured_ns = schedule(rate, self.seconds, process=self.arrivals) + round(self.warmup_s * NS_PER_S)
        if round(rate * self.warmup_s) < 1:
            return measured_ns.tolist()
        return [*schedule(rate, self.warmup_s, process=self.arrivals, seed=1).tolist(), *measured_ns.tolist()]

    def __str__(self) -> str:
        if self.rate is not None:
            return f"open loop, {self.rate:g} requests/s, {self.arrivals} arrivals"
        return f"closed loop, {self.concurrency} caller{'s' if self.concurrency > 1 else ''}"


def latency(
    stores: Stores,
    features: Any,
    entities: Any,
    load: Load,
    *,
    batch: int | Sequence[int],
    consistency: str | Sequence[str] | None,
    target: str | Sequence[str],
    keys: str | None,
    progress: bool,
    yes: bool,
) -> LatencyReport:
    """Measure setting by setting; Ctrl-C returns what was measured until then.

    Raises
    ------
    ConfigurationError
        A number makes no sense, there are no entities, fewer than a batch needs, or its cost was not agreed to.
    UnknownName
        There is no such view or feature.
    ConnectionFailed
        Nothing answers at the endpoint.
    """
    load = with_default_rate(stores.feast.config.online_store, load)
    load.check()
    sizes = list(batch) if hasattr(batch, "__iter__") else [batch]
    check_sizes(sizes)
    request = requested(stores.feast, features, full_feature_names=True)
    reads = latency_reads(
        load, settings=len(_settings(target, consistency)) * len(request.views), entities=sum(sizes),
        sampled=SAMPLED_KEYS if entities is None else 0,
    )  # fmt: skip
    billing.agree(stores.feast.config.online_store, "this measurement", reads=reads, yes=yes)
    table = asked_entities(stores, entities, request)
    check_enough(sizes, table.num_rows)
    pick = keys or UNIFORM
    plans = {size: batches(table.num_rows, size, pick=pick) for size in sizes}
    runs: list[Measured] = []
    with line(shown=progress) as say:
        for name, level in _settings(target, consistency):
            with contextlib.closing(open_target(stores, name, features, level)) as opened:
                calls = ((size, opened.reader(table, picked)) for size, picked in plans.items())
                runs += _measure(opened, load, calls, say)
            if runs[-1].recording.interrupted:
                break
    origin = "sampled from the store by token" if entities is None else "given"
    details = {
        "consistency": ", ".join(dict.fromkeys(run.consistency for run in runs)),
        "load": str(load),
        "entities": f"{table.num_rows:,} {origin}, {pick}",
    }
    return summarize(runs, environment(**server(stores), **details))


def _settings(target: str | Sequence[str], consistency: str | Sequence[str] | None) -> list[tuple[str, str | None]]:
    """Return each target at each consistency level."""
    targets = [target] if isinstance(target, str) else list(dict.fromkeys(target))
    levels = [consistency] if consistency is None or isinstance(consistency, str) else list(dict.fromkeys(consistency))
    if not targets or not levels:
        raise ConfigurationError("nothing is to be measured: target or consistency is an empty list")
    return list(product(targets, levels))


def _measure(
    target: Target, load: Load, calls: Iterable[tuple[int, Callable[[int], object]]], say: Callable[[str], object]
) -> list[Measured]:
    """Measure a target with each batch size."""
    runs: list[Measured] = []
    for size, call in calls:
        about = f"{target.name}, batch {size}, {target.consistency}"
        recordings = load.run(call, timeout_s=target.timeout_s, on_progress=partial(_say, say, about))
        conversion = target.conversion()
        if conversion is not None:
            recordings["service"].parts[FRAME_PART] = conversion
        runs += [
            Measured(target.name, size, target.consistency, kind, recording, load.rate)
            for kind, recording in recordings.items()
        ]
        if runs[-1].recording.interrupted:
            break
    return runs


def check_sizes(sizes: Sequence[int]) -> None:
    """Refuse batch sizes that make no sense."""
    if not sizes or not all(isinstance(size, Integral) for size in sizes) or min(sizes) < 1:
        raise ConfigurationError(f"batch is {list(sizes)}; each size must be a whole number, at least 1")


def check_enough(sizes: Sequence[int], keys: int) -> None:
    """Refuse batch sizes that need more entities than there are."""
    if not keys:
        raise ConfigurationError("there are no entities to read", hint="materialize first, or pass entities=")
    if max(sizes) > keys:
        raise ConfigurationError(
            f"a batch of {max(sizes):,} needs as many entities; there are {keys:,}",
            hint="pass smaller batches or more entities",
        )


def asked_entities(stores: Stores, entities: Any, request: Request) -> pa.Table:
    """Return the entities to read: those given, or a fair sample of the store; with the request data that belongs to them.

    Raises
    ------
    InvalidFrame
        A join key or a column of request data is missing.
    ConfigurationError
        None were given, and none can be sampled.
    """
    if entities is None:
        if request.inputs:
            raise ConfigurationError(
                f"{', '.join(request.on_demand)} needs the request data {', '.join(request.inputs)}, which no store holds",
                hint="pass entities=, a frame with the join keys and a column for each",
            )
        return sampled_keys(stores, request.views)
    given = Entities.of(entities)
    missing = [name for name in request.inputs if name not in given.columns]
    if missing:
        raise InvalidFrame(
            f"the entities lack the request data {', '.join(missing)}", hint="add a column for each, one value a row"
        )
    table = entity_table(given, request.views)
    for name in request.inputs:
        table = table.append_column(name, array_of(given.columns[name], name))
    return table


def sampled_keys(stores: Stores, wanted: Sequence[Requested]) -> pa.Table:
    """Return entities of the online store, a fair sample by token, of the view that has the join keys of all.

    Raises
    ------
    ConfigurationError
        The store is not ours, or no view has all the join keys.
    """
    names = [{shown for _stored, shown, _type in view_request.keys} for view_request in wanted]
    keyed = [some for some in names if some != {DUMMY_ENTITY_ID}] or names
    every = set().union(*keyed)
    chosen = next((view_request for view_request, some in zip(wanted, names, strict=True) if some == every), None)
    if not stores.has_history or chosen is None:
        reason = (
            "no view has all the join keys" if stores.has_history else "the online store is not a FeastraOnlineStore"
        )
        raise ConfigurationError(
            f"which entities to read cannot be sampled here: {reason}",
            hint=f"pass entities=, a frame with {', '.join(sorted(every))}",
        )
    table = sampled(stores.online.db, stores.online.entry(chosen.view), chosen)
    constant = {DUMMY_ENTITY_ID} <= set().union(*names) and DUMMY_ENTITY_ID not in table.column_names
    if not constant:
        return table
    return table.append_column(DUMMY_ENTITY_ID, pa.array([""] * table.num_rows, pa.string()))


def _say(say: Callable[[str], object], about: str, recording: Recording) -> None:
    if recording.requests:
        quantiles = dict(zip(("p50", "p99"), recording.percentiles_ms([50, 99]), strict=True))
        known = "".join(f", {name} {ms:.2f} ms" for name, ms in quantiles.items() if not math.isnan(ms))
        failed = f", {recording.failures:,} failed" if recording.failures else ""
        say(f"{about}: {recording.requests:,} requests{known}{failed}")
