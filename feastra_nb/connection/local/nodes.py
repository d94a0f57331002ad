"""Bring the nodes of a local cluster up, one after another, and take them down."""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feastra_nb.connection.files import make_private, write_private
from feastra_nb.connection.local import roles
from feastra_nb.connection.local.config import (
    NODE_PROPERTY,
    cassandra_settings,
    guarded_settings,
    jvm_arguments,
    logback_xml,
)
from feastra_nb.connection.local.internode import encryption_options, make_keystore
from feastra_nb.connection.local.login import login_of, login_path
from feastra_nb.connection.local.probe import ask
from feastra_nb.connection.local.process import launch, log_size, log_tail, owns_port, terminate
from feastra_nb.connection.local.state import State, find_processes, forget_state, node_dirs, read_state, write_state
from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from feastra_nb.connection.local.java import Java
    from feastra_nb.connection.local.probe import NodeAnswer
    from feastra_nb.connection.local.state import ProcessId

_POLL_S = 0.2
_STOP_TIMEOUT_S = 60.0
_LOGIN_GRACE_S = 10.0  # the default login is made a moment after the port opens
_WATCHDOG = "feastra_nb.connection.local.watchdog"


@dataclass(frozen=True, slots=True)
class Means:
    """What nodes are started with, beside their state."""

    java: Java
    jars: tuple[Path, ...]
    timeout_s: float
    progress: bool


def node_dir(directory: Path, index: int) -> Path:
    """Return the directory of one node of a cluster, counted from 0; its name counts from 1."""
    return directory / f"node-{index + 1}"


def system_log(directory: Path, index: int) -> Path:
    """Return the log that Cassandra itself writes."""
    return node_dir(directory, index) / "system.log"


def node_mark(directory: Path, index: int) -> str:
    """Return the argument that marks the process of one node."""
    return f"{NODE_PROPERTY}{node_dir(directory, index)}"


def bring_up(directory: Path, state: State, means: Means, *, only: int | None = None) -> State:
    """Start every node that is not running, or only one, and return the state once all that run know each other.

    The caller holds the directory's lock. On any failure, Ctrl-C too, what was started here is ended again.
    """
    before = {node.pid for node in state.nodes if node.is_alive()}
    if (login := login_of(directory, state)) is not None:
        make_keystore(directory, login, means.java)
    try:
        for index in range(len(state.hosts)):
            if only in (None, index) and not _is_alive(state, index):
                state = _start_node(directory, state, index, means)
        _wait_until_met(directory, state, means)
        _wait_until_roles_are_shared(directory, state, means)
        state = replace(state, ready=True)
        write_state(directory, state)
    except BaseException:
        terminate([each for each in _processes(directory, state) if each.pid not in before], timeout_s=_STOP_TIMEOUT_S)
        if not before:
            forget_state(directory)  # the watchdog sees that and ends
        raise
    return state


def take_down(directory: Path, *, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
    """End all processes of a directory, also such as no state file knows; return whether there were any.

    The caller holds the directory's lock.
    """
    state = read_state(directory)
    processes = _processes(directory, state)
    terminate(processes, timeout_s=timeout_s)
    if state is not None and state.watchdog is not None:
        terminate([state.watchdog], timeout_s=timeout_s)
    forget_state(directory)
    return bool(processes)


def ensure_watchdog(directory: Path, state: State) -> State:
    """Return the state with a living watchdog: the one that is there, else a new one."""
    if state.watchdog is not None and state.watchdog.is_alive():
        return state
    command = [sys.executable, "-m", _WATCHDOG, str(directory)]
    watchdog = launch(command, mark=_WATCHDOG, directory=directory, log=directory / "watchdog.log")
    state = replace(state, watchdog=watchdog)
    write_state(directory, state)
    return state


def _processes(directory: Path, state: State | None) -> tuple[ProcessId, ...]:
    known = state.nodes if state is not None else ()
    processes = find_processes(f"{NODE_PROPERTY}{home}" for home in node_dirs(directory))
    return (
        *processes,
        *(node for node in known if node.is_alive() and node.pid not in {each.pid for each in processes}),
    )


def _start_node(directory: Path, state: State, index: int, means: Means) -> State:
    began = time.monotonic()
    home = _furnish(directory, state, index)
    since = log_size(system_log(directory, index))
    arguments = jvm_arguments(home, jars=means.jars, heap_mb=state.heap_mb, nodes=len(state.hosts))
    process = launch(
        [str(means.java.executable), *arguments],
        mark=node_mark(directory, index),
        directory=home,
        log=home / "console.log",
    )
    state = state.with_node(index, process)
    write_state(directory, state)
    state = ensure_watchdog(directory, state)
    text = f"Starting Cassandra {state.version}{_of_several(state, index)}"
    refusals: list[float] = []
    with _waiting(text, shown=means.progress) as tick:
        while (version := _version(directory, state, index, refusals)) is None:
            if not process.is_alive():
                raise _failed(directory, state, index, since, "ended while it started")
            if time.monotonic() - began > means.timeout_s:
                raise _failed(directory, state, index, since, f"did not answer within {means.timeout_s:.0f} s")
            tick()
            time.sleep(_POLL_S)
    return replace(state, version=version)


def _version(directory: Path, state: State, index: int, refusals: list[float]) -> str | None:
    """Return the release that a node answers with, None as long as there is no answer.

    Of a node whose login is the user's affair, and not Cassandra's default, the expected release.
    """
    if not owns_port(state.nodes[index], state.hosts[index], state.port):
        return None
    answer = _ask(directory, state, index)
    if answer is None or answer.version is not None:
        return answer.version if answer is not None else None
    refusals.append(time.monotonic())
    if refusals[-1] - refusals[0] <= _LOGIN_GRACE_S:
        return None
    if login_of(directory, state) is not None:
        raise LocalNodeFailed(
            f"the local node {state.name!r} does not take the password in {login_path(directory)}",
            hint=f"restore that file, or delete the node's data: `feastra purge --name {state.name}`",
        )
    return state.version


def _ask(directory: Path, state: State, index: int) -> NodeAnswer | None:
    """Return a node's answer; the first one of a cluster is made to know our login first."""
    host, settings, login = state.hosts[index], json.loads(state.settings), login_of(directory, state)
    if login is None:
        return ask(host, state.port, settings)
    if index == 0:
        return roles.enter(directory, host, state.port, settings, login, nodes=len(state.hosts))
    return ask(host, state.port, settings, (login.username, login.password.reveal()))


def _is_alive(state: State, index: int) -> bool:
    return index < len(state.nodes) and state.nodes[index].is_alive()


def _of_several(state: State, index: int) -> str:
    return f", node {index + 1} of {len(state.hosts)}" if len(state.hosts) > 1 else ""


def _furnish(directory: Path, state: State, index: int) -> Path:
    """Make a node's directory with its configuration, and return it."""
    home = make_private(node_dir(directory, index))
    shutil.rmtree(home / "tmp", ignore_errors=True)  # unpacked native libraries of a node that was killed
    make_private(home / "tmp")
    make_private(home / "triggers")  # empty; without it Cassandra warns
    login = login_of(directory, state)
    guard = (
        {}
        if login is None
        else guarded_settings() | {"server_encryption_options": encryption_options(directory, login)}
    )
    content = cassandra_settings(
        home,
        name=state.name,
        host=state.hosts[index],
        seed=state.hosts[0],
        port=state.port,
        storage_port=state.storage_port,
        heap_mb=state.heap_mb,
        settings=guard | json.loads(state.settings),
    )
    write_private(home / "cassandra.yaml", json.dumps(content, indent=1))  # JSON is yaml, and needs no quoting rules
    write_private(home / "logback.xml", logback_xml(system_log(directory, index)))
    return home


def _wait_until_met(directory: Path, state: State, means: Means) -> None:
    """Wait until every node knows all the others: a client that asks any of them then finds the whole cluster."""
    began = time.monotonic()
    missing = [host for index, host in enumerate(state.hosts) if len(state.hosts) > 1 and _is_alive(state, index)]
    while missing := [host for host in missing if not _knows_all(directory, state, host)]:
        if time.monotonic() - began > means.timeout_s:
            index = state.hosts.index(missing[0])
            raise _failed(directory, state, index, 0, f"does not see the others after {means.timeout_s:.0f} s")
        time.sleep(_POLL_S)


def _wait_until_roles_are_shared(directory: Path, state: State, means: Means) -> None:
    """Wait until every node has the roles, so that any of them lets clients in; where one is stopped, they had them before."""
    login, began = login_of(directory, state), time.monotonic()
    if login is None or len(state.hosts) == 1 or not all(_is_alive(state, index) for index in range(len(state.hosts))):
        return
    while not roles.share_roles(state.hosts[0], state.port, json.loads(state.settings), login):
        if time.monotonic() - began > means.timeout_s:
            raise _failed(directory, state, 0, 0, f"could not share its roles within {means.timeout_s:.0f} s")
        time.sleep(_POLL_S)


def _knows_all(directory: Path, state: State, host: str) -> bool:
    answer = _ask(directory, state, state.hosts.index(host))
    return answer is not None and answer.peers in (None, len(state.hosts) - 1)


def _failed(directory: Path, state: State, index: int, since: int, what: str) -> LocalNodeFailed:
    log, console = system_log(directory, index), node_dir(directory, index) / "console.log"
    tail = log_tail(log, since=since) or log_tail(console)
    node = f"Cassandra {state.version}{_of_several(state, index)}"
    return LocalNodeFailed(
        f"{node} {what}; the end of its log:\n{tail or '(it wrote nothing)'}",
        hint=f"the full log is {log}, what it printed is {console}",
    )


@contextmanager
def _waiting(text: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show one line with the seconds that passed; the function that is yielded brings it up to date."""
    from feastra_nb.reporting.progress import line

    began = time.monotonic()
    shown_s = -1
    with line(shown=shown) as say:

        def tick() -> None:
            nonlocal shown_s
            passed_s = int(time.monotonic() - began)
            if passed_s != shown_s:
                shown_s = passed_s
                say(f"{text} … {passed_s} s")

        tick()
        yield tick
        say(f"{text} … answered after {time.monotonic() - began:.1f} s")
