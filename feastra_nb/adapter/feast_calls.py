"""Calls Feast and its offline store: silences their prints and translates their errors into ours."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_private import print_by
from feastra_nb.errors import ConfigurationError, FeastFailed, FeastraError, InvalidFrame, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("feastra_nb")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What ibis and pandas warn Feast of, which nobody who calls us can mend: the warnings' beginnings.
_NOT_FOR_USERS = (
    r"fetch_arrow_table",
    r"fetch_record_batch",
    r"The behavior of array concatenation",
    r"datetime.datetime.utc",
)
_is_quiet: ContextVar[bool] = ContextVar("feastra_quiet", default=False)


@contextlib.contextmanager
def quiet_feast() -> Iterator[None]:
    """Send what Feast prints in this thread to our logger; other threads, and everybody else's prints, go on."""
    print_by(_print)
    hush_warnings()
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _print(*values: object, **options: Any) -> None:
    """Print for a module of Feast: as ever, or into our log while this thread is quiet."""
    if not _is_quiet.get():
        print(*values, **options)  # noqa: T201 - on behalf of Feast
        return
    text = _COLOUR.sub("", " ".join(map(str, values)))
    for line in filter(str.strip, text.splitlines()):
        log.info("feast: %s", line)


def hush_warnings() -> None:
    """Hold back deprecation warnings of Feast's own dependencies, which Feast shows once a call site.

    By their texts, for the whole process: setting filters for a while is not safe beside other threads.
    """
    for text in _NOT_FOR_USERS:
        for category in (DeprecationWarning, FutureWarning):
            entry = ("ignore", re.compile(text, re.IGNORECASE), category, None, 0)
            if entry not in warnings.filters[: 2 * len(_NOT_FOR_USERS)]:
                warnings.filterwarnings("ignore", message=text, category=category)


def hush_advice() -> None:
    """Drop Feast's advice that serving while a view is materialized has no effect on a registry file, where it has."""
    logger = logging.getLogger("feast.repo_config")
    if _is_right_advice not in logger.filters:
        logger.addFilter(_is_right_advice)


def _is_right_advice(record: logging.LogRecord) -> bool:
    # A filter says which records stay.
    return "serve_features_while_materializing" not in record.getMessage()


@contextlib.contextmanager
def calling_feast(what: str) -> Iterator[None]:
    """Call Feast quietly, and translate whatever it raises into an error of ours.

    Parameters
    ----------
    what
        What is being done, for messages: ``"reading view drivers offline"``.
    """
    with _quietly(what, lambda _exc: True):
        yield


@contextlib.contextmanager
def streaming_from_feast(what: str) -> Iterator[None]:
    """As `calling_feast`, around code that also runs what is not Feast's: other errors than its libraries' pass through."""
    with _quietly(what, _is_of_libraries):
        yield


@contextlib.contextmanager
def _quietly(what: str, is_translated: Callable[[Exception], bool]) -> Iterator[None]:
    try:
        with quiet_feast():
            yield
    except FeastraError:
        raise
    except Exception as exc:
        if not is_translated(exc):
            raise
        raise translate(exc, what) from exc


def _is_of_libraries(exc: Exception) -> bool:
    root = type(exc).__module__.partition(".")[0]
    return root in {
        "feast",
        "duckdb",
        "_duckdb",
        "ibis",
        "pyarrow",
        "pydantic",
        "pydantic_core",
        "sqlglot",
        "py4j",
        "pyspark",
    }


def translate(exc: Exception, what: str) -> FeastraError:
    """Return our error for one that Feast, or a library behind it, raised."""
    from feast import errors as of_feast

    text = _text_of(exc)
    if isinstance(exc, of_feast.RequestDataNotFoundInEntityRowsException):
        return InvalidFrame(
            f"{what}: {text}", hint="an on-demand view computes with request data: give them as columns of the entities"
        )
    if isinstance(exc, of_feast.FeastObjectNotFoundException):
        return UnknownName(f"{what}: {text}", hint="ws.views() lists what is registered")
    if "cannot serve features" in text:
        return _not_servable(text, what)
    settings = type(exc).__name__ in _OF_SETTINGS or isinstance(exc, of_feast.FeastError)
    if settings:
        return ConfigurationError(f"{what}: {text}", hint=_hint_of(text))
    return FeastFailed(f"{what}: {type(exc).__name__}: {text}", hint=_hint_of(text))


# Classes of errors about what somebody has configured: Feast's, pydantic's and those of YAML.
_OF_SETTINGS = ("ValidationError", "FeastConfigError", "ParserError", "ScannerError", "ComposerError")
# What DuckDB and pydantic add to what they say: the place in a statement nobody wrote, and where to read about it.
_ADDED = re.compile(r"(?: LINE \d+: .*| For further information visit \S+| \[type=.*?\])", re.DOTALL)


def _text_of(exc: Exception) -> str:
    """Return what an error says in one line; pydantic's says it in several."""
    errors = getattr(exc, "errors", None)
    if type(exc).__name__ == "ValidationError" and callable(errors):
        return "; ".join(
            f"{'.'.join(map(str, entry['loc'])) or 'configuration'}: {entry['msg'].removeprefix('Value error, ')}"
            for entry in errors(include_url=False, include_input=False)
        )
    return _ADDED.sub("", " ".join(str(exc).split()))[:400] or "no reason was given"


def _not_servable(text: str, what: str) -> FeastraError:
    name = next(iter(re.findall(r"Feature view '(.+?)'", text)), "…")
    if "is disabled" in text:
        return ConfigurationError(f"{what}: view {name!r} is disabled", hint=f"feast feature-views enable {name}")
    state = next(iter(re.findall(r"in state '(\w+)'", text)), "unknown")
    return ConfigurationError(
        f"{what}: view {name!r} was never materialized to the end (its state is {state})",
        hint=f"ws.materialize({name!r}) writes it, after which it is served",
    )


_HINTS = (
    (r"No files found|No such file", "put the file back, or correct the path in the view's source and apply it"),
    (r"magic bytes|not a parquet|corrupt", "the file is damaged: write it again from where the data came from"),
    (r"Column '.+?' is not found", "the file lacks a column of the view: write it again, or correct the view's schema"),
    (r"OfflineStore`", 'offline="duckdb", or another type that Feast knows: file, dask, spark, bigquery, …'),
    (r"OnlineStore`", "type: feastra_nb.online_store.FeastraOnlineStore, or a type that Feast knows"),
    (
        r"[Rr]egistry",
        "registry= takes a path, a URL, or a mapping with registry_type and path, as in feature_store.yaml",
    ),
    (
        r"Error parsing message",
        "the registry file is damaged: take it from a backup, or delete it and apply the definitions again",
    ),
    (r"while (?:parsing|scanning)|must be a mapping", "feature_store.yaml is not what YAML allows, or not a mapping"),
    (r"validation error|Extra inputs|Field required", "correct that key in feature_store.yaml"),
)


def _hint_of(text: str) -> str:
    for pattern, hint in _HINTS:
        if re.search(pattern, text):
            return hint
    return "the exception's __cause__ is what was raised first"


__all__ = ["calling_feast", "hush_warnings", "quiet_feast", "streaming_from_feast", "translate"]
