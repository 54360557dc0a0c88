"""Run one stage's notebook as its own process tree: live line, peak memory, clean kill, honest outcome.

Used by `nbkit run`. Success is exit code 0 *and* the `_SUCCESS` this very run wrote: `sys.exit(0)` in a cell
or a killed kernel can look like success to papermill.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import psutil

from nbkit.cli import calibrate, live, planning
from nbkit.cli.live import Line, News, Outcome, Pace, clock, gib
from nbkit.evals.words import named
from nbkit.run import files, progress, provenance

__all__ = [
    "Line",
    "Outcome",
    "Pace",
    "clock",
    "expected",
    "gib",
    "lock",
    "measured",
    "outlook",
    "run_stage",
    "stop",
]

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def expected(
    profile: str, stage: str, measure: bool = False, say: Callable[[str], None] = lambda text: None
) -> tuple[float | None, str]:
    """(seconds, where they come from) for a stage: its last run here (""), else the committed reference run,
    scaled by how fast this machine is. (None, reason) where nothing is known.

    `measure`: measure this machine first, if that was never done (some seconds, which `say` is told).
    """
    # This machine's own last run says most, if it was a whole one: reused steps take no time.
    folder = provenance.run_dir(profile, stage)
    for name in ("resources.json", "manifest.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = files.read_json(folder / name)
            seconds = found["wall_s"] if not found.get("reused") else None
            if (seconds := found.get("expected_s", seconds)) is not None:
                return float(seconds), ""
    try:
        # Else the reference run, by the ratio of the two machines' speeds.
        timings = files.read_json(files.of_project("outputs/reference/timings.json"))
        seconds = float(timings[profile][stage])
    except (OSError, ValueError, KeyError):
        return None, ""
    if (there := calibrate.reference_rates(timings)) is None:
        return None, "as the reference run's machine is not known"
    if (rates := calibrate.here(measure, say)) is None:
        return None, "as this machine's speed is not known"
    factor = calibrate.slowdown(stage, rates, there)
    return seconds * factor, calibrate.origin(factor)


def measured(profile: str, stage: str, manifest: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(seconds, peak bytes of all processes) of a stage's last run, with the start of the kernel; of the
    notebook alone where the command line did not run it; (None, None) without a manifest."""
    if not manifest:
        return None, None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = files.read_json(provenance.run_dir(profile, stage) / "resources.json")
        return float(found["wall_s"]), float(found["peak_bytes"])
    return manifest.get("wall_s"), manifest["peak_rss_mb"] * 1e6


def outlook(profile: str, stages: Sequence[str], pace: Pace, stream: TextIO = sys.stdout) -> str:
    """What `stages` together are expected to take, as `live.outlook` says it."""
    say, known = _sayer(stream), []
    for stage in stages:
        known.append(None if planning.resumed(profile, stage) else expected(profile, stage, True, say)[0])
    return live.outlook(known, pace)


def _sayer(stream: TextIO) -> Callable[[str], None]:
    return lambda text: print(text, file=stream, flush=True)


@contextlib.contextmanager
def lock(profile: str) -> Iterator[None]:
    """Only one `nbkit run` per profile: two would write the same folders. Freed on any exit."""
    folder = files.outputs_root() / profile
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        if not _locked(handle):
            raise BlockingIOError(
                f"another nbkit run is at work in {folder}; wait for it or stop it"
            ) from None
        yield


def _locked(handle: TextIO) -> bool:
    """Lock an open file until it is closed; False when another process holds it."""
    try:
        import fcntl  # noqa: PLC0415 (POSIX only)
    except ImportError:  # Windows
        import msvcrt  # noqa: PLC0415 (Windows only)

        def take() -> None:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:

        def take() -> None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    try:
        take()
    except OSError:
        return False
    return True


def run_stage(
    profile: str,
    stage: str,
    values: Mapping[str, Any],
    stream: TextIO = sys.stdout,
    pace: Pace | None = None,
) -> Outcome:
    """Execute the notebook of `stage` with `values`; an interrupt kills its processes first. `pace`: of the
    stages before it in this run, which corrects what is expected of this one; it is told the outcome."""
    folder, pace = provenance.run_dir(profile, stage), pace or Pace()
    # What is expected is corrected by how the stages before it went.
    before, origin = expected(profile, stage, True, _sayer(stream))
    corrected, words = (before, origin) if before is None else (before * pace.factor, pace.words())
    known = ", ".join(filter(None, dict.fromkeys([origin, words])))
    if planning.resumed(profile, stage):  # the time of a whole run would count what is done already
        corrected, known = None, live.RESUMED
    line = Line(stage, corrected, stream, origin=known)
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left must not be taken for this one's.
    for old in ("_SUCCESS", progress.FILE, progress.CELL):
        (folder / old).unlink(missing_ok=True)
    target = folder / f"{stage}.ipynb"
    command = [sys.executable, "-m", "nbkit.cli.execute", str(provenance.notebook_path(stage)), str(target)]
    package_home = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {
        "NBKIT_ROOT": str(files.project_root()),
        # The kernel follows this process: without us it must not train on.
        "NBKIT_PARENT": str(os.getpid()),
        "TQDM_DISABLE": "1",
        # The kernel must find this very nbkit, installed or not.
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package_home])),
    }
    with (folder / "execute.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, json.dumps(dict(values))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=files.project_root(),
            start_new_session=True,
        )
        seconds, peak = _watch(process, folder, line.update)
    # Both: a cell that calls sys.exit(0) ends well without publishing.
    ok = process.returncode == 0 and (folder / "_SUCCESS").is_file()
    outcome = Outcome(ok, seconds, peak, "" if ok else _trouble(process.returncode, folder, target))
    if ok:
        whole: float | None = seconds
        # A run that reused steps says nothing about how long a whole one takes.
        if provenance.load_manifest(profile, stage)[2].get("reused"):  # shorter than the next whole run
            whole = max(seconds, before) if before and not origin else None
        else:
            pace.add(before, seconds)
        resources = {"wall_s": round(seconds, 2), "peak_bytes": peak}
        files.write_json(folder / "resources.json", resources | {"expected_s": whole and round(whole, 2)})
    line.close(outcome)
    return outcome


def _watch(
    process: subprocess.Popen[bytes], folder: Path, update: Callable[[float, int, str], None]
) -> tuple[float, int]:
    """Follow the process tree to its end; (seconds, peak bytes). None of it is left alive."""
    started, peak, news = time.monotonic(), 0, News()
    seen: dict[
        int, psutil.Process
    ] = {}  # kernels lead sessions of their own, so a group kill would miss them
    try:
        with contextlib.suppress(psutil.Error):
            seen[process.pid] = psutil.Process(process.pid)
        while process.poll() is None:
            size, cpu_s = _measure(seen)
            # Resident memory of the whole tree, sampled: the peak is a lower bound.
            peak, now = max(peak, size), time.monotonic() - started
            said = (_read(folder / name) for name in (progress.CELL, progress.FILE))
            update(now, size, news.text(now, *said, cpu_s))
            # Often at first, so that short stages are seen at all, then once a second.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2 if time.monotonic() - started < 5 else 1.0)
    finally:
        _measure(seen)
        stop(list(seen.values()))
        process.wait()
    return time.monotonic() - started, peak


def _measure(seen: dict[int, psutil.Process]) -> tuple[int, float]:
    """Bytes of memory that everything alive in the tree takes, and the CPU seconds it used so far; adds new
    descendants to `seen`. A page that several processes share (libraries, forked workers) counts once."""
    total, cpu_s = 0, 0.0
    for pid, member in list(seen.items()):
        with contextlib.suppress(psutil.Error):
            if not member.is_running():
                del seen[pid]  # a look at it would cost as much as at a living one, and a run has thousands
            # Each of these reads the whole process table: only from the tops of the tree, which are the
            # first process and those whose parent has gone.
            elif member.ppid() not in seen:
                seen.update({child.pid: child for child in member.children(recursive=True)})
    for member in seen.values():
        with contextlib.suppress(psutil.Error):
            total += _bytes(member)
            used = member.cpu_times()
            cpu_s += used.user + used.system
    return total, cpu_s


def _bytes(process: psutil.Process) -> int:
    """Its share of the memory: of a shared page, its part (Linux; elsewhere all of each page)."""
    try:
        return process.memory_full_info().pss
    except (AttributeError, psutil.AccessDenied):  # no Linux, or a process of another user
        return process.memory_info().rss


def stop(processes: list[psutil.Process], patience: float = 3.0) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds. psutil compares start times: reused pids are safe."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=patience)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def print_headline(profile: str, stage: str) -> None:
    """The headline that a stage published, one line each, floats to three significant digits."""
    for name, value in named(provenance.load_manifest(profile, stage)[2]["headline"]).items():
        print(f"    {name}: {value:.3g}" if isinstance(value, float) else f"    {name}: {value}")


def _trouble(code: int, folder: Path, target: Path) -> str:
    """The failing cell's last words and where to look."""
    failed = target.with_suffix(".failed.ipynb")
    lines: list[str] = []
    if code == 0:
        lines = [
            "the notebook ended without publishing (no _SUCCESS): a cell left early, or the last is missing"
        ]
    elif failed.is_file():
        lines = error_of(failed)
    if not lines:
        lines = [f"exit code {code}", *_read(folder / "execute.log").splitlines()[-8:]]
    shown = (
        failed if failed.is_file() else (target if target.is_file() and code == 0 else folder / "execute.log")
    )
    return "\n".join([*(f"  {text}" for text in lines), f"  see {shown}"])


def error_of(notebook: Path) -> list[str]:
    """Last traceback lines of the first failed cell, without colours; [] when no cell raised."""
    with contextlib.suppress(ValueError, KeyError):
        for cell in files.read_json(notebook)["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    text = _ANSI.sub("", "\n".join(output["traceback"]))
                    return [part for part in text.splitlines() if part.strip()][-12:]
    return []
