"""Texts to vectors for retrieval.py: latent semantic analysis offline, or any sentence-transformers model.

    encoder = Lsa.fit(["2 + 3 = 5, because ...", ...], n_components=64, seed=0)
    vectors_DK = encoder.encode(["some text"])        # cosine = vectors_DK @ unit_vectors_KM

Shape legend: D texts, F hashed features, K dimensions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from nbkit.text.characters import printable
from nbkit.text.ngrams import ngram_ids, word_ids

_FEATURES = 2**16
Words = tuple[np.ndarray, np.ndarray]  # what ngrams.word_ids returns


class Lsa:
    """TF-IDF of hashed words and word pairs, projected by a truncated SVD: a static embedding table.

    `table_FK` holds idf times the SVD's axes, so encoding is one sparse product. A text is divided by its
    full TF-IDF length, not by its length in the K dimensions: what the fitted texts cannot express counts
    as distance.
    """

    name = "lsa"

    def __init__(self, idf_F: np.ndarray, table_FK: np.ndarray) -> None:
        self.idf_F, self.table_FK = idf_F, table_FK

    @classmethod
    def fit(cls, texts: Sequence[str], n_components: int = 64, seed: int = 0) -> "Lsa":
        # Counts are logarithmic: a word said ten times is not ten times the evidence.
        counts_DF = _sublinear(word_ids(texts))
        holding_F = np.bincount(counts_DF.indices, minlength=_FEATURES)
        # Smoothed idf, never below 1, as in scikit-learn: a word of every text still counts a little.
        idf_F = np.log((1 + len(texts)) / (1 + holding_F)).astype(np.float32) + np.float32(1)
        weighted_DF = _unit_rows(counts_DF.multiply(idf_F).tocsr())
        svd = TruncatedSVD(min(n_components, len(texts) - 1), random_state=seed).fit(weighted_DF)
        # idf is folded into the axes: encoding a text is then one sparse product.
        return cls(idf_F, np.ascontiguousarray((svd.components_ * idf_F).T, dtype=np.float32))

    def encode(self, texts: Sequence[str], words: Words | None = None) -> np.ndarray:
        """Vectors (D, K) of length up to 1; all zero for a text without words."""
        counts_DF = _sublinear(words or word_ids(texts))
        lengths_D = np.sqrt(counts_DF.power(2) @ (self.idf_F**2))
        return (counts_DF @ self.table_FK) / np.maximum(lengths_D, 1e-12)[:, None]


def _sublinear(words: Words) -> csr_matrix:
    """1 + ln(count) of every hashed word and pair, (D, F)."""
    parts = [ngram_ids(*words, n) for n in (1, 2)]
    n_texts = len(words[1]) - 1
    # Which text each word and each pair stands in; hashed features share one table.
    text_T = np.concatenate([np.repeat(np.arange(n_texts), np.diff(starts)) for _, starts in parts])
    feature_T = np.concatenate([ids for ids, _ in parts]) & np.uint32(_FEATURES - 1)
    # One sort counts all (text, feature) pairs; keys in that order are already CSR's.
    keys, counts = np.unique(text_T * _FEATURES + feature_T, return_counts=True)
    starts_D1 = np.searchsorted(keys, np.arange(n_texts + 1) * _FEATURES)
    weights = 1 + np.log(counts.astype(np.float32))
    return csr_matrix((weights, keys % _FEATURES, starts_D1), shape=(n_texts, _FEATURES))


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(matrix.power(2).sum(axis=1)).A1
    return csr_matrix(matrix.multiply(1 / np.maximum(lengths, 1e-12)[:, None]))


class SentenceEncoder:
    """A sentence-transformers model by hub name or local folder; vectors have length 1.

    Raises ValueError when the package is missing or the model cannot be loaded (without a network the hub's
    client retries for a minute; HF_HUB_OFFLINE=1 spares that).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (slow import, needed by this path only)
        except ImportError as error:
            raise ValueError(
                f"encoder={name!r} needs sentence-transformers: pip install sentence-transformers, "
                "or take encoder='lsa'"
            ) from error
        if Path(name).is_absolute() and not Path(name).is_dir():
            raise ValueError(f"encoder={name!r}: no such folder")
        try:
            self._model = SentenceTransformer(name, device="cpu")
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"encoder={name!r} cannot be loaded ({type(error).__name__}: {error}): want 'lsa', the "
                "folder of a sentence-transformers model, or its hub name where there is a network"
            ) from error

    def encode(self, texts: Sequence[str], _words: Words | None = None) -> np.ndarray:
        """Vectors (D, K) of length 1. Padding within a batch may move their last bits."""
        clean = [printable(text) for text in texts]
        return self._model.encode(clean, normalize_embeddings=True, show_progress_bar=False)
