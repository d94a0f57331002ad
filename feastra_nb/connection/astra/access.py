"""Resolves an Astra database, from arguments or the environment, to credentials and a bundle on disk."""

from __future__ import annotations

import getpass
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from feastra_nb.connection.astra import bundle
from feastra_nb.connection.astra.api import PUBLIC_URL, Api
from feastra_nb.connection.astra.databases import Databases, known_id
from feastra_nb.connection.secrets import Secret
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.connection.astra.databases import AstraDatabase
    from feastra_nb.connection.targets import Astra

TOKEN_VARIABLE = "ASTRA_DB_APPLICATION_TOKEN"  # noqa: S105 - the name of a variable, not its value
DATABASE_VARIABLES = ("ASTRA_DB_ID", "ASTRA_DB_DATABASE_ID", "ASTRA_DB_API_ENDPOINT")
BUNDLE_VARIABLE, REGION_VARIABLE, KEYSPACE_VARIABLE = (
    "ASTRA_DB_SECURE_BUNDLE_PATH",
    "ASTRA_DB_REGION",
    "ASTRA_DB_KEYSPACE",
)
URL_VARIABLE = "ASTRA_DEVOPS_URL"
TOKEN_USER = "token"  # noqa: S105 - the user name that goes with every token
DEFAULT_KEYSPACE = "default_keyspace"  # of a new database, as the portal calls it
KEYRING = ("feastra_nb", "astra")  # service and name of the entry
_TOKEN_HINT = (
    'fnb.Astra(token="AstraCS:…") or ASTRA_DB_APPLICATION_TOKEN; one is made in the Astra portal, Settings, Tokens'  # noqa: S105
)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a database.

    Parameters
    ----------
    bundle
        Path of its secure connect bundle.
    database_id, region
        Which one it was fetched for; None for a bundle that was given.
    devops_url
        Where the API is, if not the public one.
    """

    username: str
    password: Secret
    bundle: Path
    database_id: str | None = None
    region: str | None = None
    devops_url: str | None = None


def access(target: Astra, keyspace: str | None = None, *, environment: Mapping[str, str] | None = None) -> Access:
    """Find out how to reach a database: arguments first, then the environment, the keyring, and a prompt.

    The API is asked only for what is not known: with id, region and a bundle in the cache, for nothing.

    Parameters
    ----------
    keyspace
        Made if it is not there, where the target says ``create_keyspace``.

    Raises
    ------
    ConfigurationError
        Credentials or database are missing.
    ConnectionFailed, UnknownName, RequestFailed
        The API refuses, or what it gives is not a bundle.
    """
    env = os.environ if environment is None else environment
    chosen = with_environment(target, env)
    username, password = credentials(chosen, env)
    if chosen.bundle is not None:
        path = Path(chosen.bundle).expanduser().absolute()
        bundle.check_file(path)
        return Access(username, password, path)
    if chosen.database is None:
        raise ConfigurationError(
            "which Astra database is not said",
            hint='fnb.Astra(database="my-db") with its name, id or API endpoint, or bundle="secure-connect-my-db.zip"',
        )
    if username != TOKEN_USER:
        raise ConfigurationError(
            "Client ID and Secret open a database, but cannot ask Astra for its bundle",
            hint='pass a token instead, or the bundle too: fnb.Astra(bundle="secure-connect-my-db.zip", client_id=…)',
        )
    return _of_database(chosen, password, keyspace)


def _of_database(target: Astra, token: Secret, keyspace: str | None, *, anew: bool = False) -> Access:
    database_id, region = known_id(str(target.database))
    region = target.region or region
    url = target.devops_url
    asks = anew or target.resume or target.create_keyspace or target.create_database
    if not asks and database_id and region and (path := bundle.cached_path(database_id, region)).exists():
        return Access(TOKEN_USER, token, path, database_id, region, url)
    api = Api(token, url or PUBLIC_URL)
    databases = Databases(api)
    database = databases.ready(_found_or_made(databases, target, keyspace), resume=target.resume)
    region = databases.region(database, region)
    if target.create_keyspace and keyspace and keyspace not in database.keyspaces:
        databases.make_keyspace(database, keyspace)
    path = bundle.cached_path(database.id, region)
    if anew or not path.exists():
        bundle.keep(bundle.fetch(api, database, region), path)
    return Access(TOKEN_USER, token, path, database.id, region, url)


def _found_or_made(databases: Databases, target: Astra, keyspace: str | None) -> AstraDatabase:
    name = str(target.database)
    if not target.create_database or known_id(name)[0] or any(database.name == name for database in databases):
        return databases.find(name)
    if target.region is None:
        raise ConfigurationError(
            f"in which region to make the database {name!r} is not said",
            hint=f'fnb.Astra(…, region="…"): {", ".join(sorted(databases.regions()))}',
        )
    return databases.make(name, target.region, keyspace or DEFAULT_KEYSPACE)


def databases(target: Astra) -> Databases:
    """Return the databases that a target's token can see, wherever that token is.

    Raises
    ------
    ConfigurationError
        There is no token.
    """
    said = with_environment(target, os.environ)
    username, token = credentials(said, os.environ)
    if username != TOKEN_USER:
        raise ConfigurationError("databases are listed with a token, not with Client ID and Secret", hint=_TOKEN_HINT)
    return Databases(Api(token, said.devops_url or PUBLIC_URL))


def fetched_again(target: Astra) -> Access:
    """Fetch a database's bundle anew, whatever the cache holds; for one that no longer leads anywhere."""
    said = with_environment(target, os.environ)
    _username, token = credentials(said, os.environ)
    return _of_database(said, token, None, anew=True)


def with_environment(target: Astra, environment: Mapping[str, str]) -> Astra:
    """Return a target with what the environment adds: a database or bundle only where it names neither.

    Examples
    --------
    >>> from feastra_nb.connection.targets import Astra
    >>> env = {"ASTRA_DB_ID": "features", "ASTRA_DB_REGION": "us-east1", "ASTRA_DEVOPS_URL": "http://127.0.0.1:1"}
    >>> said = with_environment(Astra(), env)
    >>> said.database, said.region, said.devops_url
    ('features', 'us-east1', 'http://127.0.0.1:1')
    >>> with_environment(Astra(database="other"), env).region is None
    True
    """
    get = environment.get
    target = replace(target, devops_url=target.devops_url or get(URL_VARIABLE))
    if target.database is not None or target.bundle is not None:
        return target
    return replace(
        target,
        database=next(filter(None, map(get, DATABASE_VARIABLES)), None),
        bundle=get(BUNDLE_VARIABLE),
        region=target.region or get(REGION_VARIABLE),
    )


def credentials(target: Astra, environment: Mapping[str, str]) -> tuple[str, Secret]:
    """Return user name and password: of the target, the environment, the keyring, or a prompt in a terminal.

    Raises
    ------
    ConfigurationError
        There are none, or the file of a token holds none.
    """
    if target.token is not None:
        return TOKEN_USER, token_of(Secret(target.token))
    if target.client_id is not None and target.client_secret is not None:
        return target.client_id, Secret(target.client_secret)
    if target.client_id is not None or target.client_secret is not None:
        raise ConfigurationError("Client ID and Client Secret belong together; only one of them was given")
    token = kept_token(environment) or _typed()
    if not token:
        raise ConfigurationError("there is no token for Astra", hint=_TOKEN_HINT)
    return TOKEN_USER, token_of(Secret(token))


def token_of(given: Secret) -> Secret:
    """Return a token, of itself or of the JSON file that the portal gives.

    Examples
    --------
    >>> token_of(Secret("AstraCS:swordfish")).reveal()
    'AstraCS:swordfish'
    """
    plain = given.reveal().strip()
    if not plain.endswith(".json"):
        return Secret(plain)
    try:
        return Secret(json.loads(Path(plain).expanduser().read_text())["token"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(
            f"the token file {plain} cannot be read: {type(exc).__name__}",
            hint='the portal\'s file is JSON: {"clientId": …, "secret": …, "token": "AstraCS:…"}',
        ) from None


def kept_token(environment: Mapping[str, str]) -> str | None:
    """Return the token of the environment or the keyring; None where neither has one."""
    return environment.get(TOKEN_VARIABLE) or _of_keyring()


def _of_keyring() -> str | None:
    try:
        import keyring
    except ImportError:
        return None
    try:
        token: str | None = keyring.get_password(*KEYRING)
    except keyring.errors.KeyringError:
        return None  # a machine without a keyring has no entry either
    return token


def keep_in_keyring(token: Secret) -> None:
    """Keep a token in the system's keyring, where `credentials` looks for one.

    Raises
    ------
    ConfigurationError
        There is no keyring.
    """
    try:
        import keyring
    except ImportError as exc:
        raise ConfigurationError(
            "the token was not kept: the package keyring is not installed", hint="pip install 'feastra-nb[keyring]'"
        ) from exc
    try:
        keyring.set_password(*KEYRING, token_of(token).reveal())
    except keyring.errors.KeyringError as exc:
        raise ConfigurationError(
            f"the token was not kept: this system has no keyring ({type(exc).__name__})",
            hint=f"set {TOKEN_VARIABLE} instead",
        ) from exc


def _typed() -> str | None:
    if not (sys.stdin and sys.stdin.isatty()):
        return None
    return getpass.getpass("Astra token (AstraCS:…): ")
