"""Values of formulas at points, computed inside a math jail (`Jail(math=True)`; used by `math.py`).

One side of a comparison per job: a formula comes in, its values go out, and the trusted side compares. So the
reference never meets the prediction, and a job that lies can only spoil its own answer. Formulas come as the
postfix tokens of `formula/`; what that grammar does not cover (integrals, sums, limits) comes as LaTeX, for
Math-Verify's parser. Nothing here evaluates text, and `warm_up` leaves nothing to import or open later.

    values("formula", ["$x", "2", "pow"])  # [["0.09…", "0", 60], …]: real, imaginary, digits at each point
    values("formula", ["2", "2", "root"])  # [["1.4142…", "0", 330]]: a constant has one point, more digits
    values("equation", ["$y"], ["$x"])  # values of y - x, up to a common denominator
    values("latex", r"\\int_0^1 x dx")  # [["0.5", "0", 330]]

Every value is exact to the digits that come with it, or "0". More of them are given where fewer would lose a
term (1 + 10^-90). The points depend on `seed`, so that no formula can be made to fit them.
"""

import contextlib

import jail_series
import mpmath
import sympy
from antlr4 import Token
from jail_balls import OPERATORS, Ball, Balls, Coarse, imaginary, size
from jail_series import points
from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from mpmath import mp

# More digits than an answer may have characters, so that no decimal passes for an irrational number.
_DIGITS_CONSTANT = 330
_DIGITS_POINT = 60
_DIGITS_LATEX = 50  # of sums and integrals that have no closed form
_MOST_DIGITS = {True: 1000, False: 4000}  # at points, of a constant
_LATEX_EVERY = 3  # of the points: they take long


def evaluate(tokens: list[str], seed: int = 0, digits: int = 0) -> list:
    """Values of a formula; a point where it is undefined is None."""
    names = _names(tokens)
    if names and "i" not in tokens:  # a real function is undefined where a part of it is complex
        found = _evaluate(tokens, names, seed, digits, real=True)
        if len(found) - found.count(None) >= 2:
            return found
    return _evaluate(tokens, names, seed, digits, real=False)


def _evaluate(tokens: list[str], names: list[str], seed: int, digits: int, real: bool) -> list:
    digits = digits or (_DIGITS_POINT if names else _DIGITS_CONSTANT)
    most, found = _MOST_DIGITS[bool(names)], []
    for point in points(names, seed, whole=not {"gcd", "lcm"}.isdisjoint(tokens)):
        shown = min(
            most,
            digits + 3 * max((abs(top // bottom).bit_length() for top, bottom in point.values()), default=0),
        )
        value, bits = _compute(tokens, point, _bits(shown), 2 * _bits(most), real)
        while bits - 64 > 1.5 * _bits(shown) and shown < most:  # it took many: more digits matter
            shown = min(most, 2 * shown, int((bits - 64) / 3.33))  # not more than it has
        found.append(None if value is None else _shown(value, shown))
    return found


def evaluate_equation(left: list[str], right: list[str], seed: int = 0, digits: int = 0) -> list:
    """Values of the numerator of left - right: equal equations give proportional values."""
    names = sorted({*_names(left), *_names(right)})
    symbols = {name: sympy.Symbol(name) for name in names}
    sides = [_symbolic(side, symbols) for side in (left, right)]
    numerator = sympy.fraction(sympy.cancel(sympy.together(sides[0] - sides[1])))[0]
    return _evaluate(_tokens(numerator), names, seed, digits, real=True)


def evaluate_latex(text: str, seed: int = 0, digits: int = 0) -> list:
    """Values of LaTeX that only Math-Verify's parser reads; ValueError when it is no expression."""
    parser = _Latex2Sympy().create_parser(text)
    parser.math()
    if parser.getTokenStream().LA(1) != Token.EOF:
        raise ValueError("only a part of it was read")
    expression = latex2sympy(text, is_real=True, convert_degrees=False, normalization_config=None)
    if not isinstance(expression, sympy.Expr):
        raise ValueError(f"not an expression: {type(expression).__name__}")
    free = {s: sympy.I if s.name == "i" else sympy.Symbol("$" + s.name) for s in expression.free_symbols}
    expression = expression.xreplace(free).doit()
    try:
        return evaluate(_tokens(expression), seed, digits)
    except KeyError:  # a sum or an integral without a closed form
        return _numbers(expression, seed)


def values(kind: str, *args) -> list:
    """One of the above, by name: the entry point of a job."""
    return {"formula": evaluate, "equation": evaluate_equation, "latex": evaluate_latex}[kind](*args)


def warm_up() -> None:
    """Import and cache all that a job may need: afterwards no file can be opened."""
    # Every operator once, every form of LaTeX once: each imports something.
    every = ["$x", "2", "add", "$y", "mul", "3", "div", "$k", "2", "pow", "add", "$z", "3", "root", "sub"]
    for name in ("sin", "cos", "tan", "ln", "exp", "abs", "arctan", "sinh", "floor", "neg"):
        every += ["$x", name, "add"]
    for name in ("log", "binom"):
        every += ["5", "2", name, "add"]
    evaluate([*every, "e", "i", "π", "mul", "pow", "add"])
    evaluate(
        [
            *[
                "2",
                "2",
                "root",
                "3",
                "ln",
                "add",
                "1/3",
                "fact",
                "mul",
                "1/2",
                "arcsin",
                "add",
                "1",
                "arccos",
                "add",
            ],
            *["e", "π", "mul", "add"],
        ]
    )
    evaluate_equation(every, ["1", "$x", "div", "$y", "2", "root", "add"])
    for text in (
        r"\int_0^1 x^2 dx",
        r"\sum_{k=1}^{10} \frac{1}{k}",
        r"\lim_{x \to 0} \frac{\sin x}{x}",
        r"2 x^{n+1} - \sqrt[3]{5} + \log_{2} 8 + |x| + e^{i \pi} - \binom{5}{2}",
        r"\int \cos(x) + \frac{1}{x} dx",
        r"\frac{d}{dx} x^2",
        r"\max(3, x) + \gcd(12, 18)",
        r"\prod_{k=1}^{5} k",
    ):
        with contextlib.suppress(Exception):  # what a later version cannot read warms nothing
            evaluate_latex(text)


def _compute(tokens: list, point: dict, wanted: int, limit: int, real: bool = False) -> tuple:
    """(value, bits it took) of postfix tokens at a point ({"$x": (top, bottom)}), to `wanted` bits.

    (None, 0) where it has no value, where `limit` bits do not settle it, or where it is complex, not `real`.
    """
    bits = wanted + 64
    while bits <= limit:
        try:
            with mp.workprec(bits + 32):
                value, error = _run(tokens, point, Balls(bits, wanted), real)
                if not value or error <= size(value) - wanted:
                    return value, bits
                bits += int(error - size(value)) + wanted + 32
        except Coarse as reason:
            bits = max(reason.bits, bits + 32)
        except (ArithmeticError, ValueError, TypeError, mpmath.libmp.NoConvergence):
            return None, 0
    return None, 0


def _run(tokens: list, point: dict, balls: Balls, real: bool) -> Ball:
    """`point` holds fractions of variables, and balls of the names that run in a series ("#k")."""
    stack, at = [], 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token[0] == "$":
            stack.append(balls.number(*point[token]))
        elif token[0] == "#":
            stack.append(point[token])
        elif token[0].isdigit():
            top, _, bottom = token.partition("/")
            stack.append(balls.number(int(top), int(bottom or "1")))
        elif token[0] == "@":
            # An indexed term is a function of its index, which must be whole.
            index = balls.whole(stack.pop())
            if index is None:
                raise ValueError("an index that is no whole number")
            stack.append(jail_series.term_of(token, index, balls))
        elif token[0] == "[":
            # A series: its bounds are on the stack, its term follows up to the closing bracket.
            end = jail_series.end_of(tokens, at)
            high, low = stack.pop(), stack.pop()
            stack.append(
                jail_series.evaluate(
                    token,
                    (low, high),
                    tokens[at:end],
                    lambda term, name, ball: _run(term, {**point, name: ball}, balls, real),
                    balls,
                )
            )
            at = end + 1
        else:
            # Any other token takes its arguments from the stack.
            arity, operate = OPERATORS[token]
            args = [stack.pop() for _ in range(arity)][::-1]
            stack.append(operate(balls, *args))
            if real and imaginary(stack[-1][0]):
                raise ValueError("complex")
    (ball,) = stack
    return ball


def _names(tokens: list[str]) -> list[str]:
    return sorted({token for token in tokens if token[0] == "$"})


# --- sympy's expressions ---

_SYMBOLIC = {
    "add": (2, lambda x, y: x + y),
    "sub": (2, lambda x, y: x - y),
    "mul": (2, lambda x, y: x * y),
    "div": (2, lambda x, y: x / y),
    "pow": (2, lambda x, y: x**y),
    "neg": (1, lambda x: -x),
    "root": (2, sympy.root),
    "binom": (2, sympy.binomial),
    "log": (2, sympy.log),
    "cis": (1, lambda x: sympy.exp(sympy.I * x)),
    "e": (0, lambda: sympy.E),
    "i": (0, lambda: sympy.I),
    "π": (0, lambda: sympy.pi),
    "∞": (0, lambda: sympy.oo),
}
_SAME_NAME = ["sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp"]
_FUNCTIONS = {name: name for name in _SAME_NAME} | {
    "log": "ln", "Abs": "abs", "floor": "floor", "ceiling": "ceil", "factorial": "fact", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "binomial": "binom",
}  # fmt: skip
for _name, _ours in _FUNCTIONS.items():
    _SYMBOLIC.setdefault(_ours, (1, getattr(sympy, _name)))
_CHAINS = {"Add": "add", "Mul": "mul", "Max": "max", "Min": "min"}
_CONSTANTS = {sympy.E: "e", sympy.I: "i", sympy.pi: "π"}


def _symbolic(tokens: list[str], names: dict) -> sympy.Expr:
    stack = []
    for token in tokens:
        if token[0] == "$":
            stack.append(names[token])
        elif token[0].isdigit():
            stack.append(sympy.Rational(token))
        else:
            arity, operate = _SYMBOLIC[token]
            args = [stack.pop() for _ in range(arity)][::-1]
            stack.append(operate(*args))
    (value,) = stack
    return value


def _tokens(expression: sympy.Expr) -> list[str]:
    """Postfix tokens of an expression whose symbols are named as variables are; KeyError for other parts."""
    if expression.is_Symbol:
        return [expression.name]
    if expression.is_Rational:
        return [str(abs(expression))] + (["neg"] if expression < 0 else [])
    if expression in _CONSTANTS:
        return [_CONSTANTS[expression]]
    args = [_tokens(arg) for arg in expression.args]
    name = type(expression).__name__
    if name in _CHAINS:
        return args[0] + [token for arg in args[1:] for token in (*arg, _CHAINS[name])]
    if expression.is_Pow:
        return args[0] + args[1] + ["pow"]
    return [token for arg in args for token in arg] + [_FUNCTIONS[name]]


def _numbers(expression: sympy.Expr, seed: int) -> list:
    """Numerically, by sympy's own means, at fewer points."""
    names = sorted(symbol.name for symbol in expression.free_symbols)
    found = []
    with mp.workdps(_DIGITS_LATEX + 15):
        for at, point in enumerate(points(names, seed)):
            if at % _LATEX_EVERY:
                found.append(None)
                continue
            place = {sympy.Symbol(name): sympy.Rational(*value) for name, value in point.items()}
            number = expression.xreplace(place).evalf(_DIGITS_LATEX + 15)
            found.append(_shown(_mpmath(number), _DIGITS_LATEX) if number.is_number else None)
    return found


def _mpmath(number: sympy.Expr):
    """Without the parts that sympy could not tell from 0."""
    parts = [sympy.S.Zero if getattr(part, "_prec", 2) == 1 else part for part in number.as_real_imag()]
    return mp.mpc(*(mpmath.mpmathify(part) for part in parts))


def _shown(value, digits: int) -> list | None:
    if not mp.isfinite(value):
        return None
    with mp.workdps(digits + 20):
        imaginary = mp.im(value)
        imaginary = mp.nstr(imaginary, digits + 5) if imaginary else "0"
        return [mp.nstr(mp.re(value), digits + 5), imaginary, digits]


def _bits(digits: int) -> int:
    return int(digits * 3.3219281) + 1
