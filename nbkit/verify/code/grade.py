"""Grade generated programs by what they return or print (notebooks 04, 06 and 07).

The jail gets the program and the inputs. Expected outputs stay here and are compared after the job is dead,
so a program can earn a pass in one way only: by giving the right values. Three kinds of test:

    grade(jail, code, "add", [Call([2, 3], 5)])  # function calls: exact values
    grade_program(jail, code, [Case("2 3\n", "5\n")])  # whole programs: all of their standard output
    grade_check(jail, code, "add", "def check(candidate):\n    assert candidate(2, 3) == 5")  # a test as code

The verdict is three-valued: "infra" means the grader or the test failed and says nothing about the program;
never count it as a fail. `suites.py` turns MBPP and HumanEval rows into such tests.
"""

import ast
import json
import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from nbkit.verify.code.pieces import IMPORT, parse
from nbkit.verify.code.printed import room, same_output
from nbkit.verify.errors import settled
from nbkit.verify.jail.inside import jail_codec
from nbkit.verify.jail.jail import OUTPUT_BYTES, Jail
from nbkit.verify.jail.results import CallError, JailResult

_RELATIVE = 1e-9
_REAL = (int, float, Fraction, Decimal)
_ENVELOPE = 64  # bytes around one answer
_LONGER = 3  # a right answer may be so many times as long as the expected one: 1.0 or Fraction(1) for 1


@dataclass(frozen=True)
class Call:
    """One test: `entry(*args)` must return `expected`. Where `args` is a string, it is a whole expression
    instead, evaluated among the names of the program: for arguments that are not plain data."""

    args: list | str
    expected: object


@dataclass(frozen=True)
class Case:
    """One test of a whole program: with `stdin` it must print `expected`, all of it and no more. Space at the
    end of lines and empty lines at the end do not count; decimal fractions count to 1e-6 (`printed.py`)."""

    stdin: str
    expected: str


@dataclass(frozen=True)
class Verdict:
    """status: "pass", "fail" or "infra" (the grader failed; drop the sample)."""

    status: Literal["pass", "fail", "infra"]
    detail: str = ""

    @property
    def reward(self) -> float | None:
        """1.0 for a pass, 0.0 for a fail, None for infra (no evidence either way)."""
        return {"pass": 1.0, "fail": 0.0}.get(self.status)


def same(got: object, expected: object) -> bool:
    """Equal in type and value, all the way down.

    Floats may differ by 1e-9 relative (0.0 equals -0.0; NaN equals only NaN). As in Python 4 equals 4.0 and
    Fraction(4), and 1 will do for True, but True is not 1; inside sets and as dictionary keys floats must be
    equal exactly.
    """
    kind = type(expected)
    # Numbers by value, floats with a tolerance; True for 1 only where 1 was wanted to be True.
    if kind in _REAL and type(got) in _REAL:
        if type(got) is kind is float:
            return math.isclose(got, expected, rel_tol=_RELATIVE) or (
                math.isnan(got) and math.isnan(expected)
            )
        return bool(got == expected)
    if kind is bool and type(got) is int:
        return got == expected
    if type(got) is not kind:
        return False
    if kind is complex:
        return same(got.real, expected.real) and same(got.imag, expected.imag)
    # Containers item by item; sets and keys by exact value and type.
    if kind in (list, tuple, deque, array):
        return len(got) == len(expected) and all(map(same, got, expected))
    if kind in (set, frozenset):
        return {_typed(item) for item in got} == {_typed(item) for item in expected}
    if kind is dict:
        ours = {_typed(key): value for key, value in got.items()}
        wanted = {_typed(key): value for key, value in expected.items()}
        return ours.keys() == wanted.keys() and all(same(ours[key], wanted[key]) for key in wanted)
    return got == expected


def _typed(item: object) -> object:
    """A hashable stand-in for a set member or dictionary key that also tells True from 1."""
    if type(item) is tuple:
        return (tuple, tuple(map(_typed, item)))
    if type(item) is frozenset:
        return (frozenset, frozenset(map(_typed, item)))
    if type(item) is float and math.isnan(item):
        return (float, "nan")
    return (bool if type(item) is bool else None, item)


def grade(jail: Jail, code: str, entry: str, calls: Sequence[Call], setup: str = "") -> Verdict:
    """Pass if every call returns the expected value. `setup` is run after the code, in its job, and may build
    arguments. Raises ValueError when calls is empty, or a value no job can return is expected."""
    _some(calls, "calls")
    source = f"{code}\n{setup}" if setup else code
    # What is expected bounds what may come back: no answer needs more room than that.
    expected, limit = _expected(calls)
    result = jail.call(source, entry, [call.args for call in calls], **limit)
    # A setup that fails by itself is the test's fault, not the program's.
    if result.status == "error" and setup and (lacking := _lacking(jail, setup)):
        return Verdict("infra", f"the setup of the test cannot be used: {lacking}")
    if refused := _refused(result):
        return refused
    # Compared here, after the job is dead: the program never sees what is wanted.
    for number, (got, answer) in enumerate(zip(result.values, expected, strict=True), 1):
        if isinstance(got, CallError):
            return Verdict("fail", f"call {number} of {len(calls)}: {got.detail}")
        if not same(got, answer):
            wanted, given = _show(answer), _show(got)
            return Verdict("fail", f"call {number} of {len(calls)}: wanted {wanted}, got {given}")
    return Verdict("pass")


def share_passed(jail: Jail, code: str, entry: str, calls: Sequence[Call]) -> float:
    """The share of the calls that return what is expected, in one job; 1 where `grade` passes. Raises
    GraderError where the jail failed."""
    _some(calls, "calls")
    expected, limit = _expected(calls)
    result = jail.call(code, entry, [call.args for call in calls], **limit)
    if refused := _refused(result):
        settled(refused, "run the calls")
        return 0.0
    values = zip(result.values, expected, strict=True)
    return sum(not isinstance(got, CallError) and same(got, answer) for got, answer in values) / len(calls)


def grade_program(jail: Jail, code: str, cases: Sequence[Case]) -> Verdict:
    """Pass if the program prints what is expected in every case, each in a job of its own. Raises ValueError
    when cases is empty."""
    _some(cases, "cases")
    for number, case in enumerate(cases, 1):
        # As for calls, what is expected bounds what may come back.
        result = jail.run(code, case.stdin, room(case.expected))
        if refused := _refused(result):
            return Verdict(refused.status, f"case {number} of {len(cases)}: {refused.detail}")
        if not same_output(result.values[0], case.expected):
            wanted, given = _show(case.expected), _show(result.values[0])
            return Verdict("fail", f"case {number} of {len(cases)}: wanted {wanted}, got {given}")
    return Verdict("pass")


def grade_check(jail: Jail, code: str, entry: str, test: str) -> Verdict:
    """Pass if `check(candidate)`, defined by the source `test`, raises nothing. The test runs in a job of its
    own and meets the program by value only. It sees an argument that was changed in place after a call whose
    value it drops, and after no other (`docs/code_grading.md`)."""
    result = jail.check(code, entry, test)
    if refused := _refused(result):
        return refused
    return Verdict("pass") if result.values == [True] else Verdict("fail", result.detail)


def _some(tests: Sequence, name: str) -> None:
    if not tests:
        raise ValueError(f"{name} is empty, so any program would pass; give at least one test")


def _expected(calls: Sequence[Call]) -> tuple[list, dict[str, int]]:
    """What is expected, by value as a job returns it, and the limit of the answers where that needs more than
    the usual one. Raises ValueError where a value is expected that no job can return: it would fail every
    program."""
    encoded = [jail_codec.encode(call.expected) for call in calls]
    needed = _LONGER * sum(len(json.dumps(value)) for value in encoded) + _ENVELOPE * len(calls)
    limit = {"output_bytes": needed} if needed > OUTPUT_BYTES else {}
    return [jail_codec.decode(value) for value in encoded], limit


def _lacking(jail: Jail, setup: str) -> str:
    """Why the imports of a setup alone do not load, "" where they do: then no program can be blamed."""
    tree = parse(setup)
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, IMPORT)] if tree else []
    if not imports:
        return ""
    alone = jail.call("\n".join([*imports, "def loads(): pass"]), "loads", [[]])
    return alone.detail if alone.status == "error" else ""


def _refused(result: JailResult) -> Verdict | None:
    if result.status == "infra":
        return Verdict("infra", result.detail)
    return None if result.status == "ok" else Verdict("fail", f"{result.status}: {result.detail}")


def _show(value: object) -> str:
    try:
        return repr(value)[:100]
    except ValueError:  # Python refuses to print very long integers
        return f"a long {type(value).__name__}"
