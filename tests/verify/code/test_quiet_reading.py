"""Hostile source is read without warnings, whatever the filters are; a row of MBPP may hold any text."""

import ast
import subprocess
import sys
import warnings

import pytest

from nbkit.verify import Jail, extract_code, grade_mbpp, mbpp_calls
from nbkit.verify.code.mutants import mutants
from nbkit.verify.code.pieces import compiles, parse, read_piece

F = "```"
WARNED = [
    "def f(x):\n    return 1if x else 0",
    "def f(x):\n    return x is 1",
    "def f(x):\n    return '\\d' + x",
    "def f(x):\n    return b'\\q' + x",
    "def f(x):\n    '''Divide a\\b and \\c.'''\n    return x",
    "def f(x):\n    assert (x, 'no')\n    return x",
    "def f(x):\n    return [0xfor y in x]",
    "def f(x):\n    return [1, 2] [x, 0]",
    "def f(x):\n    return 'a' (x)",
    "def f(x):\n    return x == 1and x",
    "def f(x):\n    return (1) (x)",
    "def f(x):\n    return f'{x}\\w'",
    "def f(x):\n    return '\\777' + x",
    "def f(x):\n    try:\n        return 1\n    finally:\n        return x",
]


@pytest.mark.parametrize("action", ["error", "always", "default"])
@pytest.mark.parametrize("code", WARNED)
def test_no_source_warns(code, action):
    text = f"Here:\n{F}python\n{code}\n{F}\nand\n{F}python\nassert f(1if 2 else 3)\n{F}"
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(action)
        assert parse(code) is not None and compiles(code)
        assert "f" in read_piece(code).defines
        for entry in ("f", None):
            assert extract_code(text, entry) == code
            assert extract_code(code, entry) == code
        assert isinstance(mutants(code, 3), list)
        assert mbpp_calls(["assert f(1if 2 else '\\d') == '\\w'"])[0] == "f"
    assert not shown


@pytest.mark.parametrize("filters", ["", "error", "always"])
def test_no_source_warns_in_a_process_of_its_own(filters):
    script = f"from nbkit.verify import extract_code\nfor c in {WARNED!r}: assert extract_code(c, 'f') == c"
    env = {"PYTHONWARNINGS": filters, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_warnings_are_as_they_were():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            parse(WARNED[0])
            warnings.warn("mine", UserWarning, stacklevel=1)
        compile("x = '\\d'", "mine.py", "exec")
    assert [one.filename == "mine.py" for one in shown] == [False, True]


DEEP = {
    "minus": "-" * 50_000 + "1",
    "not": "not " * 20_000 + "1",
    "brackets": "(" * 5000,
    "argument": f"assert f({'-' * 3000}1) == 1",
    "argument of nots": f"assert f({'not ' * 3000}1) == 1",
    "answer": f"assert f(1) == {'-' * 3000}1",
    "sum": f"assert f({'+'.join('1' * 8000)}) == 1",
    "answer that is a sum": f"assert f(1) == {'+'.join('1' * 8000)}",
    "attributes": f"assert f(1){'.x' * 30_000} == 1",
    "calls": f"assert f(1){'(1)' * 3000} == 1",
    "lambdas": f"assert f({'lambda: ' * 2000}1) == 1",
    "conditions": f"assert f({'a if b else ' * 3000}c) == 1",
    "nested answer": f"assert f(1) == {'[' * 90}{']' * 90}",
    "digits": f"assert f({'9' * 5000}) == 1",
    "hexadecimal": f"assert f(0x{'9' * 50_000}, x) == 1",
    "null": "assert f('a\0b') == 1",
    "surrogate": "assert f('\ud800') == 1",
    "no hash": "assert f(1) == {[]}",
    "no Python": "assert f(1) ==",
    "no text": None,
}


@pytest.mark.parametrize("name", DEEP)
def test_a_test_that_cannot_be_read_is_none(name):
    assert mbpp_calls([DEEP[name]]) is None
    assert mbpp_calls(["assert f(1) == 1", DEEP[name]]) is None


def test_a_row_that_cannot_be_read_is_infra():
    with Jail() as jail:
        for test in ("minus", "not", "brackets", "digits", "null", "surrogate", "no Python"):
            row = {"test_list": ["assert f(1) == 1", DEEP[test]]}
            assert grade_mbpp(jail, "def f(x): return x", row).status == "infra", test


def test_a_long_test_is_read():
    rows = list(range(40_000))
    assert mbpp_calls([f"assert f({rows}) == {rows[::-1]}"])[1][0].expected == rows[::-1]
    assert ast.literal_eval(repr(rows)) == rows
