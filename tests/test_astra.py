"""Astra DB, on a stand-in of real parts: from a token and a name to features that are stored, read and compared."""

import logging
import stat

import pandas as pd
import pytest
from astra_stand_in.database import CLIENT_ID, CLIENT_SECRET, KEYSPACE
from astra_stand_in.devops import TOKEN
from ways import driver_requests

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


@pytest.fixture
def frame(now):
    return pd.DataFrame({"k": [1, 2, 3], "event_timestamp": [now] * 3, "v": [1.5, 2.5, None]})


def test_a_token_and_a_name_are_enough(astra, open_astra, frame, monkeypatch, recwarn):
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", TOKEN)
    monkeypatch.setenv("ASTRA_DB_ID", "features")
    monkeypatch.setenv("ASTRA_DB_KEYSPACE", KEYSPACE)
    ws = open_astra(keyspace=None)
    ws.materialize(frame, "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": [2, 1]})["v"].tolist() == [2.5, 1.5]
    assert ws.skew("view").ok
    assert ws.session.cluster.metadata.all_hosts()[0].endpoint.__class__.__name__ == "SniEndPoint"
    assert not [one for one in recwarn if "PROTOCOL_TLS" in str(one.message)]


def test_reads_and_writes_take_the_short_way_through_the_bundles_proxy(astra, open_astra, frame):
    ws = open_astra(fnb.Astra("features", TOKEN))
    ws.materialize(frame, "view", keys=["k"], progress=False)
    with driver_requests(ws) as sent:
        ws.materialize(
            frame.assign(v=4.5, event_timestamp=frame.event_timestamp + pd.Timedelta("1s")), "view", progress=False
        )
        assert ws.online("view", {"k": [2, 1]})["v"].tolist() == [4.5, 4.5]
        assert ws.feast.get_online_features(["view:v"], {"k": [3]}).to_dict()["v"] == [4.5]
    assert sent == []


def test_the_bundle_is_kept_for_the_user_alone_and_not_fetched_again(astra, open_astra):
    target = fnb.Astra("features", TOKEN)
    open_astra(target).close()
    ((kept,),) = ((*bundle.cache_dir().rglob("*.zip"),),)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    open_astra(fnb.Astra(kept.stem.removesuffix("-us-east1"), TOKEN, region="us-east1")).close()
    assert len(astra.asked("/download")) == 1


def test_a_cached_bundle_that_leads_nowhere_is_fetched_again(astra, open_astra):
    path = bundle.cached_path("00000000-0000-4000-8000-000000000001", "us-east1")
    for name in ("features", "00000000-0000-4000-8000-000000000001"):
        bundle.keep(astra.bundles["eu-west1"], path)  # of another authority
        with open_astra(fnb.Astra(name, TOKEN, region="us-east1")) as ws:
            ws.status()
        assert path.read_bytes() == astra.bundles["us-east1"]


def test_a_cached_bundle_is_kept_while_no_other_can_be_had(astra, open_astra):
    path = bundle.keep(
        astra.bundles["eu-west1"], bundle.cached_path("00000000-0000-4000-8000-000000000001", "us-east1")
    )
    astra.expired = True
    with pytest.raises(ConnectionFailed, match="HTTP 403"):
        open_astra(fnb.Astra("features", TOKEN, region="us-east1")).status()
    assert path.read_bytes() == astra.bundles["eu-west1"]


def test_a_bundle_of_another_authority_is_refused(astra, open_astra):
    astra.as_list = True
    with pytest.raises(FeastraError) as caught:
        open_astra(fnb.Astra("features", TOKEN, region="eu-west1")).status()
    assert not isinstance(caught.value, AuthenticationFailed)


def test_client_id_and_secret_open_a_bundle_that_is_given(astra, here, open_astra, frame, tmp_path):
    (tmp_path / "scb.zip").write_bytes(here.bundle)
    ws = open_astra(fnb.Astra(bundle=str(tmp_path / "scb.zip"), client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
    ws.materialize(frame, "view", keys=["k"], progress=False)
    assert ws.online("view", {"k": [1]})["v"].tolist() == [1.5]
    assert not astra.seen


def test_client_id_and_secret_without_a_bundle_say_what_is_missing(astra, open_astra):
    with pytest.raises(ConfigurationError, match="cannot ask Astra for its bundle"):
        open_astra(fnb.Astra("features", client_id=CLIENT_ID, client_secret=CLIENT_SECRET))


@pytest.mark.parametrize("login", [{"token": WRONG}, {"client_id": CLIENT_ID, "client_secret": "swordfish"}])
def test_wrong_credentials_are_refused_and_not_repeated(astra, here, open_astra, tmp_path, login, caplog):
    (tmp_path / "scb.zip").write_bytes(here.bundle)
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationFailed) as caught:
        open_astra(fnb.Astra(bundle=str(tmp_path / "scb.zip"), **login)).status()
    said = str(caught.value) + "".join(one.getMessage() for one in caplog.records if one.name.startswith("feastra_nb"))
    assert WRONG not in said
    assert "swordfish" not in said


def test_the_token_may_be_the_portals_file(astra, open_astra, tmp_path):
    path = tmp_path / "token.json"
    path.write_text(f'{{"clientId": "{CLIENT_ID}", "secret": "s", "token": "{TOKEN}"}}')
    assert open_astra(fnb.Astra("features", str(path))).status() is not None


def test_without_a_token_no_prompt_comes_and_the_error_says_where_to_get_one(astra, open_astra):
    with pytest.raises(ConfigurationError, match="no token for Astra") as caught:
        open_astra(fnb.Astra("features"))
    assert "ASTRA_DB_APPLICATION_TOKEN" in caught.value.hint


def test_without_a_database_the_error_says_how_to_name_one(astra, open_astra):
    with pytest.raises(ConfigurationError, match="which Astra database"):
        open_astra(fnb.Astra(token=TOKEN))


def test_a_hibernating_database_is_named_and_woken_on_request(astra, open_astra, monkeypatch):
    astra.databases["00000000-0000-4000-8000-000000000001"]["status"] = "HIBERNATED"
    with pytest.raises(ConnectionFailed, match="hibernates"):
        open_astra(fnb.Astra("features", TOKEN))
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    assert open_astra(fnb.Astra("features", TOKEN, resume=True)).status() is not None


def test_a_keyspace_is_made_through_the_api_only_when_asked(astra, open_astra, monkeypatch):
    with pytest.raises(KeyspaceNotFound, match="no keyspace 'fresh'"):
        open_astra(fnb.Astra("features", TOKEN), keyspace="fresh").status()
    assert not astra.asked("/v2/databases/00000000-0000-4000-8000-000000000001/keyspaces")
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    with pytest.raises(KeyspaceNotFound):  # the stand-in's API makes none in the node
        open_astra(fnb.Astra("features", TOKEN, create_keyspace=True), keyspace="fresh").status()
    assert astra.asked("/v2/databases/00000000-0000-4000-8000-000000000001/keyspaces/fresh")


def test_a_database_is_made_only_when_asked(astra, open_astra, monkeypatch):
    with pytest.raises(UnknownName, match="no database 'new'"):
        open_astra(fnb.Astra("new", TOKEN))
    with pytest.raises(ConfigurationError, match="in which region") as caught:
        open_astra(fnb.Astra("new", TOKEN, create_database=True))
    assert "eu-west-1, us-east1" in caught.value.hint
    monkeypatch.setattr("feastra_nb.connection.astra.databases.POLL_S", 0.01)
    for _time in range(2):  # the second time it is there
        ws = open_astra(fnb.Astra("new", TOKEN, region="us-east1", create_database=True))
        assert ws.status() is not None
    assert len([one for one in astra.seen if one[:2] == ("POST", "/v2/databases")]) == 1


def test_a_saved_repository_names_the_database_and_no_secret(astra, open_astra, frame, tmp_path, monkeypatch):
    ws = open_astra(fnb.Astra("features", TOKEN))
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
