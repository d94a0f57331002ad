"""The compute engine that makes plain ``feast materialize`` fast: Arrow from the offline store to the writer.

In a ``feature_store.yaml``::

    batch_engine:
      type: feastra_nb.arrow_engine.ArrowComputeEngine

Views that need more than reading and writing (transformations, aggregations, another online store) go to Feast's own
local engine.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import click
from feast.infra.common.materialization_job import MaterializationJobStatus
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel
from feast.utils import make_tzaware
from pydantic import StrictFloat, StrictInt

from feastra_nb.adapter.feast_calls import hush_warnings
from feastra_nb.adapter.feast_private import materializes_by
from feastra_nb.materialization.from_offline import is_plain, materialize_view
from feastra_nb.materialization.pulled import OfflineView
from feastra_nb.online_store import FeastraOnlineStore
from feastra_nb.times import us

if TYPE_CHECKING:
    from collections.abc import Callable

    from feast.infra.common.materialization_job import MaterializationTask
    from feast.infra.registry.base_registry import BaseRegistry

    from feastra_nb.materialization.run import Materialization


class ArrowComputeEngineConfig(FeastConfigBaseModel):
    """Configuration of `ArrowComputeEngine`."""

    type: Literal["feastra_nb.arrow_engine.ArrowComputeEngine"] = "feastra_nb.arrow_engine.ArrowComputeEngine"
    lookback_hours: StrictFloat | StrictInt = 24
    """How far before its start a run looks for rows that arrived late, in hours: Feast's incremental start is the last end."""


class ArrowMaterializationJob(LocalMaterializationJob):
    """A job of `ArrowComputeEngine`; ``materialization`` says what it wrote."""

    materialization: Materialization | None = None


@materializes_by("materialize_view")
class ArrowComputeEngine(LocalComputeEngine):
    """Materializes without a Python object a value; everything else is Feast's local engine."""

    def materialize_view(
        self, registry: BaseRegistry, task: MaterializationTask, by_feast: Callable[[], LocalMaterializationJob]
    ) -> LocalMaterializationJob:
        """Write one view, or have Feast's own engine do it where it takes more than reading and writing."""
        view = task.feature_view
        if not isinstance(self.online_store, FeastraOnlineStore) or not is_plain(view):
            return by_feast()
        job_id = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            done = self._run(registry, task)
        except Exception as error:  # noqa: BLE001 - Feast takes a job's error from the job
            return LocalMaterializationJob(job_id=job_id, status=MaterializationJobStatus.ERROR, error=error)
        job = ArrowMaterializationJob(job_id=job_id, status=MaterializationJobStatus.SUCCEEDED)
        job.materialization = done
        if task.tqdm_builder:
            click.echo(f"  {done.sentence}")  # beside what Feast itself says
        return job

    def _run(self, registry: BaseRegistry, task: MaterializationTask) -> Materialization:
        hush_warnings()
        lookback = timedelta(hours=float(self.repo_config.batch_engine.lookback_hours))
        interval = us(make_tzaware(task.start_time) - lookback), us(make_tzaware(task.end_time))
        offline = OfflineView(self.repo_config, self.offline_store, registry, task.feature_view)
        progress = task.tqdm_builder is not None
        opened = self.online_store.open(self.repo_config)
        return materialize_view(offline, opened, interval, lookback=lookback, progress=progress)
