"""Completion in the kernel, and so in every front end: subcommands, options, views, features, variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.completer import SimpleCompletion, context_matcher

from feastra_nb.notebook import options
from feastra_nb.notebook.arguments import split_words
from feastra_nb.notebook.subcommands import COMMANDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from feastra_nb.notebook.arguments import LineParser
    from feastra_nb.notebook.magics import FeastraMagics

_LINE = re.compile(r"^\s*(?:[\w.\[\]'\"]+\s*=\s*)?%feastra\s(.*)$")
_CELL = re.compile(r"^%%feastra\s(.*)$")
_CQL = re.compile(r"^(?:%%cql\s|\s*(?:[\w.]+\s*=\s*)?%cql\s)(.*)$")
_BODY_WORD = re.compile(r"[\w.]*$")
_HELP, _ABOUT_HELP = "--help", "show all options and an example"
_LONGEST_ABOUT = 60  # characters that fit beside a word
_UNBROKEN = str.maketrans({" ": "\N{NO-BREAK SPACE}", "-": "\N{NON-BREAKING HYPHEN}"})
# What a front end shows beside the words; beside subcommands and options it shows what they are for.
SUBCOMMAND, OPTION, VALUE, VIEW, FEATURE, FRAME, COLUMN, WORKSPACE = KINDS = (
    "subcommand", "option", "value", "view", "feature", "frame", "column", "workspace",
)  # fmt: skip


class Word(NamedTuple):
    """What can stand at the cursor, which of `KINDS` it is, and what it is for, where that is known."""

    text: str
    kind: str
    about: str = ""

    @property
    def beside(self) -> str:
        """What a front end shows beside it: the one text for which IPython's protocol has room, in one line."""
        about = self.about if len(self.about) <= _LONGEST_ABOUT else f"{self.about[: _LONGEST_ABOUT - 1]}…"
        # JupyterLab would break it at each space and hyphen, and lays the lines over the next word's.
        return about.translate(_UNBROKEN) or self.kind


def _all(kind: str, texts: Iterable[str]) -> list[Word]:
    return [Word(text, kind) for text in texts]


class Completion:
    """What can stand where the cursor is; the answer is empty, never an error, where that is not known.

    Parameters
    ----------
    magics
        Whose workspace names views and features.
    """

    def __init__(self, magics: FeastraMagics) -> None:
        self._magics = magics

        @context_matcher(identifier="feastra")  # type: ignore[untyped-decorator]
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self.matcher = matcher

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        text = context.full_text.split("\n")[context.cursor_line][: context.cursor_position]
        first = context.full_text.split("\n", 1)[0]
        try:
            fragment, found = self._found(text, first if context.cursor_line else "")
        except Exception:  # noqa: BLE001 - a wrong line, a registry out of reach: Tab is not a place for an error
            fragment, found = "", ()
        words = [
            SimpleCompletion(text=word.text, type=word.beside)
            for word in dict.fromkeys(found)
            if word.text.startswith(fragment)
        ]
        # In our order: what is most likely meant stands first, and options, which sort before letters, last.
        return {"completions": words, "matched_fragment": fragment, "suppress": bool(words), "ordered": True}

    def _found(self, text: str, first: str) -> tuple[str, Iterable[Word]]:
        """Return what stands before the cursor of the word, and what it can become."""
        if first.startswith("%%feastra"):
            return self._in_query(text)
        line = _LINE.match(text) or (None if first else _CELL.match(text))
        if line:
            words, fragment = _words(line[1])
            return fragment, self._in_line(words, fragment)
        if not first and (line := _CQL.match(text)):
            words, fragment = _words(line[1])
            return fragment, self._of_parser(options.cql_parser(), words, fragment)
        return "", ()

    def _in_line(self, words: Sequence[str], fragment: str) -> Iterable[Word]:
        if not words:
            named = (Word(name, SUBCOMMAND, command.summary) for name, command in COMMANDS.items() if " " not in name)
            return [*named, Word(_HELP, OPTION, _ABOUT_HELP)]
        name, rest = words[0], words[1:]
        targets = [
            Word(full_name.split()[1], SUBCOMMAND, command.summary)
            for full_name, command in COMMANDS.items()
            if full_name.startswith(f"{name} ")
        ]
        if rest and rest[0] in {target.text for target in targets}:
            name, rest, targets = f"{name} {rest[0]}", rest[1:], []
        if name not in COMMANDS:
            return ()
        offered = self._of_parser(COMMANDS[name].parser(name), rest, fragment)
        return [*(targets if not rest else ()), *offered]

    def _of_parser(self, parser: LineParser, words: Sequence[str], fragment: str) -> Iterable[Word]:
        """Return options, or the values that the option before the cursor, or the next place in the line, takes."""
        takes_value = {name: action for name, action in parser.options().items() if action.nargs != 0}
        unused = [
            Word(name, OPTION, action.help or "") for name, action in parser.options().items() if name not in words
        ]
        unused.append(Word(_HELP, OPTION, _ABOUT_HELP))
        if fragment.startswith("-"):
            return unused
        if words and words[-1] in takes_value:
            return self._values(takes_value[words[-1]], fragment)
        last = next((word for word in reversed(words) if word in takes_value), None)
        several = [] if last is None or takes_value[last].nargs != "+" else self._values(takes_value[last], fragment)
        places = [
            value for action in _open_places(parser, words, takes_value) for value in self._values(action, fragment)
        ]
        return [*several, *places, *unused]

    def _values(self, action: argparse.Action, fragment: str) -> Sequence[Word]:
        kind = str(action.metavar or "")
        named: Mapping[str, Callable[[], Sequence[Word]]] = {
            options.VIEW: self._views,
            options.FEATURES: lambda: self._features(fragment),
            options.FEATURE: lambda: self._features(fragment),
            options.FRAME: self._frames,
            options.FRAME_OR_DICT: self._frames,
            options.FRAME_OR_VIEW: lambda: [*self._frames(), *self._views()],
            options.WORKSPACE: self._workspaces,
        }
        return named[kind]() if kind in named else _all(VALUE, (word for word in kind.split("|") if word.islower()))

    # --- what there is ---

    def _views(self) -> list[Word]:
        workspace = self._magics.workspace(self._magics.variables({}))
        return _all(VIEW, (view.name for view in workspace.feast.list_all_feature_views(allow_cache=True)))

    def _features(self, fragment: str) -> list[Word]:
        """Return the views, and of the view that is written, or the only one that fits, the features."""
        workspace = self._magics.workspace(self._magics.variables({}))
        views = {view.name: view for view in workspace.feast.list_all_feature_views(allow_cache=True)}
        named = fragment.partition(":")[0]
        fitting = [named] if named in views else [name for name in views if fragment and name.startswith(fragment)]
        features = [f"{name}:{feature.name}" for name in fitting[:1] for feature in views[name].features]
        return [*_all(VIEW, views), *_all(FEATURE, features if len(fitting) == 1 else ())]

    def _frames(self) -> list[Word]:
        from feastra_nb.notebook.entity_query import frames_among

        return _all(FRAME, frames_among(self._magics.variables({})))

    def _workspaces(self) -> list[Word]:
        from feastra_nb.notebook.magics import workspaces_among

        return _all(WORKSPACE, workspaces_among(self._magics.variables({})))

    def _in_query(self, text: str) -> tuple[str, Iterable[Word]]:
        """Return the DataFrames that a query may name, and their columns."""
        from feastra_nb.notebook.entity_query import frames_among

        word = _BODY_WORD.search(text)
        fragment = word[0] if word else ""
        frames = frames_among(self._magics.variables({}))
        table, dot, _column = fragment.rpartition(".")
        if dot:
            return fragment, _all(COLUMN, (f"{table}.{name}" for name in _columns(frames.get(table))))
        columns = _all(COLUMN, (name for frame in frames.values() for name in _columns(frame)))
        return fragment, [*_all(FRAME, frames), *columns]


def _words(text: str) -> tuple[list[str], str]:
    """Return the whole words of an unfinished line, and the word that the cursor is in."""
    if not text or text[-1].isspace():
        return split_words(text), ""
    words = split_words(text)
    return words[:-1], words[-1]


def _open_places(
    parser: LineParser, words: Sequence[str], takes_value: Mapping[str, argparse.Action]
) -> list[argparse.Action]:
    """Return the next place in a line that no word fills yet; none where all are filled."""
    filled = sum(
        not word.startswith("-") and (not place or words[place - 1] not in takes_value)
        for place, word in enumerate(words)
    )
    places = parser.places()
    if filled < len(places):
        return [places[filled]]
    return [last for last in places[-1:] if last.nargs == "+"]


def _columns(frame: Any) -> list[str]:
    names = getattr(frame, "columns", [])
    return [str(name) for name in (getattr(frame, "column_names", None) or names)]
