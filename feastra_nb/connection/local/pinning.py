"""Makes ``jars.lock``, the list of Cassandra's jars with their SHA-256: ``make jars``.

For maintainers, when Cassandra's version changes. ``jgo`` resolves what Cassandra needs at run time; each file is checked
against the checksum that its repository publishes, in a folder that has held nothing before. Read the difference before it
is committed: from then on every user's download is held to it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from feastra_nb.connection.local.packages import (
    CASSANDRA_VERSION,
    LOCK_FILE,
    REQUEST_TIMEOUT_S,
    PinnedJar,
    repositories,
    sha256_of,
)

_HEADER = "# Made by `make jars`; every download is held to it. SHA-256, bytes, group:artifact:version[:classifier]\n"


def main() -> None:
    """Write the lock file anew."""
    with tempfile.TemporaryDirectory(prefix="feastra-pins-") as folder:
        jars = [_pin(artifact) for artifact in _resolve(Path(folder))]
    LOCK_FILE.write_text(lock_text(jars), "ascii")


def lock_text(jars: list[PinnedJar]) -> str:
    """Return the content of the lock file.

    Examples
    --------
    >>> print(lock_text([PinnedJar("org.example:thing:1.0", 7, "0a")]).splitlines()[1])
    0a 7 org.example:thing:1.0
    """
    return _HEADER + "".join(f"{jar.sha256} {jar.size_bytes} {jar.coordinate}\n" for jar in jars)


def _resolve(folder: Path) -> list[Any]:
    """Return the artifacts of Cassandra and of its dependencies at run time, as jgo knows them."""
    from jgo.maven import MavenContext

    context = MavenContext(
        repo_cache=folder,
        remote_repos={f"repository-{number}": address for number, address in enumerate(repositories())},
        timeout=REQUEST_TIMEOUT_S,
    )
    cassandra = context.create_dependency(f"org.apache.cassandra:cassandra-all:{CASSANDRA_VERSION}")
    inputs, dependencies = context.resolver.resolve([cassandra])
    return [
        each.artifact
        for each in (
            *inputs,
            *(dependency for dependency in dependencies if dependency.scope in {"compile", "runtime"}),
        )
    ]


def _pin(artifact: Any) -> PinnedJar:
    """Download an artifact, hold it to its repository's own checksum, and return its line of the lock file.

    Raises
    ------
    ValueError
        It differs from what the repository publishes, or is not where its coordinate says.
    """
    path = artifact.resolve()
    component = artifact.component
    names = [component.groupId, component.artifactId, component.version, *filter(None, [artifact.classifier])]
    jar = PinnedJar(":".join(names), path.stat().st_size, sha256_of(path))
    if not path.as_posix().endswith(jar.location):
        raise ValueError(f"{jar.coordinate} is at {path.name}, not at {jar.location}")
    sha1 = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()  # what all repositories publish
    if sha1 not in _published_sha1s(jar.location):
        raise ValueError(f"{path.name} arrived damaged: its SHA-1 is {sha1}, which no repository publishes")
    return jar


def _published_sha1s(location: str) -> set[str]:
    from jgo.util import http

    answers = [http.get(f"{address}/{location}.sha1", timeout=REQUEST_TIMEOUT_S) for address in repositories()]
    return {answer.text.split()[0].lower() for answer in answers if answer.ok and answer.text.strip()}


if __name__ == "__main__":
    main()
