"""What must not be seen is not seen."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import dill
import pytest
import yaml
from astra_stand_in.database import zipped

import feastra_nb as fnb
from feastra_nb.connection.secrets import Secret, SecretUrl

WORD = "swordfish"


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r}".format, lambda value: f"{value:>20}", lambda value: f"{[value]}"]
)
def test_a_secret_shows_as_a_mask(show):
    assert WORD not in show(Secret(WORD))


def test_a_secret_survives_pickling_and_can_be_revealed():
    copy = pickle.loads(pickle.dumps(Secret(WORD)))
    assert isinstance(copy, Secret)
    assert copy.reveal() == WORD


TARGETS = [
    fnb.Hosts(["10.0.0.1"], username="me", password=WORD),
    fnb.Astra(bundle="b.zip", token=WORD),
    fnb.Astra(bundle="b.zip", client_id="id", client_secret=WORD),
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_hides_its_secrets(target):
    assert WORD not in repr(target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_feast_configuration_of_a_workspace_hides_the_password(target, tmp_path, monkeypatch):
    from feastra_nb.repository.repository import repo_config

    monkeypatch.chdir(tmp_path)
    members = {"ca.crt": "ca", "cert": "cert", "key": "key", "config.json": '{"host": "h", "port": 1}'}
    Path("b.zip").write_bytes(zipped(**members))
    config = repo_config(
        target,
        project="p",
        keyspace="k",
        directory=tmp_path,
        registry=None,
        consistency="LOCAL_QUORUM",
        offline="duckdb",
        retain="7d",
    )
    settings = config.online_store.settings()
    assert settings.password.reveal() == WORD
    for shown in (repr(settings), repr(config), str(config)):
        assert WORD not in shown


# --- the URL of a registry in a database -------------------------------------------------------------------------------

URL = f"postgresql+psycopg://me:{WORD}/4%40@10.0.0.1:5432/feast"
REGISTRIES = [URL, {"path": URL}, {"registry_type": "sql", "path": URL, "read_path": URL}]


def configured(registry, online="feastra_nb.online_store.FeastraOnlineStore"):
    from feast.repo_config import RepoConfig

    return RepoConfig(
        project="p", provider="local", registry=registry, online_store={"type": online}, offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )  # fmt: skip


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_password_in_a_registrys_url_is_not_shown_and_reaches_feast(registry):
    from feast import FeatureStore

    config = configured(registry)
    copy = dill.loads(dill.dumps(config))
    shown = [repr(FeatureStore(config=config))] if isinstance(registry, str) else []
    for each in (config, config.registry, config.model_copy(), config.model_dump(), copy, copy.registry):
        shown += [repr(each), str(each)]
    assert not [text for text in shown if WORD in text]
    assert all("me:***@10.0.0.1" in text for text in shown)
    assert config.registry.path == copy.registry.path == URL
    assert str(config.registry.path) == f"{config.registry.path}" == URL


def test_the_registry_of_another_online_store_is_left_alone():
    configured(URL)
    other = configured(URL, online="sqlite")
    assert type(other.registry_config) is str
    assert type(other.registry.path) is str


def test_a_url_without_a_password_is_left_alone():
    assert not isinstance(configured("gs://bucket/registry@1.db").registry.path, SecretUrl)


@pytest.mark.parametrize("registry", REGISTRIES)
def test_what_save_writes_reads_the_registrys_password_from_the_environment(registry, tmp_path, monkeypatch):
    from feast.repo_config import load_repo_config

    from feastra_nb.repository.repository import save

    folder = save(SimpleNamespace(config=configured(registry)), fnb.Hosts(["10.0.0.1"]), tmp_path / "repo")
    text = (folder / "feature_store.yaml").read_text()
    assert WORD not in text
    assert "${FEASTRA_REGISTRY_PASSWORD}@10.0.0.1" in yaml.safe_load(text)["registry"]["path"]
    monkeypatch.setenv("FEASTRA_REGISTRY_PASSWORD", f"{WORD}/4%40")
    assert load_repo_config(folder, folder / "feature_store.yaml").registry.path == URL


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_catalog_knows_a_registry_without_its_password(registry):
    from feastra_nb.adapter.objects import registry_identity

    assert registry_identity(configured(registry)) == "postgresql+psycopg://10.0.0.1:5432/feast"


def test_a_token_in_the_block_of_astra_is_hidden():
    from feastra_nb.online_store import FeastraOnlineStoreConfig

    config = FeastraOnlineStoreConfig(astra={"database": "features", "token": WORD})
    assert WORD not in repr(config) + str(config) + str(config.model_dump())
    assert config.astra_target().token.reveal() == WORD
