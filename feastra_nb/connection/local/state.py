"""The state file that processes share about a local node or cluster, and whether its processes still run.

Standard library and psutil only: the watchdog imports this module too.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import psutil

from feastra_nb.connection.files import write_private
from feastra_nb.connection.local.files import nodes_dir
from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NODE_DIR = re.compile(r"node-[1-9][0-9]*")
_CREATED_TOLERANCE_S = 1.0  # a process's create time is read in clock ticks


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    ``created`` is its create time in seconds since the epoch; ``mark`` is a part of its command line.
    """

    pid: int
    created: float
    mark: str

    def is_alive(self) -> bool:
        """Return whether this very process lives; one that only waits to be reaped does not."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if abs(process.create_time() - self.created) <= _CREATED_TOLERANCE_S:
                return True
            # The create time moves when the machine's clock is set; a second node on the same data would destroy it.
            return self.mark in process.cmdline()
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's: the number was given away
            return False


@dataclass(frozen=True, slots=True)
class State:
    """What the state file holds. ``ready`` is False from the first process on until the last node answered."""

    name: str
    version: str
    hosts: tuple[str, ...]
    port: int
    storage_port: int
    heap_mb: int
    idle_s: float
    settings: str
    ready: bool
    nodes: tuple[ProcessId, ...] = ()
    watchdog: ProcessId | None = None

    def with_node(self, index: int, process: ProcessId) -> State:
        """Return the state with one node's process replaced, or added at the end."""
        nodes = [*self.nodes]
        nodes[index : index + 1] = [process]
        return replace(self, nodes=tuple(nodes))

    def is_running(self) -> bool:
        """Return whether any of the nodes lives."""
        return any(node.is_alive() for node in self.nodes)


def node_directory(name: str) -> Path:
    """Return the directory of a local node or cluster.

    Raises
    ------
    ConfigurationError
        The name would not make a directory of its own.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a local node", hint="use lower-case letters, digits, '-' and '_'"
        )
    return nodes_dir() / name


def node_names() -> tuple[str, ...]:
    """Return the names that have a directory; what else lies beside them, such as a copy ``default.bak``, is not ours."""
    return tuple(sorted(each.name for each in nodes_dir().glob("*") if _NAME.fullmatch(each.name) and each.is_dir()))


def node_dirs(directory: Path) -> tuple[Path, ...]:
    """Return the directories of the nodes that were ever started in a cluster's directory, and nothing else in it."""
    return tuple(each for each in sorted(directory.glob("node-*")) if _NODE_DIR.fullmatch(each.name) and each.is_dir())


def state_path(directory: Path) -> Path:
    """Return where the state file of a directory is."""
    return directory / "state.json"


def lock_path(directory: Path) -> Path:
    """Return the lock of a directory; it stands beside it, so that the directory can be deleted under it."""
    return directory.with_name(f"{directory.name}.lock")


def write_state(directory: Path, state: State) -> None:
    """Write the state file, whole or not at all."""
    write_private(state_path(directory), json.dumps(asdict(state), indent=1))


def read_state(directory: Path) -> State | None:
    """Return what the state file says; None where there is none that can be read, or only one copied from elsewhere."""
    try:
        content: dict[str, Any] = json.loads(state_path(directory).read_text("utf-8"))
        watchdog = content.pop("watchdog")
        state = State(
            **{
                **content,
                "hosts": tuple(content["hosts"]),
                "nodes": tuple(ProcessId(**node) for node in content["nodes"]),
                "watchdog": ProcessId(**watchdog) if watchdog else None,
            }
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, cut short, or of another version
        return None
    return state if state.name == directory.name else None


def forget_state(directory: Path) -> None:
    """Delete the state file, if it is there."""
    state_path(directory).unlink(missing_ok=True)


def touch_state(directory: Path) -> None:
    """Tell the watchdog that somebody has just asked for this node."""
    os.utime(state_path(directory))


def identify(pid: int, mark: str) -> ProcessId:
    """Return the identity of a process that was just started; one that ended at once is dead from the start."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time(), mark)
    except psutil.NoSuchProcess:
        return ProcessId(pid, 0.0, mark)


def find_processes(marks: Iterable[str]) -> tuple[ProcessId, ...]:
    """Return the living processes with one of the marks among their arguments, whatever any state file says."""
    wanted = set(marks)
    processes = (
        ProcessId(process.pid, process.info["create_time"], mark)
        for process in psutil.process_iter(["cmdline", "create_time"])
        for mark in wanted.intersection(process.info["cmdline"] or ())
    )
    return tuple(each for each in processes if each.is_alive())
