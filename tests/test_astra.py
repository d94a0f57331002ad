"""Astra DB, on a stand-in of real parts: from a token and a name to features that are stored, read and compared."""

import logging
import os
import stat

import pandas as pd
import pytest
from astra_stand_in.database import CLIENT_ID, CLIENT_SECRET, KEYSPACE
from astra_stand_in.database import database as running
from astra_stand_in.devops import TOKEN, database, devops
from conftest import JVM_OPTIONS, workspaces

import feastra_nb as fnb
from feastra_nb.connection.astra import bundle
from feastra_nb.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    FeastraError,
    KeyspaceNotFound,
    UnknownName,
)

WRONG = "AstraCS:Wrong" + TOKEN[13:]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEASTRA_JVM_OPTIONS", JVM_OPTIONS)
        with running(f"tests-astra-{os.getpid()}", tmp_path_factory.mktemp("astra")) as started:
            yield started


@pytest.fixture
def astra(here, tmp_path, monkeypatch):
    """The DevOps API, with a database of two regions, an empty cache and an environment that says nothing else."""
    for name in list(os.environ):
        if name.startswith(("ASTRA_", "CASSANDRA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "none.json"))
    monkeypatch.setattr(bundle, "cache_dir", lambda: tmp_path / "cache")
    with devops() as api:
        api.add(database(1, "features", regions=("us-east1", "eu-west1"), keyspaces=(KEYSPACE, "models")))
        api.bundles = {"us-east1": here.bundle, "eu-west1": here.foreign}
        monkeypatch.setenv("ASTRA_DEVOPS_URL", api.url)
        yield api


@pytest.fixture
def connect(tmp_path, request):
    project = request.node.name[:40]
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as open_one:
        yield open_one


@pytest.fixture
def frame(now):
    return pd.DataFrame({"k": [1, 2, 3], "event_timestamp": [now] * 3, "v": [1.5, 2.5, None]})


def test_a_token_and_a_name_are_enough(astra, connect, frame, monkeypatch):
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    monkeypatch.setenv("ASTRA_DB_ID", "features")
    monkeypatch.setenv("ASTRA_DB_KEYSPACE", KEYSPACE)
    ws = connect(keyspace=None)
    ws.materialize(frame, "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": [2, 1]})["v"].tolist() == [2.5, 1.5]
    assert ws.skew("view").ok
    assert ws.session.cluster.metadata.all_hosts()[0].endpoint.__class__.__name__ == "SniEndPoint"


def test_the_bundle_is_kept_for_the_user_alone_and_not_fetched_again(astra, connect):
    target = fnb.Astra("features", TOKEN)
    connect(target).close()
    ((kept,),) = ((*bundle.cache_dir().rglob("*.zip"),),)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    connect(fnb.Astra(kept.stem.removesuffix("-us-east1"), TOKEN, region="us-east1")).close()
    assert len(astra.asked("/download")) == 1


def test_a_cached_bundle_that_leads_nowhere_is_fetched_again(astra, connect):
    path = bundle.cached_path("00000000-0000-4000-8000-000000000001", "us-east1")
    for name in ("features", "00000000-0000-4000-8000-000000000001"):
        bundle.keep(astra.bundles["eu-west1"], path)  # of another authority
        with connect(fnb.Astra(name, TOKEN, region="us-east1")) as ws:
            ws.status()
        assert path.read_bytes() == astra.bundles["us-east1"]


def test_a_cached_bundle_is_kept_while_no_other_can_be_had(astra, connect):
    path = bundle.keep(
        astra.bundles["eu-west1"], bundle.cached_path("00000000-0000-4000-8000-000000000001", "us-east1")
    )
    astra.expired = True
    with pytest.raises(ConnectionFailed, match="HTTP 403"):
        connect(fnb.Astra("features", TOKEN, region="us-east1")).status()
    assert path.read_bytes() == astra.bundles["eu-west1"]


def test_a_bundle_of_another_authority_is_refused(astra, connect):
    astra.as_list = True
    with pytest.raises(FeastraError) as caught:
        connect(fnb.Astra("features", TOKEN, region="eu-west1")).status()
    assert not isinstance(caught.value, AuthenticationFailed)


def test_client_id_and_secret_open_a_bundle_that_is_given(astra, here, connect, frame, tmp_path):
    (tmp_path / "scb.zip").write_bytes(here.bundle)
    ws = connect(fnb.Astra(bundle=str(tmp_path / "scb.zip"), client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
    ws.materialize(frame, "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": [1]})["v"].tolist() == [1.5]
    assert not astra.seen


def test_client_id_and_secret_without_a_bundle_say_what_is_missing(astra, connect):
    with pytest.raises(ConfigurationError, match="cannot ask Astra for its bundle"):
        connect(fnb.Astra("features", client_id=CLIENT_ID, client_secret=CLIENT_SECRET))


@pytest.mark.parametrize("login", [{"token": WRONG}, {"client_id": CLIENT_ID, "client_secret": "swordfish"}])
def test_wrong_credentials_are_refused_and_not_repeated(astra, here, connect, tmp_path, login, caplog):
    (tmp_path / "scb.zip").write_bytes(here.bundle)
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationFailed) as caught:
        connect(fnb.Astra(bundle=str(tmp_path / "scb.zip"), **login)).status()
    said = str(caught.value) + "".join(one.getMessage() for one in caplog.records if one.name.startswith("feastra_nb"))
    assert WRONG not in said
    assert "swordfish" not in said


def test_the_token_may_be_the_portals_file(astra, connect, tmp_path):
    path = tmp_path / "token.json"
    path.write_text(f'{{"clientId": "{CLIENT_ID}", "secret": "s", "token": "{TOKEN}"}}')
    assert connect(fnb.Astra("features", str(path))).status() is not None


def test_without_a_token_no_prompt_comes_and_the_error_says_where_to_get_one(astra, connect):
    with pytest.raises(ConfigurationError, match="no token for Astra") as caught:
        connect(fnb.Astra("features"))
    assert "ASTRA_DB_APPLICATION_TOKEN" in caught.value.hint


def test_without_a_database_the_error_says_how_to_name_one(astra, connect):
    with pytest.raises(ConfigurationError, match="which Astra database"):
        connect(fnb.Astra(token=TOKEN))


def test_a_hibernating_database_is_named_and_woken_on_request(astra, connect, monkeypatch):
    astra.databases["00000000-0000-4000-8000-000000000001"]["status"] = "HIBERNATED"
    with pytest.raises(ConnectionFailed, match="hibernates"):
        connect(fnb.Astra("features", TOKEN))
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    assert connect(fnb.Astra("features", TOKEN, resume=True)).status() is not None


def test_a_keyspace_is_made_through_the_api_only_when_asked(astra, connect, monkeypatch):
    with pytest.raises(KeyspaceNotFound, match="no keyspace 'fresh'"):
        connect(fnb.Astra("features", TOKEN), keyspace="fresh").status()
    assert not astra.asked("/v2/databases/00000000-0000-4000-8000-000000000001/keyspaces")
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    with pytest.raises(KeyspaceNotFound):  # the stand-in's API makes none in the node
        connect(fnb.Astra("features", TOKEN, create_keyspace=True), keyspace="fresh").status()
    assert astra.asked("/v2/databases/00000000-0000-4000-8000-000000000001/keyspaces/fresh")


def test_a_database_is_made_only_when_asked(astra, connect, monkeypatch):
    with pytest.raises(UnknownName, match="no database 'new'"):
        connect(fnb.Astra("new", TOKEN))
    with pytest.raises(ConfigurationError, match="in which region") as caught:
        connect(fnb.Astra("new", TOKEN, create_database=True))
    assert "eu-west-1, us-east1" in caught.value.hint
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    for _time in range(2):  # the second time it is there
        ws = connect(fnb.Astra("new", TOKEN, region="us-east1", create_database=True))
        assert ws.status() is not None
    assert len([one for one in astra.seen if one[:2] == ("POST", "/v2/databases")]) == 1


def test_a_saved_repository_names_the_database_and_no_secret(astra, connect, frame, tmp_path, monkeypatch):
    ws = connect(fnb.Astra("features", TOKEN))
    ws.materialize(frame, "view", keys=["k"], progress=False)
    saved = ws.save(tmp_path / "repo")
    text = (saved / "feature_store.yaml").read_text()
    assert "astra:" in text
    assert "${ASTRA_DB_APPLICATION_TOKEN}" in text
    held = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert held == []
    assert TOKEN not in repr(ws) + repr(ws.feast.config) + repr(ws.target)
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    with fnb.connect(repo=saved) as plain:
        assert plain.online("view", {"k": [2]})["v"].tolist() == [2.5]
