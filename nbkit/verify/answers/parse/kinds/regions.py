"""Unions of intervals whose ends are known numbers, without seams (used by `structures.py`).

merged((read("[1, 2]"), read("[2, 3]")))  # ([1, 3],): as one interval
merged((read("[1, 2)"), read("(2, 3]")))  # both as they were: 2 is in neither
"""

from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, span


def merged(spans: tuple) -> tuple:
    """The same region with those spans joined that touch or overlap; as given where an end is not known."""
    if len(spans) < 2 or not all(_known(part) for part in spans) or len({part.name for part in spans}) > 1:
        return spans
    found: list[Node] = []
    for part in sorted(spans, key=lambda one: (one.items[0].value, one.sides[0] == "(")):
        last = found[-1] if found else None
        if last is None or not _meet(last, part):
            found.append(part)
            continue
        # Of two ends the further one, and of two at one place the closed one.
        ends = sorted((last, part), key=lambda one: (one.items[1].value, one.sides[1] == "]"))
        found[-1] = span(last.sides[0], last.items[0], ends[1].items[1], ends[1].sides[1], last.name)
    return tuple(found)


def _known(part: object) -> bool:
    if not (isinstance(part, Node) and part.kind == "span"):
        return False
    plain = all(isinstance(end, Leaf) and end.value is not None for end in part.items)
    return (
        plain
        and not any(end.unit or end.percent for end in part.items)
        and part.items[0].value < part.items[1].value
    )


def _meet(first: Node, second: Node) -> bool:
    """Does the second span, which begins no earlier, leave no gap behind the first?"""
    end, start = first.items[1].value, second.items[0].value
    return start < end or (start == end and (first.sides[1] == "]" or second.sides[0] == "["))
