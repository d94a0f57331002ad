"""What the driver logs and raises, as ours: here, once."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Iterator

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


@contextlib.contextmanager
def map_driver_errors(what: str) -> Iterator[None]:
    """Turn whatever the driver raises into an error of ours.

    Parameters
    ----------
    what
        The CQL text, or what was being done; quoted in the message. Never holds values.
    """
    from cassandra import DriverException
    from cassandra.cluster import NoHostAvailable
    from cassandra.protocol import ErrorMessage

    try:
        yield
    except FeastraError:
        raise
    except (DriverException, ErrorMessage, NoHostAvailable) as exc:
        raise translate(exc, what) from exc
    except OSError as exc:
        raise ConnectionFailed(f"{what}: {exc}", hint="is the address right and the server up?") from exc


def translate(exc: BaseException, what: str) -> FeastraError:
    """Return our error for one of the driver's."""
    from cassandra import AuthenticationFailed as DriverAuthenticationFailed
    from cassandra import InvalidRequest, OperationTimedOut, Timeout, Unauthorized, UnresolvableContactPoints
    from cassandra import Unavailable as DriverUnavailable
    from cassandra.cluster import NoHostAvailable

    what = " ".join(what.split())[:200]
    if isinstance(exc, (NoHostAvailable, UnresolvableContactPoints)):
        return _no_host(exc, what)
    if isinstance(exc, (DriverAuthenticationFailed, Unauthorized)):
        return AuthenticationFailed(
            f"{what}: {exc}", hint="check the user name, the password or the token, and its role"
        )
    if isinstance(exc, (OperationTimedOut, Timeout)):
        return RequestTimedOut(f"{what}: no answer in time ({exc})", hint="is the cluster overloaded or far away?")
    if isinstance(exc, DriverUnavailable):
        return Unavailable(
            f"{what}: {exc.alive_replicas} of {exc.required_replicas} replicas are alive",
            hint="wait for the nodes to return, or ask for a lower consistency level",
        )
    if isinstance(exc, InvalidRequest):
        return _invalid(exc, what)
    return RequestFailed(f"{what}: {type(exc).__name__}: {exc}")


def _no_host(exc: Any, what: str) -> FeastraError:
    from cassandra import AuthenticationFailed as DriverAuthenticationFailed
    from cassandra import UnresolvableContactPoints

    if isinstance(exc, UnresolvableContactPoints):
        return ConnectionFailed(
            f"{what}: no such host is known", hint="is the host's name right, and this machine on its network?"
        )
    causes = list(getattr(exc, "errors", {}).values() if isinstance(getattr(exc, "errors", None), dict) else [])
    for cause in causes:
        if isinstance(cause, DriverAuthenticationFailed):
            return translate(cause, what)
    reasons = "; ".join(f"{host}: {cause}" for host, cause in (exc.errors or {}).items()) or str(exc)
    return ConnectionFailed(
        f"{what}: no host could be reached ({reasons})",
        hint="check host and port, that the node is up, and TLS settings; fnb.connect(fnb.Local()) needs no server",
    )


_LEVEL_HINT = (
    'the server takes no write at this consistency level; fnb.connect(…, consistency="LOCAL_QUORUM"), the default'
)
_LIMIT_HINT = (
    "the server limits this; where it is the number of tables, drop views that nobody reads, or use another database"
)


def _invalid(exc: BaseException, what: str) -> FeastraError:
    text = str(exc)
    if "Keyspace" in text and "does not exist" in text:
        return KeyspaceNotFound(f"{what}: {text}", hint="make it first, or pass create_keyspace=True")
    if "unconfigured table" in text or ("table" in text and "does not exist" in text):
        return CatalogConflict(
            f"{what}: {text}", hint="the feature view was dropped or re-created meanwhile; connect or apply again"
        )
    if GUARDRAIL in text:
        is_level = "consistency levels" in text.lower()
        return RequestFailed(f"{what}: {text}", hint=_LEVEL_HINT if is_level else _LIMIT_HINT)
    return RequestFailed(f"{what}: {text}")
