"""Strings that never show their content: passwords, client secrets, tokens."""

from __future__ import annotations

import re

MASK = "***"
_LOGIN = re.compile(r"(?<=://)([^:/@]*):[^@]*(?=@)")  # as SQLAlchemy reads a URL: the password ends at the @


class Secret(str):
    """A string that works as one and shows as ``***``.

    ``repr``, ``str``, ``print`` and f-strings show the mask, so that a configuration holding it may be printed, logged or
    stored in a notebook. Only `reveal` gives the plain string, and only where it goes over the wire.

    Examples
    --------
    >>> password = Secret("swordfish")
    >>> password
    '***'
    >>> f"{password} {[password]}"
    "*** ['***']"
    >>> password.reveal()
    'swordfish'
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Secret:
        """Wrap a string, or copy a secret."""
        # The plain string of another secret: str() of it would be the mask.
        return super().__new__(cls, value.reveal() if isinstance(value, Secret) else value)

    def __repr__(self) -> str:
        return repr(MASK)

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reveal(),)

    def reveal(self) -> str:
        """Return the plain string."""
        return str.__str__(self)


def secret(value: str | None) -> Secret | None:
    """Wrap a string, leave None.

    Examples
    --------
    >>> secret(None), secret("swordfish")
    (None, '***')
    """
    return value if value is None or isinstance(value, Secret) else Secret(value)


class SecretUrl(str):
    """A URL whose password ``repr`` does not show; everything else sees the URL, since Feast passes it on as it is.

    Examples
    --------
    >>> url = SecretUrl("postgresql://me:swordfish@10.0.0.1/feast")
    >>> url
    'postgresql://me:***@10.0.0.1/feast'
    >>> url == "postgresql://me:swordfish@10.0.0.1/feast"
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(with_password(self, MASK))


def secret_url(value: object) -> object:
    """Wrap a URL that holds a password, leave everything else.

    Examples
    --------
    >>> secret_url("sqlite:///registry.db"), secret_url("mysql://me:swordfish@db/feast"), secret_url(None)
    ('sqlite:///registry.db', 'mysql://me:***@db/feast', None)
    """
    return SecretUrl(value) if isinstance(value, str) and _LOGIN.search(value) else value


def with_password(url: str, password: str) -> str:
    """Return a URL with another password in the place of its own; one without a password as it is.

    Examples
    --------
    >>> with_password("mysql://me:swordfish@db/feast", "${PASSWORD}")
    'mysql://me:${PASSWORD}@db/feast'
    """
    return _LOGIN.sub(lambda login: f"{login[1]}:{password}", url)
