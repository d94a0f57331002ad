"""Saves a report as a page, as data or as a picture."""

from __future__ import annotations

import json
import math
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from feastra_nb.reporting.report import Report


def save_report(report: Report, path: str | os.PathLike[str]) -> Path:
    """Save a report in the format that the path's suffix names.

    ``.html`` is a standalone page, ``.json`` is ``report.to_dict()`` with frames as records, ``.parquet`` is the
    report's frame, ``.png`` its plot, ``.hgrm`` (of a latency report) HdrHistogram's text. The file appears complete or
    not at all.

    Parameters
    ----------
    report
        The report.
    path
        Where to; an existing file is replaced. ``~`` is the home directory.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ConfigurationError
        If the suffix is none of these, or the directory does not exist.
    """
    target = Path(path).expanduser()
    writers = {**_WRITERS, ".hgrm": _write_hgrm} if hasattr(report, "to_hgrm") else _WRITERS
    writer = writers.get(target.suffix.lower())
    if writer is None:
        raise ConfigurationError(
            f"a report cannot be saved as {target.name!r}", hint=f"the suffixes are {', '.join(writers)}"
        )
    if not target.parent.is_dir():
        raise ConfigurationError(
            f"there is no directory {str(target.parent)!r} to save {target.name!r} in", hint="create it first"
        )
    _write_whole(target, lambda partial: writer(report, partial))
    return target


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write beside the target and move into its place: a reader never sees half a file."""
    # Not tempfile: its files are private to the user, and a saved report is to be shared.
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        write(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write_html(report: Report, path: Path) -> None:
    from feastra_nb.reporting import html

    title = f"Feastra NB: {type(report).__name__}"
    path.write_text(html.document(title, report._repr_html_()), encoding="utf-8")


def _write_json(report: Report, path: Path) -> None:
    content = json.dumps(plain(report.to_dict()), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(content + "\n", encoding="utf-8")


def _write_parquet(report: Report, path: Path) -> None:
    frame = report.frame
    # A column of a report may hold values of several features; a column of a parquet has one type.
    mixed = [name for name in frame.columns if frame[name].dtype == object and not _has_one_type(frame[name])]
    frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed}).to_parquet(path, index=False)


def _has_one_type(values: pd.Series[Any]) -> bool:
    return values.dropna().map(type).nunique() <= 1


def _write_hgrm(report: Any, path: Path) -> None:
    path.write_text(report.to_hgrm(), encoding="utf-8")


def _write_png(report: Report, path: Path) -> None:
    from feastra_nb.reporting import plots

    path.write_bytes(plots.png(report.plot))


_WRITERS: Mapping[str, Callable[[Report, Path], None]] = {
    ".html": _write_html,
    ".json": _write_json,
    ".parquet": _write_parquet,
    ".png": _write_png,
}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: frames as records, missing and non-finite numbers as null, times in ISO 8601.

    Examples
    --------
    >>> plain({"frame": pd.DataFrame({"n": [1], "p99_ms": [float("nan")]}), "at": pd.Timestamp("2026-01-01", tz="UTC")})
    {'frame': [{'n': 1, 'p99_ms': None}], 'at': '2026-01-01T00:00:00+00:00'}
    """
    if isinstance(value, pd.DataFrame):
        value = value.to_dict("records")
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a scalar or an array of numpy's
        converted = value.tolist()
        return plain(converted) if isinstance(converted, list) else _plain_scalar(converted)
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
