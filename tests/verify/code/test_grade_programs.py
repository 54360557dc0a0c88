"""Whole programs, tests as code, and a pool that grades in order."""

import asyncio
from fractions import Fraction

import pytest

from nbkit.verify import (
    Call,
    Case,
    JailPool,
    Verdict,
    grade,
    grade_check,
    grade_program,
)

ADD = "def add(a, b): return a + b"
CALLS = [Call([2, 3], 5), Call([-1, 1], 0)]
WALL_S = 2.0  # of the fixture `jail`
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
