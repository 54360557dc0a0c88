"""The estimate of a profile as text: a line per piece of work, the sums, and what is refused.

text, refused = estimate("full", gpus=64, gpu="h100")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from nbkit.cli import calibrate, planning
from nbkit.cli.calibrate import Rates
from nbkit.cli.estimate import changes, stages
from nbkit.cli.estimate.cost import Cost, of_stage, peak_of, seconds_of
from nbkit.cli.estimate.hardware import FITTED_ON, GIB, Device, device, gib
from nbkit.run import params, provenance

SMALL = 20_000_000  # parameters of a student that is taken to train on the CPU, unless --gpu is given
ROW = "  {:<22}{:>8}{:>7}{:>7}{:>9}{:>13}{:>13}{:>8}  {}"


@dataclass(frozen=True)
class Options:
    """`stages`: whose estimate is wanted; (): of all. `gpus`: of all nodes together, in place of processes *
    nodes; 0: as the parameters say. `gpu`: a name
    of hardware.GPUS, "" to choose by the student's size. `price`: USD per GPU and hour, `mfu`: share of the
    peak; 0: the table's. `overrides`: parameters, as of `nbkit run -p`."""

    gpus: int = 0
    gpu: str = ""
    price: float = 0.0
    mfu: float = 0.0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.gpus < 0 or self.price < 0 or not 0 <= self.mfu <= 1:
            raise ValueError(
                f"--gpus {self.gpus} --price {self.price:g} --mfu {self.mfu:g}: wanted one GPU or more, a "
                "price in USD per hour, and a share of the peak between 0 and 1"
            )


@dataclass(frozen=True)
class Estimate:
    """Stage -> its costs on `device`, and the lines of what is refused."""

    device: Device
    costs: dict[str, list[Cost]]
    refused: list[str]
    here: Rates | None = None  # of this CPU, where they were measured

    def seconds(self, stage: str) -> float:
        """Wall time of a stage; on a CPU as fast as this one is."""
        return seconds_of(self.costs[stage], self.device) * self.slower(stage)

    def slower(self, stage: str) -> float:
        """How many times longer a stage takes here than on the machine of the fit."""
        scaled = self.here is not None and not self.device.gpu
        return calibrate.slowdown(stage, self.here, FITTED_ON) if scaled else 1.0

    def peak(self, stage: str) -> float:
        return peak_of(self.costs[stage], self.device, provenance.cores())


def estimate(profile: str, options: Options | None = None) -> Estimate:
    """What every stage of `profile` takes. Raises ValueError as `nbkit run` does for wrong parameters."""
    options = options or Options()
    schemas = params.schemas()
    configs = _configs(profile, options, schemas)
    pieces = stages.of_profile(configs)
    where = _device(pieces, options)
    # 02 says how many devices it wants; --gpus stands in its place wherever work may be spread.
    mix, pre = configs["01_data_mix"], configs["02_pretrain"]
    chosen, refused, costs = options.stages or tuple(pieces), [], {}
    rows = mix.decay_seq_len // mix.seq_len
    if "02_pretrain" in chosen and (
        said := changes.too_many_devices(pre.batch, rows, pre.processes * pre.nodes, mix.seq_len)
    ):
        refused.append(f"02_pretrain: {said}")
    for stage, own in pieces.items():
        if stage not in chosen:
            continue
        bf16 = getattr(configs[stage], "precision", "auto") != "fp32"
        costs[stage] = of_stage(own, where, bf16)
        lengths = (mix.decay_seq_len, mix.seq_len) if stage == "02_pretrain" else (0, 0)
        about = changes.Stage(stage, tuple(schemas[stage].model_fields), bf16, *lengths)
        refused += changes.refusals(about, costs[stage], where)
    return Estimate(where, costs, refused, None if where.gpu else calibrate.here(measure=False))


def wants_gpus(profile: str) -> bool:
    """Is a profile's student too large to train on a CPU? (False for a project without our stages.)"""
    if not {"01_data_mix", "02_pretrain"} <= set(params.schemas()):
        return False
    pieces = stages.of_profile(_configs(profile, Options(), params.schemas()))
    return pieces["02_pretrain"][0].shape.parameters >= SMALL


def _configs(profile: str, options: Options, schemas: Mapping) -> dict[str, Any]:
    """Stage -> its parameters, --gpus in place of processes and nodes."""
    # The other stages, with the profile's own parameters, say how large the models are.
    chosen = options.stages or tuple(schemas)
    others = planning.plan([s for s in schemas if s not in chosen], profile, {})
    given = others | planning.plan(chosen, profile, dict(options.overrides))
    planned = {stage: given[stage] for stage in schemas}
    configs = {}
    for stage, values in planned.items():
        if options.gpus and "processes" in values and stage in chosen and values.get("engine") != "loop":
            node = 8 if options.gpus % 8 == 0 else 1
            launcher = "inline" if options.gpus == 1 else "srun"
            values = values | {"processes": node, "nodes": options.gpus // node, "launcher": launcher}
            values["sharding"] = "ddp" if options.gpus == 1 else values["sharding"]
            # A pass of an accumulation stays as it is where it still divides a step.
            micro = values.get("micro_batch", 0)
            if micro and values["batch"] % (micro * options.gpus):
                values["micro_batch"] = 0
        configs[stage] = params.coerce(schemas[stage], values, stage)
    return configs


def _device(pieces: Mapping, options: Options) -> Device:
    student = pieces["02_pretrain"][0].shape
    if not options.gpu and not options.gpus and student.parameters < SMALL:
        memory = float(psutil.virtual_memory().total)
        return Device("cpu", memory, 0.0, 0.0, 0.0, mfu=0.0)
    found = device(options.gpu or "h100")
    return replace(found, price=options.price or found.price, mfu=options.mfu or found.mfu)


def table(profile: str, found: Estimate) -> str:
    """A line per piece of work, a sum per stage, the largest peak taken apart, and the total."""
    where = found.device
    lines = [f"estimate of {profile} on {_machine(found)}"]
    lines += [ROW.format("work", "params", "tokens", "steps", "FLOPs", "peak", "time", "disk", "limited by")]
    total_s = dollars = disk = 0.0
    for stage, costs in found.costs.items():
        seconds, own = found.seconds(stage), sum(each.work.disk for each in costs)
        paid = sum(each.seconds * each.devices for each in costs) / 3600 * where.price
        lines.append(f"{stage}: {_sum(seconds, paid, own, where)}, peak {gib(found.peak(stage))}")
        lines += [_line(each, found.slower(stage)) for each in costs]
        total_s, dollars, disk = total_s + seconds, dollars + paid, disk + own
    # Generation takes what memory there is for its cache: the largest peak is that of a training.
    pieces = [c for costs in found.costs.values() for c in costs]
    largest = max(pieces, key=lambda c: (c.work.kind == "train" or not c.fits, c.peak))
    parts = " + ".join(f"{name} {size / GIB:,.2f}" for name, size in largest.parts.items())
    lines.append(f"largest peak: {largest.work.name}, in GiB: {parts} = {largest.peak / GIB:,.2f}")
    lines.append(f"in all: {_sum(total_s, dollars, disk, where)} besides the corpus")
    return "\n".join(lines)


def _machine(found: Estimate) -> str:
    where = found.device
    memory = f"{where.name}, {gib(where.usable)} usable of {gib(where.memory)}"
    if not where.gpu:
        rates = "scaled from the reference run's" if found.here else "at the rates of the reference run's"
        return f"{memory}, {rates} two cores (here {provenance.cores()})"
    rate = f"{where.flops / 1e12:,.0f} TFLOP/s at {where.mfu:.0%} (MFU)"
    return f"{memory}, {rate}, {where.price:g} USD/h"


def _sum(seconds: float, dollars: float, disk: float, where: Device) -> str:
    money = f", {dollars:,.0f} USD" if where.gpu else ""
    return f"{span(seconds)}{money}, {short(disk)}B on disk"


def _line(found: Cost, slower: float) -> str:
    work = found.work
    if found.unknown:
        return f"  {work.name:<22}not counted: the size of its model is not known here"
    limit = f"{found.limit}, {found.devices} device{'s' if found.devices > 1 else ''}"
    return ROW.format(
        work.name,
        short(work.shape.parameters) if work.shape else "-",
        short(work.tokens),
        short(work.steps) if work.steps else "-",
        f"{work.flops:.1e}" if work.flops else "-",
        gib(found.peak) if found.parts else "-",
        span(found.seconds * slower),
        short(work.disk) + "B" if work.disk else "-",
        limit + ("" if found.fits else "  DOES NOT FIT"),
    )


def span(seconds: float) -> str:
    """A time with its unit.

    >>> span(44), span(367), span(90_000), span(40e6)
    ('44 s', '6.1 min', '25.0 h', '11,111 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def short(count: float) -> str:
    """23e12 -> "23T"; three significant digits.

    >>> short(3_934_000_000), short(504_672), short(12)
    ('3.93G', '505k', '12')
    """
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"
