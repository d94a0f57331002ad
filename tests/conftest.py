"""A real Cassandra for all tests, and workspaces on it."""

import contextlib
import itertools
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from nodes import KEYSPACE, NODE, NODE_SETTINGS, start_node, workspaces
from turns import Turns

import feastra_nb as fnb
from feastra_nb.connection import local
from feastra_nb.connection.cluster import Database

pytest_plugins = ["astra_stand_in.fixtures", "migrations"]

_numbers = itertools.count()


# What a test needs, by the fixtures that it uses, itself or through others.
NEEDS_CASSANDRA = {"node", "own_node", "three_nodes", "guarded", "astra", "former", "orphan", "start", "default_node"}
NEEDS_TIME = {"image", "browser", "wheel", "site", "out"}
NEEDS_NETWORK = {"image", "wheel"}
# Modules whose tests start nodes, notebooks or programs by themselves.
STARTS_NODES = {"test_local_cassandra", "test_local_login", "test_lost_node", "test_demo"}
STARTS_PROGRAMS = {
    "test_binder",
    "test_benchmarks",
    "test_docs_site",
    "test_jupyterlab",
    "test_notebooks",
    "test_wheel",
}


# Modules that measure: beside other tests they would have too few samples to tell anything.
MEASURES = {"test_latency_store", "test_latency_truth", "test_latency_load"}


# Modules whose promises are held by both ways to the server: past the driver's event loop, and through the driver.
BOTH_WAYS = {"test_promises", "test_history", "test_online_store", "test_forks"}
BOTH_WAYS_TESTS = {
    "test_reads_go_on_while_a_node_hangs",
    "test_writes_go_on_while_a_node_hangs_and_each_row_counts_once",
}


def pytest_generate_tests(metafunc):
    both = metafunc.module.__name__ in BOTH_WAYS or metafunc.function.__name__ in BOTH_WAYS_TESTS
    if both and NEEDS_CASSANDRA & set(metafunc.fixturenames):
        metafunc.fixturenames.insert(0, "way")
        metafunc.parametrize("way", ["direct", "driver"], indirect=True)


@pytest.fixture
def way(request, monkeypatch):
    """The way that this process's reads and writes of views take."""
    if request.param == "driver":
        monkeypatch.setattr(Database, "goes_directly", lambda _db, _profile: False)
    return request.param


def pytest_collection_modifyitems(items):
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in (("cassandra", NEEDS_CASSANDRA), ("slow", NEEDS_TIME), ("network", NEEDS_NETWORK)):
            if used & fixtures:
                item.add_marker(marker)
        if item.path.stem in STARTS_NODES:
            item.add_marker("cassandra")
        if item.path.stem in STARTS_PROGRAMS:
            item.add_marker("slow")
        if item.path.stem in MEASURES or item.get_closest_marker("several_nodes"):
            item.add_marker("alone")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Let a test that measures, or starts several nodes, have the machine for itself, where tests run in several processes."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    with contextlib.ExitStack() as turn:
        if run is not None:
            turns = Turns(Path(tempfile.gettempdir()) / f"feastra-turns-{run}")
            turn.enter_context(turns.alone() if item.get_closest_marker("alone") else turns.beside_others())
        with _refused_nodes(item):
            return (yield)


@contextlib.contextmanager
def _refused_nodes(item):
    """Fail a test that starts a node and is not marked: ``make test-fast`` would run it."""
    with pytest.MonkeyPatch.context() as patch:
        if not (item.get_closest_marker("cassandra") or item.get_closest_marker("slow")):
            patch.setattr(local, "bring_up", _refused)
        yield


def _refused(*_arguments, **_options):
    pytest.fail("this test starts a node: let it use a fixture that NEEDS_CASSANDRA names, or name its own there")


def pytest_report_header():
    return "a Cassandra of its own for the tests: started when the first test needs it"


@pytest.fixture(autouse=True)
def _figures_are_closed():
    """Close what a test drew: pyplot keeps figures, and warns of many in whatever test comes next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def node():
    """A running Cassandra that only the tests use."""
    started = start_node(NODE, settings=NODE_SETTINGS)
    yield started
    local.purge(NODE)


@pytest.fixture(scope="session")
def three_nodes():
    """A cluster of three nodes that all tests of failing nodes share."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has all of 127.0.0.0/8")
    started = start_node(f"{NODE}-three", nodes=3, heap_mb=384, settings=NODE_SETTINGS)
    yield started
    local.purge(started.name)


@pytest.fixture(scope="session")
def processes():
    """Five other processes with Feast loaded."""
    from concurrent.futures import ProcessPoolExecutor

    from other_processes import CONTEXT

    with ProcessPoolExecutor(5, mp_context=CONTEXT) as pool:
        yield pool


@pytest.fixture
def shell():
    """A real IPython with the extension loaded; no history file."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from feastra_nb.notebook.magics import load_ipython_extension, unload_ipython_extension

    InteractiveShell.clear_instance()
    config = Config()
    config.HistoryManager.enabled = False
    started = InteractiveShell.instance(config=config, colors="nocolor")
    load_ipython_extension(started)
    yield started
    unload_ipython_extension(started)
    InteractiveShell.clear_instance()


@pytest.fixture
def project():
    """A Feast project that no other test has, so that tests share a keyspace without meeting."""
    return f"p{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def open_workspace(node, project, tmp_path):
    """Open workspaces of this test's project and folder; all are closed at its end."""
    with workspaces(project=project, keyspace=KEYSPACE, directory=tmp_path / ".feastra") as connect:
        yield partial(connect, fnb.Local(name=NODE))


@pytest.fixture
def ws(open_workspace):
    """A workspace with nothing in it, which keeps all history."""
    return open_workspace(retain="all")


@pytest.fixture
def now():
    """The present, in whole microseconds."""
    return pd.Timestamp.now(tz="UTC").floor("us")


@pytest.fixture
def events(now):
    """Three entities with three events each, an hour apart; the newest is an hour old."""
    return pd.DataFrame(
        {
            "driver": [1, 2, 3] * 3,
            "event_timestamp": [now - pd.Timedelta(hours=hours) for hours in (3, 2, 1) for _ in range(3)],
            "trips": range(9),
            "rating": [0.5 * n for n in range(9)],
            "city": ["Oslo", "Köln", "São Paulo"] * 3,
            "active": [True, False, None] * 3,
        }
    )


@pytest.fixture
def filled(ws, events):
    """A workspace whose view ``drivers`` holds `events`."""
    ws.materialize(events, "drivers", keys=["driver"], progress=False)
    return ws


@pytest.fixture
def saved_repo(filled, tmp_path, monkeypatch):
    """A Feast repository that was saved from `filled`, as the current folder."""
    folder = filled.save(tmp_path / "repo")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def open_repository(node, project, tmp_path):
    """Open Feast repositories on the test node; all are closed at the end."""
    from feast import FeatureStore, RepoConfig

    from feastra_nb.online_store import FeastraOnlineStore

    opened = []

    def feature_store(**options):
        online = {
            "type": "feastra_nb.online_store.FeastraOnlineStore",
            "hosts": list(node.hosts), "port": node.port, "keyspace": KEYSPACE, "create_keyspace": True,
            "retain": "all", **options.pop("online", {}),
        }  # fmt: skip
        config = {
            "project": project, "provider": "local", "registry": str(tmp_path / "registry.db"),
            "offline_store": {"type": "duckdb"}, "entity_key_serialization_version": 3, **options,
        }  # fmt: skip
        opened.append(FeatureStore(config=RepoConfig(online_store=online, **config)))
        return opened[-1]

    yield feature_store
    for store in opened:
        online_store = store._get_provider().online_store
        if isinstance(online_store, FeastraOnlineStore):
            online_store.shutdown()


@pytest.fixture
def without_ttl(ws, events, tmp_path):
    """A workspace that serves values whatever their age, on a view ``drivers`` of `events` whose ttl is over for all."""
    ws.materialize(events, "drivers", keys=["driver"], ttl="30min", progress=False)
    settings = ws.save(tmp_path / "repo") / "feature_store.yaml"
    settings.write_text(settings.read_text().replace("retain: all", "retain: all\n  enforce_ttl: false"))
    with fnb.connect(repo=settings.parent) as opened:
        yield opened


@pytest.fixture
def driver():
    """The entity of most of the tests."""
    from feast import Entity, ValueType

    return Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
