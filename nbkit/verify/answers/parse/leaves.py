"""Cleaned text into a leaf: a formula with what may stand behind it (used by `reading.py`).

read_leaf("33 1/3%")  # value 100/3, percent
read_leaf("72 km/h")  # value 72, unit km/h
read_leaf("2516_8")  # value 2516, unit "base 8"; read_leaf("3 p.m.") is 180 minutes, unit "p"
"""

import re
from fractions import Fraction

from nbkit.verify.answers.parse import formula, units
from nbkit.verify.answers.parse.clean import FUNCTIONS
from nbkit.verify.answers.parse.kinds.nodes import Leaf
from nbkit.verify.answers.parse.kinds.numbers import in_words
from nbkit.verify.answers.parse.rational import exact

_PERCENT = re.compile(r"(.*?) ?(?:%|per ?cent\b|pct\.?|percentage(?: points?)?)", re.IGNORECASE)
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "sixteen": 16, "binary": 2,
    "octal": 8, "decimal": 10, "hexadecimal": 16, "hex": 16,
}  # fmt: skip
_IN_BASE = rf"([0-9]{{1,2}}|{'|'.join(_BASES)})"
_BASE = re.compile(  # 101_2, 101_{two}, 101 (base 2), 101 in binary
    rf"(-?)\(?((?=[A-F]*[0-9])[0-9A-F]+)\)? ?(?:_ ?\{{? ?\(?(?: ?base)? ?{_IN_BASE} ?\)? ?\}}?"
    rf"|,? ?\(? ?(?:in )?base[ -]?{_IN_BASE} ?\)?|,? ?\(? ?(?:in )?(binary|octal|hexadecimal|hex) ?\)?)"
)
_ORDINAL = re.compile(r"([0-9]{1,30})[ -]?(?:st|nd|rd|th)((?: [a-zA-Z]{2,20}){0,4})")
_SHARE = re.compile(r"([0-9]{1,20}) (?:out of|in) ([0-9]{1,20})")
_CLOCK = re.compile(r"([0-9]{1,2})(?: ?: ?([0-5][0-9]))?(?: ?([AaPp])\.? ?[Mm]\.?)?")


def is_clock(text: str) -> re.Match | None:
    """A time of day, not a ratio: 3:00, 05:30, 3 p.m."""
    match = _CLOCK.fullmatch(text)
    return match if match and (match[3] or match[2] == "00" or (match[2] and text[0] == "0")) else None


def same_clock(ours: str, gold: str) -> str:
    """Ours as the other clock counts: 17:00 beside 5:00 PM is 5:00 PM, and 5 PM beside 17:00 is 17:00."""
    mine, theirs = is_clock(ours), is_clock(gold)
    if not (mine and theirs) or bool(mine[3]) == bool(theirs[3]):
        return ours
    hour, plain = int(mine[1]), int((theirs if mine[3] else mine)[1])
    # Only of a time that no twelve hours hold is it known which half of the day is meant.
    if not 13 <= plain <= 24 or (mine[3] and hour > 12):
        return ours
    if mine[3]:
        return f"{hour % 12 + 12 * (mine[3] in 'pP')}:{mine[2] or '00'}"
    return f"{hour - 12}:{mine[2] or '00'} {'pm' if hour < 24 else 'am'}"


def _number(text: str, value: int, label: str) -> Leaf:
    unit = units.Unit(Fraction(1), None, frozenset({label})) if label else None
    return Leaf(text, (str(value),), Fraction(value), unit)


def _is_phrase(text: str) -> bool:
    """Words such as "red" or "red car", which could pass for products of letters."""
    runs = re.split("[ '-]", text) if re.fullmatch("[a-zA-Z]+(?:[ '-][a-zA-Z]+)*", text) else []
    known = formula.NAMED.keys() | FUNCTIONS
    return any(len(run) > 2 and re.search("[aeiouAEIOU]", run) for run in runs) and not known & set(runs)


def read_leaf(text: str) -> Leaf:
    """A formula with what may stand behind it: a percent sign, a unit, a label."""
    text = text.strip()
    # Numbers in words, and shares: forty-two, 3 out of 8.
    if (words := in_words(text)) is not None:
        return Leaf(text, (str(words),), Fraction(words))
    if (match := _SHARE.fullmatch(text)) and 0 < int(match[1]) < int(match[2]):
        share = Fraction(int(match[1]), int(match[2]))
        return Leaf(text, (match[1], match[2], "div"), share)
    if _is_phrase(text):
        return Leaf(text)
    if (match := _ORDINAL.fullmatch(text)) and not units.NO_PLACE & set(match[2].casefold().split()):
        return read_leaf(match[1] + match[2])  # the 7th place, but not the 7th prime
    # 5 ft 3 in, a number in a base, a time of day: each has one reading.
    if total := units.compound(text):
        return Leaf(text, (str(total[0]),), total[0], total[1])
    if match := _BASE.fullmatch(text):
        value = int(match[2], 10 if match[2].isdigit() else 36) * (-1 if match[1] else 1)
        name = match[3] or match[4] or match[5]
        base = _BASES.get(name) or int(name)
        return _number(text, value, f"base {base}" if base != 10 else "")
    if match := is_clock(text):
        return _number(text, int(match[1]) * 60 + int(match[2] or 0), (match[3] or "").lower())
    # What is left is a formula, perhaps with a percent sign or a unit behind it.
    number = text.replace(" ", "") if re.fullmatch(r"[0-9]{1,3}(?: [0-9]{3})+", text) else text
    if match := _PERCENT.fullmatch(number):
        tokens = formula.parse(match[1])
        return Leaf(text, tokens, tokens and exact(tokens), percent=True)
    for head, unit in units.candidates(number):
        tokens = formula.parse(head)
        # sin 30° is no angle
        inside = unit is not None and unit.powers == units.DEGREE and FUNCTIONS & set(tokens or ())
        if tokens and not formula.variables(tokens) and not inside:
            return Leaf(text, tokens, exact(tokens), unit)
    tokens = formula.parse(number)
    return Leaf(text, tokens, tokens and exact(tokens))
