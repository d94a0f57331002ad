"""Checks secure connect bundles and keeps them in the user's cache, readable only by the user."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.files import cache_dir, make_cache, make_private, write_private
from feastra_nb.errors import ConfigurationError, ConnectionFailed

if TYPE_CHECKING:
    from feastra_nb.connection.astra.api import Api
    from feastra_nb.connection.astra.databases import AstraDatabase

LIMIT_BYTES = 1_000_000  # a bundle has some 20 kB
MEMBER_LIMIT_BYTES = 5_000_000
MEMBERS = ("ca.crt", "cert", "key", "config.json")  # what the driver reads
_AGAIN = "fetch it again: fnb.Astra(database=…, token=…), or the Astra portal (Connect, Drivers)"


def fetch(api: Api, database: AstraDatabase, region: str) -> bytes:
    """Fetch the bundle of one of a database's regions, and check it.

    Raises
    ------
    ConnectionFailed
        It cannot be had, or is none.
    """
    answer = api.ask(f"/v2/databases/{database.id}/secureBundleURL?all=true")
    url = _address(answer, database, region)
    if url is None:
        raise ConnectionFailed(
            f"Astra names no bundle for the region {region!r} of {database}", hint="is the region still being added?"
        )
    content = api.download(url, LIMIT_BYTES)
    check(content, f"the bundle of {database} in {region}")
    return content


def _address(answer: Any, database: AstraDatabase, region: str) -> str | None:
    """Return the address for a region, of a list with one for each data centre, or of an object for the first alone."""
    every = [entry for entry in (answer if isinstance(answer, list) else [answer]) if isinstance(entry, dict)]
    centres = [name for name, where in database.centres if where == region]
    for entry in every:
        # The API has misspelt the name once, and keeps it.
        centre = entry.get("datacenterID") or entry.get("datcenterID")
        unnamed = len(every) == 1 and not centre and "region" not in entry and region == database.regions[0]
        if entry.get("downloadURL") and (entry.get("region") == region or centre in centres or unnamed):
            return str(entry["downloadURL"])
    return None


def check(content: bytes, what: str) -> None:
    """Make sure that a bundle is one: a whole zip with what the driver reads, and no member that leaves its folder.

    Raises
    ------
    ConnectionFailed
        It is not.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
            names = archive.namelist()
            large = [member.filename for member in archive.infolist() if member.file_size > MEMBER_LIMIT_BYTES]
            config = json.loads(archive.read("config.json")) if "config.json" in names else None
    except (zipfile.BadZipFile, ValueError, OSError) as exc:
        raise ConnectionFailed(f"{what} is damaged: {exc}", hint=_AGAIN) from exc
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    missing = [name for name in MEMBERS if name not in names]
    if broken or large or outside or missing or not isinstance(config, dict) or "host" not in config:
        reasons = [
            f"{title} {', '.join(problems)}"
            for title, problems in (
                ("it lacks", missing), ("damaged:", [broken] if broken else []), ("too large:", large),
                ("outside its folder:", outside),
            )
            if problems
        ]  # fmt: skip
        raise ConnectionFailed(f"{what} is not a secure connect bundle: {'; '.join(reasons) or 'no host'}", hint=_AGAIN)


def bundles_dir() -> Path:
    """Return the directory of the bundles that were fetched."""
    return cache_dir() / "bundles"


def cached_path(database_id: str, region: str) -> Path:
    """Return where the bundle of a database's region is kept."""
    return bundles_dir() / f"{database_id}-{region}.zip"


def keep(content: bytes, path: Path) -> Path:
    """Write a bundle where only the user can read it, at once or not at all.

    Raises
    ------
    ConfigurationError
        The cache cannot be written.
    """
    try:
        make_cache()
        make_private(path.parent).chmod(0o700)  # one that was there before too
        write_private(path, content)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot keep the bundle in {path.parent}: {exc}", hint="FEASTRA_CACHE names another folder"
        ) from exc
    return path


def check_file(path: Path) -> None:
    """Make sure that a file is a bundle.

    Raises
    ------
    ConfigurationError
        It is not there.
    ConnectionFailed
        It is none.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            f"the secure connect bundle {path} cannot be read: {exc.strerror}",
            hint="download it from the Astra portal (Connect, Drivers), or leave bundle= out and it is fetched",
        ) from exc
    check(content, f"{path}")
