"""What an ordinary program expects of its interpreter, inside the jail (`jail_worker.py`, `jail_job.py`).

The jail starts Python without `site` and denies nearly every system call, so some of what programs take
for granted is put back in Python itself: `exit()`, `os.fstat` for fast input, an event loop, the
descriptor behind `/dev/stdin`. No system call is allowed for it, and nothing here protects anybody: a program
may undo all of it.
"""

import atexit
import builtins
import contextlib
import io
import os
import struct
import sys
import threading

import jail_idioms

_MAX_READ = 1 << 26  # os.read(0, 10**9) sets aside 10**9 bytes first, more than a job has
_MAX_STACK = 1 << 26  # likewise threading.stack_size(2**29); pure Python needs little of it
# number of the system call fstat, and its struct stat: format, places of the ten first items of stat_result
_STAT = {
    "x86_64": (5, "=QQQIIIIQqqqqqqqqq", (3, 1, 0, 2, 4, 5, 8, 11, 13, 15)),
    "aarch64": (80, "=QQIIIIQQqiiqqqqqqq", (2, 1, 0, 3, 4, 5, 8, 12, 14, 16)),
}
_LONGEST = 300  # characters of a description


def furnish() -> None:
    """Put everything back, once, in the worker whose copies the jobs are."""
    builtins.exit = builtins.quit = _exit
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # the limit protects servers; here time and memory are limited
    # Programs ask for absurd sizes; what they can get is enough for them.
    read, stack_size = os.read, threading.stack_size
    os.read = lambda fd, count, /: read(fd, min(count, _MAX_READ))
    threading.stack_size = lambda size=0, /: stack_size(min(size, _MAX_STACK))
    sys.argv = ["main.py"]
    with contextlib.suppress(ImportError, KeyError, AttributeError, OSError):
        os.fstat = _fstat_of(os.uname().machine)
    jail_idioms.furnish()
    with contextlib.suppress(ImportError):
        _loops_without_sockets()
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 (WebAssembly has none)

        # Programs raise their own stack, which the kernel would refuse here.
        limit = resource.setrlimit
        resource.setrlimit = lambda kind, limits, /: kind == resource.RLIMIT_STACK or limit(kind, limits)
    atexit._clear()  # what the worker's own modules have registered


def open_streams(size: int) -> None:
    """Standard input, of so many bytes, and output of a program, with the attributes of the real ones."""
    if sys.platform == "wasi":
        jail_idioms.pipe_as_a_file(size)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="surrogateescape"
    )
    sys.stdin.mode, sys.stdout.mode = "r", "w"
    sys.__stdin__, sys.__stdout__ = sys.stdin, sys.stdout


def finish() -> None:
    """What the interpreter does at its end: wait for threads, run what is registered, flush."""
    streams = [sys.stdout, sys.__stdout__]
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in [sys.stdout, *streams]:
        if not getattr(stream, "closed", False):
            stream.flush()


def describe(error: BaseException) -> str:
    """One line about an exception; it says so where the jail is the reason."""
    try:
        text = f"{type(error).__name__}: {error}"
        if why := jail_idioms.reason(error):
            return f"{text[: _LONGEST - len(why) - 3]} ({why})"
        return text[:_LONGEST]
    except BaseException:
        return "exception without a readable message"


def _exit(code: object = None) -> None:
    raise SystemExit(code)


def _fstat_of(machine: str):
    """`os.fstat` by the call fstat. That of the C library is newfstatat, which could also look up paths."""
    import ctypes  # noqa: PLC0415 (Linux tiers only)

    number, form, places = _STAT[machine]
    libc, size = ctypes.CDLL(None, use_errno=True), 256

    def fstat(fd: int, /) -> os.stat_result:
        buffer = ctypes.create_string_buffer(size)
        if libc.syscall(ctypes.c_long(number), ctypes.c_int(fd), buffer) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        found = struct.unpack_from(form, buffer)
        return os.stat_result([found[place] for place in places])

    fstat(0)
    return fstat


def _loops_without_sockets() -> None:
    """An event loop for `asyncio.run` that needs no socket to be woken up: tasks, timers and threads."""
    sys.modules.setdefault("ssl", None)  # large, and useless without a network
    import asyncio  # noqa: PLC0415 (after ssl is hidden)

    class Waiter:
        """In place of a selector: there are no files to wait for."""

        def __init__(self) -> None:
            self.event = threading.Event()

        def select(self, timeout: float | None) -> list:
            if timeout is None or timeout > 0:
                self.event.wait(timeout)
            self.event.clear()
            return []

        def close(self) -> None:
            pass

    class Loop(asyncio.SelectorEventLoop):
        def __init__(self) -> None:
            super().__init__(Waiter())

        def _make_self_pipe(self) -> None:
            self._ssock = self._csock = None

        def _close_self_pipe(self) -> None:
            pass

        def _write_to_self(self) -> None:
            self._selector.event.set()

        async def connect_read_pipe(self, factory, pipe):
            """Standard input is a file: all of it is there."""
            transport, protocol = asyncio.ReadTransport(), factory()
            protocol.connection_made(transport)
            data = getattr(pipe, "buffer", pipe).read()
            if data:
                protocol.data_received(data)
            protocol.eof_received()
            return transport, protocol

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Loop

    asyncio.set_event_loop_policy(Policy())
