"""`nbkit logs STAGE [-f]`: what a stage printed: its Slurm job's log, else that of its notebook here."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TextIO

from nbkit.cli.cluster import queue
from nbkit.cli.cluster.scripts import folder_of
from nbkit.run import params, provenance

POLL_S = 1.0


def add(commands: argparse._SubParsersAction) -> None:
    """The command and its options."""
    about = "print the log of a stage; -f goes on printing until its job has ended"
    command = commands.add_parser("logs", help=about, description=about)
    command.add_argument("stage", help="such as 02 or 02_pretrain")
    command.add_argument("--profile", default="small", help="a folder of params/ (default: %(default)s)")
    command.add_argument("-f", "--follow", action="store_true", help="wait for more")
    command.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    stage = params.resolve_stage(arguments.stage)
    paths = found(arguments.profile, stage)
    if not paths and not (arguments.follow and stage in queue.jobs_of(arguments.profile)):
        raise ValueError(
            f"{stage}: no log in {provenance.run_dir(arguments.profile, stage)} or "
            f"{folder_of(arguments.profile)}; run it with `nbkit run` or `nbkit submit`"
        )
    if not arguments.follow:
        for path in paths:
            _copy(path, 0, sys.stdout, title=len(paths) > 1)
        return 0
    follow(arguments.profile, stage, sys.stdout)
    return 0


def found(profile: str, stage: str) -> list[Path]:
    """The logs of a stage: of its Slurm job (of each seed), or of its notebook where that ran later."""
    logs = sorted(folder_of(profile).glob(f"{stage}*.log"))
    own = provenance.run_dir(profile, stage) / "execute.log"
    if own.is_file() and all(own.stat().st_mtime > log.stat().st_mtime for log in logs):
        return [own]
    return logs


def follow(profile: str, stage: str, stream: TextIO) -> None:
    """Print what is there, then what comes, until the stage's job has left the queue. Without a job it ends
    with Ctrl-C."""
    job, at = queue.jobs_of(profile).get(stage), dict[Path, int]()
    while True:
        # Asked before the logs are read: what was written until then is then printed too.
        over = job is not None and stage not in queue.states({stage: job})
        for path in found(profile, stage):
            at[path] = _copy(path, at.get(path, 0), stream, title=False)
        if over:
            return
        time.sleep(POLL_S)


def _copy(path: Path, start: int, stream: TextIO, title: bool) -> int:
    """Print a file from byte `start` on; returns where it ended. A file that became shorter begins anew."""
    with path.open("rb") as log:
        size = log.seek(0, 2)
        log.seek(start if start <= size else 0)
        text = log.read()
        if title:
            stream.write(f"==> {path} <==\n")
        stream.write(text.decode(errors="replace"))
        stream.flush()
        return log.tell()
