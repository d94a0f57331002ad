"""The truth about skew: every planted fault is found with its cause, and nothing where nothing is wrong."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_stores import build_repository, overwrite
from skew_faults import FAULTS, MINUTE, last_events, planted, rewrite
from skew_ways import held_against_each_other
from sklearn.ensemble import RandomForestRegressor

import feastra_nb as fnb
from benchmarks.peers import NotHereError, redis_server
from feastra_nb.errors import ConfigurationError, InvalidFrame
from feastra_nb.materialization.offline_file import path_of
from feastra_nb.skew import cells, chunks, pairing, scan
from feastra_nb.skew.events import Versions
from feastra_nb.skew.offline_side import OfflineEvents

PLANES = 240
EACH = 25  # aircraft of each fault


@pytest.fixture(autouse=True)
def _both_ways(monkeypatch):
    held_against_each_other(monkeypatch)


@pytest.fixture(scope="session")
def planes():
    """Some aircraft's last events."""
    return last_events(PLANES)


@pytest.fixture
def stored(ws, planes):
    """A workspace whose view ``plane_stats`` holds the aircraft."""
    ws.materialize(planes, "plane_stats", keys=["tailnum"], created="made", progress=False)
    return ws


def plant(ws, *faults):
    """Plant faults, each in aircraft of its own, and return the cause that each has to be found with."""
    path = path_of(ws.directory, "plane_stats")
    names = sorted(pd.read_parquet(path)["tailnum"].unique())
    expected = {}
    for number, name in enumerate(faults):
        some = names[number * EACH : (number + 1) * EACH]
        rewrite(path, lambda frame, name=name, some=some: FAULTS[name](frame.reset_index(drop=True), some))
        expected |= {f"new {plane}" if name == "not_materialized" else plane: name for plane in some}
    return expected


# --- planted faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_with_its_cause_and_nothing_else(stored, fault):
    expected = plant(stored, fault)
    assert planted(stored.skew("plane_stats")) == expected


def test_mixed_faults_are_told_apart(stored):
    # A factor and a difference are not among them: they are proved by 95 % of what nothing else explains.
    alone = ("scale", "offset", "unexplained")
    expected = plant(stored, *(fault for fault in FAULTS if fault not in alone), "unexplained")
    assert planted(stored.skew("plane_stats")) == expected


def test_one_factor_is_found_among_other_faults(stored):
    expected = plant(stored, "stale", "scale", "corrected")
    report = stored.skew("plane_stats")
    assert planted(report) == expected
    scaled = report.different[report.different["cause"] == "scale"]
    assert scaled["factor"].round(9).unique().tolist() == [round(1 / 60, 9)]


def test_texts_that_differ_in_form_only_are_named_so_and_others_not(ws, planes):
    towns = np.array(["Köln", "Bonn", "Aachen"])[np.arange(len(planes)) % 3]
    ws.materialize(planes.assign(town=towns), "plane_stats", keys=["tailnum"], created="made", progress=False)
    names = sorted(planes["tailnum"].unique())

    def change(frame):
        town, plane = frame["town"], frame["tailnum"]
        town = town.mask(plane == names[0], town.str.upper()).mask(plane == names[1], " " + town + "\t")
        return frame.assign(town=town.mask(plane == names[2], town + " am Rhein"))

    rewrite(path_of(ws.directory, "plane_stats"), change)
    expected = {names[0]: "text_form", names[1]: "text_form", names[2]: "unexplained"}
    assert planted(ws.skew("plane_stats"), "town") == expected


@pytest.mark.parametrize("hours", [2, -5.5])
def test_shifted_event_times_are_found_where_every_value_matches(stored, hours):
    path, shift = path_of(stored.directory, "plane_stats"), pd.Timedelta(hours=hours)
    rewrite(path, lambda frame: frame.assign(event_timestamp=frame["event_timestamp"] - shift))
    report = stored.skew("plane_stats")
    assert report.differing == 0
    assert not report.ok
    assert report.proofs.shifts["plane_stats"].shift_us == shift.total_seconds() * 1e6
    assert report.proofs.shifts["plane_stats"].entities == PLANES
    way = "2 h later" if hours > 0 else "5 h 30 min earlier"
    assert f"online event times lie {way} than offline" in report.sentence
    (diagnosis,) = report.diagnoses
    assert diagnosis.cause == "event_time_shift"
    assert "ws.materialize" not in diagnosis.remedy
    assert report.check(0.0).state == "over"
    assert report.check(1.0).state == "within"


@pytest.mark.parametrize("hours", [2, -2])
def test_what_differs_because_of_shifted_event_times_is_no_lack_of_materializing(stored, planes, hours):
    path, shift = path_of(stored.directory, "plane_stats"), pd.Timedelta(hours=hours)
    rewrite(path, lambda frame: frame.assign(event_timestamp=frame["event_timestamp"] - shift))
    between = planes.assign(event_timestamp=planes["event_timestamp"] - shift / 2)[["tailnum", "event_timestamp"]]
    report = stored.skew("plane_stats", spine=between)
    assert report.differing > PLANES
    assert set(report.different["cause"]) == {"event_time_shift"}
    assert set(report.different["shift"]) == {shift}


def test_one_value_explained_under_shifted_event_times_is_not_advised_to_be_materialized(stored, planes):
    path, shift = path_of(stored.directory, "plane_stats"), pd.Timedelta("2h")
    rewrite(path, lambda frame: frame.assign(event_timestamp=frame["event_timestamp"] - shift))
    last = planes.groupby("tailnum").tail(1).iloc[0]
    told = stored.explain(
        "plane_stats:mean_delay", {"tailnum": last["tailnum"]}, as_of=last["event_timestamp"] - shift / 2
    )
    assert told.cell["cause"] == "stale"
    assert told.shift == shift
    assert "materialize the view up to it" not in told.sentence
    assert "2 h apart, with the same values" in told.sentence


@pytest.mark.parametrize("lag", ["1h", "30min"])
def test_an_offline_store_that_only_lags_behind_has_no_shift(ws, planes, now, lag):
    names = sorted(planes["tailnum"].unique())
    times = [now - pd.Timedelta(lag) * back for back in (1, 2, 3)]
    steady = pd.concat([pd.DataFrame({"tailnum": names, "event_timestamp": at, "seats": 150}) for at in times])
    ws.materialize(steady, "plane_stats", keys=["tailnum"], progress=False)
    rewrite(path_of(ws.directory, "plane_stats"), lambda frame: frame[frame["event_timestamp"] < times[0]])
    report = ws.skew("plane_stats")
    assert report.ok
    # … nor one whose newest event came twice in all with the same values.
    rewrite(path_of(ws.directory, "plane_stats"), lambda frame: frame[frame["event_timestamp"] == times[1]])
    assert not ws.skew("plane_stats").proofs.shifts


def test_a_shift_of_too_few_entities_is_not_claimed(stored, planes):
    few = sorted(planes["tailnum"].unique())[:19]

    def change(frame):
        moved = frame["event_timestamp"].mask(frame["tailnum"].isin(few), frame["event_timestamp"] - pd.Timedelta("2h"))
        return frame.assign(event_timestamp=moved)

    rewrite(path_of(stored.directory, "plane_stats"), change)
    assert stored.skew("plane_stats").ok


def test_what_a_diagnosis_says_to_do_mends_it(stored):
    plant(stored, "stale", "not_materialized")
    report = stored.skew("plane_stats")
    assert {diagnosis.cause for diagnosis in report.diagnoses} == {"stale", "not_materialized"}
    for diagnosis in report.diagnoses:
        eval(diagnosis.remedy, {"ws": stored})  # noqa: S307 - it is ours
    assert stored.skew("plane_stats").ok


def test_a_diagnosis_has_both_values_of_an_example_and_the_relation(stored):
    expected = plant(stored, "scale")
    report = stored.skew("plane_stats")
    (diagnosis,) = report.diagnoses
    assert diagnosis.heading == f"mean_delay · {EACH} of {PLANES} values · online = offline ÷ 60"
    cell = report.different.iloc[0]
    assert cell["tailnum"] in expected
    assert (
        f"tailnum {cell['tailnum']}: online {cell['online']:.10g}, offline {cell['offline']:.10g}" in diagnosis.example
    )
    told = eval(diagnosis.remedy, {"ws": stored})  # noqa: S307 - it is ours
    assert told.cell["tailnum"] == cell["tailnum"]
    assert all(len(line) <= 100 for line in repr(report).splitlines())


def test_advice_does_not_spread_a_fault_that_looks_like_a_correction(stored):
    path = path_of(stored.directory, "plane_stats")
    names = sorted(pd.read_parquet(path)["tailnum"].unique())[:EACH]

    def change(frame):
        rows = FAULTS["corrected"](frame.reset_index(drop=True), names)
        newest = rows["made"] == rows["made"].max()
        return rows.assign(mean_delay=rows["mean_delay"].where(~newest, (rows["mean_delay"] - 3) * 60))

    rewrite(path, change)
    (diagnosis,) = stored.skew("plane_stats").diagnoses
    assert diagnosis.cause == "corrected"
    assert diagnosis.relation == "online = offline ÷ 60"
    assert "be sure that offline is right" in diagnosis.advice
    assert "materialize(" not in diagnosis.remedy


def test_a_value_is_no_unit_of_another_with_too_few_to_prove_it(stored):
    path = path_of(stored.directory, "plane_stats")
    names = sorted(pd.read_parquet(path)["tailnum"].unique())[:19]
    rewrite(path, lambda frame: FAULTS["scale"](frame, names))
    assert planted(stored.skew("plane_stats")) == dict.fromkeys(names, "unexplained")


def test_a_column_shifted_by_a_time_zone_is_a_timezone(ws, planes):
    frame = planes.assign(seen=planes["event_timestamp"].dt.floor("s"))
    ws.materialize(frame, "plane_stats", keys=["tailnum"], created="made", progress=False)
    hours = pd.Timedelta("5h30min")
    rewrite(path_of(ws.directory, "plane_stats"), lambda df: df.assign(seen=df["seen"] + hours))
    report = ws.skew("plane_stats")
    assert set(planted(report, "seen").values()) == {"timezone"}
    assert len(planted(report, "seen")) == PLANES
    assert report.different["shift"].unique().tolist() == [-hours]


def test_with_known_at_what_arrived_too_late_is_a_late_arrival(stored, planes):
    spine = planes.groupby("tailnum").tail(1)[["tailnum", "event_timestamp"]]
    report = stored.skew("plane_stats", spine=spine, known_at="as_of")
    assert planted(report) == dict.fromkeys(spine["tailnum"], "late_arrival")
    assert stored.skew("plane_stats", spine=spine).ok


def test_a_value_past_its_ttl_is_expired_and_one_of_another_ttl_says_so(ws, planes, now):
    recent = planes.assign(event_timestamp=now - pd.Timedelta("1h"), made=now - pd.Timedelta("59min"))
    recent = recent.groupby("tailnum").tail(1)
    ws.materialize(recent, "plane_stats", keys=["tailnum"], created="made", ttl="30min", progress=False)
    names = sorted(recent["tailnum"])[:EACH]
    rewrite(path_of(ws.directory, "plane_stats"), lambda df: FAULTS["stale"](df.reset_index(drop=True), names))
    assert planted(ws.skew("plane_stats")) == dict.fromkeys(names, "expired")


def test_the_impact_on_a_model_is_that_of_scoring_again(stored, planes):
    inputs = ["mean_delay", "flights"]
    model = RandomForestRegressor(n_estimators=10, random_state=0)
    model.fit(planes[inputs], planes["mean_delay"] * 2 + planes["flights"])
    plant(stored, "stale", "corrected", "null", "scale")
    report = stored.skew("plane_stats")
    found = report.impact(model.predict)
    sides = {
        side: report.frame.pivot(index="tailnum", columns="feature", values=side) for side in ("online", "offline")
    }
    served, truth = (model.predict(side[inputs].astype("Float64")) for side in sides.values())
    moved = abs(served - truth) > 0.05 * abs(truth)
    assert found.moved == moved.sum() > EACH
    causes = report.frame.pivot(index="tailnum", columns="feature", values="cause")[inputs]
    for cause, repaired in found.causes[["cause", "repaired"]].itertuples(index=False):
        again = sides["online"][inputs].where(causes != cause, sides["offline"][inputs]).astype("Float64")
        right = abs(model.predict(again) - truth) <= 0.05 * abs(truth)
        assert repaired == (moved & right).sum()


# --- what was served ---------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(stored, planes):
    """What a service logged when it served each aircraft, an hour ago."""
    at = pd.Timestamp.now(tz="UTC").floor("us")
    names = sorted(planes["tailnum"].unique())
    served = stored.online("plane_stats", {"tailnum": names}, timestamps=True, status=True)
    return served.assign(event_timestamp=at)


def test_served_values_that_are_right_match(stored, logged):
    assert stored.skew("plane_stats", served=logged).ok


def test_served_values_of_another_type_are_a_type(stored, logged):
    names = logged["tailnum"].tolist()
    as_text = logged.assign(flights=logged["flights"].astype(str))
    assert planted(stored.skew("plane_stats", served=as_text), "flights") == dict.fromkeys(names, "type")


def test_served_values_that_were_narrowed_are_a_precision(stored, logged):
    rewrite(path_of(stored.directory, "plane_stats"), lambda df: FAULTS["precision"](df, logged["tailnum"].tolist()))
    found = planted(stored.skew("plane_stats", served=logged))
    assert found == dict.fromkeys(logged["tailnum"], "precision")


def test_served_values_are_known_by_full_names_and_references(stored, logged):
    for form in ("plane_stats__{}", "plane_stats:{}"):
        named = logged.rename(columns={name: form.format(name) for name in ("mean_delay", "flights")})
        assert stored.skew("plane_stats", served=named).ok


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda df: df.drop(columns="flights"), InvalidFrame, "no column for the feature plane_stats:flights"),
        (lambda df: df.drop(columns="event_timestamp"), InvalidFrame, "no column 'event_timestamp'"),
        (lambda df: df.drop(columns="tailnum"), InvalidFrame, "lack the join key 'tailnum'"),
        (lambda df: df.assign(flights=[1, "a"] * (len(df) // 2)), InvalidFrame, "mixes types"),
    ],
)
def test_a_served_frame_that_says_too_little_is_a_clear_error(stored, logged, change, error, message):
    with pytest.raises(error, match=message):
        stored.skew("plane_stats", served=change(logged))


def test_an_empty_served_frame_gives_an_empty_report(stored, logged):
    report = stored.skew("plane_stats", served=logged.head(0))
    assert (len(report.frame), report.ok) == (0, True)


def test_a_spine_and_served_values_exclude_each_other(stored, logged):
    with pytest.raises(ConfigurationError, match="exclude each other"):
        stored.skew("plane_stats", served=logged, spine=logged)


# --- a clean store -----------------------------------------------------------------------------------------------------


def test_nothing_is_found_on_a_clean_store_with_ties_backfills_and_late_rows(ws, planes, now):
    everything = planes.assign(
        text="Zürich \U0001f600", flag=[True, False, None, True] * (len(planes) // 4),
        seen=planes["event_timestamp"], ints=[[1, 2]] * len(planes), small=planes["mean_delay"].astype(np.float32),
    )  # fmt: skip
    order = everything.sample(frac=1, random_state=1)
    ws.materialize(order.head(500), "plane_stats", keys=["tailnum"], created="made", ttl="3650d", progress=False)
    ws.materialize(order, "plane_stats", keys=["tailnum"], created="made", progress=False)
    ws.materialize(order.tail(100), "plane_stats", keys=["tailnum"], created="made", progress=False)
    spine = everything[["tailnum", "event_timestamp"]]
    before = spine.assign(event_timestamp=spine["event_timestamp"] - pd.Timedelta("1us"))
    for report in (ws.skew("plane_stats"), ws.skew("plane_stats", spine=pd.concat([spine, before, spine]))):
        assert report.ok, report
        assert set(report.frame["verdict"]) == {"match"}


def test_nothing_is_found_in_a_million_clean_cells_at_any_instant(stored, planes):
    rng = np.random.default_rng(4)
    rows = planes[["tailnum", "event_timestamp"]].iloc[rng.integers(0, len(planes), 500_000)]
    offsets = pd.to_timedelta(rng.integers(-(10**12), 10**12, len(rows)), unit="us")
    report = stored.skew("plane_stats", spine=rows.assign(event_timestamp=rows["event_timestamp"] + offsets))
    assert (report.compared, report.differing, report.unknown) == (1_000_000, 0, 0)


def test_a_value_that_matches_one_of_several_equal_rows_is_a_match_and_says_so(stored):
    def tie(frame):
        rows = frame.groupby("tailnum").tail(1)
        return pd.concat([frame, rows.assign(mean_delay=rows["mean_delay"] + 1)])

    rewrite(path_of(stored.directory, "plane_stats"), tie)
    report = stored.skew("plane_stats:mean_delay")
    assert report.ok
    assert set(report.frame["note"]) == {"matches one of several offline rows with the same times"}


def test_chunks_and_files_change_nothing(stored, monkeypatch):
    plant(stored, "stale", "scale", "corrected")
    whole = stored.skew("plane_stats")
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 64)
    monkeypatch.setattr(cells, "KEPT_BYTES", 0)
    monkeypatch.setattr(scan, "RANGE_ROWS", 64)
    monkeypatch.setattr(pairing, "KEPT_BYTES", 0)  # of offline rows
    parts = stored.skew("plane_stats")
    assert len(list(parts.cells)) > 3
    columns = ["tailnum", "feature", "online", "offline", "verdict", "cause", "note"]
    pd.testing.assert_frame_equal(parts.frame[columns], whole.frame[columns])
    pd.testing.assert_frame_equal(parts.summary, whole.summary)
    pd.testing.assert_frame_equal(parts.distances, whole.distances)


# --- the point-in-time join --------------------------------------------------------------------------------------------

HISTORY = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 3)), max_size=30
)  # entity, event, created


@given(HISTORY, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 14)), max_size=10), st.integers(0, 6) | st.none())
@settings(max_examples=300, deadline=None)
def test_the_join_equals_a_search_row_by_row(history, asked, ttl):
    order = sorted(range(len(history)), key=lambda place: (*history[place], place))
    columns = [np.array([history[place][field] for place in order], dtype=np.int64) for field in range(3)]
    versions = Versions(*columns, np.zeros(len(order), dtype=np.int64), np.array(order, dtype=np.int64))
    codes, at = (np.array([one[field] for one in asked], dtype=np.int64) for field in range(2))
    picked = OfflineEvents(versions, None, has_created=True).join(codes, at, None if ttl is None else at - ttl)
    for (entity, instant), place in zip(asked, picked, strict=True):
        fit = [
            (event, created, row)
            for row, (code, event, created) in enumerate(history)
            if code == entity and event <= instant and (ttl is None or event >= instant - ttl)
        ]
        assert (versions.source[place] if place >= 0 else None) == (max(fit)[2] if fit else None)


def test_the_offline_side_is_feasts_own_join(stored, planes):
    spine = planes[["tailnum", "event_timestamp"]].sample(300, random_state=2)
    spine["event_timestamp"] += pd.to_timedelta(np.random.default_rng(3).integers(-200, 200, len(spine)), unit="h")
    joined = stored.historical("plane_stats", spine)
    frame = stored.skew("plane_stats", spine=spine).frame
    for feature in ("mean_delay", "flights"):
        offline = frame[frame["feature"] == feature]["offline"].reset_index(drop=True)
        assert [None if pd.isna(one) else one for one in offline] == [
            None if pd.isna(one) else one for one in joined[feature]
        ]


@pytest.mark.parametrize(
    ("offset", "value"),
    [("0us", 1.5), ("-1us", None), ("30min", 1.5), ("1800000001us", None)],
)
def test_the_instant_itself(ws, offset, value):
    event = pd.Timestamp("2026-10-25 00:30", tz="UTC")  # an hour that Berlin has twice
    frame = pd.DataFrame({"k": [1], "event_timestamp": [event], "v": [1.5]})
    ws.materialize(frame, "one", keys=["k"], ttl="30min", progress=False)
    at = (event + pd.Timedelta(offset)).tz_convert("Europe/Berlin")
    report = ws.skew("one:v", spine=pd.DataFrame({"k": [1], "event_timestamp": [at]}))
    (cell,) = report.frame.to_dict("records")
    assert cell["verdict"] == "match"
    assert (None if pd.isna(cell["offline"]) else cell["offline"]) == value
    assert cell["as_of"] == at


# --- stores that keep one value ----------------------------------------------------------------------------------------


def tree(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path, planes):
    """A plain Feast repository with SQLite, whose view was materialized by Feast."""
    return build_repository(tmp_path / "repo", planes, {"type": "sqlite", "path": "online.db"})


def test_another_store_is_compared_as_it_is_and_nothing_is_written(repository):
    before = tree(repository)
    with fnb.connect(repo=repository, read_only=True) as other:
        report = other.skew("plane_stats")
        assert report.ok
        assert report.compared == 2 * PLANES
        assert other.explain("plane_stats:flights", {"tailnum": report.frame["tailnum"][0]}).ok
    assert tree(repository) == before


@pytest.mark.parametrize("fault", ["not_materialized", "ahead", "null", "precision", "scale", "unexplained"])
def test_another_store_proves_the_same_causes(repository, planes, fault):
    proves(repository, planes, fault)


def proves(repository, planes, fault):
    """Plant a fault, and compare: just its cells differ, and its cause is named."""
    names = sorted(planes["tailnum"].unique())[:EACH]
    rewrite(repository / "planes.parquet", lambda frame: FAULTS[fault](frame, names))
    expected = {f"new {plane}" if fault == "not_materialized" else plane: fault for plane in names}
    with fnb.connect(repo=repository, read_only=True) as other:
        assert planted(other.skew("plane_stats")) == expected


def test_another_store_tells_stale_late_and_overwritten_apart(repository, planes):
    last = planes.groupby("tailnum").tail(1)
    names = sorted(last["tailnum"])
    end = planes["event_timestamp"].max() + pd.Timedelta("1s")
    groups = {"stale": names[:EACH], "late_arrival": names[EACH : 2 * EACH]}

    def go_wrong(frame):
        newer = last[last["tailnum"].isin(groups["stale"])].assign(
            event_timestamp=end + MINUTE, made=end + 2 * MINUTE, mean_delay=-1.0
        )
        between = last[last["tailnum"].isin(groups["late_arrival"])].assign(
            event_timestamp=lambda df: df["event_timestamp"] + pd.Timedelta("1us"), made=end + MINUTE, mean_delay=-2.0
        )
        return pd.concat([frame, newer, between])

    rewrite(repository / "planes.parquet", go_wrong)
    groups["overwritten"] = overwrite(repository, planes, names[2 * EACH : 3 * EACH])
    with fnb.connect(repo=repository, read_only=True) as other:
        assert planted(other.skew("plane_stats")) == {plane: cause for cause, some in groups.items() for plane in some}


def test_another_store_cannot_be_asked_as_of_the_past(repository, planes):
    with fnb.connect(repo=repository, read_only=True) as other:
        with pytest.raises(ConfigurationError, match="keeps one value of each entity") as caught:
            other.skew("plane_stats", spine=planes[["tailnum", "event_timestamp"]])
        assert "served=" in caught.value.hint
        with pytest.raises(ConfigurationError, match="keeps one value"):
            other.explain("plane_stats:flights", {"tailnum": "N1"}, as_of="2026-01-01T00:00Z")


def test_what_another_store_served_is_compared_by_the_log(repository, planes):
    served = planes.groupby("tailnum").tail(1).assign(event_timestamp=lambda df: df["event_timestamp"] + MINUTE)
    with fnb.connect(repo=repository, read_only=True) as other:
        assert other.skew("plane_stats", served=served).ok


def test_feasts_own_cassandra_store_is_compared_and_nothing_is_written(tmp_path, planes, node):
    keyspace = "tests_feasts_own"
    with fnb.connect(fnb.Local(name=node.name), directory=tmp_path / "any", project="any", keyspace="tests") as any_ws:
        any_ws.session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {keyspace} "
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        online = {
            "type": "cassandra", "hosts": list(node.hosts), "port": node.port, "keyspace": keyspace,
            "username": node.username, "password": node.password.reveal(),
        }  # fmt: skip
        repo = build_repository(tmp_path / "repo", planes.groupby("tailnum").tail(1).head(50), online)

        def content():
            tables = any_ws.session.execute(
                "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", [keyspace]
            )
            return {
                name: sorted(map(tuple, any_ws.session.execute(f'SELECT * FROM {keyspace}."{name}"')))
                for (name,) in tables
            }

        before = content(), tree(repo)
        with fnb.connect(repo=repo, read_only=True) as other:
            assert other.skew("plane_stats").ok
            assert other.skew("plane_stats").compared == 100
            online_store = other.feast._get_provider().online_store
        assert online_store._cluster.is_shutdown
        assert (content(), tree(repo)) == before


def test_a_redis_store_is_compared_in_its_seconds_and_nothing_is_written(tmp_path, planes):
    """Redis keeps event times in whole seconds: an event that has microseconds is none that is ahead or stale."""
    redis = pytest.importorskip("redis", reason="no Python package redis")
    fine = planes.assign(event_timestamp=planes["event_timestamp"] + pd.Timedelta("1234us"))
    try:
        with redis_server(tmp_path) as port, redis.Redis(port=port) as client:
            repo = build_repository(
                tmp_path / "repo", fine, {"type": "redis", "connection_string": f"127.0.0.1:{port}"}
            )
            names = sorted(fine["tailnum"].unique())[:EACH]

            def content():
                return {key: sorted(client.hgetall(key).items()) for key in client.scan_iter()}, tree(repo)

            before = content()
            assert len(before[0]) == PLANES
            with fnb.connect(repo=repo, read_only=True) as other:
                assert other.skew("plane_stats").ok
                assert other.explain("plane_stats:flights", {"tailnum": names[0]}).ok
                other.latency("plane_stats", {"tailnum": names}, batch=1, seconds=0.5, warmup_s=0, progress=False)
                assert content() == before
                for fault in ("corrected", "ahead"):
                    some, names = names[: EACH // 2], names[EACH // 2 :]
                    rewrite(repo / "planes.parquet", lambda df, fault=fault, some=some: FAULTS[fault](df, some))
                    found = planted(other.skew("plane_stats"))
                    assert {plane: cause for plane, cause in found.items() if plane in some} == dict.fromkeys(
                        some, fault
                    )
    except NotHereError as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("fault", ["not_materialized", "ahead", "null", "precision", "scale", "unexplained", "stale"])
def test_without_a_created_column_the_causes_that_need_none_are_proved(tmp_path, planes, fault):
    repo = build_repository(
        tmp_path / "repo", planes, {"type": "sqlite", "path": "online.db"}, created_timestamp_column=None
    )
    proves(repo, planes, fault)


def test_a_row_that_feasts_join_loses_is_dropped_offline(open_workspace, planes):
    """Dask's join keeps one of two equal rows, and loses a row whose events are all past the ttl."""
    ws = open_workspace(retain="all", offline="dask")
    ws.materialize(planes, "plane_stats", keys=["tailnum"], created="made", ttl="30d", progress=False)
    last = planes.groupby("tailnum").tail(1)[["tailnum", "event_timestamp"]]
    past_ttl = last.tail(5).assign(event_timestamp=lambda df: df["event_timestamp"] + pd.Timedelta("31d"))
    report = ws.skew("plane_stats:flights", spine=pd.concat([last, last.head(10), past_ttl]))
    assert len(report.frame) == len(last) + 15
    assert sorted(report.different["tailnum"]) == sorted([*last["tailnum"].head(10), *past_ttl["tailnum"]])
    assert set(report.different["cause"]) == {"dropped_offline"}
