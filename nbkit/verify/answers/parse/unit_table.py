"""The units that `units.py` knows, as scales and powers of base units.

table()["km"]  # (Fraction(1000), (("m", 1),))
table()["J"]  # (Fraction(1), (("kg", 1), ("m", 2), ("s", -2)))
"""

import functools
import re
from fractions import Fraction

Powers = tuple[tuple[str, int], ...]

_MECHANICS = {
    "N": "kg m s-2", "J": "kg m2 s-2", "W": "kg m2 s-3", "Pa": "kg m-1 s-2", "Hz": "s-1",
    "V": "kg m2 s-3 A-1", "C": "A s", "Ω": "kg m2 s-3 A-2", "F": "kg-1 m-2 s4 A2", "H": "kg m2 s-2 A-2",
    "T": "kg s-2 A-1", "Wb": "kg m2 s-2 A-1", "M": "mol m-3", "L": "m3", "l": "m3", "g": "kg", "m": "m",
    "s": "s", "A": "A", "mol": "mol", "eV": "kg m2 s-2", "cal": "kg m2 s-2", "B": "bit", "bit": "bit",
    "K": "K", "bar": "kg m-1 s-2", "Wh": "kg m2 s-2",
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
    "amp": "A", "ampere": "A", "mole": "mol", "electronvolt": "eV", "calorie": "cal", "byte": "B",
    "bit": "bit", "kelvin": "K",
}  # fmt: skip
# Others, as (scale, base unit or a unit above).
_OTHERS = {
    "min minute mins": (60, "s"), "h hr hrs hour 小时 时": (3600, "s"), "d day 天 日": (86400, "s"),
    "week wk 周 星期": (604800, "s"), "秒": (1, "s"), "分钟": (60, "s"), "month mo 月": (1, "month"),
    "year yr 年": (12, "month"), "decade": (120, "month"), "century centuries": (1200, "month"),
    "in inch inches": ("0.0254", "m"), "ft foot feet": ("0.3048", "m"), "yd yard": ("0.9144", "m"),
    "mi mile": ("1609.344", "m"), "米": (1, "m"), "分米": ("0.1", "m"), "厘米": ("0.01", "m"),
    "毫米": ("0.001", "m"), "千米 公里": (1000, "m"), "Å angstrom": ("1e-10", "m"),
    "nautical_mile": (1852, "m"), "lb lbs pound": ("0.45359237", "kg"),
    "oz ounce": ("0.028349523125", "kg"), "ton tonne 吨": (1000, "kg"), "克 gm": ("0.001", "kg"),
    "千克 公斤": (1, "kg"), "毫克": ("1e-6", "kg"), "cc": ("1e-6", "m3"), "升": ("0.001", "m3"),
    "毫升": ("1e-6", "m3"), "gal gallon": ("0.003785411784", "m3"), "qt quart": ("0.000946352946", "m3"),
    "pt pint": ("0.000473176473", "m3"), "cup": ("0.0002365882365", "m3"),
    "tbsp tablespoon": ("0.00001478676478125", "m3"), "tsp teaspoon": ("0.00000492892159375", "m3"),
    "平方米": (1, "m2"), "平方厘米": ("0.0001", "m2"), "平方分米": ("0.01", "m2"),
    "平方千米 平方公里": (1000000, "m2"), "公顷 hectare ha": (10000, "m2"), "acre": ("4046.8564224", "m2"),
    "立方米": (1, "m3"), "立方厘米": ("1e-6", "m3"), "立方分米": ("0.001", "m3"),
    "mph": ("0.44704", "m s-1"), "kph kmh": ("5/18", "m s-1"), "rpm": ("1/60", "revolution s-1"),
    "rev revolution": (1, "revolution"), "degree deg ° 度": (1, "degree"), "rad radian 弧度": (1, "radian"),
    "$ dollar usd 美元 buck": (1, "dollar"), "¢ cent": ("0.01", "dollar"), "€ euro eur": (1, "euro"),
    "£ gbp": (1, "sterling"), "¥ 元 yuan rmb cny 块": (1, "yuan"), "角": ("0.1", "yuan"),
    "rs rupee inr ₹": (1, "rupee"), "chf franc": (1, "franc"), "atm atmosphere": (101325, "kg m-1 s-2"),
    "mmHg torr": ("101325/760", "kg m-1 s-2"), "hp horsepower": ("745.6998715822702", "kg m2 s-3"),
    "celsius °C ℃ 摄氏度": (1, "celsius"), "fahrenheit °F ℉": (1, "fahrenheit"),
}  # fmt: skip
MAGNITUDES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "score": 20, "lakh": 10**5, "lac": 10**5, "crore": 10**7, "gross": 144,
    "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
}  # fmt: skip


@functools.cache
def table() -> dict[str, tuple[Fraction, Powers]]:
    found = {}
    for symbol, powers in _MECHANICS.items():
        for prefix, scale in _PREFIXES.items():
            found[prefix + symbol] = Fraction(scale) * Fraction(_SCALES.get(symbol, 1)), _powers(powers)
    for word, symbol in _WORDS.items():
        for spoken, prefix in _WORD_PREFIXES.items():
            found[spoken + word] = found[prefix + symbol]
    for names, (scale, base) in _OTHERS.items():
        for name in names.split():
            found[name] = Fraction(scale), _powers(base)
    return found


@functools.cache
def spelled() -> frozenset[str]:
    """Names that mean the same in capitals ("HOURS"). Symbols do not: MW is not mW, and K is no prefix."""
    words = {prefix + word for prefix in _WORD_PREFIXES for word in _WORDS}
    others = {name for names in _OTHERS for name in names.split() if len(name) > 2}
    return frozenset(words | others | {symbol for symbol in _MECHANICS if symbol.islower()})


@functools.cache
def symbols() -> frozenset[str]:
    """Symbols with a prefix, in small letters: "mbit" for mbit and Mbit."""
    return frozenset(
        (prefix + symbol).casefold() for prefix in _PREFIXES if prefix for symbol in _MECHANICS
    ) - {name.casefold() for name in spelled()}


def _powers(text: str) -> Powers:
    parts = [re.fullmatch(r"(\D+?)(-?\d)?", part).groups() for part in text.split()]
    return tuple(sorted((name, int(power or 1)) for name, power in parts))
