"""The pictures of skew: as they were looked at, in light and in dark, and what they say in words.

``FEASTRA_NEW_IMAGES=1 pytest tests/test_skew_pictures.py`` draws the expected pictures anew, and those of the documentation;
look at them before they are committed.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import skew_cells
from looks import both_themes, difference, is_as_looked_at

from feastra_nb.reporting import plots

DOCS = Path(__file__).parents[1] / "docs" / "images"
DRAWN = {
    "values": lambda ax: skew_cells.report("basket", "points", "score", "visits").plot(ax),
    "kinds": lambda ax: skew_cells.report("seen", "town", "rating", "clicks").plot(ax),
    "lag": lambda ax: skew_cells.report("orders").plot(ax),
    "logged": lambda ax: skew_cells.report("basket", mode="served").plot(ax),
    "event_times": lambda ax: skew_cells.shifted().plot(ax),
    "distributions": lambda ax: skew_cells.report("basket", "town").plot(ax, kind="distributions"),
    "ages": lambda ax: skew_cells.report("orders").plot(ax, kind="lag"),
    "impact": lambda ax: skew_cells.an_impact().plot(ax),
    "explain": lambda ax: skew_cells.a_timeline().plot(ax),
}
DOCUMENTED = {
    "skew": lambda ax: skew_cells.report("basket", "seen", "points", "town", "rating", "visits").plot(ax),
    "impact": DRAWN["impact"],
    "explain": DRAWN["explain"],
    "skew_event_times": DRAWN["event_times"],
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_the_one_that_was_looked_at(name):
    assert is_as_looked_at(both_themes(DRAWN[name]), f"skew_{name}")


def test_a_picture_without_its_factor_is_found_out():
    with_line = both_themes(DRAWN["values"])
    without = both_themes(
        lambda ax: skew_cells.report("visits", "points", "score", "basket").plot(ax, feature="visits")
    )
    assert with_line.size != without.size or difference(with_line, without) > 1


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documentation_has_the_pictures(name):
    path = DOCS / f"{name}.png"
    if os.environ.get("FEASTRA_NEW_IMAGES"):
        path.write_bytes(plots.png(DOCUMENTED[name]))
    assert path.stat().st_size > 5_000


WORDS = {
    "basket": ("basket: scale, 400 of 400", "offline value", "online value", "online = offline × 0.01"),
    "points": ("points: offset, 400 of 400", "offline value", "online value", "online = offline + 50"),
    "seen": ("seen: timezone, 400 of 400", "online value − offline value (hours)", "values", "−2 h"),
    "orders": (
        "orders: stale, 100 of 400", "the served event lies behind the newest by (hours)", "values that differ",
        "newest event\n(300 match)",
    ),
    "town": ("town: text form, 100 of 400", "values, offline → online", "", "'BONN'  →  'Bonn'"),
    "rating": ("rating: null, 100 of 400", "share of the rows compared (%)", "", "100 null or no row (25.0 %)"),
    "score": ("score: precision, 400 of 400", "|online − offline| of the value itself", "values that differ", ""),
    "clicks": ("clicks: type, 400 of 400", "values, offline → online; 7 other pairs", "", "6  →  '6'"),
}  # fmt: skip


@pytest.mark.parametrize("feature", WORDS)
def test_a_panel_says_by_itself_what_is_wrong(feature):
    title, x, y, somewhere = WORDS[feature]
    ax = skew_cells.report(feature).plot()
    texts = [text.get_text() for text in ax.texts] + [line.get_label() for line in ax.get_lines()]
    assert (ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()) == (title, x, y)
    assert somewhere in ["", *texts]
    plt.close(ax.figure)


def test_a_served_log_is_called_logged():
    report = skew_cells.report("basket", mode="served")
    assert report.diagnoses[0].relation == "logged = offline × 0.01"
    assert report.plot().get_ylabel() == "logged value"
    assert "logged" in report._repr_html_()
    assert "online" not in report.diagnoses[0].example
    plt.close("all")


def test_features_whose_whole_rows_are_absent_share_a_panel_and_no_more_than_six_are_drawn():
    figure = skew_cells.report().plot().figure
    assert len(figure.axes) == 6
    assert figure.get_supxlabel() == "… and 3 more: report.plot(feature=…)"
    plt.close(figure)


def test_onto_given_axes_the_worst_feature_is_drawn_in_their_style():
    figure, ax = plt.subplots()
    assert skew_cells.report("basket", "town").plot(ax) is ax
    assert ax.get_title() == "basket: scale, 400 of 400"
    assert ax.title.get_color() == plt.rcParams["text.color"]
    plt.close(figure)


def test_a_page_stays_small_with_all_its_pictures():
    assert len(skew_cells.report()._repr_html_().encode()) < 500_000


def test_the_waterfall_adds_up():
    found = skew_cells.an_impact()
    assert found.parts["predictions"].sum() == found.moved
    assert found.decision == 0.5
    assert "decisions flipped" in found.directions


def test_what_fails_while_a_report_is_shown_never_hides_it(monkeypatch):
    report = skew_cells.report("basket")
    monkeypatch.setattr(type(report), "plot", lambda *_args, **_kind: 1 / 0)
    page = report._repr_html_()
    assert "the page could not be made</span> ZeroDivisionError: division by zero" in page
    assert "online = offline × 0.01" in page
