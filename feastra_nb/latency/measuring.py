"""`ws.latency`: which entities are read, through what, and the loop over batch sizes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feastra_nb.connection.cluster import READ, map_driver_errors, quoted
from feastra_nb.errors import ConfigurationError
from feastra_nb.latency.load import closed_loop
from feastra_nb.latency.report import LatencyReport, Run, environment, summarize
from feastra_nb.quiet import quiet_feast
from feastra_nb.retrieval.request import Requested, entity_table, references, requested
from feastra_nb.storage import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feastra_nb.latency.recording import Recording
    from feastra_nb.workspace import Workspace

SAMPLED_KEYS = 10_000  # entities read from the store where the caller names none


def latency(
    ws: Workspace,
    features: Any,
    entities: Any,
    *,
    concurrency: int,
    seconds: float,
    batch: int | Sequence[int],
    warmup_s: float,
    progress: bool,
) -> LatencyReport:
    """Measure `get_online_features` batch size by batch size; Ctrl-C returns what was measured until then.

    Raises
    ------
    ConfigurationError
        A number makes no sense, there are no entities, or fewer than a batch needs.
    """
    sizes = [batch] if isinstance(batch, int) else list(batch)
    wanted, _on_demand = requested(ws.feast, features, full_feature_names=True)
    keys = entity_table(entities, wanted) if entities is not None else _sampled(ws, wanted)
    _check_batches(sizes, keys.num_rows)
    refs = references(ws.feast, features)
    consistency = _consistency(ws)
    runs: list[Run] = []
    for size in sizes:
        recording = closed_loop(
            _reader(ws, refs, keys, size),
            seconds=seconds,
            warmup_s=warmup_s,
            concurrency=concurrency,
            timeout_s=_timeout_s(ws),
            on_progress=_line(size) if progress else None,
        )
        runs.append(Run("feast", size, consistency, "service", recording))
        if recording.interrupted:
            break
    if progress:
        sys.stderr.write("\n")
    store = str(ws.feast.config.online_store.type).rsplit(".", 1)[-1]
    return summarize(runs, environment(store=store, consistency=consistency, callers=str(concurrency)))


def _check_batches(sizes: Sequence[int], keys: int) -> None:
    if not sizes or min(sizes) < 1:
        raise ConfigurationError(f"batch is {list(sizes)}; each size must be at least 1")
    if not keys:
        raise ConfigurationError("there are no entities to read", hint="materialize first, or pass entities=")
    if max(sizes) > keys:
        raise ConfigurationError(
            f"a batch of {max(sizes):,} needs as many entities; there are {keys:,}",
            hint="pass smaller batches or more entities",
        )


def _reader(ws: Workspace, refs: Any, keys: pa.Table, size: int) -> Callable[[int], object]:
    """Return a call that reads the i-th batch; the batches walk through the keys, so that no cache answers for the store."""
    store = ws.feast
    columns = {name: keys.column(name).to_pylist() for name in keys.column_names}
    starts = max(1, keys.num_rows // size)

    def read(i: int) -> object:
        start = i % starts * size
        rows = {name: values[start : start + size] for name, values in columns.items()}
        return store.get_online_features(features=refs, entity_rows=rows, full_feature_names=True)

    return read


def _sampled(ws: Workspace, wanted: Sequence[Requested]) -> pa.Table:
    """Return entities of the online store, by token: as good as random, without reading all."""
    first = wanted[0]
    if not ws._is_ours or any(one.keys != first.keys for one in wanted):  # noqa: SLF001 - a workspace's own room
        raise ConfigurationError(
            "which entities to read cannot be sampled here: the views differ in join keys, or the store is not ours",
            hint="pass entities=, a frame with all join keys",
        )
    db = ws.store.open(ws.feast.config).db
    entry = ws.store.entry(ws.feast.config, first.view)
    cql = f"SELECT DISTINCT entity_key FROM {quoted(db.keyspace)}.{quoted(entry.table)} LIMIT {SAMPLED_KEYS}"
    with map_driver_errors("sampling entities"), quiet_feast():
        blobs = [key for (key,) in db.execute(cql, profile=READ)]
    stored = [name for name, _shown, _type in first.keys]
    columns = codec.decode_entity_keys(blobs, stored, [kind for _stored, _shown, kind in first.keys])
    return pa.table(dict(zip([shown for _stored, shown, _type in first.keys], columns, strict=True)))


def _consistency(ws: Workspace) -> str:
    return ws.store.open(ws.feast.config).db.settings.read_consistency if ws._is_ours else "the store's own"  # noqa: SLF001


def _timeout_s(ws: Workspace) -> float:
    return ws.store.open(ws.feast.config).db.settings.request_timeout_s if ws._is_ours else 10.0  # noqa: SLF001


def _line(size: int) -> Callable[[Recording], None]:
    def show(recording: Recording) -> None:
        if recording.n:
            sys.stderr.write(
                f"\rbatch {size}: {recording.n:,} calls, p50 {recording.percentile_ms(50):.2f} ms, "
                f"p99 {recording.percentile_ms(99):.2f} ms   "
            )
            sys.stderr.flush()

    return show
