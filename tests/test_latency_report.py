"""Latency: the closed loop, what it records, and the report, against delays that are known exactly."""

import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hdrh.histogram import HdrHistogram

from feastra_nb.errors import ConfigurationError, RequestFailed, RequestTimedOut, Unavailable, UnknownName
from feastra_nb.latency.closed_loop import closed_loop
from feastra_nb.latency.recording import Recording, samples_beyond
from feastra_nb.latency.report import LatencyReport, Measured, environment, summarize

MS = 1_000_000  # nanoseconds
FRAME_COLUMNS = ["target", "batch", "consistency", "kind", "n", "errors", "asked_rate", "reached_rate"]
FRAME_COLUMNS += ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"]


class FakeClock:
    """A clock that moves only when a call takes its time."""

    def __init__(self):
        self.now_ns = 123_456_789

    def __call__(self):
        return self.now_ns


def timed(clock, delays_ns, failures=None):
    """Return a call whose i-th request takes the i-th delay, and fails if there is an error for it."""
    calls = []

    def call(i):
        calls.append(i)
        clock.now_ns += int(delays_ns[i % len(delays_ns)])
        if failures and i in failures:
            raise failures[i]

    call.calls = calls
    return call


def measure(delays_ns, *, failures=None, **options):
    clock = FakeClock()
    call = timed(clock, delays_ns, failures)
    return closed_loop(call, clock=clock, **({"warmup_s": 0} | options)), call.calls


def recorded(delays_ns):
    recording, at_ns = Recording(), 0
    for delay_ns in delays_ns:
        recording.add(int(delay_ns), at_ns=at_ns)
        at_ns += int(delay_ns)
    return recording


def run(recording, **options):
    return Measured(
        **({"target": "feast", "batch": 1, "consistency": "LOCAL_QUORUM", "kind": "service"} | options),
        recording=recording,
    )


def test_percentiles_agree_with_the_truth_to_three_digits():
    delays_ns = np.random.default_rng(7).lognormal(np.log(2 * MS), 0.8, 20_000).astype(int)
    recording, calls = measure(delays_ns, seconds=delays_ns.sum() / 1e9)
    assert recording.n == len(calls) == 20_000
    ranked_ms = np.sort(delays_ns) / MS
    for percentile, rank in {50: 10_000, 90: 18_000, 99: 19_800, 99.9: 19_980}.items():
        # Three digits, and the microsecond below which a histogram cannot tell values apart.
        assert recording.percentile_ms(percentile) == pytest.approx(ranked_ms[rank - 1], rel=1e-3, abs=1e-3)
    assert recording.max_us == round(delays_ns.max() / 1_000)
    assert recording.elapsed_s == pytest.approx(delays_ns.sum() / 1e9)
    assert recording.answered_per_s == pytest.approx(20_000 / (delays_ns.sum() / 1e9))


@pytest.mark.parametrize(("percentile", "enough"), [(50, 20), (90, 100), (99, 1_000), (99.9, 10_000)])
def test_no_percentile_with_fewer_than_ten_samples_beyond_it(percentile, enough):
    assert samples_beyond(percentile, enough) == 10
    assert recorded([MS] * enough).percentile_ms(percentile) == pytest.approx(1.0, rel=1e-3)
    assert np.isnan(recorded([MS] * (enough - 1)).percentile_ms(percentile))


def test_no_percentile_lies_above_the_longest_latency():
    recording = recorded([50 * MS] * 100)
    assert recording.percentile_ms(90) == 50.0


def test_a_latency_beyond_the_histogram_is_kept():
    recording = recorded([MS] * 19 + [90_000 * MS])
    assert recording.n == 20
    assert recording.max_us == 90_000_000


def test_the_warm_up_is_dropped_and_the_rest_is_measured_in_full():
    slow_start = [700 * MS, 700 * MS] + [10 * MS] * 98
    recording, calls = measure(slow_start, seconds=0.5, warmup_s=1.0)
    assert recording.n == 50
    assert recording.max_us == 10_000
    assert calls == list(range(52))
    assert recording.elapsed_s == pytest.approx(0.5)


def test_errors_are_counted_by_kind_and_do_not_end_the_run():
    failures = {3: Unavailable("down"), 4: Unavailable("down"), 7: KeyError("x")}
    recording, calls = measure([10 * MS], seconds=1, failures=failures)
    assert recording.errors == {"Unavailable": 2, "KeyError": 1}
    assert len(calls) == 100
    assert recording.n == 97
    assert recording.timeouts == 0


def test_a_timeout_is_a_sample_of_at_least_the_timeout():
    failures = {5: RequestTimedOut("slow"), 6: TimeoutError("slow")}
    recording, _ = measure([10 * MS], seconds=1, failures=failures, timeout_s=2)
    assert recording.errors == {"RequestTimedOut": 1, "TimeoutError": 1}
    assert (recording.n, recording.timeouts, recording.max_us) == (100, 2, 2_000_000)
    recording, _ = measure([3_000 * MS], seconds=10, failures=failures | {0: RequestTimedOut("late")}, timeout_s=2)
    assert recording.max_us == 3_000_000


def test_timeouts_are_not_answers():
    recording, _ = measure([10 * MS], seconds=1, failures={5: RequestTimedOut("slow")}, timeout_s=0.01)
    assert recording.answered_per_s == pytest.approx(99)


def test_when_the_first_twenty_calls_fail_for_a_mistake_the_first_error_is_raised():
    failures = {i: UnknownName(f"call {i}") for i in range(1_000)}
    clock = FakeClock()
    call = timed(clock, [MS], failures)
    with pytest.raises(UnknownName, match="call 0"):
        closed_loop(call, seconds=100, warmup_s=0.005, clock=clock)
    assert len(call.calls) == 20


@pytest.mark.parametrize("error", [Unavailable("down"), ConnectionRefusedError("down"), RequestFailed("overloaded")])
def test_an_outage_is_counted_to_the_end_and_not_raised(error):
    recording, calls = measure([10 * MS], seconds=1, failures=dict.fromkeys(range(1_000), error))
    assert recording.errors == {type(error).__name__: 100}
    assert (recording.n, recording.requests, len(calls)) == (0, 100, 100)


def test_one_success_among_the_first_calls_is_something_to_measure():
    failures = {i: Unavailable("down") for i in range(1_000) if i != 10}
    recording, _ = measure([MS], seconds=0.5, failures=failures)
    assert recording.errors == {"Unavailable": 499}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_interrupting_returns_what_was_measured(concurrency):
    answered = []

    def call(i):
        time.sleep(0.001)
        if i == 30:
            raise KeyboardInterrupt
        answered.append(i)

    recording = closed_loop(call, seconds=60, warmup_s=0, concurrency=concurrency)
    assert recording.interrupted
    assert recording.n == len(answered) >= 30 - concurrency
    assert recording.elapsed_s < 30


def test_interrupting_the_waiting_thread_ends_the_callers():
    calls = Counter()

    def call(_):
        calls[threading.get_ident()] += 1
        time.sleep(0.001)

    def interrupt(recording):
        if recording.n > 20 and not recording.interrupted and threading.current_thread() is threading.main_thread():
            interrupt.times += 1
            if interrupt.times == 1:
                raise KeyboardInterrupt

    interrupt.times = 0
    recording = closed_loop(call, seconds=60, warmup_s=0, concurrency=2, on_progress=interrupt)
    assert recording.interrupted
    total = sum(calls.values())
    time.sleep(0.05)
    assert sum(calls.values()) == total == recording.n


def test_a_caller_that_hangs_cannot_change_what_was_returned():
    release = threading.Event()

    def call(i):
        if i == 5:
            release.wait(10)
        if i == 40:
            raise KeyboardInterrupt
        time.sleep(0.001)

    recording = closed_loop(call, seconds=60, warmup_s=0, concurrency=2, timeout_s=0.05)
    before = recording.n
    release.set()
    time.sleep(0.05)
    assert recording.n == before


def test_several_callers_share_the_requests():
    seen, together, most = [], [0], [0]
    lock = threading.Lock()

    def call(i):
        with lock:
            seen.append(i)
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.002)
        with lock:
            together[0] -= 1

    recording = closed_loop(call, seconds=0.4, warmup_s=0.1, concurrency=4)
    assert most[0] == 4
    assert sorted(seen) == list(range(len(seen)))
    assert 20 < recording.n < len(seen)
    assert recording.percentile_ms(50) >= 2


def test_an_error_of_the_first_calls_is_raised_from_threads_too():
    def call(_):
        raise UnknownName("no such view")

    with pytest.raises(UnknownName, match="no such view"):
        closed_loop(call, seconds=10, concurrency=4)


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": 1, "concurrency": 0},
        {"seconds": 1, "concurrency": 1.5},
        {"seconds": 1, "warmup_s": -1},
        {"seconds": 1, "timeout_s": 0},
    ],
)
def test_options_without_sense_are_refused(options):
    with pytest.raises(ConfigurationError):
        closed_loop(lambda _: None, **options)


def test_progress_shows_the_growing_recording():
    clock, counts = FakeClock(), []
    closed_loop(
        timed(clock, [10 * MS]),
        seconds=1,
        warmup_s=0,
        clock=clock,
        on_progress=lambda recording: counts.append(recording.n),
    )
    assert counts == sorted(counts)
    assert counts[-1] == 100
    assert 10 <= len(counts) <= 13


def test_the_timeline_shows_a_stall():
    delays_ns = [10 * MS] * 20 + [500 * MS] + [10 * MS] * 10
    timeline = recorded(delays_ns).timeline()
    assert timeline["n"].tolist() == [10, 10, 1, 0, 0, 0, 0, 10]
    assert timeline["max_ms"].round(1).fillna(-1).tolist() == [10, 10, 500, -1, -1, -1, -1, 10]
    assert timeline["at_s"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert Recording().timeline().empty


def test_merged_percentiles_are_those_of_all_samples():
    delays_ns = np.random.default_rng(3).lognormal(np.log(2 * MS), 0.5, 2_000).astype(int)
    first, second, both = recorded(delays_ns[:500]), recorded(delays_ns[500:]), recorded(delays_ns)
    second.add_timeout(10_000 * MS, at_ns=0, name="RequestTimedOut")
    both.add_timeout(10_000 * MS, at_ns=0, name="RequestTimedOut")
    merged = first.merge(second)
    assert [merged.percentile_ms(p) for p in (50, 90, 99)] == [both.percentile_ms(p) for p in (50, 90, 99)]
    assert (merged.n, merged.max_us, merged.timeouts) == (2_001, 10_000_000, 1)
    assert merged.errors == {"RequestTimedOut": 1}
    assert (first.n, second.n) == (500, 1_501)


def test_merged_rates_are_right_one_after_another_and_at_the_same_time():
    first, second = recorded([10 * MS] * 100), recorded([10 * MS] * 100)
    second.started = first.started
    assert first.merge(second).answered_per_s == pytest.approx(200)
    assert first.merge(second).timeline()["n"].tolist() == [20] * 10
    second.started = first.started + pd.Timedelta(seconds=60)
    assert second.merge(first).answered_per_s == pytest.approx(100)
    assert second.merge(first).started == first.started


@pytest.fixture
def report():
    rng = np.random.default_rng(1)
    slow = recorded(rng.lognormal(np.log(9 * MS), 0.3, 999))
    slow.add_timeout(10_000 * MS, at_ns=0, name="RequestTimedOut")
    slow.add_error(MS, at_ns=0, name="<Unavailable>")
    few = recorded([MS] * 19)
    runs = [
        run(recorded(rng.lognormal(np.log(MS), 0.3, 10_000)), batch=1),
        run(slow, batch=10),
        run(few, batch=100, target="<redis>"),
    ]
    return summarize(runs, {"store": "<one node>"})


def test_the_frame_has_a_row_per_target_batch_and_kind(report):
    assert isinstance(report, LatencyReport)
    assert list(report.frame.columns) == FRAME_COLUMNS
    assert report.frame["n"].tolist() == [10_000, 1_000, 19]
    assert report.frame["errors"].tolist() == [0, 2, 0]
    assert report.frame["asked_rate"].isna().all()
    percentiles = report.frame[["p50_ms", "p90_ms", "p99_ms", "p999_ms"]]
    assert percentiles.notna().to_numpy().tolist() == [[True] * 4, [True] * 3 + [False], [False] * 4]
    assert report.frame["max_ms"].tolist()[1:] == [10_000.0, 1.0]


def test_the_frame_has_the_same_types_with_nothing_measured(report):
    empty = summarize([], {})
    assert list(empty.frame.columns) == FRAME_COLUMNS
    assert empty.frame.dtypes.drop(["target", "consistency", "kind"]).equals(
        report.frame.dtypes.drop(["target", "consistency", "kind"])
    )
    unmeasured = summarize([run(Recording())], {})
    assert unmeasured.frame[["reached_rate", "p50_ms", "max_ms"]].isna().all(axis=None)
    assert all("Latency" in text for text in (repr(empty), repr(unmeasured), unmeasured._repr_html_()))


def test_runs_of_the_same_thing_are_merged():
    frame = summarize([run(recorded([MS] * 60)), run(recorded([MS] * 60))], {}).frame
    assert frame["n"].tolist() == [120]
    assert frame["p90_ms"].notna().all()


def test_the_curves_end_where_fewer_than_ten_samples_lie_beyond(report):
    curves = report.percentiles
    assert list(curves.columns) == ["target", "batch", "consistency", "kind", "percentile", "latency_ms"]
    assert curves.groupby("batch")["percentile"].max().to_dict() == pytest.approx({1: 99.9, 10: 99.0})
    assert curves["latency_ms"].notna().all()
    assert all(curve["latency_ms"].is_monotonic_increasing for _, curve in curves.groupby("batch"))
    at_p99 = curves[(curves["batch"] == 1) & (curves["percentile"] == 99)]["latency_ms"].item()
    assert at_p99 == report.frame["p99_ms"][0]


def test_the_plot_shows_what_the_report_says(report):
    from feastra_nb.reporting import plots

    ax = plots.detached_axes()
    assert report.plot(ax) is ax
    assert "service time only (closed loop)" in ax.get_title(loc="left")
    assert ax.get_ylabel() == "latency (ms)"
    assert [text.get_text() for text in ax.texts] == ["batch 1", "batch 10"]  # from below, at the lines' ends
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0 %", "50 %", "90 %", "99 %", "99.9 %"]
    assert max(line.get_xdata().max() for line in ax.get_lines()) == pytest.approx(1_000)


def test_a_plot_without_samples_says_so():
    from feastra_nb.reporting import plots

    ax = summarize([run(recorded([MS] * 19))], {}).plot(plots.detached_axes())
    assert ax.get_lines() == []
    assert "fewer than 20 samples" in ax.texts[0].get_text()


def test_plotting_needs_no_display_and_changes_no_setting(tmp_path):
    code = """
import matplotlib as mpl
from feastra_nb.latency.recording import Recording
from feastra_nb.latency.report import Measured, summarize
recording = Recording()
for i in range(100):
    recording.add(1_000_000 + i, at_ns=i)
report = summarize([Measured("feast", 1, "ONE", "service", recording)], {})
settings = {name: value for name, value in mpl.rcParams.items() if name != "backend"}
ax = report.plot()
assert type(ax).__name__ == "Axes", ax
report._repr_html_()
import matplotlib.pyplot as plt
assert plt.get_fignums() == [1], plt.get_fignums()
assert {name: value for name, value in mpl.rcParams.items() if name != "backend"} == settings
"""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}  # no DISPLAY, no MPLBACKEND
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_measuring_loads_no_notebook_room():
    code = (
        "import sys, feastra_nb.latency.closed_loop, feastra_nb.latency.report as r; r.environment();"
        "print([m for m in ('matplotlib', 'IPython', 'ipywidgets', 'feast', 'cassandra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_is_escaped_and_the_same_in_every_call(report):
    page = report._repr_html_()
    assert page == report._repr_html_()
    assert "<script" not in page
    for name in ("redis", "one node", "Unavailable"):
        assert f"&lt;{name}&gt;" in page
        assert f"<{name}>" not in page


def test_the_text_fits_one_screen_and_says_what_the_numbers_are(report):
    text = repr(report)
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 120
    for part in ("Closed loop", "at least 10 samples", "1 RequestTimedOut", "1 timed out", "<one node>"):
        assert part in text


def test_a_report_is_saved_with_its_histograms(report, tmp_path):
    saved = json.loads(report.save(tmp_path / "latency.json").read_text())
    assert saved["environment"] == {"store": "<one node>"}
    assert saved["frame"][2]["p50_ms"] is None
    assert saved["recordings"][1]["errors"] == {"RequestTimedOut": 1, "<Unavailable>": 1}
    histogram = HdrHistogram.decode(saved["recordings"][0]["histogram_us"])
    assert histogram.get_total_count() == 10_000
    assert histogram.get_value_at_percentile(50) / 1_000 == report.frame["p50_ms"][0]
    pd.testing.assert_frame_equal(pd.read_parquet(report.save(tmp_path / "latency.parquet")), report.frame)
    assert "data:image/png" in report.save(tmp_path / "latency.html").read_text()
    assert report.save(tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_the_environment_names_machine_and_versions():
    described = environment(store="sqlite", consistency="ONE")
    assert list(described) == ["machine", "python", "feast", "cassandra-driver", "store", "consistency"]
    assert "cores" in described["machine"]
    assert "GiB" in described["machine"]


# --- what can be done with a report -------------------------------------------------------------------------------------


def open_loop_report(latencies_ms, *, rate=100.0, errors=0, timeouts=0, interrupted=False):
    """Return the report of an open loop: a request every 10 ms, the service a tenth of a millisecond less."""
    both = {}
    for kind, less_ms in (("response", 0.0), ("service", 0.1)):
        both[kind] = made = Recording()
        for i, latency_ms in enumerate(latencies_ms):
            made.add(round((latency_ms - less_ms) * MS), at_ns=i * 10 * MS)
        for _ in range(errors):
            made.add_error(MS, at_ns=0, name="Unavailable")
        for _ in range(timeouts):
            made.add_timeout(10_000 * MS, at_ns=0, name="RequestTimedOut")
        made.interrupted = interrupted
    return summarize([run(made, kind=kind, asked_rate=rate) for kind, made in both.items()], {"store": "a"})


def test_errors_are_a_table_by_kind(report):
    assert report.errors[["batch", "error", "count"]].to_numpy().tolist() == [
        [10, "<Unavailable>", 1],
        [10, "RequestTimedOut", 1],
    ]


def test_a_rate_that_was_not_reached_is_named():
    assert not open_loop_report([1] * 100).saturated
    slow = open_loop_report([1] * 100, rate=120)
    assert slow.saturated
    assert "saturated: feast, batch 1: 100.9 of 120.0 requests a second answered" in repr(slow)
    assert "saturated" in slow._repr_html_()


def test_an_incident_is_told_once_for_response_and_service():
    text = repr(open_loop_report([1] * 100, errors=3, interrupted=True))
    assert text.count("errors: ") == text.count("interrupted: ") == 1
    assert "Open loop" in text


def test_the_page_of_an_open_loop_shows_a_timeline_and_a_closed_one_does_not(report):
    assert "<summary>Timeline</summary>" in open_loop_report([1] * 100)._repr_html_()
    assert "<summary>Timeline</summary>" not in report._repr_html_()


def test_rows_can_be_picked_from_a_report(report):
    picked = report.only(batch=10)
    assert picked.frame["batch"].tolist() == [10]
    assert list(picked.recordings) == [key for key in report.recordings if key.batch == 10]
    assert picked.environment == report.environment
    with pytest.raises(ConfigurationError, match="rows have no 'size'"):
        report.only(size=1)
    with pytest.raises(ConfigurationError, match="has no row with"):
        report.only(batch=11)


def test_the_text_of_hdrhistogram_is_saved(report, tmp_path):
    text = report.only(batch=1).save(tmp_path / "one.hgrm").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    values = [float(line.split()[0]) for line in lines[2:]]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(report.frame["max_ms"][0], rel=1e-3)
    assert "#[feast, batch 1, LOCAL_QUORUM, service time in ms]" in text
    assert "#[store: <one node>]" in text
    mean, deviation = (
        float(part.split("=")[1].strip(" ]")) for part in text.split("#[Mean")[1].splitlines()[0].split(",")
    )
    assert mean == pytest.approx(np.exp(0.3**2 / 2), rel=0.02)  # of the lognormal distribution, in ms
    assert deviation == pytest.approx(mean * np.sqrt(np.exp(0.3**2) - 1), rel=0.1)
    assert report.save(tmp_path / "all.hgrm").read_text().count("#[Mean") == 3
    assert "#[Max     =        0.000" in summarize([run(Recording())], {}).to_hgrm()


def test_a_suffix_that_is_none_names_those_there_are(report, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        report.save(tmp_path / "latency.hdr")
    assert ".hgrm" in caught.value.hint


def test_two_reports_are_compared_row_by_row(tmp_path):
    first = summarize([run(recorded([MS] * 100)), run(recorded([4 * MS] * 100), batch=10)], {"store": "a"})
    second = summarize([run(recorded([2 * MS] * 100)), run(recorded([MS] * 100), batch=100)], {"store": "b"})
    compared = first.compare(second)
    assert compared.names == ("a", "b")
    assert compared.frame["batch"].tolist() == [1]
    assert compared.frame["p50_ratio"].item() == pytest.approx(2.0, rel=1e-3)
    assert np.isnan(compared.frame["p99_ratio"].item())
    assert compared.both.frame["target"].tolist() == ["a", "a", "b", "b"]
    assert compared.both.environment == {"store": "a / b"}
    assert "p50 a" in repr(compared)
    for suffix in ("html", "json", "parquet", "png"):
        assert compared.save(tmp_path / f"compared.{suffix}").stat().st_size > 100


def test_several_targets_are_compared_each_with_itself():
    several = summarize([run(recorded([MS] * 100)), run(recorded([2 * MS] * 100), target="driver")], {})
    compared = several.compare(several, names=("before", "after"))
    assert compared.frame[["target_1", "target_2", "p50_ratio"]].to_numpy().tolist() == [
        ["feast", "feast", 1.0],
        ["driver", "driver", 1.0],
    ]
    assert compared.both.frame["target"].tolist()[::2] == ["before: feast", "after: feast"]
    assert compared.both.frame["n"].tolist() == [100] * 4


# --- objectives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latencies_ms", "options", "limits", "verdict", "why"),
    [
        ([5] * 1_000, {}, {"p99_ms": 20}, "ok", ""),
        ([50] * 1_000, {}, {"p99_ms": 20}, "missed", ""),
        ([5] * 999, {}, {"p99_ms": 20}, "unknown", "too few samples: 999"),
        ([50] * 100, {}, {"p99_ms": 20}, "missed", "a lower percentile is longer already"),
        ([5] * 1_000, {"errors": 20}, {"p99_ms": 20}, "missed", "2.0% of the requests failed"),
        ([5] * 1_000, {"errors": 5}, {"p99_ms": 20}, "ok", ""),
        ([5] * 1_000, {"timeouts": 20}, {"p99_ms": 20}, "missed", ""),
        ([5] * 1_000, {"rate": 150.0}, {"p99_ms": 20}, "unknown", "the rate asked for was not reached"),
        ([50] * 1_000, {"rate": 150.0}, {"p99_ms": 20}, "missed", ""),
        ([], {"errors": 7}, {"p99_ms": 20}, "missed", "100.0% of the requests failed"),
        ([], {}, {"p99_ms": 20}, "unknown", "too few samples: 0"),
        ([5] * 30, {}, {"max_ms": 20}, "ok", ""),
        ([5] * 30, {"errors": 1}, {"max_ms": 20}, "missed", "3.2% of the requests failed"),
        ([5] * 30, {}, {"p50_ms": 4}, "missed", ""),
    ],
)
def test_an_objective_is_met_or_missed_or_cannot_be_told(latencies_ms, options, limits, verdict, why):
    check = open_loop_report(latencies_ms, **options).check(**limits)
    assert check.frame["kind"].tolist() == ["response"]
    assert check.frame["verdict"].tolist() == [verdict]
    assert check.frame["why"].tolist() == [why]
    assert check.exit_code == {"ok": 0, "missed": 1, "unknown": 2}[verdict]
    assert bool(check) is check.ok is (verdict == "ok")
    assert verdict in repr(check)
    assert verdict in check._repr_html_()


def test_one_missed_objective_outweighs_what_cannot_be_told(report):
    check = report.check(p50_ms=5, p99_ms=1_000)
    assert check.frame["verdict"].tolist() == ["ok", "ok", "missed", "ok", "unknown", "unknown"]
    assert check.exit_code == 1
    assert report.only(batch=1).check(p50_ms=5, p99_ms=1_000)


@pytest.mark.parametrize("limits", [{}, {"p99_ms": 0}, {"p99_ms": -1}, {"p50_ms": float("nan")}])
def test_objectives_without_sense_are_refused(report, limits):
    with pytest.raises(ConfigurationError, match=r"no objective|not an objective"):
        report.check(**limits)


def test_a_report_of_nothing_meets_no_objective():
    assert summarize([], {}).check(p99_ms=1).exit_code == 2


def test_a_report_survives_pickling(report):
    again = pickle.loads(pickle.dumps(report))
    pd.testing.assert_frame_equal(again.frame, report.frame)
    pd.testing.assert_frame_equal(again.percentiles, report.percentiles)
    assert again._repr_html_() == report._repr_html_()
    assert pickle.loads(pickle.dumps(report.compare(report))).frame.shape == report.compare(report).frame.shape


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (0, "Nothing was answered."),
        (10, "Too few samples (10) for a median; for a p50 measure"),
        (200, "Half under 2 ms, 9 of 10 under 2; for a p99 measure "),
        (2_000, "Half under 2 ms, 9 of 10 under 2, 99 of 100 under 2."),
    ],
)
def test_a_report_begins_with_a_sentence_that_says_how_long_to_measure_for_more(samples, expected):
    recording = Recording()
    for place in range(samples):
        recording.add(2 * MS, at_ns=place * 5 * MS)
    report = summarize([run(recording)], {})
    assert report.sentence.startswith(expected)
    assert repr(report).splitlines()[0].startswith(expected[:40])
    assert html_lead(report) == report.sentence


def html_lead(report):
    return re.search(r'<p class="fnb-lead">(.*?)</p>', report._repr_html_())[1]


def test_percentiles_that_no_row_has_have_no_column(report):
    short = summarize([run(recorded([MS] * 200))], {})
    assert not {"p99_ms", "p999_ms"} & set(short.shown.columns)
    assert "p99.9" not in repr(short)
    assert {"p99_ms", "p999_ms"} <= set(report.shown.columns)


def test_a_comparison_says_how_many_times_faster():
    slow, fast = (summarize([run(recorded([ms * MS] * 2_000))], {}) for ms in (5, 2))
    compared = slow.compare(fast, names=("Feast", "the driver"))
    assert (
        compared.sentence
        == "the driver beside Feast: 2.5 × faster at the median (2 against 5 ms), 2.5 × faster at the p99."
    )
    assert compared.shown["median"].tolist() == ["2.5 × faster"]
    assert "2.5 × slower" in repr(fast.compare(slow))
    assert "as fast" in slow.compare(slow, names=("a", "b")).sentence
