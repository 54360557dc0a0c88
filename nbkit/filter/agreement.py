"""How well quality scores agree with labels that somebody gave: tiers of sources, human pairs. Notebook 01.

Everything is cross-fitted: what scores a text was fitted on others. Shape legend: D rows (texts), Q = 20
dimensions, P pairs.

    fold_D = document_folds(len(rows))
    dims_DQ = distilled(texts, annotations_DQ, fold_D)
    tier_agreement(rows, dims_DQ, fold_D)              # {"unseen documents": {...}, "A -> B": {...}, ...}
    hits = pair_hits(*annotated_pairs(pairs, grader))  # {"0-9": (P,), "binary label": (P,), "content": ...}
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from nbkit.evals.score import Estimate
from nbkit.filter.annotators import Annotator
from nbkit.filter.document_filter import Combination, features
from nbkit.filter.labels import MEASURED_ONLY
from nbkit.filter.retrieval import HybridIndex
from nbkit.filter.rules.dimensions import DIMENSIONS
from nbkit.filter.scorer import NAMES, Scorer, text_features
from nbkit.run import progress

CONTENT = [q for q, dimension in enumerate(DIMENSIONS) if dimension.group == "content"]
FORMAT = [q for q, dimension in enumerate(DIMENSIONS) if dimension.group == "format"]
_ROUNDS = 500
_SEEDS = 60  # documents of the top tier that serve as seeds, not as labels


def document_folds(n: int, folds: int = 5, seed: int = 0) -> np.ndarray:
    """A fold number for each of `n` documents, (n,), balanced and at random."""
    return np.random.default_rng(seed).permutation(n) % folds


def binary(annotations_DQ: np.ndarray) -> np.ndarray:
    """0-9 marks as yes or no: 9 from 5 up, else 0."""
    return np.where(np.asarray(annotations_DQ) >= 5, 9.0, 0.0)


@progress.doing("scoring each fold by the others")
def distilled(
    texts: Sequence[str], annotations_DQ: np.ndarray, fold_D: np.ndarray, fit_D: np.ndarray | None = None
) -> np.ndarray:
    """Scores (D, Q), each fold's by a Scorer distilled from the annotations of the others. `fit_D`: rows that
    may be fitted on (all)."""
    # Every fold's scores come from the other folds, restricted to rows that may train.
    may_D = np.ones(len(texts), bool) if fit_D is None else fit_D
    scores_DQ = np.zeros_like(annotations_DQ, dtype=float)
    for fold in np.unique(fold_D):
        train, test = np.flatnonzero((fold_D != fold) & may_D), np.flatnonzero(fold_D == fold)
        scorer = Scorer().fit([texts[i] for i in train], annotations_DQ[train])
        scores_DQ[test] = scorer.predict([texts[i] for i in test])
    return scores_DQ


def spearman(score_D: Sequence[float], label_D: Sequence[float], seed: int = 0) -> Estimate:
    """Rank correlation with a 95% interval from resampling documents; n documents."""
    score_D, label_D = np.asarray(score_D), np.asarray(label_D)
    # The interval resamples documents, both scores of one together.
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(score_D), size=len(score_D)) for _ in range(_ROUNDS))
    low, high = np.nanquantile([spearmanr(score_D[d], label_D[d]).statistic for d in draws], (0.025, 0.975))
    return Estimate(float(spearmanr(score_D, label_D).statistic), float(low), float(high), len(score_D))


@progress.doing("agreement with the tiers")
def tier_agreement(rows: Sequence[Mapping], dims_DQ: np.ndarray, fold_D: np.ndarray) -> dict[str, dict]:
    """Spearman between score and tier for five ways to score, on unseen documents and on unseen sources.

    Unseen documents: `fold_D`, all sources known. Unseen sources: labels of half A alone, tested on half B
    (labels.TIERS), and the other way round. The n-gram classifier, fitted to the tiers directly, shows how
    far recognising a source goes. Sources of MEASURED_ONLY give no labels.
    """
    tier_D = np.array([row["tier"] for row in rows], float)
    half_D = np.array([row["half"] for row in rows])
    source_D = np.array([row["source"] for row in rows])
    may_D = ~np.isin(source_D, MEASURED_ONLY)
    # Two questions at once: unseen documents of known sources, and whole sources left out.
    splits = {"unseen documents": [(fold_D != k, fold_D == k) for k in np.unique(fold_D)]}
    splits |= {f"{a} -> {b}": [(half_D == a, half_D == b)] for a, b in ("AB", "BA")}
    report = {}
    for name, parts in splits.items():
        # Parts of a split are joined before ranking: one correlation over all held-out documents.
        test = np.concatenate([np.flatnonzero(test) for _, test in parts])
        scores = [_ways(rows, dims_DQ, tier_D, source_D, train & may_D, held) for train, held in parts]
        report[name] = {
            way: spearman(np.concatenate([part[way] for part in scores]), tier_D[test]) for way in scores[0]
        }
    return report


def _ways(rows, dims_DQ, tier_D, source_D, train_D, test_D) -> dict[str, np.ndarray]:
    train, test = np.flatnonzero(train_D), np.flatnonzero(test_D)
    # Weights from the training half, scores for the test half: one combination per set of dimensions.
    out = {
        way: Combination.fit(dims_DQ[train][:, columns], tier_D[train], source_D[train])(
            dims_DQ[test][:, columns]
        )
        for way, columns in (
            ("20 dimensions", [*CONTENT, *FORMAT]),
            ("content only", CONTENT),
            ("format only", FORMAT),
        )
    }
    # Similarity needs seeds; half of the best training texts serve, and then train nothing else.
    texts = [row["text"] for row in rows]
    top = [i for i in train if tier_D[i] == tier_D[train].max()][::2][:_SEEDS]
    rest = np.setdiff1d(train, top)
    index = HybridIndex([texts[i] for i in top], [texts[i] for i in rest])
    known, new = (
        features(dims_DQ[part], index.similarity([texts[i] for i in part])) for part in (rest, test)
    )
    out["with similarity"] = Combination.fit(known, tier_D[rest], source_D[rest])(new)
    # The usual classifier on the same labels, to compare with.
    ridge = Ridge(alpha=1.0, solver="sparse_cg").fit(text_features([texts[i] for i in train]), tier_D[train])
    out["n-gram classifier"] = ridge.predict(text_features([texts[i] for i in test]))
    return out


def annotated_pairs(
    pairs: Sequence[Mapping], grader: Annotator
) -> tuple[list[Mapping], dict[str, list[float]]]:
    """The pairs whose two texts the annotator could score, and its marks (Q,) per text; prints how many it
    could not."""
    # Each text is asked once, however many pairs it is in.
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair["better"], pair["worse"])))
    marks = {
        text: [mark[name] for name in NAMES]
        for text, mark in zip(texts, grader.annotate_all(texts), strict=True)
        if mark is not None
    }
    kept = [pair for pair in pairs if pair["better"] in marks and pair["worse"] in marks]
    if lost := len(pairs) - len(kept):
        print(f"{lost} of {len(pairs)} pairs left out: {len(texts) - len(marks)} texts unscored")
    return kept, marks


@progress.doing("agreement with people")
def pair_hits(
    pairs: Sequence[Mapping], marks: Mapping[str, Sequence[float]], seed: int = 0
) -> dict[str, np.ndarray]:
    """1 where the better text of a pair scores higher, 0 where lower, 0.5 for a tie: (P,) for each way.

    "0-9"; "binary label" (marks cut to yes or no, what is distilled from them stays a number) and "binary
    decision" (that number cut too); "content" and "format" (dimensions of one group): scorer and weights from
    one half of the groups, tested on the other, both ways round. "equal weights": no labels used. "length":
    characters alone. `marks`: text -> (Q,), see `annotated_pairs`.
    """
    # Every text once, and where each side of a pair stands among them.
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair["better"], pair["worse"])))
    place = {text: i for i, text in enumerate(texts)}
    better_P, worse_P = (np.array([place[pair[side]] for pair in pairs]) for side in ("better", "worse"))
    group_P = np.array([pair["group"] for pair in pairs])
    # Two halves by group, so that no question trains and tests.
    names = np.unique(group_P)
    fold_P = np.isin(group_P, np.random.default_rng(seed).permutation(names)[: len(names) // 2]).astype(int)
    marks_DQ = np.array([marks[text] for text in texts], float)
    everything = [*CONTENT, *FORMAT]
    ways = {
        "0-9": (marks_DQ, everything),
        "binary label": (binary(marks_DQ), everything),
        "binary decision": (binary(marks_DQ), everything),
        "content": (marks_DQ, CONTENT),
        "format": (marks_DQ, FORMAT),
    }
    margin = {way: np.zeros(len(pairs)) for way in (*ways, "equal weights")}
    for fold in (0, 1):
        train, test = fold_P != fold, fold_P == fold
        known = sorted(set(better_P[train]) | set(worse_P[train]))
        for way, (target_DQ, columns) in ways.items():
            # A group's texts may recur in the other half only by being equal; pairs never do.
            dims_DQ = Scorer().fit([texts[i] for i in known], target_DQ[known]).predict(texts)
            if way == "binary decision":
                dims_DQ = binary(dims_DQ)
            # Without any label: the plain mean of all dimensions.
            if way == "0-9":
                margin["equal weights"][test] = (dims_DQ[better_P] - dims_DQ[worse_P]).mean(axis=1)[test]
            dims_DQ = dims_DQ[:, columns]
            score_D = Combination.fit_pairs(
                dims_DQ[better_P[train]], dims_DQ[worse_P[train]], group_P[train]
            )(dims_DQ)
            margin[way][test] = (score_D[better_P] - score_D[worse_P])[test]
    margin["length"] = np.array([len(pair["better"]) - len(pair["worse"]) for pair in pairs], float)
    # Only the sign of the margin counts.
    return {way: (np.sign(value_P) + 1) / 2 for way, value_P in margin.items()}
