"""Finds Astra databases by name, id or endpoint, waits until they are active, and adds keyspaces."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feastra_nb.errors import ConnectionFailed, RequestFailed, RequestTimedOut, UnknownName, close_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from feastra_nb.connection.astra.api import Api

PAGE = 100
POLL_S = 5.0
PATIENCE_S = 600.0
ACTIVE, HIBERNATED = "ACTIVE", "HIBERNATED"
GONE = ("TERMINATED", "TERMINATING")
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ENDPOINT = re.compile(rf"https?://({_ID})-([a-z0-9-]+)\.apps\.")


@dataclass(frozen=True, slots=True)
class AstraDatabase:
    """What the API tells of a database.

    Parameters
    ----------
    status
        ``ACTIVE``, ``HIBERNATED``, ``MAINTENANCE`` …; Astra adds new ones at times.
    regions
        Of its data centres; the first is that of the database.
    data_url
        Scheme and host of its Data API.
    centres
        Id and region of each data centre.
    """

    id: str
    name: str
    status: str
    regions: tuple[str, ...] = ()
    keyspaces: tuple[str, ...] = ()
    data_url: str = ""
    centres: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> AstraDatabase:
        """Read an answer, of which parts may be missing while a database is being made.

        Examples
        --------
        >>> AstraDatabase.of({"id": "1", "status": "PENDING", "info": {"name": "features", "region": "us-east1"}})
        AstraDatabase(id='1', name='features', status='PENDING', regions=('us-east1',), keyspaces=(), data_url='', centres=())
        """
        info = answer.get("info") or {}
        centres = [
            (str(centre.get("id")), str(centre["region"]))
            for centre in info.get("datacenters") or []
            if centre.get("region")
        ]
        regions = [info.get("region"), *(region for _centre, region in centres)]
        keyspaces = [info.get("keyspace"), *(info.get("additionalKeyspaces") or []), *(info.get("keyspaces") or [])]
        return cls(
            id=str(answer.get("id", "")),
            name=str(info.get("name", "")),
            status=str(answer.get("status", "UNKNOWN")),
            regions=tuple(dict.fromkeys(filter(None, regions))),
            keyspaces=tuple(dict.fromkeys(filter(None, keyspaces))),
            data_url=_origin(str(answer.get("dataEndpointUrl") or "")),
            centres=tuple(centres),
        )

    def __str__(self) -> str:
        return f"{self.name!r} ({self.id})"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def endpoint_parts(text: str) -> tuple[str, str] | None:
    """Return id and region of a database's API endpoint; None where it is none.

    Examples
    --------
    >>> endpoint_parts("https://0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-us-east1.apps.astra.datastax.com")
    ('0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0', 'us-east1')
    """
    match = _ENDPOINT.match(text)
    return (match[1], match[2]) if match else None


def known_id(name: str) -> tuple[str | None, str | None]:
    """Return the id and the region that a name, id or endpoint says by itself.

    Examples
    --------
    >>> known_id("features"), known_id("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
    ((None, None), ('0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0', None))
    """
    return endpoint_parts(name) or (name if re.fullmatch(_ID, name) else None, None)


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases that a token can see.

    Parameters
    ----------
    clock
        Seconds that only grow; for waiting.
    """

    api: Api
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __iter__(self) -> Iterator[AstraDatabase]:
        """Iterate over all that are not terminated, page by page."""
        last = None
        while True:
            more: dict[str, str] = {"starting_after": last} if last else {}
            page = self.api.get("/v2/databases", include="nonterminated", provider="ALL", limit=PAGE, **more)
            yield from map(AstraDatabase.of, page)
            if len(page) < PAGE:
                return
            last = page[-1]["id"]

    def get(self, database_id: str) -> AstraDatabase:
        """Return a database by its id."""
        return AstraDatabase.of(self.api.get(f"/v2/databases/{database_id}"))

    def find(self, name: str) -> AstraDatabase:
        """Return a database by name, id, or API endpoint.

        Raises
        ------
        UnknownName
            There is none of that name, or several.
        """
        database_id, _region = known_id(name)
        if database_id:
            return self.get(database_id)
        every = list(self)
        same = [database for database in every if database.name == name]
        if len(same) == 1:
            return same[0]
        if same:
            raise UnknownName(
                f"{len(same)} databases have the name {name!r}",
                hint=f"say which by id: {', '.join(database.id for database in same)}",
            )
        raise UnknownName(
            f"the token sees no database {name!r}", hint=close_names(name, [database.name for database in every])
        )

    def region(self, database: AstraDatabase, region: str | None) -> str:
        """Return the region to connect to: the one asked for, else the database's first.

        Raises
        ------
        UnknownName
            The database is not there.
        """
        if region is None and database.regions:
            return database.regions[0]
        if region not in database.regions:
            raise UnknownName(
                f"the database {database} is not in the region {region!r}",
                hint=f"it is in: {', '.join(database.regions) or 'none yet'}",
            )
        return region

    def ready(self, database: AstraDatabase, *, resume: bool = False) -> AstraDatabase:
        """Return a database once it can be connected to.

        Raises
        ------
        ConnectionFailed
            It hibernates and ``resume`` is False, or it is gone.
        RequestTimedOut
            It did not become active in ten minutes.
        """
        if database.status == ACTIVE:
            return database
        if database.status in GONE:
            raise ConnectionFailed(f"the database {database} is terminated", hint="make another, or name another")
        if database.status == HIBERNATED:
            if not resume:
                raise ConnectionFailed(
                    f"the database {database} hibernates, as databases of the free plan do when nobody asks them for two days",
                    hint="fnb.Astra(…, resume=True) wakes it and waits, which takes some minutes",
                )
            self._wake(database)
        return self._active(database)

    def _wake(self, database: AstraDatabase) -> None:
        """Ask the database's Data API anything: the answer is that it resumes."""
        keyspace = (database.keyspaces or ("default_keyspace",))[0]
        url = database.data_url or f"https://{database.id}-{database.regions[0]}.apps.astra.datastax.com"
        with contextlib.suppress(RequestFailed, UnknownName):
            self.api.knock(f"{url}/api/json/v1/{keyspace}", {"findCollections": {}})

    def regions(self) -> dict[str, str]:
        """Return the regions that a database can be made in, each with its cloud provider."""
        regions = self.api.get("/v2/regions/serverless", **{"region-type": "vector", "filter-by-org": "enabled"})
        return {str(region["name"]): str(region["cloudProvider"]) for region in regions if region.get("enabled", True)}

    def make(self, name: str, region: str, keyspace: str) -> AstraDatabase:
        """Make a serverless database with a keyspace, and wait for it, which takes some minutes.

        Raises
        ------
        UnknownName
            There is no such region.
        RequestFailed
            Astra refuses, such as where the plan has no room for another.
        """
        clouds = self.regions()
        if region not in clouds:
            raise UnknownName(f"no database can be made in the region {region!r}", hint=close_names(region, clouds))
        made = self.api.post(
            "/v2/databases",
            {
                "name": name, "keyspace": keyspace, "cloudProvider": clouds[region], "region": region,
                "tier": "serverless", "capacityUnits": 1, "dbType": "vector",
            },
        )  # fmt: skip
        return self._active(self.get(made.headers["location"]))

    def make_keyspace(self, database: AstraDatabase, keyspace: str) -> AstraDatabase:
        """Make a keyspace, which CQL cannot on Astra, and wait for the database to be active again."""
        self.api.post(f"/v2/databases/{database.id}/keyspaces/{keyspace}")
        return self._active(database)

    def _active(self, database: AstraDatabase) -> AstraDatabase:
        began_s = self.clock()
        while (now := self.get(database.id)).status != ACTIVE:
            if now.status in (*GONE, "ERROR"):
                raise ConnectionFailed(f"the database {now} became {now.status}", hint="look at it in the Astra portal")
            if self.clock() - began_s > PATIENCE_S:
                raise RequestTimedOut(
                    f"the database {now} is still {now.status} after {PATIENCE_S / 60:.0f} minutes",
                    hint="look at it in the Astra portal, and connect again later",
                )
            self.api.sleep(POLL_S)
        return now
