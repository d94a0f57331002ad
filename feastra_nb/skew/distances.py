"""Distances between a feature's online and offline distributions. No I/O.

Distances see a whole column move; they do not see one row in a thousand go wrong. That is what the verdicts of
:mod:`feastra_nb.skew.comparison` are for, with :func:`rate_interval` for what a sample says about their rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from feastra_nb.errors import ConfigurationError
from feastra_nb.skew.distribution import Distribution, common_kind, representatives

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

# Bins: deciles are what the customary thresholds of the index (0.1 and 0.25) were made for.
PSI_BINS = 10
# Share: below it a bin counts as this much, so that one empty bin does not make the index infinite.
PSI_FLOOR = 1e-4
# Bins. Values one by one would call any two samples of a continuous feature disjoint. Even, so that a bin ends at the median
# and distributions that do not overlap are exactly 1 apart.
JENSEN_SHANNON_BINS = 32
# The name of the category "no value at all".
NULL_NAME = "<null>"


@dataclass(frozen=True, slots=True)
class Distances:
    """Distances between two distributions of one feature; NaN where one does not apply or a side holds nothing.

    Attributes
    ----------
    psi
        Population stability index, ≥ 0; see :func:`distances`.
    jensen_shannon
        Jensen-Shannon divergence (not its square root) in bits, 0 to 1.
    kolmogorov_smirnov
        Largest gap between the cumulative distributions, 0 to 1; numbers only.
    wasserstein, wasserstein_normed
        Mean distance that a value would have to move, in the feature's unit (microseconds for times), and in offline standard
        deviations; numbers only.
    l_infinity, l_infinity_value
        Largest difference between the shares of one category, and which one it is ("<null>" for null); None where there are
        no categories, no difference, or too many categories to know their names.
    exact
        Whether values were counted one by one; otherwise by bucket.
    """

    psi: float = math.nan
    jensen_shannon: float = math.nan
    kolmogorov_smirnov: float = math.nan
    wasserstein: float = math.nan
    wasserstein_normed: float = math.nan
    l_infinity: float = math.nan
    l_infinity_value: str | None = None
    exact: bool = True


def distances(online: Distribution, offline: Distribution) -> Distances:
    """Return the distances between the two sides of a feature.

    Null, NaN, -inf and +inf each are a bin of their own for the two divergences, so that they only ever match themselves (as
    in TensorFlow Data Validation). Shares are shares of all cells.

    - *PSI* is ``Σ (p - q) ln(p / q)`` over bins, shares floored at 1e-4 (the value with which Evidently fills empty bins
      for this index). Numbers: ten bins that end at the deciles of the offline side. Deciles that fall on one value become
      one, and that value a bin of its own. Where both sides together have at most ten values each is a bin.
    - *Jensen-Shannon* is ``½ Σ p log2(p / m) + ½ Σ q log2(q / m)`` with ``m = (p + q) / 2``: the divergence that TensorFlow
      Data Validation has thresholds for; scipy and Evidently show its square root. Numbers: 32 bins at the quantiles
      of m, ties as above, and each value by itself where there are at most 32.
    - *Kolmogorov-Smirnov*: infinities lie at the ends; null and NaN are left out.
    - *Wasserstein* (first order): finite values only. Normed by the offline standard deviation (Evidently's form); where
      that is 0, it is 0 for equal sides and otherwise NaN.
    - *L-infinity*: null is a category too.

    In buckets (`Distances.exact` is False) Wasserstein is off by at most 2^-8 of the mean absolute values of both sides, summed;
    Kolmogorov-Smirnov never exceeds the true gap, and falls short of it by less than the fullest bucket's share.

    Raises
    ------
    ConfigurationError
        One side holds numbers, the other categories.

    Examples
    --------
    >>> import pyarrow as pa
    >>> offline, online = (Distribution.of(pa.array(column)) for column in ([1, 2, 3, 4], [2, 3, 4, 5]))
    >>> found = distances(online, offline)
    >>> found.wasserstein, found.kolmogorov_smirnov, found.jensen_shannon
    (1.0, 0.25, 0.25)
    >>> offline, online = (Distribution.of(pa.array(column)) for column in (["cash", "card"], ["cash", "cash"]))
    >>> distances(online, offline).l_infinity, distances(online, offline).l_infinity_value
    (0.5, 'card')
    """
    kind = common_kind(online, offline)
    if not online.cells or not offline.cells:
        return Distances()
    level = max(online.level, offline.level)
    online, offline = online.at(level), offline.at(level)
    keys = np.union1d(online.keys, offline.keys)
    pair = _Pair(_placed(online, keys), _placed(offline, keys), _special(online), _special(offline))
    if kind == "number":
        return _of_numbers(pair, representatives(keys, level), exact=level == 0)
    if kind == "category":
        return _of_categories(pair, keys if level == 0 else None)
    return Distances(psi=_psi(pair), jensen_shannon=_jensen_shannon(pair))  # nothing but nulls


def rate_interval(different: int, compared: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of a mismatch rate: Wilson's score interval.

    It stays inside [0, 1] and says something sensible about 0 of n, which the textbook's normal interval does not.
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212; the
    third of the methods compared in R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872. Cells count as independent.

    Parameters
    ----------
    different, compared
        Cells that differ, of cells compared.
    confidence
        Probability, between 0 and 1, with which such an interval covers the true rate.

    Returns
    -------
    tuple of float
        Lowest and highest rate; NaN where nothing was compared.

    Raises
    ------
    ConfigurationError
        More cells differ than were compared, or the confidence is not between 0 and 1.

    Examples
    --------
    >>> low, high = rate_interval(10, 100)
    >>> f"{low:.4f} to {high:.4f}"
    '0.0552 to 0.1744'
    """
    if not 0 <= different <= compared:
        raise ConfigurationError(
            f"{different} of {compared} cells cannot differ", hint="give 0 <= different <= compared"
        )
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence is {confidence}", hint="give a number between 0 and 1, such as 0.95")
    if not compared:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = different / compared, z * z / compared
    middle = rate + weight / 2
    half = math.sqrt(weight * (rate * (1 - rate) + weight / 4))
    low = (middle - half) / (1 + weight) if different else 0.0
    high = (middle + half) / (1 + weight) if different < compared else 1.0
    return low, high


@dataclass(frozen=True, slots=True)
class _Pair:
    """Counts of both sides over the same bins, and over the special ones: -inf, +inf, NaN, null."""

    online: Ints
    offline: Ints
    online_special: Ints
    offline_special: Ints

    def binned(self, bins: Ints) -> _Pair:
        """Return the pair with the counts of each bin summed."""
        served, other = (_summed(counts, bins) for counts in (self.online, self.offline))
        return _Pair(served, other, self.online_special, self.offline_special)

    def shares(self) -> tuple[Floats, Floats]:
        """Return the shares of all cells that the bins and the special bins hold."""
        served = np.concatenate([self.online, self.online_special])
        other = np.concatenate([self.offline, self.offline_special])
        return served / served.sum(), other / other.sum()


def _placed(side: Distribution, keys: npt.NDArray[Any]) -> Ints:
    counts = np.zeros(len(keys), dtype=np.int64)
    counts[np.searchsorted(keys, side.keys)] = side.counts
    return counts


def _special(side: Distribution) -> Ints:
    return np.array([side.minus_infs, side.plus_infs, side.nans, side.nulls], dtype=np.int64)


def _summed(counts: Ints, bins: Ints) -> Ints:
    sums = np.zeros(int(bins.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(sums, bins, counts)
    return sums


def _of_numbers(pair: _Pair, values: Floats, *, exact: bool) -> Distances:
    offline, both = _cumulative(pair.offline), _cumulative(pair.online) + _cumulative(pair.offline)
    wasserstein, normed = _wasserstein(pair, values)
    return Distances(
        psi=_psi(pair.binned(_bins(offline, PSI_BINS))),
        jensen_shannon=_jensen_shannon(pair.binned(_bins(both / both.max(initial=1.0), JENSEN_SHANNON_BINS))),
        kolmogorov_smirnov=_kolmogorov_smirnov(pair),
        wasserstein=wasserstein,
        wasserstein_normed=normed,
        exact=exact,
    )


def _of_categories(pair: _Pair, names: npt.NDArray[Any] | None) -> Distances:
    online, offline = pair.shares()
    differences = np.abs(online - offline)
    most = int(differences.argmax())
    name = None
    if names is not None and differences[most]:
        name = str(names[most]) if most < len(names) else NULL_NAME
    return Distances(
        psi=_psi(pair),
        jensen_shannon=_jensen_shannon(pair),
        l_infinity=float(differences[most]),
        l_infinity_value=name,
        exact=names is not None,
    )


def _cumulative(counts: Ints) -> Floats:
    """Return the cumulative shares; zeros where there are no counts."""
    return counts.cumsum() / max(int(counts.sum()), 1)


def _bins(cumulative: Floats, bins: int) -> Ints:
    """Return the bin of each value: bins end at the quantiles of a cumulative distribution.

    Quantiles that fall on one value give that value a bin of its own.

    Examples
    --------
    >>> _bins(np.array([0.25, 0.5, 0.75, 1.0]), 2)
    array([0, 0, 1, 1])
    >>> _bins(np.array([0.1, 0.8, 0.9, 1.0]), 3)
    array([0, 1, 2, 2])
    """
    positions = np.arange(len(cumulative))
    if len(cumulative) <= bins:
        return positions
    quantiles = np.searchsorted(cumulative, np.arange(1, bins) / bins)
    repeated = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    starts = np.union1d(quantiles + 1, repeated)
    return np.searchsorted(starts, positions, side="right")


def _psi(pair: _Pair) -> float:
    online, offline = (np.maximum(shares, PSI_FLOOR) for shares in pair.shares())
    return float(np.sum((online - offline) * np.log(online / offline)))


def _jensen_shannon(pair: _Pair) -> float:
    online, offline = pair.shares()
    middle = (online + offline) / 2
    bits = (_relative_entropy(online, middle) + _relative_entropy(offline, middle)) / 2
    return min(max(bits, 0.0), 1.0)  # rounding may step outside


def _relative_entropy(shares: Floats, reference: Floats) -> float:
    filled = shares > 0
    return float(np.sum(shares[filled] * np.log2(shares[filled] / reference[filled])))


def _kolmogorov_smirnov(pair: _Pair) -> float:
    sides = ((pair.online, pair.online_special), (pair.offline, pair.offline_special))
    ordered = [np.concatenate([special[:1], counts, special[1:2]]) for counts, special in sides]
    if not all(counts.any() for counts in ordered):
        return math.nan
    return float(np.abs(_cumulative(ordered[0]) - _cumulative(ordered[1])).max())


def _wasserstein(pair: _Pair, values: Floats) -> tuple[float, float]:
    """Return the area between the cumulative distributions, plain and in offline standard deviations."""
    if not (pair.online.any() and pair.offline.any()):
        return math.nan, math.nan
    gaps = np.abs(_cumulative(pair.online) - _cumulative(pair.offline))[:-1]
    with np.errstate(over="ignore", invalid="ignore"):  # at the far end of float64 a distance is infinite
        area = float(np.sum(gaps[gaps > 0] * np.diff(values)[gaps > 0]))
        middle = np.average(values, weights=pair.offline)
        deviation = math.sqrt(np.average((values - middle) ** 2, weights=pair.offline))
    if not area:
        return 0.0, 0.0
    varies = (
        np.count_nonzero(pair.offline) > 1
    )  # the mean of equal numbers is rounded: a deviation of 1e-17 would be noise
    return area, area / deviation if varies and deviation else math.nan
