"""Scores and intervals against scipy, by hand, by counting all subsets, and by simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nbkit.evals.score import (
    avg_at_k,
    clustered,
    estimate,
    intervals,
    maj_at_k,
    paired_difference,
    pass_at_k,
    share,
)


def test_interval_equals_scipys():
    x = np.array([0.1, 0.4, 0.35, 0.8, 0.2])
    low, high = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
    got = estimate(x)
    assert (got.low, got.high, got.n) == (pytest.approx(low), pytest.approx(high), 5)


def test_samples_of_one_question_do_not_shrink_the_interval():
    correct = np.array([[1], [0], [1], [0], [1], [1]], dtype=bool)
    once, eight = avg_at_k(correct), avg_at_k(np.repeat(correct, 8, axis=1))
    assert (once.low, once.high) == (pytest.approx(eight.low), pytest.approx(eight.high))


def test_avg_at_k_does_not_fall_as_k_grows():
    rng = np.random.default_rng(0)
    for k in (1, 8, 32):
        assert avg_at_k(rng.random((4000, k)) < 0.3).mean == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("right", "questions"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 300), (299, 300)])
def test_one_sample_each_gives_clopper_and_pearsons_interval(right, questions):
    got = avg_at_k(np.arange(questions)[:, None] < right)
    wanted = stats.binomtest(right, questions).proportion_ci(method="exact")
    assert (got.low, got.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_equal_means_are_no_certainty():
    got = avg_at_k(np.array([[1, 0], [1, 0]]))
    # By hand: 1/2, 1/2 and the imagined 1 have mean 2/3 and spread 1/18; over 4 that is Beta(10, 5).
    assert got.mean == 0.5
    assert got.high == pytest.approx(stats.beta.ppf(0.975, 10, 5))
    assert got.low == pytest.approx(stats.beta.ppf(0.025, 5, 10))


def test_the_interval_shrinks_with_questions_and_is_the_same_from_both_sides():
    rng = np.random.default_rng(0)
    widths = [got.high - got.low for n in (10, 100, 1000) if (got := avg_at_k(np.full((n, 2), 0.5)))]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 0.01
    right_QK = rng.random((40, 4)) < rng.random((40, 1))
    one, other = avg_at_k(right_QK), avg_at_k(~right_QK)
    assert (one.low, one.high) == (pytest.approx(1 - other.high), pytest.approx(1 - other.low))


def test_the_interval_is_near_the_bound_that_it_approximates():
    rng = np.random.default_rng(1)
    for accuracy in (0.05, 0.5, 0.9):
        x_Q = rng.binomial(4, rng.beta(2 * accuracy, 2 * (1 - accuracy), 40)) / 4
        # Gaffke: the extreme joins the sample, weights from a Dirichlet distribution.
        weights = rng.dirichlet(np.ones(41), 20_000)
        high = np.quantile(weights @ np.append(x_Q, 1.0), 0.975)
        low = np.quantile(weights @ np.append(x_Q, 0.0), 0.025)
        got = share(x_Q)
        assert (got.low, got.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_many_data_sets_at_once_are_each_its_own():
    values_RQ = np.random.default_rng(2).random((5, 30))
    values_RQ[0], values_RQ[1] = 0.0, 1.0
    low_R, high_R = intervals(values_RQ)
    assert low_R[0] == 0.0 and high_R[1] == 1.0
    for values_Q, low, high in zip(values_RQ, low_R, high_R, strict=True):
        assert (share(values_Q).low, share(values_Q).high) == (pytest.approx(low), pytest.approx(high))


def test_one_question_says_nothing_about_spread():
    assert (avg_at_k([[1, 1, 0]]).low, avg_at_k([[1, 1, 0]]).high) == (0.0, 1.0)
    got = paired_difference(np.array([[1]]), np.array([[0]]))
    assert (got.mean, got.low, got.high) == (1.0, -1.0, 1.0)


def test_shares_stay_on_their_scale():
    with pytest.raises(ValueError, match="got 0 to 3, wanted 0 to 1"):
        share([0, 3])
    with pytest.raises(ValueError, match="got none"):
        share([])


def test_one_value_has_no_interval_of_its_own():
    assert (estimate([0.3], (0.0, 1.0)).low, estimate([0.3]).high) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("accuracies", "questions"), [((0.1, 0.02), 10), ((0.9, 0.5), 30), ((0.98, 0.02), 30)]
)
def test_the_interval_of_a_difference_holds_the_truth(accuracies, questions):
    rng, inside = np.random.default_rng(1), []
    for _ in range(400):
        # Nearly all right or nearly all wrong, and hard for one is hard for the other.
        rank_Q = rng.random(questions)
        after, before = (rng.random((questions, 2)) < (rank_Q < accuracy)[:, None] for accuracy in accuracies)
        got = paired_difference(after, before)
        inside.append(got.low <= accuracies[0] - accuracies[1] <= got.high)
    # Three standard deviations of 400 rounds below 94%.
    assert np.mean(inside) > 0.94 - 0.036


def test_equal_models_are_not_known_to_be_equal():
    right_QK = np.random.default_rng(0).random((100, 3)) < 0.5
    got = paired_difference(right_QK, right_QK)
    assert got.mean == 0.0
    assert got.low == pytest.approx(-got.high)
    assert 0.01 < got.high < 0.05


def test_paired_difference_by_hand():
    got = paired_difference(np.array([[1, 1], [1, 0], [0, 0]]), np.array([[0, 0], [1, 0], [0, 1]]))
    assert got.mean == pytest.approx((1 + 0 - 0.5) / 3)
    with pytest.raises(ValueError, match="3 and 2"):
        paired_difference(np.zeros((3, 1)), np.zeros((2, 1)))


def test_masked_questions_count_nowhere():
    after = np.ma.array([[1, 1], [1, 0], [0, 0], [1, 1]], mask=[[0, 0], [1, 1], [0, 0], [0, 0]])
    before = np.ma.array([[0, 0], [0, 0], [0, 0], [1, 1]], mask=[[0, 0], [0, 0], [0, 0], [1, 1]])
    assert avg_at_k(after) == avg_at_k(after.data[[0, 2, 3]])
    assert paired_difference(after, before) == paired_difference(after.data[[0, 2]], before.data[[0, 2]])
    with pytest.raises(ValueError, match="got none"):
        avg_at_k(after[[1]])


def test_clustered_mean_is_the_plain_mean_and_n_counts_groups():
    rng = np.random.default_rng(0)
    values, groups = rng.random(90), rng.choice(["a", "b", "c", "d", "e"], 90)
    got = clustered(values, groups)
    assert (got.mean, got.n) == (pytest.approx(values.mean()), 5)
    assert got.low < got.mean < got.high
    assert clustered(values, groups) == got, "deterministic"
    order = rng.permutation(90)
    again = clustered(values[order], groups[order])
    assert (again.low, again.high) == (pytest.approx(got.low), pytest.approx(got.high))


def test_single_values_as_clusters_give_the_plain_interval():
    values = np.random.default_rng(0).normal(0, 1, 400)
    got, plain = clustered(values, [str(i) for i in range(400)]), estimate(values)
    assert got.high - got.low == pytest.approx(plain.high - plain.low, rel=0.1)


def test_alike_values_of_a_group_widen_the_interval():
    rng = np.random.default_rng(0)
    values, groups = np.repeat(rng.normal(0, 1, 20), 30), np.repeat(np.arange(20), 30)
    one_by_one = clustered(values, np.arange(600))
    of_groups = clustered(values, groups)
    # 30 copies carry the information of one: the interval is sqrt(30) = 5.5 times as wide.
    assert 4 < (of_groups.high - of_groups.low) / (one_by_one.high - one_by_one.low) < 7


def test_clustered_coverage_is_about_95_percent():
    rng, inside = np.random.default_rng(1), []
    for _ in range(200):
        sizes = rng.integers(1, 12, 40)
        values = 0.6 + np.repeat(rng.normal(0, 0.3, 40), sizes) + rng.normal(0, 0.5, sizes.sum())
        got = clustered(values, np.repeat(np.arange(40), sizes), rounds=500)
        inside.append(got.low <= 0.6 <= got.high)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_clustered_refuses_what_has_no_interval():
    for values, groups in (([1, 0, 1], ["a", "a", "a"]), ([1, 0], ["a", "b", "c"]), ([], [])):
        with pytest.raises(ValueError, match=f"{len(values)} values in {len(groups)} groups"):
            clustered(values, groups)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(k):
    right_QK = np.array([[1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]], dtype=bool)
    by_hand = [np.mean([any(s) for s in itertools.combinations(row, k)]) for row in right_QK]
    assert pass_at_k(right_QK, k).mean == pytest.approx(np.mean(by_hand))


def test_pass_at_1_is_avg_at_k_and_large_k_does_not_overflow():
    right_QK = np.random.default_rng(0).random((20, 2000)) < 0.001
    assert pass_at_k(right_QK, 1).mean == pytest.approx(avg_at_k(right_QK).mean)
    assert pass_at_k(right_QK, 2000).mean == right_QK.any(1).mean()
    middle = pass_at_k(right_QK, 1000)
    assert right_QK.mean() < middle.mean < right_QK.any(1).mean()


def test_pass_at_k_refuses_what_it_cannot_say():
    with pytest.raises(ValueError, match="k: got 4, wanted 1 to 3, the samples per question"):
        pass_at_k(np.ones((2, 3)), 4)
    with pytest.raises(ValueError, match="k: got 0"):
        pass_at_k(np.ones((2, 3)), 0)
    with pytest.raises(ValueError, match="partial scores"):
        pass_at_k(np.full((2, 3), 0.5), 1)
    masked = np.ma.array([[1, 0], [0, 0]], mask=[[0, 0], [1, 1]])
    assert (pass_at_k(masked, 2).mean, pass_at_k(masked, 2).n) == (1.0, 1)


def test_the_majority_decides_and_ties_share_the_point():
    answers_QK = [
        ["7", "7", "8", "9"],  # 7 has most votes and is right: 1
        ["1", "1", "2", "2"],  # a tie of a right and a wrong answer: 1/2
        ["1", "2", "3", "4"],  # four answers, one of them right: 1/4
        [None, "", "5", None],  # the one vote is wrong, though a sample without an answer was graded right: 0
        [None, None, "", None],  # no vote: 0
    ]
    right_QK = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    got = maj_at_k(answers_QK, np.array(right_QK))
    assert got.mean == pytest.approx((1 + 0.5 + 0.25) / 5)
    assert got.n == 5
    assert maj_at_k([["a", "a", "a"]], np.array([[1, 1, 0]])).mean == pytest.approx(2 / 3), "graded both ways"


def test_maj_at_k_leaves_out_what_could_not_be_graded():
    right_QK = np.ma.array([[1, 1], [0, 0]], mask=[[0, 0], [1, 1]])
    got = maj_at_k([["a", "a"], ["b", "b"]], right_QK)
    assert (got.mean, got.n) == (1.0, 1)
    with pytest.raises(ValueError, match="got 1 questions .* wanted one answer for each of the grades"):
        maj_at_k([["a", "a"]], right_QK)
