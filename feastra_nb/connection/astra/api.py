"""Astra's DevOps API over HTTP: requests, retries, and error messages for each refusal.

Nothing here knows of databases. A token is sent to the API and to nobody else, and no address of a download is logged or quoted.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feastra_nb.errors import AuthenticationFailed, ConnectionFailed, RequestFailed, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

    from feastra_nb.connection.secrets import Secret

log = logging.getLogger("feastra_nb.astra")

PUBLIC_URL = "https://api.astra.datastax.com"
TIMEOUT_S = 30.0
ATTEMPTS = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
BUSY = 429
_READING = ("GET", "HEAD")
_TOKEN_HINT = "make one in the Astra portal under Settings, Tokens; it begins with AstraCS:"  # noqa: S105 - words


@dataclass(frozen=True, slots=True)
class Api:
    """Where the DevOps API is, and the token that it is asked with.

    Parameters
    ----------
    token
        Application token.
    url
        Base address.
    transport
        Of httpx; None for the network.
    sleep
        Waits between attempts, in seconds.
    """

    token: Secret
    url: str = PUBLIC_URL
    transport: httpx.BaseTransport | None = field(default=None, repr=False)
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a path."""
        return self._json(self.request("GET", path, query=query), path)

    def post(self, path: str, body: Any = None, *, repeat: bool = False, **query: Any) -> httpx.Response:
        """Post, and return the response; ``repeat`` where doing it twice does no harm."""
        return self.request("POST", path, query=query, body=body, repeat=repeat)

    def ask(self, path: str) -> Any:
        """Post to a path that changes nothing, and return its JSON."""
        return self._json(self.post(path, repeat=True), path)

    def request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, repeat: bool = False
    ) -> httpx.Response:
        """Send one request, again where the API is busy or fails and that does no harm.

        Raises
        ------
        AuthenticationFailed
            The token is refused, or its role does not allow this.
        UnknownName
            There is no such thing.
        ConnectionFailed, RequestFailed
            The API cannot be reached, or refuses.
        """
        import httpx

        headers = {"Authorization": f"Bearer {self.token.reveal()}"}
        patient = repeat or method in _READING
        with httpx.Client(base_url=self.url, timeout=TIMEOUT_S, transport=self.transport, headers=headers) as client:
            return attempted(
                lambda: client.request(method, path, params=dict(query or {}), json=body),
                f"{method} {path}",
                host=urlsplit(self.url).netloc,
                attempts=ATTEMPTS if patient else 1,
                sleep=self.sleep,
            )

    def knock(self, url: str, body: Any) -> None:
        """Post to a database's own Data API, which takes the token in another header; the answer does not matter."""
        import httpx

        headers = {"Token": self.token.reveal()}
        with httpx.Client(timeout=TIMEOUT_S, transport=self.transport, headers=headers) as client:
            attempted(
                lambda: client.post(url, json=body), "resuming", host=urlsplit(url).netloc, attempts=1, sleep=self.sleep
            )

    def download(self, url: str, limit_bytes: int) -> bytes:
        """Return what a signed address holds. It gets no token, and is neither logged nor quoted.

        Raises
        ------
        ConnectionFailed
            It cannot be fetched, has expired, or is larger than the limit.
        """
        import httpx

        host = urlsplit(url).netloc
        with httpx.Client(timeout=TIMEOUT_S, transport=self.transport, follow_redirects=False) as client:
            try:
                with client.stream("GET", url) as response:
                    if not response.is_success:
                        raise ConnectionFailed(
                            f"{host} refused the bundle's download: HTTP {response.status_code}",
                            hint="such links live for five minutes: connect again for a new one",
                        )
                    return _within(response.iter_bytes(), limit_bytes)
            except httpx.TransportError as exc:
                raise _unreachable(exc, host) from None

    @staticmethod
    def _json(response: httpx.Response, path: str) -> Any:
        try:
            return response.json()
        except ValueError as exc:
            kind = response.headers.get("content-type", "nothing").split(";")[0]
            raise ConnectionFailed(
                f"{path} answered with {kind} where JSON was expected",
                hint="is a proxy or a login page in between? HTTPS_PROXY and NO_PROXY are honoured",
            ) from exc


def attempted(
    send: Callable[[], httpx.Response], what: str, *, host: str, attempts: int, sleep: Callable[[float], object]
) -> httpx.Response:
    """Send until there is a good answer, the last attempt failed, or the refusal is final.

    Parameters
    ----------
    what
        Method and path, for messages.
    """
    import httpx

    pause_s = FIRST_PAUSE_S
    for left in reversed(range(attempts)):
        try:
            response = send()
        except httpx.TransportError as exc:
            if not left:
                raise _unreachable(exc, host) from None
            wait_s = pause_s
        else:
            if response.status_code < 500 and response.status_code != BUSY:  # noqa: PLR2004 - the server's own faults
                return _good(response, what)
            if not left:
                raise _refused(response, what)
            wait_s = _asked_pause_s(response, pause_s)
        log.debug("%s: again in %.1f s", what, wait_s)
        sleep(wait_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _within(parts: Iterable[bytes], limit_bytes: int) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > limit_bytes:
            raise ConnectionFailed(
                f"the bundle's download is larger than {limit_bytes:,} bytes", hint="is a proxy in between?"
            )
    return bytes(body)


def _asked_pause_s(response: httpx.Response, pause_s: float) -> float:
    try:
        return min(float(response.headers["retry-after"]), LONGEST_PAUSE_S)
    except (KeyError, ValueError):
        return pause_s


def _good(response: httpx.Response, what: str) -> httpx.Response:
    if response.is_success:
        return response
    raise _refused(response, what)


def _unreachable(exc: Exception, host: str) -> ConnectionFailed:
    import httpx

    if isinstance(exc, httpx.TimeoutException):
        return ConnectionFailed(
            f"{host} did not answer within {TIMEOUT_S:.0f} s", hint="try again, or look for a slow proxy"
        )
    return ConnectionFailed(
        f"{host} cannot be reached: {exc}",
        hint="is this machine online? HTTPS_PROXY is honoured; a bundle= needs no API",
    )


def _refused(response: httpx.Response, what: str) -> Exception:
    status, words = response.status_code, _said(response)
    if status == 401:  # noqa: PLR2004 - HTTP's own numbers, here and below
        return AuthenticationFailed(f"Astra does not accept the token: {words}", hint=_TOKEN_HINT)
    if status == 403:  # noqa: PLR2004
        return AuthenticationFailed(
            f"the token's role does not allow {what}: {words}",
            hint="Database Administrator may; make a token with that role",
        )
    if status == 404:  # noqa: PLR2004
        return UnknownName(
            f"{what}: {words}", hint="was the database deleted, or does it belong to another organization?"
        )
    if status == BUSY:
        return RequestFailed(f"{what}: Astra limits the rate of requests ({words})", hint="wait a minute")
    return RequestFailed(f"{what}: HTTP {status}: {words}", hint="try again later" if status >= 500 else None)  # noqa: PLR2004


def _said(response: httpx.Response) -> str:
    """Return what an error says in words, whatever its shape."""
    try:
        answer = response.json()
        errors = answer["errors"] if isinstance(answer, dict) and "errors" in answer else [answer]
        words = "; ".join(str(error["message"]) for error in errors)
    except (ValueError, KeyError, TypeError):
        words = response.reason_phrase
    return " ".join(words.split())[:300] or "no reason was given"
