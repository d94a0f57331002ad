"""LocalCassandra: a real Apache Cassandra on this machine, from packages, shared by all of a user's processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feastra_nb.connection.astra.bundle import bundles_dir
from feastra_nb.connection.files import cache_dir, owns_cache
from feastra_nb.connection.local.files import (
    locked,
    make_cache,
    nodes_dir,
    remove,
    size_bytes,
)
from feastra_nb.connection.local.java import find_java
from feastra_nb.connection.local.login import login_at, login_of, make_login, read_login
from feastra_nb.connection.local.nodes import Means, bring_up, ensure_watchdog, system_log, take_down
from feastra_nb.connection.local.packages import fetch_jars, jars_dir
from feastra_nb.connection.local.plan import (
    DEFAULT_NAME,
    plan,
    refuse_windows,
    reusable,
    tell_if_open,
    with_login,
    with_ports,
)
from feastra_nb.connection.local.process import terminate
from feastra_nb.connection.local.state import State, lock_path, node_directory, node_dirs, node_names, read_state
from feastra_nb.errors import ConfigurationError, LocalNodeFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from feastra_nb.connection.secrets import Secret

__all__ = [
    "LocalCassandra",
    "cache_dir",
    "disk_use_bytes",
    "fetch",
    "login_at",
    "names",
    "protect",
    "purge",
    "running",
    "start",
    "stop",
]

_LOCK_TIMEOUT_S = 300.0  # longer than a start by another process takes


@dataclass(frozen=True, slots=True)
class LocalCassandra:
    """A running local node, or several.

    Attributes
    ----------
    name
        The name it was started under.
    hosts, port
        Where its nodes listen for CQL.
    pids
        The process of each node, in the order of the hosts; of a node that was stopped, the last one.
    directory
        Its data, configuration and logs.
    log_paths
        Cassandra's own log of each node.
    heap_mb
        The most heap that each node takes, in MB.
    version
        Cassandra's release.
    username, password
        What its clients log in with, a superuser; the password shows as ``***``, and ``password.reveal()`` is it. None
        where a node of former times has none, or the settings it was started with decide. `connect` finds them itself.
    """

    name: str
    hosts: tuple[str, ...]
    port: int
    pids: tuple[int, ...]
    directory: Path
    log_paths: tuple[Path, ...]
    heap_mb: int
    version: str
    username: str | None = None
    password: Secret | None = None

    def __repr__(self) -> str:
        where = ", ".join(f"{host}:{self.port}" for host in self.hosts)
        pids = ", ".join(map(str, self.pids))
        return f"LocalCassandra({self.name!r}, Cassandra {self.version} at {where}, heap {self.heap_mb} MB, pid {pids})"

    def is_running(self) -> bool:
        """Return whether any of these nodes lives."""
        state = self._state()
        return state is not None and state.is_running()

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop all nodes and wait for their processes to end; does nothing where they have ended already.

        Parameters
        ----------
        timeout_s
            How long to wait for a node to end by itself before it is killed, in seconds.
        """
        with locked(lock_path(self.directory), timeout_s=_LOCK_TIMEOUT_S):
            if self.is_running():
                take_down(self.directory, timeout_s=timeout_s)

    def stop_node(self, index: int, *, timeout_s: float = 60.0) -> None:
        """Stop one node, counted from 0, and wait for its process to end; ``timeout_s=0`` kills it soon after.

        Raises
        ------
        ConfigurationError
            There is no such node.
        """
        self._check_index(index)
        with locked(lock_path(self.directory), timeout_s=_LOCK_TIMEOUT_S):
            if (state := self._state()) is not None:
                terminate([state.nodes[index]], timeout_s=timeout_s)

    def start_node(self, index: int, *, progress: bool = True, timeout_s: float = 180.0) -> LocalCassandra:
        """Start one node that was stopped, counted from 0, and return the cluster with its new process.

        Raises
        ------
        ConfigurationError
            There is no such node.
        LocalNodeFailed
            It did not start, or no other node of the cluster is running.
        """
        self._check_index(index)
        with locked(lock_path(self.directory), timeout_s=_LOCK_TIMEOUT_S):
            state = self._state()
            if state is None or not state.is_running():
                raise LocalNodeFailed(f"{self.name!r} is not running any more", hint="start it again as a whole")
            means = Means(find_java(), fetch_jars(progress=progress), timeout_s, progress)
            return _describe(bring_up(self.directory, state, means, only=index))

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self.hosts):
            raise ConfigurationError(f"there is no node {index} among {len(self.hosts)}", hint="nodes count from 0")

    def _state(self) -> State | None:
        """Return the state as long as it is that of this cluster, not of one that was started later."""
        state = read_state(self.directory)
        ours = state is not None and any(node.pid in self.pids for node in state.nodes)
        return state if ours else None


def start(
    *,
    name: str = DEFAULT_NAME,
    nodes: int = 1,
    heap_mb: int | None = None,
    idle_s: float | None = None,
    settings: Mapping[str, object] | None = None,
    progress: bool = True,
    timeout_s: float = 180.0,
) -> LocalCassandra:
    """Return a running Cassandra: the one of this name if it runs, else a new one on the data of that name.

    It outlives this process, is shared by all processes of this user, and stops by itself when no client is left for a
    while. A new one gets the JVM options in ``FEASTRA_JVM_OPTIONS`` beside its own.

    Parameters
    ----------
    name
        Every name has its own data, ports and processes.
    nodes
        More than one makes a cluster on 127.0.0.1, 127.0.0.2, … (Linux only). Under the default name its data is
        that of ``cluster-<nodes>``, apart from the single node's.
    heap_mb
        Heap of each node, in MB. Default: ``FEASTRA_HEAP_MB``, else a quarter of the memory, 384 to 1024 (of several
        nodes: to 512). One that runs already keeps its own.
    idle_s
        Seconds without a client until it stops. Default: ``FEASTRA_IDLE_S``, else half an hour. Given for one that runs
        already, it holds from now on.
    settings
        Additions to cassandra.yaml, for every node; a path is written as text.
    progress
        Show the download and the waiting on stderr, a line each.
    timeout_s
        How long to wait for a node to answer, in seconds.

    Raises
    ------
    LocalNodeFailed
        It could not be downloaded or did not start; quotes the end of its log.
    ConfigurationError
        The arguments make no sense, or one of this name runs with others.
    """
    wanted = plan(name, nodes, heap_mb, idle_s, settings)
    directory = node_directory(wanted.name)
    # A download may take minutes, so it comes before the lock of the node.
    jars = fetch_jars(progress=progress) if running(wanted.name) is None else ()
    make_cache()
    with locked(lock_path(directory), timeout_s=_LOCK_TIMEOUT_S):
        state = reusable(directory, wanted, idle_s=idle_s, settings_given=settings is not None)
        if state is None:
            take_down(directory)  # what an interrupted start may have left
            state = with_ports(directory, wanted)
            with_login(directory, wanted)
        if len(state.nodes) < nodes or not all(node.is_alive() for node in state.nodes):
            means = Means(find_java(), jars or fetch_jars(progress=progress), timeout_s, progress)
            state = bring_up(directory, state, means)
        tell_if_open(directory, state)
        return _describe(ensure_watchdog(directory, state))


def running(name: str = DEFAULT_NAME) -> LocalCassandra | None:
    """Return the local Cassandra of a name if it is up; None if it is not, or only just starts."""
    state = read_state(node_directory(name))
    return _describe(state) if state is not None and state.ready and state.is_running() else None


def stop(name: str = DEFAULT_NAME) -> bool:
    """Stop the local Cassandra of a name, wait for it to end, and return whether there was one."""
    directory = node_directory(name)
    if not directory.is_dir():
        return False
    with locked(lock_path(directory), timeout_s=_LOCK_TIMEOUT_S):
        return take_down(directory)


def protect(name: str = DEFAULT_NAME) -> bool:
    """Give a node that was made before nodes had passwords one, from its next start on; stops it if it runs.

    Returns
    -------
    bool
        False where it has one already.

    Raises
    ------
    ConfigurationError
        There is no such node, or it is one of several: those cannot be changed over.
    """
    directory = node_directory(name)
    if not node_dirs(directory):
        raise ConfigurationError(f"there is no local node {name!r}", hint=f"there are: {', '.join(names()) or 'none'}")
    with locked(lock_path(directory), timeout_s=_LOCK_TIMEOUT_S):
        if read_login(directory) is not None:
            return False
        if len(node_dirs(directory)) > 1:
            raise ConfigurationError(
                f"{name!r} has several nodes, which cannot be given a password later",
                hint=f"delete its data with `feastra purge --name {name}`; the next start makes it with one",
            )
        take_down(directory)
        make_login(directory)
        return True


def fetch(*, progress: bool = True) -> tuple[Path, ...]:
    """Download all that a local Cassandra needs and return its jars; afterwards no network is needed.

    Raises
    ------
    LocalNodeFailed
        Something could not be downloaded; what was is kept.
    """
    refuse_windows()
    return fetch_jars(progress=progress)


def names() -> tuple[str, ...]:
    """Return the names that have data on this machine, running or not."""
    return node_names()


def purge(name: str | None = None) -> int:
    """Stop a local Cassandra and delete its data.

    Parameters
    ----------
    name
        Which one; None: all of them, and all downloads, so the whole cache.

    Returns
    -------
    int
        The bytes freed.
    """
    if name is None:
        freed_bytes = sum(purge(each) for each in names())
        # A directory that held other things before it became our cache loses only what is ours.
        ours = cache_dir().iterdir() if owns_cache() else (nodes_dir(), jars_dir(), bundles_dir())
        return freed_bytes + sum(remove(path) for path in ours)
    directory = node_directory(name)
    if not directory.is_dir():
        return 0
    with locked(lock_path(directory), timeout_s=_LOCK_TIMEOUT_S):
        take_down(directory)
        return remove(directory) + remove(lock_path(directory))


def disk_use_bytes() -> dict[str, int]:
    """Return what the downloads (``"jars"``) and the data of each name occupy on the disk, in bytes."""
    return {"jars": size_bytes(jars_dir()), **{name: size_bytes(node_directory(name)) for name in names()}}


def _describe(state: State) -> LocalCassandra:
    directory = node_directory(state.name)
    login = login_of(directory, state)
    return LocalCassandra(
        name=state.name,
        hosts=state.hosts,
        port=state.port,
        pids=tuple(node.pid for node in state.nodes),
        directory=directory,
        log_paths=tuple(system_log(directory, index) for index in range(len(state.hosts))),
        heap_mb=state.heap_mb,
        version=state.version,
        username=login.username if login is not None else None,
        password=login.password if login is not None else None,
    )
