"""Astra's DevOps API: databases are found and waited for, bundles fetched and checked, and each refusal says what to do."""

import json
import logging
import stat

import pytest
from astra_stand_in.database import zipped
from astra_stand_in.devops import READER, TOKEN, database, devops

from feastra_nb.connection.astra import api as api_module
from feastra_nb.connection.astra import bundle
from feastra_nb.connection.astra.api import Api
from feastra_nb.connection.astra.databases import PATIENCE_S, Databases
from feastra_nb.connection.secrets import Secret
from feastra_nb.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    RequestFailed,
    RequestTimedOut,
    UnknownName,
)

PARTS = {"ca.crt": "ca", "cert": "cert", "key": "key", "config.json": json.dumps({"host": "h", "port": 29080})}
BUNDLE = zipped(**PARTS)


@pytest.fixture
def service():
    with devops() as state:
        state.add(
            database(1, "features", regions=("us-east1", "eu-west1"), keyspaces=("default_keyspace", "models")),
            database(2, "asleep", "HIBERNATED"),
            database(3, "gone", "TERMINATED"),
        )
        state.bundles = {"us-east1": BUNDLE, "eu-west1": zipped(**PARTS, extra="e")}
        yield state


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def api(service, pauses):
    return Api(Secret(TOKEN), service.url, sleep=pauses.append)


@pytest.fixture
def databases(api):
    return Databases(api)


# --- databases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "features",
        "00000000-0000-4000-8000-000000000001",
        "https://00000000-0000-4000-8000-000000000001-us-east1.apps.astra.datastax.com/api/json",
    ],
)
def test_a_database_is_found_by_name_id_and_endpoint(databases, name):
    found = databases.find(name)
    assert found.name == "features"
    assert found.regions == ("us-east1", "eu-west1")
    assert found.keyspaces == ("default_keyspace", "models")


def test_databases_come_page_by_page(service, databases):
    service.add(*(database(number, f"many-{number}") for number in range(10, 240)))
    assert len(list(databases)) == 233
    assert len(service.asked("/v2/databases")) == 3
    assert databases.find("many-239").name == "many-239"


def test_an_unknown_name_says_the_close_ones(databases):
    with pytest.raises(UnknownName, match="no database 'feature'") as caught:
        databases.find("feature")
    assert caught.value.hint == "did you mean features?"


def test_two_databases_of_one_name_are_told_apart_by_id(service, databases):
    service.add(database(4, "features"))
    with pytest.raises(UnknownName, match="2 databases") as caught:
        databases.find("features")
    assert "000000000004" in caught.value.hint


def test_an_unknown_id_is_a_clear_error(databases):
    with pytest.raises(UnknownName, match="database not found"):
        databases.find("00000000-0000-4000-8000-000000000099")


def test_a_region_is_the_first_or_the_one_asked_for(databases):
    found = databases.find("features")
    assert databases.region(found, None) == "us-east1"
    assert databases.region(found, "eu-west1") == "eu-west1"
    with pytest.raises(UnknownName, match="not in the region 'mars'") as caught:
        databases.region(found, "mars")
    assert "us-east1, eu-west1" in caught.value.hint


def test_a_hibernated_database_is_woken_only_when_asked(service, databases, pauses):
    found = databases.find("asleep")
    with pytest.raises(ConnectionFailed, match="hibernates") as caught:
        databases.ready(found)
    assert "resume=True" in caught.value.hint
    assert not service.asked("/api/json")
    assert databases.ready(found, resume=True).status == "ACTIVE"
    assert len(service.asked("/api/json")) == 1
    assert pauses == [5.0, 5.0]


def test_a_terminated_database_is_a_clear_error(databases):
    with pytest.raises(ConnectionFailed, match="terminated"):
        databases.ready(databases.find("gone"))


def test_waiting_ends(service, api):
    seconds = iter(range(0, 10_000, int(PATIENCE_S) // 2))
    service.add(database(5, "stuck", "MAINTENANCE"))
    patient = Databases(api, clock=lambda: float(next(seconds)))
    with pytest.raises(RequestTimedOut, match="still MAINTENANCE after 10 minutes"):
        patient.ready(patient.find("stuck"))


def test_a_keyspace_is_made_and_waited_for(databases, pauses):
    made = databases.make_keyspace(databases.find("features"), "fresh")
    assert "fresh" in made.keyspaces
    assert made.status == "ACTIVE"
    assert len(pauses) == 2


def test_a_database_is_made_and_waited_for(service, databases, pauses):
    made = databases.make("new", "eu-west-1", "models")
    assert (made.name, made.status, made.regions, made.keyspaces) == ("new", "ACTIVE", ("eu-west-1",), ("models",))
    assert databases.find("new") == made
    assert pauses


def test_a_database_cannot_be_made_in_an_unknown_region(databases):
    with pytest.raises(UnknownName, match="in the region 'eu-west1'") as caught:
        databases.make("new", "eu-west1", "models")
    assert caught.value.hint.startswith("did you mean eu-west-1")


def test_a_plan_without_room_says_so_and_is_asked_once(service, databases):
    service.most = 1
    with pytest.raises(RequestFailed, match="no room for another database"):
        databases.make("new", "us-east1", "models")
    assert len([one for one in service.seen if one[0] == "POST"]) == 1


# --- refusals ----------------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused_in_words_and_never_shown(service):
    wrong = "AstraCS:swordfish"
    with pytest.raises(AuthenticationFailed, match="does not accept the token: jwt not valid") as caught:
        list(Databases(Api(Secret(wrong), service.url)))
    assert "Settings, Tokens" in caught.value.hint
    assert "swordfish" not in str(caught.value) + repr(Api(Secret(wrong), service.url))


def test_a_role_that_does_not_suffice_is_named(service):
    reader = Databases(Api(Secret(READER), service.url))
    with pytest.raises(AuthenticationFailed, match="role does not allow") as caught:
        reader.make_keyspace(reader.find("features"), "fresh")
    assert "Database Administrator" in caught.value.hint


@pytest.mark.parametrize("trouble", [[500, 500], [429], [503, 429, 502]])
def test_a_busy_api_is_asked_again(service, databases, pauses, trouble):
    service.trouble = list(trouble)
    assert databases.find("features").name == "features"
    assert len(pauses) == len(trouble)
    assert pauses == sorted(pauses)


def test_an_api_that_stays_busy_is_an_error(service, databases, pauses):
    service.trouble = [500] * 9
    with pytest.raises(RequestFailed, match="HTTP 500: not now"):
        databases.find("features")
    assert len(pauses) == 4


def test_what_changes_something_is_not_sent_twice(service, databases):
    found = databases.find("features")
    service.trouble = [500]
    with pytest.raises(RequestFailed):
        databases.make_keyspace(found, "fresh")
    assert len(service.asked(f"/v2/databases/{found.id}/keyspaces")) == 1


def test_a_login_page_in_between_is_named(service, databases):
    service.trouble = ["html"]
    with pytest.raises(ConnectionFailed, match="text/html where JSON was expected") as caught:
        databases.find("features")
    assert "proxy" in caught.value.hint


def test_no_network_is_a_clear_error(pauses):
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9 cannot be reached"):
        Databases(Api(Secret(TOKEN), "http://127.0.0.1:9", sleep=pauses.append)).find("features")


def test_a_slow_api_is_given_up(service, pauses, monkeypatch):
    monkeypatch.setattr(api_module, "TIMEOUT_S", 0.05)
    service.slow_s = 0.3
    with pytest.raises(ConnectionFailed, match="did not answer within"):
        Databases(Api(Secret(TOKEN), service.url, sleep=pauses.append)).find("features")


# --- bundles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("as_list", "region"), [(False, "us-east1"), (True, "us-east1"), (True, "eu-west1")])
def test_the_bundle_of_a_region_is_fetched_without_the_token(service, api, databases, as_list, region):
    service.as_list = as_list
    assert bundle.fetch(api, databases.find("features"), region) == service.bundles[region]
    ((_method, _path, headers, _query),) = service.asked("/download")
    assert "Authorization" not in headers
    assert TOKEN not in str(headers)


def test_a_region_without_a_bundle_is_a_clear_error(service, api, databases):
    service.as_list = True
    with pytest.raises(ConnectionFailed, match="no bundle for the region 'mars'"):
        bundle.fetch(api, databases.find("features"), "mars")


def test_the_address_of_one_region_is_not_taken_for_another(service, api, databases):
    with pytest.raises(ConnectionFailed, match="no bundle for the region 'eu-west1'"):
        bundle.fetch(api, databases.find("features"), "eu-west1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BUNDLE[:-40], "damaged"),
        (b"<html></html>", "damaged"),
        (zipped(**{name: text for name, text in PARTS.items() if name != "key"}), "it lacks key"),
        (zipped(**PARTS, **{"../evil": "x"}), r"outside its folder: \.\./evil"),
        (zipped(**PARTS, **{"/etc/evil": "x"}), "outside its folder"),
        (zipped(**{**PARTS, "config.json": "[]"}), "no host"),
        (zipped(**{**PARTS, "config.json": "{"}), "damaged"),
        (zipped(**PARTS, big=b"\0" * (bundle.MEMBER_LIMIT_BYTES + 1)), "too large|larger"),
        (b"\0" * (bundle.LIMIT_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_bundle_is_refused(service, api, databases, content, message):
    service.bundles["us-east1"] = content
    with pytest.raises(ConnectionFailed, match=message):
        bundle.fetch(api, databases.find("features"), "us-east1")


def test_an_expired_address_says_so_and_is_not_quoted(service, api, databases, caplog):
    service.expired = True
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionFailed, match="HTTP 403") as caught:
        bundle.fetch(api, databases.find("features"), "us-east1")
    assert "five minutes" in caught.value.hint
    ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("feastra_nb"))
    assert "signature" not in str(caught.value) + ours


def test_a_bundle_is_kept_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "cache"))
    path = bundle.keep(BUNDLE, bundle.cached_path("id", "us-east1"))
    assert path.read_bytes() == BUNDLE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["id-us-east1.zip"]


def test_a_cache_that_cannot_be_written_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("FEASTRA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigurationError, match="cannot keep the bundle"):
        bundle.keep(BUNDLE, bundle.cached_path("id", "us-east1"))


def test_a_bundle_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        bundle.check_file(tmp_path / "none.zip")
