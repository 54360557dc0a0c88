"""Synthetic tests: the solution answers, mutants fail, weak suites are dropped, texts leak nothing."""

import ast
import random

import pytest

from nbkit.verify import Call, grade, mutation_score
from nbkit.verify.code.mutants import mutants
from nbkit.verify.code.synthesis import (
    Rejected,
    Suite,
    SynthesisSettings,
    problem_fault,
    problem_request,
    public_tests,
    synthesize,
    write_problems,
)
from nbkit.verify.code.variations import vary, written

CLAMP = "def clamp(x, low, high):\n    if x < low:\n        return low\n    return high if x > high else x"
LARGEST = "def largest(xs):\n    return max(xs) if xs else None"
WALL_S = 0.5  # of the fixture `jail`


def test_only_mutants_that_equal_the_solution_survive(jail):
    examples = [[5, 0, 10], [7, 1, 9]]
    suite = synthesize(jail, CLAMP, "clamp", examples, SynthesisSettings(private=6))
    assert isinstance(suite, Suite)
    shown = [Call(args, args[0]) for args in examples]
    assert suite.public == shown[:1]
    assert mutation_score(jail, CLAMP, "clamp", suite.private) == (2, 4) and suite.mutants == 4 + 2
    equivalent = [CLAMP.replace("x < low", "x <= low"), CLAMP.replace("x > high", "x >= high")]
    assert sorted(suite.survivors) == sorted(ast.unparse(ast.parse(code)) for code in equivalent)
    assert 1 <= len(suite.private) <= 6
    strict = synthesize(jail, CLAMP, "clamp", examples, SynthesisSettings(min_score=0.9))
    assert isinstance(strict, Rejected) and "catch 4 of 6 mutants, wanted 90%" in strict.reason
    assert grade(jail, CLAMP, "clamp", suite.private).status == "pass"
    for code in suite.survivors:
        assert grade(jail, code, "clamp", suite.private).status == "pass"
    for code in set(suite.suspects) - set(suite.survivors):
        assert grade(jail, code, "clamp", suite.private).status == "fail"
    private = [repr(call.args) for call in suite.private]
    assert len(set(private)) == len(private) and not {repr(args) for args in examples} & set(private)


def test_more_tests_are_tried_while_a_mutant_passes(jail):
    step = "def step(x):\n    if x >= 5:\n        return 1\n    return 0"
    weak, total = mutation_score(jail, step, "step", [Call([9], 1), Call([1], 0)])
    suite = synthesize(jail, step, "step", [[9], [1]], SynthesisSettings(rounds=6))
    strong, same_total = mutation_score(jail, step, "step", suite.private)
    assert weak < strong == total == same_total and suite.survivors == []
    assert [5] in [call.args for call in suite.private]  # the only argument that tells >= from >


def test_remembering_the_public_tests_does_not_pay(jail):
    suite = synthesize(jail, LARGEST, "largest", [[[3, 1, 2]], [[5]]], SynthesisSettings(public=2))
    parrot = "def largest(xs): return {'[3, 1, 2]': 3, '[5]': 5}.get(repr(xs), 3)"
    assert grade(jail, parrot, "largest", suite.public).status == "pass"
    assert grade(jail, parrot, "largest", suite.private).status == "fail"
    assert not {repr(call.args) for call in suite.public} & {repr(call.args) for call in suite.private}


def test_equal_seeds_give_equal_suites(jail):
    first, again, other = (
        synthesize(jail, CLAMP, "clamp", [[5, 0, 10]], SynthesisSettings(seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("solution", "examples", "words"),
    [
        ("def f(", [[1]], "does not parse"),
        ("def f(x): return 1 / 0", [[1]], "answers none"),
        ("def g(x): return x", [[1]], "answers none"),
        ("def f(x): return object()", [[1]], "answers none"),
        ("def f(x):\n    while True: pass", [[1]], "answers none"),
        ("def f(x): return 5", [[1], [2]], "constant would pass"),
        ("def f(): return 5", [[]], "no new test"),
        ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n * x", [[1]], "same answers twice"),
    ],
)
def test_solutions_without_a_suite_are_rejected_with_the_reason(jail, solution, examples, words):
    got = synthesize(jail, solution, "f", examples)
    assert isinstance(got, Rejected) and words in got.reason, got


def test_wrong_numbers_are_value_errors(jail):
    with pytest.raises(ValueError, match="private=0"):
        synthesize(jail, CLAMP, "clamp", [[1, 0, 2]], SynthesisSettings(private=0))


VALUES = [True, 3, 2.5, "abc", "", [1, 2], [], (1, "a"), {1, 2}, {"a": [1]}, {}, None]


@pytest.mark.parametrize("value", VALUES)
def test_variations_keep_the_type(value):
    rng = random.Random(0)
    found = [vary(value, rng) for _ in range(60)]
    assert {type(one) for one in found} == {type(value)}
    assert value in (None, {}) or any(one != value for one in found)


def test_problem_texts_are_checked(jail):
    suite = synthesize(jail, CLAMP, "clamp", [[5, 0, 10]])
    request = problem_request(suite)
    assert CLAMP in request and "clamp(5, 0, 10) == 5" in request
    hidden = ", ".join(map(repr, suite.private[0].args))
    good = "Write clamp(x, low, high): it limits x to the range from low to high."
    answers = {
        good: None,
        f"<think>{CLAMP}</think>{good}": None,
        "": "0 characters",
        "Write a function that limits x to a range.": "does not name clamp",
        f"{good} Hint: return high if x > high else x": "shows a line of the solution",
        f"{good} So clamp({hidden}) is easy.": "shows a private test",
    }
    texts = write_problems([suite] * len(answers), lambda requests: [*answers][: len(requests)])
    for text, fault in zip(texts, answers.values(), strict=True):
        assert isinstance(text, Rejected) == (fault is not None), text
        assert fault in text.reason if fault else text == f"{good}\n\nIt must pass:\nclamp(5, 0, 10) == 5"
    assert problem_fault(good, suite) is None


LONG = 10**5000  # repr() refuses it


@pytest.mark.parametrize(
    ("solution", "examples"),
    [
        ("def f(n): return 10**n", [[5000], [2]]),
        ("def f(n): return n + 1", [[LONG]]),
        ("def f(xs): return [x * 2 for x in xs]", [[[LONG, 1]], [[2, 3]]]),
        ("def f(d): return {k: v - 1 for k, v in d.items()}", [[{LONG: 1, 2: LONG}], [{1: 2}]]),
        ("def f(s): return (len(s), 9**9999, s)", [["\ud800a"], ["b"]]),
        ("def f(n): return n + 0x" + "f" * 5000, [[1], [2]]),
        ("def f(n): return '\ud800'", [[1]]),
        ("def f(n): return {n, -(10**5000)}", [[1], [LONG]]),
    ],
)
def test_no_value_is_too_long_to_make_tests_of(jail, solution, examples):
    settings = SynthesisSettings(candidates=6, rounds=1, max_mutants=3, min_score=0)
    suite = synthesize(jail, solution, "f", examples, settings)
    if isinstance(suite, Rejected):
        return
    assert problem_request(suite) and public_tests(suite)
    write_problems([suite], lambda requests: ["Give the number.\ud800"])


def test_written_values_are_python():
    for value in (LONG, [LONG, 1.5], {"a": (LONG,)}, -LONG, [], {LONG: [True, "\ud800", None]}):
        assert eval(written(value)) == value  # a value of this file
        ast.parse(written(value))
    assert written([1, "a"]) == repr([1, "a"])
    with pytest.raises(ValueError, match="does not parse"):
        mutants("def f(:", 5)
    assert mutants("def f(n): return n + 0x" + "f" * 5000, 5) == []
