"""Does a program print what it should? (used by `grade.py`)

Text is compared exactly, space at the end of lines and empty lines at the end apart. Where the expected
output has a decimal fraction (`0.5`, `1e-7`), any number that is within 1e-6 of it, absolute or relative,
will do, as in most contests; whole numbers stay exact.

same_output("0.6666666666666666\n", "0.666667")  # True
same_output("1000001", "1000000")  # False
"""

import math
import re

_TOLERANCE = 1e-6
_MOST_DIGITS = 40  # a float has 17; what has many more is meant as text
# A number that stands alone: not a part of a word, a version or an address such as 10.0.0.1.
_NUMBER = re.compile(r"(?<![\w.])([+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)(?![\w.])", re.ASCII)


def same_output(printed: str, expected: str) -> bool:
    """Are these the same output? Linear in the length of both."""
    ours, wanted = _lines(printed), _lines(expected)
    return len(ours) == len(wanted) and all(map(_same_line, ours, wanted))


def room(expected: str) -> int:
    """Bytes that right output may take: twice those of the expected text, and for each of its decimal
    fractions the digits that a program may write."""
    fractions = sum(any(mark in number for mark in ".eE") for number in _NUMBER.findall(expected))
    return 2 * len(expected.encode("utf-8", "surrogatepass")) + _MOST_DIGITS * fractions


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_line(got: str, expected: str) -> bool:
    if got == expected:
        return True
    ours, wanted = _NUMBER.split(got), _NUMBER.split(expected)
    if len(ours) != len(wanted) or ours[::2] != wanted[::2]:  # the text between the numbers
        return False
    return all(map(_same_number, ours[1::2], wanted[1::2]))


def _same_number(got: str, expected: str) -> bool:
    if got == expected:
        return True
    if not any(mark in expected for mark in ".eE") or max(len(got), len(expected)) > _MOST_DIGITS:
        return False
    ours, wanted = float(got), float(expected)
    return math.isfinite(wanted) and math.isclose(ours, wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
