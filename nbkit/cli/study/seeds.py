"""The same stages once per seed, each seed in an outputs root of its own. Used by `nbkit claims`.

    outputs/claims/01_data_mix/                     the data: made once, with the profile's own seed
    outputs/claims/seed-3/claims/01_data_mix        a link to it, so that provenance checks it as any input
    outputs/claims/seed-3/claims/02_pretrain/       what seed 3 made
    outputs/claims/fresh/seed-3/claims/...          with fresh data: seed 3 makes its own data too

Seeds are paired: same data and questions, the seed sets initialisation and order. A root works with every
other command: `NBKIT_OUTPUTS=outputs/claims/seed-3 nbkit status --profile claims`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

from nbkit.cli import execute
from nbkit.run import files, params
from nbkit.run.provenance import cores

MOST_SEEDS = 1000
CORES = "NBKIT_CORES"  # of a seed beside others


@dataclass(frozen=True)
class Study:
    """What to run: `stages` in pipeline order, with parameters of theirs on top of the profile's."""

    profile: str
    seeds: tuple[int, ...]
    stages: tuple[str, ...]
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fresh: bool = False

    @property
    def home(self) -> Path:
        """Where the seeds' roots and the results over seeds lie."""
        return files.outputs_root() / self.profile / ("fresh" if self.fresh else "")

    @property
    def shared(self) -> str | None:
        """The stage that all seeds share: the first of the pipeline; None with fresh data."""
        return None if self.fresh else next(iter(params.schemas()))

    def root(self, seed: int) -> Path:
        """The outputs root of one seed."""
        return self.home / f"seed-{seed}"

    def own(self, stage: str, seed: int) -> dict[str, Any]:
        """The parameters of a stage that differ from the profile's in one seed."""
        return dict(self.overrides.get(stage, {})) | ({} if stage == self.shared else {"seed": seed})


def parse(text: str) -> tuple[int, ...]:
    """ "0-2,7" -> (0, 1, 2, 7). Raises ValueError for what is no list of two or more different seeds."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise ValueError(f"--seeds {text}: {part!r} is no seed and no range; write 0-4 or 0,1,5-7")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise ValueError(f"--seeds {text}: more than {MOST_SEEDS} seeds; give fewer")
        seeds += range(first, last + 1)
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ValueError(f"--seeds {text}: seed {twice[0]} stands twice; name each once")
    if len(seeds) < 2:
        raise ValueError(f"--seeds {text}: one seed has no interval; give 2 or more, such as 0-4")
    return tuple(seeds)


@contextlib.contextmanager
def outputs_at(root: Path) -> Iterator[None]:
    """Let this process read the outputs root of a seed. Not for threads: the environment is one for all."""
    before = os.environ.get("NBKIT_OUTPUTS")
    os.environ["NBKIT_OUTPUTS"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["NBKIT_OUTPUTS"]
        else:
            os.environ["NBKIT_OUTPUTS"] = before


def run(study: Study, jobs: int = 1, say: Callable[[str], None] = print) -> list[str]:
    """Bring every stage of every seed up to date, `jobs` seeds at a time; returns what failed, by name.

    After a failure nothing new starts, but what runs may finish: finished stages are kept. An interrupt stops
    all of it. Raises ValueError for jobs below 1.
    """
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: wanted 1 or more seeds at a time")
    # Each seed sees the shared data under its own root.
    for seed in study.seeds:
        share_data(study, seed)
    team, places = _Team(say), Queue()
    for group in core_groups(jobs):
        threads = len(group) or max(1, cores() // jobs)
        places.put({CORES: ",".join(map(str, group)), "OMP_NUM_THREADS": str(threads)})

    def work(seed: int) -> None:
        own = [_command(study, stage, seed) for stage in study.stages if stage != study.shared]
        place = places.get()  # one for each of the pool's threads: it never waits
        try:
            team.work(f"seed {seed}", study.root(seed), own, os.environ | place if jobs > 1 else os.environ)
        finally:
            places.put(place)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            # Shared data first: every seed reads it.
            if study.shared in study.stages:
                data = [_command(study, study.shared, study.seeds[0])]
                pool.submit(team.work, "data", files.outputs_root(), data, os.environ).result()
            # Then the seeds side by side, each through its stages in order.
            for future in [pool.submit(work, seed) for seed in study.seeds]:
                future.result()
        except BaseException:
            team.stop()
            raise
    return team.failed


def core_groups(jobs: int) -> list[list[int]]:
    """The cores of each of `jobs` seeds at a time, as equal as can be: a small model gains more from a core
    of its own than from two that it shares, and what a stage starts by itself counts its cores. Empty lists
    where there are fewer cores than jobs, or the system does not say which are ours."""
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [known[i::jobs] for i in range(jobs)] if len(known) >= jobs else [[] for _ in range(jobs)]


def share_data(study: Study, seed: int) -> None:
    """Link the shared stage into a seed's root. Raises ValueError when something else is in the way."""
    if study.shared is None:
        return
    link = study.root(seed) / study.profile / study.shared
    target = Path("..", "..", study.shared)
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    if link.is_symlink() or link.exists():
        raise ValueError(f"{link} is not the link to the shared {study.shared}; move it away, then run again")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=True)


def _command(study: Study, stage: str, seed: int) -> list[str]:
    """`nbkit run` of one stage, through `main` below: the rules of what is up to date are the same."""
    pairs = [f"{name}={json.dumps(value)}" for name, value in study.own(stage, seed).items()]
    options = [part for pair in pairs for part in ("-p", pair)]
    inner = ["run", "--profile", study.profile, "--only", stage, *options]
    return [sys.executable, "-m", "nbkit.cli.study.seeds", str(os.getpid()), *inner]


class _Team:
    """The processes at work: their lines are printed behind their seed's name, and they can be stopped."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.failed: list[str] = []
        self._alive: set[subprocess.Popen[str]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def work(
        self, name: str, root: Path, commands: Sequence[list[str]], environment: Mapping[str, str]
    ) -> None:
        """Run the commands one after the other; the first that fails ends it for all."""
        for command in commands:
            if (process := self._start(command, environment | {"NBKIT_OUTPUTS": str(root)})) is None:
                return
            with process:
                for line in process.stdout:
                    self.say(f"{name}  {line.rstrip()}")
            with self._lock:
                self._alive.discard(process)
                if process.returncode and not self._stopped:
                    self.failed.append(name)

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._stopped or self.failed:
                return None
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,  # Ctrl-C reaches it once, through `stop`: it cleans up undisturbed
            )
            self._alive.add(process)
            return process

    def stop(self) -> None:
        """SIGTERM to all; `nbkit run` then ends its notebook's processes. `work` still waits for them."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.terminate()


def main(argv: Sequence[str]) -> int:
    """`python -m nbkit.cli.study.seeds PARENT run ...`: `nbkit run` that ends when process PARENT is gone."""
    from nbkit.cli import commands  # noqa: PLC0415 (the command line imports this module)

    execute.follow_parent(int(argv[0]))
    if own := os.environ.get(CORES):
        os.sched_setaffinity(0, map(int, own.split(",")))  # and of all that it starts
    return commands.main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
