"""Normalised words of a text and 64-bit hashes of their n-grams: what "the same text" means to dedup.py and
contamination.py.

    words = normalise("Hello, World!")               # ["hello", "world"]
    grams = gram_hashes(word_hashes(words), 2)       # uint64, one per pair of neighbours
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

# Words, single CJK characters (no spaces there) and arithmetic signs: "3 + 4" and "3 - 4" differ.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[-+*/=<>%^]")
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_REMEMBERED = 1_000_000


def normalise(text: str) -> list[str]:
    """Tokens that survive changes of case, width, spacing and punctuation. No token holds a space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _TOKEN.findall(text.casefold())


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
