"""Plans a start: checks the arguments against this machine, existing data and running nodes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from feastra_nb.connection.files import make_private, write_private
from feastra_nb.connection.local.config import choose_heap_mb, memory_mb, number_from_environment
from feastra_nb.connection.local.login import decides_itself, make_login, read_login
from feastra_nb.connection.local.packages import CASSANDRA_VERSION
from feastra_nb.connection.local.process import free_port
from feastra_nb.connection.local.state import State, node_dirs, read_state, touch_state, write_state
from feastra_nb.errors import ConfigurationError, LocalNodeFailed
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_NAME = "default"
DEFAULT_IDLE_S = 1_800.0  # half an hour after the last client
_NODES_MAX = 9
_TOLD = "told_open"  # in layout.json: its user knows that it has no password
_ELSEWHERE = "connect to a cluster elsewhere with Hosts([...]) or Astra(...)"


def plan(
    name: str, nodes: int, heap_mb: int | None, idle_s: float | None, settings: Mapping[str, object] | None
) -> State:
    """Return the arguments of `start`, checked and completed, as a state without ports and processes.

    Raises
    ------
    ConfigurationError
        They make no sense.
    LocalNodeFailed
        This machine cannot do it.
    """
    refuse_windows()
    if not 1 <= nodes <= _NODES_MAX:
        raise ConfigurationError(f"a local cluster has 1 to {_NODES_MAX} nodes, not {nodes}")
    if nodes > 1 and not sys.platform.startswith("linux"):
        raise LocalNodeFailed(
            f"several local nodes need Linux; this is {sys.platform}", hint=f"use one, or {_ELSEWHERE}"
        )
    if idle_s is not None and idle_s <= 0:
        raise ConfigurationError(f"idle_s is {idle_s}, not a positive number of seconds")
    return State(
        name=f"cluster-{nodes}" if nodes > 1 and name == DEFAULT_NAME else name,
        version=CASSANDRA_VERSION,
        hosts=tuple(f"127.0.0.{index + 1}" for index in range(nodes)),
        port=0,
        storage_port=0,
        heap_mb=choose_heap_mb(heap_mb, available_mb=memory_mb(), nodes=nodes),
        idle_s=idle_s or number_from_environment("FEASTRA_IDLE_S") or DEFAULT_IDLE_S,
        settings=json.dumps(dict(settings or {}), sort_keys=True, default=str),
        ready=False,
    )


def refuse_windows() -> None:
    """Say where to go from Windows.

    Raises
    ------
    LocalNodeFailed
        This is Windows.
    """
    if sys.platform == "win32":
        raise LocalNodeFailed("Cassandra does not run on Windows", hint=f"start the notebook in WSL, or {_ELSEWHERE}")


def reusable(directory: Path, wanted: State, *, idle_s: float | None, settings_given: bool) -> State | None:
    """Return the state of the cluster that runs in a directory, None where none does.

    Raises
    ------
    ConfigurationError
        One runs, with another number of nodes or other settings.
    """
    state = read_state(directory)
    if state is None or not state.ready or not state.is_running():
        return None
    if len(state.hosts) != len(wanted.hosts) or (settings_given and state.settings != wanted.settings):
        raise ConfigurationError(
            f"{state.name!r} already runs with {len(state.hosts)} node(s) and settings {state.settings}",
            hint=f"stop it first (`feastra down --name {state.name}`), or start this one under another name",
        )
    if idle_s is not None and idle_s != state.idle_s:
        state = replace(state, idle_s=idle_s)
        write_state(directory, state)
    touch_state(directory)
    return state


def with_ports(directory: Path, wanted: State) -> State:
    """Return the state with the ports that this data had before, where they are still free, else with new ones.

    Raises
    ------
    ConfigurationError
        The data was made by another number of nodes.
    """
    path = layout_path(make_private(directory))
    layout = read_layout(directory)
    nodes = layout.get("nodes", len(wanted.hosts))
    if nodes != len(wanted.hosts):
        raise ConfigurationError(
            f"the data of {wanted.name!r} belongs to {nodes} node(s), not {len(wanted.hosts)}",
            hint=f"start as many as before, take another name, or delete it: `feastra purge --name {wanted.name}`",
        )
    port = free_port(wanted.hosts, wanted=layout.get("port"))
    storage_port = free_port(wanted.hosts, wanted=layout.get("storage_port"), taken=(port,))
    layout |= {"nodes": len(wanted.hosts), "port": port, "storage_port": storage_port}
    write_private(path, json.dumps(layout))
    return replace(wanted, port=port, storage_port=storage_port)


def layout_path(directory: Path) -> Path:
    """Return the file that says how many nodes a directory's data belongs to, and at which ports they were."""
    return directory / "layout.json"


def read_layout(directory: Path) -> dict[str, int]:
    """Return the content of that file; where it cannot be read, what the data shows."""
    try:
        layout = json.loads(layout_path(directory).read_text("utf-8"))
        return {name: int(layout[name]) for name in ("nodes", "port", "storage_port", _TOLD) if name in layout}
    except (OSError, ValueError, TypeError):  # none yet, or cut short by a full disk
        nodes = len(node_dirs(directory))
        return {"nodes": nodes} if nodes else {}


def with_login(directory: Path, wanted: State) -> None:
    """Make a login for a directory without data."""
    is_new = not any((home / "data").exists() for home in node_dirs(directory))
    if is_new and not decides_itself(json.loads(wanted.settings)) and read_login(directory) is None:
        make_login(directory)


def tell_if_open(directory: Path, state: State) -> None:
    """Warn, once for each directory, of a node that was made before nodes had passwords."""
    layout = read_layout(directory)
    if decides_itself(json.loads(state.settings)) or read_login(directory) is not None or layout.get(_TOLD):
        return
    write_private(layout_path(directory), json.dumps({**layout, _TOLD: 1}))
    what = "stop it and give it one" if len(state.hosts) == 1 else "delete its data, and the next start makes one with"
    command = "protect" if len(state.hosts) == 1 else "purge"
    warn_user(
        f"the local node {state.name!r} has no password: every user of this machine can read and change its data; "
        f"{what}: `feastra {command} --name {state.name}`"
    )
