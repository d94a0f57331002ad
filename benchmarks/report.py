"""What a run found: as text, as JSON, and beside its targets."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.measure import Figure

PACKAGES = ("feast", "cassandra-driver", "pyarrow", "pandas", "numpy", "duckdb", "redis", "hiredis")


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()),
    }


def versions(cassandra: str) -> dict[str, str | None]:
    """Return the versions of what was measured; None for what is not installed."""
    found: dict[str, str | None] = {"cassandra": cassandra}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def now() -> str:
    """Return the present, as JSON holds it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - no file of ours
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# --- text ------------------------------------------------------------------------------------------------------------


def case_text(title: str, figures: Sequence[Figure]) -> str:
    """Return a case's figures: a line a peer, a column a metric, each with the spread of its rounds."""
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    by_line: dict[tuple[str, str], dict[str, str]] = {}
    for figure in figures:
        line = by_line.setdefault((figure.peer, work_text(figure.work)), {})
        line[figure.metric] = spread_text(figure)
    rows = [[peer, *(cells.get(metric, "") for metric in metrics), work] for (peer, work), cells in by_line.items()]
    return f"{title}\n{aligned([['', *metrics, 'work'], *rows])}"


def spread_text(figure: Figure) -> str:
    """Return the median, and the smallest and largest of several rounds."""
    if len(figure.samples) == 1:
        return number_text(figure.median)
    return f"{number_text(figure.median)} ({number_text(figure.low)} to {number_text(figure.high)})"


def number_text(value: float) -> str:
    """Return a number with three digits that count.

    Examples
    --------
    >>> number_text(12345.6), number_text(12.34), number_text(0.1234)
    ('12,346', '12.3', '0.123')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def work_text(work: Mapping[str, Any]) -> str:
    """Return what was done, in words.

    Examples
    --------
    >>> work_text({"entities": 1000, "features": 10})
    '1,000 entities, 10 features'
    >>> work_text({"threads": 16, "entities": 1})
    '16 threads, 1 entity'
    """
    return ", ".join(
        f"{value:,} {name if value != 1 else _singular(name)}" if isinstance(value, int) else str(value)
        for name, value in work.items()
    )


def _singular(noun: str) -> str:
    return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as a table: the first column to the left, the others too, two spaces between."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def targets_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what was reached beside what is wanted."""
    lines = [
        [
            row["target"],
            f"{number_text(row['measured'])} {row['unit']}",
            *(f"{'≥' if row['more_is_better'] else '≤'} {number_text(row[bound])}" for bound in ("at_least", "aim")),
            row["verdict"],
        ]
        for row in rows
    ]
    return "targets, by the medians of this run\n" + aligned([["", "measured", "at least", "aim", ""], *lines])
