"""Plans: learning rate by hand, same multiset in both arms, order a pure function of (seed, plan); what 01
publishes is what 02 reads back."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nbkit.pretrain.fg_wsd import fg_wsd, for_model, vanilla
from nbkit.pretrain.order import SampleOrder, permute
from nbkit.pretrain.plan import (
    PlanFile,
    Stage,
    apportion,
    as_data,
    check,
    describe,
    learning_rate,
    pool_tokens,
    stage_at,
    total_tokens,
    trainable,
)
from nbkit.run import files

ROW, BATCH = 8, 64
PLAN = [
    Stage("warmup", {"hq": 64, "mq": 64}, 0.0, 1.0, seq_len=8),
    Stage("diversity", {"hq": 320, "mq": 384}, 1.0, 1.0, seq_len=8),
    Stage("decay", {"hq": 192}, 1.0, 0.0, seq_len=32, rope_base=80_000.0),
]
SIZES = {"hq": 40, "mq": 80}  # rows


def rows_read(order: SampleOrder, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    return list(order.rows(start, end))


def test_learning_rate_by_hand():
    points = (0, 64, 128, 500, 832, 928, 1024, 9999)
    assert [learning_rate(x, PLAN) for x in points] == [0, 0.5, 1, 1, 1, 0.5, 0, 0]


def test_shapes_of_decay_by_hand():
    half = {shape: Stage("decay", {"hq": 100}, 2.0, 1.0, shape) for shape in ("linear", "cosine", "sqrt")}
    assert {k: learning_rate(50, [s]) for k, s in half.items()} == pytest.approx(
        {"linear": 1.5, "cosine": 1.5, "sqrt": 2 - 0.5**0.5}
    )
    assert learning_rate(25, [half["cosine"]]) == pytest.approx(2 - (1 - np.cos(np.pi / 4)) / 2)
    assert all(learning_rate(100, [s]) == 1.0 for s in half.values())


def test_both_arms_read_the_same_multiset_and_only_the_order_differs():
    fg, plain = (SampleOrder(plan, SIZES, ROW, seed=3) for plan in (PLAN, vanilla(PLAN)))
    assert Counter(rows_read(fg)) == Counter(rows_read(plain)) and rows_read(fg) != rows_read(plain)


def test_vanilla_keeps_every_total_and_has_one_mixture():
    arm = vanilla(PLAN)
    assert pool_tokens(arm) == pool_tokens(PLAN) and [s.total for s in arm] == [s.total for s in PLAN]
    assert [(s.lr_from, s.lr_to, s.seq_len, s.rope_base) for s in arm] == [
        (s.lr_from, s.lr_to, s.seq_len, s.rope_base) for s in PLAN
    ]
    share = pool_tokens(PLAN)["hq"] / total_tokens(PLAN)
    assert all(abs(s.tokens["hq"] - share * s.total) <= 32 for s in arm)


def test_a_pool_is_read_in_whole_epochs_across_stages():
    counts = Counter(row for pool, row in rows_read(SampleOrder(PLAN, SIZES, ROW, 0)) if pool == 0)
    assert sum(counts.values()) == 72 and set(counts.values()) == {1, 2} and len(counts) == 40


def test_each_stage_reads_what_it_says():
    order, start = SampleOrder(PLAN, SIZES, ROW, 0), 0
    for stage in PLAN:
        found = Counter(order.names[pool] for pool, _ in rows_read(order, start, start + stage.total))
        assert {name: n * ROW for name, n in found.items()} == stage.tokens
        start += stage.total


def test_long_sequences_are_consecutive_rows_and_short_ones_are_mixed():
    order = SampleOrder(PLAN, SIZES, ROW, 0)
    assert all(row % 4 == 0 and row + 4 <= SIZES["hq"] for _, row in order.units(832, 192))
    short = rows_read(order, 128, 832)
    neighbours = sum(a[0] == b[0] and abs(a[1] - b[1]) == 1 for a, b in zip(short, short[1:], strict=False))
    assert neighbours < len(short) / 4  # chunks of four in a row would give three quarters


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9), st.sampled_from([8, 16, 32, 64]), st.integers(0, 900))
def test_any_part_can_be_asked_for_alone(seed, size, start):
    """The order cannot depend on batches, ranks or resumes: it is asked for by token range only."""
    order, fresh = SampleOrder(PLAN, SIZES, ROW, seed), SampleOrder(PLAN, SIZES, ROW, seed)
    start = start // 64 * 64
    number = stage_at(start, PLAN)[0]
    size = max(size, PLAN[number].seq_len)
    whole = np.concatenate([order.units(t, size) for t in range(start, start + 64, size)])
    assert np.array_equal(whole, fresh.units(start, 64))


def test_the_seed_changes_the_order_and_the_names_order_does_not():
    turned = dict(reversed(SIZES.items()))
    assert rows_read(SampleOrder(PLAN, SIZES, ROW, 1)) == rows_read(SampleOrder(PLAN, turned, ROW, 1))
    assert rows_read(SampleOrder(PLAN, SIZES, ROW, 1)) != rows_read(SampleOrder(PLAN, SIZES, ROW, 2))


def test_a_cut_through_a_sequence_or_a_stage_is_refused():
    order = SampleOrder(PLAN, SIZES, ROW, 0)
    for start, n in ((4, 8), (0, 12), (120, 16), (832, 8)):
        with pytest.raises(ValueError, match="whole sequences of one stage"):
            order.units(start, n)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_permute_is_a_permutation(size, key):
    assert np.array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


def test_permute_looks_random():
    """Rank correlation with the identity and between keys stays within five standard errors of zero."""
    size, start = 20_000, np.arange(20_000)
    first, second = permute(start, size, 1), permute(start, size, 2)
    for a, b in ((start, first), (first, second), (first[:-1], first[1:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / size**0.5


def test_the_order_of_a_plan_of_23_trillion_tokens_is_computed_anywhere():
    pools = {"hq": 6_500_000_000_000, "mq": 6_000_000_000_000, "synthetic": 3_450_000_000_000}
    planned = fg_wsd(23_000_000_000_000, 4096 * 1024, pools, 4096, 65_536)
    plan = for_model(planned, 4.5e-4, 1.5e-6, rope_base=5e5, decay_rope_base=5e6)
    check(plan, pools, 4096, 4096 * 1024)
    order = SampleOrder(plan, {name: n // 4096 for name, n in pools.items()}, 4096, 0)
    middle = len(order) // 2 // (4096 * 1024) * 4096 * 1024
    units = order.units(middle, 4096 * 1024)
    assert len(units) == 1024 and len({tuple(u) for u in units}) == 1024
    assert units[:, 1].max() < max(pools.values()) // 4096


def test_describe_by_hand():
    rows = describe(PLAN, {"hq": 320, "mq": 640}, BATCH)
    assert [r["steps"] for r in rows] == [2, 11, 3] and [r["from_token"] for r in rows] == [0, 128, 832]
    assert rows[1]["epochs"] == {"hq": 384 / 320, "mq": 448 / 640}
    assert (rows[2]["lr_from"], rows[2]["lr_to"], rows[2]["seq_len"]) == (1.0, 0.0, 32)


def test_a_plan_survives_json():
    assert [Stage(**row) for row in as_data(PLAN)] == PLAN


def test_a_published_plan_is_read_back_as_it_was(tmp_path):
    planned = PlanFile(PLAN, ROW, BATCH, validation_rows=4, max_epochs=8.0)
    planned.save(tmp_path / "plan.json")
    assert PlanFile.load(tmp_path / "plan.json") == planned
    planned.check_batch(8)
    with pytest.raises(
        ValueError, match=r"steps of 48 tokens, .* set batch to 8 in 02_pretrain, or step_tokens"
    ):
        planned.check_batch(6)


def test_a_plan_of_an_older_nbkit_is_refused_with_the_command_that_makes_it_again(tmp_path):
    rows = [{"stage": "warmup", "sequences": 3, "hq": 2, "mq": 1, "synthetic": 0}]
    files.write_json(tmp_path / "plan.json", {"stages": rows, "seq_len": 8, "seed": 0})
    with pytest.raises(ValueError, match="another version of nbkit wrote it; .* `nbkit run --from 01`"):
        PlanFile.load(tmp_path / "plan.json")


def test_validation_rows_are_not_for_training():
    pools = {"hq": np.zeros((10, ROW)), "mq": np.zeros((5, ROW))}
    assert trainable(pools, ROW, 4) == {"hq": 48, "mq": 8}
    with pytest.raises(ValueError, match="validation_rows: got 5, but pool 'mq' holds 5 rows in all"):
        trainable(pools, ROW, 5)


@settings(max_examples=300, deadline=None)
@given(
    total=st.integers(0, 10**18),
    weights=st.lists(st.one_of(st.integers(0, 10**13), st.fractions(0, 10**6)), min_size=1, max_size=6),
)
def test_apportion_is_exact_and_within_one_of_each_share(total, weights):
    assume(sum(weights) > 0)
    counts = apportion(total, weights)
    assert sum(counts) == total and min(counts) >= 0
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - total * Fraction(weight) / sum(map(Fraction, weights))) < 1
        assert count <= max(c for c, w in zip(counts, weights, strict=True) if w >= weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": {"hq": 320, "mq": 352}}, "stage 'diversity': 672 tokens .* nearest: 640"),
        ({"tokens": {"hq": 312, "mq": 392}}, "312 tokens of pool 'hq' do not divide .* nearest: 320"),
        ({"seq_len": 12}, "seq_len 12, wanted a multiple of the pools' rows of 8"),
        ({"rope_base": 20_000.0}, "rope_base changes from 10000 to 20000 but sequences stay at 8 tokens"),
        ({"tokens": {"hq": 320, "mq": 320, "extra": 64}}, "pool 'extra', which holds 0"),
        ({"tokens": {"hq": 320, "mq": 6720}}, r"pool 'mq': .* 10.6 epochs of the 640 it holds, over 8"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(change, message):
    plan = [PLAN[0], replace(PLAN[1], **change), PLAN[2]]
    with pytest.raises(ValueError, match=message):
        check(plan, {"hq": 320, "mq": 640}, ROW, BATCH, max_epochs=8.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "steps"}, "shape 'steps' is unknown"),
        ({"lr_to": -1.0}, "wanted rates of 0 or more"),
        ({"tokens": {"hq": 0}}, "some in all"),
        ({"tokens": {"hq": -8, "mq": 16}}, "wanted 0 or more of every pool"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAN[0], **change)
