"""The chart of a run, drawn from its JSON: ``python -m benchmarks.chart FILE.json`` draws one again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import CASSANDRA, EVERYONE, OURS, OURS_BY_DRIVER, REDIS, SQLITE
from benchmarks.ready import BARE
from benchmarks.wire_peer import WIRE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    Cases = Mapping[str, Any]

INK, FAINT = "#2b2f36", "#e4e6ea"
# One hue for ours, another for Feast's store on the same database, greys and tints for the rest.
COLOURS = {
    OURS: "#0b5fa5", CASSANDRA: "#d1603d", REDIS: "#8a8f98", SQLITE: "#bcc1c8", BARE: "#8fc1e8", OURS_BY_DRIVER: "#5f9bd0",
    WIRE: INK,
}  # fmt: skip
BARS = tuple(peer for peer in EVERYONE if peer != WIRE)
LIMIT = {
    "color": COLOURS[WIRE],
    "linewidth": 1.3,
    "linestyle": (0, (3, 1.5)),
}  # the wire: not a rival, but how far one can get
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT, "axes.axisbelow": True,
}  # fmt: skip
PANEL_INCHES = (5.2, 4.0)
MATERIALIZE = {
    "materialize-10": "10",
    "materialize-50": "50",
    "materialize-200": "200",
    "materialize-mixed": "10 mixed",
}
MOST_COLUMNS = 3  # panels side by side; more of them make rows of two


def draw(result: Mapping[str, Any], path: Path) -> bool:
    """Write the chart of a run, with those panels that it has figures for; return whether there are any."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel, cases in PANELS.items() if any(name in result["cases"] for name in cases)]
    if not panels:
        return False
    with mpl.rc_context(STYLE):
        columns = len(panels) if len(panels) <= MOST_COLUMNS else 2
        rows = -(-len(panels) // columns)
        size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        for ax, panel in zip(figure.subplots(rows, columns, squeeze=False).flat, panels, strict=True):
            panel(ax, result["cases"])
        _legend(figure)
        figure.supxlabel(caption(result), fontsize=7.5, color="#6b7079")
        figure.savefig(path, dpi=150)
    return True


def caption(result: Mapping[str, Any]) -> str:
    """Return what the figures were measured with, in two lines."""
    machine, versions = result["machine"], result["versions"]
    return (
        f"medians, whiskers from the least to the greatest round; {machine['cores']} cores of {machine['cpu']} shared by "
        f"client and server, {machine['ram_gb']:.0f} GB\nPython {machine['python']}, Feast {versions['feast']}, "
        f"cassandra-driver {versions['cassandra-driver']}, Cassandra {versions['cassandra']}; {result['began'][:10]}"
    )


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[peer], linewidth=5, label=peer) for peer in BARS]
    handles.append(Line2D([], [], **LIMIT, label=f"{WIRE}, the limit"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)


def _figures(cases: Cases, name: str, metric: str) -> dict[str, dict[str, Any]]:
    return {one["peer"]: one for one in cases.get(name, {"figures": []})["figures"] if one["metric"] == metric}


def _whiskers(ones: Sequence[Mapping[str, float]]) -> list[list[float]]:
    return [[one["median"] - one["low"] for one in ones], [one["high"] - one["median"] for one in ones]]


def materialize_panel(ax: Axes, cases: Cases) -> None:
    """Draw bars: entities a second, a group for each width of the table."""
    groups = [name for name in MATERIALIZE if name in cases]
    width = 0.8 / len(BARS)
    for n, name in enumerate(groups):
        limit = _figures(cases, name, "entities_per_s").get(WIRE)
        if limit:
            ax.hlines(limit["median"], n - 0.45, n + 0.45, **LIMIT)
    for place, peer in enumerate(BARS):
        found = [(n, _figures(cases, name, "entities_per_s").get(peer)) for n, name in enumerate(groups)]
        there = [(n + (place - 2) * width, one) for n, one in found if one]
        ones = [one for _x, one in there]
        ax.bar(
            [x for x, _one in there], [one["median"] for one in ones], width * 0.92, yerr=_whiskers(ones),
            color=COLOURS[peer], error_kw={"elinewidth": 0.8, "ecolor": INK},
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set_xticks(range(len(groups)), [MATERIALIZE[name] for name in groups])
    ax.grid(visible=False, axis="x")
    ax.set_title("materialize from parquet: entities a second")
    ax.set_xlabel("features")
    ax.minorticks_off()
    _plain_numbers(ax.yaxis)


def read_panel(ax: Axes, cases: Cases) -> None:
    """Draw lines: the median latency over the number of entities in a call."""
    batches = sorted(int(name.split("-")[1]) for name in cases if name.startswith("read-"))
    for peer in EVERYONE:
        found = [(batch, _figures(cases, f"read-{batch}", "p50_ms").get(peer)) for batch in batches]
        there = [(batch, one) for batch, one in found if one]
        if there:
            _line(ax, peer, *zip(*there, strict=True))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(batches, [f"{batch:,}" for batch in batches])
    ax.minorticks_off()
    ax.set_title("get_online_features, 10 features: p50 in ms")
    ax.set_xlabel("entities a call")
    _plain_numbers(ax.yaxis)


def threads_panel(ax: Axes, cases: Cases) -> None:
    """Draw lines: requests a second over the number of threads."""
    features = cases.get("threads-features", {"figures": []})["figures"]
    limits = [figure for figure in cases.get("threads-bare", {"figures": []})["figures"] if figure["peer"] == WIRE]
    lines: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
    for figure in [*features, *limits]:
        if figure["metric"] == "requests_per_s":
            lines.setdefault(figure["peer"], []).append((figure["work"]["threads"], figure))
    for peer, points in lines.items():
        _line(ax, peer, *zip(*points, strict=True))
        if peer == OURS_BY_DRIVER:
            threads, last = points[-1]
            ax.annotate(
                "direct off", (threads, last["median"]), xytext=(0, -10), textcoords="offset points", ha="right",
                color=COLOURS[peer], fontsize=8,
            )  # fmt: skip
    numbers = sorted({threads for points in lines.values() for threads, _figure in points})
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(numbers, map(str, numbers))
    ax.minorticks_off()
    ax.set_title("get_online_features, 1 entity: requests a second")
    ax.set_xlabel("threads of one process")
    _plain_numbers(ax.yaxis)


def _line(ax: Axes, peer: str, places: Sequence[float], figures: Sequence[Mapping[str, float]]) -> None:
    medians = [figure["median"] for figure in figures]
    if peer == WIRE:
        ax.plot(places, medians, **LIMIT)
        return
    ax.errorbar(
        places, medians, yerr=_whiskers(figures),
        color=COLOURS[peer], marker="o", markersize=4, linewidth=2.2 if peer == OURS else 1.4, elinewidth=0.8,
    )  # fmt: skip


def growth_panel(ax: Axes, cases: Cases) -> None:
    """Draw our rate over the number of entities materialized."""
    ones = [one for one in cases["growth"]["figures"] if one["metric"] == "entities_per_s"]
    _line(ax, OURS, [one["work"]["entities"] for one in ones], ones)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_title("materialize, 10 features: entities a second")
    ax.set_xlabel("entities materialized at once")
    _plain_numbers(ax.xaxis)
    _plain_numbers(ax.yaxis)


def _plain_numbers(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,.0f}" if value >= 1 else f"{value:g}"))


PANELS: dict[Callable[[Axes, Cases], None], Sequence[str]] = {
    materialize_panel: tuple(MATERIALIZE),
    read_panel: ("read-1", "read-10", "read-100", "read-1000"),
    threads_panel: ("threads-features",),
    growth_panel: ("growth",),
}


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text()), source.with_suffix(".png"))
