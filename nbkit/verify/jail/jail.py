"""Run generated code where it can do no harm: the trusted side of the jail (notebooks 02-07).

Generated code is hostile. It never runs in this process, and what decides about it never enters the jail:
code and inputs go in, tagged values come out (`jail_codec.py`), and the job is dead and reaped before
anyone looks at them. A warm worker forks one confined process per job, a few milliseconds each. There is no
unjailed mode: where nothing can confine (`tiers.py`), `SandboxUnavailable` is raised.

    with Jail() as jail:
        jail.call("def add(a, b): return a + b", "add", [[2, 3]])  # JailResult("ok", [5], "")
        jail.call("import os\ndef f(): return os.listdir('/')", "f", [[]])
        # JailResult("ok", [CallError("PermissionError: …")], "")
        jail.run("print(int(input()) + 1)", "41\n")  # JailResult("ok", ["42\n"], "")
        jail.eval("F(1, 3) + F(1, 6)")  # JailResult("ok", [Fraction(1, 2)], "")

One Jail runs one job at a time (calls from several threads queue up); `pool.py` runs several. It may be
used in any thread, and outlives the one that opened it; in a forked child it starts a worker of its own.
"""

import json
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Self

from nbkit.verify.jail import canary, clock, keeper, link, spawn, tiers
from nbkit.verify.jail.inside import jail_codec
from nbkit.verify.jail.results import CallError, Conversation, JailResult, fault, read_calls, receive_all
from nbkit.verify.jail.tiers import SandboxUnavailable, probe

_CANARY_EVERY = 1000
MAX_CODE = 100_000
OUTPUT_BYTES = 65_536
_CHECK_BYTES = 1 << 23  # of one answer to a test as code, which knows itself what it wants
_MAX_QUESTION = 1 << 24  # bytes that a test may send at once

_EVALUATE = """
import math
from fractions import Fraction as F
def sqrt(x):
    x = F(x)
    p, q = math.isqrt(x.numerator), math.isqrt(x.denominator)
    return F(p, q) if p * p == x.numerator and q * q == x.denominator else math.sqrt(x)
names = {k: v for k, v in vars(math).items() if k[0] != "_"} | {"F": F, "sqrt": sqrt}
def evaluate(text):
    return eval(text, names)
"""


class Jail:
    """A warm worker that runs hostile code, one confined process per job.

    Args:
        wall_s: seconds from the start of a job's code to its end, and for each further answer within a total
            that grows with the number of calls (`clock.py`); waiting for a processor does not count.
        memory_mb: MiB of address space a job may add to the warm worker's.
        output_bytes: largest answer (all calls of a job together, encoded) that is read; the same for what a
            program prints.
        tier: one of tiers.TIERS; by default NBKIT_JAIL, else the strongest that works here.
        math: let jobs import sympy and Math-Verify (Linux tiers).
        numpy: let jobs import numpy, where it is installed (Linux tiers).
    """

    def __init__(
        self,
        wall_s: float = 5.0,
        memory_mb: int = 256,
        output_bytes: int = OUTPUT_BYTES,
        tier: str | None = None,
        math: bool = False,
        numpy: bool = False,
    ) -> None:
        for name, value, low, high in (
            ("wall_s", wall_s, 0.05, 600),
            ("memory_mb", memory_mb, 32, 1 << 16),
            ("output_bytes", output_bytes, 1024, 1 << 26),
        ):
            if not low <= value <= high:
                raise ValueError(f"Jail {name}={value!r}: wanted {low} to {high}")
        self.wall_s, self.memory_mb, self.output_bytes = wall_s, memory_mb, output_bytes
        self.layers: list[str] = []
        self._wanted, self._math, self._numpy = tier, math, numpy
        self._lock = threading.RLock()
        self._worker: spawn.Worker | None = None
        self._siblings: dict[tuple[bool, bool], Jail] = {}
        self._retired = False
        self._unchecked = 0  # jobs until the next self-test
        keeper.follow(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def tier(self) -> str:
        """What confines the jobs, such as "bubblewrap+landlock+seccomp"; "" before the start."""
        return "+".join(self.layers)

    def start(self) -> Self:
        """Start the worker and check it on known jobs; raises SandboxUnavailable when it misbehaves."""
        with self._lock:
            self._ensure()
        return self

    def close(self) -> None:
        """End the worker. Safe to repeat; a later call starts a fresh one."""
        with self._lock:
            self._stop()
            for sibling in self._siblings.values():
                sibling.close()

    def retire(self) -> None:
        """Close for good, after the job that runs: whoever wants another one gets a RuntimeError."""
        self._retired = True
        with self._lock:
            for sibling in self._siblings.values():
                sibling.retire()
            self._stop()

    def forget(self) -> None:
        """In a forked child: the worker and whoever held the lock belong to the parent."""
        self._lock, self._worker = threading.RLock(), None

    def sibling(self, math: bool = False, numpy: bool = False) -> "Jail":
        """A second jail with the same limits, kept as long as this one: for tests, or with sympy or numpy."""
        with self._lock:
            self._refuse_if_retired()
            if (math, numpy) not in self._siblings:
                self._siblings[math, numpy] = Jail(
                    self.wall_s, self.memory_mb, self.output_bytes, self._wanted, math, numpy
                )
            return self._siblings[math, numpy]

    def call(
        self, code: str, entry: str, args_list: Sequence[Sequence | str], output_bytes: int = 0
    ) -> JailResult:
        """Load `code` in a fresh job and return `entry(*args)` for every args of `args_list`. Where the
        answers are known to be long, `output_bytes` raises the limit of this jail for this job.

        An element that is a string is an expression instead, evaluated among the names of the code. Arguments
        and results may be None, bool, int, float, str, bytes, complex, Fraction, list, tuple, set, frozenset
        and dict, of exactly these types. Raises ValueError when an argument is anything else, and
        SandboxUnavailable when the worker cannot be (re)started.
        """
        args = [item if isinstance(item, str) else jail_codec.encode(list(item)) for item in args_list]
        message = {"mode": "call", "code": code, "entry": entry, "args": args}
        limit = max(output_bytes, self.output_bytes)
        return self._guarded(code, lambda: self._call(message, self.wall_s, limit))

    def run(self, code: str, stdin: str = "", output_bytes: int = 0) -> JailResult:
        """Run a whole program; `values` is [what it printed]. An exit code other than 0 is an error. Where
        it is known to print much, `output_bytes` raises the limit of this jail for this job."""
        data = stdin.encode()  # a ValueError here: lone surrogates are no text
        limit = max(output_bytes, self.output_bytes)
        return self._guarded(code, lambda: self._run(code, data, limit))

    def check(self, code: str, entry: str, test: str) -> JailResult:
        """Run the source `test`, which defines `check(candidate)`, against `entry` of `code`; values
        [passed].

        The test and the code run in two jobs that share nothing: `candidate` sends its arguments and gets
        plain values back, and after a call whose value it drops what a list, dictionary, set, deque or
        bytearray among them holds then. A test that does not load, passes what is not plain data, or lacks a
        module is "infra". It may import numpy where that is installed, the code in a jail made with `numpy`.
        """
        numpy = (self._numpy or "numpy" in test) and tiers.numpy_folder() is not None
        other = self.sibling(numpy=numpy)
        return self._guarded(code, lambda: other._guarded("", lambda: self._check(other, code, entry, test)))

    def eval(self, expression: str) -> JailResult:
        """Value of a Python expression that may use `math`, `F` (Fraction) and `sqrt` (exact if it can)."""
        result = self.call(_EVALUATE, "evaluate", [[expression]])
        if result.status == "ok" and isinstance(result.values[0], CallError):
            return JailResult("error", [], result.values[0].detail)
        return result

    # --- one job ---

    def _guarded(self, code: str, job: Callable[[], JailResult]) -> JailResult:
        """A job of ours under the lock: too much code is an error, a lost worker is infra."""
        if len(code) > MAX_CODE:
            return JailResult("error", [], f"code has {len(code)} characters, more than {MAX_CODE}")
        with self._lock:
            self._ensure()
            try:
                return job()
            except (OSError, struct.error) as error:
                self._stop()
                return JailResult("infra", [], f"the jail worker was lost: {error}")
            except BaseException:  # an interrupt in mid-job: the next job needs a clean worker
                self._stop()
                raise

    def _call(self, message: dict, wall_s: float, limit: int) -> JailResult:
        answer, _, failed = self._talk(message, wall_s, limit)
        return failed or read_calls(answer, len(message["args"]))

    def _run(self, code: str, stdin: bytes, limit: int) -> JailResult:
        message = {"mode": "run", "code": code, "stdin": len(stdin)}
        answer, output, failed = self._talk(message, self.wall_s, limit, stdin)
        if failed:
            return failed
        if answer.get("exit") != 0:
            error, code = answer.get("error"), answer.get("exit")
            named = f"exit code {code}" if type(code) is int else "the job gave no valid exit code"
            return JailResult("error", [], error if type(error) is str and error else named)
        return JailResult("ok", [output.decode("utf-8", "replace")])

    def _talk(self, message: dict, wall_s: float, limit: int, stdin: bytes | None = None):
        """(answer, output, None) of a job with one answer, or (…, JailResult) where it has none."""
        calls = len(message.get("args", ()))
        message = message | {"cpu_s": clock.cpu_limit(self.wall_s, calls)}
        # Its answer is read within its time; then it is dead, whatever it answered.
        job, raw, cut = self._worker.open(message, limit, stdin), b"", ""
        job.begin()
        try:
            raw = receive_all(job, clock.Clock(wall_s, calls))
        except link.Cut as error:
            cut = str(error)
        try:
            code = job.end()
        except link.Cut as error:  # what it had still printed
            return {}, b"", fault(str(error), 0, limit, self.wall_s)
        if stdin is not None and cut == "closed" and code == 0:  # os._exit(0): it said all it had to say
            return {"exit": 0}, bytes(job.output), None
        if cut:
            return {}, b"", fault(cut, code, limit, self.wall_s)
        try:
            answer = json.loads(raw)
            if type(answer) is not dict:
                raise ValueError("not an object")
        except (ValueError, RecursionError):
            return {}, b"", fault("garbage", code, limit, self.wall_s)
        return answer, bytes(job.output), None

    def _check(self, other: "Jail", code: str, entry: str, test: str) -> JailResult:
        # what the test compares with stands in it, and so bounds what a right answer takes
        limit = max(self.output_bytes, _CHECK_BYTES, 4 * len(test))
        cpu_s = clock.cpu_limit(self.wall_s, 1000)
        try:
            asked = {"mode": "serve", "code": code, "entry": entry, "cpu_s": cpu_s, "numpy": self._numpy}
            ours = self._worker.open(asked, limit)
            asking = {"mode": "check", "code": test, "entry": entry, "cpu_s": cpu_s, "numpy": self._numpy}
            tests = other._worker.open(asking, _MAX_QUESTION)
            ours.begin()
            tests.begin()
            talk = Conversation(ours, tests, self.wall_s, self._numpy)
            result = talk.hold()
            exits = ours.end(), tests.end()
        except (OSError, struct.error):
            self._stop()  # the other worker is stopped by the guard around us
            raise
        return result or fault(talk.cut, exits[0], limit, self.wall_s)

    # --- the worker ---

    def _refuse_if_retired(self) -> None:
        if self._retired:
            raise RuntimeError("this jail, or the JailPool it belongs to, is closed; make another one")

    def _ensure(self) -> None:
        self._refuse_if_retired()
        if self._worker is not None and not self._worker.alive:
            self._stop()
        if self._worker is None:
            self._unchecked = 0
            self._spawn()
        if self._unchecked == 0:
            self._canaries()
            self._unchecked = _CANARY_EVERY
        self._unchecked -= 1

    def _spawn(self) -> None:
        tier = probe(self._wanted)
        try:
            self._worker, self.layers = spawn.worker(
                tier, self.wall_s, self.memory_mb, self._math, self._numpy
            )
        except OSError as error:
            raise SandboxUnavailable(f"the jail worker ({tier}) did not start: {error}") from error

    def _canaries(self) -> None:
        """Known-good and known-bad jobs must come out as known, or nothing is graded."""
        for code, args, wall_s, status, values in canary.jobs(self.memory_mb, self.layers):
            message = {"mode": "call", "code": code, "entry": "canary", "args": [jail_codec.encode(args)]}
            try:
                got = self._call(message, wall_s, self.output_bytes)
            except (OSError, struct.error) as error:
                got = JailResult("infra", [], str(error))
            plain = [value.detail if isinstance(value, CallError) else value for value in got.values]
            if (got.status, plain) != (status, values):
                self._stop()
                wanted = f"{status} {values}"
                raise SandboxUnavailable(f"the jail failed its self-test: wanted {wanted}, got {got}")

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = None
