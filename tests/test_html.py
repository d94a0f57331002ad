"""The HTML and plot language that all reports share, and saving."""

import json
import re
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from feastra_nb.errors import ConfigurationError
from feastra_nb.reporting import html, plots
from feastra_nb.reporting.saving import plain, save_report

ATTACK = "<script>alert(1)</script>\"'&"
RESOURCES = re.compile(r"""https?:|(?:src|href)=["'](?!data:)|url\(|@import|<link|<iframe|<script""")


def attacked_page():
    frame = pd.DataFrame({ATTACK: [ATTACK, None], "n": [1, 2], "shown": [html.status(ATTACK, "bad"), ATTACK]})
    table = html.table(frame, labels={"n": ATTACK}, units={"n": ATTACK}, caption=ATTACK)
    picture = html.image(b"png", alt=ATTACK, width_px=1)
    facts = html.facts({ATTACK: ATTACK})
    section = html.section(ATTACK, ATTACK, html.note(ATTACK))
    return html.page(ATTACK, ATTACK, table, picture, facts, section, text=ATTACK)


def test_every_string_is_escaped_wherever_it_is_put():
    document = html.document(ATTACK, attacked_page())
    assert "alert(1)" in document
    assert "<script" not in document
    assert 'alert(1)&lt;/script&gt;"' not in document


def test_a_page_needs_nothing_from_outside():
    assert RESOURCES.search(html.document("Report", attacked_page())) is None


def test_the_same_page_has_the_same_bytes():
    assert attacked_page() == attacked_page()


def test_a_page_has_no_ids_to_collide():
    assert " id=" not in attacked_page()


def test_markup_is_not_escaped_twice():
    assert html.note(html.status("a < b", "ok")).count("&lt;") == 1
    assert "&amp;" not in html.note(html.status("a < b", "ok"))


def test_tags_are_balanced():
    from html.parser import HTMLParser

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.stack = []

        def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the base class's signature
            if tag not in {"img", "meta"}:
                self.stack.append(tag)

        def handle_endtag(self, tag):
            assert self.stack.pop() == tag

    parser = Balance()
    parser.feed(html.document("Report", attacked_page()))
    assert parser.stack == []


def test_the_text_stands_in_where_the_style_is_stripped():
    page = html.page("Latency", html.note("table"), text="plain text")
    stripped = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert '<pre class="fnb-text">plain text</pre>' in stripped
    assert '<div class="fnb-page" style="display:none" hidden>' in stripped


def test_a_status_is_told_in_a_word_and_a_sign_beside_the_colour():
    signs = {html.status("word", tone).split(">")[1].split(" ")[0] for tone in html._SIGNS}
    assert len(signs) == len(html._SIGNS) == 5
    assert all("word" in html.status("word", tone) for tone in html._SIGNS)


def cells(markup, kind="td"):
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(rf"<{kind}\b[^>]*>(.*?)</{kind}>", markup)]


def test_numbers_of_a_column_get_the_same_decimals():
    assert cells(html.table(pd.DataFrame({"ms": [0.512, 12.3, 1204.0]}))) == ["0.512", "12.300", "1,204.000"]
    assert cells(html.table(pd.DataFrame({"ms": [15.24, 1204.0]}))) == ["15.2", "1,204.0"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([np.nan, np.inf]),
        pd.Series([pd.NA, 1], dtype="Int64"),
        pd.Series([pd.NA, 1.5], dtype="Float64"),
        pd.Series([pd.NaT, pd.Timestamp("2026-01-01", tz="UTC")]),
        pd.Series([None, "a"]),
        pd.Series([pd.NA, True], dtype="boolean"),
        pd.Series([None, [1, None]]),
    ],
)
def test_a_missing_cell_is_a_dash_whatever_the_type(column):
    missing, present = cells(html.table(pd.DataFrame({"x": column})))
    assert missing == html.MISSING
    assert present != html.MISSING


def test_instants_of_a_column_are_told_alike_in_utc():
    times = pd.Series(pd.to_datetime(["2026-01-01T01:00:00+01:00", None], utc=True))
    table = html.table(
        pd.DataFrame({"whole": times, "fine": times + pd.Timedelta("1500us"), "naive": times.dt.tz_convert(None)})
    )
    missing = [html.MISSING] * 3
    assert cells(table) == ["2026-01-01 00:00:00", "2026-01-01 00:00:00.001", "2026-01-01 00:00:00", *missing]
    assert cells(table, "th") == ["whole UTC", "fine UTC", "naive"]
    local = times.dt.tz_convert("Asia/Tokyo")
    assert cells(html.table(pd.DataFrame({"at": local})))[0] == "2026-01-01 00:00:00"


def test_only_long_text_is_broken_into_lines_and_no_name_is():
    texts = [
        "word " * 20,
        "x" * 120,
        "short",
        "a_feature_with_a_long_but_sensible_name",
        html.status("word " * 20, "ok"),
    ]
    breaks = re.findall(r"<td([^>]*)>", html.table(pd.DataFrame({"text": texts})))
    assert breaks == [' class="fnb-long"', ' class="fnb-long"', "", "", ""]


def test_numbers_are_right_aligned_and_text_is_not():
    table = html.table(pd.DataFrame({"word": ["a"], "n": [1], "flag": [True]}))
    assert re.findall(r"<td([^>]*)>", table) == ["", ' class="fnb-number"', ""]


def test_a_long_table_says_how_much_more_there_is():
    table = html.table(pd.DataFrame({"n": range(2_000)}), limit=20)
    assert len(cells(table)) == 20
    assert "1,980 more rows" in table


def test_an_empty_table_still_has_its_header():
    assert cells(html.table(pd.DataFrame({"n": []})), "th") == ["n"]


def test_columns_of_one_name_are_all_shown():
    frame = pd.DataFrame([[1, 2]], columns=["n", "n"])
    assert cells(html.table(frame)) == ["1", "2"]


def luminance(color):
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", ["#ffffff", "#111111", "#1e1e1e"])
def test_plot_colours_are_legible_on_light_and_dark(background):
    for color in (*plots.PALETTE, plots.OK, plots.WARN, plots.BAD):
        assert contrast(color, background) >= 3, color
    assert contrast(plots.INK if background == "#ffffff" else plots.DARK_INK, background) >= 7


def colors_of(figure):
    return {
        mpl.colors.to_hex(artist.get_color()) for artist in figure.findobj(mpl.text.Text) if artist.get_text().strip()
    }


def test_a_figure_shows_itself_in_the_ink_of_light_pages_and_of_dark_ones():
    ax = drawn()
    ax.set_title("a title", loc="left")
    ax.plot([1, 2], color=plots.INK, label="a line of words' colour")
    ax.scatter([0, 1], [1, 2], marker="|", color=plots.INK)
    ax.legend()
    page = ax.figure._repr_html_()
    assert colors_of(ax.figure) == {plots.INK, "#000000"}  # the title is black: it was set outside the style
    undo = plots._inked(ax.figure)
    assert colors_of(ax.figure) == {plots.DARK_INK}
    for restore in reversed(undo):
        restore()
    light, dark = re.findall(r'base64,([^"]+)" alt="a title"', page)
    assert light != dark
    assert ax.figure._repr_html_() == page
    mpl.pyplot.close(ax.figure)


def test_what_somebody_changes_of_a_figure_is_kept_in_both_inks():
    ax = drawn()
    ax.set_title("mine", loc="left", color="#123456")
    assert ax.figure._repr_html_().count('alt="mine"') == 2
    assert "#123456" in colors_of(ax.figure)
    mpl.pyplot.close(ax.figure)


def test_a_drawing_onto_axes_of_somebody_else_keeps_their_style():
    figure, ax = mpl.pyplot.subplots()
    with plots.drawing(ax) as same:
        assert same is ax
        assert plots.ink() == mpl.rcParams["text.color"] != plots.INK
    with plots.drawing(None) as own:
        assert plots.ink() == plots.INK
    mpl.pyplot.close(own.figure)
    mpl.pyplot.close(figure)


@pytest.mark.parametrize("strength", np.linspace(0, 1, 21))
def test_words_in_a_field_are_legible_whatever_its_shade(strength):
    field_color, ink = plots.shade(strength)
    assert contrast(ink, field_color) >= 4.5


def drawn(ax=None, *, figsize=(3, 2)):
    ax = plots.figure_axes(ax, figsize=figsize)
    ax.plot([1, 3, 2])
    return ax


def test_a_picture_has_the_size_that_its_drawing_asks_for():
    wide = plots.picture(lambda ax: drawn(ax, figsize=(9, 1)), alt="a line")
    assert wide.count(' width="864">') == 2
    width, height = np.frombuffer(plots.png(drawn)[16:24], dtype=">u4")
    assert width / height == pytest.approx(3 / 2, rel=0.01)


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    plots.png(drawn)
    plots.detached_axes()
    assert dict(mpl.rcParams) == before


def test_the_style_holds_when_the_figure_is_drawn_later():
    ax = plots.figure_axes(plots.detached_axes())
    ax.plot([1, 2])
    ax.figure.draw_without_rendering()
    tick = ax.xaxis.get_major_ticks()[0]
    assert tick.label1.get_color() == plots.INK
    assert (tick.gridline.get_color(), tick.gridline.get_alpha()) == (plots.LINE, plots.STYLE["grid.alpha"])


def test_the_same_drawing_has_the_same_bytes():
    assert plots.png(drawn) == plots.png(drawn)


def test_a_detached_figure_is_unknown_to_pyplot():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plots.detached_axes()
    plots.png(drawn)
    assert plt.get_fignums() == before
    plt.close(drawn().figure)


@dataclass(frozen=True, eq=False)
class SmallReport:
    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"n": [1], "p99_ms": [np.nan]}))

    def plot(self, ax=None):
        ax = plots.figure_axes(ax)
        ax.plot([1, 2])
        return ax

    def to_dict(self):
        return {"frame": self.frame}

    def _repr_html_(self):
        return html.page("Small", html.table(self.frame), text="small")


class BrokenReport(SmallReport):
    def to_dict(self):
        raise RuntimeError("half-way")


def test_a_report_is_saved_by_its_suffix(tmp_path):
    for suffix in (".html", ".json", ".parquet", ".png", ".HTML"):
        assert save_report(SmallReport(), tmp_path / f"report{suffix}").stat().st_size > 0
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "report.json").read_text()) == {"frame": [{"n": 1, "p99_ms": None}]}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "report.parquet"), SmallReport().frame)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigurationError, match=r"report\.pdf[\s\S]*\.html, \.json, \.parquet, \.png"):
        save_report(SmallReport(), tmp_path / "report.pdf")
    with pytest.raises(ConfigurationError, match="suffixes"):
        save_report(SmallReport(), str(tmp_path / "report"))


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        save_report(SmallReport(), tmp_path / "nowhere" / "report.html")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"):
        save_report(BrokenReport(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_holds_what_pandas_and_numpy_hold():
    frame = pd.DataFrame(
        {
            "i": pd.Series([None, 2], dtype="Int64"),
            "f": np.array([np.inf, 0.5], dtype="float32"),
            "t": pd.to_datetime([None, "2026-01-02"], utc=True),
            "l": [np.array([1, 2]), (3, None)],
            "b": [True, False],
        }
    )
    assert plain(frame) == [
        {"i": None, "f": None, "t": None, "l": [1, 2], "b": True},
        {"i": 2, "f": 0.5, "t": "2026-01-02T00:00:00+00:00", "l": [3, None], "b": False},
    ]
    json.dumps(plain(frame), allow_nan=False)
