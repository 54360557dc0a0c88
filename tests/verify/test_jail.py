"""The jail: what hostile code can reach (nothing), what comes out (plain data), and honest failures."""

import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
from jail_scripts import alive, as_nobody, wait

from nbkit.verify import CallError, Jail, JailResult, SandboxUnavailable, probe
from nbkit.verify.jail import wasm
from nbkit.verify.jail.inside import jail_codec, jail_confine
from nbkit.verify.jail.results import read_calls
from nbkit.verify.jail.tiers import available

ROOT = Path(__file__).resolve().parents[2]
ADD = "def add(a, b): return a + b"
TIERS = [tier for tier in available() if tier != "wasmtime"]
if not TIERS:
    pytest.skip("no Linux jail on this machine", allow_module_level=True)


@pytest.fixture(scope="module", params=TIERS)
def jail(request):
    with Jail(wall_s=1.0, tier=request.param) as warm:
        yield warm


def attempt(jail, body):
    """Result of one hostile call, then check that the next honest job on the same worker is unharmed."""
    code = "import os, ctypes, sys, threading\ndef f():\n" + "\n".join(
        f"    {line}" for line in body.splitlines()
    )
    result = jail.call(code, "f", [[]])
    assert jail.call(ADD, "add", [[2, 3]]) == JailResult("ok", [5])
    return result


def test_values_keep_their_exact_types(jail):
    values = [None, True, 1, -(10**40), 1.0, -0.0, math.inf, "é\ud800", b"\x00", 1 + 2j, Fraction(1, 3)]
    values += [[1, (2, "x")], {1, 2}, frozenset({True}), {(1, 2): [None], "k": {}}]
    got = jail.call("def same(x): return x", "same", [[value] for value in values])
    assert got.status == "ok"
    assert [repr(value) for value in got.values] == [repr(value) for value in values]
    nan = jail.call("def f(): return float('nan')", "f", [[]]).values[0]
    assert math.isnan(nan)


def test_one_outcome_per_call(jail):
    got = jail.call(
        "def f(x):\n    if x == 1: raise SystemExit(0)\n    return [10 // x]", "f", [[5], [0], [1]]
    )
    assert got.status == "ok" and got.values[0] == [2]
    assert got.values[1].detail.startswith("ZeroDivisionError") and got.values[2].detail.startswith(
        "SystemExit"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f(:", "SyntaxError"),
        ("x = 1", "no function named 'f'"),
        ("1/0", "ZeroDivisionError"),
        ("a\0b", "null"),
    ],
)
def test_code_that_does_not_load_is_an_error(jail, code, words):
    got = jail.call(code, "f", [[]])
    assert got.status == "error" and words in got.detail


def test_bad_use_is_a_value_error(jail):
    with pytest.raises(ValueError, match="type object"):
        jail.call(ADD, "add", [[object(), 1]])
    with pytest.raises(ValueError, match="wall_s"):
        Jail(wall_s=0)
    assert jail.call("#" * 200_000, "f", [[]]).status == "error"


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


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "threading.Thread(target=__import__('time').sleep, args=(60,)).start()",
    ],
)
def test_the_wall_limit_kills_and_reaps(jail, body):
    started = time.monotonic()
    code = "import threading, time\ndef f():\n    " + body + "\n    while True: time.sleep(1)"
    assert jail.call(code, "f", [[]]) == JailResult("timeout", [], "wall limit of 1 s")
    assert time.monotonic() - started < 30  # of the 60 that it would sleep
    assert _children(jail) == []


def _children(jail):
    return Path(f"/proc/{jail._worker.pid}/task/{jail._worker.pid}/children").read_text().split()


def test_memory_threads_and_output_are_bounded(jail):
    assert attempt(jail, "return len(b'a' * (1 << 30))").values == [CallError("MemoryError: ")]
    threads = """import time
started = 0
try:
    for _ in range(2000):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start(); started += 1
except RuntimeError:
    pass
return started"""
    assert attempt(jail, threads).values[0] < 300
    if os.geteuid() == 0 or subprocess.run(["unshare", "-U", "true"], check=False).returncode == 0:
        small = threads.replace("started = 0", "started = 0; threading.stack_size(32768)")
        assert 4 < attempt(jail, small).values[0] < 64
    assert "longer than 65536" in attempt(jail, "return 'x' * 100_000").detail
    assert "bits" in attempt(jail, "return 1 << 5_000_000").values[0].detail
    assert "deeper" in attempt(jail, "x = []\nx.append(x)\nreturn x").values[0].detail
    assert attempt(jail, "while True: os.write(3, b'x' * 65536)").status == "error"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("class T(int):\n    __eq__ = lambda s, o: True\nreturn T(0)", 0),
        ("class L(list):\n    __eq__ = lambda s, o: True\nreturn L()", []),
        ("class R:\n    __reduce__ = lambda s: (print, ('x',))\nreturn R()", None),
        ("return (i for i in range(3))", None),
    ],
)
def test_only_exact_builtin_types_come_out(jail, body, value):
    """A subclass of one as a plain copy, which has none of its methods; anything else not at all."""
    (got,) = attempt(jail, body).values
    if value is None:
        assert "cannot return a value of type" in got.detail
    else:
        assert type(got) is type(value) and got == value


@pytest.mark.parametrize(
    "body",
    [
        "os._exit(0)",
        'os.write(3, b\'{"calls": [["i", "0x5"]]}x\'); os._exit(0)',
        "os.close(3)",
        "ctypes.string_at(0)",
        "os.write(3, b'[' * 60000); os._exit(0)",
        "os.write(3, b'9' * 60000); os._exit(0)",
        'os.write(3, b\'{"calls": [["q", ["i", "0x1"], ["i", "0x0"]]]}\'); os._exit(0)',
        "os.write(3, b'{\"calls\": []}'); os._exit(0)",
    ],
)
def test_a_spoilt_answer_is_the_jobs_own_error(jail, body):
    got = attempt(jail, body)
    assert (got.status, got.values) == ("error", []), got


def test_codec_refuses_malformed_data():
    for bad in [
        5,
        [],
        ["?"],
        ["b", 2],
        ["i", 5],
        ["i", "zz"],
        ["s", 1],
        ["f", "x"],
        ["S", [["l", []]]],
        ["d", [[["n"]]]],
        ["q", ["s", "1e10000000"], ["n"]],
        ["q", ["s", "1e10000000"], ["i", "0x1"]],
        ["q", ["i", "0x1"]],
    ]:
        with pytest.raises((ValueError, TypeError, LookupError)):
            jail_codec.decode(bad)
    answer = {"calls": [{"value": ["l", [["i", "0x1"], ["b", 1]]]}]}
    assert read_calls(answer, 1) == JailResult("ok", [[1, True]])
    for bad in [{"calls": 5}, {"calls": [["i", "0x1"]]}, {"calls": [{}]}, {}]:
        assert read_calls(bad, 1).status == "error"


def test_equal_jobs_give_equal_answers():
    code = "import random\ndef f(): return [random.random(), hash('x'), [*{'a', 'b', 'c', 'd'}]]"
    with Jail() as first, Jail() as second:
        assert first.call(code, "f", [[]]) == first.call(code, "f", [[]]) == second.call(code, "f", [[]])


def test_eval_is_exact_and_confined(jail):
    assert jail.eval("F(1, 3) + F('0.5')") == JailResult("ok", [Fraction(5, 6)])
    assert jail.eval("sqrt(F(9, 4))").values == [Fraction(3, 2)]
    assert jail.eval("1 +").status == "error"
    assert jail.eval("__import__('os').listdir('/')").status == "error"


def test_a_lost_worker_is_infra_and_replaced():
    with Jail(wall_s=5) as jail:
        killer = threading.Timer(0.3, lambda: os.kill(jail._worker.pid, signal.SIGKILL))
        killer.start()
        assert jail.call("def f():\n    while True: pass", "f", [[]]).status == "infra"
        assert jail.call(ADD, "add", [[2, 3]]).values == [5]


def test_the_worker_ends_with_its_parent():
    script = f"""import sys, types
sys.modules["nbkit"] = package = types.ModuleType("nbkit"); package.__path__ = [{str(ROOT / "nbkit")!r}]
from nbkit.verify import Jail
jail = Jail(wall_s=60).start(); print(jail._worker.pid, flush=True)
jail.call("import time\\ndef f(): time.sleep(60)", "f", [[]])"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    wait(lambda: not alive(worker))


@pytest.mark.parametrize("tier", available())
def test_an_interrupt_leaves_a_usable_jail_and_no_job(tier):
    ours = psutil.Process()
    before = len(ours.children(recursive=True))
    with Jail(wall_s=30, tier=tier) as jail:
        running = len(ours.children(recursive=True))
        alarm = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            with pytest.raises(KeyboardInterrupt):
                jail.call("def f():\n    while True: pass", "f", [[]])
        finally:
            signal.signal(signal.SIGALRM, alarm)
        assert jail.call(ADD, "add", [[2, 3]]).values == [5]
        assert len(ours.children(recursive=True)) == running
    assert len(ours.children(recursive=True)) == before


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


MIXED = [
    ADD,
    "import os\nos._exit(0)",
    "def add(a, b): return [0] * 10**9",
    "def add(a, b): return 'x' * 10**6",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(9,)).start()\ndef add(a, b): return 0",
    "def add(a, b) return",
]


def test_a_thousand_jobs_leak_nothing(jail):
    ours, worker = psutil.Process(), psutil.Process(jail._worker.pid)

    def state():
        return [
            [len(ours.children(recursive=True)), ours.num_fds(), worker.num_fds(), len(worker.children())],
            [ours.memory_info().rss / 2**20, worker.memory_info().rss / 2**20],
        ]

    def work(jobs):
        for number in range(jobs):
            got = jail.call(MIXED[number % len(MIXED)], "add", [[number, 1]])
            assert number % len(MIXED) or got.values == [number + 1]
            assert got.status != "infra"
            if number % 10 == 0:
                assert jail.run("print(input())", "x").values == ["x\n"]

    work(50)
    counts, memory = state()
    work(1000)
    assert state()[0] == counts and counts[3] == 0
    assert [after < before + 4 for after, before in zip(state()[1], memory, strict=True)] == [True, True]


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
