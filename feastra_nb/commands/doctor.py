"""``feastra doctor``: checks this machine, environment and folder, and says how to fix what is missing.

A check is a function that returns `Finding`s; one that raises is a finding too. Nothing is changed, no node is started, and of a
secret only its name is said.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from feastra_nb.errors import FeastraError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

SUMMARY = "say what works here, what does not, and what to do about it"
EXAMPLE = "feastra doctor"
DETAILS = "Starts and changes nothing. Exits with 0 when nothing is wrong, 1 when something is."
Verdict = Literal["ok", "note", "wrong"]
OK: Verdict = "ok"
WARN: Verdict = "note"
BAD: Verdict = "wrong"
PACKAGE = "feastra-nb"
_SECRET = re.compile("TOKEN|PASSWORD|SECRET|STRING")  # in a variable's name: its value is not shown
LEAST_MEMORY_MB, LEAST_DISK_MB = 1_500, 1_000  # what a local node takes, with a notebook beside it
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    subject, said
        What was looked at, and what was found.
    verdict
        ``"ok"``, ``"note"`` or ``"wrong"``.
    hint
        What to do.
    """

    subject: str
    said: str
    verdict: Verdict = OK
    hint: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Print what every check finds; return 1 if anything is wrong."""
    findings = [finding for check in _CHECKS for finding in _findings(check, arguments)]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.verdict:<5}  {finding.subject:<{width}}  {finding.said}")
        if finding.hint:
            print(f"{'':<{width + 9}}{finding.hint}")
    wrong = sum(finding.verdict == BAD for finding in findings)
    print(f"{wrong} of {len(findings)} findings are wrong" if wrong else "nothing is wrong")
    return int(wrong > 0)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--offline", action="store_true", help="do not connect to the target that is configured")


def _findings(check: Callable[[argparse.Namespace], Iterator[Finding]], arguments: argparse.Namespace) -> list[Finding]:
    subject = check.__name__.strip("_").replace("_", " ")
    try:
        return list(check(arguments))
    except FeastraError as error:
        return [Finding(subject, error.message.splitlines()[0], BAD, error.hint or "")]
    except Exception as error:  # noqa: BLE001 - a broken installation fails in ways that nobody foresees
        return [Finding(subject, f"{type(error).__name__}: {error}", BAD)]


# --- the checks ------------------------------------------------------------------------------------------------------


def _python(_arguments: argparse.Namespace) -> Iterator[Finding]:
    yield Finding("python", f"{sys.version.split()[0]} at {sys.executable}")


def _packages(_arguments: argparse.Namespace) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    yield Finding(PACKAGE, metadata.version(PACKAGE))
    for needed in map(Requirement, metadata.requires(PACKAGE) or ()):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            yield Finding(needed.name, "is not installed", BAD, f"pip install '{needed.name}{needed.specifier}'")
            continue
        if not needed.specifier.contains(version, prereleases=True):
            yield Finding(
                needed.name,
                f"{version} is not {needed.specifier}",
                BAD,
                f"pip install '{needed.name}{needed.specifier}'",
            )
        elif needed.name in {"feast", "cassandra-driver", "duckdb", "pandas"}:
            yield Finding(needed.name, version)


def _driver(_arguments: argparse.Namespace) -> Iterator[Finding]:
    from cassandra.cluster import Cluster

    if _is_installed("scylla-driver"):
        hint = "pip uninstall scylla-driver, then pip install --force-reinstall cassandra-driver"
        yield Finding("driver", "scylla-driver has overwritten files of cassandra-driver", BAD, hint)
    yield Finding("driver's event loop", Cluster.connection_class.__name__)


def _java(_arguments: argparse.Namespace) -> Iterator[Finding]:
    from feastra_nb.connection.local.java import find_java

    java = find_java()
    yield Finding("java", f"{java.major} at {java.executable}")


def _local_cassandra(_arguments: argparse.Namespace) -> Iterator[Finding]:
    from feastra_nb.connection import local
    from feastra_nb.connection.local.config import memory_mb

    used = local.disk_use_bytes()
    if used["jars"]:
        yield Finding("cassandra", f"{used['jars'] // _MB} MB of jars are here; no network is needed")
    else:
        yield Finding(
            "cassandra", "not downloaded yet: 69 MB, at the first connect()", WARN, "feastra fetch does it now"
        )
    nodes = [node for name in local.names() if (node := local.running(name)) is not None]
    yield Finding(
        "local nodes",
        ", ".join(f"{running.name} at {running.hosts[0]}:{running.port}" for running in nodes) or "none runs",
    )
    memory = memory_mb()
    few = "with less than 1.5 GB a local node and a notebook do not fit; fnb.Hosts and fnb.Astra need none"
    yield Finding("memory", f"{memory:,} MB", *(() if memory >= LEAST_MEMORY_MB else (WARN, few)))


def _cache(_arguments: argparse.Namespace) -> Iterator[Finding]:
    from feastra_nb.connection.files import cache_dir

    folder = cache_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        yield Finding("cache", f"{there} cannot be written", BAD, "FEASTRA_CACHE names another folder")
        return
    free = shutil.disk_usage(there).free // _MB
    full = "feastra purge deletes what it holds; FEASTRA_CACHE names another folder"
    yield Finding("cache", f"{folder}, {free:,} MB free", *(() if free >= LEAST_DISK_MB else (WARN, full)))


def _environment(_arguments: argparse.Namespace) -> Iterator[Finding]:
    prefixes = ("ASTRA_", "CASSANDRA_", "FEASTRA_")
    names = sorted(name for name in os.environ if name.startswith(prefixes))
    shown = [name if _SECRET.search(name) else f"{name}={os.environ[name]}" for name in names]
    yield Finding("environment", ", ".join(shown) or "sets nothing of ours")


def _target(arguments: argparse.Namespace) -> Iterator[Finding]:
    from feastra_nb.connection.choice import configured, profile_path
    from feastra_nb.connection.clock import difference
    from feastra_nb.connection.targets import Local, short

    known = configured()
    if profile_path().exists():
        yield Finding("profile", str(profile_path()))
    target, keyspace = known or (Local(), None)
    where = short(target)
    if known is None or isinstance(target, Local) or arguments.offline:
        yield Finding("connect()", f"goes to {where}")
        return
    from feastra_nb.workspace import connect

    with (
        tempfile.TemporaryDirectory() as folder,
        connect(target, project="doctor", keyspace=keyspace or "system", directory=folder, read_only=True) as ws,
    ):
        nodes, clock = ws.status().frame, difference(ws.session)
    yield Finding("connect()", f"goes to {where}: {(nodes['state'] == 'up').sum()} of {len(nodes)} nodes are up")
    apart = (WARN, "set this machine's clock (NTP), or the server's") if clock.matters else ()
    yield Finding("clock", str(clock), *apart)


def _notebook(_arguments: argparse.Namespace) -> Iterator[Finding]:
    for name in ("jupyterlab", "notebook"):
        if _is_installed(name):
            yield Finding(name, metadata.version(name))
    if not (_is_installed("jupyterlab") or _is_installed("notebook")):
        yield Finding(
            "jupyter", "neither jupyterlab nor notebook is in this environment", WARN, "pip install jupyterlab"
        )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


_CHECKS = (_python, _packages, _driver, _java, _local_cassandra, _cache, _environment, _target, _notebook)
