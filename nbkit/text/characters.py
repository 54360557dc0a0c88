"""Characters that look alike or like nothing: one spelling of each, so that words can be compared. Used by
words.py; docs/data_conventions.md has the whole list with its reasons.

>>> folded("10⁻³ ≤ ½ neigh\\u00adbours").replace(" ", "_")
'10^-3_<=_1/2_neighbours'
"""

import re
import sys
import unicodedata
from functools import cache

# Unicode's default-ignorable characters (soft hyphens, joiners, marks of direction, variation selectors, byte
# order marks) and control characters that are no white space: a reader does not see them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE_ASCII = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
_SOFT_BREAK = re.compile("\xad[ \t\r]*\n[ \t]*")
# NFKC alone would make 2² the number 22, 1½ the fraction 11/2 and 101₂ the number 1012.
_COMPATIBLE = re.compile("[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u207f\u2080-\u2089\u2150-\u215e\u2189]")
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070-\u207f]+")
_LOWERED = re.compile("(?<=[0-9])[\u2080-\u2089]+")
_MIXED = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e\u2189])")
# Spellings of one sign. Not ×, · and *: a cross product is no dot product. Dashes of prose are spaces.
_SPELLING = (
    dict.fromkeys("\u02d7\u2010\u2011\u2012\u2013\u2212\u2796", "-")
    | dict.fromkeys("\u2044\u2215", "/")
    | dict.fromkeys("\u2264\u2266\u2a7d", "<=")
    | dict.fromkeys("\u2265\u2267\u2a7e", ">=")
    | {"\u2260": "!=", "\u2217": "*", "\u2236": ":", "\u2795": "+", "\u2716": "×", "\u2797": "÷"}
    | dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"')
    | dict.fromkeys("\u2014\u2015\u2022", " ")
)
_SPELLED = re.compile(f"[{''.join(_SPELLING)}]")
_NO_LATIN = re.compile("[^\x00-\u02ff]{31}")  # cheap to look for, and where a long run of marks must lie
_ALSO_SYMBOLS = "·′‴⁗⌈⌉⌊⌋⟦⟧⟨⟩‰‱٪"  # punctuation to Unicode, signs to a reader


def printable(text: str) -> str:
    """Half a character, which JSON can escape and no tokenizer or file can hold, becomes U+FFFD: places in
    the text stay what they were."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


def visible(text: str) -> str:
    """The text without characters that a reader does not see."""
    # ASCII text has few of them: one cheap search settles most documents.
    if text.isascii():
        return _INVISIBLE_ASCII.sub("", text) if _INVISIBLE_ASCII.search(text) else text
    return _INVISIBLE.sub("", _SOFT_BREAK.sub("", text))


def folded(text: str) -> str:
    """The visible text with one case, one width, one composition and one spelling of each sign."""
    # Invisible characters first: one inside a word would hide it from every rule below.
    text = visible(text)
    if text.isascii():
        return text.casefold()
    # Raised, lowered and mixed digits keep their meaning: 2² as 2^2, not as 22.
    if _COMPATIBLE.search(text):
        text = _MIXED.sub(" ", _LOWERED.sub(r"_\g<0>", _RAISED.sub(r"^\g<0>", text)))
    if _NO_LATIN.search(text):
        text = _run_of_marks().sub(r"\1", text)
    # Twice: folding the case of a composed character may leave one that is not composed.
    text = unicodedata.normalize("NFKC", text).casefold()
    text = unicodedata.normalize("NFKC", text)
    return _SPELLED.sub(lambda found: _SPELLING[found[0]], text)


@cache
def _run_of_marks() -> re.Pattern:
    """More than 30 combining marks in a row, which no script has (UAX 15, stream-safe text): normalisation
    sorts them in quadratic time, 40,000 in 7 seconds."""
    marks, _ = classes()
    return re.compile(f"([{marks}]{{30}})[{marks}]+")


@cache
def classes() -> tuple[str, str]:
    """(combining marks, symbols beyond ASCII) as bodies of a character class. A mark may carry the meaning:
    the vowels of Hindi and Thai are marks, and `\\w` has none of them."""
    marks, symbols = [], [ord(symbol) for symbol in _ALSO_SYMBOLS]
    for code in range(0x80, min(0x20000, sys.maxunicode)):
        kind = unicodedata.category(chr(code))
        if kind[0] == "M":
            marks.append(code)
        elif kind in ("Sm", "Sc", "So"):
            symbols.append(code)
    return _ranges(marks), _ranges(symbols)


def _ranges(codes: list[int]) -> str:
    found: list[list[int]] = []
    for code in sorted(codes):
        if found and code == found[-1][1] + 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)
