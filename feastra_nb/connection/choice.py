"""Chooses the default target of `connect()`: the environment, then the saved profile, then a local Cassandra."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from feastra_nb.connection.astra.access import KEYSPACE_VARIABLE, with_environment
from feastra_nb.connection.files import make_private, write_private
from feastra_nb.connection.targets import DEFAULT_PORT, Astra, Hosts, Local, Target
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("feastra_nb.connection")
_REMEMBERED = (
    "nodes",
    "heap_mb",
    "name",
    "hosts",
    "port",
    "username",
    "local_dc",
    "database",
    "region",
    "bundle",
    "devops_url",
)


def choose_target(environment: Mapping[str, str] | None = None) -> tuple[Target, str | None]:
    """Return the target that environment or profile name, and its keyspace; ``Local()`` where neither does.

    Read from the environment: a database (``ASTRA_DB_ID``, ``ASTRA_DB_DATABASE_ID``, ``ASTRA_DB_API_ENDPOINT``) or a bundle
    (``ASTRA_DB_SECURE_BUNDLE_PATH``), with ``ASTRA_DB_APPLICATION_TOKEN`` (and ``ASTRA_DB_KEYSPACE``), or
    ``CASSANDRA_CONTACT_POINTS`` with ``CASSANDRA_PORT``, ``CASSANDRA_USERNAME``, ``CASSANDRA_PASSWORD``, ``CASSANDRA_KEYSPACE``.

    Examples
    --------
    >>> choose_target({"CASSANDRA_CONTACT_POINTS": "10.0.0.1,10.0.0.2", "CASSANDRA_KEYSPACE": "features"})[1]
    'features'
    """
    return configured(environment) or (Local(), None)


def configured(environment: Mapping[str, str] | None = None) -> tuple[Target, str | None] | None:
    """Return what `choose_target` does; None where neither environment nor profile name anything.

    Examples
    --------
    >>> configured({"FEASTRA_PROFILE": "/nowhere/profile.json"}) is None
    True
    """
    env = os.environ if environment is None else environment
    astra = with_environment(Astra(), env)
    if astra.database or astra.bundle:
        return astra, env.get(KEYSPACE_VARIABLE)
    points = env.get("CASSANDRA_CONTACT_POINTS")
    if points:
        return _hosts(points, env), env.get("CASSANDRA_KEYSPACE")
    return _from_profile(profile_path(env), env)


def remember(target: Target, keyspace: str | None) -> None:
    """Write the profile: what leads to a target, never a secret. A folder that cannot be written is only logged.

    Parameters
    ----------
    keyspace
        None for the target's default.
    """
    public = {field.name: getattr(target, field.name) for field in fields(target) if field.name in _REMEMBERED}
    given = {name: value for name, value in public.items() if value is not None}
    profile = {"target": type(target).__name__.lower(), **given, **({"keyspace": keyspace} if keyspace else {})}
    path = profile_path()
    try:
        make_private(path.parent)
        write_private(path, json.dumps(profile, indent=2) + "\n")
    except OSError as exc:
        log.warning("the profile %s cannot be written: %s", path, exc.strerror)


def profile_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return where the profile is kept: a JSON of a target's public part, never of a secret."""
    env = os.environ if environment is None else environment
    if env.get("FEASTRA_PROFILE"):
        return Path(env["FEASTRA_PROFILE"])
    import platformdirs

    return Path(platformdirs.user_config_dir("feastra_nb")) / "profile.json"


def _hosts(points: str, env: Mapping[str, str]) -> Hosts:
    return Hosts(
        [point.strip() for point in points.split(",") if point.strip()],
        port=_port(env.get("CASSANDRA_PORT") or str(DEFAULT_PORT)),
        username=env.get("CASSANDRA_USERNAME"),
        password=env.get("CASSANDRA_PASSWORD"),
    )


def _port(text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"CASSANDRA_PORT is {text!r}, no port", hint=f"a number, such as {DEFAULT_PORT}")
    return int(text)


def _from_profile(path: Path, env: Mapping[str, str]) -> tuple[Target, str | None] | None:
    kinds = {"local": Local, "hosts": Hosts, "astra": Astra}
    try:
        profile = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"cannot read the profile {path}: {exc}", hint="mend or delete it") from exc
    try:
        keyspace = profile.pop("keyspace", None)
        kind = kinds[profile.pop("target")]
        if kind is Hosts and profile.get("username"):
            profile["password"] = env.get("CASSANDRA_PASSWORD")
        return kind(**profile), keyspace
    except (KeyError, TypeError) as exc:
        raise ConfigurationError(
            f"the profile {path} is not understood: {exc}",
            hint='{"target": "hosts", "hosts": ["10.0.0.1"], "keyspace": "features"}',
        ) from exc


def local_names(directory: Path) -> tuple[str, str]:
    """Return the project and keyspace of a folder on a local node, made from its absolute path so that no two meet.

    Examples
    --------
    >>> local_names(Path("/home/me/My flights/.feastra"))
    ('my_flights_a430b5', 'feastra_a430b5')
    """
    absolute = directory.absolute()
    digest = hashlib.sha256(str(absolute).encode()).hexdigest()[:6]
    slug = re.sub(r"[^a-z0-9]+", "_", absolute.parent.name.lower()).strip("_")[:30] or "notebook"
    return f"{slug}_{digest}", f"feastra_{digest}"
