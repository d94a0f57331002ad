"""``feastra materialize``: registered views from the offline into the online store, for cron."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.commands.inputs import (
    EXIT_UNKNOWN,
    add_quiet,
    add_store_options,
    open_workspace,
    tell,
    views_served_online,
)
from feastra_nb.errors import FeastraError
from feastra_nb.shared_options import add_shared

if TYPE_CHECKING:
    import argparse

SUMMARY = "write registered views into the online store, from where the last run ended"
EXAMPLE = "feastra materialize plane_stats --start 2026-11-01"
DETAILS = (
    "A view that fails does not stop the others; it is named at the end. Exits with 0 when all that was to be written is "
    "acknowledged, 2 when not; the same call then goes on."
)


def run(arguments: argparse.Namespace) -> int:
    """Materialize the views one after another, print what was acknowledged, and name those that failed at the end."""
    failed: dict[str, FeastraError] = {}
    try:
        with open_workspace(arguments, read_only=False) as ws:
            for view in arguments.views or views_served_online(ws):
                try:
                    done = ws.materialize(
                        view,
                        start=arguments.start,
                        end=arguments.end,
                        resume=not arguments.anew,
                        progress=not arguments.quiet,
                    )
                except FeastraError as error:
                    failed[view] = error
                else:
                    print(done.sentence, flush=True)
    except FeastraError as error:
        return tell(error)
    for view, why in failed.items():
        tell(why, about=f"view {view}")
    return EXIT_UNKNOWN if failed else 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("views", nargs="*", metavar="VIEW", help="which views (default: every view served online)")
    add_store_options(parser)
    add_shared(parser, "start", "end")
    add("--anew", action="store_true", help="read all of it again, also what a run that was stopped had written")
    add_quiet(parser)
