"""Parts of a form: fields with help and a note below them, and fields of secrets, which are empty again at once.

What a field holds is in the notebook's widget state, which can be saved. So a secret leaves its field as soon as it is
there, even if nobody presses a button, and waits in an attribute that no front end sees.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from feastra_nb.connection.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

STYLE = {"description_width": "9em"}
WIDTH = {"width": "34em"}
BELOW = {"margin": "2px 2px 2px calc(9em + 8px)"}  # where the fields begin, behind their descriptions
CLOSE_BELOW = {"margin": "-1px 2px 5px calc(9em + 10px)"}  # nearer to the field above than to the next one
# A sign and words beside the colour, which is that of JupyterLab's theme.
_TONES = {
    "info": ("…", "var(--jp-ui-font-color1, inherit)"),
    "ok": ("\N{CHECK MARK}", "var(--jp-success-color0, #1a7f37)"),
    "bad": ("\N{MULTIPLICATION X}", "var(--jp-error-color0, #c62828)"),
}


def words(text: str, tone: str) -> str:
    """Return a text as HTML, with a sign and a colour: ``info``, ``ok``, ``bad``; nothing for an empty one."""
    if not text:
        return ""
    sign, color = _TONES[tone]
    lines = html.escape(f"{sign} {text}").replace("\n", "<br>")
    return f'<div role="status" style="color:{color};line-height:1.4">{lines}</div>'


def explanation(text: str) -> str:
    """Return a line of help as HTML, quieter than what stands in the fields."""
    color = "var(--jp-ui-font-color2, inherit)"
    return f'<div style="color:{color};font-size:0.92em;line-height:1.3">{html.escape(text)}</div>'


class Row:
    """A field, below it a line that says what belongs there, and a note on what is wrong with it.

    Parameters
    ----------
    field
        The widget. A change of its value takes the note away.
    beside
        Widgets that stand behind it.
    about
        The line of help.
    """

    def __init__(self, field: Any, *beside: Any, about: str) -> None:
        import ipywidgets

        self.field = field
        self.help = ipywidgets.HTML(layout={**CLOSE_BELOW, "flex": "1 1 100%"})  # a line of its own
        self.note = ipywidgets.HTML(layout={**BELOW, "flex": "1 1 100%", "display": "none"})
        self.widget = ipywidgets.HBox([field, *beside, self.help, self.note], layout={"flex_flow": "row wrap"})
        self.explain(about)
        field.observe(self._forget, "value")

    def explain(self, about: str) -> None:
        """Show another line of help."""
        self.help.value = explanation(about)

    def say(self, text: str = "", tone: str = "bad") -> None:
        """Show a note, or none."""
        self.note.value = words(text, tone)
        self.note.layout.display = "" if text else "none"  # an empty one would leave a gap

    def _forget(self, change: Mapping[str, Any]) -> None:
        if change["new"]:  # not when a secret leaves its field
            self.say()


class SecretField:
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
        self.variable = variable
        self._hint = f"else ${variable}" if variable else ""
        # Sent when the field is left, not letter by letter.
        self.widget = Password(
            description=label, placeholder=self._hint, continuous_update=False, style=STYLE, layout=WIDTH
        )
        self.widget.observe(self._take, "value")

    def peek(self) -> Secret | None:
        """Return what was typed."""
        return self._secret

    def pop(self) -> Secret | None:
        """Return what was typed, and forget it."""
        secret, self._secret = self._secret, None
        self.widget.placeholder = self._hint
        return secret

    def put(self, secret: Secret) -> None:
        """Take a secret that came another way."""
        self._secret = secret
        self.widget.placeholder = "taken, for one attempt to connect"

    def _take(self, change: Mapping[str, Any]) -> None:
        if change["new"]:
            self.put(Secret(change["new"]))
            self.widget.value = ""


class TokenUpload:
    """A button that takes the JSON file of the Astra portal, puts its token into a field, and forgets the file.

    Parameters
    ----------
    row
        Row of the token, which says what is wrong with a file.
    """

    def __init__(self, token: SecretField) -> None:
        from ipywidgets import FileUpload

        self._token = token
        self.row: Row | None = None
        self.widget = FileUpload(
            accept=".json",
            multiple=False,
            description="Token file",
            tooltip="the JSON file that the Astra portal gives",
        )
        self.widget.observe(self._take, "value")

    def _take(self, change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return
        (file,) = change["new"]
        content = bytes(file["content"])
        self.widget.value = ()
        try:
            self._token.put(Secret(json.loads(content)["token"]))
        except (ValueError, KeyError, TypeError):
            message = "this file holds no token", "bad"
        else:
            message = "the file's token was taken", "ok"
        if self.row is not None:
            self.row.say(*message)


def text(label: str, value: str, *, hint: str = "") -> Any:
    """Return a field of text."""
    from ipywidgets import Text

    return Text(value, description=label, placeholder=hint, style=STYLE, layout=WIDTH)


def choice(label: str, *, hint: str = "") -> Any:
    """Return a field of text that may offer a list."""
    from ipywidgets import Combobox

    return Combobox(description=label, placeholder=hint, ensure_option=False, style=STYLE, layout=WIDTH)


def button(label: str, tooltip: str, **options: Any) -> Any:
    """Return a button."""
    from ipywidgets import Button

    return Button(description=label, tooltip=tooltip, **options)
