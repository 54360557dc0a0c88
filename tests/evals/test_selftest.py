"""The scorer's self-test: it counts as said, and notices intervals that are too narrow."""

import numpy as np
import pytest
from scipy import stats

from nbkit.evals import score, selftest

SMALL = dict(ks=(1, 16), accuracies=(0.02, 0.5), questions=20, rounds=200)


def students_t(values_RQ):
    half_R = stats.t.ppf(0.975, values_RQ.shape[1] - 1) * stats.sem(values_RQ, axis=1)
    return values_RQ.mean(1) - half_R, values_RQ.mean(1) + half_R


def test_every_kind_of_mock_model_is_tried_and_covered():
    tried = selftest.coverage()
    assert len(tried) == 2 * 7 * 5
    assert {one.k for one in tried} == {1, 2, 4, 8, 16, 32, 64}
    assert selftest.check(tried).covered == min(one.covered for one in tried)
    assert min(one.covered for one in tried) >= 0.94
    assert selftest.coverage(**SMALL) == selftest.coverage(**SMALL), "equal seeds, equal numbers"


def test_mock_models_have_the_accuracy_that_they_are_asked_for():
    rng = np.random.default_rng(0)
    for spread in (selftest.EQUAL, selftest.MIXED):
        right_RQ = selftest.right_samples(rng, 8, 0.1, spread, (200, 100))
        assert right_RQ.mean() / 8 == pytest.approx(0.1, abs=0.01)
    # Samples of one question correlate by 1 / (1 + a + b) = 1/3: 8 of them have 1 + 7/3 times the variance.
    equal_RQ = selftest.right_samples(rng, 8, 0.1, selftest.EQUAL, (200, 100))
    assert right_RQ.var() / equal_RQ.var() == pytest.approx(1 + 7 / 3, rel=0.05)
    with pytest.raises(ValueError, match="accuracy: got 1.0, wanted more than 0 and less than 1"):
        selftest.right_samples(rng, 8, 1.0, None, (2, 2))


def test_intervals_that_are_too_narrow_are_noticed(monkeypatch):
    # Student's t in place of ours, for both what is counted and what scores.
    monkeypatch.setattr(selftest, "intervals", students_t)
    monkeypatch.setattr(score, "intervals", students_t)
    with pytest.raises(ValueError, match="the intervals are too narrow"):
        selftest.check(selftest.coverage(**SMALL))


def test_a_scorer_that_gives_another_interval_is_noticed(monkeypatch):
    monkeypatch.setattr(selftest, "avg_at_k", lambda right_QK: score.avg_at_k(right_QK.T))
    with pytest.raises(ValueError, match="avg_at_k: got"):
        selftest.coverage(**SMALL)


def test_a_shortfall_within_the_error_of_the_simulation_passes():
    one = selftest.Tried(1, 20, 100, 0.5, None, 0.90, 0.1)
    assert selftest.check([one]) == one, "3 standard deviations of 100 rounds are 7 points"
    with pytest.raises(ValueError, match="got 90.0%"):
        selftest.check([one._replace(rounds=10_000)])


def test_the_table_has_a_line_per_k_and_kind():
    lines = selftest.table(selftest.coverage(**SMALL)).splitlines()
    assert lines[0].split() == ["true", "accuracy", "2%", "50%"]
    assert [line[:24].strip() for line in lines[1:]] == [
        "k =  1, equally hard",
        "k = 16, equally hard",
        "k =  1, easy and hard",
        "k = 16, easy and hard",
    ]
