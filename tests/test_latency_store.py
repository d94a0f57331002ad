"""`ws.latency` on a real Cassandra: targets, consistency levels, keys, and what goes wrong."""

import json
import pickle
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureService
from loopback import Handler, serving

import feastra_nb as fnb
from feastra_nb.errors import ConfigurationError, ConnectionFailed, EndpointFailed, UnknownName
from feastra_nb.latency.request_keys import sampled

QUICK = {"seconds": 0.3, "warmup_s": 0.1, "batch": 1, "progress": False}


@pytest.fixture
def many(ws, now):
    """A workspace whose view ``many`` has 500 entities."""
    frame = pd.DataFrame({"driver": range(500), "event_timestamp": now - pd.Timedelta("1h"), "trips": range(500)})
    ws.materialize(frame, "many", keys=["driver"], progress=False)
    return ws


@contextmanager
def served(reply_to):
    """Run an HTTP server on loopback whose every POST is answered by a function; yields its address and what was asked."""
    asked = []

    class Answering(Handler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.reply(*reply_to(len(asked) - 1))

    with serving(Answering) as port:
        yield f"http://127.0.0.1:{port}", asked


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# --- loops --------------------------------------------------------------------------------------------------------------


def test_a_rate_gives_response_and_service_times_and_loses_no_request(filled):
    report = filled.latency("drivers", rate=50, **(QUICK | {"seconds": 2}))
    assert report.frame["kind"].tolist() == ["response", "service"]
    assert report.frame["n"].tolist() == [100, 100]
    assert report.frame["asked_rate"].tolist() == [50, 50]
    assert report.frame["p50_ms"].iloc[0] >= report.frame["p50_ms"].iloc[1] > 0
    assert not report.errors.size
    assert "open loop, 50 requests/s, constant arrivals" in repr(report)
    assert "How late they were sent: median " in repr(report)


def test_random_arrivals_are_as_many_as_asked(filled):
    report = filled.latency("drivers", rate=60, arrivals="poisson", **(QUICK | {"seconds": 1}))
    assert report.frame["n"].tolist() == [60, 60]


def test_several_settings_at_once_give_one_report_and_one_picture(filled):
    from feastra_nb.reporting import plots

    levels = ["ONE", "LOCAL_QUORUM"]
    report = filled.latency("drivers", consistency=levels, target=["feast", "driver"], **(QUICK | {"batch": [1, 3]}))
    settings = report.frame[["target", "consistency", "batch"]].to_numpy().tolist()
    assert settings == [[target, level, size] for target in ("feast", "driver") for level in levels for size in (1, 3)]
    assert (report.frame["n"] > 0).all()
    assert len(report.plot(plots.detached_axes()).get_legend().get_texts()) == 8


def test_the_time_is_split_into_driver_feast_and_frame(filled):
    report = filled.latency("drivers", **QUICK)
    split = report.split.set_index("part")
    assert set(split.index) == {"driver", "feast", "to_df"}
    assert (split["mean_ms"] > 0).all()
    assert split.loc["driver", "n"] == report.frame["n"].item()
    whole_ms = split.loc[["driver", "feast"], "mean_ms"].sum()
    assert report.frame["p50_ms"].item() * 0.3 < whole_ms < report.frame["max_ms"].item()


def test_measuring_leaves_no_listener_and_no_session_behind(filled):
    from feastra_nb.connection.cluster import pool

    before = len(pool._open), len(filled.session._request_init_callbacks)
    filled.latency("drivers", consistency=["ONE", "LOCAL_QUORUM"], **QUICK)
    assert (len(pool._open), len(filled.session._request_init_callbacks)) == before
    assert filled.store.open(filled.feast.config).db.settings.read_consistency == "LOCAL_QUORUM"


def test_a_consistency_level_is_really_asked_for(filled):
    # One node cannot give two: the server says so, which proves what it was asked.
    report = filled.latency("drivers", consistency="TWO", target=["feast", "driver"], **QUICK)
    assert set(report.errors["error"]) <= {"Unavailable", "ConnectionFailed"}
    assert (report.frame["errors"] > 0).all()
    assert (report.frame["n"] == 0).all()
    assert report.frame["consistency"].tolist() == ["TWO", "TWO"]


def test_a_feature_service_and_single_features_can_be_measured(filled):
    service = FeatureService(name="model", features=[filled.feast.get_feature_view("drivers")[["trips"]]])
    filled.feast.apply(service)
    for features in (service, "drivers:trips", ["drivers:trips", "drivers:city"]):
        for target in ("feast", "driver"):
            assert filled.latency(features, target=target, **QUICK).frame["n"].item() > 0


def test_the_report_names_store_server_load_and_entities(filled):
    about = filled.latency("drivers", keys="zipf", concurrency=2, **QUICK).environment
    assert about["store"] == "FeastraOnlineStore"
    assert about["server"].startswith("Cassandra 5.")
    assert about["consistency"] == "LOCAL_QUORUM"
    assert about["load"] == "closed loop, 2 callers"
    assert about["entities"] == "3 sampled from the store by token, zipf"


def test_a_report_can_be_pickled(filled):
    report = filled.latency("drivers", rate=100, **QUICK)
    again = pickle.loads(pickle.dumps(report))
    assert repr(again) == repr(report)
    pd.testing.assert_frame_equal(again.percentiles, report.percentiles)
    pd.testing.assert_frame_equal(again.split, report.split)


def test_progress_is_one_line_with_the_running_percentiles(filled, capsys):
    filled.latency("drivers", **(QUICK | {"progress": True}))
    shown = capsys.readouterr().err
    assert "feast, batch 1, LOCAL_QUORUM: " in shown
    assert "p50" in shown
    assert shown.count("\n") == 1


def test_entities_are_sampled_from_all_token_ranges(many, monkeypatch):
    from feastra_nb.latency import request_keys
    from feastra_nb.retrieval.request import requested

    monkeypatch.setattr(request_keys, "SAMPLED_KEYS", 100)
    wanted = requested(many.feast, "many", full_feature_names=True).views
    db = many.store.open(many.feast.config).db
    entry = many.store.entry(many.feast.config, wanted[0].view)
    found = sampled(db, entry, wanted[0]).column("driver").to_pylist()
    assert len(found) == len(set(found))
    assert 80 <= len(found) <= 128  # two from each of 64 ranges, where there are two
    tokens = many.session.execute(f"SELECT token(entity_key) FROM {db.keyspace}.{entry.table}")
    assert len(list(tokens)) == 500


def test_capacity_tells_what_was_tried_where_nothing_held(filled, tmp_path, monkeypatch):
    from feastra_nb.latency import capacity

    monkeypatch.setattr(capacity, "MOST_RATES", 2)
    found = filled.capacity("drivers", p99_ms=0.001, seconds=0.2, progress=False)
    assert found.rate == 0
    assert not found.frame["held"].any()
    assert found.sentence == "No rate that was tried keeps the p99 within 0.001 ms."
    for name in ("c.png", "c.html", "c.json", "c.parquet"):
        assert found.save(tmp_path / name).stat().st_size > 100


def test_capacity_is_a_rate_that_held(filled, monkeypatch):
    from feastra_nb.latency import capacity

    monkeypatch.setattr(capacity, "MOST_RATES", 1)
    found = filled.capacity("drivers", p99_ms=60_000, seconds=0.2, progress=False)
    assert found.frame["held"].any()
    assert found.rate == found.frame["asked_rate"].max() > 0
    assert found.frame["n"].min() >= 1_050
    assert "keep the p99 within 60000 ms; higher rates were not tried." in found.sentence


# --- other stores, endpoints --------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite(filled, tmp_path):
    """A workspace on a repository with Feast's own SQLite store, its view filled."""
    folder = filled.save(tmp_path / "repo")
    settings = folder / "feature_store.yaml"
    text = settings.read_text()
    start, end = text.index("online_store:"), text.index("offline_store:")
    text = text[:start] + f"online_store:\n  type: sqlite\n  path: {tmp_path / 'online.db'}\n" + text[end:]
    settings.write_text(text.replace("batch_engine:\n  type: feastra_nb.arrow_engine.ArrowComputeEngine\n", ""))
    with fnb.connect(repo=folder) as opened:
        rows = filled.online("drivers", {"driver": [1, 2, 3]}).assign(event_timestamp=pd.Timestamp.now(tz="UTC"))
        rows["feastra_created"] = rows["event_timestamp"]
        opened.feast.apply(opened.feast.list_feature_views())
        opened.feast.write_to_online_store("drivers", rows)
        yield opened


def test_any_online_store_of_feast_can_be_measured_and_compared(filled, sqlite):
    theirs = sqlite.latency("drivers", {"driver": [1, 2, 3]}, **QUICK)
    ours = filled.latency("drivers", **QUICK)
    assert theirs.environment["store"] == "SqliteOnlineStore"
    assert theirs.frame["n"].item() > 0
    compared = theirs.compare(ours)
    assert compared.names == ("SqliteOnlineStore", "FeastraOnlineStore")
    ratio = ours.frame["p50_ms"].item() / theirs.frame["p50_ms"].item()
    assert compared.frame["p50_ratio"].item() == pytest.approx(ratio)


@pytest.mark.parametrize("options", [{"target": "driver"}, {"consistency": "ONE"}])
def test_what_another_store_cannot_do_is_said(sqlite, options):
    with pytest.raises(ConfigurationError, match="needs a FeastraOnlineStore; the online store is sqlite"):
        sqlite.latency("drivers", {"driver": [1]}, **options, **QUICK)
    with pytest.raises(ConfigurationError, match="cannot be sampled"):
        sqlite.latency("drivers", **QUICK)


def test_an_endpoint_is_asked_as_feast_serve_wants_it(filled):
    with served(lambda _: (200, b"{}")) as (url, asked):
        report = filled.latency("drivers:trips", target=url, **(QUICK | {"batch": 2}))
    path, body = asked[0]
    assert path == "/get-online-features"
    assert body["features"] == ["drivers:trips"]
    assert len(body["entities"]["driver"]) == 2
    assert report.frame["target"].item() == url
    assert report.frame["n"].item() > 0
    assert set(report.split["part"]) == {"endpoint", "decoding"}


def test_errors_of_an_endpoint_are_counted_by_status(filled):
    with served(lambda i: (503, b"overloaded") if i % 3 == 2 else (200, b"{}")) as (url, _asked):
        report = filled.latency("drivers", target=url, rate=60, **(QUICK | {"seconds": 1}))
    errors = report.errors.query("kind == 'response'")
    assert errors["error"].tolist() == ["HTTP 503"]
    assert errors["count"].item() == report.frame["errors"].iloc[0] > 10
    assert report.frame["n"].iloc[0] + errors["count"].item() == 60


def test_a_connection_that_the_endpoint_closed_is_no_error(filled):
    with served(lambda _: (200, b"{}")) as (url, _asked):
        from feastra_nb.latency.endpoint import EndpointTarget

        target = EndpointTarget(url, ["drivers:trips"], timeout_s=5)
        target._exchange(target._connect(), b"{}")
        target._mine.connection.sock.shutdown(socket.SHUT_RDWR)
        assert target._post(b"{}") == b"{}"
        target.close()
        assert not target._opened


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((404, b"no such view"), EndpointFailed, "answers HTTP 404: no such view"),
        ((200, b"<html>"), fnb.errors.RequestFailed, "answers with no JSON"),
    ],
)
def test_an_endpoint_that_is_none_is_found_out_before(filled, answer, error, message):
    with served(lambda _: answer) as (url, _asked), pytest.raises(error, match=message):
        filled.latency("drivers", target=url, **QUICK)


def test_a_real_feast_serve_is_measured(filled, tmp_path):
    folder = filled.save(tmp_path / "repo")
    port = free_port()
    feast = Path(sys.executable).with_name("feast")
    command = [feast, "-c", folder, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with (tmp_path / "serve.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
            report = filled.latency("drivers", target=f"http://127.0.0.1:{port}", rate=20, **(QUICK | {"seconds": 2}))
        finally:
            server.terminate()
    assert report.frame["n"].tolist() == [40, 40]
    assert not report.errors.size, report.errors
    assert report.frame["consistency"].iloc[0] == "the endpoint's own"


def wait_until_healthy(url, server):
    for _ in range(300):
        assert server.poll() is None, "feast serve ended"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of our own
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"nothing answers at {url}")


# --- bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate=0 is not a rate"),
        ({"rate": -1}, "rate=-1 is not a rate"),
        ({"seconds": 0}, "leaves no time to measure"),
        ({"seconds": -2}, "leaves no time to measure"),
        ({"warmup_s": -1}, "is not a duration"),
        ({"concurrency": 0}, "is not a number of callers"),
        ({"rate": 10, "concurrency": 2}, "as many callers as it takes"),
        ({"rate": 10, "arrivals": "poison"}, "not a way to arrive"),
        ({"batch": 4}, "a batch of 4 needs as many entities; there are 3"),
        ({"batch": 0}, "at least 1"),
        ({"batch": []}, "at least 1"),
        ({"batch": 1.5}, "whole number"),
        ({"batch": [1, "2"]}, "whole number"),
        ({"keys": "zip"}, "not a way to pick"),
        ({"target": "feist"}, "did you mean feast"),
        ({"target": []}, "nothing is to be measured"),
        ({"target": "http://"}, "is not a whole address"),
        ({"target": "http://127.0.0.1:99999"}, "is not a whole address"),
        ({"target": "http://me:swordfish@127.0.0.1"}, "with a user name in it"),
        ({"target": "http://127.0.0.1:1", "consistency": "ONE"}, "as it was configured"),
        ({"consistency": "LOCAL_QORUM"}, "did you mean LOCAL_QUORUM"),
    ],
)
def test_options_without_sense_are_one_clear_error(filled, options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        filled.latency("drivers", **(QUICK | options))
    assert "swordfish" not in str(caught.value)


def test_unknown_features_are_named(filled):
    with pytest.raises(UnknownName, match="did you mean drivers"):
        filled.latency("driver", **QUICK)
    with pytest.raises(UnknownName, match="has no feature 'trip'"):
        filled.latency("drivers:trip", **QUICK)


def test_a_store_without_entities_is_said(filled):
    filled.forget("drivers", {"driver": [1, 2, 3]})
    with pytest.raises(ConfigurationError, match="there are no entities to read"):
        filled.latency("drivers", **QUICK)
    with pytest.raises(ConfigurationError, match="there are no entities to read"):
        filled.capacity("drivers", p99_ms=10, progress=False)


def test_an_endpoint_that_nobody_serves_is_a_clear_error(filled):
    with pytest.raises(ConnectionFailed, match=r"nothing answers at http://127.0.0.1:\d+: .*refused"):
        filled.latency("drivers", target=f"http://127.0.0.1:{free_port()}", **QUICK)


@pytest.mark.parametrize("p99_ms", [0, -1, float("nan")])
def test_an_objective_without_sense_is_refused(filled, p99_ms):
    with pytest.raises(ConfigurationError, match="is not an objective"):
        filled.capacity("drivers", p99_ms=p99_ms, progress=False)
