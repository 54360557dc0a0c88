"""Equations that a text states, checked by exact arithmetic. Used by 01, 03, 04 and 06.

>>> equations("2 + 3 = 5, so 5 * 2 = 11; 10 / 3 = 3.33")
[True, False, True]
"""

import re
from collections.abc import Collection
from fractions import Fraction

LONGEST = 1000  # characters of an equation or number; of a longer one nobody asks whether it holds
CONSTANTS = frozenset(map(Fraction, (0, 1, 2, 10, 60, 100, 1000)))  # that any step may use
_ANY_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d++)(?:\.\d++)?"
# The left side is taken whole and once, with or without a right side: looking for a right side from each of
# its numbers again would be quadratic. No part of it could have another right side.
_EQUATION = re.compile(
    rf"(?<![\w.,^)\]*/×÷+-])([$£€]?-?{_NUMBER}(?:[ \t]*+[-+*/×÷x][ \t]*+[$£€]?-?{_NUMBER})++)"
    rf"(?:[ \t]*+==?[ \t]*+[$£€]?(-?{_NUMBER})"
    r"(?![ \t]*+[-+*/×÷^][ \t]*+[\d(]|[\w%]|[ \t]++r(?:em|\b)))?"
)
_TERM = re.compile(rf"([-+*/]?)(-?)({_NUMBER})")


def _evaluate(expression: str) -> Fraction | None:
    """Exact value of an expression like `3 + 4 * 2` without brackets; None for a division by zero. Runs no
    code."""
    # Signs of money and separators are dropped, the signs for "times" and "by" brought to one.
    plain = re.sub(r"[$£€,\s]", "", expression).translate(str.maketrans("×÷x", "*/*"))
    terms: list[Fraction] = []
    for operator, sign, digits in _TERM.findall(plain):
        value = Fraction(digits) * (-1 if sign else 1)
        # Products and quotients act on the last term; sums are left to the end: that is the precedence.
        if operator == "*":
            terms[-1] *= value
        elif operator == "/":
            if not value:
                return None
            terms[-1] /= value
        else:
            terms.append(-value if operator == "-" else value)
    return sum(terms, Fraction(0))


def _goes_on(text: str, start: int) -> bool:
    """Is what begins here the tail of a longer expression, e.g. of `x - 3 + 5 = 2`?"""
    while start and text[start - 1] == " ":
        start -= 1
    before = text[max(0, start - 2) : start]
    return before.endswith((*"+*/^×÷-", " x")) and before not in ("-", "\n-")


def stated(text: str) -> list[tuple[str, bool]]:
    """Every stated equation `a op b ... = c` between plain numbers as it stands, and whether it holds (up to
    stated decimals); at most LONGEST characters long each."""
    found = []
    for match in _EQUATION.finditer(text) if "=" in text else ():
        # No right side, too long to be meant, or the tail of a longer expression.
        if match[2] is None or len(match[0]) > LONGEST or _goes_on(text, match.start()):
            continue
        result = match[2].replace(",", "")
        # A rounded result holds within half a unit of its last digit: 10 / 3 = 3.33.
        tolerance = Fraction(1, 2 * 10 ** len(result.partition(".")[2])) if "." in result else 0
        value = _evaluate(match[1])
        found.append((match[0], value is not None and abs(value - Fraction(result)) <= tolerance))
    return found


def equations(text: str) -> list[bool]:
    """Whether each of the `stated` equations holds."""
    return [holds for _, holds in stated(text)]


def numbers(text: str) -> list[Fraction]:
    """Every number that stands in a text, in order; none with more than LONGEST characters."""
    return [Fraction(found.replace(",", "")) for found in _ANY_NUMBER.findall(text) if len(found) <= LONGEST]


def operands(left: str) -> list[str]:
    """The numbers on the left of an equation, unsigned: in "12 - 2" the sign is the operation's."""
    return re.findall(r"\d+(?:\.\d+)?", left.replace(",", ""))


def given(number: Fraction, known: Collection[Fraction], constants: Collection[Fraction] = CONSTANTS) -> bool:
    """Is a number there, a constant that any step may use, or a digit of a number that is there, in its place
    or alone (37 gives 30 and 7)?"""
    if number in constants or number in known or -number in known:
        return True
    if number.denominator != 1:
        return False
    digits = str(number).rstrip("0")
    if len(digits) != 1:
        return False
    # One digit and zeros: some known whole number must have this digit in this place.
    place = len(str(number)) - 1
    texts = [str(abs(one)) for one in known if one.denominator == 1]
    return any(len(text) > place and text[-1 - place] == digits for text in texts)
