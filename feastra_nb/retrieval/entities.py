"""Reads entities in every shape that callers pass: frames, Series, lists, dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feastra_nb import codec
from feastra_nb.codec.mixed_types import mixed_types
from feastra_nb.errors import InvalidFrame, close_names
from feastra_nb.materialization.frames import dense, joined_levels, key_column, refuse_twice, storable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    import pandas as pd

    from feastra_nb.retrieval.request import Requested

    class ArrowTable(Protocol):
        """A table of any library that speaks Arrow's PyCapsule interface: pyarrow, polars, DuckDB."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

    # Entities as callers write them; `Entities.of` reads every shape.
    EntityRows = pd.DataFrame | pd.Series | pd.Index | ArrowTable | Mapping[str, Any] | Sequence[Mapping[str, Any]]

SHOWN = 60  # characters of a value in a message
SHAPES = (
    'a DataFrame, {"customer": [7, 8]}, {"customer": 7}, [{"customer": 7}], a named Series or Index, or an Arrow table'
)


@dataclass(frozen=True, slots=True, eq=False)
class Entities:
    """Rows of entities.

    Parameters
    ----------
    columns
        Values by name, n each: join keys, and whatever else came with them.
    rows
        n.
    """

    columns: Mapping[str, Any]
    rows: int

    @classmethod
    def of(cls, entities: Any) -> Entities:
        """Return entities of any shape: frames, dicts of lists or of scalars, lists of dicts, Series, Index, Arrow.

        A scalar beside lists counts for every row, and a text is a scalar. Named levels of a frame's index are columns.

        Raises
        ------
        InvalidFrame
            It is none of these, or its columns differ in length.

        Examples
        --------
        >>> Entities.of({"tail": "N1"}).columns, Entities.of([{"k": 1}, {"k": 2}]).columns
        ({'tail': ['N1']}, {'k': [1, 2]})
        """
        if isinstance(entities, cls):
            return entities
        columns = {str(name): values for name, values in _columns(entities).items()}
        lengths = {name: len(values) for name, values in columns.items() if is_column(values)}
        if len(set(lengths.values())) > 1:
            raise InvalidFrame(f"the entities' columns differ in length: {lengths}", hint="one value for each row")
        rows = next(iter(lengths.values()), _rows_without_columns(entities))
        return cls({name: values if is_column(values) else [values] * rows for name, values in columns.items()}, rows)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        import pandas as pd

        plain = {
            name: values.to_pandas() if hasattr(values, "to_pandas") else values
            for name, values in self.columns.items()
        }
        return pd.DataFrame(
            {name: getattr(values, "array", values) for name, values in plain.items()}, index=pd.RangeIndex(self.rows)
        )


def is_column(values: Any) -> bool:
    """Tell whether something holds a value for each row; a text does not.

    Examples
    --------
    >>> is_column([1]), is_column("N14228"), is_column(np.array(3)), is_column(range(2))
    (True, False, False, True)
    """
    if isinstance(values, (str, bytes, Mapping, set, frozenset)):
        return False
    return hasattr(values, "__len__") and hasattr(values, "__getitem__") and getattr(values, "ndim", 1) != 0


def _columns(entities: Any) -> dict[Any, Any]:
    read = next((read for fits, read in _READERS if fits(entities)), None)
    if read is None:
        shown = repr(entities)
        raise InvalidFrame(
            f"entities are a {type(entities).__name__} without names of join keys: {shown[:SHOWN]}{'…' * (len(shown) > SHOWN)}",
            hint=f"pass {SHAPES}",
        )
    return read(entities)


def _is_pandas(kind: str) -> Callable[[Any], bool]:
    def fits(entities: Any) -> bool:
        import pandas as pd

        return isinstance(entities, getattr(pd, kind))

    return fits


def _of_table(table: Any) -> dict[Any, Any]:
    table = pa.table(table)
    return dict(zip(table.column_names, table.columns, strict=True))


def _of_frame(frame: pd.DataFrame) -> dict[Any, Any]:
    frame = joined_levels(frame)
    refuse_twice(list(frame.columns))
    columns = {name: frame[name] for name in frame.columns}
    levels = {
        name: frame.index.get_level_values(place)
        for place, name in enumerate(frame.index.names)
        if name is not None and name not in columns
    }
    return {**levels, **columns}


def _of_series(series: pd.Series[Any] | pd.Index[Any]) -> dict[Any, Any]:
    import pandas as pd

    if isinstance(series, pd.Series) and series.dtype == object and all(isinstance(name, str) for name in series.index):
        return {str(name): value for name, value in series.items()}  # a row of a frame
    if series.name is None:
        raise InvalidFrame(
            f"the entities are a {type(series).__name__} without a name",
            hint='.rename("customer") says which join key it is',
        )
    return {series.name: series}


def _of_rows(rows: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    names = dict.fromkeys(name for row in rows for name in row)
    for place, row in enumerate(rows):
        lacking = [name for name in names if name not in row]
        if lacking:
            raise InvalidFrame(
                f"row {place} of the entities lacks {', '.join(map(str, lacking))}",
                hint="each row needs every join key",
            )
    return {name: [row[name] for row in rows] for name in names}


# Which shapes there are, and how each is read; the first that fits counts.
_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], dict[Any, Any]]], ...] = (
    (_is_pandas("DataFrame"), _of_frame),
    (lambda entities: isinstance(entities, Mapping), dict),
    (_is_pandas("MultiIndex"), lambda index: _of_frame(index.to_frame(index=False))),
    (_is_pandas("Series"), _of_series),
    (_is_pandas("Index"), _of_series),
    (
        lambda entities: isinstance(entities, np.ndarray) and entities.dtype.names is not None,
        lambda records: {name: records[name] for name in records.dtype.names},
    ),
    (lambda entities: hasattr(entities, "__arrow_c_stream__") or isinstance(entities, pa.RecordBatch), _of_table),
    (
        lambda entities: isinstance(entities, (list, tuple)) and all(isinstance(row, Mapping) for row in entities),
        _of_rows,
    ),
    (
        lambda entities: hasattr(entities, "columns") and hasattr(entities, "__getitem__"),
        lambda frame: {name: frame[name] for name in frame.columns},
    ),
)


def _rows_without_columns(entities: Any) -> int:
    """Return how many rows entities have whose columns do not tell: one, but for frames and lists of so many empty rows."""
    import pandas as pd

    return len(entities) if isinstance(entities, (list, tuple, pd.DataFrame)) else 1


# --- join keys -------------------------------------------------------------------------------------------------------


def entity_table(entities: Any, wanted: Sequence[Requested]) -> pa.Table:
    """Return the join keys that views need of entities, in order, repeats kept.

    Parameters
    ----------
    entities
        Of any shape that `Entities.of` reads.
    wanted
        The views; one without entities adds Feast's own constant key.

    Raises
    ------
    InvalidFrame
        A join key is missing, null somewhere, or of another type than the view's.
    """
    from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

    given = Entities.of(entities)
    arrays: dict[str, pa.Array] = {}
    for view_request in wanted:
        for _stored, name, value_type in view_request.keys:
            if name == DUMMY_ENTITY_ID:
                arrays[name] = pa.array([DUMMY_ENTITY_VAL] * given.rows, pa.string())
                continue
            if name not in given.columns:
                raise InvalidFrame(f"the entities lack the join key {name!r}", hint=_lacking(name, given))
            arrays[name] = key_column(array_of(given.columns[name], name), name, value_type)
    return pa.table(arrays)


def _lacking(name: str, given: Entities) -> str:
    return close_names(name, given.columns) if given.columns else f'pass {{"{name}": […]}}, or a frame with that column'


def array_of(values: Any, name: str) -> pa.Array:
    """Return a column of entities as an Arrow array.

    Raises
    ------
    InvalidFrame
        Its values have several types, or one that Arrow does not have.
    """
    import pandas as pd

    try:
        if isinstance(values, (pd.Series, pd.Index)):
            values = dense(values) if isinstance(values, pd.Series) else values
            array = pa.Array.from_pandas(values)
        elif isinstance(values, (pa.Array, pa.ChunkedArray)):
            array = values
        else:
            array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as exc:
        raise mixed_types(values, name, exc) from exc
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def entity_keys(view_request: Requested, entities: pa.Table) -> pa.Array:
    """Return the encoded entity key of each row for one view."""
    keys = view_request.keys
    if not entities.num_rows:
        return pa.array([], pa.binary())
    return codec.encode_entity_keys(
        [stored for stored, _name, _type in keys],
        [kind for _stored, _name, kind in keys],
        [entities.column(name) for _stored, name, _type in keys],
    )


def shown_keys(table: pa.Table) -> list[str]:
    """Return the names of the join keys that people know: Feast's constant key of views without entities is not one."""
    from feast.feature_view import DUMMY_ENTITY_ID

    return [name for name in table.column_names if name != DUMMY_ENTITY_ID]


__all__ = ["SHAPES", "Entities", "array_of", "entity_keys", "entity_table", "is_column", "shown_keys", "storable"]
