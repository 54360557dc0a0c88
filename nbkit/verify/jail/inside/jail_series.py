"""For the math jail (`jail_math.py`): sums and products with bounds, term by term, common divisors and
multiples, and the points at which formulas with variables are tried.

    points(["$x"], seed=1)[0]  # {"$x": (209, 331)}: as fractions; the same on every call

The tokens of one are its bounds, "[sum" or "[prod", the name that runs, its term, and "]":

    ["1", "$n", "[sum", "#k", "#k", "2", "pow", "]"]  # 1 + 4 + 9 + … + n^2

A sum of polynomials has a closed form, so that its bounds may have any size; of others at most `MOST_TERMS`
are computed, and where there are more, it has no value.
"""

import math
import random

from jail_balls import OPERATORS, Ball, Balls

MOST_TERMS = 500  # at a point, of all the series in a formula
_MOST_DEGREE = 12
_POINTS = 24
_COUNTS = {"n", "N"}  # whole and positive: identities such as cos(n pi) = (-1)^n hold for whole numbers
_INTEGERS = {"k"}
_DIVIDED = math.lcm(*range(1, 101))  # near 10^41: each number up to 100 divides it


def _of_wholes(function):
    """An operator that has a value for whole numbers only."""

    def operate(balls: Balls, *args: Ball) -> Ball:
        known = [balls.whole(arg) for arg in args]
        if None in known:
            raise ValueError("no whole numbers")
        return balls.number(function(*known))

    return operate


OPERATORS |= {"gcd": (2, _of_wholes(math.gcd)), "lcm": (2, _of_wholes(math.lcm))}


def end_of(tokens: list, at: int) -> int:
    """Where the "]" stands that closes the series whose tokens begin at `at`."""
    depth = 1
    while depth:
        depth += (tokens[at][0] == "[") - (tokens[at] == "]")
        at += 1
    return at - 1


def evaluate(kind: str, bounds: tuple[Ball, Ball], body: list, run, balls: Balls) -> Ball:
    """The value of a series; `run(tokens, name, ball)` computes its term. ValueError where it has none."""
    name, *term = body
    low, high = (balls.whole(bound) for bound in bounds)
    degree = degree_of(term, name) if kind == "[sum" else None
    few = low is not None and high is not None and high - low < (degree or 0) + 3
    if degree is not None and degree <= _MOST_DEGREE and not few:
        return _polynomial(degree, bounds, lambda ball: run(term, name, ball), balls)
    if low is None or high is None or high < low - 1 or not _spend(balls, high - low + 1):
        raise ValueError("bounds")
    values = [run(term, name, balls.number(at)) for at in range(low, high + 1)]
    return _combined(values, "add" if kind == "[sum" else "mul", balls)


def term_of(letter: str, index: int, balls: Balls) -> Ball:
    """a_k is any number at all: one that nothing but its letter and its index decide."""
    return balls.number(random.Random(f"{letter} {index}").randint(17, 347), 331)


def _spend(balls: Balls, terms: int) -> bool:
    balls.terms = getattr(balls, "terms", 0) + terms
    return balls.terms <= MOST_TERMS


def _combined(values: list, operation: str, balls: Balls) -> Ball:
    """In pairs, so that the errors stay small."""
    if not values:
        return balls.number(0 if operation == "add" else 1)
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [balls.run(operation, *pair) for pair in pairs] + values[len(values) & ~1 :]
    return values[0]


def _polynomial(degree: int, bounds: tuple[Ball, Ball], term, balls: Balls) -> Ball:
    """Newton's formula: the sum of binom(count, j + 1) times the j-th difference at the lower bound."""
    low, high = bounds
    row = [term(balls.run("add", low, balls.number(at))) for at in range(degree + 1)]
    count = balls.run("add", balls.run("sub", high, low), balls.number(1))
    chosen, parts = balls.number(1), []
    for at in range(degree + 1):
        factor = balls.run("sub", count, balls.number(at))
        chosen = balls.run("div", balls.run("mul", chosen, factor), balls.number(at + 1))
        parts.append(balls.run("mul", chosen, row[0]))
        row = [balls.run("sub", b, a) for a, b in zip(row, row[1:], strict=False)]
    return _combined(parts, "add", balls)


def degree_of(tokens: list, name: str) -> int | None:
    """Of a polynomial in `name` as postfix tokens; None where it is none."""
    stack: list[int] = []
    # The degree is computed along the postfix tokens, as a value would be.
    for at, token in enumerate(tokens):
        if token[0] in "[@":
            return None
        if token == name or token not in OPERATORS:
            stack.append(int(token == name))
            continue
        args = [stack.pop() for _ in range(OPERATORS[token][0])][::-1]
        power = _grown(token, args, tokens[at - 1]) if any(args) else 0
        if power is None:
            return None
        stack.append(power)
    return stack[0]


def _grown(token: str, degrees: list[int], last: str) -> int | None:
    left, right = degrees[0], degrees[-1]
    if token in ("add", "sub", "neg"):
        return max(degrees)
    if token == "mul":
        return left + right
    if token == "div":
        return left if right == 0 else None
    if token == "pow":
        return left * int(last) if right == 0 and last.isdigit() and len(last) < 3 else None
    return None


def points(names: list[str], seed: int, whole: bool = False) -> list[dict]:
    """{name: (top, bottom)} at each point; one empty point without names. `whole`: all names count."""
    columns = {name: _coordinates(name[1:], random.Random(f"{seed} {name}"), whole) for name in names}
    return [{name: column[at] for name, column in columns.items()} for at in range(_POINTS if names else 1)]


def _coordinates(name: str, draw: random.Random, whole: bool) -> list[tuple[int, int]]:
    """Values of a variable as fractions: six ordinary ones, then of every size and kind, shuffled."""
    if whole or name in _COUNTS | _INTEGERS:
        # Counts and whole numbers: small ones, then of growing size.
        sizes = [(50, 99), (100, 400), (1000, 4000), (10**4, 10**5), (10**6, 10**7), (10**9, 10**10)]
        sizes += [(10**13, 10**15), (10**13, 10**15)]  # of k, two of opposite signs
        ordinary = draw.sample(range(13, 41), 6)
        others = [*range(1, 10), *(draw.randint(*size) for size in sizes), _DIVIDED * draw.randint(1, 9)]
        if name in _INTEGERS:
            others = [-other if at % 2 else other for at, other in enumerate(others)]
        draw.shuffle(others)
        return [(value, 1) for value in ordinary + others]
    # Real ones: near 1 first, where most formulas are defined.
    between = [(0.05, 1), (0.05, 1), (0.05, 1), (1, 10), (1, 10), (1, 10)]
    sizes = [(0.1, 1), (1, 3), (3, 10), (10, 100), (100, 10**4), (10**6, 10**7), (10**13, 10**15)]
    ordinary = [_fraction(draw, *size) for size in between]
    others = [
        (sign * top, bottom) for size in sizes for sign in (1, -1) for top, bottom in [_fraction(draw, *size)]
    ]
    others = others[1:]  # another ordinary one
    # Whole numbers, halves, 0 and 1, at which formulas often meet.
    small = draw.randint(2, 9)
    others += [(small, 1), (-small, 1), (2 * small + 1, 2), (0, 1), (1, 1)]
    draw.shuffle(others)
    return ordinary + others


def _fraction(draw: random.Random, low: float, high: float) -> tuple[int, int]:
    bottom = draw.choice((331, 1009))
    return draw.randint(int(low * bottom) + 1, int(high * bottom)), bottom
