"""Instants: microseconds since the epoch inside, aware UTC datetimes outside."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY_US = 86_400_000_000


def us(instant: datetime) -> int:
    """Return microseconds since the epoch; a naive instant is UTC, as everywhere in Feast.

    Examples
    --------
    >>> us(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    aware = instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)
    return (aware - EPOCH) // timedelta(microseconds=1)


def instant(at_us: int) -> datetime:
    """Return the aware instant of microseconds since the epoch.

    Examples
    --------
    >>> instant(1_500_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return EPOCH + timedelta(microseconds=at_us)


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(tz=timezone.utc)
