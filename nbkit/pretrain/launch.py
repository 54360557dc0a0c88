"""The arms of 02, trained side by side on a CPU or one after the other on all devices.

trained = train_all(stage, [Job("student_fg", ...), Job("student_vanilla", ...)], launcher="inline")
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import copytree

import torch

from nbkit.models.distributed.launch import run
from nbkit.models.side_by_side import together, workshop
from nbkit.pretrain.job import Job
from nbkit.run import files
from nbkit.run.stage import Run

MODULE = "nbkit.pretrain.job"


def train_all(stage: Run, jobs: Sequence[Job], **how) -> dict[str, Path]:
    """Name -> folder of the trained model, with its validation losses. On a CPU they train side by side, one
    thread each, else one after the other. `how`: launcher, processes and nodes, as `run` takes them.
    Killed runs go on from their newest valid checkpoint, finished models are kept. Raises as `run` and
    `together` do."""
    workshop(stage)
    beside = how.get("launcher", "inline") == "inline" and not torch.cuda.is_available()
    places = {job.name: (Path(job.out), asdict(job)) for job in sorted(jobs, key=_work, reverse=True)}

    def build(name: str, out: Path) -> None:
        # The first that is missing starts all; finished ones are not trained again.
        if beside:
            together(MODULE, dict(places.values()))
        place, job = places[name]
        result = run(MODULE, job, place, **how)
        copytree(place / "model", out, dirs_exist_ok=True)
        files.write_json(out / "validation.json", result["validation"])
        speed = {"s": result["seconds"], "tokens_per_s": result["tokens_per_s"], "mfu": result["mfu"]}
        stage.timing(**{f"{name}_{key}": value for key, value in speed.items()})
        if at := result["resumed_at"]:
            print(f"{name}: went on from step {at}; skipped: {result['skipped'] or 'nothing'}")
        print(f"{name}: final loss {result['history'][-1]['loss']:.2g}")

    return {
        name: stage.once(name, partial(build, name), job={k: v for k, v in job.items() if k != "out"})
        for name, (_, job) in places.items()
    }


def _work(job: Job) -> float:
    """About how long a job takes: the longest starts first, so that none is left alone at the end."""
    size = job.model or {"hidden": 1, "layers": 1}
    tokens = sum(sum(stage["tokens"].values()) for stage in job.plan)
    return size["hidden"] ** 2 * size["layers"] * tokens
