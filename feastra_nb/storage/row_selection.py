"""Chooses the rows to write: rejects future events, drops duplicates and expired rows. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from feastra_nb.errors import InvalidFrame
from feastra_nb.storage.retention import Retention, row_ttls
from feastra_nb.storage.rows import Rows, last_of_repeats, newest_before
from feastra_nb.times import instant

if TYPE_CHECKING:
    import numpy.typing as npt

# Clocks differ a little: an event this far ahead of this machine's clock is taken, and served.
CLOCK_SKEW_US = 5 * 60 * 1_000_000
# Of one row's payload. Astra's guardrail, and below what a Cassandra takes in one mutation at its defaults (half of a 32 MiB
# segment of its commit log) or as our local node runs it (half of 16 MiB): what is taken here is taken everywhere.
ROW_LIMIT_BYTES = 5_000_000
KEY_LIMIT_BYTES = 65_535  # of a partition key, in every Cassandra


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """Which of n rows are to be written.

    Parameters
    ----------
    keep
        Shape (n,).
    ttl_s
        Shape (n,): each row's time to live in seconds, 0 for none.
    is_expired
        Shape (n,): left out because ttl and retention are over for them.
    is_superseded
        Shape (n,): left out because they are older than the retention, and not the newest of their entity before it.
    """

    keep: npt.NDArray[np.bool_]
    ttl_s: npt.NDArray[np.int64]
    is_expired: npt.NDArray[np.bool_]
    is_superseded: npt.NDArray[np.bool_]

    @property
    def expired(self) -> int:
        """How many rows are left out as expired."""
        return int(self.is_expired.sum())

    @property
    def superseded(self) -> int:
        """How many rows are left out as older than the retention."""
        return int(self.is_superseded.sum())


def admit(rows: Rows, *, now_us: int, ttl_us: int | None, retain: Retention, thin: bool) -> Admitted:
    """Say which rows to write: no repeats, nothing expired; if thinned, every event inside retention and the newest before.

    Parameters
    ----------
    thin
        Leave out what is older than the retention; only right for rows that are all there is of their entities' past.
    """
    codes = rows.entity_codes()
    once = last_of_repeats(codes, rows.event_us, rows.created_us)
    ttl_s, expired = row_ttls(rows.event_us, now_us=now_us, ttl_us=ttl_us, retain=retain)
    keep = once & ~expired
    superseded = np.zeros(len(rows), dtype=bool)
    if thin and retain.us is not None:
        current = newest_before(codes, rows.event_us, rows.created_us, now_us - retain.us)
        superseded = keep & ~current
        keep &= current
    return Admitted(keep, ttl_s, once & expired, superseded)


def refuse_future(event_us: npt.NDArray[np.int64], *, now_us: int, view: str) -> None:
    """Refuse events more than five minutes ahead of this machine's clock: they would hide what comes until then.

    Raises
    ------
    InvalidFrame
        Names how many, and the first.
    """
    ahead = np.flatnonzero(event_us > now_us + CLOCK_SKEW_US)
    if len(ahead):
        first = instant(int(event_us[ahead[0]]))
        raise InvalidFrame(
            f"{len(ahead):,} of {len(event_us):,} rows for view {view!r} lie in the future; row {ahead[0]} is of "
            f"{first:%Y-%m-%d %H:%M:%S} UTC",
            hint="check the timestamp column's unit and time zone; ws.materialize(…, allow_future=True) takes them",
        )


def refuse_large(rows: Rows, *, view: str) -> None:
    """Refuse rows that no server would take, before the first one is sent.

    Raises
    ------
    InvalidFrame
        Names how many, and the first by its entity and event.
    """
    for what, column, limit in (
        ("features", rows.features, ROW_LIMIT_BYTES),
        ("keys", rows.entity_key, KEY_LIMIT_BYTES),
    ):
        sizes = np.asarray(pc.binary_length(column))
        large = np.flatnonzero(sizes > limit)
        if len(large):
            first = int(large[0])
            raise InvalidFrame(
                f"{len(large):,} of {len(rows):,} rows for view {view!r} have {what} beyond {limit:,} bytes; the one of "
                f"{_entity(rows.entity_key[first].as_py())} at {instant(int(rows.event_us[first])):%Y-%m-%d %H:%M:%S} UTC "
                f"has {int(sizes[first]):,}",
                hint="keep large objects elsewhere and their address as the feature",
            )


def _entity(blob: bytes) -> str:
    from feast.infra.key_encoding_utils import deserialize_entity_key

    key = deserialize_entity_key(blob, 3)
    shown = (
        f"{name}={getattr(value, value.WhichOneof('val'))!r:.60}"
        for name, value in zip(key.join_keys, key.entity_values, strict=True)
    )
    return ", ".join(shown)
