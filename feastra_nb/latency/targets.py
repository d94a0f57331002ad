"""The targets of a measurement: Feast on any online store, the store's own statements, or an endpoint of `feast serve`."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from feastra_nb.adapter.feast_calls import translate
from feastra_nb.errors import ConfigurationError, FeastraError, close_names
from feastra_nb.latency.histogram import Histogram
from feastra_nb.retrieval.entities import entity_keys
from feastra_nb.storage.reader import NewestRead, newest_rows, serving_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    from cassandra.cluster import ResponseFuture
    from feast import FeatureStore

    from feastra_nb.connection.cluster import Database
    from feastra_nb.retrieval.request import Requested
    from feastra_nb.storage.catalog import ViewEntry

    Int64s = npt.NDArray[np.int64]

FEAST, DRIVER = "feast", "driver"
KEPT_ANSWERS = 100  # converted to frames after the run, to see what that takes


class Target(Protocol):
    """Something that answers requests for features."""

    name: str
    consistency: str
    timeout_s: float

    def reader(self, keys: pa.Table, batches: Int64s) -> Callable[[int], object]:
        """Return a call that performs the i-th request; the batches are repeated in turn."""

    def conversion(self) -> Histogram | None:
        """Return how long the last answers take to become frames, None where there is nothing to convert."""

    def close(self) -> None:
        """Give back what the target opened."""


class FeastTarget:
    """`get_online_features`, as a model server calls it.

    Parameters
    ----------
    store
        The feature store.
    features
        References or a feature service.
    db
        Through which the store reads, where that is known: its share of the time is told apart.
    consistency, timeout_s
        What the store reads with.
    on_close
        Called by `close`.
    """

    name = FEAST

    def __init__(
        self,
        store: FeatureStore,
        features: Any,
        *,
        db: Database | None,
        consistency: str,
        timeout_s: float,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self.consistency = consistency
        self.timeout_s = timeout_s
        self._store = store
        self._features = features
        self._watch = None if db is None else DriverWatch(db)
        self._on_close = on_close
        self._answers: deque[Any] = deque(maxlen=KEPT_ANSWERS)

    def reader(self, keys: pa.Table, batches: Int64s) -> Callable[[int], object]:
        """Return a call of `get_online_features` for the i-th batch; it tells the driver's share of its time."""
        rows = _rows_of(keys, batches)
        self._answers.clear()

        def read(i: int) -> dict[str, int] | None:
            entity_rows = rows(i)
            began_ns = time.perf_counter_ns()
            if self._watch is not None:
                self._watch.begin()
            try:
                answer = self._store.get_online_features(
                    features=self._features, entity_rows=entity_rows, full_feature_names=True
                )
            except FeastraError:
                raise
            except Exception as error:
                raise translate(error, "reading online") from error
            self._answers.append(answer)
            if self._watch is None:
                return None
            ended_ns = time.perf_counter_ns()
            driver_ns = self._watch.end(ended_ns)
            return {"driver": driver_ns, "feast": ended_ns - began_ns - driver_ns}

        return read

    def conversion(self) -> Histogram | None:
        """Convert the last answers by `to_df` and return how long each took."""
        durations = Histogram()
        while self._answers:
            answer = self._answers.popleft()
            began_ns = time.perf_counter_ns()
            answer.to_df()
            durations.add(time.perf_counter_ns() - began_ns)
        return durations if durations.n else None

    def close(self) -> None:
        """Stop watching the driver, and give back the store if it was opened for this."""
        if self._watch is not None:
            self._watch.close()
        self._answers.clear()
        self._on_close()


@dataclass(frozen=True, slots=True)
class ServedView:
    """A view as the store reads it.

    Parameters
    ----------
    requested
        The view in the request.
    entry
        What the catalog knows of it.
    ttl_us
        The ttl that it is held to, in microseconds; None for none.
    """

    requested: Requested
    entry: ViewEntry
    ttl_us: int | None

    def read(self, db: Database, keys: Sequence[bytes], now_us: int) -> NewestRead:
        """Return the read of some keys."""
        return NewestRead(db, self.entry, list(dict.fromkeys(keys)), serving_bounds(now_us, self.ttl_us))


class DriverTarget:
    """The store's own statements as it sends them, directly or through the driver; Feast takes no part."""

    name = DRIVER

    def __init__(self, db: Database, views: Sequence[ServedView], *, on_close: Callable[[], object]) -> None:
        self.consistency = db.settings.read_consistency
        self.timeout_s = db.settings.request_timeout_s
        self._db = db
        self._views = views
        self._on_close = on_close

    def reader(self, keys: pa.Table, batches: Int64s) -> Callable[[int], object]:
        """Return a call that sends the statements of the i-th batch and waits for the rows."""
        blobs = [entity_keys(view.requested, keys).to_pylist() for view in self._views]

        def read(i: int) -> None:
            now_us = time.time_ns() // 1000
            picked = batches[i % len(batches)].tolist()
            reads = [
                view.read(self._db, [of_view[row] for row in picked], now_us)
                for view, of_view in zip(self._views, blobs, strict=True)
            ]
            newest_rows(self._db, reads)

        return read

    def conversion(self) -> Histogram | None:
        """Return None: rows are not decoded."""

    def close(self) -> None:
        """Give back the store if it was opened for this."""
        self._on_close()


class DriverWatch:
    """Takes the time that each calling thread's requests need, directly or through the driver, by listeners of its own.

    Parameters
    ----------
    db
        Whose requests; other users of its session are not disturbed.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._mine = threading.local()
        db.session.add_request_init_listener(self._began)
        db.lines.listeners.append(self._exchanged)

    def begin(self) -> None:
        """Take the time of what this thread sends from now on."""
        self._mine.spans = []

    def end(self, now_ns: int) -> int:
        """Return for how long at least one of this thread's requests was under way, in nanoseconds."""
        spans, self._mine.spans = self._mine.spans, None
        # The driver wakes the caller before it calls back: what has no end yet is just about to get it.
        return covered_ns([(began_ns, ended[0] if ended else now_ns) for began_ns, ended in spans])

    def close(self) -> None:
        """Listen no more."""
        self._db.session.remove_request_init_listener(self._began)
        self._db.lines.listeners.remove(self._exchanged)

    def _exchanged(self, began_ns: int, ended_ns: int) -> None:
        spans = getattr(self._mine, "spans", None)
        if spans is not None:
            spans.append((began_ns, [ended_ns]))

    def _began(self, future: ResponseFuture) -> None:
        spans = getattr(self._mine, "spans", None)
        if spans is None:
            return
        ended: list[int] = []
        spans.append((time.perf_counter_ns(), ended))

        def done(*_answer: object) -> None:
            ended.append(time.perf_counter_ns())

        future.add_callbacks(done, done)


def covered_ns(spans: Sequence[tuple[int, int]]) -> int:
    """Return the length of the union of spans.

    Examples
    --------
    >>> covered_ns([(0, 10), (5, 12), (20, 21)])
    13
    """
    total = end_ns = 0
    for began_ns, ended_ns in sorted(spans):
        total += max(ended_ns - max(began_ns, end_ns), 0)
        end_ns = max(end_ns, ended_ns)
    return total


def refuse_unknown(target: str) -> ConfigurationError:
    """Return the error for a target that is none."""
    return ConfigurationError(
        f"target={target!r} is nothing that can be measured",
        hint=f'"{FEAST}", "{DRIVER}" or the URL of a `feast serve`; {close_names(target, (FEAST, DRIVER))}',
    )


def _rows_of(keys: pa.Table, batches: Int64s) -> Callable[[int], Mapping[str, list[Any]]]:
    """Return a function from a request's number to the join keys that it asks for, as Feast takes them."""
    columns = {name: keys.column(name).to_pylist() for name in keys.column_names}

    def rows(i: int) -> dict[str, list[Any]]:
        picked = batches[i % len(batches)].tolist()
        return {name: [values[row] for row in picked] for name, values in columns.items()}

    return rows
