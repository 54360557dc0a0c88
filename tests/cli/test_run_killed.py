"""A run that crashes, is interrupted or killed: nothing looks like success, and the next one completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_cli import calls, play, run

from nbkit.run.provenance import status_of


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "RuntimeError: the marker of this failure"),
        pytest.param("exit", "ended without publishing", id="exit"),
        ("kill", "the kernel died"),
        pytest.param("os_exit", "the kernel died", marks=pytest.mark.slow),
    ],
)
def test_no_crash_looks_like_success(project, capsys, how, message):
    play(project)
    assert run("-p", f"fail={how}") == 1
    out, err = capsys.readouterr()
    assert message in err and "see " in err and "FAILED" in out and "\x1b" not in err
    assert "02_use" not in out, "stops at the first failure"
    assert status_of("01_make", "tiny")[0] == "missing", "the old success was withdrawn"


def start_hanging(project: Path) -> tuple[subprocess.Popen, int]:
    """`nbkit run` in its own process, waiting inside a half-written artifact; with the kernel's pid."""
    command = [sys.executable, "-m", "nbkit", "run", "--profile", "tiny", "--only", "01", "-p", "fail=hang"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    pid = project / "outputs/tiny/01_make/pid"
    deadline = time.monotonic() + 40
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.1)
    return process, int(pid.read_text())


def wait_gone(pid: int, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupt_kills_the_kernel_and_says_so(project, sign, code):
    process, kernel = start_hanging(project)
    process.send_signal(sign)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code and "stopped" in output
    assert wait_gone(kernel, 5)


@pytest.mark.parametrize("victim", ["kernel", "nbkit"])
def test_sigkill_in_the_middle_then_a_rerun_completes(project, victim):
    process, kernel = start_hanging(project)
    folder = project / "outputs/tiny/01_make"
    os.kill(kernel if victim == "kernel" else process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == (1 if victim == "kernel" else -9)
    assert wait_gone(kernel), "the kernel does not outlive its run"
    assert not (folder / "half.txt").exists() and list(folder.glob(".tmp-*-half.txt"))
    assert status_of("01_make", "tiny")[0] == "missing"
    if victim == "kernel":
        play(project)
    else:
        assert run("--only", "01") == 0
    assert status_of("01_make", "tiny", deep=True) == ("complete", "")
    assert not list(folder.glob(".tmp-*")) and calls(project) == 2, (
        "hang was another parameter, so built anew"
    )
