"""The machine, versions and server that a report was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from feastra_nb.stores import Stores

PACKAGES = ("feast", "cassandra-driver")  # whose versions decide what was measured


def environment(**details: str) -> dict[str, str]:
    """Return on what is being measured: machine, Python, and the versions of Feast and the driver.

    Parameters
    ----------
    details
        More to say, such as ``load`` and ``store``.

    Examples
    --------
    >>> list(environment(store="Cassandra 5.0.8, one node"))
    ['machine', 'python', 'feast', 'cassandra-driver', 'store']
    """
    memory_gib = psutil.virtual_memory().total / 2**30
    machine = f"{platform.platform(terse=True)}, {platform.machine()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB"
    versions = {name: _version(name) for name in PACKAGES}
    return {"machine": machine, "python": platform.python_version(), **versions, **details}


def server(stores: Stores) -> dict[str, str]:
    """Return the workspace's online store, and its Cassandra where it is ours."""
    name = type(stores.online_store).__name__
    if not stores.has_history:
        return {"store": name}
    hosts = stores.online.db.session.cluster.metadata.all_hosts()
    versions = sorted({str(host.release_version) for host in hosts})
    nodes = f"{len(hosts)} node{'s' if len(hosts) != 1 else ''}"
    return {"store": name, "server": f"Cassandra {', '.join(versions)}, {nodes}"}


def _version(package: str) -> str:
    # From the installed metadata: importing Feast takes seconds.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
