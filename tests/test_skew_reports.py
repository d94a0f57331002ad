"""What a skew report leads to: budget, impact, one value's life, pictures and pages."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from offline_changes import append, change_offline

from feastra_nb.errors import ConfigurationError, InvalidFrame, UnknownName
from feastra_nb.skew import budget, impact
from feastra_nb.skew.report import SkewReport


@pytest.fixture
def skewed(filled, now):
    """A report: driver 3 is stale in ``trips`` and ``rating``, driver 2 corrected in ``rating``."""
    made = pd.Timestamp.now(tz="UTC")
    newer = now - pd.Timedelta("5min")
    append(filled, "drivers", lambda df: df.tail(2).assign(
        driver=[2, 3], event_timestamp=[df["event_timestamp"].max(), newer], trips=[7, 99], rating=[9.5, 1.0],
        city=["Köln", "São Paulo"], feastra_created=made,
    ))  # fmt: skip
    return filled.skew("drivers")


# --- budget ------------------------------------------------------------------------------------------------------------


def test_a_budget_written_from_a_report_lets_that_report_pass(skewed, tmp_path):
    path = budget.write(skewed, tmp_path / "skew.json")
    assert skewed.check(path).ok
    assert "within" in repr(skewed.check(path))


def test_a_rate_above_the_budget_is_over(skewed):
    allowed = {"format": 1, "features": {"drivers:trips": {"max_rate": 0.1, "causes": ["stale"]}}, "default": 1.0}
    checked = skewed.check(allowed)
    assert checked.state == "over"
    assert checked.new["feature"].tolist() == ["drivers:trips"]
    assert "drivers:trips: 33.33% differ, 10.00% allowed" in repr(checked)


def test_a_new_cause_is_over_whatever_its_rate(skewed):
    allowed = {"format": 1, "features": {"drivers:rating": {"max_rate": 1.0, "causes": ["stale"]}}, "default": 1.0}
    assert skewed.check(allowed).new["new_causes"].tolist() == ["corrected"]


def test_one_rate_is_a_budget_for_all(skewed):
    assert skewed.check(1.0).ok
    assert not skewed.check(0.1).ok


def test_what_was_not_compared_cannot_be_told(filled, events):
    nothing = filled.skew("drivers", spine=events.head(0)[["driver", "event_timestamp"]])
    assert nothing.check(0.0).state == "could not tell"
    known = {"format": 1, "features": {"drivers:gone": {"max_rate": 0.0}}, "default": 1.0}
    assert filled.skew("drivers").check(known).state == "could not tell"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"format": 2, "features": {}}', "format 1 was expected, not 2"),
        ("[]", "format 1 was expected"),
        ('{"format": 1}', "needs features"),
        ('{"format": 1, "features": {"a:b": {"max_rate": 2}}}', "a:b is 2"),
        ('{"format": 1, "features": {"a:b": 0.1}}', "a:b is None"),
    ],
)
def test_a_bad_budget_is_a_clear_error(skewed, tmp_path, content, message):
    path = tmp_path / "skew.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        skewed.check(path)


def test_a_missing_budget_says_how_to_write_one(skewed, tmp_path):
    with pytest.raises(ConfigurationError, match="no budget file") as caught:
        skewed.check(tmp_path / "none.json")
    assert "--write-budget" in caught.value.hint


# --- impact ------------------------------------------------------------------------------------------------------------


def doubled(frame):
    return 2 * frame["trips"] + frame["rating"]


def test_impact_equals_scoring_both_sides_by_hand(skewed):
    found = skewed.impact(doubled)
    cells = skewed.frame.pivot_table(index="driver", columns="feature", values=["online", "offline"], aggfunc="first")
    online, offline = doubled(cells["online"]).astype(float), doubled(cells["offline"]).astype(float)
    moved = (online - offline).abs() > 0.05 * offline.abs()
    assert found.predictions["online"].tolist() == online.tolist()
    assert found.predictions["offline"].tolist() == offline.tolist()
    assert found.moved == int(moved.sum()) == 2
    assert "2 of 3 predictions moved by more than 5%" in found.sentence


def test_each_cause_and_feature_is_repaired_alone(skewed):
    found = skewed.impact(doubled)
    repaired = {(row.feature, row.cause): row.repaired for row in found.frame.itertuples()}
    assert repaired == {("rating", "corrected"): 1, ("trips", "stale"): 1, ("rating", "stale"): 0}
    assert dict(zip(found.causes["cause"], found.causes["repaired"], strict=True)) == {"stale": 1, "corrected": 1}


def test_a_cause_whose_features_move_a_prediction_only_together_is_named_with_them(skewed):
    found = skewed.impact(lambda frame: ((frame["trips"] > 50) & (frame["rating"] < 2)).astype(int))
    assert found.frame["repaired"].tolist() == [0, 0, 0]
    assert "at 0.5, 1 decisions flipped (0 up, 1 down)), 1 of them because of" in found.sentence
    assert found.parts.to_numpy().tolist() == [["stale, features only together", 1]]
    assert "trips, rating together (stale)" in found.sentence or "rating, trips together (stale)" in found.sentence


def test_a_class_that_changes_is_moved(skewed):
    found = skewed.impact(lambda frame: np.where(frame["trips"] > 50, "busy", "idle"))
    assert found.moved == 1
    assert found.directions == ""
    assert [text.get_text() for text in found.plot().figure.axes[1].get_yticklabels()] == ["busy → idle"]
    with pytest.raises(ConfigurationError, match="needs numbers"):
        skewed.impact(lambda frame: np.where(frame["trips"] > 50, "busy", "idle"), decision=0.5)


def test_the_parts_of_an_impact_add_up_and_each_prediction_is_in_one(skewed):
    def many(frame):
        return frame["trips"].astype(float) * 10 + frame["rating"].astype(float)

    found = skewed.impact(many)
    assert found.parts["predictions"].sum() == found.moved == 2
    bars = found.plot()
    assert sum(bar.get_width() for bar in bars.patches[:-1]) == bars.patches[-1].get_width() == 2


def test_an_impact_says_what_the_model_was_given_and_which_way_predictions_moved(skewed):
    seen = []

    def predict(frame):
        seen.append(list(frame.columns))
        return frame["trips"] / 100

    found = skewed.impact(predict, decision=0.5)
    assert list(found.columns) == seen[0] == ["trips", "rating", "city", "active"]
    assert "in this order: trips int64, rating" in repr(found)
    # Driver 3 has 99 trips offline, and was served 8.
    assert found.directions == "0 too high, 1 too low; at 0.5, 1 decisions flipped (0 up, 1 down)"
    assert found.flipped == (0, 1)
    assert "should be" not in found.sentence


def test_no_difference_moves_nothing(filled):
    found = filled.skew("drivers").impact(doubled)
    assert found.sentence == "None of 3 predictions moved by more than 5%."


def test_a_model_that_returns_another_shape_is_a_clear_error(skewed):
    with pytest.raises(ConfigurationError, match="shape"):
        skewed.impact(lambda frame: np.zeros((len(frame), 2)))


def test_rows_that_cannot_be_replayed_are_left_out(open_workspace, events, now):
    ws = open_workspace(retain="90m")
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    spine = pd.DataFrame({"driver": [1, 1], "event_timestamp": [now, now - pd.Timedelta("2h")]})
    found = ws.skew("drivers:trips", spine=spine).impact(lambda frame: frame["trips"])
    assert (len(found.predictions), found.left_out) == (1, 1)


def test_views_compared_now_have_no_common_rows(filled, events):
    filled.materialize(events.rename(columns={"trips": "rides"}), "others", keys=["driver"], progress=False)
    with pytest.raises(ConfigurationError, match="rows of its own"):
        filled.skew(["drivers:trips", "others:rides"]).impact(doubled)
    spine = events[["driver", "event_timestamp"]]
    both = filled.skew(["drivers:trips", "others:rides"], spine=spine)
    assert list(impact.matrices(both).online.columns) == ["trips", "rides"]


def test_an_impact_is_saved_in_every_form(skewed, tmp_path):
    found = skewed.impact(doubled)
    assert "predictions moved" in found.save(tmp_path / "impact.html").read_text()
    assert json.loads(found.save(tmp_path / "impact.json").read_text())["by_cause"]
    assert found.save(tmp_path / "impact.png").read_bytes().startswith(b"\x89PNG")


# --- one value's life --------------------------------------------------------------------------------------------------


def test_a_timeline_shows_both_sides_and_the_run(filled, now):
    append(filled, "drivers", lambda df: df.tail(1).assign(
        event_timestamp=now - pd.Timedelta("5min"), trips=99, feastra_created=pd.Timestamp.now(tz="UTC")
    ))  # fmt: skip
    told = filled.explain("drivers:trips", {"driver": 3})
    assert told.frame["what"].value_counts().to_dict() == {"offline event": 4, "online row": 3, "materialized": 1}
    assert told.frame[told.frame["note"] != ""]["value"].tolist() == [99, 8]
    assert (told.cell["verdict"], told.cell["cause"]) == ("mismatch", "stale")
    assert "online 8 (event of" in told.sentence
    assert "stale" in told.sentence
    assert not told.ok


def test_a_timeline_as_of_the_past_picks_what_was_known_then(filled, now):
    told = filled.explain("drivers:trips", {"driver": 3}, as_of=now - pd.Timedelta("90min"))
    assert told.ok
    assert told.frame[told.frame["note"] != ""]["value"].tolist() == [5, 5]


def test_a_timeline_of_an_entity_that_never_existed_is_empty_but_for_the_run(filled):
    told = filled.explain("drivers:trips", {"driver": 77})
    assert set(told.frame["what"]) == {"materialized"}
    assert "(no event)" in told.sentence
    assert told.plot().get_title("left")


def test_a_timeline_lists_only_events_of_which_there_is_something_to_say(filled, now):
    made = pd.Timestamp.now(tz="UTC")
    append(filled, "drivers", lambda df: df.tail(1).assign(
        event_timestamp=now - pd.Timedelta("5min"), trips=99, feastra_created=made
    ))  # fmt: skip
    told = filled.explain("drivers:trips", {"driver": 3})
    happened = told.happened
    assert happened["offline"].tolist() == [99, 8]
    assert happened["online"].tolist() == [None, 8]
    assert happened["what happened"].str.split(";").str[0].tolist() == ["the join picks it", "served"]
    assert told.others == "2 other events are equal on both sides."
    assert told.title == "drivers:trips of driver 3: served 8, should be 99"
    axes = told.plot()
    assert axes.get_title("left") == told.title
    offline, online = (
        next(line for line in axes.get_lines() if line.get_label() == name) for name in ("offline", "online")
    )
    assert (offline.get_ydata()[-1], online.get_ydata()[-1]) == (99, 8)
    assert "they differ" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert filled.explain("drivers:city", {"driver": 3}).plot().get_yticklabels()[0].get_text().startswith("'")


def test_a_timeline_is_saved_in_every_form(filled, tmp_path):
    told = filled.explain("drivers:city", {"driver": 3})
    assert "The life of drivers:city" in told.save(tmp_path / "life.html").read_text()
    assert json.loads(told.save(tmp_path / "life.json").read_text())["cell"]["verdict"] == "match"
    assert told.save(tmp_path / "life.png").read_bytes().startswith(b"\x89PNG")
    assert len(repr(told).splitlines()) < 40


def test_explain_takes_one_feature(filled):
    with pytest.raises(ConfigurationError, match="one feature"):
        filled.explain("drivers", {"driver": 3})
    with pytest.raises(UnknownName):
        filled.explain("drivers:trip", {"driver": 3})


# --- looks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["features", "distributions", "lag", "scatter"])
def test_every_kind_of_plot_names_its_axes(skewed, kind):
    axes = skewed.plot(kind=kind)
    assert axes.get_xlabel()
    assert axes.get_title("left")


def test_a_plot_of_no_kind_or_of_no_numbers_is_a_clear_error(skewed):
    with pytest.raises(ConfigurationError, match="no plot 'pie'"):
        skewed.plot(kind="pie")
    with pytest.raises(ConfigurationError, match="holds no numbers"):
        skewed.plot(kind="scatter", feature="city")
    with pytest.raises(UnknownName):
        skewed.plot(kind="scatter", feature="cities")


def test_a_page_stays_small_whatever_is_stored(filled):
    change_offline(filled, "drivers", lambda df: df.assign(city="x" * 10_000))
    page = filled.skew("drivers")._repr_html_()
    assert len(page.encode()) < 300_000
    assert "10,000 characters" in page


def headers(page, section):
    part = page[page.index(f"<summary>{section}") :]
    return re.findall(r'<th scope="col"[^>]*>([^<]+?) ?<', part[: part.index("</thead>")])


def test_a_page_says_once_what_all_rows_have_in_common(skewed):
    page = skewed._repr_html_()
    assert headers(page, "Features that differ") == ["feature", "differ", "compared", "causes", "distribution"]
    assert headers(page, "Evidence") == ["driver", "cause", "proof", "feature", "online", "offline"]
    assert "2 features match in all values: city, active." in page
    assert f"as of {skewed.frame['as_of'].iloc[0]:%Y-%m-%d %H:%M:%S} UTC" in page


def test_the_evidence_of_a_page_holds_what_proves_each_cause(skewed):
    page = skewed._repr_html_()
    corrected = skewed.different.query("cause == 'corrected'").iloc[0]
    assert f"created online {corrected['online_created']:%Y-%m-%d %H:%M:%S}; corrected offline " in page
    assert "no run covers the newer event" in page


def test_a_page_of_many_features_shows_those_that_differ_and_folds_the_others(filled, events):
    wide = events.assign(**{f"rides_{n}": events["trips"] + n for n in range(40)})
    filled.materialize(wide, "wide", keys=["driver"], progress=False)
    change_offline(filled, "wide", lambda df: df.assign(rides_39=-1))
    page = filled.skew("wide")._repr_html_()
    assert ">rides_39<" in page
    assert ">trips<" not in page
    assert "43 features match in all values: trips, rating, city, active, rides_0" in page
    assert "and 33 more." in page


def test_the_summary_has_an_interval_and_distances(skewed):
    row = skewed.summary.set_index("feature").loc["trips"]
    assert row["rate_low"] < row["rate"] < row["rate_high"]
    assert row["psi"] > 0
    assert skewed.summary.set_index("feature").loc["active", "psi"] == 0
    assert skewed.distances.set_index("feature").loc["trips", "kolmogorov_smirnov"] > 0


def test_progress_counts_the_rows_compared(filled):
    seen = []
    assert isinstance(filled.skew("drivers", progress=seen.append), SkewReport)
    assert sum(seen) == 3


def test_event_times_of_a_log_that_cannot_be_read_are_a_clear_error(filled):
    log = pd.DataFrame(
        {"driver": [1], "event_timestamp": [pd.Timestamp.now(tz="UTC")], "trips": [3], "trips__ts": ["noon"]}
    )
    with pytest.raises(InvalidFrame, match="trips__ts"):
        filled.skew("drivers:trips", served=log)
