"""The open loop: arrivals on a schedule, response against service time, stalls, lateness; against delays known exactly."""

import pickle
import threading
import time

import numpy as np
import pytest

from feastra_nb.errors import ConfigurationError, RequestTimedOut, Unavailable, UnknownName
from feastra_nb.latency.arrivals import schedule
from feastra_nb.latency.capacity import highest_rate
from feastra_nb.latency.closed_loop import closed_loop
from feastra_nb.latency.open_loop import LATE, UNSENT, open_loop
from feastra_nb.latency.outcomes import UNANSWERED
from feastra_nb.latency.recording import Recording
from feastra_nb.latency.request_keys import batches
from feastra_nb.latency.targets import covered_ns

MS = 1_000_000  # nanoseconds


class FakeTime:
    """A clock that moves when a request takes its time, or when somebody waits; and how much too long a wait is."""

    def __init__(self, oversleep_ns=0):
        self.now_ns = 987_654_321
        self.oversleep_ns = oversleep_ns

    def clock(self):
        return self.now_ns

    def pause(self, seconds):
        self.now_ns += round(seconds * 1e9) + self.oversleep_ns


def paced(delays_ns, *, rate, seconds, failures=None, oversleep_ns=0, **options):
    """Send requests with known delays, one at a time, by a fake clock."""
    fake = FakeTime(oversleep_ns)

    def call(i):
        fake.now_ns += int(delays_ns[i % len(delays_ns)])
        if failures and i in failures:
            raise failures[i]

    arrivals_ns = schedule(rate, seconds + options.get("warmup_s", 0)).tolist()
    return open_loop(call, arrivals_ns, seconds=seconds, in_flight=1, clock=fake.clock, pause=fake.pause, **options)


# --- arrivals --------------------------------------------------------------------------------------------------------


def test_constant_arrivals_are_evenly_spaced():
    assert schedule(200, 10).tolist() == [i * 5 * MS for i in range(2_000)]


def test_random_arrivals_are_as_many_as_asked_and_exponentially_spaced():
    arrivals_ns = schedule(1_000, 20, process="poisson")
    gaps_s = np.diff(arrivals_ns) / 1e9
    assert len(arrivals_ns) == 20_000
    assert (gaps_s >= 0).all()
    assert gaps_s.mean() == pytest.approx(1e-3, rel=0.01)
    assert gaps_s.std() == pytest.approx(1e-3, rel=0.05)  # an exponential distribution's deviation is its mean
    assert schedule(1_000, 20, process="poisson").tolist() == arrivals_ns.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate=0 is not a rate"),
        ({"rate": -5}, "rate=-5 is not a rate"),
        ({"rate": float("nan")}, "is not a rate"),
        ({"rate": float("inf")}, "is not a rate"),
        ({"rate": 0.1}, "are 0 requests"),
        ({"rate": 10_000_000}, "10,000,000 requests"),
        ({"rate": 10, "process": "poison"}, "'poison' is not a way to arrive"),
    ],
)
def test_rates_without_sense_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        schedule(seconds=1, **options)


# --- response and service time -----------------------------------------------------------------------------------------


def test_the_response_time_counts_from_when_a_request_was_to_be_sent():
    # Every 10 ms one; the third takes 45 ms, and with one sender those after it wait.
    measured = paced([2 * MS, 2 * MS, 45 * MS] + [2 * MS] * 7, rate=100, seconds=0.1)
    assert measured.response.n == measured.service.n == 10
    assert measured.service.max_us == 45_000
    late = measured.response.parts[LATE]
    assert late.max_us == 35_000  # the fourth: due at 30 ms, sent at 65 ms
    assert late.mean_ms == pytest.approx((35 + 27 + 19 + 11 + 3 + 6 * 0.001) / 10, rel=0.01)


def test_percentiles_agree_with_known_delays_to_three_digits():
    delays_ns = np.random.default_rng(5).lognormal(np.log(2 * MS), 0.6, 20_000).astype(int)
    measured = paced(delays_ns, rate=20, seconds=1_000)
    ranked_ms = np.sort(delays_ns) / MS
    assert measured.response.n == 20_000
    for percentile, rank in {50: 10_000, 90: 18_000, 99: 19_800, 99.9: 19_980}.items():
        for recording in (measured.response, measured.service):
            assert recording.percentile_ms(percentile) == pytest.approx(ranked_ms[rank - 1], rel=1e-3, abs=1e-3)


def test_a_stall_is_in_the_response_times_of_all_that_arrived_meanwhile():
    delays_ns = [MS] * 400 + [1_000 * MS] + [MS] * 599
    measured = paced(delays_ns, rate=200, seconds=5)
    assert measured.service.percentile_ms(99) == pytest.approx(1, rel=1e-2)  # one sender: coordinated omission
    assert measured.response.percentile_ms(90) > 300
    assert measured.response.percentile_ms(99) > 900


def test_the_generators_own_lateness_is_recorded_and_counts():
    measured = paced([2 * MS], rate=100, seconds=1, oversleep_ns=3 * MS)
    assert measured.response.parts[LATE].percentiles_ms([50]) == [pytest.approx(3.0, rel=1e-3)]
    assert measured.response.percentile_ms(50) == pytest.approx(5.0, rel=1e-3)
    assert measured.service.percentile_ms(50) == pytest.approx(2.0, rel=1e-3)


def test_a_slow_answer_delays_no_later_arrival():
    sent = []

    def call(i):
        sent.append((i, time.perf_counter()))
        if i == 5:
            time.sleep(0.5)

    began = time.perf_counter()
    measured = open_loop(call, schedule(100, 0.5).tolist(), seconds=0.5)
    assert measured.response.n == 50
    assert len(sent) == 50
    assert max(at - began - i / 100 for i, at in sent) < 0.4  # 49 of them while the slow one was under way
    assert measured.response.max_us >= 500_000


def test_the_warm_up_is_not_recorded():
    measured = paced([300 * MS] * 2 + [2 * MS] * 98, rate=10, seconds=9, warmup_s=1)
    assert measured.response.n == 90
    assert measured.response.max_us == 2_000
    assert measured.response.elapsed_s == pytest.approx(9)


def test_parts_of_a_request_are_recorded_with_its_service_time():
    measured = open_loop(lambda _: {"driver": 3 * MS, "feast": 2 * MS}, [0] * 30, seconds=0.1)
    assert measured.service.parts["driver"].percentiles_ms([50]) == [pytest.approx(3, rel=1e-3)]
    assert measured.service.parts["feast"].mean_ms == pytest.approx(2, rel=1e-3)
    assert list(measured.response.parts) == [LATE]


# --- nothing is lost ----------------------------------------------------------------------------------------------------


def test_every_request_is_counted_answered_timed_out_or_failed():
    failures = {3: Unavailable("down"), 7: RequestTimedOut("slow"), 8: ConnectionRefusedError("no")}
    measured = paced([2 * MS], rate=100, seconds=1, failures=failures, timeout_s=2)
    for recording in (measured.response, measured.service):
        assert recording.errors == {"Unavailable": 1, "RequestTimedOut": 1, "ConnectionRefusedError": 1}
        assert (recording.n, recording.timeouts, recording.requests) == (98, 1, 100)
        assert recording.max_us == 2_000_000


def test_what_cannot_be_sent_in_time_is_a_timeout():
    # One sender, requests of 0.4 s, four a second due: from the eleventh on they wait for a second and longer.
    measured = paced([400 * MS], rate=4, seconds=10, timeout_s=1)
    assert measured.response.requests == 40
    assert measured.response.errors[UNSENT] == measured.response.timeouts == 40 - measured.service.n
    assert measured.response.percentile_ms(50) >= 1_000


def test_a_call_that_never_comes_back_is_counted_and_the_run_ends():
    release = threading.Event()

    def call(i):
        if i == 3:
            release.wait(20)

    began = time.monotonic()
    measured = open_loop(call, schedule(50, 0.4).tolist(), seconds=0.4, timeout_s=0.3)
    assert time.monotonic() - began < 5
    assert measured.response.errors == measured.service.errors == {UNANSWERED: 1}
    assert measured.response.requests == 20
    release.set()
    time.sleep(0.05)
    assert measured.response.requests == 20


def test_senders_that_all_hang_leave_nothing_uncounted():
    release = threading.Event()
    measured = open_loop(
        lambda _: release.wait(20), schedule(50, 0.4).tolist(), seconds=0.4, timeout_s=0.2, in_flight=2
    )
    release.set()
    assert measured.response.requests == 20
    assert measured.response.errors == {UNANSWERED: 2, UNSENT: 18}


def test_a_closed_loops_callers_that_hang_are_counted_and_the_run_ends():
    release = threading.Event()
    recording = closed_loop(
        lambda i: release.wait(20) if i > 5 else None, seconds=0.2, warmup_s=0, concurrency=2, timeout_s=0.2
    )
    release.set()
    assert recording.errors == {UNANSWERED: 2}
    assert recording.requests == 8


def test_an_outage_from_the_start_is_measured_to_the_end():
    measured = paced([MS], rate=100, seconds=1, failures=dict.fromkeys(range(100), ConnectionRefusedError("down")))
    assert measured.response.errors == {"ConnectionRefusedError": 100}
    assert (measured.response.n, measured.response.answered_per_s) == (0, 0)


def test_a_mistake_from_the_start_is_raised():
    def call(_):
        raise UnknownName("no such feature")

    with pytest.raises(UnknownName, match="no such feature"):
        open_loop(call, schedule(1_000, 5).tolist(), seconds=5)


def test_ctrl_c_returns_what_was_measured():
    def interrupt(recording):
        if recording.n > 20 and not recording.interrupted:
            raise KeyboardInterrupt

    began = time.monotonic()
    measured = open_loop(lambda _: None, schedule(200, 60).tolist(), seconds=60, on_progress=interrupt)
    assert measured.response.interrupted
    assert 20 < measured.response.n < 2_000
    assert not measured.response.errors
    assert time.monotonic() - began < 30


def test_progress_shows_the_growing_response_times():
    counts = []
    open_loop(
        lambda _: None, schedule(100, 1).tolist(), seconds=1, on_progress=lambda recording: counts.append(recording.n)
    )
    assert counts == sorted(counts)
    assert counts[-1] == 100
    assert len(counts) > 3


@pytest.mark.parametrize("options", [{"seconds": 0}, {"seconds": 1, "warmup_s": -1}, {"seconds": 1, "timeout_s": 0}])
def test_durations_without_sense_are_refused(options):
    with pytest.raises(ConfigurationError):
        open_loop(lambda _: None, [0], **options)


# --- stalls -------------------------------------------------------------------------------------------------------------


def answered(requests):
    recording = Recording()
    for at_ms, latency_ms in requests:
        recording.add(round(latency_ms * MS), at_ns=at_ms * MS)
    return recording


def test_a_stall_is_from_the_first_request_that_waited_to_the_next_answer():
    steady = [(at, 2) for at in range(0, 1_000, 10)]
    # Sent from 1.0 s to 1.5 s, all answered at 1.5 s, in no order.
    waiting = [(at, 1_500 - at) for at in (1_400, 1_010, 1_000, 1_300)]
    stalls = answered(steady + waiting + [(1_510, 2)]).stalls()
    assert stalls.round(3).to_numpy().tolist() == [[1.0, 0.5]]


def test_a_store_that_always_takes_long_does_not_stall():
    assert answered([(at, 200) for at in range(0, 10_000, 200)]).stalls().empty


def test_nobody_asking_is_no_stall():
    assert answered([(at, 2) for at in range(0, 50_000, 1_000)]).stalls().empty


def test_a_run_that_ends_without_answers_ends_in_a_stall():
    recording = answered([(at, 2) for at in range(0, 1_000, 10)])
    recording.add_timeout(2_000 * MS, at_ns=1_000 * MS, name="RequestTimedOut")
    assert recording.stalls().round(2).to_numpy().tolist() == [[0.99, 2.01]]


def test_stalls_and_parts_and_fields_are_kept_when_recordings_are_merged_and_pickled():
    first = answered([*((at, 2) for at in range(0, 1_000, 10)), (1_000, 500)])
    first.add(2 * MS, at_ns=1_600 * MS, parts={"driver": MS})
    merged = pickle.loads(pickle.dumps(first.merge(answered([(0, 2)]))))
    assert merged.stalls().round(3).to_numpy().tolist() == [[1.0, 0.5]]
    assert merged.parts["driver"].n == 1
    assert merged.cells()["n"].sum() == merged.n == first.n + 1
    assert merged.percentile_ms(50) == first.percentile_ms(50)


def test_the_fields_of_a_heatmap_hold_every_request():
    cells = answered([(0, 2), (50, 2), (50, 40), (120, 1_000)]).cells()
    assert cells["n"].tolist() == [2, 1, 1]
    assert cells["at_s"].tolist() == [0, 0, 0.1]
    assert ((cells["low_ms"] <= [2, 40, 1_000]) & (cells["high_ms"] > [2, 40, 1_000])).all()


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_uniform_requests_walk_through_all_entities():
    assert sorted(batches(100, 10).ravel().tolist()) == list(range(100))


def test_zipf_requests_favour_few_entities_by_the_law():
    picked = batches(1_000, 1, pick="zipf").ravel()
    counts = np.sort(np.bincount(picked, minlength=1_000))[::-1]
    shares = np.arange(1, 1_001) ** -0.99
    assert counts[0] / len(picked) == pytest.approx(shares[0] / shares.sum(), abs=0.03)
    assert counts[:10].sum() / len(picked) == pytest.approx(shares[:10].sum() / shares.sum(), abs=0.06)


def test_no_entity_is_twice_in_a_request():
    assert all(len(set(row)) == 50 for row in batches(60, 50, pick="zipf").tolist())


def test_an_unknown_way_to_pick_is_refused():
    with pytest.raises(ConfigurationError, match="'zip' is not a way to pick"):
        batches(10, 1, pick="zip")


# --- small parts --------------------------------------------------------------------------------------------------------


def test_spans_that_overlap_count_once():
    assert covered_ns([]) == 0
    assert covered_ns([(20, 30), (0, 10), (5, 25)]) == 30
    assert covered_ns([(0, 100), (10, 20)]) == 100


@pytest.mark.parametrize("capacity", [20, 137, 5_000])
@pytest.mark.parametrize("first", [1, 100, 3_000])
def test_the_highest_rate_is_found_to_15_percent_from_anywhere(capacity, first):
    asked = []

    def holds(rate):
        asked.append(rate)
        return rate <= capacity

    assert capacity / 1.15 <= highest_rate(holds, first) <= capacity
    assert len(asked) <= 16


def test_a_search_that_is_interrupted_returns_what_held():
    answers = iter([True, True, None])
    assert highest_rate(lambda _: next(answers), 100) == 200
