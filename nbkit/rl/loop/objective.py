"""The objective of GRPO without KL, as pure functions of arrays. Used by train.py.

    A_i = r_i - mean(r)                                    "mean": Dr. GRPO (arXiv 2503.20783)
    A_i = (r_i - mean(r)) / (std(r) + 1e-4)                "std": GRPO (arXiv 2402.03300)
    A_i = (r_i - mean(r)) / mean(r)                        "maxrl": MaxRL (arXiv 2602.02710)
    L   = -sum_i sum_t w_it min(p_it A_i, clip(p_it, 1 - e, 1 + e) A_i),   p_it = pi(token) / pi_old(token)

with the weights w_it of `token_weights`. A completion without a reward (NaN), and one that was cut off, is
*masked*: it enters neither the mean of its group nor the loss.

Shape legend: P prompts, G completions of each, N tokens of all completions in a row, S completions.
"""

from collections.abc import Sequence

import numpy as np
import torch

ADVANTAGES = ("mean", "std", "maxrl")
SMALLEST = 1e-9  # an advantage up to here is none
NORMALISE = ("constant", "token", "sequence")


def advantages(rewards_PG: np.ndarray, scale: str = "mean") -> np.ndarray:
    """Advantage of each completion within its group, shape (P, G); 0 where the reward is NaN, in groups with
    fewer than two rewards, and where it is no more than rounding (SMALLEST). "maxrl" weighs a question by one
    over its pass rate, as the gradient of log p does: a group of which one completion in eight is right moves
    the policy most. Raises ValueError for a `scale` that is none of ADVANTAGES, and for a negative reward
    with "maxrl"."""
    if scale not in ADVANTAGES:
        raise ValueError(f"advantage: got {scale!r}, wanted one of {', '.join(ADVANTAGES)}")
    rewards_PG = np.asarray(rewards_PG, dtype=float)
    known_PG = np.isfinite(rewards_PG)
    count_P1 = known_PG.sum(1, keepdims=True)
    # Means over what is known alone: a masked completion is no zero.
    total_P1 = np.where(known_PG, rewards_PG, 0.0).sum(1, keepdims=True)
    centred_PG = np.where(known_PG, rewards_PG - total_P1 / np.maximum(count_P1, 1), 0.0)
    if scale == "std":
        variance_P1 = (centred_PG**2).sum(1, keepdims=True) / np.maximum(count_P1 - 1, 1)
        centred_PG = centred_PG / (np.sqrt(variance_P1) + 1e-4)
    if scale == "maxrl":
        if (lowest := np.nanmin(rewards_PG, initial=0.0)) < 0:
            raise ValueError(
                f"advantage: maxrl got a reward of {lowest}, wanted pass rates; take mean or std"
            )
        mean_P1 = total_P1 / np.maximum(count_P1, 1)
        # A group without a success has no advantage anyway.
        centred_PG = centred_PG / np.where(mean_P1 > 0, mean_P1, 1.0)
    return np.where((count_P1 > 1) & ~(np.abs(centred_PG) <= SMALLEST), centred_PG, 0.0)


def with_signal(advantages_PG: np.ndarray) -> float:
    """Share of groups whose rewards differ: only these move the policy."""
    return float((np.asarray(advantages_PG) != 0).any(1).mean()) if len(advantages_PG) else 0.0


def token_weights(lengths_S: Sequence[int], completions: int, longest: int, how: str) -> np.ndarray:
    """Weight of every token of completion s in the loss, shape (S,). `completions`: of the whole step, masked
    ones too; `longest`: the generation limit.

    "constant": 1 / (completions * longest), so that a token counts alike in short and long completions
    (Dr. GRPO); "token": 1 / all tokens (DAPO, arXiv 2503.14476); "sequence": 1 / (completions * own length)
    (GRPO). Raises ValueError for another name."""
    lengths_S = np.asarray(lengths_S, dtype=float)
    if how == "constant":
        return np.full(len(lengths_S), 1.0 / (completions * longest))
    if how == "token":
        return np.full(len(lengths_S), 1.0 / max(lengths_S.sum(), 1.0))
    if how == "sequence":
        return 1.0 / (completions * np.maximum(lengths_S, 1.0))
    raise ValueError(f"normalise: got {how!r}, wanted one of {', '.join(NORMALISE)}")


def policy_loss(
    logp_N: torch.Tensor, old_N: torch.Tensor, advantage_N: torch.Tensor, weight_N: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the clipped loss summed over tokens, which tokens the clip holds back (N,) bool). `old_N`:
    log-probabilities under the policy that sampled, without gradient."""
    ratio_N = torch.exp(logp_N - old_N)
    kept_N = ratio_N.clamp(1 - clip, 1 + clip)
    # The smaller of the two: the clip only ever takes an incentive away (PPO, arXiv 1707.06347).
    gain_N = torch.minimum(ratio_N * advantage_N, kept_N * advantage_N)
    held_N = ((ratio_N > 1 + clip) & (advantage_N > 0)) | ((ratio_N < 1 - clip) & (advantage_N < 0))
    return -(weight_N * gain_N).sum(), held_N


def decayed(peak: float, step: int, steps: int) -> float:
    """Learning rate of `step` (0 is the first) of `steps`: linear from `peak` towards 0, which the step after
    the last would have."""
    return peak * (1.0 - step / steps)
