"""The program in an answer: which blocks, whatever the fences, in linear time, for any text."""

import io
import sys

import pytest

from nbkit.verify import extract_code
from nbkit.verify.code.blocks import complete

F = "```"
ADD = "def add(a, b):\n    return a + b"


def block(body, label="python"):
    return f"{F}{label}\n{body}\n{F}\n"


def value(code, expression="add(2, 3)"):
    """What the expression is after the program has run. Only for programs of this file."""
    names = {"__name__": "candidate"}
    exec(compile(code, "<test>", "exec"), names)
    return eval(expression, names)


@pytest.mark.parametrize(
    "later",
    [
        "def test_add():\n    assert add(1, 2) == 9",
        "import pytest\n\n@pytest.mark.parametrize('a', [1])\ndef test_it(a):\n    assert add(a, a) == 3",
        "import unittest\n\nclass AddTest(unittest.TestCase):\n    def test_one(self):\n        self.fail()",
        "from unittest import TestCase, main\nclass Checks(TestCase):\n    pass\nmain()",
        "assert add(1, 2) == 4",
        "print(add(1, 2))",
        "add(1, 2)  # 3",
        "from solution import add\nassert add(1, 2) == 3",
        "from main import add\n\ndef test_add():\n    assert add(1, 2) == 3",
        "import unittest\nfrom your_module import add\nclass T(unittest.TestCase):\n    pass",
        "from unittest import TestCase\nclass T(TestCase):\n    from solution import add",
        "from solution import add\nprint(add(1, 2))",
        "from .solution import add as add\nprint(add(1, 2))",
        "add = add\nprint(add(1, 2))",
        "def test_a():\n    assert add(0, 0) == 0\n\ndef test_b():\n    pass\n\ntest_a()\ntest_b()",
    ],
)
@pytest.mark.parametrize("entry", [None, "add"])
def test_tests_and_usage_after_the_solution(later, entry):
    assert extract_code(f"The code:\n{block(ADD)}Tests:\n{block(later)}", entry) == ADD


def test_tests_before_the_solution_and_functions_that_are_called_test():
    assert extract_code(block("def test_add():\n    assert add(1, 2) == 3") + block(ADD)) == ADD
    only = "def test_distinct(xs):\n    return len(xs) == len(set(xs))"
    assert extract_code(block(only)) == only
    assert extract_code(block(only) + block("print(test_distinct([1]))"), "test_distinct") == only


@pytest.mark.parametrize(
    ("blocks", "expression", "wanted"),
    [
        (["def plus(a, b):\n    return a + b", "def add(a, b):\n    return plus(a, b)"], "add(2, 3)", 5),
        (["import math", "def add(a, b):\n    return math.floor(a) + b"], "add(2.5, 3)", 5),
        (
            ["from math import *", "import math\nZERO = 0", "def add(a, b):\n    return a + b + ZERO"],
            "add(2, 3)",
            5,
        ),
        (["def add(a, b):\n    return last(a, b)", "def last(a, b):\n    return a + b"], "add(2, 3)", 5),
        (["A = 1", "B = A + 1", "def add(a, b):\n    return a + b + B - 2"], "add(2, 3)", 5),
        (["class Box:\n    n = 5", "def add(a, b):\n    return Box().n"], "add(2, 3)", 5),
        (["def draft(a, b):\n    return 0", "def add(a, b):\n    return 1", ADD], "add(2, 3)", 5),
        ([ADD, "def twice(a):\n    return add(a, a)"], "twice(4)", 8),
        ([ADD, "def other(a):\n    return a"], "add(2, 3)", 5),
        ([ADD, "def add(a, b):\n    ..."], "add(2, 3)", 5),
        ([ADD, "def add(a, b):\n    return ("], "add(2, 3)", 5),
        (
            [
                "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int",
                "def add(a, b):\n    return P(a + b).x",
            ],
            "add(2, 3)",
            5,
        ),
    ],
)
def test_what_the_solution_needs_stands_in_other_blocks(blocks, expression, wanted):
    assert value(extract_code("Then:\n".join(map(block, blocks))), expression) == wanted


SIEVE = (
    "N = 50\ns = [True] * N\nfor i in range(2, N):\n    for j in range(2 * i, N, i):\n        s[j] = False"
)
COUNT = "def plus(a, b):\n    global calls\n    calls += 1\n    return a + b"


@pytest.mark.parametrize("entry", [None, "add"])
@pytest.mark.parametrize(
    ("blocks", "last"),
    [
        (["T = [0] * 5\nfor i in range(5):\n    T[i] = i"], "a + T[b]"),
        ([SIEVE + "\nP = [i for i in range(2, N) if s[i]]\nprint(P)"], "P[a]"),
        (["memo = {}\nmemo.update({2: 5})\nprint(memo)"], "memo[a]"),
        (["calls = 0\n" + COUNT], "plus(a, b)"),
        (["calls = 0", COUNT], "plus(a, b)"),
        (["if True:\n    def plus(a, b):\n        return a + b"], "plus(a, b)"),
        (["for K in range(6):\n    pass"], "K"),
        (["from math import *"], "int(sqrt(25))"),
        (["def plus(a):\n    return plus.c[a]\nplus.c = {}\nplus.c[2] = 5\nprint(plus(2))"], "plus(a)"),
        (["def plus(a):\n    return a + 3\nwrapped = plus\nplus = lambda a: wrapped(a)"], "plus(a)"),
        (["try:\n    import nothing\nexcept ImportError:\n    nothing = 5"], "nothing"),
        (["def plus(a):\n    return a + 3", "from solution import plus\nprint(plus(1))"], "plus(a)"),
    ],
)
def test_setup_in_other_blocks(blocks, last, entry):
    code = extract_code("".join(map(block, [*blocks, f"def add(a, b):\n    return {last}"])), entry)
    assert value(code) == 5 and "print" not in code


def test_settings_of_python_come_along():
    code = extract_code(block("import sys\nsys.setrecursionlimit(10**6)") + block(ADD), "add")
    assert code == f"import sys\n\nsys.setrecursionlimit(10**6)\n\n{ADD}"


TWICE = "def twice(n):\n    return n * 2"
MAIN = "def main():\n    print(int(input()) * 2)"
SCRIPT = "n = int(input())\nprint(n * 2)"


@pytest.mark.parametrize(
    "blocks",
    [
        [TWICE, "n = int(input())\nprint(twice(n))"],
        ["n = int(input())\n" + TWICE, "print(twice(n))"],
        ["n = int(input())", TWICE, "print(twice(n))"],
        ["import sys\n" + TWICE, "for line in sys.stdin:\n    print(twice(int(line)))"],
        [MAIN, "if __name__ == '__main__':\n    main()"],
        ["import sys\nsys.setrecursionlimit(5000)\n" + MAIN, "main()", "assert 1"],
        [TWICE, "def main():\n    print(twice(int(input())))", "main()"],
        [SCRIPT, "x = n * 2"],
        [SCRIPT, "n * 2"],
        [SCRIPT, "print(n * 2)"],
        [SCRIPT, "def test_it():\n    assert True"],
        ["a = []\nfor _ in range(1):\n    a.append(int(input()))", "print(sum(a) * 2)"],
    ],
)
def test_whole_programs_in_several_blocks(blocks, monkeypatch, capsys):
    limit = sys.getrecursionlimit()
    monkeypatch.setattr("sys.stdin", io.StringIO("21\n"))
    exec(extract_code("Then:\n".join(map(block, blocks))), {"__name__": "__main__"})
    sys.setrecursionlimit(limit)
    assert capsys.readouterr().out == "42\n"


def test_what_nobody_needs_stays_out():
    text = block("n = int(input())\nprint(n)") + block("def add(a, b):\n    n = a\n    return n + b")
    assert "input" not in extract_code(text)
    assert extract_code(block("import numpy\ndef old(a):\n    return a") + block(ADD)) == ADD
    future = "from __future__ import annotations\ndef add(a: X, b: X):\n    return plus(a, b)"
    code = extract_code(block("def plus(a, b):\n    return a + b") + block(future))
    assert code.startswith("from __future__") and value(code) == 5


def test_whole_programs():
    assert extract_code(block("import sys") + block("print(sys.stdin.read())")) == (
        "import sys\n\nprint(sys.stdin.read())"
    )
    assert (
        extract_code(block("print(int(input()) + 1)") + "Output:\n" + block("42", ""))
        == "print(int(input()) + 1)"
    )
    assert extract_code(block("def main():\n    print(1)") + block("main()")).endswith("main()")


def test_a_prompt_completes_an_answer():
    prompt = "from typing import List\n\ndef half(x):\n    return x / 2\n\ndef f(x: List[int]):\n    'Doc.'\n"
    assert complete("def f(x: List[int]):\n    return half(x)", prompt).startswith(
        "from typing import List\n\ndef half"
    )
    assert complete(ADD, prompt) == ADD and complete("def f(", prompt) == "def f("
