"""Units of measurement in answers: what may follow a number, and how two units convert (used by `structures.py`).

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

from .answers import FUNCTIONS

Powers = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """`powers` of base units times `scale`; None for a label. `words` are what was written, singular."""

    scale: Fraction
    powers: Powers | None
    words: frozenset[str]


DEGREE = Unit(Fraction(1), (("degree", 1),), frozenset({"degree"}))
_MECHANICS = {
    "N": "kg m s-2", "J": "kg m2 s-2", "W": "kg m2 s-3", "Pa": "kg m-1 s-2", "Hz": "s-1", "V": "kg m2 s-3 A-1",
    "C": "A s", "Ω": "kg m2 s-3 A-2", "F": "kg-1 m-2 s4 A2", "H": "kg m2 s-2 A-2", "T": "kg s-2 A-1",
    "Wb": "kg m2 s-2 A-1", "M": "mol m-3", "L": "m3", "l": "m3", "g": "kg", "m": "m", "s": "s", "A": "A",
    "mol": "mol", "eV": "kg m2 s-2", "cal": "kg m2 s-2", "B": "bit", "bit": "bit", "K": "K", "bar": "kg m-1 s-2",
    "Wh": "kg m2 s-2",
}  # fmt: skip
_SCALES = {
    "M": 1000, "L": "1/1000", "l": "1/1000", "g": "1/1000", "eV": "1.602176634e-19", "cal": "4.184", "B": 8,
    "bar": 100000, "Wh": 3600,
}  # fmt: skip
_PREFIXES = {
    "T": "1e12", "G": "1e9", "M": "1e6", "k": "1e3", "h": "100", "d": "1/10", "c": "1/100", "m": "1/1000",
    "μ": "1e-6", "u": "1e-6", "n": "1e-9", "p": "1e-12", "": "1",
}  # fmt: skip
_WORD_PREFIXES = {
    "tera": "T", "giga": "G", "mega": "M", "kilo": "k", "hecto": "h", "deci": "d", "centi": "c", "milli": "m",
    "micro": "μ", "nano": "n", "pico": "p", "": "",
}  # fmt: skip
_WORDS = {
    "newton": "N", "joule": "J", "watt": "W", "pascal": "Pa", "hertz": "Hz", "volt": "V", "coulomb": "C",
    "ohm": "Ω", "farad": "F", "henry": "H", "tesla": "T", "weber": "Wb", "molar": "M", "liter": "L",
    "litre": "L", "gram": "g", "gramme": "g", "meter": "m", "metre": "m", "second": "s", "sec": "s",
    "amp": "A", "ampere": "A", "mole": "mol", "electronvolt": "eV", "calorie": "cal", "byte": "B", "bit": "bit",
    "kelvin": "K",
}  # fmt: skip
# Others, as (scale, base unit or a unit above).
_OTHERS = {
    "min minute mins": (60, "s"), "h hr hrs hour 小时 时": (3600, "s"), "d day 天 日": (86400, "s"),
    "week wk 周 星期": (604800, "s"), "秒": (1, "s"), "分钟": (60, "s"), "month mo 月": (1, "month"),
    "year yr 年": (12, "month"), "decade": (120, "month"), "century centuries": (1200, "month"),
    "in inch inches": ("0.0254", "m"), "ft foot feet": ("0.3048", "m"), "yd yard": ("0.9144", "m"),
    "mi mile": ("1609.344", "m"), "米": (1, "m"), "分米": ("0.1", "m"), "厘米": ("0.01", "m"),
    "毫米": ("0.001", "m"), "千米 公里": (1000, "m"), "Å angstrom": ("1e-10", "m"), "nautical_mile": (1852, "m"),
    "lb lbs pound": ("0.45359237", "kg"), "oz ounce": ("0.028349523125", "kg"), "ton tonne 吨": (1000, "kg"),
    "克 gm": ("0.001", "kg"), "千克 公斤": (1, "kg"), "毫克": ("1e-6", "kg"), "cc": ("1e-6", "m3"),
    "升": ("0.001", "m3"), "毫升": ("1e-6", "m3"), "gal gallon": ("0.003785411784", "m3"),
    "qt quart": ("0.000946352946", "m3"), "pt pint": ("0.000473176473", "m3"), "cup": ("0.0002365882365", "m3"),
    "tbsp tablespoon": ("0.00001478676478125", "m3"), "tsp teaspoon": ("0.00000492892159375", "m3"),
    "平方米": (1, "m2"), "平方厘米": ("0.0001", "m2"), "平方分米": ("0.01", "m2"), "平方千米 平方公里": (1000000, "m2"),
    "公顷 hectare ha": (10000, "m2"), "acre": ("4046.8564224", "m2"), "立方米": (1, "m3"),
    "立方厘米": ("1e-6", "m3"), "立方分米": ("0.001", "m3"), "mph": ("0.44704", "m s-1"),
    "kph kmh": ("5/18", "m s-1"), "rpm": ("1/60", "revolution s-1"), "rev revolution": (1, "revolution"),
    "degree deg ° 度": (1, "degree"), "rad radian 弧度": (1, "radian"), "$ dollar usd 美元 buck": (1, "dollar"),
    "¢ cent": ("0.01", "dollar"), "€ euro eur": (1, "euro"), "£ gbp": (1, "sterling"), "¥ 元 yuan rmb cny 块": (1, "yuan"),
    "角": ("0.1", "yuan"), "rs rupee inr ₹": (1, "rupee"), "atm atmosphere": (101325, "kg m-1 s-2"),
    "mmHg torr": ("101325/760", "kg m-1 s-2"), "hp horsepower": ("745.6998715822702", "kg m2 s-3"),
    "celsius °C ℃ 摄氏度": (1, "celsius"), "fahrenheit °F ℉": (1, "fahrenheit"), "dozen_": (12, "dozen"),
}  # fmt: skip
_MAGNITUDES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
}  # fmt: skip
# Words that change a number's meaning are no label of it.
_NO_LABEL = FUNCTIONS | set(
    [
        "or",
        "and",
        "to",
        "not",
        "no",
        "is",
        "isn",
        "are",
        "was",
        "if",
        "than",
        "plus",
        "minus",
        "times",
        "over",
        "pi",
        "mod",
        "more",
        "less",
        "squared",
        "cubed",
        "factorial",
        "root",
        "half",
        "halves",
        "third",
        "thirds",
        "quarter",
        "quarters",
        "fourth",
        "fourths",
        "fifth",
        "fifths",
        "sixth",
        "sixths",
        "seventh",
        "sevenths",
        "eighth",
        "eighths",
        "ninth",
        "ninths",
        "tenth",
        "tenths",
        "hundredth",
        "hundredths",
        "thousandth",
        "thousandths",
        "infinity",
        "undefined",
        "percent",
        "except",
        "but",
        "choose",
        "base",
        "with",
        "without",
        "when",
        "where",
        "for",
        "all",
        "from",
        "between",
        "at",
        "through",
        "by",
        "negative",
        "wrong",
    ]
)
_ANY = {("unit",), ("square", "unit"), ("cubic", "unit"), ("sq", "unit")}
_IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse"}
_TAIL = re.compile(r"(?<![^\W\d_πei])(?<![a-zA-Z]{2})[^\W\d_]|[°Ω¢€£$¥₹]")
_PIECE = re.compile(r"°[CF]|[°¢€£$¥₹℃℉]|[a-zA-ZμΩÅ']+\.?|[\u4e00-\u9fff]+|\^\s*\{?\s*-?[1-9]\s*\}?|[/*()\-]")
_TIGHT = set("mgshL")  # single letters that are a unit even right behind a digit: "5m", but "5x", "5K"


# 25 C beside 25 °C is no charge.
_SAME_LETTER = [{(("celsius", 1),), (("A", 1), ("s", 1))}, {(("fahrenheit", 1),), (("A", 2), ("kg", -1), ("m", -2), ("s", 4))}]


@functools.cache
def _table() -> dict[str, tuple[Fraction, Powers]]:
    table = {}
    for symbol, powers in _MECHANICS.items():
        for prefix, scale in _PREFIXES.items():
            table[prefix + symbol] = Fraction(scale) * Fraction(_SCALES.get(symbol, 1)), _powers(powers)
    for word, symbol in _WORDS.items():
        for spoken, prefix in _WORD_PREFIXES.items():
            table[spoken + word] = table[prefix + symbol]
    for names, (scale, base) in _OTHERS.items():
        for name in names.split():
            table[name] = Fraction(scale), _powers(base)
    return table


def _powers(text: str) -> Powers:
    parts = [re.fullmatch(r"(\D+?)(-?\d)?", part).groups() for part in text.split()]
    return tuple(sorted((name, int(power or 1)) for name, power in parts))


def candidates(text: str) -> Iterator[tuple[str, Unit | None]]:
    """Ways to read a cleaned text as (a quantity, its unit), longest unit first; Unit None is "units"."""
    money = re.fullmatch(
        r"([+-]?)\s*(?:([$€£¥₹])|(USD|EUR|GBP|CNY|RMB|INR|Rs)\.?)\s*([+-]?.*?[0-9}].*)", text
    )
    if money:
        sign, currency, amount = money[1], (money[2] or money[3]).lower(), money[4]
        if rate := re.fullmatch(r"(.*?[0-9])\s*((?:per\b|/\s*[a-z]).*)", amount):
            yield sign + rate[1], _parse(f"{currency} {rate[2]}")
        for head, other in (*candidates(amount), (amount, None)):
            if other is None or other.powers is None or _parse(currency).powers == other.powers:
                yield sign + head, _parse(currency)
        return
    for match in _TAIL.finditer(text):
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
    """Not rather a product of variables? "2xy", "5K" and "2gh" are formulas, "5 K", "5m" and "5 boys" are not."""
    if not tail.isascii() or tail in _ORDINALS:
        return True
    if unit.powers is not None:
        return not (tight and len(tail) == 1 and tail not in _TIGHT)
    words = re.findall("[a-zA-Z]+", tail)
    return (not tight or len(tail) > 4) and all(
        len(word) > 2 and re.search("[aeiouyAEIOUY]", word) for word in words
    )


def _magnitude(head: str, tail: str) -> tuple[str, str, int]:
    """ "5 million people" is 5000000 people."""
    match = re.match(r"([a-z]+|[百千万亿](?![米克瓦]))\s*", tail)
    scale = _MAGNITUDES.get(match[1], 1) if match else 1
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
    word = word.rstrip(".").casefold() if len(word) > 3 else word.rstrip(".")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search("(?:x|ch|sh|ss)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _look_up(word: str) -> tuple[Fraction, Powers] | None:
    table, plain = _table(), word.rstrip(".")
    for name in (plain, _singular(word), _singular(word).casefold()):
        if name in table and (len(name) > 2 or name == plain or name in _OFTEN_CAPITAL):
            return table[name]
    return None


def _physical(pieces: list[str], words: frozenset[str]) -> Unit | None:
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
            factor, base, direction = last
            scale *= factor ** (direction * (power - 1))
            powers.update({name: exponent * direction * (power - 1) for name, exponent in base})
            last = None
        else:
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
    if plain & _NO_LABEL or any( len(word) < 2 and word.isascii() and word != "a" for word in words):
        return None
    return Unit(Fraction(1), None, frozenset(word.casefold() for word in words))


def ratio(ours: Unit | None, gold: Unit | None) -> Fraction | None:
    """What our number must be multiplied by to be in the gold's unit; None when the units do not fit."""
    if ours is None or gold is None:
        return Fraction(1)
    if ours.powers is not None and ours.powers == gold.powers:
        return ours.scale / gold.scale
    if {ours.powers, gold.powers} in _SAME_LETTER:
        return Fraction(1)
    if ours.words <= gold.words or gold.words <= ours.words:
        return Fraction(1) if ours.powers is None or gold.powers is None else None
    return None


def compound(text: str) -> tuple[Fraction, Unit] | None:
    """The total of "2 hours 30 minutes" in its smallest unit; None for anything else."""
    parts = re.findall(
        r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+\.?|[\u4e00-\u9fff]+)\s*(?:,\s*)?(?:and\s+)?", text
    )
    rebuilt = re.sub(r",|\band\b|\s", "", text)
    if not 2 <= len(parts) <= 4 or "".join(map("".join, parts)) != rebuilt or len(text) > 80:
        return None
    units = [_parse(word) for _, word in parts]
    if any(unit is None or unit.powers is None or unit.powers != units[0].powers for unit in units):
        return None
    scales = [unit.scale for unit in units]
    if scales != sorted(set(scales), reverse=True):
        return None
    total = sum(Fraction(number) * unit.scale for (number, _), unit in zip(parts, units, strict=True))
    return total / scales[-1], units[-1]
