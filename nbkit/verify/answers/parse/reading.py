"""Cleaned text into structures, by splitting it at the top level (used by `compare.py`).

read("x < 1 or x ≥ 3")  # Node("union", (Node("span", …), Node("span", …)))
read("(3, 30°)")  # Node("tuple", (Leaf("3", …), Leaf("30°", …)), "()")
"""

import re
from dataclasses import replace

from nbkit.verify.answers.parse import formula, units
from nbkit.verify.answers.parse.forms import (
    OTHER_FORM,
    read_angle,
    read_congruence,
    read_cross,
    read_distance,
    read_matrix,
    read_ratio,
    read_sequence,
    read_system,
)
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node, as_region, flat, is_infinite, is_region, span
from nbkit.verify.answers.parse.kinds.numbers import in_words
from nbkit.verify.answers.parse.kinds.points import choices
from nbkit.verify.answers.parse.leaves import is_clock, read_leaf
from nbkit.verify.answers.parse.named import is_constant, names_value
from nbkit.verify.answers.parse.splitting import (
    CLOSE,
    DOMAIN,
    IN_DOMAIN,
    NAME,
    NAMED,
    OPEN,
    closes_at_end,
    is_one_number,
    join_thousands,
    split,
)

MAX_STRUCTURE = 1000  # characters
_MAX_DEPTH = 8
_EMPTY = re.compile(r"∅|⦃ ?⦄|no (?:real )?solutions?(?: exists?)?|none|empty set|无解", re.IGNORECASE)
_REALS = re.compile(r"ℝ|all (?:real numbers|reals)|real numbers|实数|全体实数", re.IGNORECASE)
_FLIP = dict(zip("<>≤≥", "><≥≤", strict=True))
_REMAINDER = re.compile(r"(?:[0-9 +*/().^{}-]|mod(?:ulo)?\b)+")
_WORD_SPLITS = re.compile(
    r"(?<![^\W\d_])(or|and)(?![a-z])|(?<=[0-9)}])(or|and)(?=[a-zA-Z] ?=)|(或者?|和|以及|且)"
)
# The point A(1, 2), the column [1, 2]^T.
_DRESSED = re.compile(r"(?:([A-Z]'?) ?(?=\())?([(\[⟨].*,.*[)\]⟩])(?:\^ ?\{? ?(?:T|\\top) ?\}?)?")


def read(text: str, depth: int = 0) -> Node | Leaf:
    """The structure of a cleaned text; whatever has none is a Leaf."""
    text = text.strip()
    if depth > _MAX_DEPTH or len(text) > MAX_STRUCTURE or not text:
        return Leaf(text)
    # Whole texts with one reading: sets with names, approximations, single numbers, times.
    if _EMPTY.fullmatch(text):
        return Node("set")
    if _REALS.fullmatch(text):
        return span("(", read_leaf("-∞"), read_leaf("∞"), ")")
    if "≈" in text:  # the exact value, where an approximation follows it
        left, _, right = text.partition("≈")
        return read(right if NAMED.fullmatch(left.strip()) else left, depth + 1)
    text = join_thousands(text)
    if (
        units.compound(text)
        or in_words(text) is not None
        or is_one_number(text)
        or is_clock(text)
        or text == "…"
    ):
        return read_leaf(text)
    if text[0] == "∈":  # x belongs to it, without the x
        return _region_first(read(text[1:], depth + 1))
    if match := IN_DOMAIN.fullmatch(text):  # x = 3 + 7k for k ∈ ℤ
        return read(match[1], depth + 1)
    for reader in (read_system, read_cross, read_congruence):
        if (node := reader(text, lambda part: read(part, depth + 1))) is not None:
            return node
    if match := re.fullmatch(rf"({NAME}) ?≠ ?(.*)", text):  # also x ≠ 1, 2 and x ≠ 1, x ≠ 2
        rest = re.sub(rf"(?<![a-zA-Z]){re.escape(match[1])} ?≠", " ", match[2])
        if not re.search("[=<>≤≥≠]", rest) and (node := _without(read(rest, depth + 1), match[1])):
            return node
    if (match := _DRESSED.fullmatch(text)) and match[2] != text and closes_at_end(match[2]):
        inner = read(match[2], depth + 1)
        return (choices(text) or Node("named", (inner,), match[1], text)) if match[1] else inner
    # What separates most loosely is read first: lists, then unions, relations, brackets.
    for reader in (
        _read_list,
        lambda part, deeper: read_angle(part, lambda inner: read(inner, deeper)),
        _read_union,
        _read_except,
        _read_relation,
        _read_enclosed,
        _read_signs,
        read_ratio,
        _read_rows,
    ):
        if (node := reader(text, depth + 1)) is not None:
            return node
    return read_leaf(text)


def _read_rows(text: str, depth: int) -> Node | Leaf | None:
    return read_matrix(text, lambda cell: read(cell, depth))


def _read_list(text: str, depth: int) -> Node | Leaf | None:
    # Words that separate are made signs, so that one split serves both.
    text, marked, joined = OTHER_FORM.sub(r"\1 or \2", text), [], set()
    for match in _WORD_SPLITS.finditer(text):
        marked.append(match.span())
        joined.add("or" if match[0][0] in "o或" else "and")
    if not marked and ";" in text and (groups := split(text, ";")) and len(groups) > 1:
        items = [read(group, depth) for group in groups if group.strip()]
        if any(getattr(item, "kind", "") == "list" for item in items):  # x = 1, y = 2; x = 3, y = 4
            return Node("list", tuple(_as_tuple(item) for item in items))
    plain = text
    for start, end in reversed(marked):
        plain = plain[:start] + ";" + plain[end:]
    parts = split(plain, ",;")
    if parts is None or len(parts) < 2:
        return None
    parts = [part.strip() for part in parts if part.strip()]
    kept = [part for part in parts if not DOMAIN.fullmatch(part)] or parts
    items = [read(part, depth) for part in kept]
    if "or" in joined and len({getattr(item, "value", None) or item for item in items}) == 1:
        return items[0]  # 3/4 or 0.75
    if any(part == "…" for part in kept):
        return read_sequence(items)
    if len(items) == 1:
        return items[0]
    if all(is_region(item) for item in items):
        return _join_regions(items, "or" in joined)
    return Node("list", tuple(flat(items, "list")))


def _as_tuple(node: Node | Leaf) -> Node | Leaf:
    return Node("tuple", node.items, "()") if getattr(node, "kind", "") == "list" else node


def _join_regions(items: list, either: bool) -> Node:
    """x < 1 or x > 3 is a union; x > 1 and x < 3 is one span."""
    if not either and len(items) == 2 and all(item.kind == "span" for item in items):
        lows = [item for item in items if is_infinite(item.items[1])]
        highs = [item for item in items if is_infinite(item.items[0])]
        if len(lows) == len(highs) == 1 and lows[0].name == highs[0].name:
            (low, _), (_, high) = lows[0].items, highs[0].items
            if low.value is None or high.value is None or low.value < high.value:
                return Node("span", (low, high), lows[0].name, lows[0].sides[0] + highs[0].sides[1])
    return Node("union", tuple(flat(items, "union")))


def _read_union(text: str, depth: int) -> Node | None:
    text = re.sub(r"(?<=[\])⦄]) ?[Uu] ?(?=[\[(⦃])", "∪", text)
    counted = re.match(r"\|[^|]{1,60}\| ?=", text)  # |A ∪ B| = 7
    parts = split(text, "∪") if "∪" in text and not counted else None
    if parts is None or len(parts) < 2:
        return None
    items = [_region_first(read(part, depth)) for part in parts]
    if all(isinstance(item, Node) and item.kind == "set" for item in items):
        return Node("set", tuple(flat(items, "set")))
    return Node("union", tuple(flat(items, "union")))


def _region_first(node: Node | Leaf) -> Node | Leaf:
    return as_region(node) or node


def _read_except(text: str, depth: int) -> Node | None:
    """ℝ ∖ ⦃0, 1⦄ and "all real numbers except 0" as a union of spans."""
    match = re.fullmatch(
        r"(?:ℝ ?[∖-]|all (?:real numbers|reals)(?: \w)? except(?: for)?|\(-∞, ?∞\) ?[∖-]) ?(?:x = )?(.*)",
        text,
    )
    return _without(read(match[1], depth), "") if match else None


def _without(node: Node | Leaf, name: str) -> Node | None:
    points = list(node.items) if isinstance(node, Node) and node.kind in ("set", "list") else [node]
    if not all(isinstance(point, Leaf) for point in points):
        return None
    if len(points) > 1:
        if any(point.value is None for point in points):
            return None
        points.sort(key=lambda point: point.value)
    ends = [read_leaf("-∞"), *points, read_leaf("∞")]
    spans = [span("(", low, high, ")", name) for low, high in zip(ends, ends[1:], strict=False)]
    return Node("union", tuple(spans))


def _read_relation(text: str, depth: int) -> Node | Leaf | None:
    parts = split(text, "=<>≤≥≠∈")
    if parts is None or len(parts) < 2 or not all(part.strip() for part in parts):
        return None
    parts, signs, at = [part.strip() for part in parts], [], 0
    for part in split(text, "=<>≤≥≠∈")[:-1]:
        at += len(part)
        signs.append(text[at])
        at += 1
    if signs[-1] == "∈" and len(parts) == 2:
        inner = _region_first(read(parts[1], depth))
        return replace(inner, name=parts[0]) if is_region(inner) and inner.kind == "span" else inner
    if set(signs) == {"="}:
        return _read_equation(parts, depth)
    leaves = [read_leaf(part) for part in parts]
    if len(parts) == 3 and set(signs) in ({"<"}, {"≤"}, {"<", "≤"}, {">"}, {"≥"}, {">", "≥"}):
        if signs[0] in ">≥":
            leaves, parts, signs = leaves[::-1], parts[::-1], [_FLIP[sign] for sign in signs[::-1]]
        if NAMED.fullmatch(parts[1]):
            left, right = "([)]"[signs[0] == "≤"], ")]"[signs[1] == "≤"]
            return span(left, leaves[0], leaves[2], right, parts[1])
    if len(parts) == 2:
        return _read_inequality(parts, signs[0], leaves)
    return Leaf(text)


def _read_equation(parts: list[str], depth: int) -> Node | Leaf:
    left, right = parts[0], parts[-1]
    value = formula.parse(right)
    calculated = value and not formula.variables(value)
    if len(parts) > 2 or (calculated and (_REMAINDER.fullmatch(left) or is_constant(left))):
        value = read(right, depth)  # a calculation that ends in its value
        return Node("named", (value,), left) if NAMED.fullmatch(left) else value
    if re.fullmatch(rf"\( ?{NAME}(?: ?, ?{NAME})+ ?\)", left):
        return Node("named", (read(right, depth),), left.replace(" ", ""))
    if names_value(left):
        return Node("named", (read(right, depth),), _name(left))
    if names_value(right) and not re.search(rf"(?<![a-zA-Z\\]){re.escape(right)}(?![a-zA-Z])", left):
        return Node("named", (read(left, depth),), _name(right))
    return Node("relation", (read_leaf(left), read_leaf(right)), "=")


def _name(text: str) -> str:
    """Without spaces, other than those between words and behind a command."""
    if re.fullmatch("[a-zA-Z]{3,}(?: [a-zA-Z]{2,})+", text):
        return text
    return re.sub(r"(\\[a-zA-Z]+ )(?=[a-zA-Z])| ", lambda space: space[1] or "", text)


def _read_inequality(parts: list[str], sign: str, leaves: list[Leaf]) -> Node | None:
    for ours, other, direction in ((0, 1, sign), (1, 0, _FLIP.get(sign, sign))):
        name, bound = parts[ours], leaves[other]
        match = re.fullmatch(rf"\| ?({NAME}) ?(?:([+-]) ?([^|]+))?\|", name)
        if match and direction != "≠" and bound.tokens:
            return read_distance(match, parts[other], direction)
        if NAMED.fullmatch(name) and bound.tokens and "$" + name not in bound.tokens:
            if direction == "≠":
                return _without(bound, name)
            left, right = ("[" if direction == "≥" else "("), ("]" if direction == "≤" else ")")
            if direction in ">≥":
                return span(left, bound, read_leaf("∞"), ")", name)
            return span("(", read_leaf("-∞"), bound, right, name)
    return Node("relation", tuple(leaves), sign)


def _read_enclosed(text: str, depth: int) -> Node | Leaf | None:
    first, last = text[0], text[-1]
    if first + last in ("[)", "(]", "][") or first + last in ("]]", "[["):
        parts = split(text[1:-1], ",;")
        if parts and len(parts) == 2:
            left, right = ("(" if first in "(]" else "["), (")" if last in ")[" else "]")
            return span(left, read_leaf(parts[0]), read_leaf(parts[1]), right)
        return None
    if first not in OPEN or last != CLOSE[OPEN.index(first)] or first in "⌊⌈" or not closes_at_end(text):
        return None
    if first in "([⟨" and "±" in text:
        return None
    content = text[1:-1].strip()
    if first == "⦃" and (parts := split(content, "|:")) and len(parts) == 2:
        inner = read(parts[1], depth)
        return inner if is_region(inner) else Leaf(text)
    parts = split(join_thousands(content, bracketed=True), ",;")
    if parts is None or (len(parts) < 2 and first != "⦃"):
        inner = read(content, depth) if content else Leaf(text)
        return inner if isinstance(inner, Node) else None if first != "{" else inner
    items = [read(part, depth) for part in parts]
    if any(part.strip() == "…" for part in parts):
        return read_sequence(items)
    if first in "⦃{":
        return Node("set", tuple(flat(items, "list")))
    if first == "[" and all(isinstance(item, Node) and item.kind == "tuple" for item in items):
        return Node("matrix", tuple(item.items for item in items))
    return Node("tuple", tuple(items), "[]" if first == "[" else "()")


def _read_signs(text: str, depth: int) -> Node | None:
    """2 ± √3 is the list of both."""
    if "±" not in text and "∓" not in text:
        return None
    signs = [text.translate({ord("±"): a, ord("∓"): b}) for a, b in ("+-", "-+")]
    return Node("list", tuple(flat([read(one, depth) for one in signs], "list")))
