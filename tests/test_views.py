"""Views of every kind on every path, views that are ill beside others, and errors that are ours whatever goes wrong."""

import inspect
import os
import re
import warnings
from datetime import timedelta

import pandas as pd
import pytest
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.feature_view import FeatureViewState
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64

import feastra_nb as fnb
from feastra_nb import cli
from feastra_nb.errors import ConfigurationError, FeastFailed, FeastraError, InvalidFrame

NOW = pd.Timestamp.now(tz="UTC").floor("s")
DAYS = timedelta(days=3)


def frame(**columns):
    return pd.DataFrame({"k": [1, 2], "event_timestamp": [NOW, NOW], **columns})


@pytest.fixture
def repository(node, project, tmp_path):
    """A Feast repository with views of several kinds, materialized, as the current folder."""
    block = {
        "type": "feastra_nb.online_store.FeastraOnlineStore", "hosts": list(node.hosts), "port": node.port,
        "keyspace": "tests", "create_keyspace": True, "retain": "all",
    }  # fmt: skip
    settings = {
        "project": project, "provider": "local", "registry": "registry.db", "offline_store": {"type": "duckdb"},
        "online_store": block, "batch_engine": {"type": "feastra_nb.arrow_engine.ArrowComputeEngine"},
        "entity_key_serialization_version": 3,
    }  # fmt: skip
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    store = FeatureStore(repo_path=str(tmp_path))

    def source(name, rows):
        rows.to_parquet(tmp_path / f"{name}.parquet")
        return FileSource(name=name, path=str(tmp_path / f"{name}.parquet"), timestamp_field="event_timestamp")

    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)

    def view(name, rows, *fields, entities=(key,), **more):
        schema = [Field(name="k", dtype=Int64)] * bool(entities) + [
            Field(name=field, dtype=kind) for field, kind in fields
        ]
        return FeatureView(
            name=name, entities=list(entities), ttl=DAYS, schema=schema, source=source(name, rows), **more
        )

    rates = view("rates", pd.DataFrame({"event_timestamp": [NOW], "usd": [1.25]}), ("usd", Float64), entities=())
    users = view("users", frame(x=[1.0, 2.0]), ("x", Float64))
    kept = view("kept", frame(z=[1.0, 2.0]), ("z", Float64), online=False)
    limit = RequestSource(name="request", schema=[Field(name="limit", dtype=Float64)])

    @on_demand_feature_view(sources=[users, limit], schema=[Field(name="over", dtype=Bool)])
    def checks(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"over": inputs["x"] > inputs["limit"]})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Feast says that on-demand views are experimental
        store.apply([key, rates, users, kept, checks, limit, FeatureService(name="both", features=[users, rates])])
        store.materialize(NOW - timedelta(days=1), NOW + timedelta(seconds=1))
    store._get_provider().online_store.shutdown()
    return tmp_path


@pytest.fixture
def repo(repository, monkeypatch):
    monkeypatch.chdir(repository)
    with fnb.connect(repo=repository) as opened:
        yield opened


# --- views without entities ------------------------------------------------------------------------------------------


def test_a_view_without_entities_is_read_on_every_path(repo):
    spine = pd.DataFrame({"k": [1, 2], "event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2})
    assert repo.online("rates", {}).to_dict("list") == {"usd": [1.25]}
    assert repo.online("rates", spine)["usd"].tolist() == [1.25, 1.25]
    assert repo.online("rates", spine, as_of="event_timestamp", status=True)["usd__status"].tolist() == ["PRESENT"] * 2
    assert repo.online("both", {"k": [2, 1]}).to_dict("list") == {"k": [2, 1], "x": [2.0, 1.0], "usd": [1.25, 1.25]}
    assert repo.historical("rates", spine)["usd"].tolist() == [1.25, 1.25]
    assert repo.historical("both", spine)["usd"].tolist() == [1.25, 1.25]


def test_a_view_without_entities_is_compared_and_explained(repo):
    spine = pd.DataFrame({"event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2})
    now, then = repo.skew("rates"), repo.skew("rates", spine=spine)
    assert (now.compared, now.ok, then.compared, then.ok) == (1, True, 2, True)
    assert "__dummy_id" not in now.frame.columns
    assert repo.explain("rates:usd", {}).ok
    pd.DataFrame({"event_timestamp": [NOW - timedelta(hours=1), NOW], "usd": [1.25, 9.0]}).to_parquet("rates.parquet")
    assert set(repo.skew("rates").different["verdict"]) == {"mismatch"}


def test_a_view_without_entities_is_written_measured_and_forgotten(repo):
    pd.DataFrame({"event_timestamp": [NOW, NOW + timedelta(seconds=1)], "usd": [1.25, 2.5]}).to_parquet("rates.parquet")
    assert repo.materialize("rates", progress=False).rows == 2
    assert repo.online("rates", {})["usd"].tolist() == [2.5]
    assert repo.latency("rates", seconds=0.05, warmup_s=0.0, batch=1, progress=False).frame["errors"].sum() == 0
    both = repo.latency("both", seconds=0.05, warmup_s=0.0, batch=1, target=("feast", "driver"), progress=False)
    assert both.frame["errors"].sum() == 0
    assert repo.views("rates")["join_keys"].tolist() == [""]
    assert repo.forget("rates", {}) == 1
    assert repo.online("rates", {})["usd"].tolist() == [pd.NA]


def test_a_frame_becomes_a_view_without_entities(ws):
    rates = pd.DataFrame({"event_timestamp": [NOW - timedelta(hours=1), NOW], "usd": [1.0, 1.25]})
    ws.materialize(rates, "rates", keys=[], progress=False)
    assert ws.online("rates", {})["usd"].tolist() == [1.25]
    assert ws.historical("rates", rates[["event_timestamp"]])["usd"].tolist() == [1.0, 1.25]
    assert ws.materialize(rates, "rates", progress=False).unchanged == 2
    assert ws.skew("rates").ok


# --- on-demand views -------------------------------------------------------------------------------------------------


def test_request_data_goes_with_the_entities(repo):
    asked = pd.DataFrame({"k": [1, 2], "limit": [1.5, 1.5]})
    assert repo.online("checks", asked)["over"].tolist() == [False, True]
    report = repo.latency("checks", asked, seconds=0.05, warmup_s=0.0, batch=(1, 2), progress=False)
    assert report.frame["errors"].sum() == 0
    spine = asked.assign(event_timestamp=pd.Timestamp.now(tz="UTC"))
    assert repo.historical("checks", spine)["over"].tolist() == [False, True]


def test_missing_request_data_is_named(repo):
    for call in (
        lambda: repo.online("checks", {"k": 1}),
        lambda: repo.historical("checks", {"k": 1, "event_timestamp": NOW}),
        lambda: repo.latency("checks", {"k": 1}, batch=1),
    ):
        with pytest.raises(InvalidFrame, match="limit"):
            call()
    with pytest.raises(ConfigurationError, match="limit"):
        repo.latency("checks", batch=1)


def test_on_demand_features_are_named_as_not_compared(repo):
    report = repo.skew("checks")
    assert report.not_compared == ("checks:over",)
    assert "checks:over" in repr(report)
    assert "checks:over" in report._repr_html_()


# --- ill views -------------------------------------------------------------------------------------------------------


def set_state(repo, name, state):
    view = repo.feast.get_feature_view(name)
    view.state = state
    repo.feast.registry.apply_feature_view(view, repo.project, commit=True)


def test_what_a_killed_run_leaves_is_served_and_compared(repo, capsys):
    set_state(repo, "users", FeatureViewState.MATERIALIZING)
    spine = pd.DataFrame({"k": [1], "event_timestamp": [pd.Timestamp.now(tz="UTC")]})
    assert repo.online("users", {"k": 1})["x"].tolist() == [1.0]
    assert repo.historical("users", spine)["x"].tolist() == [1.0]
    assert repo.skew("users").ok
    assert repo.explain("users:x", {"k": 1}).ok
    assert cli.main(["skew", "users", "-q"]) == 0
    assert repo.materialize("users", progress=False).rows
    assert repo.feast.get_feature_view("users").state is FeatureViewState.AVAILABLE_ONLINE


def test_a_saved_repository_serves_while_it_is_materialized(filled, tmp_path):
    saved = yaml.safe_load((filled.save(tmp_path / "repo") / "feature_store.yaml").read_text())
    assert saved["registry"]["serve_features_while_materializing"] is True


def test_a_view_that_was_never_written_says_what_to_do(repo):
    set_state(repo, "users", FeatureViewState.GENERATED)
    with pytest.raises(ConfigurationError, match=r"ws\.materialize\('users'\)"):
        repo.online("users", {"k": 1})
    repo.materialize("users", progress=False)
    assert repo.online("users", {"k": 1})["x"].tolist() == [1.0]


def test_a_disabled_view_says_so(repo):
    view = repo.feast.get_feature_view("users")
    view.enabled = False
    repo.feast.registry.apply_feature_view(view, repo.project, commit=True)
    with pytest.raises(ConfigurationError, match="'users' is disabled"):
        repo.online("users", {"k": 1})


def test_one_ill_view_does_not_stop_the_others(repo, repository, capsys):
    (repository / "users.parquet").write_bytes(b"damaged")
    report = repo.skew(["rates", "users"])
    assert (set(report.frame["view"]), set(report.failed), report.ok) == ({"rates"}, {"users"}, False)
    assert "users" in repr(report)
    with pytest.raises(FeastFailed):
        repo.skew("users")
    assert cli.main(["skew", "-q"]) == 2
    told = capsys.readouterr()
    assert "error: view users" in told.err
    assert "rates" in told.out
    assert cli.main(["materialize", "-q"]) == 2
    told = capsys.readouterr()
    assert "rates: 1 rows" in told.out
    assert "error: view users" in told.err


def test_over_budget_is_1_whatever_else_could_not_be_told(repo, repository):
    (repository / "users.parquet").write_bytes(b"damaged")
    pd.DataFrame({"event_timestamp": [NOW], "usd": [9.0]}).to_parquet("rates.parquet")
    assert cli.main(["skew", "-q"]) == 1


# --- what conversion loses -------------------------------------------------------------------------------------------

LOSSES = {
    "a null among ints": ([[5, None], [5]], "served as 0"),
    "a null among texts": ([["a", None], ["a"]], "served as ''"),
    "a null among booleans": ([[True, None], [True]], "served as False"),
    "a part of a second": (pd.to_datetime(["2024-01-01 10:00:00.250Z", "2024-01-01 10:00:00.000Z"]), "fraction of a second"),
    "parts of a second in lists": (
        [[pd.Timestamp("2024-01-01 10:00:00.250Z")], [pd.Timestamp("2024-01-01 10:00Z")]], "fraction of a second",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LOSSES)
def test_what_storing_loses_is_warned_of_and_found(ws, what):
    values, words = LOSSES[what]
    with pytest.warns(UserWarning, match=rf"column 'f': .*{words}.* in 1 of 2 rows \(row 0\)"):
        ws.materialize(frame(f=values), "view", keys=["k"], progress=False)
    spine = pd.DataFrame({"k": [1, 2], "event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2})
    for report in (ws.skew("view"), ws.skew("view", spine=spine)):
        assert report.frame.sort_values("k")["cause"].tolist() == ["conversion", ""]


@pytest.mark.parametrize(
    "values", [[[1.5, None], [1.5]], [["a"], []], pd.to_datetime(["2024-01-01 10:00Z"] * 2), [1e300, 0.1]]
)
def test_what_storing_keeps_is_a_match_without_a_word(ws, values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ws.materialize(frame(f=values), "view", keys=["k"], progress=False)
    assert ws.skew("view").ok


def test_values_that_were_logged_before_conversion_match(ws):
    with pytest.warns(UserWarning, match="a null inside a list"):
        ws.materialize(frame(f=[[5, None], [5]]), "view", keys=["k"], progress=False)
    logged = pd.DataFrame({"k": [1, 2], "event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2})
    assert ws.skew("view", served=logged.assign(f=[[5, None], [5]])).ok
    report = ws.skew("view", served=logged.assign(f=[[5, 0], [5]]))
    assert report.frame["cause"].tolist() == ["conversion", ""]


def test_a_number_beyond_32_bits_is_found_where_the_feature_has_32(node, project, tmp_path, open_repository, driver):
    from feast.types import Float32

    rows = pd.DataFrame({"driver": [1, 2], "event_timestamp": [NOW, NOW], "f": [1e300, 0.1]})
    rows.to_parquet(tmp_path / "f.parquet")
    source = FileSource(name="f", path=str(tmp_path / "f.parquet"), timestamp_field="event_timestamp")
    store = open_repository()
    store.apply(
        [driver, FeatureView(name="view", entities=[driver], schema=[Field(name="f", dtype=Float32)], source=source)]
    )
    opened = fnb.Workspace(store, None, tmp_path)
    with pytest.warns(UserWarning, match="beyond 32-bit floats"):
        opened.materialize("view", progress=False)
    assert opened.skew("view").frame["cause"].tolist() == ["conversion", ""]


def test_naive_times_are_in_utc_on_both_sides(ws):
    with pytest.warns(UserWarning, match="taken for UTC"):
        ws.materialize(frame(at=pd.to_datetime(["2024-01-01 10:00"] * 2)), "view", keys=["k"], progress=False)
    read = ws.online("view", {"k": 1})["at"], ws.historical("view", {"k": 1, "event_timestamp": NOW})["at"]
    assert [str(side.dtype.tz) for side in read] == ["UTC", "UTC"]
    assert read[0].tolist() == read[1].tolist()


def test_a_skew_of_nothing_does_not_say_match(filled):
    long_ago = pd.DataFrame(
        {"driver": [1, 2], "event_timestamp": pd.to_datetime(["2001-01-01", "2001-01-02"], utc=True)}
    )
    report = filled.skew("drivers", spine=long_ago)
    assert "match" not in report.sentence
    assert report.sentence.startswith("Nothing was really compared")
    assert report.check(0.0).state == "could not tell"
    assert filled.skew("drivers").is_told


@pytest.mark.parametrize("logged", [["1.5", "x"], [None, "1.5"]])
def test_a_report_of_values_of_another_type_is_shown_and_saved(ws, logged, tmp_path):
    ws.materialize(frame(n=[1.5, 2.5]), "view", keys=["k"], progress=False)
    served = pd.DataFrame({"k": [1, 2], "event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2, "n": logged})
    report = ws.skew("view", served=served)
    assert "type" in repr(report) or "unexplained" in repr(report)
    assert "n" in report._repr_html_()
    assert len(report.summary) == len(report.distances) == 1
    for suffix in (".html", ".json", ".parquet", ".png"):
        assert report.save(tmp_path / f"report{suffix}").stat().st_size
    for kind in ("features", "distributions", "lag"):
        report.plot(kind=kind)
    with pytest.raises(ConfigurationError, match="holds no numbers"):
        report.plot(kind="scatter")


@pytest.mark.parametrize("tolerance", [-1, {"trips": -0.1}, {"trip": 0.1}, {"trips": "1"}, True, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_refused(filled, tolerance):
    with pytest.raises(FeastraError, match="tolerance"):
        filled.skew("drivers", tolerance=tolerance)


# --- whatever goes wrong is ours -------------------------------------------------------------------------------------


def damage(path, rows=None):
    path.write_bytes(b"damaged") if rows is None else rows.to_parquet(path)


PROVOKED = {
    "the file is gone": lambda folder: (folder / "users.parquet").unlink(),
    "the file is damaged": lambda folder: damage(folder / "users.parquet"),
    "a column is gone": lambda folder: damage(folder / "users.parquet", frame()),
    "a column has another type": lambda folder: damage(folder / "users.parquet", frame(x=["a", "b"])),
    "the times are numbers": lambda folder: damage(
        folder / "users.parquet", frame(x=[1.0, 2.0]).assign(event_timestamp=1)
    ),
}
CALLS = {
    "online": lambda repo: repo.online("users", {"k": 1}),
    "as of": lambda repo: repo.online("users", {"k": 1}, as_of=NOW),
    "historical": lambda repo: repo.historical("users", {"k": 1, "event_timestamp": pd.Timestamp.now(tz="UTC")}),
    "skew": lambda repo: repo.skew("users"),
    "skew of a spine": lambda repo: repo.skew("users", spine={"k": 1, "event_timestamp": pd.Timestamp.now(tz="UTC")}),
    "explain": lambda repo: repo.explain("users:x", {"k": 1}),
    "materialize": lambda repo: repo.materialize("users", progress=False),
    "a frame": lambda repo: repo.materialize(frame(x=[7.0, 8.0]), "users", progress=False),
    "latency": lambda repo: repo.latency("users", seconds=0.02, warmup_s=0.0, batch=1, progress=False),
    "forget offline": lambda repo: repo.forget("users", {"k": 9}, offline=True),
    "views": lambda repo: repo.views(),
}


@pytest.mark.parametrize("what", PROVOKED)
def test_whatever_goes_wrong_is_an_error_of_ours(repo, repository, what):
    PROVOKED[what](repository)
    refused = 0
    for call in CALLS.values():
        try:
            call(repo)
        except FeastraError as error:
            refused += 1
            assert error.hint, error  # noqa: PT017 - some calls do not need what is ill
            follow(error.hint)
    assert refused >= 4


def test_a_folder_in_the_place_of_a_repository_is_told_in_our_words(tmp_path, node):
    good = {"project": "p", "provider": "local", "registry": "r.db", "online_store": {"type": "sqlite"}}
    for text in (
        "a: [", "", "- 1", yaml.safe_dump({**good, "offline_store": {"type": "nope"}}),
        yaml.safe_dump({**good, "registry": "."}), yaml.safe_dump({key: good[key] for key in good if key != "project"}),
    ):  # fmt: skip
        (tmp_path / "feature_store.yaml").write_text(text)
        with pytest.raises(FeastraError) as told:
            fnb.connect(repo=tmp_path)
        follow(told.value.hint)
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(good))
    (tmp_path / "r.db").write_bytes(b"garbage")
    with pytest.raises(FeastraError, match="registry"):
        fnb.connect(repo=tmp_path)


def follow(hint):
    """Fail on a hint that names a method, or an argument of one, which is not there."""
    for owner, method, arguments in re.findall(r"\b(ws|fnb)\.(\w+)\(([^)]*)", hint):
        function = getattr(fnb if owner == "fnb" else fnb.Workspace, method)
        known = inspect.signature(function).parameters
        for name in re.findall(r"(\w+)=", arguments):
            assert name in known or method in {"Hosts", "Astra", "Local"}, hint


def test_no_hint_in_the_package_names_what_is_not_there():
    package = os.path.dirname(fnb.__file__)  # noqa: PTH120
    for folder, _folders, files in os.walk(package):
        for file in files:
            if file.endswith(".py"):
                with open(os.path.join(folder, file), encoding="utf-8") as text:  # noqa: PTH118, PTH123
                    for hint in re.findall(r"hint=[^\n]*", text.read()):
                        follow(re.sub(r"\{[^}]*\}", "x", hint))


def test_prints_of_other_threads_appear_while_feast_is_quiet(filled, capsys):
    import threading

    stop = threading.Event()
    printed = 0

    def prints():
        nonlocal printed
        while not stop.is_set():
            print("here")  # noqa: T201 - that is what is looked for
            printed += 1
            stop.wait(0.01)

    threads = [threading.Thread(target=prints) for _ in range(2)]
    for thread in threads:
        thread.start()
    filled.skew("drivers")
    filled.historical("drivers", {"driver": 1, "event_timestamp": NOW})
    stop.set()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().out.count("here") == printed > 0
