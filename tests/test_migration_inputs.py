"""What stands in the way of a migration is told, and nothing is half-done; the command and its exit codes."""

import json

import pytest
from feasts_own import FEATURES, block, driver_view, feast_store, value, write
from migrations import KEYSPACE, ROWS, T, steps

import feastra_nb as fnb
from feastra_nb import cli
from feastra_nb.adapter.store_config import StoreConfig
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, RequestFailed
from feastra_nb.migration.yaml_text import block_of, switched_text, without_mirror
from feastra_nb.storage import scanning

pytestmark = pytest.mark.usefixtures("session")


def our_tables(session):
    rows = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (KEYSPACE,))
    return {name for (name,) in rows if name.startswith("fv_")}


def test_a_keyspace_without_feasts_tables_is_told(repo, session, project):
    folder, _store = repo
    session.execute(f'DROP TABLE {KEYSPACE}."{project}_drivers"')
    for verb in ("plan", "copy", "verify"):
        with pytest.raises(ConfigurationError, match="holds no table of Feast's for project") as caught:
            steps(folder, verb)
        assert f"{project}_drivers" in caught.value.hint


def test_a_table_that_is_not_feasts_is_told_and_nothing_is_made(repo, session, project):
    folder, _store = repo
    before = our_tables(session)
    session.execute(f'DROP TABLE {KEYSPACE}."{project}_drivers"')
    session.execute(f'CREATE TABLE {KEYSPACE}."{project}_drivers" (entity_key text PRIMARY KEY, value blob)')
    with pytest.raises(ConfigurationError, match="is not one of Feast's: it has no column feature_name"):
        steps(folder, "copy")
    [plan] = steps(folder, "plan")
    assert plan.exit_code == 1
    assert our_tables(session) == before


def test_a_registry_that_does_not_fit_the_table_is_told_by_plan_and_by_copy(filled_repo, node, project):
    from feast.types import Int64, String

    folder, _store = filled_repo
    changed = driver_view(folder, features={"trips": String, "rating": FEATURES["rating"], "fare": Int64})
    feast_store(folder, block(node, KEYSPACE), project, changed)
    for report in steps(folder, "plan", "copy"):
        assert report.exit_code == 1
        assert set(report.problems) == {
            "drivers: feature 'trips' of 2 entities is stored with another type than the view says",
            "drivers: feature 'city' of 3 entities is not in the view",
        }


def test_keys_of_other_join_keys_are_told(filled_repo, session, project):
    folder, _store = filled_repo
    session.execute(
        f'INSERT INTO {KEYSPACE}."{project}_drivers" (entity_key, feature_name, value, event_ts) VALUES (%s, %s, %s, %s)',
        ("not hex", "trips", value(1).SerializeToString(), T),
    )
    [plan] = steps(folder, "plan")
    assert plan.problems == ("drivers: 1 keys are not of this view (such as not hex)",)
    assert plan.frame["entities"].tolist() == [4]
    assert plan.frame["size_bytes"].tolist()[0] > 0


def test_plan_writes_nothing(filled_repo, session):
    before = our_tables(session)
    [plan] = steps(filled_repo[0], "plan")
    assert plan.ok
    assert our_tables(session) == before


def test_a_role_without_select_is_told(filled_repo, session, project):
    folder, _store = filled_repo
    session.execute(f"CREATE ROLE {project} WITH PASSWORD = 'pw' AND LOGIN = true")
    settings = folder / "feature_store.yaml"
    import yaml

    config = yaml.safe_load(settings.read_text())
    config["online_store"] |= {"username": project, "password": "pw"}
    settings.write_text(yaml.safe_dump(config))
    with pytest.raises(AuthenticationFailed, match="has no SELECT permission") as caught:
        steps(folder, "plan")
    assert project in str(caught.value)


def test_a_range_that_could_not_be_read_is_unknown_and_is_copied_by_the_next_call(filled_repo, monkeypatch):
    folder, _store = filled_repo
    read, failed = scanning._Reader.read, []

    def broken(self, part):
        if not failed:
            failed.append(part)
            return scanning.FailedRange(part, RequestFailed("a node is down"))
        return read(self, part)

    monkeypatch.setattr(scanning._Reader, "read", broken)
    [copy] = steps(folder, "copy")
    assert copy.exit_code == 2
    assert "could not be read: a node is down" in copy.unknown[0]
    [verify] = steps(folder, "verify")
    assert verify.exit_code == 2
    assert "no copy of it was ever finished" in verify.unknown[0]
    again, verify = steps(folder, "copy", "verify")
    assert again.ok
    assert "went on after" in " ".join(again.notes)
    assert verify.ok


def test_the_command_goes_through_all_steps(filled_repo, capsys, tmp_path, monkeypatch):
    folder, _store = filled_repo
    monkeypatch.chdir(folder)
    for verb in ("plan", "copy", "verify", "switch", "copy", "verify", "finish"):
        saved = tmp_path / f"{verb}.json"
        assert cli.main(["migrate", verb, "-q", "--save", str(saved)]) == 0, capsys.readouterr()
        printed = capsys.readouterr().out
        assert printed.startswith(f"migration, {verb}: ")
        assert json.loads(saved.read_text())["state"] == "done"
    assert cli.main(["migrate", "finish", "-q"]) == 1
    assert "nothing to migrate" in capsys.readouterr().err


def test_a_page_shows_what_each_step_says(filled_repo):
    folder, store = filled_repo
    [copy] = steps(folder, "copy")
    write(store, "drivers", ROWS)
    [plan] = steps(folder, "plan")
    for report in (copy, plan):
        assert "drivers" in report._repr_html_()
        assert report.plot().get_title(loc="left")


# --- the file ----------------------------------------------------------------------------------------------------------

FILE = """\
# of the team
project: p
online_store:   # ours
    type: cassandra
    # the new cluster
    hosts: [10.0.0.1]
    password: ${PW}  # a secret
    load_balancing:
        local_dc: eu

        load_balancing_policy: DCAwareRoundRobinPolicy

# after
registry: data/registry.db
"""


def test_all_but_the_block_stays_to_the_letter():
    switched = switched_text(FILE, {"retain": "30d"}, {})
    assert switched.startswith("# of the team\nproject: p\nonline_store:   # ours\n")
    assert switched.endswith("\n# after\nregistry: data/registry.db\n")
    assert switched.count("${PW}  # a secret") == 2


def test_what_is_switched_is_understood_and_ends_as_it_began_without_the_mirror():
    import yaml

    switched = switched_text(FILE, {"retain": "30d"}, {})
    block = yaml.safe_load(switched)["online_store"]
    assert StoreConfig(**block).mirror["hosts"] == ["10.0.0.1"]
    finished = yaml.safe_load(without_mirror(switched))
    assert finished["online_store"] == {name: content for name, content in block.items() if name != "mirror"}
    assert finished["registry"] == "data/registry.db"


def test_another_cluster_takes_nothing_of_feasts_block():
    import yaml

    block = yaml.safe_load(switched_text(FILE, {"hosts": ["10.0.0.9"], "keyspace": "k"}, {}))["online_store"]
    assert set(block) == {"type", "hosts", "keyspace", "mirror"}


@pytest.mark.parametrize("text", ["project: p\n", "online_store: {type: cassandra}\n", "online_store: !include x\n"])
def test_a_block_that_cannot_be_edited_safely_is_refused(text):
    with pytest.raises(ConfigurationError):
        block_of(text)


def test_a_secret_is_not_written_into_the_file(filled_repo):
    folder, _store = filled_repo
    before = (folder / "feature_store.yaml").read_text()
    with fnb.connect(repo=folder) as ws, pytest.raises(ConfigurationError, match="would be written into"):
        ws.migration(to={"hosts": ["127.0.0.1"], "password": "swordfish"}).switch(progress=False)
    assert (folder / "feature_store.yaml").read_text() == before
