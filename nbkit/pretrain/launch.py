"""Start a training module here, on the devices of this node, or on the nodes of a Slurm job. Used by 02.

    result = run("nbkit.pretrain.job", {...}, folder, launcher="torchrun", processes=2)
    trained = train_all(stage, [Job("student_fg", ...), Job("student_vanilla", ...)], launcher="inline")

The module's `main` gets one argument, [path of a JSON file], and its first rank writes `result.json` beside
it. A rank that dies is an error here, with its traceback. When we die, even by SIGKILL, so does every rank on
every node: their stdin is a pipe from us, which then ends.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import copytree

import torch

from nbkit.models.side_by_side import child_environment, ended, finished, leave_with_stdin, together, workshop
from nbkit.pretrain.job import Job
from nbkit.run import files, provenance
from nbkit.run.stage import Run

LAUNCHERS = ("inline", "torchrun", "srun")
MODULE = "nbkit.pretrain.job"


def run(
    module: str,
    config: Mapping,
    folder: Path,
    launcher: str = "inline",
    processes: int = 1,
    nodes: int = 1,
    report: Callable[[str], None] = lambda text: None,
) -> dict:
    """Run `module` on `config` to its end and return what it wrote; its output goes to `folder/launch.log`.

    "inline": in this process. "torchrun": `processes` of them on this node. "srun": as many on each of
    `nodes` nodes of the Slurm job we are in. Raises ValueError for a launcher that does not fit, RuntimeError
    with the last lines of the log when the module fails, writes no result, or fewer processes trained than
    were asked for.
    """
    # All that can be known to fail is said before anything starts.
    check(launcher, processes, nodes)
    path, result = folder / "job.json", folder / "result.json"
    if finished(folder, config):
        return files.read_json(result)
    files.write_json(path, dict(config))
    # The result of an earlier run must not be taken for this one's.
    result.unlink(missing_ok=True)
    # Inline: variables of a launcher around us would make one process wait for ranks that do not exist.
    if launcher == "inline":
        with _environment({"RANK": None, "WORLD_SIZE": None, "LOCAL_RANK": None}):
            importlib.import_module(module).main([str(path)])
    else:
        command = [
            *_torchrun(launcher, processes, nodes, folder),
            "-m",
            "nbkit.pretrain.launch",
            module,
            str(path),
        ]
        _stream(command, folder / "launch.log", processes, report)
    # A module that ends well but wrote nothing, or on fewer devices than asked, is an error too.
    if not result.is_file():
        raise RuntimeError(f"{module} ended without writing {result}; see what it printed")
    found = files.read_json(result)
    if found["world_size"] != processes * nodes:
        raise RuntimeError(
            f"{found['world_size']} processes trained, {processes} x {nodes} were asked for; "
            f"see {folder}/launch.log"
        )
    return found


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


def check(launcher: str, processes: int, nodes: int) -> None:
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher: got {launcher!r}, wanted one of {LAUNCHERS}")
    if processes < 1 or nodes < 1:
        raise ValueError(f"processes, nodes: got {processes}, {nodes}, wanted 1 or more")
    if launcher == "inline" and processes * nodes > 1:
        raise ValueError(
            f"launcher: 'inline' is one process, got {processes} x {nodes}; use torchrun or srun"
        )
    if launcher == "torchrun" and nodes > 1:
        raise ValueError(f"launcher: 'torchrun' is one node, got {nodes}; use srun inside a Slurm job")
    if launcher == "srun" and "SLURM_JOB_NODELIST" not in os.environ:
        raise ValueError(
            "launcher: 'srun' needs a Slurm job around it; get one with `sbatch` or "
            f"`salloc --nodes {nodes}`, or use torchrun on this node"
        )
    if launcher == "srun" and nodes > (held := int(os.environ.get("SLURM_JOB_NUM_NODES", nodes))):
        raise ValueError(f"nodes: got {nodes}, this Slurm job holds {held}; ask for --nodes {nodes}")


def _torchrun(launcher: str, processes: int, nodes: int, folder: Path) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    if launcher == "torchrun":
        return [*torchrun, "--standalone"]
    # every node must know the same port: one from the job and the run, in the range nobody registers
    port = 20_000 + zlib.crc32(f"{os.environ.get('SLURM_JOB_ID')}/{folder}".encode()) % 20_000
    rendezvous = ["--nnodes", str(nodes), "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{_head()}:{port}"]
    one_each = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        one_each += ["--cpus-per-task", cores]  # srun stopped taking it over from the job in Slurm 22.05
    return ["srun", *one_each, "--kill-on-bad-exit=1", *torchrun, *rendezvous]


def _head() -> str:
    """The job's first node. NBKIT_RDZV_HOST overrides it where node names do not resolve."""
    if given := os.environ.get("NBKIT_RDZV_HOST"):
        return given
    names = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()[0]


def _stream(command: list[str], log: Path, processes: int, report: Callable[[str], None]) -> None:
    """Run to the end, every line to the log and to `report`. Whatever ends us ends the processes too."""
    # Threads shared among the processes, or each would take all cores.
    environment = child_environment(threads=max(1, provenance.cores() // processes))
    # The last lines go into the error: a rank's traceback is in them.
    tail: deque[str] = deque(maxlen=80)
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        # stdin stays open and unused: its end is what tells every rank that we are gone.
        with ended(process):
            for line in process.stdout or ():
                out.write(line)
                out.flush()
                tail.append(line.rstrip())
                report(line)
            process.wait()
    if process.returncode:
        raise RuntimeError(
            f"training failed with exit code {process.returncode}; see {log}\n" + "\n".join(tail)
        )


@contextlib.contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set or, with None, unset environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def main(argv: Sequence[str] | None = None) -> None:
    """What a rank runs: `python -m nbkit.pretrain.launch MODULE JOB.json` under torchrun."""
    from torch.distributed.elastic.multiprocessing.errors import record  # noqa: PLC0415 (only the ranks of torchrun need it)

    module, path = sys.argv[1:] if argv is None else argv
    # This rank ends when stdin does, the pipe from the process that started all ranks.
    threading.Thread(target=leave_with_stdin, daemon=True).start()
    record(importlib.import_module(module).main)([path])  # its traceback gets into torchrun's report


if __name__ == "__main__":
    main()
