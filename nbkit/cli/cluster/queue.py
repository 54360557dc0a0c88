"""What Slurm says of the jobs of a run: their states now, and how those that left the queue ended."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping

from nbkit.cli.cluster.scripts import folder_of
from nbkit.run import files

JOBS = "jobs.json"  # stage -> job id, of the last submission


def jobs_of(profile: str) -> dict[str, str]:
    """Stage -> job id of the last submission; {} where there was none."""
    with contextlib.suppress(OSError, ValueError):
        found = files.read_json(folder_of(profile) / JOBS)
        return {str(stage): str(job) for stage, job in found.items()}
    return {}


def states(jobs: Mapping[str, str]) -> dict[str, str]:
    """Stage -> what the queue says of its job, such as "RUNNING 1:02 n1" or "PENDING (Dependency)"; tasks of
    an array are joined. Left out are stages whose job has left the queue, and all where there is no Slurm."""
    if not jobs or not shutil.which("squeue"):
        return {}
    # One call for all; a job that is long gone makes squeue fail when it is asked for alone.
    command = ["squeue", "--noheader", "--array", "--format=%F|%T|%M|%R", "--me"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        return {}
    stages, found = {job: stage for stage, job in jobs.items()}, dict[str, str]()
    for line in done.stdout.splitlines():
        job, state, elapsed, where = line.split("|", 3)
        if stage := stages.get(job):
            said = f"{state} {where}" if state == "PENDING" else f"{state} {elapsed} {where}"
            found[stage] = "; ".join(filter(None, [found.get(stage), said]))
    return found
