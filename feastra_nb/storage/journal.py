"""The journal of runs: who wrote which interval into a view's table, and how it ended.

`ws.runs()`, incremental materialization, resuming and the causes of skew all read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import socket
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feastra_nb.connection.cluster import READ, WRITE, Database, quoted
from feastra_nb.errors import FeastraError
from feastra_nb.storage import liveness
from feastra_nb.storage.catalog import RUNS_TABLE
from feastra_nb.storage.reader import BEGINNING_US, END_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from feastra_nb.storage.catalog import ViewEntry

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
LOST = "lost"  # not written by anybody: a run whose process has gone and left it "running"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that wrote into a view.

    Instants are microseconds since the epoch, UTC.

    Parameters
    ----------
    kind
        ``"frame"`` (a DataFrame), ``"view"`` (from the offline store by our engine), ``"feast"`` (from another engine), ``"copy"``
        (from a table of Feast's own);
        ``"prune"`` and ``"forget"`` write no event.
    start_us, end_us
        Interval of event time that the run covers, both inclusive; it covers nothing where it begins after its end.
    began_us, ended_us
        When it ran; ``ended_us`` is None while it runs, or when it was killed.
    state
        ``"running"``, ``"done"``, ``"failed"``, ``"interrupted"``, or ``"lost"``: its process has gone without a word.
    rows, expired, suppressed
        Rows acknowledged by the server (of ``"prune"``: deleted, of ``"forget"``: entities); rows left out because they were
        past ttl and retention; rows left out because their entities are on the suppression list.
    thinned
        Only the newest event of the interval was written, so instants inside it cannot be replayed.
    terms
        Ttl, retention and features that the rows were written under.
    reached_us, reaching_us
        A run from the offline store goes from its end backwards: everything from ``reached_us`` on is written, and it is at
        work on what lies between ``reaching_us`` and there. None for runs that write in one piece.
    """

    project: str
    view: str
    run_id: str
    kind: str
    who: str
    generation: int
    start_us: int
    end_us: int
    began_us: int
    ended_us: int | None = None
    state: str = RUNNING
    rows: int = 0
    expired: int = 0
    suppressed: int = 0
    thinned: bool = False
    error: str | None = None
    terms: str = ""
    reached_us: int | None = None
    reaching_us: int | None = None

    @property
    def touched(self) -> tuple[int, int]:
        """The interval of event time in which it may have written."""
        if self.state == DONE or self.reaching_us is None:
            return self.start_us, self.end_us
        return self.reaching_us, self.end_us

    @property
    def writes(self) -> bool:
        """Whether it wrote events."""
        return self.kind not in ("prune", "forget")


class Journal:
    """The journal of one keyspace."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._table = f"{quoted(db.keyspace)}.{RUNS_TABLE}"

    def write(self, run: Run) -> None:
        """Write a run's present state; written again, it replaces the former one."""
        data = dataclasses.asdict(run)
        key = (data.pop("project"), data.pop("view"), uuid.UUID(data.pop("run_id")))
        self.db.execute(
            f"INSERT INTO {self._table} (project, feature_view, run_id, run) VALUES (?, ?, ?, ?)",
            (*key, json.dumps(data)),
            profile=WRITE,
        )

    def runs(self, project: str, view: str | None = None) -> list[Run]:
        """Return the runs of a project, or of one of its views; by view, newest first."""
        cql = f"SELECT project, feature_view, run_id, run FROM {self._table} WHERE project = ?"
        values: Sequence[object] = (project,)
        if view is not None:
            cql, values = f"{cql} AND feature_view = ?", (project, view)
        rows = self.db.execute(cql, values, profile=READ)
        runs = [Run(project=p, view=v, run_id=str(run_id), **json.loads(text)) for p, v, run_id, text in rows]
        return [replace(run, state=LOST) if run.state == RUNNING and liveness.is_lost(run) else run for run in runs]


def new_run(entry: ViewEntry, kind: str, *, start_us: int, end_us: int, began_us: int) -> Run:
    """Return a run into a view that begins now."""
    return Run(
        project=entry.project,
        view=entry.view,
        run_id=str(uuid.uuid1()),
        kind=kind,
        who=whoami(),
        generation=entry.generation,
        start_us=start_us,
        end_us=end_us,
        began_us=began_us,
        terms=entry.terms,
    )


def upkeep_run(entry: ViewEntry, kind: str) -> Run:
    """Return a run that begins now and writes no event: its interval begins after it ends, and so covers none."""
    return new_run(entry, kind, start_us=END_US, end_us=BEGINNING_US, began_us=time.time_ns() // 1000)


@contextlib.contextmanager
def journalled(journal: Journal, present: Callable[[], Run]) -> Iterator[None]:
    """Write into the journal how a run ends, however it does.

    Parameters
    ----------
    present
        Returns the run as it is at the moment, with the rows acknowledged so far.
    """

    def ended(state: str, error: str | None = None) -> Run:
        return replace(present(), state=state, ended_us=time.time_ns() // 1000, error=error)

    run_id = present().run_id
    with liveness.living(run_id):
        try:
            yield
        except BaseException as exc:
            state = FAILED if isinstance(exc, Exception) else INTERRUPTED
            # The journal lives on the same cluster: where that is what failed, the run stays "running" there, and is lost.
            with contextlib.suppress(FeastraError):
                journal.write(ended(state, str(exc).split("\n")[0]))
                liveness.forget(run_id)
            raise
        journal.write(ended(DONE))
        liveness.forget(run_id)


def whoami() -> str:
    """Return ``user@host`` of this process, as the journal names it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
