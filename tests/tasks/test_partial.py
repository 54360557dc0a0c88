"""Partial credit: near misses get a part, right answers 1, and a failing jail is no score."""

import pytest

from nbkit.tasks import partial
from nbkit.tasks.partial import partial_credit
from nbkit.tasks.skills import Task, verify
from nbkit.text.tool_calls import tool_call
from nbkit.verify.errors import GraderError

CALLS = (((2,), 4), ((3,), 9), ((0,), 0), ((1,), 1))
SQUARE = Task("square", "code", 1, "train", "Square x.", (), "", "code", CALLS, "f")
RAIN = Task("rain", "agent", 1, "train", "Rain in Oslo?", (), tool_call("weather", city="Oslo"), "tool")
SUM = Task("add", "math", 1, "train", "What is 3 + 4?", (), "7", "number")


@pytest.mark.parametrize(
    ("code", "score"),
    [
        ("def f(x): return x * x", 1.0),
        ("def f(x): return x * 2", 0.5),  # 2 and 0 are right, 3 and 1 are not
        ("def f(x): return 7", 0.0),
        ("def f(x): return", 0.0),
        ("def g(x): return x * x", 0.0),
        ("no code", 0.0),
    ],
)
def test_a_program_scores_the_share_of_calls_that_come_out_right(jail, code, score):
    assert partial_credit(SQUARE, f"<think>square it</think>{code}", jail) == score
    assert verify(SQUARE, code, jail) == (score == 1.0)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (tool_call("weather", city="Oslo"), 1.0),
        (tool_call("weather", city="Rome"), 0.5),
        (tool_call("alarm", city="Oslo"), 0.0),
        ("It rains.", 0.0),
        ("<tool_call>not json</tool_call>", 0.0),
    ],
)
def test_the_right_tool_with_other_arguments_is_half_right(answer, score):
    assert partial_credit(RAIN, f"<think>the weather</think>{answer}", None) == score


def test_other_kinds_are_right_or_wrong():
    assert [partial_credit(SUM, text, None) for text in ("<think>3 + 4 = 7</think>7", "8")] == [1.0, 0.0]


def test_one_job_runs_all_calls_so_that_what_one_breaks_stays_broken(jail):
    once = "seen = []\ndef f(x):\n    seen.append(x)\n    return x * x if len(seen) == 1 else None"
    assert partial_credit(SQUARE, once, jail) == 0.25


def test_an_endless_loop_scores_nothing_and_a_jail_that_fails_gives_no_score(jail, monkeypatch):
    assert partial_credit(SQUARE, "def f(x):\n    while True: pass", jail) == 0.0
    monkeypatch.setattr(partial, "share_passed", lambda *args: None)
    with pytest.raises(GraderError, match="could not grade a square answer"):
        partial_credit(SQUARE, "def f(x): return x * 2", jail)
    with pytest.raises(ValueError, match="jail"):
        partial_credit(SQUARE, "def f(x): return x * 2", None)
