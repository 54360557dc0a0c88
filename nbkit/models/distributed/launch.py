"""Start a training module here, on the devices of this node, or on the nodes of a Slurm job. Used by 02-06.

    result = run("nbkit.pretrain.job", {...}, folder, launcher="torchrun", processes=2)

The module's `main` gets one argument, [path of a JSON file], and its first rank writes `result.json` beside
it. A rank that dies is an error here, with its traceback. When we die, even by SIGKILL, so does every rank on
every node: their stdin is a pipe from us, which then ends.
"""

import contextlib
import importlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from nbkit.models.side_by_side import child_environment, environment_of, finished
from nbkit.run import files, provenance

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
        with environment_of({"RANK": None, "WORLD_SIZE": None, "LOCAL_RANK": None}):
            importlib.import_module(module).main([str(path)])
    else:
        command = [
            *_torchrun(launcher, processes, nodes, folder),
            "-m",
            "nbkit.models.distributed.launch",
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
    # Each process takes a GPU of its own; without any, they train on the processor (gloo).
    if launcher == "torchrun" and 0 < (gpus := torch.cuda.device_count()) < processes:
        raise ValueError(
            f"processes: got {processes}, but this node shows {gpus} GPU{'s' if gpus > 1 else ''}; set "
            f"processes to {gpus}, or look at CUDA_VISIBLE_DEVICES and what Slurm was asked for (--gres)"
        )


def _torchrun(launcher: str, processes: int, nodes: int, folder: Path) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    if launcher == "torchrun":
        return [*torchrun, "--standalone"]
    rendezvous = ["--nnodes", str(nodes), "--rdzv_backend", "c10d"]
    rendezvous += ["--rdzv_endpoint", f"{_head()}:{_port(folder)}"]
    one_each = ["--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        one_each += ["--cpus-per-task", cores]  # srun stopped taking it over from the job in Slurm 22.05
    return ["srun", *one_each, "--kill-on-bad-exit=1", *torchrun, *rendezvous]


def _port(folder: Path) -> int:
    """Every node must know the same one: from the job and the run, in the range that nobody registers.
    NBKIT_RDZV_PORT overrides it."""
    if given := os.environ.get("NBKIT_RDZV_PORT"):
        if not given.isdecimal() or not 1024 <= int(given) < 65_536:
            raise ValueError(f"NBKIT_RDZV_PORT: got {given!r}, wanted a number from 1024 to 65535")
        return int(given)
    return 20_000 + zlib.crc32(f"{os.environ.get('SLURM_JOB_ID')}/{folder}".encode()) % 20_000


def _head() -> str:
    """The job's first node: its name, or the address that Slurm knows where the name does not resolve.
    NBKIT_RDZV_HOST overrides both. Raises ValueError where neither resolves."""
    if given := os.environ.get("NBKIT_RDZV_HOST"):
        return given
    names = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    name = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()[0]
    node = subprocess.run(["scontrol", "show", "node", name], capture_output=True, text=True).stdout
    found = re.search(r"NodeAddr=(\S+)", node)
    for host in (name, found[1] if found else name):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, None)
            return host
    raise ValueError(
        f"srun: the name {name!r} of this job's first node does not resolve, nor does Slurm's address of it; "
        "set NBKIT_RDZV_HOST to an address of it that all nodes reach"
    )


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
        with _ended(process):
            for line in process.stdout or ():
                out.write(line)
                out.flush()
                tail.append(line.rstrip())
                report(line)
            process.wait()
    if process.returncode:
        raise RuntimeError(
            f"training failed with exit code {process.returncode}; see {log}{_remedy(tail)}\n"
            + "\n".join(tail)
        )


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Close the pipe that the processes live by (torchrun gives them sessions of their own, out of reach of
    our signals), then SIGTERM, which torchrun and srun pass on, then SIGKILL."""
    try:
        yield
    except BaseException:
        process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(timeout=10)
        raise


def _remedy(tail: Iterable[str]) -> str:
    """What helps against what the last lines of a log say, where that is known; else ""."""
    said = "\n".join(tail).lower()
    known = {
        "address already in use": "the port is taken: run again with NBKIT_RDZV_PORT set to a free one",
        "eaddrinuse": "the port is taken: run again with NBKIT_RDZV_PORT set to a free one",
        "rendezvoustimeout": "the nodes did not find each other: set NBKIT_RDZV_HOST to one that all reach",
        "out of memory": "a device ran out of memory: `nbkit plan` names the smallest change that fits",
    }
    return next((f"; {remedy}" for words, remedy in known.items() if words in said), "")


def main(argv: Sequence[str] | None = None) -> None:
    """What a rank runs: `python -m nbkit.models.distributed.launch MODULE JOB.json` under torchrun."""
    from torch.distributed.elastic.multiprocessing.errors import record  # noqa: PLC0415 (only the ranks of torchrun need it)

    module, path = sys.argv[1:] if argv is None else argv
    # "cuda" means this rank's own device, for every model that it loads.
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    # This rank ends when stdin does, the pipe from the process that started all ranks.
    threading.Thread(target=_leave_with_stdin, daemon=True).start()
    record(importlib.import_module(module).main)([path])  # its traceback gets into torchrun's report


def _leave_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(137)


if __name__ == "__main__":
    main()
