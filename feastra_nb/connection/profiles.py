"""Execution profiles of each kind of request: nodes, consistency level, and speculative retries on a second node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cassandra.cluster import ExecutionProfile
    from cassandra.policies import RetryPolicy

    from feastra_nb.connection.targets import ClusterSettings

READ, WRITE, TRANSACTION = "read", "write", "transaction"
# What has no answer by then is sent to a second node too; well above a healthy p99, well below a stall. To one only: of three
# nodes the third is left for the driver to turn to, should the connection to one of the others break.
READ_AGAIN_S, WRITE_AGAIN_S = 0.1, 0.5
AGAIN = 1
LOOPBACK = ("127.", "localhost", "::1")


def profiles(settings: ClusterSettings, retry_policy: RetryPolicy) -> dict[Any, ExecutionProfile]:
    """Return the driver's execution profiles: ``READ``, ``WRITE``, ``TRANSACTION`` and its default."""
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
    from cassandra.policies import ConstantSpeculativeExecutionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    def profile(level: str, local_dc: str | None, again_s: float | None) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc or "")),
            retry_policy=retry_policy,
            consistency_level=consistency_value(level),
            request_timeout=settings.request_timeout_s,
            row_factory=tuple_factory,
            speculative_execution_policy=ConstantSpeculativeExecutionPolicy(again_s, AGAIN) if again_s else None,
        )

    several = has_several_nodes(settings)
    plain = profile(settings.write_consistency, settings.write_dc, None)
    return {
        EXEC_PROFILE_DEFAULT: plain,
        TRANSACTION: profile(settings.write_consistency, settings.write_dc, None),
        WRITE: profile(settings.write_consistency, settings.write_dc, WRITE_AGAIN_S if several else None),
        READ: profile(settings.read_consistency, settings.read_dc, READ_AGAIN_S if several else None),
    }


def has_several_nodes(settings: ClusterSettings) -> bool:
    """Tell whether there may be a second node to ask: not behind one contact point on loopback."""
    return len(settings.hosts) != 1 or not settings.hosts[0].startswith(LOOPBACK)


def consistency_value(name: str) -> int:
    """Return the driver's number of a consistency level."""
    from cassandra import ConsistencyLevel

    return int(ConsistencyLevel.name_to_value[name])
