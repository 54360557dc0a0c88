"""Hashed words and word n-grams of many texts at once, in numpy: features of the filter.

scikit-learn's HashingVectorizer makes a Python string per n-gram and reads about 1 MB/s with word 1-2-grams
and character 3-grams; here one pass over the bytes hashes every word. Shape legend: D texts, T words in all
of them, F hashed features.

    ids_T, starts_D1 = word_ids(["Two words.", "one"])          # T = 4: two, words, ".", one
    pairs, pair_starts = ngram_ids(ids_T, starts_D1, 2)         # never across texts
    counts_DF = word_counts(ids_T, starts_D1, 2**16)
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

_SEPARATOR, _WORD, _SINGLE = 0, 1, 2


def _classes() -> np.ndarray:
    """Class of every byte: letters, digits, `_` and all bytes of non-ASCII characters join words."""
    kinds = np.full(256, _SINGLE, np.uint8)
    kinds[[byte for byte in range(256) if byte >= 128 or chr(byte).isalnum() or byte == ord("_")]] = _WORD
    kinds[list(b"\x00\t\r\x0b\x0c ")] = _SEPARATOR
    return kinds


_CLASS = _classes()
_PRIME = 0x01000193
_POWERS = np.array([pow(_PRIME, k, 2**32) for k in range(64)], np.uint32)
_BYTE = ((np.arange(256, dtype=np.uint64) * 0x9E3779B1 + 0x7F4A7C15) % 2**32).astype(np.uint32)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread 32-bit hashes so that their low bits serve as feature numbers (murmur3's finaliser)."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def word_ids(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash of every word, mark and line break, case ignored: uint32 (T,), and where each text starts, (D+1,).

    Equal words have equal hashes in every process; two of 10,000 different ones collide with probability
    about 1%.
    """
    # All texts as one array of bytes, with a zero after each.
    blobs = [text.lower().encode("utf-8", "replace").replace(b"\x00", b" ") for text in texts]
    sizes = np.fromiter((len(blob) + 1 for blob in blobs), np.int64, len(blobs))
    data = np.frombuffer(b"\x00".join([*blobs, b""]), np.uint8)
    if not len(data):
        return np.zeros(0, np.uint32), np.zeros(len(texts) + 1, np.int64)
    # Where tokens begin: at every mark, and where a word follows something else.
    kind = _CLASS[data]
    begins = kind == _SINGLE
    begins[0] |= kind[0] == _WORD
    begins[1:] |= (kind[1:] == _WORD) & (kind[:-1] != _WORD)
    first_T = np.flatnonzero(begins)
    # A polynomial in the bytes of each token, summed in one pass over the array.
    token = np.cumsum(begins, dtype=np.int64) - 1  # of every byte
    place = np.arange(len(data)) - first_T[token] if len(first_T) else np.zeros(len(data), np.int64)
    # Powers repeat after 64 bytes: longer words still hash, and the table stays small.
    share = _BYTE[data] * _POWERS[place & 63]
    share[kind == _SEPARATOR] = 0
    ids_T = (
        _mixed(np.add.reduceat(share, first_T, dtype=np.uint32)) if len(first_T) else np.zeros(0, np.uint32)
    )
    # Which token is the first of each text.
    ends = np.cumsum(sizes)
    return ids_T, np.concatenate([[0], np.searchsorted(first_T, ends)])


def ngram_ids(ids_T: np.ndarray, starts_D1: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the n-grams inside each text, in order, and where each text's begin; a text of w words has
    max(w - n + 1, 0)."""
    if n < 1:
        raise ValueError(f"n={n}: want n-grams of at least one word")
    # Over the border of texts too, for speed; those are taken out below.
    n_grams = max(len(ids_T) - n + 1, 0)
    grams = np.zeros(n_grams, np.uint32)
    for k in range(n):
        grams = _mixed(grams * np.uint32(_PRIME) + ids_T[k : k + n_grams])
    lengths_D = np.maximum(np.diff(starts_D1) - n + 1, 0)
    text_T = np.repeat(np.arange(len(starts_D1) - 1), np.diff(starts_D1))[:n_grams]
    # A gram that ends beyond its own text is of two texts, and none.
    inside = np.arange(n_grams) + n <= starts_D1[text_T + 1]
    return grams[inside], np.concatenate([[0], np.cumsum(lengths_D)])


def word_counts(
    ids_T: np.ndarray, starts_D1: np.ndarray, n_features: int, ngrams: Sequence[int] = (1, 2)
) -> csr_matrix:
    """Hashed n-gram counts (D, F), all `ngrams` in the same columns: sparse, float32, repeats not
    summed."""
    parts = [ngram_ids(ids_T, starts_D1, n) for n in ngrams]
    ids = np.concatenate([ids for ids, _ in parts])
    text = np.concatenate([np.repeat(np.arange(len(starts_D1) - 1), np.diff(starts)) for _, starts in parts])
    # Stable: the columns of one text come together, whatever n they are of.
    order = np.argsort(text, kind="stable")
    columns = (ids[order] % np.uint32(n_features)).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(sum(np.diff(starts) for _, starts in parts))])
    return csr_matrix((np.ones(len(ids), np.float32), columns, ends), shape=(len(starts_D1) - 1, n_features))
