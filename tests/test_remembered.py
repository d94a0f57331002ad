"""What `ws.online` remembers of a request: never longer than the registry's file is the same, and never for another request."""

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureService
from other_processes import CONTEXT, workspace

from feastra_nb.adapter.feast_private import with_registry_of_its_own
from feastra_nb.errors import UnknownName
from feastra_nb.retrieval import remembered as module
from feastra_nb.retrieval.remembered import remembered

ONE = {"driver": [1]}


@pytest.fixture
def settled(monkeypatch):
    """Take a registry file for settled at once."""
    monkeypatch.setattr(module, "SETTLED_NS", 0)


@pytest.fixture
def ws(ws, settled):
    return ws


def look_up(ws, features, *, full_feature_names=False):
    return remembered(ws.stores, features, full_feature_names=full_feature_names)


def test_a_request_is_looked_up_once_for_as_long_as_the_registry_is_the_same(filled, events):
    first = look_up(filled, ["drivers:trips", "drivers:city"])
    assert look_up(filled, ("drivers:trips", "drivers:city")) is first
    assert look_up(filled, iter(["drivers:trips", "drivers:city"])) is first
    assert look_up(filled, "drivers:trips") is look_up(filled, ["drivers:trips"])
    others = [
        look_up(filled, ["drivers:city", "drivers:trips"]),
        look_up(filled, ["drivers:trips", "drivers:city"], full_feature_names=True),
        look_up(filled, "drivers"),
    ]
    assert len({id(each) for each in (first, *others)}) == 4
    filled.materialize(events.assign(driver=4), "others", keys=["driver"], progress=False)
    assert look_up(filled, ["drivers:trips", "drivers:city"]) is not first


def test_a_file_that_was_just_changed_is_read_each_time(filled, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", 10**18)
    assert look_up(filled, "drivers") is not look_up(filled, "drivers")


def test_very_many_requests_are_not_all_kept(filled, monkeypatch):
    monkeypatch.setattr(module, "MOST_REQUESTS", 2)
    for name in ("trips", "city", "rating", "active"):
        assert filled.online(f"drivers:{name}", ONE).columns.tolist() == ["driver", name]
    assert len(filled.stores.requests) <= 2


# --- changes -----------------------------------------------------------------------------------------------------------


def shorten(store, *, ttl="30min"):
    view = store.get_feature_view("drivers")
    view.ttl = pd.Timedelta(ttl).to_pytimedelta()
    store.apply([view])


def in_another_process(node, project, folder, change):
    with workspace(node, project, folder) as ws:
        change(ws.feast)


def status(ws):
    return ws.online("drivers:trips", ONE, status=True)["trips__status"].tolist()


@pytest.mark.parametrize("who", ["the same store", "another store", "another process"])
def test_a_view_that_was_changed_is_seen_at_the_next_call(filled, node, project, tmp_path, who):
    assert status(filled) == status(filled) == ["PRESENT"]
    if who == "the same store":
        shorten(filled.feast)
    elif who == "another store":
        shorten(with_registry_of_its_own(filled.feast))
    else:
        process = CONTEXT.Process(
            target=in_another_process, args=(filled.target.name, project, tmp_path / ".feastra", shorten)
        )
        process.start()
        process.join()
        assert process.exitcode == 0
    assert status(filled) == status(filled) == ["OUTSIDE_MAX_AGE"]


def test_a_change_of_the_same_size_with_the_time_of_the_old_file_is_seen(filled):
    path = Path(str(filled.feast.registry._registry_store._filepath))
    shorten(filled.feast, ttl="25h")
    before = path.stat()
    assert status(filled) == ["PRESENT"]
    shorten(with_registry_of_its_own(filled.feast), ttl="25min")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert status(filled) == ["OUTSIDE_MAX_AGE"]


def test_a_feature_that_was_added_is_there_at_the_next_call(filled, open_workspace, events):
    for _ in range(2):
        with pytest.raises(UnknownName, match="tips"):
            filled.online("drivers:tips", ONE)
    assert filled.online("drivers", ONE).shape == (1, 5)
    open_workspace(retain="all").materialize(events.assign(tips=range(9)), "drivers", progress=False)
    assert filled.online("drivers:tips", ONE)["tips"].tolist() == [6]
    assert filled.online("drivers", ONE).shape == (1, 6)


def test_a_service_that_was_changed_is_another_by_its_name(filled):
    view, other = filled.view("drivers"), with_registry_of_its_own(filled.feast)
    for names in (["trips"], ["city", "trips"], ["rating"]):
        other.apply([FeatureService(name="model", features=[view[names]])])
        for _ in range(2):
            assert set(filled.online("model", ONE).columns) == {"driver", *names}


def test_a_view_that_was_dropped_is_unknown(filled):
    filled.online("drivers", ONE)
    filled.drop("drivers")
    with pytest.raises(UnknownName, match="drivers"):
        filled.online("drivers", ONE)


def test_what_is_done_to_a_view_in_memory_counts_when_it_is_applied(filled):
    assert status(filled) == ["PRESENT"]
    shared = filled.feast.registry.get_any_feature_view("drivers", filled.project, allow_cache=True)
    shared.ttl = timedelta(minutes=30)
    shared.projection.name_alias = "alias"
    shared.projection.join_key_map = {"driver": "chauffeur"}
    shared.entity_columns = []
    assert status(filled) == ["PRESENT"]
    assert filled.online("drivers:trips", ONE, full_feature_names=True).columns.tolist() == ["driver", "drivers__trips"]


# --- requests beside each other ------------------------------------------------------------------------------------------


@pytest.fixture
def requests(filled):
    """Requests for one view under several names, each with the entities it takes."""
    view = filled.view("drivers")
    first = view[["trips"]].with_name("first").with_join_key_map({"driver": "one"})
    second = view[["trips", "city"]].with_name("second").with_join_key_map({"driver": "two"})
    services = [
        FeatureService(name="pair", features=[first, second]),
        FeatureService(name="pair_swapped", features=[second, first]),
        FeatureService(name="plain", features=[view[["city"]]]),
    ]
    filled.feast.apply(services)
    both = {"one": [1, 2], "two": [3, 9]}
    return [
        ("pair", both), ("pair_swapped", both), (services[0], both), ("plain", {"driver": [1, 2]}),
        ("drivers", {"driver": [3, 9]}), (["drivers:city", "drivers:trips"], {"driver": [2, 1]}),
    ]  # fmt: skip


def read(ws, request):
    features, entities = request
    return ws.online(features, entities, full_feature_names=True, status=True, timestamps=True)


def test_names_and_join_keys_of_one_view_do_not_leak_between_requests(filled, requests):
    expected = []
    for request in requests:
        filled.stores.requests.clear()
        expected.append(read(filled, request))
    assert expected[0].columns[:3].tolist() == ["one", "two", "first__trips"]
    assert expected[0]["first__trips"].tolist() == [6, 7]
    assert expected[0]["second__trips"].tolist() == [8, pd.NA]
    for _ in range(2):
        for request, frame in zip(requests, expected, strict=True):
            pd.testing.assert_frame_equal(read(filled, request), frame)
            features, entities = request
            if isinstance(features, (list, FeatureService)):  # what Feast keeps of the same views is its own
                filled.feast.get_online_features(features, entities, full_feature_names=True)


def test_threads_get_what_they_ask_for(filled, requests):
    expected = [read(filled, request) for request in requests]
    filled.stores.requests.clear()
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda number: read(filled, requests[number % len(requests)]), range(120)))
    for number, frame in enumerate(frames):
        pd.testing.assert_frame_equal(frame, expected[number % len(requests)])


def test_a_service_that_was_changed_in_place_is_another_request(filled, recwarn):
    service = FeatureService(name="model", features=[filled.view("drivers")[["trips"]]])
    filled.feast.apply([service])
    service = filled.feast.get_feature_service("model")
    same = copy.deepcopy(service)
    assert filled.online(service, {"driver": 1})["trips"].tolist() == [6]
    service.feature_view_projections[0].join_key_map["driver"] = "chauffeur"
    assert filled.online(service, {"chauffeur": 2})["trips"].tolist() == [7]
    assert filled.online(same, {"driver": 3})["trips"].tolist() == [8]


def test_a_service_made_of_names_means_what_was_applied(filled):
    named = [FeatureService(name=name, features=[f"drivers:{name}"]) for name in ("trips", "city")]
    filled.feast.apply([FeatureService(name=each.name, features=[f"drivers:{each.name}"]) for each in named])
    for _ in range(2):
        for each in named:
            assert filled.online(each, ONE).columns.tolist() == ["driver", each.name]
