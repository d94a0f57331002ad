"""The form to connect with: what it calls, what it says, and that it keeps no secret."""

import json
import logging

import nbformat
import pytest
from nbclient import NotebookClient

import feastra_nb as fnb
from feastra_nb import workspace as workspace_module
from feastra_nb.errors import AuthenticationFailed, ConfigurationError
from feastra_nb.notebook.widgets import connect_form

SECRET = "swordfish-7431"  # noqa: S105
VARIABLES = ("CONTACT_POINTS", "PORT", "USERNAME", "PASSWORD", "KEYSPACE")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in [
        *(f"CASSANDRA_{name}" for name in VARIABLES),
        "ASTRA_DB_APPLICATION_TOKEN",
        "ASTRA_DB_SECURE_BUNDLE_PATH",
    ]:
        monkeypatch.delenv(name, raising=False)


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
    return [field.description for field in form.widget.children[1].children]


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
    form.target.value, form.bundle.value, form.token.value = "astra", "scb.zip", SECRET
    form.submit()
    assert opened[0][0] == fnb.Astra(bundle="scb.zip", token=SECRET)


def test_secrets_left_empty_come_from_the_environment_and_are_never_in_a_field(monkeypatch, opened):
    monkeypatch.setenv("CASSANDRA_CONTACT_POINTS", "10.0.0.1")
    monkeypatch.setenv("CASSANDRA_PORT", "9999")
    monkeypatch.setenv("CASSANDRA_USERNAME", "me")
    monkeypatch.setenv("CASSANDRA_PASSWORD", SECRET)
    form = connect_form()
    assert (form.hosts.value, form.port.value, form.username.value) == ("10.0.0.1", 9999, "me")
    form.target.value = "hosts"
    assert SECRET not in states(form)
    form.submit()
    assert opened[0][0].password.reveal() == SECRET


@pytest.mark.parametrize(("target", "missing"), [("hosts", "no host was given"), ("astra", "no secure connect bundle")])
@pytest.mark.usefixtures("opened")
def test_a_missing_field_is_an_error_of_submit(form, target, missing):
    form.target.value = target
    with pytest.raises(ConfigurationError, match=missing):
        form.submit()
    assert form.workspace is None


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_button_connects_and_says_so_in_words(form, opened):
    form.button.click()
    assert len(opened) == 1
    assert "\N{CHECK MARK} connected: &#x27;workspace 1&#x27;" in form.status.value
    assert not form.button.disabled


def test_the_button_says_what_went_wrong_and_what_to_do_and_can_be_pressed_again(form, failing):
    failing(AuthenticationFailed("<b>me</b> was refused", hint="check the password"))
    form.button.click()
    assert (
        "\N{MULTIPLICATION X} not connected: &lt;b&gt;me&lt;/b&gt; was refused<br>Hint: check the password"
        in form.status.value
    )
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
    shared = ["Project", "Keyspace", "Folder", "Keep history", "Read only"]
    assert labels(form) == shared
    form.target.value = "hosts"
    assert labels(form) == ["Hosts", "Port", "User", "Password", *shared]
    form.target.value = "astra"
    assert labels(form) == ["Bundle", "Token", *shared]


def test_every_field_has_a_label_that_is_plain_text(form):
    for target in ("local", "hosts", "astra"):
        form.target.value = target
        for field in (form.target, *form.widget.children[1].children):
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
    form.target.value, form.bundle.value, form.token.value = "astra", "scb.zip", SECRET
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
    form.target.value, form.hosts.value, form.username.value = "hosts", "10.0.0.1", "me"
    form.password.value = SECRET
    form.submit()
    with pytest.raises(ConfigurationError, match="no password for the user 'me'"):
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


# --- against a real Cassandra, in a notebook that is saved -----------------------------------------------------------

CONNECT = """
import os
import feastra_nb as fnb
form = fnb.connect_form()
form.target.value, form.hosts.value, form.port.value = "hosts", {host!r}, {port}
form.username.value, form.password.value = "me", os.environ["TYPED_SECRET"]
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


def test_a_saved_notebook_with_its_widget_state_holds_no_secret(ws, tmp_path, monkeypatch):
    monkeypatch.setenv("TYPED_SECRET", SECRET)
    settings = ws.store.open(ws.feast.config).db.settings
    where = {"host": settings.hosts[0], "port": settings.port, "directory": str(ws.directory)}
    connect = CONNECT.format(**where, project=ws.project, keyspace=ws.keyspace)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (connect, ASK, TYPE_AGAIN)])
    NotebookClient(notebook, timeout=120, store_widget_state=True, kernel_name="python3").execute()
    saved = nbformat.writes(notebook)
    assert "PasswordModel" in saved
    assert "connected: Workspace(Hosts(" in saved
    assert SECRET not in saved
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
