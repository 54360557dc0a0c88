"""Rewards for steps, and the three ways to decide an answer."""

import pytest

from nbkit.rl import process
from nbkit.tasks.skills import Task, sample, verify
from nbkit.tasks.world import answer_turn
from nbkit.text.tool_calls import tool_call
from nbkit.verify.errors import GraderError

ADD = Task(
    "add",
    "math",
    1,
    "train",
    "What is 38 + 25?",
    ("30 + 20 = 50", "8 + 5 = 13", "50 + 13 = 63"),
    "63",
    "number",
)
WORDS = Task("day", "general", 1, "train", "Which day?", ("0 Monday, 1 Tuesday",), "Tuesday")


def credit(task, *lines, answer="x"):
    chain = "\n".join(lines)
    return process.step_credit(task, f"<think>{chain}</think>{answer}")


@pytest.mark.parametrize(
    ("lines", "share"),
    [
        (ADD.steps, 1.0),
        (ADD.steps[:2], 2 / 3),
        (("30 + 20 = 50", "8 + 5 = 12", "50 + 12 = 62"), 1 / 3),
        (("30 + 20 = 40", *ADD.steps[1:]), 0.0),
        (("8 + 5 = 13", "30 + 20 = 50", "50 + 13 = 63"), 1.0),  # another order, all of it true
        (("25 + 25 = 50", *ADD.steps[1:]), 1.0),  # another way to the same result
        ((), 0.0),
    ],
)
def test_lines_count_up_to_the_first_that_fails(lines, share):
    assert credit(ADD, *lines) == pytest.approx(share)


@pytest.mark.parametrize(
    "lines",
    [
        ["1 + 1 = 2", "2 + 2 = 4", "3 + 3 = 6"],  # true and about something else
        ["so", "we", "see"],
        ["63", "63", "63"],
    ],
)
def test_filler_pays_nothing(lines):
    assert credit(ADD, *lines) == 0


def test_what_is_added_or_repeated_pays_nothing():
    assert credit(ADD, *ADD.steps, *ADD.steps) == pytest.approx(0.5)
    assert credit(ADD, "30 + 20 = 50", "30 + 20 = 50", "30 + 20 = 50") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "lines",
    [
        ["38 + 25 = 63", "63 + 0 = 63", "63 + 0 + 0 = 63"],  # once there, nothing more pays
        ["30 + 20 = 50", "50 + 0 = 50", "50 + 0 + 0 = 50"],
        ["30 + 20 = 50", "50 * 1 = 50", "0 + 50 = 50"],
        ["38 + 25 = 63", "25 * 2 = 50", "63 - 50 = 13"],  # the answer first, then what led to it
    ],
)
def test_a_result_pays_once(lines):
    assert credit(ADD, *lines) == pytest.approx(1 / 3)


@pytest.mark.parametrize("line", ["63 + 0 = 63", "49 + 1 = 50", "26 / 2 = 13", "70 - 20 = 50"])
def test_a_result_must_come_from_what_is_known(line):
    assert credit(ADD, line) == 0


def test_neither_constants_nor_what_the_question_says_is_a_result():
    task = Task("x", "math", 1, "train", "What is 5 - 3 + 5?", ("5 - 3 = 2", "2 + 5 = 7"), "7", "number")
    assert credit(task, "1 + 1 = 2") == 0 and credit(task, *task.steps) == 1.0
    same = Task("x", "math", 1, "train", "What is 5 + 0 + 3?", ("5 + 0 = 5", "5 + 3 = 8"), "8", "number")
    assert credit(same, "5 * 1 = 5") == 0 and credit(same, *same.steps) == 1.0


def test_steps_in_words_must_be_the_solutions():
    assert credit(WORDS, "0 Monday, 1 Tuesday") == 1.0
    assert credit(WORDS, "0 Monday, 1 Sunday") == 0.0


def test_the_worked_solutions_of_the_world_hold():
    for task in sample(1500, "train", seed=5, levels=(1, 4)):
        text = f"<think>{answer_turn(task)['reasoning_content']}</think>{task.answer}"
        assert process.step_credit(task, text) == 1.0, task


def test_the_string_check_knows_one_spelling_only():
    half = Task("x", "math", 1, "train", "?", (), "1/2", "number")
    assert process.same_text(half, "<think>a</think> 1/2") and not process.same_text(half, "0.5")
    assert verify(half, "0.5")
    rain = Task("rain", "agent", 1, "train", "?", (), tool_call("weather", city="Oslo"), "tool")
    assert process.same_text(rain, tool_call("weather", city="Oslo"))


def test_the_agent_overrules_a_no_only_where_it_computes():
    asked = []

    def model(messages):
        asked.append(messages)
        return "<verdict>different</verdict>"

    check = process.agentic(model)
    assert check(ADD, "63", None) and not asked, "what the exact paths accept needs no opinion"
    assert not check(ADD, "64", None) and len(asked) == 1
    assert not check(WORDS, "Monday", None) and len(asked) == 1, "words are not computed"
    assert not check(ADD, "", None) and len(asked) == 1


def test_the_computing_agent_works_an_answer_out(jail):
    check = process.agentic(process.computing)
    assert not check(ADD, "64", jail)
    formula = Task("f", "math", 1, "train", "?", (), "(x + 1)^2", "math")
    assert check(formula, "the answer is $x^2 + 2x + 1$", jail)
    assert not check(formula, "the answer is $x^2 + 2x + 2$", jail)
    assert not check(formula, "__import__('os').system('true')", jail)


def test_an_agent_that_fails_is_no_verdict():
    def model(messages):
        raise OSError("no line")

    with pytest.raises(GraderError, match="the agentic verifier failed: the model failed: OSError"):
        process.agentic(model)(ADD, "64", None)
