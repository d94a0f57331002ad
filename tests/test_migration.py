"""From Feast's own Cassandra tables to ours: what is served does not change, whatever is in them and whenever it stops."""

import pandas as pd
import pytest
from feasts_own import FEATURES, driver_view, entity_key, old_key, serve, value, write
from migrations import KEYSPACE, ROWS, T, close, digest, later, migrated, steps, switched_store

import feastra_nb as fnb
from feastra_nb.storage.catalog import table_name


def test_what_is_served_is_the_same_after_a_copy(repo, ours):
    folder, store = repo
    write(store, "drivers", ROWS)
    report = migrated(folder)
    assert report.ok
    assert report.frame["rows"].tolist() == [3]
    assert ours([1, 2, 3, 4]) == serve(store, "drivers", [1, 2, 3, 4])


def test_features_of_different_event_times_are_served_together(repo, ours):
    folder, store = repo
    write(store, "drivers", [(1, ROWS[1]), (1, (later(days=1), {"trips": 8})), (1, (later(days=2), {"city": "Oslo"}))])
    report = migrated(folder)
    assert report.frame["rows"].tolist() == [3]
    assert ours([1]) == serve(store, "drivers", [1]) == {1: (8, 4.5, "Oslo")}


def test_a_late_row_that_has_overwritten_a_newer_one_is_served_as_feast_serves_it(repo, ours):
    folder, store = repo
    write(store, "drivers", [(1, (later(days=1), ROWS[1][1])), (1, (T, {"trips": 1, "rating": 1.0, "city": "late"}))])
    migrated(folder)
    assert ours([1]) == serve(store, "drivers", [1]) == {1: (1, 1.0, "late")}


@pytest.mark.filterwarnings("ignore:.*version < 3")
def test_keys_of_version_2_are_found_again(repo, ours, session, project):
    folder, _store = repo
    session.execute(
        f'INSERT INTO {KEYSPACE}."{project}_drivers" (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)',
        (old_key(9), "trips", value(42).SerializeToString(), T),
    )
    report = migrated(folder)
    assert report.frame["version_2"].tolist() == [1]
    assert ours([9]) == {9: (42, None, None)}


def test_a_verified_copy_differs_in_nothing(repo):
    folder, store = repo
    write(store, "drivers", ROWS)
    migrated(folder)
    with fnb.connect(repo=folder) as ws:
        report = ws.migration().verify(progress=False)
    assert report.ok, report
    assert report.views["equal"].tolist() == [3]
    assert report.exit_code == 0


def test_planted_damage_is_found_and_nothing_else(repo, session, project):
    folder, store = repo
    write(store, "drivers", {number: (T, {"trips": number, "rating": 0.5, "city": "x"}) for number in range(1, 40)})
    migrated(folder)
    with fnb.connect(repo=folder) as ws:
        migration = ws.migration()
        table = f'{KEYSPACE}."{project}_drivers"'
        rows = list(session.execute(f"SELECT entity_key, feature_name, WRITETIME(value) FROM {table}"))
        keys = {int.from_bytes(bytes.fromhex(row[0])[-8:], "little", signed=True): row for row in rows}
        written = f"USING TIMESTAMP {keys[5][2] + 1}"
        session.execute(
            f"UPDATE {table} {written} SET value = %s WHERE entity_key = %s AND feature_name = 'trips'",
            (value(999).SerializeToString(), keys[5][0]),
        )
        session.execute(f"DELETE FROM {table} WHERE entity_key = %s", (keys[7][0],))
        [our] = [row[0] for row in session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (KEYSPACE,)) if row[0].startswith("fv_drivers")
            and row[0].endswith(digest(project))]  # fmt: skip
        session.execute(f"DELETE FROM {KEYSPACE}.{our} WHERE entity_key = %s", (bytes.fromhex(keys[9][0]),))
        report = migration.verify(progress=False)
    found = {(row.entity, row.feature, row.kind) for row in report.frame.itertuples()}
    assert found == {
        ("driver=5", "trips", "differs"),
        ("driver=7", None, "missing_in_feast"),
        *(("driver=9", feature, "missing_in_feastra") for feature in FEATURES),
    }
    assert report.views["differing"].tolist() == [3]
    assert report.exit_code == 1


# --- switch, mirror, finish ----------------------------------------------------------------------------------------------


def test_a_switch_edits_the_online_store_alone_and_keeps_the_former_file(filled_repo):
    folder, _store = filled_repo
    settings = folder / "feature_store.yaml"
    before = settings.read_text()
    settings.write_text(f"# kept\n{before}\n# kept, too\n")
    [report] = steps(folder, "switch")
    assert report.ok, report
    after = settings.read_text()
    assert after.startswith("# kept\n")
    assert after.endswith("# kept, too\n")
    assert "type: feastra_nb.online_store.FeastraOnlineStore" in after
    assert "  mirror:\n    type: cassandra" in after
    assert (folder / "feature_store.yaml.before-1").read_text() == f"# kept\n{before}\n# kept, too\n"


def test_secrets_that_are_variables_stay_variables(filled_repo, monkeypatch, node):
    folder, _store = filled_repo
    monkeypatch.setenv("OLD_PASSWORD", node.password.reveal())
    settings = folder / "feature_store.yaml"
    settings.write_text(settings.read_text().replace(node.password.reveal(), "${OLD_PASSWORD}"))
    steps(folder, "switch")
    assert settings.read_text().count("${OLD_PASSWORD}") == 2
    assert node.password.reveal() not in settings.read_text()
    with fnb.connect(repo=folder) as ws:
        assert node.password.reveal() not in repr(ws.feast.config)
        assert ws.materialize is not None


def test_after_a_switch_whatever_is_written_is_served_by_both_sides(filled_repo):
    folder, feasts = filled_repo
    steps(folder, "switch")
    store = switched_store(folder)
    write(store, "drivers", [
        (1, (later(days=3), {"trips": 70, "rating": 0.5, "city": "new"})),
        (1, (later(days=2), {"trips": 60, "rating": 0.4, "city": "late"})),
        (4, (later(days=1), {"trips": 4})),
    ])  # fmt: skip
    keys = [1, 2, 3, 4]
    assert serve(store, "drivers", keys) == serve(feasts, "drivers", keys)
    assert serve(store, "drivers", [1]) == {1: (70, 0.5, "new")}
    close(store)
    [verified] = steps(folder, "verify")
    assert verified.ok, verified


def test_materialize_and_forget_reach_the_mirror(filled_repo):
    folder, feasts = filled_repo
    steps(folder, "switch")
    frame = pd.DataFrame({
        "driver": [1, 5], "event_timestamp": [later(days=5), later(days=5)], "trips": [1, 5], "rating": [0.1, 0.5],
        "city": ["a", "b"],
    })  # fmt: skip
    frame.to_parquet(folder / "drivers.parquet")
    with fnb.connect(repo=folder) as ws:
        ws.materialize("drivers", start=T, end=later(days=9), progress=False)
        assert serve(feasts, "drivers", [1, 5]) == {1: (1, 0.1, "a"), 5: (5, 0.5, "b")}
        ws.forget("drivers", {"driver": [5, 2]})
    assert serve(feasts, "drivers", [1, 2, 5]) == {1: (1, 0.1, "a"), 2: (None,) * 3, 5: (None,) * 3}


def test_a_mirror_that_fails_is_an_error_and_the_rows_are_kept(filled_repo, session, project):
    folder, _feasts = filled_repo
    steps(folder, "switch")
    session.execute(f'DROP TABLE {KEYSPACE}."{project}_drivers"')
    store = switched_store(folder)
    with pytest.raises(fnb.errors.RequestFailed, match="its mirror is not"):
        write(store, "drivers", {1: (later(days=3), {"trips": 70})})
    assert serve(store, "drivers", [1]) == {1: (70, None, None)}
    close(store)


def test_finish_ends_the_mirror_and_keeps_the_tables(filled_repo):
    folder, feasts = filled_repo
    settings = folder / "feature_store.yaml"
    _switch, finish = steps(folder, "switch", "finish")
    assert finish.ok, finish
    assert "mirror" not in settings.read_text()
    store = switched_store(folder)
    write(store, "drivers", {1: (later(days=3), {"trips": 70})})
    close(store)
    assert serve(feasts, "drivers", [1]) == {1: (7, 4.5, "Köln")}
    with pytest.raises(fnb.errors.ConfigurationError, match="nothing to migrate"):
        steps(folder, "finish")


def test_finish_drops_feasts_tables_when_it_is_asked_to(filled_repo, session, project):
    folder, _feasts = filled_repo
    steps(folder, "switch")
    [finish] = steps(folder, "finish", drop_old=True)
    assert finish.ok
    names = [
        row[0]
        for row in session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (KEYSPACE,))
    ]
    assert f"{project}_drivers" not in names


def test_what_feasts_own_store_still_writes_after_a_switch_is_copied(filled_repo, ours):
    """Processes that run go on with the former file until they are started again."""
    folder, feasts = filled_repo
    steps(folder, "switch")
    write(feasts, "drivers", {1: (later(days=4), {"trips": 71, "rating": 0.7, "city": "old process"})})
    [verified] = steps(folder, "verify")
    assert verified.exit_code == 1
    copied, verified = steps(folder, "copy", "verify")
    assert copied.views["unchanged"].tolist() != []
    assert verified.ok, verified
    assert ours([1]) == serve(feasts, "drivers", [1])


def test_a_switch_without_equal_sides_changes_nothing(filled_repo, session, project):
    folder, _feasts = filled_repo
    steps(folder, "copy")
    before = (folder / "feature_store.yaml").read_text()
    [our] = [row[0] for row in session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (KEYSPACE,))
             if row[0].endswith(digest(project))]  # fmt: skip
    session.execute(f"TRUNCATE {KEYSPACE}.{our}")
    with fnb.connect(repo=folder) as ws:
        journal_moves_on(ws)
        report = ws.migration().switch(progress=False)
    assert report.exit_code == 1
    assert (folder / "feature_store.yaml").read_text() == before


def journal_moves_on(ws):
    """Let the last copy seem to have been made much later, so that the next one copies nothing again."""
    import dataclasses
    import time

    from feastra_nb.migration.sides import opened_sides

    with opened_sides(ws.stores, None, {}) as sides:
        current = sides.journal.progress("drivers").current
        sides.journal.begin("drivers", dataclasses.replace(current, began_us=time.time_ns() // 1000 + 3_600_000_000))


# --- event times, Scylla, people who were forgotten ------------------------------------------------------------------------


def test_an_event_copied_in_milliseconds_is_served_once_when_it_is_materialized_in_microseconds(repo, ours):
    """Two rows of the log for one event, less than a millisecond apart: the full one is newer, and nothing served changes."""
    folder, store = repo
    event = later(microseconds=123_456)
    write(store, "drivers", {1: (event, ROWS[1][1])})
    steps(folder, "switch")
    frame = pd.DataFrame({"driver": [1], "event_timestamp": [event], **{name: [x] for name, x in ROWS[1][1].items()}})
    frame.to_parquet(folder / "drivers.parquet")
    with fnb.connect(repo=folder) as ws:
        ws.materialize("drivers", start=T, end=later(days=1), progress=False)
        answer = ws.online("drivers:trips", {"driver": [1]}, timestamps=True)
        assert answer["trips__ts"].tolist() == [pd.Timestamp(event)]
        assert ws.migration().verify(progress=False).ok
    assert ours([1]) == serve(store, "drivers", [1]) == {1: (7, 4.5, "Köln")}


def test_finish_keeps_what_was_served_since_the_switch(filled_repo):
    folder, _store = filled_repo
    steps(folder, "switch")
    store = switched_store(folder)
    write(store, "drivers", {1: (later(days=3), {"trips": 70, "rating": 1.0, "city": "Oslo"})})
    close(store)
    moment = pd.Timestamp.now(tz="UTC")
    [finish] = steps(folder, "finish")
    assert finish.ok, finish
    with fnb.connect(repo=folder) as ws:
        assert ws.online("drivers:trips", {"driver": [1]}, as_of=moment)["trips"].tolist() == [70]
        assert ws.runs("drivers")["kind"].tolist() == ["copy"]  # of the switch


def test_finish_copies_what_a_former_process_wrote_to_feasts_table_alone(filled_repo, ours):
    folder, feasts = filled_repo
    steps(folder, "switch")
    write(feasts, "drivers", {2: (later(days=3), {"trips": 71, "rating": 1.0, "city": "Oslo"})})
    [finish] = steps(folder, "finish")
    assert finish.ok, finish
    assert ours([2]) == {2: (71, 1.0, "Oslo")}


def test_as_of_an_instant_before_the_migration_is_unknown(filled_repo):
    folder, _store = filled_repo
    steps(folder, "switch")
    with fnb.connect(repo=folder) as ws:
        with pytest.raises(fnb.errors.BeyondRetention):
            ws.online("drivers:trips", {"driver": [1]}, as_of=later(days=1))
        assert ws.online("drivers:trips", {"driver": [1]}, as_of=pd.Timestamp.now(tz="UTC"))["trips"].tolist() == [7]
        assert ws.runs("drivers")["kind"].tolist() == ["copy"]


def test_feasts_scylla_tables_are_copied_with_their_created_times_and_lives(
    make_repo, ours, tmp_path, session, project
):
    ttl = pd.Timedelta("3650d").to_pytimedelta()
    folder, store = make_repo(driver_view(tmp_path, ttl=ttl), kind="scylladb")
    table = store.get_feature_view("drivers")
    row = (entity_key(1), {name: value(x) for name, x in ROWS[1][1].items()}, T, later(hours=3))
    store._get_provider().online_store.online_write_batch(store.config, table, [row], None)
    copied, verified = steps(folder, "copy", "verify")
    assert copied.ok
    assert verified.ok
    assert ours([1]) == serve(store, "drivers", [1]) == {1: (7, 4.5, "Köln")}
    [stored] = session.execute(f"SELECT created_us, TTL(features) FROM {KEYSPACE}.{table_name(project, 'drivers', 1)}")
    assert pd.Timestamp(stored[0], unit="us", tz="UTC") == pd.Timestamp(later(hours=3))
    assert 3_600 < stored[1] <= ttl.total_seconds()


def test_values_past_their_ttl_are_counted_and_not_copied(make_repo, ours, tmp_path):
    folder, store = make_repo(driver_view(tmp_path, ttl=pd.Timedelta("1d").to_pytimedelta()))
    write(store, "drivers", {1: ROWS[1], 2: (pd.Timestamp.now(tz="UTC").to_pydatetime(), ROWS[2][1])})
    copied, verified = steps(folder, "copy", "verify")
    assert (copied.views["rows"].tolist(), copied.views["expired"].tolist()) == ([1], [1])
    assert verified.ok
    assert verified.notes == (
        "drivers: 1 entities are past the view's ttl: Feast serves them all the same, feastra_nb does not",
    )
    assert ours([1, 2])[1] == (None, None, None)


def test_a_person_who_was_forgotten_is_not_copied_back(filled_repo, ours):
    folder, feasts = filled_repo
    steps(folder, "switch")
    with fnb.connect(repo=folder) as ws:
        ws.forget_entity({"driver": [2]}, progress=False)
    assert serve(feasts, "drivers", [2]) == {2: (None, None, None)}
    write(feasts, "drivers", {2: ROWS[2]})
    [copied] = steps(folder, "copy")
    assert copied.views["suppressed"].tolist() == [1]
    assert ours([2]) == {2: (None, None, None)}
