"""Old names of modules import the new ones, with a warning that says which."""

import importlib
import sys

import pytest

from nbkit import _moved


@pytest.mark.parametrize("old", sorted(_moved.NAMES))
def test_an_old_name_is_the_module_of_the_new_one(old):
    sys.modules.pop(f"nbkit.{old}", None)
    new = importlib.import_module(f"nbkit.{_moved.NAMES[old]}")
    with pytest.warns(DeprecationWarning, match=f"nbkit.{old} is now {new.__name__}"):
        found = importlib.import_module(f"nbkit.{old}")
    assert found is new
    assert new.__spec__.name == new.__name__


def test_names_that_never_were_are_not_found():
    for name in ("nbkit.data.nothing", "nbkit.nothing", "nbkit.train.sfft"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_the_command_line_is_where_it_was():
    from nbkit import cli  # noqa: PLC0415  (looked up anew: that is what is tested)

    assert callable(cli.main) and callable(cli.plan)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cli.nothing
