"""Every rule that drops a pair, their order, and the error when none is left."""

import doctest

import numpy as np
import pytest
import tiny

from nbkit.dpd import pairs
from nbkit.dpd.pairs import broken_rule, filter_pairs, pair_up, sample_pairs
from nbkit.dpd.trainer import tokenized
from nbkit.models.engine import Completion
from nbkit.tasks.skills import Task
from nbkit.verify.errors import GraderError

GOOD = {"prompt": "2+2?", "chosen": "4<e>", "rejected": "5<e>", "chosen_score": 1.0, "rejected_score": 0.25}
RULES = dict(
    stop="<e>",
    length=len,
    max_length=12,
    min_score=0.9,
    min_margin=0.5,
    contaminated=lambda prompt: "leak" in prompt,
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
        ({"chosen_score": 0.8}, "score"),
        ({"chosen_score": float("nan")}, "score"),
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


def test_the_tokens_that_were_sampled_count_where_they_are_known():
    assert broken_rule(GOOD | {"rejected_ids": [1] * 9}, **RULES) == "long"
    assert broken_rule(GOOD | {"rejected_ids": [1] * 8}, **RULES) is None
    (row,) = tokenized(tiny.tokenizer(), [GOOD | {"chosen_ids": [7, 8, 9], "rejected_ids": []}])
    assert row["chosen_ids"] == [7, 8, 9] and tiny.tokenizer().decode(row["rejected_ids"]) == GOOD["rejected"]


def test_a_rule_on_scores_wants_scores():
    with pytest.raises(ValueError, match=r"prompt '2\+2\?' has no chosen_score"):
        filter_pairs([{"prompt": "2+2?", "chosen": "4", "rejected": "5"}], min_margin=0.5)


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


def said(text, stopped=True):
    return Completion(text, list(text.encode()), "stop" if stopped else "length")


def test_the_pair_is_the_best_against_the_worst_of_what_ended():
    good = [said("1"), said("cut, but scored", False), said("2"), said("3")]
    bad = [said("cut", False), said("4"), said("5"), said("6")]
    pair = pair_up("q", good, bad, [0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.5, 0.5], "<e>")
    assert pair == {
        "prompt": "q",
        "chosen": "2<e>",
        "chosen_ids": [ord("2")],
        "chosen_score": 1.0,
        "rejected": "5<e>",
        "rejected_ids": [ord("5")],
        "rejected_score": 0.5,
    }


def test_where_nothing_ended_the_rule_on_truncation_says_so():
    pair = pair_up("q", [said("1")], [said("4", False), said("5", False)], [1.0], [0.0, 0.0], "<e>")
    assert pair["rejected"] == "4" and broken_rule(pair, stop="<e>") == "truncated"


TASKS = [
    Task("add", "math", 1, "train", f"What is {a} + {b}?", (), str(a + b), "number")
    for a, b in ((3, 4), (2, 2), (1, 1))
]


class Says:
    """An engine that gives the same texts to every prompt, and keeps what it was asked."""

    def __init__(self, *texts):
        self.texts, self.asked = texts, {}

    def sample(self, prompts, n, **options):
        self.asked = {"prompts": list(prompts), "n": n} | options
        return [[said(self.texts[i % len(self.texts)]) for i in range(n)] for _ in prompts]


def test_sampled_pairs_are_scored_by_the_verifier():
    teacher, student = Says("7", "4"), Says("7", "4", "9")
    options = dict(counts=(2, 3), stop="<e>", seed=5, temperature=1.0)
    found = sample_pairs(TASKS, tiny.tokenizer(), teacher, student, None, **options)
    assert [(p["chosen"], p["rejected"]) for p in found] == [
        ("7<e>", "4<e>"),
        ("4<e>", "7<e>"),
        ("7<e>", "7<e>"),
    ]
    assert [(p["chosen_score"], p["rejected_score"]) for p in found] == [(1, 0), (1, 0), (0, 0)]
    assert [p["teacher_mean"] for p in found] == [0.5, 0.5, 0.0]
    assert found[0]["student_mean"] == pytest.approx(1 / 3) and found[0]["question"] == TASKS[0].question
    assert (teacher.asked["n"], student.asked["n"]) == (2, 3) and teacher.asked["temperature"] == 1.0
    assert teacher.asked["seed"] != student.asked["seed"], "the two must not draw from one stream"
    assert teacher.asked["prompts"] == student.asked["prompts"] and "3 + 4" in teacher.asked["prompts"][0]
    assert filter_pairs(found, stop="<e>", min_score=1.0, min_margin=0.5)[1] == {"kept": 2, "equal": 1}


def test_an_answer_of_the_student_without_a_chain_is_an_ordinary_one():
    teacher, student = Says("<think>3 + 4 = 7</think>7"), Says("<think>3 + 4 = 7</think>7", "8", "7")
    options = dict(counts=(1, 3), stop="<e>", seed=0)
    (wrong,) = sample_pairs(TASKS[:1], tiny.tokenizer(), teacher, student, None, **options)
    assert (wrong["rejected"], wrong["rejected_score"], wrong["student_mean"]) == ("8<e>", 0.0, 2 / 3)
    assert filter_pairs([wrong], stop="<e>", min_score=1.0, min_margin=0.5)[1] == {"kept": 1}
    # A right one is no bad response, though it lacks the chain of the good one.
    (right,) = sample_pairs(TASKS[:1], tiny.tokenizer(), teacher, Says("7"), None, **options)
    assert right["rejected_score"] == 1.0
    assert broken_rule(right, stop="<e>", min_score=1.0, min_margin=0.5) == "margin"


def test_a_question_that_the_jail_could_not_grade_makes_no_pair(monkeypatch):
    scores = np.ma.array(np.zeros((3, 2)), mask=[[0, 0], [1, 1], [0, 0]])
    monkeypatch.setattr(pairs, "verdicts", lambda *args, **kwargs: scores)
    options = dict(counts=(1, 1), stop="<e>", seed=0)
    found = sample_pairs(TASKS, tiny.tokenizer(), Says("1"), Says("2"), None, **options)
    assert [p["question"] for p in found] == [TASKS[0].question, TASKS[2].question]


def test_a_broken_jail_is_no_reason_to_drop_pairs_in_silence(monkeypatch):
    def broken(task, text, jail):
        raise GraderError("no worker")

    monkeypatch.setattr(pairs, "partial_credit", broken)
    with pytest.raises(GraderError, match="no worker"):
        sample_pairs(TASKS, tiny.tokenizer(), Says("1"), Says("2"), None, counts=(1, 1), stop="", seed=0)


def test_example_in_the_docstring():
    assert doctest.testmod(pairs) == (0, 3)


@pytest.mark.parametrize(
    ("min_score", "min_margin", "words"),
    [
        (1.0, 0.6, "is right and its bad one scores at least 0.6 less"),
        (0.5, 0.25, "scores at least 0.5 and its bad one scores at least 0.25 less"),
        (0.0, 0.0, "has any score, right or wrong, and its bad one scores no more"),
    ],
)
def test_the_notebook_says_which_pairs_are_kept(min_score, min_margin, words):
    assert pairs.kept_when(min_score, min_margin) == f"a pair is kept when its good response {words}"
