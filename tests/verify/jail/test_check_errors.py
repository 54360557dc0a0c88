"""What a test as code sees of an exception of the program, and what a program cannot do with one."""

import pytest

from nbkit.verify import grade_check
from nbkit.verify.jail.inside import jail_codec

OWN = "class E({bases}):\n    {body}\ndef f(x): {raised}"


def own(bases, raised="raise E('m')", body="pass"):
    return OWN.format(bases=bases, body=body, raised=raised)


def caught(kind, line="pass", star=""):
    return f"try: c('x')\n    except{star} {kind} as e: {line}\n    else: assert 0"


def check(jail, code, line, before=""):
    return grade_check(jail, code, "f", f"{before}\ndef check(c):\n    {line}")


WITH_CODE = "def __init__(s, code):\n        super().__init__('x')\n        s.code = code"
SILENT = "def __init__(s, code): s.code = code\n    def __str__(s): return f'code {s.code}'"
GROUP = "raise ExceptionGroup('g', [ValueError(1), KeyError('k')])"
NESTED = "raise ExceptionGroup('g', [TypeError(2), ExceptionGroup('h', [OSError(2, 'no')])])"
SEEN = [
    # what an exception carries beside its arguments
    ("import json\ndef f(x): json.loads('[1,')", caught("ValueError", "assert (e.pos, e.lineno) == (3, 1)")),
    ("import json\ndef f(x): json.loads('{')", caught("json.JSONDecodeError", "assert e.doc == '{'")),
    (own("ValueError", "raise E(7)", WITH_CODE), caught("ValueError", "assert e.code == 7")),
    (own("Exception", "raise E({'a': [1]})", WITH_CODE), caught("Exception", "assert e.code == {'a': [1]}")),
    (own("Exception", "raise E(7)", SILENT), caught("Exception", "assert str(e) == 'code 7'")),
    (own("Exception", "raise E(7)", "code = 404"), caught("Exception", "assert e.code == 404")),
    (own("Exception", body="@property\n    def code(s): return len(s.args)"),
     caught("Exception", "assert e.code == 1")),
    (own("Exception", "raise E(7)", "__slots__ = ('n',)\n    def __init__(s, n): s.n = n"),
     caught("Exception", "assert e.n == 7")),
    ("def f(x):\n    e = ValueError(1)\n    e.hint = ('a', 2)\n    raise e",
     caught("ValueError", "assert e.hint == ('a', 2)")),
    ("def f(x):\n    e = ValueError(1)\n    e.add_note('look')\n    raise e",
     caught("ValueError", "assert e.__notes__ == ['look']")),
    ("def f(x): b'ab\\xff'.decode()", caught("UnicodeDecodeError", "assert (e.start, e.end, e.object) == "
     "(2, 3, b'ab\\xff') and e.encoding == 'utf-8' and 'start' in e.reason")),
    ("def f(x): 'ab\\xe9'.encode('ascii')", caught("UnicodeEncodeError", "assert e.start == 2")),
    ("def f(x): compile('a b', '', 'exec')", caught("SyntaxError", "assert e.text.strip() == 'a b'")),
    ("def f(x): raise FileNotFoundError(2, '', 'a')", caught("OSError", "assert e.filename == 'a'")),
    ("def f(x): return x.nope", caught("AttributeError", "assert (e.name, e.obj) == ('nope', 'x')")),
    ("def f(x): import nope", caught("ImportError", "assert e.name == 'nope'")),
    ("import re\ndef f(x): re.compile('(')", caught("re.error", "assert e.pos == 0")),
    ("def f(x):\n    try: 1 / 0\n    except ArithmeticError as e: raise ValueError(1) from e",
     caught("ValueError", "assert type(e.__cause__) == ZeroDivisionError")),
    # several bases
    (own("KeyError, ValueError"), caught("ValueError")),
    (own("KeyError, ValueError"), caught("KeyError", "assert type(e).__name__ == 'E' and e.args == ('m',)")),
    (own("LookupError, ArithmeticError"), caught("ArithmeticError")),
    (own("ConnectionError, TimeoutError"), caught("TimeoutError")),
    ("class A(ValueError): pass\nclass B(TypeError): pass\n" + own("A, B"), caught("TypeError")),
    ("import json\n" + own("json.JSONDecodeError, KeyError", "raise E('m', '{', 1)"),
     caught("KeyError", "assert e.pos == 1 and isinstance(e, json.JSONDecodeError)")),
    ("class Mixin: pass\n" + own("Mixin, ValueError"), caught("ValueError")),
    # groups
    (f"def f(x): {GROUP}", caught("ValueError", "assert e.exceptions[0].args == (1,)", "*")
     .replace("    else", "    except* KeyError: pass\n    else")),
    (f"def f(x): {GROUP}", caught("ExceptionGroup", "assert [type(p) for p in e.exceptions] == "
     "[ValueError, KeyError] and e.message == 'g' and '2 sub' in str(e)")),
    (f"def f(x): {NESTED}", caught("ExceptionGroup", "assert e.exceptions[1].exceptions[0].errno == 2")),
    (own("ExceptionGroup", "raise E('m', [E('n', [ValueError(3)])])"),
     caught("ExceptionGroup", "assert e.exceptions[0].exceptions[0].args == (3,)")),
    (own("ValueError", "raise ExceptionGroup('g', [E(5)])", WITH_CODE),
     caught("ExceptionGroup", "assert e.exceptions[0].code == 5")),
]  # fmt: skip


@pytest.mark.parametrize(("code", "line"), SEEN)
def test_a_test_sees_what_an_exception_carries(jail, code, line):
    before = "import json, re"
    assert check(jail, code, line, before).status == "pass", check(jail, code, line, before)
    assert check(jail, "def f(x): raise IndexError", line, before).status == "fail"
    if "assert" in line.partition("else")[0]:
        assert check(jail, code, line.replace("== ", "!= ", 1), before).status == "fail"


def test_of_the_test_s_own_class_where_it_has_one(jail):
    before = f"class E(Exception):\n    {WITH_CODE}\n    def __eq__(s, o): return s.code == o.code"
    code = own("Exception", "raise E(7)", WITH_CODE)
    assert check(jail, code, caught("E", "assert e == E(7) and type(e) is E"), before).status == "pass"
    assert check(jail, code, caught("E", "assert e == E(8)"), before).status == "fail"


DEFAULTS = [("int", "0"), ("list", "[]"), ("set", "set()"), ("dict", "{}"), ("str", "''"), ("float", "0.0"),
            ("bool", "False"), ("tuple", "()"), ("deque", "deque()"), ("Counter", "Counter()")]  # fmt: skip


@pytest.mark.parametrize(("factory", "empty"), DEFAULTS)
def test_a_defaultdict_keeps_its_factory(jail, factory, empty):
    before, code = (
        "from collections import *",
        f"def f(x):\n    d = defaultdict({factory})\n    d[1]\n    return d",
    )
    line = f"d = c(1)\n    assert type(d) is defaultdict and d == {{1: {empty}}} and d['new'] == {empty}"
    assert check(jail, f"{before}\n{code}", line, before).status == "pass"
    back = f"assert c(defaultdict({factory}, {{2: 3}})) == {empty}"
    assert check(jail, "def f(d): return d['new']", back, before).status == "pass"
    assert check(jail, "def f(d): return d.default_factory.__name__", f"{back[:-len(empty)]}'{factory}'",
                 before).status == "pass"  # fmt: skip


@pytest.mark.parametrize(
    "factory", ["lambda: 5", "f", "exec", "input", "object", "type", "memoryview", "None"]
)
def test_no_other_factory_crosses(jail, factory):
    code = f"from collections import *\ndef f(x=0): return defaultdict({factory}, {{1: 2}})"
    assert (
        check(jail, code, "d = c(1)\n    assert d == {1: 2} and d.default_factory is None").status == "pass"
    )


@pytest.mark.parametrize(
    "label", ["defaultdict eval", "defaultdict q", "defaultdict ", "defaultdict int ", 5]
)
def test_a_factory_that_is_made_up_is_malformed(label):
    with pytest.raises(jail_codec.MALFORMED):
        jail_codec.decode(["m", label, []])


QUIET = [
    "class E(unittest.SkipTest): pass\ndef f(x): raise E",
    "def f(x): raise unittest.SkipTest('s')",
    "def f(x): raise unittest.case._ShouldStop",
    "def f(x): raise ExceptionGroup('g', [StopIteration()])",
    "class E(ExceptionGroup, StopIteration): pass\ndef f(x): raise E('g', [ValueError()])",
    "class E(ValueError, StopIteration): pass\ndef f(x): raise E",
    "class E(IndexError, unittest.SkipTest): pass\ndef f(x): raise E",
    "def f(x): raise ValueError() from unittest.SkipTest()",
]


@pytest.mark.parametrize("code", QUIET)
def test_no_exception_ends_a_test_quietly(jail, code):
    test = "assert all(map(c, [1, 2]))\n    assert [x for x in iter(lambda: c(1), 0)]"
    assert check(jail, f"import unittest\n{code}", test).status == "fail"
    runner = """class T(unittest.TestCase):
        def test_one(self): self.assertEqual(c(1), 2)
        def test_two(self):
            with self.subTest(): self.assertEqual(c(1), 2)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(T).run(result)
    assert result.wasSuccessful() and not result.skipped"""
    assert check(jail, f"import unittest\n{code}", runner, "import unittest").status == "fail"
    assert check(jail, "def f(x): return 2", runner, "import unittest").status == "pass"


HOSTILE = [
    "raise NameError('WANTED', name='WANTED')",
    "raise ImportError('no', name='pytest')",
    "raise ExceptionGroup('g', [ImportError('no', name='pytest')])",
    "raise ValueError() from ImportError('no', name='pytest')",
    "e = ValueError()\n    vars(e).update({'add_note': 1, 'args': 2, '__class__': 3, 5: 6})\n    raise e",
    "e = ValueError('a' * 10**6)\n    e.big = ['b' * 10**6] * 9\n    raise e",
    "e = ValueError()\n    for i in range(10**4): e.__cause__ = e = ValueError(i)\n    raise e",
    "e = ValueError()\n    for i in range(500): e = ExceptionGroup('g', [e])\n    raise e",
    "raise ExceptionGroup('g', [ValueError(i) for i in range(50_000)])",
    "raise type('A\\ud800\\x00', (Exception,), {})('\\ud800')",
    "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})",
    "raise type('E', (Exception,), {'__getattribute__': lambda s, n: exit()})",
    "raise type('E', (Exception,), {'big': property(lambda s: [0] * 10**9)})",
]


@pytest.mark.parametrize("raised", HOSTILE)
def test_nothing_that_is_raised_is_no_fail(jail, raised):
    before = "import sys\nWANTED = 2"
    leaf = "except ExceptionGroup as e: raise e.exceptions[0]"
    lacking = "import pytest"
    for line in (f"assert c(1) == WANTED\n    {lacking}", f"try: c(1)\n    {leaf}\n    {lacking}",
                 f"try: c(1)\n    except Exception as e: raise e.__cause__ or e\n    {lacking}"):  # fmt: skip
        code = f"def f(x):\n    {raised}"
        found = check(jail, code, line, before)
        assert found.status == "fail", found


ONE, NONE = {"error": "x", "kinds": ["builtins.ValueError"], "args": ["t", []]}, ["n"]
DEEP = {"error": "x"}
for _ in range(60):
    DEEP = {"error": "x", "group": [DEEP]}
FORGED = [
    ONE | {"state": ["d", [[["i", "0x1"], NONE]]]},
    ONE | {"state": ["l", []]},
    ONE | {"state": ["d", [[["s", "__class__"], ["s", "a"]], [["s", "args"], NONE]]]},
    ONE | {"kinds": 5},
    ONE | {"kinds": ["builtins.ExceptionGroup"], "group": "abc"},
    ONE | {"kinds": ["builtins.ExceptionGroup"], "args": ["i", "0x1"], "group": [{}]},
    ONE | {"kinds": ["unittest.case._ShouldStop"]},
    ONE | {"kinds": ["test.AssertionError", "builtins.SystemExit"]},
    ONE | {"args": ["l", []], "cause": {"error": 1, "cause": 2}},
    ONE | {"cause": [1]},
    ONE | {"text": ["m", {}]},
    DEEP,
]


@pytest.mark.parametrize("frame", FORGED)
def test_forged_exceptions_earn_nothing(jail, frame):
    code = f"""import os, json
def f(x):
    data = json.dumps({frame!r}).encode()
    for fd in (2, 3):
        try: os.write(fd, b'%08x' % len(data) + data)
        except OSError: pass
    os._exit(0)"""
    found = check(jail, code, "assert c(1) == 2")
    assert found.status == "fail", found
