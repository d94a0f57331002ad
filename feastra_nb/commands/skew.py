"""``feastra skew``: compares, prints, and exits by a budget, for cron and continuous integration."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from feastra_nb.commands.inputs import (
    EXIT_UNKNOWN,
    FRAME_FILE,
    add_quiet,
    add_store_options,
    open_workspace,
    read_frame,
    tell,
    views_served_online,
)
from feastra_nb.errors import FeastraError
from feastra_nb.shared_options import add_shared

if TYPE_CHECKING:
    import argparse

    from feastra_nb.workspace import Workspace

SUMMARY = "compare online with point-in-time offline; with a budget, for cron and CI"
EXAMPLE = "feastra skew plane_stats --budget skew.json --save skew.html"
DETAILS = "Exits with 0 when all is within the budget, 1 when it is not, 2 when it cannot be told. Without one nothing may differ."
EXIT_CODES = {"within": 0, "over": 1, "could not tell": EXIT_UNKNOWN}


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the report and what came of the budget; return the exit code."""
    try:
        with open_workspace(arguments) as ws:
            return _compare(ws, arguments)
    except FeastraError as error:
        return tell(error)


def _compare(ws: Workspace, arguments: argparse.Namespace) -> int:
    from feastra_nb.skew import budget

    report = ws.skew(
        arguments.features or views_served_online(ws),
        spine=None if arguments.spine is None else read_frame(arguments.spine),
        served=None if arguments.served is None else read_frame(arguments.served),
        known_at=arguments.known_at,
        sample=arguments.sample,
        rows_per_s=arguments.rows_per_s,
        resume=arguments.resume,
        progress=not arguments.quiet,
    )
    print(report)
    for path in arguments.save:
        print(f"saved: {report.save(path)}")
    if arguments.write_budget is not None:
        print(f"budget: {budget.write(report, arguments.write_budget)}")
        return EXIT_UNKNOWN if report.failed else 0
    check = report.check(0.0 if arguments.budget is None else arguments.budget)
    print(check)
    for view, why in report.failed.items():
        print(f"error: view {view}: {why}", file=sys.stderr)
    return EXIT_CODES[check.state]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add(
        "features",
        nargs="*",
        metavar="VIEW_OR_FEATURE",
        help="views, or view:feature (default: every view served online)",
    )
    add_store_options(parser)
    add_shared(parser, "spine", "served", metavar="FILE", frame=FRAME_FILE)
    add_shared(parser, "known-at", "sample", "rows-per-s", "resume")
    add("--budget", metavar="FILE", help="JSON: how much of each feature may differ, and for which causes")
    add("--write-budget", metavar="FILE", help="write a budget that this comparison just meets, and exit with 0")
    add("--save", nargs="+", default=[], metavar="FILE", help="save the report: .html, .json, .parquet, .png")
    add_quiet(parser)
