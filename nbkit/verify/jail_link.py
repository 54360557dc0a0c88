"""The trusted side's end of the line to jailed jobs: frames in, frames out, kill, reap (used by `jail.py`).

A worker opens jobs; a job is a conversation that ends with its death:

    job = worker.open({"mode": "call", …}, limit=65536)
    job.begin()                          # it is confined and about to run the program
    raw = job.receive(time.monotonic() + 2.0)
    code = job.end()                     # dead and reaped; negative numbers are signals, as in subprocess

`ForkWorker` is the Linux one (`jail_worker.py`); `jail_wasm.py` has the same two classes for WebAssembly.
"""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import time
from pathlib import Path

from . import jail_clock
from .jail_job import LENGTH_DIGITS, frame

# A loaded machine may be slow to start a worker or a job; limits count from the moment a job is confined.
START_S = 30.0
_WORKER = Path(__file__).with_name("jail_worker.py")


class Cut(Exception):
    """The conversation ended early: "time", "size" (too much said), "closed" or "garbage"."""


class NotStarted(OSError):
    """A worker or job did not come up: the jail's failure, not the program's."""


class Job:
    """One confined process. `limit` is the most bytes of one of its answers, and of all that it prints."""

    def __init__(self, limit: int) -> None:
        self.limit, self.output = limit, bytearray()
        self._buffer = bytearray()

    def send(self, message: dict | list, deadline: float) -> None:
        self._write(frame(json.dumps(message).encode()), deadline)

    def begin(self) -> None:
        """Wait until the job is confined. Raises NotStarted."""
        try:
            first = self.receive(time.monotonic() + START_S)
        except Cut as cut:
            raise NotStarted(f"the job did not start: {cut}") from cut
        if first != b"R":
            raise NotStarted(f"the job did not start: {first[1:300].decode('utf-8', 'replace')}")

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

    def __init__(self, control: socket.socket, limit: int, stdin: bytes | None) -> None:
        super().__init__(limit)
        self._control, self._printing = control, None
        self.worker: int | None = None
        self._channel, theirs = socket.socketpair()
        give = [theirs.fileno()]
        try:
            if stdin is not None:
                self._printing, printed = os.pipe()
                give += [_memory_file(stdin), printed]
                os.set_blocking(self._printing, False)
            self._channel.setblocking(False)
            socket.send_fds(control, [b"J"], give)
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            for fd in give[1:]:
                os.close(fd)

    def _wait(self, events: int, deadline: float) -> int:
        """Events of the channel; what is printed meanwhile is collected."""
        poller = select.poll()
        poller.register(self._channel, events)
        if self._printing is not None:
            poller.register(self._printing, select.POLLIN)
        while (wait := jail_clock.left(deadline, self.worker)) > 0:
            ready = dict(poller.poll(wait * 1000 + 1))
            if self._printing in ready and not self._drain():
                poller.unregister(self._printing)
            if found := ready.get(self._channel.fileno()):
                return found
        raise Cut("time")

    def _drain(self) -> bool:
        """Collect what stands in the pipe; False once it is closed."""
        while True:
            try:
                part = os.read(self._printing, 1 << 16)
            except BlockingIOError:
                return True
            if not part:
                return False
            self._printed(part)

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
        try:
            self._control.send(b"K")
            (status,) = struct.unpack("i", self._control.recv(4))
            if self._printing is not None:
                self._drain()
        finally:
            self._close()
        return os.waitstatus_to_exitcode(status)

    def _close(self) -> None:
        self._channel.close()
        if self._printing is not None:
            os.close(self._printing)


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class ForkWorker:
    """A warm Linux worker, started by `command` (which ends in a Python and its flags). `layers` are what
    holds it, `pid` is its number here, `memory` the address space that one of its jobs may have, bytes."""

    def __init__(self, command: list[str], settings: dict, memory_mb: int) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        keep = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(_WORKER), json.dumps(settings)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=keep | {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,  # Ctrl-C in a notebook must not reach the worker
            )
        self._control.settimeout(START_S)
        try:
            hello, credentials, _, _ = self._control.recvmsg(4096, socket.CMSG_SPACE(12))
            answer = json.loads(hello)
            if "error" in answer:
                raise NotStarted(answer["error"])
            self.layers = answer["layers"]
            # the process number as we see it, whatever its namespace
            self.pid = struct.unpack("3i", credentials[0][2])[0]
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[0])
        except (OSError, ValueError, KeyError, LookupError) as error:
            self.close()
            detail = error if isinstance(error, NotStarted) else f"no answer ({error!r})"
            raise NotStarted(str(detail)) from error
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self.memory = pages * os.sysconf("SC_PAGE_SIZE") + (memory_mb << 20)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def open(self, message: dict, limit: int, stdin: bytes | None = None) -> ForkJob:
        job = ForkJob(self._control, limit, stdin)
        job.worker = self.pid
        # The job dies with the socket when this fails, and the worker answers the next request.
        with contextlib.suppress(Cut):
            job.send(message | {"memory": self.memory}, time.monotonic() + START_S)
        return job

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its job dies with it (PR_SET_PDEATHSIG)
            self._process.wait()
