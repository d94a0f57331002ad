"""Distributions add up exactly, and the distances between them are scipy's and the literature's."""

import datetime as dt
import math
import pickle
import subprocess
import sys
from decimal import Decimal
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from feastra_nb.errors import ConfigurationError
from feastra_nb.skew import distribution
from feastra_nb.skew.distances import Distances, distances, rate_interval
from feastra_nb.skew.distribution import COARSEST_BITS, EXACT_VALUES, Distribution, representatives

NAN, INF = math.nan, math.inf
YES, NO = True, False
RELATIVE_ERROR = 2.0**-8

COLUMNS = st.one_of(
    st.lists(st.none() | st.floats()).map(lambda items: pa.array(items, pa.float64())),
    st.lists(st.none() | st.floats(0.5, 2.0) | st.sampled_from([-0.0, 0.0, 1.0, NAN, INF, -INF])).map(
        lambda items: pa.array(items, pa.float64())
    ),
    # Near one another, so that grids between the finest and the coarsest are met.
    st.lists(st.integers(0, 10).flatmap(lambda bits: st.integers(0, 2 ** (4 * bits))), min_size=8).map(
        lambda items: pa.array([2**50 + item for item in items], pa.timestamp("us"))
    ),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)).map(lambda items: pa.array(items, pa.int64())),
    st.lists(st.none() | st.text(max_size=3)).map(lambda items: pa.array(items, pa.string())),
    st.lists(st.none() | st.lists(st.integers(0, 2), max_size=2)).map(
        lambda items: pa.array(items, pa.list_(pa.int64()))
    ),
    st.lists(st.none(), max_size=5).map(lambda items: pa.array(items, pa.null())),
)


def of(*values, kind=None):
    return Distribution.of(pa.array(values, kind))


def merged_by_chance(parts, chance):
    """Merge parts two by two, in an order and a tree drawn by hypothesis."""
    parts = list(parts)
    while len(parts) > 1:
        one = parts.pop(chance.randrange(len(parts)))
        other = parts.pop(chance.randrange(len(parts)))
        parts.append(one + other)
    return parts[0]


def pieces(column, chance):
    """Cut a column, its rows shuffled, at drawn places."""
    order = list(range(len(column)))
    chance.shuffle(order)
    column = column.take(pa.array(order, pa.int64()))
    cuts = sorted(chance.randrange(len(column) + 1) for _ in range(chance.randrange(6)))
    return [column[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(column)], strict=True)]


@pytest.mark.parametrize("exact_values", [EXACT_VALUES, 5, 1])
@settings(max_examples=150, deadline=None)
@given(column=COLUMNS, other=COLUMNS, chance=st.randoms(use_true_random=False))
def test_any_split_order_and_merge_tree_gives_the_state_and_distances_of_the_whole(exact_values, column, other, chance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "EXACT_VALUES", exact_values)
        whole = Distribution.of(column)
        merged = merged_by_chance([Distribution.of(piece) for piece in pieces(column, chance)], chance)
        assert merged == whole
        assert merged.cells == len(column)
        reference = Distribution.of(other)
        if None in {whole.kind, reference.kind} or whole.kind == reference.kind:
            assert repr(distances(merged, reference)) == repr(distances(whole, reference))
            assert repr(distances(reference, merged)) == repr(distances(reference, whole))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.integers(0, COARSEST_BITS))
def test_buckets_keep_order_and_are_narrower_than_documented(numbers, level):
    exact = Distribution.of(pa.array(numbers, pa.float64()))
    coarse = exact.at(level)
    middles = representatives(coarse.keys, level)
    assert (np.diff(middles) > 0).all()
    values = representatives(exact.keys, 0)
    own = middles[np.searchsorted(coarse.keys, exact.keys >> level)]
    normal = np.abs(values) >= np.finfo(float).tiny * 2
    assert (np.abs(own - values)[normal] <= RELATIVE_ERROR * np.abs(values)[normal]).all()


def test_a_million_distinct_doubles_stay_within_memory_and_their_relative_width():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=1_000_000) * 10.0 ** rng.integers(-300, 300, size=1_000_000)
    wide = Distribution.of(pa.array(numbers))
    assert wide.level == COARSEST_BITS
    assert len(wide.keys) <= 2**19
    narrow = Distribution.of(pa.array(rng.uniform(1.0, 1.001, size=100_000)))
    assert narrow.level < COARSEST_BITS  # the finest grid that fits, not the coarsest
    assert EXACT_VALUES / 2 < len(narrow.keys) <= EXACT_VALUES


def test_timestamps_of_one_day_are_told_apart_in_buckets():
    start = 1_700_000_000_000_000
    instants = np.arange(start, start + 86_400_000_000, 1_000_000)
    day, later = (pa.array(instants + shift, pa.timestamp("us", "UTC")) for shift in (0, 3_600_000_000))
    found = distances(Distribution.of(later), Distribution.of(day))
    assert not found.exact
    assert found.wasserstein == pytest.approx(3_600_000_000, rel=0.01)
    assert found.kolmogorov_smirnov == pytest.approx(1 / 24, rel=0.02)


def test_units_of_time_are_all_microseconds():
    instant = dt.datetime(2024, 5, 17, tzinfo=dt.timezone.utc)
    times = [pa.array([instant], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")]
    times += [pa.array([instant.date()], pa.date32()), pa.array([instant.date()], pa.date64())]
    states = [Distribution.of(column) for column in times]
    assert all(state == states[0] for state in states)
    assert representatives(states[0].keys, 0)[0] == instant.timestamp() * 1e6
    second = dt.timedelta(seconds=1)
    durations = [Distribution.of(pa.array([second], pa.duration(unit))) for unit in ("s", "ms", "us", "ns")]
    assert all(representatives(state.keys, 0)[0] == 1e6 for state in durations)
    clock = [Distribution.of(pa.array([dt.time(0, 0, 1)], kind)) for kind in (pa.time32("s"), pa.time64("ns"))]
    assert clock[0] == clock[1] == durations[0]


def test_equal_numbers_of_different_types_are_one_value():
    columns = [pa.array([0, 1, 3], kind) for kind in (pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64())]
    states = [Distribution.of(column) for column in columns]
    assert all(state == states[0] for state in states)
    assert of(-0.0, 0.0) == of(0.0, 0.0)
    assert of(Decimal("0.3")) == of(Decimal("0.30"), kind=pa.decimal128(9, 4)) == of(0.3)


def test_ints_beyond_2_53_are_the_nearest_double():
    assert len(of(2**53, 2**53 + 1).keys) == 1
    extremes = of(-(2**63), 2**63 - 1)
    assert representatives(extremes.keys, 0).tolist() == [-(2.0**63), 2.0**63]


def test_special_values_are_counted_apart():
    state = of(None, NAN, NAN, INF, -INF, 1.0)
    assert (state.nulls, state.nans, state.plus_infs, state.minus_infs, len(state.keys)) == (1, 2, 1, 1, 1)
    assert repr(state) == "Distribution(number, 6 cells, 1 distinct values, 1 null, 2 NaN, 1 -inf, 1 +inf)"


def test_null_columns_are_neutral_and_mixed_kinds_are_refused():
    empty = Distribution.of(pa.nulls(2))
    assert (of("a") + empty).kind == "category"
    assert (empty + of(1)).kind == "number"
    assert empty + empty == Distribution.of(pa.nulls(4))
    with pytest.raises(ConfigurationError, match="'number' cannot be put together with one of kind 'category'"):
        of(1) + of("1")
    with pytest.raises(ConfigurationError, match="cast both columns"):
        distances(of(1), of(YES))


def test_chunks_dictionaries_and_run_ends_are_only_ways_to_write_a_column():
    plain = pa.array(["a", None, "a", "ü"])
    ways = [
        pa.chunked_array([plain[:1], plain[1:], plain[:0]]),
        plain.dictionary_encode(),
        plain.cast(pa.large_string()),
        plain.cast(pa.string_view()),
    ]
    assert all(Distribution.of(way) == Distribution.of(plain) for way in ways)
    assert of(b"a", kind=pa.binary_view()) == of(b"a", kind=pa.binary())
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), pa.array([1.5, None]))
    assert Distribution.of(runs) == of(1.5, 1.5, None)
    assert Distribution.of(pa.chunked_array([], pa.int64())) == of(kind=pa.int64())


def test_categories_have_canonical_texts():
    assert of(YES, NO, None).keys.tolist() == ["false", "true"]
    assert of(b"\xff\x00", kind=pa.binary()).keys.tolist() == ["0xff00"]
    assert of([1, None], []).keys.tolist() == ["[1, null]", "[]"]
    assert of([-0.0, 1.5]) == of([0.0, 1.5])
    assert of({"b": 1, "a": "ü"}).keys.tolist() == ['{"a": "ü", "b": 1}']
    pairs = pa.map_(pa.string(), pa.int64())
    assert of([("b", 1), ("a", 2)], kind=pairs) == of([("a", 2), ("b", 1)], kind=pairs)
    assert of([Decimal("1.50")]) == of([Decimal("1.5")])
    assert of([b"\x01"], kind=pa.list_(pa.binary())).keys.tolist() == ['["0x01"]']
    assert of((1, 2, 3), kind=pa.month_day_nano_interval()).kind == "category"


def test_long_texts_are_told_apart_and_cut():
    one, other = "x" * 10_000 + "a", "x" * 10_000 + "b"
    state = of(one, other, one)
    assert state.counts.sum() == 3
    assert len(state.keys) == 2
    assert max(len(key) for key in state.keys) <= distribution.LONGEST_TEXT
    assert distances(of(one), of(other)).l_infinity == 1.0


def test_many_categories_share_hash_buckets_that_are_the_same_in_every_process():
    names = [f"Zürich {number}" for number in range(EXACT_VALUES + 1)]
    state = Distribution.of(pa.array(names))
    assert (state.level, int(state.counts.sum())) == (1, len(names))
    assert state.keys.max() < 2**distribution.HASH_BITS
    script = (
        "import pyarrow as pa; from feastra_nb.skew.distribution import Distribution as D;"
        f"print(int((D.of(pa.array([f'Zürich {{i}}' for i in range({len(names)})])).keys * 31 % 1009).sum()))"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(other.stdout) == int((state.keys * 31 % 1009).sum())
    found = distances(state, Distribution.of(pa.array(["Bern", *names])))
    assert (found.exact, found.l_infinity_value) == (False, None)
    assert 0 < found.l_infinity < 0.001


def test_distributions_travel_between_processes():
    for state in (of(1.5, None, NAN), of("a", "b"), Distribution()):
        assert pickle.loads(pickle.dumps(state)) == state


def test_a_sum_starts_from_the_neutral_distribution():
    assert sum([of(1), of(2), of(None, 1)], Distribution()) == of(1, 2, None, 1)
    assert Distribution() != of(1)
    assert of(1) != "something else"


# --- distances


def shares_of(column, values):
    return np.array([(column == value).mean() for value in values])


@pytest.mark.parametrize("seed", range(5))
def test_few_numbers_have_the_distances_that_scipy_finds_in_the_raw_data(seed):
    rng = np.random.default_rng(seed)
    online, offline = rng.poisson(3.3, 700) / 7, rng.poisson(3.0, 900) / 7
    found = distances(Distribution.of(pa.array(online)), Distribution.of(pa.array(offline)))
    values = np.union1d(online, offline)
    p, q = shares_of(online, values), shares_of(offline, values)
    assert found.exact
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(online, offline), abs=1e-12)
    assert found.wasserstein_normed == pytest.approx(found.wasserstein / offline.std(), abs=1e-12)
    assert found.kolmogorov_smirnov == pytest.approx(stats.ks_2samp(online, offline).statistic, abs=1e-12)
    assert found.jensen_shannon == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)


def test_continuous_numbers_have_the_distances_that_scipy_finds_in_the_raw_data():
    rng = np.random.default_rng(1)
    online, offline = rng.normal(0.2, 1.1, 2_000), rng.normal(0, 1, 2_000)
    found = distances(Distribution.of(pa.array(online)), Distribution.of(pa.array(offline)))
    assert found.exact
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(online, offline), abs=1e-12)
    assert found.kolmogorov_smirnov == pytest.approx(stats.ks_2samp(online, offline).statistic, abs=1e-12)
    edges = [-INF, *np.quantile(offline, np.arange(1, 10) / 10, method="inverted_cdf"), INF]
    p, q = (np.diff([(side <= edge).mean() for edge in edges]) for side in (online, offline))
    assert found.psi == pytest.approx(np.sum((p - q) * np.log(p / q)), abs=1e-12)
    middle = np.concatenate([online, offline])
    edges = [-INF, *np.quantile(middle, np.arange(1, 32) / 32, method="inverted_cdf"), INF]
    p, q = (np.diff([(side <= edge).mean() for edge in edges]) for side in (online, offline))
    assert found.jensen_shannon == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e12])
def test_distances_in_buckets_keep_to_the_documented_bounds(scale):
    rng = np.random.default_rng(2)
    online, offline = rng.lognormal(0.1, 2, 30_000) * scale, rng.normal(3, 5, 30_000) * scale
    one, other = Distribution.of(pa.array(online)), Distribution.of(pa.array(offline))
    found = distances(one, other)
    assert not found.exact
    bound = RELATIVE_ERROR * (np.abs(online).mean() + np.abs(offline).mean())
    assert abs(found.wasserstein - stats.wasserstein_distance(online, offline)) <= bound
    level = max(one.level, other.level)
    fullest = max(one.at(level).counts.max(), other.at(level).counts.max()) / 30_000
    gap = stats.ks_2samp(online, offline).statistic
    assert gap - fullest <= found.kolmogorov_smirnov <= gap + 1e-12


def test_samples_of_one_continuous_distribution_are_near_however_large():
    rng = np.random.default_rng(3)
    for size in (1_000, 4_000, 20_000):  # one by one, and in buckets
        one, other = (Distribution.of(pa.array(rng.normal(size=size))) for _ in range(2))
        found = distances(one, other)
        assert found.psi < 0.03
        assert found.jensen_shannon < 0.02


def test_equal_sides_are_no_distance_apart():
    rng = np.random.default_rng(4)
    columns = [
        pa.array(rng.normal(size=20_000)),
        pa.array([1.0, None, NAN, INF, -INF]),
        pa.array(["a", "b", None]),
        pa.array([7]),
        pa.array([None, None], pa.int64()),
        pa.nulls(3),
    ]
    for column in columns:
        found = distances(Distribution.of(column), reduce(add, [Distribution.of(column)] * 3))
        numbers = (found.psi, found.jensen_shannon, found.kolmogorov_smirnov, found.wasserstein, found.l_infinity)
        assert all(number == 0 or math.isnan(number) for number in (*numbers, found.wasserstein_normed))
        assert (found.psi, found.jensen_shannon, found.l_infinity_value) == (0.0, 0.0, None)


def test_sides_without_overlap_are_one_bit_apart():
    found = distances(of(*np.arange(100.0, 200.0)), of(*np.arange(0.0, 70.0)))
    assert (found.jensen_shannon, found.kolmogorov_smirnov) == (1.0, 1.0)
    found = distances(of("a", "b"), of("c"))
    assert (found.jensen_shannon, found.l_infinity, found.l_infinity_value) == (1.0, 1.0, "c")


def test_the_stability_index_is_the_textbook_sum_over_categories():
    online, offline = of(*"aaabbc"), of(*"aabbbd")
    p, q = np.array([3, 2, 1, 1e-4 * 6]) / 6, np.array([2, 3, 1e-4 * 6, 1]) / 6
    assert distances(online, offline).psi == pytest.approx(np.sum((p - q) * np.log(p / q)), abs=1e-12)


def test_a_value_that_holds_many_deciles_is_a_bin_of_its_own():
    offline = of(*[0.0] * 90, *range(1, 11))
    below, above = (of(*[shift] * 90, *range(1, 11)) for shift in (-1e-9, 1e-9))
    assert distances(below, offline).psi > 5
    assert distances(above, offline).psi > 5
    assert distances(of(*[-1.0] * 20), of(*[0.0] * 20)).psi > 5


def test_special_values_match_only_themselves():
    specials = [None, NAN, INF, -INF]
    for one in specials:
        for other in specials:
            found = distances(of(one, 1.0, kind=pa.float64()), of(other, 1.0, kind=pa.float64()))
            assert found.jensen_shannon == (0.0 if one is other else 0.5)
            assert (found.psi > 1) == (one is not other)


def test_infinities_lie_at_the_ends_and_have_no_wasserstein():
    found = distances(of(INF, INF, -INF), of(INF, -INF, -INF))
    assert found.kolmogorov_smirnov == pytest.approx(1 / 3)
    assert math.isnan(found.wasserstein)
    assert math.isnan(found.wasserstein_normed)
    assert found.psi > 0
    assert distances(of(1.0, INF), of(1.0, 2.0)).kolmogorov_smirnov == 0.5


def test_columns_of_nan_or_null_have_no_order_but_shares():
    for online, offline in [
        (of(NAN, NAN), of(1.0)),
        (of(None, kind=pa.float64()), of(1.0)),
        (Distribution.of(pa.nulls(2)), of(1)),
    ]:
        found = distances(online, offline)
        assert found.jensen_shannon == 1.0
        assert found.psi > 1
        assert math.isnan(found.kolmogorov_smirnov)
        assert math.isnan(found.wasserstein)
        assert math.isnan(distances(offline, online).kolmogorov_smirnov)


@pytest.mark.parametrize("side", [Distribution(), of(kind=pa.float64()), of(kind=pa.string())])
def test_an_empty_side_has_no_distances(side):
    same_kind = of("a") if side.kind == "category" else of(1.0)
    for found in (distances(side, same_kind), distances(same_kind, side), distances(side, side)):
        assert repr(found) == repr(Distances())


def test_a_constant_offline_side_has_no_deviation_to_norm_with():
    assert distances(of(0.1, 0.1, 0.1), of(0.1)).wasserstein_normed == 0.0
    found = distances(of(0.2), of(*[0.1] * 3))
    assert found.wasserstein == pytest.approx(0.1)
    assert math.isnan(found.wasserstein_normed)


def test_the_category_that_moved_most_is_named_and_null_is_one():
    found = distances(of(*"aab", None), of(*"abbb"))
    assert (found.l_infinity, found.l_infinity_value) == (0.5, "b")
    found = distances(of("a", None, None, None), of(*"abcd"))
    assert (found.l_infinity, found.l_infinity_value) == (0.75, "<null>")
    assert distances(of(YES, YES), of(YES, NO)).l_infinity_value == "false"


@pytest.mark.filterwarnings("error")
def test_the_far_end_of_float64_gives_no_warning():
    found = distances(of(-1.7e308), of(1.7e308, 1.0))
    assert found.wasserstein == INF
    assert found.kolmogorov_smirnov == 1.0
    distances(of(5e-324), of(-5e-324))


def test_mixed_exact_and_bucketed_sides_are_compared_in_buckets():
    offline = Distribution.of(pa.array(np.linspace(1, 2, 50_000)))
    online = Distribution.of(pa.array(np.linspace(1, 2, 1_000)))
    found = distances(online, offline)
    assert not found.exact
    assert found.kolmogorov_smirnov < 0.005
    assert found.wasserstein < 0.005


# --- the interval of a rate


@pytest.mark.parametrize(
    ("different", "compared", "low", "high"),
    [
        (10, 100, 0.0552, 0.1744),
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_has_the_published_values(different, compared, low, high):
    assert [round(bound, 4) for bound in rate_interval(different, compared)] == [low, high]


@given(st.integers(0, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_the_interval_is_scipys(counts, confidence):
    different, compared = counts
    found = rate_interval(different, compared, confidence)
    if not compared:
        assert all(math.isnan(bound) for bound in found)
        return
    expected = stats.binomtest(different, compared).proportion_ci(confidence, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found[0] <= different / compared <= found[1] <= 1


def test_the_interval_of_none_and_all_touches_the_end():
    assert rate_interval(0, 50)[0] == 0.0
    assert rate_interval(50, 50)[1] == 1.0
    assert rate_interval(50, 50)[0] == pytest.approx(1 - rate_interval(0, 50)[1])


@pytest.mark.parametrize(
    ("different", "compared", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)]
)
def test_impossible_counts_and_confidences_are_refused(different, compared, confidence):
    with pytest.raises(ConfigurationError):
        rate_interval(different, compared, confidence)
