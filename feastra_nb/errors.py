"""Every error that the package raises on purpose.

One root, leaves that also inherit the built-in a caller would expect::

    FeastraError
    ├── ConfigurationError        (ValueError)       an argument, option, profile or yaml makes no sense
    ├── ConnectionFailed          (ConnectionError)  no session could be opened
    │   ├── AuthenticationFailed  (PermissionError)  the server refused the credentials
    │   ├── KeyspaceNotFound      (LookupError)      the keyspace is not there and was not asked to be made
    │   └── LocalNodeFailed       (RuntimeError)     the local Cassandra could not be fetched or started
    ├── RequestFailed             (RuntimeError)     the server refused or failed a request
    │   ├── RequestTimedOut       (TimeoutError)     no answer within the request timeout
    │   ├── EndpointFailed        (RuntimeError)     a feature server answered with an error
    │   ├── Unavailable           (ConnectionError)  too few replicas are alive for the consistency level
    │   └── WriteIncomplete       (RuntimeError)     a write stopped part-way; says what was acknowledged
    ├── FeastFailed               (RuntimeError)     Feast, or the offline store behind it, refused or failed
    ├── InvalidFrame              (ValueError)       a DataFrame cannot be materialized or joined as it is
    ├── UnknownName               (LookupError)      no such feature view, feature or service
    ├── BeyondRetention           (LookupError)      an as-of instant before what the online store remembers
    ├── CatalogConflict           (RuntimeError)     two writers, two registries, or a stale one, disagree
    ├── ReadOnly                  (PermissionError)  the workspace was opened with ``read_only=True``
    └── WorkspaceClosed           (RuntimeError)     the workspace was closed

A message says what happened, with the offending value (never a secret); ``hint`` says what to do. In a notebook an error
is shown in two lines (IPython's ``_render_traceback_``); in a script it is an exception like any other.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class FeastraError(Exception):
    """Root of all errors of this package.

    Parameters
    ----------
    message
        What happened, with the offending value.
    hint
        What to do about it.

    Examples
    --------
    >>> print(FeastraError("no table", hint="call ws.materialize first"))
    no table
    Hint: call ws.materialize first
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.shows_traceback = False

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nHint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Spark and process pools carry errors between processes.
        return (_rebuild, (type(self), self.message, self.hint, self.__dict__))

    def _render_traceback_(self) -> list[str]:
        """Show two lines in a notebook instead of a traceback (a hook of IPython), unless ``shows_traceback`` asks for it."""
        if self.shows_traceback:
            import traceback

            return ["".join(traceback.format_exception(type(self), self, self.__traceback__))]
        # One string: between several some of IPython's modes put no line end.
        return [f"{type(self).__name__}: {self}"]


def _rebuild(cls: type[FeastraError], message: str, hint: str | None, state: dict[str, object]) -> FeastraError:
    error = cls(message, hint=hint)
    error.__dict__.update(state)
    return error


class ConfigurationError(FeastraError, ValueError):
    """An argument, an option, a profile or a yaml makes no sense."""


class ConnectionFailed(FeastraError, ConnectionError):
    """No session could be opened."""


class AuthenticationFailed(ConnectionFailed, PermissionError):
    """The server refused the credentials."""


class KeyspaceNotFound(ConnectionFailed, LookupError):
    """The keyspace is not there and was not asked to be made."""


class LocalNodeFailed(ConnectionFailed, RuntimeError):
    """The local Cassandra could not be fetched or started."""


class RequestFailed(FeastraError, RuntimeError):
    """The server refused or failed a request."""


class RequestTimedOut(RequestFailed, TimeoutError):
    """No answer came within the request timeout."""


class EndpointFailed(RequestFailed):
    """A feature server answered with an error.

    Parameters
    ----------
    message, hint
        As for `FeastraError`.
    status
        The HTTP status.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status

    @property
    def kind(self) -> str:
        """The kind by which such errors are counted, such as ``"HTTP 503"``."""
        return f"HTTP {self.status}"


class Unavailable(RequestFailed, ConnectionError):
    """Too few replicas are alive for the consistency level."""


class WriteIncomplete(RequestFailed):
    """A write stopped part-way; it can be repeated safely.

    Parameters
    ----------
    acknowledged
        Rows that the server acknowledged before the failure.
    rows
        Rows that were to be written; None where they came as a stream.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, acknowledged: int = 0, rows: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.acknowledged = acknowledged
        self.rows = rows


class FeastFailed(FeastraError, RuntimeError):
    """Feast, or the offline store behind it, refused or failed."""


class InvalidFrame(FeastraError, ValueError):
    """A DataFrame cannot be materialized or joined as it is."""


class UnknownName(FeastraError, LookupError):
    """No such feature view, feature or feature service."""


class BeyondRetention(FeastraError, LookupError):
    """An as-of instant lies before what the online store remembers."""


class CatalogConflict(FeastraError, RuntimeError):
    """Two writers, two registries, or a stale one, disagree about a view's table."""


class ReadOnly(FeastraError, PermissionError):
    """The workspace was opened with ``read_only=True``."""


class WorkspaceClosed(FeastraError, RuntimeError):
    """The workspace was closed."""


def close_names(name: str, known: Iterable[str]) -> str:
    """Return a hint with the known names closest to a wrong one.

    Examples
    --------
    >>> close_names("plane_stat", ["plane_stats", "weather"])
    'did you mean plane_stats?'
    >>> close_names("x", ["plane_stats", "weather"])
    'known names: plane_stats, weather'
    >>> close_names("x", [])
    'there are none yet'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known names: {', '.join(names[:20])}" if names else "there are none yet"
