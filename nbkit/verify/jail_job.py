"""What a job does once it is confined: load the program, answer by value (notebooks 02-07, through `Jail`).

Runs inside the jail, on Linux and in WebAssembly alike, so it needs nothing but the standard library.
Messages both ways are frames: eight hexadecimal digits of length, then JSON. A job reads one message and
answers it:

    {"mode": "call", "code", "entry", "args"}   every args (encoded, or source of an expression) -> its value
    {"mode": "run", "code"}                     a whole program; its standard output is the result
    {"mode": "serve", "code", "entry"}          load, then one value per further message, until end of file
    {"mode": "check", "code", "entry"}          run `check(candidate)`; `candidate` asks the other side

Only "check" runs a test, in a job of its own that never holds the candidate; the others hold no expected
value.
"""

import builtins
import io
import json
import os
import sys
import threading
import types

LENGTH_DIGITS = 8


class Channel:
    """Frames over two descriptors (or one socket)."""

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = source, sink

    def read(self) -> bytes:
        """The next frame; EOFError at the end."""
        return self._exactly(int(self._exactly(LENGTH_DIGITS), 16))

    def write(self, data: bytes) -> None:
        data = frame(data)
        while data:
            data = data[os.write(self.sink, data) :]

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = os.read(self.source, min(count, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def frame(data: bytes) -> bytes:
    return b"%0*x" % (LENGTH_DIGITS, len(data)) + data


def describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:
        return "exception without a readable message"


def perform(job: dict, channel: Channel, codec: types.ModuleType) -> int:
    """Do one job and answer it on the channel; returns the exit code of the process."""
    mode = {"call": _call, "run": _run, "serve": _serve, "check": _check}[job["mode"]]
    answer = mode(job, channel, codec)
    channel.write(json.dumps(answer).encode())
    return answer.get("exit", 0)


def _load(code: str, name: str = "candidate") -> dict:
    """Names of the program after running it; dataclasses and typing look its module up by name."""
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(code, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def _function(job: dict) -> tuple[dict, object] | str:
    """(names, the function) of a candidate, or why there is none."""
    try:
        names = _load(job["code"])
    except BaseException as error:
        return describe(error)
    if job["entry"] not in names:
        return f"no function named {job['entry']!r}"
    return names, names[job["entry"]]


def _outcome(make, codec: types.ModuleType) -> dict:
    try:
        return {"value": codec.encode(make())}
    except BaseException as error:
        return {"error": describe(error)}


def _call(job: dict, channel: Channel, codec: types.ModuleType) -> dict:
    """{"error": text} if the candidate does not load, else {"calls": [{"value": …} or {"error": …}]}."""
    found = _function(job)
    if isinstance(found, str):
        return {"error": found}
    names, function = found
    outcomes = []
    for args in job["args"]:
        if isinstance(args, str):
            outcomes.append(_outcome(lambda source=args: eval(source, names), codec))
        else:
            outcomes.append(_outcome(lambda data=args: function(*codec.decode(data)), codec))
    return {"calls": outcomes}


def _run(job: dict, channel: Channel, codec: types.ModuleType) -> dict:
    """Run a program as __main__ on descriptors 0 and 1; {"exit": code, "error": text}."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    output = sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="surrogateescape"
    )
    code, error = 0, ""
    try:
        _load(job["code"], "__main__")
        for thread in threading.enumerate():  # as the interpreter does at its end
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as problem:
        code, error = 1, describe(problem)
    try:
        output.flush()
    except BaseException as problem:
        code, error = 1, describe(problem)
    return {"exit": code & 255, "error": error}


def _serve(job: dict, channel: Channel, codec: types.ModuleType) -> dict:
    """Answer calls one by one; the last answer, after the caller has left, reaches nobody."""
    found = _function(job)
    if isinstance(found, str):
        return {"error": found}
    _, function = found
    channel.write(json.dumps({"value": codec.encode(None)}).encode())
    try:
        while True:
            args, keywords = codec.decode(json.loads(channel.read()))
            answer = _outcome(lambda a=args, k=keywords: function(*a, **k), codec)
            channel.write(json.dumps(answer).encode())
    except EOFError:
        return {}


class _Unusable(BaseException):
    """The test asks for something that cannot cross by value; no `except Exception` of a test may hide it."""


def _check(job: dict, channel: Channel, codec: types.ModuleType) -> dict:
    """{"passed": bool, "detail": text}, or {"broken": text} when the test itself cannot be used."""

    answers = 0

    def candidate(*args, **keywords):
        nonlocal answers
        try:
            question = json.dumps({"call": codec.encode([list(args), keywords])}).encode()
        except ValueError as error:
            if answers:  # it may be made of what the program has answered: no way out of a fail
                raise
            raise _Unusable(f"the test passes an argument that is not plain data: {error}") from error
        channel.write(question)
        answer = json.loads(channel.read())
        answers += 1
        if "value" in answer:
            return codec.decode(answer["value"])
        kind = getattr(builtins, str(answer["error"]).partition(":")[0], None)
        known = isinstance(kind, type) and issubclass(kind, Exception)
        # these two would end a loop of the test early and quietly, as in all(map(candidate, …))
        quiet = kind in (StopIteration, StopAsyncIteration)
        raise (kind if known and not quiet else RuntimeError)(answer["error"])

    try:
        names = _load(job["code"], "test")
        check = names["check"]
        names[job["entry"]] = candidate  # tests also call the function by its name
    except BaseException as error:
        return {"broken": describe(error)}
    try:
        check(candidate)
    except _Unusable as error:
        return {"broken": str(error)}
    except BaseException as error:
        return {"passed": False, "detail": describe(error)}
    return {"passed": True, "detail": ""}
