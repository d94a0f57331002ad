"""The subcommands of ``%feastra``: each gets a parsed line, calls one public function and returns what that returned.

A new one is a function from a `Line` to a result, one that adds its options, and an entry in `COMMANDS`.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook.arguments import LineParser, unknown, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from feastra_nb.connection.targets import Target
    from feastra_nb.notebook.magics import FeastraMagics
    from feastra_nb.workspace import Workspace

MAGIC = "%feastra"
_OF_ASTRA = ("database", "region", "bundle", "resume", "create_keyspace")


@dataclass(frozen=True, slots=True)
class Line:
    """What a subcommand gets: the magics, the notebook's variables, and the arguments that were on the line."""

    magics: FeastraMagics
    variables: Mapping[str, Any]
    arguments: dict[str, Any]

    @property
    def workspace(self) -> Workspace:
        """The workspace that the line is about."""
        return self.magics.workspace(self.variables)

    def resolve_variable(self, name: str) -> None:
        """Replace an argument that is a variable's name, or a dict as text, by the value."""
        word = self.arguments[name]
        self.arguments[name] = _literal(word) if word.startswith("{") else variable(word, self.variables)

    def unwrap_single(self, name: str) -> None:
        """Replace an argument that is a list of one reference by that reference: it may be a view's name."""
        references = self.arguments[name]
        self.arguments[name] = references[0] if len(references) == 1 else references


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is for, what it does, its options, and whether it shows progress."""

    summary: str
    run: Callable[[Line], object]
    add_options: Callable[[LineParser], None]
    has_progress: bool = False

    def parser(self, name: str) -> LineParser:
        """Return the parser of its line."""
        parser = LineParser(f"{MAGIC} {name}", f"{self.summary[0].upper()}{self.summary[1:]}.")
        self.add_options(parser)
        parser.add_argument(
            "-o", dest="output", metavar="NAME", help="assign the result to this variable; show nothing"
        )
        parser.add_argument("-q", dest="quiet", action="store_true", help="show nothing")
        return parser


def find_command(words: list[str]) -> tuple[str, list[str]]:
    """Return the subcommand at the beginning of a line, which may have two words, and the rest."""
    first, rest = words[0], words[1:]
    if first not in COMMANDS:
        raise unknown("subcommand", first, [name for name in COMMANDS if " " not in name], where=MAGIC)
    kinds = [name.split()[1] for name in COMMANDS if name.startswith(f"{first} ")]
    if not kinds or not rest or rest[0].startswith("-"):
        return first, rest
    if rest[0] not in kinds:
        raise unknown("target", rest[0], kinds, where=f"{MAGIC} {first}")
    return f"{first} {rest[0]}", rest[1:]


def help_text() -> str:
    """Return what ``%feastra --help`` shows."""
    lines = [f"{MAGIC} SUBCOMMAND [options]: a Feast feature store on Cassandra, from a notebook.", ""]
    lines += [f"  {name:<14} {command.summary}" for name, command in COMMANDS.items()]
    lines += [
        "",
        f"{MAGIC} SUBCOMMAND --help lists its options. All take -o NAME (assign the result) and -q (show nothing).",
        "{name} in the line stands for the value of a variable. A result is returned: x = %feastra views.",
    ]
    return "\n".join(lines) + "\n"


def connect(line: Line) -> object:
    """Connect to what environment or profile name, else show the form; or take a workspace that is there."""
    if "workspace" not in line.arguments:
        from feastra_nb.connection.choice import configured

        return _form(line) if configured() is None else _connect(line, None)
    name = line.arguments.pop("workspace")
    if line.arguments:
        raise ConfigurationError(
            "--workspace takes an open workspace as it is", hint=f"{MAGIC} connect --workspace {name}"
        )
    return _take(line, variable(name, line.variables), name)


def connect_local(line: Line) -> Workspace:
    """Connect to a Cassandra on this machine."""
    from feastra_nb.connection.targets import Local

    return _connect(line, Local())


def connect_hosts(line: Line) -> Workspace:
    """Connect to a cluster by its contact points."""
    from feastra_nb.notebook.credentials import hosts_target

    options = {name: line.arguments.pop(name) for name in ("port", "username") if name in line.arguments}
    return _connect(line, hosts_target(line.arguments.pop("hosts"), environment=os.environ, **options))


def connect_astra(line: Line) -> Workspace:
    """Connect to Astra DB by name, or through a secure connect bundle."""
    from feastra_nb.connection.targets import Astra

    options = {name: line.arguments.pop(name) for name in _OF_ASTRA if name in line.arguments}
    return _connect(line, Astra(**options))


def status(line: Line) -> object:
    """Show where the workspace is connected."""
    return line.workspace.status()


def views(line: Line) -> object:
    """List the feature views."""
    return line.workspace.views(**line.arguments)


def online(line: Line) -> object:
    """Read features online."""
    line.unwrap_single("features")
    line.resolve_variable("entities")
    return line.workspace.online(**line.arguments)


def skew(line: Line) -> object:
    """Compare online with offline."""
    line.unwrap_single("view_or_features")
    for name in ("spine", "served"):
        if name in line.arguments:
            line.resolve_variable(name)
    return line.workspace.skew(**line.arguments)


def explain(line: Line) -> object:
    """Show one value's life."""
    line.resolve_variable("entity")
    return line.workspace.explain(**line.arguments)


def latency(line: Line) -> object:
    """Measure reads."""
    line.unwrap_single("features")
    if "entities" in line.arguments:
        line.resolve_variable("entities")
    return line.workspace.latency(**line.arguments)


def _connect(line: Line, target: Target | None) -> Workspace:
    from feastra_nb.workspace import connect as open_workspace

    workspace = open_workspace(target, **line.arguments)
    line.magics.use(workspace, owned=True)
    return workspace


def _form(line: Line) -> object:
    from feastra_nb.notebook.widgets import ConnectForm

    form = ConnectForm(on_connect=lambda workspace: line.magics.use(workspace, owned=True))
    for name, value in line.arguments.items():
        getattr(form, name).value = value
    return form


def _take(line: Line, workspace: object, name: str) -> Workspace:
    from feastra_nb.workspace import Workspace

    if not isinstance(workspace, Workspace):
        raise ConfigurationError(
            f"{name} is a {type(workspace).__name__}, no workspace", hint="ws = fnb.connect() makes one"
        )
    line.magics.use(workspace, owned=False)
    return workspace


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError) as exc:
        raise ConfigurationError(
            f"{word} is no dict of lists", hint='{"tailnum": ["N14228"]}, or the name of a variable that holds one'
        ) from exc


def _options_of_any_connect(parser: LineParser) -> None:
    parser.add_argument("--project", metavar="P", help="Feast project (a local node has a default)")
    parser.add_argument("--keyspace", metavar="K", help="keyspace (a local node has a default)")
    parser.add_argument("--directory", metavar="D", help="folder of registry and offline data (.feastra)")
    parser.add_argument("--retain", metavar="7d", help="how much history new views keep: 7d, all, latest")
    parser.add_argument("--read-only", dest="read_only", action="store_true", help="refuse everything that writes")


def _options_of_connect(parser: LineParser) -> None:
    _options_of_any_connect(parser)
    parser.add_argument("--workspace", metavar="NAME", help="make this variable's workspace the current one")


def _options_of_connect_hosts(parser: LineParser) -> None:
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="contact points")
    parser.add_argument("--port", type=int, help="port of the native protocol (9042)")
    parser.add_argument("--username", metavar="NAME", help="user; the password is read from CASSANDRA_PASSWORD")
    _options_of_any_connect(parser)


def _options_of_connect_astra(parser: LineParser) -> None:
    text = "name, id or API endpoint (ASTRA_DB_ID); the token is read from ASTRA_DB_APPLICATION_TOKEN"
    parser.add_argument("database", nargs="?", metavar="DATABASE", help=text)
    parser.add_argument("--region", metavar="R", help="one of the database's regions (its first)")
    parser.add_argument("--bundle", metavar="PATH", help="secure connect bundle, instead of a database")
    parser.add_argument("--resume", action="store_true", help="wake a database that hibernates, and wait")
    parser.add_argument("--create-keyspace", dest="create_keyspace", action="store_true", help="make the keyspace")
    _options_of_any_connect(parser)


def _options_of_views(parser: LineParser) -> None:
    parser.add_argument("search", nargs="?", metavar="SEARCH", help="only views with this text in them")


def _options_of_online(parser: LineParser) -> None:
    _features(parser, "features")
    text = 'a variable (DataFrame or dict), or {"key": [values]}'
    parser.add_argument("--entities", metavar="NAME_OR_DICT", required=True, help=text)
    parser.add_argument("--as-of", dest="as_of", metavar="WHEN", help="an instant, or a column of the entities")
    parser.add_argument("--timestamps", action="store_true", help="add the event time of each value")
    parser.add_argument("--status", action="store_true", help="add whether each value is there, and why not")
    parser.add_argument(
        "--full-feature-names", dest="full_feature_names", action="store_true", help="name columns view__feature"
    )


def _options_of_skew(parser: LineParser) -> None:
    _features(parser, "view_or_features")
    parser.add_argument(
        "--spine", metavar="NAME", help="a variable: frame of keys and event_timestamp to compare as of"
    )
    parser.add_argument("--served", metavar="NAME", help="a variable: the same with the values that were logged")
    parser.add_argument(
        "--known-at", dest="known_at", metavar="as_of", help="as_of: count only what had arrived by then"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="compare at most this many")


def _options_of_explain(parser: LineParser) -> None:
    parser.add_argument("feature", metavar="VIEW:FEATURE", help="one feature")
    parser.add_argument("entity", metavar="ENTITY", help="""join keys: a variable's name, or {'tailnum': 'N14228'}""")
    parser.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="the instant (now)")


def _options_of_latency(parser: LineParser) -> None:
    _features(parser, "features")
    text = 'a variable (DataFrame or dict), or {"key": [values]}; default: sampled from the store'
    parser.add_argument("--entities", metavar="NAME_OR_DICT", help=text)
    parser.add_argument("--rate", type=float, metavar="R", help="requests a second, on a schedule (one after another)")
    parser.add_argument("--arrivals", metavar="HOW", help="constant or poisson (constant)")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long to measure each setting (10)")
    parser.add_argument("--warmup", dest="warmup_s", type=float, metavar="S", help="how long to call before that (1)")
    parser.add_argument("--batch", type=int, nargs="+", metavar="N", help="entities a call (1 10 100)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="callers at a time, without --rate (1)")
    parser.add_argument("--consistency", nargs="+", metavar="LEVEL", help="consistency levels (the workspace's)")
    parser.add_argument(
        "--target", nargs="+", metavar="WHAT", help="feast, driver, or the URL of a feast serve (feast)"
    )
    parser.add_argument("--yes", action="store_true", help="agree to what it costs, where use is billed (Astra)")
    parser.add_argument("--keys", metavar="HOW", help="uniform, or zipf: few entities get most requests (uniform)")


def _features(parser: LineParser, name: str) -> None:
    parser.add_argument(name, nargs="+", metavar="VIEW_OR_FEATURE", help="a view, or view:feature")


def _no_options(parser: LineParser) -> None:
    """Add nothing: this subcommand has no options of its own."""


COMMANDS: Mapping[str, Command] = {
    "connect": Command(
        "connect to what environment or profile name, else show a form",
        connect,
        _options_of_connect,
    ),
    "connect local": Command(
        "connect to a Cassandra on this machine, started if need be", connect_local, _options_of_any_connect
    ),
    "connect hosts": Command("connect to a cluster by its contact points", connect_hosts, _options_of_connect_hosts),
    "connect astra": Command("connect to Astra DB, by name or bundle", connect_astra, _options_of_connect_astra),
    "status": Command("show where the workspace is connected, and how its cluster does", status, _no_options),
    "views": Command("list the feature views", views, _options_of_views),
    "online": Command("read features online, now or as of an instant", online, _options_of_online),
    "skew": Command(
        "compare online with point-in-time offline, each difference with its cause",
        skew,
        _options_of_skew,
        has_progress=True,
    ),
    "explain": Command(
        "show one value's life: what was stored, picked and served, and why", explain, _options_of_explain
    ),
    "latency": Command("measure how long online reads take from here", latency, _options_of_latency, has_progress=True),
}
