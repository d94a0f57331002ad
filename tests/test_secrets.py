"""What must not be seen is not seen."""

import pickle

import pytest

import feastra_nb as fnb
from feastra_nb.connection.secrets import Secret

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
def test_the_feast_configuration_of_a_workspace_hides_the_password(target, tmp_path):
    from feastra_nb.repository import repo_config

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
