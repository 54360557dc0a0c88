"""Numbers that know how exact they are, for the math jail (`jail_math.py`).

A ball is (value, error): the true number lies within 2^error of the value. Where an operation would lose
what it is about (1 + e^-1000 at 60 digits is 1), it raises `Coarse` with the bits that it wants, and the
caller tries again with more. So two numbers that differ are never equal for want of digits.

    balls = Balls(bits=300, wanted=200)
    balls.run("exp", balls.number(1, 3))  # (mpf(1.3956…), -298)
    balls.run("add", balls.number(1), balls.run("exp", balls.number(-1000)))  # raises Coarse(bits=3060)

A value within its error of 0 is taken for 0, once the error is below 2^-wanted.
"""

import functools
import math

from mpmath import mp

Ball = tuple  # (mpf or mpc, error as a power of two)

_EXACT = -math.inf
_TOO_BIG = 1 << 60
_HUGE = 60  # bits of an exponent: beyond it a number is not computed
_HUGE_ANGLE = 4000  # bits of an angle


class Coarse(ArithmeticError):
    """So many bits are wanted."""

    def __init__(self, bits: float) -> None:
        super().__init__(bits)
        self.bits = int(bits)


def size(value) -> float:
    """|value| < 2^size; -inf for 0."""
    if isinstance(value, mp.mpc):
        return max(size(value.real), size(value.imag)) + 1
    _, mantissa, exponent, bits = value._mpf_  # as mp.mag does, without its checks
    return exponent + bits if mantissa else _EXACT


def imaginary(value):
    return value.imag if isinstance(value, mp.mpc) else 0


@functools.cache
def _fraction(top: int, bottom: int, bits: int):
    return mp.mpf(top) / bottom  # at the precision that belongs to `bits`


class Balls:
    """Arithmetic at `bits` of working precision (`mp.prec` is set by the caller); see `OPERATORS` for names.

    Raises Coarse, and ValueError, ZeroDivisionError or OverflowError where an operation has no value.
    """

    def __init__(self, bits: int, wanted: int) -> None:
        self.bits, self.wanted = bits, wanted

    def number(self, top: int, bottom: int = 1) -> Ball:
        if max(top.bit_length(), bottom.bit_length()) > self.bits // 2:
            raise Coarse(2 * max(top.bit_length(), bottom.bit_length()) + 64)
        value = _fraction(top, bottom, self.bits)
        return value, (_EXACT if bottom == 1 else size(value) - self.bits)

    def run(self, name: str, *args: Ball) -> Ball:
        return OPERATORS[name][1](self, *args)

    def _ball(self, value, error: float) -> Ball:
        """A result with its rounding error; parts that may be 0 become 0."""
        reach = size(value)
        if reach > _TOO_BIG or (reach == _EXACT and not mp.isfinite(value)):
            raise OverflowError("too big")
        error = max(error, reach - self.bits) + 2
        if reach > error and not isinstance(value, mp.mpc):
            return value, error
        parts = [mp.mpf(0) if size(part) <= error else part for part in (mp.re(value), mp.im(value))]
        value = mp.mpc(*parts) if parts[1] else parts[0]
        if not value and error > -self.wanted:
            raise Coarse(self.bits + error + self.wanted + 32)
        return value, error

    def _lossless(self, *sizes: float) -> None:
        """Terms of such sizes: may the smallest be lost beside the largest?"""
        finite = [size for size in sizes if size != _EXACT]
        if finite and max(finite) - min(finite) > self.bits // 2:
            raise Coarse(2 * (max(finite) - min(finite)) + 64)

    def _not_tiny(self, *balls: Ball) -> None:
        """Is f(x) told from f(0)?"""
        for value, _ in balls:
            if value and size(value) < -self.bits // 4:
                raise Coarse(-4 * size(value) + 64)

    # --- operators: each takes balls and gives a ball ---

    def add(self, x: Ball, y: Ball) -> Ball:
        self._lossless(size(x[0]), size(y[0]))
        return self._ball(x[0] + y[0], max(x[1], y[1]))

    def neg(self, x: Ball) -> Ball:
        return -x[0], x[1]

    def sub(self, x: Ball, y: Ball) -> Ball:
        return self.add(x, self.neg(y))

    def mul(self, x: Ball, y: Ball) -> Ball:
        error = max(x[1] + size(y[0]), y[1] + size(x[0]), x[1] + y[1])
        return self._ball(x[0] * y[0], error)

    def div(self, x: Ball, y: Ball) -> Ball:
        if not y[0]:
            raise ZeroDivisionError
        value, least = x[0] / y[0], size(y[0]) - 2
        if y[1] > least - 4:
            raise Coarse(self.bits + y[1] - least + 64)
        return self._ball(value, max(x[1], y[1] + size(value)) - least + 1)

    def power(self, x: Ball, y: Ball) -> Ball:
        exponent = self.whole(y)
        if not x[0]:
            # 0 to a positive power is 0; to another it has no value.
            if mp.re(y[0]) <= 0:
                raise ZeroDivisionError
            return x[0], max(x[1], x[1] * float(mp.re(y[0]))) if x[1] != _EXACT else _EXACT
        # exp(y ln x), for exponents that are no whole numbers.
        if exponent is None:
            self._not_tiny(y)
            return self.exp(self.mul(y, self.ln(x)))
        grown = abs(exponent) * abs(size(x[0]))
        if grown > _TOO_BIG or abs(exponent) > _TOO_BIG:
            raise OverflowError("too big")
        value = x[0] ** exponent
        # The relative error grows by the exponent: its bits are added.
        return self._ball(value, size(value) + x[1] - size(x[0]) + exponent.bit_length() + 1)

    def root(self, x: Ball, index: Ball) -> Ball:
        degree = self.whole(index)
        if degree is None or not 1 <= degree <= 1000:
            raise ValueError("degree of a root")
        if not x[0]:
            return x[0], x[1] / degree
        if degree % 2 and not imaginary(x[0]) and mp.re(x[0]) < 0:
            value = -mp.root(-mp.re(x[0]), degree)  # the real root, as in school
        else:
            value = mp.sqrt(x[0]) if degree == 2 else mp.root(x[0], degree)
        return self._ball(value, size(value) + x[1] - size(x[0]) + 1)

    def exp(self, x: Ball) -> Ball:
        self._not_tiny(x)
        if size(x[0]) > _HUGE:
            raise OverflowError("too big")
        if x[1] > -4:
            raise Coarse(self.bits + x[1] + 64)
        value = mp.exp(x[0])
        return self._ball(value, size(value) + x[1] + 1)

    def ln(self, x: Ball) -> Ball:
        if not x[0]:
            raise ZeroDivisionError
        return self._ball(mp.log(x[0]), x[1] - size(x[0]) + 1)

    def log(self, x: Ball, base: Ball) -> Ball:
        return self.div(self.ln(x), self.ln(base))

    def _wave(self, x: Ball, function) -> Ball:
        if size(x[0]) > _HUGE_ANGLE or imaginary(x[0]) and size(imaginary(x[0])) > _HUGE:
            raise OverflowError("too big")
        if x[1] > -4:
            raise Coarse(self.bits + x[1] + 64)
        self._not_tiny(x)
        steep = int(abs(imaginary(x[0])) * 2) + 2 if imaginary(x[0]) else 0
        return self._ball(function(x[0]), x[1] + steep)

    def sin(self, x: Ball) -> Ball:
        return self._wave(x, mp.sin)

    def cos(self, x: Ball) -> Ball:
        return self._wave(x, mp.cos)

    def cis(self, x: Ball) -> Ball:
        return self.add(self.cos(x), self.mul((mp.j, _EXACT), self.sin(x)))

    def sinh(self, x: Ball) -> Ball:
        return self.div(self.sub(self.exp(x), self.exp(self.neg(x))), self.number(2)) if x[0] else x

    def cosh(self, x: Ball) -> Ball:
        return self.div(self.add(self.exp(x), self.exp(self.neg(x))), self.number(2))

    def tanh(self, x: Ball) -> Ball:
        return self.div(self.sinh(x), self.cosh(x))

    def arcsin(self, x: Ball) -> Ball:
        return self._inverse(x, mp.asin)

    def arccos(self, x: Ball) -> Ball:
        return self._inverse(x, mp.acos)

    def _inverse(self, x: Ball, function) -> Ball:
        self._not_tiny(x)
        slope = 1 - x[0] ** 2
        steep = -size(slope) / 2 + 1 if slope and size(slope) > x[1] else -x[1] / 2
        if steep == math.inf:  # exactly 1
            steep = 0
        return self._ball(function(x[0]), x[1] + steep)

    def arctan(self, x: Ball) -> Ball:
        self._not_tiny(x)
        if size(x[0]) > self.bits // 4:
            raise Coarse(4 * size(x[0]) + 64)
        slope = 1 + x[0] ** 2
        if not slope:
            raise ZeroDivisionError
        return self._ball(mp.atan(x[0]), x[1] - size(slope) + 1)

    def magnitude(self, x: Ball) -> Ball:
        return mp.fabs(x[0]), x[1]

    def largest(self, x: Ball, y: Ball) -> Ball:
        gap = self.sub(x, y)[0]
        if imaginary(gap):
            raise ValueError("complex numbers have no order")
        return x if gap >= 0 else y

    def smallest(self, x: Ball, y: Ball) -> Ball:
        return y if self.largest(x, y) is x else x

    def whole(self, x: Ball) -> int | None:
        """The whole number that a ball stands for, or None."""
        if imaginary(x[0]):
            return None
        real = mp.re(x[0])
        if size(real) > 20 * self.bits:
            return None if x[1] != _EXACT else int(real)
        nearest = int(mp.nint(real))
        return nearest if size(real - nearest) <= x[1] or real == nearest else None

    def floor(self, x: Ball) -> Ball:
        if imaginary(x[0]):
            raise ValueError("floor of a complex number")
        nearest = self.whole(x)
        if nearest is None and size(x[0]) > self.bits // 2:
            raise Coarse(2 * size(x[0]) + 64)
        return self.number(int(mp.floor(x[0])) if nearest is None else nearest)

    def ceil(self, x: Ball) -> Ball:
        return self.neg(self.floor(self.neg(x)))

    def fact(self, x: Ball) -> Ball:
        return self._gamma(lambda n: mp.factorial(n), x)

    def binom(self, n: Ball, k: Ball) -> Ball:
        return self._gamma(mp.binomial, n, k)

    def _gamma(self, function, *args: Ball) -> Ball:
        """A function made of gamma functions; whole numbers count as such."""
        known = [self.whole(arg) for arg in args]
        for (value, _), number in zip(args, known, strict=True):
            if size(value) > _HUGE:
                raise OverflowError("too big")
            if number is None:
                self._not_tiny((value, 0))
        exact = [mp.mpf(n) if n is not None else arg[0] for n, arg in zip(known, args, strict=True)]
        value = function(*exact)
        errors = [arg[1] + max(size(arg[0]), 0) for n, arg in zip(known, args, strict=True) if n is None]
        return self._ball(value, size(value) + max(errors, default=_EXACT) + 8 if value else _EXACT)


def _over(name: str, other: str | None):
    """sin / cos and the like; `other` None: the reciprocal."""

    def operate(balls: Balls, x: Ball) -> Ball:
        if other is None:
            return balls.div(balls.number(1), balls.run(name, x))
        return balls.div(balls.run(name, x), balls.run(other, x))

    return operate


def _constant(make):
    return lambda balls: (make(), 2 - balls.bits)


OPERATORS = {
    "add": (2, Balls.add), "sub": (2, Balls.sub), "mul": (2, Balls.mul), "div": (2, Balls.div),
    "pow": (2, Balls.power), "neg": (1, Balls.neg), "root": (2, Balls.root), "binom": (2, Balls.binom),
    "log": (2, Balls.log), "ln": (1, Balls.ln), "exp": (1, Balls.exp), "cis": (1, Balls.cis),
    "abs": (1, Balls.magnitude), "floor": (1, Balls.floor), "ceil": (1, Balls.ceil), "fact": (1, Balls.fact),
    "sin": (1, Balls.sin), "cos": (1, Balls.cos), "sinh": (1, Balls.sinh), "cosh": (1, Balls.cosh),
    "tanh": (1, Balls.tanh), "arcsin": (1, Balls.arcsin), "arccos": (1, Balls.arccos),
    "arctan": (1, Balls.arctan), "tan": (1, _over("sin", "cos")), "cot": (1, _over("cos", "sin")),
    "sec": (1, _over("cos", None)), "csc": (1, _over("sin", None)),
    "max": (2, Balls.largest), "min": (2, Balls.smallest),
    "e": (0, _constant(lambda: +mp.e)), "π": (0, _constant(lambda: +mp.pi)), 
    "i": (0, lambda _: (mp.j, _EXACT)),
}  # fmt: skip
