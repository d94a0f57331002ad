"""``feastra latency``: measures, prints, and exits by objectives, for continuous integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.commands.inputs import FRAME_FILE, add_quiet, add_store_options, open_workspace, read_frame, tell
from feastra_nb.errors import ConfigurationError, FeastraError
from feastra_nb.shared_options import LATENCY_OPTIONS, add_shared

if TYPE_CHECKING:
    import argparse

    from feastra_nb.workspace import Workspace

SUMMARY = "measure how long online reads take from here; with an objective, for CI"
EXAMPLE = "feastra latency plane_stats --rate 200 --seconds 30 --p99-ms 20"
DETAILS = "Exits with 0 when all objectives are met, 1 when one is missed, 2 when it cannot be told."
OBJECTIVES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")
# Options that are those of `ws.latency`, where they are given.
SETTINGS = ("rate", "arrivals", "concurrency", "seconds", "batch", "consistency", "target", "keys", "warmup_s", "yes")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the report and what came of the objectives; return the exit code."""
    try:
        with open_workspace(arguments) as ws:
            return _measure(ws, arguments)
    except FeastraError as error:
        return tell(error)


def _measure(ws: Workspace, arguments: argparse.Namespace) -> int:
    given = {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}
    entities = None if arguments.entities is None else read_frame(arguments.entities)
    report = ws.latency(arguments.features or _only_view(ws), entities, progress=not arguments.quiet, **given)
    print(report)
    if arguments.save is not None:
        print(f"saved: {report.save(arguments.save)}")
    limits = {name: getattr(arguments, name) for name in OBJECTIVES}
    if all(limit is None for limit in limits.values()):
        return 0
    check = report.check(**limits)
    print(check)
    return check.exit_code


def _only_view(ws: Workspace) -> str:
    names = sorted(view.name for view in ws.feast.list_all_feature_views())
    if len(names) != 1:
        raise ConfigurationError(
            f"which features? there are {len(names)} views", hint=f"feastra latency {names[0] if names else 'VIEW'}"
        )
    return names[0]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("features", nargs="*", metavar="VIEW_OR_FEATURE", help="a view, or view:feature (default: the only view)")
    add_store_options(parser)
    add_shared(parser, "entities", metavar="FILE", frame=FRAME_FILE)
    add_shared(parser, *LATENCY_OPTIONS, batch="1")
    parser.set_defaults(batch=[1])
    for name in OBJECTIVES:
        what = "the longest" if name == "max_ms" else f"the {name.removesuffix('_ms').replace('p999', 'p99.9')}"
        add(f"--{name.replace('_', '-')}", type=float, metavar="MS", help=f"objective: {what} within so many ms")
    add("--save", metavar="FILE", help="save the report: .html, .json, .parquet, .png, .hgrm")
    add_quiet(parser)
