"""A DataFrame that shows itself as reports do: in words, on a page and in a hundred columns of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from feastra_nb.reporting import html

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from feastra_nb.reporting.html import Tone

TEXT_WIDTH = 100  # characters of a line
SHOWN_ROWS = 30  # of the text
LEAST_WIDTH = 8  # characters of a column: less is unreadable


class Listing(pd.DataFrame):
    """A table of a workspace: in code a DataFrame, and whatever is made of it is a plain one.

    Examples
    --------
    >>> listing = Listing.of(pd.DataFrame({"n": [2]}), title="Counts", shown=pd.DataFrame({"how many": ["two"]}))
    >>> print(listing)
    how many
    two
    >>> len(listing), type(listing.head(1)).__name__
    (1, 'DataFrame')
    """

    _metadata = ["_title", "_shown", "_tones"]  # noqa: RUF012 - pandas' own way to keep attributes

    _title: str
    _shown: pd.DataFrame
    _tones: Mapping[str, Callable[[str], Tone | None]]

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        *,
        title: str,
        shown: pd.DataFrame,
        tones: Mapping[str, Callable[[str], Tone | None]] | None = None,
    ) -> Listing:
        """Return a table that shows itself.

        Parameters
        ----------
        frame
            The table.
        title
            What it lists.
        shown
            The same for people: durations and counts in words, columns that say nothing left out.
        tones
            By column of ``shown``, the tone that a word is shown in; None for plain text.
        """
        listing = cls(frame)
        listing._title, listing._shown, listing._tones = title, shown, tones or {}
        return listing

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return the table in at most a hundred columns."""
        if not len(self._shown):
            return f"{self._title}: none"
        text = as_text(self._shown.head(SHOWN_ROWS))
        more = len(self._shown) - SHOWN_ROWS
        return f"{text}\n… and {more:,} more rows" if more > 0 else text

    def to_table(self) -> html.Html:
        """Return the table as part of a page."""
        if not len(self._shown):
            return html.note("none")
        return html.table(_toned(self._shown, self._tones))

    def _repr_html_(self) -> str:
        return str(html.page(self._title, self.to_table(), text=self.to_text()))


def as_text(shown: pd.DataFrame) -> str:
    """Return a table of words in at most a hundred columns: its widest columns give way.

    Examples
    --------
    >>> print(as_text(pd.DataFrame({"view": ["a" * 120, "b"], "rows": ["1,000", "20"]})).splitlines()[-1])
    b                                                                                                 20
    """
    columns = [[str(name), *("-" if pd.isna(value) else str(value) for value in shown[name])] for name in shown.columns]
    widths = [max(map(len, column)) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > TEXT_WIDTH and max(widths) > LEAST_WIDTH:
        widths[widths.index(max(widths))] -= 1
    is_number = [all(value.replace(",", "").isdigit() for value in column[1:] if value != "-") for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        cut = [text if len(text) <= width else f"{text[: width - 1]}…" for text, width in zip(row, widths, strict=True)]
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(cut, widths, is_number, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _toned(shown: pd.DataFrame, tones: Mapping[str, Callable[[str], Tone | None]]) -> pd.DataFrame:
    changed: dict[str, Any] = {}
    for name, tone_of in tones.items():
        words = [("" if pd.isna(word) else str(word)) for word in shown[name]]
        toned = [(word, tone_of(word)) for word in words]
        changed[name] = [word if tone is None else html.status(word, tone) for word, tone in toned]
    return shown.assign(**changed)
