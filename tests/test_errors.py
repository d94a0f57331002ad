"""Errors: one root, two lines in a notebook, safe to send between processes."""

import pickle

import pytest

from feastra_nb import errors


def leaves(cls):
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize("cls", leaves(errors.FeastraError))
def test_every_error_survives_pickling_with_message_and_hint(cls):
    error = pickle.loads(pickle.dumps(cls("it broke", hint="mend it")))
    assert type(error) is cls
    assert str(error) == "it broke\nHint: mend it"


@pytest.mark.parametrize("cls", [leaf for leaf in leaves(errors.FeastraError) if leaf is not errors.FeastraError])
def test_every_leaf_is_also_a_builtin_error(cls):
    builtins = [
        base for base in cls.__mro__ if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
    ]
    assert builtins


@pytest.mark.parametrize("mode", ["Context", "Plain", "Minimal", "Verbose"])
def test_a_notebook_shows_two_lines_whatever_its_mode(shell, capsys, mode):
    shell.run_line_magic("xmode", mode)
    capsys.readouterr()
    shell.run_cell("from feastra_nb.errors import *\nraise ConfigurationError('token is empty', hint='pass one')")
    assert capsys.readouterr().out.split("\n")[:2] == ["ConfigurationError: token is empty", "Hint: pass one"]


def test_an_error_shows_its_traceback_where_that_is_asked_for():
    error = errors.ConfigurationError("token is empty")
    error.shows_traceback = True
    try:
        raise error from ValueError("below")
    except errors.ConfigurationError:
        (text,) = error._render_traceback_()
    assert "ValueError: below" in text
    assert text.rstrip().endswith("ConfigurationError: token is empty")


def test_an_incomplete_write_carries_its_counts():
    error = pickle.loads(pickle.dumps(errors.WriteIncomplete("stopped", acknowledged=3, rows=5)))
    assert (error.acknowledged, error.rows) == (3, 5)


def test_the_tree_in_the_docstring_names_every_error():
    for cls in leaves(errors.FeastraError):
        assert cls.__name__ in errors.__doc__
