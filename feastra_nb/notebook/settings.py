"""Settings of the magics in a project's own ``pyproject.toml``, under ``[tool.feastra]``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import ConfigurationError
from feastra_nb.notebook.arguments import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE, TABLE = "pyproject.toml", "[tool.feastra]"
FOLDERS = ("directory",)  # settings that are paths, relative to the file that they stand in


def read_settings(start: Path, known: Mapping[str, type]) -> dict[str, Any]:
    """Return the settings of the nearest ``pyproject.toml`` that has a ``[tool.feastra]``, looking upwards; {} for none.

    Parameters
    ----------
    start
        The folder to begin in.
    known
        The settings that there are, each with its type.

    Raises
    ------
    ConfigurationError
        A file is not TOML, or a setting is unknown or of another type.
    """
    for folder in (start, *start.parents):
        settings = _table(folder / FILE)
        if settings is not None:
            return {name: _checked(folder / FILE, name, value, known) for name, value in settings.items()}
    return {}


def _table(path: Path) -> Mapping[str, Any] | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: Mapping[str, Any] | None = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("feastra")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (ValueError, AttributeError) as exc:
        raise ConfigurationError(f"cannot read {path}: {exc}", hint="mend the file, then load the extension") from exc
    return table


def _checked(path: Path, name: str, value: Any, known: Mapping[str, type]) -> Any:
    if name not in known:
        raise unknown("setting", name, known, where=f"{TABLE} in {path}")
    kind = known[name]
    if type(value) is not kind:
        raise ConfigurationError(
            f"{name} = {value!r} in {TABLE} of {path} is a {type(value).__name__}",
            hint=f"it has to be {_ARTICLE[kind]}",
        )
    return str(path.parent / str(value)) if name in FOLDERS else value


_ARTICLE = {int: "a number", str: "a text"}
