"""How fast training is against what the machine can do: model FLOPs utilisation. Used by 02 and
benchmarks/speed.py."""

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import cache

import torch

from nbkit.train.schedule import Stage, total_tokens


def flops_per_token(model, seq_len: int) -> float:
    """Training FLOPs of one token: 6 per weight of a matrix product and 12 * layers * width * seq_len for
    attention (PaLM, arXiv 2204.02311, appendix B; causality is not deducted). An input embedding is a look-up
    and does not count, unless it is the output head too."""
    weights = sum(p.numel() for p in model.parameters())
    if not model.config.tie_word_embeddings:
        weights -= model.get_input_embeddings().weight.numel()
    width = model.config.num_attention_heads * (
        getattr(model.config, "head_dim", None)
        or model.config.hidden_size // model.config.num_attention_heads
    )
    return 6 * weights + 12 * model.config.num_hidden_layers * width * seq_len


@cache
def matmul_peak(device: str) -> float:
    """Measured rate of large bf16 matrix products on one device, FLOP/s: median of ten after two warm-ups."""
    size = 8192 if device == "cuda" else 2048
    a_NN = torch.randn(size, size, device=device).to(torch.bfloat16)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for _ in range(12):
        wait()
        start = time.perf_counter()
        a_NN @ a_NN
        wait()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[2:])


def mfu(model, plan: Sequence[Stage], tokens_per_s: float) -> float:
    """Share of the measured matmul peak that training used on a device, at the plan's mean FLOPs. The peak is
    that of bf16, also where training runs in fp32."""
    flops = sum(stage.total * flops_per_token(model, stage.seq_len) for stage in plan) / total_tokens(plan)
    return tokens_per_s * flops / matmul_peak("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def static_shapes() -> Iterator[None]:
    """torch.compile makes one graph per sequence length instead of a slower one for any length."""
    import torch._dynamo

    with torch._dynamo.config.patch(automatic_dynamic_shapes=False):
        yield
