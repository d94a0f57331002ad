"""``%feastra``, ``%%feastra`` and ``%%cql``: the public functions as magics, and the one current workspace.

IPython's own expansion of variables would evaluate the braces of a dict, take ``$`` for a variable, and leave a
mistyped ``{name}`` as it is. So the magics opt out of it (``no_var_expand``): `arguments.fill_words` replaces ``{name}`` in a
line, and `placeholders` binds it in a cell, both strictly.
"""

from __future__ import annotations

import sys
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Integer, Unicode

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook import options
from feastra_nb.notebook.arguments import fill_words, leading_options, split_words
from feastra_nb.notebook.completion import Completion
from feastra_nb.notebook.placeholders import with_placeholders, without_hash_lines
from feastra_nb.notebook.settings import read_settings
from feastra_nb.notebook.subcommands import COMMANDS, MAGIC, Line, find_command, help_text
from feastra_nb.notebook.verbosity import QUIET, TALKATIVE, USUAL, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from feastra_nb.workspace import Workspace

_HELP = {"-h", "--help"}
_NAMES = ("feastra", "cql")


def load_ipython_extension(ip: InteractiveShell) -> None:
    """Register the magics and their completion; loading again keeps the current workspace. Touches no network.

    Raises
    ------
    ConfigurationError
        ``[tool.feastra]`` in ``pyproject.toml`` makes no sense.
    """
    if FeastraMagics.__name__ in ip.magics_manager.registry:
        return
    settings = read_settings(Path.cwd(), FeastraMagics.kinds_of_settings())
    magics = FeastraMagics(ip, **settings)
    ip.register_magics(magics)
    ip.Completer.custom_matchers.append(magics.matcher)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """Take the magics away and close the workspace that they opened, unless a variable holds it."""
    magics = ip.magics_manager.registry.pop(FeastraMagics.__name__, None)
    if magics is None:
        return
    for kind in ("line", "cell"):
        for name in _NAMES:
            ip.magics_manager.magics[kind].pop(name, None)
    ip.configurables.remove(magics)  # where IPython put them, for %config
    ip.Completer.custom_matchers.remove(magics.matcher)
    magics.use(None, owned=False)


# IPython publishes no types, so neither its base class nor its decorators have one.
@magics_class
class FeastraMagics(Magics):
    """The magics, and the one current workspace: that of ``%feastra connect``.

    Their settings stand in ``[tool.feastra]`` of ``pyproject.toml``, or are set by ``%config FeastraMagics.verbosity = 2``.
    """

    verbosity = Integer(
        USUAL, min=QUIET, max=TALKATIVE, help="0: results alone; 1: progress and notes; 2: the log and tracebacks too"
    ).tag(config=True)
    limit = Integer(1_000, min=1, help="the most rows that %%cql fetches without --limit").tag(config=True)
    project = Unicode("", help="of %feastra connect without --project").tag(config=True)
    keyspace = Unicode("", help="of %feastra connect without --keyspace").tag(config=True)
    directory = Unicode("", help="of %feastra connect without --directory").tag(config=True)
    retain = Unicode("", help="of %feastra connect without --retain").tag(config=True)

    def __init__(self, shell: InteractiveShell, **settings: Any) -> None:
        super().__init__(shell)
        for name, value in settings.items():
            self._set(name, value)
        self.current: Workspace | None = None
        self._owns_current = False
        self.matcher = Completion(self).matcher

    @classmethod
    def kinds_of_settings(cls) -> dict[str, type]:
        """Return the name and the type of each setting."""
        own = cls.class_own_traits(config=True)
        return {name: int if isinstance(trait, Integer) else str for name, trait in own.items()}

    def _set(self, name: str, value: Any) -> None:
        from traitlets import TraitError

        try:
            setattr(self, name, value)
        except TraitError as exc:
            trait = self.traits()[name]
            raise ConfigurationError(f"{name} = {value!r} makes no sense", hint=trait.help) from exc

    @no_var_expand  # type: ignore[untyped-decorator]
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def feastra(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> object:
        """Work with a feature store: ``%feastra --help`` lists the subcommands."""
        variables = self.variables(local_ns or {})
        words = split_words(line)
        if not words or words[0] in _HELP:
            sys.stdout.write(help_text())
            return None
        name, rest = find_command(words)
        command = COMMANDS[name]
        if cell is not None and not command.takes_cell:
            raise ConfigurationError(
                f"%{MAGIC} {name} takes no cell", hint=f"{MAGIC} {line.strip()} on a line of its own"
            )
        parser = command.parser(name)
        if not _HELP.isdisjoint(rest):
            sys.stdout.write(parser.format_help())
            return None
        arguments = parser.parse(fill_words(rest, variables))

        def run(*, shows_progress: bool) -> object:
            progress = {"progress": shows_progress} if command.has_progress else {}
            return command.run(Line(self, variables, {**arguments, **progress}, cell))

        return self._run(run, arguments)

    @no_var_expand  # type: ignore[untyped-decorator]
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def cql(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> object:
        """Run a CQL statement and return its rows: ``%%cql --help`` lists the options."""
        variables = self.variables(local_ns or {})
        parser = options.cql_parser()
        words, rest = (split_words(line), "") if cell is not None else leading_options(line, parser)
        if not _HELP.isdisjoint(words):
            sys.stdout.write(parser.format_help())
            return None
        arguments = parser.parse(fill_words(words, variables))
        body = without_hash_lines(rest if cell is None else cell)
        statement, bound = with_placeholders(body, variables, lambda _name: "?")
        limit = arguments.pop("limit", self.limit)

        def run(*, shows_progress: bool) -> object:
            frame = self.workspace(variables).cql(statement, [value for _name, value in bound], limit=limit)
            if shows_progress and frame.attrs.get("has_more"):
                sys.stderr.write(
                    f"the first {len(frame):,} rows; --limit {len(frame) * 10} or --limit all shows more\n"
                )
            return frame if len(frame.columns) else None

        return self._run(run, arguments)

    def workspace(self, variables: Mapping[str, Any]) -> Workspace:
        """Return the current workspace, else the only one among the notebook's variables.

        Raises
        ------
        ConfigurationError
            There is none, or there are several.
        """
        if self.current is not None:
            return self.current
        open_ones = workspaces_among(variables)
        if len(open_ones) > 1:
            raise ConfigurationError(
                f"there are {len(open_ones)} workspaces: {', '.join(open_ones)}",
                hint=f"{MAGIC} connect --workspace {next(iter(open_ones))} makes one the current one",
            )
        if not open_ones:
            raise ConfigurationError("there is no workspace yet", hint=f"{MAGIC} connect, or ws = fnb.connect()")
        return next(iter(open_ones.values()))

    def use(self, workspace: Workspace | None, *, owned: bool) -> None:
        """Make a workspace the current one, and close the one before if it was opened here and no variable holds it."""
        before, owned_before = self.current, self._owns_current
        self.current, self._owns_current = workspace, owned
        if before is None or before is workspace or not owned_before:
            return
        if not any(held is before for held in workspaces_among(self.shell.user_ns).values()):
            before.close()

    def connect_defaults(self) -> dict[str, str]:
        """Return what ``%feastra connect`` takes from the settings."""
        names = ("project", "keyspace", "directory", "retain")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def variables(self, local: Mapping[str, Any]) -> dict[str, Any]:
        """Return the notebook's variables, and those of the function that the line stands in."""
        # Some names are IPython's (In, exit, …), until the user gives them a meaning.
        hidden = self.shell.user_ns_hidden
        known = {**self.shell.user_ns, **local}
        return {name: value for name, value in known.items() if name not in hidden or hidden[name] is not value}

    def _run(self, run: Callable[..., object], arguments: dict[str, Any]) -> object:
        output, is_quiet = arguments.pop("output", None), arguments.pop("quiet", False)
        if output is not None and (not output.isidentifier() or iskeyword(output)):
            raise ConfigurationError(f"-o {output!r} is not a name for a variable", hint="-o result")
        with spoken(QUIET if is_quiet else self.verbosity) as shows_progress:
            result = run(shows_progress=shows_progress)
        if output is not None:
            self.shell.push({output: result})
        # The notebook shows what a magic returns; displaying it here as well would show it twice.
        return None if is_quiet or output is not None else result


def workspaces_among(variables: Mapping[str, Any]) -> dict[str, Workspace]:
    """Return the workspaces among the variables, each once; names with an underscore are IPython's history."""
    from feastra_nb.workspace import Workspace

    # By identity; of several names for one workspace the last stays.
    workspaces = {
        id(value): name
        for name, value in variables.items()
        if isinstance(value, Workspace) and not name.startswith("_")
    }
    return {name: variables[name] for name in workspaces.values()}
