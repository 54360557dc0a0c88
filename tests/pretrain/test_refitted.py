"""The plan of 01 on pools of other sizes: what `token_shards` needs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkit.pretrain.fg_wsd import POOLS, fg_wsd, planned_pools, refitted, report_budgets, sample_budgets
from nbkit.pretrain.plan import check, pool_tokens, total_tokens

TOTAL, STEP, ROW, LONG = 2_400_000, 1024, 256, 1024


def made(pools, share=0.15):
    return fg_wsd(TOTAL, STEP, pools, ROW, LONG, share)


def test_planned_pools_are_the_budgets_without_the_validation_rows():
    budgets = report_budgets(23_000_000)
    assert planned_pools(23_000_000, 0.52, 0.15, 1000) == {
        "hq": budgets["hq"] - 1000,
        "mq": budgets["mq"] - 1000,
        "synthetic": 3_450_000 - 1000,
    }


def test_a_sample_fills_the_share_that_is_kept():
    found = sample_budgets(1_000_000, 0.46, 0.52)
    assert found["filtered"] == 460_000 == found["hq"] + found["mq"]
    assert found["hq"] == pytest.approx(0.52 * 460_000, abs=1)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0.0, 0.3), hq=st.floats(0.1, 0.9))
def test_pools_of_the_planned_sizes_get_the_plan_of_01(share, hq):
    pools = planned_pools(TOTAL, hq, round(share, 3), 0)
    plan = made(pools, round(share, 3))
    assert refitted(plan, STEP, pools) == plan


def test_other_pools_change_the_mixture_and_nothing_else():
    plan = made(planned_pools(TOTAL, 0.2, 0.15, 0))
    pools = {"hq": 1_000_000, "mq": 500_000, "synthetic": 900_000}
    other = refitted(plan, STEP, pools)
    check(other, pools, ROW, STEP)
    assert [stage.total for stage in other] == [stage.total for stage in plan]
    assert [stage.tokens["synthetic"] for stage in other] == [stage.tokens["synthetic"] for stage in plan]
    assert total_tokens(other) == TOTAL // STEP * STEP
    diversity = other[1].tokens
    assert diversity["hq"] / diversity["mq"] == pytest.approx(2.0, rel=0.01)
    assert set(pool_tokens(other)) == set(POOLS)


def test_pools_too_small_for_the_plan_are_refused():
    plan = made(planned_pools(TOTAL, 0.2, 0.15, 0))
    with pytest.raises(ValueError, match=r"hq \+ mq hold 300,000; lower total_tokens"):
        refitted(plan, STEP, {"hq": 100_000, "mq": 200_000, "synthetic": 900_000})
