"""The blocks inside an ``online_store`` block; `online_store.FeastraOnlineStoreConfig` is what holds them."""

from __future__ import annotations

from typing import Any

from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictInt, StrictStr


class ConsistencyConfig(FeastConfigBaseModel):
    """Consistency levels; both ``LOCAL_QUORUM`` unless said otherwise."""

    read: StrictStr = "LOCAL_QUORUM"
    write: StrictStr = "LOCAL_QUORUM"


class DatacenterConfig(FeastConfigBaseModel):
    """One data centre, as Feast's ``type: cassandra`` describes it."""

    name: StrictStr
    hosts: list[StrictStr]
    replication_factor: StrictInt | None = None
    replication_strategy: StrictStr | None = None


class RoutingConfig(FeastConfigBaseModel):
    """Which data centre to read from and to write to."""

    read_dc: StrictStr | None = None
    write_dc: StrictStr | None = None


class LoadBalancingConfig(FeastConfigBaseModel):
    """The local data centre; the policy is always token-aware within it, whatever Feast's key says."""

    load_balancing_policy: StrictStr = "TokenAwarePolicy(DCAwareRoundRobinPolicy)"
    local_dc: StrictStr = "datacenter1"


class AstraConfig(FeastConfigBaseModel):
    """An Astra DB database; the token is here, the store's ``password``, or ``ASTRA_DB_APPLICATION_TOKEN``."""

    database: StrictStr
    token: Any = None
    region: StrictStr | None = None
    devops_url: StrictStr | None = None
