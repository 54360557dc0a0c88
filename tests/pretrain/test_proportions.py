"""Token accounting is checked by hand-computed numbers and, with hypothesis, against the definitions
themselves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nbkit.pretrain import plan as schedule
from nbkit.pretrain import proportions
from nbkit.pretrain.order import SampleOrder

POOLS = {"hq": 6_500_000, "mq": 6_000_000, "synthetic": 1_800_000}


def test_report_budgets_are_the_reports_proportions():
    assert proportions.report_budgets(23_000_000) == {
        "filtered": 12_500_000,
        "hq": 6_500_000,
        "mq": 6_000_000,
    }
    odd = proportions.report_budgets(1001)
    assert odd["hq"] + odd["mq"] == odd["filtered"] == 544
    with pytest.raises(ValueError, match="total=-1"):
        proportions.report_budgets(-1)
    with pytest.raises(ValueError, match=r"total=23000000000000\.0: want a whole number"):
        proportions.report_budgets(23e12)


@settings(deadline=None)
@given(total=st.integers(0, 10**18))
def test_budgets_keep_the_reports_proportions_within_rounding(total):
    """In integers: 12.5 : 6.5 : 23 is 125 : 65 : 230. A rounded share is half a token off at most."""
    budget = proportions.report_budgets(total)
    assert budget["hq"] + budget["mq"] == budget["filtered"] <= total and min(budget.values()) >= 0
    assert 2 * abs(230 * budget["filtered"] - 125 * total) <= 230
    assert 2 * abs(230 * budget["hq"] - 65 * total) <= 230
    assert proportions.report_budgets(np.int64(total)) == budget


@settings(max_examples=300, deadline=None)
@given(
    total=st.integers(0, 10**18),
    weights=st.lists(st.one_of(st.integers(0, 10**13), st.fractions(0, 10**6)), min_size=1, max_size=6),
)
def test_apportion_is_exact_and_within_one_of_each_share(total, weights):
    assume(sum(weights) > 0)
    counts = proportions.apportion(total, weights)
    assert sum(counts) == total and min(counts) >= 0
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - total * Fraction(weight) / sum(map(Fraction, weights))) < 1
        assert count <= max(c for c, w in zip(counts, weights, strict=True) if w >= weight)


def test_stage_plan_at_the_reports_size_by_hand():
    """23,000 sequences of 1000 tokens: the report's trillions become thousands of sequences."""
    plan = {row["stage"]: row for row in proportions.stage_plan(23_000_000, 1000, POOLS)}
    assert {stage: row["sequences"] for stage, row in plan.items()} == {
        "warmup": 100,
        "diversity": 12_400,
        "high_quality": 6_500,
        "decay": 4_000,
    }
    assert [row["start"] for row in plan.values()] == [0, 100, 12_500, 19_000]
    assert plan["high_quality"]["hq"] == 6_500
    assert plan["decay"]["synthetic"] == 2_000 and plan["decay"]["mq"] == 0
    # 15% of 23,000 = 3,450 synthetic; 1,450 remain for the opening 12,500;
    # its other 11,050 go 6.5 : 6 to hq : mq.
    assert plan["warmup"]["synthetic"] + plan["diversity"]["synthetic"] == 1_450
    assert plan["warmup"]["hq"] + plan["diversity"]["hq"] == 5_746
    assert plan["decay"]["epochs"] == pytest.approx(
        {"hq": (5_746 + 6_500 + 2_000) / 6_500, "mq": 5_304 / 6_000, "synthetic": 3_450 / 1_800}
    )
    assert plan["decay"]["epochs"]["hq"] >= 2, (
        "the report upsamples the higher-quality subset to 2 or more epochs"
    )


@settings(max_examples=200, deadline=None)
@given(
    n_sequences=st.integers(400, 200_000),
    seq_len=st.integers(1, 300),
    extra=st.integers(0, 299),
    synthetic_share=st.floats(0, 0.5),
    decay_synthetic=st.floats(0, 1),
    hq_share=st.floats(0.3, 1),
)
def test_stage_plan_accounts_for_every_sequence(
    n_sequences, seq_len, extra, synthetic_share, decay_synthetic, hq_share
):
    total = n_sequences * seq_len + extra % seq_len
    pools = {"hq": int(total * hq_share), "mq": total, "synthetic": total}
    plan = proportions.stage_plan(total, seq_len, pools, synthetic_share, decay_synthetic, max_epochs=9)
    assert sum(row["sequences"] for row in plan) == n_sequences
    assert sum(row["tokens"] for row in plan) == n_sequences * seq_len
    for row, trillions in zip(plan, ("0.1", "12.4", "6.5", "4"), strict=True):
        assert row["hq"] + row["mq"] + row["synthetic"] == row["sequences"]
        assert min(row["hq"], row["mq"], row["synthetic"]) >= 0
        assert abs(row["sequences"] - n_sequences * Fraction(trillions) / 23) < 1
    assert sum(row["synthetic"] for row in plan) == round(n_sequences * Fraction(str(synthetic_share)))
    assert plan[2]["hq"] == plan[2]["sequences"]
    assert plan[3]["mq"] == 0
    for pool in pools:
        used = sum(row[pool] for row in plan) * seq_len
        assert plan[-1]["epochs"][pool] == pytest.approx(used / pools[pool])
    assert [row["start"] for row in plan] == [0, *np.cumsum([row["sequences"] for row in plan])[:-1]]


TRILLION = 10**12
REPORT_POOLS = {"hq": 13 * TRILLION // 2, "mq": 6 * TRILLION, "synthetic": 345 * TRILLION // 100}


@pytest.mark.parametrize("whole", [int, np.int64])
def test_the_reports_own_figures_are_exact_to_the_token(whole):
    """23T tokens counted one by one: 15% is 3.45T synthetic, of which decay reads half its 4T; the other
    1.45T leave 11.05T of the opening 12.5T to hq and mq, 6.5 : 6."""
    pools = {name: whole(held) for name, held in REPORT_POOLS.items()}
    plan = proportions.stage_plan(whole(23 * TRILLION), whole(1), pools)
    billions = [[row[name] / 10**9 for name in ("sequences", *proportions.POOLS)] for row in plan]
    assert billions == [
        [100, 45.968, 42.432, 11.6],
        [12_400, 5_700.032, 5_261.568, 1_438.4],
        [6_500, 6_500, 0, 0],
        [4_000, 2_000, 0, 2_000],
    ]
    epochs = plan[-1]["epochs"]
    assert epochs == pytest.approx({"hq": 14.246 / 6.5, "mq": 0.884, "synthetic": 1.0}, rel=1e-15)
    assert all(type(row[name]) is int for row in plan for name in ("sequences", "tokens", *proportions.POOLS))


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(10**7, 10**18),
    seq_len=st.integers(1, 10_000),
    lost=st.tuples(st.floats(0, 0.05), st.floats(0, 0.05)),
    order=st.permutations(proportions.POOLS),
)
def test_the_upper_pool_is_read_twice_or_more_and_the_lower_pool_once_at_most(total, seq_len, lost, order):
    """Whatever the size of the run, and also when the pools fall a little short of their budgets."""
    budget = proportions.report_budgets(total)
    held = {
        name: budget[name] - int(budget[name] * part) for name, part in zip(("hq", "mq"), lost, strict=True)
    }
    held["synthetic"] = total // 10
    plan = proportions.stage_plan(total, seq_len, held)
    rounding = 2 * seq_len / budget["mq"]
    assert plan[-1]["epochs"]["hq"] >= 2
    assert plan[-1]["epochs"]["mq"] <= 1 + rounding
    assert proportions.stage_plan(total, seq_len, {name: held[name] for name in order}) == plan
    assert [row["stage"] for row in plan] == ["warmup", "diversity", "high_quality", "decay"]
    for name in proportions.POOLS:
        passes = [row["epochs"][name] for row in plan]
        assert passes == sorted(passes), "epochs accumulate"


@settings(max_examples=25, deadline=None)
@given(n_sequences=st.integers(300, 3000), seed=st.integers(0, 9), share=st.floats(0.02, 0.3))
def test_planned_epochs_are_those_the_training_order_makes(n_sequences, seed, share):
    """The order that 02 trains on, counted sequence by sequence, against the plan's epochs."""
    budget = proportions.report_budgets(n_sequences)
    held = {"hq": budget["hq"], "mq": budget["mq"], "synthetic": max(1, n_sequences // 12)}
    plan = proportions.stage_plan(n_sequences * 8, 8, {name: 8 * n for name, n in held.items()}, share)
    arm = schedule.fg_wsd(plan, 1.0, 0.1, batch_tokens=8, seq_len=8)
    found = SampleOrder(arm, held, 8, seed)
    whole = np.concatenate([found.units(start, 8) for start in range(0, len(found), 8)])
    for row in plan:
        stage = whole[row["start"] : row["start"] + row["sequences"], 0]
        assert np.bincount(stage, minlength=3).tolist() == [row[name] for name in found.names]
    for i, name in enumerate(found.names):
        seen = np.bincount(whole[whole[:, 0] == i, 1], minlength=held[name])
        assert (seen.min(), seen.max()) == (
            np.floor(plan[-1]["epochs"][name]),
            np.ceil(plan[-1]["epochs"][name]),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pools": {**POOLS, "hq": 3_000_000, "mq": 6_000_000}},
            r"need 11,050,000 tokens, hq \+ mq hold 9,000,000",
        ),
        (
            {"pools": {**POOLS, "hq": 2_000_000, "mq": 20_000_000}},
            r"'hq' would be read 4\.75 times, max_epochs is 4",
        ),
        ({"pools": {**POOLS, "synthetic": 500_000}}, r"'synthetic' would be read 6\.90 times"),
        ({"pools": {**POOLS, "synthetic": 0}}, "'synthetic' holds 0 tokens"),
        ({"pools": {**POOLS, "mq": 999}}, "'mq' holds 999 tokens, less than one sequence"),
        ({"pools": {**POOLS, "mq": -1}}, "pool 'mq'=-1"),
        ({"pools": {"hq": 1, "mq": 1}}, "want"),
        ({"total_tokens": 2.3e7}, r"total_tokens=23000000\.0: want a whole number"),
        ({"seq_len": 0}, "seq_len=0"),
        ({"total_tokens": 30_000}, "leave a stage empty"),
        ({"total_tokens": 10}, "at least one whole sequence"),
        ({"synthetic_share": 1.5}, "synthetic_share=1.5"),
        ({"synthetic_share": 0.9}, "does not fit"),
        ({"max_epochs": 0}, "max_epochs=0"),
    ],
)
def test_stage_plan_refuses(change, message):
    arguments = {"total_tokens": 23_000_000, "seq_len": 1000, "pools": POOLS} | change
    with pytest.raises(ValueError, match=message):
        proportions.stage_plan(**arguments)


def test_stage_plan_without_synthetic():
    plan = proportions.stage_plan(
        1_000_000, 100, {"hq": 400_000, "mq": 400_000, "synthetic": 0}, synthetic_share=0
    )
    assert sum(row["hq"] + row["mq"] for row in plan) == 10_000
    assert plan[-1]["epochs"]["synthetic"] == 0.0
