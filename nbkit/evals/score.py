"""Scores with honest intervals: avg@k clustered by question, paired differences. Used by 02-07.

avg@k is the mean over k samples of a question, then over questions. The k samples of one question are not
independent, so the question is the cluster: the interval comes from the spread of the question means.
Shape legend: Q questions, K samples of each. A masked row is a question that could not be graded: it counts
nowhere.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats


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
    of the scale."""
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("values: got none, wanted at least one measured value")
    low_bound, high_bound = bounds or (-np.inf, np.inf)
    # One value says nothing about its spread: the whole scale stands for "unknown".
    if len(x) == 1:
        return Estimate(float(x[0]), low_bound, high_bound, 1)
    # Student's t: with few questions or seeds the normal quantile is too small.
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Estimate(
        float(x.mean()),
        float(max(x.mean() - half, low_bound)),
        float(min(x.mean() + half, high_bound)),
        len(x),
    )


def avg_at_k(correct_QK: np.ndarray) -> Estimate:
    """avg@k with a question-clustered interval. All right or all wrong: Wilson's interval, which does not
    collapse to a point."""
    means_Q = np.ma.asarray(correct_QK, dtype=float).reshape(len(correct_QK), -1).mean(1).compressed()
    # A t-interval of equal values has width 0, and would claim certainty after ten questions.
    if len(means_Q) and means_Q.std() == 0 and means_Q[0] in (0.0, 1.0):
        interval = stats.binomtest(int(means_Q.sum()), len(means_Q)).proportion_ci(method="wilson")
        return Estimate(float(means_Q[0]), float(interval.low), float(interval.high), len(means_Q))
    return estimate(means_Q, (0.0, 1.0))


def paired_difference(after_QK: np.ndarray, before_QK: np.ndarray) -> Estimate:
    """after - before on the same questions, clustered by question; one that either side could not grade is
    left out. Raises ValueError when the questions differ in number."""
    if len(after_QK) != len(before_QK):
        raise ValueError(
            f"questions: got {len(after_QK)} and {len(before_QK)}, wanted the same ones in the same order"
        )
    # Differences per question first: what makes a question hard cancels in both arms.
    difference_Q = [
        float(np.mean(a)) - float(np.mean(b))
        for a, b in zip(after_QK, before_QK, strict=True)
        if not (np.ma.is_masked(a) or np.ma.is_masked(b))
    ]
    return estimate(difference_Q, (-1.0, 1.0))


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
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(x.mean()), float(low), float(high), len(sums))
