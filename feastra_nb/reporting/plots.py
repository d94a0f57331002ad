"""One quiet plotting style, and the drawing of the reports.

Every ``draw_…`` function takes a report and an ``ax`` and returns the Axes; it draws inside `drawing`, which makes a figure
in the quiet style, or leaves the axes of somebody else's figure in theirs. No global setting of matplotlib is touched and
nothing is shown behind the caller's back.

Pages are light or dark, and only the browser knows which: a `ThemedFigure` shows itself in both inks, and the page's style
chooses. Colours of data have a contrast of at least three to one on white and on JupyterLab's dark background, words 4.5.

Examples
--------
>>> ax = detached_axes()
>>> percentile_axis(ax, highest=99.9)
>>> [label.get_text() for label in ax.get_xticklabels()]
['0 %', '50 %', '90 %', '99 %', '99.9 %']
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

from feastra_nb.reporting import html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    Color = tuple[float, float, float]

FIGURE_INCHES = (7.0, 3.8)  # about the width of a notebook's output at 96 pixels an inch
CSS_DOTS_PER_INCH = 96  # a browser's pixels
PNG_DOTS_PER_INCH = 160  # sharp on dense screens
PNG_COLORS = 128
LOG_RATIO = 5.0  # values that spread further than this are drawn on a log axis
TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)  # percentiles of a nines axis

INK, DARK_INK = "#4d5661", "#b4bcc6"  # text and ticks, on light pages and on dark ones
LINE = "#9aa0a6"  # spines and grid (faint through its alpha)
# Okabe and Ito's order of hues, which the colour-blind can tell apart, brought to one middling luminance.
PALETTE = ("#2f81d6", "#d0690a", "#2a9461", "#b45fc0", "#a8820c", "#d4546a")
OK, WARN, BAD, UNKNOWN = "#2a9461", "#c07806", "#dc4f4a", INK
PALE_BAD, DEEP_BAD = "#efb3b0", "#9c1f1b"  # of fields that words stand in
DARK_PAGE = "#111111"  # JupyterLab's
GAMMA = 2.2  # of a screen: from a colour's parts to its luminance
LABEL_POINTS = 13.0  # between names of lines
LIGHT = 0.179  # luminance above which black words have more contrast than white ones

STYLE: Mapping[str, Any] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "auto",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlepad": 10.0,
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=list(PALETTE)),
    "grid.color": LINE,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.labelcolor": INK,
    "text.color": INK,
    "font.size": 10.0,
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the quiet style inside this context; afterwards matplotlib is as it was.

    Examples
    --------
    >>> before = mpl.rcParams["legend.frameon"]
    >>> with style():
    ...     inside = mpl.rcParams["legend.frameon"]
    >>> inside, mpl.rcParams["legend.frameon"] == before
    (False, True)
    """
    # Not rc_context: it would also undo what pyplot sets inside, such as that the notebook's backend is interactive, and
    # nothing drawn afterwards would be shown.
    before = {name: mpl.rcParams[name] for name in STYLE}
    mpl.rcParams.update(STYLE)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


class ThemedFigure(Figure):
    """A figure in the quiet style, which follows the light or dark theme of the page that shows it.

    Examples
    --------
    >>> shown = ThemedFigure(figsize=(2, 1))._repr_html_()
    >>> shown.count("<img"), 'class="fnb-dark"' in shown
    (2, True)
    """

    def _repr_html_(self) -> str:
        return html.themed(_image(self, alt=_words(self)))


@contextmanager
def drawing(ax: Axes | None, *, figsize: tuple[float, float] = FIGURE_INCHES) -> Iterator[Axes]:
    """Draw onto the given Axes, or onto those of a new figure in the quiet style.

    Parameters
    ----------
    ax
        Where to draw. Those of a figure of somebody else's keep its style: colours and fonts of words are theirs too.
    figsize
        Width and height of a new figure, in inches.

    Examples
    --------
    >>> with drawing(detached_axes()) as ax:
    ...     ink() == INK
    True
    >>> ink() == INK
    False
    """
    if ax is not None and not isinstance(ax.figure, ThemedFigure):
        yield ax
        return
    with style():
        yield figure_axes(ax, figsize=figsize)


def ink() -> str:
    """Return the colour of words where something is drawn: the quiet style's, or that of the caller's own."""
    return str(mpl.rcParams["text.color"])


def figure_axes(ax: Axes | None, *, figsize: tuple[float, float] = FIGURE_INCHES) -> Axes:
    """Return the given Axes, or those of a new figure in the quiet style.

    Examples
    --------
    >>> ax = detached_axes()
    >>> figure_axes(ax) is ax
    True
    """
    return panels(1, figsize=figsize)[0] if ax is None else ax


def panels(count: int, *, columns: int = 1, figsize: tuple[float, float] = FIGURE_INCHES) -> list[Axes]:
    """Return the Axes of a new figure in the quiet style, row by row.

    Parameters
    ----------
    count
        How many Axes.
    columns
        How many stand side by side.
    figsize
        Width and height of the whole figure, in inches.

    Examples
    --------
    >>> with detached():
    ...     [axes.get_subplotspec().colspan.start for axes in panels(3, columns=2)]
    [0, 1, 0]
    """
    with style():
        figure = _new_figure(figsize)
        rows = -(-count // columns)
        return [_quiet(figure.add_subplot(rows, columns, place + 1)) for place in range(count)]


def _new_figure(figsize: tuple[float, float]) -> Figure:
    if _DETACHED.get():
        return ThemedFigure(figsize=figsize)
    # Imported only here: a figure of pyplot's is what a notebook shows at the end of the cell, and pyplot picks the
    # backend, which a drawing onto given axes should not.
    import matplotlib.pyplot as plt

    return plt.figure(figsize=figsize, FigureClass=ThemedFigure)


def detached_axes(*, figsize: tuple[float, float] = FIGURE_INCHES) -> Axes:
    """Return the Axes of a new figure that pyplot does not know: for files and pages, never shown by itself.

    Examples
    --------
    >>> detached_axes(figsize=(4, 2)).figure.get_size_inches().tolist()
    [4.0, 2.0]
    """
    with detached():
        return panels(1, figsize=figsize)[0]


def _quiet(ax: Axes) -> Axes:
    # Ticks are made when they are first drawn, which is after the style's context.
    ax.tick_params(which="both", color=LINE, labelcolor=INK, labelsize=STYLE["xtick.labelsize"])
    ax.tick_params(grid_color=LINE, grid_alpha=STYLE["grid.alpha"], grid_linewidth=STYLE["grid.linewidth"])
    return ax


def png(plot: Callable[[None], Axes], *, dark: bool = False) -> bytes:
    r"""Return a drawing as PNG on white, or on black in its other ink; the same drawing gives the same bytes.

    Parameters
    ----------
    plot
        Takes None for a new figure, in the size that suits what it draws, and returns its Axes, such as ``report.plot``.

    Examples
    --------
    >>> png(lambda ax: figure_axes(ax, figsize=(2, 1)))[:4]
    b'\x89PNG'
    """
    with style():
        figure = _figure(plot)
        light = _bytes(figure, facecolor="white")
        return _dark_bytes(figure, facecolor=DARK_PAGE) if dark else light


def picture(plot: Callable[[None], Axes], *, alt: str) -> html.Html:
    """Return a drawing as a picture inside a page, in its own size and in both inks, of which the page shows one.

    Parameters
    ----------
    alt
        What it shows, in words.

    Examples
    --------
    >>> picture(lambda ax: figure_axes(ax, figsize=(2, 1)), alt="nothing").count('alt="nothing" width="192"')
    2
    """
    with style():
        return _image(_figure(plot), alt=alt)


_DETACHED: ContextVar[bool] = ContextVar("detached", default=False)  # whether new figures are unknown to pyplot


@contextmanager
def detached() -> Iterator[None]:
    """Make figures that pyplot does not know inside this context."""
    token = _DETACHED.set(True)
    try:
        yield
    finally:
        _DETACHED.reset(token)


def _figure(plot: Callable[[None], Axes]) -> Figure:
    with detached():
        figure: Any = plot(None).figure
        return figure


def _image(figure: Figure, *, alt: str) -> html.Html:
    width_px = round(figure.get_figwidth() * CSS_DOTS_PER_INCH)
    return html.image(_bytes(figure), alt=alt, width_px=width_px, dark=_dark_bytes(figure))


def _bytes(figure: Figure, facecolor: str = "none") -> bytes:
    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=PNG_DOTS_PER_INCH, facecolor=facecolor)
    # Few colours make a quarter of the bytes, and saved notebooks hold each picture twice.
    image = Image.open(drawn).convert("RGBA" if facecolor == "none" else "RGB")
    image.quantize(PNG_COLORS).save(out, "png", optimize=True)
    return out.getvalue()


def _dark_bytes(figure: Figure, facecolor: str = "none") -> bytes:
    """Return a figure that was drawn once already in the ink of dark pages; afterwards it is as it was."""
    changed = _inked(figure)
    layout = figure.get_layout_engine()
    try:
        figure.set_layout_engine("none")  # all is in its place already
        return _bytes(figure, facecolor)
    finally:
        figure.set_layout_engine(layout)
        for restore in reversed(changed):
            restore()


def _inked(figure: Figure) -> list[Callable[[], None]]:
    """Give what has the ink of light pages, or is black as what somebody adds is, that of dark ones; return what undoes it."""
    undo: list[Callable[[], None]] = []
    for artist in figure.findobj():
        for part in ("color", "edgecolor", "facecolor"):
            read, write = getattr(artist, f"get_{part}", None), getattr(artist, f"set_{part}", None)
            if read is None or write is None:
                continue
            before = read()
            colors = to_rgba_array(before)
            inks = [np.isclose(colors[:, :3], to_rgb(old)).all(axis=1) for old in (INK, "black")]
            is_ink = np.logical_or(*inks) & (colors[:, 3] > 0)
            if is_ink.any():
                colors[is_ink, :3] = to_rgb(DARK_INK)
                write(colors if len(colors) > 1 else tuple(colors[0]))
                undo.append(partial(write, before))
    return undo


def _words(figure: Figure) -> str:
    """Return what a figure shows, in words: the titles of its axes."""
    titles = (axes.get_title(loc) for axes in figure.axes for loc in ("left", "center"))
    return "; ".join(title.replace("\n", " ") for title in titles if title)


def color(position: int) -> str:
    """Return the colour of the n-th thing drawn, starting again after the last one.

    Examples
    --------
    >>> color(0) == color(len(PALETTE)) == PALETTE[0]
    True
    """
    return PALETTE[position % len(PALETTE)]


def shade(strength: float) -> tuple[Color, Color]:
    """Return the colour of a field and of the words in it, from pale (0) to strong (1); opaque, so that both fit on any page.

    Examples
    --------
    >>> shade(0.0)[1] == (0, 0, 0), shade(1.0)[1] == (1, 1, 1)
    (True, True)
    """
    pale, strong = to_rgb(PALE_BAD), to_rgb(DEEP_BAD)
    red, green, blue = (low + strength * (high - low) for low, high in zip(pale, strong, strict=True))
    is_light = 0.2126 * red**GAMMA + 0.7152 * green**GAMMA + 0.0722 * blue**GAMMA > LIGHT
    return (red, green, blue), (0, 0, 0) if is_light else (1, 1, 1)


def nines(percentile: float) -> float:
    """Return where a percentile stands on a nines axis: ``1 / (1 - p)``, so that each further nine is one decade.

    The axis of HdrHistogram's percentile plots (https://hdrhistogram.github.io/HdrHistogram/plotFiles.html).

    Examples
    --------
    >>> [round(nines(percentile), 6) for percentile in (0, 50, 90, 99, 99.9)]
    [1.0, 2.0, 10.0, 100.0, 1000.0]
    """
    return 100.0 / (100.0 - percentile)


def label_ends(ax: Axes, lines: Sequence[Line2D]) -> None:
    """Name lines at their ends instead of in a legend; names that would lie upon each other are moved apart.

    Parameters
    ----------
    ax
        The Axes, whose limits and scales are final.
    lines
        What to name, by its label.
    """
    figure: Any = ax.figure
    figure.draw_without_rendering()  # where the ends are is known once the layout is
    points = 72 / figure.dpi
    ends: list[tuple[float, float, float, Line2D]] = []
    for line in lines:
        x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
        if len(x):
            ends.append((float(ax.transData.transform((x[-1], y[-1]))[1]) * points, float(x[-1]), float(y[-1]), line))
    lowest = -np.inf
    for height, x_end, y_end, line in sorted(ends, key=lambda end: end[0]):
        lowest = max(height, lowest + LABEL_POINTS)
        # Beside the axes, where no other line passes.
        y_label = float(ax.transData.inverted().transform((0.0, lowest / points))[1])
        ax.annotate(
            str(line.get_label()), (x_end, y_end), xytext=(1.02, y_label), textcoords=ax.get_yaxis_transform(), va="center",
            ha="left", fontsize=9, color=ink(), annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 1.0, "shrinkA": 1, "shrinkB": 0,
                "linestyle": "-" if x_end >= ax.get_xlim()[1] else ":"},
        )  # fmt: skip


def percentile_axis(ax: Axes, *, highest: float) -> None:
    """Make the x axis a nines axis: 0 %, 50 %, 90 %, 99 %, 99.9 % … up to the highest percentile drawn.

    Parameters
    ----------
    ax
        The Axes to change.
    highest
        The highest percentile that is drawn, in percent, below 100.
    """
    ticks = [percentile for percentile in TICKS if percentile <= highest]
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([nines(percentile) for percentile in ticks]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(100 - 100 / x, 6):g} %"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(1.0, max(nines(highest), nines(50)))
    ax.set_xlabel("percentile of requests")


def date_axis(ax: Axes) -> None:
    """Make the x axis one of instants, with short labels.

    Parameters
    ----------
    ax
        The Axes to change; x is a date or days since 1970.
    """
    locator = AutoDateLocator(minticks=3, maxticks=7)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def value_axis(ax: Axes, *, low: float, high: float) -> None:
    """Make the y axis plain from zero, or logarithmic where the values spread further than five times.

    Parameters
    ----------
    ax
        The Axes to change.
    low, high
        The smallest and the largest value drawn, above zero.

    Examples
    --------
    >>> ax = detached_axes()
    >>> value_axis(ax, low=1, high=3)
    >>> ax.get_yscale()
    'linear'
    >>> value_axis(ax, low=0.5, high=300)
    >>> ax.get_yscale()
    'log'
    """
    if high <= low * LOG_RATIO:
        ax.set_ylim(0.0, high * 1.08)
        return
    ax.set_yscale("log")
    ax.set_ylim(low / 1.15, high * 1.15)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
