"""A grammar for the formulas that answers consist of (used by `structures.py` and `values.py`).

It is the allow-list in front of the jail: what it does not know is refused, and what it knows leaves it as
plain postfix tokens, never as text that anything could evaluate. Reads cleaned text (`answers.clean`).

    parse(r"\\frac{1}{2} + 2x")  # ("1", "2", "div", "2", "$x", "mul", "add")

Conventions: log and lg have base 10, ln base e; e and i are constants ("i" is a unit vector beside a "j");
"1\\frac{1}{2}" and "1 1/2" are mixed numbers; "1/2x" is half of x, but "a/bc" divides by bc.
"""

import re

from nbkit.verify.answers.parse.formula.grammar import Parser
from nbkit.verify.answers.parse.formula.tokens import NAMED, Refused

__all__ = ["NAMED", "Refused", "Tokens", "parse", "variables"]

Tokens = tuple[str, ...]

MAX_FORMULA = 300  # characters
MAX_NESTING = 20  # brackets
_HUGE = re.compile(r"[0-9][eE][+-]?[0-9]{4}")  # 1e9999: exact arithmetic would write out every digit


def parse(text: str) -> Tokens | None:
    """A formula in postfix order; None for anything that the grammar does not cover."""
    if not 0 < len(text) <= MAX_FORMULA or _nesting(text) > MAX_NESTING or _HUGE.search(text):
        return None
    try:
        return tuple(Parser(text).whole())
    except (Refused, RecursionError):
        return None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def variables(tokens: Tokens) -> set[str]:
    return {token for token in tokens if token[0] == "$"}
