"""The sbatch files of a run: one per stage, and `submit.sh`, which chains them. Plain files, made to be read.

A stage's job runs `nbkit run --only NN` on the first node of its allocation: papermill there, and training on
all nodes by srun and torchrun (nbkit.models.distributed.launch). A job that is requeued, submitted again or
out of time goes on from what its stage has finished: steps of the notebook, checkpoints of 02.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbkit.run import files

FOLDER = "slurm"  # of a profile's outputs
SUBMIT = "submit.sh"
REPORT = "report"  # the last job
RESTARTS = 20  # requeues of one job that ran out of time, at most
NOTICE_S = 120  # before its time is up, a job is told


@dataclass(frozen=True)
class Ask:
    """What a stage's job asks Slurm for. `nodes`, `gpus` (per node) and `cpus` (per node; 0: the partition's
    default). `options`: further lines of #SBATCH, such as {"account": "x"}."""

    nodes: int = 1
    gpus: int = 0
    cpus: int = 0
    partition: str = ""
    time: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageJob:
    """A stage, what it asks for, and the parameters that differ from the profile's (name -> text of -p)."""

    stage: str
    ask: Ask
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """The jobs of a run in order. `seeds`: one array task each, in an outputs root of its own; () for one run
    with the profile's seed."""

    profile: str
    jobs: Sequence[StageJob]
    seeds: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        return folder_of(self.profile)


def folder_of(profile: str) -> Path:
    """Where the scripts and logs of a profile lie."""
    return files.outputs_root() / profile / FOLDER


def write(chain: Chain) -> list[Path]:
    """Write the scripts; returns their paths, `submit.sh` last. Raises OSError, with what to do, for a folder
    that cannot be written: on a cluster it must be shared by all nodes."""
    with files.explained(chain.folder):
        chain.folder.mkdir(parents=True, exist_ok=True)
        # Scripts of an earlier submission that this one does not have would be taken for part of it.
        for old in (*chain.folder.glob("*.sbatch"), chain.folder / SUBMIT):
            old.unlink(missing_ok=True)
        texts = {f"{job.stage}.sbatch": stage_script(chain, job) for job in chain.jobs}
        if not chain.seeds:
            texts[f"{REPORT}.sbatch"] = report_script(chain)
        texts[SUBMIT] = submit_script(chain, list(texts))
        for name, text in texts.items():
            files.replace_text(chain.folder / name, text)
    return [chain.folder / name for name in texts]


def stage_script(chain: Chain, job: StageJob) -> str:
    """The sbatch file of one stage."""
    command = ["run", "--profile", chain.profile, "--only", job.stage.partition("_")[0]]
    for name, value in job.overrides.items():
        command += ["-p", f"{name}={value}"]
    return _script(chain, job.stage, job.ask, command)


def report_script(chain: Chain) -> str:
    """The last job: the page over all stages."""
    ask = Ask(partition=chain.jobs[-1].ask.partition, options=chain.jobs[-1].ask.options)
    return _script(chain, REPORT, ask, ["report", "--profile", chain.profile])


def _script(chain: Chain, name: str, ask: Ask, command: Sequence[str]) -> str:
    directives = "\n".join(f"#SBATCH --{line}" for line in _directives(chain, name, ask))
    outputs, seed = shlex.quote(str(files.outputs_root())), ""
    if chain.seeds:
        # As `nbkit claims --fresh-data` keeps its seeds, so that it can read them.
        outputs = (
            shlex.quote(str(files.outputs_root() / chain.profile / "fresh")) + '/seed-"$SLURM_ARRAY_TASK_ID"'
        )
        seed = ' -p seed="$SLURM_ARRAY_TASK_ID"'
    home = Path(__file__).resolve().parents[3]
    said = shlex.join([sys.executable, "-m", "nbkit", *command])
    return f"""#!/bin/bash
{directives}
# {name} of the profile {chain.profile}. Written by `nbkit submit`; copy and change it as you like.
set -euo pipefail
cd {shlex.quote(str(files.project_root()))}
export NBKIT_ROOT={shlex.quote(str(files.project_root()))}
export NBKIT_OUTPUTS={outputs}
export PYTHONPATH={shlex.quote(os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")])))}
export PYTHONUNBUFFERED=1

# {NOTICE_S} s before its time is up the stage stops and is queued again; it goes on from its last checkpoint.
again() {{
  kill -TERM "$work"; wait "$work" || true
  [ "${{SLURM_RESTART_COUNT:-0}}" -lt {RESTARTS} ] && scontrol requeue "$SLURM_JOB_ID"
  exit 1
}}
trap again USR1

echo "$(date -Is) job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, start ${{SLURM_RESTART_COUNT:-0}}"
{said}{seed} &
work=$!
wait "$work"
"""


def _directives(chain: Chain, name: str, ask: Ask) -> Iterator[str]:
    """The lines after #SBATCH."""
    yield f"job-name=nbkit-{chain.profile}-{name}"
    if ask.partition:
        yield f"partition={ask.partition}"
    yield f"nodes={ask.nodes}"
    yield "ntasks-per-node=1"  # torchrun starts the processes of a node
    if ask.gpus:
        yield f"gres=gpu:{ask.gpus}"
    if ask.cpus:
        yield f"cpus-per-task={ask.cpus}"
    if ask.time:
        yield f"time={ask.time}"
    if chain.seeds:
        yield f"array={','.join(map(str, chain.seeds))}"
    yield "requeue"  # a node that fails: Slurm starts the job again elsewhere
    yield "open-mode=append"
    yield f"signal=B:USR1@{NOTICE_S}"
    log = f"{name}-%a.log" if chain.seeds else f"{name}.log"
    yield f"output={chain.folder / log}"
    for key, value in ask.options.items():
        yield f"{key}={value}" if value else key


def submit_script(chain: Chain, names: Sequence[str]) -> str:
    """`submit.sh`: each job after the one before has succeeded; where that failed, the rest leaves the queue.
    It prints a line `stage job-id` for each. A seed waits for its own seed only."""
    kind = "aftercorr" if chain.seeds else "afterok"
    lines = ["#!/bin/bash", "# Written by `nbkit submit`, which runs it. By hand: bash submit.sh"]
    lines += ["set -euo pipefail", 'cd "$(dirname "$0")"']
    for i, name in enumerate(n for n in names if n.endswith(".sbatch")):
        after = f'--dependency={kind}:"$job" --kill-on-invalid-dep=yes ' if i else ""
        # "124;cluster" where there are several clusters
        lines.append(f"job=$(sbatch --parsable {after}{name}); job=${{job%%;*}}; echo {name[:-7]} $job")
    return "\n".join(lines) + "\n"
