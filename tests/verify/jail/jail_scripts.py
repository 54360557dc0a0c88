"""Scripts that use the jail in a process of its own, also as another user (test_jail.py,
test_jail_processes.py)."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

VERIFY = Path(__file__).resolve().parents[3] / "nbkit" / "verify"
# The rest of the kit needs more than the standard library, and seconds to import.
HEAD = """
import sys, types
for name, folder in (("nbkit", sys.argv[1]), ("nbkit.verify", sys.argv[1] + "/verify")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [folder]
from nbkit.verify.code.grade import Call, grade
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.pool import JailPool
from nbkit.verify.jail.tiers import available
"""
# Self-tests take most of the start of a worker.
QUICK = "from nbkit.verify.jail import canary as jail_canary\njail_canary.jobs = lambda *_: []\n"
NOBODY = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "env": {}}


def command(body: str, *args: str, python: str = sys.executable, folder: Path = VERIFY.parent) -> list[str]:
    """The command of a script; its own arguments start at sys.argv[2]."""
    return [python, "-B", "-c", HEAD + body, str(folder), *args]


@contextlib.contextmanager
def as_nobody():
    """A function (body, *args) -> CompletedProcess that runs a script as an unprivileged user. Skips where we
    are one already, or where that user can run no Python."""
    if os.geteuid() != 0:
        pytest.skip("already unprivileged")

    def usable(python: str) -> bool:
        check = [python, "-c", "import sys, ctypes; sys.exit(sys.version_info < (3, 11))"]
        try:
            return subprocess.run(check, capture_output=True, **NOBODY).returncode == 0
        except OSError:
            return False

    others = [shutil.which("python3", path=path) for path in ("/usr/local/bin", "/usr/bin")]
    python = next((p for p in (sys.executable, *others) if p and usable(p)), None)
    if python is None:
        pytest.skip("no Python 3.11 that another user may run")
    # pytest's own temporary folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="nbkit-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("verify", "text"):
            shutil.copytree(VERIFY.parent / part, folder / part)

        def run(body: str, *args: str) -> subprocess.CompletedProcess:
            line = command(body, *args, python=python, folder=folder)
            return subprocess.run(line, capture_output=True, text=True, **NOBODY)

        yield run


def alive(pid: int) -> bool:
    """Does `pid` run, or wait to be reaped as anything but a zombie?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait(ready, seconds: float = 30.0) -> None:
    """Until `ready()`, looked at every 20 ms; fails after `seconds`, which only a fault can take."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
