"""How sure is a difference: the p-value of a paired difference, several of them corrected, and the smallest
effect that a comparison could have seen. Used by 07 and by the claim ledger.

    p = {"DPD": paired_p(dpd_QK, sft_QK), "RL": paired_p(rl_QK, dpd_QK)}
    holm(p)    # {"DPD": 0.004, "RL": 0.31}
Shape legend: Q questions, K samples of each.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from nbkit.evals.score import TAIL, paired_values

POWER = 0.8  # chance to see an effect of the size that `smallest_effect` names


def paired_p(after_QK: np.ndarray, before_QK: np.ndarray) -> float:
    """Two-sided p-value of the paired t-test over questions: how often a difference this large would come up
    between equally good models.

    Differences that are all the same have no spread for a t-test. Then it is the sign-flip test's: 1 where
    all are 0, else 2 / 2^Q. One question alone gives 1. The interval of `paired_difference` is somewhat wider
    than the t-test's, so that it may hold 0 where p is just below 0.05. Raises ValueError when the questions
    differ in number, or none is graded on both sides.
    """
    difference_Q = paired_values(after_QK, before_QK)
    if not len(difference_Q):
        raise ValueError("questions: none is graded on both sides, wanted at least one")
    # A spread of nothing but rounding errors is none.
    if np.ptp(difference_Q) < 1e-12:
        equal = abs(difference_Q[0]) < 1e-12
        return 1.0 if equal else min(1.0, 2.0 ** (1 - len(difference_Q)))
    return float(stats.ttest_1samp(difference_Q, 0.0).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of a family of comparisons, corrected (Holm 1979): of all differences whose corrected p is
    below 0.05, the chance that even one is a difference by chance alone is below 5%.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below one before it, and
    none exceeds 1. The order of the names is kept. Raises ValueError for a p outside 0 to 1.
    """
    if wrong := {name: p for name, p in p_values.items() if not 0 <= p <= 1}:
        raise ValueError(f"p_values: got {wrong}, wanted p-values from 0 to 1")
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def smallest_effect(low: float, high: float, units: int) -> float:
    """The smallest true difference that a comparison would find with 80% power, its minimal detectable
    effect: (t_0.975 + t_0.8) standard errors, with units - 1 degrees of freedom (Bloom 1995, Evaluation
    Review 19:547). The standard error is half the interval's width over t_0.975. `low`, `high`: the 95%
    interval; `units`: the questions, or the seeds where it is over seeds. Raises ValueError for fewer than
    two units."""
    if units < 2:
        raise ValueError(f"units: got {units}, wanted two or more questions or seeds: one has no spread")
    quantile = stats.t.ppf([1 - TAIL, POWER], units - 1)
    return float((high - low) / 2 / quantile[0] * quantile.sum())
