"""What each step of a migration says: its figures by view, what is wrong, and what could not be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feastra_nb.reporting import html
from feastra_nb.reporting.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd
    from matplotlib.axes import Axes

DONE, PROBLEMS, UNKNOWN = "done", "problems", "could not tell"
EXIT_CODES = {DONE: 0, PROBLEMS: 1, UNKNOWN: 2}
_TONES: dict[str, html.Tone] = {DONE: "ok", PROBLEMS: "bad", UNKNOWN: "unknown"}
_SHOWN = 20  # lines of a text


@dataclass(frozen=True, slots=True, eq=False)
class MigrationReport(Report):
    """What one step of a migration did.

    Parameters
    ----------
    verb
        ``"plan"``, ``"copy"``, ``"verify"``, ``"switch"``, ``"finish"`` or ``"export"``.
    sentence
        What happened, in one sentence.
    frame
        The findings: of ``verify`` a row for each cell that differs, of the others a row for each view.
    views
        A row for each view, with its figures.
    problems
        What is wrong, in sentences.
    unknown
        What could not be told, such as a range of the ring whose node is down.
    notes
        What is worth knowing and not wrong.
    at
        The instant that the findings are of; None where it does not matter.
    seconds
        How long it took.
    """

    verb: str
    sentence: str
    frame: pd.DataFrame
    views: pd.DataFrame
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    at: datetime | None = None
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """``"done"``, ``"problems"``, or ``"could not tell"``."""
        return UNKNOWN if self.unknown else PROBLEMS if self.problems else DONE

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong and all could be told."""
        return self.state == DONE

    @property
    def exit_code(self) -> int:
        """What ``feastra migrate`` exits with: 0 done, 1 problems or differences, 2 could not tell."""
        return EXIT_CODES[self.state]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what became of each view's entities."""
        from feastra_nb.reporting.bars import stacked

        names = [name for name in _DRAWN if name in self.views.columns and self.views[name].sum()]
        parts = {name: [int(number) for number in self.views[name]] for name in names}
        return stacked(ax, list(self.views["view"]), parts, f"Migration: {self.verb}")

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        plain = {name: getattr(self, name) for name in ("verb", "state", "sentence", "at", "seconds")}
        listed = {name: list(getattr(self, name)) for name in ("problems", "unknown", "notes")}
        return plain | listed | {"views": self.views, "frame": self.frame}

    def __repr__(self) -> str:
        lines = [f"migration, {self.verb}: {self.sentence}"]
        if len(self.views):
            lines += self.views.to_string(index=False).splitlines()[: _SHOWN + 1]
        for word, texts in (("problem", self.problems), ("unknown", self.unknown), ("note", self.notes)):
            lines += [f"{word}: {text}" for text in _some(texts)]
        if self.verb == "verify" and len(self.frame):
            lines += self.frame.head(_SHOWN).to_string(index=False).splitlines()
        return "\n".join(lines)

    def _page(self) -> str:
        parts: list[object] = [html.lead(html.status(self.state, _TONES[self.state]), f" {self.sentence}")]
        parts += [html.note(html.status("problem", "bad"), f" {text}") for text in _some(self.problems)]
        parts += [html.note(html.status("unknown", "unknown"), f" {text}") for text in _some(self.unknown)]
        if len(self.views):
            parts.append(html.table(self.views))
        if self.verb == "verify" and len(self.frame):
            parts.append(html.section("What differs", html.table(self.frame)))
        parts += [html.note(text) for text in self.notes]
        return html.page(f"Migration: {self.verb}", *parts, text=repr(self))


_DRAWN = ("rows", "equal", "unchanged", "differing", "expired", "unreadable", "future")


def _some(texts: Sequence[str]) -> list[str]:
    more = len(texts) - _SHOWN
    return [*texts[:_SHOWN], *([f"… and {more:,} more"] if more > 0 else [])]
