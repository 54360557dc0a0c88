"""p-values as scipy has them; Holm's correction and the smallest visible effect by hand and by meaning."""

import numpy as np
import pytest
from scipy import stats

from nbkit.evals.score import estimate
from nbkit.evals.significance import POWER, holm, paired_p, smallest_effect


def test_p_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    after, before = rng.random((50, 4)) < 0.6, rng.random((50, 4)) < 0.4
    assert paired_p(after, before) == pytest.approx(stats.ttest_rel(after.mean(1), before.mean(1)).pvalue)
    assert paired_p(after, before) == pytest.approx(paired_p(before, after))


def test_equal_differences_have_a_p_of_their_own():
    ones, zeros = np.ones((10, 2)), np.zeros((10, 2))
    assert paired_p(ones, ones) == 1.0
    assert paired_p(ones, zeros) == pytest.approx(2 / 2**10)
    assert paired_p(ones[:1], zeros[:1]) == 1.0


def test_what_could_not_be_graded_has_no_part_in_p():
    rng = np.random.default_rng(1)
    after, before = rng.random((20, 3)) < 0.6, rng.random((20, 3)) < 0.4
    masked = np.ma.array(after, mask=False)
    masked[7] = np.ma.masked
    kept = np.arange(20) != 7
    assert paired_p(masked, before) == pytest.approx(paired_p(after[kept], before[kept]))
    masked[:] = np.ma.masked
    with pytest.raises(ValueError, match="none is graded on both sides"):
        paired_p(masked, before)
    with pytest.raises(ValueError, match="got 20 and 19"):
        paired_p(after, before[1:])


def test_holm_by_hand():
    got = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    # d: 4 * 0.005; a: 3 * 0.01; c: 2 * 0.03; b: 0.04, but not below c's 0.06.
    assert got == {n: pytest.approx(p) for n, p in {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}.items()}
    assert list(got) == ["a", "b", "c", "d"]


def test_holm_of_none_one_and_large_ones():
    assert holm({}) == {}
    assert holm({"a": 0.2}) == {"a": 0.2}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    with pytest.raises(ValueError, match="'b': 1.2.*wanted p-values from 0 to 1"):
        holm({"a": 0.1, "b": 1.2})
    with pytest.raises(ValueError, match="nan"):
        holm({"a": float("nan")})


def test_holm_keeps_the_risk_of_any_false_difference_below_5_percent():
    rng = np.random.default_rng(0)
    false = [min(holm({str(i): p for i, p in enumerate(rng.random(6))}).values()) < 0.05 for _ in range(4000)]
    # Without a correction it would be 26%; three standard deviations of 4,000 rounds are 1%.
    assert 0.035 < np.mean(false) < 0.06


def test_the_smallest_effect_by_hand():
    # Five seeds: t is 2.776 at 97.5% and 0.941 at 80%.
    assert smallest_effect(-0.02, 0.02, 5) == pytest.approx(0.02 * (2.776 + 0.941) / 2.776, rel=1e-3)
    # Many questions: 1.96 and 0.84.
    assert smallest_effect(-0.03, 0.01, 100_000) == pytest.approx(0.02 * (1.96 + 0.8416) / 1.96, rel=1e-3)
    with pytest.raises(ValueError, match="units: got 1, wanted two or more"):
        smallest_effect(-1, 1, 1)


@pytest.mark.parametrize("units", [5, 10, 300])
def test_an_effect_of_that_size_is_found_in_four_of_five_repetitions(units):
    # A standard error of 1: the half width is the t quantile.
    quantile = stats.t.ppf(0.975, units - 1)
    effect = smallest_effect(-quantile, quantile, units)
    # The t-test's power at a true effect is the tail of the noncentral t distribution.
    assert stats.nct.sf(quantile, units - 1, effect) == pytest.approx(POWER, abs=0.02)


def test_an_effect_of_that_size_is_found_by_simulation():
    rng = np.random.default_rng(0)
    quantile = stats.t.ppf(0.975, 9)
    effect = smallest_effect(-quantile, quantile, 10) / np.sqrt(10)
    found = [estimate(rng.normal(effect, 1, 10)).low > 0 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(POWER, abs=0.05)
