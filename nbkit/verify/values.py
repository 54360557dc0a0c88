"""Values of leaves that only a computer algebra system can decide, from a jail (used by `math.py`).

Each side is evaluated in a job of its own (`jail_math.py`), and compared here, digit by digit relative to
their size: constants to 330 digits, formulas with variables at 24 points. Where sympy is not to be had, plain
arithmetic still is.

    wanted = evaluate([("formula", ("2", "2", "root"))], jail)  # {key: Values}
    equal(wanted[key], Values.of(Fraction(7, 5)))  # False
"""

import decimal
import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from .answers import FUNCTIONS, SYMBOLS
from .formula import Tokens, variables
from .jail import Jail, JailResult, SandboxUnavailable

Key = tuple  # ("formula", tokens), ("equation", tokens, tokens) or ("latex", text)
_MAX_EXPONENT = 10**12  # numbers beyond it are not compared
_MARGIN = 3  # digits that rounding may spoil
_FEWEST, _MOST = 50, 4000  # digits of what a math job answers
_PER_JOB = 8  # what a job may answer is limited
_MAX_JOBS = 16
_CONTEXT = decimal.Context(prec=_MOST + 100, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_ZERO = decimal.Decimal(0)
_FLOAT = 12  # so that floats of plain arithmetic must agree to nine digits
_LATEX_ONLY = re.compile(r"[∫∑]|\\(?:lim|prod)(?![a-zA-Z])")
_LATEX_TOKEN = re.compile(r"\\(?:frac|lim|prod|binom)(?![a-zA-Z])|[a-z]+|[0-9]+(?:\.[0-9]+)?|.")
_LATEX_PLAIN = set("+-*/^_=(){}|! ,")
_COMMANDS = {symbol: f"\\{name} " for name, symbol in SYMBOLS.items() if not symbol.isascii()}


class Hopeless(Exception):
    """No values: "timeout" or "error" is the formula's own fault, "infra" the jail's."""


@dataclass(frozen=True)
class Values:
    """Real and imaginary parts at each point (None: undefined there), to so many digits; `wanted` of
    them tell it from other values."""

    digits: int
    points: tuple[tuple[decimal.Decimal, decimal.Decimal] | None, ...]
    wanted: int

    @classmethod
    def of(cls, value: Fraction) -> "Values":
        top, bottom = decimal.Decimal(value.numerator), decimal.Decimal(value.denominator)
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        return cls(_MOST, ((_CONTEXT.divide(top, bottom), _ZERO),), bits // 3)

    @property
    def empty(self) -> bool:
        return all(point is None for point in self.points)

    def times(self, factor: Fraction) -> "Values":
        if factor == 1:
            return self
        scale = Values.of(factor).points[0][0]
        points = [p and tuple(_CONTEXT.multiply(part, scale) for part in p) for p in self.points]
        return Values(self.digits, tuple(points), self.wanted)


def evaluate(keys: Iterable[Key], jail: Jail, seed: int = 0, digits: int = 0) -> dict[Key, Values]:
    """Values of all keys that have some, in one job or few. Raises Hopeless.

    `seed` chooses the points at which formulas are tried; `digits` asks for more than are usual.
    """
    keys, found = list(dict.fromkeys(keys)), {}
    if len(keys) > _PER_JOB * _MAX_JOBS:
        raise Hopeless("error")
    for at in range(0, len(keys), _PER_JOB):
        found |= _evaluate(keys[at : at + _PER_JOB], jail, (seed, digits))
    return found


def _evaluate(keys: list[Key], jail: Jail, options: tuple[int, int]) -> dict[Key, Values]:
    args = [_arguments(key, options) for key in keys]
    try:
        result = jail.sibling(math=True).call("from jail_math import values", "values", args)
    except SandboxUnavailable:
        return _arithmetic(keys, jail)
    if result.status != "ok":
        raise Hopeless(result.status)
    found = {key: _read(value) for key, value in zip(keys, result.values, strict=True)}
    return {key: values for key, values in found.items() if values and not values.empty}


def _arguments(key: Key, options: tuple[int, int]) -> list:
    parts = [list(part) if isinstance(part, tuple) else part for part in key]
    constant = key[0] == "formula" and not variables(key[1])
    return parts if constant and not options[1] else [*parts, *options]


def _read(value: object) -> Values | None:
    """What a job answered; None for an error, or for anything that is no list of numbers."""
    try:
        digits, points = value
        parts = [p and tuple(_CONTEXT.create_decimal(part) for part in p) for p in points]
        if type(digits) is not int or not _FEWEST <= digits <= _MOST:
            return None
        if not all(p is None or (len(p) == 2 and all(part.is_finite() for part in p)) for p in parts):
            return None
        return Values(digits, tuple(p if p and _sound(*p) else None for p in parts), digits)
    except (TypeError, ValueError, decimal.DecimalException):
        return None


def _sound(real: decimal.Decimal, imaginary: decimal.Decimal) -> bool:
    return all(abs(part.adjusted()) < _MAX_EXPONENT for part in (real, imaginary))


def equal(ours: Values, gold: Values) -> bool | None:
    """The same function, or number? None where floats are all we have, and they agree.

    A side may be undefined at some points (2 ln x beside ln x^2), but not at most of them.
    """
    pairs = _pairs(ours, gold)
    near = all(_near(a, b, _tolerance(ours, gold)) for a, b in pairs)
    if _FLOAT in (ours.digits, gold.digits) and ours.digits != gold.digits:
        small = all(
            abs(part) < 10 ** (_MARGIN - _FLOAT) for pair in pairs for value in pair for part in value
        )
        return None if near or small else False
    return near and 8 * len(pairs) >= max(_defined(ours, gold))


def _defined(ours: Values, gold: Values) -> list[int]:
    """At how many points each side is defined; a number counts once."""
    return [len(side.points) - side.points.count(None) for side in (ours, gold)]


def proportion(ours: Values, gold: Values) -> int | None:
    """Sign of the real constant that turns gold's values into ours; None when there is none."""
    tolerance = _tolerance(ours, gold)
    ratio, seen = None, 0
    for a, b in _pairs(ours, gold):
        if a[1] or b[1] or (not a[0] and not b[0]):
            continue
        if not a[0] or not b[0]:
            return None
        quotient = _context(tolerance + _MARGIN).divide(a[0], b[0])
        if ratio is not None and not _near((quotient, _ZERO), (ratio, _ZERO), tolerance):
            return None
        ratio, seen = quotient, seen + 1
    return None if seen < 3 else 1 if ratio > 0 else -1


def _pairs(ours: Values, gold: Values) -> list[tuple]:
    count = max(len(ours.points), len(gold.points))
    columns = [v.points * count if len(v.points) == 1 else v.points for v in (ours, gold)]
    return [(a, b) for a, b in zip(*columns, strict=True) if a and b]


def _tolerance(ours: Values, gold: Values) -> int:
    return min(ours.digits, gold.digits) - _MARGIN


def short(ours: Values, gold: Values) -> list[int]:
    """Which of the two must be known to more digits (0: ours, 1: gold) before they may count as equal?

    A side that needed many digits holds terms that fewer digits of the other cannot show.
    """
    digits, wanted = (ours.digits, gold.digits), min(_MOST, max(ours.wanted, gold.wanted))
    return [] if _FLOAT in digits else [at for at in (0, 1) if digits[at] < wanted]


@functools.cache
def _context(digits: int) -> decimal.Context:
    return decimal.Context(prec=digits + 5, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def _near(a: tuple, b: tuple, digits: int) -> bool:
    """Equal to so many digits of the larger part; nothing but 0 is near 0."""
    context = _context(digits + _MARGIN)
    size = max(part.copy_abs() for part in (*a, *b))
    gap = max(context.subtract(x, y).copy_abs() for x, y in zip(a, b, strict=True))
    return context.scaleb(gap, digits) <= size


def latex(text: str) -> str | None:
    """LaTeX of a cleaned integral, sum, product or limit, of known parts only; None for anything else."""
    if not _LATEX_ONLY.search(text) or len(text) > 200:
        return None
    parts = []
    for token in _LATEX_TOKEN.findall(text):
        if token in FUNCTIONS:
            parts.append(f"\\{token} ")
        elif token in _COMMANDS:
            parts.append(_COMMANDS[token])
        elif token[0].isdigit() and "." in token:  # its parser would make a float of it
            value = Fraction(token)
            parts.append(f"\\frac{{{value.numerator}}}{{{value.denominator}}}")
        elif (
            token[0] == "\\"
            or token.isdigit()
            or token in _LATEX_PLAIN
            or (token.isalpha() and len(token) < 4)
        ):
            parts.append(token)
        else:
            return None  # capitals among them: its parser does not tell them from small letters
    return "".join(parts)


def _arithmetic(keys: list[Key], jail: Jail) -> dict[Key, Values]:
    """Without sympy: numbers made of + - * / ^ and square roots, exact or as floats. Raises Hopeless."""
    found = {}
    for key in keys:
        expression = python(key[1]) if key[0] == "formula" else None
        result = jail.eval(expression) if expression else JailResult("infra", [])
        if result.status not in ("ok", "error"):
            raise Hopeless(result.status)
        value = result.values[0] if result.status == "ok" else None
        if type(value) is Fraction:
            found[key] = Values.of(value)
        elif type(value) is float and math.isfinite(value):
            found[key] = Values(_FLOAT, ((decimal.Decimal(value), _ZERO),), _FLOAT)
    return found


def python(tokens: Tokens) -> str | None:
    """Arithmetic as an expression for `Jail.eval`; None for anything else."""
    stack, signs = [], {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
    for token in tokens:
        if token[0].isdigit():
            stack.append(f"F('{token}')")
        elif token == "π":
            stack.append("pi")
        elif token == "neg":
            stack.append(f"(-{stack.pop()})")
        elif token in signs or token == "root":
            right, left = stack.pop(), stack.pop()
            if token == "root" and right != "F('2')":
                return None
            stack.append(f"sqrt({left})" if token == "root" else f"({left}{signs[token]}{right})")
        else:
            return None
    return stack[0]
