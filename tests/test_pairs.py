"""Every rule that drops a pair, their order, and the error when none is left."""

import doctest

import pytest

from nbkit.train import pairs
from nbkit.train.pairs import broken_rule, filter_pairs

GOOD = {"prompt": "2+2?", "chosen": "4<e>", "rejected": "5<e>", "chosen_score": 1.0, "rejected_score": 0.25}
RULES = dict(
    stop="<e>", length=len, max_length=12, min_margin=0.5, contaminated=lambda prompt: "leak" in prompt
)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"prompt": ""}, "empty"),
        ({"chosen": "<e>"}, "empty"),
        ({"rejected": " \n<e>"}, "empty"),
        ({"rejected": "4<e>"}, "equal"),
        ({"rejected": "4 <e>"}, "equal"),
        ({"rejected": "4"}, "equal"),
        ({"rejected": "5"}, "truncated"),
        ({"chosen": "four"}, "truncated"),
        ({"chosen": "fourfour<e>"}, "long"),
        ({"rejected_score": 0.75}, "margin"),
        ({"rejected_score": float("nan")}, "margin"),
        ({"prompt": "leak?"}, "contaminated"),
    ],
)
def test_each_rule(change, rule):
    assert broken_rule(GOOD | change, **RULES) == rule


def test_rules_that_are_not_asked_for_do_not_apply():
    unscored = {"prompt": "leak?", "chosen": "a long answer without its stop token", "rejected": "5"}
    assert broken_rule(unscored) is None


def test_what_is_kept_and_what_each_rule_dropped():
    rows = [GOOD, GOOD | {"rejected": "5"}, GOOD | {"chosen": "9"}, GOOD | {"rejected": "4<e>"}]
    kept, counts = filter_pairs(rows, **RULES)
    assert kept == [GOOD] and counts == {"kept": 1, "truncated": 2, "equal": 1}


def test_none_left_says_which_rules():
    with pytest.raises(ValueError, match=r"none of 3 is left \(2 margin, 1 equal\); sample more"):
        same, close = GOOD | {"rejected": "4<e>"}, GOOD | {"rejected_score": 0.9}
        filter_pairs([same, close, close], **RULES)
    with pytest.raises(ValueError, match=r"none of 0 is left \(there were none\)"):
        filter_pairs([])


def test_example_in_the_docstring():
    assert doctest.testmod(pairs) == (0, 2)
