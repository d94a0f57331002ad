"""The form to connect with: what it calls, what it says, and that it keeps no secret."""

import json
import logging
import os

import nbformat
import pandas as pd
import pytest
from astra_stand_in.database import KEYSPACE
from astra_stand_in.devops import TOKEN
from nbclient import NotebookClient

import feastra_nb as fnb
from feastra_nb import workspace as workspace_module
from feastra_nb.connection import local
from feastra_nb.connection.choice import choose_target, profile_path
from feastra_nb.errors import AuthenticationFailed, ConfigurationError
from feastra_nb.notebook.fields import explanation
from feastra_nb.notebook.widgets import connect_form

SECRET = "swordfish-7431"  # noqa: S105


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("CASSANDRA_", "ASTRA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "profile.json"))


@pytest.fixture
def form():
    return connect_form()


@pytest.fixture
def opened(monkeypatch, form):
    """What `connect` was called with, and what the secret fields held then."""
    calls = []

    def connect(target, **options):
        calls.append((target, options, (form.password.value, form.token.value)))
        return f"workspace {len(calls)}"

    monkeypatch.setattr(workspace_module, "connect", connect)
    return calls


@pytest.fixture
def failing(monkeypatch):
    def fail_with(error):
        def connect(*_args, **_options):
            raise error

        monkeypatch.setattr(workspace_module, "connect", connect)

    return fail_with


def states(form):
    """Everything that a front end, and so a saved notebook, gets to know."""
    widgets, found = [form.widget], []
    while widgets:
        widget = widgets.pop()
        found.append(widget.get_state())
        found += [value.get_state() for value in (widget.layout, getattr(widget, "style", None)) if value is not None]
        widgets += getattr(widget, "children", ())
    return json.dumps(found, default=str)


def labels(form):
    return [row.children[0].description for row in form.widget.children[1].children]


def note(form, name):
    return form._rows[name].note.value


# --- what it calls ---------------------------------------------------------------------------------------------------


def test_untouched_it_connects_to_a_cassandra_on_this_machine(form, opened):
    assert form.submit() == form.workspace == "workspace 1"
    assert opened[0][:2] == (fnb.Local(), {"directory": ".feastra", "retain": "7d", "read_only": False})


def test_a_cluster_gets_its_hosts_credentials_and_names(form, opened):
    form.target.value = "hosts"
    form.hosts.value = "10.0.0.1, 10.0.0.2,"
    form.port.value = 9999
    form.username.value, form.password.value = "me", SECRET
    form.project.value, form.keyspace.value, form.read_only.value = "p", " k ", True
    form.submit()
    target, options, _ = opened[0]
    assert target == fnb.Hosts(["10.0.0.1", "10.0.0.2"], port=9999, username="me", password=SECRET)
    assert target.password.reveal() == SECRET
    assert options == {"project": "p", "keyspace": "k", "directory": ".feastra", "retain": "7d", "read_only": True}


def test_astra_gets_its_bundle_and_token(form, opened):
    form.target.value, form.bundle.value, form.token.value = "bundle", "scb.zip", SECRET
    form.keyspace.value, form.project.value = "k", "p"
    form.submit()
    assert opened[0][0] == fnb.Astra(bundle="scb.zip", token=SECRET)
    form.client_id.value, form.client_secret.value = "me", SECRET
    form.submit()
    assert opened[1][0] == fnb.Astra(bundle="scb.zip", client_id="me", client_secret=SECRET)


def test_astra_by_name_leaves_the_token_to_the_environment_or_the_keyring(form, opened, monkeypatch):
    monkeypatch.setenv("ASTRA_DB_APPLICATION_TOKEN", SECRET)
    form.target.value, form.database.value, form.keyspace.value = "astra", " features ", "k"
    form.project.value = "p"
    form.submit()
    assert opened[0][0] == fnb.Astra("features")


def test_secrets_left_empty_come_from_the_environment_and_are_never_in_a_field(monkeypatch, opened):
    monkeypatch.setenv("CASSANDRA_CONTACT_POINTS", "10.0.0.1")
    monkeypatch.setenv("CASSANDRA_PORT", "9999")
    monkeypatch.setenv("CASSANDRA_USERNAME", "me")
    monkeypatch.setenv("CASSANDRA_PASSWORD", SECRET)
    form = connect_form()
    assert (form.hosts.value, form.port.value, form.username.value) == ("10.0.0.1", 9999, "me")
    assert form.target.value == "hosts"
    form.keyspace.value, form.project.value = "k", "p"
    assert SECRET not in states(form)
    form.submit()
    assert opened[0][0].password.reveal() == SECRET


MISSING = {
    "astra": {"Database", "Keyspace", "Project", "Token"},
    "bundle": {"Bundle", "Keyspace", "Project", "Token"},
    "hosts": {"Hosts", "Keyspace", "Project"},
}


def marked(form):
    """Return the labels of the fields that are said to be empty."""
    return {row.field.description for name, row in form._rows.items() if "is empty" in note(form, name)}


@pytest.mark.parametrize("target", MISSING)
def test_all_missing_fields_are_named_by_submit_and_marked_at_once(form, opened, target):
    form.target.value = target
    with pytest.raises(ConfigurationError, match="the fields ") as refused:
        form.submit()
    assert all(label in str(refused.value) for label in MISSING[target])
    form.button.click()
    assert marked(form) == MISSING[target]
    assert f"not connected: {len(MISSING[target])} fields are empty, see above" in form.status.value
    assert opened == []


def test_a_mark_goes_when_its_field_is_filled_and_the_last_one_is_said_alone(form, opened):
    form.target.value = "hosts"
    form.button.click()
    form.hosts.value, form.keyspace.value = "10.0.0.1", "k"
    assert marked(form) == {"Project"}
    form.button.click()
    assert "the field Project is empty" in note(form, "project")
    assert "not connected: see above" in form.status.value
    form.project.value = "p"
    form.button.click()
    assert len(opened) == 1
    assert marked(form) == set()


def test_a_test_needs_no_project(form, opened):
    form.target.value, form.hosts.value, form.keyspace.value = "hosts", "10.0.0.1", "k"
    form.test_button.click()
    assert "is empty" not in note(form, "project")


@pytest.mark.parametrize(
    ("fields", "secret", "variable"),
    [
        ({"target": "hosts", "username": "me"}, "password", "CASSANDRA_PASSWORD"),
        ({"target": "astra"}, "token", "ASTRA_DB_APPLICATION_TOKEN"),
        ({"target": "bundle"}, "token", "ASTRA_DB_APPLICATION_TOKEN"),
        ({"target": "bundle", "client_id": "me"}, "client_secret", None),
    ],
)
def test_a_secret_is_missing_where_it_is_neither_typed_nor_kept_elsewhere(
    form, opened, monkeypatch, fields, secret, variable
):
    for name, value in fields.items():
        getattr(form, name).value = value
    form.button.click()
    assert "is empty" in note(form, secret)
    getattr(form, secret).value = SECRET
    assert note(form, secret) == ""
    form.button.click()
    assert "is empty" not in note(form, secret)
    assert form._secrets[secret].peek().reveal() == SECRET  # it was no attempt yet
    if variable is not None:
        form._secrets[secret].pop()
        monkeypatch.setenv(variable, SECRET)
        form.button.click()
        assert "is empty" not in note(form, secret)


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_button_connects_and_says_so_in_words(form, opened):
    form.button.click()
    assert len(opened) == 1
    assert "\N{CHECK MARK} connected: &#x27;workspace 1&#x27;" in form.status.value
    assert not form.button.disabled


def test_the_button_says_what_went_wrong_and_what_to_do_and_can_be_pressed_again(form, failing):
    failing(AuthenticationFailed("<b>me</b> was refused", hint="check the password"))
    form.button.click()
    said = "&lt;b&gt;me&lt;/b&gt; was refused<br>Hint: check the password"
    assert f"\N{MULTIPLICATION X} not connected: {said}" in form.status.value
    form.target.value, form.hosts.value, form.keyspace.value = "hosts", "10.0.0.1", "k"
    form.project.value = "p"
    form.button.click()
    assert said in note(form, "password")
    assert "not connected: see above" in form.status.value
    assert not form.button.disabled
    assert form.workspace is None


def test_even_an_unforeseen_error_is_said(form, failing):
    failing(ZeroDivisionError("by zero"))
    form.button.click()
    assert "not connected: by zero" in form.status.value


def test_while_it_connects_it_says_so_and_takes_no_second_press(form, monkeypatch):
    seen = []
    monkeypatch.setattr(
        workspace_module, "connect", lambda *_, **__: seen.append((form.button.disabled, form.status.value))
    )
    form.button.click()
    assert seen[0][0]
    assert "connecting" in seen[0][1]


def test_only_the_fields_of_the_chosen_target_are_shown(form):
    shared = ["Keyspace", "Project", "Folder", "Keep history", "Read only"]
    assert labels(form) == shared
    form.target.value = "hosts"
    assert labels(form) == ["Hosts", "Port", "User", "Password", *shared]
    form.target.value = "astra"
    assert labels(form) == ["Token", "Database", "Region", "Keep the token in the system's keyring", *shared]
    form.target.value = "bundle"
    assert labels(form) == ["Bundle", "Token", "Client ID", "Client Secret", *shared]


def test_every_field_has_a_line_that_says_what_belongs_there(form):
    for target in ("local", "hosts", "astra", "bundle"):
        form.target.value = target
        rows = [form.widget.children[0], *form.widget.children[1].children]
        lines = [row.children[-2].value for row in rows]
        assert len(set(lines)) == len(rows)
        assert all(len(line) > len(explanation("")) for line in lines)
        assert ("made from the folder" in form._rows["keyspace"].help.value) == (target == "local")
        assert {row.field for row in form._rows.values()} >= {row.children[0] for row in rows}


def test_every_field_has_a_label_that_is_plain_text(form):
    for target in ("local", "hosts", "astra", "bundle"):
        form.target.value = target
        for field in (form.target, *(row.children[0] for row in form.widget.children[1].children)):
            assert field.description
            assert field.description_allow_html is False


def test_where_widgets_are_not_shown_there_is_a_text(form):
    bundle = form._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == (
        "ConnectForm(target='local', not connected): a form, for a notebook that shows widgets; else fnb.connect(…)"
    )


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_is_out_of_its_field_before_it_connects_and_even_before_the_button(form, opened):
    form.target.value, form.bundle.value, form.token.value = "bundle", "scb.zip", SECRET
    form.keyspace.value, form.project.value = "k", "p"
    assert form.token.value == ""
    assert SECRET not in states(form) + repr(form)
    form.submit()
    assert opened[0][2] == ("", "")
    assert SECRET not in states(form) + repr(form) + str(form._repr_mimebundle_())


def test_a_secret_that_a_front_end_sends_leaves_its_field_too(form):
    form.token.set_state({"value": SECRET})
    assert form.token.value == ""
    assert form._token.pop().reveal() == SECRET


def test_a_secret_serves_for_one_attempt(form, opened):
    form.target.value, form.hosts.value, form.username.value, form.keyspace.value = "hosts", "10.0.0.1", "me", "k"
    form.project.value = "p"
    form.password.value = SECRET
    form.submit()
    with pytest.raises(ConfigurationError, match="the field Password is empty, and CASSANDRA_PASSWORD is not set"):
        form.submit()
    assert len(opened) == 1


def test_a_refused_secret_is_nowhere_in_status_or_log(form, caplog):
    caplog.set_level(logging.DEBUG)
    form.target.value, form.hosts.value, form.port.value = "hosts", "127.0.0.1", 1
    form.username.value, form.password.value = "me", SECRET
    form.project.value, form.keyspace.value = "p", "k"
    form.button.click()
    assert "not connected" in form.status.value
    assert SECRET not in states(form) + caplog.text


def test_a_token_file_gives_its_token_and_is_forgotten(form):
    content = json.dumps({"clientId": "c", "secret": "s", "token": SECRET}).encode()
    for given, said in ((content, "was taken"), (b"{}", "holds no token"), (b"\xff", "holds no token")):
        file = {"name": "t.json", "type": "application/json", "size": len(given), "content": given}
        form.upload.value = [{**file, "last_modified": pd.Timestamp(0, tz="UTC").to_pydatetime()}]
        assert form.upload.value == ()
        assert said in note(form, "token")
    assert form._token.pop().reveal() == SECRET
    assert SECRET not in states(form)


# --- what it remembers -----------------------------------------------------------------------------------------------


def test_it_remembers_what_it_connected_to_and_no_secret(form, opened):
    form.target.value, form.hosts.value, form.username.value, form.keyspace.value = "hosts", "10.0.0.1", "me", "k"
    form.project.value = "p"
    form.password.value = SECRET
    assert not profile_path().exists()
    form.submit()
    assert json.loads(profile_path().read_text()) == {
        "target": "hosts", "hosts": ["10.0.0.1"], "port": 9042, "username": "me", "keyspace": "k"
    }  # fmt: skip
    again = connect_form()
    assert (again.target.value, again.hosts.value, again.username.value) == ("hosts", "10.0.0.1", "me")
    again.target.value, again.database.value, again.token.value = "astra", "features", SECRET
    again.project.value, again.keyspace.value = "p", "k"
    again.region.options = again.region.value, *_ = ["us-east1"]
    again.submit()
    assert SECRET not in profile_path().read_text()
    third = connect_form()
    assert (third.target.value, third.database.value, third.region.value) == ("astra", "features", "us-east1")
    assert choose_target() == (fnb.Astra("features", region="us-east1"), "k")


def test_a_cluster_of_the_profile_gets_its_password_from_the_environment(form, opened, monkeypatch):
    form.target.value, form.hosts.value, form.username.value, form.keyspace.value = "hosts", "10.0.0.1", "me", "k"
    form.project.value = "p"
    form.password.value = SECRET
    form.submit()
    monkeypatch.setenv("CASSANDRA_PASSWORD", SECRET)
    assert choose_target()[0].password.reveal() == SECRET


def test_a_profile_that_cannot_be_written_is_no_reason_not_to_connect(form, opened, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEASTRA_PROFILE", str(tmp_path / "file" / "profile.json"))
    form.submit()
    assert form.workspace == "workspace 1"
    assert "profile.json cannot be written" in caplog.text


# --- Astra, on the stand-in ------------------------------------------------------------------------------------------


@pytest.fixture
def astra_form(astra, form, tmp_path, monkeypatch):
    """A form in a folder of its own, with Astra chosen."""
    form.target.value, form.directory.value, form.project.value = "astra", str(tmp_path / ".feastra"), "form"
    yield form
    if form.workspace is not None:
        form.workspace.close()


def test_from_a_token_to_lists_to_a_workspace(astra_form):
    form = astra_form
    form.token.value = TOKEN
    form.find_button.click()
    assert "1 databases: features" in form.status.value
    assert (form.database.value, form.region.options) == ("features", ("us-east1", "eu-west1"))
    assert form.keyspace.options == (KEYSPACE, "models")
    form.keyspace.value = KEYSPACE
    form.test_button.click()
    assert "it works: Workspace(Astra(" in form.status.value
    assert form.workspace is None
    form.button.click()
    assert "connected: Workspace(Astra(" in form.status.value
    assert form.workspace.status() is not None
    assert TOKEN not in states(form) + profile_path().read_text()


def test_errors_stand_beside_the_field_they_belong_to(astra_form):
    form = astra_form
    form.find_button.click()
    assert "no token for Astra" in note(form, "token")
    form.token.value = "AstraCS:wrong"
    form.find_button.click()
    assert "does not accept the token" in note(form, "token")
    form.token.value = TOKEN
    form.database.value, form.keyspace.value = "feature", KEYSPACE
    form.button.click()
    assert "did you mean features?" in note(form, "database")
    form.token.value = TOKEN
    form.database.value, form.keyspace.value = "features", "none"
    form.button.click()
    assert "no keyspace" in note(form, "keyspace")
    assert form.workspace is None


def test_a_token_is_kept_in_the_keyring_only_on_request_and_found_there(astra_form, tmp_path, monkeypatch):
    keyring = pytest.importorskip("keyring")
    file = pytest.importorskip("keyrings.alt.file").PlaintextKeyring()
    file.file_path = str(tmp_path / "keyring.cfg")
    monkeypatch.setattr(keyring.core, "_keyring_backend", file)
    form = astra_form
    form.database.value, form.keyspace.value, form.token.value = "features", KEYSPACE, TOKEN
    form.submit().close()
    assert keyring.get_password("feastra_nb", "astra") is None
    form.token.value, form.keep_token.value = TOKEN, True
    form.submit().close()
    assert keyring.get_password("feastra_nb", "astra") == TOKEN
    with fnb.connect(fnb.Astra("features"), project="form", keyspace=KEYSPACE, directory=tmp_path / ".feastra") as ws:
        assert ws.status() is not None


def test_without_a_keyring_the_workspace_is_there_and_the_form_says_that_the_token_was_not_kept(
    astra_form, monkeypatch
):
    keyring = pytest.importorskip("keyring")
    monkeypatch.setattr(keyring.core, "_keyring_backend", keyring.backends.fail.Keyring())
    form = astra_form
    form.database.value, form.keyspace.value = "features", KEYSPACE
    form.token.value, form.keep_token.value = TOKEN, True
    form.button.click()
    assert "the token was not kept" in note(form, "keep_token")
    assert form.workspace.status() is not None


# --- against a real Cassandra, in a notebook that is saved -----------------------------------------------------------

CONNECT = """
import os
import feastra_nb as fnb
form = fnb.connect_form()
form.target.value, form.hosts.value, form.port.value = "hosts", {host!r}, {port}
form.username.value, form.password.value = {username!r}, os.environ["TYPED_SECRET"]
form.project.value, form.keyspace.value, form.directory.value = {project!r}, {keyspace!r}, {directory!r}
form
"""
TYPE_AGAIN = 'form.token.value = os.environ["TYPED_SECRET"]'
ASK = "form.button.click()\nassert form.workspace is not None, form.status.value\nform.workspace.status()"


@pytest.fixture
def ws(tmp_path):
    with fnb.connect(fnb.Local(), directory=tmp_path / ".feastra") as ws:
        yield ws
        ws.session.execute(f"DROP KEYSPACE {ws.keyspace}")


@pytest.mark.slow
def test_a_saved_notebook_with_its_widget_state_holds_no_secret(ws, tmp_path, monkeypatch):
    settings = ws.store.open(ws.feast.config).db.settings
    login = local.login_at(settings.hosts, settings.port)
    secret = login.password.reveal()
    monkeypatch.setenv("TYPED_SECRET", secret)
    where = {
        "host": settings.hosts[0],
        "port": settings.port,
        "directory": str(ws.directory),
        "username": login.username,
    }
    connect = CONNECT.format(**where, project=ws.project, keyspace=ws.keyspace)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (connect, ASK, TYPE_AGAIN)])
    NotebookClient(notebook, timeout=120, store_widget_state=True, kernel_name="python3").execute()
    saved = nbformat.writes(notebook)
    assert "PasswordModel" in saved
    assert "connected: Workspace(Hosts(" in saved
    assert secret not in saved
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
