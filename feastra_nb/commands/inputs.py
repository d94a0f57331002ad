"""Shared by the commands that read a feature store: choosing the store, loading frames, printing errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError, FeastraError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import pandas as pd

    from feastra_nb.migration.reports import MigrationReport
    from feastra_nb.workspace import Workspace

# Not 1: that says that what was looked for is there, such as skew, or a missed objective.
EXIT_UNKNOWN = 2
EXIT_PROBLEMS = 1  # of a step of a migration


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which feature store is meant."""
    parser.add_argument("--repo", metavar="DIR", help="Feast repository (default: the current folder where it is one)")
    parser.add_argument(
        "--directory", default=".feastra", metavar="DIR", help="else the folder of the workspace (.feastra)"
    )


FRAME_FILE = "csv or parquet"


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the option of every command that shows progress."""
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run_step(arguments: argparse.Namespace, step: Callable[[Workspace], MigrationReport], *, read_only: bool) -> int:
    """Open the feature store, take one step of a migration, print and save its report, and return its exit code."""
    try:
        with open_workspace(arguments, read_only=read_only) as ws:
            report = step(ws)
    except ConfigurationError as error:
        tell(error)
        return EXIT_PROBLEMS
    except FeastraError as error:
        return tell(error)
    print(report)
    for path in arguments.save:
        print(f"saved: {report.save(path)}")
    return int(report.exit_code)


def open_workspace(arguments: argparse.Namespace, *, read_only: bool = True) -> Workspace:
    """Open the feature store that the options mean: a Feast repository, or a workspace's folder."""
    from feastra_nb.workspace import connect

    repo = arguments.repo
    if repo is None and Path("feature_store.yaml").is_file():
        repo = "."
    if repo is not None:
        return connect(repo=repo, read_only=read_only)
    return connect(directory=arguments.directory)


def views_served_online(ws: Workspace) -> list[str]:
    """Return the names of the views that are served online.

    Raises
    ------
    ConfigurationError
        There are none.
    """
    names = sorted(view.name for view in ws.feast.list_feature_views() if view.online)
    if not names:
        raise ConfigurationError(
            "the feature store has no view that is served online", hint="feast apply registers views"
        )
    return names


def read_frame(path: str) -> pd.DataFrame:
    """Read a csv or parquet file.

    Raises
    ------
    ConfigurationError
        It is neither, or not there.
    """
    import pandas as pd

    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    suffix = Path(path).suffix
    if suffix not in readers or not Path(path).is_file():
        raise ConfigurationError(f"{path!r} is not a csv or parquet file", hint="one with the join keys as columns")
    frame: pd.DataFrame = readers[suffix](path)
    return frame


def read_block(path: str) -> dict[str, Any]:
    """Read a yaml file with keys of an ``online_store`` block; ``${VAR}`` stays as it is.

    Raises
    ------
    ConfigurationError
        It cannot be read, or holds something else.
    """
    import yaml

    try:
        block = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"cannot read {path!r}: {error}", hint="a yaml file with keys of an online_store block"
        ) from error
    if not isinstance(block, dict):
        raise ConfigurationError(
            f"{path!r} holds no mapping", hint="keys of an online_store block, such as keyspace: features"
        )
    return block


def tell(error: FeastraError, *, about: str = "") -> int:
    """Print an error with its hint, and return the exit code for what could not be told."""
    print(f"error: {about}{': ' * bool(about)}{error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return EXIT_UNKNOWN
