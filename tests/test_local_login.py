"""Who gets in at a local node: this user without typing anything, and nobody else; and nodes of former times."""

import json
import logging
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import warnings
from contextlib import closing, suppress
from dataclasses import replace

import pandas as pd
import psutil
import pytest
from cassandra import AuthenticationFailed as RefusedByServer
from cassandra.cluster import NoHostAvailable
from nodes import KEYSPACE

import feastra_nb as fnb
from feastra_nb import cli
from feastra_nb.connection import local
from feastra_nb.connection.local import login as logins
from feastra_nb.connection.local import probe, roles
from feastra_nb.connection.local.state import node_directory, read_state, state_path
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, LocalNodeFailed

FORMER = f"tests-former-{os.getpid()}"
NOBODY = 65_534
PASSWORD_INTERVAL_S = 5.1  # Cassandra refuses to change a password twice within five seconds
ROWS = 20_000


def refused(node, login):
    """Whether the node refuses a login, and nothing else is wrong."""
    with pytest.raises(NoHostAvailable) as failure, probe.connected(node.hosts[0], node.port, {}, login):
        pass
    causes = list(failure.value.errors.values())
    return "AuthenticationFailed" in repr(causes) or all(isinstance(each, RefusedByServer) for each in causes)


@pytest.fixture
def session(node):
    """A session of the node's own role."""
    with probe.connected(node.hosts[0], node.port, {}, (node.username, node.password.reveal())) as opened:
        yield opened


# --- the door -----------------------------------------------------------------------------------------------------


def test_nobody_gets_in_without_the_password(node):
    assert refused(node, None)
    assert refused(node, (node.username, "guess"))


def test_cassandras_own_default_login_is_closed(node, session):
    assert refused(node, probe.DEFAULT_LOGIN)
    rows = session.execute("SELECT role, can_login, is_superuser FROM system_auth.roles")
    rights = {row.role: (row.can_login, row.is_superuser) for row in rows}
    assert rights["cassandra"] == (False, False)
    assert rights[node.username] == (True, True)


def test_each_node_has_a_password_of_its_own(tmp_path):
    made = [logins.make_login(tmp_path / name) for name in ("one", "two")]
    assert (
        len({secret for login in made for secret in (login.password.reveal(), login.keystore_password.reveal())}) == 4
    )
    assert logins.read_login(tmp_path / "one") == made[0]


def test_password_is_in_files_for_their_owner_only(node):
    passwords = [node.password.reveal(), logins.read_login(node.directory).keystore_password.reveal()]
    files = [path for path in node.directory.rglob("*") if path.is_file()]
    holding = [path for path in files if any(word.encode() in path.read_bytes() for word in passwords)]
    assert {path.name for path in holding} == {"login.json", "cassandra.yaml"}
    assert node.password.reveal() not in (node.directory / "node-1" / "cassandra.yaml").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*holding, node.directory / "internode.p12"]} == {0o600}
    assert stat.S_IMODE(node.directory.stat().st_mode) == 0o700


def test_password_is_shown_nowhere(node, open_workspace, tmp_path, caplog, capsys):
    for name in (None, "feastra_nb", "cassandra"):
        caplog.set_level(logging.DEBUG, logger=name)
    ws = open_workspace()
    ws.materialize(one_row(), "view", keys=["k"], progress=False)
    config = ws.feast.config
    shown = [node, vars(ws), config, config.online_store, config.online_store.settings(), ws.store, ws.status()]
    saved = ws.save(tmp_path / "repo")
    texts = [path.read_text("utf-8", "replace") for path in saved.rglob("*") if path.is_file()]
    assert cli.main(["status"]) == 0
    assert f"{node.name}: Cassandra" in capsys.readouterr().out
    for process in (psutil.Process(), *map(psutil.Process, (*node.pids, read_state(node.directory).watchdog.pid))):
        texts += [*process.cmdline(), *process.environ().values()]
    password = node.password.reveal()
    assert not [text for text in (*map(repr, shown), *map(str, shown), caplog.text, *texts) if password in text]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may become another user")
def test_another_user_of_the_machine_neither_reads_the_password_nor_gets_in(node):
    script = f"""
import os
from feastra_nb.connection.local import probe
probe.ask({node.hosts[0]!r}, {node.port}, {{}})  # imports what the other user may not be able to read
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
for path in {[str(logins.login_path(node.directory)), str(node.directory / "node-1" / "cassandra.yaml")]!r}:
    try:
        open(path).read()
        print("read", path)
    except PermissionError:
        pass
for login in (None, probe.DEFAULT_LOGIN):
    answer = probe.ask({node.hosts[0]!r}, {node.port}, {{}}, login)
    print("refused" if answer is not None and answer.version is None else answer)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.splitlines() == ["refused", "refused"], done.stdout + done.stderr


def test_port_between_nodes_answers_nobody_without_the_key(node):
    address = (node.hosts[0], read_state(node.directory).storage_port)
    keyless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    keyless.check_hostname, keyless.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=5) as plain, keyless.wrap_socket(plain) as encrypted:
        encrypted.sendall(b"x")
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            encrypted.recv(1)
    with socket.create_connection(address, timeout=2) as plain:
        plain.sendall(b"\xca\x55\x2d\xfa" + bytes(60))  # how a node begins without TLS
        with suppress(TimeoutError, ConnectionResetError):
            assert plain.recv(1) == b""


# --- who is let in without typing ------------------------------------------------------------------------------------


def one_row():
    return pd.DataFrame({"k": [1], "event_timestamp": [pd.Timestamp.now(tz="UTC").floor("us")], "v": [1]})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_hosts_at_a_node_of_this_user_need_no_password(node, project, tmp_path, host):
    target = fnb.Hosts([host], port=node.port, create_keyspace=True)
    with fnb.connect(target, project=project, keyspace=KEYSPACE, directory=tmp_path / "ws") as ws:
        ws.materialize(one_row(), "view", keys=["k"], progress=False)
        assert ws.online("view", {"k": [1]})["v"].tolist() == [1]


def test_a_login_that_is_given_is_the_one_that_counts(node, project, tmp_path):
    target = fnb.Hosts(node.hosts, port=node.port, username="feastra", password="guess")  # noqa: S106
    with pytest.raises(AuthenticationFailed):
        fnb.connect(target, project=project, keyspace=KEYSPACE, directory=tmp_path / "ws")


def test_password_is_told_to_no_process_that_took_the_place_of_the_node(node):
    assert logins.login_at(node.hosts, node.port).password == node.password
    assert logins.login_at(["10.0.0.1"], node.port) is None
    with closing(socket.create_server((node.hosts[0], 0))) as taken:
        port = taken.getsockname()[1]
        directory = node_directory(f"{node.name}-gone")
        directory.mkdir()
        try:
            gone = json.loads(state_path(node.directory).read_text()) | {"name": directory.name, "port": port}
            state_path(directory).write_text(json.dumps(gone))
            logins.make_login(directory)
            assert read_state(directory).is_running()
            assert logins.login_at(node.hosts, port) is None
        finally:
            shutil.rmtree(directory)


# --- a start that was interrupted, or watched -------------------------------------------------------------------------


@pytest.fixture
def half_closed(node, session):
    """The node as a start leaves it that is killed between making our role and closing the default one."""
    login = logins.read_login(node.directory)
    # Written so that it looks older than that, and newer than what the start wrote.
    while time.time() - logins.login_path(node.directory).stat().st_mtime < 2 * PASSWORD_INTERVAL_S:
        time.sleep(0.1)
    written_us = int((time.time() - PASSWORD_INTERVAL_S) * 1e6)
    name, word = probe.DEFAULT_LOGIN
    session.execute(f"CREATE ROLE twin WITH PASSWORD = '{word}'")
    (same,) = session.execute("SELECT salted_hash FROM system_auth.roles WHERE role = 'twin'").one()
    session.execute("DROP ROLE twin")
    session.execute(
        f"UPDATE system_auth.roles USING TIMESTAMP {written_us} "
        f"SET can_login = true, is_superuser = true, salted_hash = '{same}' WHERE role = '{name}'"
    )
    logins.keep_login(node.directory, replace(login, closed=False))
    yield replace(login, closed=False)
    roles.close_default(session, nodes=1)
    logins.mark_closed(node.directory, login)


def test_default_login_that_was_left_open_is_closed_and_whoever_uses_it_meanwhile_is_noticed(
    node, half_closed, monkeypatch
):
    monkeypatch.setattr(roles, "_LINGER_S", 0.3)
    address = node.hosts[0], node.port, {}
    with (
        probe.connected(*address, probe.DEFAULT_LOGIN),
        pytest.raises(LocalNodeFailed, match="somebody else has logged in to the new local node, as 'cassandra'"),
    ):
        roles.enter(node.directory, *address, half_closed, nodes=1)
    assert not logins.read_login(node.directory).closed
    assert refused(node, probe.DEFAULT_LOGIN)

    monkeypatch.undo()
    assert roles.enter(node.directory, *address, half_closed, nodes=1).version == node.version
    assert logins.read_login(node.directory).closed


@pytest.mark.parametrize("content", ["", "{", "null", '{"username": "feastra"}'])
def test_login_that_cannot_be_read_is_an_error_and_not_a_node_without_one(tmp_path, content):
    logins.login_path(tmp_path).write_text(content)
    with pytest.raises(LocalNodeFailed, match=r"login\.json") as failure:
        logins.read_login(tmp_path)
    assert "feastra purge --name" in failure.value.hint


# --- a node of former times, strays in its folder, and a kill ---------------------------------------------------------


@pytest.fixture(scope="module")
def former():
    """The folder of a node that was made before nodes had passwords, with what people leave in such folders."""
    directory = node_directory(FORMER)
    for stray in ("node-1/data", "node-1.bak/data", "node-x", "node-"):
        (directory / stray).mkdir(parents=True)
    (directory / "node-2").write_text("a file")
    (directory / "layout.json").write_text('{"nodes": 1, "po')  # cut by a full disk
    state_path(directory).write_text("")
    copy = directory.with_name(f"{FORMER}.bak")
    shutil.copytree(directory, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEASTRA_JVM_OPTIONS", "-XX:TieredStopAtLevel=1")  # the schema outlives a kill, unlike on `node`
        yield directory
    local.purge(FORMER)
    shutil.rmtree(copy)


def start_former():
    return local.start(name=FORMER, heap_mb=384, progress=False)


def workspace(tmp_path):
    return fnb.connect(fnb.Local(name=FORMER), project="p", keyspace="k", directory=tmp_path / "ws", retain="all")


@pytest.mark.parametrize("content", ["", "null", "[]", "{", '{"hosts": 5, "nodes": [1], "watchdog": 7}'])
def test_state_that_is_empty_or_cut_is_no_state(tmp_path, content):
    state_path(tmp_path).write_text(content)
    assert read_state(tmp_path) is None


def test_state_of_a_copied_folder_is_not_that_of_a_node(node):
    copy = node_directory(f"{node.name}-copy")
    try:
        copy.mkdir()
        shutil.copy(state_path(node.directory), state_path(copy))
        assert local.running(copy.name) is None
        assert local.running(node.name) == node
    finally:
        shutil.rmtree(copy)


def test_a_node_of_former_times_goes_on_and_is_given_a_password_when_its_user_says_so(former, tmp_path, capsys):
    with pytest.warns(UserWarning, match=f"has no password.*`feastra protect --name {FORMER}`"):
        open_node = start_former()
    assert f"{FORMER}.bak" not in local.names()
    assert (open_node.username, open_node.password) == (None, None)
    with warnings.catch_warnings(), workspace(tmp_path) as ws:
        warnings.simplefilter("error", UserWarning)  # told once
        ws.materialize(one_row(), "view", keys=["k"], progress=False)

    assert cli.main(["protect", "--name", FORMER]) == 0
    assert "from its next start on" in capsys.readouterr().out
    assert not open_node.is_running()
    with warnings.catch_warnings(), workspace(tmp_path) as ws:
        warnings.simplefilter("error", UserWarning)
        assert ws.online("view", {"k": [1]})["v"].tolist() == [1]
    guarded = local.running(FORMER)
    assert refused(guarded, None)
    assert refused(guarded, probe.DEFAULT_LOGIN)
    assert cli.main(["protect", "--name", FORMER]) == 0
    assert "has a password already" in capsys.readouterr().out


def test_there_is_nothing_to_protect_where_there_is_no_node():
    with pytest.raises(ConfigurationError, match="there is no local node 'nobody'"):
        local.protect("nobody")


def test_what_was_acknowledged_is_there_after_a_kill(former, tmp_path):
    """Follows the test of former times on its node, to spare a start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where this test runs alone
        node = start_former()
    now = pd.Timestamp.now(tz="UTC").floor("us")
    rows = pd.DataFrame({"k": range(ROWS), "event_timestamp": now, "v": range(ROWS)})
    with workspace(tmp_path) as ws:
        done = ws.materialize(rows, "killed", keys=["k"], progress=False)
        os.kill(node.pids[0], signal.SIGKILL)
    assert done.rows == ROWS
    psutil.wait_procs([psutil.Process(node.pids[0])] if psutil.pid_exists(node.pids[0]) else [], timeout=10)
    with workspace(tmp_path) as ws:
        found = ws.online("killed", rows[["k"]])
        assert found["v"].isna().sum() == 0
        assert found["v"].tolist() == list(range(ROWS))
        assert (ws.runs().query("view == 'killed'")["state"] == "done").all()
        assert len(ws.runs().query("view == 'killed'")) == 1
