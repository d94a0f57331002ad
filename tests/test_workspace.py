"""The workspace around its stores: views, runs, status, latency, save, connecting and what goes wrong."""

import re
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from offline_changes import append

import feastra_nb as fnb
from feastra_nb.connection import cluster
from feastra_nb.connection.choice import choose_target, local_names
from feastra_nb.errors import ConfigurationError, ConnectionFailed, KeyspaceNotFound, Unavailable


def test_views_list_what_is_there_and_search(filled, events):
    filled.materialize(
        events[["driver", "event_timestamp", "rating"]], "ratings", keys=["driver"], ttl="1d", progress=False
    )
    views = filled.views()
    assert views["view"].tolist() == ["drivers", "ratings"]
    assert views["features"].tolist() == ["trips, rating, city, active", "rating"]
    assert views["join_keys"].tolist() == ["driver", "driver"]
    assert views["retain"].tolist() == ["all", "all"]
    assert filled.views("city")["view"].tolist() == ["drivers"]


def test_runs_are_journalled_newest_first(filled, events):
    filled.materialize(events.assign(trips=50), "drivers", progress=False)
    runs = filled.runs("drivers")
    assert runs["kind"].tolist() == ["frame", "frame"]
    assert runs["state"].tolist() == ["done", "done"]
    assert runs["rows"].tolist() == [9, 9]
    assert runs["began"].is_monotonic_decreasing
    assert filled.runs().equals(runs)


def test_an_interrupted_run_says_so_and_is_completed_by_the_same_call(ws, now):
    frame = pd.DataFrame({"k": np.arange(5_000), "event_timestamp": now - pd.Timedelta("1h"), "v": 1.0})

    def stop_early(_rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.materialize(frame, "view", keys=["k"], progress=stop_early)
    assert ws.runs("view")["state"].tolist() == ["interrupted"]
    assert 0 < ws.runs("view")["rows"].iloc[0] < 5_000
    done = ws.materialize(frame, "view", progress=False)
    assert done.rows == 5_000
    assert 0 < done.unchanged < 5_000
    assert ws.online("view:v", {"k": frame["k"]})["v"].notna().all()


def test_freshness_says_how_far_behind(filled, events):
    fresh = filled.freshness()
    assert fresh["materialized_until"].iloc[0] == events["event_timestamp"].max()
    assert pd.Timedelta("59min") < fresh["behind"].iloc[0] < pd.Timedelta("70min")


def shown(ws):
    made = ws._repr_mimebundle_()
    return made["text/plain"], made["text/html"]


def test_a_workspace_shows_its_views_and_what_to_call_next(ws, events, now):
    text, page = shown(ws)
    assert "There is no feature view yet" in text
    assert 'ws.materialize(df, "my_view"' in text
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    text, page = shown(ws)
    assert "✓ up to date" in page
    assert text.splitlines()[-1] == '  ws.skew("drivers")'
    assert "not yet" in text
    ws.skew("drivers")
    assert shown(ws)[0].splitlines()[-1] == '  ws.latency("drivers")'
    append(ws, "drivers", lambda df: df.tail(1).assign(event_timestamp=now - pd.Timedelta("5min"), trips=99))
    text, page = shown(ws)
    assert "behind offline" in page
    assert text.splitlines()[-1] == '  ws.materialize("drivers")'
    assert "1 of 12 differ" in shown_after_skew(ws)
    assert all(len(line) <= 100 for line in text.splitlines())


def shown_after_skew(ws):
    ws.skew("drivers")
    return shown(ws)[1]


def test_a_workspace_shows_a_run_that_failed_first_of_all(ws, now):
    frame = pd.DataFrame({"k": np.arange(5_000), "event_timestamp": now, "v": 1.0})

    def stop(_rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.materialize(frame, "view", keys=["k"], progress=stop)
    text, page = shown(ws)
    assert "✕ last run interrupted" in page
    assert text.splitlines()[-1] == '  ws.runs("view")'


def test_a_closed_workspace_and_one_without_its_cluster_are_shown_all_the_same(ws, monkeypatch):
    monkeypatch.setattr(type(ws.stores.feast), "list_all_feature_views", lambda _self: 1 / 0)
    text, page = shown(ws)
    assert "ZeroDivisionError" in text
    assert ws.project in page
    ws.close()
    assert ws._repr_mimebundle_() == {"text/plain": repr(ws)}


def test_listings_are_frames_in_code_and_words_for_people(filled):
    for listing in (filled.views(), filled.freshness(), filled.runs(), filled.runs("drivers")):
        assert isinstance(listing, pd.DataFrame)
        assert type(listing[["view"]]) is pd.DataFrame
        assert max(map(len, repr(listing).splitlines())) <= 100
        assert listing._repr_html_().startswith('<div class="fnb">')
    assert re.search("ago|just now", repr(filled.runs()))
    assert "✓ done" in filled.runs()._repr_html_()
    assert re.search(r"up to date|59 min|1 h", repr(filled.freshness()))
    assert repr(filled.views("nothing like it")) == "Feature views: none"
    assert "view" not in repr(filled.runs("drivers")).splitlines()[0]


def test_status_names_nodes_and_where_it_is(filled, tmp_path):
    status = filled.status()
    assert status.frame["state"].tolist() == ["up"]
    assert status.facts["project"] == filled.project
    assert "LOCAL_QUORUM" in repr(status)
    assert status.save(tmp_path / "status.html").read_text().startswith("<!")
    assert status.plot() is not None


def test_latency_measures_batches_and_saves(filled, tmp_path):
    report = filled.latency("drivers", seconds=0.3, warmup_s=0.1, batch=[1, 3], progress=False)
    assert report.frame["batch"].tolist() == [1, 3]
    assert (report.frame["n"] > 0).all()
    assert report.frame["errors"].tolist() == [0, 0]
    assert report.save(tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match="a batch of 9 needs as many entities; there are 3"):
        filled.latency("drivers", batch=9)
    with pytest.raises(ConfigurationError):
        filled.latency("drivers", {"driver": [1]}, seconds=0, batch=1)


def test_a_saved_repository_is_plain_feast_and_shares_the_tables(filled, tmp_path):
    folder = filled.save(tmp_path / "feature_repo")
    script = (
        "from feast import FeatureStore; s = FeatureStore('.');"
        "print(s.get_online_features(['drivers:trips'], [{'driver': 2}]).to_dict())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert "'trips': [7]" in done.stdout
    with pytest.raises(ConfigurationError, match="holds a feature_store"):
        filled.save(folder)


def test_a_saved_repository_opens_as_a_workspace(filled, events, tmp_path):
    folder = filled.save(tmp_path / "feature_repo")
    with fnb.connect(repo=folder) as other:
        assert other.online("drivers:trips", {"driver": [3]})["trips"].tolist() == [8]
        assert other.skew("drivers", spine=events[["driver", "event_timestamp"]]).ok


def test_a_repository_with_another_store_can_be_read(tmp_path, now):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Int64
    from feast.value_type import ValueType

    (tmp_path / "feature_store.yaml").write_text(
        "project: other\nprovider: local\nregistry: registry.db\nonline_store:\n  type: sqlite\n  path: online.db\n"
        "offline_store:\n  type: duckdb\nentity_key_serialization_version: 3\n"
    )
    frame = pd.DataFrame({"k": [1], "event_timestamp": pd.Series([now]).dt.as_unit("us"), "v": [5]})
    frame.to_parquet(tmp_path / "v.parquet")
    source = FileSource(path=str(tmp_path / "v.parquet"), timestamp_field="event_timestamp")
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    store = FeatureStore(repo_path=str(tmp_path))
    store.apply([key, FeatureView(name="view", entities=[key], schema=[Field(name="v", dtype=Int64)], source=source)])
    store.materialize(now.to_pydatetime() - pd.Timedelta("1d"), now.to_pydatetime())
    with fnb.connect(repo=tmp_path, read_only=True) as ws:
        read = ws.online("view:v", {"k": [1, 2]}, status=True, timestamps=True)
        assert read["v"].tolist() == [5, pd.NA]
        assert read["v__status"].tolist() == ["PRESENT", "NOT_FOUND"]
        with pytest.raises(ConfigurationError, match="history of a FeastraOnlineStore"):
            ws.online("view:v", {"k": [1]}, as_of=now)
        assert ws.views()["view"].tolist() == ["view"]


def test_workspaces_share_a_session_and_the_last_one_closes_it(open_workspace):
    first, second = open_workspace(), open_workspace()
    assert first.session is second.session
    first.close()
    session = second.session
    assert not session.is_shutdown
    second.close()
    assert session.is_shutdown


def test_a_workspace_folder_hides_itself_from_git(ws):
    assert "*" in (ws.directory / ".gitignore").read_text().splitlines()


def test_two_folders_never_meet_on_a_local_node(tmp_path):
    assert local_names(tmp_path / "a" / ".feastra") != local_names(tmp_path / "b" / ".feastra")


# --- connecting ------------------------------------------------------------------------------------------------------


def test_no_server_at_the_address_is_a_clear_error(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="no host could be reached"):
        fnb.connect(fnb.Hosts(["127.0.0.1"], port=port), project="p", keyspace="k", directory=tmp_path)


def test_a_host_that_nobody_knows_is_a_clear_error(tmp_path):
    with pytest.raises(ConnectionFailed, match=r"no-such-host\.invalid:9042: no such host") as caught:
        fnb.connect(fnb.Hosts(["no-such-host.invalid"]), project="p", keyspace="k", directory=tmp_path)
    assert "host" in caught.value.hint


def test_a_server_that_takes_connections_and_does_not_answer_yet_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as starting:
        port = starting.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}: no host could be reached") as caught:
            fnb.connect(fnb.Hosts(["127.0.0.1"], port=port), project="p", keyspace="k", directory=tmp_path)
    assert "that the node is up" in caught.value.hint


def test_an_unknown_keyspace_names_those_that_are_there(ws, node, tmp_path):
    target = fnb.Hosts(node.hosts, port=node.port)
    with pytest.raises(KeyspaceNotFound, match=r"no keyspace 'no_such' .*tests"):
        fnb.connect(target, project="p", keyspace="no_such", directory=tmp_path)


@pytest.mark.parametrize("option", ["read_dc", "write_dc"])
def test_a_data_centre_that_is_not_there_names_those_that_are(ws, open_repository, driver, option):
    routing = {"routing": {option: "dc-east"}}
    with pytest.raises(ConfigurationError, match="no data centre 'dc-east'; it has 'datacenter1'"):
        open_repository(online=routing).apply([driver])


def test_a_local_data_centre_that_is_not_there_names_those_that_are(ws, node, tmp_path):
    target = fnb.Hosts(node.hosts, port=node.port, local_dc="dc-east")
    with pytest.raises(ConfigurationError, match="no data centre 'dc-east'; it has 'datacenter1'") as caught:
        fnb.connect(target, project="p", keyspace="tests", directory=tmp_path)
    assert "local_dc='datacenter1'" in caught.value.hint


def test_a_level_that_the_cluster_cannot_reach_says_what_it_needs(ws, node, tmp_path):
    target = fnb.Hosts(node.hosts, port=node.port)
    with pytest.raises(Unavailable, match="level THREE needs 3 replicas, 1 is alive") as caught:
        fnb.connect(target, project="p", keyspace="tests", directory=tmp_path, consistency="THREE")
    assert 'consistency="LOCAL_QUORUM"' in caught.value.hint
    assert "TLS" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("127.0.0.1", 'fnb.Hosts(["127.0.0.1"])'),
        ("db.example.org:9043", 'fnb.Hosts(["db.example.org"], port=9043)'),
        ("::1", 'fnb.Hosts(["::1"])'),
        (["10.0.0.1", "10.0.0.2"], 'fnb.Hosts(["10.0.0.1", "10.0.0.2"])'),
        ("bundle.zip", 'fnb.Astra(bundle="bundle.zip", token=…)'),
        (fnb.Local, "fnb.Local()"),
        (fnb.Hosts, "fnb.Hosts(…), with arguments"),
        (7, 'fnb.Local(), fnb.Hosts(["10.0.0.1"]) or fnb.Astra("my-db")'),
    ],
)
def test_what_is_not_a_target_is_refused_with_the_one_that_was_meant(target, hint, tmp_path):
    with pytest.raises(ConfigurationError, match="is not a target") as caught:
        fnb.connect(target, directory=tmp_path / "none")
    assert caught.value.hint == hint
    assert not (tmp_path / "none").exists()


def test_a_token_in_place_of_a_target_is_not_shown(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        fnb.connect("AstraCS:swordfish", directory=tmp_path)
    assert "swordfish" not in str(caught.value)
    assert "fnb.Astra(" in caught.value.hint


def test_hosts_need_project_and_keyspace(node, tmp_path):
    with pytest.raises(ConfigurationError, match="Hosts needs project and keyspace"):
        fnb.connect(fnb.Hosts(node.hosts, port=node.port), directory=tmp_path)


def test_the_environment_names_a_target():
    target, keyspace = choose_target(
        {"CASSANDRA_CONTACT_POINTS": "10.0.0.1, 10.0.0.2", "CASSANDRA_PORT": "9043", "CASSANDRA_USERNAME": "me",
         "CASSANDRA_PASSWORD": "swordfish", "CASSANDRA_KEYSPACE": "features"}
    )  # fmt: skip
    assert target == fnb.Hosts(["10.0.0.1", "10.0.0.2"], port=9043, username="me", password="swordfish")  # noqa: S106
    assert keyspace == "features"


def test_a_profile_names_a_target_and_nothing_means_local(tmp_path):
    profile = tmp_path / "profile.json"
    assert choose_target({"FEASTRA_PROFILE": str(profile)}) == (fnb.Local(), None)
    profile.write_text('{"target": "hosts", "hosts": ["10.0.0.1"], "keyspace": "features"}')
    assert choose_target({"FEASTRA_PROFILE": str(profile)}) == (fnb.Hosts(["10.0.0.1"]), "features")
    profile.write_text("{")
    with pytest.raises(ConfigurationError, match="cannot read the profile"):
        choose_target({"FEASTRA_PROFILE": str(profile)})


def test_an_astra_bundle_that_is_not_there_is_a_clear_error(tmp_path):
    target = fnb.Astra(bundle=str(tmp_path / "none.zip"), token="AstraCS:swordfish")  # noqa: S106
    with pytest.raises((ConfigurationError, ConnectionFailed), match=r"none\.zip") as caught:
        fnb.connect(target, project="p", keyspace="k", directory=tmp_path)
    assert "swordfish" not in str(caught.value)


def test_nothing_but_the_target_is_called(node, project, tmp_path):
    """No telemetry: any socket to elsewhere would raise."""
    script = f"""
import re
import socket
connect, lookup = socket.socket.connect, socket.getaddrinfo
def only_the_target(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and tuple(address[:2]) != ("127.0.0.1", {node.port}):
        raise SystemExit(f"called {{address}}")
    return connect(self, address)
def only_this_machine(host, *rest, **options):
    if host not in ("127.0.0.1", "localhost"):
        raise SystemExit(f"asked for {{host}}")
    return lookup(host, *rest, **options)
socket.socket.connect = socket.socket.connect_ex = only_the_target
socket.getaddrinfo = only_this_machine
import pandas as pd, feastra_nb as fnb
now = pd.Timestamp.now(tz="UTC").floor("us")
target = fnb.Hosts({list(node.hosts)!r}, port={node.port}, create_keyspace=True)
with fnb.connect(target, project={project!r}, keyspace="tests", directory={str(tmp_path / "f")!r}) as ws:
    ws.materialize(pd.DataFrame({{"k": [1], "event_timestamp": [now], "v": [1]}}), "view", keys=["k"], progress=False)
    assert ws.online("view", {{"k": [1]}})["v"].tolist() == [1]
    assert ws.skew("view").ok
    ws.save({str(tmp_path / "repo")!r})
print("quiet")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "quiet\n", done.stdout + done.stderr
    assert done.stderr == ""
