"""The jars of Cassandra and all it needs at run time, resolved and downloaded once, without Maven.

``jgo`` resolves; the downloads are ours, so that a jar is either whole and checked or not there at all. A manifest is
written when everything is there; from then on only the manifest is read, and no network is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.files import cache_dir, make_private, write_private
from feastra_nb.connection.local.files import locked, make_cache
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from pathlib import Path

CASSANDRA_VERSION = "5.0.8"
_COORDINATE = f"org.apache.cassandra:cassandra-all:{CASSANDRA_VERSION}"
_REQUEST_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 900.0  # another process may be downloading over a slow line
_PARALLEL = 4  # polite to the registry, and enough to fill a usual line
_CHUNK_BYTES = 1 << 16
_MB = 1_000_000
_OFFLINE_HINT = (
    "the first start downloads about 100 jars (67 MB) from the Maven Central repository: let this machine reach it "
    "over HTTPS (HTTPS_PROXY is honoured, so is a mirror in jgo's configuration), or run `feastra fetch` where there "
    "is a network and copy the cache directory here (FEASTRA_CACHE); what was downloaded already is kept"
)


def jars_dir() -> Path:
    """Return the directory of the downloaded jars."""
    return cache_dir() / "jars"


def fetch_jars(*, progress: bool = True) -> tuple[Path, ...]:
    """Return the jars of Cassandra in class path order, after downloading what is not here yet.

    Parameters
    ----------
    progress
        Show one line of progress on stderr while downloading.

    Raises
    ------
    LocalNodeFailed
        A jar could not be downloaded. Whole jars are kept: the next call goes on from there.
    """
    if jars := _jars_of_manifest():
        return jars
    make_cache()
    with locked(jars_dir() / "fetch.lock", timeout_s=_LOCK_TIMEOUT_S):
        if jars := _jars_of_manifest():  # another process was faster
            return jars
        _clear_rubbish()
        jars = _download_all(progress=progress)
        sizes = {str(jar.relative_to(jars_dir())): jar.stat().st_size for jar in jars}
        write_private(_manifest_path(), json.dumps({"cassandra": CASSANDRA_VERSION, "size_bytes": sizes}, indent=1))
    return jars


def _manifest_path() -> Path:
    return jars_dir() / f"cassandra-{CASSANDRA_VERSION}.json"


def _jars_of_manifest() -> tuple[Path, ...]:
    """Return the jars if every one of them is here in its full size, else nothing."""
    sizes = _manifest_sizes()
    if all(_has_size(jars_dir() / name, size) for name, size in sizes.items()):
        return tuple(jars_dir() / name for name in sizes)
    return ()


def _manifest_sizes() -> dict[str, int]:
    try:
        return dict(json.loads(_manifest_path().read_text("utf-8"))["size_bytes"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or cut short by a full disk
        return {}


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _clear_rubbish() -> None:
    """Delete what a killed download left, and jars that were cut since: the resolver takes what is there as whole."""
    for part in jars_dir().rglob("*.part"):
        part.unlink()
    for name, size in _manifest_sizes().items():
        if not _has_size(jars_dir() / name, size):
            (jars_dir() / name).unlink(missing_ok=True)


def _download_all(*, progress: bool) -> tuple[Path, ...]:
    import requests

    from feastra_nb.progress import bar

    what = f"Fetching Cassandra {CASSANDRA_VERSION}"
    try:
        with bar(None, f"{what}: looking up what it needs", "jars", shown=progress) as shown:
            artifacts = _resolve()
            shown.reset(total=len(artifacts))
            shown.set_description(what)
            jars = _download_jars(artifacts, shown)
            total_mb = sum(jar.stat().st_size for jar in jars) / _MB
            shown.set_description(f"{what} ({total_mb:.0f} MB)")
            return jars
    except (requests.RequestException, OSError, RuntimeError) as error:
        # jgo's messages name its repositories; the reason is in their first line.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise LocalNodeFailed(
            f"Cassandra {CASSANDRA_VERSION} could not be downloaded ({reason})", hint=_OFFLINE_HINT
        ) from error


def _download_jars(artifacts: list[Any], bar: Any) -> tuple[Path, ...]:
    """Download in a few threads; the first failure, and Ctrl-C, calls off what has not begun."""
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="feastra-fetch")
    try:
        jars = []
        for jar in pool.map(lambda artifact: artifact.resolve(), artifacts):
            jars.append(jar)
            bar.update()
        return tuple(jars)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _resolve() -> list[Any]:
    """Return the artifacts of Cassandra and of its dependencies at run time; only their descriptions are downloaded."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    repositories = GlobalSettings.load().repositories  # the user's mirrors, if any
    context = MavenContext(
        resolver=_checking_resolver(),
        repo_cache=make_private(jars_dir()),
        remote_repos=repositories or None,
        timeout=_REQUEST_TIMEOUT_S,
    )
    inputs, dependencies = context.resolver.resolve([context.create_dependency(_COORDINATE)])
    needed = [*inputs, *(each for each in dependencies if each.scope in {"compile", "runtime"})]
    return [each.artifact for each in needed]


def _checking_resolver() -> Any:
    """Return jgo's resolver with downloads that are atomic and must match their published checksum."""
    from jgo.maven import PythonResolver

    class CheckingResolver(PythonResolver):
        def download(self, artifact: Any) -> Path | None:
            urls = [
                f"{repository.rstrip('/')}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
                for repository in artifact.context.remote_repos.values()
            ]
            for url in urls:
                if _download(url, artifact.cached_path):
                    return artifact.cached_path
            raise RuntimeError(f"{artifact} is in none of the repositories")

    return CheckingResolver()


def _download(url: str, path: Path) -> bool:
    """Download one file next to its place, check it, then move it there; False where the repository has none."""
    from jgo.util import http

    with http.get(url, stream=True, timeout=_REQUEST_TIMEOUT_S) as answer:
        if answer.status_code == 404:  # noqa: PLR2004  not found
            return False
        answer.raise_for_status()
        make_private(path.parent)
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            sha1 = hashlib.sha1(usedforsecurity=False)  # what Maven repositories publish
            with part.open("wb") as file:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    sha1.update(chunk)
            _check(url, path.name, sha1.hexdigest())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return True


def _check(url: str, name: str, actual: str) -> None:
    from jgo.util import http

    answer = http.get(f"{url}.sha1", timeout=_REQUEST_TIMEOUT_S)
    answer.raise_for_status()
    expected = answer.text.split()[0].lower() if answer.text.strip() else ""
    if expected != actual:
        raise OSError(f"{name} arrived damaged: its SHA-1 is {actual}, published is {expected or 'nothing'}")
