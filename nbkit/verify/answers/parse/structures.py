"""What an answer is made of, and how two of them compare part by part (used by `math.py`).

`compare` walks two nodes (`reading.py` makes them from text) and asks `same` about leaves and relations. Both
answer True, False or None: "these two need more than a look".

    compare(read("⦃1, 2⦄"), read("2, 1"), same)  # True
    compare(read("x > 3"), read("[3, ∞)"), same)  # False
"""

from nbkit.verify.answers.parse import formula
from nbkit.verify.answers.parse.kinds.congruences import compare_congruences
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, Same, as_region, is_infinite, is_region
from nbkit.verify.answers.parse.kinds.points import compare_tuples, names_of, permutations
from nbkit.verify.answers.parse.kinds.regions import merged
from nbkit.verify.answers.parse.names import same_names

_MOST_PAIRS = 20_000  # of items that are compared: a hundred on either side, both ways


def compare(ours: object, gold: object, same: Same) -> bool | None:
    """Are two structures equal? None when that hangs on leaves that `same` cannot decide."""
    if isinstance(ours, tuple) and isinstance(gold, tuple):  # rows of matrices
        return _in_order(ours, gold, same)
    # Kinds with rules of their own; one of the two suffices to bring them in.
    if isinstance(ours, Leaf) and isinstance(gold, Leaf):
        return same(ours, gold)
    names = [node.kind if isinstance(node, Node) else "leaf" for node in (ours, gold)]
    if "congruence" in names:
        return compare_congruences(ours, gold, same, compare)
    if "named" in names:
        return _compare_named(ours, gold, same)
    if "relation" in names:
        pair = [_as_relation(node) for node in (ours, gold)]
        if all(pair):
            return same(*pair)
    # An interval and an inequality may be the same region.
    regions = as_region(ours), as_region(gold)
    if all(regions) and ("span" in names or "union" in names):
        return _compare_regions(*regions, same)
    # A list of one is its item.
    for kind in ("list", "set"):
        if kind in names and names[0] != names[1]:
            single = [
                n.items[0] if isinstance(n, Node) and n.kind == kind and len(n.items) == 1 else n
                for n in (ours, gold)
            ]
            if single != [ours, gold]:
                return compare(*single, same)
    # Order counts in sequences, matrices, vectors and points; in lists and sets it does not.
    if names[0] == names[1] == "sequence":
        dots = [[getattr(item, "text", "") == "…" for item in node.items] for node in (ours, gold)]
        return _in_order(ours.items, gold.items, same) if dots[0] == dots[1] else False
    if names[0] == names[1] and names[0] in ("matrix", "cross"):
        return _in_order(ours.items, gold.items, same)
    if set(names) == {"matrix", "tuple"}:
        return _in_order(_vector(ours), _vector(gold), same)
    if names[0] == names[1] == "tuple":
        fits = ours.name == gold.name or (":" not in ours.name + gold.name and len(gold.items) != 2)
        return _in_order(ours.items, gold.items, same) if fits else False
    if set(names) == {"list", "tuple"}:
        listed = ours.items if names[0] == "list" else gold.items
        if len({item.name if isinstance(item, Node) else item for item in listed}) == 1:
            return False  # x = 1, x = 2 are two solutions, not a point
        return _in_order(ours.items, gold.items, same)
    if set(names) <= {"list", "set"}:
        return _any_order(ours.items, gold.items, same)
    # Kinds that cannot be equal differ, unless one side could not be read at all.
    unread = any(isinstance(node, Leaf) and node.tokens is None for node in (ours, gold))
    return same(ours, gold) if unread else False


def _as_relation(node: object) -> Node | None:
    """x > 3 was read as a span, x ≠ 2 as two; beside 2x > 6 or 2x ≠ 4 it is a relation again."""
    if not isinstance(node, Node) or node.kind not in ("relation", "span", "union"):
        return None
    if node.kind == "union":
        return _as_inequation(node)
    if node.kind == "relation":
        return node
    ends = [at for at in (0, 1) if is_infinite(node.items[at])]
    if len(ends) != 1 or not node.name:
        return None
    at = 1 - ends[0]
    sign = "><"[at] if node.sides[at] in "()" else "≥≤"[at]
    return Node("relation", (Leaf(node.name, formula.parse(node.name)), node.items[at]), sign)


def _as_inequation(union: Node) -> Node | None:
    if len(union.items) != 2 or not all(is_region(part) and part.kind == "span" for part in union.items):
        return None
    (low, left), (right, high) = (part.items for part in union.items)
    name = union.items[0].name
    without = left == right and is_infinite(low) and is_infinite(high)
    if not (without and name) or [part.sides for part in union.items] != ["()", "()"]:
        return None
    return Node("relation", (Leaf(name, formula.parse(name)), left), "≠")


def _vector(node: Node) -> tuple:
    if node.kind == "tuple":
        return node.items
    rows = node.items
    return rows[0] if len(rows) == 1 else tuple(row[0] if len(row) == 1 else row for row in rows)


def _compare_regions(ours: Node, gold: Node, same: Same) -> bool | None:
    spans = [merged(node.items) if node.kind == "union" else (node,) for node in (ours, gold)]
    return _any_order(*spans, lambda a, b: _same_span(a, b, same), direct=True)


def _same_span(ours: Node | Leaf, gold: Node | Leaf, same: Same) -> bool | None:
    if not (is_region(ours) and is_region(gold)):
        return compare(ours, gold, same)
    if ours.sides != gold.sides:
        return False
    simple = [name for name in (ours.name, gold.name) if name and len(name) == 1]
    if len(simple) == 2 and simple[0] != simple[1]:
        return False
    return _in_order(ours.items, gold.items, same)


def _compare_named(ours: object, gold: object, same: Same) -> bool | None:
    """y = 2x + 1 is 2x + 1, and 2x - y + 1 = 0; x = 1 is 1, but not y = 1."""
    sides = [(node.kind if isinstance(node, Node) else "", node) for node in (ours, gold)]
    kinds = [kind for kind, _ in sides]
    values = [node.items[0] if kind == "named" else node for kind, node in sides]
    plain = all(isinstance(value, Leaf) for value, kind in zip(values, kinds, strict=True) if kind == "named")
    if "relation" in kinds:
        return same(ours, gold) if plain else False
    if any(kind == "named" and names_of(node.name) for kind, node in sides):
        return compare_tuples(ours, gold, same, compare)
    # P(5, 2) is a point beside one, and 20 beside a number.
    counted = [kind == "named" and node.sides and permutations(node.sides) for kind, node in sides]
    for at in (0, 1):
        other = sides[1 - at][1]
        if counted[at] and isinstance(other, Leaf):
            return same(*((counted[at], other), (other, counted[at]))[at])
    if kinds == ["named", "named"]:
        fits = same_names(ours.name, gold.name)
        if not fits:
            return same(ours, gold) if fits is None and plain else False
    return compare(*values, same)


def _in_order(ours: tuple, gold: tuple, same: Same) -> bool | None:
    if len(ours) != len(gold):
        return False
    verdict: bool | None = True
    for one, other in zip(ours, gold, strict=True):
        equal = compare(one, other, same)
        if equal is False:
            return False
        verdict = None if equal is None else verdict
    return verdict


def _any_order(ours: tuple, gold: tuple, same: Same, direct: bool = False) -> bool | None:
    """Every element of each side has an equal one on the other; repeats do not count. What is written alike
    on both sides is not looked at again, and more than `_MOST_PAIRS` of the others are never equal."""
    if bool(ours) != bool(gold):
        return False
    ask = same if direct else lambda a, b: compare(a, b, same)
    ours, gold = tuple(dict.fromkeys(ours)), tuple(dict.fromkeys(gold))
    mine, theirs = set(ours), set(gold)
    rest, missing = [one for one in ours if one not in theirs], [other for other in gold if other not in mine]
    if len(rest) * len(gold) + len(missing) * len(ours) > _MOST_PAIRS:
        return False
    table = [[ask(one, other) for other in gold] for one in rest]
    table += [[ask(one, other) for one in ours] for other in missing]
    verdict: bool | None = True
    for row in table:
        if True not in row:
            if None not in row:
                return False
            verdict = None
    return verdict
