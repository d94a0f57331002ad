"""Under Astra's limits all that the product does works, and the server has nothing to warn of."""

import io
import logging

import numpy as np
import pandas as pd
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN

import feastra_nb as fnb
from feastra_nb.errors import ConfigurationError, RequestFailed

ENTITIES, FEATURES = 3_000, 60  # more features than Astra allows columns


@pytest.fixture
def astra_ws(astra, open_astra, caplog):
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


def test_what_a_notebook_does_works_under_the_limits(astra_ws, wide, now):
    done = astra_ws.materialize(wide, "wide", keys=["k"], ttl="1d", progress=False)
    assert done.rows == 2 * ENTITIES
    keys = {"k": list(range(100))}
    assert np.array_equal(astra_ws.online("wide:f59", keys)["f59"], wide["f59"][ENTITIES : ENTITIES + 100])
    before = astra_ws.online("wide:f0", keys, as_of=now - pd.Timedelta("90min"))
    assert np.array_equal(before["f0"], wide["f0"][:100])
    assert astra_ws.skew("wide").ok
    assert astra_ws.skew("wide", spine=wide[["k", "event_timestamp"]]).ok
    assert "f7" in repr(astra_ws.explain("wide:f7", {"k": 5}))
    measured = astra_ws.latency("wide", keys, batch=(1, 100), seconds=0.5, warmup_s=0.1, progress=False, yes=True)
    assert not measured.frame["errors"].any()
    assert len(astra_ws.views()) == len(astra_ws.freshness()) == 1


def test_upkeep_works_under_the_limits(astra_ws, wide, now):
    astra_ws.materialize(wide, "wide", keys=["k"], progress=False, retain="latest")
    assert astra_ws.online("wide", {"k": [1]}, status=True)["f0__status"].tolist() == ["PRESENT"]
    late = wide.head(50).assign(event_timestamp=now - pd.Timedelta("10min"), f0=1.0)
    astra_ws.materialize(late, "wide", keys=["k"], progress=False)
    assert astra_ws.online("wide:f0", {"k": [49]})["f0"].tolist() == [1.0]
    astra_ws.prune("wide")
    assert astra_ws.forget("wide", {"k": list(range(100))}) == 100
    assert astra_ws.online("wide:f0", {"k": [49, 2_999]})["f0"].isna().tolist() == [True, False]
    astra_ws.drop("wide")
    assert astra_ws.views().empty


def test_a_person_is_forgotten_under_the_limits(astra_ws, wide, capsys):
    visits = wide.assign(place=[f"p{number % 3}" for number in wide["k"]])
    astra_ws.materialize(wide, "wide", keys=["k"], progress=False)
    astra_ws.materialize(visits, "visits", keys=["k", "place"], progress=False)
    report = astra_ws.forget_entity({"k": list(range(1_000))})
    assert report.frame["rows_online"].tolist() == [2_000, 2_000]
    assert "Astra bills by use: a scan of the keys of 1 views takes about" in capsys.readouterr().err
    assert astra_ws.materialize("visits", start="2020-01-01T00:00Z", progress=False).suppressed == 2_000
    assert astra_ws.online("visits:f0", {"k": [999, 1_000], "place": ["p0", "p1"]})["f0"].isna().tolist() == [
        True,
        False,
    ]


def test_feasts_own_materialization_works_under_the_limits(astra_ws, wide, now, tmp_path, monkeypatch):
    astra_ws.materialize(wide.head(10), "wide", keys=["k"], progress=False)
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    with fnb.connect(repo=astra_ws.save(tmp_path / "repo")) as plain:
        plain.feast.materialize(now - pd.Timedelta("1d"), now)
        assert plain.online("wide:f0", {"k": [9]})["f0"].tolist() == [wide["f0"][9]]


def test_a_level_that_astra_does_not_write_at_is_refused_in_words(astra, open_astra, wide):
    astra_ws = open_astra(fnb.Astra("features", TOKEN), keyspace=KEYSPACE, consistency="ONE")
    with pytest.raises(RequestFailed, match="write consistency levels") as caught:
        astra_ws.materialize(wide.head(3), "refused", keys=["k"], progress=False)
    assert 'consistency="LOCAL_QUORUM"' in caught.value.hint


# --- use is billed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(astra, open_astra, wide):
    """A workspace with a view of one feature."""
    astra_ws = open_astra(fnb.Astra("features", TOKEN), keyspace=KEYSPACE)
    astra_ws.materialize(wide[["k", "event_timestamp", "f0"]], "narrow", keys=["k"], progress=False)
    return astra_ws


def test_what_a_comparison_and_a_scan_take_is_shown_before(narrow, wide, capsys):
    narrow.skew("narrow")
    assert capsys.readouterr().err == "Astra bills by use: this comparison takes about 3,000 reads.\n"
    narrow.skew("narrow", spine=wide[["k", "event_timestamp"]].iloc[[0, 1, ENTITIES]])
    assert "about 2 reads" in capsys.readouterr().err  # of two entities; one is asked for twice
    narrow.prune("narrow", dry_run=True)
    assert capsys.readouterr().err == "Astra bills by use: a scan of view narrow takes about 199 reads.\n"
    narrow.prune("narrow")
    assert "and a write for each entity that it deletes of" in capsys.readouterr().err


def test_a_measurement_is_gentle_and_asks_first(narrow, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    short = {"seconds": 1, "warmup_s": 0, "batch": (1, 10), "progress": False}
    with pytest.raises(ConfigurationError, match="not agreed to"):
        narrow.latency("narrow", {"k": list(range(20))}, **short)
    assert asked == ["Astra bills by use: this measurement takes about 110 reads. Go on? [y/N] "]
    monkeypatch.setattr("builtins.input", lambda _: "y")
    frame = narrow.latency("narrow", {"k": list(range(20))}, **short).frame
    assert (frame["asked_rate"] == 10).all()
    fast = narrow.latency("narrow", rate=50, yes=True, **short).frame
    assert (fast["asked_rate"] == 50).all()
    assert "about 10,550 reads" in capsys.readouterr().err  # with those that look for entities
    assert narrow.latency("narrow", concurrency=2, yes=True, **short).frame["asked_rate"].isna().all()
    assert "as many reads as the database answers in that time" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda _: "")
    with pytest.raises(ConfigurationError, match="finding the capacity was not agreed to"):
        narrow.capacity("narrow", {"k": [1]}, p99_ms=50)


def test_where_nobody_can_be_asked_the_error_says_how_to_agree(narrow, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigurationError, match="Nobody can be asked here") as caught:
        narrow.latency("narrow", {"k": [1]}, batch=1)
    assert "yes=True" in caught.value.hint


def test_a_saved_repository_on_astra_is_billed_too(narrow, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    with fnb.connect(repo=narrow.save(tmp_path / "repo"), read_only=True) as plain:
        capsys.readouterr()
        plain.skew("narrow", sample=7)
    assert "about 7 reads" in capsys.readouterr().err


def test_a_local_node_costs_nothing(filled, capsys):
    filled.skew("drivers")
    measured = filled.latency("drivers", seconds=0.1, warmup_s=0, batch=1, progress=False)
    assert measured.frame["asked_rate"].isna().all()
    assert "bills" not in capsys.readouterr().err
