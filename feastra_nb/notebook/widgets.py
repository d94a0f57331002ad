"""The form to connect with: fields and a button, for those who would rather not write a target in code.

The logic is in plain methods, which raise; the button's callback only turns what they raise into words, since a
notebook shows nothing of an exception in a callback.

What a field holds is in the notebook's widget state, which can be saved. So a secret leaves its field as soon as it is
there, even if nobody presses the button, and waits in an attribute that no front end sees.
"""

from __future__ import annotations

import html
import os
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.secrets import Secret
from feastra_nb.connection.targets import DEFAULT_PORT, Local

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.connection.targets import Target
    from feastra_nb.workspace import Workspace

_TARGETS = (("Start one on this machine", "local"), ("A Cassandra cluster", "hosts"), ("Astra DB", "astra"))
_HIGHEST_PORT = 65_535
_FIELD = {"description_width": "9em"}
_WIDTH = {"width": "34em"}

# A sign and words beside the colour, which is that of JupyterLab's theme.
_TONES = {
    "info": ("…", "var(--jp-ui-font-color1, inherit)"),
    "ok": ("\N{CHECK MARK}", "var(--jp-success-color0, #1a7f37)"),
    "bad": ("\N{MULTIPLICATION X}", "var(--jp-error-color0, #c62828)"),
}


def connect_form() -> ConnectForm:
    """Return a form to connect with; put it last in a cell, and it shows.

    A password or token left empty is read from ``CASSANDRA_PASSWORD`` or ``ASTRA_DB_APPLICATION_TOKEN``. One that is
    typed leaves its field at once, is used for one attempt to connect, and is in no saved notebook.

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
    """Fields for a target, its names and its secrets, and a button. Made by `connect_form`.

    Every field is an attribute, an ipywidget with a ``value``: ``target`` (``local``, ``hosts``, ``astra``), ``hosts``,
    ``port``, ``username``, ``password``, ``bundle``, ``token``, ``project``, ``keyspace``, ``directory``, ``retain``,
    ``read_only``.
    """

    def __init__(self) -> None:
        import ipywidgets

        self.workspace: Workspace | None = None
        self.target = ipywidgets.Dropdown(options=_TARGETS, description="Where", style=_FIELD, layout=_WIDTH)
        self._add_target_fields()
        self._add_shared_fields()
        self.button = ipywidgets.Button(description="Connect", button_style="primary", tooltip="Connect")
        self.status = ipywidgets.HTML()
        self._fields = ipywidgets.VBox()
        self.widget = ipywidgets.VBox([self.target, self._fields, self.button, self.status])
        self.target.observe(self._show_fields, "value")
        self.button.on_click(self._on_click)
        self._show_fields()

    def submit(self) -> Workspace:
        """Connect to what the fields say.

        Secrets are forgotten before that; another attempt asks for them again. A workspace of an earlier submit stays
        open: it may be in use.

        Returns
        -------
        Workspace
            The new workspace, also in ``form.workspace``.

        Raises
        ------
        ConfigurationError
            A field is missing or makes no sense.
        ConnectionFailed
            The server cannot be reached, or refuses.
        """
        from feastra_nb.workspace import connect

        target = self._target(self._password.pop(), self._token.pop())
        self.workspace = connect(target, **self._options())
        return self.workspace

    def _add_target_fields(self) -> None:
        import ipywidgets

        environment = os.environ
        port = environment.get("CASSANDRA_PORT", "")
        self.hosts = _text("Hosts", environment.get("CASSANDRA_CONTACT_POINTS", ""), hint="10.0.0.1, 10.0.0.2")
        self.port = ipywidgets.BoundedIntText(
            int(port) if port.isdigit() else DEFAULT_PORT,
            min=1,
            max=_HIGHEST_PORT,
            description="Port",
            style=_FIELD,
            layout=_WIDTH,
        )
        self.username = _text("User", environment.get("CASSANDRA_USERNAME", ""), hint="none")
        self._password = _SecretField("Password", variable="CASSANDRA_PASSWORD")
        self.password = self._password.widget
        self.bundle = _text(
            "Bundle", environment.get("ASTRA_DB_SECURE_BUNDLE_PATH", ""), hint="path of secure-connect-….zip"
        )
        self._token = _SecretField("Token", variable="ASTRA_DB_APPLICATION_TOKEN")
        self.token = self._token.widget

    def _add_shared_fields(self) -> None:
        import ipywidgets

        self.project = _text("Project", "")
        self.keyspace = _text("Keyspace", "")
        self.directory = _text("Folder", ".feastra")
        self.retain = _text("Keep history", "7d", hint="7d, all, latest")
        self.read_only = ipywidgets.Checkbox(description="Read only", style=_FIELD, layout=_WIDTH)

    def _target(self, password: Secret | None, token: Secret | None) -> Target:
        from feastra_nb.notebook.credentials import astra_target, hosts_target

        if self.target.value == "local":
            return Local()
        if self.target.value == "astra":
            return astra_target(self.bundle.value.strip(), token=token, environment=os.environ)
        return hosts_target(
            [host.strip() for host in self.hosts.value.split(",") if host.strip()],
            port=self.port.value,
            username=self.username.value.strip() or None,
            password=password,
            environment=os.environ,
        )

    def _options(self) -> dict[str, Any]:
        fields = {
            "project": self.project.value.strip(),
            "keyspace": self.keyspace.value.strip(),
            "directory": self.directory.value.strip(),
            "retain": self.retain.value.strip(),
        }
        # An empty field leaves connect() its default.
        return {name: value for name, value in fields.items() if value} | {"read_only": self.read_only.value}

    def _on_click(self, _button: object = None) -> None:
        self.button.disabled = True
        self._say("connecting", "info")
        try:
            workspace = self.submit()
        except Exception as error:  # noqa: BLE001  a callback's exception is shown nowhere
            self._say(f"not connected: {error}", "bad")
        else:
            self._say(f"connected: {workspace!r}", "ok")
        finally:
            self.button.disabled = False

    def _say(self, text: str, tone: str) -> None:
        sign, color = _TONES[tone]
        words = html.escape(f"{sign} {text}").replace("\n", "<br>")
        self.status.value = f'<div role="status" style="color:{color};line-height:1.4">{words}</div>'

    def _show_fields(self, _change: object = None) -> None:
        kind = self.target.value
        own = {
            "local": (),
            "hosts": (self.hosts, self.port, self.username, self.password),
            "astra": (self.bundle, self.token),
        }[kind]
        hint = "made from the folder" if kind == "local" else "needed"
        self.project.placeholder = self.keyspace.placeholder = hint
        shared = (self.project, self.keyspace, self.directory, self.retain, self.read_only)
        self._fields.children = (*own, *shared)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Show the widget, and in its place, where widgets are not shown, what else there is."""
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_(**options))
        bundle["text/plain"] = f"{self!r}: a form, for a notebook that shows widgets; else fnb.connect(…)"
        return bundle

    def __repr__(self) -> str:
        state = "not connected" if self.workspace is None else repr(self.workspace)
        return f"{type(self).__name__}(target={self.target.value!r}, {state})"


class _SecretField:
    """A password field that is empty again as soon as something was typed into it.

    Parameters
    ----------
    label
        What stands beside it.
    variable
        Environment variable that is read where nothing is typed.
    """

    def __init__(self, label: str, *, variable: str) -> None:
        from ipywidgets import Password

        self._secret: Secret | None = None
        self._hint = f"empty: {variable} of the environment"
        # Sent when the field is left, not letter by letter.
        self.widget = Password(
            description=label, placeholder=self._hint, continuous_update=False, style=_FIELD, layout=_WIDTH
        )
        self.widget.observe(self._take, "value")

    def pop(self) -> Secret | None:
        """Return what was typed, and forget it."""
        secret, self._secret = self._secret, None
        self.widget.placeholder = self._hint
        return secret

    def _take(self, change: Mapping[str, Any]) -> None:
        if change["new"]:
            self._secret = Secret(change["new"])
            self.widget.value, self.widget.placeholder = "", "taken, for one attempt to connect"


def _text(label: str, value: str, *, hint: str = "") -> Any:
    from ipywidgets import Text

    return Text(value, description=label, placeholder=hint, style=_FIELD, layout=_WIDTH)
