"""The options of each subcommand of ``%feastra``.

An option's metavar says what its value may be, in the help and to completion alike: `FRAME` for a variable, `FEATURES` for
views and features, ``this|that`` for one of these words.
"""

from __future__ import annotations

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook.arguments import LineParser
from feastra_nb.shared_options import LATENCY_OPTIONS, add_shared

VIEW, FEATURES, FEATURE = "VIEW", "VIEW_OR_FEATURE", "VIEW:FEATURE"
FRAME, FRAME_OR_DICT, FRAME_OR_VIEW, WORKSPACE = "FRAME", "FRAME_OR_DICT", "FRAME_OR_VIEW", "WORKSPACE"
ALL = "all"  # rows, of a limit
CQL_EXAMPLE = "%%cql --limit 20\nSELECT * FROM plane_stats"


def of_any_connect(parser: LineParser) -> None:
    """Add what every way to connect takes."""
    parser.add_argument("--project", metavar="P", help="Feast project (a local node has a default)")
    parser.add_argument("--keyspace", metavar="K", help="keyspace (a local node has a default)")
    parser.add_argument("--directory", metavar="D", help="folder of registry and offline data (.feastra)")
    parser.add_argument("--retain", metavar="7d|all|latest", help="how much history new views keep")
    parser.add_flag("--read-only", "refuse everything that writes")


def of_connect(parser: LineParser) -> None:
    """Add the options of a plain connect."""
    of_any_connect(parser)
    parser.add_argument("--workspace", metavar=WORKSPACE, help="make this variable's workspace the current one")


def of_connect_hosts(parser: LineParser) -> None:
    """Add the options of a cluster."""
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="contact points")
    parser.add_argument("--port", type=int, help="port of the native protocol (9042)")
    parser.add_argument("--username", metavar="USER", help="user; the password is read from CASSANDRA_PASSWORD")
    of_any_connect(parser)


def of_connect_astra(parser: LineParser) -> None:
    """Add the options of Astra DB."""
    text = "name, id or API endpoint (ASTRA_DB_ID); the token is read from ASTRA_DB_APPLICATION_TOKEN"
    parser.add_argument("database", nargs="?", metavar="DATABASE", help=text)
    parser.add_argument("--region", metavar="R", help="one of the database's regions (its first)")
    parser.add_argument("--bundle", metavar="PATH", help="secure connect bundle, instead of a database")
    parser.add_flag("--resume", "wake a database that hibernates, and wait")
    parser.add_flag("--create-keyspace", "make the keyspace")
    of_any_connect(parser)


def of_views(parser: LineParser) -> None:
    """Add the text to search for."""
    parser.add_argument("search", nargs="?", metavar="SEARCH", help="only views with this text in them")


def of_materialize(parser: LineParser) -> None:
    """Add the options of writing a frame, and of writing a registered view."""
    parser.add_argument("data", metavar=FRAME_OR_VIEW, help="a variable with a DataFrame, or a registered view")
    parser.add_argument("view", nargs="?", metavar=VIEW, help="the view that the DataFrame becomes, or is added to")
    parser.add_argument("--keys", nargs="+", metavar="COLUMN", help="join key columns of the DataFrame")
    parser.add_argument("--timestamp", metavar="COLUMN", help="its event time column (event_timestamp)")
    parser.add_argument("--created", metavar="COLUMN", help="its created time column (the time of the call)")
    parser.add_argument("--ttl", metavar="30d", help="how long a value counts, online as offline (for ever)")
    parser.add_argument("--retain", metavar="7d|all|latest", help="how much history the view keeps")
    parser.add_argument("--description", metavar="TEXT", help="what the view is about")
    parser.add_argument("--owner", metavar="WHO", help="who answers for it")
    parser.add_flag("--allow-future", "take events more than five minutes ahead of the clock")
    add_shared(parser, "start", "end")


def of_online(parser: LineParser) -> None:
    """Add the options of an online read."""
    _features(parser, "features")
    parser.add_argument("--entities", metavar=FRAME_OR_DICT, required=True, help=_ENTITIES)
    parser.add_argument("--as-of", dest="as_of", metavar="WHEN", help="an instant, or a column of the entities")
    parser.add_argument(
        "--known-at", dest="known_at", metavar="INSTANT|as_of", help="count only what had arrived by then"
    )
    parser.add_flag("--timestamps", "add the event time of each value")
    parser.add_flag("--status", "add whether each value is there, and why not")
    parser.add_flag("--full-feature-names", "name columns view__feature")


def of_historical(parser: LineParser) -> None:
    """Add the options of a point-in-time join."""
    _features(parser, "features")
    text = "a variable: frame of keys and event_timestamp; in %%feastra historical the cell's query makes it"
    parser.add_argument("--entities", metavar=FRAME, help=text)
    parser.add_argument("--known-at", dest="known_at", metavar="as_of", help="count only what had been created by then")
    parser.add_flag("--full-feature-names", "name columns view__feature")


def of_skew(parser: LineParser) -> None:
    """Add the options of a comparison."""
    _features(parser, "view_or_features")
    add_shared(parser, "spine", "served", metavar=FRAME, frame="a variable: frame")
    add_shared(parser, "known-at", "sample", "rows-per-s", "resume")


def of_explain(parser: LineParser) -> None:
    """Add the options of one value's life."""
    parser.add_argument("feature", metavar=FEATURE, help="one feature")
    parser.add_argument(
        "entity", metavar=FRAME_OR_DICT, help="""join keys: a variable's name, or {'tailnum': 'N14228'}"""
    )
    parser.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="the instant (now)")


def of_latency(parser: LineParser) -> None:
    """Add the options of a measurement."""
    _features(parser, "features")
    add_shared(parser, "entities", metavar=FRAME_OR_DICT, frame="a variable: frame or dict")
    add_shared(parser, *LATENCY_OPTIONS, batch="1 10 100")


def cql_parser() -> LineParser:
    """Return the parser of the line of ``%%cql``."""
    parser = LineParser(
        "%%cql", "Run the CQL statement of the cell; a view's name stands for its table.", example=CQL_EXAMPLE
    )
    parser.add_argument("--limit", type=row_limit, metavar=f"N|{ALL}", help="the most rows to fetch (1000)")
    parser.add_output()
    return parser


def row_limit(text: str) -> int | None:
    """Return a number of rows; None for all.

    Examples
    --------
    >>> row_limit("20"), row_limit("all")
    (20, None)
    """
    if text == ALL:
        return None
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(f"--limit {text!r} is not a number of rows", hint=f"--limit 100, or --limit {ALL}")
    return int(text)


def none(parser: LineParser) -> None:
    """Add nothing: this subcommand has no options of its own."""


def _features(parser: LineParser, name: str) -> None:
    parser.add_argument(name, nargs="+", metavar=FEATURES, help="a view, or view:feature")


_ENTITIES = 'a variable (DataFrame or dict), or {"key": [values]}'
