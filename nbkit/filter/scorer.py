"""Document quality: annotate a sample, distil a small model from it, score everything 0-9. Notebook 01.

The report has a strong LLM annotate a sample on 20 dimensions and distils a small model to annotate the
corpus. Annotators are in annotators.py; the dimensions and the offline rules in rules/. Shape legend: D
documents, Q = 20 dimensions, F features.

    scorer = Scorer().fit(sample, annotations)        # annotations: name -> 0-9 per text, or (D, Q)
    quality_DQ = scorer.predict(texts)                # 0-9
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from nbkit.filter.rules.dimensions import DIMENSIONS, Dimension, annotate, annotate_relational
from nbkit.filter.rules.measures import MAX_CHARS
from nbkit.run import progress
from nbkit.run.files import atomic_write
from nbkit.text.ngrams import ngram_ids, word_counts, word_ids

__all__ = ["DIMENSIONS", "MAX_CHARS", "NAMES", "Dimension", "Scorer", "annotate", "as_matrix"]

NAMES = tuple(dimension.name for dimension in DIMENSIONS)
_RELATIONAL = [q for q, dimension in enumerate(DIMENSIONS) if dimension.relational]
_FEATURES = 2**16
_SURFACE_SCALE = 4.0  # ten counts among 65,536: the ridge penalty would flatten them
Words = tuple[np.ndarray, np.ndarray]  # what ngrams.word_ids returns
# Classes of bytes whose shares are features: space, line end, digit, capital, small letter, mark, non-ASCII.
_BYTE_CLASS = np.array(
    [
        6 if b > 127 else 0 if chr(b) in " \t" else 1 if chr(b) in "\r\n" else 2 if chr(b).isdigit()
        else 3 if chr(b).isupper() else 4 if chr(b).islower() else 5
        for b in range(256)
    ]
)  # fmt: skip


def as_matrix(annotations: Sequence[Mapping[str, float]] | np.ndarray) -> np.ndarray:
    """Annotations as float array (D, Q) in the order of NAMES. Raises ValueError for missing names or
    range."""
    if isinstance(annotations, np.ndarray):
        matrix_DQ = annotations.astype(float)
    else:
        for row in annotations:
            if missing := set(NAMES) - set(row):
                raise ValueError(f"annotation lacks the dimensions {sorted(missing)}; want all of NAMES")
        matrix_DQ = np.array([[row[name] for name in NAMES] for row in annotations], float).reshape(
            -1, len(NAMES)
        )
    if matrix_DQ.ndim != 2 or matrix_DQ.shape[1] != len(NAMES):
        raise ValueError(f"annotations of shape {matrix_DQ.shape}: want one row of {len(NAMES)} per document")
    if not ((matrix_DQ >= 0) & (matrix_DQ <= 9)).all():
        raise ValueError("annotations must be numbers from 0 to 9")
    return matrix_DQ


class Scorer:
    """Ridge regression from hashed word 1-2-grams and ten surface counts to the twenty dimensions.

    Hashed n-grams rather than static embeddings: no download and no vocabulary, 15 times faster than
    tokenizing for an embedding table, and averaged embeddings predicted the source tiers of unseen sources
    worse (LOG.md). Relational dimensions (rules/) are not learned: their rule scores every document.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha
        self.weights_FQ: np.ndarray | None = None
        self.bias_Q: np.ndarray | None = None

    @progress.doing("fitting the scorer")
    def fit(self, texts: Sequence[str], annotations: Sequence[Mapping[str, float]] | np.ndarray) -> "Scorer":
        """Fit on an annotated sample; returns self. Raises ValueError for unlike lengths or under 2 texts."""
        target_DQ = as_matrix(annotations)
        if len(texts) != len(target_DQ) or len(texts) < 2:
            raise ValueError(
                f"{len(texts)} texts, {len(target_DQ)} annotations: want equally many, at least 2"
            )
        model = Ridge(alpha=self.alpha, solver="sparse_cg", tol=1e-4).fit(text_features(texts), target_DQ)
        self.weights_FQ, self.bias_Q = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
        return self

    def predict(self, texts: Sequence[str], words: Words | None = None) -> np.ndarray:
        """Scores (D, Q) clipped to 0-9, each a function of its own text's first MAX_CHARS characters.

        `words`: `word_ids` of texts already cut to that length, where the caller has it. Raises ValueError
        before `fit`.
        """
        # Relational dimensions compare parts of one document: a bag of words cannot, so their rule does.
        scores_DQ = self._learned(texts, words)
        if len(texts):
            scores_DQ[:, _RELATIONAL] = [annotate_relational(text) for text in texts]
        return scores_DQ

    def agreement(
        self, texts: Sequence[str], annotations: Sequence[Mapping[str, float]] | np.ndarray
    ) -> dict[str, dict[str, float | None]]:
        """Per dimension, on held-out texts: Spearman correlation of the learned scores (None if either side
        is constant) and mean absolute error in points of the 0-9 scale."""
        # Learned scores, without the rules that would agree with themselves.
        truth_DQ, guess_DQ = as_matrix(annotations), self._learned(texts)
        report = {}
        for q, name in enumerate(NAMES):
            truth, guess = truth_DQ[:, q], guess_DQ[:, q]
            varies = np.ptp(truth) > 0 and np.ptp(guess) > 0
            rank = float(spearmanr(truth, guess).statistic) if varies else None
            report[name] = {"spearman": rank, "mae": float(np.abs(truth - guess).mean())}
        return report

    def save(self, path: str | Path) -> None:
        """Write the weights as one .npz, atomically."""
        if self.weights_FQ is None:
            raise ValueError("this Scorer is not fitted: nothing to save")
        buffer = io.BytesIO()
        np.savez(buffer, weights=self.weights_FQ, bias=self.bias_Q, names=np.array(NAMES))
        atomic_write(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "Scorer":
        """Read a saved Scorer. Raises ValueError for a damaged file or other dimensions; runs no pickled
        code."""
        try:
            # Without pickles: a model from elsewhere must not run code when it is read.
            with np.load(path, allow_pickle=False) as saved:
                arrays = {key: saved[key] for key in ("weights", "bias", "names")}
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(
                f"{path} is no complete saved Scorer ({error}): run notebook 01 again"
            ) from error
        if tuple(arrays["names"]) != NAMES:
            raise ValueError(f"{path} was saved for other dimensions than NAMES: run notebook 01 again")
        scorer = cls()
        scorer.weights_FQ, scorer.bias_Q = arrays["weights"], arrays["bias"]
        return scorer

    def _learned(self, texts: Sequence[str], words: Words | None = None) -> np.ndarray:
        if self.weights_FQ is None:
            raise ValueError("this Scorer is not fitted: call fit(texts, annotations) or Scorer.load(path)")
        return np.clip(text_features(texts, words) @ self.weights_FQ + self.bias_Q, 0, 9)


def text_features(texts: Sequence[str], words: Words | None = None) -> csr_matrix:
    """Hashed 1-2-gram counts over the root of the number of words, then the surface counts: (D, F + 10)."""
    texts = [text[:MAX_CHARS] for text in texts]
    ids_T, starts_D1 = words or word_ids(texts)
    counts_DF = word_counts(ids_T, starts_D1, _FEATURES)
    n_words_D = np.maximum(np.diff(starts_D1), 1)
    # Over the root of the length: long texts have more words, not more of everything.
    counts_DF.data /= np.repeat(np.sqrt(n_words_D), np.diff(counts_DF.indptr)).astype(np.float32)
    trigrams, trigram_starts = ngram_ids(ids_T, starts_D1, 3)
    surface = [
        [
            # Shares of byte classes, length, and how many words and trigrams are distinct.
            *_byte_shares(text),
            np.log1p(len(text)) / 5,
            _distinct(ids_T[starts_D1[d] : starts_D1[d + 1]][:200]),
            _distinct(trigrams[trigram_starts[d] : trigram_starts[d + 1]]),
        ]
        for d, text in enumerate(texts)
    ]
    surface_D10 = _SURFACE_SCALE * np.array(surface, np.float32).reshape(len(texts), 10)
    return hstack([counts_DF, surface_D10], format="csr")


def _byte_shares(text: str) -> np.ndarray:
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    return np.bincount(_BYTE_CLASS[data], minlength=7) / max(len(data), 1)


def _distinct(ids: np.ndarray) -> float:
    return len(np.unique(ids)) / max(len(ids), 1)
