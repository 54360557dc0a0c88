"""Plans are checked by hand-computed numbers and, with hypothesis, against the definitions themselves; what
01 publishes is what 02 trains is tests/pretrain/test_plan_trained.py."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, for_model, longer, report_budgets, vanilla, wsd
from nbkit.pretrain.order import SampleOrder
from nbkit.pretrain.plan import Stage, check, describe, learning_rate, pool_tokens, total_tokens

HELD = {"hq": 6_500_000, "mq": 6_000_000, "synthetic": 1_800_000}
SHARES = [Fraction(trillions) / 23 for trillions in ("0.1", "12.4", "6.5", "4")]


def test_report_budgets_are_the_reports_proportions():
    assert report_budgets(23_000_000) == {
        "filtered": 12_500_000,
        "hq": 6_500_000,
        "mq": 6_000_000,
    }
    odd = report_budgets(1001)
    assert odd["hq"] + odd["mq"] == odd["filtered"] == 544
    # a scarce upper pool: a fifth of the filtered 12.5/23
    assert report_budgets(23_000_000, 0.2) == {"filtered": 12_500_000, "hq": 2_500_000, "mq": 10_000_000}
    with pytest.raises(ValueError, match="hq_share: got 1.0"):
        report_budgets(23_000_000, 1.0)
    with pytest.raises(ValueError, match="total=-1"):
        report_budgets(-1)
    with pytest.raises(ValueError, match=r"total=23000000000000\.0: want a whole number"):
        report_budgets(23e12)


@settings(deadline=None)
@given(total=st.integers(0, 10**18))
def test_budgets_keep_the_reports_proportions_within_rounding(total):
    """In integers: 12.5 : 6.5 : 23 is 125 : 65 : 230. A rounded share is half a token off at most."""
    budget = report_budgets(total)
    assert budget["hq"] + budget["mq"] == budget["filtered"] <= total and min(budget.values()) >= 0
    assert 2 * abs(230 * budget["filtered"] - 125 * total) <= 230
    assert 2 * abs(230 * budget["hq"] - 65 * total) <= 230
    assert report_budgets(np.int64(total)) == budget


def by_name(plan: list[Stage]) -> dict[str, Stage]:
    return {stage.name: stage for stage in plan}


def test_the_plan_at_the_reports_size_by_hand():
    """23,000 steps of 1000 tokens: the report's trillions become thousands of steps."""
    plan = by_name(fg_wsd(23_000_000, 1000, HELD, 1000))
    assert {name: stage.total // 1000 for name, stage in plan.items()} == {
        "warmup": 100,
        "diversity": 12_400,
        "high_quality": 6_500,
        "decay": 4_000,
    }
    assert plan["high_quality"].tokens == {"hq": 6_500_000, "mq": 0, "synthetic": 0}
    assert plan["decay"].tokens == {"hq": 2_000_000, "mq": 0, "synthetic": 2_000_000}
    # 15% of 23,000 = 3,450 synthetic; 1,450 remain for the opening 12,500;
    # its other 11,050 go 6.5 : 6 to hq : mq.
    assert plan["warmup"].tokens["synthetic"] + plan["diversity"].tokens["synthetic"] == 1_450_000
    assert plan["warmup"].tokens["hq"] + plan["diversity"].tokens["hq"] == 5_746_000
    epochs = describe(list(plan.values()), HELD, 1000)[-1]["epochs"]
    assert epochs == pytest.approx(
        {"hq": (5_746 + 6_500 + 2_000) / 6_500, "mq": 5_304 / 6_000, "synthetic": 3_450 / 1_800}
    )
    assert epochs["hq"] >= 2, "the report upsamples the higher-quality subset to 2 or more epochs"


def test_rates_are_relative_until_a_model_sets_them():
    plan = fg_wsd(23_000_000, 1000, HELD, 250, 1000)
    assert [(s.lr_from, s.lr_to) for s in plan] == [(0, 1), (1, 1), (1, 1), (1, 1 / 300)]
    assert [s.seq_len for s in plan] == [250, 250, 250, 1000]
    own = for_model(plan, 3e-3, 2e-5, decay_shape="sqrt", rope_base=2e4, decay_rope_base=8e4)
    assert [(s.lr_from, s.lr_to) for s in own] == [(0, 3e-3), (3e-3, 3e-3), (3e-3, 3e-3), (3e-3, 2e-5)]
    assert [(s.shape, s.rope_base) for s in own] == [("linear", 2e4)] * 3 + [("sqrt", 8e4)]
    assert [(s.name, s.tokens, s.seq_len) for s in own] == [(s.name, s.tokens, s.seq_len) for s in plan]
    assert learning_rate(0, own) == 0.0 and learning_rate(total_tokens(own), own) == 2e-5
    assert {s.rope_base for s in for_model(plan, 3e-3, 2e-5)} == {1e4}
    for wrong in ([], own):
        with pytest.raises(ValueError, match="relative to a peak of 1, as `fg_wsd` makes them"):
            for_model(wrong, 3e-3, 2e-5)


@settings(max_examples=200, deadline=None)
@given(
    n_steps=st.integers(400, 200_000),
    step=st.integers(1, 300),
    extra=st.integers(0, 299),
    synthetic_share=st.floats(0, 0.5),
    decay_synthetic=st.floats(0, 1),
    hq_share=st.floats(0.3, 1),
)
def test_the_plan_accounts_for_every_sequence(
    n_steps, step, extra, synthetic_share, decay_synthetic, hq_share
):
    total = n_steps * step + extra % step
    pools = {"hq": int(total * hq_share), "mq": total, "synthetic": total}
    plan = fg_wsd(total, step, pools, step, 0, synthetic_share, decay_synthetic)
    assert total_tokens(plan) == n_steps * step
    for stage, share in zip(plan, SHARES, strict=True):
        assert stage.total % step == 0 and abs(stage.total // step - n_steps * share) < 1
    assert pool_tokens(plan)["synthetic"] == round(n_steps * Fraction(str(synthetic_share))) * step
    assert plan[2].tokens["hq"] == plan[2].total
    assert plan[3].tokens["mq"] == 0
    for row, done in zip(describe(plan, pools, step), np.cumsum([s.total for s in plan]), strict=True):
        assert row["from_token"] + row["tokens"] == done


TRILLION = 10**12
REPORT_POOLS = {"hq": 13 * TRILLION // 2, "mq": 6 * TRILLION, "synthetic": 345 * TRILLION // 100}


@pytest.mark.parametrize("whole", [int, np.int64])
def test_the_reports_own_figures_are_exact_to_the_token(whole):
    """23T tokens counted one by one: 15% is 3.45T synthetic, of which decay reads half its 4T; the other
    1.45T leave 11.05T of the opening 12.5T to hq and mq, 6.5 : 6."""
    pools = {name: whole(held) for name, held in REPORT_POOLS.items()}
    plan = fg_wsd(whole(23 * TRILLION), whole(1), pools, whole(1))
    assert [[stage.total / 10**9, *(stage.tokens[name] / 10**9 for name in POOLS)] for stage in plan] == [
        [100, 45.968, 42.432, 11.6],
        [12_400, 5_700.032, 5_261.568, 1_438.4],
        [6_500, 6_500, 0, 0],
        [4_000, 2_000, 0, 2_000],
    ]
    epochs = describe(plan, pools, 1)[-1]["epochs"]
    assert epochs == pytest.approx({"hq": 14.246 / 6.5, "mq": 0.884, "synthetic": 1.0}, rel=1e-15)
    assert all(type(count) is int for stage in plan for count in stage.tokens.values())


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(10**7, 10**18),
    seq_len=st.integers(1, 10_000),
    lost=st.tuples(st.floats(0, 0.05), st.floats(0, 0.05)),
    order=st.permutations(POOLS),
)
def test_the_upper_pool_is_read_twice_or_more_and_the_lower_pool_once_at_most(total, seq_len, lost, order):
    """Whatever the size of the run, and also when the pools fall a little short of their budgets."""
    budget = report_budgets(total)
    held = {
        name: budget[name] - int(budget[name] * part) for name, part in zip(("hq", "mq"), lost, strict=True)
    }
    held["synthetic"] = total // 10
    plan = fg_wsd(total, seq_len, held, seq_len)
    rows, rounding = describe(plan, held, seq_len), 2 * seq_len / budget["mq"]
    assert rows[-1]["epochs"]["hq"] >= 2
    assert rows[-1]["epochs"]["mq"] <= 1 + rounding
    assert fg_wsd(total, seq_len, {name: held[name] for name in order}, seq_len) == plan
    assert [stage.name for stage in plan] == ["warmup", "diversity", "high_quality", "decay"]
    for name in POOLS:
        passes = [row["epochs"][name] for row in rows]
        assert passes == sorted(passes), "epochs accumulate"


@settings(max_examples=25, deadline=None)
@given(n_sequences=st.integers(300, 3000), seed=st.integers(0, 9), share=st.floats(0.02, 0.3))
def test_planned_epochs_are_those_the_training_order_makes(n_sequences, seed, share):
    """The order that 02 trains on, counted sequence by sequence, against the plan's epochs."""
    budget = report_budgets(n_sequences)
    held = {"hq": budget["hq"], "mq": budget["mq"], "synthetic": max(1, n_sequences // 12)}
    tokens = {name: 8 * n for name, n in held.items()}
    plan = fg_wsd(n_sequences * 8, 8, tokens, 8, synthetic_share=share)
    found = SampleOrder(plan, held, 8, seed)
    whole = np.concatenate([found.units(start, 8) for start in range(0, len(found), 8)])
    for stage, row in zip(plan, describe(plan, tokens, 8), strict=True):
        read = whole[row["from_token"] // 8 : (row["from_token"] + row["tokens"]) // 8, 0]
        assert np.bincount(read, minlength=3).tolist() == [stage.tokens[name] // 8 for name in found.names]
    epochs = describe(plan, tokens, 8)[-1]["epochs"]
    for i, name in enumerate(found.names):
        seen = np.bincount(whole[whole[:, 0] == i, 1], minlength=held[name])
        assert (seen.min(), seen.max()) == (np.floor(epochs[name]), np.ceil(epochs[name]))


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 300), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_the_smallest_plans_have_every_stage(steps, sequences, parts):
    """Fewer than 115 steps would round the warmup, 1/230 of all tokens, to none."""
    step = 8 * parts * sequences
    pools = dict.fromkeys(POOLS, step * steps)
    plan = fg_wsd(step * steps, step, pools, 8, 8 * parts)
    check(plan, pools, 8, step, max_epochs=4.0)
    check(vanilla(plan), pools, 8, step, max_epochs=4.0)
    assert total_tokens(plan) == step * steps
    assert all(abs(s.total / step - steps * share) <= 2 for s, share in zip(plan, SHARES, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pools": {**HELD, "hq": 3_000_000}}, r"need 11,050,000 tokens, hq \+ mq hold 9,000,000"),
        ({"pools": {"hq": 5_400_000, "mq": 5_100_000, "synthetic": 1_800_000}}, "hq \\+ mq hold 10,500,000"),
        ({"pools": {**HELD, "mq": -1}}, "pool 'mq'=-1"),
        ({"pools": {"hq": 1, "mq": 1}}, "want"),
        ({"total_tokens": 2.3e7}, r"total_tokens=23000000\.0: want a whole number"),
        ({"seq_len": 0}, "seq_len=0"),
        ({"step_tokens": 0}, "step_tokens=0"),
        ({"step_tokens": 1500}, "step of 1500 tokens .* 1000 tokens .*; nearest: 2000"),
        ({"decay_seq_len": 1900}, "decay_seq_len: got 1900, wanted a multiple of seq_len=1000, such as 2000"),
        ({"decay_seq_len": 2000}, "does not hold whole sequences of 2000"),
        (
            {"total_tokens": 3_999},
            "total_tokens: 3 whole steps of 1,000 tokens, wanted one at least for each",
        ),
        ({"synthetic_share": 1.5}, "synthetic_share=1.5"),
        ({"decay_synthetic": -1}, "decay_synthetic=-1"),
        ({"synthetic_share": 0.9}, "does not fit"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(change, message):
    arguments = {"total_tokens": 23_000_000, "step_tokens": 1000, "pools": HELD, "seq_len": 1000} | change
    with pytest.raises(ValueError, match=message):
        fg_wsd(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hq": 2_000_000, "mq": 20_000_000}, r"pool 'hq': .* 4\.8 epochs of the 2,000,000 .* over 4"),
        ({"synthetic": 500_000}, r"'synthetic': .* 6\.9 epochs"),
        ({"synthetic": 0}, "'synthetic', which holds 0"),
        ({"mq": 999, "hq": 11_500_000}, "'mq', which holds 999, less than one sequence of 1000"),
    ],
)
def test_a_plan_that_reads_a_pool_too_often_is_refused(change, message):
    pools = HELD | change
    with pytest.raises(ValueError, match=message):
        check(fg_wsd(23_000_000, 1000, pools, 1000), pools, 1000, 1000, max_epochs=4.0)


def test_a_plan_without_synthetic():
    pools = {"hq": 400_000, "mq": 400_000, "synthetic": 0}
    plan = fg_wsd(1_000_000, 100, pools, 100, synthetic_share=0)
    assert pool_tokens(plan)["hq"] + pool_tokens(plan)["mq"] == 1_000_000
    assert describe(plan, pools, 100)[-1]["epochs"]["synthetic"] == 0.0


@pytest.mark.parametrize("times", [0.5, 1.0, 1.5, 2.0])
def test_a_longer_plan_keeps_the_shares_of_every_stage(times):
    plan = fg_wsd(230_000, 400, HELD, 100, 400)
    more = longer(plan, times, 400)
    check(more, HELD, 100, 400)
    for stage, other in zip(plan, more, strict=True):
        assert abs(other.total - stage.total * times) <= 200
        assert all(abs(other.tokens[n] - times * stage.tokens[n]) <= 800 for n in POOLS)
    assert times != 1 or more == plan


def test_plain_wsd_counts():
    plan = wsd({"hq": 800, "synthetic": 400}, 1.0, 0.1, 64, 8)
    assert [s.name for s in plan] == ["warmup", "stable", "decay"] and total_tokens(plan) == 1200 // 64 * 64
    check(plan, {"hq": 800, "synthetic": 400}, 8, 64)
    with pytest.raises(ValueError, match="at least 3 steps"):
        wsd({"hq": 128}, 1.0, 0.1, 64, 8)
