"""The subcommands of ``%feastra``: each gets a parsed line, calls one public function and returns what that returned.

A new one is a function from a `Line` to a result, one in `options` that adds its options, and an entry in `COMMANDS`.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook import options
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
    """What a subcommand gets: the magics, the notebook's variables, the arguments on the line, and the cell below it."""

    magics: FeastraMagics
    variables: Mapping[str, Any]
    arguments: dict[str, Any]
    cell: str | None = None

    @property
    def workspace(self) -> Workspace:
        """The workspace that the line is about."""
        return self.magics.workspace(self.variables)

    def resolve_variable(self, name: str) -> None:
        """Replace an argument that is a variable's name, or a dict or list as text, by the value."""
        word = self.arguments[name]
        self.arguments[name] = _literal(word) if word.startswith(("{", "[")) else variable(word, self.variables)

    def unwrap_single(self, name: str) -> None:
        """Replace an argument that is a list of one reference by that reference: it may be a view's name."""
        references = self.arguments[name]
        self.arguments[name] = references[0] if len(references) == 1 else references


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A subcommand: what it is for, what it does, its options, and what somebody would type.

    ``has_progress`` says whether it shows progress, ``takes_cell`` whether a cell may belong to it.
    """

    summary: str
    run: Callable[[Line], object]
    add_options: Callable[[LineParser], None]
    example: str
    has_progress: bool = False
    takes_cell: bool = False

    def parser(self, name: str) -> LineParser:
        """Return the parser of its line."""
        parser = LineParser(f"{MAGIC} {name}", f"{self.summary[0].upper()}{self.summary[1:]}.", example=self.example)
        self.add_options(parser)
        parser.add_output()
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
        f"{MAGIC} SUBCOMMAND --help lists its options and shows an example. All take -o NAME (assign the result)",
        "and -q (show nothing).",
        f"%{MAGIC} historical makes the entity frame by the SQL in its cell; %%cql runs the CQL in its cell.",
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

    login = {name: line.arguments.pop(name) for name in ("port", "username") if name in line.arguments}
    return _connect(line, hosts_target(line.arguments.pop("hosts"), environment=os.environ, **login))


def connect_astra(line: Line) -> Workspace:
    """Connect to Astra DB by name, or through a secure connect bundle."""
    from feastra_nb.connection.targets import Astra

    return _connect(line, Astra(**{name: line.arguments.pop(name) for name in _OF_ASTRA if name in line.arguments}))


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


def materialize(line: Line) -> object:
    """Write a DataFrame, or a registered view, into the online store."""
    data, view = line.arguments.pop("data"), line.arguments.pop("view", None)
    if view is None:
        return line.workspace.materialize(data, **line.arguments)
    return line.workspace.materialize(variable(data, line.variables), view, **line.arguments)


def historical(line: Line) -> object:
    """Join features to an entity frame: a variable, or what the cell's query makes."""
    line.unwrap_single("features")
    if "entities" in line.arguments:
        line.resolve_variable("entities")
    features, named = line.arguments.pop("features"), line.arguments.pop("entities", None)
    if (named is None) == (line.cell is None):
        raise ConfigurationError(
            "historical needs one entity frame, not two" if named is not None else "historical needs an entity frame",
            hint=f"{MAGIC} historical VIEW --entities FRAME, or %{MAGIC} historical VIEW with a query in the cell",
        )
    if line.cell is None:
        return line.workspace.historical(features, named, **line.arguments)
    from feastra_nb.notebook.entity_query import entity_frame

    return line.workspace.historical(features, entity_frame(line.cell, line.variables), **line.arguments)


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

    workspace = open_workspace(target, **{**line.magics.connect_defaults(), **line.arguments})
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
            f"{word} is neither a dict nor a list",
            hint='{"tailnum": ["N14228"]}, or the name of a variable that holds one',
        ) from exc


COMMANDS: Mapping[str, Subcommand] = {
    "connect": Subcommand(
        "connect to what environment or profile name, else show a form",
        connect,
        options.of_connect,
        "%feastra connect --workspace ws",
    ),
    "connect local": Subcommand(
        "connect to a Cassandra on this machine, started if need be",
        connect_local,
        options.of_any_connect,
        "%feastra connect local --retain 30d",
    ),
    "connect hosts": Subcommand(
        "connect to a cluster by its contact points",
        connect_hosts,
        options.of_connect_hosts,
        "%feastra connect hosts 10.0.0.1 10.0.0.2 --username me --keyspace features --project demo",
    ),
    "connect astra": Subcommand(
        "connect to Astra DB, by name or bundle",
        connect_astra,
        options.of_connect_astra,
        "%feastra connect astra my-db --keyspace features --project demo",
    ),
    "status": Subcommand(
        "show where the workspace is connected, and how its cluster does", status, options.none, "%feastra status"
    ),
    "views": Subcommand("list the feature views", views, options.of_views, "%feastra views plane"),
    "materialize": Subcommand(
        "write a DataFrame, or a registered view, into the online store",
        materialize,
        options.of_materialize,
        "%feastra materialize df plane_stats --keys tailnum --ttl 30d",
        has_progress=True,
    ),
    "online": Subcommand(
        "read features online, now or as of an instant",
        online,
        options.of_online,
        '%feastra online plane_stats:mean_delay --entities {"tailnum": ["N14228"]} -o served',
    ),
    "historical": Subcommand(
        "join features to entities and instants, as they were then",
        historical,
        options.of_historical,
        "%%feastra historical plane_stats -o training\n"
        "SELECT tailnum, time_hour AS event_timestamp FROM flights LIMIT 100",
        takes_cell=True,
    ),
    "skew": Subcommand(
        "compare online with point-in-time offline, each difference with its cause",
        skew,
        options.of_skew,
        "%feastra skew plane_stats --spine spine -o report",
        has_progress=True,
    ),
    "explain": Subcommand(
        "show one value's life: what was stored, picked and served, and why",
        explain,
        options.of_explain,
        '%feastra explain plane_stats:mean_delay {"tailnum": "N14228"}',
    ),
    "latency": Subcommand(
        "measure how long online reads take from here",
        latency,
        options.of_latency,
        "%feastra latency plane_stats --rate 200 --seconds 30",
        has_progress=True,
    ),
}
