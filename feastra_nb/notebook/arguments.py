"""Parses a magic's line: words, variables and options; every mistake is a FeastraError."""

from __future__ import annotations

import argparse
import re
from datetime import date
from numbers import Number
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn

from feastra_nb.errors import ConfigurationError, close_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Spaces, a quoted string, a bracket, or a run of anything else; the last one is a quote that nothing closes.
_PIECE = re.compile(r"""\s+|"[^"]*"|'[^']*'|[\[\]{}]|[^\s"'\[\]{}]+|["']""")
VARIABLE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"  # a name, or an attribute of what it names
_VARIABLE = re.compile(rf"\{{({VARIABLE})\}}")
_NUMBER = re.compile(r"-\.?\d")
_SECRET_OPTIONS = {"--password", "--token", "--client-secret", "--secret"}


def split_words(line: str) -> list[str]:
    """Split a line at its spaces, except inside quotes and brackets.

    Not `shlex`: it would take the backslashes of a Windows path and the quotes of a dict.

    Raises
    ------
    ConfigurationError
        A quote or a bracket is not closed.

    Examples
    --------
    >>> split_words('online "my view" --entities {"tailnum": ["N14228", "N24211"]}')
    ['online', 'my view', '--entities', '{"tailnum": ["N14228", "N24211"]}']
    """
    words: list[str] = []
    depth, inside = 0, False
    for piece in _PIECE.findall(line):
        if depth == 0 and piece.isspace():
            inside = False
            continue
        if piece in {'"', "'"}:
            raise ConfigurationError(f"a quote is not closed: {piece}", hint="quotes come in pairs")
        depth += (piece in "[{") - (piece in "]}")
        text = piece[1:-1] if depth == 0 and piece[0] in "\"'" else piece
        if inside:
            words[-1] += text
        else:
            words.append(text)
        inside = True
    if depth:
        raise ConfigurationError("brackets do not match", hint='as in --entities {"tailnum": ["N14228"]}')
    return words


def fill_words(words: Iterable[str], variables: Mapping[str, Any]) -> list[str]:
    """Put the values of variables in the place of ``{name}``; a list in the place of a whole word gives several words.

    Raises
    ------
    ConfigurationError
        There is no such variable, or its value is not text, a number, date, path or list of these.

    Examples
    --------
    >>> fill_words(["{view}:dep_delay", "{features}"], {"view": "plane", "features": ["a:b", "a:c"]})
    ['plane:dep_delay', 'a:b', 'a:c']
    """
    filled: list[str] = []
    for word in words:
        whole = _VARIABLE.fullmatch(word)
        value = variable(whole[1], variables) if whole else None
        if isinstance(value, (list, tuple)):
            filled += [_text(word, item) for item in value]
        else:
            filled.append(_VARIABLE.sub(lambda match: _text(match[0], variable(match[1], variables)), word))
    return filled


def variable(name: str, variables: Mapping[str, Any]) -> Any:
    """Return a variable's value, or that of an attribute: ``ws.project``.

    Raises
    ------
    ConfigurationError
        There is none of that name; names the closest.

    Examples
    --------
    >>> variable("now.year", {"now": date(2024, 1, 31)})
    2024
    """
    first, *attributes = name.split(".")
    if first not in variables:
        names = [known for known in variables if not known.startswith("_")]
        raise ConfigurationError(f"there is no variable {first!r} in this notebook", hint=close_names(first, names))
    value = variables[first]
    for attribute in attributes:
        if not hasattr(value, attribute):
            names = [known for known in dir(value) if not known.startswith("_")]
            raise ConfigurationError(
                f"{name}: a {type(value).__name__} has no {attribute!r}", hint=close_names(attribute, names)
            )
        value = getattr(value, attribute)
    return value


def unknown(kind: str, name: str, known: Iterable[str], *, where: str) -> ConfigurationError:
    """Return the error for a wrong name of whatever kind, always in the same words.

    Examples
    --------
    >>> print(unknown("subcommand", "veiws", ["status", "views"], where="%feastra"))
    %feastra has no subcommand 'veiws'
    Hint: did you mean views?
    """
    return ConfigurationError(f"{where} has no {kind} {name!r}", hint=close_names(name, known))


def leading_options(line: str, parser: LineParser) -> tuple[list[str], str]:
    """Return the options that a line begins with, and the rest as it stands: a statement.

    Examples
    --------
    >>> parser = LineParser("%cql", "")
    >>> parser.add_output()
    >>> leading_options("-q -o rows SELECT * FROM t WHERE a = '-q'", parser)
    (['-q', '-o', 'rows'], "SELECT * FROM t WHERE a = '-q'")
    """
    words: list[str] = []
    rest = line.lstrip()
    wants_value = False
    while rest and (wants_value or rest.startswith("-")):
        word, _space, rest = rest.partition(" ")
        known = parser.options().get(word)
        wants_value = not wants_value and known is not None and known.nargs != 0
        words.append(word)
        rest = rest.lstrip()
    return words, rest


class LineParser(argparse.ArgumentParser):
    """An argument parser that raises `ConfigurationError` and leaves the process alone.

    An option that is not on the line is not in the result either, so that the defaults stand in one place: the
    signature of the function that gets the result.

    Parameters
    ----------
    prog
        The command, such as ``%feastra views``.
    description
        What it does.
    example
        Lines that somebody would type; the help ends with them.
    """

    def __init__(self, prog: str, description: str, *, example: str = "") -> None:
        lines = example.replace("\n", "\n  ")
        super().__init__(
            prog,
            description=description,
            epilog=f"example:\n  {lines}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # an example is typed as it stands
            add_help=False,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )

    def options(self) -> dict[str, argparse.Action]:
        """Return the options by name."""
        return dict(self._option_string_actions)

    def places(self) -> list[argparse.Action]:
        """Return what stands in a line without a name, in order."""
        return list(self._get_positional_actions())

    def add_flag(self, option: str, help_text: str) -> None:
        """Add an option without a value."""
        self.add_argument(option, dest=option.lstrip("-").replace("-", "_"), action="store_true", help=help_text)

    def add_output(self) -> None:
        """Add what every magic takes: ``-o NAME`` and ``-q``."""
        self.add_argument("-o", dest="output", metavar="NAME", help="assign the result to this variable; show nothing")
        self.add_argument("-q", dest="quiet", action="store_true", help="show nothing")

    def parse(self, words: list[str]) -> dict[str, Any]:
        """Return the arguments and options by name; only those that are on the line.

        Raises
        ------
        ConfigurationError
            An option is unknown, something is missing, or a value makes no sense.
        """
        for word in words:
            self._check_option(word)
        # argparse %-formats `usage` once more while parsing, so the magic's % is doubled.
        self.usage = self.format_usage().removeprefix("usage: ").replace("%", "%%")
        return vars(self.parse_intermixed_args(words))

    def _check_option(self, word: str) -> None:
        if not word.startswith("-") or _NUMBER.match(word):
            return
        # What follows the name is never repeated: it might be a secret.
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        known = self._option_string_actions
        if name in _SECRET_OPTIONS - set(known):
            raise ConfigurationError(
                f"{self.prog} takes no {name}: what stands on the line is saved with the notebook",
                hint="set CASSANDRA_PASSWORD or ASTRA_DB_APPLICATION_TOKEN, or use fnb.connect_form()",
            )
        if name not in known:
            raise unknown("option", name, [*known, "--help"], where=self.prog)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse complains of, with the usage as the hint."""
        raise ConfigurationError(f"{self.prog}: {message}", hint=" ".join(self.format_usage().split()))


def _text(word: str, value: Any) -> str:
    if isinstance(value, (str, Number, date, PathLike, list, tuple)):
        return str(value)
    raise ConfigurationError(
        f"{word} is a {type(value).__name__}, which cannot stand on a line",
        hint=f"an option that takes a variable takes its name alone, without the braces: {word.strip('{}')}",
    )
