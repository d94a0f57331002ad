"""The HTTP endpoint of a `feast serve`, as a target of measurement."""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feastra_nb.errors import ConfigurationError, ConnectionFailed, EndpointFailed, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from feastra_nb.latency.histogram import Histogram

    Int64s = npt.NDArray[np.int64]

PATH = "/get-online-features"
SHOWN_CHARACTERS = 200  # of an answer that is an error
HTTP_OK = 200
OWN_CONSISTENCY = "the endpoint's own"


def is_url(target: str) -> bool:
    """Tell whether a target is an address.

    Examples
    --------
    >>> is_url("http://127.0.0.1:6566"), is_url("feast")
    (True, False)
    """
    return target.startswith(("http://", "https://"))


class EndpointTarget:
    """A feature server that answers ``POST /get-online-features``.

    Parameters
    ----------
    url
        Its address, such as ``http://127.0.0.1:6566``.
    features
        References or a feature service.
    timeout_s
        The longest wait for an answer, in seconds.

    Raises
    ------
    ConfigurationError
        The address makes no sense.
    """

    consistency = OWN_CONSISTENCY

    def __init__(self, url: str, features: Any, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._address = _address(url)
        self.name = self._address.geturl()
        self._asked = {"features": features} if isinstance(features, list) else {"feature_service": features.name}
        # A connection a calling thread, kept open: so does whoever cares for latency.
        self._mine = threading.local()
        self._opened: list[HTTPConnection] = []

    def reader(self, keys: pa.Table, batches: Int64s) -> Callable[[int], object]:
        """Return a call that posts the i-th batch; it tells the endpoint's share of the time from the decoding's.

        Raises
        ------
        ConnectionFailed, RequestFailed
            The first batch is not answered: nobody is there, or the features are not known there.
        """
        columns = {name: keys.column(name).to_pylist() for name in keys.column_names}

        def read(i: int) -> dict[str, int]:
            picked = batches[i % len(batches)].tolist()
            entities = {name: [values[row] for row in picked] for name, values in columns.items()}
            body = json.dumps(self._asked | {"entities": entities, "full_feature_names": True}, default=str)
            began_ns = time.perf_counter_ns()
            answer = self._post(body.encode())
            answered_ns = time.perf_counter_ns()
            json.loads(answer)
            return {"endpoint": answered_ns - began_ns, "decoding": time.perf_counter_ns() - answered_ns}

        self._try(read)
        return read

    def conversion(self) -> Histogram | None:
        """Return None: an answer is a dict, not Feast's."""

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._opened:
            self._opened.pop().close()

    def _try(self, read: Callable[[int], object]) -> None:
        try:
            read(0)
        except (OSError, HTTPException) as error:
            raise ConnectionFailed(
                f"nothing answers at {self.name}: {error}", hint="is `feast serve` running there, and the port right?"
            ) from error
        except ValueError as error:
            raise RequestFailed(f"{self.name} answers with no JSON: {error}", hint="is it a `feast serve`?") from error

    def _post(self, body: bytes) -> bytes:
        kept = getattr(self._mine, "connection", None)
        if kept is not None:
            try:
                return self._exchange(kept, body)
            except (ConnectionResetError, BrokenPipeError):
                self._opened.remove(
                    kept
                )  # a server closes what was idle for long, which is not a failure: a new connection tells
        return self._exchange(self._connect(), body)

    def _exchange(self, connection: HTTPConnection, body: bytes) -> bytes:
        try:
            connection.request("POST", self._address.path + PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content: bytes = answer.read()
        except (OSError, HTTPException):
            connection.close()
            raise
        if answer.status != HTTP_OK:
            shown = content[:SHOWN_CHARACTERS].decode(errors="replace")
            raise EndpointFailed(
                f"{self.name} answers HTTP {answer.status}: {shown}",
                hint="are the features those of the server's registry?", status=answer.status,
            )  # fmt: skip
        return content

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        host = str(self._address.hostname)
        connection = self._mine.connection = kind(host, self._address.port, timeout=self.timeout_s)
        self._opened.append(connection)
        return connection


def _address(url: str) -> Any:
    address = urlsplit(url.rstrip("/").removesuffix(PATH))
    if "@" in address.netloc:
        # Not repeated: it holds a password.
        raise ConfigurationError("target is a URL with a user name in it", hint="give the address alone")
    try:
        is_whole = bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigurationError(f"target={url!r} is not a whole address", hint='such as "http://127.0.0.1:6566"')
    return address
