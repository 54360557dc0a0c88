"""Points with a name, tuples of names, and the letters C and P that may count choices instead.

choices("C(5, 2)", ("5", "2"))  # a leaf of value 10; of C(1, 2), which is a point, None
in_order_of(("y", "x"), ("x", "y"), read("(1, 2)"))  # the tuple (2, 1)
"""

import re
from dataclasses import replace

from nbkit.verify.answers.parse import formula, rational
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, Same

_COORDINATES = re.compile(r"([A-Z])('?) ?\(([^()]{1,80}),([^()]{1,80})\)")
_NAMES = re.compile(r"\(([^()]{3,80})\)")


def choices(text: str) -> Leaf | None:
    """C(n, k) as the binomial coefficient that it is where n and k are variables or 1 ≤ k ≤ n; else None."""
    found = _COORDINATES.fullmatch(text)
    if not found or found[1] != "C" or found[2]:
        return None
    tokens = formula.parse(text)
    if tokens is None:
        return None
    sides = [formula.parse(part.strip()) for part in found.groups()[2:]]
    known = [rational.exact(side) for side in sides]
    if not any(formula.variables(side) for side in sides):
        # As in C(4, 0), the origin C(0, 0) or C(-1, 2): two numbers that are no choice are a point.
        whole = all(value is not None and getattr(value, "denominator", 0) == 1 for value in known)
        if not (whole and 1 <= known[1] <= known[0]):
            return None
    return Leaf(text, tokens, rational.exact(tokens))


def permutations(text: str) -> Leaf | None:
    """P(n, k) as n!/(n - k)!, which it is beside anything but a point; None for other letters."""
    found = _COORDINATES.fullmatch(text)
    tokens = formula.parse(text) if found and found[1] == "P" and not found[2] else None
    return Leaf(text, tokens, rational.exact(tokens)) if tokens else None


def names_of(name: str) -> tuple[str, ...]:
    """The names of the left side (x,y) of an equation of tuples; () for one that is none."""
    found = _NAMES.fullmatch(name)
    return tuple(part.strip() for part in found[1].split(",")) if found and "," in found[1] else ()


def in_order_of(wanted: tuple, given: tuple, value: object) -> object | None:
    """The value of the tuple `given` in the order of the names `wanted`; None where they are not the same."""
    if wanted == given:
        return value
    if sorted(wanted) != sorted(given) or len(set(given)) < len(given) or not isinstance(value, Node):
        return None
    if value.kind in ("list", "set"):  # of several points
        items = [in_order_of(wanted, given, item) for item in value.items]
        return None if None in items else replace(value, items=tuple(items))
    if value.kind != "tuple" or len(value.items) != len(given):
        return None
    return replace(value, items=tuple(value.items[given.index(name)] for name in wanted))


def compare_tuples(ours: Node, gold: Node, same: Same, compare) -> bool | None:
    """(x, y) = (1, 2) beside another equation of tuples, or beside x = 1, y = 2."""
    names = [names_of(node.name) if node.kind == "named" else () for node in (ours, gold)]
    if all(names):
        mine = in_order_of(names[1], names[0], ours.items[0])
        return False if mine is None else compare(mine, gold.items[0], same)
    at = 0 if names[0] else 1
    pair, other, given = (ours, gold)[at], (gold, ours)[at], names[at]
    value = pair.items[0]
    each = getattr(other, "kind", "") == "list" and all(
        getattr(item, "kind", "") == "named" for item in other.items
    )
    if each and getattr(value, "kind", "") == "tuple" and len(value.items) == len(given):
        named = Node("list", tuple(Node("named", (v,), n) for v, n in zip(value.items, given, strict=True)))
        return compare(*((named, other), (other, named))[at], same)
    rest = other.items[0] if getattr(other, "kind", "") == "named" else other
    return compare(*((value, rest), (rest, value))[at], same)
