"""Log-probability of each target token and divergence from the teacher, per token, from hidden states
and heads. Used by 05 through nbkit.dpd.trainer.

No tensor of N x V ever exists: logits are made for `chunk` tokens at a time, folded into a few numbers per
token, and made again in backward. Memory over inputs and gradients is a few (chunk, V) tiles, and with
bfloat16 a copy of both heads: flat in N, and with `chunk` left to TILE nearly so in V. A pass costs six
products of the size N x V x H (two forward, four backward) where whole tables cost four.

Products run in the autocast dtype, or in that of the student's hidden states; the maths of a tile and the
head's gradient are in float32 (float64 for float64). With bfloat16 a tile of logits is rounded to it, as
autocast rounds a model's own logits, and so is each tile's part of the head's gradient before it is added.
Shape legend: N tokens, n of them in a tile, V vocabulary, H width (the teacher's may differ), K teacher
tokens kept.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from nbkit.dpd import tiles
from nbkit.dpd.tiles import Divergence

TILE = 2**24  # logits of one tile: 512 tokens at V=32,768, 100 at V=166,144; 64 MiB in float32
TRL_KINDS = ("forward", "reverse", "jsd")  # the divergences of TRL's kernels
WEIGHT_ROWS = 8192  # rows of the head's gradient per bfloat16 product


class _Head:
    """Logits of one head, `chunk` tokens at a time, in one buffer used again. The head is cast once."""

    def __init__(self, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, dtype: torch.dtype, chunk: int):
        self.hidden_NH, self.weight_VH = hidden_NH, weight_VH.to(dtype)
        self.buffer = self.weight_VH.new_empty(min(chunk, len(hidden_NH)), len(weight_VH))

    def logits(self, rows: slice) -> torch.Tensor:
        hidden = self.hidden_NH[rows].to(self.weight_VH.dtype)
        return torch.mm(hidden, self.weight_VH.T, out=self.buffer[: len(hidden)])

    def add_gradients(self, grad_nV, rows: slice, grad_hidden_NH, grad_weight_VH) -> None:
        # dL/d(hidden) = dL/dz W: complete for these tokens, so it is written, not added.
        if grad_hidden_NH is not None:
            grad_hidden_NH[rows] = grad_nV @ self.weight_VH
        if grad_weight_VH is None:
            return
        hidden = self.hidden_NH[rows].to(self.weight_VH.dtype)
        # dL/dW = (dL/dz)^T h, summed over tiles. In one dtype the product is added in place.
        if grad_nV.dtype == grad_weight_VH.dtype:
            grad_weight_VH.addmm_(grad_nV.T, hidden)
            return
        # Mixed dtypes: some rows at a time, or the bfloat16 product would be a second whole head.
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
        # `teacher` is (hidden states, head) or None; a cached teacher comes in `per_token` instead.
        student, dense = _Head(hidden_NH, weight_VH, dtype, chunk), teacher and _Head(*teacher, dtype, chunk)
        parts = []
        # Each tile of logits is used up before the next overwrites its buffer; only (n,) numbers are kept.
        for rows in _chunks(len(hidden_NH), chunk):
            logits = [student.logits(rows), *([dense.logits(rows)] if dense else [])]
            tile = (*logits, *(x[rows] for x in per_token))
            parts.append(tiles.run(tiles.dense if dense else tiles.buckets, tile, divergence, compiled))
        # What backward needs beside the inputs: normalisers and sums per token, O(N) in all.
        logp, out, *stats = (torch.cat(column) for column in zip(*parts, strict=True))
        ctx.save_for_backward(hidden_NH, weight_VH, *per_token, *stats)
        ctx.teacher, ctx.how = teacher, how
        return logp, out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logp, grad_out):
        # The same heads and tiles as in forward: logits are made again instead of stored.
        hidden_NH, weight_VH, *saved = ctx.saved_tensors
        divergence, chunk, compiled, dtype = ctx.how
        student = _Head(hidden_NH, weight_VH, dtype, chunk)
        dense = ctx.teacher and _Head(*ctx.teacher, dtype, chunk)
        gradient = tiles.dense_gradient if dense else tiles.buckets_gradient
        # Sums over many tiles lose too much in bfloat16: gradients are added up at full width.
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        grad_hidden, grad_weight = (
            torch.zeros_like(x, dtype=wide) if wanted else None
            for x, wanted in zip((hidden_NH, weight_VH), ctx.needs_input_grad, strict=False)
        )
        # `gradient` overwrites the student's tile by dL/dz, which then goes to hidden states and head.
        for rows in _chunks(len(hidden_NH), chunk):
            logits = [student.logits(rows), *([dense.logits(rows)] if dense else [])]
            tile = (*logits, *(x[rows] for x in (*saved, grad_logp, grad_out)))
            tiles.run(gradient, tile, divergence, compiled)
            student.add_gradients(logits[0], rows, grad_hidden, grad_weight)
        grads = ((grad_hidden, hidden_NH), (grad_weight, weight_VH))
        # None for what has no gradient: per-token inputs, the teacher, the settings.
        return *(None if g is None else g.to(x.dtype) for g, x in grads), None, None, None


def _joint(hidden_NH, weight_VH, per_token, teacher, divergence, chunk, compiled):
    device = hidden_NH.device.type
    # Under autocast a model's own head would run in the autocast dtype; so does this product.
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else hidden_NH.dtype
    # A tile holds a fixed number of logits: the larger the vocabulary, the fewer its tokens.
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
    which choose their own tiles, for the divergences that they know."""
    if hidden_NH.is_cuda and divergence.kind in TRL_KINDS:
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
    one between distributions over K + 1 outcomes, never above the exact one (nbkit.dpd.teacher_cache)."""
    logp_N, log_s = _joint(hidden_NH, weight_VH, (targets_N, ids_NK), None, divergence, chunk, compiled)
    return logp_N, divergence.summands(log_s, log_t.to(log_s.dtype)).sum(-1)


def by_trl_kernels(hidden_NH, weight_VH, targets_N, teacher_hidden_NH, teacher_weight_VH, divergence):
    """The same two numbers per token from TRL's two kernels: Triton on a GPU, float32 tiles elsewhere."""
    # TRL mixes from forward (0) to reverse (1); the ends are the two KLs, between them the JSD.
    share = {"forward": 0.0, "reverse": 1.0, "jsd": divergence.mixing}[divergence.kind]
    # Temperature 1 here whatever the divergence's: DPO's term is about the policy itself.
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
