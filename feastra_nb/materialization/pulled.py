"""Pulls a view's rows from Feast's offline store: Arrow with the view's own column names, streamed where possible."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from feastra_nb.adapter.feast_private import column_names, offline_store_of, renamed_columns
from feastra_nb.adapter.objects import has_entities, key_fields, with_constant_key
from feastra_nb.codec.columns import epoch_us
from feastra_nb.materialization.offline_file import sql_name
from feastra_nb.materialization.spans import OLDEST_US
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from feast import FeatureStore, FeatureView
    from feast.repo_config import RepoConfig

    from feastra_nb.materialization.spans import Interval

STREAM_ROWS = 65_536  # rows of one table of a stream


class Extent(NamedTuple):
    """How many rows there are, and their first and last event, in microseconds since the epoch."""

    rows: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, eq=False)
class OfflineView:
    """A registered view's rows in the offline store.

    Parameters
    ----------
    config, offline_store, registry
        Feast's.
    view
        The feature view.
    """

    config: RepoConfig
    offline_store: Any
    registry: Any
    view: FeatureView

    @classmethod
    def of(cls, feature_store: FeatureStore, view: FeatureView) -> OfflineView:
        """Return a view of a feature store."""
        return cls(feature_store.config, offline_store_of(feature_store), feature_store.registry, view)

    def all(self, interval: Interval) -> Pulled:
        """Return every row of an interval of event time."""
        lower_us, upper_us = interval
        start = None if lower_us < OLDEST_US else instant(lower_us)
        columns = self._columns()
        job = self.offline_store.pull_all_from_table_or_query(
            **columns, start_date=start, end_date=_just_after(upper_us)
        )
        return Pulled(job, self.view, interval, columns["timestamp_field"])

    def latest(self, interval: Interval) -> Pulled:
        """Return the newest row of each entity in an interval of event time."""
        lower_us, upper_us = interval
        columns = self._columns()
        job = self.offline_store.pull_latest_from_table_or_query(
            **columns, start_date=instant(max(lower_us, OLDEST_US)), end_date=_just_after(upper_us)
        )
        return Pulled(job, self.view, interval, columns["timestamp_field"])

    def _columns(self) -> dict[str, Any]:
        entities = [self.registry.get_entity(name, self.config.project) for name in self.view.entities]
        keys, features, timestamp, created = column_names(self.view, entities)
        return {
            "config": self.config,
            "data_source": self.view.batch_source,
            "join_key_columns": keys,
            "feature_name_columns": features,
            "timestamp_field": timestamp,
            "created_timestamp_column": created or None,
        }


def _just_after(at_us: int) -> datetime:
    # An event's nanoseconds are cut off here, and not in the offline store: it is asked for one microsecond more.
    return instant(at_us + 1)


@dataclass(frozen=True, eq=False)
class Pulled:
    """Rows that the offline store was asked for.

    Parameters
    ----------
    job
        Feast's retrieval job.
    view
        The feature view.
    interval
        Of event time, in microseconds; what the job gives beyond it is left out.
    timestamp
        The event time's column, as the source names it.
    """

    job: Any
    view: FeatureView
    interval: Interval
    timestamp: str

    def extent(self) -> Extent | None:
        """Return how much there is; None where the offline store could only tell by giving it all."""
        table = _duckdb_table(self.job)
        if table is None:
            return None
        event = sql_name(self.timestamp)
        extent = self._relation.aggregate(
            f"count(*) AS rows, min({event}) AS first, max({event}) AS last"
        ).to_arrow_table()
        first, last = (epoch_us(extent.column(name)) for name in ("first", "last"))
        return Extent(extent.column("rows")[0].as_py(), int(first[0]), int(last[0]))

    def whole(self) -> pa.Table:
        """Return the rows in one table."""
        return self._prepared(self.job.to_arrow())

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows table by table, so that not all are in memory at one time where the offline store can stream."""
        expression = _duckdb_table(self.job)
        if expression is None:
            whole = self.whole()
            for start in range(0, whole.num_rows, STREAM_ROWS):
                yield whole.slice(start, STREAM_ROWS)
            return
        schema = expression.schema().to_pyarrow()
        with self._relation.to_arrow_reader(STREAM_ROWS) as reader:
            for batch in reader:
                yield self._prepared(pa.Table.from_batches([batch]).cast(schema))

    def keys(self, until_us: int) -> pa.Table:
        """Return the join keys of the rows up to an event time, each combination once, sorted, under the view's names."""
        names = [name for name, _type in key_fields(self.view)]
        if not self._streams or not has_entities(self.view):
            whole = self._kept_whole
            inside = epoch_us(whole.column(self.view.batch_source.timestamp_field)) <= until_us
            table = whole.select(names).filter(pa.array(inside))
        else:
            listed = ", ".join(f"{sql_name(self._in_source(name))} AS {sql_name(name)}" for name in names)
            until = self._relation.filter(f"epoch_us({sql_name(self.timestamp)}) <= {until_us}")
            table = until.project(listed).distinct().to_arrow_table()
        distinct = table.group_by(names).aggregate([]).select(names)
        return distinct.sort_by([(name, "ascending") for name in names])

    def of_keys(self, keys: pa.Table) -> pa.Table:
        """Return the rows of some entities only.

        Parameters
        ----------
        keys
            Join keys under the view's names, each combination once.
        """
        if not self._streams or not has_entities(self.view):
            return _joined(self._kept_whole, keys)
        pairs = [f"r.{sql_name(self._in_source(name))} = k.{sql_name(name)}" for name in keys.column_names]
        wanted = _connection(self.job).from_arrow(keys).set_alias("k")
        table = self._relation.set_alias("r").join(wanted, " AND ".join(pairs), how="semi").to_arrow_table()
        return self._prepared(table.cast(_duckdb_table(self.job).schema().to_pyarrow()))

    @cached_property
    def _streams(self) -> bool:
        return _duckdb_table(self.job) is not None

    def _in_source(self, name: str) -> str:
        mapped = {view: source for source, view in dict(self.view.batch_source.field_mapping or {}).items()}
        return str(mapped.get(name, name))

    @cached_property
    def _kept_whole(self) -> pa.Table:
        return self.whole()

    @cached_property
    def _relation(self) -> Any:
        """The job's query as a relation of DuckDB; ibis's own stream calls what DuckDB has renamed."""
        import ibis

        return _connection(self.job).sql(ibis.to_sql(self.job.table))

    def _prepared(self, table: pa.Table) -> pa.Table:
        table = renamed_columns(table, self.view.batch_source.field_mapping or {})
        event_us = epoch_us(table.column(self.view.batch_source.timestamp_field))
        lower_us, upper_us = self.interval
        inside = (event_us >= lower_us) & (event_us <= upper_us)
        return with_constant_key(table if inside.all() else table.filter(pa.array(inside)), self.view)


def _duckdb_table(job: Any) -> Any:
    """Return the ibis table behind a job on DuckDB whose data are not in memory already; None for any other job."""
    try:
        import ibis
        from ibis.expr.operations import InMemoryTable
    except ImportError:  # an offline store without ibis
        return None
    table = getattr(job, "table", None)
    if not isinstance(table, ibis.expr.types.Table) or table.op().find(InMemoryTable):
        return None
    return table if table.get_backend().name == "duckdb" else None


def _connection(job: Any) -> Any:
    return job.table.get_backend().con


def _joined(table: pa.Table, keys: pa.Table) -> pa.Table:
    """Return the rows of a table whose keys are among some, in the table's order; Arrow alone joins no nested columns."""
    with duckdb.connect() as connection:
        numbered = table.select(keys.column_names).append_column(_PLACE, pa.array(np.arange(table.num_rows)))
        rows, wanted = connection.from_arrow(numbered).set_alias("r"), connection.from_arrow(keys).set_alias("k")
        pairs = [f"r.{sql_name(name)} = k.{sql_name(name)}" for name in keys.column_names]
        places = rows.join(wanted, " AND ".join(pairs), how="semi").project(_PLACE).to_arrow_table()
    return table.take(pa.array(np.sort(np.asarray(places.column(_PLACE)))))


_PLACE = "feastra_place"  # numbers rows through a join
