"""Partial credit: near misses get a part, right answers 1, and a failing jail is no score."""

import pytest

from nbkit.refine import draft_checks
from nbkit.tasks.partial import partial_credit
from nbkit.tasks.skills import Task, verify
from nbkit.text.tool_calls import tool_call
from nbkit.verify import Call, JailResult, Verdict
from nbkit.verify.code.grade import share_passed
from nbkit.verify.errors import GraderError, settled

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


class Broken:
    """A jail that fails at everything."""

    def call(self, *arguments, **options) -> JailResult:
        return JailResult("infra", [], "no workers")

    eval = call


@pytest.mark.parametrize(
    "read",
    [
        lambda: verify(SQUARE, "def f(x): return x", Broken()),
        lambda: partial_credit(SQUARE, "def f(x): return x", Broken()),
        lambda: share_passed(Broken(), "def f(x): return x", "f", [Call([2], 4)]),
        lambda: draft_checks._runs(None, "", "def f(x): return x", ("f",), Broken()),
        lambda: draft_checks._tests(None, "", "def f(x): return x", ["assert f(2) == 4"], Broken()),
        lambda: settled(JailResult("infra", [], "no workers"), "work"),
        lambda: settled(Verdict("infra", "no workers"), "work"),
    ],
)
def test_outside_of_the_graders_a_failure_is_always_the_one_error(read):
    with pytest.raises(GraderError, match="the jail could not .*: no workers"):
        read()


@pytest.mark.parametrize("status", ["pass", "fail"])
def test_what_is_graded_is_settled(status):
    assert settled(Verdict(status, "so"), "grade") == Verdict(status, "so")


def test_an_endless_loop_scores_nothing_and_a_jail_that_fails_gives_no_score(jail):
    assert partial_credit(SQUARE, "def f(x):\n    while True: pass", jail) == 0.0
    with pytest.raises(GraderError, match="the jail could not run the calls: no workers"):
        partial_credit(SQUARE, "def f(x): return x * 2", Broken())
    with pytest.raises(ValueError, match="jail"):
        partial_credit(SQUARE, "def f(x): return x * 2", None)
