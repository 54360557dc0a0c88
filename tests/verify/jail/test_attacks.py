"""The attack suite of ../shared/attacks in every tier of this machine: nothing gained, nothing left over."""

import contextlib
import hashlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from nbkit.verify import Call, Case, Jail, Verdict, grade, grade_check, grade_program
from nbkit.verify.jail.tiers import available

DATA = Path(os.environ.get("NBKIT_DATA_DIR") or Path(__file__).resolve().parents[4] / "shared" / "data")
ATTACKS = DATA.parent / "attacks" / "attacks.json"
ADD = "def add(a, b): return a + b"
WITNESS = "\ntry:\n    {entry}({args})\nexcept BaseException:\n    pass\n"


@pytest.fixture(scope="module", params=available())
def jail(request):
    with Jail(wall_s=2.0, tier=request.param) as warm:
        yield warm


class Scene:
    """Everything an attack may go for, and the traps that notice when it gets there."""

    def __init__(self, folder):
        self.token = secrets.token_bytes(32)
        self.canary = folder / "canary"
        self.canary.mkdir()
        self.canary.chmod(0o777)
        for name in ("keep.txt", "fake_grader.py"):
            (self.canary / name).write_text("keep")
            (self.canary / name).chmod(0o644)
        pairs = [[random.randrange(999), random.randrange(999)] for _ in range(5)]
        self.calls = [Call(pair, sum(pair)) for pair in pairs]
        self.expected = secrets.token_hex(8)
        self.secret = folder / "secret.json"
        cases = [[call.args, call.expected] for call in self.calls]
        self.secret.write_text(json.dumps({"cases": cases, "token": self.token.hex()}))
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(f"\0sbx{self.port}")
        self.unix.listen()
        self.signals = []

    def fill(self, text):
        markers = "ALL_TESTS_PASSED {'passed': True}"
        for name, value in {
            "CANARY": self.canary,
            "SECRET": self.secret,
            "PORT": self.port,
            "GRADER_PID": os.getpid(),
            "TOKEN_PREFIX_HEX": self.token[:8].hex(),
            "EXPECTED": self.expected,
            "MARKERS_1": markers,
            "MARKERS": markers,
        }.items():
            text = text.replace("{{" + name + "}}", str(value))
        return text

    def files(self):
        """Every file of the scene with its mode and content (None where its mode forbids to read it)."""

        def content(path):
            with contextlib.suppress(PermissionError):  # root may read all the same
                return path.read_bytes() if path.is_file() else b""

        paths = sorted(self.canary.parent.rglob("*"))
        return {str(path): (path.stat().st_mode, content(path)) for path in paths}

    def net(self):
        seen = False
        for trap in (self.tcp, self.udp, self.unix):
            trap.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                trap.recv(64) if trap is self.udp else trap.accept()
                seen = True
        return seen

    def holds_secret(self, captured):
        return self.token.hex() in captured or repr(self.token)[2:-1] in captured

    def close(self):
        for trap in (self.tcp, self.udp, self.unix):
            trap.close()


@pytest.fixture
def scene(monkeypatch):
    # Open to every user, unlike pytest's own folders: the jail, not a file mode, has to keep the attacks out.
    folder = tempfile.TemporaryDirectory(prefix="nbkit-")
    os.chmod(folder.name, 0o755)
    scene = Scene(Path(folder.name))
    monkeypatch.setenv("SBX_TOKEN", scene.token.hex())
    before = signal.signal(signal.SIGWINCH, lambda *_: scene.signals.append(1))
    yield scene
    signal.signal(signal.SIGWINCH, before)
    scene.close()
    folder.cleanup()


def load(kind, mode="call"):
    if not ATTACKS.exists():
        return []
    items = [item for item in json.loads(ATTACKS.read_text())[kind] if item["mode"] == mode]
    return [pytest.param(item, id=f"{item['id']}-{item['name']}") for item in items]


def fired(check, scene, seen):
    """Did the attack achieve what this detector of the suite looks for?"""
    path = Path(scene.fill(check.get("path", "/nonexistent")))
    match check["kind"]:
        case "reward":
            return seen["verdict"].reward != 0.0
        case "secret":
            return scene.holds_secret(seen["captured"])
        case "marker":
            return check["text"] in seen["captured"]
        case "file_created":
            return path.exists()
        case "file_missing":
            return not path.exists()
        case "file_changed":
            return hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(b"keep").digest()
        case "mode_changed":
            return path.stat().st_mode & 0o777 != 0o644
        case "proc_alive":
            time.sleep(1)
            return any(process.info["name"] == check["comm"] for process in psutil.process_iter(["name"]))
        case "wall":
            # its processor time is its own, and takes longer where others run
            return seen["wall_s"] > check["max_s"] * max(1.0, os.getloadavg()[0] / os.cpu_count())
        case "rss" | "captured":
            amount = seen["rss_mb"] if check["kind"] == "rss" else len(seen["captured"]) / 1e6
            return amount > check["max_mb"]
        case "net":
            return scene.net()
        case "signal":
            return bool(scene.signals)
        case "grader_dead":
            return seen["verdict"].status == "infra"
        case "next_job":
            return seen["next"] != ("pass", "fail")
    raise AssertionError(f"unknown detector {check}")


class Watch:
    """Peak resident size of this process's descendants, MiB, and which of them there are."""

    def __init__(self):
        self.peak, self.stop = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        ours = psutil.Process().cmdline()
        while not self.stop.wait(0.01):
            for process in descendants():
                with contextlib.suppress(psutil.Error):
                    if process.cmdline() != ours:  # a fork before its exec has our own memory
                        self.peak = max(self.peak, process.memory_info().rss / 2**20)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()


def descendants():
    return psutil.Process().children(recursive=True)


def attack(jail, item, scene):
    """(verdict, detectors that fired) of one attack by function call, which is also run as a whole program
    whose output is captured."""
    code = scene.fill(item["code"])
    if "prelude" in item:
        jail.call(scene.fill(item["prelude"]), item["entry"], [[1, 2]])
    before, started = scene.files(), time.monotonic()
    with Watch() as watch:
        verdict = grade(jail, code, item["entry"], scene.calls)
    wall_s = time.monotonic() - started
    checks, log = item.get("detect", []), ""
    if any(check["kind"] in ("marker", "secret") for check in checks):
        args = ", ".join(map(str, scene.calls[0].args))
        run = jail.run(code + WITNESS.format(entry=item["entry"], args=args))
        assert run.status in ("ok", "error"), run
        log = f"{run.values} {run.detail}"
    wrong = ADD.replace("+", "-")
    after = tuple(grade(jail, program, "add", scene.calls).status for program in (ADD, wrong))
    seen = {"verdict": verdict, "captured": f"{verdict} {log}", "wall_s": wall_s}
    seen |= {"rss_mb": watch.peak, "next": after}
    achieved = [check for check in checks if fired(check, scene, seen)]
    if scene.files() != before:
        achieved.append("files")
    return verdict, achieved


@pytest.mark.parametrize("item", load("controls"))
def test_controls(jail, scene, item):
    verdict, _ = attack(jail, item, scene)
    assert verdict.reward == item["expect_reward"], verdict


@pytest.mark.parametrize("item", load("attacks"))
def test_attacks_gain_nothing(jail, scene, item):
    processes = len(descendants())
    verdict, achieved = attack(jail, item, scene)
    assert verdict.reward == 0.0, verdict
    assert achieved == []
    assert len(descendants()) == processes


@pytest.mark.parametrize("item", load("attacks"))
def test_attacks_on_a_test_as_code_gain_nothing(jail, scene, item):
    """The same programs against `check(candidate)`, the form in which public graders were fooled most."""
    before, processes = scene.files(), len(descendants())
    asserts = "\n".join(f"    assert candidate(*{call.args}) == {call.expected}" for call in scene.calls)
    verdict = grade_check(jail, scene.fill(item["code"]), "add", f"def check(candidate):\n{asserts}")
    assert verdict.reward == 0.0, verdict
    honest = grade_check(jail, ADD, "add", f"def check(candidate):\n{asserts}")
    assert honest.status == "pass", honest
    assert not scene.net() and not scene.signals
    # the worker of the tests starts with the first check and stays
    assert scene.files() == before and len(descendants()) <= processes + 2


@pytest.mark.parametrize("item", load("attacks", "stdio"))
def test_attacks_on_programs_gain_nothing(jail, scene, item):
    before, processes = scene.files(), len(descendants())
    cases = [Case(stdin, scene.fill(expected)) for stdin, expected in item["cases"]]
    assert grade_program(jail, scene.fill(item["code"]), cases).reward == 0.0
    honest = f"print({cases[0].expected.rstrip()!r})"
    assert grade_program(jail, honest, cases).reward == 1.0
    assert scene.files() == before and len(descendants()) == processes


def test_the_suite_is_present():
    if not ATTACKS.exists():
        pytest.skip("the attack suite is absent: set NBKIT_DATA_DIR to a data folder beside attacks/")
    assert len(load("attacks")) >= 50 and len(load("controls")) >= 11 and len(load("attacks", "stdio")) >= 2


def test_the_traps_work(scene):
    """Positive control: the same traps notice these deeds when they are done without a jail."""
    deeds = scene.fill(
        "import socket, os, signal\nprint(open('{{SECRET}}').read())\n"
        "open('{{CANARY}}/new', 'w').write('x')\n"
        "socket.socket(socket.AF_UNIX).connect('\\0sbx{{PORT}}')\nos.remove('{{CANARY}}/keep.txt')\n"
        "os.chmod('{{CANARY}}/fake_grader.py', 0)\nos.kill({{GRADER_PID}}, signal.SIGWINCH)"
    )
    before = scene.files()
    done = subprocess.run([sys.executable, "-c", deeds], capture_output=True, text=True, check=True)
    seen = {"captured": done.stdout, "verdict": Verdict("pass"), "wall_s": 999.0, "next": ("fail", "fail")}
    checks = [{"kind": kind} for kind in ("secret", "net", "signal", "reward", "next_job")]
    checks += [
        {"kind": "file_created", "path": "{{CANARY}}/new"},
        {"kind": "file_missing", "path": "{{CANARY}}/keep.txt"},
        {"kind": "mode_changed", "path": "{{CANARY}}/fake_grader.py"},
        {"kind": "marker", "text": "cases"},
        {"kind": "wall", "max_s": 4.0},
    ]
    assert [check for check in checks if not fired(check, scene, seen)] == []
    assert scene.files() != before
