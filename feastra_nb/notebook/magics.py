"""``%feastra``: the public functions as a line magic, and the one current workspace.

IPython's own expansion of variables would evaluate the braces of a dict, take ``$`` for a variable, and leave a
mistyped ``{name}`` as it is. So the magic opts out of it (``no_var_expand``), and `arguments.fill_words` replaces
``{name}``, strictly.
"""

from __future__ import annotations

import sys
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, no_var_expand

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook.arguments import fill_words, split_words
from feastra_nb.notebook.subcommands import COMMANDS, MAGIC, Line, find_command, help_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from feastra_nb.notebook.subcommands import Command
    from feastra_nb.workspace import Workspace

_HELP = {"-h", "--help"}


def load_ipython_extension(ip: InteractiveShell) -> None:
    """Register ``%feastra``; loading again keeps the current workspace. Touches no network."""
    if FeastraMagics.__name__ not in ip.magics_manager.registry:
        ip.register_magics(FeastraMagics)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """Take ``%feastra`` away and close the workspace it opened, unless a variable holds it."""
    magics = ip.magics_manager.registry.pop(FeastraMagics.__name__, None)
    if magics is not None:
        ip.magics_manager.magics["line"].pop("feastra", None)
        magics.use(None, owned=False)


# IPython publishes no types, so neither its base class nor its decorators have one.
@magics_class
class FeastraMagics(Magics):
    """The magic, and the one current workspace: that of ``%feastra connect``."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.current: Workspace | None = None
        self._owns_current = False

    @no_var_expand  # type: ignore[untyped-decorator]
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_magic  # type: ignore[untyped-decorator]
    def feastra(self, line: str, local_ns: dict[str, Any] | None = None) -> object:
        """Work with a feature store: ``%feastra --help`` lists the subcommands."""
        variables = self._variables(local_ns or {})
        words = split_words(line)
        if not words or words[0] in _HELP:
            sys.stdout.write(help_text())
            return None
        name, rest = find_command(words)
        command = COMMANDS[name]
        parser = command.parser(name)
        if not _HELP.isdisjoint(rest):
            sys.stdout.write(parser.format_help())
            return None
        return self._run(command, variables, parser.parse(fill_words(rest, variables)))

    def workspace(self, variables: Mapping[str, Any]) -> Workspace:
        """Return the current workspace, else the only one among the notebook's variables.

        Raises
        ------
        ConfigurationError
            There is none, or there are several.
        """
        if self.current is not None:
            return self.current
        found = _workspaces(variables)
        if len(found) > 1:
            raise ConfigurationError(
                f"there are {len(found)} workspaces: {', '.join(found)}",
                hint=f"{MAGIC} connect --workspace {next(iter(found))} makes one the current one",
            )
        if not found:
            raise ConfigurationError("there is no workspace yet", hint=f"{MAGIC} connect, or ws = fnb.connect()")
        return next(iter(found.values()))

    def use(self, workspace: Workspace | None, *, owned: bool) -> None:
        """Make a workspace the current one, and close the one before if it was opened here and no variable holds it."""
        before, owned_before = self.current, self._owns_current
        self.current, self._owns_current = workspace, owned
        if before is None or before is workspace or not owned_before:
            return
        if not any(held is before for held in _workspaces(self.shell.user_ns).values()):
            before.close()

    def _run(self, command: Command, variables: Mapping[str, Any], arguments: dict[str, Any]) -> object:
        output, is_quiet = arguments.pop("output", None), arguments.pop("quiet", False)
        if output is not None and (not output.isidentifier() or iskeyword(output)):
            raise ConfigurationError(f"-o {output!r} is no name for a variable", hint="-o result")
        if command.has_progress:
            arguments["progress"] = not is_quiet
        result = command.run(Line(self, variables, arguments))
        if output is not None:
            self.shell.push({output: result})
        # The notebook shows what a magic returns; displaying it here as well would show it twice.
        return None if is_quiet or output is not None else result

    def _variables(self, local: Mapping[str, Any]) -> dict[str, Any]:
        """Return the notebook's variables, and those of the function that the line stands in."""
        # Some names are IPython's (In, exit, …), until the user gives them a meaning.
        hidden = self.shell.user_ns_hidden
        known = {**self.shell.user_ns, **local}
        return {name: value for name, value in known.items() if name not in hidden or hidden[name] is not value}


def _workspaces(variables: Mapping[str, Any]) -> dict[str, Workspace]:
    """Return the workspaces among the variables, each once; names with an underscore are IPython's history."""
    from feastra_nb.workspace import Workspace

    # By identity; of several names for one workspace the last stays.
    found = {
        id(value): name
        for name, value in variables.items()
        if isinstance(value, Workspace) and not name.startswith("_")
    }
    return {name: variables[name] for name in found.values()}
