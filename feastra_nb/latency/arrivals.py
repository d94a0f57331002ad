"""The schedule of an open loop: every request's send time, fixed before the first is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feastra_nb.errors import ConfigurationError, close_names

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]

CONSTANT, POISSON = "constant", "poisson"
PROCESSES = (CONSTANT, POISSON)
MOST_ARRIVALS = 1_000_000
NS_PER_S = 1_000_000_000


def schedule(rate: float, seconds: float, *, process: str = CONSTANT, seed: int = 0) -> Int64s:
    """Return when each request is to be sent, in nanoseconds since the start, ascending, shape (rate * seconds,).

    Parameters
    ----------
    rate
        Requests a second.
    seconds
        How long.
    process
        ``"constant"``: evenly spaced. ``"poisson"``: independent of each other, as those of many users are. Given how many
        there are, arrivals of a Poisson process are uniform and independent (S. Ross, Introduction to Probability Models,
        5.3); so that the rate asked for is the rate, their number is fixed.
    seed
        Of the random arrivals.

    Raises
    ------
    ConfigurationError
        The rate is not a positive number, the process unknown, or there would be no request or too many.

    Examples
    --------
    >>> schedule(4, 1).tolist()
    [0, 250000000, 500000000, 750000000]
    >>> len(schedule(100, 2, process="poisson"))
    200
    """
    if not 0 < rate < float("inf"):
        raise ConfigurationError(f"rate={rate!r} is not a rate", hint="give requests a second, above 0")
    if process not in PROCESSES:
        raise ConfigurationError(f"arrivals={process!r} is not a way to arrive", hint=close_names(process, PROCESSES))
    count = round(rate * seconds)
    if not 1 <= count <= MOST_ARRIVALS:
        raise ConfigurationError(
            f"{rate:g} requests a second for {seconds:g} s are {count:,} requests; 1 to {MOST_ARRIVALS:,} can be measured",
            hint="change rate or seconds",
        )
    if process == CONSTANT:
        return np.round(np.arange(count) / rate * NS_PER_S).astype(np.int64)
    return np.sort(np.random.default_rng(seed).integers(0, round(seconds * NS_PER_S), count))
