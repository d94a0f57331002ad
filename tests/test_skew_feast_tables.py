"""Skew on the tables of Feast's own Cassandra store, read past Feast: causes with the time of writing as evidence."""

import pandas as pd
import pytest
from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from nodes import NODE, workspaces
from other_stores import build_repository, overwrite
from skew_faults import FAULTS, MINUTE, last_events, planted, rewrite
from skew_ways import held_against_each_other

import feastra_nb as fnb
from feastra_nb.errors import AuthenticationFailed, CatalogConflict
from feastra_nb.skew import scan

EACH = 12
PLANES = 80
KEYSPACE = "tests_skew_feasts_own"


@pytest.fixture(scope="module")
def session(node, tmp_path_factory):
    """A session of a superuser; the keyspace is there."""
    with workspaces(project="any", keyspace="tests", directory=tmp_path_factory.mktemp("any") / ".feastra") as connect:
        opened = connect(fnb.Local(name=NODE)).session
        opened.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} "
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        yield opened


@pytest.fixture(scope="module")
def planes():
    """As few aircraft as a store of one partition a row takes in a second."""
    return last_events(PLANES)


@pytest.fixture
def repository(tmp_path, planes, node, session):
    """A Feast repository on Feast's own Cassandra store, whose view was materialized by Feast."""
    session.execute(f'DROP TABLE IF EXISTS {KEYSPACE}."other_plane_stats"')
    return build_repository(tmp_path / "repo", planes, block(node))


def block(node, **more):
    return {
        "type": "cassandra", "hosts": list(node.hosts), "port": node.port, "keyspace": KEYSPACE,
        "username": node.username, "password": node.password.reveal(), **more,
    }  # fmt: skip


@pytest.fixture
def report_of(monkeypatch):
    """Compare a repository by both ways, which find the same."""
    held_against_each_other(monkeypatch)

    def compared(repository, features="plane_stats"):
        with fnb.connect(repo=repository, read_only=True) as other:
            return other.skew(features)

    return compared


def names_of(planes):
    """The aircraft but for those whose last rows were made after the run."""
    late = planes.loc[planes["made"] > planes["event_timestamp"].max(), "tailnum"]
    return sorted(set(planes["tailnum"]) - set(late))


def pushed(repository, frame):
    FeatureStore(repo_path=str(repository)).write_to_online_store("plane_stats", df=frame)


def test_a_table_of_scyllas_layout_is_compared_likewise(tmp_path, planes, node, session):
    session.execute(f'DROP TABLE IF EXISTS {KEYSPACE}."other_plane_stats"')
    online = block(node, type="scylladb")
    repository = build_repository(tmp_path / "repo", planes, online)
    with fnb.connect(repo=repository, read_only=True) as other:  # Feast's own read takes another keyspace at first
        report = other.skew("plane_stats")
    assert (report.ok, report.compared) == (True, 2 * PLANES)
    assert report.frame["online_arrived"].notna().all()


def test_a_clean_table_has_no_skew_and_says_when_each_value_was_written(repository, report_of):
    began = pd.Timestamp.now(tz="UTC") - pd.Timedelta("10min")
    report = report_of(repository)
    assert report.ok
    assert report.compared == 2 * PLANES
    assert (report.frame["online_arrived"] > began).all()


@pytest.mark.parametrize("fault", ["not_materialized", "ahead", "null", "precision", "unexplained"])
def test_planted_faults_are_found_with_their_causes(repository, planes, report_of, fault):
    names = names_of(planes)[:EACH]
    rewrite(repository / "planes.parquet", lambda frame: FAULTS[fault](frame, names))
    expected = {f"new {plane}" if fault == "not_materialized" else plane: fault for plane in names}
    assert planted(report_of(repository)) == expected


def test_an_older_event_that_was_written_after_the_run_has_overwritten_the_newer_one(repository, planes, report_of):
    names = names_of(planes)[:EACH]
    overwrite(repository, planes, names)
    report = report_of(repository)
    assert planted(report) == dict.fromkeys(names, "overwritten")
    assert report.different["note"].str.startswith("what is served was written after the run").all()


def test_an_older_event_that_was_written_before_the_run_ended_has_overwritten_nothing(tmp_path, planes, node, session):
    session.execute(f'DROP TABLE IF EXISTS {KEYSPACE}."other_plane_stats"')
    until = pd.Timestamp.now(tz="UTC") + pd.Timedelta("1h")
    repository = build_repository(tmp_path / "repo", planes, block(node), until=until)
    names = names_of(planes)[:EACH]
    newer = planes.groupby("tailnum").tail(1)
    newer = newer[newer["tailnum"].isin(names)].assign(
        event_timestamp=lambda df: df["event_timestamp"] + pd.Timedelta("1ms"), mean_delay=-1.0
    )
    rewrite(repository / "planes.parquet", lambda frame: pd.concat([frame, newer]))
    with fnb.connect(repo=repository, read_only=True) as other:
        report = other.skew("plane_stats")
        asked = other.skew("plane_stats", sample=PLANES)
    assert planted(report) == dict.fromkeys(names, "stale")
    assert (report.different["note"] == "a run covers the newer event, it ought to be there").all()
    assert set(planted(asked).values()) == {"overwritten"}  # who does not know when it was written cannot tell


def test_features_of_one_entity_are_compared_each_at_its_own_event_time(repository, planes, session):
    names = names_of(planes)
    last = planes.groupby("tailnum").tail(1).set_index("tailnum")
    key = serialize_entity_key(EntityKey(join_keys=["tailnum"], entity_values=[Value(string_val=names[0])]), 3).hex()
    later = last.loc[names[0], "event_timestamp"] + pd.Timedelta("1min")
    # A push of one feature: Feast's other stores write that so; its own Cassandra store takes whole rows only.
    session.execute(
        f'INSERT INTO {KEYSPACE}."other_plane_stats" (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)',
        (key, "flights", Value(int64_val=77).SerializeToString(), later.to_pydatetime()),
    )
    with fnb.connect(repo=repository, read_only=True) as other:
        report = other.skew("plane_stats")
        rows = report.frame[report.frame["tailnum"] == names[0]].set_index("feature")
        assert rows["verdict"].to_dict() == {"mean_delay": "match", "flights": "mismatch"}
        assert rows["cause"].to_dict() == {"mean_delay": "", "flights": "ahead"}
        assert rows["online_event"].to_dict() == {
            "mean_delay": last.loc[names[0], "event_timestamp"].floor("ms"), "flights": later.floor("ms"),
        }  # fmt: skip
        assert report.compared == 2 * PLANES
        assert report.summary["feature"].tolist() == ["mean_delay", "flights"]
        impact = report.impact(lambda frame: frame["flights"].to_numpy(dtype=float))
        assert impact.frame["cause"].tolist() == ["ahead"]
        assert report._repr_html_()


def test_orphans_and_keys_that_feast_no_longer_reads_are_told_apart(repository, planes, session):
    names = names_of(planes)
    rewrite(repository / "planes.parquet", lambda frame: frame[frame["tailnum"] != names[3]])
    old = EntityKey(join_keys=["tailnum"], entity_values=[Value(string_val=names[5])])
    with pytest.warns(UserWarning, match="version"):
        old_key = serialize_entity_key(old, 2).hex()
    insert = f'INSERT INTO {KEYSPACE}."other_plane_stats" (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)'
    for key, feature in ((old_key, "flights"), ("zz", "flights"), (old_key, "gone")):
        session.execute(insert, (key, feature, b"", planes["event_timestamp"].max().to_pydatetime()))
    with fnb.connect(repo=repository, read_only=True) as other:
        report = other.skew("plane_stats")
    assert planted(report) == {names[3]: "orphan"}
    assert "1 entity has a key of serialization 2" in report.caveat
    assert "1 entity has a key that the view's join keys do not make" in report.caveat
    assert "features that the view has not: gone (1)" in report.caveat
    assert report.to_dict()["notes"]


def test_many_ranges_find_the_same(repository, report_of, monkeypatch):
    monkeypatch.setattr(scan, "RANGE_ROWS", 10)
    assert report_of(repository).compared == 2 * PLANES


def test_a_value_of_another_type_is_compared_as_what_it_is(repository, planes, session):
    key = serialize_entity_key(
        EntityKey(join_keys=["tailnum"], entity_values=[Value(string_val=names_of(planes)[0])]), 3
    ).hex()
    event = planes.groupby("tailnum")["event_timestamp"].max()[names_of(planes)[0]].floor("ms")
    session.execute(
        f'INSERT INTO {KEYSPACE}."other_plane_stats" (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)',
        (key, "flights", Value(string_val="many").SerializeToString(), event.to_pydatetime()),
    )
    with fnb.connect(repo=repository, read_only=True) as other:
        (cell,) = other.skew("plane_stats").different.to_dict("records")
    assert (cell["feature"], cell["online"], cell["verdict"]) == ("flights", "many", "mismatch")


def test_a_view_whose_table_is_not_there_says_so(repository, session):
    session.execute(f'DROP TABLE {KEYSPACE}."other_plane_stats"')
    with (
        fnb.connect(repo=repository, read_only=True) as other,
        pytest.raises(CatalogConflict, match="is not there") as it,
    ):
        other.skew("plane_stats")
    assert "feast apply" in it.value.hint


def test_a_table_of_that_name_which_is_not_feasts_is_not_read(repository, session):
    session.execute(f'DROP TABLE {KEYSPACE}."other_plane_stats"')
    session.execute(f'CREATE TABLE {KEYSPACE}."other_plane_stats" (entity_key blob PRIMARY KEY, value blob)')
    with fnb.connect(repo=repository, read_only=True) as other, pytest.raises(CatalogConflict) as refused:
        other.skew("plane_stats")
    assert "none of Feast's: it has no column feature_name, event_ts, created_ts" in str(refused.value)


def test_a_role_that_may_not_read_is_refused_with_the_reason(repository, session):
    session.execute("CREATE ROLE IF NOT EXISTS stranger WITH LOGIN = true AND PASSWORD = 'swordfish'")
    text = (repository / "feature_store.yaml").read_text()
    lines = [
        "  username: stranger" if "username:" in line else "  password: swordfish" if "password:" in line else line
        for line in text.splitlines()
    ]
    (repository / "feature_store.yaml").write_text("\n".join(lines) + "\n")
    with (
        fnb.connect(repo=repository, read_only=True) as other,
        pytest.raises(AuthenticationFailed, match="no SELECT permission") as refused,
    ):
        other.skew("plane_stats")
    assert "swordfish" not in str(refused.value)


def test_late_rows_are_late_arrivals(repository, planes, report_of):
    names = names_of(planes)[:EACH]
    end = planes["event_timestamp"].max() + pd.Timedelta("1s")
    late = planes.groupby("tailnum").tail(1)
    late = late[late["tailnum"].isin(names)].assign(
        event_timestamp=lambda df: df["event_timestamp"] + pd.Timedelta("1ms"), made=end + MINUTE, mean_delay=-2.0
    )
    rewrite(repository / "planes.parquet", lambda frame: pd.concat([frame, late]))
    found = planted(report_of(repository))
    assert set(found) == set(names)
    assert set(found.values()) == {"late_arrival"}
