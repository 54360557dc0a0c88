"""Exact and near duplicates within the corpus: they go before scoring. Notebook 01.

MinHash LSH (Broder 1997; datasketch) proposes pairs, the exact Jaccard similarity of word 3-shingles
decides, so that what is removed does not depend on luck. Leaked evaluation items are contamination.py's.

    kept, removed = deduplicate(docs)     # a row: id, source, kind, duplicate_of, similarity
    report(removed)["kinds"]              # {"exact": 12, "near": 30}
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH

from nbkit.run import progress
from nbkit.text.words import check_documents, exact_words, gram_hashes, word_hashes

SHINGLE = 3
PERMUTATIONS = 64
_CHUNK = 2**16  # shingles sketched at once: bounds the (chunk, permutations) array at 16 MB


def shingle_hashes(words: Sequence[str]) -> np.ndarray:
    """Sorted unique 32-bit hashes of the word 3-grams, shape (n,); a shorter text is one shingle."""
    grams = gram_hashes(word_hashes(words), max(min(SHINGLE, len(words)), 1))
    # The upper half of 64 bits: four bytes per word are what the documents' memory is made of.
    return np.unique((grams >> np.uint64(32)).astype(np.uint32)) if words else np.zeros(1, np.uint32)


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def lsh_bands(threshold: float) -> tuple[int, int]:
    """(bands, rows): most rows for which a pair at the threshold shares a band with probability 99% or more.

    Signatures agree in a row with probability J, so in some band with 1 - (1 - J^rows)^bands. Fewer rows only
    propose more pairs, which the exact check discards.
    """
    # More rows per band propose fewer false pairs; the 99% bound how far that may go.
    for rows in range(PERMUTATIONS // 2, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= 0.99:
            return bands, rows
    return PERMUTATIONS, 1


def minhash(empty: MinHash, shingles: np.ndarray) -> MinHash:
    sketch = empty.copy()
    sketch.hashfunc = np.asarray  # shingles are hashes already: a chunk passes whole, not number by number
    for start in range(0, len(shingles), _CHUNK):
        sketch.update_batch([shingles[start : start + _CHUNK]])
    return sketch


def deduplicate(
    docs: Sequence[Mapping], threshold: float = 0.8, seed: int = 0
) -> tuple[list[Mapping], list[dict]]:
    """Keep the first of every group of equal or nearly equal documents, in the given order.

    Every removed document is equal in its `exact_words`, or has Jaccard similarity >= threshold on word
    3-shingles to a document that is kept. LSH misses at most 1% of the pairs at the threshold, fewer above it
    (see `lsh_bands`). `seed` draws the hash permutations. Holds 4 bytes per word of the kept documents.
    Returns the kept documents and one report row per removed one. Raises ValueError for a threshold outside
    (0, 1], ids given twice and documents without text.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}: want a Jaccard similarity above 0, up to 1")
    check_documents(docs)
    # What is known of the kept ones: bands of their sketches, and their words by hash and by shingle.
    index = MinHashLSH(num_perm=PERMUTATIONS, params=lsh_bands(threshold))
    empty = MinHash(num_perm=PERMUTATIONS, seed=seed + 1, hashfunc=int)
    exact: dict[bytes, int] = {}
    shingles: dict[int, np.ndarray] = {}
    kept, removed = [], []
    for position, doc in enumerate(progress.each(docs, "near-duplicates, document")):
        # Equal words first: a hash settles it.
        words = exact_words(doc["text"])
        key = hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in exact:
            removed.append(_removal(doc, "exact", docs[exact[key]], 1.0))
            continue
        # Bands only propose; the shingles themselves decide, so that no document goes by chance.
        own = shingle_hashes(words)
        sketch = minhash(empty, own)
        similar = [(jaccard(own, shingles[other]), -other) for other in index.query(sketch)]
        # of equally similar ones the earliest (-other is the largest)
        best, other = max(similar, default=(0.0, 0))
        if best >= threshold:
            removed.append(_removal(doc, "near", docs[-other], best))
            continue
        # It is kept, and the next ones are compared with it.
        exact[key] = position
        shingles[position] = own
        index.insert(position, sketch, check_duplication=False)
        kept.append(doc)
    return kept, removed


def _removal(doc: Mapping, kind: str, original: Mapping, similarity: float) -> dict:
    return {
        "id": doc["id"],
        "source": doc.get("source"),
        "kind": kind,
        "duplicate_of": original["id"],
        "similarity": round(similarity, 4),
    }


def report(removed: Sequence[Mapping], examples: int = 3) -> dict:
    """Summary of the rows of `deduplicate` or `decontaminate`, as plain data.

    "removed"; counts by "kinds", "sources" and (leaks) evaluation "sets"; "groups": how many kept documents
    had duplicates, or evaluation items leaks, by the number of documents removed for them; "examples": the
    first rows of each kind.
    """
    rows = [{"source": None, "set": None, **row} for row in removed]
    causes = Counter(
        (row["duplicate_of"],) if "duplicate_of" in row else (row["set"], row["item"]) for row in rows
    )
    kinds = Counter(row["kind"] for row in rows)
    return {
        "removed": len(rows),
        "kinds": dict(kinds.most_common()),
        "sources": dict(Counter(str(row["source"]) for row in rows).most_common()),
        "sets": dict(Counter(row["set"] for row in rows if row["set"] is not None).most_common()),
        "groups": {str(size): count for size, count in sorted(Counter(causes.values()).items())},
        "examples": {kind: [dict(r) for r in removed if r["kind"] == kind][:examples] for kind in kinds},
    }
