"""`nbkit submit`: the stages of a profile as a chain of Slurm jobs. See scripts.py for what is written."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbkit.cli import planning
from nbkit.cli.cluster import fit, queue, scripts
from nbkit.cli.estimate import report
from nbkit.run import files, params

ABOUT = "write one sbatch file per stage, chained, and submit them; what is up to date is left out"


def add(command: argparse.ArgumentParser) -> None:
    """The options of `nbkit submit`."""
    chosen = command.add_mutually_exclusive_group()
    chosen.add_argument("--from", dest="first", metavar="NN", help="first stage, such as 03")
    chosen.add_argument("--only", metavar="NN[,NN]", help="this stage alone, or these, such as 03,04")
    add_ask = command.add_argument
    add_ask("--partition", default="", help="of Slurm; the cluster's default if not given")
    add_ask("--nodes", type=int, default=0, help="of stages that train on several; default: the profile's")
    add_ask("--gpus-per-node", type=int, default=-1, metavar="N", help="default: processes of the profile")
    add_ask("--cpus-per-node", type=int, default=0, metavar="N", help="default: the partition's")
    add_ask("--time", default="", metavar="LIMIT", help="of each job, such as 24:00:00; then it is requeued")
    add_ask("--seeds", default="", metavar="1-5", help="a job array: each seed in an outputs root of its own")
    add_ask(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="a further #SBATCH --KEY=VALUE"
    )
    add_ask("--dry-run", action="store_true", help="write the files, submit nothing")
    add_ask("--gpu", default="", metavar="NAME", help="which the fit is checked for; default: h100")
    add_ask("--unchecked", action="store_true", help="submit also what cannot fit, or lacks its data")
    planning.add_overrides(command)
    command.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the chain and, unless it is a dry run, submit it."""
    chain = plan(arguments)
    if not chain.jobs:
        print("all stages are up to date; nothing to submit (`nbkit run --force` runs one again)")
        return 0
    _look_whether_it_fits(chain, arguments)
    _look_for_shards(chain, arguments)
    if not arguments.dry_run:
        _refuse_without_slurm(chain.profile)
    for path in scripts.write(chain):
        print(f"wrote {path}")
    if arguments.dry_run:
        print(f"dry run: submit it with `bash {chain.folder / scripts.SUBMIT}`")
        return 0
    jobs = _submitted(chain)
    for stage, job in jobs.items():
        print(f"{stage:<20} job {job}")
    print(f"look at it with `nbkit status --profile {chain.profile}` and `nbkit logs STAGE -f`")
    return 0


def plan(arguments: argparse.Namespace) -> scripts.Chain:
    """What is to be submitted, every parameter checked. Raises ValueError as `nbkit run` does before it
    starts."""
    profile, overrides = arguments.profile, planning.overrides(arguments.overrides)
    seeds = _seeds(arguments.seeds)
    chosen = planning.chosen(arguments.first, arguments.only)
    given = dict(zip(overrides, arguments.overrides, strict=True))
    jobs, planned = [], {}
    for stage in chosen:
        ask, own = _ask(stage, arguments)
        known = params.schemas()[stage].model_fields
        own = {**own, **{name: value for name, value in overrides.items() if name in known}}
        planned |= planning.plan([stage], profile, own)
        texts = {
            name: given[name].partition("=")[2] if name in given else value for name, value in own.items()
        }
        jobs.append(scripts.StageJob(stage, ask, texts))
    # A name that no chosen stage has is refused with the nearest known one.
    planning.plan(chosen, profile, overrides)
    if not seeds:
        if missing := planning.missing_upstream(profile, planned):
            raise ValueError(missing)
        own_values = {job.stage: {n: planned[job.stage][n] for n in job.overrides} for job in jobs}
        waiting = planning.waiting(profile, planned, own_values, force=False)
        jobs = [job for job in jobs if job.stage in waiting]
    elif arguments.first or arguments.only:
        raise ValueError("--seeds: every seed runs all stages; leave --from and --only out")
    return scripts.Chain(profile, jobs, seeds)


def _look_whether_it_fits(chain: scripts.Chain, arguments: argparse.Namespace) -> None:
    """What cannot fit is refused."""
    stages = [job.stage for job in chain.jobs]
    wanted = planning.overrides(arguments.overrides)
    for stage in stages:
        wanted = {**_ask(stage, arguments)[1], **wanted}
    if refused := fit.refusals(chain.profile, stages, wanted, arguments.gpu):
        _refuse("\n".join(["cannot run as planned", *refused]), arguments)


def _look_for_shards(chain: scripts.Chain, arguments: argparse.Namespace) -> None:
    """Shards for 02 that `nbkit filter` has not written yet are refused: hours later its job would say so."""
    for job in chain.jobs:
        values = params.load_profile(chain.profile, job.stage) | planning.overrides(arguments.overrides)
        lacking = [name for name in values.get("token_shards", []) if not Path(name).is_dir()]
        if job.stage == "02_pretrain" and lacking:
            _refuse(
                f"token_shards: {', '.join(lacking)} not there yet. Submit 01 (--only 01), let `nbkit filter "
                "--token-files` write the pools (docs/scale.md), then submit the rest (--from 02)",
                arguments,
            )


def _refuse(said: str, arguments: argparse.Namespace) -> None:
    """ValueError; a dry run, or --unchecked, says it on stderr and goes on."""
    if not (arguments.dry_run or arguments.unchecked):
        raise ValueError(f"{said}\nnothing is submitted; leave stages out with --only, or add --unchecked")
    print(f"nbkit: {said}", file=sys.stderr)


def _ask(stage: str, arguments: argparse.Namespace) -> tuple[scripts.Ask, dict[str, Any]]:
    """What the job of a stage asks for, and the parameters with which it uses that."""
    nodes, gpus = arguments.nodes, arguments.gpus_per_node
    if nodes < 0 or gpus < -1 or arguments.cpus_per_node < 0:
        raise ValueError(f"--nodes {nodes} --gpus-per-node {gpus}: wanted whole numbers of 1 or more")
    values = params.load_profile(arguments.profile, stage)
    options = dict(planning.pairs(arguments.option, "--option"))
    common = {"cpus": arguments.cpus_per_node, "partition": arguments.partition, "time": arguments.time}
    common["options"] = options
    first = stage == next(iter(params.schemas()))  # reads and scores text, on the processor
    trains = gpus > 0 or (gpus < 0 and not first and report.wants_gpus(arguments.profile))
    # A stage that cannot train on several devices gets one node and, if there are any, one GPU; so does 06
    # with our own loop.
    alone = (values | planning.overrides(arguments.overrides)).get("engine") == "loop"
    if "launcher" not in values or alone:
        return scripts.Ask(1, int(trains and not first), **common), {}
    nodes = nodes or values["nodes"]
    processes = max(1, gpus) if gpus >= 0 else values["processes"]
    launcher = "srun" if nodes > 1 else "torchrun" if processes > 1 else values["launcher"]
    wanted = {"launcher": launcher, "nodes": nodes, "processes": processes}
    own = {name: value for name, value in wanted.items() if values[name] != value}
    return scripts.Ask(nodes, processes if trains else 0, **common), own


def _seeds(text: str) -> tuple[int, ...]:
    """ "1-3,7" -> (1, 2, 3, 7)."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match:
            raise ValueError(f"--seeds {text}: write numbers and ranges, such as 1-5 or 1,3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, last + 1)
    if len(set(found)) != len(found) or len(found) > 1000:
        raise ValueError(f"--seeds {text}: wanted up to 1,000 different seeds")
    return tuple(found)


def _refuse_without_slurm(profile: str) -> None:
    """Raises ValueError where nothing can be submitted, or the run is in the queue already."""
    if not shutil.which("sbatch"):
        raise ValueError(
            "sbatch: not found on this machine; log in to a node of the cluster that has Slurm's commands, "
            "or use --dry-run, which only writes the scripts"
        )
    if waiting := queue.states(jobs := queue.jobs_of(profile)):
        said = ", ".join(f"{stage} ({state})" for stage, state in waiting.items())
        raise ValueError(
            f"{profile} is in the queue already: {said}; wait, or take it out with "
            f"`scancel {' '.join(jobs[stage] for stage in waiting)}`"
        )


def _submitted(chain: scripts.Chain) -> Mapping[str, str]:
    """Run submit.sh; stage -> job id, which is also kept. What Slurm refuses (a partition that does not
    exist, too many nodes) is a ValueError in its own words; jobs that it had taken by then are named."""
    script = chain.folder / scripts.SUBMIT
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    jobs = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    files.write_json(chain.folder / queue.JOBS, jobs)
    if done.returncode:
        taken = f"; already submitted: `scancel {' '.join(jobs.values())}` takes it back" if jobs else ""
        raise ValueError(f"sbatch: {done.stderr.strip()}{taken}")
    return jobs
