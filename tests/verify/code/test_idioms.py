"""What ordinary programs and tests do, and the jail must let them do; tricks that it must not reward."""

import pytest

from nbkit.verify import Call, Case, grade, grade_check, grade_program
from nbkit.verify.code.printed import same_output

FAST = """import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
    def read(self):
        return os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
data = FastIO(sys.stdin).read()
assert FastIO(sys.stdout).writable
print(len(data), data.decode().strip())"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from __future__ import annotations\nprint(input())", "7 8"),
        ("print(input())\nexit()", "7 8"),
        ("print(input())\nquit(0)\nprint(1)", "7 8"),
        (FAST, "4 7 8"),
        ("import os\nprint(os.read(0, 10**9).decode())", "7 8"),
        ("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", "7 8"),
        ("import atexit\natexit.register(print, 'end')\nprint(input())", "7 8\nend"),
        (
            "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 5\n"
            "async def g(): return sum(await asyncio.gather(f(), f(), asyncio.to_thread(int, 3)))\n"
            "print(asyncio.run(g()))",
            "13",
        ),
        ("from pathlib import Path\nprint(Path('a') / 'b.txt')", "a/b.txt"),
        ("import pickle\nprint(pickle.loads(pickle.dumps([1])))", "[1]"),
        ("from multiprocessing import Pool\nimport multiprocessing\nprint(1)", "1"),
        (
            "import sys, threading\nsys.setrecursionlimit(10**7)\nthreading.stack_size(2**29)\n"
            "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
            "t = threading.Thread(target=lambda: print(f(20000)))\nt.start()\nt.join()",
            "20000",
        ),
        (
            "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\nprint(f(50000))",
            "50000",
        ),
        ("print(10**5000)", "1" + "0" * 5000),
        ("print(open(0).read())", "7 8"),
        ("print(open('/dev/stdin').read())", "7 8"),
        ("import sys\ninput = sys.stdin.readline\nprint(sum(map(int, input().split())))", "15"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_STACK, (-1, -1))\nprint(1)", "1"),
        ("import fileinput\nprint([line.strip() for line in fileinput.input()])", "['7 8']"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(1) == P(1))",
            "True",
        ),
        (
            "import doctest\ndef main(): print(1)\nif __name__ == '__main__':\n    main()",
            "1",
        ),
    ],
)
def test_programs_that_run_elsewhere_run_here(jail, code, expected):
    verdict = grade_program(jail, code, [Case("7 8\n", expected)])
    assert verdict.status == "pass", verdict


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import numpy", "standard library"),
        ("open('/etc/passwd')", "files, processes"),
        ("import os\nos.stat('/etc/passwd')", "files, processes"),
        ("from multiprocessing import Process\nProcess(target=print).start()", "files, processes"),
        ("import socket\nsocket.socket()", "files, processes"),
    ],
)
def test_a_refusal_says_that_the_jail_is_the_reason(jail, code, words):
    verdict = grade_program(jail, code, [Case("", "1")])
    assert verdict.status == "fail" and words in verdict.detail, verdict


def test_a_program_that_ends_itself_has_loaded(jail):
    code = "import unittest\ndef f(x): return x\nunittest.main()"
    assert grade(jail, code, "f", [Call([1], 1)]).status == "pass"
    assert grade(jail, "import sys\nsys.exit()\ndef f(x): return x", "f", [Call([1], 1)]).status == "fail"


COLLECTIONS = "from collections import *\n"


@pytest.mark.parametrize(
    ("code", "test"),
    [
        (
            "class Bad(ValueError): pass\ndef f(): raise Bad('no', 1)",
            "try: c()\n    except ValueError as e: assert e.args == ('no', 1)\n    else: assert 0",
        ),
        (
            "import json\ndef f(): return json.loads('{')",
            "import json\n    try: c()\n    except json.JSONDecodeError: pass\n    else: assert 0",
        ),
        (
            "class A(KeyError): pass\nclass B(A): pass\ndef f(): raise B(3)",
            "try: c()\n    except LookupError as e: assert e.args[0] == 3\n    else: assert 0",
        ),
        ("def f():\n    yield from (1, 2)", "assert list(c()) == [1, 2]"),
        (
            "import itertools\ndef f(): return itertools.count(3)",
            "g = c()\n    assert (next(g), next(g)) == (3, 4)",
        ),
        ("def f(): return zip('ab', [1, 2])", "assert dict(c()) == {'a': 1, 'b': 2}"),
        (
            f"{COLLECTIONS}P = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
            "assert c() == (1, 2) and c().y == 2",
        ),
        ("def f(): return range(3)", "assert c() == range(3)"),
        (f"{COLLECTIONS}def f(): return deque([1], 2)", "assert c().maxlen == 2 and list(c()) == [1]"),
        ("from decimal import Decimal\ndef f(): return Decimal('0.10')", "assert str(c()) == '0.10'"),
        ("import enum\nclass C(enum.IntEnum):\n    A = 1\ndef f(): return C.A", "assert c() == 1"),
        (
            "import enum\nclass C(enum.Enum):\n    A = 'q'\ndef f(): return C.A",
            "assert c().name == 'A' and c() is c()",
        ),
        (f"{COLLECTIONS}def f(): return Counter('aab')", "assert c().most_common(1) == [('a', 2)]"),
        (
            f"{COLLECTIONS}def f():\n    d = defaultdict(list)\n    d[1].append(2)\n    return d",
            "assert c() == {1: [2]}",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(): return [P(5)]",
            "assert c()[0].x == 5 and c() == c()",
        ),
        ("def f(): return {1: 2}.keys()", "assert c() == {1}"),
        ("def f(): return (1j, b'a', frozenset({2}))", "assert c() == (1j, b'a', frozenset({2}))"),
    ],
)
def test_values_and_exceptions_reach_a_test(jail, code, test):
    verdict = grade_check(jail, code, "f", f"def check(c):\n    {test}")
    assert verdict.status == "pass", verdict


@pytest.mark.parametrize("base", ["list", "tuple", "dict", "set", "int", "str", "float", "bytes", "object"])
def test_an_equality_of_its_own_earns_nothing(jail, base):
    code = f"class E({base}):\n    def __eq__(s, o): return True\n    __hash__ = None\ndef f(): return E()"
    for wanted in ([1], (1,), {1: 1}, {1}, 1, "a", 1.5, b"a", None):
        assert grade(jail, code, "f", [Call([], wanted)]).status == "fail"
    test = "def check(c):\n    assert c() in ([1], (1,), {1: 1}, {1}, 1, 'a', 1.5, b'a')"
    assert grade_check(jail, code, "f", test).status == "fail"


@pytest.mark.parametrize("kind", ["StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit"])
def test_no_exception_ends_a_test_quietly(jail, kind):
    code = f"class Own({kind}): pass\ndef f(x): raise Own"
    assert grade_check(jail, code, "f", "def check(c):\n    assert all(map(c, [1, 2]))").status == "fail"


def test_numpy_in_a_test(jail):
    pytest.importorskip("numpy")
    test = "import numpy as np\ndef check(c):\n    assert np.allclose(c(2), [2, 2 + 1e-9])"
    assert grade_check(jail, "def f(x): return [x, x]", "f", test).status == "pass"
    assert grade_check(jail, "def f(x): return [x, x + 1]", "f", test).status == "fail"


def test_answers_as_long_as_what_is_expected(jail):
    calls = [Call([n], [n] * 500) for n in range(1000)]  # 7 MB, more than the 64 KiB of an unknown answer
    assert grade(jail, "def f(n): return [n] * 500", "f", calls).status == "pass"
    wrong = grade(jail, "def f(n): return [n] * (500 if n < 999 else 501)", "f", calls)
    assert wrong.status == "fail" and "call 1000" in wrong.detail
    assert "longer than" in grade(jail, "def f(n): return [n] * 10**4", "f", calls).detail


@pytest.mark.parametrize(
    ("printed", "expected", "equal"),
    [
        ("0.6666666666", "0.666667", True),
        ("2.5", "2.5000000", True),
        ("3", "3.0", True),
        ("[0.1, 0.30000000000000004]", "[0.1, 0.3]", True),
        ("x = 1e-07", "x = 1.0e-7", True),
        ("0.33", "0.3333", False),
        ("1000000.5", "1000000.6", True),
        ("1000001", "1000000", False),
        ("3.0", "3", False),
        ("1.0 2", "1.0 3", False),
        ("10.0.0.10", "10.0.0.1", False),
        ("v1.50", "v1.5", False),
        (" 0.5", "0.5", False),
        ("0.5 0.5", "0.5", False),
        ("nan", "0.5", False),
        ("1e999", "1e400", False),
        ("5\n\n", "5", True),
    ],
)
def test_decimal_fractions_that_are_printed(printed, expected, equal):
    assert same_output(printed, expected) is equal
