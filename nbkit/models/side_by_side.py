"""Several small trainings beside each other, each a process of one thread. Used by 02-05.

    together("nbkit.pretrain.job", {folder: {...}, other: {...}})

Two small models on two threads each take longer than on one each, since the threads wait for each other.
The module's `main` gets one argument, [path of a JSON file], and writes `result.json` beside it. When we end,
even by SIGKILL, so do they.

Importing torch, transformers, trl and datasets takes each process seconds: one server of `multiprocessing`
imports them once, and the trainings are forked from it. No thread of Python or of a library's work runs in it
(pyarrow's allocator has one, and handlers for a fork), so a fork is safe whatever the notebook's kernel has
started. It ends when we do. Where a source file changed since it started, trainings are new processes that
import for themselves: what the server has imported is not what is on the disk. As everywhere with
`multiprocessing`, a script that calls this needs `if __name__ == "__main__":`.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from nbkit.models.load import SHIPPED
from nbkit.run import files, progress, provenance
from nbkit.run.precision import precision
from nbkit.run.stage import Run

TRAINING = "training"  # folder of a run: what is being trained, until the notebook removes it
MODEL, RESULT = "model", "result.json"  # what a job leaves in its folder
_SERVED: list[str] = []  # digest of the package's sources when the server started; empty before
SMALL = 100_000_000  # bytes of weights: a larger model fills the cores, and the memory, by itself


def small_enough(*sources: str | Path) -> bool:
    """Are these models (folders; hub ids count as large) to be trained side by side: small, and on a CPU?"""
    folders = [SHIPPED if str(source) == SHIPPED.name else Path(source) for source in sources]
    small = all(folder.is_dir() and weight_bytes(folder) < SMALL for folder in folders)
    return small and not torch.cuda.is_available()


def weight_bytes(source: str | Path) -> int:
    """Of a model's folder; 0 for a hub id."""
    found = [path for kind in ("*.safetensors", "*.bin") for path in Path(source).glob(kind)]
    return sum(path.stat().st_size for path in found)


def side_by_side(
    run: Run, module: str, jobs: Mapping[str, tuple[Callable[[str, Path], dict], Mapping]]
) -> dict[str, Path]:
    """Trainings as artifacts of `run`, made by `together`: name -> folder. `jobs`: name -> (what writes the
    job's files into a folder and returns it as plain data, what it is made from, see Run.once). What is being
    trained lies in the run's folder `training` until the notebook ends with `clean_up`: an interrupted
    notebook does not train a finished one again."""

    home = workshop(run)

    def build(name: str, out: Path) -> None:
        # The first that is missing starts all; those which are finished are not trained again.
        written = {home / n: make(n, home / n) for n, (make, _) in jobs.items()}
        together(module, {folder: job | {"precision": precision()} for folder, job in written.items()})
        shutil.copytree(home / name / MODEL, out, dirs_exist_ok=True)
        run.timing(**{f"{name}_s": files.read_json(home / name / RESULT)["seconds"]})

    return {name: run.once(name, partial(build, name), **key) for name, (_, key) in jobs.items()}


def identity(source: str | Path) -> str:
    """What tells a model from another in the same place: the hash of a folder, the name of a hub id."""
    return files.sha256(Path(source)) if Path(source).is_dir() else str(source)


def workshop(run: Run) -> Path:
    """The folder in which a run trains. Checkpoints there are gone on from, but what other code finished is
    forgotten, so that it is trained again."""
    folder, code = run.dir / TRAINING, files.digest(provenance.code_of(run.stage))
    mark = folder / "code"
    if not mark.is_file() or mark.read_text() != code:
        for result in folder.glob("*/result.json"):
            result.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        files.replace_text(mark, code)
    return folder


def clean_up(run: Run) -> None:
    """Remove what trainings left behind, jobs and results too: what was published are copies."""
    shutil.rmtree(run.dir / TRAINING, ignore_errors=True)


def finished(folder: Path, config: Mapping) -> bool:
    """Has the very same job been run to its end in `folder`?"""
    path = folder / "job.json"
    same = path.is_file() and files.read_json(path) == json.loads(json.dumps(dict(config)))
    return same and (folder / "result.json").is_file()


def together(module: str, jobs: Mapping[Path, Mapping], at_once: int = 0) -> None:
    """Run `module` on several configs (folder -> config), each in a process of one thread, `at_once` of them
    side by side (0: as many as there are cores). One with `branch_from` or `start_from`, a checkpoint or a
    model that another makes, waits until it is there. Afterwards `finished` is true for each. Raises
    RuntimeError with the last lines of its log when one fails; then the others end, too."""
    waiting = {folder: config for folder, config in jobs.items() if not finished(folder, config)}
    running: dict[Path, BaseProcess] = {}
    with contextlib.ExitStack() as stack:
        while waiting or running:
            # Start as many as there is room for.
            ready = [folder for folder, config in waiting.items() if _can_start(config)]
            ready = ready or ([] if running else list(waiting)[:1])  # nobody makes it: let its error be seen
            for folder in ready[: (at_once or provenance.cores()) - len(running)]:
                running[folder] = stack.enter_context(_alone(module, folder, waiting.pop(folder)))
            # Who has ended, and how?
            for folder, process in list(running.items()):
                if process.exitcode is not None:
                    del running[folder]
                    if process.exitcode:
                        _end(process)
                        log = folder / "launch.log"
                        tail = "\n".join(log.read_text(errors="replace").splitlines()[-80:])
                        raise RuntimeError(
                            f"training failed with exit code {process.exitcode}; see {log}\n{tail}"
                        )
            # In place of what was said before: the step that asked for the trainings names only one of them.
            progress.say("; ".join(progress.words_of(folder / progress.FILE) for folder in running))
            time.sleep(0.5)


def _can_start(config: Mapping) -> bool:
    """Is what the job goes on from there: a checkpoint, or the folder of a model? Hub ids always are."""
    starts = [Path(config[key]) for key in ("branch_from", "start_from") if config.get(key)]
    return all(start.exists() for start in starts if start.is_absolute())


@contextlib.contextmanager
def _alone(module: str, folder: Path, config: Mapping) -> Iterator[BaseProcess]:
    """A process of one thread that runs `module` on `config` and ends when we do."""
    files.write_json(folder / "job.json", dict(config))
    for old in ("result.json", progress.FILE):  # an interrupted process said how far it was
        (folder / old).unlink(missing_ok=True)
    environment = child_environment(threads=1)
    environment |= {"OMP_NUM_THREADS": "1", progress.VARIABLE: str(folder / progress.FILE)}
    (folder / "launch.log").write_text("")
    process = _server(module, environment).Process(target=_child, args=(module, str(folder), environment))
    process.start()
    try:
        yield process
    except BaseException:
        # One that ended long ago is left alone: its number may be another process's by now.
        if process.exitcode is None:
            _end(process)
        raise


def _end(process: BaseProcess) -> None:
    """End it and what it started: it leads a session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.join(timeout=10)


def _server(module: str, environment: Mapping[str, str]) -> BaseContext:
    """The context whose processes are forked from the server, which imports `module` when it starts; another
    one is then imported by each process itself. Systems without fork get new processes instead, and so do
    trainings whose code was edited since: an artifact is published as made by the code on the disk."""
    known = "forkserver" in multiprocessing.get_all_start_methods()
    sources = _sources() if known else ""
    if known and not _SERVED:
        _SERVED.append(sources)
    if not known or [sources] != _SERVED:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    # With one thread in its libraries: others would be lost in a fork, and those who wait for them hang.
    with environment_of(environment):
        forkserver.ensure_running()
    return context


def _sources() -> str:
    """Digest of the package's source files by time and size, 5 ms: a change of any of them counts."""
    found = sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
    return files.digest([[str(path), path.stat().st_mtime_ns, path.stat().st_size] for path in found])


def _child(module: str, folder: str, environment: Mapping[str, str]) -> None:
    """What a forked process does: it writes into its log, in a session of its own, with one thread."""
    os.setsid()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    log = os.open(Path(folder) / "launch.log", os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    importlib.import_module(module).main([str(Path(folder) / "job.json")])


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(137)


def child_environment(threads: int) -> dict[str, str]:
    """Ours, with so many threads, no bars, and the package where it is found from any folder."""
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"} | dict(os.environ) | {"PYTHONPATH": paths}


@contextlib.contextmanager
def environment_of(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set or, with None, unset environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
