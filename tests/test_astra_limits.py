"""Under Astra's limits all that the product does works, and the server has nothing to warn of."""

import logging

import numpy as np
import pandas as pd
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN

import feastra_nb as fnb
from feastra_nb.errors import RequestFailed

ENTITIES, FEATURES = 3_000, 60  # more features than Astra allows columns


@pytest.fixture
def ws(astra, open_astra, caplog):
    """A workspace on Astra; at the end the server has warned of nothing."""
    logging.getLogger("cassandra").propagate = True
    with caplog.at_level(logging.WARNING):
        yield open_astra(fnb.Astra("features", TOKEN), keyspace=KEYSPACE)
        warned = [one.getMessage() for one in caplog.records if "warning" in one.getMessage().lower()]
    assert warned == []


@pytest.fixture
def wide(now):
    """Two events of each entity, an hour apart."""
    names = [f"f{i}" for i in range(FEATURES)]
    values = np.random.default_rng(0).normal(size=(2 * ENTITIES, FEATURES))
    frame = pd.DataFrame(values, columns=names)
    frame["k"] = np.tile(np.arange(ENTITIES), 2)
    frame["event_timestamp"] = np.repeat([now - pd.Timedelta("2h"), now - pd.Timedelta("1h")], ENTITIES)
    return frame


def test_what_a_notebook_does_works_under_the_limits(ws, wide, now):
    done = ws.materialize(wide, "wide", keys=["k"], ttl="1d", progress=False)
    assert done.rows == 2 * ENTITIES
    keys = {"k": list(range(100))}
    assert np.array_equal(ws.online("wide:f59", keys)["f59"], wide["f59"][ENTITIES : ENTITIES + 100])
    before = ws.online("wide:f0", keys, as_of=now - pd.Timedelta("90min"))
    assert np.array_equal(before["f0"], wide["f0"][:100])
    assert ws.skew("wide").ok
    assert ws.skew("wide", spine=wide[["k", "event_timestamp"]]).ok
    assert "f7" in repr(ws.explain("wide:f7", {"k": 5}))
    measured = ws.latency("wide", keys, batch=(1, 100), seconds=0.3, warmup_s=0.1, progress=False)
    assert not measured.frame["errors"].any()
    assert len(ws.views()) == len(ws.freshness()) == 1


def test_upkeep_works_under_the_limits(ws, wide, now):
    ws.materialize(wide, "wide", keys=["k"], progress=False, retain="latest")
    assert ws.online("wide", {"k": [1]}, status=True)["f0__status"].tolist() == ["PRESENT"]
    late = wide.head(50).assign(event_timestamp=now - pd.Timedelta("10min"), f0=1.0)
    ws.materialize(late, "wide", keys=["k"], progress=False)
    assert ws.online("wide:f0", {"k": [49]})["f0"].tolist() == [1.0]
    ws.prune("wide")
    assert ws.forget("wide", {"k": list(range(100))}) == 100
    assert ws.online("wide:f0", {"k": [49, 2_999]})["f0"].isna().tolist() == [True, False]
    ws.drop("wide")
    assert ws.views().empty


def test_feasts_own_materialization_works_under_the_limits(ws, wide, now, tmp_path, monkeypatch):
    ws.materialize(wide.head(10), "wide", keys=["k"], progress=False)
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    with fnb.connect(repo=ws.save(tmp_path / "repo")) as plain:
        plain.feast.materialize(now - pd.Timedelta("1d"), now)
        assert plain.online("wide:f0", {"k": [9]})["f0"].tolist() == [wide["f0"][9]]


def test_a_level_that_astra_does_not_write_at_is_refused_in_words(astra, open_astra, wide):
    ws = open_astra(fnb.Astra("features", TOKEN), keyspace=KEYSPACE, consistency="ONE")
    with pytest.raises(RequestFailed, match="write consistency levels") as caught:
        ws.materialize(wide.head(3), "refused", keys=["k"], progress=False)
    assert 'consistency="LOCAL_QUORUM"' in caught.value.hint
