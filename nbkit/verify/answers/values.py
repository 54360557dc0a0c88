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
from typing import NamedTuple

from nbkit.verify.answers.parse.clean import FUNCTIONS, SYMBOLS
from nbkit.verify.answers.parse.formula import Tokens, variables
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.results import JailResult
from nbkit.verify.jail.tiers import SandboxUnavailable

Key = tuple  # ("formula", tokens), ("equation", tokens, tokens) or ("latex", text)
_MAX_EXPONENT = 10**12  # numbers beyond it are not compared
_MARGIN = 3  # digits that rounding may spoil
_FEWEST, _MOST = 50, 4000  # digits of what a math job answers
_PER_JOB = 8  # what a job may answer is limited
_MAX_JOBS = 16
_CONTEXT = decimal.Context(prec=_MOST + 100, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_ZERO = decimal.Decimal(0)
_FLOAT = 12  # so that floats of plain arithmetic must agree to nine digits
_FLOAT_NOISE = decimal.Decimal("1e-9")
_LATEX_ONLY = re.compile(r"[∫∑]|\\(?:lim|prod|max|min|gcd|lcm)(?![a-zA-Z])")
_SERIES = re.compile(r"∑|\\prod(?![a-zA-Z])")
_LATEX_BARE = re.compile(r"(?<![\\a-zA-Z])(max|min|gcd|lcm)(?= ?\()")
_LATEX_NUMBERS = re.compile(r"\\(?:gcd|lcm)(?![a-zA-Z])")  # of letters its parser makes 1
_LATEX_TOKEN = re.compile(
    r"\\(?:frac|lim|prod|binom|max|min|gcd|lcm)(?![a-zA-Z])|[a-z]+|[0-9]+(?:\.[0-9]+)?|."
)
_LATEX_PLAIN = set("+-*/^_=(){}|! ,")
_COMMANDS = {symbol: f"\\{name} " for name, symbol in SYMBOLS.items() if not symbol.isascii()}


class Hopeless(Exception):
    """No values: "timeout" or "error" is the formula's own fault, "infra" the jail's."""


class Point(NamedTuple):
    """A value that is known to `digits`; so many as `wanted` tell it from others."""

    real: decimal.Decimal
    imaginary: decimal.Decimal
    digits: int
    wanted: int


@dataclass(frozen=True)
class Values:
    """The value at each point; None where there is none."""

    points: tuple[Point | None, ...]

    @classmethod
    def of(cls, value: Fraction) -> "Values":
        top, bottom = decimal.Decimal(value.numerator), decimal.Decimal(value.denominator)
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        return cls((Point(_CONTEXT.divide(top, bottom), _ZERO, _MOST, bits // 3),))

    @property
    def empty(self) -> bool:
        return all(point is None for point in self.points)

    def times(self, factor: Fraction) -> "Values":
        if factor == 1:
            return self
        scale = Values.of(factor).points[0].real
        scaled = [
            p and Point(_CONTEXT.multiply(p.real, scale), _CONTEXT.multiply(p.imaginary, scale), *p[2:])
            for p in self.points
        ]
        return Values(tuple(scaled))


def evaluate(keys: Iterable[Key], jail: Jail, seed: int = 0, digits: int = 0) -> dict[Key, Values]:
    """Values of all keys that have some, in one job or few. Raises Hopeless.

    `seed` chooses the points at which formulas are tried; `digits` asks for more than are usual.
    """
    keys, found = list(dict.fromkeys(keys)), {}
    if len(keys) > _PER_JOB * _MAX_JOBS:
        raise Hopeless("error")
    size = 1 if digits else _PER_JOB
    for at in range(0, len(keys), size):
        found |= _evaluate(keys[at : at + size], jail, (seed, digits))
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


def _read(found: object) -> Values | None:
    """What a job answered; None for an error, or for anything that is no list of numbers."""
    try:
        values = Values(tuple(None if point is None else _point(*point) for point in found))
    except (TypeError, ValueError, decimal.DecimalException):
        return None
    exact = all(p is None or _FEWEST <= p.digits <= _MOST for p in values.points)
    return values if exact and values.points else None


def _point(real: str, imaginary: str, digits: int) -> Point | None:
    parts = [_CONTEXT.create_decimal(part) for part in (real, imaginary)]
    if type(digits) is not int or not all(type(part) is str for part in (real, imaginary)):
        raise TypeError("wanted two numbers as text, and their digits")
    if not all(part.is_finite() for part in parts):
        raise ValueError("wanted finite numbers")
    return Point(*parts, digits, digits) if all(abs(p.adjusted()) < _MAX_EXPONENT for p in parts) else None


def equal(ours: Values, gold: Values) -> bool | None:
    """The same function, or number? None where floats are all we have, and they agree.

    A side may be undefined at some points (2 ln x beside ln x^2), but not at most of them.
    """
    pairs = _pairs(ours, gold)
    near = all(_near(a, b) for a, b in pairs)
    if any((a.digits == _FLOAT) != (b.digits == _FLOAT) for a, b in pairs):
        small = all(max(abs(p.real), abs(p.imaginary)) < _FLOAT_NOISE for pair in pairs for p in pair)
        return None if near or small else False
    defined = max(len(side.points) - side.points.count(None) for side in (ours, gold))
    return near and 8 * len(pairs) >= defined


def proportion(ours: Values, gold: Values) -> int | None:
    """Sign of the real constant that turns gold's values into ours; None when there is none."""
    first, seen = None, 0
    for a, b in _pairs(ours, gold):
        if a.imaginary or b.imaginary or (not a.real and not b.real):
            continue
        if not a.real or not b.real:
            return None
        digits = min(a.digits, b.digits)
        ratio = Point(_context(digits).divide(a.real, b.real), _ZERO, digits, 0)
        if first is not None and not _near(ratio, first):
            return None
        first, seen = first or ratio, seen + 1
    return None if seen < 3 else 1 if first.real > 0 else -1


def short(ours: Values, gold: Values) -> int:
    """The digits to which both must be known before they may count as equal; 0 where they are.

    A side that needed many digits holds terms that fewer digits of the other cannot show.
    """
    pairs = [pair for pair in _pairs(ours, gold) if _FLOAT not in (pair[0].digits, pair[1].digits)]
    lacking = [max(a.wanted, b.wanted) for a, b in pairs if min(a.digits, b.digits) < max(a.wanted, b.wanted)]
    return min(_MOST, max(lacking, default=0))


def _pairs(ours: Values, gold: Values) -> list[tuple[Point, Point]]:
    count = max(len(ours.points), len(gold.points))
    columns = [v.points * count if len(v.points) == 1 else v.points for v in (ours, gold)]
    return [(a, b) for a, b in zip(*columns, strict=True) if a and b]


@functools.cache
def _context(digits: int) -> decimal.Context:
    return decimal.Context(prec=digits + 5, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def _near(a: Point, b: Point) -> bool:
    """Equal to the digits that both are known to, of the larger part; nothing but 0 is near 0."""
    digits = min(a.digits, b.digits)
    context = _context(digits)
    gaps = context.subtract(a.real, b.real), context.subtract(a.imaginary, b.imaginary)
    size = max(part.copy_abs() for part in (a.real, a.imaginary, b.real, b.imaginary))
    return context.scaleb(max(gap.copy_abs() for gap in gaps), digits - _MARGIN) <= size


def latex(text: str) -> str | None:
    """LaTeX of a cleaned integral, sum, product, limit, maximum, minimum, or common divisor or multiple,
    of known parts only; None for anything else."""
    text = _LATEX_BARE.sub(r"\\\1 ", text[:201])
    # What has another way to be read is not read as LaTeX.
    if not _LATEX_ONLY.search(text) or len(text) > 200:
        return None
    if _SERIES.search(text) and ("∞" not in text or re.search(r"[a-zA-Z] ?_", text.replace("\\prod", "∑"))):
        return None  # `formula/` reads those with an end; an a_k would be taken for a constant
    if _LATEX_NUMBERS.search(text) and re.search("[a-zA-Zα-ω]", re.sub(r"\\[a-z]+", "", text)):
        return None
    # Token by token, known ones only: this text goes to a parser in the jail.
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
            found[key] = Values((Point(decimal.Decimal(value), _ZERO, _FLOAT, 0),))
    return found


def python(tokens: Tokens) -> str | None:
    """Arithmetic as an expression for `Jail.eval`; None for anything else."""
    # Postfix to infix, for the parts that plain Python computes: this text goes to the jail.
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
            # Only square roots are exact enough in plain arithmetic.
            if token == "root" and right != "F('2')":
                return None
            stack.append(f"sqrt({left})" if token == "root" else f"({left}{signs[token]}{right})")
        else:
            return None
    return stack[0]
