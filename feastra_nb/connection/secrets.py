"""Strings that must not be seen: passwords, client secrets, tokens."""

from __future__ import annotations

MASK = "***"


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
