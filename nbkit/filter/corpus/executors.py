"""How datatrove runs the passes over a corpus: on this machine, on Slurm or on Ray. Used by pipeline.py."""

import contextlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger, setup_default_logger

EXECUTORS = ("local", "slurm", "ray")
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Stage:
    """One datatrove pipeline and how many tasks share it."""

    name: str
    pipeline: list[PipelineStep]
    tasks: int
    logs: Path


class _Local(LocalPipelineExecutor):
    """datatrove's local executor, with its logs in files only: errors reach the caller as exceptions."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1):
        with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink):
            try:
                return super()._run_for_rank(rank, local_rank, node_rank)
            finally:
                logger.remove()


_KINDS = {"local": _Local, "slurm": SlurmPipelineExecutor, "ray": RayPipelineExecutor}


@dataclass(frozen=True)
class Execution:
    """How the work is shared; none of it changes a result.

    `tasks` share the files, `workers` of them run at a time. `executor`: "local"; "slurm", whose
    `executor_options` need "time" and "partition" and may hold any other argument of SlurmPipelineExecutor;
    "ray" likewise. Raises ValueError for what cannot run.
    """

    tasks: int = 1
    workers: int = 1
    executor: str = "local"
    executor_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tasks < 1 or self.workers < 1:
            raise ValueError(f"tasks={self.tasks}, workers={self.workers}: want at least 1 of each")
        if self.executor not in EXECUTORS:
            raise ValueError(f"executor={self.executor!r}: want one of {EXECUTORS}")
        _check_options(self.executor, self.executor_options)


def run_stages(stages: Sequence[Stage], execution: Execution) -> None:
    """All stages in order; with another executor than "local", submit them, each to start after the last."""
    if execution.executor == "local":
        # datatrove logs to stderr by default; here only its files keep the log.
        logger.remove()
        try:
            for stage in stages:
                executor_of(stage, execution).run()
        finally:
            setup_default_logger()
        return
    # Submitted as one chain: each starts when the one before has ended well.
    last = None
    for stage in stages:
        last = executor_of(stage, execution, last)
    last.run()  # launches what it depends on first


def executor_of(
    stage: Stage, execution: Execution, depends: PipelineExecutor | None = None
) -> PipelineExecutor:
    """datatrove's executor of one stage, which starts after `depends`."""
    options = execution.executor_options
    common = {"pipeline": stage.pipeline, "tasks": stage.tasks, "logging_dir": str(stage.logs)}
    common |= {"workers": min(execution.workers, stage.tasks), "depends": depends}
    if execution.executor == "slurm":
        common["job_name"] = f"nbkit_{stage.name}"
        if not {"env_command", "condaenv", "venv_path"} & set(options):
            # The job calls datatrove's own command, which lies beside this Python, and imports this nbkit.
            common["env_command"] = f'export PATH="{Path(sys.executable).parent}:$PATH" PYTHONPATH="{_ROOT}"'
    return _KINDS[execution.executor](**common, **options)


def _check_options(executor: str, options: Mapping[str, Any]) -> None:
    if executor == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError("executor='ray' needs ray: `pip install ray` in this environment, or use 'local'")
    missing = sorted({"time", "partition"} - set(options))
    if executor == "slurm" and missing:
        raise ValueError(
            "executor='slurm' needs executor_options time (such as '04:00:00') and partition; "
            f"not given: {', '.join(missing)}"
        )
    # Options are checked against the executor's signature before any job is submitted.
    ours = dict.fromkeys(["pipeline", "tasks", "logging_dir", "workers", "depends"])
    ours |= {"job_name": None} if executor == "slurm" else {}
    try:
        inspect.signature(_KINDS[executor]).bind(**ours, **options)
    except TypeError as error:
        raise ValueError(f"executor_options do not fit executor={executor!r}: {error}") from error


ONE_TASK = Execution()
