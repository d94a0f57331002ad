"""``feastra export``: what our store serves, in the tables of Feast's own store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.commands.inputs import add_quiet, add_store_options, read_block, run_step

if TYPE_CHECKING:
    import argparse

    from feastra_nb.migration.reports import MigrationReport
    from feastra_nb.workspace import Workspace

SUMMARY = "write what the online store serves into tables of Feast's own Cassandra store"
EXAMPLE = "feastra export --layout feast-cassandra --repo feature_repo"
DETAILS = "A repository with `type: cassandra` then serves the same. It can be run again, and writes the newest values."


def run(arguments: argparse.Namespace) -> int:
    """Export, print the report, and return its exit code."""

    def export(ws: Workspace) -> MigrationReport:
        to = read_block(arguments.to) if arguments.to else None
        views, quiet = arguments.views or None, arguments.quiet
        return ws.export(arguments.layout, views, to=to, rows_per_s=arguments.rows_per_s, progress=not quiet)

    return run_step(arguments, export, read_only=False)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("views", nargs="*", metavar="VIEW", help="views (default: all that are kept online)")
    add("--layout", required=True, choices=["feast-cassandra"], help="whose tables to write")
    add_store_options(parser)
    add(
        "--to",
        metavar="FILE",
        help="yaml with Feast's online_store block (default: type cassandra in the same keyspace)",
    )
    add("--rows-per-s", type=float, metavar="N", help="read at most so many entities a second")
    add("--save", nargs="+", default=[], metavar="FILE", help="save the report: .html, .json, .parquet, .png")
    add_quiet(parser)
