"""`ws.cql`: runs a CQL statement and returns a DataFrame, with payloads of our own tables decoded into features."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feastra_nb import codec
from feastra_nb.connection.cluster import READ, WRITE, consistency_value, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.connection.secrets import MASK
from feastra_nb.errors import (
    AuthenticationFailed,
    CatalogConflict,
    ConfigurationError,
    KeyspaceNotFound,
    ReadOnly,
    RequestFailed,
    RequestTimedOut,
    Unavailable,
    UnknownName,
    close_names,
)
from feastra_nb.retrieval.dataframes import to_pandas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from feastra_nb.connection.cluster import Database
    from feastra_nb.errors import FeastraError
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.stores import Stores

PAGE_ROWS = 5_000  # of one page of an answer
SCHEMA_TIMEOUT_S = 60.0  # what changes the schema waits for all nodes to agree
HAS_MORE = "has_more"  # in a frame's attrs: whether there were more rows than the limit
KEY, PAYLOAD = "entity_key", "features"
_READING = {"select", "list", "describe", "desc"}
_COMMENT = re.compile(r"--[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
# Strings, quoted names and comments are passed over, so that a FROM inside of them is none.
_FROM = re.compile(
    r"""'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|//[^\n]*|/\*.*?\*/|\bFROM\s+("(?:[^"]|"")+"|\w+)(?!\s*\.|\w)|"(?:[^"]|"")*\"""",
    re.DOTALL | re.IGNORECASE,
)
_SEMICOLON = re.compile(r"""'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|//[^\n]*|/\*.*?\*/|"(?:[^"]|"")*"|;""", re.DOTALL)
_CHANGED = re.compile(
    r"""(?:(?:DROP|ALTER)\s+TABLE|TRUNCATE(?:\s+TABLE)?|INSERT\s+INTO|UPDATE|DELETE\b.*?\bFROM)\s+(?:IF\s+EXISTS\s+)?("(?:[^"]|"")+"|\w+)(?!\s*\.|\w)""",
    re.DOTALL | re.IGNORECASE,
)
_STRING = re.compile(r"'((?:[^']|'')*)'|\$\$(.*?)\$\$", re.DOTALL)
_ABOUT_SECRETS = re.compile(r"password|secret|token|credential", re.IGNORECASE)
_PLACE = re.compile(r"line \d+:\d+")
_SAID = re.compile(r'message="(.*)"', re.DOTALL)  # in what the driver makes of the server's answer
_NO_TABLE = re.compile(r"(?:unconfigured table (\S+)|table (\S+) does not exist)")
# Where a statement is wrong, as the server shows it: cut off, be it in the middle of a string.
_SNIPPET = re.compile(r"\s*\([^()]*\[.*\.{3}\)$", re.DOTALL)
_NO_COLUMN = re.compile(r"Undefined column name (\S+)")
_SHORTEST_SECRET = 4  # characters; a shorter string is a word that an error may need

# What loses nothing as Arrow; the values of every other type stay the objects that the driver returns.
_ARROW: Mapping[str, pa.DataType] = {
    "ascii": pa.string(), "text": pa.string(), "varchar": pa.string(), "boolean": pa.bool_(), "double": pa.float64(),
    "float": pa.float32(), "bigint": pa.int64(), "counter": pa.int64(), "int": pa.int32(), "smallint": pa.int16(),
    "tinyint": pa.int8(), "timestamp": pa.timestamp("us", "UTC"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: names and CQL types of n columns, and rows of n values.

    Parameters
    ----------
    source
        Keyspace and table that the columns come from; None where that is not one table.
    has_more
        Whether there were more rows than were asked for.
    """

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    source: tuple[str, str] | None
    has_more: bool


def query(stores: Stores, statement: str, parameters: Sequence[Any], limit: int | None) -> pd.DataFrame:
    """Run a statement and return its rows; see `Workspace.cql`."""
    text = statement.strip().rstrip(";").rstrip()
    verb = next(iter(_COMMENT.sub(" ", text).split()), "").lower()
    _refuse(stores, text, verb, limit)
    opened = stores.online
    db, views = opened.db, {entry.view: entry for entry in opened.catalog.views(stores.project)}
    _refuse_change_of_view(text, verb, views)
    with _refusals(text, verb, db, views):
        if verb == "select":
            answer = _select(db, qualified(text, db.keyspace, views), parameters, limit)
        else:
            answer = _run(db, text, parameters, verb, limit)
    ours = {(db.keyspace, entry.table): entry for entry in views.values()}
    frame = _frame(answer, ours.get(answer.source) if answer.source else None)
    frame.attrs[HAS_MORE] = answer.has_more
    return frame


def _refuse(stores: Stores, text: str, verb: str, limit: int | None) -> None:
    if not verb:
        raise ConfigurationError("there is no statement", hint="such as SELECT * FROM plane_stats, with a view's name")
    if verb == "use":
        raise ConfigurationError(
            "USE would change the keyspace for everything in this process",
            hint=f'name it with the table: SELECT * FROM "{stores.keyspace}".…',
        )
    if stores.read_only and verb not in _READING:
        raise ReadOnly(f"this workspace was opened with read_only=True; {verb.upper()} writes")
    if verb != "begin" and any(match[0] == ";" for match in _SEMICOLON.finditer(text)):
        raise ConfigurationError("there are several statements", hint="one statement a call, or a cell")
    if limit is not None and limit < 1:
        raise ConfigurationError(f"limit={limit!r} makes no sense", hint="at least one row, or None for all")


def _refuse_change_of_view(text: str, verb: str, views: Mapping[str, ViewEntry]) -> None:
    """Refuse a statement that would change a view's table: registry, catalog and offline data would not know of it."""
    match = _CHANGED.match(_COMMENT.sub(" ", text).strip())
    name = None if match is None else _view_of(match[1], views)
    if name is None:
        return
    instead = f"ws.materialize(df, {name!r})" if verb in {"insert", "update"} else f"ws.drop({name!r})"
    instead = f"ws.forget({name!r}, entities)" if verb == "delete" else instead
    raise ConfigurationError(
        f"{name!r} is a view, which CQL alone cannot {verb}", hint=f"{instead} does it on both sides"
    )


def _view_of(name: str, views: Mapping[str, ViewEntry]) -> str | None:
    """Return the view that a name in a statement means; names without quotes know no capitals."""
    if name.startswith('"'):
        plain = name[1:-1].replace('""', '"')
        return plain if plain in views else None
    alike = [view for view in views if view.lower() == name.lower()]
    return name if name in views else alike[0] if len(alike) == 1 else None


def qualified(text: str, keyspace: str, views: Mapping[str, ViewEntry]) -> str:
    r"""Return a SELECT whose table is said whole: a view's name stands for its table, any other gets the keyspace.

    Examples
    --------
    >>> qualified("SELECT * FROM feastra_runs WHERE a = 'FROM b'", "features", {})
    'SELECT * FROM "features".feastra_runs WHERE a = \'FROM b\''
    """

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        view = _view_of(name, views)
        return f"FROM {quoted(keyspace)}.{name if view is None else quoted(views[view].table)}"

    return _FROM.sub(replaced, text)


def _select(db: Database, text: str, parameters: Sequence[Any], limit: int | None) -> Answer:
    # Prepared, since the server then says which table each column comes from.
    shown = _shown(text)
    with map_driver_errors(shown):
        prepared = db.session.prepare(text)
        statement = prepared.bind(_bindable(parameters, len(prepared.column_metadata or ())))
    statement.is_idempotent = True
    statement.consistency_level = consistency_value(db.settings.read_consistency)
    statement.fetch_size = PAGE_ROWS if limit is None else min(limit + 1, PAGE_ROWS)
    tables = {(keyspace, table) for keyspace, table, _name, _type in prepared.result_metadata or ()}
    with map_driver_errors(shown):
        return _answer(db.session.execute(statement, execution_profile=READ), limit, tables)


def _run(db: Database, text: str, parameters: Sequence[Any], verb: str, limit: int | None) -> Answer:
    profile = READ if verb in _READING else WRITE
    with map_driver_errors(_shown(text)):
        if parameters:
            prepared = db.session.prepare(text)
            statement: Any = prepared.bind(_bindable(parameters, len(prepared.column_metadata or ())))
        else:
            statement = text
        done = db.session.execute(statement, timeout=SCHEMA_TIMEOUT_S, execution_profile=profile)
        return _answer(done, limit, set())


def _bindable(parameters: Sequence[Any], wanted: int) -> list[Any]:
    if len(parameters) != wanted:
        raise ConfigurationError(f"the statement has {wanted} placeholders, and {len(parameters)} values were given")
    # What numpy and pandas hold, as Python's own; the driver takes nothing else.
    return [value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value for value in parameters]


def _answer(result: Any, limit: int | None, tables: set[tuple[str, str]]) -> Answer:
    names = list(result.column_names or ())
    rows = [tuple(row) for row in islice(result, None if limit is None else limit + 1)] if names else []
    return Answer(
        names,
        [kind.typename for kind in result.column_types or ()],
        rows[:limit],
        next(iter(tables)) if len(tables) == 1 else None,
        limit is not None and len(rows) > limit,
    )


# --- as a DataFrame --------------------------------------------------------------------------------------------------


def _frame(answer: Answer, entry: ViewEntry | None) -> pd.DataFrame:
    import pandas as pd

    columns: list[tuple[str, Any]] = []
    for place, (name, kind) in enumerate(zip(answer.names, answer.types, strict=True)):
        values = [row[place] for row in answer.rows]
        if entry is not None and kind == "blob" and name in {KEY, PAYLOAD}:
            columns += _keys(values, entry) if name == KEY else _features(values, entry)
        else:
            columns.append((name, _series(values, kind)))
    # By position: an answer may hold two columns of one name.
    frame = pd.DataFrame(dict(enumerate(column for _name, column in columns)), index=range(len(answer.rows)))
    frame.columns = pd.Index([name for name, _column in columns], dtype=object)
    return frame


def _series(values: list[Any], kind: str) -> Any:
    import pandas as pd

    if kind in _ARROW:
        return _pandas(pa.array(values, _ARROW[kind]))
    return pd.Series([_plain(value) for value in values], dtype=object)


def _pandas(column: pa.Array) -> Any:
    return to_pandas(pa.table({"value": column}), "numpy_nullable")["value"]


def _keys(values: list[bytes], entry: ViewEntry) -> list[tuple[str, Any]]:
    from feast.value_type import ValueType

    names = [name for name, _kind in entry.join_keys]
    decoded = codec.decode_entity_keys(values, names, [ValueType[kind] for _name, kind in entry.join_keys])
    return list(zip(names, map(_pandas, decoded), strict=True))


def _features(values: list[bytes | None], entry: ViewEntry) -> list[tuple[str, Any]]:
    from feast.value_type import ValueType

    names = list(entry.positions)
    kinds = [ValueType[entry.value_types[name]] for name in names]
    decoded = codec.decode_payloads(values, [entry.positions[name] for name in names], kinds)
    return list(zip(names, map(_pandas, decoded), strict=True))


def _plain(value: Any) -> Any:
    """Return the Python value of one of the driver's own: dates, times, sets, maps, also inside of each other."""
    from cassandra.util import Date, OrderedMap, SortedSet, Time

    if isinstance(value, Date):
        return value.date() if abs(value.days_from_epoch) < _DAYS else str(value)
    if isinstance(value, Time):
        return value.time()
    if isinstance(value, (SortedSet, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (OrderedMap, dict)):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


_DAYS = 700_000  # from the epoch: beyond it Python has no date


# --- refusals --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _refusals(text: str, verb: str, db: Database, views: Mapping[str, ViewEntry]) -> Iterator[None]:
    """Say what the server refuses in one line, with what to do, and with no string of the statement: it might be a secret."""
    refused: FeastraError | None = None
    try:
        yield
    except (RequestTimedOut, Unavailable):
        raise  # nothing was refused, and the statement is quoted without its strings
    except (RequestFailed, CatalogConflict, AuthenticationFailed, KeyspaceNotFound) as error:
        refused = _in_words(error, text, verb, db, views)
    if refused is not None:
        raise refused from None  # the driver's own error repeats the statement


def _in_words(error: FeastraError, text: str, verb: str, db: Database, views: Mapping[str, ViewEntry]) -> FeastraError:
    place = _PLACE.search(error.message)
    if _ABOUT_SECRETS.search(_STRING.sub("", text)):
        return RequestFailed(
            f"the server refused the {verb.upper()} statement{f' at {place[0]}' if place else ''}",
            hint="since the statement holds a secret, nothing of it is repeated here",
        )
    match = _SAID.search(error.message)
    message = match[1] if match else error.message
    if strings := {single or other for single, other in _STRING.findall(text)}:
        message = _mask(_SNIPPET.sub("", message), strings)
    if missing := _NO_TABLE.search(message):
        name = missing[1] or missing[2]
        return UnknownName(f"there is no view or table {name!r}", hint=close_names(name, [*views, *_tables(db)]))
    if (column := _NO_COLUMN.search(message)) and any(column[1] in _decoded(entry) for entry in views.values()):
        hint = "features lie in one column, join keys in another, and both come decoded: SELECT entity_key, features FROM …"
        return UnknownName(f"{column[1]!r} is not a column of its own", hint=hint)
    if "No keyspace has been specified" in message:
        return ConfigurationError("the statement names no keyspace", hint=f'name it with the table: "{db.keyspace}".…')
    kind = AuthenticationFailed if isinstance(error, AuthenticationFailed) else RequestFailed
    return kind(
        f"the server refused the statement: {message}", hint=error.hint if kind is AuthenticationFailed else None
    )


def _tables(db: Database) -> list[str]:
    rows = db.execute(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", (db.keyspace,), profile=READ
    )
    return [name for (name,) in rows]


def _decoded(entry: ViewEntry) -> set[str]:
    return {*entry.positions, *(name for name, _kind in entry.join_keys)}


def _mask(message: str, strings: set[str]) -> str:
    for string in sorted(filter(None, strings), key=len, reverse=True):
        message = message.replace(f"'{string}'", f"'{MASK}'")
        if len(string) >= _SHORTEST_SECRET:
            message = message.replace(string, MASK)
    return message


def _shown(text: str) -> str:
    """Return a statement as errors quote it."""
    return _STRING.sub(f"'{MASK}'", text)
