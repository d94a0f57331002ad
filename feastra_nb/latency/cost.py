"""What a latency run costs on a metered database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.astra.billing import is_billed

if TYPE_CHECKING:
    from feastra_nb.latency.runner import Load

GENTLE_RATE = 10.0  # requests a second of a run that names neither rate nor callers


def with_default_rate(block: Any, load: Load) -> Load:
    """Return a load of ten requests a second on a metered database, where neither rate nor callers were chosen."""
    if load.rate is not None or load.concurrency != 1 or not is_billed(block):
        return load
    return replace(load, rate=GENTLE_RATE)


def latency_reads(load: Load, *, settings: int, entities: int, sampled: int) -> int | None:
    """Return the reads of a latency run, None for a closed loop.

    Parameters
    ----------
    settings
        Targets times consistency levels times views.
    entities
        Of one request of each batch size, summed.
    sampled
        Entities that are looked for in the store beforehand.

    Examples
    --------
    >>> from feastra_nb.latency.runner import Load
    >>> latency_reads(Load(rate=10, seconds=10, warmup_s=1), settings=1, entities=111, sampled=0)
    12210
    """
    if load.rate is None:
        return None
    return sampled + settings * entities * round(load.rate * (load.seconds + load.warmup_s))
