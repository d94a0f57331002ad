"""``feastra migrate``: from Feast's own Cassandra tables to ours, in steps that can each be run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.commands.inputs import add_quiet, read_block, run_step

if TYPE_CHECKING:
    import argparse

    from feastra_nb.migration.reports import MigrationReport
    from feastra_nb.workspace import Workspace

SUMMARY = "move a Feast repository from Feast's own Cassandra or Scylla tables to ours, without a maintenance window"
EXAMPLE = "feastra migrate plan --repo feature_repo"
DETAILS = (
    "The steps are plan, copy, verify, switch, finish; each can be stopped and run again, and none stops those who write or read. "
    "Exits with 0 when it is done and clean, 1 when there are problems or differences, 2 when it could not tell."
)


def run(arguments: argparse.Namespace) -> int:
    """Run one step, print its report, and return its exit code."""
    verb = arguments.verb
    options = {name: getattr(arguments, name) for name in _OPTIONS[verb]}
    options |= {"views": arguments.views or None} if verb in _OF_VIEWS else {}

    def step(ws: Workspace) -> MigrationReport:
        own = read_block(arguments.to) if arguments.to else None
        migration = ws.migration(retain=arguments.retain, to=own)
        report: MigrationReport = getattr(migration, verb)(progress=not arguments.quiet, **options)
        return report

    return run_step(arguments, step, read_only=verb == "plan")


_OF_VIEWS = ("plan", "copy", "verify")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "plan": ("sample",),
    "copy": ("rows_per_s", "full"),
    "verify": ("at", "rows_per_s"),
    "switch": ("verify",),
    "finish": ("drop_old",),
}
_STEPS = {
    "plan": "say how much there is, what it takes, and what stands in the way; writes nothing",
    "copy": "copy Feast's tables, or what is new in them since the last copy",
    "verify": "compare both sides, cell by cell, as of one instant",
    "switch": "copy, verify, and make feature_store.yaml use our store, which then writes Feast's tables too",
    "finish": "copy and verify once more, and write Feast's tables no more",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the steps, each with its options."""
    steps = parser.add_subparsers(dest="verb", required=True, metavar="STEP", title="steps")
    for verb, summary in _STEPS.items():
        _add_step(verb, steps.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}."))


def _add_step(verb: str, parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    if verb in _OF_VIEWS:
        add("views", nargs="*", metavar="VIEW", help="views (default: all that are kept online)")
    add("--repo", metavar="DIR", help="Feast repository (default: the current folder)")
    parser.set_defaults(directory=".feastra")
    if verb != "finish":
        add("--retain", metavar="7d", help="how much history the migrated views keep (default: 7d)")
        add("--to", metavar="FILE", help="yaml with keys of our online_store block, where it differs from Feast's")
    else:
        parser.set_defaults(retain=None, to=None)
    if verb == "plan":
        add("--sample", type=float, default=1.0, metavar="SHARE", help="read only this share of the ring, such as 0.05")
    if verb in ("copy", "verify"):
        add(
            "--rows-per-s",
            type=float,
            metavar="N",
            help="read at most so many rows a second; a row is one feature of one entity",
        )
    if verb == "copy":
        add("--full", action="store_true", help="copy everything again")
    if verb == "verify":
        add("--at", metavar="INSTANT", help="as of when (default: when the last copy began; once switched: now)")
    if verb == "switch":
        add("--no-verify", dest="verify", action="store_false", help="switch without comparing both sides")
    if verb == "finish":
        add("--drop-old", action="store_true", help="drop Feast's tables, which cannot be taken back")
    add("--save", nargs="+", default=[], metavar="FILE", help="save the report: .html, .json, .parquet, .png")
    add_quiet(parser)
