"""The pictures of latency reports: as they were looked at, in light and in dark, and what they say in words.

``FEASTRA_NEW_IMAGES=1 pytest tests/test_latency_plots.py`` draws the expected pictures anew; look at them before they are
committed.
"""

import numpy as np
import pandas as pd
import pytest
from looks import TOLERANCE, both_themes, difference, is_as_looked_at

from feastra_nb.errors import ConfigurationError
from feastra_nb.latency.capacity import Capacity
from feastra_nb.latency.recording import Recording
from feastra_nb.latency.report import Measured, summarize
from feastra_nb.reporting import plots

MS = 1_000_000


def recording(latencies_ms, *, every_ms=5, start_ms=0):
    made = Recording()
    ends = sorted((start_ms + i * every_ms + latency_ms, i, latency_ms) for i, latency_ms in enumerate(latencies_ms))
    for _end, i, latency_ms in ends:
        made.add(round(latency_ms * MS), at_ns=(start_ms + i * every_ms) * MS)
    return made


def latencies(n, *, median_ms=2.0, seed=1):
    return np.random.default_rng(seed).lognormal(np.log(median_ms), 0.3, n)


def stalled(n=2_000, *, at=800, stall_ms=1_000, **options):
    """Return latencies of requests every 5 ms, of which those from number ``at`` on wait for the end of a stall."""
    plain = latencies(n, **options)
    waits = np.maximum(stall_ms - (np.arange(n) - at) * 5.0, 0) * (np.arange(n) >= at)
    return plain + waits


@pytest.fixture(scope="module")
def reports():
    open_loop = [
        Measured("feast", 1, "LOCAL_QUORUM", "response", recording(stalled() + 0.3), 200.0),
        Measured("feast", 1, "LOCAL_QUORUM", "service", recording(stalled()), 200.0),
    ]
    closed = [
        Measured(target, batch, "LOCAL_QUORUM", "service", recording(latencies(3_000, median_ms=ms, seed=seed)))
        for seed, (target, batch, ms) in enumerate(
            [("feast", 1, 1.5), ("feast", 100, 9), ("driver", 1, 0.6), ("driver", 100, 4)]
        )
    ]
    rates = np.array([100, 200, 400, 400, 300])
    tried = pd.DataFrame(
        {
            "asked_rate": rates.astype(float), "reached_rate": rates.astype(float), "n": rates * 3, "errors": 0,
            "p50_ms": [1.0, 1.1, 6.0, 8.0, 1.4], "p99_ms": [3.0, 4.0, 80.0, 95.0, 12.0], "max_ms": 120.0,
            "held": [True, True, False, False, True],
        }
    )  # fmt: skip
    return {
        "open": summarize(open_loop, {"store": "one"}),
        "closed": summarize(closed, {"store": "two"}),
        "capacity": Capacity(300.0, 20.0, tried, {}),
    }


DRAWN = {
    "percentiles": lambda reports, ax: reports["open"].plot(ax),
    "percentiles_of_several": lambda reports, ax: reports["closed"].plot(ax),
    "timeline": lambda reports, ax: reports["open"].plot(ax, kind="timeline"),
    "timeline_of_several": lambda reports, ax: reports["closed"].plot(ax, kind="timeline"),
    "heatmap": lambda reports, ax: reports["open"].plot(ax, kind="heatmap"),
    "comparison": lambda reports, ax: compared(reports).plot(ax),
    "capacity": lambda reports, ax: reports["capacity"].plot(ax),
}


def compared(reports):
    feast, driver = (reports["closed"].only(target=target) for target in ("feast", "driver"))
    return feast.compare(driver, names=("through Feast", "the bare driver"))


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_the_one_that_was_looked_at(name, reports):
    assert is_as_looked_at(both_themes(lambda ax: DRAWN[name](reports, ax)), f"latency_{name}")


def test_a_picture_that_lacks_a_line_is_found_out(reports):
    whole = both_themes(reports["open"].plot)
    without = both_themes(reports["open"].only(kind="service").plot)
    assert difference(whole, without) > TOLERANCE


def words(ax):
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    return {
        "title": ax.get_title(loc="left"), "x": ax.get_xlabel(), "y": ax.get_ylabel(),
        "legend": [] if legend is None else [text.get_text() for text in legend.get_texts()],
        "texts": [text.get_text() for text in ax.texts],
    }  # fmt: skip


def test_every_axis_is_labelled_with_its_unit(reports):
    for kind, x in {
        "percentiles": "percentile of requests",
        "timeline": "time since the start (s)",
        "heatmap": "time since the start (s)",
    }.items():
        said = words(reports["open"].plot(plots.detached_axes(), kind=kind))
        assert (said["x"], said["y"]) == (x, "latency (ms)")
    said = words(reports["capacity"].plot(plots.detached_axes()))
    assert (said["x"], said["y"]) == ("requests a second", "p99 of the response time (ms)")


def test_response_stands_beside_service_in_one_colour(reports):
    ax = reports["open"].plot(plots.detached_axes())
    assert sorted(words(ax)["texts"]) == ["response", "service"]
    response, service = (line for line in ax.get_lines() if line.get_label() in ("response", "service"))
    assert response.get_color() == service.get_color()
    assert response.get_linestyle() != service.get_linestyle()


def test_the_timeline_says_how_long_the_stall_was(reports):
    ax = reports["open"].plot(plots.detached_axes(), kind="timeline")
    assert "no answer for 1 s" in words(ax)["texts"]
    assert [round(patch.get_x()) for patch in ax.patches] == [4]


@pytest.mark.parametrize("kind", ["percentiles", "timeline"])
def test_a_closed_loop_is_titled_so(reports, kind):
    assert words(reports["closed"].plot(plots.detached_axes(), kind=kind))["title"].endswith(
        ": service time only (closed loop)"
    )
    assert "closed" not in words(reports["open"].plot(plots.detached_axes(), kind=kind))["title"]


def test_an_unknown_kind_and_a_heatmap_of_several_rows_are_refused(reports):
    with pytest.raises(ConfigurationError, match="no plot of kind 'timelime'") as caught:
        reports["open"].plot(kind="timelime")
    assert "timeline" in caught.value.hint
    with pytest.raises(ConfigurationError, match="a heatmap shows one row; the report has 4"):
        reports["closed"].plot(kind="heatmap")
    assert reports["closed"].only(target="feast", batch=1).plot(plots.detached_axes(), kind="heatmap")


@pytest.mark.parametrize("kind", ["percentiles", "timeline", "heatmap"])
def test_a_run_without_answers_is_drawn_as_words(kind):
    dead = Recording()
    dead.add_error(MS, at_ns=0, name="ConnectionFailed")
    report = summarize([Measured("feast", 1, "ONE", "response", dead, 10.0)], {})
    assert words(report.plot(plots.detached_axes(), kind=kind))["texts"]
    assert "ConnectionFailed" in report._repr_html_()
