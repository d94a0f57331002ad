"""What all reports promise alike: frozen, a frame, a page, a screen of text, a plot that returns its Axes, and files."""

import dataclasses
import importlib
import json
import pkgutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes

import feastra_nb
from feastra_nb.latency import capacity
from feastra_nb.reporting.report import Report

SCREEN_LINES = 60


def report_classes():
    for module in pkgutil.walk_packages(feastra_nb.__path__, "feastra_nb."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {cls.__name__: cls for cls in Report.__subclasses__()}


@pytest.fixture
def reports(filled, events, now, monkeypatch):
    """One of each, made by the public functions."""
    monkeypatch.setattr(capacity, "MOST_RATES", 1)
    later = events[:3].assign(event_timestamp=now, rating=9.0)
    offline = filled.directory / "offline" / "drivers.parquet"
    done = filled.materialize(events, "drivers", keys=["driver"], progress=False)
    skew_free = filled.skew("drivers")
    stored = pd.read_parquet(offline)
    pd.concat([stored, later.assign(feastra_created=now)]).to_parquet(offline, index=False)
    skew = filled.skew("drivers")
    latency = filled.latency("drivers", batch=(1, 2), seconds=0.2, warmup_s=0.1, progress=False)
    made = [
        done, skew, skew.check(0.5), skew.impact(lambda frame: frame["rating"].fillna(0)), latency,
        filled.explain("drivers:rating", {"driver": 1}), latency.check(p50_ms=1_000), latency.compare(latency),
        filled.capacity("drivers", p99_ms=60_000, seconds=0.2, progress=False), filled.status(), filled.prune(dry_run=True),
        filled.forget_entity({"driver": 1}, dry_run=True), filled.export("feast-cassandra", progress=False),
    ]  # fmt: skip
    assert skew_free.ok
    return {type(one).__name__: one for one in made}


def test_every_report_keeps_what_reports_promise(reports, tmp_path):
    assert set(reports) == set(report_classes())
    for name, report in reports.items():
        options = report.__dataclass_params__
        assert (options.frozen, options.eq) == (True, False), name
        assert isinstance(report.frame, pd.DataFrame), name
        assert 0 < len(repr(report).splitlines()) <= SCREEN_LINES, name
        page = report._repr_html_()
        assert page.startswith('<div class="fnb"><style>'), name
        assert page == report._repr_html_(), name
        figure, ax = plt.subplots()
        assert report.plot(ax=ax) is ax, name
        plt.close(figure)
        drawn = report.plot()
        assert isinstance(drawn, Axes), name
        assert drawn.get_title(loc="left"), name
        plt.close(drawn.figure)
        for suffix in (".html", ".json", ".parquet", ".png"):
            assert report.save(tmp_path / f"{name}{suffix}").stat().st_size, name
        json.loads((tmp_path / f"{name}.json").read_text())
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, dataclasses.fields(report)[0].name, None)


def test_a_materialization_says_in_its_page_what_was_stored_already(reports):
    page = reports["Materialization"]._repr_html_()
    assert "✓ acknowledged" in page
    assert "9 stored already" in page


def test_what_pruning_would_delete_is_no_deletion(reports):
    assert "would be deleted" in reports["Pruned"]._repr_html_()
