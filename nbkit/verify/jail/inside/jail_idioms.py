"""Paths, descriptors and settings that programs ask for by habit (used by `jail_home.py`).

`Path("/dev/stdin").read_text()`, `open("input.txt")` in a `try`, `os.getcwd()`, `select.select([sys.stdin],
[], [], 0)`, `locale.setlocale(LC_ALL, "")`: what can be answered from what the job already holds is answered,
in Python and without a further system call. Everything else goes to the kernel as before, which refuses it.
A program may undo all of it and gains nothing.
"""

import builtins
import contextlib
import errno
import io
import os
import sys
import time

_WASI = sys.platform == "wasi"
HERE = "/"  # the working folder of every job
# Paths of descriptors that a job holds anyway. In WebAssembly 2 carries the answers, so it has no path there.
_NUMBERED = {0: "stdin", 1: "stdout"} if _WASI else {0: "stdin", 1: "stdout", 2: "stderr"}
_STREAMS = {
    path: number
    for number, name in _NUMBERED.items()
    for path in (f"/dev/{name}", f"/dev/fd/{number}", f"/proc/self/fd/{number}")
}
_REFUSED = {
    getattr(errno, name, -1) for name in ("EPERM", "EACCES", "ENOENT", "ENOSYS", "ENOTSUP", "ENOTCAPABLE")
}


class _Refused(FileNotFoundError, PermissionError):
    """No file can be opened, and for a program none is there: it may handle either."""


_Refused.__name__ = _Refused.__qualname__ = "PermissionError"
_Refused.__module__ = "builtins"


@contextlib.contextmanager
def _no_such_file():
    try:
        yield
    except PermissionError as error:
        raise _Refused(errno.ENOENT, error.strerror, error.filename) from None


def _stream(file: object) -> int | None:
    """The descriptor that a path names, if it is one of ours."""
    if isinstance(file, int):
        return None
    with contextlib.suppress(TypeError, ValueError):
        return _STREAMS.get(os.fsdecode(file))
    return None


def furnish() -> None:
    """Put everything back, once, in the worker whose copies the jobs are."""
    _files()
    if not _WASI:
        _folders()
        _selection()
        _system()


def _files() -> None:
    plain, opening, look = builtins.open, os.open, os.stat

    def opened(file, *args, **keywords):
        if (number := _stream(file)) is not None:
            if len(args) < 5:
                keywords.setdefault("closefd", False)  # it can be opened again
            return plain(number, *args, **keywords)
        with _no_such_file():
            return plain(file, *args, **keywords)

    def opened_low(path, *args, **keywords):
        if (number := _stream(path)) is not None:
            return number
        with _no_such_file():
            return opening(path, *args, **keywords)

    def stat(path, *args, **keywords):
        if (number := _stream(path)) is not None:
            return os.fstat(number)
        with _no_such_file():
            return look(path, *args, **keywords)

    builtins.open = io.open = opened
    os.open, os.stat = opened_low, stat


def _folders() -> None:
    change = os.chdir

    def chdir(path):
        try:
            change(path)
        except PermissionError:
            if os.path.normpath(os.path.join(HERE, os.fsdecode(path))) != HERE:
                raise

    os.getcwd, os.getcwdb, os.chdir = lambda: HERE, HERE.encode, chdir


def _selection() -> None:
    """Standard input is a file, and standard output is read at once: both are always ready."""
    import select  # noqa: PLC0415 (not in WebAssembly, which has its own)
    import selectors  # noqa: PLC0415

    def number(file) -> int:
        return file if isinstance(file, int) else file.fileno()

    def ready(reading, writing, errors, timeout=None, /):
        for file in (*reading, *writing, *errors):
            number(file)  # a TypeError or AttributeError, as from the real one
        if not reading and not writing:
            time.sleep(1e9 if timeout is None else max(timeout, 0))
        return list(reading), list(writing), []

    class Poll:
        def __init__(self) -> None:
            self._wanted: dict[int, int] = {}

        def register(self, file, events=select.POLLIN | select.POLLPRI | select.POLLOUT, /) -> None:
            self._wanted[number(file)] = events

        def modify(self, file, events, /) -> None:
            self._wanted[number(file)] = events

        def unregister(self, file, /) -> None:
            del self._wanted[number(file)]

        def poll(self, timeout=None, /) -> list[tuple[int, int]]:
            usual = select.POLLIN | select.POLLOUT
            found = [(one, events & usual) for one, events in self._wanted.items() if events & usual]
            if not found:
                time.sleep(1e9 if timeout is None or timeout < 0 else timeout / 1000)
            return found

    select.select, select.poll = ready, Poll
    selectors.SelectSelector._select = staticmethod(ready)
    selectors.DefaultSelector = selectors.SelectSelector


def _system() -> None:
    import locale  # noqa: PLC0415 (Linux tiers only)
    import resource  # noqa: PLC0415

    choose = locale.setlocale

    def setlocale(category, wanted=None):
        try:
            return choose(category, wanted)
        except locale.Error:
            if wanted != "":  # that of the user: the one that is set
                raise
            return choose(category)

    locale.setlocale = setlocale
    # As they are for the worker; a job may not ask for its own.
    ask, named = resource.getrlimit, vars(resource).items()
    limits = {kind: ask(kind) for name, kind in named if name.startswith("RLIMIT_")}
    resource.getrlimit = lambda kind, /: limits[kind] if kind in limits else ask(kind)
    there = os.uname()
    shown = os.uname_result((there.sysname, "jail", there.release, there.version, there.machine))
    os.uname = lambda: shown


def pipe_as_a_file(size: int) -> None:
    """Standard input of a program in WebAssembly, a pipe, made to look like the file that it is elsewhere: it
    has a size, and one `os.read` reads all that it asks for."""
    read, look = os.read, os.fstat

    def whole(number, count, /):
        parts = []
        while count > 0 and (part := read(number, count)):
            parts.append(part)
            count = count - len(part) if number == 0 else 0
        return b"".join(parts)

    def sized(number, /):
        found = list(look(number))
        if number == 0:
            found[6] = size
        return os.stat_result(found)

    os.read, os.fstat = whole, sized


def reason(error: BaseException) -> str:
    """Why the jail may be what a program failed on; "" where it is not."""
    if type(error) is ModuleNotFoundError:
        return "the jail has the standard library without what needs files, processes or network"
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return "the jail allows a program no files, processes or network"
    if type(error).__module__ == "locale":
        return "the jail has no locales but that of C"
    if type(error) is RuntimeError and "start new thread" in str(error):
        return "the jail allows a program few threads"
    missing = type(error) is AttributeError and isinstance(getattr(error, "obj", None), type(sys))
    if _WASI and missing and getattr(error.obj, "__name__", "") in sys.stdlib_module_names:
        return "the jail runs on WebAssembly, which has no files, processes or network"
    return ""
