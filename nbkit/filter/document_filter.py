"""The document filter: 20 quality scores and the similarity to seeds, combined by weights learned on labels.

Notebook 01 fits it on samples; pipeline.py applies the saved filter to a corpus. Shape legend: D documents,
K = 21 features (the dimensions of scorer.py in order, then the similarity times 9).

    combination = Combination.fit(features_DK, label_D)        # labels 0-9 of a labelled sample
    document_filter = DocumentFilter(scorer, index, combination)
    document_filter.score(["some text"])["score"]              # about 0-9, higher is better
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from nbkit.filter.retrieval import HybridIndex
from nbkit.filter.rules.measures import MAX_CHARS
from nbkit.filter.scorer import NAMES, Scorer
from nbkit.run import progress
from nbkit.run.files import write_json
from nbkit.text.ngrams import word_ids

FEATURES = (*NAMES, "similarity")
_SHRINK = 0.3
_BATCH = 256


@dataclass(frozen=True)
class Combination:
    """A linear score whose weights start equal and are moved by labels, never below 0.

    By its criterion every dimension is better when higher, so no weight may be negative; and a few hundred
    labels from a few sources should not decide alone, so the fit is a ridge regression towards *equal*
    weights instead of towards none. How the report combines its two signals is undisclosed.
    """

    mean_K: np.ndarray
    weight_K: np.ndarray  # score per point of the feature
    offset: float

    @classmethod
    def fit(
        cls,
        features_DK: np.ndarray,
        label_D: Sequence[float],
        source_D: Sequence[str] | None = None,
        shrink: float = _SHRINK,
    ) -> "Combination":
        """Weights from a labelled sample (labels 0-9). Every source counts the same, however many documents.

        Minimises mean (label - score)^2 + shrink * |w - w_equal|^2 over w >= 0, w per standard deviation of
        the feature; w_equal is the best multiple of equal weights. Raises ValueError for unlike lengths, NaN,
        or labels that do not vary.
        """
        X_DK, y_D = _checked(features_DK, label_D)
        if not np.ptp(y_D):
            raise ValueError("all labels are equal: want a sample with better and worse documents")
        # Means under equal shares of the sources: a large source must not set the origin.
        share_D = _equal_shares(np.zeros(len(y_D), int) if source_D is None else source_D)
        mean_K = share_D @ X_DK
        offset = float(share_D @ y_D)
        return cls(mean_K, _weights(X_DK - mean_K, y_D - offset, share_D, shrink), offset)

    @classmethod
    def fit_pairs(
        cls,
        better_PK: np.ndarray,
        worse_PK: np.ndarray,
        group_P: Sequence[str],
        shrink: float = _SHRINK,
    ) -> "Combination":
        """As `fit`, from P pairs: the better text of each is to score one point above the worse. Every group
        counts the same. Raises ValueError as `fit`."""
        # Each difference in both directions: the fit is symmetric and needs no offset.
        difference_PK, point_P = _checked(np.asarray(better_PK, float) - worse_PK, np.ones(len(better_PK)))
        both = np.concatenate([difference_PK, -difference_PK])
        share = np.tile(_equal_shares(group_P), 2) / 2
        weight_K = _weights(both, np.concatenate([point_P, -point_P]), share, shrink)
        return cls(np.asarray(worse_PK, float).mean(axis=0), weight_K, 0.0)

    def __call__(self, features_DK: np.ndarray) -> np.ndarray:
        """Scores (D,), in units of the labels."""
        # Summed row by row: a matrix product rounds by the size of its batch.
        return self.offset + ((np.asarray(features_DK, float) - self.mean_K) * self.weight_K).sum(axis=1)


def _checked(features: np.ndarray, labels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    X, y = np.asarray(features, float), np.asarray(labels, float)
    if X.ndim != 2 or len(X) != len(y) or not len(y):
        raise ValueError(f"features {X.shape} and {len(y)} labels: want one label per document, at least one")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("features or labels hold NaN: drop unscored documents first")
    return X, y


def _weights(X_DK: np.ndarray, y_D: np.ndarray, share_D: np.ndarray, shrink: float) -> np.ndarray:
    """The minimiser of `Combination.fit`, per point of each feature (K,); X and y have mean 0 under the
    shares."""
    # Half a point at least: a feature that hardly varies in the sample must not get a huge weight.
    scale_K = np.maximum(np.sqrt(share_D @ X_DK**2), 0.5)
    Z_DK = X_DK / scale_K
    # w_equal: the best multiple of equal weights, which is what the ridge pulls towards.
    average_D, n = Z_DK.mean(axis=1), Z_DK.shape[1]
    slope = max((share_D @ (average_D * y_D)) / max(share_D @ average_D**2, 1e-9), 0.0)
    root_D = np.sqrt(share_D)
    # Ridge as extra rows of a least-squares problem, so that NNLS keeps every weight at 0 or more.
    rows = np.vstack([Z_DK * root_D[:, None], np.sqrt(shrink) * np.eye(n)])
    target = np.concatenate([y_D * root_D, np.full(n, np.sqrt(shrink) * slope / n)])
    return nnls(rows, target)[0] / scale_K


def _equal_shares(source_D: Sequence) -> np.ndarray:
    """Weights (D,) that sum to 1, each source with the same total."""
    _, number_D, count = np.unique(np.asarray(source_D), return_inverse=True, return_counts=True)
    return 1 / (count[number_D] * len(count))


class DocumentFilter:
    """Scorer, similarity index and combination as one function of a text. Reads its first MAX_CHARS
    characters."""

    def __init__(self, scorer: Scorer, index: HybridIndex, combination: Combination) -> None:
        self.scorer, self.index, self.combination = scorer, index, combination

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        annotations: Sequence[Mapping[str, float]] | np.ndarray,
        seeds: Sequence[str],
        label_D: Sequence[float] | None = None,
        source_D: Sequence[str] | None = None,
        encoder: str = "lsa",
        seed: int = 0,
    ) -> "DocumentFilter":
        """Distil the scorer from an annotated sample of the corpus, index the seeds, learn the combination.

        `label_D`: quality labels 0-9 of the sample (NaN: none), `source_D` where each text comes from.
        Without labels, seeds against the sample: 9 for a seed (similarity to the *other* seeds), 0 for a
        document of the unfiltered sample, as classifier filters from GPT-3 to DCLM are trained.
        """
        # Scorer and index first, then the weights: the combination is learned on what they give.
        scorer = Scorer().fit(texts, annotations)
        with progress.doing("indexing the seeds"):
            index = HybridIndex(seeds, texts, encoder, seed)
        found = signals(scorer, index, texts)
        rows_DK = features(found["dimensions"], found["similarity"])
        # Without labels a seed is compared with the *other* seeds only, or it would be its own neighbour.
        if label_D is None:
            rows_MK = features(scorer.predict(seeds), index.similarity_of_seeds())
            label_D = [9.0] * len(seeds) + [0.0] * len(texts)
            source_D = ["seeds"] * len(seeds) + ["corpus"] * len(texts)
            rows_DK = np.vstack([rows_MK, rows_DK])
        label_D = np.asarray(label_D, float)
        # Documents without a label still fit the scorer and the index, not the weights.
        known_D = ~np.isnan(label_D)
        source_D = None if source_D is None else np.asarray(source_D)[known_D]
        return cls(scorer, index, Combination.fit(rows_DK[known_D], label_D[known_D], source_D))

    def score(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Of each text, whatever the batch: "dimensions" (D, Q) 0-9; "lexical", "vector" and "similarity"
        (fused from both, 0-1), each (D,); "score" (D,)."""
        found = signals(self.scorer, self.index, texts)
        return {**found, "score": self.combination(features(found["dimensions"], found["similarity"]))}

    def save(self, folder: str | Path) -> None:
        """Write scorer.npz, index/ and combination.json into `folder`."""
        folder = Path(folder)
        self.scorer.save(folder / "scorer.npz")
        self.index.save(folder / "index")
        write_json(
            folder / "combination.json",
            {
                "weights": dict(zip(FEATURES, self.combination.weight_K.tolist(), strict=True)),
                "means": dict(zip(FEATURES, self.combination.mean_K.tolist(), strict=True)),
                "offset": self.combination.offset,
            },
        )

    @classmethod
    def load(cls, folder: str | Path) -> "DocumentFilter":
        """Read a saved filter. Raises ValueError when a part is missing, damaged or of other dimensions."""
        folder = Path(folder)
        try:
            saved = json.loads((folder / "combination.json").read_text())
            weight_K, mean_K = ([saved[part][name] for name in FEATURES] for part in ("weights", "means"))
            combination = Combination(np.array(mean_K), np.array(weight_K), float(saved["offset"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} holds no complete document filter ({error!r}): run notebook 01 again, "
                "it publishes one as filter/"
            ) from error
        return cls(Scorer.load(folder / "scorer.npz"), HybridIndex.load(folder / "index"), combination)


def signals(scorer: Scorer, index: HybridIndex, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """What `DocumentFilter.score` returns, but for the score; words are hashed once for scorer and index."""
    dimensions, pairs = [np.zeros((0, len(NAMES)), np.float32)], [np.zeros((2, 0))]
    # Batches bound memory alone: every score is a function of its own text.
    for start in progress.each(range(0, len(texts), _BATCH), "scoring, batch"):
        batch = [text[:MAX_CHARS] for text in texts[start : start + _BATCH]]
        words = word_ids(batch)
        dimensions.append(scorer.predict(batch, words))
        pairs.append(np.stack(index.signals(batch, words)))
    lexical_D, vector_D = np.concatenate(pairs, axis=1)
    return {
        "dimensions": np.concatenate(dimensions),
        "lexical": lexical_D,
        "vector": vector_D,
        "similarity": index.fuse((lexical_D, vector_D)),
    }


def features(dimensions_DQ: np.ndarray, similarity_D: np.ndarray) -> np.ndarray:
    """What a Combination reads, (D, K): the similarity on the 0-9 scale of the dimensions."""
    return np.column_stack([dimensions_DQ, 9 * np.asarray(similarity_D)])
