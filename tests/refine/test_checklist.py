"""Checklist, critique, vote and opinions, by hand."""

import json
import os
from math import log
from pathlib import Path

import pytest
from test_refine import Scripted, done

from nbkit.refine import critique
from nbkit.refine.checklist import Item, checklist, has_content
from nbkit.refine.critique import inspect, judge, vote
from nbkit.tasks import sets
from nbkit.tasks.skills import sample
from nbkit.tasks.world import instruction

GOOD = "<think>3 + 4 = 7</think>7"
OFF = "<think>3 + 4 = 8</think>8"


@pytest.mark.parametrize(
    ("instruction", "kinds"),
    [
        ("Is 27 even or odd?", ["choice"]),
        ("Name the larger of 3 and 12.", ["choice"]),
        ("What is 3 + 4?", ["number", "supported"]),
        ("Find the speed for 150 km in 5 hours, in km/h?", ["number", "supported", "unit"]),
        ("How many apples are left?", ["number", "supported"]),
        ("Sort 5, 3, 9.", ["items", "ascending"]),
        ("Spell ice backwards.", ["items", "first"]),
        ("Repeat fox 4 times.", ["copies"]),
        ("Put key in quotes.", ["wrapped"]),
        ("What is the first letter of tree?", ["letter"]),
        ("Evaluate [9, 8, 4][2].", ["literal"]),
        ("Use a tool to compute 3 + 4.", ["tool"]),
        ("Write a Python function g that increases x by 4.", ["defines", "runs"]),
        ("Write the Python function f. It must pass: assert f(1) == 2", ["defines", "tests"]),
        ("Describe the sea in at most 20 words.", ["at most words"]),
        ("List three rivers as JSON.", ["json"]),
        ("What is the capital of Egypt?", []),
        (
            "Tom has 3 bags with 10 apples each, sold at 2 dollars. How many dollars in all?",
            ["number", "supported"],
        ),
        ("Write a function in python to rotate a list. assert rot([1], 2) == [1]", []),
        ("Write a Python function named rot. It must pass: assert rot([1], 2) == [1]", ["defines", "tests"]),
        (f"Tools:\n{json.dumps({'name': 'count', 'description': 'how many'})}\nHello?", ["known tool"]),
        ("The tool calc returned 7 points. What is the value?", []),
    ],
)
def test_the_checklist_follows_the_instruction(instruction, kinds):
    items = checklist(instruction)
    assert [item.kind for item in items] == ["finished", "reasons", "arithmetic", *kinds]
    assert has_content(items) == bool(kinds)
    assert all(str(item) and "{" not in str(item) for item in items)


def test_a_model_may_add_items_in_words():
    items = checklist("What is the capital of Egypt?", ["names one city"])
    assert str(items[-1]) == "names one city" and has_content(items)


def test_no_reference_answer_of_the_world_fails_its_own_checklist(jail):
    tasks = (
        sample(300, "train", seed=11) + sample(100, "operands", seed=11) + sample(100, "template", seed=11)
    )
    for task in tasks:
        draft = done(f"<think>{task.chain}</think>{task.answer}")
        unmet = [c for c in inspect(checklist(task.question), draft, jail) if not c.met]
        assert not unmet, (task.question, unmet)


@pytest.mark.parametrize(
    ("instruction", "text", "comment"),
    [
        ("What is 3 + 4?", OFF, "3 + 4 = 8 is false"),
        ("What is 3 + 4?", "7", "no reasoning"),
        ("What is 3 + 4?", "<think></think>7", "no reasoning"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>many", "not a number"),
        ("What is 3 + 4?", "<think>3 + 4 = 7</think>9", "the steps do not end in 9"),
        ("Find the speed for 6 km in 2 hours, in km/h?", "<think>6 / 2 = 3</think>3 m/s", "the unit is km/h"),
        ("Is 27 even or odd?", "<think>7</think>prime", "not one of even, odd"),
        ("Sort 5, 3, 9.", "<think>x</think>3, 5", "other items"),
        ("Sort 5, 3, 9.", "<think>x</think>5, 3, 9", "not in order"),
        ("Spell ice backwards.", "<think>x</think>i c e", "begins with e"),
        ("Repeat fox 3 times.", "<think>x</think>fox fox", "not 3 times"),
        ("Put key in quotes.", "<think>x</think>key", "not in quotes"),
        ("What is the first letter of tree?", "<think>x</think>q", "not one letter of it"),
        ("Evaluate [9, 8][1:].", "<think>x</think>eight", "not a Python value"),
        ("Use a tool to compute 1 + 1.", "<think>x</think>2", "must call a tool"),
        (
            'Tools:\n{"name": "a"}\nGo.',
            '<think>x</think><tool_call>{"name": "b", "arguments": {}}</tool_call>',
            "calls none of a",
        ),
        ("What is 30 / 9?", "<think>30 / 9 = 3.34</think>3.34", "30 / 9 = 3.34 is false"),
        ("Write a Python function f that lowers x.", "<think>x</think>def g(x): return x", "must define f"),
        ("Write a Python function f that lowers x.", "<think>x</think>def f(x): return y", "does not run"),
        ("Describe it in at most 2 words.", "<think>x</think>one two three", "over 2 words"),
        ("List them as JSON.", "<think>x</think>{a", "not JSON"),
    ],
)
def test_each_check_fires_and_says_what_is_wrong(jail, instruction, text, comment):
    unmet = [c for c in inspect(checklist(instruction), done(text), jail) if not c.met]
    assert comment in [c.comment for c in unmet]
    assert all(c.score == 0 and c.evaluator in ("form", "tool") for c in unmet)


@pytest.mark.parametrize(
    "chain",
    ["10 / 3 = 3.33", "2 * 3 + 4 = 10", "10 - 2 - 3 = 5", "1,000 + 500 = 1,500", "1.5 + 2 = 3.5"],
)
def test_true_equations_of_every_form_are_not_called_false(jail, chain):
    draft = done(f"<think>{chain}</think>{chain.rpartition('= ')[2]}")
    assert all(c.met for c in inspect(checklist("How many are there?"), draft, jail))


def test_functions_of_several_arguments_run(jail):
    items = checklist("Write a Python function add that sums two numbers.")
    assert all(c.met for c in inspect(items, done("<think>x</think>def add(a, b): return a + b"), jail))


@pytest.mark.parametrize("name", ["gsm8k", "mbpp", "glaive_toolcall"])
def test_reference_answers_of_real_sets_pass_their_own_checklists(jail, name, monkeypatch):
    """The rules were written for the embedded world; this is what they do to questions of people."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    if "NBKIT_DATA_DIR" not in os.environ:
        if not shared.is_dir():
            pytest.skip("set NBKIT_DATA_DIR to the mirrors of the real sets")
        monkeypatch.setenv("NBKIT_DATA_DIR", str(shared))
    tasks = [t for t in sets.real_tasks(name, "train", 100, seed=1) if t.steps or name != "gsm8k"]
    failed = []
    for task in tasks:
        draft = done(f"<think>{task.chain or 'thinking'}</think>{task.answer}")
        failed += [
            (task.question[:80], c) for c in inspect(checklist(instruction(task)), draft, jail) if not c.met
        ]
    assert len(failed) <= 0.03 * len(tasks), failed


@pytest.mark.parametrize("draft", [done(GOOD, "length"), done(GOOD, "context"), done("", "error"), done("")])
def test_cut_failed_and_empty_drafts_are_not_finished(jail, draft):
    unmet = [c.comment for c in inspect(checklist("What is 3 + 4?"), draft, jail) if not c.met]
    assert unmet[0] == "not finished"


def test_tests_of_the_instruction_run_in_the_jail(jail):
    items = checklist("Write the Python function f. It must pass: assert f(1) == 2")
    right, wrong = (done(f"<think>x</think>def f(x): return x + {k}") for k in (1, 2))
    assert all(c.met for c in inspect(items, right, jail))
    assert [c.evaluator for c in inspect(items, wrong, jail) if not c.met] == ["tool"]


def test_what_a_draft_commits_to():
    number, code, other = (Item("number"),), (Item("defines", ("f",)),), ()
    assert {
        critique.committed(f"<think>x</think>{a}", number) for a in ("18", "$18", "18.0", "It is 18.")
    } == {"18"}
    assert critique.committed("<think>x</think>about 30 people", other) == "about 30 people"
    one, two = "def f(x):\n    return x", "def f(x): return x"
    assert critique.committed(one, code) == critique.committed(two, code)
    inside = "def f(xs):\n    for x in xs:\n        y = x\n        return y"
    outside = "def f(xs):\n    for x in xs:\n        y = x\n    return y"
    assert critique.committed(inside, code) != critique.committed(outside, code)


def test_the_vote_by_hand():
    answers = ["5", "6", "5", "7"]
    found = vote(answers, [1, 1, 1, 1], 4)
    assert [(c.score, c.comment) for c, _ in found] == [
        (0.5, ""),
        (0.25, "others say 5"),
        (0.5, ""),
        (0.25, "others say 5"),
    ]
    assert [agreement for _, agreement in found] == [1 / 3, 0, 1 / 3, 0]
    # judges that doubt both fives turn the vote, 0.2 + 0.2 against 0.9 of 1.4, but not the agreement
    weighted = vote(answers, [0.2, 0.9, 0.2, 0.1], 4)
    assert [c.met for c, _ in weighted] == [False, True, False, False]
    assert weighted[1][0].score == pytest.approx(0.9 / 1.4)
    assert [agreement for _, agreement in weighted] == [1 / 3, 0, 1 / 3, 0]


def test_agreement_is_that_of_other_candidates_only():
    assert [a for _, a in vote(["5", "5", "6", "6"], [1] * 4, 2)] == [1, 1, 0, 0]  # revisions are no evidence
    assert vote(["5"], [1.0], 1)[0][1] == 0  # nobody else to agree
    assert [a for _, a in vote(["", ""], [0.0, 0.0], 2)] == [0, 0]
    six = vote(["7", *["a", "b", "c", "d", "e"]], [1.0, 0, 0, 0, 0, 0], 6)
    assert six[0][0].score == 1 and six[0][1] == 0  # alone in its form is not agreement


def test_what_judges_say_becomes_critiques():
    answers = {
        "a": done("right", logprobs=[log(0.8), log(0.9)]),
        "b": done("wrong: 3 + 4 = 8", logprobs=[log(0.7), 0.0]),
        "c": done("I like it"),
        "d": done("1: met\n2: unmet, no units\n9: unmet\nwrong: the answer"),
        "e": done("Right."),
        "f": done(""),
        "g": done("<think>hm</think>right", logprobs=[log(0.01), 0.0]),
        "h": done("Verdict: wrong, no unit"),
    }
    engine = Scripted(lambda request, i: answers[request])
    items = (Item("finished"), Item("number"))
    got = judge(engine, list("abcdefgha"), [items] * 9, 20)
    assert [(round(c[-1].score, 2), c[-1].comment) for c in got] == [
        (0.8, ""),
        (0.3, "judged wrong: 3 + 4 = 8"),
        (0.5, ""),
        (0.0, "judged wrong: the answer"),
        (1.0, ""),
        (0.5, ""),
        (1.0, ""),
        (0.0, "judged wrong: no unit"),
        (0.8, ""),
    ]
    assert [(c.item, c.score, c.comment) for c in got[3][:-1]] == [
        ("stops by itself", 1.0, ""),
        ("answers with a number", 0.0, "no units"),
    ]
    assert engine.asked == list("abcdefgh")  # equal requests once
