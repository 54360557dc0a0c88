"""The trusted side's end of the line to jailed jobs: frames in, frames out, kill, reap (used by `jail.py`).

A worker opens jobs; a job is a conversation that ends with its death:

    job = worker.open({"mode": "call", …}, limit=65536)
    job.begin()                          # it is confined and about to run the program
    raw = job.receive(time.monotonic() + 2.0)
    code = job.end()                     # dead and reaped; negative numbers are signals, as in subprocess

`ForkWorker` is the Linux one (`jail_worker.py`); `wasm.py` has the same two classes for WebAssembly.
"""

import contextlib
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from nbkit.verify.jail import clock, keeper
from nbkit.verify.jail.inside.jail_job import LENGTH_DIGITS, frame

# A loaded machine may be slow to start a worker or a job; limits count from the moment a job is confined.
START_S = 30.0
_WORKER = Path(__file__).parent / "inside/jail_worker.py"


class Cut(Exception):
    """The conversation ended early: "time", "size" (too much said), "closed" or "garbage"."""


class NotStarted(OSError):
    """A worker or job did not come up: the jail's failure, not the program's."""


class Job:
    """One confined process. `limit` is the most bytes of one of its answers, and of all that it prints.
    `begun`: it is confined, its program runs; `ended`: nothing of it is left."""

    start_s = START_S

    def __init__(self, limit: int) -> None:
        self.limit, self.output = limit, bytearray()
        self.begun = self.ended = False
        self._buffer = bytearray()

    def send(self, message: dict | list, deadline: float) -> None:
        self._write(frame(json.dumps(message).encode()), deadline)

    def begin(self) -> None:
        """Wait until the job is confined. Raises NotStarted.

        What its program prints meanwhile must wait: too much of it is the program's fault, not the start's.
        """
        try:
            first = self.receive(time.monotonic() + self.start_s)
        except Cut as cut:
            raise NotStarted(f"the job did not start: {cut}") from cut
        if first != b"R":
            raise NotStarted(f"the job did not start: {first[1:300].decode('utf-8', 'replace')}")
        self.begun = True

    def receive(self, deadline: float) -> bytes:
        """The next frame. Raises Cut."""
        length = self._length(deadline)
        while len(self._buffer) < LENGTH_DIGITS + length:
            self._fill(deadline)
        data = bytes(self._buffer[LENGTH_DIGITS : LENGTH_DIGITS + length])
        del self._buffer[: LENGTH_DIGITS + length]
        return data

    def _length(self, deadline: float) -> int:
        while len(self._buffer) < LENGTH_DIGITS:
            self._fill(deadline)
        try:
            length = int.from_bytes(bytes.fromhex(self._buffer[:LENGTH_DIGITS].decode("ascii")), "big")
        except ValueError:
            raise Cut("garbage") from None
        if length > self.limit:
            raise Cut("size")
        return length

    def _heard(self, part: bytes) -> None:
        if not part:
            raise Cut("closed")
        self._buffer += part

    def _printed(self, part: bytes) -> None:
        self.output += part
        if len(self.output) > self.limit:
            raise Cut("size")

    def _fill(self, deadline: float) -> None:
        raise NotImplementedError

    def _write(self, data: bytes, deadline: float) -> None:
        raise NotImplementedError

    def end(self) -> int:
        raise NotImplementedError


class ForkJob(Job):
    """A job forked by `jail_worker.py`: a socket, and a pipe that collects its standard output, if asked
    for."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._control: socket.socket | None = None
        self._channel: socket.socket | None = None
        self.worker: int | None = None  # whose job it is, by process number
        self._printing: io.FileIO | None = None
        keeper.follow(self)

    def start(self, control: socket.socket, stdin: bytes | None) -> None:
        """Ask the worker for it. Every descriptor has an owner that closes it, wherever an interrupt hits."""
        self._control = control
        self._channel, theirs = socket.socketpair()
        give = [theirs]
        try:
            if stdin is not None:
                self._printing, printed = map(open, os.pipe(), ("rb", "wb"), (0, 0))
                give += [_memory_file(stdin), printed]
                os.set_blocking(self._printing.fileno(), False)
            self._channel.setblocking(False)
            socket.send_fds(control, [b"J"], [item.fileno() for item in give])
        finally:
            for item in give:
                item.close()

    def _wait(self, events: int, deadline: float) -> int:
        """Events of the channel; what the program prints meanwhile is collected."""
        poller = select.poll()
        poller.register(self._channel, events)
        printing = self._printing.fileno() if self._printing is not None and self.begun else None
        if printing is not None:
            poller.register(printing, select.POLLIN)
        while (wait := clock.left(deadline, self.worker)) > 0:
            ready = dict(poller.poll(wait * 1000 + 1))
            if printing in ready and not self._drain():
                poller.unregister(printing)
            if found := ready.get(self._channel.fileno()):
                return found
        raise Cut("time")

    def _drain(self) -> bool:
        """Collect what stands in the pipe; False once it is closed."""
        while (part := self._printing.read(1 << 16)) is not None:
            if not part:
                return False
            self._printed(part)
        return True

    def _fill(self, deadline: float) -> None:
        self._wait(select.POLLIN, deadline)
        try:
            self._heard(self._channel.recv(1 << 16))
        except ConnectionResetError:
            raise Cut("closed") from None

    def _write(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(select.POLLOUT, deadline)
            try:
                left = left[self._channel.send(left) :]
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise Cut("closed") from None

    def end(self) -> int:
        self._control.send(b"K")
        (status,) = struct.unpack("i", self._control.recv(4))
        self.ended = True
        try:
            if self._printing is not None:
                self._drain()
        finally:
            self.forget()
        return os.waitstatus_to_exitcode(status)

    def forget(self) -> None:
        """Close our ends; the process is the worker's to kill."""
        for end in (self._channel, self._printing):
            if end is not None:
                end.close()


def _memory_file(data: bytes) -> io.FileIO:
    file = open(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b", buffering=0)  # noqa: SIM115
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    file.seek(0)
    return file


class ForkWorker:
    """A warm Linux worker, started by `command` (which ends in a Python and its flags). `layers` are what
    holds it, `pid` is its number here, `memory` the address space that one of its jobs may have, bytes."""

    def __init__(self, command: list[str], settings: dict, memory_mb: int) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        self._job: ForkJob | None = None
        self.pid: int | None = None
        keeper.follow(self)
        try:
            keeper.do(lambda: self._start([*command, str(_WORKER), json.dumps(settings)]))
            self._meet(memory_mb)
        except BaseException as error:
            # Whatever the start broke on, nothing of it stays behind.
            self.close()
            if isinstance(error, (ValueError, LookupError)):
                raise NotStarted(f"no answer ({error!r})") from error
            raise

    def _start(self, command: list[str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._control.settimeout(START_S)
        keep = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=keep | {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,  # Ctrl-C in a notebook must not reach the worker
            )

    def _meet(self, memory_mb: int) -> None:
        """Hear what holds the worker, and learn its process number as we see it, whatever its namespace."""
        hello, credentials, _, _ = self._control.recvmsg(4096, socket.CMSG_SPACE(12))
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self.pid = struct.unpack("3i", credentials[0][2])[0]
        answer = json.loads(hello)
        if "error" in answer:
            raise NotStarted(answer["error"])
        self.layers = answer["layers"]
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[0])
        self.memory = pages * os.sysconf("SC_PAGE_SIZE") + (memory_mb << 20)

    @property
    def alive(self) -> bool:
        """It runs and waits for a job; False also where an interrupt left it in the middle of one."""
        return self._process.poll() is None and (self._job is None or self._job.ended)

    def open(self, message: dict, limit: int, stdin: bytes | None = None) -> ForkJob:
        self._job = job = ForkJob(limit)
        job.start(self._control, stdin)
        job.worker = self.pid
        # The job dies with the socket when this fails, and the worker answers the next request.
        with contextlib.suppress(Cut):
            job.send(message | {"memory": self.memory}, time.monotonic() + START_S)
        return job

    def close(self) -> None:
        keeper.do(self._close)

    def _close(self) -> None:
        """SIGKILL at once: a stopped worker hears nothing else, and none has anything to save."""
        self.forget()
        if self._process is None or self._process.poll() is not None:
            return
        if self.pid is not None and self.pid != self._process.pid:  # then bubblewrap is the parent, and reaps
            _kill_group(self.pid, parent=self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        if self._process.poll() is None:
            _kill_group(self._process.pid, parent=os.getpid())
            self._process.wait(START_S)

    def forget(self) -> None:
        """Close our ends of the line, and of a job that was cut short."""
        if self._job is not None:
            self._job.forget()
        if self._control is not None:
            self._control.close()


def _kill_group(pid: int, parent: int) -> None:
    """SIGKILL `pid` and its process group, which is its own, if `pid` is still a child of `parent`."""
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(status[1]) == parent:
            os.kill(pid, signal.SIGKILL)
            if int(status[2]) == pid:
                os.killpg(pid, signal.SIGKILL)
