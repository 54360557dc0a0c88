"""Values of formulas at fixed points, computed inside a math jail (`Jail(math=True)`; used by `math.py`).

One side of a comparison per job: a formula comes in, its values go out, and the trusted side compares. So the
reference never meets the prediction, and a job that lies can only spoil its own answer. Formulas come as the
postfix tokens of `formula.py`; what that grammar does not cover (integrals, sums, limits) comes as LaTeX, for
Math-Verify's parser. Nothing here evaluates text, and `warm_up` leaves nothing to import or open later.

    values("formula", ["$x", "2", "pow"])  # (60, [["0.09", "0"], …]): digits; real, imaginary at each point
    values("formula", ["2", "2", "root"])  # (330, [["1.4142…", "0"]]): a constant has one point, more digits
    values("equation", ["$y"], ["$x"])  # values of y - x, up to a common denominator
    values("latex", r"\\int_0^1 x dx")  # (50, [["0.5", "0"]])
"""

import random

import mpmath
import sympy
from latex2sympy2_extended import latex2sympy
from mpmath import mp

# More digits than an answer may have characters, so that no decimal passes for an irrational number.
_DIGITS_CONSTANT = 330
_DIGITS_POINT = 60
_DIGITS_LATEX = 50
_POINTS = 10
_WHOLE = {"n", "k", "m", "N"}  # usually counts: identities such as cos(n pi) = (-1)^n hold for whole numbers


def evaluate(tokens: list[str]) -> tuple:
    """(digits, values) of a formula; a point where it is undefined is None."""
    names = _names(tokens)
    if names and "i" not in tokens:  # a real function is undefined where a part of it is complex
        digits, real = _evaluate(tokens, names, real=True)
        if len(real) - real.count(None) >= 2:
            return digits, real
    return _evaluate(tokens, names, real=False)


def _evaluate(tokens: list[str], names: list[str], real: bool) -> tuple:
    digits = _DIGITS_POINT if names else _DIGITS_CONSTANT
    values = []
    with mp.workdps(digits + 15):
        for at in range(_POINTS if names else 1):
            point = {name: mp.mpf(p) / q for name in names for p, q in [_coordinate(name[1:], at)]}
            try:
                values.append(
                    _pair(_run(tokens, _NUMERIC, point, lambda t: _rational(t, mp.mpf), real), digits)
                )
            except (ArithmeticError, ValueError, TypeError, mpmath.libmp.NoConvergence):
                values.append(None)
    return digits, values


def evaluate_equation(left: list[str], right: list[str]) -> tuple:
    """(digits, values) of the numerator of left - right: equal equations give proportional values."""
    names = sorted({*_names(left), *_names(right)})
    symbols = {name: sympy.Symbol(name) for name in names}
    sides = [_run(side, _SYMBOLIC, symbols, lambda t: _rational(t, sympy.Integer)) for side in (left, right)]
    numerator = sympy.fraction(sympy.cancel(sympy.together(sides[0] - sides[1])))[0]
    return _at_points(numerator, {symbols[name]: name[1:] for name in names}, _DIGITS_POINT)


def evaluate_latex(text: str) -> tuple:
    """(digits, values) of LaTeX that only Math-Verify's parser reads; ValueError when it is no expression."""
    expression = latex2sympy(text, is_real=True, convert_degrees=False, normalization_config=None)
    if not isinstance(expression, sympy.Expr):
        raise ValueError(f"not an expression: {type(expression).__name__}")
    expression = expression.xreplace({s: sympy.I for s in expression.free_symbols if s.name == "i"}).doit()
    return _at_points(expression, {symbol: symbol.name for symbol in expression.free_symbols}, _DIGITS_LATEX)


def values(kind: str, *args) -> tuple:
    """One of the above, by name: the entry point of a job."""
    return {"formula": evaluate, "equation": evaluate_equation, "latex": evaluate_latex}[kind](*args)


def warm_up() -> None:
    """Import and cache all that a job may need: afterwards no file can be opened."""
    every = ["$x", "2", "add", "$y", "mul", "3", "div", "$k", "2", "pow", "add", "$z", "3", "root", "sub"]
    for name in ("sin", "cos", "tan", "ln", "exp", "abs", "arctan", "sinh", "floor", "neg"):
        every += ["$x", name, "add"]
    for name in ("log", "binom"):
        every += ["5", "2", name, "add"]
    evaluate([*every, "e", "i", "π", "mul", "pow", "add"])
    evaluate(
        ["2", "2", "root", "3", "ln", "add", "1/3", "fact", "mul", "1", "arcsin", "add", "1", "arccos", "add"]
    )
    evaluate_equation(every, ["1", "$x", "div", "$y", "2", "root", "add"])
    for text in (
        r"\int_0^1 x^2 dx",
        r"\sum_{k=1}^{10} \frac{1}{k}",
        r"\lim_{x \to 0} \frac{\sin x}{x}",
        r"2 x^{n+1} - \sqrt[3]{5} + \log_{2} 8 + |x| + e^{i \pi} - \binom{5}{2}",
        r"\int \cos(x) + \frac{1}{x} dx",
        r"\frac{d}{dx} x^2",
        r"\prod_{k=1}^{5} k",
    ):
        try:
            evaluate_latex(text)
        except Exception:  # a sample that a later version cannot read warms nothing, and harms nothing
            continue


def _names(tokens: list[str]) -> list[str]:
    return sorted({token for token in tokens if token[0] == "$"})


def _coordinate(name: str, at: int) -> tuple[int, int]:
    """The value of a variable at a point, as a fraction; the same on every call."""
    draw = random.Random(f"{name} {at}")
    if name in _WHOLE:
        return draw.randint(2, 12) + at, 1
    sign = draw.choice((-1, 1)) if at >= _POINTS // 2 else 1
    return sign * draw.randint(101, 996), (1009, 331)[at % 2]


def _run(tokens, table, names, number, real=False):
    """Evaluate postfix tokens by a table of operators; ValueError where `real` and a part is not."""
    stack = []
    for token in tokens:
        if token[0] == "$":
            stack.append(names[token])
        elif token[0].isdigit():
            stack.append(number(token))
        else:
            arity, operate = table[token]
            args = [stack.pop() for _ in range(arity)][::-1]
            stack.append(operate(*args))
            if real and mp.im(stack[-1]) != 0:
                raise ValueError("complex")
    (value,) = stack
    return value


def _rational(token: str, kind):
    top, _, bottom = token.partition("/")
    return kind(top) / kind(bottom or "1")


def _at_points(expression: sympy.Expr, names: dict, digits: int) -> tuple:
    values = []
    with mp.workdps(digits + 15):
        for at in range(_POINTS if names else 1):
            point = {symbol: sympy.Rational(*_coordinate(name, at)) for symbol, name in names.items()}
            number = expression.xreplace(point).evalf(digits + 15)
            values.append(_pair(mpmath.mpmathify(number), digits) if number.is_number else None)
    return digits, values


def _pair(value, digits: int) -> list[str] | None:
    value = mp.mpc(value)
    if not (mp.isfinite(value.real) and mp.isfinite(value.imag)):
        return None
    return [mp.nstr(value.real, digits + 10), mp.nstr(value.imag, digits + 10)]


def _root(value, index):
    degree = int(index)
    if degree != index or not 1 <= degree <= 1000:
        raise ValueError("degree of a root")
    if degree == 2:
        return mp.sqrt(value)
    if degree % 2 and mp.im(value) == 0 and mp.re(value) < 0:
        return -mp.root(-mp.re(value), degree)  # the real root, as in school
    return mp.root(value, degree)


_SHARED = {
    "add": (2, lambda x, y: x + y),
    "sub": (2, lambda x, y: x - y),
    "mul": (2, lambda x, y: x * y),
    "div": (2, lambda x, y: x / y),
    "pow": (2, lambda x, y: x**y),
    "neg": (1, lambda x: -x),
}
_NUMERIC = _SHARED | {
    "root": (2, _root),
    "binom": (2, mp.binomial),
    "log": (2, lambda x, base: mp.log(x) / mp.log(base)),
    "ln": (1, mp.log),
    "cis": (1, lambda x: mp.cos(x) + mp.j * mp.sin(x)),
    "abs": (1, abs),
    "floor": (1, mp.floor),
    "ceil": (1, mp.ceil),
    "fact": (1, mp.factorial),
    "e": (0, lambda: mp.e()),
    "i": (0, lambda: mp.j),
    "π": (0, lambda: mp.pi()),
    "∞": (0, lambda: mp.inf),
}
_SYMBOLIC = _SHARED | {
    "root": (2, sympy.root),
    "binom": (2, sympy.binomial),
    "log": (2, sympy.log),
    "ln": (1, sympy.log),
    "cis": (1, lambda x: sympy.exp(sympy.I * x)),
    "abs": (1, sympy.Abs),
    "floor": (1, sympy.floor),
    "ceil": (1, sympy.ceiling),
    "fact": (1, sympy.factorial),
    "e": (0, lambda: sympy.E),
    "i": (0, lambda: sympy.I),
    "π": (0, lambda: sympy.pi),
    "∞": (0, lambda: sympy.oo),
}
for _name in ["sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp"]:
    _NUMERIC[_name] = (1, getattr(mp, _name))
    _SYMBOLIC[_name] = (1, getattr(sympy, _name))
for _name in ["sin", "cos", "tan"]:
    _NUMERIC["arc" + _name] = (1, getattr(mp, "a" + _name))
    _SYMBOLIC["arc" + _name] = (1, getattr(sympy, "a" + _name))
