"""Scores with honest intervals: avg@k, pass@k, maj@k, paired differences, clustered by question. For 02-07.

avg@k is the mean over k samples of a question, then over questions. The k samples of one question are not
independent, so the question is the cluster: an interval comes from the question means. The questions are a
sample of all that could have been asked, and an interval is about those: what the model would score on
endlessly many questions of the same kind, not on this list alone (docs/statistics.md).
Shape legend: Q questions, K samples of each, R data sets at once. A masked row is a question that could not
be graded: it counts nowhere.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import special, stats

TAIL = 0.025  # on each side of a 95% interval


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% interval over n independent units (questions or seeds)."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}% [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def dict(self) -> dict:
        return asdict(self)


def estimate(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean and 95% t-interval of independent values; with fewer than two the interval is the whole range
    of the scale. For values over seeds, and for measures without a scale (losses); shares and their
    differences over questions have `share`, which holds where few are right or wrong."""
    x = _some(values)
    low_bound, high_bound = bounds or (-np.inf, np.inf)
    # One value says nothing about its spread: the whole scale stands for "unknown".
    if len(x) == 1:
        return Estimate(float(x[0]), low_bound, high_bound, 1)
    # Student's t: with few questions or seeds the normal quantile is too small.
    half = stats.t.ppf(1 - TAIL, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Estimate(
        float(x.mean()),
        float(max(x.mean() - half, low_bound)),
        float(min(x.mean() + half, high_bound)),
        len(x),
    )


def intervals(values_RQ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends, shape (R,) each, of 95% intervals for the mean of values in [0, 1], one interval
    per row of Q independent values.

    Each end imagines one more question with the most extreme result on its side (1 for the upper, 0 for the
    lower), takes mean m and spread s of the Q + 1 values, and reads the 97.5% (2.5%) quantile of the Beta
    distribution with mean m and variance s^2 / (Q + 2). With values of 0 and 1 only this is exactly Clopper
    and Pearson's interval; else it is the same on the effective sample size that the spread implies, as Korn
    and Graubard (1998) have it, and the imagined question keeps the spread from being 0. It is a Beta
    approximation of the bound of Gaffke (2005) and Learned-Miller & Thomas (2019, arXiv 1905.06208).
    """
    questions = values_RQ.shape[1]
    ends = []
    for extreme, tail in ((0.0, TAIL), (1.0, 1 - TAIL)):
        # Mean and spread with the imagined question.
        mean_R = (values_RQ.sum(1) + extreme) / (questions + 1)
        spread_R = ((values_RQ**2).sum(1) + extreme) / (questions + 1) - mean_R**2
        # All values at this very end: the Beta would be a point there, and so is this end of the interval.
        flat_R = spread_R < 1e-12
        variance_R = np.where(flat_R, 1.0, spread_R) / (questions + 2)
        # A Beta distribution of size a + b has variance m (1 - m) / (a + b + 1).
        size_R = np.where(flat_R, 2.0, mean_R * (1 - mean_R) / variance_R - 1)
        inner_R = np.where(flat_R, 0.5, mean_R)
        quantile_R = special.betaincinv(inner_R * size_R, (1 - inner_R) * size_R, tail)
        ends.append(np.where(flat_R, extreme, quantile_R))
    return ends[0], ends[1]


def share(values: Sequence[float], bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Mean of one value per question, each within `bounds`, with the 95% interval of `intervals`.

    Simulated coverage (benchmarks/coverage.py) is 94.3% or more of 1,000 rounds for each of 400 kinds of mock
    model (accuracy 2% to 98%, 10 to 300 questions, k of 1 to 64, questions equally hard or not), and 95.0% or
    more for each of 288 pairs of them; Student's t falls to 16% and 31% there. The price is width where the
    questions have little spread: with 64 samples of equally hard questions, half of them right, 3.0 times the
    t-interval's at 10 questions, 1.6 times at 100, 1.3 times at 300; with questions of unlike difficulty 1.04
    times at 300 (a difference of two models, 4 samples: 1.10 times). One question alone says nothing about
    spread: its interval is the whole scale. Raises ValueError for no value, or one outside `bounds`.
    """
    x, (lowest, highest) = _some(values), bounds
    # Means of shares may leave their scale by a rounding error.
    if x.min() < lowest - 1e-9 or x.max() > highest + 1e-9:
        raise ValueError(
            f"values: got {x.min():g} to {x.max():g}, wanted {lowest:g} to {highest:g}; a measure without "
            "such bounds has nbkit.evals.score.estimate"
        )
    if len(x) == 1:
        return Estimate(float(x[0]), lowest, highest, 1)
    width = highest - lowest
    low_R, high_R = intervals(np.clip((x[None] - lowest) / width, 0.0, 1.0))
    return Estimate(
        float(x.mean()), float(lowest + width * low_R[0]), float(lowest + width * high_R[0]), len(x)
    )


def avg_at_k(correct_QK: np.ndarray) -> Estimate:
    """avg@k, the share of right samples, with a question-clustered interval (`share`). `correct_QK`: right or
    wrong, or scores from 0 to 1; (Q,) counts as one sample each."""
    return share(np.ma.asarray(correct_QK, dtype=float).reshape(len(correct_QK), -1).mean(1).compressed())


def pass_at_k(correct_QK: np.ndarray, k: int) -> Estimate:
    """pass@k, the chance that at least one of k samples is right, from K >= k samples of each question.

    The unbiased estimate of Chen et al. (2021, arXiv 2107.03374) per question, 1 - C(K-c, k) / C(K, k) with c
    right ones of K, then the clustered interval of `share`. A question with a masked sample is left out.
    Raises ValueError for k outside 1 to K, or scores that are neither right nor wrong.
    """
    right_QK = _graded(correct_QK)
    samples = right_QK.shape[1]
    if not 1 <= k <= samples:
        raise ValueError(f"k: got {k}, wanted 1 to {samples}, the samples per question; sample more for it")
    wrong_Q = samples - right_QK.sum(1)
    # C(w, k) / C(K, k), as a product: the binomials themselves grow beyond what a float holds.
    factors_QJ = (wrong_Q[:, None] - np.arange(k)) / (samples - np.arange(k))
    return share(1 - np.prod(np.clip(factors_QJ, 0, None), axis=1))


def maj_at_k(answers_QK: Sequence[Sequence[str | None]], correct_QK: np.ndarray) -> Estimate:
    """maj@k, the share of questions whose most frequent final answer is right, over all K samples (self-
    consistency, Wang et al. 2022, arXiv 2203.11171), with the clustered interval of `share`.

    `answers_QK`: the final answers as text; equal texts are one answer, and None or "" (no answer found) is
    no vote. Answers with equally many votes share the point. An answer of which some samples were graded
    right and some wrong counts with their share. No vote at all counts as wrong. Raises ValueError for
    answers and grades of unlike shape.
    """
    shapes = [len(row) for row in answers_QK], [len(row) for row in correct_QK]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"answers: got {len(shapes[0])} questions with {sorted({*shapes[0]})} samples, wanted one answer "
            f"for each of the grades: {len(shapes[1])} questions with {sorted({*shapes[1]})}"
        )
    # Questions that could not be graded are left out, with their answers.
    kept = np.flatnonzero(~np.ma.getmaskarray(np.ma.asarray(correct_QK)).any(1))
    right_QK = _graded(correct_QK)
    return share([_vote(answers_QK[q], right_K) for q, right_K in zip(kept, right_QK, strict=True)])


def _vote(answers_K: Sequence[str | None], right_K: np.ndarray) -> float:
    """How right the majority is, 0 to 1: the mean over the answers that share the first place."""
    votes = Counter(answer for answer in answers_K if answer)
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    means = [
        np.mean([right for one, right in zip(answers_K, right_K, strict=True) if one == w]) for w in winners
    ]
    return float(np.mean(means)) if means else 0.0


def paired_values(after_QK: np.ndarray, before_QK: np.ndarray) -> np.ndarray:
    """after - before per question, shape (Q,): what makes a question hard cancels. One that either side could
    not grade is left out. Raises ValueError when the questions differ in number."""
    if len(after_QK) != len(before_QK):
        raise ValueError(
            f"questions: got {len(after_QK)} and {len(before_QK)}, wanted the same ones in the same order"
        )
    pairs = zip(after_QK, before_QK, strict=True)
    return np.array(
        [
            float(np.mean(a)) - float(np.mean(b))
            for a, b in pairs
            if not (np.ma.is_masked(a) or np.ma.is_masked(b))
        ]
    )


def paired_difference(after_QK: np.ndarray, before_QK: np.ndarray) -> Estimate:
    """after - before on the same questions, clustered by question, with the interval of `share` on the scale
    from -1 to 1. The p-value of the same difference: nbkit.evals.significance."""
    return share(paired_values(after_QK, before_QK), (-1.0, 1.0))


def clustered(values: Sequence[float], groups: Sequence[str], rounds: int = 2000, seed: int = 0) -> Estimate:
    """Mean of values that come in groups (pairs of a topic), with a 95% interval from resampling whole
    groups; n counts the groups. Raises ValueError for unlike lengths or fewer than two groups."""
    x = np.asarray(values, dtype=float)
    if len(x) != len(groups) or len(set(groups)) < 2:
        raise ValueError(
            f"{len(x)} values in {len(groups)} groups: want one group each, two different ones at least"
        )
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    # Cluster bootstrap: groups are drawn whole, since pairs of a topic are not independent.
    sums, counts = np.bincount(group, x), np.bincount(group)
    draw = np.random.default_rng(seed).integers(len(sums), size=(rounds, len(sums)))
    means = sums[draw].sum(1) / counts[draw].sum(1)
    low, high = np.quantile(means, (TAIL, 1 - TAIL))
    return Estimate(float(x.mean()), float(low), float(high), len(sums))


def _some(values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("values: got none, wanted at least one measured value")
    return x


def _graded(correct_QK: np.ndarray) -> np.ndarray:
    """The questions without a masked sample, (Q, K), right or wrong only."""
    marks_QK = np.ma.asarray(correct_QK, dtype=float).reshape(len(correct_QK), -1)
    graded_QK = marks_QK.data[~np.ma.getmaskarray(marks_QK).any(1)]
    if not np.isin(graded_QK, (0.0, 1.0)).all():
        raise ValueError("correct: got partial scores, wanted right or wrong (True or False) for each sample")
    return graded_QK
