"""Maths of one tile of logits: divergences, their gradients, the log-probability of the token that is
there. Used by nbkit.dpd.loss.

    forward   KL(teacher || student)             dD/dz = s - t
    reverse   KL(student || teacher)             dD/dz = s (log s - log t - D)
    jsd       mixing * KL(teacher || m) + (1 - mixing) * KL(student || m),  m = (1 - mixing) s + mixing t
              (the generalized JSD of trl.kernels.chunked_divergence, whose `beta` is our `mixing`)
    skew      KL(teacher || m),  m = (1 - mixing) s + mixing t                        (DistiLLM: SKL)
    skew_reverse    KL(student || m),  m = mixing s + (1 - mixing) t                  (DistiLLM: SRKL)

s and t are softmaxes of logits z / temperature, and no factor temperature^2 is applied, as in TRL. The
log-probability is always at temperature 1, as in DPO. Everything here is in float32, in float64 for float64.
Rows of a tile are independent; every tensor has one entry or row per token. Shape legend: n
tokens of a tile, V vocabulary, K teacher tokens kept.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch

from nbkit.models.training import can_compile

DIVERGENCES = ("forward", "reverse", "jsd", "skew", "skew_reverse")
SKEW = 0.1  # the mixing of skewed divergences in DistiLLM-2 (arXiv 2503.07067)
EAGER_ROWS = 8  # without a compiler, tile maths runs on so many rows at a time: temporaries stay in cache


@dataclass(frozen=True)
class Divergence:
    """Which divergence, and its temperature. `mixing`: for jsd and skew the teacher's share of m, for
    skew_reverse the student's; the others do not look at it."""

    kind: str = "forward"
    temperature: float = 1.0
    mixing: float = 0.5

    def __post_init__(self):
        if self.kind not in DIVERGENCES:
            raise ValueError(f"divergence: got {self.kind!r}, wanted one of {DIVERGENCES}")
        if not (0 < self.temperature < math.inf):
            raise ValueError(f"temperature: got {self.temperature}, wanted a finite number above 0")
        if not 0 < self.mixing < 1:
            raise ValueError(
                f"mixing: got {self.mixing}, wanted between 0 and 1; the ends are 'forward' and 'reverse'"
            )

    def slope(self, log_s: torch.Tensor, log_t: torch.Tensor) -> torch.Tensor:
        """u = s * dD/ds for every token of the vocabulary: dD/dz = u - s * sum(u)."""
        if self.kind == "forward":
            return -log_t.exp()
        if self.kind == "reverse":
            return log_s.exp() * (log_s - log_t)
        log_m = self._log_m(log_s, log_t)
        if self.kind == "skew":
            return -(1 - self.mixing) * (log_s + log_t - log_m).exp()
        if self.kind == "skew_reverse":
            # a summand s * 1 is left out: in dD/dz it cancels
            return log_s.exp() * (log_s - log_m - self.mixing * (log_s - log_m).exp())
        return (1 - self.mixing) * log_s.exp() * (log_s - log_m)

    def summands(self, log_s: torch.Tensor, log_t: torch.Tensor) -> torch.Tensor:
        """What adds up, over the vocabulary, to D."""
        if self.kind in ("skew", "skew_reverse"):
            log_p = log_t if self.kind == "skew" else log_s
            return log_p.exp() * (log_p - self._log_m(log_s, log_t))
        slope = self.slope(log_s, log_t)
        # D as a sum over tokens of the vocabulary; forward: t (log t - log s), with slope = -t.
        if self.kind == "forward":
            return slope * (log_s - log_t)
        if self.kind == "reverse":
            return slope
        # JSD: s's part is the slope itself, t's part is the other KL, each weighted by its share of m.
        return slope + self.mixing * log_t.exp() * (log_t - self._log_m(log_s, log_t))

    def _log_m(self, log_s, log_t):
        # log m by logaddexp: m itself underflows where both models are sure of other tokens.
        of_teacher = 1 - self.mixing if self.kind == "skew_reverse" else self.mixing
        return torch.logaddexp(log_s + math.log(1 - of_teacher), log_t + math.log(of_teacher))


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _logp(z_nV, targets_n):
    log_z_n = torch.logsumexp(z_nV, -1)
    return z_nV.gather(-1, targets_n[:, None]).squeeze(-1) - log_z_n, log_z_n


def _logp_gradient(z_nV, targets_n, log_z_n, grad_n):
    hit_nV = torch.arange(z_nV.shape[-1], device=z_nV.device) == targets_n[:, None]
    # d log p(target)/dz = 1[target] - p.
    return grad_n[:, None] * (hit_nV.to(z_nV.dtype) - (z_nV - log_z_n[:, None]).exp())


def dense(rows, divergence):
    """(log-probability, divergence, then what the gradient needs), each (n,). `rows`: the student's logits
    (n, V), the teacher's (n, V), the targets (n,)."""
    z_nV, teacher_nV, targets_n = rows
    # A bfloat16 logit has 8 bits: differences of log-probabilities need more.
    z_nV, teacher_nV = _wide(z_nV), _wide(teacher_nV)
    logp_n, log_z_n = _logp(z_nV, targets_n)
    s_nV, t_nV = z_nV / divergence.temperature, teacher_nV / divergence.temperature
    # Normalisers per token, kept for backward, which has to subtract them from the same logits.
    log_zs_n, log_zt_n = torch.logsumexp(s_nV, -1), torch.logsumexp(t_nV, -1)
    log_s, log_t = s_nV - log_zs_n[:, None], t_nV - log_zt_n[:, None]
    # sum(u) of `Divergence.slope`, what dD/dz = u - s * sum(u) takes off again.
    total_n = divergence.slope(log_s, log_t).sum(-1)
    return logp_n, divergence.summands(log_s, log_t).sum(-1), log_z_n, log_zs_n, log_zt_n, total_n


def dense_gradient(rows, divergence):
    """Overwrites the student's logits with the gradient. `rows`: those of `dense`, what it kept for the
    gradient, the gradients of its two results (n,)."""
    # `log_z_n` is the normaliser at temperature 1, the other two are at the divergence's.
    z_nV, teacher_nV, targets_n, log_z_n, log_zs_n, log_zt_n, total_n, grad_n, grad_d_n = rows
    wide_nV = _wide(z_nV)
    log_s = wide_nV / divergence.temperature - log_zs_n[:, None]
    log_t = _wide(teacher_nV) / divergence.temperature - log_zt_n[:, None]
    slope = divergence.slope(log_s, log_t) - log_s.exp() * total_n[:, None]
    # z enters as z / temperature: the chain rule's factor.
    grad_d_n = grad_d_n / divergence.temperature
    z_nV.copy_(_logp_gradient(wide_nV, targets_n, log_z_n, grad_n) + grad_d_n[:, None] * slope)
    return ()


def buckets(rows, divergence):
    """(log-probability (n,), those of K tokens and of all others together (n, K + 1), what the gradient
    needs), the latter at the divergence's temperature. `rows`: the student's logits (n, V), the targets
    (n,), the K tokens (n, K)."""
    z_nV, targets_n, ids_nK = rows
    z_nV = _wide(z_nV)
    logp_n, log_z_n = _logp(z_nV, targets_n)
    s_nV = z_nV / divergence.temperature
    # Buckets: the K tokens, each alone, and one for all others, summed with the K taken out.
    top_nK, log_zs_n = s_nV.gather(-1, ids_nK), torch.logsumexp(s_nV, -1)
    log_tail_n = torch.logsumexp(s_nV.scatter(-1, ids_nK, -math.inf), -1)
    log_b = torch.cat([top_nK, log_tail_n[:, None]], -1) - log_zs_n[:, None]
    return logp_n, log_b, log_z_n, log_zs_n, log_tail_n


def buckets_gradient(rows, divergence):
    """Overwrites the student's logits with the gradient. d log(bucket)/dz is p(token | bucket) - s, which is
    1 - s for a token that is its own bucket. `rows`: those of `buckets`, what it kept for the gradient, the
    gradients of its two results (n,) and (n, K + 1)."""
    z_nV, targets_n, ids_nK, log_z_n, log_zs_n, log_tail_n, grad_n, grad_buckets = rows
    wide_nV = _wide(z_nV)
    s_nV = wide_nV / divergence.temperature
    # p(token | bucket): 1 within a token's own bucket, the softmax over the tail within the last.
    within_nV = (grad_buckets[:, -1:] * (s_nV - log_tail_n[:, None]).exp()).scatter(
        -1, ids_nK, grad_buckets[:, :-1]
    )
    # d log(bucket)/dz = within - s, summed over buckets with their gradients.
    slope = within_nV - (s_nV - log_zs_n[:, None]).exp() * grad_buckets.sum(-1, keepdim=True)
    z_nV.copy_(_logp_gradient(wide_nV, targets_n, log_z_n, grad_n) + slope / divergence.temperature)
    return ()


_compiled = cache(torch.compile)  # of each function once: its versions count towards one limit of dynamo's


def run(function, rows: tuple, divergence: Divergence, compiled: bool) -> tuple:
    """Tile maths in one fused pass where it is compiled, else a few rows at a time."""
    if compiled and can_compile():
        return _compiled(function)(rows, divergence)
    # EAGER_ROWS at a time: without fusion each operation would stream the whole tile through memory.
    parts = [function(part, divergence) for part in zip(*(x.split(EAGER_ROWS) for x in rows), strict=True)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
