"""Estimates what an operation costs on a metered database such as Astra, shows it first, and asks before a large one.

Astra counts a read for every 4 KB of a partition that a query returns, and a write for every 1 KB or deletion
(docs.datastax.com, "Astra DB Serverless billing and usage").
"""

from __future__ import annotations

import sys
from typing import Any

from feastra_nb.errors import ConfigurationError


def is_billed(block: Any) -> bool:
    """Return whether an ``online_store`` block is of a store on Astra."""
    return any(getattr(block, name, None) is not None for name in ("astra", "secure_bundle_path"))


def show_use(block: Any, what: str, *, reads: int | None, deletes: bool = False) -> None:
    """Say on stderr what an operation is going to cost, where it costs anything.

    Parameters
    ----------
    reads
        Estimated; None where that is not known beforehand.
    deletes
        Whether it deletes too: at most once an entity.
    """
    if is_billed(block):
        sys.stderr.write(f"{_sentence(what, reads, deletes=deletes)}\n")


def agree(block: Any, what: str, *, reads: int | None, yes: bool) -> None:
    """Have the user agree to an operation that is billed, in a terminal or notebook; do nothing where it is not.

    Raises
    ------
    ConfigurationError
        Nobody agreed, or nobody can be asked.
    """
    if not is_billed(block):
        return
    if yes:
        show_use(block, what, reads=reads)
        return
    hint = "yes=True (or --yes) agrees beforehand"
    try:
        answer = input(f"{_sentence(what, reads)} Go on? [y/N] ")
    except (EOFError, NotImplementedError, OSError) as exc:  # no terminal, and no front end that asks
        raise ConfigurationError(f"{_sentence(what, reads)} Nobody can be asked here.", hint=hint) from exc
    if answer.strip().lower() not in {"y", "yes"}:
        raise ConfigurationError(f"{what} was not agreed to", hint=hint)


def _sentence(what: str, reads: int | None, *, deletes: bool = False) -> str:
    read = "as many reads as the database answers in that time" if reads is None else f"about {reads:,} reads"
    return f"Astra bills by use: {what} takes {read}{', and a write for each entity that it deletes of' if deletes else ''}."
