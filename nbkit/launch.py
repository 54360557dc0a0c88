"""Start a training module here, on the devices of this node, or on the nodes of a Slurm job. Used by 02.

    result = run("nbkit.train.pretrain", {...}, folder, launcher="torchrun", processes=2)

The module gets one argument, the path of a JSON file, and its first rank writes `result.json` beside it. A
process that dies is an error here, with its last words.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nbkit import files

LAUNCHERS = ("inline", "torchrun", "srun")


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
    with the last lines of the log when the module fails or fewer processes trained than were asked for.
    """
    check(launcher, processes, nodes)
    path, result = folder / "job.json", folder / "result.json"
    files.write_json(path, dict(config))
    result.unlink(missing_ok=True)
    if launcher == "inline":
        with _environment({"RANK": None, "WORLD_SIZE": None, "LOCAL_RANK": None}):
            importlib.import_module(module).main([str(path)])
    else:
        command = [*_torchrun(launcher, processes, nodes, folder), "-m", module, str(path)]
        _stream(command, folder / "launch.log", processes, report)
    found = files.read_json(result)
    if found["world_size"] != processes * nodes:
        raise RuntimeError(
            f"{found['world_size']} processes trained, {processes} x {nodes} were asked for; "
            f"see {folder}/launch.log"
        )
    return found


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


def _torchrun(launcher: str, processes: int, nodes: int, folder: Path) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    if launcher == "torchrun":
        return [*torchrun, "--standalone"]
    # every node must know the same port: one from the job and the run, in the range nobody registers
    port = 20_000 + zlib.crc32(f"{os.environ.get('SLURM_JOB_ID')}/{folder}".encode()) % 20_000
    rendezvous = ["--nnodes", str(nodes), "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{_head()}:{port}"]
    one_each = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    return ["srun", *one_each, "--kill-on-bad-exit=1", *torchrun, *rendezvous]


def _head() -> str:
    """The job's first node. NBKIT_RDZV_HOST overrides it where node names do not resolve."""
    if given := os.environ.get("NBKIT_RDZV_HOST"):
        return given
    names = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()[0]


def _stream(command: list[str], log: Path, processes: int, report: Callable[[str], None]) -> None:
    """Run to the end, every line to the log and to `report`. Whatever ends us ends the processes too."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    home = str(Path(__file__).resolve().parent.parent)
    environment = {"OMP_NUM_THREADS": threads, "TQDM_DISABLE": "1"} | dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    tail: deque[str] = deque(maxlen=40)
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        with _ended(process):
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
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """SIGTERM to the whole session first, so that torchrun and srun end what they started; then SIGKILL."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(timeout=10)


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
