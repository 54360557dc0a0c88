"""The launcher: world sizes, a crashed rank's words, nothing alive afterwards, stale results not used."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from nbkit.models.distributed import launch as models_launch
from nbkit.models.side_by_side import clean_up
from nbkit.pretrain import launch
from nbkit.pretrain.job import Job

MODULE = """
import json, os, signal, sys, time
from pathlib import Path

def main(argv=None):
    path = Path((argv or sys.argv[1:])[0])
    config = json.loads(path.read_text())
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    total = 1
    if world > 1:
        import torch, torch.distributed as dist
        dist.init_process_group("gloo")
        one = torch.ones(1)
        dist.all_reduce(one)
        total = int(one)
        dist.destroy_process_group()
    if config.get("crash") == rank:
        raise RuntimeError(f"the words of rank {rank}")
    if config.get("sleep"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (path.parent / f"pid{rank}").write_text(str(os.getpid()))
        time.sleep(60)
    if rank == 0 and not config.get("silent"):
        said = config.get("say", world)
        (path.parent / "result.json").write_text(json.dumps({"world_size": said, "total": total}))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "a_training_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "run").mkdir()
    yield "a_training_module"
    sys.modules.pop("a_training_module", None)


def test_inline_runs_here_and_alone(module, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as under someone's torchrun: not ours
    assert launch.run(module, {}, tmp_path / "run") == {"world_size": 1, "total": 1}
    assert os.environ["WORLD_SIZE"] == "4"


def test_torchrun_starts_the_world_that_was_asked_for(module, tmp_path):
    lines = []
    found = launch.run(module, {}, tmp_path / "run", "torchrun", processes=2, report=lines.append)
    assert found == {"world_size": 2, "total": 2}
    assert "".join(lines) == (tmp_path / "run" / "launch.log").read_text()


def test_a_crashed_rank_is_an_error_with_its_words(module, tmp_path):
    """In torchrun's report, which ends the log: other ranks may print much between the crash and that."""
    with pytest.raises(RuntimeError, match="exit code 1") as failure:
        launch.run(module, {"crash": 1}, tmp_path / "run", "torchrun", processes=2)
    report = str(failure.value).partition("Root Cause")[2]
    assert "rank      : 1" in report and "RuntimeError: the words of rank 1" in report
    assert "the words of rank 1" in (tmp_path / "run" / "launch.log").read_text()


def test_a_result_of_an_earlier_run_is_not_taken(module, tmp_path):
    (tmp_path / "run" / "result.json").write_text('{"world_size": 1, "total": 7}')
    with pytest.raises(RuntimeError, match="ended without writing .*result.json"):
        launch.run(module, {"silent": True}, tmp_path / "run")


def test_a_smaller_world_than_asked_for_is_an_error(module, tmp_path):
    with pytest.raises(RuntimeError, match="1 processes trained, 2 x 1 were asked for"):
        launch.run(module, {"say": 1}, tmp_path / "run", "torchrun", processes=2)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_no_rank_outlives_us(module, tmp_path, number):
    """The ranks lead sessions of their own and, here, do not hear SIGTERM."""
    folder = tmp_path / "run"
    call = f"launch.run({module!r}, {{'sleep': 1}}, Path({str(folder)!r}), 'torchrun', 2)"
    code = f"from nbkit.pretrain import launch; from pathlib import Path; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    pids = [folder / "pid0", folder / "pid1"]
    wait(lambda: all(p.exists() and p.read_text() for p in pids), 60)
    family = [int(p.read_text()) for p in pids] + [
        child.pid for child in psutil.Process(parent.pid).children()
    ]
    assert len(family) == 3 and all(map(alive, family))
    parent.send_signal(number)
    assert parent.wait(30) != 0
    wait(lambda: not any(map(alive, family)), 20)


def wait(ready, seconds):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # at any moment, also between two looks
        return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mpirun", 1, 1), "launcher: got 'mpirun'"),
        (("inline", 2, 1), "'inline' is one process, got 2 x 1; use torchrun"),
        (("torchrun", 0, 1), "wanted 1 or more"),
        (("torchrun", 1, 2), "'torchrun' is one node, got 2; use srun"),
        (("srun", 1, 2), "needs a Slurm job around it; get one with `sbatch`"),
    ],
)
def test_launchers_that_do_not_fit_are_refused(options, message, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    with pytest.raises(ValueError, match=message):
        launch.run("json", {}, tmp_path, *options)


def test_more_nodes_than_the_job_holds_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    with pytest.raises(ValueError, match="nodes: got 3, this Slurm job holds 2; ask for --nodes 3"):
        launch.run("json", {}, tmp_path, "srun", 1, 3)


def test_the_command_of_srun(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "16")
    monkeypatch.setenv("NBKIT_RDZV_HOST", "node1")
    command = models_launch._torchrun("srun", 4, 2, tmp_path)
    assert command[:7] == ["srun", "--nodes", "2", "--ntasks", "2", "--ntasks-per-node", "1"]
    assert command[command.index("--cpus-per-task") + 1] == "16"
    assert command == models_launch._torchrun("srun", 4, 2, tmp_path), "every node must find the same port"
    assert command[command.index("--nproc_per_node") + 1] == "4" and "node1:" in command[-1]


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A scontrol that knows one node, whose name does not resolve."""
    script = tmp_path / "scontrol"
    script.write_text(
        '#!/bin/sh\n[ "$2" = hostnames ] && echo no-such-host.invalid || echo "  NodeAddr=127.0.0.1 X=y"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "no-such-host.invalid")
    monkeypatch.delenv("NBKIT_RDZV_HOST", raising=False)
    return script


def test_a_first_node_whose_name_does_not_resolve_is_found_by_its_address(scontrol):
    assert models_launch._head() == "127.0.0.1"


def test_a_first_node_that_cannot_be_found_is_told(scontrol):
    scontrol.write_text(scontrol.read_text().replace("127.0.0.1", "also-not.invalid"))
    with pytest.raises(ValueError, match="does not resolve, .* set NBKIT_RDZV_HOST"):
        models_launch._head()


def test_the_port_can_be_set(monkeypatch, tmp_path):
    assert 20_000 <= models_launch._port(tmp_path) < 40_000
    monkeypatch.setenv("NBKIT_RDZV_PORT", "29500")
    assert models_launch._port(tmp_path) == 29_500
    monkeypatch.setenv("NBKIT_RDZV_PORT", "80")
    with pytest.raises(ValueError, match="NBKIT_RDZV_PORT: got '80', wanted a number from 1024"):
        models_launch._port(tmp_path)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("RuntimeError: ... EADDRINUSE", "NBKIT_RDZV_PORT"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to", "nbkit plan"),
        ("RendezvousTimeoutError", "NBKIT_RDZV_HOST"),
        ("KeyError: 3", ""),
    ],
)
def test_known_troubles_are_told_with_what_helps(line, remedy):
    told = models_launch._remedy(["first", line])
    assert remedy in told and bool(told) == bool(remedy)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    models_launch.check("torchrun", 2, 1)
    with pytest.raises(ValueError, match="processes: got 8, but this node shows 2 GPUs"):
        models_launch.check("torchrun", 8, 1)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    models_launch.check("torchrun", 8, 1)  # on the processor


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True).returncode != 0,
    reason="no Slurm is up (tests/cluster/up.sh starts one)",
)
def test_two_nodes_of_a_real_slurm(module, tmp_path):
    code = (
        "from nbkit.pretrain import launch; from pathlib import Path; import json\n"
        f"print(json.dumps(launch.run({module!r}, {{}}, Path({str(tmp_path / 'run')!r}), 'srun', 1, 2)))"
    )
    environment = os.environ | {"NBKIT_RDZV_HOST": "127.0.0.1"}
    found = subprocess.run(
        ["salloc", "--nodes", "2", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == {"world_size": 2, "total": 2}


ARM = """
import json
from pathlib import Path

def main(argv):
    path = Path(argv[0])
    job = json.loads(path.read_text())
    assert not job["start_from"] or Path(job["start_from"]).exists(), "started too early"
    (path.parent / "model").mkdir()
    (path.parent / "model" / "weights").write_text(job["name"])
    result = {"world_size": 1, "validation": [], "seconds": 2.0, "tokens_per_s": 5.0}
    result |= {"resumed_at": 0, "skipped": []}
    (path.parent / "result.json").write_text(json.dumps(result | {"history": [{"loss": 1.5}], "mfu": 0.3}))
"""


def test_all_arms_are_trained_and_what_one_makes_another_goes_on_from(tmp_path, monkeypatch, capsys):
    (tmp_path / "an_arm.py").write_text(ARM)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(launch, "MODULE", "an_arm")
    built, seconds = [], {}

    def once(name, build, job):
        assert "out" not in job
        out = tmp_path / "kept" / name
        if not out.exists():
            out.mkdir(parents=True)
            build(out)
            built.append(name)
        return out

    timing = seconds.update
    stage = SimpleNamespace(
        once=once, timing=lambda **found: timing(found), dir=tmp_path, stage="02_pretrain"
    )
    place = tmp_path / "training"
    common = {"pools": "", "tokenizer": "", "plan": [{"tokens": {"hq": 8}}], "batch": 1}
    small = Job("student", str(place / "student"), **common, model={"hidden": 2, "layers": 1})
    big = Job("baseline", str(place / "baseline"), **common, model={"hidden": 8, "layers": 2})
    later = Job("teacher", str(place / "teacher"), **common, start_from=str(place / "baseline" / "model"))
    trained = launch.train_all(stage, [small, later, big])
    assert {name: (path / "weights").read_text() for name, path in trained.items()} == {
        name: name for name in ("student", "baseline", "teacher")
    }
    assert built[0] == "baseline" and seconds["student_s"] == 2.0  # the longest starts first
    assert json.loads((trained["student"] / "validation.json").read_text()) == []
    assert launch.train_all(stage, [small, later, big]) == trained and len(built) == 3
    # after the notebook has cleaned up, a lost artifact is made again
    clean_up(stage)
    shutil.rmtree(trained["student"])
    assert launch.train_all(stage, [small, later, big]) == trained and built[-1] == "student"
