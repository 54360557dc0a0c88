"""The scorer tried on mock models whose accuracy is known. Used by 07 and benchmarks/coverage.py.

A mock model is right in a known share of its samples, so one can count how often the scorer's 95% interval
holds the truth: its coverage. Questions are drawn anew in every round, since they are a sample.
Shape legend: R rounds, Q questions.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nbkit.evals.score import avg_at_k, intervals

NOMINAL, WANTED = 0.95, 0.94  # what an interval says of itself, and what it must reach
EQUAL = None  # all questions equally hard
MIXED = 2.0  # size a + b of the Beta distribution that difficulties come from: from nearly 0 to nearly 1


class Tried(NamedTuple):
    """One kind of mock model: samples of a question, questions of a round, rounds, accuracy (expected share
    of right samples), `spread` (the a + b of the difficulties, None: equally hard), `covered`: share of
    rounds whose interval holds the accuracy, `width`: mean width of the intervals, as a fraction."""

    k: int
    questions: int
    rounds: int
    accuracy: float
    spread: float | None
    covered: float
    width: float


def right_samples(
    rng: np.random.Generator, k: int, accuracy: float, spread: float | None, shape: tuple[int, int]
) -> np.ndarray:
    """How many of k samples a mock model has right, `shape` (R, Q): a question's difficulty first (all equal,
    or from a Beta distribution of mean `accuracy` and size `spread`), then k samples of it. Raises ValueError
    for an accuracy outside 0 to 1."""
    if not 0 < accuracy < 1:
        raise ValueError(f"accuracy: got {accuracy}, wanted more than 0 and less than 1")
    chance_RQ = np.full(shape, accuracy)
    if spread is not None:
        chance_RQ = rng.beta(accuracy * spread, (1 - accuracy) * spread, shape)
    return rng.binomial(k, chance_RQ)


def coverage(
    ks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    accuracies: Sequence[float] = (0.02, 0.1, 0.5, 0.9, 0.98),
    spreads: Sequence[float | None] = (EQUAL, MIXED),
    questions: int = 50,
    rounds: int = 500,
    seed: int = 0,
) -> list[Tried]:
    """How often the interval of avg@k holds the truth, for every kind of mock model; about a second. Raises
    ValueError where `avg_at_k` gives another interval than the one counted here."""
    rng, kinds = np.random.default_rng(seed), itertools.product(spreads, ks, accuracies)
    return [_try(rng, k, accuracy, spread, (rounds, questions)) for spread, k, accuracy in kinds]


def _try(rng, k: int, accuracy: float, spread: float | None, shape: tuple[int, int]) -> Tried:
    right_RQ = right_samples(rng, k, accuracy, spread, shape)
    # What avg_at_k calls for one model, here for all rounds at once.
    low_R, high_R = intervals(right_RQ / k)
    # The first round through avg_at_k itself, sample by sample.
    one = avg_at_k(np.arange(k) < right_RQ[0][:, None])
    if not np.allclose((one.low, one.high), (low_R[0], high_R[0]), atol=1e-9):
        raise ValueError(
            f"avg_at_k: got {one}, wanted [{low_R[0]:.3f}, {high_R[0]:.3f}] as `intervals` has it"
        )
    covered = float(np.mean((low_R <= accuracy) & (accuracy <= high_R)))
    return Tried(k, shape[1], shape[0], accuracy, spread, covered, float(np.mean(high_R - low_R)))


def table(tried: Sequence[Tried]) -> str:
    """Coverage in percent as text: a line per k and kind of question, a column per accuracy."""
    accuracies = sorted({one.accuracy for one in tried})
    lines = ["true accuracy".ljust(24) + "".join(f"{accuracy:>8.0%}" for accuracy in accuracies)]
    found = {(one.spread, one.k, one.accuracy): one.covered for one in tried}
    for spread, k in dict.fromkeys((one.spread, one.k) for one in tried):
        kind = "equally hard" if spread is EQUAL else "easy and hard"
        cells = "".join(f"{found[spread, k, accuracy]:>8.1%}" for accuracy in accuracies)
        lines.append(f"{f'k = {k:>2}, {kind}':<24}{cells}")
    return "\n".join(lines)


def check(tried: Sequence[Tried]) -> Tried:
    """The kind of mock model that was covered least. Raises ValueError where that is below 94% by more than
    the error of a simulation of its rounds, three standard deviations."""
    worst = min(tried, key=lambda one: one.covered)
    error = 3 * np.sqrt(WANTED * (1 - WANTED) / worst.rounds)
    if worst.covered < WANTED - error:
        raise ValueError(
            f"coverage: got {worst.covered:.1%} for {worst}, wanted {WANTED:.0%} or more within "
            f"{error:.1%}: the intervals are too narrow; mend nbkit.evals.score.intervals"
        )
    return worst
