"""Intervals against scipy and by hand; verdicts of the ledger; coverage of the interval."""

import math

import numpy as np
import pytest
from scipy import stats

from nbkit.evals import claims
from nbkit.evals.score import avg_at_k, clustered, estimate, paired_difference


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


def test_perfect_scores_keep_an_interval():
    got = avg_at_k(np.ones((20, 1), dtype=bool))
    assert got.mean == 1.0 and 0.8 < got.low < 1.0


def test_one_value_has_no_interval_of_its_own():
    assert (estimate([0.3], (0.0, 1.0)).low, estimate([0.3]).high) == (0.0, math.inf)


def test_coverage_is_about_95_percent():
    rng = np.random.default_rng(1)
    inside = [(e := avg_at_k(rng.random((60, 3)) < 0.4)).low <= 0.4 <= e.high for _ in range(1000)]
    assert 0.92 < np.mean(inside) < 0.98


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


def test_verdicts_are_computed():
    claim = {"figure": "x", "metric": "a.b"}
    up, flat, down = {"low": 0.01}, {"low": -0.01}, {"low": -0.2}
    assert claims.verdict(claim, up, seeds=5) == "reproduced"
    assert claims.verdict(claim, up, seeds=4) == "trend"
    assert claims.verdict(claim, flat, seeds=5) == claims.verdict(claim, down, seeds=5) == "not reproduced"
    assert claims.verdict(claim, None, seeds=5) == "out of reach here"
    assert claims.verdict({"figure": None, "metric": None}, None, 5) == "undisclosed"


def test_ledger_has_a_row_per_claim_and_no_typed_verdict():
    listed = claims.claims()
    assert len({c["id"] for c in listed}) == len(listed) and not any("verdict" in c for c in listed)
    assert all(c["metric"] or c["why"] for c in listed), "a claim without a metric says why"
    parts = [c for c in listed if "by" in c]
    assert parts and all(c["effect"] and c["questions"] for c in parts), "its figure needs both"
    rows = claims.ledger({"05_dpd": {"change": {"mean": 0.1, "low": 0.02, "high": 0.2, "n": 30}}}, seeds=1)
    assert {r["id"]: r["verdict"] for r in rows}["dpd"] == "trend"
    assert {r["id"]: r["verdict"] for r in rows}["rl"] == "out of reach here"
    dpd = next(r for r in rows if r["id"] == "dpd")
    assert dpd["ours"] == "+10.0 points [+2.0, +20.0]" and (dpd["n"], dpd["seeds"]) == (30, 1)
    rl = next(r for r in rows if r["id"] == "rl")
    assert (rl["ours"], rl["n"], rl["mean"], rl["seeds"]) == ("not measured in this run", None, None, 0)
