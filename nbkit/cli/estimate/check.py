"""The estimate against what was measured: the committed times, and a run of this machine.

    python -m nbkit.cli.estimate.check small outputs/small > plan.json

`fitted`: the times to which the CPU's rates were fitted, so their error is that of the form alone. `run`: a
run folder of the named profile, whose times are predicted from this machine's three rates (measured once by
nbkit.cli.calibrate), and whose peaks are measured, too. Errors are relative to what was measured.
`published`: SmolLM3 as the estimate has it. `worked`: the report's student on 512 H100.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from nbkit.cli import calibrate
from nbkit.cli.estimate import report
from nbkit.cli.estimate.cost import cost
from nbkit.cli.estimate.hardware import FITTED_ON, GPUS
from nbkit.cli.estimate.shapes import KNOWN
from nbkit.cli.estimate.work import Work
from nbkit.run import files, params, provenance

DAY = 86_400


def fitted() -> list[dict[str, Any]]:
    """A row for each stage whose time the CPU's rates were fitted to."""
    times = files.read_json(files.of_project("outputs/reference/benchmarks/plan_times.json"))
    rows = []
    for profile in sorted(set(times) & set(params.profiles())):
        found = report.estimate(profile)
        for stage, measured in times[profile].items():
            planned = report.seconds_of(found.costs[stage], found.device)
            rows.append({"profile": profile, **compared(stage, "s", measured, planned)})
    return rows


def run(profile: str, folder: Path, rates: calibrate.Rates | None) -> list[dict[str, Any]]:
    """A row for each stage that finished in `folder`, a run of `profile` on a machine of these rates."""
    found, rows = report.estimate(profile), []
    for stage in found.costs:
        if not (folder / stage / "_SUCCESS").is_file():
            continue
        resources = files.read_json(folder / stage / "resources.json")
        cores = files.read_json(folder / stage / "manifest.json")["cores"]
        slower = calibrate.slowdown(stage, rates, FITTED_ON) if rates else 1.0
        planned = report.seconds_of(found.costs[stage], found.device) * slower
        peak = report.peak_of(found.costs[stage], found.device, cores)
        row = compared(stage, "s", resources["wall_s"], planned)
        rows.append(row | compared(stage, "bytes", resources["peak_bytes"], peak))
    return rows


def published() -> dict[str, Any]:
    """SmolLM3: 11.2T tokens at 4K context on 384 H100 at an MFU of 29.4% took 24 days (huggingface/
    smollm on GitHub, text/pretraining/README.md)."""
    shape, card = KNOWN["HuggingFaceTB/SmolLM3-3B-Base"], replace(GPUS["h100"], mfu=0.294)
    work = Work("SmolLM3", "train", shape, 11.2e12, 4096, 4096, devices=384, sharding="fsdp2")
    days = cost(work, card).seconds / DAY
    return {"measured_days": 24, "planned_days": round(days, 1), "error_days": round(days / 24 - 1, 3)}


def worked() -> dict[str, Any]:
    """The report's pre-training of its student, on 512 H100: steps of 8,192 rows, so that every device has
    one of the longest sequences."""
    changed = {"batch": 8192, "step_tokens": 8192 * 4096}
    options = report.Options(512, "h100", overrides=changed, stages=("01_data_mix", "02_pretrain"))
    found = report.estimate("full", options)
    (student,) = (c for c in found.costs["02_pretrain"] if c.work.name == "student_fg")
    hours = student.seconds / 3600
    return {
        "days": round(student.seconds / DAY, 1),
        "flops": student.work.flops,
        "usd": round(hours * student.devices * found.device.price),
        "peak_bytes": round(student.peak),
        "parts_bytes": {name: round(size) for name, size in student.parts.items()},
        "refused": found.refused,
    }


def compared(stage: str, unit: str, measured: float, planned: float) -> dict[str, Any]:
    own = {f"measured_{unit}": measured, f"planned_{unit}": round(planned, 1)}
    return {"stage": stage, **own, f"error_{unit}": round(planned / measured - 1, 3)}


def main(argv: Sequence[str]) -> int:
    if len(argv) not in (2, 3):
        raise SystemExit(__doc__)
    # The third argument: a .calibration.json in place of measuring this machine.
    rates = next(iter(files.read_json(Path(argv[2])).values())) if argv[2:] else calibrate.here()
    about = {"cpu": provenance.cpu(), "rates": rates}
    found = {"fitted": fitted(), "run": run(argv[0], Path(argv[1]), rates), "machine": about}
    found |= {"published": published(), "worked": worked()}
    for name, unit in (("fitted", "s"), ("run", "s"), ("run", "bytes")):
        errors = [abs(row[f"error_{unit}"]) for row in found[name]]
        if errors:
            found[f"{name}_median_error_{unit}"] = median(errors)
            found[f"{name}_within_20_{unit}"] = sum(error <= 0.2 for error in errors)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
