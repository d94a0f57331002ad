"""How far a migration has come, in a small table of the keyspace, so that a copy that was killed goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.cluster import READ, Database, quoted
from feastra_nb.storage.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from feastra_nb.storage.scanning import TokenRange

TABLE = "feastra_migrations"
_COLUMNS = "(project text, feature_view text, part text, state text, PRIMARY KEY ((project, feature_view), part))"
_PASS, _VERIFIED = "pass", "verified"


@dataclass(frozen=True, slots=True)
class CopyPass:
    """One copy of a table, from its beginning to its end.

    Parameters
    ----------
    began_us
        When it began: every cell that was written before is in it. Microseconds since the epoch.
    generation
        Of the view's table that it copies into.
    parts
        Into how many ranges the ring is cut.
    since_us
        Entities that were not written since then are left out: an earlier pass has copied them. None copies all.
    is_done
        Whether all ranges are copied.
    done_before_us
        When the last pass that was finished began; None where there was none.
    """

    began_us: int
    generation: int
    parts: int
    since_us: int | None = None
    is_done: bool = False
    done_before_us: int | None = None

    @property
    def complete_us(self) -> int | None:
        """Everything that was written before this instant is copied; None where no pass was ever finished."""
        return self.began_us if self.is_done else self.done_before_us


@dataclass(frozen=True, slots=True)
class ViewProgress:
    """What is known of a view's migration.

    Parameters
    ----------
    current
        The pass that runs, or ran last; None before the first.
    ranges
        Of that pass: what each finished range held, by (after, upto).
    verified_us
        As of when both sides were last found equal; None for never.
    """

    current: CopyPass | None = None
    ranges: Mapping[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)
    verified_us: int | None = None


class MigrationJournal:
    """The journal of migrations in one keyspace."""

    def __init__(self, db: Database, project: str) -> None:
        self._db = db
        self._project = project
        self._table = f"{quoted(db.keyspace)}.{TABLE}"

    def create(self) -> None:
        """Make the table where it is missing."""
        Catalog(self._db).create_table(TABLE, _COLUMNS)

    def progress(self, view: str) -> ViewProgress:
        """Return how far a view's migration has come."""
        if not self._db.table_exists(TABLE):
            return ViewProgress()
        cql = f"SELECT part, state FROM {self._table} WHERE project = ? AND feature_view = ?"
        states = {part: json.loads(text) for part, text in self._db.execute(cql, self._key(view), profile=READ)}
        verified = states.pop(_VERIFIED, {}).get("at_us")
        if _PASS not in states:
            return ViewProgress(verified_us=verified)
        current = CopyPass(**states.pop(_PASS))
        ranges = {
            (state["after"], state["upto"]): state["counts"]
            for state in states.values()
            if state["began_us"] == current.began_us
        }
        return ViewProgress(current, ranges, verified)

    def begin(self, view: str, current: CopyPass) -> None:
        """Note that a pass begins."""
        self._write(view, _PASS, asdict(current))

    def range_done(self, view: str, current: CopyPass, part: TokenRange, counts: Mapping[str, Any]) -> None:
        """Note that a range of a pass is copied, and what it held."""
        state = {"began_us": current.began_us, "after": part.after, "upto": part.upto, "counts": dict(counts)}
        self._write(view, f"range {part.after}", state)

    def end(self, view: str, current: CopyPass) -> None:
        """Note that a pass is finished."""
        self._write(view, _PASS, asdict(replace(current, is_done=True)))

    def verified(self, view: str, at_us: int | None) -> None:
        """Note as of when both sides were found equal; None takes that back."""
        self._write(view, _VERIFIED, {"at_us": at_us})

    def forget(self, views: Iterable[str]) -> None:
        """Delete what is known of some views' migration."""
        for view in views:
            self._db.execute(f"DELETE FROM {self._table} WHERE project = ? AND feature_view = ?", self._key(view))

    def _key(self, view: str) -> tuple[str, str]:
        return self._project, view

    def _write(self, view: str, part: str, state: Mapping[str, Any]) -> None:
        cql = f"INSERT INTO {self._table} (project, feature_view, part, state) VALUES (?, ?, ?, ?)"
        self._db.execute(cql, (*self._key(view), part, json.dumps(state)))
