"""What a job does once it is confined: load the program, answer by value (notebooks 02-07, through `Jail`).

Runs inside the jail, on Linux and in WebAssembly alike, so it needs nothing but the standard library.
Messages both ways are frames: eight hexadecimal digits of length, then JSON. A job reads one message and
answers it:

    {"mode": "call", "code", "entry", "args"}   every args (encoded, or source of an expression) -> its value
    {"mode": "run", "code", "stdin"}            a whole program, with so many bytes of input; it prints
    {"mode": "serve", "code", "entry"}          load, then one value per further message, until end of file
    {"mode": "check", "code", "entry"}          run `check(candidate)`; `candidate` asks the other side

Only "check" runs a test, in a job of its own that never holds the candidate; the others hold no expected
value.
"""

import json
import linecache
import os
import re
import sys
import time
import types

LENGTH_DIGITS = 8
_SOLUTIONS = ("solution", "main", "answer", "candidate", "program", "submission", "your_module")
_LONG_QUESTION = 1 << 20  # bytes
_UNSEEN = " (the program changed an argument in place: a test sees that after a call whose value it drops)"
_PART_BYTES, _PART_S = 1 << 16, 0.2  # an answer is handed over when there is as much of it, or as old


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


def perform(job: dict, channel: Channel, inside: types.SimpleNamespace) -> int:
    """Do one job and answer it on the channel; returns the exit code of the process. `inside` holds the
    modules `codec`, `copies` and `home` (loaded by path, as this one is)."""
    mode = {"call": _call, "run": _run, "serve": _serve, "check": _check}[job["mode"]]
    answer = mode(job, channel, inside)
    channel.write(answer if type(answer) is bytes else json.dumps(answer).encode())
    return 0 if type(answer) is bytes else answer.get("exit", 0)


def _load(code: str, name: str = "candidate") -> dict:
    """Names of the program after running it; dataclasses and typing look its module up by name, `inspect` its
    source by that of its file."""
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = "/main.py"
    linecache.cache[f"<{name}>"] = (len(code), None, code.splitlines(keepends=True), f"<{name}>")
    exec(compile(code, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def _function(job: dict, inside: types.SimpleNamespace) -> tuple[dict, object] | str:
    """(names, the function) of a candidate, or why there is none. A program that ends itself after it has
    defined the function, as `unittest.main()` does, has loaded."""
    try:
        _load(job["code"])
    except BaseException as error:
        if not isinstance(error, SystemExit) or job["entry"] not in vars(sys.modules["candidate"]):
            return inside.home.describe(error)
    names, entry = vars(sys.modules["candidate"]), job["entry"]
    if entry in names:
        return names, names[entry]
    if method := _method(names, entry):
        return names | {entry: method}, method  # a copy: inside the program the name may mean a built-in
    return f"no function named {entry!r}"


def _method(names: dict, entry: str):
    """The method of that name of a class of the program (of `Solution`, else of the last one that has it),
    called on a fresh instance each time; None where there is none."""
    own = [kind for kind in names.values() if isinstance(kind, type) and kind.__module__ == "candidate"]
    found = [kind for kind in own if callable(getattr(kind, entry, None))]
    if not found or entry.startswith("__"):
        return None
    chosen = names["Solution"] if any(kind is names.get("Solution") for kind in found) else found[-1]
    return lambda *args, **keywords: getattr(chosen(), entry)(*args, **keywords)


def _call(job: dict, channel: Channel, inside: types.SimpleNamespace) -> dict | bytes:
    """{"error": text} if the candidate does not load, else {"calls": [{"value": …} or {"error": …}]}.

    The second one comes in parts where it takes its time: a frame that begins with "+" is continued.
    """
    found = _function(job, inside)
    if isinstance(found, str):
        return {"error": found}
    names, function = found
    parts, size, sent = ['{"calls": ['], 0, time.monotonic()
    for number, args in enumerate(job["args"]):
        try:
            if isinstance(args, str):
                # A call that raises, whatever it raises, is an answer of this call only.
                outcome = {"value": inside.codec.encode(eval(args, names))}
            else:
                outcome = {"value": inside.codec.encode(function(*inside.codec.decode(args)))}
        except BaseException as error:
            outcome = {"error": inside.home.describe(error)}
        parts.append((", " if number else "") + json.dumps(outcome))
        size += len(parts[-1])
        # News now and then: the other side gives each answer time of its own.
        if size > _PART_BYTES or time.monotonic() - sent > _PART_S:
            channel.write(b"+" + "".join(parts).encode())
            parts, size, sent = [], 0, time.monotonic()
    return "".join([*parts, "]}"]).encode()


def _run(job: dict, channel: Channel, inside: types.SimpleNamespace) -> dict:
    """Run a program as __main__ on descriptors 0 and 1; {"exit": code, "error": text}."""
    inside.home.open_streams(job["stdin"])
    code, error = 0, ""
    try:
        _load(job["code"], "__main__")
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code if isinstance(stop.code, int) else 1
    except BaseException as problem:
        code, error = 1, inside.home.describe(problem)
    try:
        inside.home.finish()
    except BaseException as problem:
        code, error = 1, error or inside.home.describe(problem)
    return {"exit": code & 255, "error": error}


def _serve(job: dict, channel: Channel, inside: types.SimpleNamespace) -> dict:
    """Answer calls one by one; the last answer, after the caller has left, reaches nobody."""
    inside.codec.numpy_crosses = job["numpy"]
    found = _function(job, inside)
    if isinstance(found, str):
        return {"error": found}
    names, function = found
    copies = inside.copies.Copies(names, inside.codec.decode)
    # The first answer says that the code has loaded.
    channel.write(json.dumps({"value": inside.codec.encode(None)}).encode())
    try:
        while True:
            channel.write(json.dumps(_answer(channel.read(), function, inside, copies)).encode())
    except EOFError:
        return {}


def _answer(question: bytes, function, inside: types.SimpleNamespace, copies) -> dict:
    """The value of one call, or what it raised; with the arguments that it changed in place."""
    asked, codec = json.loads(question), inside.codec
    parts = [codec.encode, inside.home.describe]
    try:
        # Arguments are built as the code's own classes, so that its checks of type hold.
        args, keywords = codec.decode(asked["call"], build=copies)
        answer = {"value": codec.encode(function(*args, **keywords), rich=True)}
    except BaseException as error:
        answer = inside.copies.parts_of(error, *parts)
    if not asked["back"] and len(question) > _LONG_QUESTION:  # to compare them would only help a message
        return answer
    try:
        changed = inside.copies.changed(asked, (args, keywords), codec, copies)
    except BaseException as error:  # such as an object that a list holds now
        return inside.copies.parts_of(error, *parts) if asked["back"] else answer
    return answer | {"changed": changed}


class _Unusable(BaseException):
    """The test asks for something that cannot cross by value; no `except Exception` of a test may hide it."""


def _check(job: dict, channel: Channel, inside: types.SimpleNamespace) -> dict:
    """{"passed": bool, "detail": text}, or {"broken": text} when the test itself cannot be used."""
    answers, names, unseen = 0, {}, ""
    codec, describe = inside.codec, inside.home.describe
    codec.numpy_crosses = job["numpy"]

    def candidate(*args, **keywords):
        nonlocal answers, unseen
        # Where the value is used as well, a program could fit what it is compared with to it.
        back = inside.copies.is_dropped(sys._getframe(1))
        try:
            call = codec.encode([list(args), keywords], rich=True)
            question = json.dumps({"call": call, "back": back}).encode()
        except ValueError as error:
            # too much of it may be made of what the program has answered: no way out of a fail
            if answers and not isinstance(error, codec.CannotCross):
                raise
            raise _Unusable(f"the test passes an argument that is not plain data: {error}") from error
        # The program runs in another job: only plain values come back.
        channel.write(question)
        answer = json.loads(channel.read())
        answers += 1
        if not copies.refill((args, keywords), answer["changed"]):
            unseen = _UNSEEN
        if "value" in answer:
            return codec.decode(answer["value"], build=copies)
        raise copies.error(answer)

    for module in _SOLUTIONS:  # a test may import the file of the answer
        sys.modules[module] = types.ModuleType(module)
        setattr(sys.modules[module], job["entry"], candidate)
    try:
        names = _load(job["code"], "test")
        copies = inside.copies.Copies(names, inside.codec.decode)
        check = names["check"]
        names[job["entry"]] = candidate  # tests also call the function by its name
    except BaseException as error:
        return {"broken": describe(error)}
    try:
        check(candidate)
    except _Unusable as error:
        return {"broken": str(error)}
    except BaseException as error:
        # An error of the test's own, not one that the program raised: perhaps it lacks a module.
        if not any(error is other for other in copies.raised) and (why := _lacks(error, job["code"])):
            return {"broken": why}
        return {"passed": False, "detail": describe(error)[: 300 - len(unseen)] + unseen}
    return {"passed": True, "detail": ""}


def _lacks(error: BaseException, test: str) -> str:
    """Why an error is the test's own: it imports a module that is not here, or uses a name that it never
    defines. "" for any other; the text that a program answers has no part in these two."""
    name = getattr(error, "name", None)
    if isinstance(error, ImportError) and type(name) is str:
        root = name.partition(".")[0]
        if re.search(rf"\b(?:import|from)\s[^\n]*\b{re.escape(root)}\b", test):
            return f"it imports {root}, which is not there: {error}"
    if type(error) is NameError:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        if trace.tb_frame.f_code.co_filename == "<test>":
            return f"it uses {name}, which it does not define"
    return ""
