"""What cannot fit, and the smallest change that does: parameters are changed in all combinations, fewest
first, and those that leave the result as it is before those that do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from nbkit.cli.estimate.cost import Cost, cost
from nbkit.cli.estimate.hardware import Device, gib
from nbkit.cli.estimate.work import Work

Change = tuple[str, Callable[[Work], Work]]  # what to write, and the work with it
RECOMPUTED = ("none", "layers", "offload")  # activation_checkpointing, each saving more
NODE = 8  # GPUs of a usual node


@dataclass(frozen=True)
class Stage:
    """What a change may touch. `parameters`: those of the stage. `longest`: tokens of its longest sequence,
    which a pass cannot undercut; `row`: tokens of a row of `micro_batch` (both 02's; 0 elsewhere)."""

    name: str
    parameters: Collection[str]
    bf16: bool = True
    longest: int = 0
    row: int = 0


def refusals(stage: Stage, costs: list[Cost], device: Device) -> list[str]:
    """A line for the pieces of a stage that do not fit their device: what they need, the largest part, and
    the smallest change. Pieces that need the same share a line."""
    names: dict[tuple[str, str], list[str]] = {}
    for found in costs:
        if found.fits or found.unknown:
            continue
        part = max(found.parts, key=lambda name: found.parts[name])
        needs = f"{gib(found.peak)} of {gib(found.usable)} on {device.name} ({part} {gib(found.parts[part])})"
        names.setdefault((needs, smallest(stage, found.work, device)), []).append(found.work.name)
    return [f"{stage.name}: {', '.join(own)}: {needs}; {change}" for (needs, change), own in names.items()]


def smallest(stage: Stage, work: Work, device: Device) -> str:
    """The fewest changes with which `work` fits, in words; else what would have to be given up."""
    harmless = list(_harmless(stage, work))
    for count in range(1, len(harmless) + 1):
        for chosen in combinations(harmless, count):
            if cost(_changed(work, chosen), device, stage.bf16).fits:
                return f"smallest change: {_said(chosen)}"
    # Only a shorter sequence helps now, with all of the above; it changes what is learned.
    eased = _changed(work, harmless)
    packed = work.kind == "train" and not work.name.endswith("GRPO")
    name = "decay_seq_len" if stage.longest else "max_length" if packed else "max_new_tokens"
    if name in stage.parameters or stage.longest:
        whole = stage.longest or work.seq_len
        for parts in (2, 4, 8):
            shorter = replace(eased, row=min(eased.row, whole) // parts, seq_len=eased.seq_len // parts)
            if cost(shorter, device, stage.bf16).fits:
                asked = _said([*harmless, (f"-p {name}={whole // parts}", _changed)])
                return f"smallest change: {asked} (shorter sequences: another result)"
    return "no parameter of this stage makes it fit: a smaller model, a larger GPU, or leave it out"


def _said(chosen: Sequence[Change]) -> str:
    return " ".join(text for text, _ in chosen)


def _changed(work: Work, chosen: Sequence[Change]) -> Work:
    for _, change in chosen:
        work = change(work)
    return work


def _harmless(stage: Stage, work: Work) -> Iterator[Change]:
    """Changes that leave the result as it is, the cheapest in time first; only parameters of the stage."""
    if work.kind != "train":
        return
    if not work.chunked and "chunked_loss" in stage.parameters:
        yield "-p chunked_loss=true", lambda w: replace(w, chunked=True)
    if "activation_checkpointing" in stage.parameters:
        for choice in RECOMPUTED[RECOMPUTED.index(work.checkpointing) + 1 :]:
            text = f"-p activation_checkpointing={choice}"
            yield text, lambda w, choice=choice: replace(w, checkpointing=choice)
    # Passes of fewer rows, accumulated: the shortest holds one longest sequence.
    if stage.longest and work.row > stage.longest and "micro_batch" in stage.parameters:
        rows = stage.longest // stage.row
        yield f"-p micro_batch={rows}", lambda w: replace(w, row=stage.longest)
    if "completions_per_pass" in stage.parameters and work.row > work.seq_len and work.spread:
        yield "-p completions_per_pass=1", lambda w: replace(w, row=w.seq_len)
    if work.spread and (work.sharding == "ddp" or work.devices < NODE):
        text = "" if work.devices >= NODE else f"-p launcher=torchrun -p processes={NODE} "
        split = {"sharding": "fsdp2", "devices": max(NODE, work.devices)}
        yield f"{text}-p sharding=fsdp2", lambda w: replace(w, **split)


def too_many_devices(batch: int, rows_per_sequence: int, devices: int, seq_len: int) -> str:
    """Why a step cannot be split over so many devices, and what helps; "" where it can. A step is `batch`
    rows of `seq_len` tokens, and a sequence of `rows_per_sequence` rows stays on one device."""
    sequences = batch // rows_per_sequence
    if devices <= sequences and sequences % devices == 0:
        return ""
    if devices > sequences:
        wanted = devices * rows_per_sequence
        return (
            f"batch: {batch} rows are {sequences} of the longest sequences, which {devices} devices cannot "
            f"share; smallest change: -p batch={wanted} -p step_tokens={wanted * seq_len} (larger steps: "
            f"another result), or --gpus {sequences}"
        )
    fewer = max(n for n in range(1, devices + 1) if sequences % n == 0)
    return (
        f"batch: {sequences} of the longest sequences do not split evenly over {devices} devices; "
        f"smallest change: --gpus {fewer}"
    )
