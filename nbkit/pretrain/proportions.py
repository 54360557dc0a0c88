"""The report's proportions as whole sequences: how much of each pool every stage of pre-training reads.

Notebook 01 builds the plan, notebook 02 follows it. Figures are the report's, in units of its 23T training
tokens: warmup 0.1, diversity-enriched 12.4, high-quality 6.5, decay 4; 12.5 of filtered text of which 6.5
are high quality; 15% synthetic (report.md, "Pre-training data" and "FG-WSD").

    budget = report_budgets(23_000_000)                       # {'filtered': 12_500_000, 'hq': 6_500_000, ...}
    plan = stage_plan(23_000_000, 256, {"hq": 6_500_000, "mq": 6_000_000, "synthetic": 1_800_000})
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from nbkit.text.tokenizer import whole_tokens

# Trillions of tokens in the report. Fractions keep the sequence accounting exact.
STAGES = {
    "warmup": Fraction("0.1"),
    "diversity": Fraction("12.4"),
    "high_quality": Fraction("6.5"),
    "decay": Fraction(4),
}
TRAINED = sum(STAGES.values())
FILTERED, HIGH_QUALITY = Fraction("12.5"), Fraction("6.5")
POOLS = ("hq", "mq", "synthetic")


def report_budgets(total: int) -> dict[str, int]:
    """Tokens of the unique pools when `total` are trained: filtered 12.5/23, hq 6.5/23, mq the rest."""
    total = whole_tokens("total", total)
    filtered, hq = (round(total * part / TRAINED) for part in (FILTERED, HIGH_QUALITY))
    return {"filtered": filtered, "hq": hq, "mq": filtered - hq}


def apportion(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Split `total` into integers proportional to `weights`, by largest remainder: the sum is exact."""
    whole = sum(weights)
    if not whole:
        assert total == 0, "nothing to share a positive total among"
        return [0] * len(weights)
    exact = [Fraction(total) * Fraction(weight) / Fraction(whole) for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def stage_plan(
    total_tokens: int,
    seq_len: int,
    pools: Mapping[str, int],
    synthetic_share: float = 0.15,
    decay_synthetic: float = 0.5,
    max_epochs: float = 4.0,
) -> list[dict]:
    """How many sequences of each pool each FG-WSD stage reads. Their sum is exactly total_tokens //
    seq_len.

    `pools` gives unique tokens of "hq", "mq", "synthetic". Warmup and diversity mix hq and mq in proportion
    to their sizes (at most one epoch of both together), the high-quality stage reads hq only, decay reads
    hq and a raised share `decay_synthetic` of synthetic (math, code, QA, long chains of thought). Synthetic
    is `synthetic_share` of all sequences; what decay does not use is spread over warmup and diversity. Both
    shares inside the stages are our choice: the report gives the 15% only. Each row: stage, sequences,
    tokens, share, start (its first sequence), one count per pool, and epochs: passes over each pool
    completed by the end of the stage. Raises ValueError when the pools are too small for the plan or a pool
    would be read over `max_epochs` times.
    """
    total_tokens, seq_len = whole_tokens("total_tokens", total_tokens), whole_tokens("seq_len", seq_len)
    pools = {pool: whole_tokens(f"pool {pool!r}", held) for pool, held in pools.items()}
    _check_plan(total_tokens, seq_len, pools, synthetic_share, decay_synthetic, max_epochs)
    n_sequences = total_tokens // seq_len
    sizes = dict(zip(STAGES, apportion(n_sequences, list(STAGES.values())), strict=True))
    if not all(sizes.values()):
        raise ValueError(
            f"{n_sequences} sequences leave a stage empty ({sizes}): raise total_tokens or lower seq_len"
        )
    synthetic = _synthetic_per_stage(sizes, synthetic_share, decay_synthetic)
    opening = [sizes[stage] - synthetic[stage] for stage in ("warmup", "diversity")]
    hq_opening = apportion(sum(opening), [pools["hq"], pools["mq"]])[0]
    hq = dict(zip(("warmup", "diversity"), apportion(hq_opening, opening), strict=True))
    hq |= {stage: sizes[stage] - synthetic[stage] for stage in ("high_quality", "decay")}
    plan, start, used = [], 0, dict.fromkeys(POOLS, 0)
    for stage, size in sizes.items():
        counts = {"hq": hq[stage], "mq": size - synthetic[stage] - hq[stage], "synthetic": synthetic[stage]}
        used = {pool: used[pool] + counts[pool] for pool in POOLS}
        epochs = {pool: used[pool] * seq_len / pools[pool] if used[pool] else 0.0 for pool in POOLS}
        row = {
            "stage": stage,
            "sequences": size,
            "tokens": size * seq_len,
            "share": size / n_sequences,
            "start": start,
        }
        plan.append({**row, **counts, "epochs": epochs})
        start += size
    _check_epochs(plan, pools, seq_len, max_epochs)
    assert sum(row[pool] for row in plan for pool in POOLS) == n_sequences
    return plan


def _check_plan(total_tokens, seq_len, pools, synthetic_share, decay_synthetic, max_epochs) -> None:
    if seq_len < 1 or total_tokens < seq_len:
        raise ValueError(f"total_tokens={total_tokens}, seq_len={seq_len}: want at least one whole sequence")
    if set(pools) != set(POOLS):
        raise ValueError(f"pools has keys {sorted(pools)}; want {sorted(POOLS)} with their unique tokens")
    for name, value in (("synthetic_share", synthetic_share), ("decay_synthetic", decay_synthetic)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: want a share from 0 to 1")
    if not max_epochs > 0:
        raise ValueError(f"max_epochs={max_epochs}: want a positive number")
    read = {"hq": True, "mq": pools["mq"] > 0, "synthetic": synthetic_share > 0}
    for pool in POOLS:
        if read[pool] and pools[pool] < seq_len:
            raise ValueError(
                f"pool {pool!r} holds {pools[pool]:,} tokens, less than one sequence of {seq_len}"
            )


def _synthetic_per_stage(
    sizes: Mapping[str, int], synthetic_share: float, decay_synthetic: float
) -> dict[str, int]:
    """Synthetic sequences per stage, exact in total; the high-quality stage has none (report: hq only)."""
    # str() gives the decimal that was written: 0.15 is 15/100 here, not the nearest binary fraction
    share, decay_share = Fraction(str(synthetic_share)), Fraction(str(decay_synthetic))
    wanted = round(sum(sizes.values()) * share)
    decay = min(round(sizes["decay"] * decay_share), wanted)
    opening = [sizes["warmup"], sizes["diversity"]]
    if wanted - decay > sum(opening):
        raise ValueError(
            f"synthetic_share={synthetic_share} does not fit outside the high-quality stage: lower it"
        )
    warmup, diversity = apportion(wanted - decay, opening)
    return {"warmup": warmup, "diversity": diversity, "high_quality": 0, "decay": decay}


def _check_epochs(plan: Sequence[Mapping], pools: Mapping[str, int], seq_len: int, max_epochs: float) -> None:
    opening = sum(row[pool] for row in plan[:2] for pool in ("hq", "mq"))
    # A pool is cut into whole sequences, so each of the two may lack up to one.
    if (opening - 2) * seq_len > pools["hq"] + pools["mq"]:
        raise ValueError(
            f"warmup and diversity read each document once: they need {opening * seq_len:,} tokens, hq + mq "
            f"hold {pools['hq'] + pools['mq']:,}; lower total_tokens or keep more documents (report_budgets)"
        )
    for pool, epochs in plan[-1]["epochs"].items():
        if epochs > max_epochs:
            raise ValueError(
                f"pool {pool!r} would be read {epochs:.2f} times, max_epochs is {max_epochs:g}: "
                f"enlarge it ({pools[pool]:,} tokens), lower total_tokens or raise max_epochs"
            )
