"""Old names of modules import the new ones, old arguments make the new classes, with a warning."""

import importlib
import inspect
import sys
from dataclasses import dataclass

import pytest
import tiny
import torch

from nbkit.filter.corpus.pipeline import filter_corpus
from nbkit.models.load import Shape, new_model
from nbkit.rl.trl.grpo import grpo
from nbkit.run import moved
from nbkit.sft.sft import sft


@pytest.mark.parametrize("old", sorted(moved.NAMES))
def test_an_old_name_is_the_module_of_the_new_one(old):
    sys.modules.pop(f"nbkit.{old}", None)
    new = importlib.import_module(f"nbkit.{moved.NAMES[old]}")
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


@dataclass(frozen=True)
class Sizes:
    wide: int
    deep: int
    tied: bool = True


@moved.once_separate("sizes", Sizes)
def built(name: str, sizes: Sizes, seed: int = 0, *, label: str = "", **options):
    """Builds."""
    return name, sizes, seed, label, options


@pytest.mark.parametrize(
    ("arguments", "named", "wanted"),
    [
        (("a", 1, 2, False, 7), {}, ("a", Sizes(1, 2, False), 7, "", {})),
        (("a", 1, 2, False), {"seed": 7}, ("a", Sizes(1, 2, False), 7, "", {})),
        (("a",), {"wide": 1, "deep": 2}, ("a", Sizes(1, 2), 0, "", {})),
        (("a",), {"deep": 2, "wide": 1, "tied": False, "seed": 3}, ("a", Sizes(1, 2, False), 3, "", {})),
        (("a", 1, 2), {"tied": False, "label": "x"}, ("a", Sizes(1, 2, False), 0, "x", {})),
        (("a", 1), {"deep": 2, "more": 5}, ("a", Sizes(1, 2), 0, "", {"more": 5})),
    ],
)
def test_what_is_a_class_now_may_come_as_its_fields(arguments, named, wanted):
    with pytest.warns(DeprecationWarning, match=r"built: give sizes=Sizes\(...\) in place of its fields"):
        assert built(*arguments, **named) == wanted


def test_the_new_form_is_passed_on_as_it_is():
    whole = Sizes(1, 2)
    for found in (
        built("a", whole, 7),
        built("a", sizes=whole, seed=7),
        built(name="a", sizes=whole, seed=7),
    ):
        assert found == ("a", whole, 7, "", {})
    assert built.__doc__ == "Builds." and list(inspect.signature(built).parameters)[1] == "sizes"
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'sizes'"):
        built("a")
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match="'deep'"):
        built("a", wide=1)


def test_the_functions_whose_arguments_became_a_class():
    tokenizer = tiny.tokenizer()
    with pytest.warns(DeprecationWarning, match="new_model: give shape=Shape"):
        old = new_model(tokenizer, 32, 2, 4, 2, 64, 128, True, 0)
    new = new_model(tokenizer, Shape(32, 2, 4, 2, 64, 128, True), 0)
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
    few = {"steps": 1, "prompts_per_step": 1, "group": 2, "lr": 0.1, "max_new_tokens": 2, "seed": 0}
    with (
        pytest.warns(DeprecationWarning, match="grpo: "),
        pytest.raises(ValueError, match="no question is left"),
    ):
        grpo(old, tokenizer, [], None, **few, out=None)
    with (
        pytest.warns(DeprecationWarning, match="filter_corpus: "),
        pytest.raises(ValueError, match="no saved filter"),
    ):
        filter_corpus("x", "nowhere", "out", hq_tokens=200, mq_tokens=200)
    with (
        pytest.warns(DeprecationWarning, match="sft: "),
        pytest.raises(ValueError, match="is longer; raise it"),
    ):
        chat = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]
        sft(old, tokenizer, chat, lr=0.1, batch=1, max_length=1, seed=0, out=None)
