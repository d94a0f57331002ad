"""What an operation costs where use is billed, as on Astra: estimated and shown before it, and asked where it is a lot.

Astra counts a read for every 4 KB of a partition that a query returns, and a write for every 1 KB or deletion
(docs.datastax.com, "Astra DB Serverless billing and usage").
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from feastra_nb.errors import ConfigurationError
from feastra_nb.storage.pruning import TOKEN_RANGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.latency.runner import Load
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.journal import Run
    from feastra_nb.workspace import Workspace

READ_BYTES = 4_096
# Key, three instants and the frame around them; a feature of most types, with its tag and length.
ROW_BYTES, FEATURE_BYTES = 80, 12
GENTLE_RATE = 10.0  # requests a second of a latency run that names neither rate nor callers


def is_billed(ws: Workspace) -> bool:
    """Return whether the online store is on Astra: by target, or by the repository's yaml."""
    online = ws.feast.config.online_store
    return any(getattr(online, name, None) is not None for name in ("astra", "secure_bundle_path"))


def show_use(ws: Workspace, what: str, *, reads: int | None, deletes: bool = False) -> None:
    """Say on stderr what an operation is going to cost, where it costs anything.

    Parameters
    ----------
    reads
        Estimated; None where that is not known beforehand.
    deletes
        Whether it deletes too: at most once an entity.
    """
    if is_billed(ws):
        sys.stderr.write(f"{_sentence(what, reads, deletes=deletes)}\n")


def agree(ws: Workspace, what: str, *, reads: int | None, yes: bool) -> None:
    """Have the user agree to an operation that is billed, in a terminal or notebook; do nothing where it is not.

    Raises
    ------
    ConfigurationError
        Nobody agreed, or nobody can be asked.
    """
    if not is_billed(ws):
        return
    if yes:
        show_use(ws, what, reads=reads)
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


def gentle(ws: Workspace, load: Load) -> Load:
    """Return a load of ten requests a second where use is billed and neither rate nor callers were chosen."""
    if load.rate is not None or load.concurrency != 1 or not is_billed(ws):
        return load
    return replace(load, rate=GENTLE_RATE)


def latency_reads(load: Load, *, settings: int, entities: int, sampled: int) -> int | None:
    """Return the reads of a latency run, None for a closed loop.

    Parameters
    ----------
    settings
        Targets times consistency levels times views.
    entities
        Of one request of each batch size, summed.
    sampled
        Entities that are looked for in the store beforehand.

    Examples
    --------
    >>> from feastra_nb.latency.runner import Load
    >>> latency_reads(Load(rate=10, seconds=10, warmup_s=1), settings=1, entities=111, sampled=0)
    12210
    """
    if load.rate is None:
        return None
    return sampled + settings * entities * round(load.rate * (load.seconds + load.warmup_s))


def scan_reads(entry: ViewEntry, runs: Sequence[Run]) -> int:
    """Return the reads of a scan of a view's whole table, from what the journal says was written into it."""
    rows = sum(run.rows for run in runs if run.writes and run.generation == entry.generation)
    return TOKEN_RANGES - (-rows * (ROW_BYTES + FEATURE_BYTES * len(entry.slots)) // READ_BYTES)
