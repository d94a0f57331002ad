"""The options that ``%feastra`` and ``feastra`` share: one declaration each, so that both take the same words and say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is written, and what it means.

    Parameters
    ----------
    names
        Its name, and what it was called before.
    help
        In brackets what holds without it; ``{frame}`` stands for where a frame is taken from.
    metavar
        What its value may be; ``this|that`` is one of these words. None for a flag.
    type, nargs, dest
        As argparse has them.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    type: Callable[[str], Any] = str
    nargs: str | None = None
    dest: str | None = None


SHARED: Mapping[str, Option] = {
    option.names[0].lstrip("-"): option
    for option in (
        # comparing
        Option(("--spine",), "compare as of each row: {frame} with the join keys and event_timestamp", "FRAME"),
        Option(
            ("--served",), "compare values that were logged: {frame} with them, join keys and event_timestamp", "FRAME"
        ),
        Option(("--known-at",), "count online only what had arrived by then, with --spine", "as_of"),
        Option(("--rows-per-s",), "read at most this many rows a second of the online table (no limit)", "N", float),
        Option(("--resume",), "go on with a long comparison that was stopped"),
        Option(("--sample",), "compare at most this many entities, or rows of the frame (all)", "N", int),
        # measuring
        Option(("--entities",), "{frame} with the join keys (sampled from the store)", "FRAME"),
        Option(("--rate",), "requests a second, on a schedule (one after another)", "R", float),
        Option(("--arrivals",), "how the schedule spaces them (constant)", "constant|poisson"),
        Option(("--concurrency",), "callers at a time, without --rate (1)", "N", int),
        Option(("--seconds",), "how long to measure each setting (10)", "S", float),
        Option(("--warmup", "--warmup-s"), "how long to call before that (1)", "S", float, dest="warmup_s"),
        Option(("--batch",), "entities a call ({batch})", "N", int, "+"),
        Option(("--consistency",), "consistency levels (as connected)", "LEVEL", nargs="+"),
        Option(("--target",), "what to call; a URL of feast serve (feast)", "feast|driver|URL", nargs="+"),
        Option(("--keys",), "which entities are asked for; zipf: few get most requests (uniform)", "uniform|zipf"),
        Option(("--yes",), "agree to what it costs, where use is billed (Astra)"),
        # materializing a registered view
        Option(("--start",), "from this event time (where the last run ended, less a lookback)", "INSTANT"),
        Option(("--end",), "up to this event time (now)", "INSTANT"),
    )
}


# Of a measurement, but for the entities.
LATENCY_OPTIONS = (
    "rate",
    "arrivals",
    "concurrency",
    "seconds",
    "warmup",
    "batch",
    "consistency",
    "target",
    "keys",
    "yes",
)


def add_shared(parser: argparse.ArgumentParser, *names: str, metavar: str | None = None, **places: str) -> None:
    """Add shared options to a parser.

    Parameters
    ----------
    names
        Those of `SHARED`.
    metavar
        Instead of the options' own.
    places
        What stands for the places in their help, such as ``frame="csv or parquet"``.
    """
    for name in names:
        option = SHARED[name]
        dest, text = option.dest or name.replace("-", "_"), option.help.format(**places)
        if option.metavar is None:
            parser.add_argument(*option.names, dest=dest, action="store_true", help=text)
        else:
            parser.add_argument(
                *option.names,
                dest=dest,
                type=option.type,
                nargs=option.nargs,
                metavar=metavar or option.metavar,
                help=text,
            )
