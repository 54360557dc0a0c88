"""Log-probability of the token that is there and divergence from the teacher, per token, from hidden states
and heads. Used by 05 through nbkit.train.dpd.

No tensor of N x V ever exists: logits are made for `chunk` tokens at a time, folded into a few numbers per
token, and made again in backward. Memory over inputs and gradients is a fixed number of (chunk, V) tiles.

    forward   KL(teacher || student)             dD/dz = s - t
    reverse   KL(student || teacher)             dD/dz = s (log s - log t - D)
    jsd       mixing * KL(teacher || m) + (1 - mixing) * KL(student || m),  m = (1 - mixing) s + mixing t
              (the generalized JSD of trl.kernels.chunked_divergence, whose `beta` is our `mixing`)

s and t are softmaxes of logits / temperature, and no factor temperature^2 is applied, as in TRL. The
log-probability is always at temperature 1, as in DPO. Matrix products run in the autocast dtype, or in that
of the student's hidden states; sums, exponentials and the head's gradient in float32 (float64 for float64).
With bfloat16 a tile of logits is rounded to it, as autocast rounds a model's own logits.
Shape legend: N tokens, n of them in a tile, V vocabulary, H width (the teacher's may differ), K teacher
tokens kept.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor, Partial
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from nbkit.train.common import can_compile

DIVERGENCES = ("forward", "reverse", "jsd")
TILE = 2**24  # logits of one tile: 512 tokens at V=32,768, 100 at V=166,144; 64 MiB in float32
EAGER_ROWS = 32  # without a compiler, tile maths runs on so many rows at a time: temporaries stay in cache
WEIGHT_ROWS = 8192  # rows of the head's gradient per bfloat16 product, which is rounded before it is added


@dataclass(frozen=True)
class Divergence:
    """Which divergence, and its temperature. `mixing` is the teacher's share of m, for jsd only."""

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
        return (1 - self.mixing) * log_s.exp() * (log_s - self._log_m(log_s, log_t))

    def summands(self, log_s: torch.Tensor, log_t: torch.Tensor) -> torch.Tensor:
        """What adds up, over the vocabulary, to D."""
        slope = self.slope(log_s, log_t)
        if self.kind == "forward":
            return slope * (log_s - log_t)
        if self.kind == "reverse":
            return slope
        return slope + self.mixing * log_t.exp() * (log_t - self._log_m(log_s, log_t))

    def _log_m(self, log_s, log_t):
        return torch.logaddexp(log_s + math.log(1 - self.mixing), log_t + math.log(self.mixing))


# Tile maths. Rows are independent; every argument but the last has one entry or row per token of the tile.


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _logp(z_nV, targets_n):
    log_z_n = torch.logsumexp(z_nV, -1)
    return z_nV.gather(-1, targets_n[:, None]).squeeze(-1) - log_z_n, log_z_n


def _logp_gradient(z_nV, targets_n, log_z_n, grad_n):
    hit_nV = torch.arange(z_nV.shape[-1], device=z_nV.device) == targets_n[:, None]
    return grad_n[:, None] * (hit_nV.to(z_nV.dtype) - (z_nV - log_z_n[:, None]).exp())


def _dense(z_nV, teacher_nV, targets_n, divergence):
    z_nV, teacher_nV = _wide(z_nV), _wide(teacher_nV)
    logp_n, log_z_n = _logp(z_nV, targets_n)
    s_nV, t_nV = z_nV / divergence.temperature, teacher_nV / divergence.temperature
    log_zs_n, log_zt_n = torch.logsumexp(s_nV, -1), torch.logsumexp(t_nV, -1)
    log_s, log_t = s_nV - log_zs_n[:, None], t_nV - log_zt_n[:, None]
    total_n = divergence.slope(log_s, log_t).sum(-1)
    return logp_n, divergence.summands(log_s, log_t).sum(-1), log_z_n, log_zs_n, log_zt_n, total_n


def _dense_gradient(
    z_nV, teacher_nV, targets_n, log_z_n, log_zs_n, log_zt_n, total_n, grad_n, grad_d_n, divergence
):
    """Overwrites the student's logits with the gradient."""
    wide_nV = _wide(z_nV)
    log_s = wide_nV / divergence.temperature - log_zs_n[:, None]
    log_t = _wide(teacher_nV) / divergence.temperature - log_zt_n[:, None]
    slope = divergence.slope(log_s, log_t) - log_s.exp() * total_n[:, None]
    grad_d_n = grad_d_n / divergence.temperature
    z_nV.copy_(_logp_gradient(wide_nV, targets_n, log_z_n, grad_n) + grad_d_n[:, None] * slope)
    return ()


def _buckets(z_nV, targets_n, ids_nK, divergence):
    z_nV = _wide(z_nV)
    logp_n, log_z_n = _logp(z_nV, targets_n)
    s_nV = z_nV / divergence.temperature
    top_nK, log_zs_n = s_nV.gather(-1, ids_nK), torch.logsumexp(s_nV, -1)
    log_tail_n = torch.logsumexp(s_nV.scatter(-1, ids_nK, -math.inf), -1)
    buckets = torch.cat([top_nK, log_tail_n[:, None]], -1) - log_zs_n[:, None]
    return logp_n, buckets, log_z_n, log_zs_n, log_tail_n


def _buckets_gradient(
    z_nV, targets_n, ids_nK, log_z_n, log_zs_n, log_tail_n, grad_n, grad_buckets, divergence
):
    """d log(bucket)/dz is p(token | bucket) - s: 1 - s for a token that is its own bucket."""
    wide_nV = _wide(z_nV)
    s_nV = wide_nV / divergence.temperature
    within_nV = (grad_buckets[:, -1:] * (s_nV - log_tail_n[:, None]).exp()).scatter(
        -1, ids_nK, grad_buckets[:, :-1]
    )
    slope = within_nV - (s_nV - log_zs_n[:, None]).exp() * grad_buckets.sum(-1, keepdim=True)
    z_nV.copy_(_logp_gradient(wide_nV, targets_n, log_z_n, grad_n) + slope / divergence.temperature)
    return ()


_compiled = cache(torch.compile)  # of each function once: its versions count towards one limit of dynamo's


def _run(function, rows: tuple, divergence: Divergence, compiled: bool) -> tuple:
    """Tile maths in one fused pass where it is compiled, else a few rows at a time."""
    if compiled and can_compile():
        return _compiled(function)(*rows, divergence)
    parts = [function(*part, divergence) for part in zip(*(x.split(EAGER_ROWS) for x in rows), strict=True)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


class _Head:
    """Logits of one head, `chunk` tokens at a time, in one buffer that is used again. The head is cast once."""

    def __init__(self, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, dtype: torch.dtype, chunk: int):
        self.hidden_NH, self.weight_VH = hidden_NH, weight_VH.to(dtype)
        self.buffer = self.weight_VH.new_empty(min(chunk, len(hidden_NH)), len(weight_VH))

    def logits(self, rows: slice) -> torch.Tensor:
        hidden = self.hidden_NH[rows].to(self.weight_VH.dtype)
        return torch.mm(hidden, self.weight_VH.T, out=self.buffer[: len(hidden)])

    def add_gradients(self, grad_nV, rows: slice, grad_hidden_NH, grad_weight_VH) -> None:
        if grad_hidden_NH is not None:
            grad_hidden_NH[rows] = grad_nV @ self.weight_VH
        if grad_weight_VH is None:
            return
        hidden = self.hidden_NH[rows].to(self.weight_VH.dtype)
        if grad_nV.dtype == grad_weight_VH.dtype:
            grad_weight_VH.addmm_(grad_nV.T, hidden)
            return
        for start in range(0, len(grad_weight_VH), WEIGHT_ROWS):
            part = slice(start, start + WEIGHT_ROWS)
            grad_weight_VH[part] += grad_nV[:, part].T @ hidden


def _chunks(count: int, chunk: int) -> Iterator[slice]:
    for start in range(0, max(count, 1), chunk):  # no tokens: one empty tile, so that shapes come out right
        yield slice(start, min(start + chunk, count))


class _How(NamedTuple):
    divergence: Divergence
    chunk: int
    compiled: bool
    dtype: torch.dtype


class _Joint(torch.autograd.Function):
    """(logp (N,), divergence (N,)) of a dense teacher, or (logp (N,), log-probabilities of the buckets
    (N, K + 1)) of a cached one. `per_token`: targets (N,), then the token ids (N, K) of a cached teacher."""

    @staticmethod
    def forward(ctx, hidden_NH, weight_VH, per_token, teacher, how):
        divergence, chunk, compiled, dtype = how
        student, dense = _Head(hidden_NH, weight_VH, dtype, chunk), teacher and _Head(*teacher, dtype, chunk)
        parts = []
        for rows in _chunks(len(hidden_NH), chunk):
            logits = [student.logits(rows), *([dense.logits(rows)] if dense else [])]
            tile = (*logits, *(x[rows] for x in per_token))
            parts.append(_run(_dense if dense else _buckets, tile, divergence, compiled))
        logp, out, *stats = (torch.cat(column) for column in zip(*parts, strict=True))
        ctx.save_for_backward(hidden_NH, weight_VH, *per_token, *stats)
        ctx.teacher, ctx.how = teacher, how
        return logp, out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logp, grad_out):
        hidden_NH, weight_VH, *saved = ctx.saved_tensors
        divergence, chunk, compiled, dtype = ctx.how
        student = _Head(hidden_NH, weight_VH, dtype, chunk)
        dense = ctx.teacher and _Head(*ctx.teacher, dtype, chunk)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        grad_hidden, grad_weight = (
            torch.zeros_like(x, dtype=wide) if wanted else None
            for x, wanted in zip((hidden_NH, weight_VH), ctx.needs_input_grad, strict=False)
        )
        for rows in _chunks(len(hidden_NH), chunk):
            logits = [student.logits(rows), *([dense.logits(rows)] if dense else [])]
            tile = (*logits, *(x[rows] for x in (*saved, grad_logp, grad_out)))
            _run(_dense_gradient if dense else _buckets_gradient, tile, divergence, compiled)
            student.add_gradients(logits[0], rows, grad_hidden, grad_weight)
        grads = ((grad_hidden, hidden_NH), (grad_weight, weight_VH))
        return *(None if g is None else g.to(x.dtype) for g, x in grads), None, None, None


def _joint(hidden_NH, weight_VH, per_token, teacher, divergence, chunk, compiled):
    device = hidden_NH.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else hidden_NH.dtype
    how = _How(divergence, chunk or max(1, TILE // len(weight_VH)), compiled, dtype)
    return _Joint.apply(hidden_NH, weight_VH, per_token, teacher, how)


def against_teacher(
    hidden_NH: torch.Tensor,
    weight_VH: torch.Tensor,
    targets_N: torch.Tensor,
    teacher_hidden_NH: torch.Tensor,
    teacher_weight_VH: torch.Tensor,
    divergence: Divergence,
    *,
    chunk: int | None = None,
    compiled: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probability of each target (N,), divergence from the teacher (N,)), differentiable in the
    student's hidden states and head. `chunk`: tokens per tile (None: as many as TILE logits hold);
    `compiled`: fuse the tile maths by torch.compile where there is a C++ compiler. On a GPU: TRL's kernels,
    which choose their own tiles."""
    if hidden_NH.is_cuda:
        return by_trl_kernels(
            hidden_NH, weight_VH, targets_N, teacher_hidden_NH, teacher_weight_VH, divergence
        )
    teacher = (teacher_hidden_NH.detach(), teacher_weight_VH.detach())
    return _joint(hidden_NH, weight_VH, (targets_N,), teacher, divergence, chunk, compiled)


def against_top_k(
    hidden_NH: torch.Tensor,
    weight_VH: torch.Tensor,
    targets_N: torch.Tensor,
    ids_NK: torch.Tensor,
    log_t: torch.Tensor,
    divergence: Divergence,
    *,
    chunk: int | None = None,
    compiled: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `against_teacher`, from the teacher's K likeliest tokens and `log_t` (N, K + 1), their
    log-probabilities at the divergence's temperature and that of all others together. The divergence is the
    one between distributions over K + 1 outcomes, never above the exact one (nbkit.train.teacher_cache)."""
    logp_N, log_s = _joint(hidden_NH, weight_VH, (targets_N, ids_NK), None, divergence, chunk, compiled)
    return logp_N, divergence.summands(log_s, log_t.to(log_s.dtype)).sum(-1)


def by_trl_kernels(hidden_NH, weight_VH, targets_N, teacher_hidden_NH, teacher_weight_VH, divergence):
    """The same two numbers per token from TRL's two kernels: Triton on a GPU, float32 tiles elsewhere."""
    share = {"forward": 0.0, "reverse": 1.0, "jsd": divergence.mixing}[divergence.kind]
    logp_N, *_ = ChunkedLogProbFunction.apply(
        hidden_NH, weight_VH, None, targets_N, 1.0, WEIGHT_ROWS, None, 1.0, ()
    )
    divergence_N, _ = ChunkedDivergenceFunction.apply(
        hidden_NH,
        weight_VH,
        None,
        teacher_hidden_NH,
        teacher_weight_VH,
        None,
        share,
        divergence.temperature,
    )
    return logp_N, divergence_N


def whole_head(weight_VH: torch.Tensor) -> torch.Tensor:
    """The head, gathered where FSDP2 holds it in shards. Every rank's loss is a mean over its own pairs, so
    the gradient that goes back to the shards is the mean over ranks, as FSDP2 has it for other weights."""
    if not isinstance(weight_VH, DTensor):
        return weight_VH
    mesh = weight_VH.device_mesh
    whole_VH = weight_VH.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if whole_VH.requires_grad:
        whole_VH.register_hook(lambda grad: grad / mesh.size())
    return whole_VH
