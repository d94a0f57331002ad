"""Retention: how long a view's history is kept, and each row's resulting time to live. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError
from feastra_nb.times import duration

if TYPE_CHECKING:
    import numpy.typing as npt

US = 1_000_000  # microseconds in a second
_HINT = 'a number with s, m, h, d or w ("7d"), or "all", or "latest"'
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# A row outlives its last use by this much, so that clocks that differ a little lose nothing.
TTL_MARGIN_S = 60
# The server's own bounds: the longest TTL, and the last second it can expire a row in.
MAX_TTL_S = 20 * 365 * 86_400
LAST_EXPIRY_S = 2**31 - 2  # 2038-01-19


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history a view keeps.

    Parameters
    ----------
    text
        ``"7d"``, ``"12h"``, …: every event of that long, and the one that was current when it begins; ``"all"``: everything, never
        pruned; ``"latest"``: no history.

    Examples
    --------
    >>> Retention("7d").us, Retention("all").us, Retention("latest").us
    (604800000000, None, 0)
    >>> Retention("a week")
    Traceback (most recent call last):
    ...
    feastra_nb.errors.ConfigurationError: cannot read the retention 'a week'
    Hint: a number with s, m, h, d or w ("7d"), or "all", or "latest"
    """

    text: str

    @classmethod
    def of(cls, value: Any) -> Retention:
        """Return the retention that somebody handed in: also ``"30 days"`` or a timedelta, kept in the largest of days, hours, ….

        Raises
        ------
        ConfigurationError
            It is neither ``"all"``, ``"latest"`` nor a duration of whole seconds.

        Examples
        --------
        >>> Retention.of("30 days").text, Retention.of(timedelta(minutes=90)).text, Retention.of("all").text
        ('30d', '90m', 'all')
        """
        if isinstance(value, cls):
            return value
        if value in ("all", "latest"):
            return cls(value)
        try:
            length_us = duration(value, "retain") // timedelta(microseconds=1)
        except ConfigurationError as exc:
            raise ConfigurationError(f"cannot read the retention {value!r}: {exc.message}", hint=_HINT) from exc
        unit = next((unit for unit in "dhms" if length_us % (_UNITS_S[unit] * US) == 0), None)
        if unit is None:
            raise ConfigurationError(f"retain={value!r} is not a whole number of seconds", hint=_HINT)
        return cls(f"{length_us // (_UNITS_S[unit] * US)}{unit}")

    def __post_init__(self) -> None:
        if self.text not in ("all", "latest") and not re.fullmatch(r"[1-9]\d*[smhdw]", str(self.text)):
            raise ConfigurationError(
                f"cannot read the retention {self.text!r}",
                hint=_HINT,
            )

    @property
    def us(self) -> int | None:
        """Length of the window in microseconds; None for ever, 0 for no history."""
        if self.text == "all":
            return None
        return 0 if self.text == "latest" else int(self.text[:-1]) * _UNITS_S[self.text[-1]] * US

    @property
    def keeps_history(self) -> bool:
        """Whether older events stay readable."""
        return self.text != "latest"


def row_ttls(
    event_us: npt.NDArray[np.int64], *, now_us: int, ttl_us: int | None, retain: Retention
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return each row's ``USING TTL`` in seconds (0: never expires), and which rows are past their use already.

    A row is of use until its event is ``ttl`` plus the retention old; the server removes it a minute later.

    Parameters
    ----------
    event_us
        Shape (n,), microseconds since the epoch.
    ttl_us
        The feature view's ttl in microseconds; None or 0 for none.

    Examples
    --------
    >>> hour = 3_600_000_000
    >>> row_ttls(np.array([0, -2 * hour]), now_us=0, ttl_us=hour, retain=Retention("latest"))
    (array([3660,    0]), array([False,  True]))
    """
    never = np.zeros(len(event_us), dtype=np.int64), np.zeros(len(event_us), dtype=bool)
    if not ttl_us or retain.us is None:
        return never
    # The operands are divided first: a sum of microseconds could overflow for events far in the future.
    left_s = -((now_us - event_us - ttl_us - retain.us) // US)
    expired = left_s <= 0
    ttl_s = left_s + TTL_MARGIN_S
    too_long = (ttl_s > MAX_TTL_S) | (ttl_s + now_us // US > LAST_EXPIRY_S)
    return np.where(expired | too_long, 0, ttl_s), expired


def expired_before_us(*, now_us: int, ttl_us: int | None, retain: Retention) -> int | None:
    """Return the event time before which every row has expired; None where rows do not.

    Reads stop there: further back they would only meet tombstones.

    Examples
    --------
    >>> expired_before_us(now_us=10**12, ttl_us=3_600 * US, retain=Retention("1h"))
    992740000000
    """
    if not ttl_us or retain.us is None:
        return None
    return now_us - ttl_us - retain.us - TTL_MARGIN_S * US


def horizon_us(*, now_us: int, ttl_us: int | None, retain: Retention, pruned_to_us: int | None) -> int | None:
    """Return the instant before which the online store's memory is incomplete; None where it never is.

    Examples
    --------
    >>> horizon_us(now_us=10**12, ttl_us=None, retain=Retention("7d"), pruned_to_us=None) is None
    True
    >>> horizon_us(now_us=10**12, ttl_us=3_600 * US, retain=Retention("1h"), pruned_to_us=5)
    996400000000
    """
    if not retain.keeps_history:
        return now_us
    ends = [] if pruned_to_us is None else [pruned_to_us]
    if ttl_us and retain.us is not None:
        ends.append(now_us - retain.us)
    return max(ends, default=None)
