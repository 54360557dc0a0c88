"""Units of measurement in answers: what may follow a number, and how they convert (used by `leaves.py`).

A physical unit is a scale and powers of base units, so that km/h and m/s, cm^2 and m^2, or J and N m convert
exactly. Any other words are a label ("5 apples"). A missing unit fits any; different labels do not fit.

    head, unit = next(candidates("72 km/h"))  # "72", Unit(scale=5/18, …)
    ratio(unit, next(candidates("20 m/s"))[1])  # Fraction(5, 18): our number times this is the gold's number
    compound("2 hours 30 minutes")  # (Fraction(150), the unit minute)
"""

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from nbkit.verify.answers.parse.clean import FUNCTIONS
from nbkit.verify.answers.parse.unit_table import MAGNITUDES, Powers, spelled, symbols, table


@dataclass(frozen=True)
class Unit:
    """`powers` of base units times `scale`; None for a label. `words` are what was written, singular."""

    scale: Fraction
    powers: Powers | None
    words: frozenset[str]


DEGREE, RADIAN = (("degree", 1),), (("radian", 1),)
# Words that change a number's meaning are no label of it.
NO_LABEL = FUNCTIONS | {
    "or", "and", "to", "not", "no", "is", "isn", "are", "was", "if", "than", "plus", "minus", "times",
    "over", "pi", "mod", "more", "less", "squared", "cubed", "factorial", "root", "half", "halves",
    "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths",
    "seventh", "sevenths", "eighth", "eighths", "ninth", "ninths", "tenth", "tenths", "hundredth",
    "hundredths", "thousandth", "thousandths", "infinity", "undefined", "percent", "except", "but",
    "choose", "base", "with", "without", "when", "where", "for", "all", "from", "between", "at",
    "through", "by", "negative", "wrong", "false", "nope", "rejected", "discarded", "invalid", "extraneous",
    "fail", "fails", "failed", "too", "contradiction", "never", "neither", "nor",
    "impossible",
    "incorrect", "below", "above", "under", "else", "otherwise", "unless", "alternatively", "maybe",
    "perhaps", "possibly",
}  # fmt: skip
# Of these the 9th is another number than 9.
NO_PLACE = {
    "prime", "composite", "number", "integer", "root", "power", "multiple", "square", "cube", "factorial",
    "fibonacci", "triangular", "catalan", "even", "odd", "natural", "positive", "negative", "perfect",
    "divisor", "factor", "derivative", "fraction", "decimal", "part", "of", "before", "after", "from",
}  # fmt: skip
_ANY = {("unit",), ("square", "unit"), ("cubic", "unit"), ("sq", "unit")}
_IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse"}
_TAIL = re.compile(r"(?<![^\W\d_πei])(?<![a-zA-Z]{2})[^\W\d_]|[°Ω¢€£$¥₹]")
_PIECE = re.compile(r"°[CF]|[°¢€£$¥₹℃℉]|[a-zA-ZμΩÅ']+\.?|[\u4e00-\u9fff]+|\^\s*\{?\s*-?[1-9]\s*\}?|[/*()\-]")
# Chinese words that make another number or a bound of the one before them: 5的倍数, 5以上.
_CHANGES = re.compile("的|倍数|以[上下内外]|不到|多于|少于|余|多[个人]")
_TIGHT = set("mgshL")  # single letters that are a unit even right behind a digit: "5m", but "5x", "5K"


# 25 C beside 25 °C is no charge.
_SAME_LETTER = [
    {(("celsius", 1),), (("A", 1), ("s", 1))},
    {(("fahrenheit", 1),), (("A", 2), ("kg", -1), ("m", -2), ("s", 4))},
]


def candidates(text: str) -> Iterator[tuple[str, Unit | None]]:
    """Ways to read a cleaned text as (a quantity, its unit), longest unit first; Unit None is "units"."""
    money = re.fullmatch(
        r"([+-]?)\s*(?:([$€£¥₹])|(USD|EUR|GBP|CNY|RMB|INR|CHF|Rs)\.?)\s*([+-]?.*?[0-9}].*)", text
    )
    if money:
        # Money: the sign of the currency may stand on either side, and a rate behind it.
        sign, currency, amount = money[1], (money[2] or money[3]).lower(), money[4]
        if rate := re.fullmatch(r"(.*?[0-9])\s*((?:per\b|/\s*[a-z]).*)", amount):
            yield sign + rate[1], _parse(f"{currency} {rate[2]}")
        for head, other in (*candidates(amount), (amount, None)):
            if other is None or other.powers is None or _parse(currency).powers == other.powers:
                yield sign + head, _parse(currency)
        return
    for match in _TAIL.finditer(text):
        # Else every tail that may be a unit, with a magnitude between (3 million dollars).
        head, tail = text[: match.start()], text[match.start() :].strip()
        head, tail, scale = _magnitude(head, tail)
        if not re.search("[0-9πe∞]", head):
            continue
        if not tail:
            yield f"({head.strip()})*{scale}", None
            continue
        unit = _parse(tail)
        if unit and _plausible(unit, tail, tight=not head.endswith(" ")):
            head = head.strip() if scale == 1 else f"({head.strip()})*{scale}"
            yield head, None if tuple(sorted(unit.words)) in _ANY_SORTED else unit


_LITTLE = {"of", "a", "an"}
_ORDINALS = {"st", "nd", "rd", "th"}
_OFTEN_CAPITAL = {"kg", "km", "cm", "mm", "ml", "ft", "in", "hr", "lb"}
_ANY_SORTED = {tuple(sorted(words)) for words in _ANY}


def _plausible(unit: Unit, tail: str, tight: bool) -> bool:
    """Not rather a product of variables? "2xy", "5K" and "2gh" are formulas; "5 K", "5m", "5 boys" not."""
    if not tail.isascii() or tail in _ORDINALS or tuple(sorted(unit.words)) in _ANY_SORTED:
        return True
    if unit.powers is not None:
        return not (tight and len(tail) == 1 and tail not in _TIGHT)
    words = re.findall("[a-zA-Z]+", tail)
    return (not tight or len(tail) > 4) and all(
        word in _LITTLE or len(word) > 2 and re.search("[aeiouyAEIOUY]", word) for word in words
    )


def _magnitude(head: str, tail: str) -> tuple[str, str, int]:
    """ "5 million people" is 5000000 people."""
    match = re.match(r"([a-z]+|[百千万亿](?![米克瓦]))\s*", tail)
    scale = MAGNITUDES.get(match[1], 1) if match else 1
    return (head, tail[match.end() :], scale) if scale > 1 else (head, tail, 1)


@functools.lru_cache(4096)
def _parse(text: str) -> Unit | None:
    """The unit that a whole text spells, or a label; None when it is neither."""
    text = re.sub(r"\\frac ?\{([^{}]*)\} ?\{([^{}]*)\}", r"\1/\2", text).replace("μ ", "μ")
    text = re.sub(r" (?:long|tall|high|wide|deep|thick|away|apart|old|each|in total|total)$", "", text)
    text = re.sub(r"(?<=[a-z])([23])(?![0-9a-z])", r"^\1", text)  # cm2
    if len(text) > 60:
        return None
    pieces = _PIECE.findall(text)
    if "".join(pieces).replace(" ", "") != text.replace(" ", ""):
        return None
    words = [_singular(piece) for piece in pieces if re.match(r"[^\W\d_]|°|[¢€£$¥₹℃℉]", piece)]
    return _physical(pieces, frozenset(words)) or _label(pieces, words)


def _singular(word: str) -> str:
    word = word.rstrip(".")
    plain = word[:-1] if word.endswith("s") else word
    if len(word) > 3 and not {word.casefold(), plain.casefold()} & symbols():
        word = word.casefold()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search("(?:x|ch|sh|ss)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _look_up(word: str) -> tuple[Fraction, Powers] | None:
    known, plain = table(), word.rstrip(".")
    for name in (plain, _singular(word)):
        if name in known and name in (plain, plain.removesuffix("s")):
            return known[name]
    small = plain.casefold()
    for name in (small, _singular(word).casefold(), small.removesuffix("s")):
        if name in known and (name in _OFTEN_CAPITAL or len(name) > 2 and name in spelled()):
            return known[name]
    return None


def _physical(pieces: list[str], words: frozenset[str]) -> Unit | None:
    # A unit is a scale and powers of base units. What is multiplied so far; then the power of the next unit,
    # and its side of the line.
    scale, powers = Fraction(1), Counter()
    sign, group, pending, last = 1, 1, 1, None
    pieces = ["°C" if p.casefold() in ("celsius", "c") and "degree" in words else p for p in pieces]
    pieces = ["°F" if p.casefold() in ("fahrenheit", "f") and "degree" in words else p for p in pieces]
    if pieces[-1] in ("°C", "°F") and len(pieces) > 1:
        pieces = pieces[-1:]
    for piece in pieces:
        word = piece.casefold()
        if word in ("/", "per"):
            sign = -1
        elif word == "(":
            group, sign = sign, 1
        elif word == ")":
            group = 1
        elif word in ("*", "-"):
            pass
        elif word in ("square", "sq", "sq.", "cubic", "cu", "cu."):
            pending = 2 if word[0] == "s" else 3
        elif word in ("squared", "cubed") or piece[0] == "^":
            if last is None:
                return None
            power = {"squared": 2, "cubed": 3}.get(word) or int(re.sub(r"[^-\d]", "", piece))
            # One power is there already: only the rest is multiplied in.
            factor, base, direction = last
            scale *= factor ** (direction * (power - 1))
            powers.update({name: exponent * direction * (power - 1) for name, exponent in base})
            last = None
        else:
            # A unit of the table; an unknown word makes all of it no unit.
            found = _look_up(piece)
            if found is None:
                return None
            direction = sign * group
            scale *= found[0] ** (direction * pending)
            powers.update({name: exponent * direction * pending for name, exponent in found[1]})
            last, sign, pending = (*found, direction), 1, 1
    left = tuple(sorted((name, power) for name, power in powers.items() if power))
    return Unit(scale, left, words) if left else None


def _label(pieces: list[str], words: list[str]) -> Unit | None:
    if not 0 < len(words) <= 4 or any(piece[0] in "^*()-" for piece in pieces):
        return None
    plain = {piece.rstrip(".").casefold() for piece in pieces} | {word.casefold() for word in words}
    if any(_CHANGES.search(word) for word in words):
        return None
    if plain & NO_LABEL or any(len(word) < 2 and word.isascii() and word != "a" for word in words):
        return None
    # MBIT is neither mbit nor Mbit.
    kept = (word if word.casefold() in symbols() else word.casefold() for word in words)
    return Unit(Fraction(1), None, frozenset(kept))


def ratio(ours: Unit | None, gold: Unit | None) -> Fraction | None:
    """What our number must be multiplied by to be in the gold's unit; None when the units do not fit."""
    if ours is None or gold is None:
        written = ours or gold
        return None if written and any(word.startswith("base ") for word in written.words) else Fraction(1)
    if ours.powers is not None and ours.powers == gold.powers:
        return ours.scale / gold.scale
    if {ours.powers, gold.powers} in _SAME_LETTER:
        return Fraction(1)
    if ours.words <= gold.words or gold.words <= ours.words:
        return Fraction(1) if ours.powers is None or gold.powers is None else None
    return None


def compound(text: str) -> tuple[Fraction, Unit] | None:
    """The total of "2 hours 30 minutes" in its smallest unit; None for anything else."""
    if len(text) > 80:
        return None
    parts = re.findall(
        r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+\.?|[\u4e00-\u9fff]+)\s*(?:,\s*)?(?:and\s+)?", text
    )
    rebuilt = re.sub(r",|\band\b|\s", "", text)
    if not 2 <= len(parts) <= 4 or "".join(map("".join, parts)) != rebuilt:
        return None
    units = [_parse(word) for _, word in parts]
    if any(unit is None or unit.powers is None or unit.powers != units[0].powers for unit in units):
        return None
    scales = [unit.scale for unit in units]
    # From the larger to the smaller: 30 minutes 2 hours is no reading of a time.
    if scales != sorted(set(scales), reverse=True):
        return None
    total = sum(Fraction(number) * unit.scale for (number, _), unit in zip(parts, units, strict=True))
    return total / scales[-1], units[-1]
