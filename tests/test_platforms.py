"""Every module but the Linux tiers of the jail can be imported where what only Linux has is missing: on macOS
and Windows, played by a process whose standard library lacks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
