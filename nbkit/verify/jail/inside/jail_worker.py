"""The jailed side of `jail.py` on Linux: a warm worker that forks one confined process per job.

Run as `python -P -s -S -B jail_worker.py SETTINGS` with an empty environment and the control socket as
descriptor 0. SETTINGS is JSON: {"cpu_s", "landlock", "math": null or folders that hold sympy and
math_verify, "numpy": null or the folder that holds it}. It imports a fixed list of modules, gives up every
privilege, then serves jobs for ever:

    parent --(1 byte + sockets)--> worker --fork--> job: read its message, confine, "R", do it (jail_job.py)
    parent --(1 byte)--> worker: kill the job, reap it, reply with its wait status

The message goes from the parent straight to the forked job, so that no job can find an earlier one in the
worker's heap. Used by 02-07 through `Jail`.
"""

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import threading
import types
from resource import getrlimit, setrlimit  # the real ones: programs get others (`jail_idioms.py`)
from typing import NamedTuple

_JOB_FD = 3
_MAX_FDS = 16
_MAX_THREADS = 64

# A job cannot open files, so what it may import is fixed here, with what those import when they are used;
# missing ones (trimmed builds) are skipped.
_PRELOAD = """
__future__ abc argparse array ast asyncio atexit base64 bdb binascii bisect builtins cProfile calendar cmath
cmd code codecs collections collections.abc colorsys concurrent.futures concurrent.futures.thread
configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime decimal difflib dis doctest
email.encoders email.generator email.iterators email.message email.mime.application email.mime.multipart
email.mime.text email.parser email.policy email.utils encodings.ascii encodings.cp437 encodings.idna
encodings.latin_1 enum errno fileinput fnmatch fractions functools gc getopt getpass graphlib gzip hashlib
heapq hmac html html.parser inspect io itertools json keyword linecache locale logging marshal math
multiprocessing multiprocessing.dummy multiprocessing.pool numbers operator optparse os os.path pathlib
pickle platform plistlib posixpath pprint profile pstats queue quopri random re reprlib resource sched
secrets select selectors shlex signal stat statistics string stringprep struct symtable sys tempfile
textwrap threading time timeit token tokenize tomllib traceback tracemalloc types typing unicodedata
unittest unittest.mock urllib.parse uuid warnings weakref xml.dom.expatbuilder xml.dom.minidom
xml.etree.ElementTree xml.sax xml.sax.expatreader xml.sax.saxutils zipfile zlib _strptime
"""


class _Tools(NamedTuple):
    job: types.ModuleType
    inside: types.SimpleNamespace  # the modules that the job needs
    confine: types.ModuleType
    program: bytes  # the job's seccomp filter
    cpu_s: int


def _run_job(parent: int, tools: _Tools) -> None:
    """The forked job, first to last. Only descriptors 0-2 (/dev/null or its streams) and 3 are open."""
    channel = tools.job.Channel(_JOB_FD, _JOB_FD)
    try:
        # It dies with the worker; a look at the parent's number covers the moment before that holds.
        tools.confine.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        message = json.loads(channel.read())
        # Same code, same answers: every job starts from the same state of `random`.
        random.seed(0)
        # Limits first, the filter last: it forbids the calls that set them.
        _limit(resource.RLIMIT_AS, message["memory"])
        cpu_s = message.get("cpu_s", tools.cpu_s)
        _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
        gc.enable()
        tools.confine.install_filter(tools.program)
    except BaseException as error:
        channel.write(b"X" + tools.inside.home.describe(error).encode("utf-8", "replace"))
        os._exit(1)
    channel.write(b"R")
    os._exit(tools.job.perform(message, channel, tools.inside))


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit, respecting a stricter one that is already there."""
    ceiling = getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    setrlimit(kind, (soft, hard))


def _load(file: str) -> types.ModuleType:
    # By path: putting this folder on sys.path would shadow the standard `math` and `code`.
    path, name = os.path.join(os.path.dirname(os.path.abspath(__file__)), file), file.removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prepare(settings: dict) -> tuple[_Tools, list[str]]:
    """Load what jobs may use, then give up everything else; the tools and the layers that hold."""
    sys.modules["ssl"] = None  # large, and useless without a network
    for name in _PRELOAD.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if settings.get("numpy"):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads of its own would not survive a fork
        sys.path.append(settings["numpy"])
        for name in ("numpy", "numpy.linalg", "numpy.random", "numpy.testing", "numpy.polynomial"):
            importlib.import_module(name)
        sys.path.pop()
    # From here on no file of ours is needed again.
    job, confine = _load("jail_job.py"), _load("jail_confine.py")
    _load("jail_idioms.py")  # imported by the home
    inside = types.SimpleNamespace(
        codec=_load("jail_codec.py"), copies=_load("jail_copies.py"), home=_load("jail_home.py")
    )
    inside.home.furnish()
    if settings["math"] is not None:
        sys.path += settings["math"]
        for file in ("jail_balls.py", "jail_series.py"):  # imported by the next
            _load(file)
        _load("jail_math.py").warm_up()
    # Limits that jobs inherit, then privileges, then the kernel's filters: the order matters.
    tools = _Tools(job, inside, confine, confine.build_filter(), settings["cpu_s"])
    os.chdir("/")
    os.umask(0o077)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAX_FDS)
    if confine.drop_privileges():
        _limit(resource.RLIMIT_NPROC, _MAX_THREADS)
    confine.die_with_parent()  # after the change of user, which would undo it
    layers = ["landlock"] if settings["landlock"] and confine.landlock() else []
    gc.disable()  # a collection in the job would copy every page of the worker
    gc.collect()
    gc.freeze()
    return tools, [*layers, "seccomp"]


def _serve(control: socket.socket, tools: _Tools) -> None:
    """Fork one job per message until the parent closes the control socket."""
    worker = os.getpid()
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1, 3)  # the channel, perhaps standard input and output
        if not message:
            return
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            # In the job: its own descriptors and no other, then the code, which never returns here.
            control.detach()
            for target, fd in zip((_JOB_FD, 0, 1), fds, strict=False):
                os.dup2(fd, target)
            os.closerange(_JOB_FD + 1, _MAX_FDS)
            _run_job(worker, tools)
        # In the worker: wait for the word of the parent, then kill and reap.
        for fd in fds:
            os.close(fd)
        go_on = control.recv(1)  # the job stays unreaped until the parent has its answer
        status = 0x7F00  # exit code 127, when there was no fork
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            if worker == 1:  # in a process namespace of our own: whatever else lives there is the job's
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
        if not go_on:
            return
        control.send(struct.pack("i", status))


def main(settings: dict) -> None:
    """Take the control socket from descriptor 0, confine this process, say hello, serve."""
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    try:
        tools, layers = _prepare(settings)
    except Exception as error:
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}).encode())
        return
    control.send(json.dumps({"layers": layers}).encode())
    _serve(control, tools)


if __name__ == "__main__":
    threading.stack_size(1 << 20)
    main(json.loads(sys.argv[1]))
