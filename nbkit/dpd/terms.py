"""The terms of the loss of nbkit.dpd.trainer, from two numbers per completion token: its log-probability and
its divergence from the teacher. Used by 05.

    terms = dpd_terms(logp_N, away_N, row_N, reference_2n, beta=0.1)
    terms.loss(Weights(dpo=0.5, pos=1.0, neg=0.5))

Shape legend: n pairs, N completion tokens of the batch, V vocabulary. Rows are chosen first, then rejected.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from nbkit.dpd.tiles import Divergence


def divergence(
    student_NV: torch.Tensor, teacher_NV: torch.Tensor, kind: str, temperature: float, mixing: float = 0.5
) -> torch.Tensor:
    """Per-position divergence (N,) of two tables of logits that are there in full, in nats."""
    how = Divergence(kind, temperature, mixing)
    log_s, log_t = (F.log_softmax(x / temperature, -1) for x in (student_NV, teacher_NV))
    return how.summands(log_s, log_t).sum(-1)


class Weights(NamedTuple):
    """What each term of the loss counts: sequence margin, distillation on y+, on y-, and SFT on y+."""

    dpo: float
    pos: float
    neg: float
    sft: float = 0.0


class DPDTerms(NamedTuple):
    """The terms of the loss, means over pairs in nats: `sft` is minus the mean log-probability of a token of
    y+. The DPO margin, in nats too, is no term."""

    dpo: torch.Tensor
    pos: torch.Tensor
    neg: torch.Tensor
    sft: torch.Tensor
    margin: torch.Tensor

    def loss(self, weights: Weights) -> torch.Tensor:
        # terms that count nothing are left out: 0 times an infinite divergence would be NaN
        return sum(w * term for w, term in zip(weights, self[:4], strict=True) if w)


def dpd_terms(logp_N, divergence_N, row_N, ref_logps_2n, beta: float) -> DPDTerms:
    """The loss terms from two numbers per completion token. `row_N`: which of the 2n responses a token
    belongs to; `ref_logps_2n`: summed log-probs of the reference. An empty response counts as zero."""
    # Everything is summed per response (2n of them) with index_add: rows have different lengths.
    zeros = logp_N.new_zeros(len(ref_logps_2n))
    tokens_R = zeros.index_add(0, row_N, torch.ones_like(logp_N)).clamp(min=1)
    # Sequence level: log-probs summed over tokens, the reference's taken off; (log pi/ref)(y+), (y-).
    logp_R = zeros.index_add(0, row_N, logp_N)
    chosen, rejected = (logp_R - ref_logps_2n).chunk(2)
    margin = chosen - rejected
    # Token level: a mean per response first, so that a long one does not outweigh a short one.
    pos, neg = (zeros.index_add(0, row_N, divergence_N) / tokens_R).chunk(2)
    sft = -(logp_R / tokens_R).chunk(2)[0]
    dpo = -F.logsigmoid(beta * margin)
    return DPDTerms(*(term.mean() for term in (dpo, pos, neg, sft, margin)))
