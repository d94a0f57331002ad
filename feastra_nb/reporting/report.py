"""The base of every report: a frame, a plot, a page in notebooks, text elsewhere, and saving by suffix."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from matplotlib.axes import Axes


class Report:
    """The base of all reports, which are frozen dataclasses.

    Each has ``frame`` (a tidy DataFrame), ``plot(ax=None)`` (which returns the Axes), ``to_dict()`` (what a JSON holds), a
    ``repr`` of one screen, and ``_repr_html_``, its page.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # Not abstract: a frame is a field of some reports, and a property of others.
        @property
        def frame(self) -> Any:
            """The findings, tidy."""

        def plot(self, ax: Axes | None = None) -> Axes:
            """Draw the findings."""

        def to_dict(self) -> dict[str, Any]:
            """Return metadata and findings; values may be DataFrames."""

        def _page(self) -> str: ...

    def _repr_html_(self) -> str:
        """Return the page; where it cannot be made, the text and the reason: a finding is never hidden by how it is shown."""
        try:
            return self._page()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report is worth more than its page
            from feastra_nb.reporting import html

            why = html.note(html.status("the page could not be made", "warn"), f" {type(error).__name__}: {error}")
            text = object.__repr__(self)
            with contextlib.suppress(Exception):
                text = repr(self)
            return html.page(type(self).__name__, why, html.Html(f"<pre>{html.escaped(text)}</pre>"), text=text)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as ``.html``, ``.json``, ``.parquet`` or ``.png``, by the suffix, and return the path.

        A latency report also knows ``.hgrm``, the text that HdrHistogram's own tools draw; its JSON holds the histograms, so
        that measurements can be merged later.

        Raises
        ------
        ConfigurationError
            The suffix is none of these, or the folder does not exist.
        """
        from feastra_nb.reporting.saving import save_report

        return save_report(self, path)
