"""From scores to pools to a stage plan: which documents are kept, how often and when they are seen.

Notebook 01 builds the plan, notebook 02 follows it. Figures are the report's, in units of its 23T training
tokens: warmup 0.1, diversity-enriched 12.4, high-quality 6.5, decay 4; 12.5 of filtered text of which 6.5
are high quality; 15% synthetic (report.md, "Pre-training data" and "FG-WSD"). Shape legend: D documents.

    budget = report_budgets(23_000_000)                       # {'filtered': 12_500_000, 'hq': 6_500_000, ...}
    label_D = pools(score_D, n_tokens_D, budget["hq"], budget["mq"])
    plan = stage_plan(23_000_000, 256, {"hq": 6_500_000, "mq": 6_000_000, "synthetic": 1_800_000})
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

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


def _tokens(name: str, value: int) -> int:
    """A token count as Python's exact integer: numpy's would overflow unnoticed inside a Fraction. Raises
    ValueError for other numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name}={value}: want a whole number of tokens, 0 or more")
    return int(value)


def report_budgets(total: int) -> dict[str, int]:
    """Tokens of the unique pools when `total` are trained: filtered 12.5/23, hq 6.5/23, mq the rest."""
    total = _tokens("total", total)
    filtered, hq = (round(total * part / TRAINED) for part in (FILTERED, HIGH_QUALITY))
    return {"filtered": filtered, "hq": hq, "mq": filtered - hq}


def pools(
    scores: Sequence[float],
    n_tokens: Sequence[int],
    hq_tokens: int,
    mq_tokens: int,
    ids: Sequence[str] | None = None,
) -> np.ndarray:
    """Label every document "hq", "mq" or "drop" by score thresholds that two token budgets set.

    Best first: "hq" while the running total stays within hq_tokens, then "mq" while it stays within
    hq_tokens + mq_tokens. Ties fall in the order of `ids`, so that the same documents are kept whatever
    order the workers handed them over in; without ids, in document order. No document is split, so a pool
    may fall short of its budget by less than the one document that no longer fitted. Raises ValueError when
    the budgets exceed what the documents hold, or an id occurs twice.
    """
    score_D, tokens_D = np.asarray(scores, float), np.asarray(n_tokens)
    if score_D.shape != tokens_D.shape or score_D.ndim != 1:
        raise ValueError(
            f"scores and n_tokens need one number per document: {score_D.shape}, {tokens_D.shape}"
        )
    if not np.isfinite(score_D).all():
        raise ValueError("scores hold NaN or infinity: score every document first")
    if len(tokens_D) and (tokens_D.dtype.kind not in "iu" or tokens_D.min() < 0):
        raise ValueError("n_tokens holds negative or fractional counts: want whole numbers of tokens")
    hq_tokens, mq_tokens = _tokens("hq_tokens", hq_tokens), _tokens("mq_tokens", mq_tokens)
    held = int(tokens_D.sum())
    if hq_tokens + mq_tokens > held:
        raise ValueError(
            f"the budgets ask for {hq_tokens + mq_tokens:,} tokens (hq {hq_tokens:,} + mq {mq_tokens:,}) but "
            f"the documents hold {held:,}: add documents or lower the training tokens"
        )
    order = _best_first(score_D, ids)
    running = np.cumsum(tokens_D[order])
    label_D = np.empty(len(score_D), dtype="<U4")
    label_D[order] = np.where(
        running <= hq_tokens, "hq", np.where(running <= hq_tokens + mq_tokens, "mq", "drop")
    )
    return label_D


def _best_first(score_D: np.ndarray, ids: Sequence[str] | None) -> np.ndarray:
    if ids is None:
        return np.argsort(-score_D, kind="stable")
    id_D = np.asarray(ids)
    if id_D.shape != score_D.shape or len(np.unique(id_D)) != len(id_D):
        raise ValueError(
            f"ids: got {id_D.shape}, {len(np.unique(id_D))} of them different; want a different one for each "
            f"of {len(score_D)} documents"
        )
    return np.lexsort((id_D, -score_D))


def waterfall(
    raw: int, deduplicated: int, decontaminated: int, filtered: int, high_quality: int
) -> list[dict]:
    """Tokens left after each filter, their shares of raw and previous, and the report's trillions.

    Raises ValueError when a step holds more tokens than the one before it.
    """
    steps = (
        ("raw", raw, None),
        ("deduplicated", deduplicated, None),
        ("decontaminated", decontaminated, None),
        ("filtered (hq + mq)", filtered, float(FILTERED)),
        ("high quality (hq)", high_quality, float(HIGH_QUALITY)),
    )
    rows, before = [], raw
    for step, tokens, report in steps:
        if not 0 <= tokens <= before:
            raise ValueError(
                f"waterfall: {step} holds {tokens:,} tokens, over {before:,} before it; filters remove"
            )
        rows.append(
            {
                "step": step,
                "tokens": int(tokens),
                "of_raw": tokens / raw if raw else 0.0,
                "of_previous": tokens / before if before else 0.0,
                "report_trillions": report,
            }
        )
        before = tokens
    return rows


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
    total_tokens, seq_len = _tokens("total_tokens", total_tokens), _tokens("seq_len", seq_len)
    pools = {pool: _tokens(f"pool {pool!r}", held) for pool, held in pools.items()}
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
