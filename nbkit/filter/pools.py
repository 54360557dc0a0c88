"""From scores to pools: which documents are kept, by thresholds that token budgets set. Used by 01.

    budget = report_budgets(23_000_000)  # of nbkit.pretrain.fg_wsd
    label_D = pools(score_D, n_tokens_D, budget["hq"], budget["mq"])

Shape legend: D documents.
"""

from collections.abc import Sequence

import numpy as np

from nbkit.text.tokenizer import whole_tokens

# Trillions of tokens that the report keeps (report, "Pre-training data")
REPORT_FILTERED, REPORT_HIGH_QUALITY = 12.5, 6.5


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
    # Bad numbers would silently make other pools.
    score_D, tokens_D = np.asarray(scores, float), np.asarray(n_tokens)
    if score_D.shape != tokens_D.shape or score_D.ndim != 1:
        raise ValueError(
            f"scores and n_tokens need one number per document: {score_D.shape}, {tokens_D.shape}"
        )
    if not np.isfinite(score_D).all():
        raise ValueError("scores hold NaN or infinity: score every document first")
    if len(tokens_D) and (tokens_D.dtype.kind not in "iu" or tokens_D.min() < 0):
        raise ValueError("n_tokens holds negative or fractional counts: want whole numbers of tokens")
    hq_tokens, mq_tokens = whole_tokens("hq_tokens", hq_tokens), whole_tokens("mq_tokens", mq_tokens)
    # More than there is would drop nothing, and the threshold would mean nothing.
    held = int(tokens_D.sum())
    if hq_tokens + mq_tokens > held:
        raise ValueError(
            f"the budgets ask for {hq_tokens + mq_tokens:,} tokens (hq {hq_tokens:,} + mq {mq_tokens:,}) but "
            f"the documents hold {held:,}: add documents or lower the training tokens"
        )
    # Best first, a running total, and the two budgets cut it.
    order = _best_first(score_D, ids)
    running = np.cumsum(tokens_D[order])
    label_D = np.empty(len(score_D), dtype="<U4")
    label_D[order] = np.where(
        running <= hq_tokens, "hq", np.where(running <= hq_tokens + mq_tokens, "mq", "drop")
    )
    return label_D


def _best_first(score_D: np.ndarray, ids: Sequence[str] | None) -> np.ndarray:
    # Stable: equal scores keep the order of the documents.
    if ids is None:
        return np.argsort(-score_D, kind="stable")
    if len(ids) != len(score_D) or len(set(ids)) != len(ids):
        raise ValueError(
            f"ids: got {len(ids)}, {len(set(ids))} of them different; want a different one for each of "
            f"{len(score_D)} documents"
        )
    # Sorted as Python's strings: numpy's drop zero characters at the end, so that two ids could be one.
    return np.array(sorted(range(len(ids)), key=lambda i: (-score_D[i], ids[i])), dtype=int)


def waterfall(
    raw: int, deduplicated: int, decontaminated: int, filtered: int, high_quality: int
) -> list[dict]:
    """Tokens left after each filter, their shares of raw and previous, and the report's trillions.

    Raises ValueError when a step holds more tokens than the one before it.
    """
    # The report gives two of the five numbers.
    steps = (
        ("raw", raw, None),
        ("deduplicated", deduplicated, None),
        ("decontaminated", decontaminated, None),
        ("filtered (hq + mq)", filtered, REPORT_FILTERED),
        ("high quality (hq)", high_quality, REPORT_HIGH_QUALITY),
    )
    rows, before = [], raw
    for step, tokens, report in steps:
        # A filter that adds tokens is a mix-up of arguments.
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
