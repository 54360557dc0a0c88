"""Values of leaves that only a computer algebra system can decide, from a jail (used by `math.py`).

Each side is evaluated in a job of its own (`jail_math.py`), and compared here: constants to 330 digits,
formulas with variables at eight points. Where sympy is not to be had, plain arithmetic still is.

    wanted = evaluate([("formula", ("2", "2", "root"))], jail)  # {key: Values}
    equal(wanted[key], Values.of(Fraction(7, 5)))  # False
"""

import decimal
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from .answers import FUNCTIONS, SYMBOLS
from .formula import Tokens
from .jail import Jail, JailResult, SandboxUnavailable

Key = tuple  # ("formula", tokens), ("equation", tokens, tokens) or ("latex", text)
_CONTEXT = decimal.Context(prec=400, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_MAX_EXPONENT = 10**12  # numbers beyond it are not compared
_MARGIN = 20  # digits that rounding may spoil
_EXACT = 330
_PER_JOB = 32  # what a job may answer is limited
_FLOAT = 29  # so that floats of plain arithmetic must agree to nine digits
_LATEX_ONLY = re.compile(r"[∫∑]|\\(?:lim|prod)(?![a-zA-Z])")
_LATEX_TOKEN = re.compile(r"\\(?:frac|lim|prod|binom)(?![a-zA-Z])|[a-z]+|[0-9]+(?:\.[0-9]+)?|.")
_LATEX_PLAIN = set("+-*/^_=(){}|! ,")
_COMMANDS = {symbol: f"\\{name} " for name, symbol in SYMBOLS.items() if not symbol.isascii()}


class Hopeless(Exception):
    """No values: "timeout" or "error" is the formula's own fault, "infra" the jail's."""


@dataclass(frozen=True)
class Values:
    """Real and imaginary parts at each point (None: undefined there), to so many digits."""

    digits: int
    points: tuple[tuple[decimal.Decimal, decimal.Decimal] | None, ...]

    @classmethod
    def of(cls, value: Fraction) -> "Values":
        top, bottom = decimal.Decimal(value.numerator), decimal.Decimal(value.denominator)
        return cls(_EXACT, ((_CONTEXT.divide(top, bottom), decimal.Decimal(0)),))

    @property
    def empty(self) -> bool:
        return all(point is None for point in self.points)

    def times(self, factor: Fraction) -> "Values":
        scale = Values.of(factor).points[0][0]
        points = [p and tuple(_CONTEXT.multiply(part, scale) for part in p) for p in self.points]
        return Values(self.digits, tuple(points))


def evaluate(keys: Iterable[Key], jail: Jail) -> dict[Key, Values]:
    """Values of all keys that have some, in one job or few. Raises Hopeless."""
    keys, found = list(dict.fromkeys(keys)), {}
    for at in range(0, len(keys), _PER_JOB):
        found |= _evaluate(keys[at : at + _PER_JOB], jail)
    return found


def _evaluate(keys: list[Key], jail: Jail) -> dict[Key, Values]:
    args = [[list(part) if isinstance(part, tuple) else part for part in key] for key in keys]
    try:
        result = jail.sibling(math=True).call("from jail_math import values", "values", args)
    except SandboxUnavailable:
        return _arithmetic(keys, jail)
    if result.status != "ok":
        raise Hopeless(result.status)
    found = {key: _read(value) for key, value in zip(keys, result.values, strict=True)}
    return {key: values for key, values in found.items() if values and not values.empty}


def _read(value: object) -> Values | None:
    """What a job answered; None for an error, or for anything that is no list of numbers."""
    try:
        digits, points = value
        parts = [p and tuple(_CONTEXT.create_decimal(part) for part in p) for p in points]
        sound = digits in (_EXACT, 60, 50) and all(p is None or _sound(*p) for p in parts)
        return Values(digits, tuple(parts)) if sound else None
    except (TypeError, ValueError, decimal.DecimalException):
        return None


def _sound(real: decimal.Decimal, imaginary: decimal.Decimal) -> bool:
    return all(part.is_finite() and abs(part.adjusted()) < _MAX_EXPONENT for part in (real, imaginary))


def equal(ours: Values, gold: Values) -> bool | None:
    """The same function, or number? None when it is undefined where we looked, or floats are all we have."""
    pairs = _pairs(ours, gold)
    tolerance = _tolerance(ours, gold)
    real = [(a[0], b[0]) for a, b in pairs if _is_real(a, tolerance) and _is_real(b, tolerance)]
    if len(pairs) == 1:
        near = all(_near(a, b, tolerance) for a, b in zip(*pairs[0], strict=True))
        return None if near and _FLOAT in (ours.digits, gold.digits) and ours.digits != gold.digits else near
    if len(real) >= 2:  # identities of real functions need not hold where a side is complex
        return all(_near(a, b, tolerance) for a, b in real)
    whole = [(a, b) for a, b in pairs if not _is_real(a, tolerance) and not _is_real(b, tolerance)]
    if len(whole) < 2:
        return False if pairs else None
    return all(_near(x, y, tolerance) for a, b in whole for x, y in zip(a, b, strict=True))


def proportion(ours: Values, gold: Values) -> int | None:
    """Sign of the real constant that turns gold's values into ours; None when there is none."""
    tolerance = _tolerance(ours, gold)
    ratio, seen = None, 0
    for a, b in _pairs(ours, gold):
        if not (_is_real(a, tolerance) and _is_real(b, tolerance)):
            continue
        zero = [_near(part[0], decimal.Decimal(0), tolerance) for part in (a, b)]
        if all(zero):
            continue
        if any(zero):
            return None
        quotient = _CONTEXT.divide(a[0], b[0])
        if ratio is not None and not _near(quotient, ratio, tolerance):
            return None
        ratio, seen = quotient, seen + 1
    return None if seen < 2 else 1 if ratio > 0 else -1


def _pairs(ours: Values, gold: Values) -> list[tuple]:
    count = max(len(ours.points), len(gold.points))
    columns = [v.points * count if len(v.points) == 1 else v.points for v in (ours, gold)]
    return [(a, b) for a, b in zip(*columns, strict=True) if a and b]


def _tolerance(ours: Values, gold: Values) -> decimal.Decimal:
    return decimal.Decimal(10) ** -(min(ours.digits, gold.digits) - _MARGIN)


def _near(a: decimal.Decimal, b: decimal.Decimal, tolerance: decimal.Decimal) -> bool:
    size = max(a.copy_abs(), b.copy_abs(), decimal.Decimal(1))
    return _CONTEXT.subtract(a, b).copy_abs() <= _CONTEXT.multiply(size, tolerance)


def _is_real(point: tuple, tolerance: decimal.Decimal) -> bool:
    return _near(
        point[1],
        decimal.Decimal(0),
        _CONTEXT.multiply(tolerance, max(point[0].copy_abs(), decimal.Decimal(1))),
    )


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
            found[key] = Values(_FLOAT, ((decimal.Decimal(value), decimal.Decimal(0)),))
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
