"""A piece of work on a device: seconds, peak memory, and what limits it.

On GPUs training is FLOPs over the share MFU of the peak, and decoding is the bytes that each step reads over
the share DECODING of the bandwidth (Pope et al., arXiv 2211.05102). On the CPU a few rates count, which were
fitted to the measured stages of `small` and `smoke` (outputs/reference/benchmarks/plan_times.json;
docs/scale.md has the errors).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nbkit.cli.estimate import memory
from nbkit.cli.estimate.hardware import DECODING, Device
from nbkit.cli.estimate.work import FILLED, Work

SEQUENCES = 256  # that an engine decodes at a time, at most (vLLM's default)
FILTERED_PER_CORE = 40_000.0  # raw tokens per second and core that 01 scores with its rules
CORES_PER_GPU = 16  # of the node, for 01


@dataclass(frozen=True)
class CPURates:
    """Rates of two cores that do nothing else. `stage_s`: imports, kernel and figures of a notebook.
    `train`: FLOP/s at 0.5M parameters; the rate grows with their square root, at most `gain` times.
    `token_s`, `weight_s`: seconds of a generated token, and for each parameter. `filter`: raw tokens/s.
    `notebook`, `beside`: bytes of the kernel with its libraries, and of a process trained beside it, which
    shares most of them (`small` on two cores, fp32)."""

    stage_s: float = 10.7
    train: float = 65.5e9
    gain: float = 6.0
    token_s: float = 1 / 6_366
    weight_s: float = 2.6e-11
    filter: float = 117_000.0
    notebook: float = 1.0e9
    beside: float = 0.3e9

    def training(self, parameters: int) -> float:
        return self.train * min(self.gain, math.sqrt(parameters / 5e5))


CPU = CPURates()


@dataclass(frozen=True)
class Cost:
    """`seconds`: wall time. `devices`: that work. `parts`: bytes of the peak on one of them, by name.
    `limit`: what the time goes into. `usable`: bytes that may be planned with."""

    work: Work
    seconds: float
    devices: int
    parts: dict[str, float]
    limit: str
    usable: float

    @property
    def peak(self) -> float:
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        return self.peak <= self.usable

    @property
    def unknown(self) -> bool:
        """Is the size of its model unknown (a hub id or an endpoint)? Then it is not counted."""
        return self.work.shape is None and self.work.kind != "filter"


def cost(work: Work, device: Device, bf16: bool = True) -> Cost:
    """What `work` takes on `device`."""
    if work.kind == "filter":
        return _filter(work, device)
    if work.shape is None:
        return Cost(work, 0.0, 1, {}, "not counted: size unknown", device.usable)
    if work.kind == "generate":
        return _generate(work, device)
    how = memory.How(work.row, work.devices, work.sharding, work.checkpointing, work.chunked, bf16)
    parts = memory.training(work.shape, how, device.gpu)
    if work.extra_bytes:
        parts["teacher"] = work.extra_bytes
    if not device.gpu:
        parts["libraries"] = CPU.beside if _beside(work) else CPU.notebook
        seconds = work.flops / CPU.training(work.shape.parameters)
        return Cost(work, seconds, work.devices, parts, "FLOPs", device.usable)
    # What is computed again under checkpointing is a third of the work, and no progress.
    again = 1 if work.checkpointing == "none" else 4 / 3
    seconds = work.flops * again / (work.devices * device.flops * device.mfu)
    return Cost(work, seconds, work.devices, parts, "FLOPs", device.usable)


def _filter(work: Work, device: Device) -> Cost:
    """01 runs on the processor's cores; its memory is that of the shards under way, not of the corpus."""
    rate = FILTERED_PER_CORE * CORES_PER_GPU * work.devices if device.gpu else CPU.filter
    return Cost(work, work.tokens / rate, work.devices, {}, "CPU cores", device.usable)


def _generate(work: Work, device: Device) -> Cost:
    """Decoding, each device its part: a step reads the weights, and the cache of every sequence under way."""
    shape = work.shape
    assert shape is not None
    value = 2 if device.gpu else 4
    weights, per_token = value * shape.parameters, shape.cache_bytes(value)
    # As many sequences as the memory holds at their full length, up to what engines take.
    room = (device.usable - weights) / (per_token * work.seq_len)
    sequences = max(1, min(SEQUENCES, int(room)))
    parts = {"weights": float(weights), "cache": float(per_token * work.seq_len * sequences)}
    if not device.gpu:
        parts["libraries"] = CPU.notebook
        seconds = work.tokens * (CPU.token_s + CPU.weight_s * shape.parameters)
        return Cost(work, seconds, 1, parts, "decoding", device.usable)
    # On average a sequence is half as long as it will be in the end.
    read = weights + sequences * per_token * work.seq_len * FILLED / 2
    step_s = read / (device.bandwidth * DECODING)
    compute_s = sequences * 2 * shape.parameters / (device.flops * device.mfu)
    limit = "bandwidth" if step_s > compute_s else "FLOPs"
    seconds = work.tokens / work.devices / sequences * max(step_s, compute_s)
    return Cost(work, seconds, work.devices, parts, limit, device.usable)


def _beside(work: Work) -> bool:
    """Is it trained beside the notebook, in a process of one thread (nbkit.models.side_by_side.SMALL)?"""
    return work.beside and work.shape is not None and 4 * work.shape.parameters < 100e6


def peak_of(costs: Sequence[Cost], device: Device, cores: int) -> float:
    """Bytes at the peak of a stage: of one GPU; on a CPU of all its processes, as many side by side as there
    are cores."""
    if device.gpu:
        return max((each.peak for each in costs), default=0.0)
    beside = sorted((each.peak for each in costs if _beside(each.work)), reverse=True)
    alone = max((each.peak for each in costs if not _beside(each.work)), default=0.0)
    return max(alone, CPU.notebook + sum(beside[:cores]))


def of_stage(pieces: Sequence[Work], device: Device, bf16: bool = True) -> list[Cost]:
    return [cost(piece, device, bf16) for piece in pieces]


def seconds_of(costs: Sequence[Cost], device: Device) -> float:
    """Wall time of a stage: its pieces one after the other; on the CPU also what every notebook takes."""
    return sum(each.seconds for each in costs) + (0 if device.gpu else CPU.stage_s)
