"""Cuts the rows to compare into chunks of whole entities, so that one chunk bounds the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb.retrieval.entities import entity_keys
from feastra_nb.skew.events import codes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from feastra_nb.retrieval.request import Requested

    Int64s = npt.NDArray[np.int64]

CHUNK_ROWS = 262_144  # rows compared, and about as many offline rows, at a time: some 100 MB with ten features


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What to compare of one view: n rows, each an entity and an instant.

    Parameters
    ----------
    view_request
        The view and its features.
    shown
        Join keys as the report shows them.
    t_us
        Shape (n,): the instants.
    known_us
        Shape (n,): by when an online row must have arrived to count; None where all count.
    logged
        What was served, feature by feature, with what was logged beside it; None unless it was logged.
    rows
        Shape (n,): the place of each row in what was asked.
    ahead_us
        How far beyond the instants an event may lie and still count: serving allows for clocks that disagree.
    """

    view_request: Requested
    shown: pa.Table
    t_us: Int64s
    known_us: Int64s | None
    logged: pa.Table | None
    rows: Int64s
    ahead_us: int = 0

    @property
    def until_us(self) -> Int64s:
        """The last event time that counts for each row."""
        return self.t_us + self.ahead_us

    def __len__(self) -> int:
        return len(self.t_us)

    def entities(self) -> int:
        """Count the distinct entities."""
        return len(entity_keys(self.view_request, self.shown).unique())

    def take(self, index: Int64s) -> Questions:
        """Return some of the rows."""
        where = pa.array(index)
        return Questions(
            self.view_request,
            self.shown.take(where),
            self.t_us[index],
            None if self.known_us is None else self.known_us[index],
            None if self.logged is None else self.logged.take(where),
            self.rows[index],
            self.ahead_us,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some of the questions: all rows of m entities.

    Parameters
    ----------
    entities
        Shape (m,): encoded entity keys, each once.
    stored
        Their join keys, m rows, under the view's own names.
    codes
        Shape (n,): each row's entity, by its place among them.
    """

    questions: Questions
    entities: pa.Array
    stored: pa.Table
    codes: Int64s

    @property
    def keys(self) -> pa.Array:
        """Encoded entity key of each row."""
        return self.entities.take(pa.array(self.codes))


def whole_entities(questions: Questions, *, offline_rows: int) -> Iterator[Chunk]:
    """Yield the questions in chunks of about `CHUNK_ROWS` rows; an entity is never cut.

    Parameters
    ----------
    offline_rows
        How many rows the offline store has of the view, which chunks bound as well.
    """
    keys = entity_keys(questions.view_request, questions.shown)
    entities = keys.unique()
    codes = codes_of(keys, entities)
    count = max(1, -(-max(len(questions), offline_rows) // CHUNK_ROWS))
    length = max(1, -(-len(entities) // count))
    order = np.argsort(codes // length, kind="stable")
    cuts = np.searchsorted((codes // length)[order], np.arange(1, -(-len(entities) // length)))
    first = first_rows(codes, len(entities))
    for number, index in enumerate(np.split(order, cuts)):
        part = slice(number * length, (number + 1) * length)
        yield Chunk(
            questions.take(index),
            entities.slice(part.start, length),
            _stored(questions, first[part]),
            codes[index] - part.start,
        )


def first_rows(codes: Int64s, entities: int) -> Int64s:
    """Return the first row of each entity; each has one."""
    first = np.empty(entities, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first


def _stored(questions: Questions, rows: Int64s) -> pa.Table:
    """Return the join keys of some rows under the names and in the types that the view stores."""
    shown = questions.shown.take(pa.array(rows))
    return pa.table({stored: shown.column(name) for stored, name, _kind in questions.view_request.keys})
