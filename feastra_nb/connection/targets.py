"""The targets of `connect()`: `Local`, `Hosts`, `Astra`.

A target is plain data. `ClusterSettings` is what all three come down to, and the only thing that `cluster` understands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from feastra_nb.connection.secrets import Secret, secret
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

DEFAULT_PORT = 9042
REQUEST_TIMEOUT_S = 10.0  # the driver's own default, here always set: Feast's store can wait for ever
DEFAULT_CONSISTENCY = "LOCAL_QUORUM"  # Astra refuses to write below it
TOKEN_PREFIX = "AstraCS:"  # noqa: S105 - how a token begins, so that none is shown
CONSISTENCY_LEVELS = (
    "ANY",
    "ONE",
    "TWO",
    "THREE",
    "QUORUM",
    "ALL",
    "LOCAL_QUORUM",
    "EACH_QUORUM",
    "LOCAL_ONE",
)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to encrypt the connection to a cluster.

    Parameters
    ----------
    ca
        Path of the certificate authority's PEM file; None for the system's authorities.
    cert, key
        Paths of the client's certificate and key (PEM), where the server asks for them.
    check_hostname
        Whether the server's certificate must name the host.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Everything that makes one driver session differ from another; hashable, so sessions can be shared by it.

    Durations are in seconds. ``bundle`` is the path of an Astra secure connect bundle and excludes ``hosts``.
    """

    hosts: tuple[str, ...] = ()
    port: int = DEFAULT_PORT
    bundle: str | None = None
    username: str | None = None
    password: Secret | None = None
    tls: TlsSettings | ssl.SSLContext | None = None
    read_dc: str | None = None
    write_dc: str | None = None
    read_consistency: str = DEFAULT_CONSISTENCY
    write_consistency: str = DEFAULT_CONSISTENCY
    request_timeout_s: float = REQUEST_TIMEOUT_S
    protocol_version: int | None = None
    direct: bool = True

    def __post_init__(self) -> None:
        if bool(self.hosts) == bool(self.bundle):
            raise ConfigurationError(
                "exactly one of hosts and a secure connect bundle is needed",
                hint='fnb.Hosts(["10.0.0.1"]), or fnb.Astra(bundle="secure-connect-db.zip", …)',
            )
        if bool(self.username) != bool(self.password):
            raise ConfigurationError("a username and a password belong together; only one of them was given")
        if self.request_timeout_s <= 0:
            raise ConfigurationError(f"request timeout is {self.request_timeout_s} s; it must be above zero")
        for level in (self.read_consistency, self.write_consistency):
            if level not in CONSISTENCY_LEVELS:
                raise ConfigurationError(
                    f"unknown consistency level {level!r}", hint=f"one of {', '.join(CONSISTENCY_LEVELS)}"
                )

    @property
    def label(self) -> str:
        """Return where this leads to, without any secret."""
        return f"bundle {self.bundle}" if self.bundle else f"{','.join(self.hosts)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Local:
    """A real Apache Cassandra on this machine, started from packages if it is not running.

    Parameters
    ----------
    nodes
        Number of nodes; more than one forms a cluster on 127.0.0.1, 127.0.0.2, … (Linux only).
    heap_mb
        Java heap of a node in MiB; None chooses by the memory that is there.
    name
        Nodes of different names are different clusters with data of their own.

    Examples
    --------
    >>> Local()
    Local(nodes=1, heap_mb=None, name='default')
    """

    nodes: int = 1
    heap_mb: int | None = None
    name: str = "default"


@dataclass(frozen=True, slots=True)
class Hosts:
    """Any Cassandra cluster, by its contact points.

    Parameters
    ----------
    hosts
        Host names or addresses; the driver finds the other nodes by itself.
    port
        Port of the native protocol.
    username, password
        Credentials, both or neither. The password shows as ``***`` wherever it is printed.
    ssl
        ``True`` (the system's authorities), the path of an authority's PEM file, a mapping with ``ca``, ``cert``, ``key``,
        ``check_hostname``, or an `ssl.SSLContext`.
    local_dc
        The data centre to stay in; None for that of the first contact point.
    request_timeout_s
        How long to wait for an answer, in seconds.
    replication
        Replication factor per data centre (or one number), used only when the keyspace is made.
    create_keyspace
        Make the keyspace if it is not there.
    direct
        Read and write by the short way (see ``docs/performance.md``); False sends everything through the driver.

    Examples
    --------
    >>> Hosts(["10.0.0.1"], username="reader", password="swordfish").password
    '***'
    """

    hosts: Sequence[str]
    port: int = DEFAULT_PORT
    username: str | None = None
    password: str | None = None
    ssl: bool | str | Mapping[str, object] | ssl.SSLContext | None = None
    local_dc: str | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    replication: int | Mapping[str, int] | None = None
    create_keyspace: bool = False
    direct: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.hosts, str):
            raise ConfigurationError(f"hosts is the string {self.hosts!r}", hint=f"a list: Hosts([{self.hosts!r}])")
        object.__setattr__(self, "hosts", tuple(self.hosts))
        object.__setattr__(self, "password", secret(self.password))


@dataclass(frozen=True, slots=True)
class Astra:
    """An Astra DB database.

    What is not given is read from the environment (``ASTRA_DB_APPLICATION_TOKEN``, ``ASTRA_DB_ID``, …); ``docs/astra.md``
    lists the variables.

    Parameters
    ----------
    database
        Name, id or API endpoint of the database.
    token
        Application token (``AstraCS:…``), or the path of the JSON file that the portal gives with it.
    region
        One of the database's regions; None for its first.
    bundle
        Path of the secure connect bundle; None to fetch it, and keep it in the user's cache.
    client_id, client_secret
        The older kind of credentials, instead of a token; they need a bundle.
    resume
        Wake the database if it hibernates, and wait.
    create_keyspace
        Make the keyspace if it is not there, and wait.
    create_database
        Make the database if there is none of that name, in ``region`` and with the keyspace, and wait.
    devops_url
        Base address of the DevOps API, where it is not the public one.
    direct
        Read and write by the short way (see ``docs/performance.md``); False sends everything through the driver.

    Examples
    --------
    >>> short(Astra("features", token="AstraCS:swordfish"))
    "Astra(database='features', token='***')"
    """

    database: str | None = None
    token: str | None = None
    region: str | None = None
    bundle: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    resume: bool = False
    create_keyspace: bool = False
    create_database: bool = False
    devops_url: str | None = field(default=None, repr=False)
    direct: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", secret(self.token))
        object.__setattr__(self, "client_secret", secret(self.client_secret))


Target = Local | Hosts | Astra


def check_target(target: object) -> None:
    """Refuse what is not a target, and say which one was probably meant.

    Raises
    ------
    ConfigurationError
        It is something else, such as an address.

    Examples
    --------
    >>> check_target("10.0.0.1:9043")
    Traceback (most recent call last):
    ...
    feastra_nb.errors.ConfigurationError: '10.0.0.1:9043' is not a target, it is a str
    Hint: fnb.Hosts(["10.0.0.1"], port=9043)
    """
    if isinstance(target, Local | Hosts | Astra):
        return
    shown, hint = repr(target), 'fnb.Local(), fnb.Hosts(["10.0.0.1"]) or fnb.Astra("my-db")'
    if isinstance(target, type) and issubclass(target, Local | Hosts | Astra):
        shown, hint = target.__name__, "fnb.Local()" if target is Local else f"fnb.{target.__name__}(…), with arguments"
    elif isinstance(target, str) and target.startswith(TOKEN_PREFIX):
        shown, hint = f"'{TOKEN_PREFIX}…'", 'fnb.Astra("my-db", token=…)'
    elif isinstance(target, str) and target.endswith(".zip"):
        hint = f'fnb.Astra(bundle="{target}", token=…)'
    elif isinstance(target, str) and target:
        hint = _hosts_hint([target])
    elif isinstance(target, list | tuple) and target and all(isinstance(host, str) for host in target):
        hint = _hosts_hint(target)
    raise ConfigurationError(f"{shown} is not a target, it is a {type(target).__name__}", hint=hint)


def _hosts_hint(addresses: Sequence[str]) -> str:
    hosts, ports = zip(*(_split(address) for address in addresses), strict=True)
    names = ", ".join(f'"{host}"' for host in hosts)
    return f"fnb.Hosts([{names}]{f', port={ports[0]}' if ports[0] else ''})"


def _split(address: str) -> tuple[str, str]:
    """Return host and port of an address; no port where it names none, as an IPv6 address cannot."""
    host, colon, port = address.rpartition(":")
    return (host, port) if colon and port.isdecimal() and ":" not in host else (address, "")


def short(target: Target) -> str:
    """Return a target as one would write it: what differs from the default, secrets masked.

    Examples
    --------
    >>> short(Local()), short(Hosts(["10.0.0.1"], password="swordfish"))
    ('Local()', "Hosts(hosts=('10.0.0.1',), password='***')")
    """
    parts = [
        f"{field.name}={getattr(target, field.name)!r}"
        for field in fields(target)
        if field.repr and getattr(target, field.name) != field.default
    ]
    return f"{type(target).__name__}({', '.join(parts)})"


def tls_settings(
    value: bool | str | Mapping[str, object] | ssl.SSLContext | None,  # noqa: FBT001 - the kinds of input are types
) -> TlsSettings | ssl.SSLContext | None:
    """Turn what a user writes for ``ssl`` into settings.

    Examples
    --------
    >>> tls_settings("ca.pem")
    TlsSettings(ca='ca.pem', cert=None, key=None, check_hostname=True)
    >>> tls_settings({"ca": "ca.pem", "hostname": False})
    Traceback (most recent call last):
    ...
    feastra_nb.errors.ConfigurationError: unknown ssl option 'hostname'
    Hint: ca, cert, key, check_hostname
    """
    from collections.abc import Mapping

    if value is None or value is False:
        return None
    if value is True:
        return TlsSettings()
    if isinstance(value, str):
        return TlsSettings(ca=value)
    if isinstance(value, Mapping):
        known = ("ca", "cert", "key", "check_hostname")
        for name in value:
            if name not in known:
                raise ConfigurationError(f"unknown ssl option {name!r}", hint=", ".join(known))
        return TlsSettings(**value)  # type: ignore[arg-type]
    return value
