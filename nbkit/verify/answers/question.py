"""Compare leaves and relations of two answers by the values at hand (used by `math.py`).

question = Question()
question.same(Leaf("√2", …), Leaf("1.5", …))  # None: noted in question.open; its values are wanted first
Question(found).same(…)  # False, with the values of both sides in `found`
"""

import functools
import re
from dataclasses import dataclass, field
from fractions import Fraction

from nbkit.verify.answers.parse import formula, units
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node
from nbkit.verify.answers.parse.splitting import outside
from nbkit.verify.answers.values import Key, Values, equal, latex, proportion, short

_PHRASE = re.compile(r"[^\W\d_]{2,}(?:[ '-]+[^\W\d_]+)*")
_LISTED = re.compile(r"(?<=[0-9]) ?, (?=[0-9]{3}(?![0-9]))")
_SYNONYMS = {"dne": "does not exist", "doesn't exist": "does not exist"}
_OPPOSITE = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_TO_RADIANS = ("π", "mul", "180", "div")


@functools.lru_cache(8192)
def plain_text(cleaned: str) -> str:
    # Space between words or digits carries meaning ("1 1/2" is not "11/2"); around punctuation it does not,
    # but "12, 345" is a list and "12,345" a number.
    text = _LISTED.sub(lambda comma: ";" if outside(cleaned, comma.start()) else ",", cleaned)
    text = re.sub(r" ?([^\w ]) ?", r"\1", text)
    phrase = re.sub("^(?:the|an?) (?=..)", "", text.rstrip("!?").casefold().replace("-", " "))
    if _PHRASE.fullmatch(phrase):  # in formulas and units the case matters
        return _SYNONYMS.get(phrase, phrase)
    return text


def keys_of(node: Leaf | Node) -> list[Key]:
    """What to evaluate of a leaf or relation; nothing when it cannot be read."""
    if isinstance(node, Leaf):
        # LaTeX that this grammar does not cover is left to Math-Verify's parser, in the jail.
        if node.tokens is None:
            text = latex(node.text)
            return [("latex", text)] if text else []
        keys = [("formula", node.tokens)]
        # An angle in degrees may be wanted in radians: both values are asked for.
        return [*keys, ("formula", node.tokens + _TO_RADIANS)] if _is_degrees(node) else keys
    if node.kind == "named":
        sides = formula.parse(node.name), getattr(node.items[0], "tokens", None)
    elif node.kind == "relation":
        sides = tuple(item.tokens for item in node.items)
    else:
        return []
    if None in sides:
        return []
    if node.name in _OPPOSITE:
        # Both sides of an inequality as one difference, so that its direction is a sign.
        return [("formula", (*sides[0], *sides[1], "sub"))]
    return [("equation", *sides)]


@dataclass
class Question:
    """Compares leaves; those it cannot decide with the values it has are noted in `open`, and in `short`
    those that look equal and want more digits: {digits: pairs}."""

    found: dict[Key, Values] = field(default_factory=dict)
    open: list[tuple] = field(default_factory=list)
    short: dict[int, list[tuple]] = field(default_factory=dict)

    def same(self, ours: Leaf | Node, gold: Leaf | Node) -> bool | None:
        both = isinstance(ours, Leaf) and isinstance(gold, Leaf)
        answer = self._leaves(ours, gold) if both else self._relations(ours, gold)
        if answer is None:
            self.open.append((ours, gold))
        return answer

    def _leaves(self, ours: Leaf, gold: Leaf) -> bool | None:
        if {type(ours.value), type(gold.value)} == {Fraction} and not (ours.unit or gold.unit):
            return _same_number(ours, gold, Fraction(1))
        # Equal text is equal, whatever it means.
        if plain_text(ours.text) == plain_text(gold.text):
            return True
        if ours.tokens is None or gold.tokens is None:
            # No formula on one side: words differ, anything else only the jail could tell.
            words = [leaf.is_words and re.fullmatch(r"[^\W\d_]+", leaf.text) for leaf in (ours, gold)]
            if all(words):
                return False  # two different words
            if not (keys_of(ours) and keys_of(gold)):
                return None
        if (ours.percent and gold.unit) or (gold.percent and ours.unit):
            return False
        # From here on in one unit; angles may be in degrees or in radians.
        factor = units.ratio(ours.unit, gold.unit)
        if factor is None:
            return self._angles(ours, gold) if _is_degrees(ours) or _is_degrees(gold) else False
        if ours.tokens and ours.tokens == gold.tokens and factor == 1 and ours.percent == gold.percent:
            return True
        # Both are plain numbers: exact arithmetic decides here.
        if ours.value is not None and gold.value is not None:
            answer = _same_number(ours, gold, factor)
            angle = not answer and _is_degrees(ours) != _is_degrees(gold)
            return self._angles(ours, gold) if angle and not (ours.unit and gold.unit) else answer
        for one, other in ((ours, gold), (gold, ours)):
            if one.value is not None and other.tokens and len(other.tokens) == 1 and other.tokens[0] != "π":
                return False  # a number against a lone letter
        # Else their values come from the jail, and may be missing.
        mine, theirs = self._values(ours), self._values(gold)
        if mine is None or theirs is None:
            return None
        if ours.percent != gold.percent:
            factor = factor / 100 if ours.percent else factor * 100
        answer = self._enough(equal(mine.times(factor), theirs), (ours, gold), (mine, theirs))
        if answer is False and _is_degrees(ours) != _is_degrees(gold):
            return self._angles(ours, gold)
        return answer

    def untold(self, ours: Leaf | Node, gold: Leaf | Node) -> bool:
        return all(isinstance(side, Leaf) and self._values(side) for side in (ours, gold))

    def _values(self, leaf: Leaf, index: int = 0) -> Values | None:
        if isinstance(leaf.value, Fraction) and index == 0:
            return Values.of(leaf.value)
        return self.found.get(keys_of(leaf)[index]) if len(keys_of(leaf)) > index else None

    def _angles(self, ours: Leaf, gold: Leaf) -> bool | None:
        """90° is π/2, whether or not the latter says radians."""
        if "π" not in (ours.tokens or ()) + (gold.tokens or ()):
            return False
        for leaf in (ours, gold):
            if leaf.unit is not None and leaf.unit.powers not in (units.DEGREE, units.RADIAN):
                return False
        sides = [self._values(leaf, int(_is_degrees(leaf))) for leaf in (ours, gold)]
        return None if None in sides else self._enough(equal(*sides), (ours, gold), sides)

    def _enough(self, answer: bool | None, nodes: tuple, sides: tuple) -> bool | None:
        """The answer; None instead of True where more digits must confirm it."""
        coarse = short(*sides) if answer else 0
        if coarse:
            self.short.setdefault(coarse, []).append(nodes)
        return None if coarse else answer

    def _relations(self, ours: Leaf | Node, gold: Leaf | Node) -> bool | None:
        # An equation or inequality is known by the difference of its sides, up to a factor.
        keys = [keys_of(node) if isinstance(node, Node) else [] for node in (ours, gold)]
        if not all(keys):
            return None
        kinds = ["=" if node.kind == "named" else node.name for node in (ours, gold)]
        opposite = kinds[0] in _OPPOSITE and _OPPOSITE[kinds[0]] == kinds[1]
        if kinds[0] != kinds[1] and not opposite:
            return False
        sides = [self.found.get(key[0]) for key in keys]
        if None in sides:
            return None
        # Equations may be multiples of each other; inequalities only by a positive factor.
        sign = proportion(*sides)
        answer = sign == (-1 if opposite else 1) if kinds[0] in _OPPOSITE else sign is not None
        return self._enough(answer, (ours, gold), sides)


def _is_degrees(leaf: Leaf) -> bool:
    return leaf.unit is not None and leaf.unit.powers == units.DEGREE


def _same_number(ours: Leaf, gold: Leaf, factor: Fraction) -> bool:
    value, wanted = ours.value, gold.value
    if isinstance(value, float) or isinstance(wanted, float):
        return value == wanted
    value *= factor
    if ours.percent == gold.percent:
        return value == wanted
    # "18%" against "18" reads the sign as a unit; below 1 that would make 0.5% equal 0.5.
    share, other = (value, wanted) if ours.percent else (wanted, value)
    return share / 100 == other or (share == other and abs(share) >= 1)
