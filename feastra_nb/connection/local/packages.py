"""The jars of Cassandra and all it needs at run time: pinned by name, size and SHA-256, downloaded once, without Maven.

``jars.lock`` beside this module lists them; `pinning` makes it. A repository is only believed as far as that list goes.
Every start hashes all of them again (0.1 s for 69 MB), so that no jar runs that is not the pinned one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feastra_nb.connection.files import cache_dir, make_private
from feastra_nb.connection.local.files import locked, make_cache
from feastra_nb.errors import LocalNodeFailed

CASSANDRA_VERSION = "5.0.8"
LOCK_FILE = Path(__file__).with_name("jars.lock")
REQUEST_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 900.0  # another process may be downloading over a slow line
_PARALLEL = 4  # polite to the registry, and enough to fill a usual line
_CHUNK_BYTES = 1 << 16
_MB = 1_000_000
_OFFLINE_HINT = (
    "the first start downloads about 100 jars (69 MB) from the Maven Central repository: let this machine reach it "
    "over HTTPS (HTTPS_PROXY is honoured, so is a mirror in jgo's configuration), or run `feastra fetch` where there "
    "is a network and copy the cache directory here (FEASTRA_CACHE); what was downloaded already is kept"
)
_CHANGED_HINT = (
    "nothing of it was kept. Run `feastra fetch` again; if that says the same, the repository serves something else: "
    "look at the mirror in jgo's configuration and at HTTPS_PROXY"
)


@dataclass(frozen=True, slots=True)
class PinnedJar:
    """One line of the lock file.

    Attributes
    ----------
    coordinate
        ``group:artifact:version``, with ``:classifier`` where it has one.
    size_bytes, sha256
        What the file must have.
    """

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def location(self) -> str:
        """Return the path in a repository, and below our folder of jars.

        Examples
        --------
        >>> PinnedJar("org.example:thing:1.0:linux", 0, "").location
        'org/example/thing/1.0/thing-1.0-linux.jar'
        """
        group, artifact, version, *classifier = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{'-'.join([artifact, version, *classifier])}.jar"

    @property
    def path(self) -> Path:
        """Return where the jar is in the cache."""
        return jars_dir() / self.location

    def is_whole(self) -> bool:
        """Return whether the cache holds this very file."""
        try:
            return self.path.stat().st_size == self.size_bytes and sha256_of(self.path) == self.sha256
        except OSError:
            return False


def jars_dir() -> Path:
    """Return the directory of the downloaded jars."""
    return cache_dir() / "jars"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pinned_jars() -> tuple[PinnedJar, ...]:
    """Return the jars of the lock file, in class path order.

    Examples
    --------
    >>> pinned_jars()[0].coordinate
    'org.apache.cassandra:cassandra-all:5.0.8'
    """
    lines = (line.split() for line in LOCK_FILE.read_text("ascii").splitlines() if not line.startswith("#"))
    return tuple(PinnedJar(coordinate, int(size), sha256) for sha256, size, coordinate in lines)


def fetch_jars(*, progress: bool = True) -> tuple[Path, ...]:
    """Return the jars of Cassandra in class path order, after downloading what is not here yet.

    Parameters
    ----------
    progress
        Show one line of progress on stderr while downloading.

    Raises
    ------
    LocalNodeFailed
        A jar could not be downloaded, or is not the pinned one. Whole jars are kept: the next call goes on from there.
    """
    jars = pinned_jars()
    if _missing(jars):
        make_cache()
        with locked(jars_dir() / "fetch.lock", timeout_s=_LOCK_TIMEOUT_S):
            _clear_rubbish()
            if missing := _missing(jars):  # else another process was faster
                _download_all(jars, missing, progress=progress)
    return tuple(jar.path for jar in jars)


def repositories() -> list[str]:
    """Return the addresses of the Maven repositories: the user's mirrors, else Maven Central."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=jars_dir(), remote_repos=GlobalSettings.load().repositories or None)
    return [address.rstrip("/") for address in context.remote_repos.values()]


def _missing(jars: tuple[PinnedJar, ...]) -> list[PinnedJar]:
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return [jar for jar, whole in zip(jars, pool.map(PinnedJar.is_whole, jars), strict=True) if not whole]


def _clear_rubbish() -> None:
    """Delete what a killed download left."""
    for part in jars_dir().rglob("*.part"):
        part.unlink()


def _download_all(jars: tuple[PinnedJar, ...], missing: list[PinnedJar], *, progress: bool) -> None:
    import requests

    from feastra_nb.reporting.progress import bar

    what = f"Fetching Cassandra {CASSANDRA_VERSION} ({sum(jar.size_bytes for jar in jars) / _MB:.0f} MB)"
    try:
        with bar(len(jars), what, "jars", shown=progress) as shown:
            shown.update(len(jars) - len(missing))
            _download_jars(missing, shown)
    except (requests.RequestException, OSError) as error:
        # The messages of requests name the address; the reason is in their first line.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise LocalNodeFailed(
            f"Cassandra {CASSANDRA_VERSION} could not be downloaded ({reason})", hint=_OFFLINE_HINT
        ) from error


def _download_jars(jars: list[PinnedJar], bar: Any) -> None:
    """Download in a few threads; the first failure, and Ctrl-C, calls off what has not begun."""
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="feastra-fetch")
    addresses = repositories()
    try:
        for _ in pool.map(lambda jar: _download(jar, addresses), jars):
            bar.update()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _download(jar: PinnedJar, addresses: list[str]) -> None:
    """Take a jar from the first repository that has it."""
    if not any(_download_from(f"{address}/{jar.location}", jar) for address in addresses):
        raise FileNotFoundError(f"{jar.coordinate} is in none of the repositories")


def _download_from(url: str, jar: PinnedJar) -> bool:
    """Download one jar next to its place, check it, then move it there; False where the repository has none."""
    from jgo.util import http

    with http.get(url, stream=True, timeout=REQUEST_TIMEOUT_S) as answer:
        if answer.status_code == 404:  # noqa: PLR2004  not found
            return False
        answer.raise_for_status()
        make_private(jar.path.parent)
        part = jar.path.with_name(f"{jar.path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
            _check(part, jar)
            part.replace(jar.path)
        finally:
            part.unlink(missing_ok=True)
    return True


def _check(part: Path, jar: PinnedJar) -> None:
    actual = sha256_of(part)
    if actual != jar.sha256:
        raise LocalNodeFailed(
            f"{jar.path.name} arrived damaged, or is not the one that feastra_nb pins: its SHA-256 is {actual}, "
            f"pinned is {jar.sha256}",
            hint=_CHANGED_HINT,
        )
