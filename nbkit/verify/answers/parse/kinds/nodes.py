"""The parts that an answer is made of: leaves, and nodes that hold others (used by `structures.py`).

span("[", read_leaf("3"), read_leaf("∞"), "]")  # Node("span", (3, ∞), sides="[)"): no end holds infinity
flat([Node("list", (a, b)), c], "list")  # [a, b, c]
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from nbkit.verify.answers.parse import formula, units
from nbkit.verify.answers.parse.clean import FUNCTIONS


@dataclass(frozen=True)
class Leaf:
    """A formula, number or phrase. `tokens` None: no formula. `value` is exact and small, or None."""

    text: str
    tokens: formula.Tokens | None = None
    value: Fraction | float | None = None
    unit: units.Unit | None = None
    percent: bool = False

    @property
    def is_words(self) -> bool:
        """A phrase rather than a formula that could not be read?"""
        if re.fullmatch("[ℤℕℚℂ].?|[\u4e00-\u9fff]", self.text):
            return True
        runs = re.findall(r"(?<!\\)[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+", " ", self.text))
        return self.tokens is None and any(run not in FUNCTIONS for run in runs) and "\\" not in self.text


@dataclass(frozen=True)
class Node:
    """kind: list (no order), set, tuple (name: its brackets), span (name: its variable; sides: "[)"), union,
    matrix (items: rows), cross (product of two vectors), named (name = item), relation (name: the sign;
    items: both sides), sequence (a list with dots), congruence (items: modulus, residue or list of them;
    name: what is congruent; sides: "mod" for the remainder 17 mod 5, "?" for one that can be read in two
    ways)."""

    kind: str
    items: tuple = ()
    name: str = ""
    sides: str = ""


Same = Callable[[object, object], bool | None]


def is_region(node: object) -> bool:
    return isinstance(node, Node) and node.kind in ("span", "union")


def is_infinite(leaf: object) -> bool:
    return isinstance(leaf, Leaf) and isinstance(leaf.value, float)


def span(left: str, low: object, high: object, right: str, name: str = "") -> Node:
    sides = ("(" if is_infinite(low) else left) + (")" if is_infinite(high) else right)
    return Node("span", (low, high), name, sides)


def as_region(node: object) -> Node | None:
    if is_region(node):
        return node
    if isinstance(node, Node) and node.kind == "tuple" and len(node.items) == 2 and ":" not in node.name:
        return span(node.name[0], *node.items, node.name[1])
    return None


def flat(items: list, kind: str) -> list:
    return [part for item in items for part in (item.items if getattr(item, "kind", "") == kind else [item])]
