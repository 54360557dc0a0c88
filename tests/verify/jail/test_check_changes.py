"""What a test as code sees of arguments that the program changed in place, and what it does not see."""

import sys

import pytest

from nbkit.verify import Jail, grade_check
from nbkit.verify.jail.inside import jail_codec, jail_copies
from nbkit.verify.jail.tiers import available

LIBRARY = "from collections import ChainMap, Counter, OrderedDict, defaultdict, deque\n"
SORT = "def f(a): a.sort()"
NOTE = "changed an argument in place"


@pytest.fixture(scope="module")
def jail():
    with Jail() as jail:
        yield jail


def check(jail, code, *lines, before=""):
    test = f"{LIBRARY}{before}\ndef check(c):\n    " + "\n    ".join(lines)
    return grade_check(jail, LIBRARY + code, "f", test)


@pytest.mark.parametrize("tier", available())
def test_a_list_sorted_in_place_in_every_tier(tier):
    with Jail(tier=tier) as jail:
        assert check(jail, SORT, "a = [3, 1]", "c(a)", "assert a == [1, 3]").status == "pass"
        assert check(jail, SORT, "a = [3, 1]", "c(a)", "assert a == [3, 1]").status == "fail"
        assert check(jail, SORT, "a = [3, 1]", "assert c(a) is None", "assert a == [1, 3]").status == "pass"


@pytest.mark.parametrize(
    ("body", "made", "wanted"),
    [
        ("a.reverse()", "[[1], [2]]", "[[2], [1]]"),
        ("a[0][0] = 5", "[[1], [2]]", "[[5], [2]]"),
        ("a.update(x=1); del a['y']", "{'y': 0}", "{'x': 1}"),
        ("a.add(3)", "{1, 2}", "{1, 2, 3}"),
        ("a.clear()", "[1, 2]", "[]"),
        ("a[0] = 65; a += b'c'", "bytearray(b'ab')", "bytearray(b'Abc')"),
        ("a.rotate()", "deque([1, 2, 3], 3)", "deque([3, 1, 2], 3)"),
        ("a['x'] += 2", "Counter('xy')", "Counter(x=3, y=1)"),
        ("a.move_to_end(1)", "OrderedDict({1: 2, 3: 4})", "OrderedDict({3: 4, 1: 2})"),
        ("a['k'].append(1)", "defaultdict(list)", "{'k': [1]}"),
    ],
)
def test_every_kind_that_is_handed_back_stays_the_test_s_own_object(jail, body, made, wanted):
    lines = (f"a = b = {made}", "c(a)", f"assert b == {wanted}, b", f"assert type(b) is type({made})")
    assert check(jail, f"def f(a): {body}", *lines).status == "pass"
    assert check(jail, f"def f(*, k): a = k; {body}", lines[0], "c(k=a)", *lines[2:]).status == "pass"
    assert check(jail, "def f(a): pass", *lines).status == "fail"


def test_changes_of_several_arguments_and_before_an_exception(jail):
    code = "def f(a, n, b):\n    a.append(n); b['n'] = n\n    raise KeyError(n)"
    lines = (
        "a, b = [1], {}",
        "try: c(a, 2, b)",
        "except KeyError: pass",
        "assert (a, b) == ([1, 2], {'n': 2})",
    )
    assert check(jail, code, *lines).status == "pass"


def test_the_value_of_a_call_is_never_compared_with_what_the_program_changed(jail):
    """Otherwise a program could empty the list, and be right that nothing sorted is nothing."""
    for line in (
        "assert c(a) == sorted(a)",
        "assert sorted(a) == c(a) or c(a) == sorted(a)",
        "assert all(r == sorted(x) for r, x in zip(map(c, [a]), [a]))",
        "assert (lambda r: r == sorted(a))(c(a))",
    ):
        found = check(jail, "def f(a): a.clear(); return []", "a = [3, 1]", line)
        assert found.status == "fail" and NOTE in found.detail, found
    assert (
        check(jail, "def f(a): a.sort(); return a", "a = [3, 1]", "assert c(a) == sorted(a)").status == "pass"
    )
    first = ("a = [3, 1]", "assert c(a) == (a[0] if a else None)")
    assert check(jail, "def f(a): a.clear()", *first).status == "fail"


def test_a_change_that_the_test_does_not_see_is_named_in_the_detail(jail):
    for lines in (
        ("a = [3, 1]", "r = c(a)", "assert a == [1, 3]"),
        ("class L(list): pass", "a = L([3, 1])", "c(a)", "assert a == [1, 3]"),
    ):
        found = check(jail, SORT, *lines)
        assert found.status == "fail" and NOTE in found.detail, found
    quiet = check(jail, "def f(a): return {*a}", "assert c({*range(99)}) == 1")
    assert quiet.status == "fail" and NOTE not in quiet.detail, quiet
    # What is no list, dictionary, set, deque or bytearray at the top level stays as it was.
    box = "from dataclasses import dataclass\n@dataclass\nclass B:\n    n: int"
    assert (
        check(jail, f"{box}\ndef f(b): b.n = 2", "b = B(1)", "c(b)", "assert b.n == 1", before=box).status
        == "pass"
    )
    inner = ("a = [1]", "c((a,))", "assert a == [1]")
    assert check(jail, "def f(t): t[0].clear()", *inner).status == "pass"


def test_what_cannot_cross_is_the_program_s_fault(jail):
    found = check(jail, "def f(a): a.append(len)", "a = []", "c(a)", "assert a")
    assert found.status == "fail" and "CannotCross" in found.detail
    found = check(jail, "def f(a): a.append('x' * 10**8)", "a = []", "c(a)")
    assert found.status == "fail", found
    assert check(jail, "def f(a): a.append(len); return 1", "assert c([]) == 1").status == "pass"


@pytest.mark.parametrize(
    "changed",
    ["[[5, V]]", "[[True, V]]", "[['a', V]]", "[[[0], V]]", "[[0, V], [0, V]]", "[[0, ['d', []]]]", "[[0]]",
     "7", "[[0, ['I', ['t', []]]]]", "[[0, None]]", "[[1, V]]", "{'0': V}", "[[0, ['l', [['x']]]]]"],
)  # fmt: skip
def test_forged_changes_are_refused(jail, changed):
    forged = f"""
import json, os
V = ['l', []]
def f(a, n):
    data = json.dumps({{'value': ['n'], 'changed': {changed}}}).encode()
    os.write(3, b'%08x' % len(data) + data)
    os._exit(0)
"""
    assert check(jail, forged, "a = [3, 1]", "c(a, 5)", "assert True").status == "fail"
    seen = check(jail, forged, "a = [3, 1]", "r = c(a, 5)", "assert a == []")
    assert seen.status == "fail"  # not asked for, not handed over


def test_a_forged_change_of_its_kind_is_only_a_change(jail):
    forged = (
        "import json, os\ndef f(a):\n    data = json.dumps({'value': ['n'], 'changed': [[0, ['l', []]]]})\n"
    )
    forged += "    os.write(3, b'%08x' % len(data) + data.encode())\n    os._exit(0)"
    assert check(jail, forged, "a = [3, 1]", "c(a)", "assert a == [1, 3]").status == "fail"
    assert check(jail, forged, "a = [3, 1]", "assert c(a) == a[:0]").status == "fail"


def test_which_arguments_can_change():
    call = jail_codec.encode([[[1], 2, "x", (3,)], {"k": {4}, "n": None}], rich=True)
    assert jail_copies.changeable(call) == {0: ["l", [["i", "0x1"]]], "k": ["S", [["i", "0x4"]]]}


def test_which_calls_drop_their_value():
    seen = []

    def look():
        seen.append(jail_copies.is_dropped(sys._getframe(1)))

    look()
    if look() is not None:  # pytest rewrites an assert
        seen.append("never")
    kept = [look(), look() == 1]
    [look() for _ in "a"]
    (lambda: look())()
    assert kept == [None, False]
    assert seen == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("code", "lines"),
    [  # conventions of docs/code_grading.md: what works
        ("def f(x): return x", ["assert c(...) is ... and c([...]) == [...]"]),
        ("def f(): return ChainMap({1: 2}, {1: 3, 4: 5})",
         ["m = c()", "assert (m[1], m[4], m.parents[1], type(m)) == (2, 5, 3, ChainMap)"]),
        ("import enum\nclass E(enum.IntEnum): A = 1\ndef f(): return E.A",
         ["assert c().name == 'A' and c() == 1 and c() + 1 == 2 and c().value == 1"]),
        ("import enum\nclass E(str, enum.Enum): A = 'x'\ndef f(): return E.A",
         ["assert c().name == 'A'", "assert c() == 'x'"]),
        # ... and what does not
        ("def f(x): return x", ["a = []", "assert c(a) is not a and c(a) == a"]),
        ("def f(): print('out')", ["import io, contextlib", "s = io.StringIO()",
         "with contextlib.redirect_stdout(s): c()", "assert s.getvalue() == ''"]),
        ("import random\ndef f(): return random.random()",
         ["import random", "random.seed(5)", "a = c()", "random.seed(5)", "assert c() != a"]),
        ("def f(a, b): a.append(1); return len(b)", ["a = []", "assert c(a, a) == 0"]),
    ],
)  # fmt: skip
def test_conventions(jail, code, lines):
    assert check(jail, code, *lines).status == "pass"


def test_members_that_are_numbers_earn_nothing(jail):
    code = "import enum\nclass E(enum.IntEnum):\n    A = 1\n    def __eq__(s, o): return True\n"
    code += "    __hash__ = int.__hash__\n"
    assert check(jail, code + "def f(): return E.A", "assert c() == 2").status == "fail"
    flags = "import enum\nclass P(enum.IntFlag): A = 1; B = 2\ndef f(): return P.A | P.B"
    assert check(jail, flags, "assert c() == 3").status == "pass"
