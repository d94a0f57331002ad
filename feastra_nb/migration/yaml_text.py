"""Edits the ``online_store`` block of a ``feature_store.yaml`` as text, so that all else in the file stays as it is. No I/O.

What the file says is kept to the letter: comments outside the block, and ``${VAR}`` where a secret stands, which a parser would
have replaced or lost. The result is parsed and compared before it is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.store_config import STORE_TYPE
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "online_store"
_NOT_OURS = (
    "type",
    "local_dc",
    "vector_similarity_function",
)  # of Feast's blocks, that ours has otherwise or not at all


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of one block.

    Parameters
    ----------
    before, after
        The lines around it.
    head
        The line of its key.
    lines
        Its own lines, without the indentation that they share.
    indent
        That indentation.
    """

    before: tuple[str, ...]
    head: str
    lines: tuple[str, ...]
    indent: str
    after: tuple[str, ...]

    def replaced(self, lines: Sequence[str]) -> str:
        """Return the file with other lines in the block."""
        indented = [f"{self.indent}{line}" if line else line for line in lines]
        return "\n".join([*self.before, self.head, *indented, *self.after]) + "\n"


def block_of(text: str, key: str = KEY) -> Block:
    """Find a block of a yaml mapping's top level.

    Raises
    ------
    ConfigurationError
        It is not there, or not written as an indented block.
    """
    lines = text.rstrip("\n").split("\n")
    heads = [place for place, line in enumerate(lines) if re.match(rf"{re.escape(key)}\s*:", line)]
    if len(heads) != 1:
        raise ConfigurationError(
            f"the file has {len(heads)} blocks {key!r} of its own", hint="one, at the beginning of a line"
        )
    head = heads[0]
    if not re.fullmatch(rf"{re.escape(key)}\s*:\s*(#.*)?", lines[head]):
        raise ConfigurationError(
            f"{key!r} is written in one line: {lines[head]!r}",
            hint="write it as a block: a key a line, each indented below it",
        )
    end = head + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][:1] in " \t"):
        end += 1
    while end > head + 1 and not lines[end - 1].strip():
        end -= 1
    inner = lines[head + 1 : end]
    indent = min((line[: len(line) - len(line.lstrip())] for line in inner if line.strip()), key=len, default="  ")
    stripped = [line[len(indent) :] if line.strip() else "" for line in inner]
    return Block(tuple(lines[:head]), lines[head], tuple(stripped), indent, tuple(lines[end:]))


def switched_text(text: str, own: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
    r"""Return a file whose online store is ours, with Feast's block as its ``mirror``.

    Parameters
    ----------
    own
        Keys of our block that differ from Feast's. Where they name a cluster, nothing of Feast's block is taken over.
    extra
        Keys that have another form in ours, such as ``load_balancing`` for Scylla's ``local_dc``.

    Examples
    --------
    >>> print(switched_text("online_store:\n  type: cassandra\n  hosts: [h]\n", {"retain": "7d"}, {}))
    online_store:
      type: feastra_nb.online_store.FeastraOnlineStore
      hosts: [h]
      retain: 7d
      mirror:
        type: cassandra
        hosts: [h]
    <BLANKLINE>
    """
    import yaml

    block = block_of(text)
    keys = {"hosts", "datacenters", "secure_bundle_path", "astra", "local"}
    taken = (
        []
        if keys & own.keys()
        else [line for name, lines in _entries(block.lines) if name not in {*_NOT_OURS, *own, *extra} for line in lines]
    )
    added = {**extra, **own}
    dumped = yaml.safe_dump(added, sort_keys=False).rstrip("\n").split("\n") if added else []
    mirror = [f"  {line}" if line else line for line in block.lines]
    return block.replaced([f"type: {STORE_TYPE}", *taken, *dumped, "mirror:", *mirror])


def without_mirror(text: str) -> str:
    r"""Return a file whose online store mirrors nothing any more.

    Examples
    --------
    >>> print(without_mirror("online_store:\n  type: x\n  mirror:\n    type: y\n  retain: 7d\nproject: p\n"))
    online_store:
      type: x
      retain: 7d
    project: p
    <BLANKLINE>
    """
    block = block_of(text)
    kept = [line for name, lines in _entries(block.lines) if name != "mirror" for line in lines]
    return block.replaced(kept)


def _entries(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the entries of a block, each with its lines; comments between two belong to the second, as a name of their own."""
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        key = re.match(r"([A-Za-z_][\w.]*)\s*:", line)
        if key:
            entries.append((key[1], [line]))
        elif not entries or line.startswith("#"):
            entries.append(("", [line]))
        else:
            entries[-1][1].append(line)
    return entries


def refuse_other_changes(before: str, after: str, expected: Mapping[str, Any]) -> None:
    """Refuse an edited file that says anything else than it should.

    Parameters
    ----------
    expected
        What the online store's block is to be.

    Raises
    ------
    ConfigurationError
        Another key would change, or the block is not as expected.
    """
    import yaml

    old, new = yaml.safe_load(before), yaml.safe_load(after)
    same = {name: value for name, value in old.items() if name != KEY} == {
        name: value for name, value in new.items() if name != KEY
    }
    if not same or new.get(KEY) != expected:
        raise ConfigurationError(
            "feature_store.yaml could not be edited safely; nothing was changed",
            hint="write the online_store block as an indented block, a key a line",
        )
