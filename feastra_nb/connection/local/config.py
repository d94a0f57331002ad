"""Configuration of the local Cassandra: memory, cassandra.yaml, logback.xml and the JVM's arguments.

Guardrails, batch size and tombstone thresholds stay at Cassandra's own defaults on purpose: what warns on a real
cluster is to warn here too.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from feastra_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA_CENTRE = "datacenter1"  # what SimpleSnitch calls it
MAIN_CLASS = "org.apache.cassandra.service.CassandraDaemon"
NODE_PROPERTY = "-Dfeastra_nb.node="  # on the command line, so that a process can be told from one with a reused pid

_MB = 1 << 20
_HEAP_SHARE = 0.25  # of the memory that is there; the JVM needs about 400 MB beside its heap
_HEAP_MIN_MB = 384  # below this the collector runs all the time
_HEAP_MAX_MB = 1024  # plenty for a notebook; more is an argument away
_HEAP_MAX_OF_SEVERAL_MB = 512
_HEAP_LEAST_MB = 256  # Cassandra does not start with less
_DIRECT_LEAST_MB = 192  # up to four segments of the commit log are built there, beside the caches
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # version 2, version 1

# What Cassandra's code reaches into; the union for Java 17 and Java 11.
_EXPORTS = (
    "java.base/java.lang.ref", "java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp", "java.sql/java.sql", "jdk.unsupported/sun.misc",
)  # fmt: skip
_OPENS = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect",
    "java.base/java.math", "java.base/java.net", "java.base/java.nio", "java.base/java.util",
    "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math", "java.base/jdk.internal.module", "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar", "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)  # fmt: skip

_LOGBACK = """\
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{log}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{log}.%i</fileNamePattern><minIndex>1</minIndex><maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>20MB</maxFileSize>
    </triggeringPolicy>
    <encoder><pattern>%-5level [%thread] %date{{ISO8601}} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE" /></root>
</configuration>
"""


def memory_mb() -> int:
    """Return the memory that there is for this process, in MB: the machine's, or its container's where that is less."""
    import psutil

    total = psutil.virtual_memory().total
    return int(min(total, *(_limit_bytes(path) or total for path in _CGROUP_LIMITS)) // _MB)


def _limit_bytes(path: str) -> int | None:
    try:
        return int(Path(path).read_text("ascii"))
    except (OSError, ValueError):  # no such version of cgroups, or "max": no limit
        return None


def choose_heap_mb(asked_mb: int | None, *, available_mb: int, nodes: int = 1) -> int:
    """Return the heap of one node, in MB: what was asked, else ``FEASTRA_HEAP_MB``, else a share of the memory.

    Parameters
    ----------
    asked_mb
        The argument, if any.
    available_mb
        The memory that is there.
    nodes
        Nodes that share it.

    Raises
    ------
    ConfigurationError
        Less was asked than Cassandra starts with.

    Examples
    --------
    >>> choose_heap_mb(None, available_mb=2_048), choose_heap_mb(None, available_mb=32_768)
    (512, 1024)
    >>> choose_heap_mb(None, available_mb=2_048, nodes=3)
    384
    """
    chosen = asked_mb if asked_mb is not None else number_from_environment("FEASTRA_HEAP_MB")
    if chosen is None:
        most_mb = _HEAP_MAX_MB if nodes == 1 else _HEAP_MAX_OF_SEVERAL_MB
        return int(min(most_mb, max(_HEAP_MIN_MB, available_mb * _HEAP_SHARE / nodes)))
    if chosen < _HEAP_LEAST_MB:
        raise ConfigurationError(
            f"a heap of {chosen:.0f} MB is too small for Cassandra", hint=f"ask for {_HEAP_LEAST_MB} MB or more"
        )
    return int(chosen)


def number_from_environment(variable: str) -> float | None:
    """Return a positive number from an environment variable, None where it is not set.

    Raises
    ------
    ConfigurationError
        It is set to something else.
    """
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{variable} is {text!r}, not a positive number")
    return number


def jvm_options_from_environment() -> tuple[str, ...]:
    """Return the options in ``FEASTRA_JVM_OPTIONS``, split as a shell splits them; none where it is not set.

    Raises
    ------
    ConfigurationError
        One is not an option, or a quotation has no end.
    """
    text = os.environ.get("FEASTRA_JVM_OPTIONS", "")
    try:
        options = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigurationError(f"FEASTRA_JVM_OPTIONS is {text!r}: {error}") from error
    for option in options:
        if not option.startswith("-"):  # Java would take it for the program
            raise ConfigurationError(
                f"FEASTRA_JVM_OPTIONS has {option!r}, which is not an option of Java", hint="each begins with '-'"
            )
    return options


def cassandra_settings(
    directory: Path,
    *,
    name: str,
    host: str,
    seed: str,
    port: int,
    storage_port: int,
    heap_mb: int,
    settings: Mapping[str, object],
) -> dict[str, Any]:
    """Return the content of one node's cassandra.yaml; ``settings`` is merged into it and wins.

    Memory beside the heap is kept small: a quarter of the heap for memtables, a sixteenth each for the file cache
    and for the buffers between nodes.
    """
    own: dict[str, Any] = {
        "cluster_name": f"feastra-nb {name}",
        "num_tokens": 16,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(directory / "data")],
        "commitlog_directory": str(directory / "commitlog"),
        "saved_caches_directory": str(directory / "saved_caches"),
        "hints_directory": str(directory / "hints"),
        "cdc_raw_directory": str(directory / "cdc_raw"),
        # A write is acknowledged when it is on the disk, so that a node that is killed loses none. Compressed, since then
        # only what is new is written and synced: half as much again faster than through the mapped segment.
        "commitlog_sync": "batch",
        "commitlog_compression": [{"class_name": "LZ4Compressor"}],
        "commitlog_segment_size": "16MiB",
        "commitlog_total_space": "256MiB",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{seed}:{storage_port}"}],
            }
        ],
        "listen_address": host,
        "rpc_address": host,
        "native_transport_port": port,
        "storage_port": storage_port,
        "endpoint_snitch": "SimpleSnitch",
        "hinted_handoff_enabled": True,
        "block_for_peers_timeout_in_secs": 2,  # the first node of a stopped cluster has none to wait for
        "auto_snapshot": False,
        "memtable_heap_space": f"{heap_mb // 4}MiB",
        "memtable_offheap_space": f"{heap_mb // 4}MiB",
        "file_cache_size": f"{heap_mb // 16}MiB",
        "networking_cache_size": f"{heap_mb // 16}MiB",
        "key_cache_size": "16MiB",
        "counter_cache_size": "0MiB",
    }
    return {**own, **settings}


def guarded_settings() -> dict[str, Any]:
    """Return what lets only known roles in, each known to every node by itself."""
    return {
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "credentials_validity": "0ms",  # else a password that was changed opens the node for two more seconds
        # What a node knows of a role's rights it goes on to know where another node that should tell it hangs; an answer that
        # does not come would count as "no right". It is asked for anew every two seconds all the same.
        "roles_validity": "1h",
        "roles_update_interval": "2s",
        "permissions_validity": "1h",
        "permissions_update_interval": "2s",
        "auth_read_consistency_level": "LOCAL_ONE",  # every node has all roles: one that is alone lets clients in
    }


def logback_xml(log: Path) -> str:
    """Return a logback.xml that writes one log file of bounded size."""
    return _LOGBACK.format(log=escape(str(log)))


def jvm_arguments(directory: Path, *, jars: Sequence[Path], heap_mb: int, nodes: int) -> list[str]:
    """Return the arguments of ``java`` for the node in a directory.

    Those of ``FEASTRA_JVM_OPTIONS`` come after ours, so that they win.

    There is no JMX: nothing here needs it, and a JMX port without a password lets every user of the machine run code.
    """
    agents = [f"-javaagent:{jar}" for jar in jars if jar.name.startswith("jamm-")]  # sizes memtables
    return [
        f"{NODE_PROPERTY}{directory}",
        *agents,
        # The heap starts small and grows when it is used: a notebook's node mostly idles.
        f"-Xms{max(_HEAP_LEAST_MB, heap_mb // 2)}m",
        f"-Xmx{heap_mb}m",
        f"-XX:MaxDirectMemorySize={max(_DIRECT_LEAST_MB, heap_mb // 4)}m",
        "-Xss256k",
        "-XX:+UseG1GC",
        "-XX:+ParallelRefProcEnabled",
        "-XX:MaxGCPauseMillis=100",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        f"-XX:ErrorFile={directory / 'hs_err.log'}",
        *(argument for each in _EXPORTS for argument in ("--add-exports", f"{each}=ALL-UNNAMED")),
        *(argument for each in _OPENS for argument in ("--add-opens", f"{each}=ALL-UNNAMED")),
        "-Djdk.attach.allowAttachSelf=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Djava.io.tmpdir={directory / 'tmp'}",  # native libraries unpack here; /tmp may be mounted noexec
        f"-Djna.tmpdir={directory / 'tmp'}",
        f"-Dlogback.configurationFile={(directory / 'logback.xml').as_uri()}",
        f"-Dcassandra.config={(directory / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={directory}",
        f"-Dcassandra.triggers_dir={directory / 'triggers'}",
        "-Dcassandra-foreground=yes",
        *_quick_start(nodes),
        *jvm_options_from_environment(),
        "-cp",
        os.pathsep.join(str(jar) for jar in jars),
        MAIN_CLASS,
    ]


def _quick_start(nodes: int) -> tuple[str, ...]:
    """Return the waits that a node on its own, or one that joins on the same machine, can do without."""
    # A joining node must have heard from all others by gossip, which speaks once a second; one that leaves tells them.
    ring_delay_ms, announce_ms = (1_000, 0) if nodes == 1 else (2_000, 1_000)
    return (
        f"-Dcassandra.ring_delay_ms={ring_delay_ms}",
        f"-Dcassandra.shutdown_announce_in_ms={announce_ms}",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        # A password of 256 random bits needs no slow hash against guessing; the usual one takes 0.1 s at each login.
        "-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4",
    )
