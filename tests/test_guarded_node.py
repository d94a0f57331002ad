"""A node that asks for a password over TLS and allows few tables: what must be said to it, and what it makes us say."""

import logging
import os
import traceback

import pandas as pd
import pytest
from certificates import make_certificate, node_tls, public_pem
from nodes import start_node

import feastra_nb as fnb
from feastra_nb.connection import local
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, RequestFailed

NODE = f"tests-guarded-{os.getpid()}"
TABLES_WARN, TABLES_FAIL = 10, 12
PASSWORD = "swordfish-4711"  # noqa: S105
LOGIN = {"username": "cassandra", "password": "cassandra"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority of our own, its certificate's path, and that of one that has signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = make_certificate("test authority"), make_certificate("other authority")
    for name, (_key, certificate) in (("ca.pem", ours), ("other.pem", other)):
        (folder / name).write_text(public_pem(certificate))
    return ours, folder / "ca.pem", folder / "other.pem"


@pytest.fixture(scope="module")
def guarded(authority):
    """A node with TLS and passwords."""
    ours, _ca, _other = authority
    encryption = node_tls(make_certificate("node", ours, hosts=["127.0.0.1"]), ours)
    settings = {
        "authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer", "client_encryption_options": encryption,
        "tables_warn_threshold": TABLES_WARN, "tables_fail_threshold": TABLES_FAIL,
    }  # fmt: skip
    started = start_node(NODE, settings=settings)
    yield started
    local.purge(NODE)


def connect(guarded, directory, **options):
    target = fnb.Hosts(guarded.hosts, port=guarded.port, create_keyspace=True, **{**LOGIN, **options})
    return fnb.connect(target, project=directory.name, keyspace="guarded", directory=directory / ".feastra")


def test_password_and_tls_open_the_door(guarded, authority, tmp_path):
    now = pd.Timestamp.now(tz="UTC").floor("us")
    with connect(guarded, tmp_path, ssl=str(authority[1])) as ws:
        ws.materialize(
            pd.DataFrame({"k": [1], "event_timestamp": [now], "v": ["seen"]}), "view", keys=["k"], progress=False
        )
        assert ws.online("view", {"k": [1]})["v"].tolist() == ["seen"]
        saved = ws.save(tmp_path / "repo")
    text = (saved / "feature_store.yaml").read_text()
    assert "${FEASTRA_PASSWORD}" in text
    assert "password: cassandra" not in text


def test_a_saved_repository_reads_its_password_from_the_environment(guarded, authority, tmp_path, monkeypatch):
    now = pd.Timestamp.now(tz="UTC").floor("us")
    with connect(guarded, tmp_path, ssl={"ca": str(authority[1])}) as ws:
        ws.materialize(
            pd.DataFrame({"k": [1], "event_timestamp": [now], "v": [1]}), "other", keys=["k"], progress=False
        )
        saved = ws.save(tmp_path / "repo")
    monkeypatch.setenv("FEASTRA_PASSWORD", LOGIN["password"])
    with fnb.connect(repo=saved) as ws:
        assert ws.online("other", {"k": [1]})["v"].tolist() == [1]


def test_a_wrong_password_is_refused_and_not_repeated(guarded, authority, tmp_path):
    with pytest.raises(AuthenticationFailed) as caught:
        connect(guarded, tmp_path, ssl=str(authority[1]), password="swordfish")  # noqa: S106
    assert "swordfish" not in str(caught.value)
    assert "password" in caught.value.hint


def test_a_certificate_of_another_authority_is_refused(guarded, authority, tmp_path):
    with pytest.raises(ConnectionFailed):
        connect(guarded, tmp_path, ssl=str(authority[2]))


def test_without_tls_the_node_is_not_reached(guarded, tmp_path):
    with pytest.raises(ConnectionFailed):
        connect(guarded, tmp_path)


def test_a_missing_certificate_file_is_named(guarded, tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        connect(guarded, tmp_path, ssl=str(tmp_path / "none.pem"))


@pytest.fixture
def ordinary_login(guarded, authority, tmp_path):
    """A role that may do all in one keyspace; guardrails spare superusers."""
    login = {"username": "app", "password": PASSWORD}
    with connect(guarded, tmp_path, ssl=str(authority[1])) as ws:
        ws.session.execute(f"CREATE ROLE IF NOT EXISTS app WITH PASSWORD = '{PASSWORD}' AND LOGIN = true")
        ws.session.execute("GRANT ALL ON KEYSPACE guarded TO app")
    return login


def test_logs_at_debug_and_errors_show_neither_the_right_nor_a_wrong_password(
    guarded, authority, tmp_path, ordinary_login, caplog, monkeypatch
):
    wrong = "flatfish-1147"
    for name in (None, "cassandra", "feastra_nb"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setattr(logging.getLogger("cassandra"), "propagate", True)
    with connect(guarded, tmp_path, ssl=str(authority[1]), **ordinary_login) as ws:
        assert list(ws.session.execute("SELECT key FROM system.local"))
    with pytest.raises(AuthenticationFailed) as caught:
        connect(guarded, tmp_path, ssl=str(authority[1]), **{**ordinary_login, "password": wrong})
    error = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.hint)
    assert {"cassandra.cluster", "feastra_nb.connection"} <= {record.name for record in caplog.records}
    logged = caplog.text + repr([vars(record) for record in caplog.records])
    assert not [word for word in (PASSWORD, wrong) if word in error + logged]


def one_row():
    return pd.DataFrame({"k": [1], "event_timestamp": [pd.Timestamp.now(tz="UTC").floor("us")], "v": [1]})


def fill(ws):
    """Make tables until there are as many as the server takes without a word."""
    ws.materialize(one_row(), "first", keys=["k"], progress=False)  # which makes the catalog too
    tables = ws.session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'guarded'")
    for number in range(len(list(tables)), TABLES_WARN):
        ws.session.execute(f"CREATE TABLE guarded.other{number} (k int PRIMARY KEY)")


def test_apply_passes_on_what_the_server_says_of_its_tables(guarded, authority, tmp_path, ordinary_login):
    with connect(guarded, tmp_path, ssl=str(authority[1]), **ordinary_login) as ws:
        fill(ws)
        for number in range(TABLES_WARN, TABLES_FAIL):
            with pytest.warns(UserWarning, match=f"number of tables {number + 1} exceeds") as said:
                ws.materialize(one_row(), f"view{number}", keys=["k"], progress=False)
            assert {each.filename for each in said} == {__file__}
        with pytest.raises(RequestFailed, match=f"Cannot have more than {TABLES_FAIL} tables") as refused:
            ws.materialize(one_row(), "beyond", keys=["k"], progress=False)
        assert "drop views" in refused.value.hint
        assert ws.online("first", {"k": [1]})["v"].tolist() == [1]


@pytest.mark.filterwarnings("ignore:.* tables and allows")  # of the views that the test fills the node with
def test_apply_says_how_near_the_tables_are_to_the_servers_limit(guarded, authority, tmp_path):
    with connect(guarded, tmp_path, ssl=str(authority[1])) as ws:  # who may read the server's settings
        fill(ws)
        with pytest.warns(UserWarning, match=rf"holds \d+ tables and allows {TABLES_FAIL};.* Drop views") as said:
            ws.materialize(one_row(), "one_more", keys=["k"], progress=False)
        assert {each.filename for each in said} == {__file__}
