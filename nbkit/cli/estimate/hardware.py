"""What the estimate knows of machines: a table of GPUs, and the CPU on which the kit was measured.

device("h100").flops        # 989e12 multiply-adds times two, per second, dense bf16
"""

from __future__ import annotations

from dataclasses import dataclass

from nbkit.run.params import nearest

GIB = 2**30
# Share of a card's memory that a run may plan with: CUDA's context, NCCL's buffers and gaps between blocks
# take the rest (our choice).
USABLE = 0.92
# Share of the peak that training reaches: 0.29 in SmolLM3 on 384 H100, 0.43 in OLMo 3 (docs/scale.md).
MFU = 0.30
# Share of the memory bandwidth that decoding reaches (our choice; Pope et al., arXiv 2211.05102, reach more).
DECODING = 0.5


# Rates (nbkit.cli.calibrate) of the machine on which the CPU's times were fitted (estimate/cost.py): two
# cores of an AMD EPYC, bf16. Another machine is estimated by how much slower it is than this one.
FITTED_ON = {"python": 8.15e6, "matmul": 448e9, "train": 16_900.0}


@dataclass(frozen=True)
class Device:
    """One GPU, or the CPU of a machine. `memory`: bytes. `flops`: peak of dense bf16 products, FLOP/s.
    `bandwidth`: of its memory, bytes/s. `price`: USD per hour, 0 where it costs nothing. `mfu`: share of the
    peak that training reaches."""

    name: str
    memory: float
    flops: float
    bandwidth: float
    price: float
    mfu: float = MFU

    @property
    def gpu(self) -> bool:
        return self.name != "cpu"

    @property
    def usable(self) -> float:
        return self.memory * USABLE


# Memory, dense bf16 peak and bandwidth: NVIDIA's data sheets (SXM cards). Prices: round figures of 2025's
# rental market, our assumption; --price sets another.
GPUS = {
    "a100": Device("a100", 80e9, 312e12, 2.04e12, 1.8),
    "b200": Device("b200", 180e9, 2250e12, 8.0e12, 5.0),
    "h100": Device("h100", 80e9, 989e12, 3.35e12, 2.5),
    "h200": Device("h200", 141e9, 989e12, 4.8e12, 3.5),
    "l40s": Device("l40s", 48e9, 362e12, 0.864e12, 1.0),
    "rtx4090": Device("rtx4090", 24e9, 165e12, 1.008e12, 0.5),
}


def device(name: str) -> Device:
    """The GPU of that name. Raises ValueError listing those there are."""
    if name not in GPUS:
        raise ValueError(f"--gpu {name}: unknown{nearest(name, list(GPUS))}; known: {', '.join(GPUS)}")
    return GPUS[name]


def gib(count: float) -> str:
    """Bytes as GiB with one digit, as TiB from 1,024 on."""
    return f"{count / GIB:,.1f} GiB" if count < 1024 * GIB else f"{count / GIB / 1024:,.1f} TiB"
