"""The tree of errors: codes, exit codes, and the way from one process to another."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator

import pytest

from core import errors
from core.errors import CounterfoilError, InputError, TemplateError


def tree(root: type[CounterfoilError] = CounterfoilError) -> Iterator[type[CounterfoilError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


importlib.import_module("storage.base")
ALL = list(tree())


def test_the_docstring_shows_the_tree() -> None:
    for kind in ALL:
        if kind.__module__ == "core.errors":
            assert kind.__name__ in (errors.__doc__ or ""), kind


@pytest.mark.parametrize("kind", ALL)
def test_an_error_crosses_processes_whole(kind: type[CounterfoilError]) -> None:
    error = kind("It is bad.", hint="Make it good.", code="a-code")
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is kind
    assert (other.message, other.hint, other.code) == ("It is bad.", "Make it good.", "a-code")
    assert str(other) == "It is bad. Make it good."


def test_a_code_is_of_the_kind_unless_it_is_given() -> None:
    assert InputError("x").code == "bad-input"
    assert TemplateError("x").code == "bad-template"
    assert str(InputError("Only this.")) == "Only this."


def test_exit_codes_tell_kinds_apart() -> None:
    direct = [one for one in CounterfoilError.__subclasses__() if one.__module__ == errors.__name__]
    assert len({kind.exit_code for kind in direct}) == len(direct)
    assert all(kind.exit_code > 1 for kind in direct)
    assert TemplateError.exit_code == InputError.exit_code
