"""Every module but the Linux tiers of the jail can be imported where what only Linux has is missing: on macOS
and Windows, played by a process whose standard library lacks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nbkit.run import files
from nbkit.verify.jail import wasm

ROOT = Path(__file__).resolve().parents[1]
# Started by path in the Linux tiers alone (verify/jail/link.py); everything else must load anywhere.
LINUX_ONLY = ("nbkit.verify.jail.inside.jail_worker",)
# Gone on Windows; macOS has some of them, which makes the test the stricter one.
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "spwd", "syslog")
CALLS = ("os.fork", "os.forkpty", "os.sched_getaffinity", "os.sched_setaffinity", "os.register_at_fork")
CALLS += ("os.memfd_create", "os.posix_fadvise", "os.pidfd_open")
WINDOWS = ("os.geteuid", "os.getuid", "os.setsid", "os.killpg", "os.getpgid", "os.sysconf", "os.mkfifo")
WINDOWS += ("os.uname", "os.wait", "os.WNOHANG", "os.getloadavg", "select.poll", "socket.AF_UNIX")
WINDOWS += ("signal.SIGKILL", "signal.SIGXCPU", "signal.SIGHUP", "signal.SIGALRM", "signal.setitimer")

SCRIPT = """
import importlib, json, os, select, signal, socket, sys, traceback
names, modules, calls, inside, platforms = json.loads(sys.argv[1])
sys.path += inside
failed = {}

def load(name, where):
    try:
        importlib.import_module(name)
    except BaseException:
        failed.setdefault(where, {})[name] = traceback.format_exc()[-600:]

for name in names:  # first as they are: other packages are loaded here, and must not see what follows
    load(name, "here")
for platform in platforms:
    for name in [n for n in sys.modules if n.split(".")[0] == "nbkit"]:
        del sys.modules[name]
    sys.platform = platform
    sys.modules.update(dict.fromkeys(modules))
    for call in calls[platform]:
        owner, name = call.split(".")
        if hasattr(sys.modules[owner], name):
            delattr(sys.modules[owner], name)
    for name in names:
        load(name, platform)
print(json.dumps(failed))
sys.stdout.flush()
os._exit(0)  # the clean-up of other packages would meet the missing calls
"""


def every_module() -> list[str]:
    """All of nbkit by dotted name, but the scripts that a Linux tier starts, and `python -m nbkit`."""
    paths = sorted((ROOT / "nbkit").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths if "project" not in p.parts]
    found = [name.removesuffix(".__init__") for name in names]
    return [name for name in found if name not in (*LINUX_ONLY, "nbkit.__main__")]


def loaded(names: list[str], platforms: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Platform -> module -> why it cannot be imported there; {} when all can. macOS first: what Windows lacks
    more goes after it."""
    calls = {"darwin": CALLS, "win32": CALLS + WINDOWS}
    inside = [str(ROOT / "nbkit/verify/jail/inside")]
    told = json.dumps([names, MODULES, calls, inside, platforms])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, told],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_loads_on_macos_and_windows():
    names = every_module()
    assert len(names) > 150
    assert loaded(names, ("darwin", "win32")) == {}


def test_a_linux_tier_is_seen_for_what_it_is():
    """The patched process does refuse what needs Linux."""
    (name,) = LINUX_ONLY
    failed = loaded([name], ("darwin",))
    assert list(failed) == ["darwin"]
    assert "resource" in failed["darwin"][name]


@pytest.mark.parametrize("name", LINUX_ONLY)
def test_the_linux_tiers_still_exist(name):
    assert (ROOT / (name.replace(".", "/") + ".py")).is_file(), "remove it from LINUX_ONLY"


# --- Windows, beyond what it imports --------------------------------------------------------------------


def test_files_are_written_and_swept_without_what_windows_refuses(tmp_path, monkeypatch):
    """Windows opens no folder, flushes only what was opened for writing, and os.kill(pid, 0) is a Ctrl-C."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a Ctrl-C was sent"))
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid == os.getpid())  # that of Linux uses os.kill
    real = os.open

    def strict(path, flags, *more):
        if flags == os.O_RDONLY or os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", strict)
    files.atomic_write(tmp_path / "a.txt", "whole")
    with files.atomic_dir(tmp_path / "model") as temp:
        (temp / "weights.bin").write_bytes(b"123")
    (tmp_path / f".tmp-{os.getpid()}-ab-mine").touch()
    (tmp_path / ".tmp-999999999-ab-orphan").touch()
    assert files.sweep(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".tmp-{os.getpid()}-ab-mine", "a.txt", "model"]


JOB = """
import sys
sys.path.insert(0, sys.argv[1])
from nbkit.verify import Jail
sys.platform = "win32"
jail = Jail(wall_s=60, tier="wasmtime").start()
print(jail.call("def add(a, b): return a + b", "add", [[2, 3]]).values, flush=True)
sys.stdin.read()
"""


def test_the_webassembly_tier_needs_no_descriptor_of_its_parent():
    """As on Windows, which hands on none: it grades, and its processes end when we are killed."""
    if reason := wasm.why_not():
        pytest.skip(reason)
    command = [sys.executable, "-c", JOB, str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout.readline() == "[5]\n"
        hosts = psutil.Process(job.pid).children()
        assert hosts, "the next job's process waits"
        assert all(host.cmdline()[-2] == "-1" for host in hosts)
        job.kill()
    deadline = time.monotonic() + 30
    while any(host.is_running() and host.status() != "zombie" for host in hosts):
        assert time.monotonic() < deadline
        time.sleep(0.2)
