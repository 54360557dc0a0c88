"""What crosses between a program and a test as code, and whose fault it is where something does not."""

import array
import datetime
import uuid
from decimal import Decimal

import pytest

from nbkit.verify import Call, Jail, grade, grade_check, grade_mbpp
from nbkit.verify.jail.inside import jail_codec

IMPORTS = "import array, datetime, uuid\nfrom datetime import date, timedelta, timezone\n"
SAME = f"{IMPORTS}def f(x=None): return x"
VALUES = [
    "date(2024, 2, 29)",
    "datetime.datetime(2024, 2, 29, 23, 59, 1, 5)",
    "datetime.datetime(1999, 1, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))",
    "datetime.time(3, 4, fold=1)",
    "timedelta(days=-1, microseconds=7)",
    "timezone.utc",
    "uuid.UUID(int=2**100)",
    "array.array('d', [0.5, -1.0])",
    "array.array('i', [])",
    "{date(2024, 1, 1): [uuid.UUID(int=1)]}",
]


@pytest.fixture(scope="module")
def jail():
    with Jail() as jail:
        yield jail


@pytest.fixture(scope="module")
def with_numpy():
    pytest.importorskip("numpy")
    with Jail(numpy=True) as jail:
        if jail.tier == "wasmtime":
            pytest.skip("no numpy there")
        yield jail


def check(jail, code, *lines, before=""):
    return grade_check(jail, code, "f", f"{IMPORTS}{before}\ndef check(c):\n    " + "\n    ".join(lines))


@pytest.mark.parametrize("value", VALUES)
def test_values_of_the_library_go_in_and_come_out(jail, value):
    found = check(jail, SAME, f"v = {value}", "assert c(v) == v and type(c(v)) is type(v) and c([v]) == [v]")
    assert found.status == "pass", found
    found = check(jail, f"{IMPORTS}def f(): return {value}", f"assert c() == {value} != [c()]")
    assert found.status == "pass", found
    names = {"array": array, "datetime": datetime, "uuid": uuid}
    names |= {name: getattr(datetime, name) for name in ("date", "timedelta", "timezone")}
    plain = eval(value, names)
    assert grade(jail, SAME, "f", [Call([plain], plain)]).status == "pass"
    assert grade(jail, SAME, "f", [Call([None], plain)]).status == "fail"


def test_an_equality_of_its_own_earns_nothing_with_dates(jail):
    for base in ("date", "timedelta", "uuid.UUID"):
        code = f"{IMPORTS}class E({base}):\n    def __eq__(s, o): return True\n    __hash__ = None\n"
        made = {"date": "E(2000, 1, 1)", "timedelta": "E(9)", "uuid.UUID": "E(int=9)"}[base]
        wanted = {"date": "date(2001, 1, 1)", "timedelta": "timedelta(8)", "uuid.UUID": "uuid.UUID(int=8)"}[
            base
        ]
        assert check(jail, f"{code}def f(): return {made}", f"assert c() == {wanted}").status == "fail"


@pytest.mark.parametrize(
    "data",
    [["T", "date", 5], ["T", "datetime", "2024-01-01", 7], ["T", "x", ""], ["T", "timedelta", ["a"]],
     ["U", "g"], ["U", 5], ["A", "O", []], ["A", "ii", []], ["A", "i", [["s", "a"]]],
     ["A", "b", [["i", "0xfff"]]],
     ["T", "timezone", [9, 0, 0]], ["T"], ["P", ["n"]]],
)  # fmt: skip
def test_malformed_values_are_malformed(data):
    with pytest.raises(jail_codec.MALFORMED):
        jail_codec.decode(data)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def f(): return list(range(20_000))", "assert c() == list(range(20_000))"),
        ("def f(): return 'ab' * 500_000", "assert c() == 'ab' * 500_000"),
        (
            "def f(): return {i: str(i) for i in range(9000)}",
            "assert len(c()) == 9000 and c()[8999] == '8999'",
        ),
        ("def f(): return [[i / 3] * 3 for i in range(5000)]", "assert sum(map(len, c())) == 15_000"),
        ("def f(): return b'x' * 300_000", "assert c() == b'x' * 300_000"),
        (
            "def f(): return (list(range(9000)) for _ in range(3))",
            "assert [len(x) for x in c()] == [9000] * 3",
        ),
    ],
)
def test_long_answers_are_compared(jail, code, line):
    assert check(jail, code, line).status == "pass"
    assert check(jail, code, line.replace("==", "!=")).status == "fail"


NUMBERS = [
    ("np.int64(3)", "4"),
    ("np.float32(0.5)", "1.5"),
    ("np.bool_(True)", "2"),
    ("np.uint8(255)", "256"),
    ("np.complex128(1j)", "1 + 1j"),
    ("np.float64(2.0)", "3.0"),
]


@pytest.mark.parametrize(("number", "wanted"), NUMBERS)
def test_numbers_of_numpy_are_numbers(jail, number, wanted):
    np = pytest.importorskip("numpy")
    if jail.tier == "wasmtime":
        pytest.skip("no numpy there")
    code = "def f(x): return x + 1"
    assert check(jail, code, f"assert c({number}) == {wanted}", before="import numpy as np").status == "pass"
    given = eval(number, {"np": np})
    assert grade(jail, code, "f", [Call([given], eval(wanted))]).status == "pass"
    assert grade(jail, "def f(x): return x", "f", [Call([given], given)]).status == "pass"


@pytest.mark.parametrize(
    "made",
    [
        "np.arange(6).reshape(2, 3)",
        "np.array([1.5, np.nan])",
        "np.array(['a', 'bc'])",
        "np.array(['2024-01-01'], dtype='M8[D]')",
        "np.zeros((0, 2), dtype='>i2')",
        "np.array(5)",
    ],
)
def test_arrays_cross_where_both_sides_have_numpy(with_numpy, made):
    lines = (f"a = {made}", "b = c(a)", "np.testing.assert_array_equal(a, b)", "assert a.dtype == b.dtype")
    found = check(with_numpy, "def f(x): return x.copy()", *lines, before="import numpy as np")
    assert found.status == "pass", found
    made = f"import numpy as np\ndef f(): return {made}"
    assert check(with_numpy, made, "assert c().shape == c().shape").status == "pass"  # numpy unnamed there


def test_an_array_for_a_program_without_numpy_is_the_test_s_fault(jail):
    if jail.tier == "wasmtime":
        pytest.skip("no numpy there")
    for lines in (["c(np.array([1]))"], ["assert c(1) == 1", "c([np.zeros(2)])"], ["c(x=np.eye(2))"]):
        found = check(jail, "def f(x): return x", *lines, before="import numpy as np")
        assert found.status == "infra" and "Jail(numpy=True)" in found.detail, found
    array_of_5 = {"value": ["P", ["t", [["s", "<i8"], ["t", []], ["t", [["i", "0x5"]]]]]]}
    forged = f"import os, json\ndef f():\n    data = json.dumps({array_of_5}).encode()\n"
    forged += "    os.write(3, b'%08x' % len(data) + data)\n    os._exit(0)"
    found = check(jail, forged, "assert c() == 5", before="import numpy as np")
    assert found.status == "fail", found


@pytest.mark.parametrize(
    "value", ["lambda: 1", "object()", "type", "c", "iter", "open", "np.array([object()])", "[len]"]
)
def test_what_cannot_be_passed_is_the_test_s_fault_at_any_call(jail, value):
    if "np." in value and jail.tier == "wasmtime":
        pytest.skip("no numpy there")
    before = "import numpy as np" if "np." in value else ""
    found = check(jail, "def f(x): return 1", "assert c(1) == 1", f"c({value})", before=before)
    assert found.status == "infra" and "the test" in found.detail, found


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        ("import pytest", ["with pytest.raises(ValueError):", "    c(-1)"]),
        ("", ["import pytest", "assert c(1) == 2"]),
        ("", ["assert c(1) == 2", "from hypothesis import given"]),
        ("", ["assert c(1) == 2", "import pandas.testing as tm"]),
        ("import numpyy as np", ["assert c(1) == 2"]),
        ("def near(a): return isclose(a, 2)", ["assert near(c(1))"]),
        ("", ["assert c(1) == WANTED"]),
    ],
)
def test_what_a_test_lacks_is_its_own_fault(jail, before, lines):
    found = check(jail, "def f(x): return x + 1", *lines, before=before)
    assert found.status == "infra" and "the test cannot be used" in found.detail, found
    lacks = [
        word
        for word in ("pytest", "hypothesis", "pandas", "numpyy", "isclose", "WANTED")
        if word in found.detail
    ]
    assert len(lacks) == 1


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("def f(x): import pytest", ["assert c(1) == 2", "import pytest"]),
        ("def f(x): raise ImportError('no', name='pytest')", ["c(1)", "import pytest"]),
        ("def f(x): return missing", ["assert c(1) == 2", "missing = 0"]),
        ("def f(x): return 'missing'", ["assert eval(c(1)) == 2"]),
        ("def f(x): raise NameError('WANTED')", ["assert c(1) == WANTED"]),
        ("import pandas\ndef f(x): return 2", ["assert c(1) == 2"]),
    ],
)
def test_what_a_program_lacks_is_a_fail(jail, code, lines):
    assert check(jail, code, *lines).status == "fail"


def test_a_test_may_import_the_file_of_the_answer(jail):
    code = "def f(x): return x + 1"
    for before in ("from solution import f", "from main import f as c", "import solution\nc = solution.f"):
        assert check(jail, code, "assert c(1) == 2", before=before).status == "pass"
        assert check(jail, code, "assert f(1) == 3", before="from solution import *").status == "fail"


def test_setups_of_calls(jail):
    code, calls = "def f(x): return x + 1", [Call([1], 2)]
    for setup in ("import pytest", "from pandas import DataFrame", "import math\nimport torch.nn as nn"):
        found = grade(jail, code, "f", calls, setup)
        assert found.status == "infra" and "setup" in found.detail, found
    assert grade(jail, code, "f", calls, "import math").status == "pass"
    assert grade(jail, "import pandas\n" + code, "f", calls, "import math").status == "fail"
    assert grade(jail, code, "f", calls, "box = Box(1)").status == "fail"  # of a class that it should define
    row = {"test_list": ["assert f(1) == datetime.date(2024, 1, 2)", "assert f(0) == date(2024, 1, 1)"],
           "test_setup_code": "from datetime import date"}  # fmt: skip
    code = "import datetime\ndef f(n): return datetime.date(2024, 1, 1 + n)"
    assert grade_mbpp(jail, code, row).status == "pass"
    assert grade_mbpp(jail, code.replace("1 + n", "2 + n"), row).status == "fail"
    assert grade(jail, "def f(): return 0.1", "f", [Call([], Decimal("0.5"))]).status == "fail"


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        ("try: int('a')\n    except ValueError as e: raise ValueError(e)", "ValueError"),
        ("raise TypeError('bad', type(x))", "TypeError"),
        ("raise TypeError(KeyError(1))", "TypeError"),
        ("raise KeyError(object())", "KeyError"),
        ("import decimal; decimal.Decimal('x')", "decimal.InvalidOperation"),
        ("raise ZeroDivisionError(lambda: 1, 2)", "ZeroDivisionError"),
        ("raise OSError(2, type(x))", "OSError"),
    ],
)
def test_exceptions_arrive_by_class_whatever_they_carry(jail, raised, caught):
    code = f"def f(x):\n    {raised}"
    lines = ["try:", "    c(1)", f"except {caught}:", "    pass", "else:", "    assert False"]
    assert check(jail, code, *lines, before="import decimal").status == "pass"
    other = [line.replace(caught, "IndexError") for line in lines]
    assert check(jail, code, *other, before="import decimal").status == "fail"


def test_a_check_too_large_for_the_memory_says_what_to_do():
    with Jail(memory_mb=64) as small:
        rows = ", ".join(f"([{i}], [[{i}], [{i}]])" for i in range(60_000))
        found = check(small, "def f(x): return [[x], [x]]", f"for a, w in [{rows}]: assert c(*a) == w")
    assert found.status == "infra"
    assert "raise memory_mb" in found.detail
