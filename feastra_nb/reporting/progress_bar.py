"""A progress bar in a notebook: one display of HTML that is renewed, and gone when the work is done.

No widget: it works where ipywidgets is not installed, in VS Code and Colab, and leaves nothing in a saved notebook. What was
stopped stays, and says how far it came.
"""

from __future__ import annotations

from typing import Any

from feastra_nb.reporting.html import escaped
from feastra_nb.reporting.progress import TEXT_ONLY, TextBar

_STYLE = (
    "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px);"
    "font-variant-numeric:tabular-nums"
)
_GONE: dict[str, str] = {"text/plain": "", "text/html": ""}


class NotebookBar(TextBar):
    """A bar as HTML, in the output of the cell that the work runs in."""

    def __init__(self, **options: Any) -> None:
        self._display: Any = None
        super().__init__(**options)
        if not self.disable:
            self.show()

    def show(self) -> None:
        """Renew the display."""
        from IPython.display import display

        bundle = _GONE if self.ended and not self.stopped else {"text/plain": self.text, "text/html": self._html()}
        if self._display is None:
            self._display = display(bundle, raw=True, display_id=True)
        else:
            self._display.update(bundle, raw=True)

    def _html(self) -> str:
        bar = ""
        if self.bar_format != TEXT_ONLY and not self.stopped:
            how_far = f' value="{self.n}" max="{max(self.total, 1)}"' if self.total else ""
            bar = f'<progress{how_far} aria-label="{escaped(self.text)}" style="width:16em;vertical-align:middle"></progress> '
        return f'<div style="{_STYLE}">{bar}{escaped(self.text)}</div>'
