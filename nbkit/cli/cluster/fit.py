"""Does what `nbkit submit` is to queue fit? The question of `nbkit plan`, with the jobs' own devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbkit.cli.estimate import report
from nbkit.run import params


def refusals(profile: str, stages: Sequence[str], overrides: Mapping[str, Any], gpu: str = "") -> list[str]:
    """The lines of `nbkit plan` for what cannot fit among `stages`; `gpu`: a name of hardware.GPUS, "" for an
    H100. [] for a profile that trains on a CPU: the memory of the machine that submits is not its nodes'."""
    if not gpu and not report.wants_gpus(profile):
        return []
    schemas = params.schemas()
    # Parameters of stages that are up to date, and so not submitted, are not checked again.
    own = {
        name: value
        for name, value in overrides.items()
        if any(name in schemas[stage].model_fields for stage in stages)
    }
    return report.estimate(profile, report.Options(gpu=gpu, overrides=own, stages=tuple(stages))).refused
