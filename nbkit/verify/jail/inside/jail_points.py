"""The points at which formulas with variables are tried (`jail_math.py`).

points(["$x"], seed=1)[0]  # {"$x": (209, 331)}: as fractions; the same on every call
"""

import math
import random

_POINTS = 24
_COUNTS = {"n", "N"}  # whole and positive: identities such as cos(n pi) = (-1)^n hold for whole numbers
_INTEGERS = {"k"}
_DIVIDED = math.lcm(*range(1, 101))  # near 10^41: each number up to 100 divides it


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
