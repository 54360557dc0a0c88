"""Fine-grained warmup-stable-decay (FG-WSD) and the plans it is compared with. 01 builds the FG-WSD plan and
publishes it; 02 sets its learning rates and trains it, and vanilla WSD beside it.

    warmup        LR 0 -> peak      mixed
    diversity     LR peak           1 epoch of the upper pool and 1 epoch of the lower pool, mixed
    high_quality  LR peak           upper pool only
    decay         LR peak -> final  upper pool and more synthetic Q&A, longer sequences, a larger rotary base

Figures are the report's, in units of its 23T training tokens: warmup 0.1, diversity-enriched 12.4,
high-quality 6.5, decay 4; 12.5 of filtered text of which 6.5 are high quality; 15% synthetic (arXiv
2512.06266, "Pre-training data" and "FG-WSD").

    budget = report_budgets(23_000_000)                # {'filtered': 12_500_000, 'hq': 6_500_000, ...}
    pools = {"hq": 6_500_000, "mq": 6_000_000, "synthetic": 1_800_000}
    plan = fg_wsd(23_000_000, 1_000, pools, seq_len=250, decay_seq_len=1_000)  # rates relative to the peak
    trained = for_model(plan, peak_lr=4.5e-4, final_lr=1.5e-6)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from nbkit.pretrain.plan import Stage, apportion, nearest_multiple, pool_tokens
from nbkit.text.tokenizer import whole_tokens

# Trillions of tokens in the report. Fractions keep the accounting exact.
STAGES = {
    "warmup": Fraction("0.1"),
    "diversity": Fraction("12.4"),
    "high_quality": Fraction("6.5"),
    "decay": Fraction(4),
}
TRAINED = sum(STAGES.values())
FILTERED = Fraction("12.5")
POOLS = ("hq", "mq", "synthetic")
OPENING = ("warmup", "diversity")  # the stages that read both filtered pools, together about once
# Learning rate at both ends of a stage, relative to the peak; the report decays from 4.5e-4 to 1.5e-6.
RATES = {"warmup": (0.0, 1.0), "diversity": (1.0, 1.0), "high_quality": (1.0, 1.0), "decay": (1.0, 1 / 300)}


def report_budgets(total: int, hq_share: float = 0.52) -> dict[str, int]:
    """Tokens of the unique pools when `total` are trained: filtered 12.5/23 of them; hq is `hq_share` of
    those (the report: 6.5/12.5 = 0.52), mq the rest. Raises ValueError for a share outside 0 to 1."""
    if not 0 < hq_share < 1:
        raise ValueError(f"hq_share: got {hq_share}, wanted a share between 0 and 1, such as 0.52")
    total = whole_tokens("total", total)
    filtered = round(total * FILTERED / TRAINED)
    hq = round(total * FILTERED * Fraction(str(hq_share)) / TRAINED)
    return {"filtered": filtered, "hq": hq, "mq": filtered - hq}


def sample_budgets(held: int, kept_share: float, hq_share: float) -> dict[str, int]:
    """`report_budgets` where the documents, of `held` tokens, are a sample of a larger corpus: the pools keep
    `kept_share` of them, as they will of the corpus."""
    return report_budgets(round(Fraction(str(kept_share)) * held * TRAINED / FILTERED), hq_share)


def planned_pools(total: int, hq_share: float, synthetic_share: float, held_out: int) -> dict[str, int]:
    """Tokens that a plan of `total` may read of each pool, where the pools have the sizes that 01 aims for
    and lose `held_out` tokens each to validation; synthetic text is taken to be read once."""
    budgets = report_budgets(total, hq_share) | {"synthetic": round(total * Fraction(str(synthetic_share)))}
    return {name: budgets[name] - held_out for name in POOLS}


def refitted(plan: Sequence[Stage], step_tokens: int, pools: Mapping[str, int]) -> list[Stage]:
    """The FG-WSD plan of 01 for pools of other sizes (tokens): steps, lengths and synthetic shares stay, the
    mixture of hq and mq follows the sizes. Raises ValueError as `fg_wsd` does."""
    whole, decay = sum(stage.total for stage in plan), plan[-1]
    shares = pool_tokens(plan)["synthetic"] / whole, decay.tokens["synthetic"] / decay.total
    return fg_wsd(whole, step_tokens, pools, plan[0].seq_len, decay.seq_len, *shares)


def fg_wsd(
    total_tokens: int,
    step_tokens: int,
    pools: Mapping[str, int],
    seq_len: int,
    decay_seq_len: int = 0,
    synthetic_share: float = 0.15,
    decay_synthetic: float = 0.5,
) -> list[Stage]:
    """The FG-WSD plan over `total_tokens`, rounded down to whole steps of `step_tokens`. Learning rates are
    relative to the peak; `for_model` makes them absolute.

    Every stage is a whole number of steps (one at least), and takes from every pool a whole number of the
    longest sequences, `decay_seq_len` tokens (0: as long as the others, `seq_len`), so that every plan with
    these totals can read the very same sequences. All sums are exact.

    `pools` gives the tokens of "hq", "mq", "synthetic" that may be trained on. Warmup and diversity mix hq
    and mq in proportion to their sizes (about one epoch of both together), the high-quality stage reads hq
    only, decay reads hq and a raised share `decay_synthetic` of synthetic (math, code, QA, long chains of
    thought). Synthetic is `synthetic_share` of all tokens; what decay does not use is spread over warmup and
    diversity. Both shares inside the stages are our choice: the report gives the 15% only.

    Raises ValueError where lengths do not divide, stages would be empty, or hq and mq are too small for
    warmup and diversity; `nbkit.pretrain.plan.check` refuses what reads a pool too often.
    """
    total_tokens = whole_tokens("total_tokens", total_tokens)
    step_tokens, seq_len = whole_tokens("step_tokens", step_tokens), whole_tokens("seq_len", seq_len)
    longest = whole_tokens("decay_seq_len", decay_seq_len) or seq_len
    pools = {pool: whole_tokens(f"pool {pool!r}", held) for pool, held in pools.items()}
    _check_lengths(step_tokens, seq_len, longest)
    _check_shares(pools, synthetic_share=synthetic_share, decay_synthetic=decay_synthetic)
    # Stages are counted in steps; what they take from the pools in units of the longest sequence.
    steps = _whole_steps(total_tokens // step_tokens, step_tokens)
    size = {stage: count * step_tokens // longest for stage, count in steps.items()}
    synthetic = _synthetic_per_stage(size, synthetic_share, decay_synthetic)
    filtered = {stage: size[stage] - synthetic[stage] for stage in STAGES}
    # High quality and decay read hq alone; before them hq and mq are mixed in proportion to their sizes.
    opening = [filtered[stage] for stage in OPENING]
    # each of two pools may lack up to one sequence, each of two stages be rounded by a step
    _check_opening(sum(opening) * longest, pools, slack=2 * (longest + step_tokens))
    hq_opening = apportion(sum(opening), [pools["hq"], pools["mq"]])[0]
    hq = filtered | dict(zip(OPENING, apportion(hq_opening, opening), strict=True))
    plan = []
    for stage in STAGES:
        counts = {"hq": hq[stage], "mq": filtered[stage] - hq[stage], "synthetic": synthetic[stage]}
        tokens = {pool: count * longest for pool, count in counts.items()}
        plan.append(Stage(stage, tokens, *RATES[stage], seq_len=longest if stage == "decay" else seq_len))
    return plan


def for_model(
    plan: Sequence[Stage],
    peak_lr: float,
    final_lr: float,
    *,
    decay_shape: str = "linear",
    rope_base: float = 10_000.0,
    decay_rope_base: float = 0.0,
) -> list[Stage]:
    """The plan of `fg_wsd` with the absolute learning rates and the rotary bases of one model; what is read
    stays the same. The last stage ends at `final_lr`, falls by `decay_shape` and is read under
    `decay_rope_base` (0: `rope_base`). Raises ValueError for a plan whose rates are not relative."""
    # Relative rates are what 01 publishes: absolute ones here would be scaled twice.
    if not plan or max(max(stage.lr_from, stage.lr_to) for stage in plan) != 1:
        raise ValueError("plan: wanted learning rates relative to a peak of 1, as `fg_wsd` makes them")
    *before, decay = (
        replace(stage, lr_from=peak_lr * stage.lr_from, lr_to=peak_lr * stage.lr_to, rope_base=rope_base)
        for stage in plan
    )
    # Only the last stage differs: longer sequences are read under a larger rotary base (ABF).
    decay = replace(decay, lr_to=final_lr, shape=decay_shape, rope_base=decay_rope_base or rope_base)
    return [*before, decay]


def vanilla(plan: Sequence[Stage]) -> list[Stage]:
    """Vanilla WSD: every stage takes the same share of each pool. Tokens per stage, tokens per pool, learning
    rates and sequence lengths stay those of `plan`, exactly."""
    # In units of the longest sequence, so that both arms can be cut into the same chunks.
    unit = max(stage.seq_len for stage in plan)
    left = {pool: count // unit for pool, count in pool_tokens(plan).items()}
    # Shares are taken of what is left, so that rounding never adds up: the pools come out exact.
    arm = []
    for stage in plan:
        counts = apportion(stage.total // unit, list(left.values()))
        taken = dict(zip(left, counts, strict=True))
        left = {pool: left[pool] - taken[pool] for pool in left}
        arm.append(replace(stage, tokens={pool: count * unit for pool, count in taken.items()}))
    return arm


def longer(plan: Sequence[Stage], times: float, step_tokens: int) -> list[Stage]:
    """The plan over `times` its tokens, every stage in whole steps with its shares of the pools."""
    # Steps first, then the pools within a stage: both stay whole numbers of sequences.
    unit, plans = max(stage.seq_len for stage in plan), []
    for stage in plan:
        size = nearest_multiple(stage.total * times, step_tokens) // unit
        counts = apportion(size, list(stage.tokens.values()))
        tokens = {pool: count * unit for pool, count in zip(stage.tokens, counts, strict=True)}
        plans.append(replace(stage, tokens=tokens))
    return plans


def wsd(
    tokens: Mapping[str, int],
    peak_lr: float,
    final_lr: float,
    step_tokens: int,
    seq_len: int,
    warmup: float = 0.02,
    decay: float = 0.2,
    rope_base: float = 10_000.0,
) -> list[Stage]:
    """A plain WSD plan over given tokens per pool, in whole steps (used to continue the teacher)."""
    # At least one step each for warmup and decay; the stable stage gets the rest.
    steps = sum(tokens.values()) // step_tokens
    sizes = [max(1, round(steps * warmup)), 0, max(1, round(steps * decay))]
    sizes[1] = steps - sizes[0] - sizes[2]
    if sizes[1] < 1:
        raise ValueError(
            f"tokens: got {sum(tokens.values())}, wanted at least 3 steps of {step_tokens} tokens; "
            "raise the tokens or lower `batch`"
        )
    names, rates = ("warmup", "stable", "decay"), ((0.0, peak_lr), (peak_lr, peak_lr), (peak_lr, final_lr))
    # Every stage has the pools' overall shares: no fine-grained order of the data.
    plan = []
    for name, size, (lr_from, lr_to) in zip(names, sizes, rates, strict=True):
        counts = apportion(size * step_tokens // seq_len, list(tokens.values()))
        mixed = {pool: count * seq_len for pool, count in zip(tokens, counts, strict=True)}
        plan.append(Stage(name, mixed, lr_from, lr_to, seq_len=seq_len, rope_base=rope_base))
    return plan


def _whole_steps(steps: int, step_tokens: int) -> dict[str, int]:
    """Steps of every stage: the report's proportions, one at least, exact in total."""
    if steps < len(STAGES):
        raise ValueError(
            f"total_tokens: {steps} whole steps of {step_tokens:,} tokens, wanted one at least for each of "
            f"{list(STAGES)}; raise total_tokens or lower step_tokens"
        )
    counts = apportion(steps, list(STAGES.values()))
    while 0 in counts:  # in tiny plans: the warmup is 1/230 of the tokens
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return dict(zip(STAGES, counts, strict=True))


def _synthetic_per_stage(
    size: Mapping[str, int], synthetic_share: float, decay_synthetic: float
) -> dict[str, int]:
    """Synthetic units per stage, exact in total; the high-quality stage has none (report: hq only)."""
    # str() gives the decimal that was written: 0.15 is 15/100 here, not the nearest binary fraction
    share, decay_share = Fraction(str(synthetic_share)), Fraction(str(decay_synthetic))
    wanted = round(sum(size.values()) * share)
    # Decay takes its raised share first; the rest goes to the stages before, by their size.
    decay = min(round(size["decay"] * decay_share), wanted)
    opening = [size[stage] for stage in OPENING]
    if wanted - decay > sum(opening):
        raise ValueError(
            f"synthetic_share={synthetic_share} does not fit outside the high-quality stage: lower it"
        )
    counts = dict(zip(OPENING, apportion(wanted - decay, opening), strict=True))
    return {**counts, "high_quality": 0, "decay": decay}


def _check_lengths(step_tokens: int, seq_len: int, longest: int) -> None:
    if min(step_tokens, seq_len) < 1:
        raise ValueError(f"step_tokens={step_tokens}, seq_len={seq_len}: want one token at least")
    if longest % seq_len:
        raise ValueError(
            f"decay_seq_len: got {longest}, wanted a multiple of seq_len={seq_len}, such as "
            f"{nearest_multiple(longest, seq_len)}"
        )
    if step_tokens % longest:
        raise ValueError(
            f"step_tokens: a step of {step_tokens} tokens does not hold whole sequences of {longest} tokens "
            f"(decay_seq_len); nearest: {nearest_multiple(step_tokens, longest)}"
        )


def _check_shares(pools: Mapping[str, int], **shares: float) -> None:
    if set(pools) != set(POOLS):
        raise ValueError(f"pools has keys {sorted(pools)}; want {sorted(POOLS)} with their unique tokens")
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: want a share from 0 to 1")


def _check_opening(tokens: int, pools: Mapping[str, int], slack: int) -> None:
    """Warmup and diversity read hq and mq once. `slack`: tokens by which rounding may exceed that; up to a
    twentieth more is let pass, since 01 fills its pools to the report's budget and then keeps rows back."""
    held = pools["hq"] + pools["mq"]
    if tokens - slack > held + held // 20:
        raise ValueError(
            f"warmup and diversity read each document once: they need {tokens:,} tokens, hq + mq hold "
            f"{held:,}; lower total_tokens or validation_rows, or keep more documents (report_budgets)"
        )
