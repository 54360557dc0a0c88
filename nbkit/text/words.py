"""What "the same text" means: the words that dedup.py and contamination.py compare, and 64-bit hashes of
their n-grams. docs/data_conventions.md gives the rules and their reasons.

    exact_words("Hello, World! 5 − 3")               # ["hello", "world", "5", "-", "3"]: for duplicates
    words = normalise("neigh-\nbours of **Mira**")   # ["neighbours", "of", "*", ...]: for leaks
    grams = gram_hashes(word_hashes(words), 2)       # uint64, one per pair of neighbours
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from nbkit.text.characters import classes, folded

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # no spaces there: each character is a word
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_REMEMBERED = 1_000_000
# What a duplicate may not differ in besides words; the rest is punctuation of prose.
_EXACT_SIGNS = "|".join(
    (
        r"[-+*/=<>%^&|~\\#@$(){}\[\]]",
        r"(?<=\w)[.:](?=\w)",  # 1.5, a.b, 3:4
        r"(?<![\w.])\.(?=\w)|\.+(?=/)",  # .5, f(x).y, ../a
        r"(?<=\d)\.{2,}(?=\d)",  # 1..9
        r"::|:(?=[=<>|\]])|(?<=[=<>|\[]):",  # std::map, x := 1, a[1:], a[:1]
        r"(?<=\d)[,;](?=\d)",  # 1,000
        r"\?(?=[.:=!<\[(\w])|(?<=\s)\?\?(?=\s)",  # a?.b, x ?= 1, (?:a), a ?? b
        r"!(?=[=\w(])|(?<=[\d)])!+",  # !=, !done, 5!, 5!!
        r"(?<=\b\w)(?:!+|'+)(?!\w)",  # n!, n!!, f'(x), f''(x)
    )
)
# A leak is looked for in text that others formatted, so brackets and points count for nothing.
_LEAK_SIGNS = r"!=|[-+*/=<>%^]"
_LEAK_SPELLING = {"×": "*", "⋅": "*", "·": "*", "÷": "/"}
_LEAK_SPELLED = re.compile("[×⋅·÷]")
_ACCENTS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")
# A quoted or listed line; before a number "- " may be a formula that was broken there.
_LINE_MARK = re.compile(r"^[ \t]*(?:>[ \t]*|[*+-][ \t]+(?=[^\W\d]))+", re.MULTILINE)
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?:[ \t\r]*\n\s*)?(?=[^\W\d_]{2})")


@cache
def _tokens(signs: str, ascii_only: bool) -> re.Pattern:
    # ASCII needs no classes of other scripts, and its pattern is several times faster.
    if ascii_only:
        return re.compile(
            rf"\w+|(?!\s)(?:{signs})", re.ASCII
        )  # (?!\s): most of what no word holds is a space
    marks, symbols = classes()
    word = rf"[^\W{_CJK}]+(?:[{marks}]+[^\W{_CJK}]*)*"
    return re.compile(
        rf"[{_CJK}]|{word}|{signs}" + (rf"|[{symbols}{marks}]" if signs == _EXACT_SIGNS else "")
    )


def exact_words(text: str) -> list[str]:
    """Words, signs and symbols: two texts with equal ones differ in nothing but case, width, spacing, the
    spelling of a sign, invisible characters, quotes and the punctuation of prose. No item holds a space."""
    text = folded(text)
    return _tokens(_EXACT_SIGNS, text.isascii()).findall(text)


def plain(text: str) -> str:
    """The text in which leaks are looked for: `folded`, without marks of quotes and lists at the start of a
    line, words with a hyphen or broken at a line end in one piece, without accents that no letter has of its
    own, products and quotients in one spelling."""
    # Marks of quotes and lists come and go when a text is copied; they are not its words.
    text = _LINE_MARK.sub("", folded(text))
    # Accents that a letter has of its own are composed by now: what is left is decoration.
    if not text.isascii():
        text = _ACCENTS.sub("", _LEAK_SPELLED.sub(lambda found: _LEAK_SPELLING[found[0]], text))
    return _HYPHEN.sub("", text) if "-" in text else text


def normalise(text: str) -> list[str]:
    """The words and signs of `plain` text: what a leak shares with an evaluation item, whatever the layout
    around it. No item holds a space."""
    text = plain(text)
    return _tokens(_LEAK_SIGNS, text.isascii()).findall(text)


def _hash(word: str) -> int:
    # Broken UTF-8 may have become lone surrogates, which plain UTF-8 refuses.
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class _Remembered(dict):
    """Word -> hash. Text repeats its words, so looking one up is some ten times faster than hashing it."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[word] = _hash(word)
        return value


_HASHES = _Remembered()


def word_hashes(words: Sequence[str]) -> np.ndarray:
    """BLAKE2b of each word, uint64 (T,): the same in every process."""
    return np.fromiter(map(_HASHES.__getitem__, words), np.uint64, len(words))


def gram_sweep(hashes_T: np.ndarray, longest: int) -> Iterator[tuple[int, np.ndarray]]:
    """(k, hashes of the k-grams in order, uint64 (max(T - k + 1, 0),)) for k = 1 ... `longest`: a polynomial
    in the word hashes modulo 2^64, each length grown from the one before."""
    grams = hashes_T
    for k in range(1, longest + 1):
        if k > 1:
            grams = grams[:-1] * _PRIME + hashes_T[k - 1 :]
        yield k, grams


def gram_hashes(hashes_T: np.ndarray, n: int) -> np.ndarray:
    """The last step of `gram_sweep`: hashes of the n-grams."""
    *_, (_, grams) = gram_sweep(hashes_T, n)
    return grams


def check_documents(docs: Sequence[Mapping]) -> None:
    """Raises ValueError for a document without "id" or text, and for an id given twice (naming both)."""
    first: dict = {}
    for position, doc in enumerate(docs):
        if "id" not in doc or not isinstance(doc.get("text"), str):
            raise ValueError(f"document {position} ({doc.get('id')!r}): want 'id' and a string 'text'")
        if (earlier := first.setdefault(doc["id"], position)) != position:
            raise ValueError(
                f"document id {doc['id']!r} is given twice, at positions {earlier} and {position}: "
                "reports name documents by id, so make ids unique first"
            )
