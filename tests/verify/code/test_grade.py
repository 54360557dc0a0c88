"""Grading programs: exact comparison, hostile programs earn nothing, MBPP's own solutions pass, mutants."""

import ast
import gzip
import json
import math
import os
import secrets
from pathlib import Path

import pytest

from nbkit.verify import (
    Call,
    Jail,
    JailResult,
    Verdict,
    extract_code,
    grade,
    grade_humaneval,
    grade_mbpp,
    mbpp_calls,
    mutation_score,
)
from nbkit.verify.code.grade import same
from nbkit.verify.code.mutants import mutants

DATA = Path(os.environ.get("NBKIT_DATA_DIR") or Path(__file__).resolve().parents[4] / "shared" / "data")
ADD = "def add(a, b): return a + b"
CALLS = [Call([2, 3], 5), Call([-1, 1], 0)]
WALL_S = 2.0  # of the fixture `jail`


@pytest.mark.parametrize(
    ("got", "expected", "equal"),
    [
        (1, 1, True),
        (True, 1, False),
        (1, 1.0, True),
        (1, True, True),
        (2, True, False),
        (10**400, math.inf, False),
        (0.1 + 0.2, 0.3, True),
        (1.0, 1.0 + 1e-8, False),
        (-0.0, 0.0, True),
        (math.nan, math.nan, True),
        (math.nan, 0.0, False),
        (math.inf, 1e308, False),
        ([1, 2], (1, 2), False),
        ([1, 2], [1, 2, 3], False),
        ([1, [2.0]], [1, [2.0]], True),
        ({1, 2}, {2, 1}, True),
        ({1}, {True}, False),
        ({1}, frozenset({1}), False),
        ({(1, 2)}, {(1, True)}, False),
        ({"a": 1, "b": [0.3]}, {"b": [0.1 + 0.2], "a": 1}, True),
        ({1: "x"}, {True: "x"}, False),
        ({1: 0}, {1: 0, 2: 0}, False),
        (None, None, True),
        (b"a", "a", False),
    ],
)
def test_same_is_exact_in_type_and_value(got, expected, equal):
    assert same(got, expected) is equal


def test_verdicts_and_rewards(jail):
    assert grade(jail, ADD, "add", CALLS) == Verdict("pass")
    wrong = grade(jail, "def add(a, b): return 5", "add", CALLS)
    assert (wrong.status, wrong.detail) == ("fail", "call 2 of 2: wanted 0, got 5")
    assert grade(jail, "def add(a, b): return True", "add", [Call([0, 1], 1)]).status == "fail"
    assert "ZeroDivision" in grade(jail, "def add(a, b): 1 / 0", "add", CALLS).detail
    assert grade(jail, "def add(a, b) return a", "add", CALLS).status == "fail"
    assert grade(jail, "def add(a, b): return 1 << 60000", "add", CALLS).status == "fail"
    assert [Verdict(status).reward for status in ("pass", "fail", "infra")] == [1.0, 0.0, None]


def test_tests_that_cannot_judge_are_refused(jail):
    with pytest.raises(ValueError, match="empty"):
        grade(jail, ADD, "add", [])
    with pytest.raises(ValueError, match="type object"):
        grade(jail, ADD, "add", [Call([1, 2], object())])


def test_infra_is_not_a_fail():
    class Broken:
        def call(self, *_):
            return JailResult("infra", [], "worker lost")

    verdict = grade(Broken(), ADD, "add", CALLS)
    assert verdict == Verdict("infra", "worker lost") and verdict.reward is None
    with pytest.raises(ValueError, match="must pass its own tests"):
        mutation_score(Broken(), ADD, "add", CALLS)


def test_the_expectation_is_never_in_the_jail(jail):
    secret = secrets.randbits(200)
    hunt = """import gc, sys
def add(a, b):
    found = [v for o in gc.get_objects() if type(o) in (dict, list, tuple)
             for v in (list(o.values()) if type(o) is dict else o) if type(v) is int and v.bit_length() > 150]
    return found[0] if found else None"""
    assert grade(jail, hunt, "add", [Call([2, 3], secret)]).detail.endswith("got None")


def test_extract_code():
    first, second = "def f():\n    return 1", "print(f())"
    assert extract_code(f"Here:\n```python\n{first}\n```\nUse it:\n```python\n{second}\n```") == first
    assert extract_code(f"```\n{second}\n```") == second
    assert extract_code(f"<think>```python\ndef g(): pass\n```</think>\n```py\n{first}\n```") == first
    assert extract_code(f"```python\n{first}") == first
    assert extract_code(f"```bash\nls\n```\n```python\n{first}\n```") == first
    assert extract_code(f"  {first}\n") == first


def test_mbpp_calls():
    assert mbpp_calls(["assert f([1], x) == 2"]) == ("f", [Call("f([1], x)", 2)])
    assert mbpp_calls(["assert int(f(1, k=2)) == 2"]) == ("f", [Call("int(f(1, k=2))", 2)])
    assert mbpp_calls(["assert sum([1], 2) == 3"]) == ("sum", [Call([[1], 2], 3)])
    assert mbpp_calls(["assert f(1) == f(2)"]) is None
    assert mbpp_calls(["assert f(1) == 2", "assert g(1) == 2"]) is None
    assert mbpp_calls(["assert set(f(1)) == set([2])"]) is None
    assert mbpp_calls(["assert f(1)"]) is None
    assert mbpp_calls(["import os\nassert f(1) == 2"]) is None
    assert mbpp_calls([]) is None
    entry, calls = mbpp_calls(["assert f([1, -2], 'a') == (True, {'k': None})"])
    assert (entry, calls) == ("f", [Call([[1, -2], "a"], (True, {"k": None}))])


def test_mutants_change_one_thing():
    code = "def f(a):\n    return a + 1 if 0 < a <= 3 else True"
    found = mutants(code, 100)
    assert sorted(found) == sorted(
        "def f(a):\n    return " + body
        for body in [
            "a - 1 if 0 < a <= 3 else True",
            "a + 2 if 0 < a <= 3 else True",
            "a + 1 if 1 < a <= 3 else True",
            "a + 1 if 0 <= a <= 3 else True",
            "a + 1 if 0 < a < 3 else True",
            "a + 1 if 0 < a <= 4 else True",
            "a + 1 if 0 < a <= 3 else False",
            "a + 1 if not 0 < a <= 3 else True",
        ]
    )
    assert mutants(code, 3) == mutants(code, 3) and len(mutants(code, 3)) == 3
    assert mutants("def f(s):\n    'text'\n    return s", 9) == []
    for mutant in found:
        ast.parse(mutant)
    with pytest.raises(ValueError, match="does not parse"):
        mutants("def f(:", 3)


def test_mutation_score_tells_strong_tests_from_weak_ones(jail):
    code = "def sign(x):\n    if x > 0:\n        return 1\n    if x < 0:\n        return -1\n    return 0"
    weak, strong = [Call([5], 1)], [Call([x], s) for x, s in [(2, 1), (1, 1), (0, 0), (-1, -1), (-2, -1)]]
    weak_killed, total = mutation_score(jail, code, "sign", weak)
    strong_killed, same_total = mutation_score(jail, code, "sign", strong)
    assert total == same_total == len(mutants(code, 20))
    assert weak_killed < strong_killed == total
    with pytest.raises(ValueError, match="must pass its own tests"):
        mutation_score(jail, code, "sign", [Call([5], -1)])


def rows(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the mirror of {path.parent.name} is absent: set NBKIT_DATA_DIR")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def patient(jail):
    """A jail with the default limits: one call of MBPP/123 takes 1 to 3.7 s of processor time."""
    with Jail() as warm:
        yield warm


def test_every_mbpp_reference_passes_and_impostors_fail(jail, patient):
    tasks = rows("mbpp/mbpp.jsonl.gz")
    failed = [(t["task_id"], v) for t in tasks if (v := grade_mbpp(patient, t["code"], t)).status != "pass"]
    assert failed == [] and len(tasks) == 974
    impostors = 0
    for task in tasks[:200]:
        entry, calls = mbpp_calls(task["test_list"])
        echoes = all(type(c.args) is list and c.args and same(c.args[0], c.expected) for c in calls)
        impostor = f"def {entry}(*args): return args[0] if args else None"
        impostors += not echoes
        assert grade_mbpp(jail, impostor, task).status == ("pass" if echoes else "fail")
    assert impostors > 190


def test_every_humaneval_reference_passes_and_impostors_fail(jail):
    tasks = rows("humaneval/test.jsonl.gz")
    code = [task["prompt"] + task["canonical_solution"] for task in tasks]
    failed = [
        (t["task_id"], v)
        for t, c in zip(tasks, code, strict=True)
        if (v := grade_humaneval(jail, c, t)).status != "pass"
    ]
    assert failed == [] and len(tasks) == 164
    for task in tasks:
        impostor = f"def {task['entry_point']}(*args): return args[0]"
        assert grade_humaneval(jail, impostor, task).status == "fail", task["task_id"]


@pytest.mark.parametrize(
    "answer",
    [
        "```python\n    return sum(xs)\n```",
        "    return sum(xs)",
        "return sum(xs)",
        "    x = sum(xs)\n    return x",
        "    if not xs:\n        return 0\n    return xs[0] + total(xs[1:])",
        "```python\n    def go(i):\n        return xs[i] if i >= 0 else 0\n"
        "    return sum(map(go, range(len(xs))))\n```",
        "```\nx = 0\nfor y in xs:\n    x += y\nreturn x\n```",
        "```python\n    import math\n    return int(math.fsum(xs))\n```",
        "def total(xs: List[int]) -> int:\n    return sum(xs)",
    ],
)
def test_a_continuation_of_the_prompt_whose_margin_is_lost(jail, answer):
    prompt = 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """The sum."""\n'
    test = "def check(candidate):\n    assert candidate([1, 2, 4]) == 7 and candidate([]) == 0"
    row = {"prompt": prompt, "entry_point": "total", "test": test}
    assert grade_humaneval(jail, extract_code(answer), row) == Verdict("pass")
    assert grade_humaneval(jail, extract_code(answer.replace("return", "return 1 +")), row).status == "fail"


COUNTER = "n = 0\ndef f():\n    global n\n    n += 1\n    return n"
