"""How fast training is against what the machine can do: model FLOPs utilisation. Used by 02 and
benchmarks/speed.py."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import torch

from nbkit.pretrain.plan import Stage, total_tokens
from nbkit.run import progress
from nbkit.run.precision import dtype

_fastest: dict[tuple[str, torch.dtype], float] = {}  # FLOP/s by device and dtype


def flops_per_token(model, seq_len: int) -> float:
    """Training FLOPs of one token: 6 per weight of a matrix product and 12 * layers * width * seq_len for
    attention (PaLM, arXiv 2204.02311, appendix B; causality is not deducted). An input embedding is a look-up
    and does not count, unless it is the output head too."""
    weights = sum(p.numel() for p in model.parameters())
    # A tied table is multiplied with as the output head, so it stays in the count.
    if not model.config.tie_word_embeddings:
        weights -= model.get_input_embeddings().weight.numel()
    width = model.config.num_attention_heads * (
        getattr(model.config, "head_dim", None)
        or model.config.hidden_size // model.config.num_attention_heads
    )
    return 6 * weights + 12 * model.config.num_hidden_layers * width * seq_len


@progress.doing("measuring the machine's matrix products")
def matmul_peak(device: str, kind: torch.dtype, seconds: float = 0.5) -> float:
    """Measured rate of large matrix products of dtype `kind` on one device, FLOP/s. The matrices are as large
    as a budget of about `seconds` allows: a slow machine must not wait for it. The fastest of ten products
    counts, and of all calls in this process: another program can only slow them down."""
    size, largest = 256, 8192 if device == "cuda" else 2048
    _product_seconds(size, device, kind)  # the first call also chooses and loads the kernel
    took = _product_seconds(size, device, kind)
    while size < largest and 8 * took < seconds / 12:  # twice the size is eight times the work
        size *= 2
        took = _product_seconds(size, device, kind)
    rate = 2 * size**3 / min(_product_seconds(size, device, kind) for _ in range(10))
    _fastest[device, kind] = max(rate, _fastest.get((device, kind), 0.0))
    return _fastest[device, kind]


def _product_seconds(size: int, device: str, kind: torch.dtype) -> float:
    """Seconds of one product of two square matrices."""
    a_NN = torch.randn(size, size, device=device).to(kind)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    a_NN @ a_NN
    wait()
    return time.perf_counter() - start


def mfu(model, plan: Sequence[Stage], tokens_per_s: float) -> float:
    """Share of the measured matmul peak that training used on a device, at the plan's mean FLOPs. The peak is
    that of the dtype which training uses (`precision.dtype`)."""
    # Attention costs more in longer sequences: stages are weighted by their tokens.
    flops = sum(stage.total * flops_per_token(model, stage.seq_len) for stage in plan) / total_tokens(plan)
    return tokens_per_s * flops / matmul_peak("cuda" if torch.cuda.is_available() else "cpu", dtype())


@contextlib.contextmanager
def static_shapes() -> Iterator[None]:
    """torch.compile makes one graph per sequence length instead of a slower one for any length."""
    import torch._dynamo  # noqa: PLC0415 (slow, needed by a training only)

    with torch._dynamo.config.patch(automatic_dynamic_shapes=False):
        yield
