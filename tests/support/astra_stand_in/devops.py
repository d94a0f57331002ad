"""The DevOps API: the documented answers over real HTTP, and the troubles that a real one has."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from loopback import Handler, serving

TOKEN = "AstraCS:StandInClientId:" + "5" * 64
READER = "AstraCS:StandInReader:" + "7" * 64
REGIONS = {"us-east1": "GCP", "eu-west-1": "AWS"}
RESUMING_POLLS = 2  # answers RESUMING or MAINTENANCE this often before ACTIVE


def database(number: int, name: str, status: str = "ACTIVE", regions=("us-east1",), keyspaces=("default_keyspace",)):
    """Return a database as the API describes one."""
    one = f"00000000-0000-4000-8000-{number:012d}"
    centres = [{"id": f"{one}-{n}", "region": region, "status": "ACTIVE"} for n, region in enumerate(regions, 1)]
    info = {
        "name": name, "keyspace": keyspaces[0], "additionalKeyspaces": list(keyspaces[1:]), "region": regions[0],
        "cloudProvider": "GCP", "tier": "serverless", "datacenters": centres,
    }  # fmt: skip
    return {"id": one, "orgId": "org", "status": status, "info": info}


@dataclass
class DevOps:
    """What the stand-in knows, and what was asked of it.

    Parameters
    ----------
    bundles
        By region, the bytes of a bundle.
    as_list
        Whether bundle addresses come as a list, with one for each data centre.
    trouble
        Statuses to answer the next requests with, before any other answer: 429, 500; ``"html"`` is a proxy's page.
    seen
        Requests: method, path, and headers.
    """

    databases: dict[str, dict] = field(default_factory=dict)
    bundles: dict[str, bytes] = field(default_factory=dict)
    as_list: bool = False
    expired: bool = False
    trouble: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    polls: dict[str, int] = field(default_factory=dict)
    slow_s: float = 0.0
    most: int = 1_000
    url: str = ""

    def add(self, *databases: dict) -> None:
        """Add databases; their Data API is here too."""
        for one in databases:
            self.databases[one["id"]] = {**one, "dataEndpointUrl": f"{self.url}/api/rest"}

    def asked(self, path: str) -> list:
        """Return the requests of paths that begin so."""
        return [one for one in self.seen if one[1].startswith(path)]

    # --- answers ---

    def answer(self, method: str, path: str, query: dict, headers, body: bytes):
        """Return status, body and further headers of an answer."""
        if self.trouble:
            return self._trouble(self.trouble.pop(0))
        if path.startswith("/download/"):
            return self._download(path.removeprefix("/download/"))
        if path.startswith("/api/json/"):
            return self._resume(headers)
        given = headers.get("Authorization", "")
        if given not in (f"Bearer {TOKEN}", f"Bearer {READER}"):
            return 401, _json({"errors": [{"ID": 340018, "message": "jwt not valid"}]})
        if method == "POST" and given.endswith(READER):
            return 403, _json({"errors": [{"ID": 2000, "message": "missing permission db-cql"}]})
        return self._authorized(method, path, query, body)

    def _authorized(self, method: str, path: str, query: dict, body: bytes):
        if path == "/v2/regions/serverless":
            return 200, _json(
                [{"name": name, "cloudProvider": cloud, "enabled": True} for name, cloud in REGIONS.items()]
            )
        if method == "POST" and path == "/v2/databases":
            return self._make(json.loads(body))
        return self._of_databases(method, path.strip("/").split("/"), query)

    def _make(self, asked: dict):
        if len(self.databases) >= self.most:
            return 422, _json({"errors": [{"ID": 2000130, "message": "the plan has no room for another database"}]})
        one = database(100 + len(self.databases), asked["name"], "PENDING", (asked["region"],), (asked["keyspace"],))
        self.add(one)
        self._busy(self.databases[one["id"]], "INITIALIZING")
        return 201, b"", {"Location": one["id"]}

    def _trouble(self, kind):
        if kind == "html":
            return 200, b"<html>Please log in</html>"
        return kind, _json({"errors": [{"message": "not now"}]})

    def _download(self, region: str):
        if self.expired:
            return 403, b"<Error><Code>ExpiredToken</Code></Error>"
        return 200, self.bundles[region]

    def _resume(self, headers):
        if headers.get("Token") != TOKEN:
            return 401, _json({"message": "UNAUTHENTICATED"})
        for one in self.databases.values():
            if one["status"] == "HIBERNATED":
                self._busy(one, "RESUMING")
        return 503, _json({"message": "Resuming your database, please try again shortly."})

    def _of_databases(self, method: str, parts: list[str], query: dict):
        if parts == ["v2", "databases"]:
            every = sorted(self.databases)
            after = query.get("starting_after")
            start = every.index(after) + 1 if after else 0
            return 200, _json([self.databases[one] for one in every[start : start + int(query.get("limit", 25))]])
        one = self.databases.get(parts[2])
        if one is None:
            return 404, _json({"errors": [{"ID": 2000017, "message": "database not found"}]})
        if len(parts) == 3:
            return 200, _json(self._polled(one))
        if parts[3] == "secureBundleURL":
            return 200, _json(self._addresses(one))
        if parts[3] == "keyspaces" and method == "POST":
            one["info"]["additionalKeyspaces"].append(parts[4])
            self._busy(one, "MAINTENANCE")
            return 201, b""
        return 404, _json({"errors": [{"message": "no such path"}]})

    def _addresses(self, one: dict):
        every = [
            {"datacenterID": centre["id"], "downloadURL": f"{self.url}/download/{centre['region']}?signature=secret"}
            for centre in one["info"]["datacenters"]
        ]
        return every if self.as_list else every[0]

    def _busy(self, one: dict, status: str) -> None:
        one["status"], self.polls[one["id"]] = status, RESUMING_POLLS

    def _polled(self, one: dict) -> dict:
        left = self.polls.get(one["id"])
        if left is not None:
            self.polls[one["id"]] = left - 1
            if left == 0:
                one["status"] = "ACTIVE"
                del self.polls[one["id"]]
        return one


def _json(value) -> bytes:
    return json.dumps(value).encode()


@contextmanager
def devops():
    """Serve the DevOps API on a free port of loopback."""
    state = DevOps()

    class Answering(Handler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = self.rfile.read(length)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            state.seen.append((self.command, parts.path, dict(self.headers), query))
            time.sleep(state.slow_s)
            status, body, *more = state.answer(self.command, parts.path, query, self.headers, asked)
            kind = "text/html" if body.startswith(b"<") else "application/json"
            self.reply(status, body, {"Content-Type": kind, **dict(*more)})

    with serving(Answering) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state
