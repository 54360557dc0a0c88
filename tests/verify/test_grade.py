"""Grading programs: exact comparison, hostile programs earn nothing, MBPP's own solutions pass, mutants."""

import ast
import asyncio
import gzip
import json
import math
import os
import secrets
from fractions import Fraction
from pathlib import Path

import pytest

from nbkit.verify import (
    Call,
    Case,
    Jail,
    JailPool,
    JailResult,
    Verdict,
    extract_code,
    grade,
    grade_check,
    grade_humaneval,
    grade_mbpp,
    grade_program,
    mbpp_calls,
    mutation_score,
)
from nbkit.verify.code.grade import same
from nbkit.verify.code.mutants import mutants

DATA = Path(os.environ.get("NBKIT_DATA_DIR") or Path(__file__).resolve().parents[3] / "shared" / "data")
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
NESTED = "def f(x):\n    for _ in range(63): x = [x]\n    return x"
ECHO = "print(input()[::-1])"


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (ECHO, "pass", ""),
        ("import sys\nfor line in sys.stdin: print(line.strip()[::-1])", "pass", ""),
        ("print(open(0).read().strip()[::-1], end='')", "pass", ""),
        ("import os\nos.write(1, os.read(0, 99).strip()[::-1]); os._exit(0)", "pass", ""),
        (f"def main():\n    {ECHO}\nif __name__ == '__main__':\n    main()", "pass", ""),
        (f"import threading\nthreading.Thread(target=lambda: {ECHO}).start()", "pass", ""),
        (f"{ECHO}\nimport sys\nsys.exit(0)", "pass", ""),
        ("print(input()[::-1] + '  \\n\\n')", "pass", ""),
        (f"{ECHO}\nprint('more')", "fail", "wanted"),
        ("print(input()[::-1][:1])", "fail", "wanted"),
        ("print(' ' + input()[::-1])", "fail", "wanted"),
        ("pass", "fail", "wanted"),
        ("", "fail", "wanted"),
        (f"{ECHO}\nimport sys\nsys.exit(3)", "fail", "exit code 3"),
        (f"{ECHO}\nimport os, sys\nsys.stdout.flush(); os._exit(1)", "fail", "exit code 1"),
        (f"{ECHO}\n1 / 0", "fail", "ZeroDivisionError"),
        ("print(input()", "fail", "SyntaxError"),
        ("while True: print('x' * 1000)", "fail", "longer than"),
        ("import os\nos.close(1)", "fail", "wanted"),
        ("input(); input(); print(input())", "fail", "EOFError"),
    ],
)
def test_programs_are_compared_whole(jail, code, status, words):
    verdict = grade_program(jail, code, [Case("abc\n", "cba\n"), Case("xy\n", "yx")])
    assert verdict.status == status and words in verdict.detail, verdict


def test_programs_meet_only_their_input(jail):
    assert jail.run("print(input())", "日本é\0").values == ["日本é\0\n"]
    with pytest.raises(ValueError, match="surrogates"):
        jail.run("print(input())", "\ud800")
    assert jail.run("print(len(open(0).read()))", "x" * 5_000_000).values == ["5000000\n"]
    shrink = "import os\ntry:\n    os.write(0, b'x' * 9)\n    print('wrote')\nexcept OSError: print('no')"
    assert jail.run(shrink, "abc").status in ("ok", "error")
    with pytest.raises(ValueError, match="empty"):
        grade_program(jail, ECHO, [])


@pytest.mark.parametrize(
    ("code", "test", "status", "words"),
    [
        ("def f(x): return [x]", "assert candidate(1) == [1] and f(2) == [2]", "pass", ""),
        ("def f(*, k): return k", "assert candidate(k=(1, None)) == (1, None)", "pass", ""),
        (
            "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
            "assert [f(), f()] == [1, 2]",
            "pass",
            "",
        ),
        ("def f(x): raise KeyError(x)", "try: f(1)\n    except KeyError: pass", "pass", ""),
        ("def f(x): return x", "assert candidate(1) == 2, 'one is not two'", "fail", "one is not two"),
        ("def f(x): return x", "candidate(1).nope", "fail", "AttributeError"),
        ("def f(x): return f", "assert candidate(1)", "fail", "cannot return a value of type function"),
        ("def g(x): return x", "assert candidate(1)", "fail", "no function named 'f'"),
        ("def f(", "assert candidate(1)", "fail", "SyntaxError"),
        ("", "assert candidate(1)", "fail", "no function named 'f'"),
        ("def f(x):\n    while True: pass", "candidate(1)", "fail", "wall limit"),
        ("def f(x): import os; os._exit(0)", "candidate(1)", "fail", "no valid answer"),
        ("def f(x): import os; os.write(3, b'00000002{}')", "candidate(1)", "fail", "no valid answer"),
        # 9 MiB, not 99,999 as before: a test that computes what it wants may want much
        ("def f(x): return 'x' * (9 << 20)", "candidate(1)", "fail", "longer than"),
        ("def f(x): raise SystemExit(0)", "try: f(1)\n    except Exception: raise", "fail", "SystemExit"),
        ("def f(x): raise StopIteration", "assert all(map(f, [1]))", "fail", "StopIteration"),
        # ** 99, not ** 3 as before: integers may now have four million bits, HumanEval+ has such answers
        ("def f(x): return 1 << 60_000", "f(f(1) ** 99)", "fail", "bits"),
        (NESTED, "f(f(1))", "fail", "deeper"),
        ("def f(x): return x", "candidate(lambda: 1)", "infra", "not plain data"),
        ("def f(x): return x", "try: candidate(f)\n    except Exception: pass", "infra", "not plain data"),
        ("def f(x): return x", "assert (", "infra", "SyntaxError"),
        ("def f(x): return x", "import os; os._exit(0)", "infra", "ended early"),
    ],
)
def test_a_test_as_code_meets_the_program_by_value(jail, code, test, status, words):
    verdict = grade_check(jail, code, "f", f"def check(candidate):\n    {test}")
    assert verdict.status == status and words in verdict.detail, verdict
    assert grade_check(jail, "def f(): return 5", "f", "def check(c): assert c() == 5") == Verdict("pass")


def test_the_program_cannot_see_the_test(jail):
    hunt = """import gc
def f(x):
    found = [v for o in gc.get_objects() if type(o) in (dict, list, tuple)
             for v in (list(o.values()) if type(o) is dict else o) if type(v) is str and "SECRET" in v]
    return [v for v in found if v.count("0") > 30]"""
    test = f"ANSWER = 'SECRET{'0' * 40}'\ndef check(candidate):\n    assert candidate(1) == []"
    assert grade_check(jail, hunt, "f", test) == Verdict("pass")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "no function named"),
        ("#" * 10_000_000, "characters, more than"),
        ("def f(x) return x", "SyntaxError"),
        ("def g(x): return x", "no function named"),
        ("f = 5", "not callable"),
        ("def f(x): return object()", "cannot return a value of type object"),
        ("def f(x): return f", "cannot return a value of type function"),
        ("def f(x): return 1 << 10_000_000", "bits"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x):\n    x = [x]\n    x.append(x)\n    return x", "nested deeper"),
        ("def f(x): return '\\ud800' * 10", "wanted"),
        ("def f(x):\n    while True: print('x' * 9999)", "wall limit"),
        ("import sys\ndef f(x): sys.exit(0)", "SystemExit"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("def f(x): return float('nan')", "got nan"),
        ("def f(x): return float('inf')", "got inf"),
        ("def f(x): return x + 0j", "got"),
        ("def ｆ(x): return 0", "got 0"),  # Python itself reads a full-width f as f
        ("def f(x):\n    yield x", "type generator"),
        ("async def f(x): return x", "type coroutine"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_bad_programs_fail_and_never_count_as_infra(jail, code, words):
    for _ in range(2 if len(code) < 1000 else 1):
        verdict = grade(jail, code, "f", [Call([7], 7)])
        assert verdict.status == "fail" and words in verdict.detail, verdict
    assert grade(jail, ADD, "add", CALLS).status == "pass"


def test_threads_in_a_program_are_welcome(jail):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(n):\n"
        "    with ThreadPoolExecutor(4) as pool: return list(pool.map(lambda x: x * x, range(n)))"
    )
    assert grade(jail, code, "f", [Call([5], [0, 1, 4, 9, 16])]).status == "pass"


def test_a_pool_grades_in_order_from_threads_and_coroutines(jail):
    programs = [f"def f(x): return x + {number % 3}" for number in range(60)]
    wanted = ["pass" if number % 3 == 1 else "fail" for number in range(60)]
    rows = [(code, "f", [Call([1], 2)]) for code in programs]

    async def rewards(pool):
        return await asyncio.gather(*(pool.do(grade, *row) for row in rows))

    with JailPool(3) as pool:
        assert pool.tier == jail.tier
        assert [verdict.status for verdict in pool.map(grade, rows)] == wanted
        assert [verdict.status for verdict in asyncio.run(rewards(pool))] == wanted
        assert grade(pool, *rows[1]) == Verdict("pass")
        assert pool.eval("F(1, 2)").values == [Fraction(1, 2)]
        assert grade_program(pool, ECHO, [Case("ab", "ba")]) == Verdict("pass")
        assert grade_check(pool, programs[1], "f", "def check(c): assert c(1) == 2") == Verdict("pass")
        with pytest.raises(ZeroDivisionError):
            pool.lend(lambda jail: 1 / 0)
        assert len(pool.map(grade, rows)) == 60  # every jail came back
    with pytest.raises(RuntimeError, match="closed"):
        pool.call(ADD, "add", [[1, 2]])
    with pytest.raises(ValueError, match="workers=0"):
        JailPool(0)
