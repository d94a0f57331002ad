"""The command ``feastra``: each subcommand parses, calls public functions and prints; no logic.

A new subcommand is a function from the parsed arguments to an exit code, one that adds its options, and a line in
`COMMANDS`. Heavy libraries are imported in the handlers, so that ``feastra --help`` is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feastra_nb.commands import doctor, export, latency, materialize, migrate, skew
from feastra_nb.commands.inputs import EXIT_UNKNOWN, add_quiet, tell
from feastra_nb.errors import FeastraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from feastra_nb.connection.local import LocalCassandra

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C

_KB = 1_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is for, what it does, its options, and a line that somebody would type."""

    summary: str
    run: Callable[[argparse.Namespace], int]
    add_options: Callable[[argparse.ArgumentParser], None]
    example: str
    details: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv
        The arguments without the command's name. Default: those of this process.

    Returns
    -------
    int
        0 done; 1 failed, or over a budget or objective; 2 could not tell, or wrong usage; 130 after Ctrl-C. Errors and hints are on
        stderr.

    Examples
    --------
    >>> main(["up", "--nodes", "0"])
    1
    """
    arguments = _parser(COMMANDS).parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except FeastraError as error:
        tell(error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read it, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 - not 1, which says that a budget is exceeded
        traceback.print_exc()
        print("this is a fault of feastra-nb: please report it", file=sys.stderr)
        return EXIT_UNKNOWN


def up(arguments: argparse.Namespace) -> int:
    """Start a local Cassandra, or find the one that runs, and say where it is."""
    from feastra_nb.connection import local

    node = local.start(
        name=arguments.name,
        nodes=arguments.nodes,
        heap_mb=arguments.heap_mb,
        idle_s=arguments.idle_s,
        progress=not arguments.quiet,
    )
    print(f"{node.name}: {_where(node)}")
    return EXIT_OK


def down(arguments: argparse.Namespace) -> int:
    """Stop one local Cassandra, or all."""
    from feastra_nb.connection import local

    for name in local.names() if arguments.all else (arguments.name,):
        stopped = local.stop(name)
        if stopped or not arguments.all:
            print(f"{name!r} is stopped; its data is kept" if stopped else f"{name!r} is not running")
    others = [name for name in local.names() if local.running(name) is not None]
    if others:
        print(f"still running: {', '.join(others)} (feastra down --all)")
    return EXIT_OK


def status(arguments: argparse.Namespace) -> int:  # noqa: ARG001  every handler takes them
    """Print every local Cassandra that runs, and what the cache occupies."""
    from feastra_nb.connection import local

    nodes = [node for name in local.names() if (node := local.running(name)) is not None]
    for node in nodes:
        print(f"{node.name}: {_where(node)}")
        for host, pid in zip(node.hosts, node.pids, strict=True):
            print(f"  {host}: {_process_line(pid)}, heap up to {node.heap_mb} MB")
    if not nodes:
        print("no local Cassandra is running (feastra up)")
    used = local.disk_use_bytes()
    parts = ", ".join(f"{name} {human_size(size)}" for name, size in used.items() if size)
    print(f"disk: {human_size(sum(used.values()))} in {local.cache_dir()}{f' ({parts})' if parts else ''}")
    return EXIT_OK


def protect(arguments: argparse.Namespace) -> int:
    """Give a local Cassandra of former times a password."""
    from feastra_nb.connection import local

    given = local.protect(arguments.name)
    then = f"has a password from its next start on (feastra up --name {arguments.name})"
    print(f"{arguments.name!r} {then if given else 'has a password already'}")
    return EXIT_OK


def fetch(arguments: argparse.Namespace) -> int:
    """Download all that is needed to work offline."""
    from feastra_nb.connection import local

    jars = local.fetch(progress=not arguments.quiet)
    size = human_size(local.disk_use_bytes()["jars"])
    print(f"{len(jars)} jars, {size}, are in {local.cache_dir()}; no network is needed from now on")
    return EXIT_OK


def purge(arguments: argparse.Namespace) -> int:
    """Delete the data of one local Cassandra, or everything, after asking."""
    from feastra_nb.connection import local

    used = local.disk_use_bytes()
    if arguments.name is not None and arguments.name not in used:
        print(f"there is no data of {arguments.name!r}")
        return EXIT_OK
    size = human_size(used[arguments.name] if arguments.name else sum(used.values()))
    what = f"the data of {arguments.name!r}" if arguments.name else f"all local data and downloads: {', '.join(used)}"
    print(f"this stops what runs and deletes {what} ({size} in {local.cache_dir()})")
    if not arguments.yes and not _confirmed():
        print("nothing was deleted", file=sys.stderr)
        return EXIT_FAILED
    print(f"freed {human_size(local.purge(arguments.name))}")
    return EXIT_OK


def demo(arguments: argparse.Namespace) -> int:
    """Take a year of real flights through all of it."""
    from feastra_nb.commands.demo import run

    run(arguments.directory, name=arguments.name, keep=arguments.keep)
    return EXIT_OK


def human_size(size_bytes: int) -> str:
    """Return a size with a unit.

    Examples
    --------
    >>> human_size(512), human_size(67_400_000), human_size(3_210_000_000)
    ('512 B', '67 MB', '3.2 GB')
    """
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < _KB:
            return f"{size:.0f} {unit}"
        size /= _KB
    return f"{size:.1f} GB"


def human_duration(duration_s: float) -> str:
    """Return a duration in its largest fitting unit.

    Examples
    --------
    >>> human_duration(8.4), human_duration(150), human_duration(7_300), human_duration(200_000)
    ('8 s', '2 min', '2 h', '2 d')
    """
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if duration_s >= unit_s:
            return f"{duration_s // unit_s:.0f} {unit}"
    return f"{duration_s:.0f} s"


def _where(node: LocalCassandra) -> str:
    addresses = ", ".join(f"{host}:{node.port}" for host in node.hosts)
    return f"Cassandra {node.version} at {addresses}, pid {', '.join(map(str, node.pids))}"


def _process_line(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        memory, up_s = process.memory_info().rss, time.time() - process.create_time()
    except psutil.NoSuchProcess:
        return "stopped"
    return f"pid {pid}, up {human_duration(up_s)}, memory {human_size(memory)}"


def _confirmed() -> bool:
    try:
        return input("Delete? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:  # nobody is there to answer
        return False


def _options_of_up(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    parser.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="nodes of the cluster (default 1; Linux only)"
    )
    parser.add_argument(
        "--heap-mb", type=int, metavar="MB", help="heap of each node (default: a quarter of the memory)"
    )
    parser.add_argument("--idle-s", type=float, metavar="S", help="seconds without a client until it stops (1800)")
    add_quiet(parser)


def _options_of_down(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    parser.add_argument("--all", action="store_true", help="stop every local Cassandra of this user")


def _options_of_purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="NAME", help="only the data of this one (default: all data and downloads)")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _options_of_demo(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    parser.add_argument(
        "--directory", default="feastra-demo", metavar="DIR", help="where its pictures go (default: feastra-demo)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the data, for a notebook to go on with")


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", metavar="NAME", help="which local Cassandra (default: 'default')")


def _no_options(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this subcommand has no options."""


COMMANDS: Mapping[str, Command] = {
    "up": Command(
        "start a local Cassandra, or find the one that runs",
        up,
        _options_of_up,
        "feastra up --nodes 3",
        "It outlives this command, is shared by all notebooks, and stops half an hour after its last client. "
        "FEASTRA_HEAP_MB, FEASTRA_IDLE_S, FEASTRA_JAVA_HOME, FEASTRA_JVM_OPTIONS and FEASTRA_CACHE set what no option does.",
    ),
    "down": Command("stop a local Cassandra; its data is kept", down, _options_of_down, "feastra down --all"),
    "status": Command("show what runs, and what it occupies", status, _no_options, "feastra status"),
    "protect": Command(
        "give a local Cassandra that was made without a password one",
        protect,
        _name_option,
        "feastra protect --name default",
    ),
    "fetch": Command("download all that a local Cassandra needs, to work offline", fetch, add_quiet, "feastra fetch"),
    "demo": Command(
        "take a year of real flights through all of it, with times; a minute or two",
        demo,
        _options_of_demo,
        "feastra demo --keep",
        "It works in a keyspace of its own, begins anew each time, and leaves two pictures and the running Cassandra.",
    ),
    **{
        name: Command(module.SUMMARY, module.run, module.add_options, module.EXAMPLE, module.DETAILS)
        for name, module in (
            ("materialize", materialize),
            ("skew", skew),
            ("latency", latency),
            ("migrate", migrate),
            ("export", export),
            ("doctor", doctor),
        )
    },
    "purge": Command(
        "stop local Cassandras and delete their data and the downloads",
        purge,
        _options_of_purge,
        "feastra purge --name default",
    ),
}


def _parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="feastra",
        description="A Feast feature store on Apache Cassandra or Astra DB, from a notebook.",
        epilog="feastra COMMAND --help says more, with an example. To begin with: feastra demo",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, command in commands.items():
        description = f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}".strip()
        command.add_options(
            subparsers.add_parser(
                name, help=command.summary, description=description, epilog=f"example: {command.example}"
            )
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
