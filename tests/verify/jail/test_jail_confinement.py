"""What a job cannot reach, in every tier, and that nothing runs without one."""

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from jail_scripts import as_nobody
from test_jail import ADD, TIERS, attempt

from nbkit.verify import CallError, Jail, JailResult, SandboxUnavailable, probe
from nbkit.verify.jail import wasm
from nbkit.verify.jail.inside import jail_confine

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=TIERS)
def jail(request):
    with Jail(wall_s=1.0, tier=request.param) as warm:
        yield warm


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/hostname').read()",
        "return open('/dev/null', 'w').write('x')",
        "return os.stat('/').st_mode",
        "return os.listdir('/')",
        "return os.open('/proc/self/environ', 0)",
        "return os.fork()",
        "return os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "return os.kill(os.getpid(), 0)",
        "import socket; return socket.socket().fileno()",
        "import socket; return [s.fileno() for s in socket.socketpair()]",
        "return os.pipe()",
        "return os.dup(1)",
        "import fcntl; return fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); return 'raised'",
        "return os.memfd_create('x')",
        "os.chdir('/tmp'); return 'moved'",
        "os.setuid(0); return 'root'",
        "return os.sched_setaffinity(0, {0})",
    ],
)
def test_the_kernel_refuses(jail, body):
    got = attempt(jail, body)
    assert got.status == "ok"
    assert isinstance(got.values[0], CallError), got
    assert "Error" in got.values[0].detail


def test_raw_system_calls_are_refused(jail):
    body = """libc = ctypes.CDLL(None, use_errno=True)
def errno(*args):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(*args) < 0 else 0
buffer = ctypes.create_string_buffer(256)
return {name: errno(*args) for name, args in {
    "io_uring_setup": (425, 4, buffer), "unshare": (272 if X86 else 97, 0x10000000),
    "ptrace": (101 if X86 else 117, 0, 0, 0, 0), "prctl": (157 if X86 else 167, 15, b"x", 0, 0),
    "fork by clone": (56 if X86 else 220, 17, 0, 0, 0, 0), "clone3": (435, buffer, 88),
    "pidfd_open": (434, os.getppid(), 0),
    "process_vm_readv": (310 if X86 else 270, os.getppid(), 0, 0, 0, 0, 0),
    "bpf": (321 if X86 else 280, 0, buffer, 16), "openat": (257 if X86 else 56, -100, b"/", 0)}.items()}"""
    got = attempt(jail, body.replace("X86", str(os.uname().machine == "x86_64")))
    assert got.status == "ok"
    assert got.values[0] == dict.fromkeys(got.values[0], 1) | {"clone3": 38} and len(got.values[0]) == 10


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 numbers exist on x86_64 only")
def test_x32_numbers_kill_the_job(jail):
    got = attempt(jail, "return ctypes.CDLL(None).syscall(0x40000000 + 39)")
    assert got.status == "error" and f"signal {signal.SIGSYS.value}" in got.detail


def test_nothing_of_the_parent_is_visible(jail):
    token = secrets.token_hex(16)
    os.environ["NBKIT_TEST_TOKEN"] = token
    try:
        with Jail(tier=jail.layers[0]) as fresh:
            got = fresh.call("import os\ndef f(): return [dict(os.environ), os.getpid() > 0]", "f", [[]])
    finally:
        del os.environ["NBKIT_TEST_TOKEN"]
    assert got.status == "ok"
    environment, _ = got.values[0]
    assert token not in str(environment)
    assert environment.pop("PWD", "/") == "/"  # bubblewrap's own
    assert set(environment) <= {"PYTHONHASHSEED", "MALLOC_ARENA_MAX", "LC_ALL", "LD_LIBRARY_PATH"}
    modules = jail.call("import sys\ndef f(): return sorted(sys.modules)", "f", [[]]).values[0]
    assert not {"torch", "numpy", "nbkit", "site"} & set(modules)


def test_bubblewrap_gives_the_worker_process_numbers_of_its_own(jail):
    status = Path(f"/proc/{jail._worker.pid}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid")).split()[1:]
    assert numbers[-1] == ("1" if jail.layers[0] == "bubblewrap" else str(jail._worker.pid))


def test_jobs_do_not_see_each_other(jail):
    secret = "PREVIOUS" + secrets.token_hex(8)
    jail.call(f"import sys, builtins\nsys.X = builtins.X = X = '{secret}'\ndef f(): return X", "f", [[]])
    scan = """import gc, sys, builtins
def f(start):
    heap = [v for o in gc.get_objects() if type(o) is dict for v in list(o.values()) if type(v) is str]
    left = hasattr(sys, "X") or hasattr(builtins, "X")
    return left or any(v.startswith(start) and v != start for v in heap)"""
    assert jail.call(scan, "f", [[secret[:12]]]) == JailResult("ok", [False])


def test_there_is_no_way_to_run_unjailed(monkeypatch):
    monkeypatch.setenv("NBKIT_JAIL", "off")
    with pytest.raises(SandboxUnavailable, match="NBKIT_JAIL=off"):
        probe()
    with pytest.raises(SandboxUnavailable):
        Jail().call(ADD, "add", [[2, 3]])
    monkeypatch.setenv("NBKIT_JAIL", "on")
    with pytest.raises(ValueError, match="wanted 'off'"):
        probe()
    monkeypatch.delenv("NBKIT_JAIL")
    monkeypatch.setattr(jail_confine, "tier", lambda: None)
    monkeypatch.setattr(wasm, "why_not", lambda: "not installed")
    with pytest.raises(SandboxUnavailable, match="seccomp"):
        Jail().start()


def test_a_jail_that_fails_its_self_test_is_refused(monkeypatch):
    monkeypatch.setattr("nbkit.verify.jail.canary._BAD", "def canary(): return ['open']")
    with pytest.raises(SandboxUnavailable, match="self-test"):
        Jail().start()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(SandboxUnavailable, match="did not start"):
        Jail().start()


def test_filter_structure():
    """Every program jumps inside itself and ends in a refusal (x86_64 and aarch64, the latter unrun here)."""
    for machine in ("x86_64", "aarch64"):
        program = jail_confine.build_filter(machine)
        steps = [program[i : i + 8] for i in range(0, len(program), 8)]
        for number, step in enumerate(steps):
            if step[0] & 7 == 5:
                assert number + 1 + max(step[2], step[3]) < len(steps)
        assert steps[-1] == bytes.fromhex("0600000001000500")


def attacks_on(canary):
    """The attacks by function call, but for those that only take time; none where the suite is absent."""
    data = Path(os.environ.get("NBKIT_DATA_DIR") or ROOT.parent / "shared" / "data")
    path = data.parent / "attacks" / "attacks.json"
    suite = json.loads(path.read_text())["attacks"] if path.exists() else []
    places = {"CANARY": canary, "SECRET": canary / "x", "PORT": 1, "GRADER_PID": os.getpid()}
    places |= {"TOKEN_PREFIX_HEX": "00" * 8, "MARKERS": "passed", "MARKERS_1": "passed"}
    found = {}
    for item in suite:
        if item["mode"] == "call" and item["category"] != "resource":
            code = item["code"]
            for name, value in places.items():
                code = code.replace("{{" + name + "}}", str(value))
            found[item["name"]] = code
    return found


UNPRIVILEGED = """
import json, os
attacks = json.loads(sys.argv[2])
for tier in available():
    with Jail(tier=tier, wall_s=0.5) as jail:
        for name, code in attacks.items():
            verdict = grade(jail, code, "add", [Call([123, 456], 579), Call([7, 8], 15)])
            assert verdict.reward == 0.0, (tier, name, verdict)
        bad = jail.call("import os\\ndef f(): return os.listdir('/')", "f", [[]])
        good = jail.call("def add(a, b): return a + b", "add", [[2, 3]])
        print(os.getuid(), jail.tier, good.values, bad.values)
"""


def test_it_works_for_an_unprivileged_user():
    # pytest's own temporary folders are closed to other users.
    with as_nobody() as run, tempfile.TemporaryDirectory(prefix="nbkit-") as folder:
        canary = Path(folder, "canary")
        canary.mkdir()
        os.chmod(folder, 0o755)
        canary.chmod(0o777)
        done = run(UNPRIVILEGED, json.dumps(attacks_on(canary)))
        assert done.returncode == 0, done.stderr
        assert list(canary.iterdir()) == []
    lines = done.stdout.splitlines()
    assert len(lines) >= (2 if "landlock" in TIERS else 1), done.stdout
    for line in lines:
        assert line.startswith("65534 ") and "seccomp [5] [CallError(" in line and "PermissionError" in line
