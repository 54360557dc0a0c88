"""A real Slurm with two nodes on this machine: submit, training over both nodes, a job that is cancelled."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbkit.run import files

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NEEDED = ("slurmctld", "slurmd", "munged", "runuser")
ABSENT = [name for name in NEEDED if not shutil.which(name)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(ABSENT) or not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason=f"needs root and a Slurm that is installed; absent: {', '.join(ABSENT) or 'root'} "
        "(Debian: apt-get install slurm-wlm munge)",
    ),
]
# A little of 01 and 02: what is tested is the way there, not what is learned.
SMALL = {
    "web_docs": 2000,
    "synthetic_docs": 300,
    "total_tokens": 120_000,
    "validation_rows": 8,
    "arms": "[student_fg, student_vanilla]",
    "eval_questions": 10,
    "long_questions": 0,
    "validations": 0,
    "save_every": 10,
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which Slurm's commands find the cluster."""
    folder = Path("/tmp") / f"nbkit-slurm-{os.getpid()}"  # munge wants no writable folder above its socket
    shutil.rmtree(folder, ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] % 20_000 + 20_000
    done = subprocess.run(["bash", HERE / "up.sh", folder, str(port)], capture_output=True, text=True)
    if done.returncode:
        subprocess.run(["bash", HERE / "down.sh", folder])
        pytest.skip(f"no Slurm could be started here: {done.stderr[-2000:]}")
    yield {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run(["bash", HERE / "down.sh", folder])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory, slurm):
    """The environment of a run, whose outputs are shared by the tests of this file."""
    outputs = tmp_path_factory.mktemp("outputs")
    return (
        os.environ
        | slurm
        | {
            "NBKIT_OUTPUTS": str(outputs),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "NBKIT_PRECISION": "fp32",
        }
    )


def nbkit(home, *arguments):
    command = [sys.executable, "-m", "nbkit", *arguments]
    return subprocess.run(command, env=home, cwd=ROOT, capture_output=True, text=True)


def overrides(stage: str) -> list[str]:
    from nbkit.run import params  # noqa: PLC0415 (the schemas take a while to import)

    known = params.schemas()[stage].model_fields
    return [part for name, value in SMALL.items() if name in known for part in ("-p", f"{name}={value}")]


def submit(home, number: str, stage: str, *more: str):
    found = nbkit(
        home, "submit", "--profile", "smoke", "--only", number, "--gpus-per-node", "0",
        *overrides(stage), *more,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return files.read_json(Path(home["NBKIT_OUTPUTS"]) / "smoke/slurm/jobs.json")


def wait(home, job: str, seconds: float = 300) -> str:
    """The last state of a job, once it is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = subprocess.run(["scontrol", "show", "job", job], env=home, capture_output=True, text=True)
        state = shown.stdout.partition("JobState=")[2].partition(" ")[0]
        if state not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"):
            return state
        time.sleep(0.5)
    pytest.fail(f"job {job} is still {state}")


def log(home, stage: str) -> str:
    return (Path(home["NBKIT_OUTPUTS"]) / f"smoke/slurm/{stage}.log").read_text()


def test_the_data_is_made_in_a_job_and_the_report_after_it(home):
    jobs = submit(home, "01", "01_data_mix")
    assert list(jobs) == ["01_data_mix", "report"]
    assert wait(home, jobs["report"]) == "COMPLETED", log(home, "01_data_mix")
    outputs = Path(home["NBKIT_OUTPUTS"]) / "smoke"
    assert (outputs / "01_data_mix/_SUCCESS").is_file() and (outputs / "report/index.html").is_file()
    assert "01_data_mix" in nbkit(home, "logs", "01", "--profile", "smoke").stdout


def test_two_nodes_train_together_after_a_job_was_cancelled(home):
    """Depends on the test above. The second job goes on from a checkpoint of the first."""
    folder = Path(home["NBKIT_OUTPUTS"]) / "smoke/02_pretrain"
    jobs = submit(home, "02", "02_pretrain", "--nodes", "2")
    kept, end = folder / "training/student_fg", time.monotonic() + 240
    while not list(kept.glob("checkpoint-*/checkpoint.json")) and time.monotonic() < end:
        time.sleep(0.2)
    assert "RUNNING" in nbkit(home, "status", "--profile", "smoke").stdout
    subprocess.run(["scancel", *jobs.values()], env=home, check=True)
    assert wait(home, jobs["02_pretrain"]) == "CANCELLED"
    assert not (folder / "_SUCCESS").exists()
    jobs = submit(home, "02", "02_pretrain", "--nodes", "2")
    assert wait(home, jobs["02_pretrain"]) == "COMPLETED", log(home, "02_pretrain")
    values = files.read_json(folder / "manifest.json")["params"]
    assert (values["launcher"], values["nodes"], values["processes"]) == ("srun", 2, 1)
    said = (folder / "02_pretrain.ipynb").read_text()
    assert "student_fg: went on from step" in said


def test_a_partition_that_does_not_exist_is_told(home):
    found = nbkit(
        home, "submit", "--profile", "smoke", "--only", "01", "--partition", "nowhere", "-p", "seed=9"
    )
    assert found.returncode == 2 and "invalid partition" in found.stderr
