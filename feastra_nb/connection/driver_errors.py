"""Translates the driver's exceptions and log records into ours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.liveness import LocalNote, Shortage, local_note
from feastra_nb.errors import (
    AuthenticationFailed,
    CatalogConflict,
    ConnectionFailed,
    FeastraError,
    KeyspaceNotFound,
    RequestFailed,
    RequestTimedOut,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cassandra.cluster import NoHostAvailable

    from feastra_nb.connection.cluster import Database

GUARDRAIL = "Guardrail"  # begins what a server says of a limit that its operator has set


class _Forward(logging.Handler):
    """Hands the driver's records to our logger, which stays silent unless the user asks for it."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "cassandra.policies" and record.levelno <= logging.INFO:
            return  # which data centre is taken, once a policy: three lines at each start of Feast's command
        logging.getLogger("feastra_nb.driver").handle(record)


def quiet_driver_log() -> None:
    """Send what the driver logs to ``feastra_nb.driver`` instead of the notebook's standard error."""
    driver = logging.getLogger("cassandra")
    if not any(isinstance(handler, _Forward) for handler in driver.handlers):
        driver.addHandler(_Forward())
        driver.propagate = False


class map_driver_errors:  # noqa: N801 - a context manager, of which reads enter several
    """Turn whatever the driver raises into an error of ours.

    Parameters
    ----------
    what
        The CQL text, or what was being done; quoted in the message. Never holds values.
    db
        Where it was done, so that an error can say which of its nodes are down.
    """

    __slots__ = ("_db", "_what")

    def __init__(self, what: str, db: Database | None = None) -> None:
        self._what = what
        self._db = db

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, FeastraError):
            return
        from cassandra import DriverException
        from cassandra.cluster import NoHostAvailable
        from cassandra.connection import ConnectionException
        from cassandra.protocol import ErrorMessage

        if isinstance(error, (DriverException, ErrorMessage, NoHostAvailable, ConnectionException)):
            raise translate(error, self._what, self._db) from error
        if isinstance(error, OSError):
            raise ConnectionFailed(f"{self._what}: {error}", hint="is the address right and the server up?") from error


def translate(exc: BaseException, what: str, db: Database | None = None) -> FeastraError:
    """Return our error for one of the driver's; parameters as for `map_driver_errors`."""
    from cassandra import AuthenticationFailed as DriverAuthenticationFailed
    from cassandra import InvalidRequest, OperationTimedOut, Timeout, Unauthorized, UnresolvableContactPoints
    from cassandra import Unavailable as DriverUnavailable
    from cassandra.cluster import NoHostAvailable
    from cassandra.connection import ConnectionException
    from cassandra.protocol import OverloadedErrorMessage, ServerError

    what = " ".join(what.split())[:200]
    if isinstance(exc, NoHostAvailable) and (answer := _answer(exc)) is not None:
        exc = answer
    if isinstance(exc, (DriverAuthenticationFailed, Unauthorized)):
        return AuthenticationFailed(
            f"{what}: {exc}", hint="check the user name, the password or the token, and its role"
        )
    if isinstance(exc, DriverUnavailable):
        return _unavailable(exc, what, db)
    if isinstance(exc, (OperationTimedOut, Timeout)):
        return _timed_out(exc, what, db)
    if isinstance(exc, (NoHostAvailable, ConnectionException, UnresolvableContactPoints)):
        return _no_host(exc, what, db)
    if isinstance(exc, InvalidRequest):
        return _invalid(exc, what)
    is_ill = isinstance(
        exc, (OverloadedErrorMessage, ServerError)
    )  # such as "Server is shutting down", for want of disk
    note = local_note(_addresses(exc, db), only_ill=True) if is_ill else LocalNote()
    return RequestFailed(f"{what}: {type(exc).__name__}: {exc}{note.text}", hint=note.hint or None)


def _answer(exc: NoHostAvailable) -> BaseException | None:
    """Return what a server said, where the driver tells of it as of hosts that are not there: a refusal or a failure."""
    from cassandra import AuthenticationFailed as DriverAuthenticationFailed
    from cassandra import DriverException, OperationTimedOut
    from cassandra import Unavailable as DriverUnavailable
    from cassandra.protocol import ErrorMessage

    causes = list(exc.errors.values()) if isinstance(exc.errors, dict) else []
    answers = [
        getattr(cause, "to_exception", lambda cause=cause: cause)()
        for cause in causes
        if isinstance(cause, (DriverException, ErrorMessage)) and not isinstance(cause, OperationTimedOut)
    ]
    for kind in (DriverAuthenticationFailed, DriverUnavailable, Exception):
        for answer in answers:
            if isinstance(answer, kind):
                return answer
    return None


def _no_host(exc: Any, what: str, db: Database | None) -> FeastraError:
    from cassandra import UnresolvableContactPoints

    if isinstance(exc, UnresolvableContactPoints):
        return ConnectionFailed(
            f"{what}: no such host is known", hint="is the host's name right, and this machine on its network?"
        )
    errors = getattr(exc, "errors", None)  # of each host; only their addresses where none could be asked
    reasons = str(exc)
    if isinstance(errors, dict):
        reasons = "; ".join(f"{host}: {cause}" for host, cause in errors.items()) or "all are held for down"
    short = db.shortage(gone={address for address, _port in _failed(errors)}) if db is not None else None
    if short is not None and short.alive:
        return _too_few(short, what, _addresses(exc, db))
    note = local_note(_addresses(exc, db))
    hint = "check host and port, that the node is up, and TLS settings; fnb.connect(fnb.Local()) needs no server"
    return ConnectionFailed(
        f"{what}: no host could be reached ({reasons}){note.text}",
        hint=note.hint or hint,
    )


def _unavailable(exc: Any, what: str, db: Database | None) -> FeastraError:
    from cassandra import ConsistencyLevel

    level = ConsistencyLevel.value_to_name.get(exc.consistency, str(exc.consistency))
    down = db.down() if db is not None else ()
    return _too_few(Shortage(level, exc.required_replicas, exc.alive_replicas, down), what, _addresses(exc, db))


def _too_few(short: Shortage, what: str, addresses: Iterable[tuple[str, int]]) -> FeastraError:
    down = f" (down: {', '.join(short.down)})" if short.down else ""
    alive = f"{short.alive} {'is' if short.alive == 1 else 'are'} alive"
    lower = "LOCAL_ONE" if short.level.endswith("QUORUM") else "LOCAL_QUORUM"
    note = local_note(addresses, only_ill=True)
    start = f"{note.hint}; " if note.hint else ""
    replicas = f"{short.required} replica{'s' if short.required != 1 else ''}"
    return Unavailable(
        f"{what}: consistency level {short.level} needs {replicas}, {alive}{down}{note.text}",
        hint=f'{start}wait for the nodes to return, or ask for fewer replicas: fnb.connect(…, consistency="{lower}")',
    )


def _timed_out(exc: BaseException, what: str, db: Database | None) -> FeastraError:
    addresses = _addresses(exc, db)
    short = db.shortage() if db is not None else None
    if short is not None:
        return _too_few(short, f"{what}: no answer in time", addresses)
    note = local_note(addresses)
    return RequestTimedOut(
        f"{what}: no answer in time ({exc}){note.text}", hint=note.hint or "is the cluster overloaded or far away?"
    )


def _addresses(exc: BaseException, db: Database | None) -> list[tuple[str, int]]:
    """Return hosts and ports that an error speaks of, and those that the session was told."""
    return _failed(getattr(exc, "errors", None)) + (
        [(host, db.settings.port) for host in db.settings.hosts] if db is not None else []
    )


def _failed(errors: object) -> list[tuple[str, int]]:
    """Return hosts and ports of the driver's errors by host."""
    failures = []
    for host in errors if isinstance(errors, dict) else ():
        endpoint = getattr(host, "endpoint", host)  # a host, an end point, or its text
        address, _, port = str(endpoint).rpartition(":")
        if port.isdecimal():
            failures.append((address, int(port)))
    return failures


def is_unknown_table(error: BaseException) -> bool:
    """Tell whether an error, the driver's or ours for it, says that a node does not know a table, or an earlier form of it."""
    from cassandra import CoordinationFailure, InvalidRequest
    from cassandra.cluster import NoHostAvailable
    from cassandra.protocol import ServerError

    for each in (error, error.__cause__):
        answers = _answer(each) if isinstance(each, NoHostAvailable) else each
        if isinstance(answers, (InvalidRequest, ServerError)) and _names_no_table(str(answers)):
            return True
        # A replica that is just making the table answers with one of these, by how far it has come.
        if isinstance(answers, CoordinationFailure) and any(why in str(answers) for why in _NOT_YET):
            return True
    return False


_NOT_YET = ("INCOMPATIBLE_SCHEMA", "failures: UNKNOWN from")


def _names_no_table(text: str) -> bool:
    known = "unconfigured table", "Unknown CF"  # the latter of a node that is about to learn of a change
    return any(each in text for each in known) or ("table" in text and "does not exist" in text)


_LEVEL_HINT = (
    'the server takes no write at this consistency level; fnb.connect(…, consistency="LOCAL_QUORUM"), the default'
)
_LIMIT_HINT = (
    "the server limits this; where it is the number of tables, drop views that nobody reads, or use another database"
)


def _invalid(exc: BaseException, what: str) -> FeastraError:
    text = str(exc)
    if "keyspace" in text.lower() and "does not exist" in text:
        return KeyspaceNotFound(f"{what}: {text}", hint="make it first, or pass create_keyspace=True")
    if _names_no_table(text):
        return CatalogConflict(
            f"{what}: {text}", hint="the feature view was dropped or re-created meanwhile; connect or apply again"
        )
    if GUARDRAIL in text:
        is_level = "consistency levels" in text.lower()
        return RequestFailed(f"{what}: {text}", hint=_LEVEL_HINT if is_level else _LIMIT_HINT)
    return RequestFailed(f"{what}: {text}")
