"""Tells which nodes are alive: by the driver, and for a local Cassandra by its processes, disk and logs."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from feastra_nb.connection.local.state import State

LOG_LINES, LOG_LINE_CHARACTERS = 5, 200  # of a node's log in a message: enough for a cause, few enough to be read
LOG_LINES_READ = 200  # among which errors are looked for
LITTLE_DISK_BYTES = 64 * 2**20  # less is worth telling: Cassandra takes its commit log in segments of 16 to 32 MiB


@dataclass(frozen=True, slots=True)
class Shortage:
    """A consistency level that some keys may not reach, as far as this client sees the nodes.

    Parameters
    ----------
    level
        The consistency level.
    required, alive
        Replicas that it needs, and those that are alive of the keys that are worst off.
    down
        Addresses of the nodes that are down.
    """

    level: str
    required: int
    alive: int
    down: tuple[str, ...]


def shortage(
    metadata: Any, keyspace: str, level: str, local_dc: str | None, gone: Collection[str] = ()
) -> Shortage | None:
    """Return what the nodes that are down mean for a keyspace; None where all keys have enough replicas, or nothing is known.

    Parameters
    ----------
    metadata
        The driver's.
    local_dc
        The data centre of ``LOCAL_`` levels; None for the only one.
    gone
        Addresses of nodes that did not answer, which the driver may not hold for down yet.
    """
    hosts = metadata.all_hosts()
    down = [host for host in hosts if host.is_up is False or host.address in gone]
    if not down:  # at every request: this has to be quick
        return None
    centres = {host.datacenter for host in hosts}
    local_dc = local_dc or (centres.pop() if len(centres) == 1 else None)
    known = metadata.keyspaces.get(keyspace)
    replicas = _replicas(known.replication_strategy if known else None, level, local_dc)
    if not replicas:
        return None
    down = [host for host in down if _counts(level, host.datacenter, local_dc)]
    required = needed(level, replicas)
    alive = max(replicas - len(down), 0)
    return Shortage(level, required, alive, tuple(host.address for host in down)) if alive < required else None


def needed(level: str, replicas: int) -> int:
    """Return how many of so many replicas have to answer at a consistency level.

    Examples
    --------
    >>> needed("LOCAL_QUORUM", 3), needed("ALL", 3), needed("LOCAL_ONE", 3)
    (2, 3, 1)
    """
    if level.endswith("QUORUM"):
        return replicas // 2 + 1
    return {"ALL": replicas, "TWO": 2, "THREE": 3}.get(level, 1)


def _counts(level: str, centre: str, local_dc: str | None) -> bool:
    return not level.startswith("LOCAL_") or centre == local_dc


def _replicas(strategy: Any, level: str, local_dc: str | None) -> int:
    by_centre: Mapping[str, int] | None = getattr(strategy, "dc_replication_factors", None)
    if by_centre is None:
        return int(getattr(strategy, "replication_factor", 0) or 0)
    return by_centre.get(local_dc or "", 0) if level.startswith("LOCAL_") else sum(by_centre.values())


# --- a local Cassandra -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalNote:
    """What there is to say of a local Cassandra, and what to do; empty where it is well, or there is none."""

    text: str = ""
    hint: str = ""


def local_note(addresses: Iterable[tuple[str, int]], *, only_ill: bool = False) -> LocalNote:
    """Return what processes, disk and log say of the local Cassandra behind one of these addresses.

    Parameters
    ----------
    addresses
        Hosts and ports.
    only_ill
        Say nothing where all of its processes run and its disk has room.
    """
    from feastra_nb.connection import local
    from feastra_nb.connection.local.state import node_directory, read_state

    wanted = set(addresses)
    for name in local.names():
        with contextlib.suppress(ConfigurationError, OSError):  # a folder of another kind, or one that goes away
            directory = node_directory(name)
            state = read_state(directory)
            if state is not None and any((host, state.port) in wanted for host in state.hosts):
                return _note(state, directory, only_ill=only_ill)
    return LocalNote()


def _note(state: State, directory: Path, *, only_ill: bool) -> LocalNote:
    from feastra_nb.connection.local.nodes import system_log
    from feastra_nb.connection.local.process import log_tail

    conditions = [_condition(each.pid if each.is_alive() else None) for each in state.nodes]
    ill = [index for index, condition in enumerate(conditions) if condition != "runs"]
    free_bytes = shutil.disk_usage(directory).free
    if only_ill and not ill and free_bytes >= LITTLE_DISK_BYTES:
        return LocalNote()
    words = ", ".join(
        f"process {node.pid} at {host} {condition}"
        for host, node, condition in zip(state.hosts, state.nodes, conditions, strict=False)
    )
    disk = f"; its disk has {free_bytes // 2**20} MiB left" if free_bytes < LITTLE_DISK_BYTES else ""
    lines = log_tail(system_log(directory, ill[0] if ill else 0), lines=LOG_LINES_READ).splitlines()
    lines = [line for line in lines if line.startswith("ERROR")] or lines  # a node says much after what was wrong
    log = "".join(f"\n    {line[:LOG_LINE_CHARACTERS]}" for line in lines[-LOG_LINES:])
    hint = f"fnb.connect({_target(state)}) starts what has ended"
    if not ill:
        hint = f"end it (`kill {state.nodes[0].pid}`); {hint}"
    if disk:
        hint = f"make room on the disk, then {hint}"
    return LocalNote(f"\nThe local Cassandra {state.name!r}: {words}{disk}. The end of its log:{log}", hint)


def _condition(pid: int | None) -> str:
    if pid is None:
        return "has ended"
    with contextlib.suppress(psutil.Error):
        return "is stopped" if psutil.Process(pid).status() == psutil.STATUS_STOPPED else "runs"
    return "has ended"


def _target(state: State) -> str:
    options = [f"nodes={len(state.hosts)}"] if len(state.hosts) > 1 else []
    if state.name not in ("default", f"cluster-{len(state.hosts)}"):
        options.append(f'name="{state.name}"')
    return f"fnb.Local({', '.join(options)})"
