"""Exact values of small rational formulas, in this process and within bounds (used by `reading.py`).

exact(formula.parse("2^{10} - 1"))  # Fraction(1023)
exact(formula.parse("√2"))  # None, as for anything irrational, too big, or with a variable
"""

import math
from fractions import Fraction

from nbkit.verify.answers.parse.formula import Refused, Tokens

_MAX_BITS = 8192
_MOST = 10**30  # whose divisors are looked for


def exact(tokens: Tokens) -> Fraction | float | None:
    """The value of a small rational formula, or ±infinity; None for everything else."""
    stack: list[Fraction] = []
    # Infinity is no fraction: it is told apart before any arithmetic.
    if tokens in (("∞",), ("∞", "neg")):
        return math.inf if len(tokens) == 1 else -math.inf
    try:
        for token in tokens:
            if token[0].isdigit():
                stack.append(Fraction(token))
            elif token in _UNARY:
                stack.append(_UNARY[token](stack.pop()))
            elif token in _BINARY:
                right, left = stack.pop(), stack.pop()
                stack.append(_BINARY[token](left, right))
            else:
                return None
            # Huge numbers are not worth their time: they go to the jail.
            value = stack[-1]
            if value.numerator.bit_length() + value.denominator.bit_length() > _MAX_BITS:
                return None
    except (Refused, ZeroDivisionError):
        return None
    return stack[0]


def linear(tokens: Tokens) -> tuple[str, Fraction, Fraction] | None:
    """(variable, slope, value at 0) of a linear formula in one variable, such as 7k + 3; None for others."""
    names = {token for token in tokens if token[0] == "$"}
    stack: list[tuple[Fraction, Fraction]] = []  # slope, value at 0
    for token in tokens:
        if token[0] == "$":
            stack.append((Fraction(1), Fraction(0)))
        elif token[0].isdigit():
            stack.append((Fraction(0), Fraction(token)))
        elif token == "neg":
            stack.append(tuple(-part for part in stack.pop()))
        elif token in ("add", "sub"):
            right, left = stack.pop(), stack.pop()
            stack.append(tuple(_BINARY[token](a, b) for a, b in zip(left, right, strict=True)))
        elif token == "mul":
            right, left = stack.pop(), stack.pop()
            # the variable times itself is not linear
            if right[0] and left[0]:
                return None
            stack.append((left[0] * right[1] + right[0] * left[1], left[1] * right[1]))
        else:
            return None
        if sum(part.numerator.bit_length() for part in stack[-1]) > _MAX_BITS:
            return None
    return (names.pop(), *stack[0]) if len(names) == 1 else None


def _whole(value: Fraction, limit: int) -> int:
    if value.denominator != 1 or abs(value) > limit:
        raise Refused("not a small whole number")
    return value.numerator


def _raise(base: Fraction, exponent: Fraction) -> Fraction:
    power = _whole(exponent, _MAX_BITS)
    if (base.numerator.bit_length() + base.denominator.bit_length()) * abs(power) > 4 * _MAX_BITS:
        raise Refused("too big")
    if base == 0 and power == 0:
        raise Refused("0^0")
    return base**power


def _take_root(value: Fraction, index: Fraction) -> Fraction:
    degree = _whole(index, 64)
    if degree < 1 or value < 0 and degree % 2 == 0:
        raise Refused("no real root")
    parts = []
    for part in (abs(value.numerator), value.denominator):
        guess = math.isqrt(part) if degree == 2 else round(part ** (1 / degree)) if part < 1 << 300 else 0
        if guess**degree != part:
            raise Refused("irrational")
        parts.append(guess)
    return Fraction(parts[0] if value >= 0 else -parts[0], parts[1])


def _choose(top: Fraction, bottom: Fraction) -> Fraction:
    n, k = _whole(top, 1000), _whole(bottom, 1000)
    if n < 0 or k < 0:
        raise Refused("negative")
    return Fraction(math.comb(n, k))


def _factorial(value: Fraction) -> Fraction:
    n = _whole(value, 500)
    if n < 0:
        raise Refused("negative")
    return Fraction(math.factorial(n))


_UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "floor": lambda x: Fraction(math.floor(x)),
    "ceil": lambda x: Fraction(math.ceil(x)),
    "fact": _factorial,
}
_BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": _raise,
    "root": _take_root,
    "binom": _choose,
    "gcd": lambda x, y: Fraction(math.gcd(_whole(x, _MOST), _whole(y, _MOST))),
    "lcm": lambda x, y: Fraction(math.lcm(_whole(x, _MOST), _whole(y, _MOST))),
}
