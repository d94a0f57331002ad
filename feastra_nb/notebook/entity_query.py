"""The body of ``%%feastra historical``: DuckDB SQL over the notebook's own DataFrames, whose result is the entity frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError, close_names
from feastra_nb.notebook.placeholders import with_placeholders, without_hash_lines
from feastra_nb.retrieval.dataframes import to_pandas

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import pandas as pd

_TABLES = ("pandas", "pyarrow", "polars")  # whose tables DuckDB reads where they are, without a copy
_WORD = re.compile(r"[^\W\d]\w*")
_EXAMPLE = "SELECT tailnum, event_timestamp FROM flights"


def entity_frame(body: str, variables: Mapping[str, Any]) -> pd.DataFrame:
    """Run a query over the DataFrames among the variables and return its result; ``{name}`` binds a variable's value.

    Raises
    ------
    ConfigurationError
        The query is empty, DuckDB refuses it, or it returns no rows and columns.
    """
    import duckdb

    query, bound = with_placeholders(without_hash_lines(body), variables, lambda name: f"${name}")
    if not query:
        raise ConfigurationError("there is no query in the cell", hint=f"such as {_EXAMPLE}")
    frames = _mentioned(query, variables)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in frames.items():
            connection.register(name, frame)
        try:
            relation = connection.sql(query, params=dict(bound) or None)
            table = None if relation is None else relation.to_arrow_table()
        except duckdb.Error as exc:
            raise _refused(exc, variables) from None
    if table is None:
        raise ConfigurationError("the cell's query returns no table", hint=f"such as {_EXAMPLE}")
    return to_pandas(table, "numpy_nullable")


def frames_among(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables among the variables: of pandas, Arrow and Polars; names with an underscore are IPython's."""
    return {name: value for name, value in variables.items() if not name.startswith("_") and _is_table(value)}


def _is_table(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ in {"DataFrame", "Table", "LazyFrame"} and kind.__module__.partition(".")[0] in _TABLES


def _mentioned(query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables that a query names; DuckDB knows no capitals, so two that differ in nothing else cannot both be."""
    words = {word.lower() for word in _WORD.findall(query)}
    frames = {name: frame for name, frame in frames_among(variables).items() if name.lower() in words}
    names: dict[str, str] = {}
    for name in frames:
        other = names.setdefault(name.lower(), name)
        if other != name:
            raise ConfigurationError(
                f"SQL cannot tell {other} from {name}", hint="give one of the two another name: SQL knows no capitals"
            )
    return frames


def _refused(exc: duckdb.Error, variables: Mapping[str, Any]) -> ConfigurationError:
    """Return the error for a query, in one line: DuckDB's has several, with a picture of the place."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    message = lines[0] if lines else type(exc).__name__
    missing = re.search(r"Table with name (\S+) does not exist", message)
    if missing:
        names = list(frames_among(variables))
        return ConfigurationError(
            f"there is no DataFrame {missing[1]!r} in this notebook", hint=close_names(missing[1], names)
        )
    place = next((line for line in lines if line.startswith("LINE ")), None)
    advice = next((line for line in lines[1:] if "bindings" in line.lower() or "did you mean" in line.lower()), None)
    return ConfigurationError(f"the query was refused: {message}", hint=advice or place or f"such as {_EXAMPLE}")
