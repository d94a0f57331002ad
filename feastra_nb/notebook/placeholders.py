"""Variables in the body of a cell: ``{name}`` becomes a placeholder, and its value is bound, never pasted into the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from feastra_nb.notebook.arguments import VARIABLE, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# What a brace means nothing in (strings, quoted names, comments), or a name in braces alone: a map has a colon in it.
_PIECE = re.compile(
    rf"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$|--[^\n]*|//[^\n]*|/\*.*?\*/|\{{({VARIABLE})\}}""", re.DOTALL
)
_HASH = re.compile(r"^[ \t]*#[^\n]*$", re.MULTILINE)


def without_hash_lines(body: str) -> str:
    r"""Return a cell's body without lines that begin with ``#``, which are Python's comments (nbval's marks, say).

    Examples
    --------
    >>> without_hash_lines("# NBVAL_CHECK_OUTPUT\nSELECT 1")
    'SELECT 1'
    """
    return _HASH.sub("", body).strip()


def with_placeholders(
    body: str, variables: Mapping[str, Any], placeholder: Callable[[str], str]
) -> tuple[str, list[tuple[str, Any]]]:
    """Return a statement with a placeholder for each ``{name}``, and the names and values in their order.

    Parameters
    ----------
    placeholder
        Returns what stands in the statement for a variable's name.

    Raises
    ------
    ConfigurationError
        There is no such variable.

    Examples
    --------
    >>> with_placeholders("SELECT '{no}' FROM t WHERE a = {a}", {"a": 3}, lambda name: "?")
    ("SELECT '{no}' FROM t WHERE a = ?", [('a', 3)])
    """
    values: list[tuple[str, Any]] = []

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        plain = name.replace(".", "__")  # a parameter's name has no dots
        values.append((plain, variable(name, variables)))
        return placeholder(plain)

    return _PIECE.sub(replaced, body), values
