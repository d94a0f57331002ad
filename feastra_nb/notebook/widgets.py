"""The form to connect with: fields and buttons, for those who would rather not write a target in code.

The logic is in plain methods, which raise; a button's callback only turns what they raise into words beside the field that
they are about, since a notebook shows nothing of an exception in a callback.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.choice import configured, remember
from feastra_nb.connection.targets import DEFAULT_PORT, Astra, Hosts, Local
from feastra_nb.errors import AuthenticationFailed, ConfigurationError, KeyspaceNotFound, UnknownName
from feastra_nb.notebook.field_help import ABOUT, ABOUT_LOCAL
from feastra_nb.notebook.fields import BELOW, STYLE, WIDTH, Row, SecretField, TokenUpload, button, choice, text, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from feastra_nb.connection.astra.databases import AstraDatabase
    from feastra_nb.connection.secrets import Secret
    from feastra_nb.connection.targets import Target
    from feastra_nb.workspace import Workspace

_TARGETS = (
    ("Start one on this machine", "local"),
    ("Astra DB, by token", "astra"),
    ("Astra DB, by bundle", "bundle"),
    ("A Cassandra cluster", "hosts"),
)
_HIGHEST_PORT = 65_535
# The fields of each target; all have the shared ones too.
_OWN = {
    "local": (),
    "astra": ("token", "database", "region", "keep_token"),
    "bundle": ("bundle", "token", "client_id", "client_secret"),
    "hosts": ("hosts", "port", "username", "password"),
}
_SHARED = ("keyspace", "project", "directory", "retain", "read_only")
_SECRETS = ("password", "token", "client_secret")
# What each target cannot do without, but for secrets: those may come from elsewhere.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "astra": ("database", "keyspace", "project"),
    "bundle": ("bundle", "keyspace", "project"),
    "hosts": ("hosts", "keyspace", "project"),
}


def connect_form() -> ConnectForm:
    """Return a form to connect with; put it last in a cell, and it shows.

    A password or token left empty is read from ``CASSANDRA_PASSWORD``, ``ASTRA_DB_APPLICATION_TOKEN`` or the system's keyring.
    One that is typed leaves its field at once, is used for one attempt to connect, and is in no saved notebook. What was
    connected to is remembered in the profile, which `connect` reads, without any secret.

    Returns
    -------
    ConnectForm
        ``form.workspace`` is the workspace, once connected.

    Examples
    --------
    >>> form = connect_form()
    >>> form.target.value = "hosts"
    >>> form.hosts.value = "10.0.0.1, 10.0.0.2"
    >>> form
    ConnectForm(target='hosts', not connected)
    """
    return ConnectForm()


class ConnectForm:
    """Fields for a target, its names and its secrets, and buttons. Made by `connect_form`.

    Every field is an attribute, an ipywidget with a ``value``: ``target`` (``local``, ``astra``, ``bundle``, ``hosts``), ``token``,
    ``database``, ``region``, ``keep_token``, ``bundle``, ``client_id``, ``client_secret``, ``hosts``, ``port``, ``username``,
    ``password``, ``keyspace``, ``project``, ``directory``, ``retain``, ``read_only``.

    Parameters
    ----------
    on_connect
        Called with each workspace that was connected.
    """

    def __init__(self, on_connect: Callable[[Workspace], object] | None = None) -> None:
        import ipywidgets

        self.workspace: Workspace | None = None
        self._on_connect = on_connect
        self._empty: Mapping[str, str] = {}  # why the last attempt failed, by field, where fields were empty
        self._found: dict[str, AstraDatabase] = {}
        self.target = ipywidgets.Dropdown(options=_TARGETS, description="Where", style=STYLE, layout=WIDTH)
        self._add_secret_fields()
        self._add_fields()
        self.find_button = button("Find databases", "list the databases that the token can see")
        self.test_button = button("Test", "connect, and change nothing")
        self.button = button("Connect", "connect, and keep the workspace in form.workspace", button_style="primary")
        names = ("target", *_OWN_NAMES, *_SHARED)
        beside = {"token": (self.upload, self.find_button)}
        self._rows = {name: Row(getattr(self, name), *beside.get(name, ()), about=ABOUT[name]) for name in names}
        self._upload.row = self._rows["token"]
        self.status = ipywidgets.HTML(layout=BELOW)
        self._fields = ipywidgets.VBox()
        buttons = ipywidgets.HBox([self.button, self.test_button], layout=BELOW)
        self.widget = ipywidgets.VBox([self._rows["target"].widget, self._fields, buttons, self.status])
        self._prefill()
        self.target.observe(self._show_fields, "value")
        self.database.observe(self._show_database, "value")
        self.find_button.on_click(lambda _: self._try("looking for databases", self.find, self._say_found))
        self.test_button.on_click(lambda _: self._try("connecting", self.test, lambda answer: f"it works: {answer}"))
        self.button.on_click(lambda _: self._try("connecting", self.submit, lambda ws: f"connected: {ws!r}"))
        self._show_fields()

    # --- what it does ---

    def find(self) -> tuple[str, ...]:
        """Ask Astra which databases the token can see, and offer them, their regions and keyspaces; return their names.

        Raises
        ------
        ConfigurationError
            There is no token.
        ConnectionFailed
            Astra cannot be reached, or refuses the token.
        """
        from feastra_nb.connection.astra.access import databases

        self._found = {database.name: database for database in databases(Astra(token=self._token.peek()))}
        self.database.options = tuple(self._found)
        if len(self._found) == 1 and not self.database.value:
            (self.database.value,) = self._found
        self._show_database()
        return tuple(self._found)

    def test(self) -> str:
        """Connect read-only, change nothing, and return where that leads to.

        Raises
        ------
        ConfigurationError, ConnectionFailed
            As for `submit`.
        """
        from feastra_nb.workspace import connect

        self._refuse_empty(but=("project",))
        target = self._target({name: self._secrets[name].peek() for name in _SECRETS})
        with tempfile.TemporaryDirectory() as folder:
            options = {"project": "test", **self._options(), "directory": folder, "read_only": True}
            with connect(target, **options) as ws:
                return repr(ws)

    def submit(self) -> Workspace:
        """Connect to what the fields say, and remember it for `connect`.

        Fields that are empty and may not be are named all at once. Secrets are forgotten before the attempt; another one asks
        for them again. A workspace of an earlier submit stays
        open: it may be in use.

        Returns
        -------
        Workspace
            The new workspace, also in ``form.workspace``.

        Raises
        ------
        ConfigurationError
            Fields are empty, or one makes no sense.
        ConnectionFailed
            The server cannot be reached, or refuses.
        """
        from feastra_nb.workspace import connect

        self._refuse_empty()
        secrets = {name: self._secrets[name].pop() for name in _SECRETS}
        target = self._target(secrets)
        self.workspace = connect(target, **self._options())
        if self.target.value == "astra" and self.keep_token.value and secrets["token"]:
            self._keep(secrets["token"])
        remember(target, self.keyspace.value.strip() or None)
        if self._on_connect is not None:
            self._on_connect(self.workspace)
        return self.workspace

    def _keep(self, token: Secret) -> None:
        from feastra_nb.connection.astra.access import keep_in_keyring

        try:
            keep_in_keyring(token)
        except ConfigurationError as error:  # it is connected all the same
            self._rows["keep_token"].say(str(error))
        else:
            self._rows["keep_token"].say("kept", "ok")

    # --- what it is made of ---

    def _add_secret_fields(self) -> None:
        self._password = SecretField("Password", variable="CASSANDRA_PASSWORD")
        self._token = SecretField("Token", variable="ASTRA_DB_APPLICATION_TOKEN")
        self._client_secret = SecretField("Client Secret", variable="")
        self._secrets = {"password": self._password, "token": self._token, "client_secret": self._client_secret}
        self._upload = TokenUpload(self._token)
        self.password, self.token, self.client_secret = (self._secrets[name].widget for name in _SECRETS)
        self.upload = self._upload.widget

    def _add_fields(self) -> None:
        import ipywidgets

        get = os.environ.get
        port = get("CASSANDRA_PORT", "")
        self.database = choice("Database", hint="name, id or API endpoint")
        self.region = ipywidgets.Dropdown(options=[("the first", "")], description="Region", style=STYLE, layout=WIDTH)
        self.keep_token = _tick("Keep the token in the system's keyring")
        self.bundle = text("Bundle", get("ASTRA_DB_SECURE_BUNDLE_PATH", ""), hint="path of secure-connect-….zip")
        self.client_id = text("Client ID", "", hint="instead of a token")
        self.hosts = text("Hosts", get("CASSANDRA_CONTACT_POINTS", ""), hint="10.0.0.1, 10.0.0.2")
        self.port = ipywidgets.BoundedIntText(
            int(port) if port.isdigit() else DEFAULT_PORT, min=1, max=_HIGHEST_PORT, description="Port", style=STYLE,
            layout=WIDTH,
        )  # fmt: skip
        self.username = text("User", get("CASSANDRA_USERNAME", ""), hint="none")
        self.keyspace = choice("Keyspace")
        self.project = text("Project", "")
        self.directory = text("Folder", ".feastra")
        self.retain = text("Keep history", "7d", hint="7d, all, latest")
        self.read_only = _tick("Read only")

    def _prefill(self) -> None:
        """Begin with what environment or profile name."""
        known = configured()
        if known is None:
            return
        target, keyspace = known
        self.keyspace.value = keyspace or ""
        if isinstance(target, Hosts):
            self.target.value, self.hosts.value, self.port.value = "hosts", ", ".join(target.hosts), target.port
            self.username.value = target.username or ""
        elif isinstance(target, Astra):
            self.target.value = "bundle" if target.bundle else "astra"
            self.bundle.value, self.database.value = target.bundle or "", target.database or ""
            if target.region:
                self.region.options, self.region.value = ["", target.region], target.region

    def _target(self, secrets: dict[str, Secret | None]) -> Target:
        from feastra_nb.notebook.credentials import hosts_target

        kind = self.target.value
        if kind == "local":
            return Local()
        if kind == "astra":
            return Astra(self.database.value.strip(), secrets["token"], region=self.region.value or None)
        if kind == "bundle":
            client_id = self.client_id.value.strip() or None
            return Astra(
                bundle=self.bundle.value.strip(), token=secrets["token"], client_id=client_id,
                client_secret=secrets["client_secret"],
            )  # fmt: skip
        return hosts_target(
            [host.strip() for host in self.hosts.value.split(",") if host.strip()],
            port=self.port.value,
            username=self.username.value.strip() or None,
            password=secrets["password"],
            environment=os.environ,
        )

    def _refuse_empty(self, but: Sequence[str] = ()) -> None:
        """Refuse an attempt for which fields are missing, and note all of them.

        Parameters
        ----------
        but
            Fields that this attempt does without.
        """
        names = [name for name in _NEEDED[self.target.value] if name not in but]
        empty = {name: "" for name in names if not getattr(self, name).value.strip(" ,")} | self._missing_secret()
        self._empty = {name: f"the field {self._label(name)} is empty{why}" for name, why in empty.items()}
        if len(empty) == 1:
            raise ConfigurationError(*self._empty.values())
        if empty:
            raise ConfigurationError(f"the fields {', '.join(map(self._label, empty))} are empty")

    def _label(self, name: str) -> str:
        return str(getattr(self, name).description)

    def _missing_secret(self) -> dict[str, str]:
        """Return the secret that is neither typed nor kept elsewhere, and where else it could have been."""
        from feastra_nb.connection.astra.access import kept_token

        name = self._secret_field()
        if name is None or self._secrets[name].peek():
            return {}
        variable = self._secrets[name].variable
        is_known = bool(os.environ.get(variable)) or (name == "token" and bool(kept_token(os.environ)))
        user = self.username.value.strip() or os.environ.get("CASSANDRA_USERNAME", "")
        is_asked_for = name != "password" or bool(user)
        return {} if is_known or not is_asked_for else {name: f", and {variable} is not set" if variable else ""}

    def _options(self) -> dict[str, Any]:
        names = ("project", "keyspace", "directory", "retain")
        given = {name: getattr(self, name).value.strip() for name in names}
        # An empty field leaves connect() its default.
        return {name: value for name, value in given.items() if value} | {"read_only": self.read_only.value}

    # --- what it shows ---

    def _try(self, doing: str, act: Callable[[], Any], wording: Callable[[Any], str]) -> None:
        buttons = (self.button, self.test_button, self.find_button)
        for each in buttons:
            each.disabled = True
        for row in self._rows.values():
            row.say()
        self._empty = {}
        self._say(doing, "info")
        try:
            result = act()
        except Exception as error:  # noqa: BLE001  a callback's exception is shown nowhere
            field = self._field_of(error)
            notes = self._empty or ({} if field is None else {field: str(error)})
            for name, why in notes.items():
                self._rows[name].say(why)
            count = f"{len(notes)} fields are empty, " if len(notes) > 1 else ""
            self._say(f"{_FAILED[act.__name__]}: {f'{count}see above' if notes else error}", "bad")
        else:
            self._say(wording(result), "ok")
        finally:
            for each in buttons:
                each.disabled = False

    def _field_of(self, error: Exception) -> str | None:
        """Return the field that an error is about, None where it is about no single one."""
        if isinstance(error, KeyspaceNotFound):
            return "keyspace"
        if isinstance(error, UnknownName) and self.target.value == "astra":
            return "region" if "region" in str(error) else "database"
        is_secret = isinstance(error, AuthenticationFailed) or "password" in str(error) or "token" in str(error)
        return self._secret_field() if is_secret else None

    def _secret_field(self) -> str | None:
        if self.target.value == "bundle" and self.client_id.value:
            return "client_secret"
        return {"astra": "token", "bundle": "token", "hosts": "password"}.get(self.target.value)

    def _say(self, message: str, tone: str) -> None:
        self.status.value = words(message, tone)

    def _say_found(self, names: tuple[str, ...]) -> str:
        return f"{len(names)} databases: {', '.join(names)}" if names else "the token sees no database"

    def _show_database(self, _change: object = None) -> None:
        database = self._found.get(self.database.value.strip())
        if database is None:
            return
        self.region.options = database.regions
        self.keyspace.options = database.keyspaces
        if len(database.keyspaces) == 1 and not self.keyspace.value:
            (self.keyspace.value,) = database.keyspaces

    def _show_fields(self, _change: object = None) -> None:
        kind = self.target.value
        hint = "made from the folder" if kind == "local" else "needed"
        self.project.placeholder = self.keyspace.placeholder = hint
        for name, about in ABOUT_LOCAL.items():
            self._rows[name].explain(about if kind == "local" else ABOUT[name])
        self.upload.layout.display = self.find_button.layout.display = "" if kind == "astra" else "none"
        self._fields.children = tuple(self._rows[name].widget for name in (*_OWN[kind], *_SHARED))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Show the widget, and in its place, where widgets are not shown, what else there is."""
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_(**options))
        bundle["text/plain"] = f"{self!r}: a form, for a notebook that shows widgets; else fnb.connect(…)"
        return bundle

    def __repr__(self) -> str:
        state = "not connected" if self.workspace is None else repr(self.workspace)
        return f"{type(self).__name__}(target={self.target.value!r}, {state})"


_OWN_NAMES = tuple(dict.fromkeys(name for names in _OWN.values() for name in names))
_FAILED = {"find": "no databases were found", "test": "it does not work", "submit": "not connected"}


def _tick(label: str) -> Any:
    from ipywidgets import Checkbox

    return Checkbox(description=label, style=STYLE, layout=WIDTH)
