"""Equations that a text states, checked by exact arithmetic. Used by 01, 03 and 04.

>>> equations("2 + 3 = 5, so 5 * 2 = 11; 10 / 3 = 3.33")
[True, False, True]
"""

import re
from fractions import Fraction

LONGEST = 1000  # characters of an equation; of a longer one nobody asks whether it holds
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
