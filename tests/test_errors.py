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


def test_a_notebook_shows_two_lines():
    lines = errors.ConfigurationError("token is empty", hint="pass one")._render_traceback_()
    assert lines == ["ConfigurationError: token is empty", "Hint: pass one"]


def test_an_incomplete_write_carries_its_counts():
    error = pickle.loads(pickle.dumps(errors.WriteIncomplete("stopped", acknowledged=3, rows=5)))
    assert (error.acknowledged, error.rows) == (3, 5)


def test_the_tree_in_the_docstring_names_every_error():
    for cls in leaves(errors.FeastraError):
        assert cls.__name__ in errors.__doc__
