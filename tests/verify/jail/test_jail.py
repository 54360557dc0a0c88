"""The jail: what hostile code can reach (nothing), what comes out (plain data), and honest failures."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
from jail_scripts import alive, wait

from nbkit.verify import CallError, Jail, JailResult
from nbkit.verify.jail.inside import jail_codec
from nbkit.verify.jail.results import read_calls
from nbkit.verify.jail.tiers import available

ROOT = Path(__file__).resolve().parents[3]
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
