"""Congruences, remainders and arithmetic progressions (used by `structures.py`).

compare_congruences(read("x ≡ 3 (mod 7)"), read("x = 3 + 7k"), same, compare)  # True
"""

import math
from collections.abc import Callable
from fractions import Fraction

from nbkit.verify.answers.parse import rational
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, Same

Compare = Callable[[object, object, Same], bool | None]  # of structures

_MOST_RESIDUES = 10_000
_COUNTING = {f"${letter}" for letter in "jklmnqrst"}  # the letters of x = 3 + 7k


def compare_congruences(ours: object, gold: object, same: Same, compare: Compare) -> bool | None:
    """x ≡ 3 (mod 7) is x ≡ 10 (mod 7); 3 (mod 7) without an x is 3 as well, and 17 mod 5 is 2."""
    if not all(isinstance(node, Node) and node.kind == "congruence" for node in (ours, gold)):
        # One is written without a modulus: is it that progression, or the remainder?
        plain, other = (gold, ours) if getattr(ours, "kind", "") == "congruence" else (ours, gold)
        if (steps := _progression(plain)) and other.sides == "" and steps[0] in ("", other.name):
            return _residues(other) == steps[1:]
        known = _remainder(other) if other.sides or not other.name else None
        if known is not None and other.name:  # x = 17 mod 5
            known = Node("named", (known,), other.name)
        if known is None:  # n mod 100 is neither n nor anything else that could be told
            return False if other.name else same(ours, gold)
        return compare(plain, known, same) if plain is ours else compare(known, plain, same)
    if ours.name and gold.name and ours.name != gold.name:
        return False
    # Both modulo something: compare their residues modulo the common multiple.
    classes = [_residues(node) for node in (ours, gold)]
    if all(classes):
        (modulus, mine), (other, theirs) = classes
        common = math.lcm(modulus, other)
        if common > _MOST_RESIDUES:
            return modulus == other and mine == theirs
        spread = [{r + m * k for r in some for k in range(common // m)} for m, some in classes]
        return spread[0] == spread[1]
    return compare(ours.items, gold.items, same)


def _progression(node: object) -> tuple[str, int, set[int]] | None:
    """x = 3 + 7k, or 3 + 7k: (x, 7, {3}), the class of all those numbers, where the letter counts."""
    named = isinstance(node, Node) and node.kind == "named"
    value = node.items[0] if named else node
    found = rational.linear(value.tokens) if isinstance(value, Leaf) and value.tokens else None
    if found is None or found[0] not in _COUNTING or (named and "$" + node.name == found[0]):
        return None
    _, step, first = found
    if step == 0 or step.denominator != 1 or first.denominator != 1:
        return None
    return node.name if named else "", abs(int(step)), {int(first) % abs(int(step))}


def _remainder(node: Node) -> Leaf | Node | None:
    """What 3 (mod 7), 1, 4 (mod 5) and 17 mod 5 are without their modulus; None where that is not known."""
    classes = _residues(node)
    if classes is None or node.sides == "?":
        return None
    residue = node.items[1]
    parts = residue.items if isinstance(residue, Node) else (residue,)
    if all(0 <= part.value < classes[0] for part in parts):
        return residue
    if node.sides != "mod" or isinstance(residue, Node):
        return None
    (rest,) = classes[1]
    return Leaf(str(rest), (str(rest),), Fraction(rest))


def _residues(node: Node) -> tuple[int, set[int]] | None:
    """(modulus, residues below it) where all are whole numbers."""
    modulus, residue = node.items
    parts = residue.items if isinstance(residue, Node) and residue.kind in ("list", "set") else (residue,)
    values = [part.value if isinstance(part, Leaf) else None for part in (modulus, *parts)]
    if not all(type(value) is Fraction and value.denominator == 1 for value in values) or values[0] < 1:
        return None
    return int(values[0]), {int(value) % int(values[0]) for value in values[1:]}
