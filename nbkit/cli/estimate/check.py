"""The estimate against what was measured: the committed times, and a run of this machine.

    python -m nbkit.cli.estimate.check small outputs/small > plan.json

`fitted`: the times to which the CPU's rates were fitted, so their error is that of the form alone. `run`: a
run folder of the named profile, whose times are predicted from this machine's three rates (nbkit.cli.calibrate
measures them once), and whose peaks are measured, too. Errors are relative to what was measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nbkit.cli import calibrate
from nbkit.cli.estimate import report
from nbkit.run import files, params, provenance


def fitted() -> list[dict[str, Any]]:
    """A row for each stage of outputs/reference/timings.json."""
    times = files.read_json(files.of_project("outputs/reference/timings.json"))
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
    there = calibrate.reference_rates(files.read_json(files.of_project("outputs/reference/timings.json")))
    for stage in found.costs:
        if not (folder / stage / "_SUCCESS").is_file():
            continue
        resources = files.read_json(folder / stage / "resources.json")
        cores = files.read_json(folder / stage / "manifest.json")["cores"]
        slower = calibrate.slowdown(stage, rates, there) if rates and there else 1.0
        planned = report.seconds_of(found.costs[stage], found.device) * slower
        peak = report.peak_of(found.costs[stage], found.device, cores)
        row = compared(stage, "s", resources["wall_s"], planned)
        rows.append(row | compared(stage, "bytes", resources["peak_bytes"], peak))
    return rows


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
    for name, unit in (("fitted", "s"), ("run", "s"), ("run", "bytes")):
        errors = [abs(row[f"error_{unit}"]) for row in found[name]]
        if errors:
            found[f"{name}_median_error_{unit}"] = median(errors)
            found[f"{name}_within_20_{unit}"] = sum(error <= 0.2 for error in errors)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
